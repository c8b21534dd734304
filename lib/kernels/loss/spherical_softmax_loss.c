/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spherical_softmax_loss: -log p, p = (o[t]^2 + eps) / sum (o[k]^2 + eps) (Vincent, de Brebisson and
 * Bouthillier 2015, arXiv:1412.7091).
 *
 * log1p(rest / (o[t]^2 + eps)) with the sum of all classes but the target: exact also where p is nearly 1.
 * Gradient: 2 o[k] / T - [k = t] 2 o[t] / (o[t]^2 + eps), T the whole sum; at the target the two are
 * -2 o[t] rest / (T (o[t]^2 + eps)).  eps = 0 and o[t] = 0: loss +inf, gradient 0 there.
 */
#include "kernels/row/positive.h"

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n);
    const double eps = spec->p[0], x = row->x * lmx_scale2(1, -row->e);
    if (sizeof(real) == 8) {
        const double square = x * x;
        if (row->e == 0 && !(m.q.hi < 0x1p+900 && square < 0x1p+900)) {
            row->e = 600;
            return LMX_LOSS_AGAIN;
        }
        if (row->e <= 0 && row->e > -1000 && m.q.hi < 0x1p-800 && square < 0x1p-800 &&
            eps < 0x1p-800) {
            row->e -= 500;
            return LMX_LOSS_AGAIN;
        }
    }
    const double unit = lmx_scale2_gradual(eps, -2 * row->e); /* eps, as the squares are scaled */
    const lmx_dd own = w_add(w_mul(dd_of(x), dd_of(x)), dd_of(unit));
    const lmx_dd others = w_mul(dd_of(spec->cols - 1), dd_of(unit));
    const lmx_dd rest = w_add(m.q, others), all = w_add(rest, own);
    if (!lmx_finite(all.hi)) {
        row->bad = 1;
        return LMX_LOSS_DONE;
    }
    row->center = row->center_lo = row->b = 0;
    row->pre = lmx_scale2(1, -row->e);
    loss_factor(row, all.hi > 0 ? 2 * row->scale / all.hi : 0, -row->e);
    /* The target once more in units that suit it: in those of the row its square may be 0. */
    const int64_t half = exponent_of(eps) / 2, of_x = exponent_of(row->x);
    const int64_t size = eps == 0 || of_x > half ? of_x : half;
    const int64_t near = size > -400 && size < 400 ? 0 : size < -1000 ? -1000 : size;
    const double x_near = row->x * lmx_scale2_gradual(1, -near);
    const lmx_dd value =
        w_add(w_mul(dd_of(x_near), dd_of(x_near)), dd_of(lmx_scale2_gradual(eps, -2 * near)));
    if (value.hi > 0) {
        row->loss = dd_value(log1p_ratio(lmx_sum_of(rest.hi, rest.lo, 2 * row->e, 0),
                                         lmx_sum_of(value.hi, value.lo, 2 * near, 0)));
        const double ratio = rest.hi / all.hi * (2 * row->scale / value.hi);
        row->at_target = lmx_scale2_gradual(-x_near * ratio, -near);
    } else {
        row->loss = INFINITY;
        row->at_target = 0;
    }
    return LMX_LOSS_DONE;
}

LMX_LOSS_KERNEL(spherical_softmax_loss, LMX_K(measure_moments), finish, LMX_K(linear_gradient), 1)
