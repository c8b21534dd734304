/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of tiles.  ROWS x COLS vectors of C stay in registers while k runs: for each k the vectors of one row
 * of a panel are loaded and each element of a column of A is broadcast.  The block of A (ROWS x k) stays in the
 * first-level cache, panels come from the second: two lines for 28 FMAs in AVX-512.
 *
 * ROWS and COLS use up the registers: 14 x 2 + 2 + 1 of 32 in AVX-512, 6 x 2 + 2 + 1 of 16 in AVX2,
 * 8 x 3 + 3 + 1 of 32 in NEON; for less than 8 chains the latency of FMA shows.
 */
#include "kernels/gemm/tile.h"

#include "kernels/gemm/shape.h"

/* rows x WIDTH elements of C; step_row and step_k lead from element to element of A. */
LMX_INLINE void product(size_t rows, const real *a, size_t step_row, size_t step_k, size_t k,
                        const real *b, real *c, ptrdiff_t c_row, int add)
{
    vreal s[ROWS][COLS];
    for (size_t r = 0; r < rows; r++)
        for (size_t q = 0; q < COLS; q++)
            s[r][q] = v_set1(0);
    for (size_t i = 0; i < k; i++) {
        vreal v[COLS];
        for (size_t q = 0; q < COLS; q++)
            v[q] = v_load(b + i * WIDTH + q * V_LANES);
        for (size_t r = 0; r < rows; r++) {
            const vreal f = v_set1(a[r * step_row + i * step_k]);
            for (size_t q = 0; q < COLS; q++)
                s[r][q] = v_fma(f, v[q], s[r][q]);
        }
    }
    if (add)
        for (size_t r = 0; r < rows; r++)
            for (size_t q = 0; q < COLS; q++)
                s[r][q] = v_add(v_load(c + (ptrdiff_t)r * c_row + q * V_LANES), s[r][q]);
    for (size_t r = 0; r < rows; r++)
        for (size_t q = 0; q < COLS; q++)
            v_store(c + (ptrdiff_t)r * c_row + q * V_LANES, s[r][q]);
}

/* n < WIDTH columns of it. */
LMX_INLINE void narrow_product(size_t rows, const real *a, size_t step_row, size_t step_k, size_t k,
                               const real *b, real *c, ptrdiff_t c_row, size_t n, int add)
{
    real wide[ROWS * COLS * V_LANES];
    product(rows, a, step_row, step_k, k, b, wide, (ptrdiff_t)WIDTH, 0);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j += V_LANES) {
            const size_t left = n - j < V_LANES ? n - j : V_LANES;
            real *out = c + (ptrdiff_t)r * c_row + j;
            const vreal v = v_load(wide + r * WIDTH + j);
            v_store_n(out, add ? v_add(v_load_n(out, left, 0), v) : v, left);
        }
}

/*
 * One row of tiles: `rows` rows of A, which are `size` reals together, with every panel.  What follows them in
 * memory is the next row's part of A: it is fetched on the way, for it may be no nearer than the third-level cache.
 */
LMX_INLINE void sweep(size_t rows, const real *a, size_t step_row, size_t step_k, size_t size,
                      const lmx_tile_product *p, real *c)
{
    const real *b = (const real *)p->panels + p->first * WIDTH;
    const size_t pitch = PITCH(p->panel_rows), whole = p->n / WIDTH * WIDTH;
    const char *next = (const char *)(a + size), *const end = next + size * sizeof(real);
    const size_t part = size * sizeof(real) * WIDTH / p->n + 64;
    size_t j = 0;
    for (; j < whole; j += WIDTH, b += pitch) {
        for (size_t at = 0; at < part && next < end; at += 64, next += 64)
            LMX_PREFETCH_READ(next);
        product(rows, a, step_row, step_k, p->k, b, c + j, p->c_row, p->add);
    }
    if (j < p->n)
        narrow_product(rows, a, step_row, step_k, p->k, b, c + j, p->c_row, p->n - j, p->add);
}

