/* SPDX-License-Identifier: Apache-2.0 */
/* f(x) = x^2 + eps for positive.h, rounded once. */
#ifndef LMX_SPHERICAL_H
#define LMX_SPHERICAL_H

#include "kernels/row/positive.h"

static void spherical_at(positive_constants *k, double eps, int64_t e, int slope)
{
    (void)slope;
    k->down = v_set1((real)lmx_scale2_gradual(1, -e));
    k->unit = v_set1((real)lmx_scale2_gradual(eps, -2 * e));
}

LMX_INLINE vreal spherical_value(vreal x, vreal b, const void *k_)
{
    const positive_constants *k = k_;
    (void)b;
    x = v_mul(x, k->down);
    return v_fma(x, x, k->unit);
}

LMX_INLINE vreal spherical_share(vreal x, vreal b, const void *k)
{
    return positive_share(spherical_value(x, b, k), k);
}

LMX_INLINE vreal spherical_vjp(vreal dy, vreal x, const void *k_)
{
    const positive_constants *k = k_;
    x = v_mul(x, k->down);
    return positive_vjp(dy, v_add(x, x), k);
}

LMX_INLINE int64_t spherical_degree(double eps)
{
    (void)eps;
    return 2;
}

static int64_t spherical_exponent(double eps, double largest)
{
    const int64_t square = 2 * exponent_of(largest), unit = exponent_of(eps);
    return ((eps == 0 || square > unit ? square : unit) - POSITIVE_AIM) / 2;
}

/*
 * With the first exponent logits up to 2^23 (double: 2^40) are in range, and eps = 1e-4 makes the
 * sum at least 1.
 */
static const positive_map spherical_map = { spherical_at,       spherical_value,
                                            spherical_degree,   sizeof(real) == 4 ? -40 : -60,
                                            spherical_exponent, 1 };

#endif
