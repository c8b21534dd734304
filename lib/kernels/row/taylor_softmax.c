/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taylor_softmax: y[i] = f(x[i]) / sum f(x[k]), f of taylor.h; order 2 has a faster path of its
 * own.
 */
#include "kernels/row/taylor.h"

static void measure(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)b, (void)terms;
    if (c->parameter == 2)
        positive_measure(x, NULL, n, &taylor2_map, 0, c);
    else
        positive_measure(x, NULL, n, &taylor_map, 0, c);
}

static void apply(const void *x, const void *b, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    (void)b;
    if (c->parameter == 2)
        positive_apply(x, n, c, norm, out, how, &taylor2_map, taylor2_share);
    else
        positive_apply(x, n, c, norm, out, how, &taylor_map, taylor_share);
}

LMX_POSITIVE_KERNEL(taylor_softmax, measure, lmx_fold_sum, apply, 1)
