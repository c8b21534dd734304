/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels and entries say to each other about a row: constants of the cut,
 * sums with an extended exponent, and the scalar mathematics that finishes a row.
 *
 * Everything here is scalar double arithmetic from +, -, *, / and fma, so it has
 * the same bits in whichever file and tier it is inlined.  Libm is not called
 * except for fma(), which is exact.
 */
#ifndef LMX_CHUNK_H
#define LMX_CHUNK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common.h"
#include "lanemax/lanemax.h"

/*
 * A row is cut into chunks of 16,384 elements, whatever the number of threads; the
 * sums of chunks are merged in their order.  A chunk is cut into blocks of 128:
 * LMX_TREE elements for each of the 32 lanes, summed in a tree.
 */
#define LMX_CHUNK 16384
#define LMX_TREE  4
#define LMX_BLOCK (32 * LMX_TREE)

/* The log family sums this many elements of a chunk without trees, term by term in double: what
 * the sum is without its largest term is a subtraction if that is among them. */
#define LMX_WIDE 1024

/* The quiet NaN without sign or payload; the macro NAN may carry either. */
LMX_INLINE double lmx_qnan(void)
{
    const uint64_t u = UINT64_C(0x7ff8000000000000);
    double v;
    memcpy(&v, &u, sizeof v);
    return v;
}

LMX_INLINE int lmx_finite(double v) { return v - v == 0; }

/* ------------------------------------------------------- double-double --- */

typedef struct {
    double hi, lo;
} lmx_dd;

/* hi + lo = a + b exactly (Knuth). */
LMX_INLINE lmx_dd lmx_two_sum(double a, double b)
{
    const double s = a + b, t = s - a;
    return (lmx_dd){ s, (a - (s - t)) + (b - t) };
}

/* The same for |a| >= |b| (Dekker). */
LMX_INLINE lmx_dd lmx_fast_two_sum(double a, double b)
{
    const double s = a + b;
    return (lmx_dd){ s, b - (s - a) };
}

