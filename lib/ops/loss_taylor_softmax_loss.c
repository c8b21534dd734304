/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taylor_softmax_loss: -log(f(o[t]) / T), T = sum f(o[k]), f(x) = sum x^i / i! up to an even order, which
 * is positive (Vincent, de Brebisson and Bouthillier 2015; orders above 2: Banerjee and others 2020).
 *
 * log1p(rest / f(o[t])), rest the sum of all classes but the target.  Order 2 from the sums of the
 * logits and their squares, in double (double: double-double), where they cancel at most 5.8 times.
 * Higher orders cancel exp(2 |x|) times for x < 0, so they go by a compensated Horner scheme (Graillat,
 * Langlois and Louvet 2005), which gives the digits of twice the precision, with coefficients in two parts.
 * Logits are taken as 2^e x, the values as f 2^(-e order), so that powers do not overflow.
 * Gradient: f'(o[k]) / T, f' the same polynomial one order lower, without the target's -f' / f:
 * together -f'(o[t]) rest / (T f(o[t])).
 */
#include "ops/loss_math.h"
#include "ops/sums.h"

#define ORDER_MAX LMX_TAYLOR_ORDER_MAX

/* 2^(e (k - n)) / k! for k = 0 ... n */
static void coefficients(lmx_dd *c, int n, int64_t e)
{
    if (e == 0 && n <= 2) {
        static const lmx_dd first[] = { { 1, 0 }, { 1, 0 }, { 0.5, 0 } };
        memcpy(c, first, sizeof *c * (size_t)(n + 1));
        return;
    }
    lmx_dd inverse = dd_of(1);
    for (int k = 0; k <= n; k++) {
        if (k > 0)
            inverse = dd_div(inverse, dd_of(k));
        const int64_t shift = e * (k - n);
        c[k] = (lmx_dd){ lmx_scale2_gradual(inverse.hi, shift),
                         lmx_scale2_gradual(inverse.lo, shift) };
    }
}

static lmx_dd polynomial(const lmx_dd *c, int n, double x)
{
    lmx_dd f = c[n];
    for (int k = n - 1; k >= 0; k--)
        f = lmx_dd_add(dd_mul(f, dd_of(x)), c[k]);
    return f;
}

typedef struct {
    int n;
    vreal down, scale, post, hi[ORDER_MAX + 1], lo[ORDER_MAX + 1];
} terms;

static void terms_at(terms *t, int n, int64_t e)
{
    lmx_dd c[ORDER_MAX + 1];
    coefficients(c, n, e);
    t->n = n;
    t->down = v_set1((real)lmx_scale2_gradual(1, -e));
    for (int k = 0; k <= n; k++) {
        const real hi = (real)c[k].hi;
        t->hi[k] = v_set1(hi);
        t->lo[k] = v_set1((real)((c[k].hi - (double)hi) + c[k].lo));
    }
}

static vreal value(vreal x, vreal b, const void *k)
{
    const terms *t = k;
    (void)b;
    x = v_mul(x, t->down);
    const vreal zero = v_set1(0);
    vreal s = t->hi[t->n], r = t->lo[t->n];
    for (int i = t->n - 1; i >= 0; i--) {
        const vreal p = v_mul(s, x), p_lo = v_fma(s, x, v_sub(zero, p));
        const vreal u = v_add(p, t->hi[i]), w = v_sub(u, p); /* TwoSum */
        const vreal u_lo = v_add(v_sub(p, v_sub(u, w)), v_sub(t->hi[i], w));
        r = v_fma(r, x, v_add(v_add(p_lo, u_lo), t->lo[i]));
        s = u;
    }
    return v_add(s, r);
}

static vreal scaled_value(vreal x, vreal b, const void *k)
{
    const terms *t = k;
    return v_mul(v_mul(value(x, b, k), t->scale), t->post);
}

static void measure(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                    const lmx_loss_row *row, lmx_chunk *c)
{
    if (spec->p[0] == 2) {
        LMX_K(measure_moments)(o, n, skip, spec, row, c);
        return;
    }
    terms t;
    terms_at(&t, (int)spec->p[0], row->e);
    sum_row(o, n, skip, value, &t, 0, c);
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n);
    const int order = (int)spec->p[0];
    const double down = lmx_scale2_gradual(1, -row->e), x = row->x * down;
    lmx_dd c[ORDER_MAX + 1];
    coefficients(c, order, row->e);
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
    row->loss = dd_value(log1p_of(w_div(rest, own)));
    if (!row->gradient)
        return LMX_LOSS_DONE;
    row->center = row->center_lo = row->b = 0;
    row->pre = down;
    loss_factor(row, row->scale / all.hi, -row->e);
    coefficients(c, order - 1, row->e);
    const lmx_dd slope = polynomial(c, order - 1, x);
    if (order == 2) { /* (1 + x) / T */
        row->b = row->scale / all.hi * lmx_scale2_gradual(1, -2 * row->e);
    }
    row->at_target =
        lmx_scale2_gradual(-row->scale * (rest.hi / all.hi) * (dd_value(slope) / own.hi), -row->e);
    return LMX_LOSS_DONE;
}

static void gradient(const void *o, size_t n, const lmx_chunk *chunk, const lmx_loss_spec *spec,
                     const lmx_loss_row *row, void *out, unsigned how)
{
    if (spec->p[0] == 2) {
        LMX_K(linear_gradient)(o, n, chunk, spec, row, out, how);
        return;
    }
    terms t;
    terms_at(&t, (int)spec->p[0] - 1, row->e);
    t.scale = v_set1((real)row->a);
    t.post = v_set1((real)row->post);
    row_map(o, NULL, n, out, how, 0, scaled_value, &t);
    if (how & LMX_HOW_STREAM)
        v_fence();
}

LMX_LOSS_KERNEL(taylor_softmax_loss, measure, finish, gradient, 1)
