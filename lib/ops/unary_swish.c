/* SPDX-License-Identifier: Apache-2.0 */
/* swish: x s(beta x), s(u) = 1 / (1 + exp(-u)) (Ramachandran and others 2017); beta x in two parts, for its
 * rounding would show in exp. */
#include "ops/logistic.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    return f_times(l_own(v_logistic(scaled_argument(k->p[0], x))), x);
}

LMX_INLINE vreal pull(vreal dy, vreal x, const unary_constants *k)
{
    return times_logistic_pull(dy, x, scaled_argument(k->p[0], x), k->p[0]);
}

/* x^2 s(beta x) s(-beta x); 0 where that vanishes */
LMX_INLINE void partials(vreal x, const unary_constants *k, vreal *d)
{
    const vlogistic l = v_logistic(scaled_argument(k->p[0], x));
    const vreal half = f_times(l.small, x);
    const vreal y = v_mul(half, v_mul(x, p_value(l.large)));
    d[0] = v_select(v_eq(half, v_set1(0)), half, y);
}

LMX_LEARNED_KERNEL(swish, value, pull, partials, 1)
