/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/correlation.h"

#include "fourier/transform.h"

void lmx_fourier_circle_open(lmx_fourier *f, double *memory)
{
    if (f->circle != 0)
        lmx_fourier_fft_open(&f->fft, f->kernel, f->circle, memory, memory + 4 * f->circle);
}

/* A around the circle, which is kept; something else; and where transforms work. */
typedef struct {
    double *a_re, *a_im, *re, *im, *work;
} rooms;

static rooms rooms_of(const lmx_fourier *f, const lmx_fourier_desk *d)
{
    const size_t n = f->circle;
    return (rooms){ d->wave, d->wave + n, d->wave + 2 * n, d->wave + 3 * n, d->wave + 4 * n };
}

void lmx_fourier_correlate(const lmx_fourier *f, lmx_fourier_desk *d)
{
    const size_t n = f->circle, terms = f->terms;
    if (n == 0) {
        f->kernel->correlate(&d->a, &d->c);
        return;
    }
    const rooms r = rooms_of(f, d);
    memset(r.a_re, 0, 2 * n * sizeof(double));
    memcpy(r.a_re, d->a.re, terms * sizeof(double));
    memcpy(r.a_im, d->a.im, terms * sizeof(double));
    f->kernel->fft(&f->fft, r.a_re, r.a_im, r.work);
    for (size_t i = 0; i < n; i++) {
        r.re[i] = (r.a_re[i] * r.a_re[i] + r.a_im[i] * r.a_im[i]) / (double)n;
        r.im[i] = 0;
    }
    f->kernel->fft(&f->fft, r.im, r.re, r.work); /* exchanged: back */
    memcpy(d->c.re, r.re, terms * sizeof(double));
    memcpy(d->c.im, r.im, terms * sizeof(double));
    d->c.im[0] = 0;
}

void lmx_fourier_pull(const lmx_fourier *f, lmx_fourier_desk *d)
{
    const size_t n = f->circle, terms = f->terms;
    if (n == 0) {
        f->kernel->pull(&d->g, &d->a, &d->t);
        return;
    }
    const rooms r = rooms_of(f, d);
    memset(r.re, 0, 2 * n * sizeof(double));
    r.re[0] = 2 * d->g.re[0];
    for (size_t k = 1; k < terms; k++) {
        r.re[k] = r.re[n - k] = d->g.re[k];
        r.im[k] = d->g.im[k];
        r.im[n - k] = -d->g.im[k];
    }
    f->kernel->fft(&f->fft, r.re, r.im, r.work);
    for (size_t i = 0; i < n; i++) {
        const double g = r.re[i] / (double)n;
        r.re[i] = g * r.a_re[i];
        r.im[i] = g * r.a_im[i];
    }
    f->kernel->fft(&f->fft, r.im, r.re, r.work);
    for (size_t i = 0; i < terms; i++) {
        d->t.re[i] += r.re[i];
        d->t.im[i] += r.im[i];
    }
}
