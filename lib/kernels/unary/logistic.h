/* SPDX-License-Identifier: Apache-2.0 */
/* x s(u), s(u) = 1 / (1 + exp(-u)), for u in two parts; and its derivative by x. */
#ifndef LMX_LOGISTIC_H
#define LMX_LOGISTIC_H

#include "kernels/unary/unary.h"

/* beta x in two parts, 0 for beta = 0 and an infinite x too */
LMX_INLINE vpair scaled_argument(vreal beta, vreal x)
{
    return p_product(beta, v_clamp(x, LMX_MOST));
}

/* s(u) and s(-u) for gradients: the smaller of them is small * down. */
typedef struct {
    vreal small, down, large;
    vmask below; /* u < 0: the smaller is s(u) */
} logistic_sides;

LMX_INLINE_VECTOR logistic_sides sides_of(vpair u)
{
    logistic_sides l;
    l.below = v_gt(v_set1(0), u.hi);
    const vlifted_one e = v_exp_lifted_one(p_select(l.below, u, p_neg(u)));
    l.large = v_div(v_set1(1), v_add(v_set1(1), v_select(e.tiny, v_set1(0), e.part)));
    l.small = v_mul(e.part, l.large);
    l.down = e.down;
    return l;
}

/* x s(u) = x own post, and its derivative by x, own slope post: post comes last, so that dy loses no digits. */
typedef struct {
    vreal own, slope, post;
} logistic_vjp;

LMX_INLINE logistic_vjp logistic_vjp_of(vreal x, vpair u, vreal du)
{
    const logistic_sides l = sides_of(u);
    const vreal other = v_select(l.below, l.large, v_mul(l.small, l.down));
    return (logistic_vjp){ v_select(l.below, l.small, l.large),
                           v_fma(v_mul(v_clamp(x, LMX_MOST), other), du, v_set1(1)),
                           v_select(l.below, l.down, v_set1(1)) };
}

/* dy (s(u) + x s(u) s(-u) du/dx) */
LMX_INLINE vreal times_logistic_vjp(vreal dy, vreal x, vpair u, vreal du)
{
    const logistic_vjp p = logistic_vjp_of(x, u, du);
    return v_mul(v_mul(v_mul(dy, p.own), p.slope), p.post);
}

/* The same times up, and dy x s(u), from one exponential. */
LMX_INLINE vreal gate_logistic_vjp(vreal dy, vreal up, vreal x, logistic_vjp p, vreal *dup)
{
    const vreal least = v_max(v_set1(-LMX_MOST), x); /* s is 0 where x is -inf */
    *dup = v_mul(dy, v_mul(v_mul(least, p.own), p.post));
    return v_mul(v_mul(v_mul(v_mul(dy, up), p.own), p.slope), p.post);
}

/* v s(u) s(-u) */
LMX_INLINE vreal times_both_sides(vreal v, vpair u)
{
    const logistic_sides l = sides_of(u);
    return v_mul(v_mul(v_mul(v, l.small), l.large), l.down);
}

#endif
