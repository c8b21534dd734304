/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logsumexp: log(sum exp(x)), one real per row.
 * Only -inf: -inf.  +inf without NaN: +inf.  NaN: NaN.
 * Max error 0.6 ulp, or 1e-7 absolute where the result is near 0; bound 1 ulp or 2.5e-7.
 */
#include "ops/expsum.h"

static void no_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                     const lmx_norm *norm, void *out, unsigned how)
{
    (void)a, (void)b, (void)n, (void)chunk, (void)norm, (void)out, (void)how;
}

static void no_columns(const lmx_columns *c, const lmx_norm *norms) { (void)c, (void)norms; }

LMX_ROW_KERNEL(logsumexp, LMX_K(measure_log), lmx_fold_log, no_apply, 1, 0, RESULT_VALUE,
               LMX_K(measure_log_columns), no_columns)
