/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of n = 2, 4, 8 or 16 neighbouring channels, as many groups at a time as a vector has lanes: n vectors that
 * hold them one after the other become n vectors of which each lane is a group.
 */
#ifndef LMX_GROUPS_H
#define LMX_GROUPS_H

#include "kernels/loops/map.h"
#include "kernels/loops/products.h"

#define GROUP_MOST 16

/* In log2(n) steps, each of which puts the elements 2i of every part before its elements 2i + 1. */
LMX_INLINE void groups_split(vreal *v, size_t n)
{
    for (size_t parts = 1; parts < n; parts *= 2) {
        const size_t half = n / parts / 2;
        vreal w[GROUP_MOST];
        for (size_t s = 0; s < parts; s++)
            for (size_t i = 0; i < half; i++) {
                const vreal a = v[2 * (s * half + i)], b = v[2 * (s * half + i) + 1];
                w[s * half + i] = v_evens(a, b);
                w[(s + parts) * half + i] = v_odds(a, b);
            }
        for (size_t i = 0; i < n; i++)
            v[i] = w[i];
    }
}

LMX_INLINE void groups_join(vreal *v, size_t n)
{
    for (size_t parts = n / 2; parts > 0; parts /= 2) {
        const size_t half = n / parts / 2;
        vreal w[GROUP_MOST];
        for (size_t s = 0; s < parts; s++)
            for (size_t i = 0; i < half; i++) {
                const vreal e = v[s * half + i], o = v[(s + parts) * half + i];
                w[2 * (s * half + i)] = v_zip_low(e, o);
                w[2 * (s * half + i) + 1] = v_zip_high(e, o);
            }
        for (size_t i = 0; i < n; i++)
            v[i] = w[i];
    }
}

/* n vectors from p, of which `left` elements are there */
LMX_INLINE void groups_load(const elem *p, size_t left, size_t n, vreal *v)
{
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * V_LANES, here = left > at ? left - at : 0;
        v[i] = here >= V_LANES ? e_load(p + at) : here > 0 ? e_load_n(p + at, here, 0) : v_set1(0);
    }
}

LMX_INLINE void groups_store(elem *p, size_t left, size_t n, const vreal *v)
{
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * V_LANES, here = left > at ? left - at : 0;
        if (here >= V_LANES)
            e_store(p + at, v[i]);
        else if (here > 0)
            e_store_n(p + at, v[i], here);
    }
}

/* out from x, which may be changed, and dy, in vectors of groups */
typedef void group_body(const vreal *dy, vreal *x, const void *k, size_t i, vreal *out);

/* `left` elements from element i of a row on, n vectors at most. */
LMX_INLINE_VECTOR void groups_block(const map_arrays *m, size_t i, size_t left, size_t n,
                                    int backward, group_body *body, const void *k, int stream)
{
    vreal x[GROUP_MOST], dy[GROUP_MOST], out[GROUP_MOST];
    for (size_t q = 0; q < GROUP_MOST; q++) /* not all of it is read; compilers cannot know */
        x[q] = dy[q] = v_set1(0);
    groups_load(m->x + i, left, n, x);
    groups_split(x, n);
    if (backward) {
        groups_load(m->dy + i, left, n, dy);
        groups_split(dy, n);
    }
    body(dy, x, k, i, out);
    for (size_t q = 0; q < n; q++)
        out[q] = canonical(out[q]);
    groups_join(out, n);
    if (stream)
        for (size_t q = 0; q < n; q++)
            e_stream(m->out + i + q * V_LANES, out[q]);
    else
        groups_store(m->out + i, left, n, out);
}

/* A row of groups, of x or of dy and x; streamed if groups begin where lines do. */
LMX_INLINE void groups_row(const map_arrays *m, size_t n, int backward, group_body *body,
                           const void *k)
{
    const size_t step = n * V_LANES, past = (size_t)(0 - (uintptr_t)m->out) % 64 / sizeof(elem);
    const int stream = (m->how & LMX_HOW_STREAM) != 0 && past % n == 0;
    size_t i = 0, end = !stream ? 0 : past < m->n ? past : m->n;
    for (;;) { /* as map_all() */
        for (; i < end; i += step)
            groups_block(m, i, end - i < step ? end - i : step, n, backward, body, k, 0);
        i = end;
        if (i == m->n)
            break;
        for (; i + step <= m->n; i += step) {
            if (stream)
                for (size_t q = 0; q < step; q += 64 / sizeof(elem))
                    map_prefetch(m, i + q, PREFETCH_DISTANCE, backward ? HAS_DY : 0);
            groups_block(m, i, step, n, backward, body, k, stream);
        }
        end = m->n;
    }
    if (stream)
        v_fence();
}

/* All rows of a piece. */
LMX_INLINE void groups_piece(const lmx_piece *e, size_t n, int backward, group_body *body)
{
    for (size_t r = 0; r < map_runs(e); r++) {
        const map_arrays m = map_run(e, r);
        groups_row(&m, n, backward, body, NULL);
    }
}

#endif
