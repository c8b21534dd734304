/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices of doubles, by the kernels of tile.h. */
#ifndef LMX_MATMUL_H
#define LMX_MATMUL_H

#include "kernels/kernels.h"
#include "platform/pool.h"

/* The bytes of scratch that lmx_matmul() needs for so many threads. */
size_t lmx_matmul_scratch(unsigned workers);

/*
 * C (m x n, rows c_row apart) = A B, or C + A B with add.  Element (i, k) of A is a[i * a_row + k *
 * a_col], one of the two strides being 1; likewise B.  C overlaps neither.
 *
 * k is cut into blocks of LMX_TILE.  The product of a block is a chain of FMAs, and the blocks are
 * added in order, so that every tier and number of threads gives the same bits.  scratch is at a
 * multiple of 64.
 */
void lmx_matmul(const lmx_table *f64_table, lmx_pool *pool, size_t m, size_t n, size_t k,
                const double *a, ptrdiff_t a_row, ptrdiff_t a_col, const double *b, ptrdiff_t b_row,
                ptrdiff_t b_col, double *c, ptrdiff_t c_row, int add, void *scratch);

#endif
