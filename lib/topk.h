/* SPDX-License-Identifier: Apache-2.0 */
/* The k largest of many, in an order that leaves nothing to chance: what is offered when does not matter. */
#ifndef LMX_TOPK_H
#define LMX_TOPK_H

#include <stddef.h>
#include <stdint.h>

#include "common.h"

typedef struct lmx_ranked {
    double value;
    int64_t index;
} lmx_ranked;

/* NaN first, then by value, and of equal ones the lower index. */
LMX_INLINE int lmx_ranks_before(lmx_ranked a, lmx_ranked b)
{
    const int a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan)
        return a_nan;
    if (!a_nan && a.value != b.value)
        return a.value > b.value;
    return a.index < b.index;
}

/* Puts r at the top of a heap of n, whose top is the last of them in rank, and lets it sink. */
LMX_INLINE void lmx_topk_sink(lmx_ranked *heap, size_t n, lmx_ranked r)
{
    size_t i = 0;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && lmx_ranks_before(heap[child], heap[child + 1]))
            child++;
        if (lmx_ranks_before(heap[child], r))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = r;
}

/* Offers r to the best k, of which there are *n so far. */
LMX_INLINE void lmx_topk_offer(lmx_ranked *heap, size_t k, size_t *n, lmx_ranked r)
{
    if (*n == k) {
        if (k > 0 && lmx_ranks_before(r, heap[0]))
            lmx_topk_sink(heap, k, r);
        return;
    }
    size_t i = (*n)++;
    for (; i > 0 && lmx_ranks_before(heap[(i - 1) / 2], r); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = r;
}

/* The n of them in rank, first to last. */
LMX_INLINE void lmx_topk_sort(lmx_ranked *heap, size_t n)
{
    while (n > 1) {
        const lmx_ranked last = heap[0];
        n--;
        lmx_topk_sink(heap, n, heap[n]);
        heap[n] = last;
    }
}

#endif
