/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp_sum: sum exp(x), one lmx_expsum per row; see lanemax.h.
 *
 * Twice: the sum of the terms as softmax rounds them, so that a total gives softmax's own bits, and
 * the sum to about twice their digits, for the logarithm.  log_softmax by a total that was gathered
 * elsewhere has no largest logit to set aside, and near 0 it is as wrong as the logarithm.
 */
#include "kernels/loops/expsum_columns.h"

static void measure(const void *x, const void *b, size_t n, void *terms, lmx_chunk *c)
{
    (void)b;
    (void)terms;
    measure_sum(x, n, NULL, SUM_FINE, c, NULL, NULL);
}

static void measure_columns(const lmx_columns *c, lmx_chunk *chunks)
{
    measure_sum_columns(c, SUM_FINE, chunks);
}

LMX_ROW_KERNEL(exp_sum, guess_sum, measure, lmx_fold_fine, no_apply, 1, 0, RESULT_SUM,
               measure_columns, no_columns, NULL, 0)
