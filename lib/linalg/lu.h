/* SPDX-License-Identifier: Apache-2.0 */
/* Systems of linear equations in double, by elimination with row exchanges. */
#ifndef LMX_LU_H
#define LMX_LU_H

#include "linalg/matmul.h"

/* Columns that are eliminated together. */
#define LMX_LU_BLOCK 32

/* What products run on: the tier's table of doubles, the threads, lmx_matmul_scratch() bytes. */
typedef struct lmx_products {
    const lmx_table *table;
    lmx_pool *pool;
    void *scratch;
} lmx_products;

LMX_INLINE void lmx_multiply(const lmx_products *on, size_t m, size_t n, size_t k, const double *a,
                             size_t a_row, size_t a_col, const double *b, size_t b_row,
                             size_t b_col, double *c, size_t c_row, int add)
{
    lmx_matmul(on->table, on->pool, m, n, k, a, (ptrdiff_t)a_row, (ptrdiff_t)a_col, b,
               (ptrdiff_t)b_row, (ptrdiff_t)b_col, c, (ptrdiff_t)c_row, add, on->scratch);
}

/*
 * a (n x n) becomes its factors; swap[i] is the row that row i was exchanged with.  panel: n * LMX_LU_BLOCK
 * doubles.  0: a column has no pivot but 0, or one that is not finite.
 */
int lmx_lu(const lmx_products *on, size_t n, double *a, size_t *swap, double *panel);

/* b (n x cols) becomes A^-1 b. */
void lmx_lu_solve(const lmx_products *on, size_t n, const double *a, const size_t *swap,
                  size_t cols, double *b, double *panel);

#endif
