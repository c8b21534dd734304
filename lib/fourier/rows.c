/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/rows.h"

#include "base/arena.h"
#include "base/vectors.h"

#define PAD LMX_FOURIER_LANES

/* ------------------------------------------------------------ workspace --- */

static double *take_doubles(lmx_arena *a, size_t n)
{
    return lmx_arena_take(a, n * sizeof(double));
}

/* A series between its zeros (lmx_series), which the workspace's cleared memory provides. */
static lmx_series take_series(lmx_arena *a, size_t n)
{
    const size_t half = lmx_multiple(n, PAD) + 3 * PAD;
    double *const p = take_doubles(a, 2 * half);
    if (p == NULL)
        return (lmx_series){ NULL, NULL, n };
    return (lmx_series){ p + PAD, p + half + PAD, n };
}

/* Places the arrays of a workspace. */
static void lay_out(const lmx_fourier *f, lmx_fourier_workspace *ws, lmx_arena *a)
{
    const size_t n = f->terms, folded = f->bins != 0 && f->bins < n ? f->bins : n;
    const size_t bins = f->one_bin ? 0 : f->bins;
    const size_t numbers = lmx_multiple(bins > n ? bins : n, LMX_FOURIER_VALUES);
    const size_t far = n / PAD + 1 + PAD;
    ws->a = take_series(a, n);
    ws->c = take_series(a, n);
    ws->g = take_series(a, n);
    ws->t = take_series(a, n);
    ws->u = take_series(a, n);
    ws->u.n = folded;
    ws->folded = folded < n ? take_series(a, folded) : ws->a;
    ws->bins = take_series(a, bins);
    ws->values = take_doubles(a, numbers);
    ws->dvalues = take_doubles(a, bins);
    ws->reals = lmx_arena_take(a, numbers * sizeof *ws->reals);
    ws->powers.far_cos = take_doubles(a, far);
    ws->powers.far_sin = take_doubles(a, far);
    ws->index = take_doubles(a, far);
    ws->scratch = take_doubles(a, f->transform_scratch);
    ws->fft_scratch = take_doubles(a, lmx_fourier_correlation_scratch(f->fft_length));
}

size_t lmx_fourier_workspace_size(const lmx_fourier *f)
{
    lmx_fourier_workspace ws;
    lmx_arena counting = { NULL, 0 };
    lay_out(f, &ws, &counting);
    return counting.used;
}

void lmx_fourier_workspace_open(const lmx_fourier *f, lmx_fourier_workspace *ws, void *memory)
{
    lmx_arena parts = { memory, 0 };
    memset(ws, 0, sizeof *ws);
    lay_out(f, ws, &parts);
}

/* ----------------------------------------------------------------- rows --- */

static const lmx_gather as_is = { .stride = 1, .rate = 1 };

void lmx_fourier_get(const lmx_fourier *f, lmx_fourier_workspace *ws, const char *from, size_t n,
                     double *x)
{
    if (f->table->real_size == sizeof(double)) {
        memcpy(x, from, n * sizeof *x);
    } else if (f->table->elem_size == sizeof(float)) {
        f->kernel->widen((const float *)(const void *)from, n, x);
    } else {
        f->table->gather(from, n, &as_is, ws->reals);
        f->kernel->widen(ws->reals, n, x);
    }
}

void lmx_fourier_put(const lmx_fourier *f, lmx_fourier_workspace *ws, const double *x, size_t n,
                     char *to)
{
    if (f->table->real_size == sizeof(double)) {
        memcpy(to, x, n * sizeof *x);
    } else if (f->table->elem_size == sizeof(float)) {
        f->kernel->narrow(x, n, (float *)(void *)to);
    } else {
        f->kernel->narrow(x, n, ws->reals);
        f->table->scatter(ws->reals, n, &as_is, to);
    }
}

void lmx_fourier_fill(const lmx_fourier *f, char *to, size_t n, double value)
{
    f->table->fill(to, n, 1, value);
}

/* 2^n = first * second: 2^1024 by itself would overflow, and 2^-1024 be subnormal. */
static void power_of_2(int64_t n, double *first, double *second)
{
    *first = lmx_scale2(1, n / 2);
    *second = lmx_scale2(1, n - n / 2);
}

/*
 * Divides the row by 2^e such that the largest real or imaginary part is between 1/2 and 1.  Only
 * parts that become subnormal are rounded, and they are negligible beside the largest.
 */
static void scale(lmx_fourier_workspace *ws, double most)
{
    uint64_t bits;
    memcpy(&bits, &most, sizeof bits);
    int64_t e = (int64_t)(bits >> 52) - 1022;
    e = e < -1000 ? -1000 : e;
    ws->e = e;
    if (e == 0)
        return;
    double first, second;
    power_of_2(-e, &first, &second);
    for (size_t i = 0; i < ws->a.n; i++) {
        ws->a.re[i] = ws->a.re[i] * first * second;
        ws->a.im[i] = ws->a.im[i] * first * second;
    }
}

