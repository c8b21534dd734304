/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of up to three arrays to elements of one or two: two vectors beside each other, and one after the other
 * what is left before the first line of a stream and at the end.  A body is a chain of some 150 cycles that fills
 * the CPU's scheduler (97 instructions here) with waiting ones; with a second chain in between, which lib/meson.build
 * has GCC do, it takes 0.7 to 0.9 of the time.
 */
#ifndef LMX_MAP_H
#define LMX_MAP_H

#include "kernels/loops/row.h"

typedef struct {
    const elem *dy, *x, *up;
    elem *out, *up_out;
    size_t n;
    unsigned how;
    size_t ahead; /* bytes to what is asked for early; 0: AHEAD, of streams alone */
} map_arrays;

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

/* What there is beside x and out. */
enum { HAS_DY = 1, HAS_UP = 2, HAS_UP_OUT = 4 };

typedef struct {
    vreal dy, x, up; /* x where there is no such array */
} map_in;

/* Vectors beside each other. */
#define TOGETHER 2

/* The elements' results; the second where there is an up_out. */
typedef vreal map_body(map_in in, const void *k, vreal *up_out);

/* The rows of a piece, those that follow each other as one: for map_run(). */
LMX_INLINE size_t map_runs(const lmx_piece *e) { return lmx_piece_together(e) ? 1 : e->rows; }

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

/* For functions that do not care where rows end. */
LMX_INLINE map_arrays map_run(const lmx_piece *e, size_t r)
{
    map_arrays m = map_row(e, r);
    if (lmx_piece_together(e))
        m.n = e->rows * e->n;
    return m;
}

LMX_INLINE void map_rest(const map_arrays *m, size_t i, size_t n, unsigned flags, map_body *body,
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

LMX_INLINE void map_ask(const map_arrays *m, size_t i, size_t ahead, unsigned flags)
{
    LMX_PREFETCH_READ((const char *)(m->x + i) + ahead);
    if (flags & HAS_DY)
        LMX_PREFETCH_READ((const char *)(m->dy + i) + ahead);
    if (flags & HAS_UP)
        LMX_PREFETCH_READ((const char *)(m->up + i) + ahead);
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
    const size_t past = stream ? (size_t)(0 - (uintptr_t)m->out) % 64 / sizeof(elem) : 0;
    const int stream_second = stream && ((uintptr_t)m->out - (uintptr_t)m->up_out) % 64 == 0;
    const size_t ahead = m->ahead != 0 ? m->ahead : stream ? AHEAD : 0, n = m->n;
    size_t i = 0, end = past < n ? past : n;
    for (;;) {
        for (; i < end; i += V_LANES)
            map_rest(m, i, end - i < V_LANES ? end - i : V_LANES, flags, body, k);
        i = end;
        if (i == n)
            break;
        for (; i + TOGETHER * V_LANES <= n; i += TOGETHER * V_LANES) {
            map_in in[TOGETHER];
            vreal first[TOGETHER], second[TOGETHER];
            for (size_t q = 0; q < TOGETHER; q++) {
                const size_t at = i + q * V_LANES;
                if (ahead != 0)
                    map_ask(m, at, ahead, flags);
                const vreal x = second[q] = e_load(m->x + at);
                in[q] = (map_in){ flags & HAS_DY ? e_load(m->dy + at) : x, x,
                                  flags & HAS_UP ? e_load(m->up + at) : x };
            }
            for (size_t q = 0; q < TOGETHER; q++)
                first[q] = body(in[q], k, &second[q]);
            for (size_t q = 0; q < TOGETHER; q++) {
                map_put(m->out + i + q * V_LANES, first[q], stream);
                if (flags & HAS_UP_OUT)
                    map_put(m->up_out + i + q * V_LANES, second[q], stream_second);
            }
        }
        end = n;
    }
}

/* After the last of the streams. */
LMX_INLINE void map_done(unsigned how)
{
    if (how & LMX_HOW_STREAM)
        v_fence();
}

#endif
