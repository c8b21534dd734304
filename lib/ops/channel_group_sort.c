/* SPDX-License-Identifier: Apache-2.0 */
/* group_sort: each group of channels in ascending order; see sorting.h. */
#include "ops/sorting.h"

/* Each size in a frame of its own. */
#define SORT_ROW(n)                                            \
  SORT_GROUPS(n)                                               \
  LMX_NOINLINE void row_##n(const map_arrays *m, int backward) \
  {                                                            \
    if (backward)                                              \
      groups_row(m, n, 1, unsort_##n, NULL);                   \
    else                                                       \
      groups_row(m, n, 0, sort_##n, NULL);                     \
  }
SORT_ROW(2)
SORT_ROW(4)
SORT_ROW(8)
SORT_ROW(16)

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

LMX_INLINE void sort_rows(const lmx_piece *e, const lmx_channel_spec *spec, int backward)
{
    for (size_t r = 0; r < map_runs(e); r++) {
        const map_arrays m = map_run(e, r);
        switch (spec->group) {
        case 2:
            row_2(&m, backward);
            break;
        case 4:
            row_4(&m, backward);
            break;
        case 8:
            row_8(&m, backward);
            break;
        case 16:
            row_16(&m, backward);
            break;
        default:
            any_groups(&m, spec->group, backward, e->scratch);
        }
    }
}

static void forward(const lmx_piece *e, const lmx_channel_spec *spec) { sort_rows(e, spec, 0); }
static void backward(const lmx_piece *e, const lmx_channel_spec *spec) { sort_rows(e, spec, 1); }

const lmx_channel_kernel LMX_K(group_sort) = { forward, backward };
