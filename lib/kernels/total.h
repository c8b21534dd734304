/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmx_expsum of the public header as the sums that kernels work with.  The one header of the kernels that includes
 * the public one: kernels write sums of rows where the caller wants them.
 */
#ifndef LMX_TOTAL_H
#define LMX_TOTAL_H

#include "lanemax/lanemax.h"
#include "numeric/wide_sum.h"

/* lmx_expsum, taken apart: the sum, and the sum of the terms as softmax rounds them. */
typedef struct {
    lmx_sum fine, rounded;
} lmx_total;

LMX_INLINE lmx_total lmx_total_unpack(const lmx_expsum *e)
{
    const lmx_sum fine = { e->mantissa, e->tail, e->exponent, e->base };
    if (e->rounded == 0) /* made from a mantissa alone */
        return (lmx_total){ fine, fine };
    return (lmx_total){ fine, lmx_sum_of(e->rounded, e->rounded_tail, e->exponent, e->base) };
}

/* Both in units of the first one's exponent: the other's is the same, or one off. */
LMX_INLINE lmx_expsum lmx_total_pack(lmx_total t)
{
    const int64_t d = t.rounded.n - t.fine.n;
    return (lmx_expsum){ t.fine.hi,
                         t.fine.lo,
                         t.fine.n,
                         t.fine.base,
                         lmx_scale2(t.rounded.hi, d),
                         lmx_scale2(t.rounded.lo, d) };
}

#endif
