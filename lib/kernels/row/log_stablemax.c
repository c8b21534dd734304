/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_stablemax: log s(x[i]) - log S, S = sum s(x[k]), s of stable.h.
 *
 * It is computed as log(s(x[i]) / S), with the quotient as mantissa and exponent: within 2.5 u
 * absolute, which is below 4 ulp down to |y| = log 2.  Only an element with more than half of S has
 * a result nearer to 0.  There is at most one, the largest, and its result is -log1p(others / s),
 * others being the sum of all other elements.
 */
#include "kernels/row/stable.h"

static void measure(const void *x_, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    const elem *x = x_;
    (void)b, (void)terms;
    positive_measure(x, NULL, n, &stable_map, 0, c);
    c->has_rest = 0;
    c->max = row_largest(x, n, 0);
    if (c->kind != LMX_KIND_PLAIN)
        return;
    lmx_sum twice = stable_exact(c->max);
    twice.n++;
    if (lmx_sum_less(twice, c->sum))
        return; /* not half of the sum */
    size_t at = 0;
    while (at + 1 < n && (double)e_get(x + at) != c->max)
        at++;
    positive_constants k;
    stable_at(&k, 0, c->n0, 0);
    lmx_chunk others;
    sum_row(x, NULL, n, at, stable_value, &k, 0, &others);
    c->rest = lmx_sum_of(others.sum.hi, others.sum.lo, c->n0, 0);
    c->has_rest = 1;
}

/*
 * Sets norm->max to the element with more than half of the sum, or +inf, and norm->log_rest to
 * minus its result.
 */
static void fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->max = INFINITY;
    if (norm->kind != LMX_KIND_PLAIN)
        return;
    const size_t best = lmx_largest_chunk(chunks, n);
    if (!chunks[best].has_rest)
        return;
    const lmx_sum others = lmx_add_others(chunks[best].rest, chunks, n, best);
    const lmx_sum own = stable_exact(chunks[best].max);
    if (!lmx_sum_less(others, own))
        return; /* not more than half */
    norm->max = chunks[best].max;
    norm->log_rest = log1p_ratio(others, own);
}

/*
 * With S = sum.hi 2^n and sum.hi in [0.5, 1), the result for x >= 0 is log((1 + x) / (2 sum.hi)) -
 * (n - 1) log 2, and for x < 0 it is -(log((1 - x) sum.hi) + n log 2).  The arguments of both
 * logarithms are normal numbers.
 */
typedef struct {
    vreal divide;   /* 1 / (2 sum.hi) */
    vreal multiply; /* sum.hi */
    vreal down, up; /* 1 - n, n */
    vreal most;     /* the element with more than half of the sum */
    vreal own;      /* its result */
} constants;

static vreal body(vreal x, vreal b, const void *k_)
{
    const constants *k = k_;
    (void)b;
    const vmask below = v_gt(v_set1(0), x);
    const vreal size = v_add(v_set1(1), v_abs(x));
    const vreal ratio = v_mul(size, v_select(below, k->multiply, k->divide));
    vreal y = v_log(ratio, v_select(below, k->up, k->down));
    y = v_select(below, v_sub(v_set1(0), y), y);
    y = v_select(v_gt(x, v_set1(-LMX_INF)), y, v_set1(-LMX_INF));
    return v_select(v_eq(x, k->most), k->own, y);
}

static void apply(const void *x, const void *b, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                  void *out, unsigned how)
{
    (void)b, (void)c;
    if (positive_filled(norm, out, n))
        return;
    const double m = norm->sum.hi, e = (double)norm->sum.n;
    const constants k = { v_set1((real)(0.5 / m)), v_set1((real)m),
                          v_set1((real)(1 - e)),   v_set1((real)e),
                          v_set1((real)norm->max), v_set1((real)-dd_value(norm->log_rest)) };
    row_map(x, NULL, n, out, how, 0, body, &k);
}

LMX_POSITIVE_KERNEL(log_stablemax, measure, fold, apply, 1)
