/* SPDX-License-Identifier: Apache-2.0 */
/* exp_sum: sum exp(x) as (mantissa, tail, exponent, base), one per row; see lanemax.h. */
#include "ops/expsum.h"

static void no_apply(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                     const lmx_norm *norm, void *out, unsigned how)
{
    (void)a, (void)b, (void)n, (void)chunk, (void)norm, (void)out, (void)how;
}

static void no_columns(const lmx_columns *c, const lmx_norm *norms) { (void)c, (void)norms; }

LMX_ROW_KERNEL(exp_sum, LMX_K(measure_exp), lmx_fold_sum, no_apply, 1, 0, RESULT_SUM,
               LMX_K(measure_exp_columns), no_columns)
