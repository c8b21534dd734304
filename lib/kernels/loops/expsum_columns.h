/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of expsum.h for a block of columns, with the same bits.  A column whose guess of n0
 * fails, or whose sum without the largest term must be computed again, gets kind -1 and is left to
 * the row kernels.
 */
#ifndef LMX_EXPSUM_COLUMNS_H
#define LMX_EXPSUM_COLUMNS_H

#include "kernels/loops/columns.h"
#include "kernels/loops/expsum.h"

/* The constants and running maxima of the columns. */
typedef struct {
    real lo[LMX_COLUMNS], hi[LMX_COLUMNS], bias[LMX_COLUMNS]; /* of v_term_at(), for n0 */
    real max[LMX_COLUMNS];                                    /* the largest element so far */
    real wide_max[LMX_COLUMNS]; /* the largest of the first LMX_WIDE elements */
    int64_t n0[LMX_COLUMNS];    /* the reference exponent */
} column_sums;

LMX_INLINE void guess_columns(const lmx_columns *c, column_sums *s, lmx_chunk *chunks)
{
    for (size_t j = 0; j < c->width; j += V_LANES) {
        const size_t left = c->width - j;
        vreal m = v_set1(-LMX_INF);
        for (size_t i = 0; i < c->cols && i < 64; i++) {
            const elem *x = (const elem *)c->a + (ptrdiff_t)i * c->a_stride + j;
            m = v_max(m, left >= V_LANES ? e_load(x) : e_load_n(x, left, 0));
        }
        real guess[V_LANES];
        v_store(guess, m);
        for (size_t q = 0; q < V_LANES; q++) {
            const int in_range = guess[q] <= (real)V_EXP_MAX && guess[q] >= -(real)V_EXP_MAX;
            const int64_t n0 = in_range ? reference(guess[q]) : 0;
            const ibits u = exp_bias(n0);
            s->n0[j + q] = n0;
            s->lo[j + q] = exp_lo(n0);
            s->hi[j + q] = exp_hi(n0);
            memcpy(&s->bias[j + q], &u, sizeof u);
            s->max[j + q] = s->wide_max[j + q] = -LMX_INF;
            if (j + q < c->width)
                chunks[j + q].kind = in_range ? LMX_KIND_PLAIN : -1;
        }
    }
}

/* Properties of a block that are known at compile time. */
enum {
    BLOCK_WHOLE = 1, /* it has all LMX_BLOCK rows */
    BLOCK_WIDE = 2,  /* it is summed without trees (SUM_WIDE) */
    BLOCK_FULL = 4,  /* the vector of columns is full */
    BLOCK_KEPT = 8   /* its logits or terms are stored in scratch */
};

/* Sums lane l of the block of up to LMX_TREE leaves at row i, for the vector of columns at j. */
LMX_INLINE void sum_column_lane(const lmx_columns *c, column_sums *s, size_t i, size_t l, size_t j,
                                size_t leaves, unsigned flags, unsigned block, vwide *sum,
                                vwide *fine)
{
    const vreal lo = v_load(s->lo + j), hi = v_load(s->hi + j), bias = v_load(s->bias + j);
    const size_t width = c->width - j < V_LANES ? c->width - j : V_LANES;
    vreal max = v_load(s->max + j), t[LMX_TREE];
    for (size_t k = 0; k < leaves; k++) {
        const size_t at = i + k * LMX_LANES + l;
        /* elements absent from the last row of 32 count as -inf, in every tier */
        vreal v = v_set1(-LMX_INF);
        if ((block & BLOCK_WHOLE) || at < c->cols) {
            const elem *x = (const elem *)c->a + (ptrdiff_t)at * c->a_stride + j;
            v = block & BLOCK_FULL ? e_load(x) : e_load_n(x, width, 0);
        }
        if (flags & SUM_MAX)
            max = v_max(max, v);
        t[k] = v_term_at(v, lo, hi, bias);
        if ((block & BLOCK_KEPT) && ((block & BLOCK_WHOLE) || at < c->cols)) {
            real *kept = (real *)c->scratch + at * c->scratch_stride + j;
            const vreal keep = flags & SUM_STORE ? t[k] : v;
            if (block & BLOCK_FULL)
                v_store(kept, keep);
            else
                v_store_n(kept, keep, width);
        }
        if (flags & SUM_FINE)
            *fine = vw_add(vw_add(*fine, t[k]), v_term_error_at(v, lo, hi, bias));
        if (block & BLOCK_WIDE)
            *sum = vw_add(*sum, t[k]);
    }
    if (flags & SUM_MAX)
        v_store(s->max + j, max);
    if (block & BLOCK_WIDE)
        return;
    /* the tree of LMX_TREE leaves, with absent leaves left out */
    for (size_t w = 1; w < leaves; w *= 2)
        for (size_t k = 0; k + w < leaves; k += 2 * w)
            t[k] = v_add(t[k], t[k + w]);
    *sum = vw_add(*sum, t[0]);
}

