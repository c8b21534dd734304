/* SPDX-License-Identifier: Apache-2.0 */
/*
 * comp_sum_loss: ((1 / p)^(1 - tau) - 1) / (1 - tau), p the target's softmax; tau = 1: -log p (Mao, Mohri and
 * Zhong 2023, arXiv:2304.07288).
 */
#include "kernels/loss/exp_loss.h"

/*
 * Comp-sum losses, of L = cross-entropy and theta = tau - 1: (1 - p^theta) / theta, theta = 0: L.
 * Gradient: p^theta (softmax - [k = t]), the power folded into softmax's exponent.
 */
int LMX_K(finish_comp_sum)(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec,
                           lmx_loss_row *row, double theta)
{
    if (!fold_exp(chunks, n, spec, row))
        return LMX_LOSS_DONE;
    const lmx_dd L = log_sum_over(&row->norm, row->x);
    const lmx_dd u = dd_mul(dd_of(-theta), L.hi < INFINITY ? L : dd_of(0)); /* log p^theta */
    if (!(L.hi < INFINITY)) {
        row->loss = theta > 0 ? 1 / theta : INFINITY;
        scale_softmax(row, theta > 0 ? 0 : row->scale, 0);
        row->at_target = theta > 0 ? 0 : -row->scale;
        return LMX_LOSS_DONE;
    }
    /* expm1(u) = u (1 + u/2 + ...) where u, which may be subnormal, is that small */
    const int straight = u.hi > -0x1p-60 && u.hi < 0x1p-60;
    row->loss = straight ? dd_value(L) : -expm1_of(u) / theta;
    if (!row->gradient)
        return LMX_LOSS_DONE;
    if (u.hi > 0x1p+40 || u.hi < -0x1p+40) {
        scale_softmax(row, u.hi < 0 ? 0 : row->scale, 0x1p+20);
    } else {
        const lmx_exp2part e = lmx_exp_split(u.hi, u.lo);
        scale_softmax(row, row->scale * (e.m + e.m_lo), e.n);
    }
    row->at_target = row->scale * (exp_of(u) * expm1_of(dd_neg(L))); /* 1 - p */
    return LMX_LOSS_DONE;
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    return LMX_K(finish_comp_sum)(chunks, n, spec, row, spec->p[0] - 1);
}

const lmx_loss_kernel LMX_K(comp_sum_loss) = { measure_exp, finish, gradient_exp, 0, sizeof(elem) };
