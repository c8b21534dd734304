/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losses of a row from v = sum (o - mean)^2, the sum s of its logits, and the logit a of its target; D classes,
 * mean = s / D:
 *
 *     z_loss                  softplus(A (B - z)) / A,  z = (a - mean) / std, std^2 = v / D
 *     spherical_softmax_loss  log(T / (a^2 + eps)),     T = v + s^2 / D + D eps
 *     taylor_softmax_loss     log(T / f(a)),            T = D / 2 + (s + D)^2 / (2 D) + v / 2, f(a) = ((a + 1)^2 + 1) / 2
 *     one_hot_mse_loss        v + (s - c)^2 / D + sum y (y - 2 (a - c / D)) over its targets, y their values times 1 - c,
 *                             for label smoothing c
 *
 * and their derivatives by v (half of gv), s at a given v (gs), and a (the target's grad).  Every term of T is
 * positive.
 */
#include "spherical/spherical.h"

#include "kernels/row_state.h"

/* log(1 + exp(u)) */
static double softplus(double u)
{
    if (!lmx_finite(u))
        return u < 0 ? 0 : u;
    const lmx_dd l = lmx_log1p(lmx_exp_neg(u < 0 ? u : -u, 0));
    return (u > 0 ? u : 0) + (l.hi + l.lo);
}

/* 1 / (1 + exp(-u)) */
static double sigmoid(double u)
{
    if (u != u)
        return u;
    const double e = lmx_exp_neg(u < 0 ? u : -u, 0);
    return u < 0 ? e / (1 + e) : 1 / (1 + e);
}

/* x = m 2^n, m in [sqrt(1/2), sqrt(2)), for a positive finite x */
static double split(double x, int64_t *n)
{
    const int small = x < 0x1p-1000; /* perhaps subnormal */
    const double m = lmx_split_sqrt(small ? x * 0x1p+200 : x, n);
    *n -= small ? 200 : 0;
    return m;
}

/* log(a / b), a and b not negative */
static double log_ratio(double a, double b)
{
    if (a > 0 && b > 0 && lmx_finite(a) && lmx_finite(b)) {
        int64_t na, nb;
        const double ma = split(a, &na), mb = split(b, &nb);
        const lmx_dd l = lmx_log_dd(ma / mb, 0, na - nb);
        return l.hi + l.lo;
    }
    return b == 0 && a >= 0 ? (double)INFINITY : lmx_finite(b) ? a : lmx_qnan();
}

typedef struct {
    double loss, gv, gs, at_target;
} terms;

static terms z_terms(const double *p, double v, double s, double a, double D)
{
    const double mean = s / D, variance = v / D;
    if (variance <= 0x1p-40 * (variance + mean * mean))
        return (terms){ softplus(p[0] * p[1]) / p[0], 0, 0, 0 };
    const double std = sqrt(variance), z = (a - mean) / std, u = p[0] * (p[1] - z);
    const double r = sigmoid(u);
    return (terms){ softplus(u) / p[0], r * z / v, r / (D * std), -r / std };
}

static terms spherical_terms(const double *p, double v, double s, double a, double D)
{
    const double mean = s / D, own = a * a + p[0], T = v + s * mean + D * p[0];
    const double rate = T > 0 ? 2 / T : T == 0 ? 0 : T;
    return (terms){ log_ratio(T, own), rate, rate * mean, own == 0 ? 0 : -2 * a / own };
}

static terms taylor_terms(double v, double s, double a, double D)
{
    const double all = s + D, b = a + 1, own = 0.5 * (b * b + 1);
    const double T = 0.5 * (D + all * (all / D) + v);
    return (terms){ log_ratio(T, own), 1 / T, (1 + s / D) / T, -b / own };
}

/* Without the targets' own terms. */
static terms mse_terms(const double *p, double v, double s, double D)
{
    const double above = s - p[0], mean = above / D;
    return (terms){ v + above * mean, 2, 2 * mean, 0 };
}

static void add_mse_target(const double *p, lmx_spherical_work *w, lmx_spherical_target *t,
                           double D)
{
    const double y = (1 - p[0]) * t->value, a = t->logit - p[0] / D;
    w->loss[t->row] += y * (y - 2 * a);
    t->grad = -2 * y / (double)w->m;
}

void lmx_spherical_losses(const lmx_spherical *l, lmx_spherical_work *w)
{
    const double D = (double)l->classes, count = (double)w->m;
    const int squared = l->loss == LMX_LOSS_one_hot_mse_loss;
    for (size_t j = 0; j < w->m; j++) {
        const double v = w->square[j], s = w->total[j], a = w->at_targets[j];
        terms t;
        switch (l->loss) {
        case LMX_LOSS_z_loss:
            t = z_terms(l->parameter, v, s, a, D);
            break;
        case LMX_LOSS_spherical_softmax_loss:
            t = spherical_terms(l->parameter, v, s, a, D);
            break;
        case LMX_LOSS_taylor_softmax_loss:
            t = taylor_terms(v, s, a, D);
            break;
        default:
            t = mse_terms(l->parameter, v, s, D);
            break;
        }
        w->loss[j] = t.loss;
        w->gv[j] = t.gv / count;
        w->gs[j] = t.gs / count;
        w->at_targets[j] = t.at_target / count;
    }
    for (size_t i = 0; i < w->targets; i++) {
        lmx_spherical_target *const t = &w->target[i];
        if (squared)
            add_mse_target(l->parameter, w, t, D);
        else
            t->grad = w->at_targets[t->row];
    }
    double sum = 0;
    for (size_t j = 0; j < w->m; j++)
        sum += w->loss[j] < 0 ? 0 : w->loss[j]; /* rounding, where it is nearly 0 */
    w->mean_loss = w->m > 0 ? sum / count : lmx_qnan();
}
