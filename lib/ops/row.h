/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops over rows and columns, written once: mapping elements to elements, sums
 * over the 32 lanes, short rows, blocks of columns.  An operation supplies bodies;
 * they are constants at every call, so they are inlined and the pointers vanish.
 */
#ifndef LMX_ROW_H
#define LMX_ROW_H

#include "kernels.h"
#include "simd/vmath.h"

#define GROUPS (LMX_LANES / V_LANES)

/* ------------------------------------------------------------- mapping --- */

/* One vector of results from one of a and one of b; k holds the operation's constants. */
typedef vreal row_body(vreal a, vreal b, const void *k);

enum { MAP_B = 1, MAP_TERMS = 2 }; /* reads b too; a holds reals, not elements */

LMX_INLINE vreal map_one(const void *a, const elem *b, size_t i, unsigned flags, row_body *body,
                         const void *k)
{
    const vreal va = flags & MAP_TERMS ? v_load((const real *)a + i) : e_load((const elem *)a + i);
    return body(va, flags & MAP_B ? e_load(b + i) : va, k);
}

/* n <= V_LANES elements */
LMX_INLINE void map_few(const void *a, const elem *b, size_t i, size_t n, elem *out, unsigned flags,
                        row_body *body, const void *k)
{
    const vreal va = flags & MAP_TERMS ? v_load_n((const real *)a + i, n, 0)
                                       : e_load_n((const elem *)a + i, n, 0);
    e_store_n(out + i, body(va, flags & MAP_B ? e_load_n(b + i, n, 0) : va, k), n);
}

LMX_INLINE void map_range(const void *a, const elem *b, size_t i, size_t n, elem *out,
                          unsigned flags, row_body *body, const void *k, int stream)
{
    for (; i + 4 * V_LANES <= n; i += 4 * V_LANES) {
        vreal r[4];
        for (size_t u = 0; u < 4; u++)
            r[u] = map_one(a, b, i + u * V_LANES, flags, body, k);
        for (size_t u = 0; u < 4; u++)
            if (stream)
                e_stream(out + i + u * V_LANES, r[u]);
            else
                e_store(out + i + u * V_LANES, r[u]);
    }
    for (; i < n; i += V_LANES) {
        const size_t left = n - i;
        if (left < V_LANES)
            map_few(a, b, i, left, out, flags, body, k);
        else
            e_store(out + i, map_one(a, b, i, flags, body, k));
    }
}

/* out[i] = body(a[i], b[i]); out may be a or b. */
LMX_INLINE void row_map(const void *a, const elem *b, size_t n, elem *out, unsigned how,
                        unsigned flags, row_body *body, const void *k)
{
    if (!(how & LMX_HOW_STREAM)) {
        map_range(a, b, 0, n, out, flags, body, k, 0);
        return;
    }
    /* Streams fill whole lines of 64 bytes: up to the first boundary, ordinary stores. */
    size_t head = (size_t)(0 - (uintptr_t)out) % 64 / sizeof(elem);
    head = head < n ? head : n;
    for (size_t i = 0; i < head; i += V_LANES)
        map_few(a, b, i, head - i < V_LANES ? head - i : V_LANES, out, flags, body, k);
    map_range(a, b, head, n, out, flags, body, k, 1);
    v_fence();
}

LMX_INLINE void row_fill(elem *out, size_t n, real value)
{
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES)
        e_store(out + i, v_set1(value));
    if (i < n)
        e_store_n(out + i, v_set1(value), n - i);
}

/* ---------------------------------------------------------- lane sums --- */

/* The 32 lanes of a row, V_LANES at a time. */
typedef struct {
    vwide group[GROUPS];
} lane_sums;

/* w with one lane's sum put in its place */
LMX_INLINE vwide vw_replace(vwide w, size_t lane, double hi, double lo)
{
    double h[V_LANES], l[V_LANES];
    vw_store(h, l, w);
    h[lane] = hi;
    l[lane] = lo;
    return vw_load(h, l);
}

/* Lane i with lane i + 16, then + 8, 4, 2, 1: whole vectors first, then inside the last one. */
LMX_INLINE lmx_dd lane_total(lane_sums s)
{
    for (size_t w = GROUPS / 2; w > 0; w /= 2)
        for (size_t g = 0; g < w; g++)
            s.group[g] = vw_merge(s.group[g], s.group[g + w]);
    double hi[V_LANES], lo[V_LANES];
    vw_store(hi, lo, s.group[0]);
    for (size_t w = V_LANES / 2; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++) {
            if (sizeof(real) == 4) {
                hi[i] += hi[i + w];
            } else {
                const lmx_dd t = lmx_two_sum(hi[i], hi[i + w]);
                hi[i] = t.hi;
                lo[i] = (lo[i] + lo[i + w]) + t.lo;
            }
        }
    return (lmx_dd){ hi[0], sizeof(real) == 4 ? 0 : lo[0] };
}

/* ---------------------------------------------------------- short rows --- */

typedef void row_measure(const void *a, const void *b, size_t n, void *terms, lmx_chunk *chunk);
typedef void row_fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm);
typedef void row_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                       const lmx_norm *norm, void *out, unsigned how);

