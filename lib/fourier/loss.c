/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losses of the Fourier head.  Each looks at single points of a row, so that a row costs O(N).
 *
 * Cross-entropy of m bins, the target t, P = |A(x[t])|^2 / (m sum |b|^2) with the folded row b
 * (rows.h):
 *
 *     -log((P + eps) / (1 + m eps)) = log(1 + (1 - P + (m - 1) eps) / (P + eps)),
 *     gradient by b[n]: 2 (P b[n] - A(x[t]) e^(-i pi n x[t]) / m) / ((P + eps) sum |b|^2)
 *
 * -log p(x): the same with eps = 0 and another constant.
 *
 * The penalty of a row, gamma 4 pi^2 sum k^2 |c[k]|^2, needs the correlation c of its coefficients:
 * O(N log N).
 */
#include "fourier/head.h"
#include "kernels/loss_state.h"
#include "base/vectors.h"

#define FOUR_PI_SQUARED 0x1.3bd3cc9be45dep+5

/* log(v) for finite v > 0 */
static double log_of(double v)
{
    const int small = v < 0x1p-900;
    const lmx_dd l = small ? lmx_log_dd(v * 0x1p+200, 0, -200) : lmx_log_dd(v, 0, 0);
    return l.hi + l.lo;
}

/*
 * The penalty of a row.  Its gradient is added to t once for each point, as every point's loss has
 * the penalty.
 */
static double penalty(const lmx_fourier_loss_job *k, lmx_fourier_workspace *ws)
{
    const double unit =
        k->normalized ? 1 / (ws->power * ws->power) : lmx_times_power2(1, 4 * ws->e);
    const double rate = FOUR_PI_SQUARED * k->gamma * unit;
    const double scale = k->scale * (double)k->points;
    lmx_fourier_correlate(&k->job.f, ws);
    double sum = 0;
    for (size_t j = 1; j < ws->a.n; j++) {
        const double re = (double)j * ws->c.re[j], im = (double)j * ws->c.im[j];
        sum += re * re + im * im;
    }
    const double value = sum == 0 ? 0 : rate * sum;
    if (k->grad == NULL || value == 0)
        return value;
    ws->g.re[0] = k->normalized ? -2 * value / ws->power * scale : 0;
    ws->g.im[0] = 0;
    for (size_t j = 1; j < ws->a.n; j++) {
        const double each = 2 * rate * ((double)j * (double)j) * scale;
        ws->g.re[j] = each * ws->c.re[j];
        ws->g.im[j] = each * ws->c.im[j];
    }
    lmx_fourier_correlate_vjp(&k->job.f, ws);
    return value;
}

/* Adds to t the gradient u[n] = of_row folded[n] + of_value value conj(w^n), unfolded. */
static void bin_gradient(const lmx_fourier_loss_job *k, lmx_fourier_workspace *ws, double of_row,
                         double of_value, const double value[2])
{
    const double part[2] = { of_value * value[0], of_value * value[1] };
    for (size_t i = 0; i < ws->u.n; i++) {
        ws->u.re[i] = of_row * ws->folded.re[i];
        ws->u.im[i] = of_row * ws->folded.im[i];
    }
    k->job.f.kernel->spread(part, &ws->powers, &ws->u);
    lmx_fourier_unfold(ws, k->job.f.bins);
}

static double bin_loss(const lmx_fourier_loss_job *k, lmx_fourier_workspace *ws, size_t target)
{
    const lmx_fourier *const f = &k->job.f;
    const double m = (double)f->bins;
    double p = 1 / m, value[2] = { 0, 0 };
    const int known = ws->kind == LMX_FOURIER_PLAIN && ws->folded_power > 0;
    if (known) {
        lmx_fourier_powers_at_centre(f, ws, target, ws->folded.n);
        f->kernel->sum(&ws->folded, &ws->powers, value);
        p = (value[0] * value[0] + value[1] * value[1]) / (m * ws->folded_power);
        p = p < 1 ? p : 1;
    }
    const double sum = p + k->eps, more = ((1 - p) + (m - 1) * k->eps) / sum;
    if (known && k->grad != NULL && sum > 0) {
        const double rate = 2 * k->scale / (sum * ws->folded_power);
        bin_gradient(k, ws, rate * p, -rate / m, value);
    }
    if (!(sum > 0) || !lmx_finite(more))
        return (double)INFINITY;
    const lmx_dd l = lmx_log1p(more);
    return l.hi + l.lo;
}

