/* SPDX-License-Identifier: Apache-2.0 */
/* taylor_softmax_vjp, from the input: positive.h with the function of taylor.h. */
#include "kernels/row/taylor.h"

static void measure(const void *dy, const void *x, size_t n, void *terms, lmx_chunk *c)
{
    (void)terms;
    if (c->parameter == 2)
        positive_measure(x, dy, n, &taylor2_map, SUM_PRODUCTS, c);
    else
        positive_measure(x, dy, n, &taylor_map, SUM_PRODUCTS, c);
}

static void apply(const void *dy, const void *x, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    if (c->parameter == 2)
        positive_apply_vjp(dy, x, n, c, norm, out, how, &taylor2_map, taylor2_vjp);
    else
        positive_apply_vjp(dy, x, n, c, norm, out, how, &taylor_map, taylor_vjp);
}

LMX_POSITIVE_KERNEL(taylor_softmax_vjp, measure, positive_fold_mean, apply, 2)
