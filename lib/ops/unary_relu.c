/* SPDX-License-Identifier: Apache-2.0 */
/* relu: max(x, 0).  Exact.  The derivative at 0 is 0. */
#include "ops/unary.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    (void)k;
    return v_max(v_set1(0), x); /* this order lets NaN through */
}

LMX_INLINE vreal pull(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    return with_nan(x, v_select(v_gt(x, v_set1(0)), dy, v_set1(0)));
}

LMX_UNARY_KERNEL(relu, value, pull)
