/* SPDX-License-Identifier: Apache-2.0 */
/*
 * W <- decay W - eta G^T H, made of the factors (G the m x D gradients by the logits, N = diag(gv)):
 *
 *     T = 1 - eta' H^T N H,  eta' = eta / decay
 *     U <- U T,  omega <- omega - eta' H^T (N (H omega - mean) + gs),  rows of V <- row - eta' sum of grad * p_new
 *     gram <- gram - eta' (C^T H + H^T C) + eta'^2 H^T G_c G_c^T H,  C = G_c W
 *
 * with p_new = H U^-1 after the step and G_c the centred gradients; then all of it times decay.  For m <= d the inverse
 * of T comes from that of the m x m matrix S = 1 - eta' H H^T N (Woodbury), for m > d from T itself, and G_c G_c^T is
 * then never formed, so that nothing has m^2 elements.
 *
 * The new factors stand beside the old ones until all is known to be finite.
 */
#include "spherical/spherical.h"

#include <math.h>
#include <string.h>

#include "base/vectors.h"

enum { U, U_IT, GRAM }; /* of next */

/* to (m x d) = rows of from times f[j] */
static void weigh_rows(const lmx_spherical_work *w, const double *from, const double *f, double *to)
{
    for (size_t j = 0; j < w->m; j++)
        for (size_t k = 0; k < w->d; k++)
            to[j * w->d + k] = f[j] * from[j * w->d + k];
}

static void transpose(const double *a, size_t n, double *to)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            to[j * n + i] = a[i * n + j];
}

/* gram + f (a + a^T), in squares that fit in a cache. */
static void add_symmetric(const double *gram, double f, const double *a, size_t d, double *to)
{
    enum { SIDE = 32 };
    for (size_t i = 0; i < d; i += SIDE)
        for (size_t k = 0; k < d; k += SIDE)
            for (size_t r = i; r < d && r < i + SIDE; r++)
                for (size_t c = k; c < d && c < k + SIDE; c++)
                    to[r * d + c] = gram[r * d + c] + f * (a[r * d + c] + a[c * d + r]);
}

/* ---------------------------------------------------- few rows: m <= d --- */

/* row_pair[0] = G_c G_c^T; the sums over classes pair the rows that have a target in common. */
static void pair_gradients(const lmx_spherical *l, const lmx_spherical_work *w)
{
    const size_t m = w->m, d = w->d;
    double *const a = w->row_pair[0], *const b = w->row_pair[1];
    lmx_multiply(&w->on, m, m, d, w->h, d, 1, w->centred, 1, d, a, m, 0);
    lmx_multiply(&w->on, m, m, d, w->z, d, 1, w->h, 1, d, b, m, 0);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++)
            a[i * m + j] = w->gv[i] * a[i * m + j] + w->gv[j] * b[i * m + j] -
                           w->at_targets[i] * (w->at_targets[j] / (double)l->classes);
    for (size_t i = 0; i < w->targets; i = lmx_spherical_class_end(w, i))
        for (size_t k = i; k < lmx_spherical_class_end(w, i); k++)
            for (size_t q = i; q < lmx_spherical_class_end(w, i); q++) {
                const lmx_spherical_target *const s = &w->target[k], *const t = &w->target[q];
                a[s->row * m + t->row] += s->grad * t->grad;
            }
}

static int factors_by_rows(lmx_spherical *l, lmx_spherical_work *w, double eta)
{
    const size_t m = w->m, d = w->d;
    double *const s = w->row_pair[2], *const weighted = w->centred;
    pair_gradients(l, w);
    lmx_scale(-0.5 * eta, m * m, w->row_pair[0]);
    lmx_multiply(&w->on, m, d, m, w->row_pair[0], m, 1, w->h, d, 1, w->centred, d, 1);
    lmx_multiply(&w->on, d, d, m, w->centred, 1, d, w->h, d, 1, w->pair[0], d, 0);
    add_symmetric(l->gram, -eta, w->pair[0], d, l->next[GRAM]);

    lmx_multiply(&w->on, m, m, d, w->h, d, 1, w->h, 1, d, s, m, 0);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++)
            s[i * m + j] = (i == j ? 1 : 0) - eta * s[i * m + j] * w->gv[j];
    lmx_multiply(&w->on, m, d, d, w->h, d, 1, l->u_it, 1, d, w->p, d, 0);
    const double before = lmx_sum_squares(w->p, m * d);
    if (!lmx_lu(&w->on, m, s, w->swap, w->panel))
        return 0;
    lmx_lu_solve(&w->on, m, s, w->swap, d, w->p, w->panel);
    if (!(lmx_sum_squares(w->p, m * d) <= before * LMX_SPHERICAL_GROWTH * LMX_SPHERICAL_GROWTH))
        return 0;

    double *const rate = w->rate;
    for (size_t j = 0; j < m; j++)
        rate[j] = -eta * w->gv[j];
    weigh_rows(w, w->u_h, rate, weighted);
    lmx_multiply(&w->on, d, d, m, weighted, 1, d, w->h, d, 1, l->next[U], d, 1);
    for (size_t j = 0; j < m; j++)
        rate[j] = -rate[j];
    weigh_rows(w, w->p, rate, weighted);
    lmx_multiply(&w->on, d, d, m, weighted, 1, d, w->h, d, 1, l->next[U_IT], d, 1);
    return 1;
}

