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

/* A series with zeros around it, if the memory is all zeros. */
static lmx_series take_series(lmx_arena *a, size_t n)
{
    const size_t half = lmx_multiple(n, PAD) + 3 * PAD;
    double *const p = take_doubles(a, 2 * half);
    if (p == NULL)
        return (lmx_series){ NULL, NULL, n };
    return (lmx_series){ p + PAD, p + half + PAD, n };
}

/* All parts of a desk. */
static void divide(const lmx_fourier *f, lmx_fourier_desk *d, lmx_arena *a)
{
    const size_t n = f->terms, folded = f->bins != 0 && f->bins < n ? f->bins : n;
    const size_t bins = f->one_bin ? 0 : f->bins;
    const size_t numbers = lmx_multiple(bins > n ? bins : n, LMX_FOURIER_NUMBERS);
    const size_t far = n / PAD + 1 + PAD;
    d->a = take_series(a, n);
    d->c = take_series(a, n);
    d->g = take_series(a, n);
    d->t = take_series(a, n);
    d->u = take_series(a, n);
    d->u.n = folded;
    d->folded = folded < n ? take_series(a, folded) : d->a;
    d->at = take_series(a, bins);
    d->number = take_doubles(a, numbers);
    d->more = take_doubles(a, bins);
    d->real = lmx_arena_take(a, numbers * sizeof *d->real);
    d->powers.far_cos = take_doubles(a, far);
    d->powers.far_sin = take_doubles(a, far);
    d->index = take_doubles(a, far);
    d->room = take_doubles(a, f->room);
    d->wave = take_doubles(a, lmx_fourier_circle_room(f->circle));
}

size_t lmx_fourier_desk_size(const lmx_fourier *f)
{
    lmx_fourier_desk d;
    lmx_arena counting = { NULL, 0 };
    divide(f, &d, &counting);
    return counting.used;
}

void lmx_fourier_desk_open(const lmx_fourier *f, lmx_fourier_desk *d, void *memory)
{
    lmx_arena parts = { memory, 0 };
    memset(d, 0, sizeof *d);
    divide(f, d, &parts);
}

/* ----------------------------------------------------------------- rows --- */

static const lmx_gather as_is = { .stride = 1, .rate = 1 };

void lmx_fourier_get(const lmx_fourier *f, lmx_fourier_desk *d, const char *from, size_t n,
                     double *x)
{
    if (f->table->real_size == sizeof(double)) {
        memcpy(x, from, n * sizeof *x);
    } else if (f->table->elem_size == sizeof(float)) {
        f->kernel->widen((const float *)(const void *)from, n, x);
    } else {
        f->table->gather(from, n, &as_is, d->real);
        f->kernel->widen(d->real, n, x);
    }
}

void lmx_fourier_put(const lmx_fourier *f, lmx_fourier_desk *d, const double *x, size_t n, char *to)
{
    if (f->table->real_size == sizeof(double)) {
        memcpy(to, x, n * sizeof *x);
    } else if (f->table->elem_size == sizeof(float)) {
        f->kernel->narrow(x, n, (float *)(void *)to);
    } else {
        f->kernel->narrow(x, n, d->real);
        f->table->scatter(d->real, n, &as_is, to);
    }
}

void lmx_fourier_fill(const lmx_fourier *f, char *to, size_t n, double value)
{
    f->table->fill(to, n, 1, value);
}

/* 2^n in two factors, for 2^1024 is no number and 2^-1024 no normal one. */
static void power_of_2(int64_t n, double *factor, double *rest)
{
    *factor = lmx_scale2(1, n / 2);
    *rest = lmx_scale2(1, n - n / 2);
}

/* The largest part of a number is between 1/2 and 1 afterwards; exact but for what is nothing beside it. */
static void scale(lmx_fourier_desk *d, double most)
{
    uint64_t bits;
    memcpy(&bits, &most, sizeof bits);
    int64_t e = (int64_t)(bits >> 52) - 1022;
    e = e < -1000 ? -1000 : e;
    d->e = e;
    if (e == 0)
        return;
    double factor, rest;
    power_of_2(-e, &factor, &rest);
    for (size_t i = 0; i < d->a.n; i++) {
        d->a.re[i] = d->a.re[i] * factor * rest;
        d->a.im[i] = d->a.im[i] * factor * rest;
    }
}

