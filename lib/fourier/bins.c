/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All bins of a row: the density at their centres or their masses, and the gradients through them.
 *
 * Centres, with the folded row b (rows.h) and S = sum |b|^2:
 *     q[j] = |A(x[j])|^2 / (m S),
 *     gradient by b[n] from g[j] = dL/dq[j]:
 *         2 / (m S) sum_j g[j] A(x[j]) e^(-i pi n x[j]) - 2 b[n] / S sum_j g[j] q[j]
 *
 * Masses, from the correlation c:
 *     q[j] = 2 / m (1/2 + Re sum_k c[k] / c[0] sinc(k / m) e^(i pi k x[j])),
 *     sinc(u) = sin(pi u) / (pi u)
 */
#include "fourier/head.h"

#include <float.h>

#define PI 0x1.921fb54442d18p+1

void lmx_fourier_sincs(const lmx_fourier *f, double *sinc)
{
    const double m = (double)f->bins;
    double *const sin = sinc, *const index = sinc + f->terms;
    lmx_fourier_angles(0, 1, 0, f->bins, f->terms, index);
    f->kernel->roots(index, f->terms, m, index, sin);
    sinc[0] = 1;
    for (size_t n = 1; n < f->terms; n++)
        sinc[n] = sin[n] / (PI * ((double)n / m));
}

/* -------------------------------------------------------------- centres --- */

/*
 * Computes q into ws->values and A into ws->bins.  Returns 0 if |A| is 0 at every centre: q is then
 * uniform.
 */
static int centres(const lmx_fourier_bin_job *k, lmx_fourier_workspace *ws)
{
    const size_t m = k->job.f.bins;
    if (ws->kind == LMX_FOURIER_ZERO || !(ws->folded_power > 0)) {
        for (size_t j = 0; j < m; j++)
            ws->values[j] = 1 / (double)m;
        return 0;
    }
    lmx_fourier_to_bins(&k->transform, &ws->folded, &ws->bins, ws->scratch);
    const double total = (double)m * ws->folded_power;
    for (size_t j = 0; j < m; j++)
        ws->values[j] = (ws->bins.re[j] * ws->bins.re[j] + ws->bins.im[j] * ws->bins.im[j]) / total;
    return 1;
}

static void centres_gradient(const lmx_fourier_bin_job *k, lmx_fourier_workspace *ws,
                             const double *g)
{
    const size_t m = k->job.f.bins;
    const double rate = 2 / ((double)m * ws->folded_power);
    double mean = 0;
    for (size_t j = 0; j < m; j++) {
        const double sum = ws->values[j] + k->eps;
        /* without eps, log 0 has no gradient: it is taken as 0 */
        const double own = !k->logs ? g[j] : sum > 0 ? g[j] / sum : 0;
        mean += own * ws->values[j];
        ws->bins.re[j] *= own * rate;
        ws->bins.im[j] *= own * rate;
    }
    const double by_row = -2 * mean / ws->folded_power;
    for (size_t n = 0; n < ws->u.n; n++) {
        ws->u.re[n] = by_row * ws->folded.re[n];
        ws->u.im[n] = by_row * ws->folded.im[n];
    }
    lmx_fourier_from_bins(&k->transform, &ws->bins, &ws->u, ws->scratch);
    lmx_fourier_unfold(ws, m);
}

/* --------------------------------------------------------------- masses --- */

static void masses(const lmx_fourier_bin_job *k, lmx_fourier_workspace *ws)
{
    const size_t m = k->job.f.bins;
    if (ws->kind == LMX_FOURIER_ZERO) {
        for (size_t j = 0; j < m; j++)
            ws->values[j] = 1 / (double)m;
        return;
    }
    lmx_fourier_correlate(&k->job.f, ws);
    lmx_series_clear(&ws->u);
    double sign = 1;
    for (size_t n = 0, l = 0; n < ws->c.n; n++, l++) {
        if (l == ws->u.n) {
            l = 0;
            sign = m % 2 == 0 ? -sign : sign;
        }
        const double part = n == 0 ? 0.5 : k->sinc[n] * sign;
        ws->u.re[l] += part * (ws->c.re[n] / ws->c.re[0]);
        ws->u.im[l] += part * (ws->c.im[n] / ws->c.re[0]);
    }
    lmx_fourier_to_bins(&k->transform, &ws->u, &ws->bins, ws->scratch);
    for (size_t j = 0; j < m; j++) {
        const double mass = 2 / (double)m * ws->bins.re[j];
        ws->values[j] = mass > 0 ? mass : 0; /* negative only by rounding */
    }
}

