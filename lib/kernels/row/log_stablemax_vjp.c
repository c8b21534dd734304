/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_stablemax_vjp: dx[i] = r (dy[i] - y[i] sum dy), r = s'(x) / s(x) = 1 / (1 + |x|) on both
 * sides of 0, y = stablemax(x).
 */
#include "kernels/row/stable.h"

static void measure(const void *dy, const void *x, size_t n, void *terms, lmx_chunk *c)
{
    (void)terms;
    positive_measure(x, dy, n, &stable_map, SUM_SECOND, c);
}

static void fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->mean = -dd_value(all_moments(chunks, n).q);
}

static vreal body(vreal dy, vreal x, const void *k_)
{
    const positive_constants *k = k_;
    const vreal one = v_set1(1), r = v_div(one, v_add(one, v_abs(x)));
    return canonical(v_mul(r, v_fma(stable_share(x, x, k), k->mean, dy)));
}

static void apply(const void *dy, const void *x, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    if (positive_filled(norm, out, n))
        return;
    positive_constants k;
    stable_at(&k, 0, c->n0, 0);
    positive_factor(&k, norm, c->n0);
    k.mean = v_set1((real)norm->mean);
    row_map(dy, x, n, out, how, MAP_B, body, &k);
}

LMX_POSITIVE_KERNEL(log_stablemax_vjp, measure, fold, apply, 2)