static void fold(const lmx_fourier *f, lmx_fourier_desk *d)
{
    d->folded_power = d->power;
    const size_t m = d->folded.n;
    if (m == d->a.n)
        return;
    memcpy(d->folded.re, d->a.re, m * sizeof(double));
    memcpy(d->folded.im, d->a.im, m * sizeof(double));
    double sign = 1;
    for (size_t from = m; from < d->a.n; from += m) {
        sign = f->bins % 2 == 0 ? -sign : sign;
        const size_t n = d->a.n - from < m ? d->a.n - from : m;
        lmx_axpy(sign, d->a.re + from, n, d->folded.re);
        lmx_axpy(sign, d->a.im + from, n, d->folded.im);
    }
    d->folded_power = f->kernel->power(&d->folded);
}

void lmx_fourier_take(const lmx_fourier *f, size_t r, lmx_fourier_desk *d)
{
    const char *const from = f->coef + (ptrdiff_t)r * f->coef_row * (ptrdiff_t)f->table->elem_size;
    const size_t n = f->terms;
    lmx_fourier_get(f, d, from, n, d->a.re);
    lmx_fourier_get(f, d, from + n * f->table->elem_size, n, d->a.im);
    const double re = f->kernel->largest(d->a.re, n), im = f->kernel->largest(d->a.im, n);
    const double most = re > im ? re : im;
    d->e = 0;
    d->kind = LMX_FOURIER_PLAIN;
    if (re != re || im != im) {
        d->kind = LMX_FOURIER_BAD;
    } else if (most == 0) {
        d->kind = LMX_FOURIER_ZERO;
    } else {
        scale(d, most);
        d->power = f->kernel->power(&d->a);
        fold(f, d);
    }
}

/* --------------------------------------------------------------- points --- */

void lmx_fourier_at(const lmx_fourier *f, lmx_fourier_desk *d, double x, size_t terms)
{
    const size_t far = (terms - 1) / PAD + 1, near = terms < PAD ? terms : PAD;
    lmx_powers *const w = &d->powers;
    for (size_t i = 0; i < near; i++)
        d->index[i] = (double)i;
    f->kernel->turns(d->index, near, x, w->near_cos, w->near_sin);
    for (size_t q = 0; q < far; q++)
        d->index[q] = (double)(q * PAD);
    f->kernel->turns(d->index, far, x, w->far_cos, w->far_sin);
}

void lmx_fourier_at_centre(const lmx_fourier *f, lmx_fourier_desk *d, uint64_t j, size_t terms)
{
    const size_t far = (terms - 1) / PAD + 1, near = terms < PAD ? terms : PAD;
    const uint64_t m = f->bins;
    lmx_powers *const w = &d->powers;
    uint64_t step = (2 * j + 1 + m) % (2 * m); /* x = (2 j + 1 - m) / m */
    lmx_fourier_angles(0, step, 0, m, near, d->index);
    f->kernel->roots(d->index, near, (double)m, w->near_cos, w->near_sin);
    for (size_t i = 1; i < PAD; i *= 2)
        step = step * 2 % (2 * m);
    lmx_fourier_angles(0, step, 0, m, far, d->index);
    f->kernel->roots(d->index, far, (double)m, w->far_cos, w->far_sin);
}

/* ------------------------------------------------------------ gradients --- */

void lmx_fourier_unfold(const lmx_fourier_desk *d, size_t bins)
{
    const size_t m = d->u.n;
    double sign = 1;
    for (size_t from = 0; from < d->t.n; from += m) {
        const size_t n = d->t.n - from < m ? d->t.n - from : m;
        lmx_axpy(sign, d->u.re, n, d->t.re + from);
        lmx_axpy(sign, d->u.im, n, d->t.im + from);
        sign = bins % 2 == 0 ? -sign : sign;
    }
}

void lmx_fourier_put_gradient(const lmx_fourier *f, lmx_fourier_desk *d, char *to)
{
    const size_t n = f->terms;
    double factor, rest;
    power_of_2(-d->e, &factor, &rest);
    for (int part = 0; part < 2; part++) {
        double *const t = part == 0 ? d->t.re : d->t.im;
        for (size_t i = 0; i < n; i++)
            t[i] = t[i] * factor * rest + 0.0; /* no -0 */
        lmx_fourier_put(f, d, t, n, to + (size_t)part * n * f->table->elem_size);
    }
}
