/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PolyNorm (Zhuo and others 2025, arXiv:2411.03884, type II): a polynomial in x whose powers are divided by the root
 * of their mean square in the row,
 *
 *   y = sum_k c[k] x^k + b,   c[k] = w[m-k] r[k],   r[k] = 1 / sqrt(mean(x^(2k)) + eps),   k = 1 .. m
 *
 * and y up.  Two passes: sums of x^2 .. x^(2m) in double (double: compensated), then Horner's scheme.  The sums, r
 * and c are exact to a rounding at their end, so the error is Horner's: (m + 2) u times the sum of |c[k] x^k| and |b|.
 *
 * Backward, g being dy or dy up, nothing but x kept: with m[k] = mean(g x^k) r[k],
 *
 *   dx = g sum_k k c[k] x^(k-1) - x sum_k d[k] x^(2k-2),   d[k] = k w[m-k] r[k]^2 m[k]
 *   dw[m-k] = N m[k], db = sum g, summed over rows; dup = dy times the polynomial
 *
 * In this form nothing leaves the range of float where rstd^3 x^5 would.  Where the row's size is far from 1, so
 * that c[m] or the sums might, x is divided by a power of two e first: eps becomes eps / e^(2k), the c are those of
 * x / e, and dx is divided by e at the end.
 */
#ifndef LMX_POLY_NORM_H
#define LMX_POLY_NORM_H

#include "kernels/loss/loss_math.h"
#include "kernels/loops/map.h"
#include "kernels/loops/products.h"
#include "kernels/loops/size.h"

typedef struct {
    vreal c[LMX_CHANNEL_ORDER + 1];     /* c[0] = b */
    vreal slope[LMX_CHANNEL_ORDER + 1]; /* k c[k] */
    vreal d[LMX_CHANNEL_ORDER + 1];
    vreal scale; /* 1 / e */
    size_t m;
} norm_constants;

typedef struct {
    lmx_dd even[LMX_CHANNEL_ORDER + 1];     /* sum of x^(2k) / e^(2k), k >= 1 */
    lmx_dd products[LMX_CHANNEL_ORDER + 1]; /* sum of g x^k / e^k */
} norm_sums;

/* Adds x^(2k), k = 1 .. m, or g x^k, k = 0 .. m, to s[k]. */
LMX_INLINE_VECTOR void norm_add_even(vwide *s, vreal x, size_t m)
{
    const vwide w = vw_of(x), square = vw_mul(w, w);
    vwide power = square;
    s[1] = vw_merge(s[1], square);
    for (size_t k = 2; k <= m; k++) {
        power = vw_mul(power, square);
        s[k] = vw_merge(s[k], power);
    }
}

LMX_INLINE_VECTOR void norm_add_vjp(vwide *s, vreal dy, vreal x, vreal up, size_t m, unsigned flags)
{
    const vwide w = vw_of(x);
    vwide g = vw_of(dy);
    if (flags & HAS_UP)
        g = vw_mul(g, vw_of(up));
    s[0] = vw_merge(s[0], g);
    for (size_t k = 1; k <= m; k++) {
        g = vw_mul(g, w);
        s[k] = vw_merge(s[k], g);
    }
}

/*
 * One kind of sums, with HAS_DY the second, of up to LMX_CHUNK elements.  The vectors of each 32 lanes one after
 * the other, so that their sums stay in registers; the row is in the cache the second time.
 */
LMX_INLINE void norm_measure(const map_arrays *a, size_t from, size_t to, real scale_, size_t m,
                             unsigned flags, lmx_dd *sums)
{
    lane_sums lanes[LMX_CHANNEL_ORDER + 1];
    const vreal scale = v_set1(scale_);
    for (size_t group = 0; group < GROUPS; group++) {
        vwide s[LMX_CHANNEL_ORDER + 1];
        for (size_t k = 0; k <= m; k++)
            s[k] = vw_zero();
        size_t i = from + group * V_LANES;
        for (; i + V_LANES <= to; i += LMX_LANES) {
            const vreal x = v_mul(e_load(a->x + i), scale);
            if (flags & HAS_DY)
                norm_add_vjp(s, e_load(a->dy + i), x, flags & HAS_UP ? e_load(a->up + i) : x, m,
                             flags);
            else
                norm_add_even(s, x, m);
        }
        if (i < to) {
            const size_t n = to - i;
            const vreal x = v_mul(e_load_n(a->x + i, n, 0), scale);
            if (flags & HAS_DY)
                norm_add_vjp(s, e_load_n(a->dy + i, n, 0), x,
                             flags & HAS_UP ? e_load_n(a->up + i, n, 0) : x, m, flags);
            else
                norm_add_even(s, x, m);
        }
        for (size_t k = 0; k <= m; k++)
            lanes[k].group[group] = s[k];
    }
    for (size_t k = 0; k <= m; k++)
        sums[k] = lmx_dd_add(sums[k], lane_total(lanes[k]));
}

