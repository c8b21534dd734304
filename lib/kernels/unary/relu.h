/* SPDX-License-Identifier: Apache-2.0 */
/* relu: max(x, 0).  Exact.  The derivative at 0 is 0. */
#ifndef LMX_RELU_H
#define LMX_RELU_H

#include "kernels/unary/unary.h"

LMX_INLINE vreal relu_of(vreal x, const unary_constants *k)
{
    (void)k;
    return v_max(v_set1(0), x); /* this order lets NaN through */
}

LMX_INLINE vreal relu_vjp_of(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    return with_nan(x, v_select(v_gt(x, v_set1(0)), dy, times_zero(dy)));
}

LMX_INLINE vreal relu_gate_vjp(vreal dy, vreal up, vreal x, vreal *dup)
{
    *dup = v_mul(dy, relu_of(x, NULL));
    /* dy 0 up, for the product of dy and up may overflow where the gradient is 0 */
    const vreal below = times_zero(v_mul(times_zero(dy), up));
    return with_nan(x, v_select(v_gt(x, v_set1(0)), v_mul(dy, up), below));
}

#endif
