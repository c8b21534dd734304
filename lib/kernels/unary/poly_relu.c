/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poly_relu: p[0] r^m + ... + p[m-1] r + p[m], r = max(x, 0): the weights of PolyCom's published code, highest
 * power first, and the bias (Zhuo and others 2025, arXiv:2411.03884, type I).  Horner's scheme: error at most
 * (m + 2) u sum |p[i]| r^(m-i).  At inf, the limit: the sign of the first weight that is not 0.
 */
#include "kernels/unary/unary.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    const vreal r = v_max(v_set1(0), x), inf = v_set1(LMX_INF);
    vreal y = k->p[0];
    if (k->n == 4) /* the usual one: a loop of known length */
        for (size_t i = 1; i < 4; i++)
            y = v_fma(y, r, k->p[i]);
    else
        for (size_t i = 1; i < k->n; i++)
            y = v_fma(y, r, k->p[i]);
    return v_select(v_eq(r, inf), k->limit, y);
}

LMX_INLINE vreal pull_of(vreal dy, vreal x, const unary_constants *k, size_t m)
{
    const vreal r = v_max(v_set1(0), x);
    vreal s = v_mul(v_set1((real)m), k->p[0]);
    for (size_t i = 1; i < m; i++)
        s = v_fma(s, r, v_mul(v_set1((real)(m - i)), k->p[i]));
    s = v_select(v_eq(r, v_set1(LMX_INF)), k->limit_slope, s);
    return with_nan(x, v_select(v_gt(x, v_set1(0)), v_mul(dy, s), times_zero(dy)));
}

LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    return k->n == 4 ? pull_of(dy, x, k, 3) : pull_of(dy, x, k, k->n - 1);
}

/* r^(m-i), m + 1 of them */
LMX_INLINE void partials(vreal x, const unary_constants *k, size_t count, vreal *d)
{
    (void)k;
    const vreal r = v_max(v_set1(0), x);
    size_t i = count - 1;
    for (d[i] = with_nan(x, v_set1(1)); i > 0; i--)
        d[i - 1] = v_mul(d[i], r);
}

LMX_LEARNED_KERNEL(poly_relu, value, vjp, partials, k.n)
