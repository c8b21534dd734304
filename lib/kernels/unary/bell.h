/* SPDX-License-Identifier: Apache-2.0 */
/* exp(-x^2 / 2), x^2 in two parts. */
#ifndef LMX_BELL_H
#define LMX_BELL_H

#include "kernels/unary/unary.h"

/* Beyond, it is 0, whatever multiplies it. */
LMX_INLINE vreal bell_inside(vreal x) { return v_clamp(x, sizeof(real) == 4 ? 19 : 54); }

/* -x^2 / 2 */
LMX_INLINE vpair bell_exponent(vreal x) { return p_scaled(p_product(x, x), v_set1((real)-0.5)); }

/* exp(-x^2 / 2) / EXP_DOWN for |x| <= BELL_NEAR, where that is a normal number */
#define BELL_NEAR (sizeof(real) == 4 ? 16 : 45)
LMX_INLINE_VECTOR vpair bell_near(vreal x)
{
    const vpair u = bell_exponent(x);
    return exp_value(v_exp_parts(u.hi, lift_bits(EXP_LIFT)), u.lo);
}

LMX_INLINE vfactor bell(vreal x)
{
    const vpair u = bell_exponent(x);
    const vlifted e = v_exp_lifted(u);
    return f_of(u.hi, e.part, e.down, p_scaled(e.part, e.down));
}

/* The same for gradients, in one part. */
LMX_INLINE vlifted_one bell_one(vreal x) { return v_exp_lifted_one(bell_exponent(x)); }

#endif
