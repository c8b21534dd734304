/* SPDX-License-Identifier: Apache-2.0 */
/* relu_power: max(x, 0)^power for an integer power from 1 to 16, in two parts: below 0.51 ulp, but where the
 * second part is subnormal: at most 1.000 in float32 with power = 7, at 0x1.222f9p-18. */
#include "kernels/unary/unary.h"

/* r^n; the loop is the same for all lanes. */
LMX_INLINE vpair power_of(vreal r, int n)
{
    vpair p = p_of(r);
    int top = 16;
    while (!(n & top))
        top /= 2;
    for (int bit = top / 2; bit > 0; bit /= 2) {
        p = p_mul(p, p);
        if (n & bit)
            p = p_mul(p, p_of(r));
    }
    return p;
}

/* A product that overflowed has no second part. */
LMX_INLINE vreal whole(vpair p)
{
    const vreal v = p_value(p);
    return v_select(v_isnan(v), p.hi, v);
}

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    return whole(power_of(v_max(v_set1(0), x), (int)k->first));
}

/* From dy on one factor after the other, so that nothing is too large or too small before the end. */
LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    const vreal r = v_max(v_set1(0), x);
    const int n = (int)k->first;
    vpair p = p_of(dy);
    for (int i = 1; i < n; i++)
        p = p_mul(p, p_of(r));
    const vreal slope = v_mul(whole(p), v_set1((real)n));
    return with_nan(x, v_select(v_gt(x, v_set1(0)), slope, times_zero(dy)));
}

LMX_UNARY_KERNEL(relu_power, value, vjp)
