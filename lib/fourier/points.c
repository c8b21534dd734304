/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The density of a row at points, its integral and moments, from p = |A|^2 / (2 c[0]) and from the
 * correlation c:
 *
 *     cdf(x)   = (x + 1) / 2 + Re (S(x) - S(-1)),   S(x) = sum_k c[k] / (i pi k c[0]) e^(i pi k x)
 *     E[x]     = sum_k 2 (-1)^k Im c[k] / (pi k c[0])
 *     E[x^2]   = 1/3 + sum_k 4 (-1)^k Re c[k] / (pi^2 k^2 c[0])
 *
 * S(-1) is computed as S(x) is, so that the cdf is exactly 0 and 1 at the ends.
 */
#include "fourier/head.h"

#define PI 0x1.921fb54442d18p+1

static double density(const lmx_fourier *f, lmx_fourier_workspace *ws, double x)
{
    double value[2];
    lmx_fourier_powers_at(f, ws, x, f->terms);
    f->kernel->sum(&ws->a, &ws->powers, value);
    return (value[0] * value[0] + value[1] * value[1]) / (2 * ws->power);
}

/* Fills g with the terms of S and returns Re S(-1). */
static double integrate(const lmx_fourier *f, lmx_fourier_workspace *ws)
{
    lmx_fourier_correlate(f, ws);
    ws->g.re[0] = ws->g.im[0] = 0;
    for (size_t k = 1; k < f->terms; k++) {
        const double rate = PI * (double)k * ws->c.re[0];
        ws->g.re[k] = ws->c.im[k] / rate;
        ws->g.im[k] = -ws->c.re[k] / rate;
    }
    double value[2];
    lmx_fourier_powers_at(f, ws, -1, f->terms);
    f->kernel->sum(&ws->g, &ws->powers, value);
    return value[0];
}

/* Leaves the powers of e^(i pi x) in ws->powers, for quantile(). */
static double cdf(const lmx_fourier *f, lmx_fourier_workspace *ws, double start, double x)
{
    double value[2];
    lmx_fourier_powers_at(f, ws, x, f->terms);
    f->kernel->sum(&ws->g, &ws->powers, value);
    const double y = 0.5 * (x + 1) + (value[0] - start);
    return y > 0 ? y < 1 ? y : 1 : 0;
}

/*
 * The x at which the cdf is y, by Newton's steps inside a bracket.  A step that leaves the bracket,
 * or is more than half of the one before the last, is replaced by a bisection, so that the loop
 * ends within about 120 steps, mostly 8.
 */
static double quantile(const lmx_fourier *f, lmx_fourier_workspace *ws, double start, double y)
{
    if (y <= 0 || y >= 1)
        return y <= 0 ? -1 : 1;
    double low = -1, high = 1, x = 2 * y - 1, step = 2, before = 2;
    for (int i = 0; i < 200; i++) {
        const double miss = cdf(f, ws, start, x) - y;
        if (miss == 0)
            return x;
        if (miss < 0)
            low = x;
        else
            high = x;
        double value[2];
        f->kernel->sum(&ws->a, &ws->powers, value);
        const double p = (value[0] * value[0] + value[1] * value[1]) / (2 * ws->power);
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

static double mean(const lmx_fourier *f, lmx_fourier_workspace *ws)
{
    double sum = 0;
    for (size_t k = 1; k < f->terms; k++)
        sum += (k % 2 ? -2 : 2) * ws->c.im[k] / (PI * (double)k * ws->c.re[0]);
    return sum;
}

static double second_moment(const lmx_fourier *f, lmx_fourier_workspace *ws)
{
    double sum = 0;
    for (size_t k = f->terms - 1; k > 0; k--) {
        const double at = PI * (double)k;
        sum += (k % 2 ? -4 : 4) * ws->c.re[k] / (at * at * ws->c.re[0]);
    }
    return 1 / 3.0 + sum;
}

/* ----------------------------------------------------------------- rows --- */

static void moment(const lmx_fourier_point_job *k, size_t r, lmx_fourier_workspace *ws)
{
    const lmx_fourier *const f = &k->job.f;
    double value = lmx_qnan();
    if (ws->kind == LMX_FOURIER_ZERO) {
        value = k->op == LMX_FOURIER_MEAN ? 0 : 1 / 3.0;
    } else if (ws->kind == LMX_FOURIER_PLAIN) {
        lmx_fourier_correlate(f, ws);
        value = mean(f, ws);
        if (k->op == LMX_FOURIER_VARIANCE)
            value = second_moment(f, ws) - value * value;
    }
    f->table->put_value(k->out + (ptrdiff_t)r * k->out_row * (ptrdiff_t)f->table->real_size, value);
}

static void one_row(const lmx_fourier_point_job *k, size_t r, lmx_fourier_workspace *ws)
{
    const lmx_fourier *const f = &k->job.f;
    const size_t size = f->table->elem_size;
    char *const out = k->out + (ptrdiff_t)r * k->out_row * (ptrdiff_t)size;
    const double *const x = k->x + (ptrdiff_t)r * k->x_row;
    if (ws->kind == LMX_FOURIER_BAD) {
        lmx_fourier_fill(f, out, k->points, lmx_qnan());
        return;
    }
    const int uniform = ws->kind == LMX_FOURIER_ZERO;
    const double start = uniform || k->op == LMX_FOURIER_DENSITY ? 0 : integrate(f, ws);
    for (size_t from = 0; from < k->points; from += LMX_FOURIER_VALUES) {
        const size_t n =
            k->points - from < LMX_FOURIER_VALUES ? k->points - from : LMX_FOURIER_VALUES;
        for (size_t i = 0; i < n; i++) {
            const double at = x[from + i];
            double *const y = &ws->values[i];
            if (k->op == LMX_FOURIER_DENSITY)
                *y = uniform ? 0.5 : density(f, ws, at);
            else if (k->op == LMX_FOURIER_CDF)
                *y = uniform ? 0.5 * (at + 1) : cdf(f, ws, start, at);
            else
                *y = uniform ? 2 * at - 1 : quantile(f, ws, start, at);
        }
        lmx_fourier_put(f, ws, ws->values, n, out + from * size);
    }
}

static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_fourier_point_job *const k = job;
    lmx_fourier_workspace ws = lmx_fourier_workspace_of(&k->job, worker);
    for (size_t r = begin; r < end; r++) {
        lmx_fourier_load_row(&k->job.f, r, &ws);
        if (k->op >= LMX_FOURIER_MEAN)
            moment(k, r, &ws);
        else
            one_row(k, r, &ws);
    }
}

void lmx_fourier_points_run(lmx_fourier_point_job *k)
{
    lmx_parallel_for(k->job.f.pool, k->job.f.rows, LMX_FOURIER_GRAIN, task, k);
}
