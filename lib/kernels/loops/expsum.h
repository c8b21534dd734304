/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of exponentials relative to an integer reference exponent, without finding the maximum
 * first: pass 1 of the two-pass softmax (Dukhan and Ablavatski 2020).
 *
 * n0 is guessed from the first 64 elements of a chunk.  Terms are m 2^(n - n0 + B): a guess too
 * small shows as a sum of 2^(B + V_ROOM) or more (also for +inf, which clamps to 2^(B + V_ROOM +
 * 1)), NaN shows as NaN, and then the chunk is measured again from its exact maximum.  The
 * reference depends on the chunk's elements alone, so plans, tiers and thread counts agree.
 *
 * Sums have three levels: LMX_TREE elements of a lane are added in a tree of depth 2 in real, then
 * blocks in order in double (double: compensated), then the lanes in a tree.  Each level in real
 * may cost a rounding of the whole sum, in one direction for an unlucky row: with depth 4 softmax
 * was off by 6.1 ulp in double and 5.5 in float (tests/python/hard_cases.json).  The tree is that
 * of LMX_TREE with absent leaves left out; the last row of 32 counts its absent elements as -inf,
 * in every tier, so the vector width changes nothing.
 */
#ifndef LMX_EXPSUM_H
#define LMX_EXPSUM_H

#include "kernels/loops/row.h"

enum {
    SUM_STORE = 1,    /* store the terms */
    SUM_MAX = 2,      /* track the largest element */
    SUM_SHIFT = 4,    /* sum exp(x - shift) */
    SUM_SLOW = 8,     /* one loop for all blocks: small code for rare cases */
    SUM_FINE = 16,    /* also sum the rounding errors of the terms */
    SUM_WIDE = 32,    /* no trees for the first LMX_WIDE elements */
    SUM_PENDING = 64, /* write a pending row, interleaved (row.h) */
    SUM_KEEP = 128    /* columns: store the logits, as SUM_STORE stores the terms */
};

/* The leaves of one tree, and the constants of their terms. */
typedef struct {
    const elem *x;
    real *terms;
    size_t step; /* elements from leaf to leaf */
    size_t last; /* the index of the partial leaf, or NO_LEAF */
    size_t part; /* the number of its elements */
    v_ref ref;
    vreal shift, max;
    vreal bias;  /* SUM_FINE: the bias of n0 */
    vwide *fine; /* SUM_FINE: the sum of terms and errors */
} sum_leaves;

/* The results of a pass over a chunk. */
typedef struct {
    lane_sums lanes; /* sums of the terms */
    lane_sums fine;  /* SUM_FINE: sums of exp(x) to about twice the digits of real */
    real max;        /* SUM_MAX: the largest element */
    real wide_max;   /* SUM_MAX and SUM_WIDE: the largest of the first LMX_WIDE elements */
} sum_found;

/* The terms of leaf k. */
LMX_INLINE_VECTOR vreal sum_leaf(sum_leaves *s, size_t k, unsigned flags)
{
    const size_t at = k * s->step;
    vreal x;
    if (k == s->last)
        x = e_load_n(s->x + at, s->part, -LMX_INF);
    else
        x = e_load(s->x + at);
    if (flags & SUM_MAX)
        s->max = v_max(s->max, x);
    if (flags & SUM_SHIFT)
        x = v_sub(x, s->shift);
    const vreal a = v_term(x, &s->ref);
    if (flags & SUM_STORE) {
        if (k == s->last)
            v_store_n(s->terms + at, a, s->part);
        else
            v_store(s->terms + at, a);
    }
    if (flags & SUM_FINE) {
        const vreal error = v_term_error_at(x, s->ref.lo, s->ref.hi, s->bias);
        *s->fine = vw_add(vw_add(*s->fine, a), error);
    }
    return a;
}

/* The sum of leaves k ... k + n - 1, 1 <= n <= LMX_TREE. */
LMX_INLINE vreal sum_tree2(sum_leaves *s, size_t k, size_t n, unsigned flags)
{
    const vreal a = sum_leaf(s, k, flags);
    return n > 1 ? v_add(a, sum_leaf(s, k + 1, flags)) : a;
}
LMX_INLINE vreal sum_tree(sum_leaves *s, size_t k, size_t n, unsigned flags)
{
    const vreal a = sum_tree2(s, k, n, flags);
    return n > 2 ? v_add(a, sum_tree2(s, k + 2, n - 2, flags)) : a;
}

/* Adds the leaves of one block, in a tree or (wide) one after the other. */
LMX_INLINE void sum_block(sum_leaves *s, size_t n, unsigned flags, int wide, vwide *sum)
{
    if (wide)
        for (size_t k = 0; k < n; k++)
            *sum = vw_add(*sum, sum_leaf(s, k, flags));
    else
        *sum = vw_add(*sum, sum_tree(s, 0, n, flags));
}

