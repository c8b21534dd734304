/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows normalised by the sum of a positive function of each element, y[i] = f(x[i]) / sum_k
 * f(x[k]), and its gradient from the input,
 *
 *     dx[i] = f'(x[i]) / S * (dy[i] - mean),  S = sum_k f(x[k]),  mean = sum_k f(x[k]) dy[k] / S.
 *
 * f may leave the range of a real where y does not, so it is computed as f(x) 2^(-e degree), with
 * an exponent e for each chunk.  The first e is `start`.  If the sum shows that values overflowed,
 * or that the largest is so small that others are subnormal, the chunk is measured again with an e
 * that brings its largest value near 2^POSITIVE_AIM.  A sum of at least 1 is accurate enough: an
 * error of half a quantum (the smallest subnormal) in f is at most that in y.
 */
#ifndef LMX_POSITIVE_H
#define LMX_POSITIVE_H

#include "kernels/loss/loss_math.h"
#include "kernels/loops/products.h"
#include "kernels/loops/size.h"
#include "kernels/loops/sums.h"

#define POSITIVE_AIM 40

/*
 * With a larger sum, values are near overflow (float), or sums of products with dy would overflow
 * (double).
 */
#define POSITIVE_MOST (sizeof(real) == 4 ? 0x1p+126 : 0x1p+200)

/* The constants of a chunk. */
typedef struct {
    vreal a, b, post; /* factors whose product is 1 / S */
    vreal divisor;    /* minus the mantissa of S */
    vreal mean;       /* vjp: sum_k f(x[k]) dy[k] / S */
    vreal down;       /* 2^-e */
    vreal unit;       /* eps in units of f */
    int order;        /* of the polynomial f = sum of (hi + lo)[i] (x 2^-e)^i */
    vreal hi[LMX_TAYLOR_ORDER_MAX + 1], lo[LMX_TAYLOR_ORDER_MAX + 1];
} positive_constants;

/* A positive function f. */
typedef struct {
    /* fills k with the constants of f, or with `slope` those of f' 2^(-e (degree - 1)) */
    void (*at)(positive_constants *k, double parameter, int64_t e, int slope);
    row_body *value; /* f(x) 2^(-e degree) */
    int64_t (*degree)(double parameter);
    int64_t start;                                         /* the first e to try */
    int64_t (*exponent)(double parameter, double largest); /* e for a largest element */
    int by_size; /* `largest` is the largest absolute value */
} positive_map;

/* Measures a chunk: its sums, and in n0 the exponent e that they were computed with. */
LMX_INLINE void positive_measure(const elem *x, const elem *b, size_t n, const positive_map *f,
                                 unsigned flags, lmx_chunk *c)
{
    positive_constants k;
    c->n0 = f->start;
    f->at(&k, c->parameter, c->n0, 0);
    sum_row(x, b, n, LMX_NO_TARGET, f->value, &k, flags, c);
    if (!(c->sum.hi >= 1 && c->sum.hi <= POSITIVE_MOST)) {
        const double largest = row_largest(x, n, f->by_size);
        const int64_t e =
            lmx_finite(largest) ? exponent_bounded(f->exponent(c->parameter, largest)) : c->n0;
        if (e != c->n0) {
            c->n0 = e;
            f->at(&k, c->parameter, e, 0);
            sum_row(x, b, n, LMX_NO_TARGET, f->value, &k, flags, c);
        }
    }
    const int64_t shift = c->n0 * f->degree(c->parameter);
    c->kind = !lmx_finite(c->sum.hi) ? LMX_KIND_BAD
              : c->sum.hi == 0       ? LMX_KIND_EMPTY
                                     : LMX_KIND_PLAIN;
    c->sum = lmx_sum_of(c->sum.hi, c->sum.lo, shift, 0);
    c->rest.n = shift;
}

/* Folds the sums into S, and the sums of products with dy into their mean. */
LMX_INLINE void positive_fold_mean(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    lmx_dd mean = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        const double share = lmx_scale2_gradual(1 / norm->sum.hi, chunks[i].rest.n - norm->sum.n);
        mean = lmx_dd_add(mean, (lmx_dd){ chunks[i].rest.hi * share, chunks[i].rest.lo * share });
    }
    norm->mean = dd_value(mean);
}

