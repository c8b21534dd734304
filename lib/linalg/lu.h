/* SPDX-License-Identifier: Apache-2.0 */
/* LU factorization with partial pivoting, in double, and the solution of linear systems by it. */
#ifndef LMX_LU_H
#define LMX_LU_H

#include "linalg/matmul.h"

/* The number of columns in a panel. */
#define LMX_LU_BLOCK 32

/* The resources of matrix products. */
typedef struct lmx_products {
    const lmx_table *table; /* the tier's kernels for doubles */
    lmx_pool *pool;         /* NULL: one thread */
    void *scratch;          /* lmx_matmul_scratch() bytes */
} lmx_products;

/* lmx_matmul() with these resources. */
LMX_INLINE void lmx_multiply(const lmx_products *on, size_t m, size_t n, size_t k, const double *a,
                             size_t a_row, size_t a_col, const double *b, size_t b_row,
                             size_t b_col, double *c, size_t c_row, int add)
{
    lmx_matmul(on->table, on->pool, m, n, k, a, (ptrdiff_t)a_row, (ptrdiff_t)a_col, b,
               (ptrdiff_t)b_row, (ptrdiff_t)b_col, c, (ptrdiff_t)c_row, add, on->scratch);
}

/*
 * Overwrites a (n x n) with its factors; swap[i] is the row that row i was exchanged with.  panel
 * is scratch of n * LMX_LU_BLOCK doubles.  Returns 0 if a pivot is 0 or not finite.
 */
int lmx_lu(const lmx_products *on, size_t n, double *a, size_t *swap, double *panel);

/* Overwrites b (n x cols) with A^-1 b, from the factors of A. */
void lmx_lu_solve(const lmx_products *on, size_t n, const double *a, const size_t *swap,
                  size_t cols, double *b, double *panel);

#endif
