/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bouchard_loss: an upper bound of cross_entropy that is quadratic in the logits (Bouchard 2007), at the
 * best values of its parameters alpha and xi.
 *
 * The published form consists of terms of the order of D xi, of which a confident row leaves
 * D exp(-xi).  Let t = tanh(xi / 2), delta = 1 - t, lambda = t / (4 xi); of the D - 1 other logits mu the
 * mean and S the sum of squared distances from it, g = o[t] - mu and w = g - 2 xi.  The target's term is
 * quadratic about its distance from alpha + xi and the others' about theirs from alpha - xi, and the best
 * alpha leaves
 *   (1 - 1/D) (lambda (K + w^2) - delta w) - delta^2 (D - 2)^2 xi / (4 D t) + D log1p(exp(-xi))
 * with K = S D / (D - 1).  Its one negative term, for w <= 0, is never more than half of what it is taken
 * from (most at D = 3 and equal logits).  It is least where, with e = exp(-xi),
 *   4 xi^2 (1 - h) = g^2 + K,   h = e (D - 2)^2 / ((D - 1) (1 - e)^2),   xi >= log(D - 1),
 * so that w = -(K + h g^2) / ((1 - h) (g + 2 xi)) too: small where g is large, and not a difference.
 * An error of xi is of second order in the bound; one of w, of second order relative to w.
 * Gradient: (o[k] - mu) t / (2 xi) + beta / D, and at the target beta / D - beta, for
 * beta = delta - w t / (2 xi); xi itself adds nothing.
 */
#include "kernels/loss/loss_math.h"
#include "kernels/loops/sums.h"

static double exp_minus(double xi) { return exp_of(dd_of(-xi)); }

/* xi^2 (1 - h), without cancellation but near its least value, 0 */
static double variance_at(double xi, double D)
{
    const double e = exp_minus(xi), u = expm1_of(dd_of(-xi));
    return xi * xi * (1 - e * (D - 1)) * (D - 1 - e) / ((D - 1) * u * u);
}

