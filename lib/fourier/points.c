/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The density of a row at points, its integral and moments, from p = |A|^2 / (2 c[0]) and from the correlation c:
 *
 *     cdf(x)   = (x + 1) / 2 + Re (S(x) - S(-1)),   S(x) = sum_k c[k] / (i pi k c[0]) e^(i pi k x)
 *     E[x]     = sum_k 2 (-1)^k Im c[k] / (pi k c[0])
 *     E[x^2]   = 1/3 + sum_k 4 (-1)^k Re c[k] / (pi^2 k^2 c[0])
 *
 * S(-1) is computed as S(x) is, so that the cdf is exactly 0 and 1 at the ends.
 */
#include "fourier/head.h"

#define PI 0x1.921fb54442d18p+1

static double density(const lmx_fourier *f, lmx_fourier_desk *d, double x)
{
    double value[2];
    lmx_fourier_at(f, d, x, f->terms);
    f->kernel->sum(&d->a, &d->powers, value);
    return (value[0] * value[0] + value[1] * value[1]) / (2 * d->power);
}

/* g becomes the terms of S; the part that S(-1) has in the cdf */
static double integrate(const lmx_fourier *f, lmx_fourier_desk *d)
{
    lmx_fourier_correlate(f, d);
    d->g.re[0] = d->g.im[0] = 0;
    for (size_t k = 1; k < f->terms; k++) {
        const double rate = PI * (double)k * d->c.re[0];
        d->g.re[k] = d->c.im[k] / rate;
        d->g.im[k] = -d->c.re[k] / rate;
    }
    double value[2];
    lmx_fourier_at(f, d, -1, f->terms);
    f->kernel->sum(&d->g, &d->powers, value);
    return value[0];
}

/* Leaves the powers of x behind. */
static double cdf(const lmx_fourier *f, lmx_fourier_desk *d, double start, double x)
{
    double value[2];
    lmx_fourier_at(f, d, x, f->terms);
    f->kernel->sum(&d->g, &d->powers, value);
    const double y = 0.5 * (x + 1) + (value[0] - start);
    return y > 0 ? y < 1 ? y : 1 : 0;
}

/*
 * The x at which the cdf is y: Newton's steps inside a bracket; a step that leaves it, or is more than half of the
 * one before the last, gives way to bisection, so that it ends within about 120 steps, mostly 8.
 */
static double quantile(const lmx_fourier *f, lmx_fourier_desk *d, double start, double y)
{
    if (y <= 0 || y >= 1)
        return y <= 0 ? -1 : 1;
    double low = -1, high = 1, x = 2 * y - 1, step = 2, before = 2;
    for (int i = 0; i < 200; i++) {
        const double miss = cdf(f, d, start, x) - y;
        if (miss == 0)
            return x;
        if (miss < 0)
            low = x;
        else
            high = x;
        double value[2];
        f->kernel->sum(&d->a, &d->powers, value);
        const double p = (value[0] * value[0] + value[1] * value[1]) / (2 * d->power);
        double next = x - miss / p;
        const double size = fabs(next - x);
        if (!(next > low && next < high) || size > 0.5 * before)
            next = 0.5 * (low + high);
        before = step;
        step = fabs(next - x);
        if (step <= 0x1p-52)
            return next;
        x = next;
    }
    return x;
}

static double mean(const lmx_fourier *f, lmx_fourier_desk *d)
{
    double sum = 0;
    for (size_t k = 1; k < f->terms; k++)
        sum += (k % 2 ? -2 : 2) * d->c.im[k] / (PI * (double)k * d->c.re[0]);
    return sum;
}

static double second_moment(const lmx_fourier *f, lmx_fourier_desk *d)
{
    double sum = 0;
    for (size_t k = f->terms - 1; k > 0; k--) {
        const double at = PI * (double)k;
        sum += (k % 2 ? -4 : 4) * d->c.re[k] / (at * at * d->c.re[0]);
    }
    return 1 / 3.0 + sum;
}

/* ----------------------------------------------------------------- rows --- */

static void moment(const lmx_fourier_point_job *k, size_t r, lmx_fourier_desk *d)
{
    const lmx_fourier *const f = &k->job.f;
    double value = lmx_qnan();
    if (d->kind == LMX_FOURIER_ZERO) {
        value = k->what == LMX_FOURIER_MEAN ? 0 : 1 / 3.0;
    } else if (d->kind == LMX_FOURIER_PLAIN) {
        lmx_fourier_correlate(f, d);
        value = mean(f, d);
        if (k->what == LMX_FOURIER_VARIANCE)
            value = second_moment(f, d) - value * value;
    }
    f->table->put_value(k->out + (ptrdiff_t)r * k->out_row * (ptrdiff_t)f->table->real_size, value);
}

static void one_row(const lmx_fourier_point_job *k, size_t r, lmx_fourier_desk *d)
{
    const lmx_fourier *const f = &k->job.f;
    const size_t size = f->table->elem_size;
    char *const out = k->out + (ptrdiff_t)r * k->out_row * (ptrdiff_t)size;
    const double *const x = k->x + (ptrdiff_t)r * k->x_row;
    if (d->kind == LMX_FOURIER_BAD) {
        lmx_fourier_fill(f, out, k->points, lmx_qnan());
        return;
    }
    const int uniform = d->kind == LMX_FOURIER_ZERO;
    const double start = uniform || k->what == LMX_FOURIER_DENSITY ? 0 : integrate(f, d);
    for (size_t from = 0; from < k->points; from += LMX_FOURIER_NUMBERS) {
        const size_t n =
            k->points - from < LMX_FOURIER_NUMBERS ? k->points - from : LMX_FOURIER_NUMBERS;
        for (size_t i = 0; i < n; i++) {
            const double at = x[from + i];
            double *const y = &d->number[i];
            if (k->what == LMX_FOURIER_DENSITY)
                *y = uniform ? 0.5 : density(f, d, at);
            else if (k->what == LMX_FOURIER_CDF)
                *y = uniform ? 0.5 * (at + 1) : cdf(f, d, start, at);
            else
                *y = uniform ? 2 * at - 1 : quantile(f, d, start, at);
        }
        lmx_fourier_put(f, d, d->number, n, out + from * size);
    }
}

static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_fourier_point_job *const k = job;
    lmx_fourier_desk d = lmx_fourier_desk_of(&k->job, worker);
    for (size_t r = begin; r < end; r++) {
        lmx_fourier_take(&k->job.f, r, &d);
        if (k->what >= LMX_FOURIER_MEAN)
            moment(k, r, &d);
        else
            one_row(k, r, &d);
    }
}

void lmx_fourier_points_run(lmx_fourier_point_job *k)
{
    lmx_parallel_for(k->job.f.pool, k->job.f.rows, LMX_FOURIER_GRAIN, task, k);
}
