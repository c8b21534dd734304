/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of one allocation, each at a multiple of 64 bytes.  A function takes them in an order of its own, twice:
 * once to count, once with memory, so that what is counted is what is used.
 */
#ifndef LMX_ARENA_H
#define LMX_ARENA_H

#include <stdlib.h>

#include "base/common.h"

typedef struct lmx_arena {
    char *base; /* NULL: counting */
    size_t used;
} lmx_arena;

/* n, or the next number that 64 divides. */
LMX_INLINE size_t lmx_round_up(size_t n) { return (n + 63) / 64 * 64; }

/* NULL while counting. */
LMX_INLINE void *lmx_arena_take(lmx_arena *a, size_t size)
{
    char *const p = a->base == NULL ? NULL : a->base + a->used;
    a->used += lmx_round_up(size);
    return p;
}

/* Memory for `size` bytes, without a base if there is none; to_free is for free() in any case. */
LMX_INLINE lmx_arena lmx_arena_open(size_t size, void **to_free)
{
    *to_free = size > SIZE_MAX - 64 ? NULL : malloc(size + 64);
    if (*to_free == NULL)
        return (lmx_arena){ NULL, 0 };
    return (lmx_arena){ (char *)*to_free + (64 - (uintptr_t)*to_free % 64), 0 };
}

#endif