/*
 * The factors for f 2^shift / S.  The power of two is split in b and post; where it is too small
 * for both, post and the result are 0.
 */
LMX_INLINE void positive_factor(positive_constants *k, const lmx_norm *norm, int64_t shift)
{
    const int64_t most = sizeof(real) == 4 ? 120 : 1000, e = shift - norm->sum.n;
    const int64_t near = e > most ? most : e < -most ? -most : e;
    k->divisor = v_set1((real)-norm->sum.hi);
    k->a = v_set1((real)(1 / norm->sum.hi));
    k->b = v_set1((real)lmx_scale2(1, near));
    k->post = v_set1((real)lmx_scale2_gradual(1, e - near > most ? most : e - near));
}

/*
 * The factors for (f' a) (dy - mean) post, f' in units of 2^(e (degree - 1)).  1 / S is split in a
 * and post such that f' a is about 2^20 where f' is as large as S allows, S^((degree - 1) /
 * degree).  Then no intermediate product underflows through a small f' or a small dy unless the
 * result does.
 */
LMX_INLINE void positive_factor_vjp(positive_constants *k, const lmx_norm *norm, int64_t e,
                                    int64_t degree)
{
    const int64_t most = sizeof(real) == 4 ? 120 : 1000;
    int64_t bits = norm->sum.n - e * degree; /* the exponent of S, in units of f */
    bits = (bits > most ? most : bits) * (degree - 1) / degree;
    const int64_t all = e * (degree - 1) - norm->sum.n, wanted = all - (20 - bits);
    const int64_t outer = wanted > most ? most : wanted < -most ? -most : wanted;
    k->mean = v_set1((real)norm->mean);
    k->a = v_set1((real)lmx_scale2_gradual(1 / norm->sum.hi, all - outer));
    k->post = v_set1((real)lmx_scale2(1, outer));
}

/*
 * value / S.  The quotient is corrected by its remainder (Markstein) and so rounded to nearest: a
 * share is at most 1, and 1 for a single element.
 */
LMX_INLINE vreal positive_share(vreal value, const positive_constants *k)
{
    const vreal q = v_mul(value, k->a);
    const vreal quotient = v_fma(v_fma(q, k->divisor, value), k->a, q);
    return v_mul(v_mul(quotient, k->b), k->post);
}

LMX_INLINE vreal positive_vjp(vreal dy, vreal slope, const positive_constants *k)
{
    return canonical(v_mul(v_mul(v_mul(slope, k->a), v_sub(dy, k->mean)), k->post));
}

/* Fills a row that cannot be normalised with NaN; returns whether it did. */
LMX_INLINE int positive_filled(const lmx_norm *norm, elem *out, size_t n)
{
    if (norm->kind == LMX_KIND_PLAIN)
        return 0;
    row_fill(out, n, LMX_QNAN);
    return 1;
}

LMX_INLINE void positive_apply(const elem *x, size_t n, const lmx_chunk *c, const lmx_norm *norm,
                               elem *out, unsigned how, const positive_map *f, row_body *share)
{
    if (positive_filled(norm, out, n))
        return;
    positive_constants k;
    f->at(&k, c->parameter, c->n0, 0);
    positive_factor(&k, norm, c->n0 * f->degree(c->parameter));
    row_map(x, NULL, n, out, how, 0, share, &k);
}

LMX_INLINE void positive_apply_vjp(const elem *dy, const elem *x, size_t n, const lmx_chunk *c,
                                   const lmx_norm *norm, elem *out, unsigned how,
                                   const positive_map *f, row_body *vjp)
{
    if (positive_filled(norm, out, n))
        return;
    positive_constants k;
    f->at(&k, c->parameter, c->n0, 1);
    positive_factor_vjp(&k, norm, c->n0, f->degree(c->parameter));
    row_map(dy, x, n, out, how, MAP_B, vjp, &k);
}

/* Names an operation without column kernels: its columns are gathered into rows. */
#define LMX_POSITIVE_KERNEL(name, measure, fold, apply, inputs) \
  LMX_ROW_KERNEL(name, no_guess, measure, fold, apply, inputs, 0, RESULT_ROW, NULL, NULL, NULL, 0)

#endif
