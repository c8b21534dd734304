/* SPDX-License-Identifier: Apache-2.0 */
/* The sums of dy, or of y * dy, that vjps need of a row, over the 32 lanes. */
#ifndef LMX_PRODUCTS_H
#define LMX_PRODUCTS_H

#include "kernels/loops/columns.h"

/*
 * w + y dy; or w + dy, NaN where y is NaN or +inf, because the gradient of such a row is NaN
 * throughout.
 */
LMX_INLINE vwide add_product(vwide w, vreal dy, vreal y, int with_y)
{
    if (with_y)
        return vw_fma(w, y, dy);
    return vw_add(w, v_select(v_gt(v_set1(LMX_INF), y), dy, v_set1(LMX_QNAN)));
}

/*
 * Sums of a chunk.  Each lane is a double (for double: a compensated pair, Dot2) with at most 512
 * additions.
 */
LMX_INLINE void measure_products(const elem *dy, const elem *y, size_t n, int with_y, lmx_chunk *c)
{
    lane_sums lanes;
    for (size_t g = 0; g < GROUPS; g++)
        lanes.group[g] = vw_zero();
    size_t i = 0;
    for (; i + LMX_LANES <= n; i += LMX_LANES) {
        for (size_t q = 0; q < LMX_LANES * sizeof(elem); q += 64) {
            LMX_PREFETCH_READ((const char *)(dy + i) + PREFETCH_DISTANCE + q);
            LMX_PREFETCH_READ((const char *)(y + i) + PREFETCH_DISTANCE + q);
        }
        for (size_t g = 0; g < GROUPS; g++) {
            const size_t at = i + g * V_LANES;
            lanes.group[g] = add_product(lanes.group[g], e_load(dy + at), e_load(y + at), with_y);
        }
    }
    if (i < n)
        for (size_t g = 0; g < GROUPS && i + g * V_LANES < n; g++) {
            const size_t at = i + g * V_LANES;
            const size_t left = n - at < V_LANES ? n - at : V_LANES;
            lanes.group[g] = add_product(lanes.group[g], e_load_n(dy + at, left, 0),
                                         e_load_n(y + at, left, 0), with_y);
        }
    const lmx_dd s = lane_total(lanes);
    memset(c, 0, sizeof *c);
    c->sum.hi = s.hi;
    c->sum.lo = s.lo;
}

LMX_INLINE void measure_products_columns(const lmx_columns *c, int with_y, lmx_chunk *chunks)
{
    vwide *sums = columns_zero(c, 0);
    for (size_t i = 0; i < c->cols; i++) {
        const elem *dy = (const elem *)c->a + (ptrdiff_t)i * c->a_stride;
        const elem *y = (const elem *)c->b + (ptrdiff_t)i * c->b_stride;
        if (i + COLUMN_PREFETCH_ROWS < c->cols) {
            column_prefetch(dy, c->a_stride, c->width);
            column_prefetch(y, c->b_stride, c->width);
        }
        for (size_t j = 0; j < c->width; j += V_LANES) {
            const size_t left = c->width - j;
            const vreal g = left >= V_LANES ? e_load(dy + j) : e_load_n(dy + j, left, 0);
            const vreal v = left >= V_LANES ? e_load(y + j) : e_load_n(y + j, left, 0);
            vwide *lane = &sums[j / V_LANES * LMX_LANES + i % LMX_LANES];
            *lane = add_product(*lane, g, v, with_y);
        }
    }
    for (size_t j = 0; j < c->width; j += V_LANES) {
        lmx_dd total[V_LANES];
        column_totals(sums + j / V_LANES * LMX_LANES, total);
        for (size_t q = 0; q < V_LANES && j + q < c->width; q++) {
            memset(&chunks[j + q], 0, sizeof chunks[j + q]);
            chunks[j + q].sum.hi = total[q].hi;
            chunks[j + q].sum.lo = total[q].lo;
        }
    }
}

/* Replaces NaN of any sign or payload by the canonical one. */
LMX_INLINE vreal canonical(vreal v) { return v_select(v_isnan(v), v_set1(LMX_QNAN), v); }

#endif
