/* SPDX-License-Identifier: Apache-2.0 */
/* generalized_cross_entropy: (1 - p^q) / q, p the target's softmax (Zhang and Sabuncu 2018); q = 0: -log p. */
#include "kernels/loss/exp_loss.h"

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    return LMX_K(finish_comp_sum)(chunks, n, spec, row, spec->p[0]);
}

const lmx_loss_kernel LMX_K(generalized_cross_entropy) = { measure_exp, finish, gradient_exp, 0,
                                                           sizeof(elem) };