/* --------------------------------------------------- many rows: m > d --- */

static int factors_by_inputs(lmx_spherical *l, lmx_spherical_work *w, double eta)
{
    const size_t m = w->m, d = w->d;
    double *const k = w->pair[0], *const first = w->pair[1], *const second = w->pair[2];
    double *const t = w->pair[3], *const weighted = w->centred;
    /* k = H^T N H */
    weigh_rows(w, w->h, w->gv, weighted);
    lmx_multiply(&w->on, d, d, m, weighted, 1, d, w->h, d, 1, k, d, 0);

    /* C^T H = gram k + z^T H, and of eta' half of what eta'^2 has but for the pairs of targets: k (gram k / 2 + z^T H) */
    lmx_multiply(&w->on, d, d, d, l->gram, d, 1, k, d, 1, first, d, 0);
    memcpy(second, first, d * d * sizeof *second);
    lmx_scale(0.5, d * d, second);
    lmx_multiply(&w->on, d, d, m, w->z, 1, d, w->h, d, 1, first, d, 1);
    lmx_multiply(&w->on, d, d, m, w->z, 1, d, w->h, d, 1, second, d, 1);
    memcpy(t, k, d * d * sizeof *t);
    lmx_scale(-eta, d * d, t);
    lmx_multiply(&w->on, d, d, d, t, d, 1, second, d, 1, first, d, 1);
    add_symmetric(l->gram, -eta, first, d, l->next[GRAM]);

    /* The pairs of targets: of each class the sum of its rows of H times their gradients. */
    double *const sums = w->touched, *const all = w->column;
    size_t classes = 0;
    memset(all, 0, d * sizeof *all);
    for (size_t i = 0; i < w->targets; i = lmx_spherical_class_end(w, i), classes++) {
        double *const sum = sums + classes * d;
        memset(sum, 0, d * sizeof *sum);
        for (size_t q = i; q < lmx_spherical_class_end(w, i); q++)
            lmx_axpy(eta * w->target[q].grad, w->h + w->target[q].row * d, d, sum);
        lmx_axpy(1, sum, d, all);
    }
    lmx_multiply(&w->on, d, d, classes, sums, 1, d, sums, d, 1, l->next[GRAM], d, 1);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            l->next[GRAM][i * d + j] -= all[i] * all[j] / (double)l->classes;

    /* U T, and (U T)^-1 = T^-1 U^-1 */
    lmx_multiply(&w->on, d, d, d, l->u, d, 1, t, d, 1, l->next[U], d, 1);
    for (size_t i = 0; i < d; i++)
        t[i * d + i] += 1;
    transpose(l->u_it, d, first);
    if (!lmx_lu(&w->on, d, t, w->swap, w->panel))
        return 0;
    lmx_lu_solve(&w->on, d, t, w->swap, d, first, w->panel);
    transpose(first, d, l->next[U_IT]);
    lmx_multiply(&w->on, m, d, d, w->h, d, 1, first, d, 1, w->p, d, 0);
    return 1;
}

/* ------------------------------------------------------------- the step --- */

/* Whether rounding would show in W: U grows or spreads too much, or a change of a row of V is too much longer than that
 * of W that it makes, measured by U. */
static int goes_too_far(const lmx_spherical *l, const lmx_spherical_work *w)
{
    const size_t d = w->d;
    const double most = LMX_SPHERICAL_GROWTH * LMX_SPHERICAL_GROWTH;
    const double of_u = w->squares[0] / (double)d;
    if (!(lmx_spherical_spread(w->squares, d) <= LMX_SPHERICAL_SPREAD + 4 * l->watched) ||
        !(w->squares[0] <= most * lmx_sum_squares(l->u, d * d)))
        return 1;
    for (size_t j = 0; j < w->m; j++) {
        const double *const p = w->p + j * d, *const h = w->h + j * d;
        if (!(lmx_dot(p, p, d) * of_u <= most * lmx_dot(h, h, d)))
            return 1;
    }
    return 0;
}

