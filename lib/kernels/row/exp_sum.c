/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp_sum: sum exp(x), one lmx_expsum per row; see lanemax.h.
 *
 * An lmx_expsum holds two sums: that of the terms as softmax rounds them, so that softmax by a
 * total gives softmax's own bits, and one to about twice as many digits, for the logarithm.
 * log_softmax by a total cannot set the largest logit aside, as log_softmax does; so where its
 * result is near 0, its absolute error is that of the logarithm.
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
