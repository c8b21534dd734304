/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrix products by tiles, for what is fused with a product (kernels/gemm/tile.c): operands are copied into a block and
 * panels that fit in the caches, multiplied, and the caller looks at the result while it is there.
 *
 *   C (m x n) = A (m x k) B (k x n),  or C + A B,   m, n, k <= LMX_TILE
 *
 * Each element of a product is one chain of FMAs from 0 in the order of k, and is added to C with one
 * rounding: how the tiles of a tier are cut changes no bit.
 */
#ifndef LMX_TILE_H
#define LMX_TILE_H

#include <stddef.h>

#include "kernels/row_state.h"

#define LMX_TILE 256

/* From row to row of a block, in reals: no power of two, so that the rows do not share a set of a cache. */
#define LMX_TILE_ROW 272

/* Reals in a block, of either kind: more than its elements, for tiers look at some behind them. */
#define LMX_BLOCK_REALS ((size_t)LMX_TILE * LMX_TILE_ROW)

/* Reals in the panels of one B: whole panels of at most 48 columns, and a line behind each of at most 64. */
#define LMX_PANEL_REALS ((size_t)LMX_TILE * (LMX_TILE + 47) + 64 * 16)

/* Elements in rows `row` elements apart; those of a product may be picked from more: picked[i] is the i-th. */
typedef struct lmx_rows_of {
    const void *data;
    ptrdiff_t row;
    const size_t *picked; /* NULL: all, in order */
} lmx_rows_of;

/* C = A B or, with add, C + A B, all of reals. */
typedef struct lmx_tile_product {
    const void *block; /* A as block() or transpose() leaves it */
    int is_transposed;
    size_t m, k, n;
    const void *panels; /* B is rows first ... first + k of panels of panel_rows rows */
    size_t first, panel_rows;
    void *c;
    ptrdiff_t c_row;
    int add;
} lmx_tile_product;

/* From elements of one type. */
typedef struct lmx_pack_kernel {
    /* Reals from columns `column` ... column + n of rows first ... first + m, LMX_TILE_ROW apart. */
    void (*block)(const lmx_rows_of *x, size_t first, size_t m, size_t column, size_t n,
                  void *block);
    /* Panels of the k rows from `first` on, columns `column` ... column + n: B as it is. */
    void (*panels)(const lmx_rows_of *x, size_t first, size_t k, size_t column, size_t n,
                   void *panels);
    /* Panels of the transpose: B (k x n) is columns `column` ... column + k of n rows. */
    void (*panels_across)(const lmx_rows_of *x, size_t first, size_t n, size_t column, size_t k,
                          void *panels);
} lmx_pack_kernel;

/* On reals. */
typedef struct lmx_tile_kernel {
    /*
     * A from its transpose, a block of k rows of m.  As they stand there the elements that one tile of C takes from a
     * row would need a line or two for each k, which is all of the first-level cache.
     */
    void (*transpose)(const void *block, size_t m, size_t k, void *transposed);
    void (*multiply)(const lmx_tile_product *p);

    /* On m rows of n, z_row apart. */
    void (*add_bias)(const void *bias, size_t m, size_t n, void *z, ptrdiff_t z_row);
    void (*sum_columns)(const void *z, ptrdiff_t z_row, size_t m, size_t n,
                        lmx_dd *sums); /* adds to them */
    void (*largest)(const void *z, ptrdiff_t z_row, size_t m, size_t n,
                    void *most); /* a real for each row, NaN if one is there */
} lmx_tile_kernel;

#endif