LMX_INLINE lmx_dd lmx_dd_add(lmx_dd a, lmx_dd b)
{
    const lmx_dd s = lmx_two_sum(a.hi, b.hi);
    return lmx_fast_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

/* x * 2^n for a result in the normal range, or 0 where n <= -1022. */
LMX_INLINE double lmx_scale2(double x, int64_t n)
{
    if (n <= -1022)
        return 0;
    const uint64_t u = (uint64_t)(n + 1023) << 52;
    double p;
    memcpy(&p, &u, sizeof p);
    return x * p;
}

/* The same down to subnormal results, rounded once. */
LMX_INLINE double lmx_scale2_gradual(double x, int64_t n)
{
    return n < -1100 ? 0 : lmx_scale2(lmx_scale2(x, n / 2), n - n / 2);
}

/* ------------------------------------------------- exp and log, scalar --- */

/* ln 2 = LN2_1 + LN2_2 + LN2_3 to 160 bits. */
#define LMX_LOG2E 0x1.71547652b82fep+0
#define LMX_LN2_1 0x1.62e42fefa39efp-1
#define LMX_LN2_2 0x1.abc9e3b39803fp-56
#define LMX_LN2_3 0x1.7b57a079a1934p-111

/*
 * exp(t) = 1 + t + C2 t^2 + ... + C12 t^12 on |t| <= ln2/2, relative error below 2^-58:
 * tools/coeffs/exp_f64.py.  The vector exponential of double uses the same numbers.
 */
#define LMX_EXP_C2  0x1p-1
#define LMX_EXP_C3  0x1.5555555555556p-3
#define LMX_EXP_C4  0x1.5555555555555p-5
#define LMX_EXP_C5  0x1.11111111109b5p-7
#define LMX_EXP_C6  0x1.6c16c16c167e2p-10
#define LMX_EXP_C7  0x1.a01a01a7c2f2cp-13
#define LMX_EXP_C8  0x1.a01a01a47a5abp-16
#define LMX_EXP_C9  0x1.71de0db2eb873p-19
#define LMX_EXP_C10 0x1.27e4e1f71bcbbp-22
#define LMX_EXP_C11 0x1.af389eea54156p-26
#define LMX_EXP_C12 0x1.1f66d957d0ef0p-29

/* exp(x + lo) = (m + m_lo) * 2^n, m in [0.7, 1.42] and nearest to m + m_lo; |x| <= 2^53, |lo|
 * small.  Softmax of huge logits stays at most 1 because m is nearest (row_softmax.c). */
typedef struct {
    double m, m_lo;
    int64_t n;
} lmx_exp2part;

/* x - n ln2 to about 2^-106 relative to max(x, 1), for n within 1 of x / ln2. */
LMX_INLINE lmx_dd lmx_exp_reduce(double x, double n)
{
    /* n * LN2_1 = p + e exactly, and x - p is exact, for p is within a factor 2 of x or 0. */
    const double p = n * LMX_LN2_1, e = fma(n, LMX_LN2_1, -p);
    const lmx_dd a = lmx_two_sum(x - p, -e);
    const double q = n * LMX_LN2_2, f = fma(n, LMX_LN2_2, -q);
    const lmx_dd b = lmx_two_sum(a.hi, -q);
    return lmx_fast_two_sum(b.hi, b.lo + (a.lo - f - n * LMX_LN2_3));
}

LMX_INLINE double lmx_round(double x) /* |x| <= 2^51 */ { return (x + 0x1.8p+52) - 0x1.8p+52; }

LMX_INLINE lmx_exp2part lmx_exp_split(double x, double lo)
{
    /* A conversion of what int64_t cannot hold is undefined; callers drop such terms. */
    x = x > -0x1p+53 ? x : -0x1p+53;
    x = x < 0x1p+53 ? x : 0x1p+53;
    double n = x * LMX_LOG2E;
    n = n < 0x1p+51 && n > -0x1p+51 ? lmx_round(n) : (double)(int64_t)n;
    lmx_dd t = lmx_exp_reduce(x, n);
    t.lo += lo;
    if (t.hi > 0.4 || t.hi < -0.4) { /* x so large that x * log2e was off by an integer */
        const double k = lmx_round(t.hi * LMX_LOG2E);
        lo = t.lo;
        t = lmx_exp_reduce(t.hi, k);
        t.lo += lo;
        n += k;
    }
    double c = LMX_EXP_C12;
    c = fma(c, t.hi, LMX_EXP_C11);
    c = fma(c, t.hi, LMX_EXP_C10);
    c = fma(c, t.hi, LMX_EXP_C9);
    c = fma(c, t.hi, LMX_EXP_C8);
    c = fma(c, t.hi, LMX_EXP_C7);
    c = fma(c, t.hi, LMX_EXP_C6);
    c = fma(c, t.hi, LMX_EXP_C5);
    c = fma(c, t.hi, LMX_EXP_C4);
    c = fma(c, t.hi, LMX_EXP_C3);
    /* t^2 / 2 in two parts: what is rounded, t^3 c, is below 0.008. */
    const double h = 0.5 * t.hi * t.hi, h_lo = fma(0.5 * t.hi, t.hi, -h);
    const lmx_dd u = lmx_two_sum(t.hi, h);
    const lmx_dd m = lmx_two_sum(1, u.hi);
    const double r = u.lo + (h_lo + fma(2 * h * t.hi, c, fma(t.lo, u.hi, t.lo)));
    const lmx_dd e = lmx_fast_two_sum(m.hi, m.lo + r);
    return (lmx_exp2part){ e.hi, e.lo, (int64_t)n };
}

/* exp(x + lo) rounded nearly to nearest for x <= 0; 0 below 2^-1022. */
LMX_INLINE double lmx_exp_neg(double x, double lo)
{
    if (!(x > -800))
        return 0;
    const lmx_exp2part e = lmx_exp_split(x, lo);
    return lmx_scale2(e.m + e.m_lo, e.n);
}

/*
 * log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)], given as the correction to f, to 2^-58 absolute.
 * With s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + R)), where
 * R = 2 s^2 (s^2/3 + s^4/5 + ...) / s ... summed to s^22: the first term left out is below 2^-59.
 * f^2/2 <= 0.09 is kept in two parts, so that only s (f^2/2 + R) <= 0.015 is rounded.
 */
LMX_INLINE lmx_dd lmx_log1p_tail(double f)
{
    const double s = f / (2 + f), z = s * s;
    /* Estrin's scheme: half the latency of Horner's. */
    const double z2 = z * z, z4 = z2 * z2;
    const double r0 = fma(2.0 / 5, z, 2.0 / 3), r1 = fma(2.0 / 9, z, 2.0 / 7);
    const double r2 = fma(2.0 / 13, z, 2.0 / 11), r3 = fma(2.0 / 17, z, 2.0 / 15);
    const double r4 = fma(2.0 / 21, z, 2.0 / 19), r5 = 2.0 / 23;
    const double s0 = fma(r1, z2, r0), s1 = fma(r3, z2, r2), s2 = fma(r5, z2, r4);
    const double r = fma(fma(s2, z4, s1), z4, s0);
    const double h = 0.5 * f * f;
    return lmx_fast_two_sum(-h, fma(s, fma(r, z, h), -fma(0.5 * f, f, -h)));
}

/* m * 2^n = v for a positive normal v, m in [sqrt(1/2), sqrt(2)). */
LMX_INLINE double lmx_split_sqrt(double v, int64_t *n)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    /* 0x3fe6a09e667f3bcd is sqrt(1/2): take the power of two that leaves at least that. */
    const int64_t k = (int64_t)(u - UINT64_C(0x3fe6a09e667f3bcd)) >> 52;
    u -= (uint64_t)k << 52;
    memcpy(&v, &u, sizeof v);
    *n = k;
    return v;
}

