/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_stablemax: log s(x[i]) - log S, S = sum s(x[k]), s of stable.h.
 *
 * log(s(x[i]) / S), the quotient as mantissa and exponent: within 2.5 u absolute, which is below 4 ulp down
 * to |y| = log 2.  Only an element with more than half of S comes nearer to 0; it is the one largest,
 * and gets -log1p(rest / s), rest the sum of all others.
 */
#include "ops/stable.h"

static void measure(const void *x_, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    const elem *x = x_;
    (void)b, (void)terms;
    positive_measure(x, NULL, n, &stable_map, 0, c);
    c->has_rest = 0;
    c->max = row_largest(x, n, 0);
    if (c->kind != LMX_KIND_PLAIN)
        return;
    const lmx_sum own = stable_exact(c->max);
    if (own.n + 1 < c->sum.n || (own.n + 1 == c->sum.n && own.hi < c->sum.hi))
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

/* norm->max: the element with more than half, +inf if there is none; log_rest: minus its result */
static void fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->max = INFINITY;
    if (norm->kind != LMX_KIND_PLAIN)
        return;
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (chunks[i].max > chunks[best].max)
            best = i;
    if (!chunks[best].has_rest)
        return;
    lmx_sum others = chunks[best].rest;
    for (size_t i = 0; i < n; i++)
        if (i != best)
            others = lmx_sum_add(others, chunks[i].sum);
    const lmx_sum own = stable_exact(chunks[best].max);
    const lmx_dd q = dd_div((lmx_dd){ others.hi, others.lo }, (lmx_dd){ own.hi, own.lo });
    const int64_t shift = others.n - own.n;
    if (q.hi != 0 && (shift > 0 || (shift == 0 && q.hi >= 1)))
        return; /* not more than half */
    norm->max = chunks[best].max;
    norm->log_rest =
        log1p_of((lmx_dd){ lmx_scale2_gradual(q.hi, shift), lmx_scale2_gradual(q.lo, shift) });
}

/* S = sum.hi 2^n with sum.hi in [0.5, 1): for x >= 0 log((1 + x) / (2 sum.hi)) - (n - 1) log 2, below
 * -(log((1 - x) sum.hi) + n log 2); both products stay normal. */
typedef struct {
    vreal divide, multiply, down, up; /* 1 / (2 sum.hi), sum.hi, 1 - n, n */
    vreal most, own;
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
