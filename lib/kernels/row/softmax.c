/* SPDX-License-Identifier: Apache-2.0 */
/*
 * softmax: y[i] = exp(x[i]) / sum exp(x).
 *
 * y = fl(a * s) with the exact term a = m 2^(n - n0 + B) and the row constant
 * s = fl(1 / M) 2^(n0 - B - N), where the row's sum is M 2^N: one rounding, also where y is
 * subnormal, and the same bits whether the terms were stored by pass 1 or are computed
 * again in pass 2.  y <= 1, for the rounded sum is no less than any rounded term.
 * A row with NaN or +inf, or of -inf alone: NaN.  -inf among finite logits: +0.
 * Max error 3.3 ulp (float, 1e6 elements of N(0, 10)); bound 4.
 */
#include "kernels/loops/expsum_columns.h"

/* The sum of the terms relative to n0; the terms are stored unless `terms` is NULL. */
lmx_dd LMX_K(sum_terms)(const elem *x, size_t n, real *terms, int64_t n0)
{
    sum_found found;
    if (terms != NULL)
        sum_lanes(x, n, terms, n0, 0, SUM_STORE, &found, NULL, NULL);
    else
        sum_lanes(x, n, NULL, n0, 0, 0, &found, NULL, NULL);
    return lane_total(found.lanes);
}

static void measure(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)b;
    if (LMX_LIKELY(c->kind == LMX_KIND_PLAIN)) {
        const lmx_dd s = LMX_K(sum_terms)(x, n, terms, c->n0);
        if (LMX_LIKELY(sum_fits(s.hi))) {
            chunk_finish(x, n, c->n0, 0, 0, NULL, s, c);
            return;
        }
    }
    measure_exact(x, n, terms, terms != NULL ? SUM_STORE : 0, c);
}

static void measure_columns(const lmx_columns *c, lmx_chunk *chunks)
{
    measure_sum_columns(c, SUM_STORE, chunks);
}

/* Row constants: a * pre * s, where pre is a power of two, 1 unless s alone would underflow. */
typedef struct {
    v_ref ref;
    vreal shift, pre, s;
} softmax_constants;

static vreal from_terms(vreal a, vreal b, const void *k)
{
    (void)b;
    return v_mul(a, ((const softmax_constants *)k)->s);
}

static vreal from_terms_pipelined(vreal a, vreal b, const void *k)
{
    (void)b;
    return v_mul(a, *(const vreal *)k);
}

static vreal from_terms_far(vreal a, vreal b, const void *k)
{
    const softmax_constants *c = k;
    (void)b;
    return v_mul(v_mul(a, c->pre), c->s);
}

static vreal from_logits(vreal x, vreal b, const void *k)
{
    const softmax_constants *c = k;
    (void)b;
    return v_mul(v_term(x, &c->ref), c->s);
}

static vreal from_logits_far(vreal x, vreal b, const void *k)
{
    const softmax_constants *c = k;
    (void)b;
    return v_mul(v_mul(v_term(v_sub(x, c->shift), &c->ref), c->pre), c->s);
}

/*
 * The factor that turns terms relative to n0 (and shift) into probabilities, as pre * s.  Where
 * terms are far above 1 its exponent may be below the normal range; then s has the least normal
 * exponent and pre, a power of two, the remainder.  A term that pre * a would round gives a result
 * below half the smallest subnormal anyway.
 */
LMX_INLINE void softmax_factor(int64_t n0, double shift, int shifted, const lmx_sum *sum, real *pre,
                               real *s)
{
    double m = 1;
    int64_t e = n0 - V_BIAS - sum->n;
    *pre = 1;
    if (shifted || sum->base != 0) {
        const double d = shift - sum->base;
        if (!(d > -0x1p+53 && d < 0x1p+53)) {
            *s = d > 0 ? LMX_INF : 0;
            return;
        }
        const lmx_exp2part p = lmx_exp_split(d < -LMX_BASE_MIN ? -LMX_BASE_MIN : d, 0);
        m = p.m;
        e += p.n;
    }
    m /= sum->hi; /* one rounding: the largest term times it is at most 1 */
    const int64_t least = sizeof(real) == 4 ? -126 : -1022;
    if (e < least) {
        const int64_t over = e - least;
        if (over < (sizeof(real) == 4 ? -140 : -1060)) {
            *s = 0;
            return;
        }
        *pre = (real)lmx_scale2_gradual(1, over);
        e = least;
    } else if (e > -least) {
        *s = LMX_INF; /* the caller's total is too small to include this row */
        return;
    }
    *s = (real)m * (real)lmx_scale2_gradual(1, e);
}