static void masses_gradient(const lmx_fourier_bin_job *k, lmx_fourier_workspace *ws,
                            const double *g)
{
    const size_t m = k->job.f.bins;
    for (size_t j = 0; j < m; j++) {
        ws->bins.re[j] = 2 / (double)m * g[j];
        ws->bins.im[j] = 0;
    }
    lmx_series_clear(&ws->u);
    lmx_fourier_from_bins(&k->transform, &ws->bins, &ws->u, ws->scratch);
    lmx_fourier_unfold(ws, m);
    lmx_fourier_correlate(&k->job.f, ws);
    double mean = 0;
    for (size_t n = 1; n < ws->c.n; n++) {
        const double part = k->sinc[n] / ws->c.re[0];
        ws->g.re[n] = part * ws->t.re[n];
        ws->g.im[n] = part * ws->t.im[n];
        mean += ws->g.re[n] * ws->c.re[n] + ws->g.im[n] * ws->c.im[n];
    }
    ws->g.re[0] = -mean / ws->c.re[0];
    ws->g.im[0] = 0;
    lmx_series_clear(&ws->t);
    lmx_fourier_correlate_vjp(&k->job.f, ws);
}

/* ----------------------------------------------------------------- rows --- */

static void take_logs(const lmx_fourier_bin_job *k, double *q)
{
    const size_t m = k->job.f.bins;
    for (size_t j = 0; j < m; j++)
        q[j] += k->eps;
    if (k->eps >= DBL_MIN) {
        k->job.f.log(q, m, 0, q);
        return;
    }
    for (size_t j = 0; j < m; j++) {
        const int small = q[j] < 0x1p-900;
        const lmx_dd l = small ? lmx_log_dd(q[j] * 0x1p+200, 0, -200) : lmx_log_dd(q[j], 0, 0);
        q[j] = q[j] > 0 ? l.hi + l.lo : -(double)INFINITY;
    }
}

static char *row_of(const lmx_fourier *f, char *data, size_t r, ptrdiff_t row)
{
    return data + (ptrdiff_t)r * row * (ptrdiff_t)f->table->elem_size;
}

static void forward(const lmx_fourier_bin_job *k, size_t r, lmx_fourier_workspace *ws)
{
    const lmx_fourier *const f = &k->job.f;
    char *const out = row_of(f, k->out, r, k->out_row);
    if (ws->kind == LMX_FOURIER_BAD) {
        lmx_fourier_fill(f, out, f->bins, lmx_qnan());
        return;
    }
    if (k->exact)
        masses(k, ws);
    else
        centres(k, ws);
    if (k->logs)
        take_logs(k, ws->values);
    lmx_fourier_put(f, ws, ws->values, f->bins, out);
}

static void backward(const lmx_fourier_bin_job *k, size_t r, lmx_fourier_workspace *ws)
{
    const lmx_fourier *const f = &k->job.f;
    char *const out = row_of(f, k->out, r, k->out_row);
    const char *const dy = k->dy + (ptrdiff_t)r * k->dy_row * (ptrdiff_t)f->table->elem_size;
    if (ws->kind != LMX_FOURIER_PLAIN) {
        lmx_fourier_fill(f, out, 2 * f->terms, ws->kind == LMX_FOURIER_BAD ? lmx_qnan() : 0);
        return;
    }
    double *const g = ws->dvalues;
    lmx_fourier_get(f, ws, dy, f->bins, g);
    lmx_series_clear(&ws->t);
    if (k->exact)
        masses_gradient(k, ws, g);
    else if (centres(k, ws))
        centres_gradient(k, ws, g);
    lmx_fourier_put_gradient(f, ws, out);
}

static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_fourier_bin_job *const k = job;
    lmx_fourier_workspace ws = lmx_fourier_workspace_of(&k->job, worker);
    for (size_t r = begin; r < end; r++) {
        lmx_fourier_load_row(&k->job.f, r, &ws);
        if (k->dy == NULL)
            forward(k, r, &ws);
        else
            backward(k, r, &ws);
    }
}

void lmx_fourier_bins_run(lmx_fourier_bin_job *k)
{
    lmx_parallel_for(k->job.f.pool, k->job.f.rows, 1, task, k);
}
