/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops over rows, written once: maps of elements, sums over the 32 lanes, batches
 * of short rows, pipelined rows.  An operation supplies bodies as function pointers;
 * they are constants at every call, so they are inlined and the pointers vanish.
 */
#ifndef LMX_ROW_H
#define LMX_ROW_H

#include "kernels/kernels.h"
#include "kernels/total.h"
#include "simd/vmath.h"

#define GROUPS (LMX_LANES / V_LANES)

/* ------------------------------------------------------------- mapping --- */

/* Computes one vector of results from one of a and one of b; k holds the operation's constants. */
typedef vreal row_body(vreal a, vreal b, const void *k);

enum {
    MAP_B = 1,    /* the map reads b too */
    MAP_TERMS = 2 /* a holds reals, not elements */
};

LMX_INLINE vreal map_one(const void *a, const elem *b, size_t i, unsigned flags, row_body *body,
                         const void *k)
{
    const vreal va = flags & MAP_TERMS ? v_load((const real *)a + i) : e_load((const elem *)a + i);
    return body(va, flags & MAP_B ? e_load(b + i) : va, k);
}

/* Maps the n <= V_LANES elements from i on. */
LMX_INLINE void map_few(const void *a, const elem *b, size_t i, size_t n, elem *out, unsigned flags,
                        row_body *body, const void *k)
{
    const vreal va = flags & MAP_TERMS ? v_load_n((const real *)a + i, n, 0)
                                       : e_load_n((const elem *)a + i, n, 0);
    e_store_n(out + i, body(va, flags & MAP_B ? e_load_n(b + i, n, 0) : va, k), n);
}

/*
 * The prefetch distance, in bytes, of passes over long rows.  The hardware's prefetcher stops at
 * page boundaries and falls behind: on Cascade Lake prefetching makes logsumexp of 1e7 elements 1.5
 * times as fast, and softmax 1.2 times.  A prefetch past the end of the row cannot fault.
 */
#define PREFETCH_DISTANCE 3072

