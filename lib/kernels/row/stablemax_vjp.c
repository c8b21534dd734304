/* SPDX-License-Identifier: Apache-2.0 */
/* stablemax_vjp, from the input: positive.h with the function of stable.h. */
#include "kernels/row/stable.h"

static void measure(const void *dy, const void *x, size_t n, void *terms, lmx_chunk *c)
{
    (void)terms;
    positive_measure(x, dy, n, &stable_map, SUM_PRODUCTS, c);
}

static void apply(const void *dy, const void *x, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    positive_apply_vjp(dy, x, n, c, norm, out, how, &stable_map, stable_vjp);
}

LMX_POSITIVE_KERNEL(stablemax_vjp, measure, positive_fold_mean, apply, 2)
