/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The k best of many candidates, under a total order: the result does not depend on the order of
 * arrival.
 */
#ifndef LMX_CANDIDATE_H
#define LMX_CANDIDATE_H

#include <stddef.h>

#include "base/common.h"

typedef struct lmx_candidate {
    double value;
    size_t index;
} lmx_candidate;

/*
 * Whether a is ranked after b.  NaN is ranked first, then the larger value, then the lower index.
 */
LMX_INLINE int lmx_is_worse(lmx_candidate a, lmx_candidate b)
{
    const int a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan)
        return b_nan;
    if (!a_nan && a.value != b.value)
        return a.value < b.value;
    return a.index > b.index;
}

/* Restores a heap of n, whose root is the worst, by letting the root sink. */
LMX_INLINE void lmx_sink(lmx_candidate *heap, size_t n)
{
    const lmx_candidate v = heap[0];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && lmx_is_worse(heap[child + 1], heap[child]))
            child++;
        if (!lmx_is_worse(heap[child], v))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = v;
}

/* Replaces the worst of k by c, if c is better. */
LMX_INLINE void lmx_consider(lmx_candidate *heap, size_t k, lmx_candidate c)
{
    if (lmx_is_worse(heap[0], c)) {
        heap[0] = c;
        lmx_sink(heap, k);
    }
}

/* Sorts a heap of k, best first. */
LMX_INLINE void lmx_sort_candidates(lmx_candidate *heap, size_t k)
{
    for (size_t n = k; n > 1; n--) {
        const lmx_candidate worst = heap[0];
        heap[0] = heap[n - 1];
        heap[n - 1] = worst;
        lmx_sink(heap, n - 1);
    }
}

#endif
