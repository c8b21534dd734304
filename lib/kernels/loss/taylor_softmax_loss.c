/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taylor_softmax_loss: -log(f(o[t]) / T), T = sum f(o[k]), f(x) = sum x^i / i! up to an even order, which
 * is positive (Vincent, de Brebisson and Bouthillier 2015; orders above 2: Banerjee and others 2020).
 *
 * log1p(rest / f(o[t])), rest the sum of all classes but the target.  Order 2 from the sums of the
 * logits and their squares, in double (double: double-double), where they cancel at most 5.8 times; higher
 * orders as taylor.h has it.  Logits are taken as 2^e x, the values as f 2^(-e order), so that powers do not overflow.
 * Gradient: f'(o[k]) / T, f' the same polynomial one order lower, without the target's -f' / f:
 * together -f'(o[t]) rest / (T f(o[t])).
 */
#include "kernels/row/taylor.h"

static lmx_dd polynomial(const lmx_dd *c, int n, double x)
{
    lmx_dd f = c[n];
    for (int k = n - 1; k >= 0; k--)
        f = lmx_dd_add(dd_mul(f, dd_of(x)), c[k]);
    return f;
}

static void measure(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                    const lmx_loss_row *row, lmx_chunk *c)
{
    if (spec->p[0] == 2) {
        LMX_K(measure_moments)(o, n, skip, spec, row, c);
        return;
    }
    positive_constants k;
    taylor_at(&k, spec->p[0], row->e, 0);
    sum_row(o, NULL, n, skip, taylor_value, &k, 0, c);
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n);
    const int order = (int)spec->p[0];
    const double down = lmx_scale2_gradual(1, -row->e), x = row->x * down;
    lmx_dd c[LMX_TAYLOR_ORDER_MAX + 1];
    taylor_coefficients(c, order, row->e);
    const lmx_dd own = polynomial(c, order, x);
    lmx_dd rest = m.s;
    if (order == 2) { /* D - 1 ones, the logits, half their squares, in units of 2^(2 e) */
        const lmx_dd half = { 0.5 * m.q.hi, 0.5 * m.q.lo };
        const lmx_dd first = { lmx_scale2(m.s.hi, -row->e), lmx_scale2(m.s.lo, -row->e) };
        rest = w_add(dd_of((spec->cols - 1) * c[0].hi), w_add(first, half));
    }
    const lmx_dd all = w_add(rest, own);
    if (!lmx_finite(all.hi)) {
        const int64_t most = sizeof(real) == 4 ? 128 : 1024;
        if (row->x - row->x != 0 || row->e >= most) {
            row->bad = 1;
            return LMX_LOSS_DONE;
        }
        /* So small a step that the largest value does not jump from overflow to underflow. */
        row->e += (sizeof(real) == 4 ? 200 : 1800) / order;
        return LMX_LOSS_AGAIN;
    }
    /* The target's value once more in units that suit it: it may be 0 in those of the largest. */
    const int64_t of_x = exponent_of(row->x), large = order * of_x < 800 ? 0 : of_x;
    const double own_x = row->x * lmx_scale2_gradual(1, -large);
    taylor_coefficients(c, order, large);
    const lmx_dd value = polynomial(c, order, own_x);
    row->loss = dd_value(log1p_ratio(lmx_sum_of(rest.hi, rest.lo, row->e * order, 0),
                                     lmx_sum_of(value.hi, value.lo, large * order, 0)));
    if (!row->gradient)
        return LMX_LOSS_DONE;
    row->center = row->center_lo = row->b = 0;
    row->pre = down;
    loss_factor(row, row->scale / all.hi, -row->e);
    taylor_coefficients(c, order - 1, large);
    const lmx_dd slope = polynomial(c, order - 1, own_x);
    if (order == 2) { /* (1 + x) / T */
        row->b = row->scale / all.hi * lmx_scale2_gradual(1, -2 * row->e);
    }
    row->at_target =
        lmx_scale2_gradual(-row->scale * (rest.hi / all.hi) * (dd_value(slope) / value.hi), -large);
    return LMX_LOSS_DONE;
}

static vreal scaled(vreal x, vreal b, const void *k_)
{
    const positive_constants *k = k_;
    return v_mul(v_mul(taylor_value(x, b, k), k->a), k->post);
}

static void gradient(const void *o, size_t n, const lmx_chunk *chunk, const lmx_loss_spec *spec,
                     const lmx_loss_row *row, void *out, unsigned how)
{
    if (spec->p[0] == 2) {
        LMX_K(linear_gradient)(o, n, chunk, spec, row, out, how);
        return;
    }
    positive_constants k;
    taylor_at(&k, spec->p[0], row->e, 1);
    k.a = v_set1((real)row->a);
    k.post = v_set1((real)row->post);
    row_map(o, NULL, n, out, how, 0, scaled, &k);
    if (how & LMX_HOW_STREAM)
        v_fence();
}

LMX_LOSS_KERNEL(taylor_softmax_loss, measure, finish, gradient, 1)