/* A pending row is written from its terms (SUM_STORE) or its logits. */
#define PENDING_MAP(flags) ((flags)&SUM_STORE ? MAP_TERMS : 0)

/* Sums the whole blocks between i and n; returns where they end. */
LMX_INLINE size_t sum_blocks(sum_leaves *s, const elem *x, real *terms, size_t i, size_t n,
                             unsigned flags, int wide, sum_found *found, row_pending *pending,
                             row_body *pending_body)
{
    for (; i + LMX_BLOCK <= n; i += LMX_BLOCK) {
        if (flags & SUM_PENDING)
            pending_step(pending, PENDING_MAP(flags), pending_body);
        for (size_t q = 0; q < LMX_BLOCK * sizeof(elem); q += 64)
            LMX_PREFETCH_READ((const char *)(x + i) + PREFETCH_DISTANCE + q);
        for (size_t g = 0; g < GROUPS; g++) {
            s->x = x + i + g * V_LANES;
            if (flags & SUM_STORE)
                s->terms = terms + i + g * V_LANES;
            s->fine = &found->fine.group[g];
            sum_block(s, LMX_TREE, flags, wide, &found->lanes.group[g]);
        }
    }
    return i;
}

#define NO_LEAF ((size_t)-1)

/* Sums n elements relative to n0 (and shift). */
LMX_INLINE void sum_lanes(const elem *x, size_t n, real *terms, int64_t n0, double shift,
                          unsigned flags, sum_found *found, row_pending *pending,
                          row_body *pending_body)
{
    lane_sums *lanes = &found->lanes;
    for (size_t g = 0; g < GROUPS; g++)
        lanes->group[g] = found->fine.group[g] = vw_zero();
    sum_leaves s;
    s.step = LMX_LANES;
    s.last = NO_LEAF;
    s.part = 0;
    s.terms = NULL;
    s.ref = v_ref_at(n0);
    s.shift = v_set1((real)shift);
    s.max = v_set1(-LMX_INF);
    s.bias = v_from_bits(vi_set1(exp_bias(n0)));
    s.fine = NULL;
    vreal wide_max = s.max;
    size_t i = 0;
    if (flags & SUM_PENDING)
        pending_open(pending, PENDING_MAP(flags), pending_body);
    if (!(flags & SUM_SLOW)) { /* whole blocks have a loop without branches */
        if (flags & SUM_WIDE) {
            const size_t wide = n < LMX_WIDE ? n : LMX_WIDE;
            i = sum_blocks(&s, x, terms, i, wide, flags, 1, found, pending, pending_body);
            wide_max = s.max;
        }
        if (!(flags & SUM_WIDE) || i == LMX_WIDE)
            i = sum_blocks(&s, x, terms, i, n, flags, 0, found, pending, pending_body);
    }
    if (flags & SUM_PENDING)
        pending_close(pending, PENDING_MAP(flags), pending_body);
    for (; i < n; i += LMX_BLOCK) {
        const size_t left = n - i < LMX_BLOCK ? n - i : LMX_BLOCK;
        const size_t rows = (left + LMX_LANES - 1) / LMX_LANES, ragged = left % LMX_LANES;
        for (size_t g = 0; g < GROUPS; g++) {
            s.x = x + i + g * V_LANES;
            if (flags & SUM_STORE)
                s.terms = terms + i + g * V_LANES;
            s.fine = &found->fine.group[g];
            if (ragged != 0 && ragged < (g + 1) * V_LANES) {
                s.last = rows - 1;
                s.part = ragged > g * V_LANES ? ragged - g * V_LANES : 0;
            }
            sum_block(&s, rows, flags, (flags & SUM_WIDE) && i < LMX_WIDE, &lanes->group[g]);
        }
        if ((flags & SUM_WIDE) && i < LMX_WIDE)
            wide_max = s.max;
    }
    if (flags & SUM_MAX)
        found->max = v_hmax(s.max);
    if (flags & SUM_WIDE)
        found->wide_max = n <= LMX_WIDE ? found->max : v_hmax(wide_max);
}

/* The same with flags known at run time only: small code for rare cases. */
LMX_NOINLINE void sum_lanes_slow(const elem *x, size_t n, real *terms, int64_t n0, double shift,
                                 unsigned flags, sum_found *found)
{
    sum_lanes(x, n, terms, n0, shift, flags | SUM_SLOW, found, NULL, NULL);
}

/* The reference exponent of a largest element. */
LMX_INLINE int64_t reference(real max) { return (int64_t)lmx_round((double)max * LMX_LOG2E); }