/* Sums lane l of a block for every column. */
LMX_INLINE_VECTOR void sum_columns_lane(const lmx_columns *c, column_sums *s, size_t i, size_t l,
                                        size_t leaves, unsigned flags, unsigned block, vwide *sums,
                                        vwide *fine)
{
    /*
     * Lanes are processed in order, so that the prefetch of the last lanes is for the first lanes
     * of the next block, which are LMX_BLOCK - LMX_LANES rows further on.
     */
    const size_t skip = l < LMX_LANES - COLUMN_PREFETCH_ROWS ? 0 : LMX_BLOCK - LMX_LANES;
    for (size_t k = 0; k < leaves; k++) {
        const size_t at = i + k * LMX_LANES + l + skip;
        if (at + COLUMN_PREFETCH_ROWS < c->cols)
            column_prefetch((const elem *)c->a + (ptrdiff_t)at * c->a_stride, c->a_stride,
                            c->width);
    }
    size_t j = 0;
    for (; j + V_LANES <= c->width; j += V_LANES) {
        const size_t lane = j / V_LANES * LMX_LANES + l;
        sum_column_lane(c, s, i, l, j, leaves, flags, block | BLOCK_FULL, &sums[lane], &fine[lane]);
    }
    if (j < c->width) {
        const size_t lane = j / V_LANES * LMX_LANES + l;
        sum_column_lane(c, s, i, l, j, leaves, flags, block, &sums[lane], &fine[lane]);
    }
}

/* Sums all lanes of the block at row i. */
LMX_INLINE void sum_columns_block(const lmx_columns *c, column_sums *s, size_t i, unsigned flags,
                                  unsigned kept, vwide *sums, vwide *fine)
{
    const size_t left = c->cols - i < LMX_BLOCK ? c->cols - i : LMX_BLOCK;
    const size_t leaves = (left + LMX_LANES - 1) / LMX_LANES;
    const int wide = (flags & SUM_WIDE) && i < LMX_WIDE;
    for (size_t l = 0; l < LMX_LANES; l++)
        if (left < LMX_BLOCK && wide)
            sum_columns_lane(c, s, i, l, leaves, flags, kept | BLOCK_WIDE, sums, fine);
        else if (left < LMX_BLOCK)
            sum_columns_lane(c, s, i, l, leaves, flags, kept, sums, fine);
        else if (wide)
            sum_columns_lane(c, s, i, l, LMX_TREE, flags, kept | BLOCK_WHOLE | BLOCK_WIDE, sums,
                             fine);
        else
            sum_columns_lane(c, s, i, l, LMX_TREE, flags, kept | BLOCK_WHOLE, sums, fine);
}

LMX_INLINE void measure_sum_columns(const lmx_columns *c, unsigned flags, lmx_chunk *chunks)
{
    const size_t n = c->cols;
    column_sums s;
    guess_columns(c, &s, chunks);
    vwide *sums = columns_zero(c, 0), *fine = flags & SUM_FINE ? columns_zero(c, 1) : sums;
    for (size_t i = 0; i < n; i += LMX_BLOCK) {
        if ((flags & SUM_WIDE) && i == LMX_WIDE)
            memcpy(s.wide_max, s.max, sizeof s.max);
        if ((flags & (SUM_STORE | SUM_KEEP)) && c->scratch != NULL)
            sum_columns_block(c, &s, i, flags, BLOCK_KEPT, sums, fine);
        else
            sum_columns_block(c, &s, i, flags, 0, sums, fine);
    }
    if (n <= LMX_WIDE)
        memcpy(s.wide_max, s.max, sizeof s.max);
    for (size_t j = 0; j < c->width; j += V_LANES) {
        lmx_dd total[V_LANES], fine_total[V_LANES];
        real top[V_LANES], top_left[V_LANES];
        column_totals(sums + j / V_LANES * LMX_LANES, total);
        if (flags & SUM_FINE)
            column_totals(fine + j / V_LANES * LMX_LANES, fine_total);
        if (flags & SUM_MAX) {
            const vreal max = v_load(s.max + j), lo = v_load(s.lo + j), hi = v_load(s.hi + j);
            const vreal bias = v_load(s.bias + j);
            v_store(top, v_term_at(max, lo, hi, bias));
            v_store(top_left, v_term_error_at(max, lo, hi, bias));
        }
        for (size_t q = 0; q < V_LANES && j + q < c->width; q++) {
            lmx_chunk *chunk = &chunks[j + q];
            const lmx_dd t = total[q];
            const int64_t n0 = s.n0[j + q];
            chunk->n0 = n0;
            chunk->shift = 0;
            chunk->max = (double)s.max[j + q];
            chunk->has_rest = 0;
            if (!sum_fits(t.hi))
                chunk->kind = -1;
            if (chunk->kind < 0)
                continue;
            chunk->sum = chunk_sum(t, n0, 0, 0);
            if (flags & SUM_FINE)
                chunk->rest = chunk_sum(fine_total[q], n0, 0, 0);
            if ((flags & SUM_MAX) && needs_others(t, s.max[j + q], n0)) {
                const lmx_dd rest = lmx_dd_add(t, (lmx_dd){ -(double)top[q], 0 });
                chunk->has_rest = 1;
                chunk->ratio =
                    others_over_top(rest, (lmx_dd){ (double)top[q], (double)top_left[q] });
                if (s.wide_max[j + q] != s.max[j + q] || rest.hi <= (double)top[q] * OTHERS_MIN)
                    chunk->kind = -1;
            }
        }
    }
}

#endif
