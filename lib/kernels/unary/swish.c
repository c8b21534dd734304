/* SPDX-License-Identifier: Apache-2.0 */
/* swish: x s(beta x), s(u) = 1 / (1 + exp(-u)) (Ramachandran and others 2017); beta x in two parts, for its
 * rounding would show in exp.  At most 0.553 ulp in float32 with beta = 1.75: -0x1.bec118p+1. */
#include "kernels/unary/logistic.h"

/* s(u) = 1 / (1 + exp(-u)), in two parts, for an x of any size that multiplies it */
LMX_INLINE_VECTOR vfactor logistic(vpair u)
{
    const vmask below = v_gt(v_set1(0), u.hi);
    const vpair size = p_select(below, u, p_neg(u)); /* -|u| */
    const vlifted e = v_exp_lifted(size);
    const vpair plain = p_scaled(e.part, e.down);
    vpair d = p_fast_sum(v_set1(1), plain.hi);
    d.lo = v_add(d.lo, plain.lo);
    const vpair large = p_div(p_of(v_set1(1)), d), lifted = p_div(e.part, d);
    const vfactor small = f_of(size.hi, lifted, e.down, p_scaled(lifted, e.down));
    return (vfactor){ p_select(below, small.part, large), v_select(below, small.post, v_set1(1)) };
}

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    return f_times(logistic(scaled_argument(k->p[0], x)), x);
}

LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    /* |beta x| in range, which s(u) s(-u) has long made 0 there */
    const real beta = (real)(k->first < 0 ? -k->first : k->first);
    const vreal c = v_clamp(x, beta > 1 ? LMX_MOST / 2 / beta : LMX_MOST);
    return times_logistic_vjp(dy, c, scaled_argument(k->p[0], x), k->p[0]);
}

/* x^2 s(beta x) s(-beta x); 0 where that vanishes */
LMX_INLINE void partials(vreal x, const unary_constants *k, size_t count, vreal *d)
{
    (void)count;
    const logistic_sides l = sides_of(scaled_argument(k->p[0], x));
    const vreal c = v_clamp(x, LMX_MOST); /* the smaller side is 0 where x is infinite */
    d[0] = v_mul(v_mul(v_mul(c, l.small), v_mul(c, l.large)), l.down);
}

LMX_LEARNED_KERNEL(swish, value, vjp, partials, 1)