/* Runs body with rows, the largest first, and rows in steps of that: ROWS while they last, then powers of two. */
#define FOR_ROWS(m, body)                \
  {                                      \
    size_t left_ = (m);                  \
    for (; left_ >= ROWS; left_ -= ROWS) \
      body(ROWS);                        \
    if (ROWS > 8 && left_ >= 8) {        \
      body(8);                           \
      left_ -= 8;                        \
    }                                    \
    if (ROWS > 4 && left_ >= 4) {        \
      body(4);                           \
      left_ -= 4;                        \
    }                                    \
    if (left_ >= 2) {                    \
      body(2);                           \
      left_ -= 2;                        \
    }                                    \
    if (left_ >= 1)                      \
      body(1);                           \
  }

/* rows columns of k rows follow each other, k after k; returns where they end. */
LMX_INLINE real *gather_columns(size_t rows, const real *from, size_t k, real *to)
{
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows; r += V_LANES) /* what is written too far is written again */
            v_store(to + i * rows + r, v_load(from + i * LMX_TILE_ROW + r));
    return to + k * rows;
}

static void transpose(const void *block, size_t m, size_t k, void *transposed)
{
    const real *from = block;
    real *to = transposed;
#define COLUMNS(rows) (to = gather_columns((rows), from, k, to), from += (rows))
    FOR_ROWS(m, COLUMNS)
#undef COLUMNS
}

static void multiply(const lmx_tile_product *p)
{
    const real *a = p->block;
    real *c = p->c;
    if (p->is_transposed) {
#define SWEEP(rows)                                                  \
  (sweep((rows), a, 1, (rows), (rows)*p->k, p, c), a += (rows)*p->k, \
   c += (ptrdiff_t)(rows)*p->c_row)
        FOR_ROWS(p->m, SWEEP)
#undef SWEEP
    } else {
#define SWEEP(rows)                                                                        \
  (sweep((rows), a, LMX_TILE_ROW, 1, (rows)*LMX_TILE_ROW, p, c), a += (rows)*LMX_TILE_ROW, \
   c += (ptrdiff_t)(rows)*p->c_row)
        FOR_ROWS(p->m, SWEEP)
#undef SWEEP
    }
}

static void add_bias(const void *bias, size_t m, size_t n, void *z, ptrdiff_t z_row)
{
    for (size_t j = 0; j < n; j += V_LANES) {
        const size_t left = n - j < V_LANES ? n - j : V_LANES;
        const vreal b = v_load_n((const real *)bias + j, left, 0);
        for (size_t i = 0; i < m; i++) {
            real *out = (real *)z + (ptrdiff_t)i * z_row + j;
            v_store_n(out, v_add(v_load_n(out, left, 0), b), left);
        }
    }
}

static void sum_columns(const void *z, ptrdiff_t z_row, size_t m, size_t n, lmx_dd *sums)
{
    for (size_t j = 0; j < n; j += V_LANES) {
        const size_t left = n - j < V_LANES ? n - j : V_LANES;
        vwide w = vw_zero();
        for (size_t i = 0; i < m; i++)
            w = vw_add(w, v_load_n((const real *)z + (ptrdiff_t)i * z_row + j, left, 0));
        double hi[V_LANES], lo[V_LANES];
        vw_store(hi, lo, w);
        for (size_t q = 0; q < left; q++)
            sums[j + q] = lmx_dd_add(sums[j + q], (lmx_dd){ hi[q], lo[q] });
    }
}

static void largest(const void *z, ptrdiff_t z_row, size_t m, size_t n, void *most)
{
    for (size_t i = 0; i < m; i++) {
        const real *from = (const real *)z + (ptrdiff_t)i * z_row;
        vreal v = v_set1(-LMX_INF), nan = v;
        for (size_t j = 0; j < n; j += V_LANES) {
            const vreal x = v_load_n(from + j, n - j < V_LANES ? n - j : V_LANES, -LMX_INF);
            v = v_max(x, v);
            nan = v_select(v_isnan(x), x, nan);
        }
        ((real *)most)[i] = m_any(v_isnan(nan)) ? LMX_QNAN : v_hmax(v);
    }
}

extern const lmx_tile_kernel LMX_K(tile);

const lmx_tile_kernel LMX_K(tile) = { transpose, multiply, add_bias, sum_columns, largest };