/* Maps elements i ... n; with stream, by nontemporal stores. */
LMX_INLINE_VECTOR void map_range(const void *a, const elem *b, size_t i, size_t n, elem *out,
                                 unsigned flags, row_body *body, const void *k, int stream)
{
    for (; i + 4 * V_LANES <= n; i += 4 * V_LANES) {
        if (stream && !(flags & MAP_TERMS))
            for (size_t q = 0; q < 4 * V_LANES * sizeof(elem); q += 64) {
                LMX_PREFETCH_READ((const char *)((const elem *)a + i) + PREFETCH_DISTANCE + q);
                if (flags & MAP_B)
                    LMX_PREFETCH_READ((const char *)(b + i) + PREFETCH_DISTANCE + q);
            }
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

/*
 * Maps the elements before the first line of 64 bytes by ordinary stores, and returns their number:
 * nontemporal stores must fill whole lines.
 */
LMX_INLINE_VECTOR size_t map_head(const void *a, const elem *b, size_t n, elem *out, unsigned flags,
                                  row_body *body, const void *k)
{
    size_t head = (size_t)(0 - (uintptr_t)out) % 64 / sizeof(elem);
    head = head < n ? head : n;
    for (size_t i = 0; i < head; i += V_LANES)
        map_few(a, b, i, head - i < V_LANES ? head - i : V_LANES, out, flags, body, k);
    return head;
}

/*
 * out[i] = body(a[i], b[i]); out may be a or b.  After nontemporal stores the caller calls
 * v_fence().
 */
LMX_INLINE void row_map(const void *a, const elem *b, size_t n, elem *out, unsigned how,
                        unsigned flags, row_body *body, const void *k)
{
    if (!(how & LMX_HOW_STREAM)) {
        map_range(a, b, 0, n, out, flags, body, k, 0);
        return;
    }
    const size_t head = map_head(a, b, n, out, flags, body, k);
    map_range(a, b, head, n, out, flags, body, k, 1);
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

/* w with one lane's sum replaced by (hi, lo) */
LMX_INLINE vwide vw_replace(vwide w, size_t lane, double hi, double lo)
{
    double h[V_LANES], l[V_LANES];
    vw_store(h, l, w);
    h[lane] = hi;
    l[lane] = lo;
    return vw_load(h, l);
}

/*
 * Adds lanes i and i + 16, then i and i + 8, 4, 2, 1: whole vectors first, then the lanes of the
 * last one.
 */
LMX_INLINE lmx_dd lane_total(lane_sums s)
{
    for (size_t w = GROUPS / 2; w > 0; w /= 2)
        for (size_t g = 0; g < w; g++)
            s.group[g] = vw_merge(s.group[g], s.group[g + w]);
#if defined(LMX_REAL_F64)
    double hi[V_LANES], lo[V_LANES];
    vw_store(hi, lo, s.group[0]);
    for (size_t w = V_LANES / 2; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++) {
            const lmx_dd t = lmx_two_sum(hi[i], hi[i + w]);
            hi[i] = t.hi;
            lo[i] = (lo[i] + lo[i + w]) + t.lo;
        }
    return (lmx_dd){ hi[0], lo[0] };
#else
    return (lmx_dd){ vw_total(s.group[0]), 0 };
#endif
}

/* ---------------------------------------------------------- short rows --- */

/*
 * Guesses what a measure starts from and stores it in the chunk.  It is a step of its own so that
 * rows_loop() can hide its latency.
 */
typedef void row_guess(const void *a, size_t n, lmx_chunk *chunk);
/* The measure, fold and apply of lmx_row_kernel. */
typedef void row_measure(const void *a, const void *b, size_t n, void *terms, lmx_chunk *chunk);
typedef void row_fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm);
typedef void row_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                       const lmx_norm *norm, void *out, unsigned how);

/* The result of an operation for a row: a row, one real, or an lmx_expsum. */
enum { RESULT_ROW, RESULT_VALUE, RESULT_SUM };

/*
 * Prefetches the lines that pass 2 will write; called before pass 1, which takes as long as they
 * need to arrive.
 */
LMX_INLINE void prefetch_row(const elem *out, size_t n)
{
    for (size_t i = 0; i < n; i += 64 / sizeof(elem))
        LMX_PREFETCH_WRITE(out + i);
}

/* The addresses of a row. */
typedef struct {
    const elem *a, *b;
    elem *out;
    void *terms; /* where its terms are stored, in scratch or in the output; NULL if they are not */
} row_place;

enum { TERMS_NONE, TERMS_OUT, TERMS_SCRATCH };

/* The place of row i, the q-th of its batch. */
LMX_INLINE row_place place_of(const lmx_rows *r, size_t i, size_t q, int inputs, int result,
                              int terms)
{
    row_place p = { (const elem *)r->a + (ptrdiff_t)i * r->a_stride, NULL, NULL, NULL };
    if (inputs > 1)
        p.b = (const elem *)r->b + (ptrdiff_t)i * r->b_stride;
    if (result == RESULT_ROW)
        p.out = (elem *)r->out + (ptrdiff_t)i * r->out_stride;
    if (terms == TERMS_SCRATCH)
        p.terms = (real *)r->scratch + q * r->cols;
    else if (terms == TERMS_OUT)
        p.terms = p.out;
    return p;
}

/* Stores the result of row i where it is one value. */
LMX_INLINE void put_value(const lmx_rows *r, size_t i, const lmx_norm *norm, int result)
{
    const ptrdiff_t at = (ptrdiff_t)i * r->out_stride;
    if (result == RESULT_VALUE)
        ((real *)r->out)[at] = (real)lmx_norm_value(norm);
    else
        ((lmx_expsum *)r->out)[at] = lmx_total_pack((lmx_total){ norm->fine, norm->sum });
}

/*
 * Short rows are processed in batches, each step for all rows of a batch, so that the latency of
 * finishing one row is hidden by the next.  A batch fits into the first-level cache.
 */
#define ROWS_BATCH 8

LMX_INLINE void rows_loop(const lmx_rows *r, row_guess *guess, row_measure *measure, row_fold *fold,
                          row_apply *apply, int inputs, int uses_terms, int result)
{
    const size_t cols = r->cols;
    const int terms = !uses_terms                                       ? TERMS_NONE
                      : (r->how & LMX_HOW_SCRATCH) || !LMX_ELEM_IS_REAL ? TERMS_SCRATCH
                                                                        : TERMS_OUT;
    const unsigned how = uses_terms ? r->how | LMX_HOW_TERMS : r->how & ~(unsigned)LMX_HOW_TERMS;
    size_t batch = LMX_BATCH / cols;
    batch = batch < 1 ? 1 : batch > ROWS_BATCH ? ROWS_BATCH : batch;
    lmx_chunk chunk[ROWS_BATCH];
    lmx_norm norm[ROWS_BATCH];
    for (size_t i = 0; i < r->rows; i += batch) {
        const size_t count = r->rows - i < batch ? r->rows - i : batch;
        for (size_t q = 0; q < count; q++) {
            const row_place p = place_of(r, i + q, q, inputs, result, terms);
            chunk[q].parameter = r->parameter;
            guess(p.a, cols, &chunk[q]);
            if (result == RESULT_ROW && !uses_terms && !(how & LMX_HOW_STREAM))
                prefetch_row(p.out, cols);
        }
        for (size_t q = 0; q < count; q++) {
            const row_place p = place_of(r, i + q, q, inputs, result, terms);
            measure(p.a, p.b, cols, p.terms, &chunk[q]);
        }
        for (size_t q = 0; q < count; q++) {
            norm[q].rate = 1;
            fold(&chunk[q], 1, &norm[q]);
        }
        for (size_t q = 0; q < count; q++) {
            const row_place p = place_of(r, i + q, q, inputs, result, terms);
            if (result == RESULT_ROW)
                apply(uses_terms ? p.terms : p.a, p.b, cols, &chunk[q], &norm[q], p.out, how);
            else
                put_value(r, i + q, &norm[q], result);
        }
    }
    if (how & LMX_HOW_STREAM)
        v_fence();
}

/* ------------------------------------------------------ pipelined rows --- */

/*
 * Rows that are read from memory and written to memory, not to a cache, are pipelined: pass 2 of
 * one row is interleaved with pass 1 of the next, so that exponentials are computed during the
 * transfers.  Where pass 2 reads stored terms, one scratch row serves both passes: a block of the
 * old row is read before the terms of the new one overwrite it.
 */
#define PENDING_CONSTANTS 2

/* A chunk of the previous row whose pass 2 is pending. */
typedef struct {
    const void *a; /* its input, or its terms */
    const elem *b;
    elem *out;
    size_t at; /* the next element to write */
    size_t n;  /* elements of the chunk; 0 if none is pending */
    vreal k[PENDING_CONSTANTS];
} row_pending;

/* Starts pass 2: writes the head before the first aligned line. */
LMX_INLINE void pending_open(row_pending *s, unsigned flags, row_body *body)
{
    s->at = s->n == 0 ? 0 : map_head(s->a, s->b, s->n, s->out, flags, body, s->k);
}

/* Writes all remaining elements. */
LMX_INLINE void pending_close(row_pending *s, unsigned flags, row_body *body)
{
    map_range(s->a, s->b, s->at, s->n, s->out, flags, body, s->k, 1);
    s->at = s->n;
}

/*
 * Writes the next block, or the tail.  One step precedes each block of pass 1, so that pass 1 never
 * overtakes it.
 */
LMX_INLINE void pending_step(row_pending *s, unsigned flags, row_body *body)
{
    if (s->n - s->at < LMX_BLOCK) {
        pending_close(s, flags, body);
        return;
    }
    for (size_t u = 0; u < LMX_BLOCK; u += V_LANES)
        e_stream(s->out + s->at + u, map_one(s->a, s->b, s->at + u, flags, body, s->k));
    s->at += LMX_BLOCK;
}

/* A row_measure that also writes a pending chunk, one block for each of its own. */
typedef void row_measure_pipelined(const void *a, const void *b, size_t n, void *terms,
                                   lmx_chunk *chunk, row_pending *pending);

/*
 * Fills k with the constants of the body that writes a chunk; 0 if that body does not apply, and
 * apply() writes it.
 */
typedef int row_pending_constants(const lmx_chunk *chunk, const lmx_norm *norm,
                                  vreal k[PENDING_CONSTANTS]);

LMX_INLINE void pipelined_loop(const lmx_rows *r, row_guess *guess, row_measure_pipelined *measure,
                               row_fold *fold, row_apply *apply, row_pending_constants *constants,
                               row_body *body, int inputs, int uses_terms)
{
    const unsigned flags = (uses_terms ? MAP_TERMS : 0) | (inputs > 1 ? MAP_B : 0);
    const size_t chunks = (r->cols - 1) / LMX_CHUNK + 1;
    lmx_chunk chunk[LMX_PIPELINED_CHUNKS];
    row_pending pending[LMX_PIPELINED_CHUNKS];
    for (size_t c = 0; c < chunks; c++)
        pending[c].n = 0;
    for (size_t i = 0; i < r->rows; i++) {
        const elem *a = (const elem *)r->a + (ptrdiff_t)i * r->a_stride;
        const elem *b = inputs > 1 ? (const elem *)r->b + (ptrdiff_t)i * r->b_stride : NULL;
        elem *out = (elem *)r->out + (ptrdiff_t)i * r->out_stride;
        lmx_norm norm;
        norm.rate = 1;
        for (size_t c = 0; c < chunks; c++) {
            const size_t at = c * LMX_CHUNK;
            const size_t n = r->cols - at < LMX_CHUNK ? r->cols - at : LMX_CHUNK;
            guess(a + at, n, &chunk[c]);
            measure(a + at, b != NULL ? b + at : NULL, n, (real *)r->scratch + at, &chunk[c],
                    &pending[c]);
            pending[c].a = uses_terms ? (const void *)((real *)r->scratch + at) : a + at;
            pending[c].b = b != NULL ? b + at : NULL;
            pending[c].out = out + at;
            pending[c].n = n;
        }
        fold(chunk, chunks, &norm);
        for (size_t c = 0; c < chunks; c++)
            if (!constants(&chunk[c], &norm, pending[c].k)) {
                apply(pending[c].a, pending[c].b, pending[c].n, &chunk[c], &norm, pending[c].out,
                      LMX_HOW_STREAM | (uses_terms ? LMX_HOW_TERMS : 0));
                pending[c].n = 0;
            }
    }
    for (size_t c = 0; c < chunks; c++) {
        pending_open(&pending[c], flags, body);
        pending_close(&pending[c], flags, body);
    }
    v_fence();
}

/* ------------------------------------------------------------- kernels --- */

/* The guess of operations that need none. */
LMX_INLINE void no_guess(const void *a, size_t n, lmx_chunk *chunk)
{
    (void)a, (void)n, (void)chunk;
}

/* The apply of operations that write one value per row. */
LMX_INLINE void no_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                         const lmx_norm *norm, void *out, unsigned how)
{
    (void)a, (void)b, (void)n, (void)chunk, (void)norm, (void)out, (void)how;
}

