/* SPDX-License-Identifier: Apache-2.0 */
/* group_sort: each group of channels in ascending order; see sorting.h. */
#include "kernels/channel/sorting.h"

/* Each size and direction in a frame of its own. */
#define SORT_PIECE(n)                                                                       \
  SORT_GROUPS(n)                                                                            \
  LMX_NOINLINE void sort_piece_##n(const lmx_piece *e) { groups_piece(e, n, 0, sort_##n); } \
  LMX_NOINLINE void unsort_piece_##n(const lmx_piece *e) { groups_piece(e, n, 1, unsort_##n); }
SORT_PIECE(2)
SORT_PIECE(4)
SORT_PIECE(8)
SORT_PIECE(16)

/* A channel of a group that no network sorts. */
typedef struct {
    real x;
    size_t from;
} ranked;

/* a[0..n) in order, stable, by merging runs of 1, 2, 4 ...; b is of the same size. Returns where the result is. */
static ranked *merge_sort(ranked *a, ranked *b, size_t n)
{
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t low = 0; low < n; low += 2 * run) {
            const size_t middle = low + run < n ? low + run : n;
            const size_t high = middle + run < n ? middle + run : n;
            size_t i = low, j = middle;
            for (size_t k = low; k < high; k++)
                b[k] = j >= high || (i < middle && !(a[i].x > a[j].x)) ? a[i++] : a[j++];
        }
        ranked *const t = a;
        a = b;
        b = t;
    }
    return a;
}

LMX_NOINLINE void any_groups(const map_arrays *m, size_t n, int backward, void *scratch)
{
    for (size_t at = 0; at < m->n; at += n) {
        ranked *a = scratch;
        int nan = 0;
        for (size_t i = 0; i < n; i++) {
            a[i] = (ranked){ e_get(m->x + at + i), i };
            nan |= a[i].x != a[i].x;
        }
        a = merge_sort(a, a + n, n);
        if (backward) /* dx may be dy: all of it first */
            for (size_t i = 0; i < n; i++)
                a[i].x = e_get(m->dy + at + i);
        for (size_t i = 0; i < n; i++)
            e_put(m->out + at + (backward ? a[i].from : i), nan ? LMX_QNAN : a[i].x);
    }
}

LMX_INLINE void sort_piece(const lmx_piece *e, const lmx_channel_spec *spec, int backward)
{
    switch (spec->group) {
    case 2:
        (backward ? unsort_piece_2 : sort_piece_2)(e);
        return;
    case 4:
        (backward ? unsort_piece_4 : sort_piece_4)(e);
        return;
    case 8:
        (backward ? unsort_piece_8 : sort_piece_8)(e);
        return;
    case 16:
        (backward ? unsort_piece_16 : sort_piece_16)(e);
        return;
    default:
        for (size_t r = 0; r < map_runs(e); r++) {
            const map_arrays m = map_run(e, r);
            any_groups(&m, spec->group, backward, e->scratch);
        }
    }
}

static void forward(const lmx_piece *e, const lmx_channel_spec *spec) { sort_piece(e, spec, 0); }
static void backward(const lmx_piece *e, const lmx_channel_spec *spec) { sort_piece(e, spec, 1); }

const lmx_channel_kernel LMX_K(group_sort) = { forward, backward };
