/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops over a block of columns, V_LANES of them in a vector, for reductions over an axis that is
 * not the last.  The block is processed row by row over its whole width: each row is likely on a
 * page of its own, and its cache lines would be evicted before a loop over narrower columns came
 * back to them.
 */
#ifndef LMX_COLUMNS_H
#define LMX_COLUMNS_H

#include "kernels/loops/row.h"

/* A row_body whose constants differ by column: k[0], k[1], ... hold those of V_LANES columns. */
typedef vreal column_body(vreal a, vreal b, const vreal *k);

#define COLUMN_CONSTANTS 5

/* Fills k with the constants of one column. */
typedef void column_constants(const lmx_chunk *chunk, const lmx_norm *norm,
                              real k[COLUMN_CONSTANTS]);

/* The prefetch distance in rows: the hardware's prefetcher does not follow such long strides. */
#define COLUMN_PREFETCH_ROWS 8

LMX_INLINE void column_prefetch(const elem *x, ptrdiff_t stride, size_t width)
{
    for (size_t j = 0; j < width; j += 64 / sizeof(elem))
        LMX_PREFETCH_READ(x + COLUMN_PREFETCH_ROWS * stride + (ptrdiff_t)j);
}

LMX_INLINE void columns_map_rows(const lmx_columns *c, real k[COLUMN_CONSTANTS][LMX_COLUMNS],
                                 int inputs, int scratch, int stream, column_body *body)
{
    for (size_t i = 0; i < c->cols; i++) {
        const elem *a = (const elem *)c->a + (ptrdiff_t)i * c->a_stride;
        const elem *b = inputs > 1 ? (const elem *)c->b + (ptrdiff_t)i * c->b_stride : NULL;
        const real *kept = scratch ? (const real *)c->scratch + i * c->scratch_stride : NULL;
        elem *out = (elem *)c->out + (ptrdiff_t)i * c->out_stride;
        if (i + COLUMN_PREFETCH_ROWS < c->cols) {
            if (!scratch)
                column_prefetch(a, c->a_stride, c->width);
            if (inputs > 1)
                column_prefetch(b, c->b_stride, c->width);
            if (!stream)
                column_prefetch(out, c->out_stride, c->width);
        }
        for (size_t j = 0; j < c->width; j += V_LANES) {
            const size_t left = c->width - j;
            vreal vk[COLUMN_CONSTANTS];
            for (size_t q = 0; q < COLUMN_CONSTANTS; q++)
                vk[q] = v_load(&k[q][j]);
            if (left >= V_LANES) {
                const vreal va = scratch ? v_load(kept + j) : e_load(a + j);
                const vreal y = body(va, inputs > 1 ? e_load(b + j) : va, vk);
                if (stream)
                    e_stream(out + j, y);
                else
                    e_store(out + j, y);
            } else {
                const vreal va = scratch ? v_load_n(kept + j, left, 0) : e_load_n(a + j, left, 0);
                e_store_n(out + j, body(va, inputs > 1 ? e_load_n(b + j, left, 0) : va, vk), left);
            }
        }
    }
}

/* Writes out, by scratch_body from the scratch that measuring filled, or by body from the input. */
LMX_INLINE void columns_map(const lmx_columns *c, const lmx_chunk *chunks, const lmx_norm *norms,
                            int inputs, column_constants *constants, column_body *body,
                            column_body *scratch_body)
{
    real k[COLUMN_CONSTANTS][LMX_COLUMNS];
    for (size_t j = 0; j < LMX_COLUMNS; j++) {
        real one[COLUMN_CONSTANTS] = { 0 };
        if (j < c->width)
            constants(&chunks[j], &norms[j], one);
        for (size_t q = 0; q < COLUMN_CONSTANTS; q++)
            k[q][j] = one[q];
    }
    const size_t vector = V_LANES * sizeof(elem);
    const int stream = (c->how & LMX_HOW_STREAM) && (uintptr_t)c->out % vector == 0 &&
                       ((size_t)c->out_stride * sizeof(elem)) % vector == 0;
    if (inputs == 1 && c->scratch != NULL) {
        if (stream)
            columns_map_rows(c, k, 1, 1, 1, scratch_body);
        else
            columns_map_rows(c, k, 1, 1, 0, scratch_body);
    } else if (stream) {
        columns_map_rows(c, k, inputs, 0, 1, body);
    } else {
        columns_map_rows(c, k, inputs, 0, 0, body);
    }
    if (stream)
        v_fence();
}

/* Adds the 32 lanes of V_LANES columns in the order of lane_total(). */
LMX_INLINE void column_totals(vwide lane[LMX_LANES], lmx_dd total[V_LANES])
{
    for (size_t w = LMX_LANES / 2; w > 0; w /= 2)
        for (size_t l = 0; l < w; l++)
            lane[l] = vw_merge(lane[l], lane[l + w]);
    double hi[V_LANES], lo[V_LANES];
    vw_store(hi, lo, lane[0]);
    for (size_t q = 0; q < V_LANES; q++)
        total[q] = (lmx_dd){ hi[q], lo[q] };
}

/*
 * Clears the first or second set of sums (`which`) and returns it: lane l of column vector v is
 * sums[v * LMX_LANES + l].
 */
LMX_INLINE vwide *columns_zero(const lmx_columns *c, size_t which)
{
    vwide *sums = (vwide *)c->lanes + which * (LMX_COLUMNS / V_LANES) * LMX_LANES;
    for (size_t l = 0; l < (c->width + V_LANES - 1) / V_LANES * LMX_LANES; l++)
        sums[l] = vw_zero();
    return sums;
}

LMX_INLINE void no_columns(const lmx_columns *c, const lmx_chunk *chunks, const lmx_norm *norms)
{
    (void)c, (void)chunks, (void)norms;
}

#endif
