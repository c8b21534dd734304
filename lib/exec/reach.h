/* SPDX-License-Identifier: Apache-2.0 */
/* What the entries share: how to reach a row of an array and take it to what a kernel reads, and what rows have in
 * common. */
#ifndef LMX_REACH_H
#define LMX_REACH_H

#include <float.h>

#include "exec/arrays.h"
#include "kernels/kernels.h"

/* Row r, j of an array with strides row, col, inner; NULL where there is none. */
LMX_INLINE const char *lmx_row_at(const lmx_array *x, size_t r, size_t j)
{
    if (x->data == NULL)
        return NULL;
    const ptrdiff_t offset = (ptrdiff_t)r * x->stride[0] + (ptrdiff_t)j * x->stride[2];
    return (const char *)x->data + offset * (ptrdiff_t)x->size;
}

/* Rows of cols contiguous elements. */
LMX_INLINE lmx_array lmx_array_rows(const void *data, size_t size, size_t rows, size_t cols,
                                    ptrdiff_t stride)
{
    return (lmx_array){ data, size, { rows, cols, 1 }, { stride, 1, 0 } };
}

/* g divides by t: by the reciprocal in two parts, the first a real of the kernel, or, where that is no
 * normal number, by t itself. */
LMX_INLINE void lmx_gather_divide(lmx_gather *g, double t, size_t real_size)
{
    if (real_size == 4) {
        g->rate = (float)(1 / t);
        g->rate_lo = 1 / t - g->rate;
    } else {
        g->rate = 1 / t;
        g->rate_lo = -fma(g->rate, t, -1) / t;
    }
    const double least = real_size == 4 ? FLT_MIN : DBL_MIN;
    if (!(g->rate >= least && g->rate <= 1 / least)) {
        const double smallest = real_size == 4 ? 0x1p-149 : 0x1p-1074;
        g->rate = 0;
        g->rate_lo = t > smallest ? t : smallest;
    }
}

/* Real i of an array of them. */
LMX_INLINE double lmx_real_at(const lmx_table *real, const void *p, size_t i)
{
    return real->real_size == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* What soft targets of a chunk are measured from: its largest logit, where that is a number. */
LMX_INLINE double lmx_pivot_of(const lmx_chunk *chunk)
{
    return chunk->kind == LMX_KIND_PLAIN || chunk->kind == LMX_KIND_SHIFTED ? chunk->max : 0;
}

/* Of losses, which may be infinite. */
LMX_INLINE lmx_dd lmx_losses_add(lmx_dd a, lmx_dd b)
{
    const double s = a.hi + b.hi;
    return lmx_finite(s) ? lmx_dd_add(a, b) : (lmx_dd){ s, 0 };
}

#endif