typedef void norm_measure_fn(const map_arrays *a, size_t from, size_t to, real scale, size_t m,
                             lmx_dd *sums);

/* Order 3, the published one, has loops of known length. */
LMX_NOINLINE void norm_even_3(const map_arrays *a, size_t from, size_t to, real scale, size_t m,
                              lmx_dd *sums)
{
    (void)m;
    norm_measure(a, from, to, scale, 3, 0, sums);
}

LMX_NOINLINE void norm_even_m(const map_arrays *a, size_t from, size_t to, real scale, size_t m,
                              lmx_dd *sums)
{
    norm_measure(a, from, to, scale, m, 0, sums);
}

LMX_INLINE void norm_row_sums(const map_arrays *a, real scale, size_t m, norm_measure_fn *measure,
                              lmx_dd *sums)
{
    for (size_t k = 0; k <= m; k++)
        sums[k] = (lmx_dd){ 0, 0 };
    for (size_t at = 0; at < a->n; at += LMX_CHUNK)
        measure(a, at, a->n - at < LMX_CHUNK ? a->n : at + LMX_CHUNK, scale, m, sums);
}

/*
 * The exponent of e: 0 unless the root mean square is so large or small that a power of it is near the end of the
 * range of a real.  A small row needs none if eps is larger than its powers.
 */
LMX_INLINE int64_t norm_shift(const map_arrays *a, lmx_dd squares, double eps, size_t m)
{
    const int64_t most = (sizeof(real) == 4 ? 100 : 900) / (int64_t)(2 * m);
    const double mean = squares.hi / (double)a->n;
    if (lmx_finite(mean) && mean > 0) {
        const int64_t e = exponent_of(mean) / 2;
        if (e < most && e > -most)
            return 0;
    }
    const double largest = row_largest(a->x, a->n, 1);
    if (!(largest > 0 && lmx_finite(largest))) /* zeros, or not to be saved */
        return 0;
    int64_t e = exponent_of(largest);
    const int64_t least = eps > 0 ? exponent_of(eps) / (int64_t)(2 * m) : -2000;
    e = e > least ? e : least;
    if (e < most && e > -most)
        return 0;
    return exponent_bounded(e);
}

/* r[k] of x / e */
LMX_INLINE lmx_dd norm_root(lmx_dd sum, size_t n, double eps, int64_t shift)
{
    const int64_t far = -shift > 2000 ? 2000 : -shift < -2000 ? -2000 : -shift;
    if (!lmx_finite(sum.hi))
        return dd_of(lmx_qnan());
    const double scaled = lmx_scale2_gradual(lmx_scale2_gradual(eps, far / 2), far - far / 2);
    const lmx_dd mean = w_div(sum, dd_of((double)n));
    return w_div(dd_of(1), w_sqrt(w_add(mean, dd_of(scaled))));
}

/* Prepares the constants of a row from its sums, of which squares[] are there; NaN if it holds inf or NaN. */
LMX_INLINE void norm_prepare(const map_arrays *a, const lmx_channel_spec *spec, size_t m,
                             norm_measure_fn *even, norm_measure_fn *products,
                             const lmx_dd *squares, norm_constants *k, lmx_dd *sums)
{
    norm_sums s;
    const int64_t shift = norm_shift(a, squares[1], spec->eps, m);
    const real scale = (real)lmx_scale2_gradual(1, -shift);
    if (shift != 0)
        norm_row_sums(a, scale, m, even, s.even);
    else
        memcpy(s.even, squares, sizeof s.even);
    if (products != NULL)
        norm_row_sums(a, scale, m, products, s.products);
    k->scale = v_set1(scale);
    k->m = m;
    k->c[0] = v_set1((real)spec->p[m]);
    for (size_t i = 1; i <= m; i++) {
        const double w = (double)(real)spec->p[m - i];
        const lmx_dd r = norm_root(s.even[i], a->n, spec->eps, 2 * (int64_t)i * shift);
        const real c = (real)dd_value(w_mul(dd_of(w), r));
        k->c[i] = v_set1(c);
        if (products == NULL)
            continue;
        const lmx_dd term = w_mul(s.products[i], r); /* N m[k] */
        const lmx_dd mean = w_mul(w_div(term, dd_of((double)a->n)), w_mul(r, r));
        k->slope[i] = v_set1((real)i * c);
        k->d[i] = v_set1((real)dd_value(w_mul(dd_of((double)i * w), mean)));
        if (sums != NULL)
            sums[m - i] = lmx_dd_add(sums[m - i], term);
    }
    if (products != NULL && sums != NULL)
        sums[m] = lmx_dd_add(sums[m], s.products[0]);
}