/* log((hi + lo) * 2^n) for positive normal hi, to about 2^-57 absolute, as hi + lo. */
LMX_INLINE lmx_dd lmx_log_dd(double hi, double lo, int64_t n)
{
    int64_t k;
    const double m = lmx_split_sqrt(hi, &k), f = m - 1;
    const double c = lmx_scale2(lo, -k) / m;
    const double kn = (double)(k + n);
    const double p = kn * LMX_LN2_1, e = fma(kn, LMX_LN2_1, -p);
    const lmx_dd s = lmx_two_sum(p, f), t = lmx_log1p_tail(f), u = lmx_two_sum(s.hi, t.hi);
    return lmx_fast_two_sum(u.hi, u.lo + (s.lo + t.lo + (c + fma(kn, LMX_LN2_2, e))));
}

/* log(1 + v) for v >= 0, relative error below 1 ulp; underflows gradually as v does. */
LMX_INLINE lmx_dd lmx_log1p(double v)
{
    if (v < 0.41) {
        const lmx_dd t = lmx_log1p_tail(v), u = lmx_fast_two_sum(v, t.hi);
        return lmx_fast_two_sum(u.hi, u.lo + t.lo);
    }
    const lmx_dd w = lmx_two_sum(1, v);
    return lmx_log_dd(w.hi, w.lo, 0);
}

/* -------------------------------------------- sums with an exponent --- */

/*
 * (hi + lo) * 2^n * e^base.  hi is 0 (nothing), in [0.5, 1), +inf or NaN; base is 0 unless
 * |base| > 2^52.
 */
typedef struct {
    double hi, lo;
    int64_t n;
    double base;
} lmx_sum;

#define LMX_BASE_MIN 0x1p+52

LMX_INLINE lmx_sum lmx_sum_of(double hi, double lo, int64_t n, double base)
{
    if (hi == 0)
        return (lmx_sum){ 0, 0, 0, 0 };
    if (!lmx_finite(hi))
        return (lmx_sum){ hi > 0 ? hi : lmx_qnan(), 0, 0, 0 };
    const lmx_dd s = lmx_fast_two_sum(hi, lo);
    uint64_t u;
    memcpy(&u, &s.hi, sizeof u);
    const int64_t k = (int64_t)(u >> 52) - 1022;
    return (lmx_sum){ lmx_scale2(s.hi, -k), lmx_scale2(s.lo, -k), n + k, base };
}

/* s * e^r, exact in the exponent for any finite r. */
LMX_INLINE lmx_sum lmx_sum_shift(double hi, double lo, int64_t n, double r)
{
    if (r > LMX_BASE_MIN || r < -LMX_BASE_MIN)
        return lmx_sum_of(hi, lo, n, r);
    const lmx_exp2part e = lmx_exp_split(r, 0);
    const double p = hi * e.m;
    const double q = fma(hi, e.m, -p) + (hi * e.m_lo + lo * e.m);
    return lmx_sum_of(p, q, n + e.n, 0);
}

