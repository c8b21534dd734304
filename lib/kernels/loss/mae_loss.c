/* SPDX-License-Identifier: Apache-2.0 */
/* mae_loss: 1 - p, p the target's softmax: comp_sum_loss with tau = 2, half of sum |softmax - one-hot|. */
#include "kernels/loss/exp_loss.h"

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    (void)spec;
    return LMX_K(finish_comp_sum)(chunks, n, spec, row, 1);
}

const lmx_loss_kernel LMX_K(mae_loss) = { measure_exp, finish, gradient_exp, 0, sizeof(elem) };