/* The largest of the first 64 elements; any value if one of them is NaN. */
LMX_INLINE real guess_max(const elem *x, size_t n)
{
    n = n < 64 ? n : 64;
    vreal m = v_set1(-LMX_INF);
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES)
        m = v_max(m, e_load(x + i));
    if (i < n)
        m = v_max(m, e_load_n(x + i, n - i, -LMX_INF));
    return v_hmax(m);
}

/* Guesses n0; kind is -1 if the guess is out of range. */
LMX_INLINE void guess_sum(const void *x, size_t n, lmx_chunk *c)
{
    const real max = guess_max(x, n);
    const int in_range = max <= (real)V_EXP_MAX && max >= -(real)V_EXP_MAX;
    c->kind = in_range ? LMX_KIND_PLAIN : -1;
    c->n0 = in_range ? reference(max) : 0;
}

/* Whether the sum shows that n0 was large enough and no element NaN. */
LMX_INLINE int sum_fits(double s)
{
    return s < (sizeof(real) == 4 ? 0x1p+113 : 0x1p+911); /* 2^(B + V_ROOM) */
}

/*
 * The sum of all terms but one that attains the maximum.  Only the lane of that element is summed
 * again, with 0 in its place: up to 512 elements, in trees as for long rows.
 */
LMX_NOINLINE lmx_dd sum_others(const elem *x, size_t n, real max, int64_t n0, double shift,
                               lane_sums lanes)
{
    size_t at = 0;
    const vreal top = v_set1(max);
    while (at + V_LANES <= n && !m_any(v_eq(e_load(x + at), top)))
        at += V_LANES;
    while (e_get(x + at) != max)
        at++;
    /* leaves of several blocks at a time: a multiple of LMX_TREE and of V_LANES */
    enum { LEAVES = 16 };
    const size_t lane = at % LMX_LANES;
    const v_ref ref = v_ref_at(n0);
    double hi = 0, lo = 0;
    for (size_t row = 0; row * LMX_LANES < n; row += LEAVES) {
        real z[LEAVES];
        for (size_t k = 0; k < LEAVES; k++) {
            const size_t i = (row + k) * LMX_LANES + lane;
            z[k] = i < n ? e_get(x + i) - (real)shift : -LMX_INF;
        }
        for (size_t k = 0; k < LEAVES; k += V_LANES)
            v_store(z + k, v_term(v_load(z + k), &ref));
        /* Absent leaves are left out: 0 adds nothing.  Leaves of the last row count as -inf. */
        for (size_t k = 0; k < LEAVES; k++)
            if ((row + k) * LMX_LANES + lane == at || (row + k) * LMX_LANES >= n)
                z[k] = 0;
        for (size_t k = 0; k < LEAVES; k += LMX_TREE) {
            for (size_t w = 1; w < LMX_TREE; w *= 2)
                for (size_t q = 0; q < LMX_TREE; q += 2 * w)
                    z[k + q] += z[k + q + w];
            const lmx_dd t = lmx_two_sum(hi, (double)z[k]);
            hi = t.hi;
            lo += sizeof(real) == 4 ? 0 : t.lo;
        }
    }
    lanes.group[lane / V_LANES] = vw_replace(lanes.group[lane / V_LANES], lane % V_LANES, hi, lo);
    return lane_total(lanes);
}

LMX_INLINE lmx_sum chunk_sum(lmx_dd s, int64_t n0, double shift, unsigned flags)
{
    const lmx_sum sum = lmx_sum_of(s.hi, s.lo, n0 - V_BIAS, 0);
    return flags & SUM_SHIFT ? lmx_sum_shift(sum.hi, sum.lo, sum.n, shift) : sum;
}

/*
 * The lanes have an error of at most 2^-43 of the largest term for float (32 additions of terms and
 * 128 of trees without that term, at 2^-53 of at most 4.7 such terms each), and of 2^-96 for
 * double.  So the sum of the other terms is accurate to 2^-27 (2^-56) of itself if it is at least
 * this fraction of the largest; below, it is summed again.
 */
#define OTHERS_MIN (sizeof(real) == 4 ? 0x1p-16 : 0x1p-40)

/*
 * Whether the sum is so near its largest term, that of x, that the logarithm needs the sum of the
 * others: always if it is below 3.3 times that term, and never above 6.6 times (exp(x) is 2^n times
 * a factor between sqrt(1/2) and sqrt(2)).
 */
LMX_INLINE int needs_others(lmx_dd s, real x, int64_t n0)
{
    return s.hi < lmx_scale2(4.67, reference(x) - n0 + V_BIAS);
}

/* The term of x and its rounding error. */
LMX_INLINE lmx_dd exact_term(real x, int64_t n0)
{
    const ibits u = exp_bias(n0);
    const vreal v = v_set1(x), lo = v_set1(exp_lo(n0)), hi = v_set1(exp_hi(n0));
    const vreal bias = v_from_bits(vi_set1(u));
    real term[V_LANES], error[V_LANES];
    v_store(term, v_term_at(v, lo, hi, bias));
    v_store(error, v_term_error_at(v, lo, hi, bias));
    return (lmx_dd){ (double)term[0], (double)error[0] };
}

