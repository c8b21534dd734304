/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bouchard_loss: an upper bound of cross_entropy that is quadratic in the logits (Bouchard 2007), at the
 * best value of its parameter xi.
 *
 * With t = tanh(xi / 2), lambda = t / (4 xi), delta = 1 - t, the bound is
 *   xi (1 - 1/D + delta (4 - 4/D - D delta) / (4 t)) + D log1p(exp(-xi)) + mean - o[t] + lambda D var:
 * the published form (spec 5.5) without its terms of order D xi, which cancel.  It is least where
 *   xi^2 (1 - ((D - 2) / (D t))^2) = var,   xi >= log(D - 1);
 * the left side grows with xi, from 0 there.  In e = exp(-xi) it is
 *   xi^2 4 (1 - e (D - 1)) (D - 1 - e) / (D^2 (1 - e)^2), without cancellation but where var is small.
 * Gradient: (1 + t (o[k] - mean) D / (2 xi)) / D - [k = t]; xi itself adds nothing.
 */
#include "ops/loss_math.h"
#include "ops/sums.h"

/* xi^2 (1 - ((D - 2) / (D t))^2) */
static double variance_at(double xi, double D)
{
    const double e = exp_of(dd_of(-xi)), u = expm1_of(dd_of(-xi));
    return 4 * xi * xi * (1 - e * (D - 1)) * (D - 1 - e) / (D * D * u * u);
}

/* The root, by regula falsi (Illinois): the bound is flat there, its slope in the logits is not. */
static double best_xi(double var, double D)
{
    double lo = D > 2 ? dd_value(lmx_log_dd(D - 1, 0, 0)) : 0, f_lo = -var;
    double hi = lo + 1, f_hi = variance_at(hi, D) - var;
    while (f_hi < 0) {
        lo = hi;
        f_lo = f_hi;
        hi = 2 * hi;
        f_hi = variance_at(hi, D) - var;
    }
    int side = 0;
    for (int i = 0; i < 100 && f_hi != 0 && hi - lo > hi * 0x1p-51; i++) {
        double mid = lo - f_lo * ((hi - lo) / (f_hi - f_lo));
        if (!(mid > lo && mid < hi))
            mid = 0.5 * (lo + hi);
        const double f = variance_at(mid, D) - var;
        if (f < 0) {
            lo = mid;
            f_lo = f;
            f_hi *= side < 0 ? 0.5 : 1;
            side = -1;
        } else {
            hi = mid;
            f_hi = f;
            f_lo *= side > 0 ? 0.5 : 1;
            side = 1;
        }
    }
    return hi;
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n);
    const double D = spec->cols;
    if (sizeof(real) == 8 && row->e == 0 && row->pivot == 0 && !(m.q.hi < 0x1p+900)) {
        row->e = 600;
        return LMX_LOSS_AGAIN;
    }
    if (!lmx_finite(m.q.hi)) {
        row->bad = 1;
        return LMX_LOSS_DONE;
    }
    const double down = lmx_scale2(1, -row->e), up = lmx_scale2(1, row->e);
    const lmx_dd mean = dd_div(m.s, dd_of(D)); /* relative to the pivot, in units of 2^e */
    const lmx_dd var = dd_div(dd_sub(m.q, dd_mul(mean, m.s)), dd_of(D));
    const lmx_dd center = lmx_dd_add(dd_of(row->pivot), mean);
    const double square = fma(center.hi, center.hi, var.hi);
    if (sizeof(real) == 4 && row->pivot == 0 && var.hi < 0x1p-20 * square) {
        row->pivot = (double)(real)center.hi;
        if (row->pivot != 0)
            return LMX_LOSS_AGAIN;
    }
    /* o[t] - mean, in units of 2^e */
    const lmx_dd d = dd_sub(lmx_two_sum(row->x * down, -row->pivot), mean);
    const lmx_dd v = var.hi > 0 ? var : dd_of(0);
    lmx_dd sum = dd_of(0); /* of all but mean - o[t], in units of 2^e */
    double slope = 0;      /* t / (2 xi), the gradient's, in units of 2^-e */
    if (D > 1 && row->e != 0 && v.hi > 0x1p-1000) { /* t is 1, and xi may not fit */
        const double xi = D * sqrt(v.hi) / (2 * sqrt(D - 1));
        sum = lmx_dd_add(dd_of(xi - xi / D), dd_of(D * v.hi / (4 * xi)));
        slope = 1 / (2 * xi);
    } else if (D > 1) { /* else the bound is exact, for t -> 0 */
        const lmx_dd V = { v.hi * up * up, v.lo * up * up };
        const double xi = best_xi(V.hi, D);
        const lmx_dd e = exp_dd_neg(-xi), one = dd_of(1);
        const lmx_dd delta = dd_div((lmx_dd){ 2 * e.hi, 2 * e.lo }, lmx_dd_add(one, e));
        const lmx_dd t =
            delta.hi < 0.5 ? dd_sub(one, delta) : dd_of(-expm1_of(dd_of(-xi)) / (1 + e.hi));
        const int tiny = xi < 0x1p-60; /* t is xi / 2 */
        const lmx_dd ratio = tiny ? dd_of(2) : dd_div(dd_of(xi), t);
        /* For a confident row everything of the order of delta and more cancels, but for a log1p(e). */
        const lmx_dd four = dd_sub(dd_of(4), dd_div(dd_of(4), dd_of(D)));
        const lmx_dd part = dd_mul(dd_mul(ratio, delta), dd_sub(four, dd_mul(dd_of(D), delta)));
        const lmx_dd log_part = dd_mul(dd_of(D), log1p_of(e));
        const lmx_dd large = dd_sub(dd_of(xi), dd_div(dd_of(xi), dd_of(D)));
        const lmx_dd flat =
            lmx_dd_add(large, lmx_dd_add((lmx_dd){ 0.25 * part.hi, 0.25 * part.lo }, log_part));
        const lmx_dd share = tiny ? dd_of(0.125) : dd_div(t, dd_of(4 * xi));
        sum = lmx_dd_add(flat, dd_mul(share, dd_mul(dd_of(D), V)));
        sum = (lmx_dd){ sum.hi * down, sum.lo * down };
        slope = 2 * share.hi * up;
    }
    row->loss = dd_value(dd_sub(sum, d)) * up;
    const lmx_dd less = { -d.hi * up, -d.lo * up };
    if (D == 2) /* xi is |d|, and the bound 2 log(1 + exp(-d)) */
        row->loss = 2 * dd_value(softplus_of(less));
    else if (row->loss < 0) /* a bound of what is positive, when its terms cancel to nothing */
        row->loss = 0;
    row->pre = down;
    row->center = (double)(real)center.hi;
    row->center_lo = (center.hi - row->center) + center.lo;
    loss_factor(row, slope * row->scale, 0);
    row->b = row->scale / D;
    row->at_target = row->scale * (D == 2 ? -sigmoid_of(less) : slope * dd_value(d) + (1 / D - 1));
    return LMX_LOSS_DONE;
}

LMX_LOSS_KERNEL(bouchard_loss, LMX_K(measure_moments), finish, LMX_K(linear_gradient), 0)
