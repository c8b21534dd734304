/* SPDX-License-Identifier: Apache-2.0 */
/* silu: x / (1 + exp(-x)).  0 at -inf.  At most 1.526 ulp in float32: -0x1.f43a68p+0. */
#ifndef LMX_SILU_H
#define LMX_SILU_H

#include "kernels/unary/logistic.h"

LMX_INLINE vreal silu_of(vreal x, const unary_constants *k)
{
    (void)k;
    return v_times_logistic(x, p_of(x));
}

LMX_INLINE vreal silu_vjp_of(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    return times_logistic_vjp(dy, x, p_of(x), v_set1(1));
}

LMX_INLINE vreal silu_gate_vjp(vreal dy, vreal up, vreal x, vreal *dup)
{
    return gate_logistic_vjp(dy, up, x, logistic_vjp_of(x, p_of(x), v_set1(1)), dup);
}

#endif