LMX_INLINE lmx_sum lmx_sum_add(lmx_sum a, lmx_sum b)
{
    if (b.hi == 0)
        return a;
    if (a.hi == 0)
        return b;
    if (!lmx_finite(a.hi) || !lmx_finite(b.hi))
        return lmx_sum_of(a.hi + b.hi, 0, 0, 0);
    if (a.base != b.base) {
        if (a.base < b.base) {
            const lmx_sum t = a;
            a = b;
            b = t;
        }
        const double d = b.base - a.base;
        if (!(d > -0x1p+53))
            return a; /* the exponents cannot make up for it: |n ln2| <= 2^52 where base is 0 */
        b = lmx_sum_shift(b.hi, b.lo, b.n, d < -LMX_BASE_MIN ? -LMX_BASE_MIN : d);
        b.base = a.base;
    }
    if (a.n < b.n) {
        const lmx_sum t = a;
        a = b;
        b = t;
    }
    /* Below 2^-200 of the other nothing is left of it in 106 bits. */
    const int64_t d = b.n - a.n < -200 ? -1022 : b.n - a.n;
    const lmx_dd s = lmx_two_sum(a.hi, lmx_scale2(b.hi, d));
    return lmx_sum_of(s.hi, s.lo + (a.lo + lmx_scale2(b.lo, d)), a.n, a.base);
}

/* a < b, of sums without a base, by their leading parts */
LMX_INLINE int lmx_sum_less(lmx_sum a, lmx_sum b)
{
    if (a.hi == 0 || b.hi == 0 || a.n == b.n)
        return a.hi < b.hi;
    return a.n < b.n;
}

/* log of a sum; -inf, +inf and NaN in hi. */
LMX_INLINE lmx_dd lmx_sum_log(lmx_sum s)
{
    if (s.hi == 0)
        return (lmx_dd){ -INFINITY, 0 };
    if (!lmx_finite(s.hi))
        return (lmx_dd){ s.hi, 0 };
    const lmx_dd l = lmx_log_dd(s.hi, s.lo, s.n);
    const lmx_dd t = lmx_two_sum(s.base, l.hi);
    return lmx_fast_two_sum(t.hi, t.lo + l.lo);
}

/* lmx_expsum, taken apart: the sum, and the sum of the terms as softmax rounds them. */
typedef struct {
    lmx_sum fine, rounded;
} lmx_total;

LMX_INLINE lmx_total lmx_total_unpack(const lmx_expsum *e)
{
    const lmx_sum fine = { e->mantissa, e->tail, e->exponent, e->base };
    if (e->rounded == 0) /* made from a mantissa alone */
        return (lmx_total){ fine, fine };
    return (lmx_total){ fine, lmx_sum_of(e->rounded, e->rounded_tail, e->exponent, e->base) };
}

/* Both in units of the first one's exponent: the other's is the same, or one off. */
LMX_INLINE lmx_expsum lmx_total_pack(lmx_total t)
{
    const int64_t d = t.rounded.n - t.fine.n;
    return (lmx_expsum){ t.fine.hi,
                         t.fine.lo,
                         t.fine.n,
                         t.fine.base,
                         lmx_scale2(t.rounded.hi, d),
                         lmx_scale2(t.rounded.lo, d) };
}

/* ---------------------------------------------------- chunks and rows --- */

enum {
    LMX_KIND_PLAIN,   /* terms are exp(x) 2^(B - n0) */
    LMX_KIND_SHIFTED, /* terms are exp(x - shift) 2^B: logits beyond 2^18 */
    LMX_KIND_EMPTY,   /* only -inf */
    LMX_KIND_BAD      /* NaN or +inf */
};

/* What measuring one chunk found. */
typedef struct lmx_chunk {
    lmx_sum sum;  /* of exp(x); of products for the VJPs (hi + lo alone) */
    lmx_sum rest; /* exp_sum: of exp(x), from terms that were not rounded to real */
    int kind;
    int has_rest;
    int64_t n0; /* integer reference exponent of the terms */
    double shift;
    double max;       /* log family: the largest logit */
    double ratio;     /* where has_rest: the sum without one such term, over that term */
    double parameter; /* of the operation; known before measuring */
} lmx_chunk;

/* What a whole row needs to be written. */
typedef struct lmx_norm {
    int kind; /* BAD: fill with NaN; EMPTY: nothing but -inf; else PLAIN */
    lmx_sum sum;
    lmx_sum fine; /* exp_sum: from terms that were not rounded to real */
    double max;   /* log family: log(sum exp(x)) = max + log_rest */
    lmx_dd log_rest;
    double rate; /* 1 / temperature, for the VJPs */
    double mean; /* VJPs from the input: what is taken from dy */
} lmx_norm;

