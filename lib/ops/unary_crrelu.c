/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crrelu: max(x, 0) + eps x exp(-x^2 / 2) (Sun and others 2024, arXiv:2405.12954).  x^2 in two parts, for
 * its rounding would show in exp; beyond |x| = 19 (54) the exponential is 0, which inf * 0 is not.
 */
#include "ops/bell.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    const vreal c = bell_inside(x), r = v_max(v_set1(0), x);
    const vfactor f = bell(c);
    const vpair more = p_scaled(p_mul(p_product(k->p[0], c), f.part), f.post);
    const vreal y = p_value(p_add(p_of(r), more));
    return v_select(v_isnan(y), r, y);
}

LMX_INLINE vreal pull(vreal dy, vreal x, const unary_constants *k)
{
    const vreal c = bell_inside(x), zero = v_set1(0);
    const vreal step = with_nan(x, v_select(v_gt(x, zero), dy, zero));
    const vreal part = v_mul(k->p[0], v_fma(v_neg(c), c, v_set1(1)));
    return v_add(step, f_times(bell(c), v_mul(dy, part)));
}

LMX_INLINE vreal partial(vreal x, const unary_constants *k, size_t i)
{
    (void)k, (void)i;
    const vreal c = bell_inside(x);
    return f_times(bell(c), c);
}

LMX_LEARNED_KERNEL(crrelu, value, pull, partial)
