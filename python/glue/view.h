/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy arrays as the glue sees them, and several of them over one index space. */
#ifndef LMXPY_VIEW_H
#define LMXPY_VIEW_H

#include "glue.h"

#define LMXPY_MAX_NDIM   64
#define LMXPY_MAX_ARRAYS 5

typedef struct view {
    char *data;
    int ndim, type, flags;
    const ptrdiff_t *shape, *strides; /* strides in bytes */
} view;

/* Several arrays of one shape as (rows, cols, inner); strides are in elements of each. */
typedef struct layout {
    lmx_shape shape;
    lmx_strides strides[LMXPY_MAX_ARRAYS];
} layout;

int is_none(uintptr_t object);

/* Whether the object is a numpy.ndarray and no subclass; then *v is filled. */
int is_array(uintptr_t object, view *v);
int is_contiguous(const view *v); /* in C order, and aligned */
int is_aligned(const view *v);
int is_writeable(const view *v);
int is_float(const view *v);
int same_shape(const view *a, const view *b);
size_t itemsize(int type);
size_t elements(const view *v);

/* Whether two arrays may have a byte in common. */
int may_overlap(const view *a, const view *b);

/* The arrays seen along the reduced axes `over`; LMX_OK or LMXPY_COPY.  arrays[0] has the shape and
 * decides which way is the fast one. */
int lay_out(const view *arrays, int count, uint64_t over, layout *found);

/* The same for what is done to each element by itself: axes in the order that `like` has in memory. */
int lay_out_pointwise(const view *arrays, int count, const view *like, layout *found);

/* Arrays without an element, whose strides mean nothing. */
void lay_out_nothing(size_t rows, size_t cols, layout *found);

/* Strides with which v, whose shape broadcasts to that of x, is read over x.  v.shape and v.strides
 * become those of x and `strides`.  Returns whether it broadcasts. */
int broadcast(view *v, const view *x, ptrdiff_t *strides);

/* float32 or float64 elements of v in C order, without the axes in `over`, as doubles. */
void gather(const view *v, uint64_t over, double *to);

#endif
