/* SPDX-License-Identifier: Apache-2.0 */
/* exp(-x^2 / 2), x^2 in two parts. */
#ifndef LMX_BELL_H
#define LMX_BELL_H

#include "ops/unary.h"

/* Beyond, it is 0, whatever multiplies it. */
LMX_INLINE vreal bell_inside(vreal x) { return v_clamp(x, sizeof(real) == 4 ? 19 : 54); }

LMX_INLINE_VECTOR vlifted bell_lifted(vreal x, vreal *exponent)
{
    const vreal half = v_set1((real)-0.5);
    const vpair q = p_product(x, x);
    *exponent = v_mul(half, q.hi);
    return v_exp_lifted((vpair){ *exponent, v_mul(half, q.lo) });
}

/* exp(-x^2 / 2) / EXP_DOWN for |x| <= 16 (45), where that is a normal number */
LMX_INLINE_VECTOR vpair bell_near(vreal x)
{
    const vreal half = v_set1((real)-0.5);
    const vpair q = p_product(x, x);
    const exp_parts e = v_exp_parts(v_mul(half, q.hi), lift_bits(EXP_LIFT));
    const vreal a = v_fma(e.T, e.q.hi, e.T);
    const vreal rest = v_fma(e.T, e.q.hi, v_sub(e.T, a));
    return (vpair){ a, v_fma(v_mul(half, q.lo), a, v_fma(e.T, e.q.lo, rest)) };
}

LMX_INLINE vfactor bell(vreal x)
{
    vreal exponent;
    const vlifted e = bell_lifted(x, &exponent);
    return f_of(exponent, e.part, e.down, p_scaled(e.part, e.down));
}

#endif
