/* SPDX-License-Identifier: Apache-2.0 */
/*
 * z_loss: softplus(a (b - z[t])) / a, z = (o - mean) / std over the row (de Brebisson and Vincent 2016,
 * arXiv:1604.08859).  Not the log(Z)^2 penalty: that is cross_entropy's logz_penalty.
 *
 * The variance is (q - s^2/D) / D from double (double: double-double) sums, which lose
 * (mean / std)^2 of their digits; where that is 2^20 or more, float measures again relative to the mean,
 * for then every difference from it is exact or large.
 * Gradient: r / (D std) (1 + z[t] z[k] - D [k = t]) with r = sigmoid(a (b - z[t])).
 * Variance 0 (at most 2^-40 of the mean square): z = 0 and gradient 0.
 */
#include "kernels/loss/loss_math.h"
#include "kernels/loops/sums.h"

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n);
    const lmx_dd D = dd_of(spec->cols);
    if (sizeof(real) == 8 && row->pivot == 0 && row->e == 0 && !(m.q.hi < 0x1p+900)) {
        row->e = 600;
        return LMX_LOSS_AGAIN;
    }
    if (sizeof(real) == 8 && row->pivot == 0 && row->e > -1000 && row->e <= 0 &&
        m.q.hi < 0x1p-800) {
        row->e -= 500;
        return LMX_LOSS_AGAIN;
    }
    if (!lmx_finite(m.s.hi) || !lmx_finite(m.q.hi)) {
        row->bad = 1;
        return LMX_LOSS_DONE;
    }
    const double down = lmx_scale2(1, -row->e);
    const lmx_dd mean = w_div(m.s, D); /* relative to the pivot */
    lmx_dd var = w_div(w_sub(m.q, w_mul(mean, m.s)), D);
    const lmx_dd center = w_add(dd_of(row->pivot), mean);
    /* the mean square about 0 */
    const double square = fma(center.hi, center.hi, var.hi);
    if (sizeof(real) == 4 && row->pivot == 0 && var.hi < 0x1p-20 * square) {
        row->pivot = (double)(real)center.hi;
        if (row->pivot != 0)
            return LMX_LOSS_AGAIN;
    }
    const double a = spec->p[0], b = spec->p[1];
    if (!(var.hi > 0x1p-40 * square)) {
        const lmx_dd u = { a * b, fma(a, b, -(a * b)) };
        row->loss = dd_value(softplus_of(u)) / a;
        row->at_target = 0;
        row->pre = row->post = 1;
        row->a = row->b = row->center = row->center_lo = 0;
        return LMX_LOSS_DONE;
    }
    const lmx_dd std = w_sqrt(var);
    const lmx_dd d = w_sub(lmx_two_sum(row->x * down, -row->pivot), mean);
    const lmx_dd z = w_div(d, std);
    const lmx_dd u = w_mul(dd_of(a), w_add(dd_of(b), dd_neg(z)));
    row->loss = dd_value(softplus_of(u)) / a;
    if (!row->gradient)
        return LMX_LOSS_DONE;
    const double r = sigmoid_of(u);
    /* In units of 2^e, which the logits are measured in: f = r / (D std) is 2^e too large. */
    const double f = r * row->scale / (spec->cols * std.hi);
    row->pre = down;
    row->center = (double)(real)center.hi;
    row->center_lo = (center.hi - row->center) + center.lo;
    loss_factor(row, f * z.hi / std.hi, -row->e);
    row->b = lmx_scale2_gradual(f, -row->e);
    row->at_target =
        lmx_scale2_gradual(f * (fma(z.hi, z.hi, 1 - spec->cols) + 2 * z.hi * z.lo), -row->e);
    return LMX_LOSS_DONE;
}

LMX_LOSS_KERNEL(z_loss, LMX_K(measure_moments), finish, LMX_K(linear_gradient), 0)
