/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f(x) = sum of x^i / i! up to an even order, which is positive, and f', the same sum to one order
 * less.
 *
 * Order 2 is evaluated as 1 + x (1 + x/2), within 1.1 u of f, because f is at least half of |x (1 +
 * x/2)|.  Higher orders lose a factor of exp(2 |x|) to cancellation for x < 0, so they use a
 * compensated Horner scheme (Graillat, Langlois and Louvet 2005), as accurate as one in twice the
 * precision, with coefficients in two parts.
 */
#ifndef LMX_TAYLOR_H
#define LMX_TAYLOR_H

#include "kernels/row/positive.h"

/* 2^(e (k - n)) / k! for k = 0 ... n */
static void taylor_coefficients(lmx_dd *c, int n, int64_t e)
{
    if (e == 0 && n <= 2) {
        static const lmx_dd first[] = { { 1, 0 }, { 1, 0 }, { 0.5, 0 } };
        memcpy(c, first, sizeof *c * (size_t)(n + 1));
        return;
    }
    lmx_dd inverse = dd_of(1);
    for (int k = 0; k <= n; k++) {
        if (k > 0)
            inverse = dd_div(inverse, dd_of(k));
        const int64_t shift = e * (k - n);
        c[k] = (lmx_dd){ lmx_scale2_gradual(inverse.hi, shift),
                         lmx_scale2_gradual(inverse.lo, shift) };
    }
}

static void taylor_at(positive_constants *k, double order, int64_t e, int slope)
{
    lmx_dd c[LMX_TAYLOR_ORDER_MAX + 1];
    const int n = (int)order - slope;
    taylor_coefficients(c, n, e);
    k->order = n;
    k->down = v_set1((real)lmx_scale2_gradual(1, -e));
    for (int i = 0; i <= n; i++) {
        const real hi = (real)c[i].hi;
        k->hi[i] = v_set1(hi);
        k->lo[i] = v_set1((real)((c[i].hi - (double)hi) + c[i].lo));
    }
}

LMX_INLINE vreal taylor_value(vreal x, vreal b, const void *k_)
{
    const positive_constants *k = k_;
    (void)b;
    x = v_mul(x, k->down);
    const vreal zero = v_set1(0);
    vreal s = k->hi[k->order], r = k->lo[k->order];
    for (int i = k->order - 1; i >= 0; i--) {
        const vreal p = v_mul(s, x), p_lo = v_fma(s, x, v_sub(zero, p));
        const vreal u = v_add(p, k->hi[i]), w = v_sub(u, p); /* TwoSum */
        const vreal u_lo = v_add(v_sub(p, v_sub(u, w)), v_sub(k->hi[i], w));
        r = v_fma(r, x, v_add(v_add(p_lo, u_lo), k->lo[i]));
        s = u;
    }
    return v_add(s, r);
}

LMX_INLINE vreal taylor_share(vreal x, vreal b, const void *k)
{
    return positive_share(taylor_value(x, b, k), k);
}

LMX_INLINE vreal taylor_vjp(vreal dy, vreal x, const void *k)
{
    return positive_vjp(dy, taylor_value(x, x, k), k);
}

LMX_INLINE vreal taylor2_value(vreal x, vreal b, const void *k_)
{
    const positive_constants *k = k_;
    (void)b;
    x = v_mul(x, k->down);
    return v_fma(x, v_fma(x, k->hi[2], k->hi[1]), k->hi[0]);
}

LMX_INLINE vreal taylor2_share(vreal x, vreal b, const void *k)
{
    return positive_share(taylor2_value(x, b, k), k);
}

LMX_INLINE vreal taylor2_vjp(vreal dy, vreal x, const void *k_)
{
    const positive_constants *k = k_;
    return positive_vjp(dy, v_fma(v_mul(x, k->down), k->hi[1], k->hi[0]), k);
}

LMX_INLINE int64_t taylor_degree(double order) { return (int64_t)order; }

/*
 * For |x| >= 32, x^n / n! is at least half of f; below, f is at most exp(x).  The exponent of the
 * largest element is known to within one, so that of f is to within n, and rounding e to an integer
 * adds another n: 2 n keep the sum at least 1.
 */
static int64_t taylor_exponent(double order, double largest)
{
    const int64_t n = (int64_t)order;
    double factorial = 1;
    for (int64_t i = 2; i <= n; i++)
        factorial *= (double)i;
    const int64_t over =
        n * (exponent_of(largest) + 1) - exponent_of(factorial) - POSITIVE_AIM - 2 * n;
    return over > 0 ? (over + n - 1) / n : 0;
}

static const positive_map taylor_map = { taylor_at, taylor_value,    taylor_degree,
                                         0,         taylor_exponent, 1 };
static const positive_map taylor2_map = { taylor_at, taylor2_value,   taylor_degree,
                                          0,         taylor_exponent, 1 };

#endif
