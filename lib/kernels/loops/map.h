/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps elements of up to three arrays to elements of one or two.  The loop is unrolled to two
 * vectors; single vectors process the head before the first aligned line of nontemporal stores, and
 * the tail.  A body is a dependency chain of some 150 cycles that fills the CPU's scheduler (97
 * entries on Cascade Lake) with waiting instructions.  Interleaved with a second chain, which the
 * flags in lib/meson.build make GCC do, it takes 0.7 to 0.9 of the time.
 */
#ifndef LMX_MAP_H
#define LMX_MAP_H

#include "kernels/loops/row.h"

/* The arrays of one run of n contiguous elements. */
typedef struct {
    const elem *dy, *x, *up; /* the gradient by out, the input, a second input; NULL if absent */
    elem *out, *up_out;      /* the result, and the gradient by up; up_out is NULL if absent */
    size_t n;
    unsigned how;
    size_t prefetch; /* bytes; 0: PREFETCH_DISTANCE with nontemporal stores, else none */
} map_arrays;

/* v, or x where x is NaN. */
LMX_INLINE vreal with_nan(vreal x, vreal v) { return v_select(v_isnan(x), x, v); }

/*
 * dy times a derivative of 0, as below a kink: 0 for every finite dy, whatever its sign, and NaN for NaN and
 * inf.  A gradient is the product dy f'(x) of IEEE arithmetic everywhere, so that no NaN gets lost at a kink.
 */
LMX_INLINE vreal times_zero(vreal dy)
{
    const vreal zero = v_set1(0);
    return v_fma(dy, zero, zero);
}

/* The arrays that there are besides x and out. */
enum { HAS_DY = 1, HAS_UP = 2, HAS_UP_OUT = 4 };

typedef struct {
    vreal dy, x, up; /* dy and up are x if there is no such array */
} map_in;

/* Vectors in flight. */
#define UNROLL 2

/* Returns one vector of results; writes *up_out if there is such an array. */
typedef vreal map_body(map_in in, const void *k, vreal *up_out);

/* The number of runs that map_run() makes of a piece: 1 if its rows are contiguous. */
LMX_INLINE size_t map_runs(const lmx_piece *e) { return lmx_piece_together(e) ? 1 : e->rows; }

/* Row r of a piece. */
LMX_INLINE map_arrays map_row(const lmx_piece *e, size_t r)
{
    const ptrdiff_t row = (ptrdiff_t)r;
    map_arrays m = {
        NULL, (const elem *)e->x + row * e->stride[LMX_X], NULL, NULL, NULL, e->n, e->how, 0
    };
    if (e->dy != NULL)
        m.dy = (const elem *)e->dy + row * e->stride[LMX_DY];
    if (e->up != NULL)
        m.up = (const elem *)e->up + row * e->stride[LMX_UP];
    m.out = (elem *)e->out + row * e->stride[LMX_OUT];
    if (e->up_out != NULL)
        m.up_out = (elem *)e->up_out + row * e->stride[LMX_UP_OUT];
    return m;
}

/* Run r of a piece, for functions that do not depend on where rows end. */
LMX_INLINE map_arrays map_run(const lmx_piece *e, size_t r)
{
    map_arrays m = map_row(e, r);
    if (lmx_piece_together(e))
        m.n = e->rows * e->n;
    return m;
}

/* Processes n <= V_LANES elements from i on. */
LMX_INLINE void map_tail(const map_arrays *m, size_t i, size_t n, unsigned flags, map_body *body,
                         const void *k)
{
    const vreal x = e_load_n(m->x + i, n, 0);
    const map_in in = { flags & HAS_DY ? e_load_n(m->dy + i, n, 0) : x, x,
                        flags & HAS_UP ? e_load_n(m->up + i, n, 0) : x };
    vreal second = x;
    e_store_n(m->out + i, body(in, k, &second), n);
    if (flags & HAS_UP_OUT)
        e_store_n(m->up_out + i, second, n);
}

LMX_INLINE void map_prefetch(const map_arrays *m, size_t i, size_t distance, unsigned flags)
{
    LMX_PREFETCH_READ((const char *)(m->x + i) + distance);
    if (flags & HAS_DY)
        LMX_PREFETCH_READ((const char *)(m->dy + i) + distance);
    if (flags & HAS_UP)
        LMX_PREFETCH_READ((const char *)(m->up + i) + distance);
}

LMX_INLINE void map_put(elem *to, vreal v, int stream)
{
    if (stream)
        e_stream(to, v);
    else
        e_store(to, v);
}

LMX_INLINE_VECTOR void map_all(const map_arrays *m, unsigned flags, map_body *body, const void *k)
{
    const int stream = (m->how & LMX_HOW_STREAM) != 0;
    const size_t head = stream ? (size_t)(0 - (uintptr_t)m->out) % 64 / sizeof(elem) : 0;
    const int stream_second = stream && ((uintptr_t)m->out - (uintptr_t)m->up_out) % 64 == 0;
    const size_t distance = m->prefetch != 0 ? m->prefetch : stream ? PREFETCH_DISTANCE : 0;
    const size_t n = m->n;
    size_t i = 0, end = head < n ? head : n;
    for (;;) {
        for (; i < end; i += V_LANES)
            map_tail(m, i, end - i < V_LANES ? end - i : V_LANES, flags, body, k);
        i = end;
        if (i == n)
            break;
        for (; i + UNROLL * V_LANES <= n; i += UNROLL * V_LANES) {
            map_in in[UNROLL];
            vreal first[UNROLL], second[UNROLL];
            for (size_t q = 0; q < UNROLL; q++) {
                const size_t at = i + q * V_LANES;
                if (distance != 0)
                    map_prefetch(m, at, distance, flags);
                const vreal x = second[q] = e_load(m->x + at);
                in[q] = (map_in){ flags & HAS_DY ? e_load(m->dy + at) : x, x,
                                  flags & HAS_UP ? e_load(m->up + at) : x };
            }
            for (size_t q = 0; q < UNROLL; q++)
                first[q] = body(in[q], k, &second[q]);
            for (size_t q = 0; q < UNROLL; q++) {
                map_put(m->out + i + q * V_LANES, first[q], stream);
                if (flags & HAS_UP_OUT)
                    map_put(m->up_out + i + q * V_LANES, second[q], stream_second);
            }
        }
        end = n;
    }
}

/* Call it after the last run. */
LMX_INLINE void map_done(unsigned how)
{
    if (how & LMX_HOW_STREAM)
        v_fence();
}

#endif
