/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_softmax_vjp: dx[i] = (dy[i] - exp(y[i]) * sum dy) / temperature, from the output y.
 * y = -inf (a masked logit) gives dy[i].  NaN or +inf in a row of y, NaN in dy: NaN throughout.
 * Error <= 6 u (|dy[i]| + exp(y[i]) sum |dy|), u = 2^-24 (double: 2^-53).
 */
#include "kernels/loops/products.h"

static void measure(const void *a, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)terms;
    measure_products(a, b, n, 0, c);
}

static void measure_columns(const lmx_columns *c, lmx_chunk *chunks)
{
    measure_products_columns(c, 0, chunks);
}

LMX_INLINE vreal gradient(vreal dy, vreal y, const vreal *k)
{
    return canonical(v_mul(v_fma(v_exp(y), k[0], dy), k[1]));
}

static vreal body(vreal a, vreal b, const void *k) { return gradient(a, b, k); }

static void apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                  const lmx_norm *norm, void *out, unsigned how)
{
    (void)chunk;
    const vreal k[2] = { v_set1(-(real)norm->sum.hi), v_set1((real)norm->rate) };
    row_map(a, b, n, out, how, MAP_B, body, k);
}

LMX_INLINE void constants(const lmx_chunk *chunk, const lmx_norm *norm, real k[COLUMN_CONSTANTS])
{
    (void)chunk;
    k[0] = -(real)norm->sum.hi;
    k[1] = (real)norm->rate;
}

LMX_INLINE vreal column(vreal a, vreal b, const vreal *k) { return gradient(a, b, k); }

static void apply_columns(const lmx_columns *c, const lmx_chunk *chunks, const lmx_norm *norms)
{
    columns_map(c, chunks, norms, 2, constants, column, column);
}

LMX_ROW_KERNEL(log_softmax_vjp, no_guess, measure, lmx_fold_products, apply, 2, 0, RESULT_ROW,
               measure_columns, apply_columns, NULL, 0)