/*
 * -log p(x).  The part of the gradient that depends on x is added to t; point_losses() adds the
 * part in a[n].
 */
static double point_loss(const lmx_fourier_loss_job *k, lmx_fourier_workspace *ws, double x)
{
    const lmx_fourier *const f = &k->job.f;
    if (ws->kind != LMX_FOURIER_PLAIN)
        return log_of(2);
    double value[2];
    lmx_fourier_powers_at(f, ws, x, f->terms);
    f->kernel->sum(&ws->a, &ws->powers, value);
    const double square = value[0] * value[0] + value[1] * value[1];
    if (!(square > 0))
        return (double)INFINITY;
    const double rate = -2 * k->scale / square;
    const double part[2] = { rate * value[0], rate * value[1] };
    if (k->grad != NULL)
        f->kernel->spread(part, &ws->powers, &ws->t);
    return 0 - log_of(square / (2 * ws->power)); /* not -0 */
}

/* The losses of a row's points, each with the penalty. */
static void point_losses(const lmx_fourier_loss_job *k, size_t r, lmx_fourier_workspace *ws,
                         double penalty_of_row)
{
    const double *const x = k->x + (ptrdiff_t)r * k->x_row;
    double *const loss = k->loss + r * k->points;
    for (size_t i = 0; i < k->points; i++)
        loss[i] = penalty_of_row + point_loss(k, ws, x[i]);
    if (k->grad == NULL || ws->kind != LMX_FOURIER_PLAIN)
        return;
    const double rate = 2 * k->scale * (double)k->points / ws->power;
    lmx_axpy(rate, ws->a.re, ws->a.n, ws->t.re);
    lmx_axpy(rate, ws->a.im, ws->a.n, ws->t.im);
}

static void one_row(const lmx_fourier_loss_job *k, size_t r, lmx_fourier_workspace *ws)
{
    const lmx_fourier *const f = &k->job.f;
    char *const grad = k->grad == NULL
                           ? NULL
                           : k->grad + (ptrdiff_t)r * k->grad_row * (ptrdiff_t)f->table->elem_size;
    double *const loss = k->loss + r * k->points;
    const int ignored = k->target != NULL && k->target[r] == LMX_NO_TARGET;
    if (!ignored)
        lmx_fourier_load_row(f, r, ws);
    if (ignored || ws->kind == LMX_FOURIER_BAD) {
        const double value = ignored ? 0 : lmx_qnan();
        for (size_t i = 0; i < k->points; i++)
            loss[i] = value;
        if (grad != NULL)
            lmx_fourier_fill(f, grad, 2 * f->terms, value);
        return;
    }
    lmx_series_clear(&ws->t);
    double own = 0;
    if (k->gamma > 0 && ws->kind == LMX_FOURIER_PLAIN)
        own = penalty(k, ws);
    if (k->target == NULL)
        point_losses(k, r, ws, own);
    else
        loss[0] = own + bin_loss(k, ws, k->target[r]);
    if (grad != NULL)
        lmx_fourier_put_gradient(f, ws, grad);
}

static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_fourier_loss_job *const k = job;
    lmx_fourier_workspace ws = lmx_fourier_workspace_of(&k->job, worker);
    for (size_t r = begin; r < end; r++)
        one_row(k, r, &ws);
}

void lmx_fourier_loss_run(lmx_fourier_loss_job *k)
{
    lmx_parallel_for(k->job.f.pool, k->job.f.rows, LMX_FOURIER_GRAIN, task, k);
}
