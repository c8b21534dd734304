/* SPDX-License-Identifier: Apache-2.0 */
/* squared_relu: max(x, 0)^2 (So and others 2021).  One rounding. */
#include "kernels/unary/unary.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    (void)k;
    const vreal r = v_max(v_set1(0), x);
    return v_mul(r, r);
}

LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    const vreal half = v_mul(dy, x); /* 2 x may be infinite */
    return with_nan(x, v_select(v_gt(x, v_set1(0)), v_add(half, half), times_zero(dy)));
}

LMX_UNARY_KERNEL(squared_relu, value, vjp)
