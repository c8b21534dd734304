/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of activations, cut and handed out: arrays with any strides are taken apart into pieces that lie
 * in memory as kernels want them, and what is summed over all elements is merged in the pieces' order.
 * How an array is cut follows from its shape alone.
 */
#ifndef LMX_PIECES_H
#define LMX_PIECES_H

#include "exec/ctx.h"
#include "exec/view.h"

typedef struct lmx_pieces {
    lmx_space space;
    lmx_array array[LMX_ARRAYS]; /* without data: there is none */
    const lmx_table *real;       /* of the compute type, which follows from x */

    size_t unit;  /* columns that stay together: a piece has a multiple of them */
    int gathered; /* in memory of their own as reals, though they could be read where they are */
    int flat;     /* it does not matter in which column an element is */

    /* Sums over all elements, and sums of which each belongs to some columns. */
    size_t sums, columns;
    size_t scratch; /* bytes for each worker */

    /* Gathered: out is x, up_out is up, and the rows of a piece follow each other. */
    void (*compute)(const void *job, const lmx_table *table, const lmx_piece *piece);
    const void *job;
} lmx_pieces;

/*
 * Everything empty, one column a unit, and the arrays of a call from their views, NULL where there is none.  columns: the
 * axis along which they lie; 0: each element is by itself, and rows go as the output has them in memory.  Without it rows
 * keep their order, in which sums are taken.  Errors: NULL, DTYPE, SHAPE, OVERFLOW, STRIDE, OVERLAP.
 */
lmx_status lmx_pieces_open(lmx_pieces *p, const lmx_ctx *ctx,
                           const lmx_view *const views[LMX_ARRAYS], uint64_t columns);

/* sums[] and columns[] are written, and the arrays, unless there is no memory. */
lmx_status lmx_pieces_run(lmx_ctx *ctx, lmx_pieces *p, double *sums, double *columns);

#endif
