/* SPDX-License-Identifier: Apache-2.0 */
/* silu: x / (1 + exp(-x)).  0 at -inf. */
#include "ops/logistic.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    (void)k;
    return v_times_logistic(x, p_of(x));
}

LMX_INLINE vreal pull(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    return times_logistic_pull(dy, x, p_of(x), v_set1(1));
}

LMX_UNARY_KERNEL(silu, value, pull)
