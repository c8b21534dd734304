/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stablemax_cross_entropy: -log(s(o[t]) / S), S = sum s(o[k]), s(x) = x + 1 for x >= 0 and 1 / (1 - x)
 * below (Prieto and others 2025, arXiv:2501.04697).
 *
 * log1p(rest / s(o[t])), rest the sum of all classes but the target, each within 2 roundings.
 * Gradient: s'(o[k]) / S, s' = 1 and 1 / (1 - x)^2, without the target's -s'/s: together
 * -s' rest / (S s) there.  -inf is a masked logit: s = 0.
 */
#include "kernels/row/stable.h"

static void measure(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                    const lmx_loss_row *row, lmx_chunk *c)
{
    (void)spec;
    positive_constants k;
    stable_at(&k, 0, row->e, 0);
    sum_row(o, NULL, n, skip, stable_value, &k, 0, c);
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    (void)spec;
    const moments m = all_moments(chunks, n);
    const double x = row->x;
    if (sizeof(real) == 8 && row->e == 0 && !(m.s.hi < 0x1p+1000 && x < 0x1p+1000)) {
        row->e = 600;
        return LMX_LOSS_AGAIN;
    }
    const double down = lmx_scale2(1, -row->e);
    lmx_dd own;
    if (x >= 0)
        own = lmx_two_sum(x * down, down);
    else
        own = x == -INFINITY ? dd_of(0) : w_div(dd_of(down), lmx_two_sum(1, -x));
    const lmx_dd all = w_add(m.s, own);
    if (!lmx_finite(all.hi) || all.hi == 0) {
        row->bad = 1;
        return LMX_LOSS_DONE;
    }
    row->loss = own.hi > 0 ? dd_value(log1p_of(w_div(m.s, own))) : (double)INFINITY;
    row->a = row->scale / all.hi * down;
    /* s'/s is 1 / (1 + |x|) on both sides; masked: 0 */
    row->at_target =
        x == -INFINITY ? 0 : -(row->scale * (m.s.hi / all.hi)) / (1 + (x < 0 ? -x : x));
    return LMX_LOSS_DONE;
}

static vreal slope(vreal x, vreal b, const void *k)
{
    (void)b;
    const vreal c = *(const vreal *)k, one = v_set1(1);
    const vreal d = v_sub(one, x); /* its square may overflow where the quotient does not vanish */
    return v_select(v_gt(v_set1(0), x), v_div(v_div(c, d), d), c);
}

static void gradient(const void *o, size_t n, const lmx_chunk *chunk, const lmx_loss_spec *spec,
                     const lmx_loss_row *row, void *out, unsigned how)
{
    (void)chunk, (void)spec;
    const vreal k = v_set1((real)row->a);
    row_map(o, NULL, n, out, how, 0, slope, &k);
    if (how & LMX_HOW_STREAM)
        v_fence();
}

LMX_LOSS_KERNEL(stablemax_cross_entropy, measure, finish, gradient, 1)
