/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the views that a caller hands over to the index space of a call: axes are split into those that number rows and
 * those that are reduced together, ordered, and joined where every array allows it.  Nothing is copied.
 */
#ifndef LMX_VIEW_H
#define LMX_VIEW_H

#include "dispatch/dispatch.h"
#include "exec/arrays.h"

/* How the shape of a view goes with that of the call. */
typedef enum lmx_fit {
    LMX_FIT_SAME,      /* it is the same */
    LMX_FIT_BROADCAST, /* it broadcasts to it, as NumPy has it */
    LMX_FIT_OF_ROWS,   /* so, and with extent 1 on the reduced axes */
    LMX_FIT_VALUES     /* it is that without the reduced axes, or with extent 1 for them */
} lmx_fit;

/* Which elements a view may have. */
typedef enum lmx_holds {
    LMX_HOLDS_REALS,    /* lmx_dtype */
    LMX_HOLDS_INTEGERS, /* lmx_int */
    LMX_HOLDS_BOOLS,
    LMX_HOLDS_SUMS
} lmx_holds;

/* A view of a call and what is expected of it. */
typedef struct lmx_operand {
    const lmx_view *view; /* NULL: not given */
    lmx_fit fit;
    lmx_holds holds;
} lmx_operand;

/* The index space: the product of the outer extents, and of the reduced ones. */
typedef struct lmx_space {
    size_t rows, cols;
    int outer, axes;
    size_t n[LMX_AXES];
} lmx_space;

/* NULL (a view without shape), DTYPE or SHAPE (ndim, negative extents), or LMX_OK. */
lmx_status lmx_view_check(const lmx_view *view, lmx_holds holds);

/* axis, which may count from the end, as a set of axes: 0 if there is no such axis. */
uint64_t lmx_view_axis(const lmx_view *view, int axis);

/*
 * arrays[i] is operands[i] over the space, without data where it is not given.  The first that is given decides the
 * shape.  in_order: rows keep their C order; else they are ordered as `order` of the operands has them in memory.
 * Errors: SHAPE, OVERFLOW (rows or cols).
 */
lmx_status lmx_space_open(lmx_space *space, const lmx_operand *operands, size_t count,
                          uint64_t reduced, int in_order, size_t order, const lmx_tier *tier,
                          lmx_array *arrays);

/* NULL if an operand that is given has elements but no data. */
lmx_status lmx_space_data(const lmx_space *space, const lmx_operand *operands, size_t count,
                          const lmx_array *arrays);

/* Of a space without reduced axes the last axis becomes the elements of a row. */
void lmx_space_by_element(lmx_space *space, size_t count, lmx_array *arrays);

/* One contiguous or strided vector of n numbers as an array of rows of one element; SHAPE if it is something else. */
lmx_status lmx_view_vector(const lmx_view *view, size_t n, const lmx_tier *tier, lmx_array *array);

#endif
