/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_softmax: y[i] = x[i] - log(sum exp(x)).
 *
 * The logarithm comes in two parts, c_hi + c_lo, from double-double (lmx_fold_log), so that
 * (x - c_hi) - c_lo keeps the digits that x - c alone would cancel.
 * A row with NaN or +inf, or of -inf alone: NaN.  -inf among finite logits: -inf.
 * Max error 2.3 ulp for every element; bound 3.
 */
#include "kernels/loops/expsum_columns.h"

void LMX_K(measure_log)(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)b;
    (void)terms;
    measure_sum(x, n, NULL, SUM_MAX | SUM_WIDE, c, NULL, NULL);
}

void LMX_K(measure_log_columns)(const lmx_columns *c, lmx_chunk *chunks)
{
    measure_sum_columns(c, SUM_MAX | SUM_WIDE | SUM_KEEP, chunks);
}

LMX_INLINE vreal minus_log(vreal x, const vreal *k) { return v_sub(v_sub(x, k[0]), k[1]); }

LMX_INLINE void two_parts(const lmx_norm *norm, real *hi, real *lo)
{
    const lmx_dd s = lmx_two_sum(norm->max, norm->log_rest.hi);
    *hi = (real)s.hi;
    *lo = (real)((s.hi - (double)*hi) + (s.lo + norm->log_rest.lo));
}

static vreal body(vreal x, vreal b, const void *k)
{
    (void)b;
    return minus_log(x, k);
}

static void apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                  const lmx_norm *norm, void *out, unsigned how)
{
    (void)b;
    (void)chunk;
    if (norm->kind != LMX_KIND_PLAIN) {
        row_fill(out, n, LMX_QNAN);
        return;
    }
    real hi, lo;
    two_parts(norm, &hi, &lo);
    const vreal k[2] = { v_set1(hi), v_set1(lo) };
    row_map(a, NULL, n, out, how, 0, body, k);
}

static void measure_pipelined(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c,
                              row_pending *pending)
{
    (void)b;
    (void)terms;
    measure_sum(x, n, NULL, SUM_MAX | SUM_WIDE | SUM_PENDING, c, pending, body);
}

LMX_INLINE int pipelined_constants(const lmx_chunk *chunk, const lmx_norm *norm,
                                   vreal k[PENDING_CONSTANTS])
{
    (void)chunk;
    real hi, lo;
    if (norm->kind != LMX_KIND_PLAIN)
        return 0;
    two_parts(norm, &hi, &lo);
    k[0] = v_set1(hi);
    k[1] = v_set1(lo);
    return 1;
}

static void pipelined(const lmx_rows *r)
{
    pipelined_loop(r, guess_sum, measure_pipelined, lmx_fold_log, apply, pipelined_constants, body,
                   1, 0);
}

LMX_INLINE void constants(const lmx_chunk *chunk, const lmx_norm *norm, real k[COLUMN_CONSTANTS])
{
    (void)chunk;
    two_parts(norm, &k[0], &k[1]);
}

LMX_INLINE vreal column(vreal x, vreal b, const vreal *k)
{
    (void)b;
    return minus_log(x, k);
}

static void apply_columns(const lmx_columns *c, const lmx_chunk *chunks, const lmx_norm *norms)
{
    columns_map(c, chunks, norms, 1, constants, column, column);
}

LMX_ROW_KERNEL(log_softmax, guess_sum, LMX_K(measure_log), lmx_fold_log, apply, 1, 0, RESULT_ROW,
               LMX_K(measure_log_columns), apply_columns, pipelined, 1)
