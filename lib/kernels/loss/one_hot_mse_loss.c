/* SPDX-License-Identifier: Apache-2.0 */
/*
 * one_hot_mse_loss: sum (o[k] - y[k])^2, y = 1 at the target and 0 elsewhere, or with label smoothing s
 * 1 - s + s/D and s/D.  Summed over the classes, as Vincent, de Brebisson and Bouthillier (2015) do.
 *
 * The differences are formed before they are squared, and the target's apart, so that nothing
 * cancels where the logits are nearly y.  Gradient: 2 (o[k] - y[k]).
 */
#include "kernels/loss/loss_math.h"
#include "kernels/loops/sums.h"

static vreal difference(vreal x, vreal b, const void *k)
{
    const vreal *c = k;
    (void)b;
    return v_sub(v_sub(v_mul(x, c[2]), c[0]), c[1]);
}

LMX_INLINE double off_value(const lmx_loss_spec *spec) { return spec->smoothing / spec->cols; }

static void measure(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                    const lmx_loss_row *row, lmx_chunk *c)
{
    const double down = lmx_scale2(1, -row->e), off = off_value(spec) * down;
    const real hi = (real)off, lo = (real)(off - (double)hi);
    const vreal k[3] = { v_set1(hi), v_set1(lo), v_set1((real)down) };
    sum_row(o, NULL, n, skip, difference, k, SUM_SQUARES, c);
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n);
    if (sizeof(real) == 8 && row->e == 0 && !(m.q.hi <= 0x1p+1000)) {
        row->e = 600; /* the sum of squares of what fits may fit where a part of it does not */
        return LMX_LOSS_AGAIN;
    }
    const double off = off_value(spec), s = spec->smoothing;
    const double down = lmx_scale2(1, -row->e);
    /* x - (1 - s + s/D) */
    const lmx_dd d = lmx_dd_add(lmx_two_sum(row->x, -(1 - s)), dd_of(-off));
    const lmx_dd scaled = { d.hi * down, d.lo * down };
    lmx_dd sum = lmx_dd_add(m.q, dd_mul(scaled, scaled));
    if (!lmx_finite(sum.hi))
        sum = dd_of(row->x != row->x || m.q.hi != m.q.hi ? lmx_qnan() : (double)INFINITY);
    row->loss = dd_value(sum);
    for (int i = 0; i < 2 && row->e != 0; i++)
        row->loss *= lmx_scale2(1, row->e);
    /* NaN, or an infinite logit times a weight of 0 */
    row->bad = sum.hi != sum.hi || (!lmx_finite(sum.hi) && row->scale == 0);
    row->at_target = 2 * d.hi * row->scale;
    if (row->x - row->x != 0)
        row->at_target = row->x * row->scale;
    row->pre = 1;
    row->center = (double)(real)off;
    row->center_lo = off - row->center;
    row->b = 0;
    row->a = 2 * row->scale;
    row->post = 1;
    return LMX_LOSS_DONE;
}

LMX_LOSS_KERNEL(one_hot_mse_loss, measure, finish, LMX_K(linear_gradient), 1)
