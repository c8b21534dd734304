/* SPDX-License-Identifier: Apache-2.0 */
#include "linalg/matmul.h"

#include "kernels/gemm/tile.h"

typedef struct {
    const lmx_pack_kernel *pack;
    const lmx_tile_kernel *tile;
    size_t m, n, k, rows; /* rows of C in a task */
    const double *a, *b;
    ptrdiff_t a_row, a_col, b_row, b_col;
    double *c;
    ptrdiff_t c_row;
    int add;
    double *scratch;
} product;

#define SCRATCH_REALS (2 * LMX_BLOCK_REALS + LMX_PANEL_REALS)

size_t lmx_matmul_scratch(unsigned workers) { return workers * SCRATCH_REALS * sizeof(double); }

static size_t at_most(size_t n, size_t most) { return n < most ? n : most; }

/* Computes a block of C: rows i ... i + m, columns j ... j + n. */
static void one_block(const product *p, size_t i, size_t m, size_t j, size_t n, double *scratch)
{
    const int a_transposed = p->a_col != 1, b_transposed = p->b_col != 1;
    const lmx_rows_of a = { p->a, a_transposed ? p->a_col : p->a_row, NULL };
    const lmx_rows_of b = { p->b, b_transposed ? p->b_col : p->b_row, NULL };
    double *const block = scratch, *const transposed = block + LMX_BLOCK_REALS;
    double *const panels = transposed + LMX_BLOCK_REALS;
    size_t at = 0;
    do { /* once at least: with k = 0 the block is zeros */
        const size_t k = at_most(p->k - at, LMX_TILE);
        if (a_transposed) {
            p->pack->block(&a, at, k, i, m, block);
            p->tile->transpose(block, m, k, transposed);
        } else {
            p->pack->block(&a, i, m, at, k, block);
        }
        if (b_transposed)
            p->pack->panels_across(&b, j, n, at, k, panels);
        else
            p->pack->panels(&b, at, k, j, n, panels);
        const lmx_tile_product q = {
            .block = a_transposed ? transposed : block,
            .is_transposed = a_transposed,
            .m = m,
            .k = k,
            .n = n,
            .panels = panels,
            .panel_rows = k,
            .c = p->c + (ptrdiff_t)i * p->c_row + j,
            .c_row = p->c_row,
            .add = p->add || at > 0,
        };
        p->tile->multiply(&q);
        at += k;
    } while (at < p->k);
}

static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const product *p = job;
    double *const scratch = p->scratch + worker * SCRATCH_REALS;
    const size_t across = (p->n - 1) / LMX_TILE + 1;
    for (size_t t = begin; t < end; t++) {
        const size_t i = t / across * p->rows, j = t % across * LMX_TILE;
        one_block(p, i, at_most(p->m - i, p->rows), j, at_most(p->n - j, LMX_TILE), scratch);
    }
}

void lmx_matmul(const lmx_table *f64_table, lmx_pool *pool, size_t m, size_t n, size_t k,
                const double *a, ptrdiff_t a_row, ptrdiff_t a_col, const double *b, ptrdiff_t b_row,
                ptrdiff_t b_col, double *c, ptrdiff_t c_row, int add, void *scratch)
{
    if (m == 0 || n == 0)
        return;
    /*
     * Fewer rows to a task give the threads more tasks, at the price of packing the panels more
     * often.
     */
    const unsigned workers = lmx_pool_threads(pool);
    size_t rows = LMX_TILE;
    while (rows > 32 && (m - 1) / rows + 1 < 2 * workers)
        rows /= 2;
    product p = { f64_table->pack, f64_table->tile, m,     n,     k, rows,  a,   b,
                  a_row,           a_col,           b_row, b_col, c, c_row, add, scratch };
    const size_t tasks = ((m - 1) / rows + 1) * ((n - 1) / LMX_TILE + 1);
    lmx_parallel_for(pool, tasks, 1, task, &p);
}
