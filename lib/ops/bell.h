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

LMX_INLINE vfactor bell(vreal x)
{
    vreal exponent;
    const vlifted e = bell_lifted(x, &exponent);
    return f_of(exponent, e.part, e.down, p_scaled(e.part, e.down));
}

#endif
