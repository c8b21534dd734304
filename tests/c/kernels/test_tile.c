/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of tiles and of matrices: each element is the chain of FMAs, block after block, that tile.h promises,
 * bit for bit in every tier; and no byte outside the operands is touched.
 *
 *   test_tile DTYPE GOLDEN
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "linalg/matmul.h"
#include "rows.h"
#include "tiers.h"
#include "kernels/gemm/tile.h"

/* Operands of 300 rows at most, as elements; what they are as reals. */
#define GAP 5

typedef struct {
    check_buffer memory;
    char *data;
    size_t rows, cols;
    ptrdiff_t row;
} matrix;

/* Bytes between an array and the guard behind it. */
static size_t away(void) { return check_noguard ? 512 : 0; }

static matrix matrix_new(size_t rows, size_t cols, check_random *r)
{
    matrix m = { { NULL, NULL, 0 }, NULL, rows, cols, (ptrdiff_t)cols + GAP };
    /* rows end where the guard begins: no gap behind the last one */
    const size_t n = rows * (size_t)m.row - GAP;
    m.memory = check_buffer_new(n * size + away());
    m.data = check_put(&m.memory, n * size, CHECK_END, away());
    row_fill(dtype, m.data, n, ROW_NORMAL, r);
    return m;
}

static double at(const matrix *m, size_t i, size_t j)
{
    return elem_get(dtype, m->data, i * (size_t)m->row + j);
}

static double chain(double a, double b, double c)
{
    return real_size == 8 ? fma(a, b, c) : (double)fmaf((float)a, (float)b, (float)c);
}

static double sum(double a, double b)
{
    return real_size == 8 ? a + b : (double)((float)a + (float)b);
}