/* The log of the sum, as one double. */
LMX_INLINE double lmx_norm_value(const lmx_norm *norm)
{
    if (norm->kind == LMX_KIND_BAD)
        return norm->sum.hi;
    if (norm->kind == LMX_KIND_EMPTY)
        return -INFINITY;
    const lmx_dd s = lmx_two_sum(norm->max, norm->log_rest.hi);
    return s.hi + (s.lo + norm->log_rest.lo);
}

/* a row's sums of chunks, in their order */
LMX_INLINE void lmx_fold_sum(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    int kind = LMX_KIND_EMPTY;
    lmx_sum sum = { 0, 0, 0, 0 };
    for (size_t i = 0; i < n; i++) {
        sum = lmx_sum_add(sum, chunks[i].sum);
        if (chunks[i].kind == LMX_KIND_BAD)
            kind = LMX_KIND_BAD;
        else if (chunks[i].kind != LMX_KIND_EMPTY && kind != LMX_KIND_BAD)
            kind = LMX_KIND_PLAIN;
    }
    norm->kind = kind;
    norm->sum = sum;
}

/* The chunk of the row's largest logit, the first of several. */
LMX_INLINE size_t lmx_largest_chunk(const lmx_chunk *chunks, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (chunks[i].max > chunks[best].max)
            best = i;
    return best;
}

/* sum, and those of all chunks but one */
LMX_INLINE lmx_sum lmx_add_others(lmx_sum sum, const lmx_chunk *chunks, size_t n, size_t but)
{
    for (size_t i = 0; i < n; i++)
        if (i != but)
            sum = lmx_sum_add(sum, chunks[i].sum);
    return sum;
}

/* exp_sum: both sums */
LMX_INLINE void lmx_fold_fine(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->fine = (lmx_sum){ 0, 0, 0, 0 };
    for (size_t i = 0; i < n; i++)
        norm->fine = lmx_sum_add(norm->fine, chunks[i].rest);
}

/* exp(log(s) - m), s <= about e^m */
LMX_INLINE double lmx_sum_relative(lmx_sum s, double m)
{
    if (s.hi == 0)
        return 0;
    if (s.base == 0 && m <= LMX_BASE_MIN && m >= -LMX_BASE_MIN) {
        const lmx_exp2part e = lmx_exp_split(m, 0);
        const double q = s.hi / e.m;
        const double r = (fma(-q, e.m, s.hi) + (s.lo - q * e.m_lo)) / e.m;
        return lmx_scale2_gradual(q + r, s.n - e.n);
    }
    const lmx_dd l = lmx_sum_log(s), d = lmx_two_sum(l.hi - m, l.lo);
    return lmx_exp_neg(d.hi, d.lo);
}

/*
 * The log family: log(sum) as max + log_rest.
 *
 * With m the largest logit and S' the sum of exp(x - m) over all elements but one that attains it,
 * log(sum) = m + log1p(S'): no cancellation, so log_softmax is accurate at the confident end, where
 * S' is small.  Where S' >= 2.25, log(sum) itself, in double-double, is as good and needs no S'.
 */
LMX_INLINE void lmx_fold_log(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->max = 0;
    norm->log_rest = (lmx_dd){ 0, 0 };
    if (norm->kind != LMX_KIND_PLAIN)
        return;
    const size_t best = lmx_largest_chunk(chunks, n);
    const double m = chunks[best].max;
    if (chunks[best].has_rest) {
        const lmx_sum nothing = { 0, 0, 0, 0 };
        const lmx_sum others = lmx_add_others(nothing, chunks, n, best);
        norm->max = m;
        norm->log_rest = lmx_log1p(chunks[best].ratio + lmx_sum_relative(others, m));
    } else {
        norm->log_rest = lmx_sum_log(norm->sum);
    }
}

/* The VJPs: plain sums of products, in double-double. */
LMX_INLINE void lmx_fold_products(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_dd sum = { 0, 0 };
    for (size_t i = 0; i < n; i++)
        sum = lmx_dd_add(sum, (lmx_dd){ chunks[i].sum.hi, chunks[i].sum.lo });
    norm->kind = LMX_KIND_PLAIN;
    norm->sum = (lmx_sum){ sum.hi + sum.lo, 0, 0, 0 };
}

#endif
