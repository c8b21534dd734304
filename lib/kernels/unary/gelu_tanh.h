/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gelu_tanh: x s(u), u = 2 sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks and Gimpel 2016), u in two parts.  Beyond
 * |x| = 13 (27) s is 0 or 1, and x^3 need not be known.  At most 1.494 ulp in float32: -0x1.01165ap-7.
 */
#ifndef LMX_GELU_TANH_H
#define LMX_GELU_TANH_H

#include "kernels/unary/logistic.h"

/* 2 sqrt(2/pi) and that times 0.044715 */
#if defined(LMX_REAL_F64)
#  define K1    0x1.9884533d43651p+0
#  define K1_LO -0x1.cbc0d30ebfd15p-54
#  define K3    0x1.2444f2a4d8b4bp-4
#  define K3_LO -0x1.6c843a29d1c70p-61
#else
#  define K1    0x1.9884540000000p+0f
#  define K1_LO -0x1.8579360000000p-25f
#  define K3    0x1.2444f20000000p-4f
#  define K3_LO 0x1.49b16a0000000p-29f
#endif

LMX_INLINE vreal inside(vreal x) { return v_clamp(x, sizeof(real) == 4 ? 13 : 27); }

LMX_INLINE vpair argument(vreal x)
{
    const vpair k1 = { v_set1(K1), v_set1(K1_LO) }, k3 = { v_set1(K3), v_set1(K3_LO) };
    return p_mul(p_add(k1, p_mul(k3, p_product(x, x))), p_of(x));
}

LMX_INLINE vreal gelu_tanh_of(vreal x, const unary_constants *k)
{
    (void)k;
    return v_times_logistic(x, argument(inside(x)));
}

LMX_INLINE vreal argument_slope(vreal x) { return v_fma(v_mul(v_set1(3 * K3), x), x, v_set1(K1)); }

LMX_INLINE vreal gelu_tanh_vjp_of(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    const vreal c = inside(x);
    return times_logistic_vjp(dy, c, argument(c), argument_slope(c));
}

LMX_INLINE vreal gelu_tanh_gate_vjp(vreal dy, vreal up, vreal x, vreal *dup)
{
    const vreal c = inside(x);
    const logistic_vjp p = logistic_vjp_of(c, argument(c), argument_slope(c));
    return gate_logistic_vjp(dy, up, x, p, dup);
}

#endif