static void put_real(void *p, size_t i, double v)
{
    if (real_size == 8)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

static double get_real(const void *p, size_t i)
{
    return real_size == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* A (m x k) as it is or transposed, B (k x n) likewise, added to C. */
static void test_product(size_t m, size_t k, size_t n, int across, int transposed,
                         const size_t *picked)
{
    check_at.n = n;
    check_random r = check_random_new(check_at.seed = m * 1000003 + k * 1009 + n);
    const size_t a_rows = across ? k : m, b_rows = transposed ? n : k, most = 300;
    matrix a = matrix_new(picked ? most : a_rows, across ? m : k, &r);
    matrix b = matrix_new(picked ? most : b_rows, transposed ? k : n, &r);
    const ptrdiff_t c_row = (ptrdiff_t)n + 3;
    const size_t c_size = (m * (size_t)c_row - 3) * real_size;
    check_buffer room = check_buffer_new(c_size + away());
    void *const want = get_memory(c_size), *const block = get_memory(LMX_BLOCK_REALS * real_size);
    void *const panels = get_memory(LMX_PANEL_REALS * real_size);
    void *const transposed_block = get_memory(LMX_BLOCK_REALS * real_size);
    const size_t first = k / 3, terms = k - first;
    for (size_t i = 0; i < m * (size_t)c_row - 3; i++)
        put_real(want, i, 0.25 * (double)(i % 17));
    void *const c = check_put(&room, c_size, CHECK_END, away());
    void *const before = get_memory(c_size);
    memcpy(before, want, c_size);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s = 0;
            for (size_t q = 0; q < terms; q++) {
                /* the block holds the terms that are used, panels have others before them */
                const size_t ai = across ? q : i, aj = across ? i : q;
                const size_t bi = transposed ? j : first + q, bj = transposed ? first + q : j;
                s = chain(at(&a, picked ? picked[ai] : ai, aj),
                          at(&b, picked ? picked[bi] : bi, bj), s);
            }
            const size_t where = i * (size_t)c_row + j;
            put_real(want, where, sum(get_real(want, where), s));
        }
    const lmx_tier *tier;
    for (size_t t = 0; (tier = tiers_next(&t)) != NULL;) {
        const lmx_tile_kernel *const own = tier->table[dtype]->tile;
        const lmx_pack_kernel *const pack = tier->table[dtype]->pack;
        const lmx_rows_of rows_a = { a.data, a.row, picked }, rows_b = { b.data, b.row, picked };
        if (across)
            pack->block(&rows_a, 0, terms, 0, m, block);
        else
            pack->block(&rows_a, 0, m, 0, terms, block);
        if (transposed)
            pack->panels_across(&rows_b, 0, n, 0, k, panels);
        else
            pack->panels(&rows_b, 0, k, 0, n, panels);
        memcpy(c, before, c_size);
        const void *left = block;
        if (across) {
            own->transpose(block, m, terms, transposed_block);
            left = transposed_block;
        }
        const lmx_tile_product p = { left, across, m, terms, n, panels, first, k, c, c_row, 1 };
        own->multiply(&p);
        check_same(c, want, c_size, real_size);
        check_canaries(&room, c, c_size);
        check_count(1);
    }
    free(want);
    free(before);
    free(block);
    free(transposed_block);
    free(panels);
    check_buffer_free(&room);
    check_buffer_free(&a.memory);
    check_buffer_free(&b.memory);
}

static void test_products(void)
{
    static const size_t sizes[] = {
        1, 2, 3, 7, 13, 14, 15, 16, 17, 29, 31, 33, 47, 49, 65, 255, 256
    };
    enum { SIZES = sizeof sizes / sizeof *sizes };
    size_t picked[256];
    for (size_t i = 0; i < 256; i++)
        picked[i] = i * 37 % 300;
    for (size_t i = 0; i < SIZES; i++)
        for (size_t j = 0; j < SIZES; j++)
            for (int form = 0; form < 4; form++) {
                const size_t q = (i * 5 + j * 3 + (size_t)form) % SIZES;
                if (check_fast &&
                    ((i + 2 * j + (size_t)form) % 7 != 0 || sizes[i] * sizes[j] * sizes[q] > 40000))
                    continue;
                if ((double)sizes[i] * (double)sizes[j] * (double)sizes[q] > 4e6 && form != 1)
                    continue;
                test_product(sizes[i], sizes[q], sizes[j], form & 1, form >> 1,
                             j % 3 == 0 ? picked : NULL);
            }
}

/* Sums of columns, largest of rows, bias. */
static void test_rows(void)
{
    static const size_t widths[] = { 1, 3, 8, 15, 16, 17, 100, 256 };
    enum { ROWS = 9, ROW = 270 };
    void *const bias = get_memory(256 * real_size);
    char *const z = get_memory(ROWS * ROW * real_size);
    char *const copy = get_memory(ROWS * ROW * real_size);
    void *const want = get_memory(ROWS * ROW * real_size);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int special = 0; special < 3; special++) {
            const size_t n = check_at.n = widths[w];
            check_random r = check_random_new(check_at.seed = w);
            row_fill(real_size == 8 ? LMX_F64 : LMX_F32, copy, ROWS * ROW, ROW_WIDE, &r);
            row_fill(real_size == 8 ? LMX_F64 : LMX_F32, bias, 256, ROW_NORMAL, &r);
            if (special > 0)
                put_real(copy, 4 * ROW + n / 2, special == 1 ? (double)INFINITY : (double)NAN);
            const lmx_tier *tier;
            for (size_t t = 0; (tier = tiers_next(&t)) != NULL;) {
                const lmx_tile_kernel *const own = tier->table[dtype]->tile;
                double most[ROWS];
                lmx_dd sums[256];
                memcpy(z, copy, ROWS * ROW * real_size);
                own->largest(z, ROW, ROWS, n, most);
                for (size_t j = 0; j < n; j++)
                    sums[j] = (lmx_dd){ 0.5, 0 };
                own->sum_columns(z, ROW, ROWS, n, sums);
                for (size_t i = 0; i < ROWS; i++) {
                    double best = -INFINITY;
                    for (size_t j = 0; j < n; j++) {
                        const double v = get_real(z, i * ROW + j);
                        best = v > best || v != v ? v : best;
                        if (v != v)
                            break;
                    }
                    const double got = get_real(most, i);
                    CHECK(got == best || (got != got && best != best));
                }
                for (size_t j = 0; j < n && special == 0; j++) {
                    long double exact = 0.5L, terms = 0.5L;
                    for (size_t i = 0; i < ROWS; i++) {
                        exact += (long double)get_real(z, i * ROW + j);
                        terms += fabsl((long double)get_real(z, i * ROW + j));
                    }
                    /* nine additions in double, or compensated ones against long double's own */
                    const long double off =
                        fabsl((long double)sums[j].hi + (long double)sums[j].lo - exact);
                    CHECK(off <= terms * (real_size == 8 ? 0x1p-60L : 0x1p-49L));
                }
                memcpy(want, z, ROWS * ROW * real_size);
                for (size_t i = 0; i < ROWS; i++)
                    for (size_t j = 0; j < n; j++)
                        put_real(want, i * ROW + j,
                                 sum(get_real(z, i * ROW + j), get_real(bias, j)));
                own->add_bias(bias, ROWS, n, z, ROW);
                if (special < 2)
                    check_same(z, want, ROWS * ROW * real_size, real_size);
                check_count(1);
            }
        }
    free(bias);
    free(z);
    free(copy);
    free(want);
}

