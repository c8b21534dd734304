/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena hands out the parts of one allocation, each at a multiple of 64 bytes.  A function that
 * lays out a workspace runs twice, first without memory to count the bytes and then with memory, so
 * that the two cannot disagree.
 */
#ifndef LMX_ARENA_H
#define LMX_ARENA_H

#include <stdlib.h>

#include "base/common.h"

typedef struct lmx_arena {
    char *base;  /* NULL: only count */
    size_t used; /* bytes handed out or counted */
} lmx_arena;

/* n rounded up to a multiple of 64. */
LMX_INLINE size_t lmx_round_up(size_t n) { return (n + 63) / 64 * 64; }

/* Takes a part of `size` bytes; NULL while counting. */
LMX_INLINE void *lmx_arena_take(lmx_arena *a, size_t size)
{
    char *const p = a->base == NULL ? NULL : a->base + a->used;
    a->used += lmx_round_up(size);
    return p;
}

/*
 * Allocates `size` bytes.  The base is NULL if there is no memory; to_free can be passed to free()
 * in any case.
 */
LMX_INLINE lmx_arena lmx_arena_open(size_t size, void **to_free)
{
    *to_free = size > SIZE_MAX - 64 ? NULL : malloc(size + 64);
    if (*to_free == NULL)
        return (lmx_arena){ NULL, 0 };
    return (lmx_arena){ (char *)*to_free + (64 - (uintptr_t)*to_free % 64), 0 };
}

#endif
