/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of random layouts: axes in any order, of either sign, with gaps, at any address, repeated. */
#ifndef PLACED_H
#define PLACED_H

#include "check.h"
#include "lanemax/lanemax.h"

#define PLACED_NDIM 5

typedef struct placed {
    lmx_view view;
    ptrdiff_t shape[PLACED_NDIM], strides[PLACED_NDIM];
    size_t count, size; /* elements, and bytes of each */
    unsigned char *memory;
    size_t span; /* bytes of it */
} placed;

/* repeats: some axes may have stride 0, as only inputs can. */
void placed_open(placed *p, check_random *r, int dtype, int ndim, const ptrdiff_t *shape,
                 bool repeats);
void placed_close(placed *p);

/* Element i in C order. */
unsigned char *placed_at(const placed *p, size_t i);

/* Elements in C order to memory of their own, or from there; numbers as doubles. */
void placed_read(const placed *p, void *flat);
void placed_write(placed *p, const void *flat);
double placed_get(const placed *p, size_t i);
void placed_put(placed *p, size_t i, double value);

/* The index in C order, over `axes` in their order, of element i of an array of this shape. */
size_t placed_index(int ndim, const ptrdiff_t *shape, uint64_t axes, size_t i);

#endif