/* What an operation hands back for a row in place of an array. */
enum { RESULT_ROW, RESULT_VALUE, RESULT_SUM };

LMX_INLINE void rows_loop(const lmx_rows *r, row_measure *measure, row_fold *fold, row_apply *apply,
                          int inputs, int uses_terms, int result)
{
    const elem *a = r->a, *b = r->b;
    for (size_t i = 0; i < r->rows; i++) {
        const elem *ai = a + (ptrdiff_t)i * r->a_stride;
        const elem *bi = inputs > 1 ? b + (ptrdiff_t)i * r->b_stride : NULL;
        lmx_chunk chunk;
        lmx_norm norm;
        norm.rate = 1;
        if (result == RESULT_ROW) {
            elem *out = (elem *)r->out + (ptrdiff_t)i * r->out_stride;
            if (uses_terms) {
                void *terms = (r->how & LMX_HOW_SCRATCH) || !LMX_ELEM_IS_REAL ? r->scratch : out;
                measure(ai, bi, r->cols, terms, &chunk);
                fold(&chunk, 1, &norm);
                apply(terms, bi, r->cols, &chunk, &norm, out, r->how | LMX_HOW_TERMS);
            } else {
                measure(ai, bi, r->cols, NULL, &chunk);
                fold(&chunk, 1, &norm);
                apply(ai, bi, r->cols, &chunk, &norm, out, r->how & ~(unsigned)LMX_HOW_TERMS);
            }
        } else {
            measure(ai, bi, r->cols, NULL, &chunk);
            fold(&chunk, 1, &norm);
            if (result == RESULT_VALUE)
                ((real *)r->out)[(ptrdiff_t)i * r->out_stride] = (real)lmx_norm_value(&norm);
            else
                ((lmx_expsum *)r->out)[(ptrdiff_t)i * r->out_stride] =
                    lmx_total_pack((lmx_total){ norm.fine, norm.sum });
        }
    }
}

/* ------------------------------------------------------------- columns --- */

/* As row_body, with the constants of V_LANES columns in k[0], k[1], ... */
typedef vreal column_body(vreal a, vreal b, const vreal *k);

#define COLUMN_CONSTANTS 5

/* Scalar constants of one column from its norm. */
typedef void column_constants(const lmx_norm *norm, real k[COLUMN_CONSTANTS]);

LMX_INLINE void columns_map(const lmx_columns *c, const lmx_norm *norms, int inputs,
                            column_constants *constants, column_body *body)
{
    real k[COLUMN_CONSTANTS][LMX_COLUMNS];
    for (size_t j = 0; j < c->width; j++) {
        real one[COLUMN_CONSTANTS] = { 0 };
        constants(&norms[j], one);
        for (size_t q = 0; q < COLUMN_CONSTANTS; q++)
            k[q][j] = one[q];
    }
    for (size_t j = c->width; j < LMX_COLUMNS; j++)
        for (size_t q = 0; q < COLUMN_CONSTANTS; q++)
            k[q][j] = 0;
    for (size_t i = 0; i < c->cols; i++) {
        const elem *a = (const elem *)c->a + (ptrdiff_t)i * c->a_stride;
        const elem *b = inputs > 1 ? (const elem *)c->b + (ptrdiff_t)i * c->b_stride : NULL;
        elem *out = (elem *)c->out + (ptrdiff_t)i * c->out_stride;
        for (size_t j = 0; j < c->width; j += V_LANES) {
            const size_t left = c->width - j;
            vreal vk[COLUMN_CONSTANTS];
            for (size_t q = 0; q < COLUMN_CONSTANTS; q++)
                vk[q] = v_load(&k[q][j]);
            if (left >= V_LANES) {
                const vreal va = e_load(a + j);
                e_store(out + j, body(va, inputs > 1 ? e_load(b + j) : va, vk));
            } else {
                const vreal va = e_load_n(a + j, left, 0);
                e_store_n(out + j, body(va, inputs > 1 ? e_load_n(b + j, left, 0) : va, vk), left);
            }
        }
    }
}

/* The 32 lanes of V_LANES columns, added in the order of lane_total(). */
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

/* ------------------------------------------------------------- kernels --- */

/* For operations that write one value per row. */
LMX_INLINE void no_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                         const lmx_norm *norm, void *out, unsigned how)
{
    (void)a, (void)b, (void)n, (void)chunk, (void)norm, (void)out, (void)how;
}
LMX_INLINE void no_columns(const lmx_columns *c, const lmx_norm *norms) { (void)c, (void)norms; }

/* Names an operation's entry in the table; everything is in the functions above. */
#define LMX_ROW_KERNEL(name, measure_, fold_, apply_, inputs_, terms_, result_, mcols_, acols_) \
  static void name##_fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm)                    \
  {                                                                                             \
    fold_(chunks, n, norm);                                                                     \
  }                                                                                             \
  static void name##_rows(const lmx_rows *r)                                                    \
  {                                                                                             \
    rows_loop(r, measure_, fold_, apply_, inputs_, terms_, result_);                            \
  }                                                                                             \
  const lmx_row_kernel LMX_K(name) = { measure_, name##_fold, apply_, name##_rows,              \
                                       mcols_,   acols_,      terms_ };

#endif
