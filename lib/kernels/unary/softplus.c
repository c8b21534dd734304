/* SPDX-License-Identifier: Apache-2.0 */
/* softplus: log(1 + exp(beta x)) / beta = max(x, 0) + log1p(exp(-|beta x|)) / beta.
 * At most 0.782 ulp in float32 with beta = 1.75: -0x1.02313cp-1. */
#include "kernels/unary/logistic.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    const vpair u = p_product(k->p[0], x);
    const vmask below = v_gt(v_set1(0), u.hi);
    const vlifted e = v_exp_lifted(p_select(below, u, p_neg(u)));
    /* log1p(e) is e where e is lifted */
    const vpair log = v_log1p_pair(p_scaled(e.part, e.down));
    const vfactor f = f_of(v_neg(v_abs(u.hi)), e.part, e.down, log);
    const vpair share = p_div(f.part, p_of(k->p[0]));
    const vreal r = v_max(v_set1(0), x);
    /* post comes after the two parts are one: subnormal results would not fall in step otherwise */
    const vreal alone = v_mul(p_value(share), f.post);
    const vreal more = p_value(p_add(p_of(r), p_scaled(share, f.post)));
    const vreal y = v_select(v_gt(r, v_set1(0)), more, alone);
    return v_select(v_isnan(y), r, y); /* infinite, or NaN itself */
}

LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    const logistic_sides l = sides_of(p_product(k->p[0], x));
    return v_select(l.below, v_mul(v_mul(dy, l.small), l.down), v_mul(dy, l.large));
}

LMX_UNARY_KERNEL(softplus, value, vjp)