/* The root of variance_at(xi) = var to 2^-32, by regula falsi (Illinois); D > 2. */
static double search_xi(double var, double D)
{
    double lo = dd_value(lmx_log_dd(D - 1, 0, 0)), f_lo = -var;
    double hi = lo + 1, f_hi = variance_at(hi, D) - var;
    while (f_hi < 0) {
        lo = hi;
        f_lo = f_hi;
        hi = 2 * hi;
        f_hi = variance_at(hi, D) - var;
    }
    int side = 0;
    for (int i = 0; i < 100 && f_hi != 0 && hi - lo > hi * 0x1p-32; i++) {
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

/* h, from e = exp(-xi) */
static double share_of(double e, double D)
{
    return e * (D - 2) * (D - 2) / ((D - 1) * (1 - e) * (1 - e));
}

/* 2 xi after a step of Newton's: the root of (2 xi)^2 (1 - h) = square. */
static lmx_dd polished(double xi2, lmx_dd square, double D)
{
    const double e = exp_minus(0.5 * xi2), h = share_of(e, D);
    const lmx_dd part = w_mul(dd_of(xi2), w_mul(dd_of(xi2), w_sub(dd_of(1), dd_of(h))));
    const double slope = xi2 * (2 * (1 - h) + 0.5 * xi2 * h * (1 + e) / (1 - e));
    return lmx_two_sum(xi2, -w_sub(part, square).hi / slope);
}

typedef struct {
    lmx_dd xi2, w; /* 2 xi and g - 2 xi */
} best;

/*
 * 2 xi = sqrt((g^2 + K) / (1 - h)), iterated where each round takes most of the error away: it changes h
 * by h xi / (2 (1 - h)) times its error.  Else h is searched for, and then D exp(-xi) is at least 1 / (8 xi),
 * so that w may be a difference.  certain: h is known to be 0.
 */
static best find_best(lmx_dd g, lmx_dd K, double D, int certain)
{
    const lmx_dd square = w_add(w_mul(g, g), K), one = dd_of(1);
    const double first = 0.5 * sqrt(square.hi);
    double h = 0;
    if (!certain) {
        const double least = dd_value(lmx_log_dd(D - 1, 0, 0));
        h = first > least + 1 ? share_of(exp_minus(first), D) : 1;
        if (!(h * (1 + first) < 0.25)) {
            const lmx_dd xi2 = polished(2 * search_xi(0.25 * square.hi, D), square, D);
            return (best){ xi2, w_sub(g, xi2) };
        }
        for (int i = 0; i < 60; i++) {
            const double last = h;
            h = share_of(exp_minus(first / sqrt(1 - h)), D);
            if (h >= last * (1 - 0x1p-50) && h <= last * (1 + 0x1p-50))
                break;
        }
    }
    const lmx_dd left = w_sub(one, dd_of(h));
    const lmx_dd xi2 = w_sqrt(w_div(square, left));
    if (!(g.hi > 0))
        return (best){ xi2, w_sub(g, xi2) };
    if (!certain) /* its relative error is that of exp(-xi), which the last digit of xi matters to */
        h = share_of(exp_of((lmx_dd){ -0.5 * xi2.hi, -0.5 * xi2.lo }), D);
    const lmx_dd part = w_div(w_add(K, w_mul(dd_of(h), w_mul(g, g))), left);
    return (best){ xi2, dd_neg(w_div(part, w_add(g, xi2))) };
}

/* The bound, and what its gradient consists of. */
typedef struct {
    double value, slope, beta; /* slope: t / (2 xi) */
} bound;

static bound bound_at(best at, lmx_dd K, double D, int certain)
{
    const lmx_dd one = dd_of(1), xi = { 0.5 * at.xi2.hi, 0.5 * at.xi2.lo };
    lmx_dd e = dd_of(0), logs = e, delta = e, t = one;
    if (!certain) {
        const lmx_exp2part part = lmx_exp_split(-xi.hi, -xi.lo);
        e = (lmx_dd){ lmx_scale2_gradual(part.m, part.n), lmx_scale2_gradual(part.m_lo, part.n) };
        const lmx_dd more = w_add(one, e);
        delta = w_div((lmx_dd){ 2 * e.hi, 2 * e.lo }, more);
        t = e.hi < 0.25 ? w_div(w_sub(one, e), more) : dd_of(-expm1_of(dd_neg(xi)) / more.hi);
        logs = part.n < -1000 ? dd_of(lmx_scale2_gradual(D * part.m, part.n))
                              : w_mul(dd_of(D), log1p_of(e));
    }
    const lmx_dd twice = { 2 * at.xi2.hi, 2 * at.xi2.lo };
    /* t is xi / 2 where that is small */
    const lmx_dd lambda = xi.hi < 0x1p-60 ? dd_of(0.125) : w_div(t, twice);
    const lmx_dd spread = w_mul(lambda, w_add(K, w_mul(at.w, at.w)));
    const lmx_dd near = w_sub(spread, w_mul(delta, at.w));
    const lmx_dd apart = w_mul(delta, dd_of(D - 2));
    const lmx_dd less = w_div(w_mul(apart, apart), w_mul(dd_of(16 * D), lambda));
    const lmx_dd sum = w_add(w_sub(logs, less), w_sub(near, w_div(near, dd_of(D))));
    const double slope = 2 * lambda.hi;
    return (bound){ dd_value(sum), slope, fma(-slope, at.w.hi, delta.hi) };
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const moments m = all_moments(chunks, n); /* of the other logits */
    const double D = spec->cols, x = row->x;
    if (sizeof(real) == 8 && row->e == 0 && row->pivot == 0 &&
        !(m.q.hi < 0x1p+900 && x < 0x1p+450 && x > -0x1p+450)) {
        row->e = 600;
        return LMX_LOSS_AGAIN;
    }
    if (!lmx_finite(m.q.hi) || !lmx_finite(x)) {
        row->bad = 1;
        return LMX_LOSS_DONE;
    }
    const double down = lmx_scale2(1, -row->e), up = lmx_scale2(1, row->e);
    double unit = up;                                                   /* of g and xi, below */
    lmx_dd g = dd_of(0), K = g, mu = lmx_two_sum(row->pivot, x * down); /* in units of 2^e */
    bound b = { 0, 0.25, 0 };
    if (D > 1) {
        const lmx_dd others = dd_of(D - 1);
        const lmx_dd mean = w_div(m.s, others); /* relative to the pivot */
        const lmx_dd squares = w_sub(m.q, w_mul(mean, m.s));
        /* Logits that cancelled are measured again from the mean: from there differences are exact. */
        const double limit = FLOAT_LOSS ? 0x1p-20 : 0x1p-40;
        if (D > 2 && row->pivot == 0 && squares.hi < limit * m.q.hi) {
            row->pivot = (double)(real)mean.hi;
            if (row->pivot != 0)
                return LMX_LOSS_AGAIN;
        }
        mu = lmx_dd_add(dd_of(row->pivot), mean);
        g = lmx_dd_add(lmx_two_sum(x * down, -row->pivot), dd_neg(mean));
        if (D > 2 && squares.hi > 0)
            K = w_div(w_mul(squares, dd_of(D)), others);
        const int far = row->e != 0 && fma(g.hi, g.hi, K.hi) > 0x1p-1000;
        unit = far ? 1 : up;
        g = (lmx_dd){ g.hi * unit, g.lo * unit };
        K = (lmx_dd){ K.hi * unit * unit, K.lo * unit * unit };
        b = bound_at(find_best(g, K, D, far || D == 2), K, D, far);
        b.value *= far ? up : 1;
    }
    row->loss = b.value;
    row->pre = down;
    row->center = (double)(real)mu.hi;
    row->center_lo = (mu.hi - row->center) + mu.lo;
    loss_factor(row, b.slope * unit * row->scale, 0);
    row->b = b.beta / D * row->scale;
    row->at_target = (1 / D - 1) * b.beta * row->scale;
    return LMX_LOSS_DONE;
}

LMX_LOSS_KERNEL(bouchard_loss, LMX_K(measure_moments), finish, LMX_K(linear_gradient), 1)
