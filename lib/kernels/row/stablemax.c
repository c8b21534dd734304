/* SPDX-License-Identifier: Apache-2.0 */
/* stablemax: y[i] = s(x[i]) / sum s(x[k]), s of stable.h. */
#include "kernels/row/stable.h"

static void measure(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)b, (void)terms;
    positive_measure(x, NULL, n, &stable_map, 0, c);
}

static void apply(const void *x, const void *b, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    (void)b;
    positive_apply(x, n, c, norm, out, how, &stable_map, stable_share);
}

LMX_POSITIVE_KERNEL(stablemax, measure, lmx_fold_sum, apply, 1)
