/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocked, right-looking LU: a panel of columns is factored row by row, and the columns right of it
 * are updated by one matrix product.  The order of operations on each element follows from n alone.
 */
#include "linalg/lu.h"

#include <math.h>

#include "base/vectors.h"

static size_t block_end(size_t begin, size_t n)
{
    return n - begin < LMX_LU_BLOCK ? n : begin + LMX_LU_BLOCK;
}

static void exchange(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

/*
 * b -= a c, a (m x k) in a matrix with rows of n, c (k x cols) and b with rows of c_row; panel:
 * scratch for -a.
 */
static void subtract_product(const lmx_products *on, size_t m, size_t k, const double *a, size_t n,
                             const double *c, size_t cols, size_t c_row, double *b, double *panel)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < k; j++)
            panel[i * k + j] = -a[i * n + j];
    lmx_multiply(on, m, cols, k, panel, k, 1, c, c_row, 1, b, c_row, 1);
}

/* Factors the panel of columns begin ... end, in the rows from begin on. */
static int factor_panel(size_t n, double *a, size_t begin, size_t end, size_t *swap)
{
    for (size_t j = begin; j < end; j++) {
        size_t best = j;
        for (size_t i = j + 1; i < n; i++)
            if (fabs(a[i * n + j]) > fabs(a[best * n + j]))
                best = i;
        const double pivot = a[best * n + j];
        if (pivot == 0 || !lmx_finite(pivot))
            return 0;
        swap[j] = best;
        if (best != j)
            exchange(a + j * n, a + best * n, n);
        for (size_t i = j + 1; i < n; i++) {
            double *const row = a + i * n;
            row[j] /= pivot;
            lmx_axpy(-row[j], a + j * n + j + 1, end - j - 1, row + j + 1);
        }
    }
    return 1;
}

int lmx_lu(const lmx_products *on, size_t n, double *a, size_t *swap, double *panel)
{
    for (size_t begin = 0; begin < n; begin += LMX_LU_BLOCK) {
        const size_t end = block_end(begin, n);
        if (!factor_panel(n, a, begin, end, swap))
            return 0;
        if (end == n)
            break;
        for (size_t i = begin + 1; i < end; i++)
            for (size_t j = begin; j < i; j++)
                lmx_axpy(-a[i * n + j], a + j * n + end, n - end, a + i * n + end);
        subtract_product(on, n - end, end - begin, a + end * n + begin, n, a + begin * n + end,
                         n - end, n, a + end * n + end, panel);
    }
    return 1;
}

void lmx_lu_solve(const lmx_products *on, size_t n, const double *a, const size_t *swap,
                  size_t cols, double *b, double *panel)
{
    for (size_t i = 0; i < n; i++)
        if (swap[i] != i)
            exchange(b + i * cols, b + swap[i] * cols, cols);
    for (size_t begin = 0; begin < n; begin += LMX_LU_BLOCK) {
        const size_t end = block_end(begin, n);
        for (size_t i = begin + 1; i < end; i++)
            for (size_t j = begin; j < i; j++)
                lmx_axpy(-a[i * n + j], b + j * cols, cols, b + i * cols);
        if (end < n)
            subtract_product(on, n - end, end - begin, a + end * n + begin, n, b + begin * cols,
                             cols, cols, b + end * cols, panel);
    }
    for (size_t begin = (n - 1) / LMX_LU_BLOCK * LMX_LU_BLOCK;; begin -= LMX_LU_BLOCK) {
        const size_t end = block_end(begin, n);
        for (size_t i = end; i-- > begin;) {
            for (size_t j = i + 1; j < end; j++)
                lmx_axpy(-a[i * n + j], b + j * cols, cols, b + i * cols);
            for (size_t c = 0; c < cols; c++)
                b[i * cols + c] /= a[i * n + i];
        }
        subtract_product(on, begin, end - begin, a + begin, n, b + begin * cols, cols, cols, b,
                         panel);
        if (begin == 0)
            break;
    }
}
