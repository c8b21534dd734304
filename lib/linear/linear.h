/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logits of an output layer, o = hidden weight^T + bias, a tile at a time: whoever wants something from them
 * (linear_loss.c, linear_topk.c) looks at each tile while it is in a cache, and the whole never exists.
 *
 * Each logit is computed alone: chains of FMAs over blocks of `depth`, the blocks added in order, then the
 * bias.  So neither the tiles nor the rows around it change a bit.
 */
#ifndef LMX_LINEAR_H
#define LMX_LINEAR_H

#include "base/arena.h"
#include "kernels/kernels.h"
#include "platform/pool.h"
#include "kernels/gemm/tile.h"

/* Classes in a piece that is looked at together, a multiple of LMX_TILE. */
#define LMX_PIECE 1024

/* From row to row of a piece of logits: no power of two, so that the rows do not share a set of a cache. */
#define LMX_PIECE_ROW (LMX_PIECE + 16)

/* Rows that share what is packed of the weights, at most. */
#define LMX_GROUP_MOST (2 * LMX_TILE)

typedef struct lmx_linear {
    const lmx_table *table, *real;
    lmx_pool *pool;
    unsigned workers;
    size_t rows, depth, classes; /* rows: those that count, as hidden.picked has them */
    lmx_rows_of hidden, weight;
    const void *bias; /* elements of bias_table's type; NULL: none */
    const lmx_table *bias_table;

    size_t depth_blocks, depth_step;
    size_t group; /* rows that are worked on together: all, or a multiple of LMX_TILE */
    char *blocks; /* of hidden: depth_blocks for each LMX_TILE rows of a group */
    char *panels; /* for each worker, of one product */
} lmx_linear;

/* Fills depth_blocks and depth_step. */
void lmx_linear_cut(lmx_linear *l);

/* Bytes of blocks, multiples of 64, and of the panels of one product. */
size_t lmx_linear_blocks_size(const lmx_linear *l);
size_t lmx_linear_panels_size(const lmx_linear *l);

/* Packs `count` rows from `first` on, a multiple of LMX_TILE, into blocks; count <= group. */
void lmx_linear_pack(lmx_linear *l, size_t first, size_t count);

/* Logits of `count` rows that are packed, from the begin-th on, and n <= LMX_TILE classes from `from` on. */
void lmx_linear_logits(const lmx_linear *l, unsigned worker, size_t begin, size_t count,
                       size_t from, size_t n, void *z, ptrdiff_t z_row);

LMX_INLINE size_t lmx_at_most(size_t n, size_t most) { return n < most ? n : most; }

/* How many tiles n rows or columns take. */
LMX_INLINE size_t lmx_tiles(size_t n) { return (n + LMX_TILE - 1) / LMX_TILE; }

#endif