/* others / top, rounded about once */
LMX_INLINE double others_over_top(lmx_dd others, lmx_dd top)
{
    const double q = others.hi / top.hi;
    return q + (fma(-q, top.hi, others.hi) + (others.lo - q * top.lo)) / top.hi;
}

/*
 * Fills the chunk from the results of a pass relative to n0 and shift, whose lanes add up to s: its
 * sum; for the log family the largest element and the ratio of the others to it; for exp_sum the
 * fine sum.
 */
LMX_INLINE void chunk_finish(const elem *x, size_t n, int64_t n0, double shift, unsigned flags,
                             const sum_found *found, lmx_dd s, lmx_chunk *c)
{
    c->n0 = n0;
    c->shift = shift;
    c->kind = flags & SUM_SHIFT ? LMX_KIND_SHIFTED : LMX_KIND_PLAIN;
    c->sum = chunk_sum(s, n0, shift, flags);
    if (flags & SUM_FINE)
        c->rest = chunk_sum(lane_total(found->fine), n0, shift, flags);
    if (flags & SUM_MAX) {
        const real max = found->max;
        c->max = (double)max;
        c->has_rest = needs_others(s, max - (real)shift, n0);
        if (c->has_rest) {
            const lmx_dd top = exact_term(max - (real)shift, n0);
            lmx_dd rest = lmx_dd_add(s, (lmx_dd){ -top.hi, 0 });
            if (found->wide_max != max || rest.hi <= top.hi * OTHERS_MIN)
                rest = sum_others(x, n, max, n0, shift, found->lanes);
            c->ratio = others_over_top(rest, top);
        }
    }
}

/* Measures the chunk again, from its exact maximum.  x must not have been overwritten. */
LMX_NOINLINE void measure_exact(const elem *x, size_t n, real *terms, unsigned flags, lmx_chunk *c)
{
    vreal m = v_set1(-LMX_INF);
    int bad = 0;
    for (size_t i = 0; i < n; i += V_LANES) {
        const vreal v = n - i < V_LANES ? e_load_n(x + i, n - i, -LMX_INF) : e_load(x + i);
        bad |= m_any(v_isnan(v));
        m = v_max(v, m); /* m wins against NaN */
    }
    const real max = v_hmax(m);
    c->has_rest = 0;
    c->n0 = 0;
    c->shift = 0;
    c->max = (double)max;
    if (bad || max == LMX_INF || max == -LMX_INF) {
        c->kind = bad || max > 0 ? LMX_KIND_BAD : LMX_KIND_EMPTY;
        c->sum = lmx_sum_of(bad ? lmx_qnan() : max > 0 ? (double)INFINITY : 0, 0, 0, 0);
        c->rest = c->sum;
        return;
    }
    sum_found found;
    if (max <= (real)V_EXP_MAX && max >= -(real)V_EXP_MAX) {
        const int64_t n0 = reference(max);
        sum_lanes_slow(x, n, terms, n0, 0, flags, &found);
        chunk_finish(x, n, n0, 0, flags, &found, lane_total(found.lanes), c);
    } else {
        flags |= SUM_SHIFT;
        sum_lanes_slow(x, n, terms, 0, (double)max, flags, &found);
        chunk_finish(x, n, 0, (double)max, flags, &found, lane_total(found.lanes), c);
    }
}

/* Measures a chunk whose n0 guess_sum() has guessed. */
LMX_INLINE void measure_sum(const elem *x, size_t n, real *terms, unsigned flags, lmx_chunk *c,
                            row_pending *pending, row_body *pending_body)
{
    if (LMX_LIKELY(c->kind == LMX_KIND_PLAIN)) {
        const int64_t n0 = c->n0;
        sum_found found;
        sum_lanes(x, n, terms, n0, 0, flags, &found, pending, pending_body);
        const lmx_dd s = lane_total(found.lanes);
        if (LMX_LIKELY(sum_fits(s.hi))) {
            chunk_finish(x, n, n0, 0, flags, &found, s, c);
            return;
        }
    } else if (flags & SUM_PENDING) {
        pending_open(pending, PENDING_MAP(flags), pending_body);
        pending_close(pending, PENDING_MAP(flags), pending_body);
    }
    measure_exact(x, n, terms, flags & ~(unsigned)SUM_PENDING, c);
}

/* Used by several operations; defined in softmax.c and log_softmax.c of kernels/row. */
lmx_dd LMX_K(sum_terms)(const elem *x, size_t n, real *terms, int64_t n0);
void LMX_K(measure_log)(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c);
void LMX_K(measure_log_columns)(const lmx_columns *c, lmx_chunk *chunks);

#endif