/* Matrices in double, of any size: the same bits for every tier and number of threads. */
static void test_matmul(void)
{
    static const struct {
        size_t m, n, k;
    } shapes[] = { { 1, 1, 1 }, { 5, 300, 3 }, { 300, 5, 600 }, { 513, 130, 257 }, { 3, 2, 0 } };
    for (size_t w = 0; w < sizeof shapes / sizeof *shapes; w++)
        for (int form = 0; form < 8; form++) {
            const size_t m = shapes[w].m, n = shapes[w].n, k = shapes[w].k;
            if (check_fast && m * n * k > 100000 && form != 3)
                continue;
            double *const a = get_memory(m * k * 8), *const b = get_memory(k * n * 8);
            double *const c = get_memory(m * n * 8), *const want = get_memory(m * n * 8);
            check_random r = check_random_new(check_at.seed = 50 + w);
            row_fill(LMX_F64, a, m * k, ROW_NORMAL, &r);
            row_fill(LMX_F64, b, k * n, ROW_NORMAL, &r);
            const ptrdiff_t a_row = form & 1 ? 1 : (ptrdiff_t)k,
                            a_col = form & 1 ? (ptrdiff_t)m : 1;
            const ptrdiff_t b_row = form & 2 ? 1 : (ptrdiff_t)n,
                            b_col = form & 2 ? (ptrdiff_t)k : 1;
            const int add = form >> 2;
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j < n; j++) {
                    double total = add ? 0.5 : 0;
                    for (size_t q = 0; q < k; q += LMX_TILE) {
                        double s = 0;
                        for (size_t p = q; p < k && p < q + LMX_TILE; p++)
                            s = fma(a[(ptrdiff_t)i * a_row + (ptrdiff_t)p * a_col],
                                    b[(ptrdiff_t)p * b_row + (ptrdiff_t)j * b_col], s);
                        total += s;
                    }
                    want[i * n + j] = total;
                }
            const lmx_tier *tier;
            for (size_t t = 0; (tier = tiers_next(&t)) != NULL;) {
                for (unsigned threads = 1; threads <= 3; threads++) {
                    lmx_pool *const pool = threads > 1 ? lmx_pool_create(threads) : NULL;
                    void *const memory = get_memory(lmx_matmul_scratch(threads) + 64);
                    char *const scratch = (char *)memory + (64 - (uintptr_t)memory % 64);
                    for (size_t i = 0; i < m * n; i++)
                        c[i] = 0.5;
                    lmx_matmul(tier->table[LMX_F64], pool, m, n, k, a, a_row, a_col, b, b_row,
                               b_col, c, (ptrdiff_t)n, add, scratch);
                    check_same(c, want, m * n * 8, 8);
                    check_count(1);
                    free(memory);
                    lmx_pool_free(pool);
                }
            }
            free(a);
            free(b);
            free(c);
            free(want);
        }
}

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "tile");
    check_at.test = "product";
    test_products();
    check_at.test = "rows";
    test_rows();
    check_at.test = "matmul";
    if (dtype == LMX_F64)
        test_matmul();
    return tiers_end();
}
