/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mish: x tanh(log(1 + exp(x))) (Misra 2019).  With e = exp(-|x|) the factor is (1 + 2e) / (1 + 2e + 2e^2) for
 * x >= 0, else e (2 + e) / (2 + e (2 + e)): one exponential, and nothing cancels.
 * At most 0.800 ulp in float32: 0x1.400008p-125.  Derivative: T + x s(x) (1 - T^2), T the factor.
 */
#include "kernels/unary/logistic.h"

/* The factor T, and s(x) / T for the derivative. */
LMX_INLINE vfactor factor(vreal x, vreal *ratio)
{
    const vmask below = v_gt(v_set1(0), x);
    const vlifted lifted = v_exp_lifted(p_of(v_neg(v_abs(x))));
    const vpair e = p_scaled(lifted.part, lifted.down);
    const vpair twice = { v_add(e.hi, e.hi), v_add(e.lo, e.lo) };
    const vpair more = p_add(twice, p_mul(e, e)); /* e (2 + e) */
    const vpair one = p_of(v_set1(1)), two = p_of(v_set1(2));
    const vpair a = p_select(below, more, p_add(one, twice));
    const vpair b = p_select(below, p_add(two, more), p_add(a, p_mul(twice, e)));
    /* a without the e that s has too */
    const vreal reduced = v_select(below, v_add(v_set1(2), e.hi), a.hi);
    *ratio = v_div(b.hi, v_mul(v_add(v_set1(1), e.hi), reduced));
    /* where it is lifted, e (2 + e) / (2 + ...) is e */
    return f_of(v_min(v_set1(0), x), lifted.part, lifted.down, p_div(a, b));
}

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    vreal ratio;
    (void)k;
    return f_times(factor(x, &ratio), x);
}

/* T (1 + x (s / T) (1 - T) (1 + T)), 1 - T = 2 q / (1 + q), q = s(-x)^2 */
LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    vreal ratio;
    (void)k;
    const vfactor f = factor(x, &ratio);
    const logistic_sides l = sides_of(p_of(x));
    const vreal t = v_select(l.below, l.large, v_mul(l.small, l.down)); /* s(-x) */
    const vreal q = v_mul(t, t), one = v_set1(1);
    const vreal less = v_div(v_add(q, q), v_add(one, q));
    const vreal both = v_mul(v_mul(ratio, less), v_add(one, f_value(f)));
    return f_times(f, v_mul(dy, v_fma(v_clamp(x, LMX_MOST), both, one)));
}

LMX_UNARY_KERNEL(mish, value, vjp)
