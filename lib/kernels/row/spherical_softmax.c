/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spherical_softmax: y[i] = (x[i]^2 + eps) / sum (x[k]^2 + eps) (Vincent, de Brebisson and
 * Bouthillier 2015, arXiv:1412.7091).
 */
#include "kernels/row/spherical.h"

static void measure(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)b, (void)terms;
    positive_measure(x, NULL, n, &spherical_map, 0, c);
}

static void apply(const void *x, const void *b, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    (void)b;
    positive_apply(x, n, c, norm, out, how, &spherical_map, spherical_share);
}

LMX_POSITIVE_KERNEL(spherical_softmax, measure, lmx_fold_sum, apply, 1)
