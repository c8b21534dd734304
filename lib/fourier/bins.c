/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All bins of a row: the density at their centres or their masses, and the gradients through them.
 *
 * Centres, with the folded row b (fourier_rows.h) and S = sum |b|^2:
 *     q[j] = |A(x[j])|^2 / (m S),
 *     gradient by b[n] from g[j] = dL/dq[j]:  2 / (m S) sum_j g[j] A(x[j]) e^(-i pi n x[j]) - 2 b[n] / S sum_j g[j] q[j]
 *
 * Masses, from the correlation c:
 *     q[j] = 2 / m (1/2 + Re sum_k c[k] / c[0] sinc(k / m) e^(i pi k x[j])),   sinc(u) = sin(pi u) / (pi u)
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

/* q into d->number, A into d->at; 0 if no bin has any mass, so that all have the same. */
static int centres(const lmx_fourier_bin_job *k, lmx_fourier_desk *d)
{
    const size_t m = k->job.f.bins;
    if (d->kind == LMX_FOURIER_ZERO || !(d->folded_power > 0)) {
        for (size_t j = 0; j < m; j++)
            d->number[j] = 1 / (double)m;
        return 0;
    }
    lmx_fourier_to_bins(&k->transform, &d->folded, &d->at, d->room);
    const double whole = (double)m * d->folded_power;
    for (size_t j = 0; j < m; j++)
        d->number[j] = (d->at.re[j] * d->at.re[j] + d->at.im[j] * d->at.im[j]) / whole;
    return 1;
}

static void centres_gradient(const lmx_fourier_bin_job *k, lmx_fourier_desk *d, const double *g)
{
    const size_t m = k->job.f.bins;
    const double rate = 2 / ((double)m * d->folded_power);
    double mean = 0;
    for (size_t j = 0; j < m; j++) {
        const double sum = d->number[j] + k->eps;
        /* without eps, the log of 0 has no gradient that could be given */
        const double own = !k->logs ? g[j] : sum > 0 ? g[j] / sum : 0;
        mean += own * d->number[j];
        d->at.re[j] *= own * rate;
        d->at.im[j] *= own * rate;
    }
    const double less = -2 * mean / d->folded_power;
    for (size_t n = 0; n < d->u.n; n++) {
        d->u.re[n] = less * d->folded.re[n];
        d->u.im[n] = less * d->folded.im[n];
    }
    lmx_fourier_from_bins(&k->transform, &d->at, &d->u, d->room);
    lmx_fourier_unfold(d, m);
}

/* --------------------------------------------------------------- masses --- */

static void masses(const lmx_fourier_bin_job *k, lmx_fourier_desk *d)
{
    const size_t m = k->job.f.bins;
    if (d->kind == LMX_FOURIER_ZERO) {
        for (size_t j = 0; j < m; j++)
            d->number[j] = 1 / (double)m;
        return;
    }
    lmx_fourier_correlate(&k->job.f, d);
    lmx_series_clear(&d->u);
    double sign = 1;
    for (size_t n = 0, l = 0; n < d->c.n; n++, l++) {
        if (l == d->u.n) {
            l = 0;
            sign = m % 2 == 0 ? -sign : sign;
        }
        const double part = n == 0 ? 0.5 : k->sinc[n] * sign;
        d->u.re[l] += part * (d->c.re[n] / d->c.re[0]);
        d->u.im[l] += part * (d->c.im[n] / d->c.re[0]);
    }
    lmx_fourier_to_bins(&k->transform, &d->u, &d->at, d->room);
    for (size_t j = 0; j < m; j++) {
        const double mass = 2 / (double)m * d->at.re[j];
        d->number[j] = mass > 0 ? mass : 0; /* less is rounding */
    }
}

static void masses_gradient(const lmx_fourier_bin_job *k, lmx_fourier_desk *d, const double *g)
{
    const size_t m = k->job.f.bins;
    for (size_t j = 0; j < m; j++) {
        d->at.re[j] = 2 / (double)m * g[j];
        d->at.im[j] = 0;
    }
    lmx_series_clear(&d->u);
    lmx_fourier_from_bins(&k->transform, &d->at, &d->u, d->room);
    lmx_fourier_unfold(d, m);
    lmx_fourier_correlate(&k->job.f, d);
    double mean = 0;
    for (size_t n = 1; n < d->c.n; n++) {
        const double part = k->sinc[n] / d->c.re[0];
        d->g.re[n] = part * d->t.re[n];
        d->g.im[n] = part * d->t.im[n];
        mean += d->g.re[n] * d->c.re[n] + d->g.im[n] * d->c.im[n];
    }
    d->g.re[0] = -mean / d->c.re[0];
    d->g.im[0] = 0;
    lmx_series_clear(&d->t);
    lmx_fourier_pull(&k->job.f, d);
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

static void forward(const lmx_fourier_bin_job *k, size_t r, lmx_fourier_desk *d)
{
    const lmx_fourier *const f = &k->job.f;
    char *const out = row_of(f, k->out, r, k->out_row);
    if (d->kind == LMX_FOURIER_BAD) {
        lmx_fourier_fill(f, out, f->bins, lmx_qnan());
        return;
    }
    if (k->exact)
        masses(k, d);
    else
        centres(k, d);
    if (k->logs)
        take_logs(k, d->number);
    lmx_fourier_put(f, d, d->number, f->bins, out);
}

static void backward(const lmx_fourier_bin_job *k, size_t r, lmx_fourier_desk *d)
{
    const lmx_fourier *const f = &k->job.f;
    char *const out = row_of(f, k->out, r, k->out_row);
    const char *const dy = k->dy + (ptrdiff_t)r * k->dy_row * (ptrdiff_t)f->table->elem_size;
    if (d->kind != LMX_FOURIER_PLAIN) {
        lmx_fourier_fill(f, out, 2 * f->terms, d->kind == LMX_FOURIER_BAD ? lmx_qnan() : 0);
        return;
    }
    double *const g = d->more;
    lmx_fourier_get(f, d, dy, f->bins, g);
    lmx_series_clear(&d->t);
    if (k->exact)
        masses_gradient(k, d, g);
    else if (centres(k, d))
        centres_gradient(k, d, g);
    lmx_fourier_put_gradient(f, d, out);
}

static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_fourier_bin_job *const k = job;
    lmx_fourier_desk d = lmx_fourier_desk_of(&k->job, worker);
    for (size_t r = begin; r < end; r++) {
        lmx_fourier_take(&k->job.f, r, &d);
        if (k->dy == NULL)
            forward(k, r, &d);
        else
            backward(k, r, &d);
    }
}

void lmx_fourier_bins_run(lmx_fourier_bin_job *k)
{
    lmx_parallel_for(k->job.f.pool, k->job.f.rows, 1, task, k);
}
