/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s(x) = x + 1 for x >= 0 and 1 / (1 - x) for x < 0 (Prieto and others 2025, arXiv:2501.04697),
 * within 1.5 u; s(-inf) = 0.  s' is 1 for x >= 0 and s^2 for x < 0.
 */
#ifndef LMX_STABLE_H
#define LMX_STABLE_H

#include "kernels/row/positive.h"

static void stable_at(positive_constants *k, double parameter, int64_t e, int slope)
{
    (void)parameter, (void)slope;
    k->down = v_set1((real)lmx_scale2_gradual(1, -e));
}

LMX_INLINE vreal stable_value(vreal x, vreal b, const void *k_)
{
    const vreal down = ((const positive_constants *)k_)->down;
    (void)b;
    const vreal small = v_div(down, v_sub(v_set1(1), x)), large = v_fma(x, down, down);
    return v_select(v_gt(v_set1(0), x), small, large);
}

LMX_INLINE vreal stable_share(vreal x, vreal b, const void *k)
{
    return positive_share(stable_value(x, b, k), k);
}

/*
 * s' = (1 / (1 - x))^2 may underflow where the result does not, so its two factors are applied one
 * by one.
 */
LMX_INLINE vreal stable_vjp(vreal dy, vreal x, const void *k)
{
    const vreal one = v_set1(1);
    const vreal r = v_select(v_gt(v_set1(0), x), v_div(one, v_sub(one, x)), one);
    return canonical(v_mul(positive_vjp(dy, r, k), r));
}

LMX_INLINE int64_t stable_degree(double parameter)
{
    (void)parameter;
    return 1;
}

/* s(x) of a finite x, to twice the digits of double */
LMX_INLINE lmx_sum stable_exact(double x)
{
    if (x > 0x1p+900)
        return lmx_sum_of(x * 0x1p-100, 0, 100, 0);
    if (x >= 0) {
        const lmx_dd s = lmx_two_sum(1, x);
        return lmx_sum_of(s.hi, s.lo, 0, 0);
    }
    const int far = x < -0x1p+900;
    const lmx_dd s = dd_div(dd_of(far ? 0x1p+100 : 1), lmx_two_sum(1, -x));
    return lmx_sum_of(s.hi, s.lo, far ? -100 : 0, 0);
}

static int64_t stable_exponent(double parameter, double largest)
{
    (void)parameter;
    return stable_exact(largest).n - POSITIVE_AIM;
}

/*
 * The first exponent lifts values by 2^10, so that those of the most negative logits are normal
 * numbers too.
 */
static const positive_map stable_map = { stable_at, stable_value,    stable_degree,
                                         -10,       stable_exponent, 0 };

#endif
