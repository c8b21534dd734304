/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the entries: how to reach a row of an array and take it to what a kernel reads, and what rows have in
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

/* An array of this shape and these strides. */
LMX_INLINE lmx_array lmx_array_of(const void *data, size_t size, const lmx_shape *s,
                                  const lmx_strides *t)
{
    return (lmx_array){ data, size, { s->rows, s->cols, s->inner }, { t->row, t->col, t->inner } };
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

/*
 * Whether quotients by a temperature below 1 may have left the range of reals, from what folding them found: a
 * quotient that became +inf makes the row NaN, as do quotients that all became -inf; and one that became -inf is
 * within the range of the largest only if that is far below 0.
 */
LMX_INLINE int lmx_quotients_left(const lmx_norm *norm, double t, size_t real_size)
{
    const double far = real_size == 4 ? -0x1p+100 : -0x1p+996;
    return t < 1 && (norm->kind != LMX_KIND_PLAIN || norm->max + norm->log_rest.hi < far);
}

/* z[i] = (z[i] - largest) / t, in double for float: what softmax and its loss are made of, in range where x / t is not. */
LMX_INLINE void lmx_quotients(size_t real_size, void *z, size_t n, double largest, double t)
{
    float *f = z;
    double *d = z;
    for (size_t i = 0; i < n; i++)
        if (real_size == 4)
            f[i] = (float)(((double)f[i] - largest) / t);
        else
            d[i] = (d[i] - largest) / t;
}

/* The larger of `largest` and the n reals at z; NaN and +inf, once there, stay. */
LMX_INLINE double lmx_largest_real(size_t real_size, const void *z, size_t n, double largest)
{
    const float *f = z;
    const double *d = z;
    for (size_t i = 0; i < n; i++) {
        const double v = real_size == 4 ? (double)f[i] : d[i];
        largest = v > largest || v != v ? v : largest;
    }
    return largest;
}

/*
 * What a rate must be divided by to be a normal real of the kernel: a power of 2, by which results are multiplied
 * afterwards, 1 for most.
 */
LMX_INLINE double lmx_rate_unit(double rate, size_t real_size)
{
    const double most = real_size == 4 ? FLT_MAX : DBL_MAX,
                 least = real_size == 4 ? FLT_MIN : DBL_MIN;
    return rate > most ? 0x1p+100 : rate < least ? 0x1p-100 : 1;
}

/* z times a unit of rates */
LMX_INLINE void lmx_rate_back(const lmx_table *real, void *z, size_t n, double unit)
{
    const lmx_gather up = { .stride = 1, .rate = unit };
    real->gather(z, n, &up, z);
}

/* Whether a temperature is no real of the kernel: logits are then divided in double. */
LMX_INLINE int lmx_temperature_leaves(double t, size_t real_size)
{
    return real_size == 4 && t > FLT_MAX;
}

/* Real i of an array of them. */
LMX_INLINE double lmx_real_at(const lmx_table *real, const void *p, size_t i)
{
    return real->real_size == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* Soft targets of a chunk are measured from this: its largest logit, where that is a number. */
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
