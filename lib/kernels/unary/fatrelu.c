/* SPDX-License-Identifier: Apache-2.0 */
/* fatrelu: x where x > threshold, else 0.  Exact. */
#include "kernels/unary/unary.h"

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    return with_nan(x, v_select(v_gt(x, k->p[0]), x, v_set1(0)));
}

LMX_INLINE vreal vjp(vreal dy, vreal x, const unary_constants *k)
{
    return with_nan(x, v_select(v_gt(x, k->p[0]), dy, times_zero(dy)));
}

LMX_UNARY_KERNEL(fatrelu, value, vjp)