static void apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                  const lmx_norm *norm, void *out, unsigned how)
{
    (void)b;
    if (norm->kind == LMX_KIND_BAD || norm->kind == LMX_KIND_EMPTY) {
        row_fill(out, n, LMX_QNAN);
        return;
    }
    if (chunk->kind == LMX_KIND_EMPTY) {
        row_fill(out, n, 0);
        return;
    }
    real pre, s;
    softmax_factor(chunk->n0, chunk->shift, chunk->kind == LMX_KIND_SHIFTED, &norm->sum, &pre, &s);
    softmax_constants k;
    k.pre = v_set1(pre);
    k.s = v_set1(s);
    const int far = chunk->kind == LMX_KIND_SHIFTED || pre != 1;
    if (how & LMX_HOW_TERMS) {
        if (pre != 1)
            row_map(a, NULL, n, out, how, MAP_TERMS, from_terms_far, &k);
        else
            row_map(a, NULL, n, out, how, MAP_TERMS, from_terms, &k);
        return;
    }
    k.ref = v_ref_at(chunk->n0);
    k.shift = v_set1((real)chunk->shift);
    if (far)
        row_map(a, NULL, n, out, how, 0, from_logits_far, &k);
    else
        row_map(a, NULL, n, out, how, 0, from_logits, &k);
}

/*
 * Pipelined rows: pass 2 reads stored terms, and its factor must be one multiplication (pre == 1).
 */
static void measure_pipelined(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c,
                              row_pending *pending)
{
    (void)b;
    measure_sum(x, n, terms, SUM_STORE | SUM_PENDING, c, pending, from_terms_pipelined);
}

LMX_INLINE int pipelined_constants(const lmx_chunk *chunk, const lmx_norm *norm,
                                   vreal k[PENDING_CONSTANTS])
{
    if (norm->kind != LMX_KIND_PLAIN || chunk->kind == LMX_KIND_EMPTY)
        return 0;
    real pre, s;
    softmax_factor(chunk->n0, chunk->shift, chunk->kind == LMX_KIND_SHIFTED, &norm->sum, &pre, &s);
    k[0] = v_set1(s);
    return pre == 1;
}

static void pipelined(const lmx_rows *r)
{
    pipelined_loop(r, guess_sum, measure_pipelined, lmx_fold_sum, apply, pipelined_constants,
                   from_terms_pipelined, 1, 1);
}

LMX_INLINE void constants(const lmx_chunk *chunk, const lmx_norm *norm, real k[COLUMN_CONSTANTS])
{
    const int64_t n0 = chunk->n0;
    const ibits bias = exp_bias(n0);
    k[0] = exp_lo(n0);
    k[1] = exp_hi(n0);
    memcpy(&k[2], &bias, sizeof bias);
    softmax_factor(n0, 0, 0, &norm->sum, &k[3], &k[4]);
}

LMX_INLINE vreal column_from_terms(vreal a, vreal b, const vreal *k)
{
    (void)b;
    return v_mul(v_mul(a, k[3]), k[4]);
}

LMX_INLINE vreal column(vreal x, vreal b, const vreal *k)
{
    return column_from_terms(v_term_at(x, k[0], k[1], k[2]), b, k);
}

static void apply_columns(const lmx_columns *c, const lmx_chunk *chunks, const lmx_norm *norms)
{
    columns_map(c, chunks, norms, 1, constants, column, column_from_terms);
}

LMX_ROW_KERNEL(softmax, guess_sum, measure, lmx_fold_sum, apply, 1, 1, RESULT_ROW, measure_columns,
               apply_columns, pipelined, 1)
