/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of products, copied from elements of any type into the blocks and panels of reals that tile.c multiplies:
 * the one place where a product sees how its operands are stored.
 */
#include "kernels/gemm/shape.h"
#include "kernels/gemm/tile.h"
#include "simd/transpose.h"

static size_t place(const lmx_rows_of *x, size_t i) { return x->picked != NULL ? x->picked[i] : i; }

static const elem *row_of(const lmx_rows_of *x, size_t i)
{
    return (const elem *)x->data + (ptrdiff_t)place(x, i) * x->row;
}

static void block(const lmx_rows_of *x, size_t first, size_t m, size_t column, size_t n, void *to)
{
    for (size_t i = 0; i < m; i++) {
        const elem *from = row_of(x, first + i) + column;
        real *out = (real *)to + i * LMX_TILE_ROW;
        size_t j = 0;
        for (; j + V_LANES <= n; j += V_LANES)
            v_store(out + j, e_load(from + j));
        if (j < n)
            v_store_n(out + j, e_load_n(from + j, n - j, 0), n - j);
    }
}

static void panels(const lmx_rows_of *x, size_t first, size_t k, size_t column, size_t n, void *to)
{
    for (size_t i = 0; i < k; i++) {
        const elem *from = row_of(x, first + i) + column;
        for (size_t j = 0; j < n; j += WIDTH) {
            real *out = (real *)to + j / WIDTH * PITCH(k) + i * WIDTH;
            for (size_t q = 0; q < WIDTH; q += V_LANES) {
                const size_t left = j + q < n ? n - (j + q) : 0;
                v_store(out + q,
                        left >= V_LANES ? e_load(from + j + q) : e_load_n(from + j + q, left, 0));
            }
        }
    }
}

static void panels_across(const lmx_rows_of *x, size_t first, size_t n, size_t column, size_t k,
                          void *to)
{
    for (size_t j = 0; j < n; j += V_LANES) {
        /* behind the last row: that row again, whose products nobody looks at */
        const elem *from[V_LANES];
        for (size_t q = 0; q < V_LANES; q++)
            from[q] = row_of(x, first + (j + q < n ? j + q : n - 1)) + column;
        real *out = (real *)to + j / WIDTH * PITCH(k) + j % WIDTH;
        for (size_t i = 0; i < k; i += V_LANES) {
            const size_t left = k - i < V_LANES ? k - i : V_LANES;
            vreal v[V_LANES];
            if (left == V_LANES)
                for (size_t q = 0; q < V_LANES; q++)
                    v[q] = e_load(from[q] + i);
            else
                for (size_t q = 0; q < V_LANES; q++)
                    v[q] = e_load_n(from[q] + i, left, 0);
            v_transpose(v);
            for (size_t q = 0; q < left; q++)
                v_store(out + (i + q) * WIDTH, v[q]);
        }
    }
    /* vectors of the last panel that hold no column at all */
    const size_t used = (n + V_LANES - 1) / V_LANES * V_LANES;
    for (size_t j = used; j % WIDTH != 0; j += V_LANES)
        for (size_t i = 0; i < k; i++)
            v_store((real *)to + j / WIDTH * PITCH(k) + j % WIDTH + i * WIDTH, v_set1(0));
}

extern const lmx_pack_kernel LMX_K(pack);

const lmx_pack_kernel LMX_K(pack) = { block, panels, panels_across };