/* Defines an operation's entry in the kernel table from the functions above. */
#define LMX_ROW_KERNEL(name, guess_, measure_, fold_, apply_, inputs_, terms_, result_, mcols_, \
                       acols_, pipelined_, keeps_)                                              \
  static void name##_measure(const void *a, const void *b, size_t n, void *terms, lmx_chunk *c) \
  {                                                                                             \
    guess_(a, n, c);                                                                            \
    measure_(a, b, n, terms, c);                                                                \
  }                                                                                             \
  static void name##_fold(const lmx_chunk *chunks, size_t n, lmx_norm *norm)                    \
  {                                                                                             \
    fold_(chunks, n, norm);                                                                     \
  }                                                                                             \
  static void name##_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,      \
                           const lmx_norm *norm, void *out, unsigned how)                       \
  {                                                                                             \
    apply_(a, b, n, chunk, norm, out, how);                                                     \
    if (how & LMX_HOW_STREAM)                                                                   \
      v_fence();                                                                                \
  }                                                                                             \
  static void name##_rows(const lmx_rows *r)                                                    \
  {                                                                                             \
    rows_loop(r, guess_, measure_, fold_, apply_, inputs_, terms_, result_);                    \
  }                                                                                             \
  const lmx_row_kernel LMX_K(name) = { name##_measure, name##_fold, name##_apply, name##_rows,  \
                                       pipelined_,     mcols_,      acols_,       keeps_,       \
                                       terms_,         sizeof(elem) };

#endif