LMX_INLINE vreal norm_polynomial(const norm_constants *k, vreal x, size_t m)
{
    vreal y = k->c[m];
    for (size_t i = m; i-- > 0;)
        y = v_fma(y, x, k->c[i]);
    return y;
}

LMX_INLINE_VECTOR vreal norm_value(map_in in, const norm_constants *k, size_t m, unsigned flags)
{
    const vreal y = norm_polynomial(k, v_mul(in.x, k->scale), m);
    return canonical(flags & HAS_UP ? v_mul(y, in.up) : y);
}

LMX_INLINE_VECTOR vreal norm_vjp(map_in in, const norm_constants *k, size_t m, unsigned flags,
                                 vreal *up)
{
    const vreal x = v_mul(in.x, k->scale), t = v_mul(x, x);
    const vreal g = flags & HAS_UP ? v_mul(in.dy, in.up) : in.dy;
    vreal slope = k->slope[m], d = k->d[m];
    for (size_t i = m - 1; i >= 1; i--) {
        slope = v_fma(slope, x, k->slope[i]);
        d = v_fma(d, t, k->d[i]);
    }
    if (flags & HAS_UP)
        *up = canonical(v_mul(in.dy, norm_polynomial(k, x, m)));
    const vreal dx = v_fma(g, slope, v_sub(v_set1(0), v_mul(x, d)));
    return canonical(v_mul(dx, k->scale));
}

/* Where rows are not pipelined, a row's second pass prefetches the next row. */
LMX_INLINE size_t norm_prefetch(const lmx_piece *e, const map_arrays *a)
{
    const size_t row = (size_t)e->stride[LMX_X] * sizeof(elem);
    return e->how & LMX_HOW_STREAM && a->n <= LMX_CHUNK ? row : 0;
}

/*
 * The results of a row interleaved with the sums of the next: the first wait for the memory that they write to, which
 * the second do not need.  The lanes and their order are those of norm_measure().
 */
LMX_INLINE_VECTOR void norm_pipelined(const map_arrays *row, const norm_constants *k,
                                      const map_arrays *next, unsigned flags, map_body *body,
                                      lmx_dd *squares)
{
    enum { M = 3 };
    const size_t n = row->n, past = (size_t)(0 - (uintptr_t)row->out) % 64 / sizeof(elem);
    vwide s[GROUPS][M + 1];
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t i = 0; i <= M; i++)
            s[g][i] = vw_zero();
    size_t at = 0;
    for (; at < past; at += V_LANES)
        map_tail(row, at, past - at < V_LANES ? past - at : V_LANES, flags, body, k);
    at = past;
    for (size_t i = 0; i < n; i += LMX_LANES) {
        for (size_t q = 0; q < LMX_LANES; q += 64 / sizeof(elem)) {
            LMX_PREFETCH_READ((const char *)(next->x + i + q) + PREFETCH_DISTANCE);
            if (flags & HAS_UP)
                LMX_PREFETCH_READ((const char *)(row->up + i + q) + PREFETCH_DISTANCE);
        }
        for (size_t g = 0; g < GROUPS; g++) {
            const size_t from = i + g * V_LANES, left = n > from ? n - from : 0;
            if (left >= V_LANES)
                norm_add_even(s[g], e_load(next->x + from), M);
            else if (left > 0)
                norm_add_even(s[g], e_load_n(next->x + from, left, 0), M);
            if (at + V_LANES <= n) {
                const vreal x = e_load(row->x + at);
                const map_in in = { x, x, flags & HAS_UP ? e_load(row->up + at) : x };
                vreal second = x;
                e_stream(row->out + at, body(in, k, &second));
                at += V_LANES;
            }
        }
    }
    if (at < n)
        map_tail(row, at, n - at, flags, body, k);
    for (size_t i = 0; i <= M; i++) {
        lane_sums lanes;
        for (size_t g = 0; g < GROUPS; g++)
            lanes.group[g] = s[g][i];
        squares[i] = lmx_dd_add((lmx_dd){ 0, 0 }, lane_total(lanes));
    }
}