static void fold(const lmx_fourier *f, lmx_fourier_workspace *ws)
{
    ws->folded_power = ws->power;
    const size_t m = ws->folded.n;
    if (m == ws->a.n)
        return;
    memcpy(ws->folded.re, ws->a.re, m * sizeof(double));
    memcpy(ws->folded.im, ws->a.im, m * sizeof(double));
    double sign = 1;
    for (size_t from = m; from < ws->a.n; from += m) {
        sign = f->bins % 2 == 0 ? -sign : sign;
        const size_t n = ws->a.n - from < m ? ws->a.n - from : m;
        lmx_axpy(sign, ws->a.re + from, n, ws->folded.re);
        lmx_axpy(sign, ws->a.im + from, n, ws->folded.im);
    }
    ws->folded_power = f->kernel->power(&ws->folded);
}

void lmx_fourier_load_row(const lmx_fourier *f, size_t r, lmx_fourier_workspace *ws)
{
    const char *const from = f->coef + (ptrdiff_t)r * f->coef_row * (ptrdiff_t)f->table->elem_size;
    const size_t n = f->terms;
    lmx_fourier_get(f, ws, from, n, ws->a.re);
    lmx_fourier_get(f, ws, from + n * f->table->elem_size, n, ws->a.im);
    const double re = f->kernel->largest(ws->a.re, n), im = f->kernel->largest(ws->a.im, n);
    const double most = re > im ? re : im;
    ws->e = 0;
    ws->kind = LMX_FOURIER_PLAIN;
    if (re != re || im != im) {
        ws->kind = LMX_FOURIER_BAD;
    } else if (most == 0) {
        ws->kind = LMX_FOURIER_ZERO;
    } else {
        scale(ws, most);
        ws->power = f->kernel->power(&ws->a);
        fold(f, ws);
    }
}

/* --------------------------------------------------------------- points --- */

void lmx_fourier_powers_at(const lmx_fourier *f, lmx_fourier_workspace *ws, double x, size_t terms)
{
    const size_t far = (terms - 1) / PAD + 1, near = terms < PAD ? terms : PAD;
    lmx_powers *const w = &ws->powers;
    for (size_t i = 0; i < near; i++)
        ws->index[i] = (double)i;
    f->kernel->phases(ws->index, near, x, w->near_cos, w->near_sin);
    for (size_t q = 0; q < far; q++)
        ws->index[q] = (double)(q * PAD);
    f->kernel->phases(ws->index, far, x, w->far_cos, w->far_sin);
}

void lmx_fourier_powers_at_centre(const lmx_fourier *f, lmx_fourier_workspace *ws, uint64_t j,
                                  size_t terms)
{
    const size_t far = (terms - 1) / PAD + 1, near = terms < PAD ? terms : PAD;
    const uint64_t m = f->bins;
    lmx_powers *const w = &ws->powers;
    uint64_t step = (2 * j + 1 + m) % (2 * m); /* x = (2 j + 1 - m) / m */
    lmx_fourier_angles(0, step, 0, m, near, ws->index);
    f->kernel->roots(ws->index, near, (double)m, w->near_cos, w->near_sin);
    for (size_t i = 1; i < PAD; i *= 2)
        step = step * 2 % (2 * m);
    lmx_fourier_angles(0, step, 0, m, far, ws->index);
    f->kernel->roots(ws->index, far, (double)m, w->far_cos, w->far_sin);
}

/* ------------------------------------------------------------ gradients --- */

void lmx_fourier_unfold(const lmx_fourier_workspace *ws, size_t bins)
{
    const size_t m = ws->u.n;
    double sign = 1;
    for (size_t from = 0; from < ws->t.n; from += m) {
        const size_t n = ws->t.n - from < m ? ws->t.n - from : m;
        lmx_axpy(sign, ws->u.re, n, ws->t.re + from);
        lmx_axpy(sign, ws->u.im, n, ws->t.im + from);
        sign = bins % 2 == 0 ? -sign : sign;
    }
}

void lmx_fourier_put_gradient(const lmx_fourier *f, lmx_fourier_workspace *ws, char *to)
{
    const size_t n = f->terms;
    double first, second;
    power_of_2(-ws->e, &first, &second);
    for (int part = 0; part < 2; part++) {
        double *const t = part == 0 ? ws->t.re : ws->t.im;
        for (size_t i = 0; i < n; i++)
            t[i] = t[i] * first * second + 0.0; /* -0 becomes 0 */
        lmx_fourier_put(f, ws, t, n, to + (size_t)part * n * f->table->elem_size);
    }
}
