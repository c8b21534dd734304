/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier_rows.h"

#include "fourier_correlation.h"
#include "vectors.h"

#define PAD LMX_FOURIER_LANES

/* ------------------------------------------------------------ workspace --- */

/* Doubles of a series with zeros around it. */
static size_t series_room(size_t n) { return 2 * (lmx_round_up(n, PAD) + 3 * PAD); }

/* A series is cut off the free memory, which is all zeros. */
static lmx_series cut_series(double **from, size_t n)
{
    const size_t half = series_room(n) / 2;
    const lmx_series s = { *from + PAD, *from + half + PAD, n };
    *from += 2 * half;
    return s;
}

static size_t folded_terms(const lmx_fourier *f)
{
    return f->bins != 0 && f->bins < f->terms ? f->bins : f->terms;
}

static size_t far_powers(const lmx_fourier *f) { return lmx_round_up(f->terms / PAD + 1, 8); }

/* Bins that a desk has room for. */
static size_t bins_of(const lmx_fourier *f) { return f->one_bin ? 0 : f->bins; }

static size_t numbers(const lmx_fourier *f)
{
    return lmx_round_up(bins_of(f) > f->terms ? bins_of(f) : f->terms, 64);
}

size_t lmx_fourier_desk_size(const lmx_fourier *f)
{
    const size_t n = f->terms, folds = folded_terms(f) < n ? folded_terms(f) : 0;
    const size_t doubles = 5 * series_room(n) + series_room(folds) + series_room(bins_of(f)) +
                           numbers(f) + lmx_round_up(bins_of(f), 8) + numbers(f) / 2 +
                           3 * (far_powers(f) + PAD) + f->room + lmx_fourier_circle_room(f->circle);
    return lmx_round_up(doubles * sizeof(double), 64);
}

void lmx_fourier_desk_open(const lmx_fourier *f, lmx_fourier_desk *d, void *memory)
{
    double *at = memory;
    memset(d, 0, sizeof *d);
    memset(memory, 0, lmx_fourier_desk_size(f));
    d->a = cut_series(&at, f->terms);
    d->c = cut_series(&at, f->terms);
    d->g = cut_series(&at, f->terms);
    d->t = cut_series(&at, f->terms);
    d->u = cut_series(&at, f->terms);
    d->u.n = folded_terms(f);
    d->folded = d->a;
    if (folded_terms(f) < f->terms)
        d->folded = cut_series(&at, folded_terms(f));
    d->at = cut_series(&at, bins_of(f));
    d->number = at;
    at += numbers(f);
    d->more = at;
    at += lmx_round_up(bins_of(f), 8);
    d->real = (float *)(void *)at;
    at += numbers(f) / 2;
    d->powers.far_cos = at;
    d->powers.far_sin = at + far_powers(f) + PAD;
    d->index = at + 2 * (far_powers(f) + PAD);
    d->room = at + 3 * (far_powers(f) + PAD);
    d->wave = d->room + f->room;
}

/* ----------------------------------------------------------------- rows --- */

static const lmx_gather as_is = { 1, 1, 0, NULL, 0, 0 };

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

void lmx_fourier_angles(uint64_t start, uint64_t linear, uint64_t square, uint64_t m, size_t n,
                        double *index)
{
    const uint64_t circle = 2 * m, more = 2 * square % circle;
    uint64_t k = start % circle, step = (linear + square) % circle;
    for (size_t i = 0; i < n; i++) {
        index[i] = k > m ? -(double)(circle - k) : (double)k;
        k += step;
        k -= k >= circle ? circle : 0;
        step += more;
        step -= step >= circle ? circle : 0;
    }
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