LMX_INLINE void norm_rows(const lmx_piece *e, const lmx_channel_spec *spec, size_t m,
                          norm_measure_fn *even, norm_measure_fn *products, unsigned flags,
                          map_body *body)
{
    /* of the published order alone: more sums than its do not fit into registers */
    const int pipelined =
        m == 3 && products == NULL && e->how & LMX_HOW_STREAM && e->n >= 128 && e->n <= LMX_CHUNK;
    lmx_dd squares[LMX_CHANNEL_ORDER + 1];
    for (size_t r = 0; r < e->rows; r++) {
        map_arrays a = map_row(e, r);
        norm_constants k;
        if (!pipelined || r == 0)
            norm_row_sums(&a, 1, m, even, squares);
        norm_prepare(&a, spec, m, even, products, squares, &k, e->sums);
        if (pipelined && r + 1 < e->rows) {
            const map_arrays next = map_row(e, r + 1);
            norm_pipelined(&a, &k, &next, flags, body, squares);
            continue;
        }
        a.prefetch = norm_prefetch(e, &a);
        map_all(&a, flags, body, &k);
    }
    map_done(e->how);
}

#define NORM_KERNEL(name, flags)                                                                   \
  LMX_NOINLINE void pull_sums_3(const map_arrays *a, size_t from, size_t to, real scale, size_t m, \
                                lmx_dd *sums)                                                      \
  {                                                                                                \
    (void)m;                                                                                       \
    norm_measure(a, from, to, scale, 3, (flags) | HAS_DY, sums);                                   \
  }                                                                                                \
  LMX_NOINLINE void pull_sums_m(const map_arrays *a, size_t from, size_t to, real scale, size_t m, \
                                lmx_dd *sums)                                                      \
  {                                                                                                \
    norm_measure(a, from, to, scale, m, (flags) | HAS_DY, sums);                                   \
  }                                                                                                \
  static vreal value_3(map_in in, const void *k, vreal *up)                                        \
  {                                                                                                \
    (void)up;                                                                                      \
    return norm_value(in, k, 3, flags);                                                            \
  }                                                                                                \
  static vreal value_m(map_in in, const void *k, vreal *up)                                        \
  {                                                                                                \
    (void)up;                                                                                      \
    return norm_value(in, k, ((const norm_constants *)k)->m, flags);                               \
  }                                                                                                \
  static vreal pull_3(map_in in, const void *k, vreal *up)                                         \
  {                                                                                                \
    return norm_vjp(in, k, 3, flags, up);                                                          \
  }                                                                                                \
  static vreal pull_m(map_in in, const void *k, vreal *up)                                         \
  {                                                                                                \
    return norm_vjp(in, k, ((const norm_constants *)k)->m, flags, up);                             \
  }                                                                                                \
  static void forward(const lmx_piece *e, const lmx_channel_spec *spec)                            \
  {                                                                                                \
    if (spec->np == 4)                                                                             \
      norm_rows(e, spec, 3, norm_even_3, NULL, flags, value_3);                                    \
    else                                                                                           \
      norm_rows(e, spec, spec->np - 1, norm_even_m, NULL, flags, value_m);                         \
  }                                                                                                \
  static void backward(const lmx_piece *e, const lmx_channel_spec *spec)                           \
  {                                                                                                \
    const unsigned all = (flags) | HAS_DY | ((flags)&HAS_UP ? HAS_UP_OUT : 0);                     \
    if (spec->np == 4)                                                                             \
      norm_rows(e, spec, 3, norm_even_3, pull_sums_3, all, pull_3);                                \
    else                                                                                           \
      norm_rows(e, spec, spec->np - 1, norm_even_m, pull_sums_m, all, pull_m);                     \
  }                                                                                                \
  const lmx_channel_kernel LMX_K(name) = { forward, backward };

#endif
