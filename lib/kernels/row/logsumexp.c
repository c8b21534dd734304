/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logsumexp: log(sum exp(x)), one real per row.
 * Only -inf: -inf.  +inf without NaN: +inf.  NaN: NaN.
 * Max error 0.6 ulp, or 1e-7 absolute where the result is near 0; bound 1 ulp or 2.5e-7.
 */
#include "kernels/loops/expsum_columns.h"

LMX_ROW_KERNEL(logsumexp, guess_sum, LMX_K(measure_log), lmx_fold_log, no_apply, 1, 0, RESULT_VALUE,
               LMX_K(measure_log_columns), no_columns, NULL, 0)