/* The touched rows of V, and whether they can be kept. */
static int touch_rows(const lmx_spherical *l, lmx_spherical_work *w, double eta)
{
    const size_t d = w->d;
    size_t count = 0;
    for (size_t i = 0; i < w->targets; i = lmx_spherical_class_end(w, i), count++) {
        double *const row = w->touched + count * d;
        lmx_spherical_row(l, w->target[i].class, row);
        for (size_t k = i; k < lmx_spherical_class_end(w, i); k++)
            lmx_axpy(-eta * w->target[k].grad, w->p + w->target[k].row * d, d, row);
    }
    return lmx_spherical_holds(l, w->touched, count * d);
}

static void keep_rows(lmx_spherical *l, const lmx_spherical_work *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->targets; i = lmx_spherical_class_end(w, i), count++)
        lmx_spherical_put_row(l, w->target[i].class, w->touched + count * w->d);
}

/* sum and omega after the step, in column. */
static void step_vectors(const lmx_spherical *l, lmx_spherical_work *w, double eta)
{
    const size_t d = w->d;
    double *const sum = w->column, *const omega = sum + d;
    memcpy(sum, l->sum, d * sizeof *sum);
    memcpy(omega, l->omega, d * sizeof *omega);
    for (size_t j = 0; j < w->m; j++) {
        const double centred = w->omega_h[j] - w->total[j] / (double)l->classes;
        lmx_axpy(-eta * w->g1[j], w->h + j * d, d, sum);
        lmx_axpy(-eta * (w->gv[j] * centred + w->gs[j]), w->h + j * d, d, omega);
    }
    lmx_scale(w->decay, 2 * d, sum);
}

static int all_finite(const lmx_spherical_work *w)
{
    const size_t n = w->m * w->d;
    double sum = lmx_sum_squares(w->h, n) + lmx_sum_squares(w->dhidden, n);
    for (size_t j = 0; j < w->m; j++)
        sum += fabs(w->gv[j]) + fabs(w->gs[j]) + fabs(w->g1[j]) + fabs(w->loss[j]);
    for (size_t i = 0; i < w->targets; i++)
        sum += fabs(w->target[i].grad);
    return lmx_finite(sum);
}

static void exchange(double **a, double **b)
{
    double *const t = *a;
    *a = *b;
    *b = t;
}

static double trace(const double *a, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        sum += a[i * d + i];
    return sum;
}

static lmx_status dense_step(lmx_spherical *l, const lmx_spherical_work *w)
{
    if (!lmx_spherical_refresh(l, w, 1))
        return LMX_ERR_NUMERIC;
    l->count.dense++;
    l->count.steps++;
    return LMX_OK;
}

lmx_status lmx_spherical_update(lmx_spherical *l, lmx_spherical_work *w)
{
    const size_t d = w->d, bytes = d * d * sizeof(double);
    const double eta = w->eta / w->decay, decay = w->decay;
    if (!all_finite(w))
        return LMX_ERR_NUMERIC;
    if (!lmx_finite(eta) || !lmx_finite(1 / decay))
        return dense_step(l, w);
    memcpy(l->next[U], l->u, bytes);
    memcpy(l->next[U_IT], l->u_it, bytes);
    if (w->m == 0)
        memcpy(l->next[GRAM], l->gram, bytes);
    else if (!(w->m <= d ? factors_by_rows(l, w, eta) : factors_by_inputs(l, w, eta)))
        return dense_step(l, w);
    w->squares[0] = lmx_sum_squares(l->next[U], d * d);
    w->squares[1] = lmx_sum_squares(l->next[U_IT], d * d);
    if (goes_too_far(l, w))
        return dense_step(l, w);
    step_vectors(l, w, eta);
    if (decay != 1) {
        lmx_scale(decay, d * d, l->next[U]);
        lmx_scale(1 / decay, d * d, l->next[U_IT]);
        lmx_scale(decay * decay, d * d, l->next[GRAM]);
        w->squares[0] *= decay * decay;
        w->squares[1] /= decay * decay;
    }
    const double sum = w->squares[0] + w->squares[1] + lmx_sum_squares(l->next[GRAM], d * d) +
                       lmx_sum_squares(w->column, 2 * d);
    if (!lmx_finite(sum) || !touch_rows(l, w, eta))
        return LMX_ERR_NUMERIC;

    exchange(&l->u, &l->next[U]);
    exchange(&l->u_it, &l->next[U_IT]);
    exchange(&l->gram, &l->next[GRAM]);
    memcpy(l->sum, w->column, d * sizeof *l->sum);
    memcpy(l->omega, w->column + d, d * sizeof *l->omega);
    keep_rows(l, w);
    const double now = trace(l->gram, d), then = l->peak * (decay * decay);
    l->peak = now > then ? now : then;
    l->count.steps++;
    lmx_spherical_mend(l, w);
    return LMX_OK;
}
