/* SPDX-License-Identifier: Apache-2.0 */
#include "matmul.h"

size_t lmx_matmul_scratch(unsigned workers) { return workers * 64; }

void lmx_matmul(const lmx_table *f64_table, lmx_pool *pool, size_t m, size_t n, size_t k,
                const double *a, ptrdiff_t a_row, ptrdiff_t a_col, const double *b, ptrdiff_t b_row,
                ptrdiff_t b_col, double *c, ptrdiff_t c_row, int add, void *scratch)
{
    (void)f64_table;
    (void)pool;
    (void)scratch;
    for (size_t i = 0; i < m; i++) {
        double *const to = c + (ptrdiff_t)i * c_row;
        for (size_t j = 0; j < n && !add; j++)
            to[j] = 0;
        for (size_t q = 0; q < k; q++) {
            const double f = a[(ptrdiff_t)i * a_row + (ptrdiff_t)q * a_col];
            const double *const from = b + (ptrdiff_t)q * b_row;
            for (size_t j = 0; j < n; j++)
                to[j] += f * from[(ptrdiff_t)j * b_col];
        }
    }
}
