/* SPDX-License-Identifier: Apache-2.0 */
/* sigmoid: 1 / (1 + exp(-x)), from exp(-|x|), so that nothing cancels. */
#include "ops/unary.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    (void)k;
    return v_times_logistic(v_set1(1), p_of(x));
}

LMX_INLINE vreal pull(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    return l_both(v_logistic(p_of(x)), dy);
}

LMX_UNARY_KERNEL(sigmoid, value, pull)
