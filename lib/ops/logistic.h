/* SPDX-License-Identifier: Apache-2.0 */
/* x s(u), s(u) = 1 / (1 + exp(-u)), for u in two parts; and its derivative by x. */
#ifndef LMX_LOGISTIC_H
#define LMX_LOGISTIC_H

#include "ops/unary.h"

/* beta x in two parts, 0 for beta = 0 and an infinite x too */
LMX_INLINE vpair scaled_argument(vreal beta, vreal x)
{
    return p_product(beta, v_clamp(x, LMX_MOST));
}

/* dy (s(u) + x s(u) s(-u) du/dx) */
LMX_INLINE vreal times_logistic_pull(vreal dy, vreal x, vpair u, vreal du)
{
    const vlogistic l = v_logistic(u);
    const vreal part = v_mul(v_clamp(x, LMX_MOST), l_other(l));
    return f_times(l_own(l), v_mul(dy, v_fma(part, du, v_set1(1))));
}

#endif
