/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/correlation.h"

#include "fourier/transform.h"

void lmx_fourier_correlation_open(lmx_fourier *f, double *memory)
{
    if (f->fft_length != 0)
        lmx_fourier_fft_open(&f->fft, f->kernel, f->fft_length, memory, memory + 4 * f->fft_length);
}

typedef struct {
    double *a_re, *a_im; /* the transform of the row, kept from correlate() for its vjp */
    double *re, *im;     /* another array of the FFT's length */
    double *work;        /* workspace of the FFT */
} buffers;

static buffers buffers_of(const lmx_fourier *f, const lmx_fourier_workspace *ws)
{
    const size_t n = f->fft_length;
    return (buffers){ ws->fft_scratch, ws->fft_scratch + n, ws->fft_scratch + 2 * n,
                      ws->fft_scratch + 3 * n, ws->fft_scratch + 4 * n };
}

void lmx_fourier_correlate(const lmx_fourier *f, lmx_fourier_workspace *ws)
{
    const size_t n = f->fft_length, terms = f->terms;
    if (n == 0) {
        f->kernel->correlate(&ws->a, &ws->c);
        return;
    }
    const buffers r = buffers_of(f, ws);
    memset(r.a_re, 0, 2 * n * sizeof(double));
    memcpy(r.a_re, ws->a.re, terms * sizeof(double));
    memcpy(r.a_im, ws->a.im, terms * sizeof(double));
    f->kernel->fft(&f->fft, r.a_re, r.a_im, r.work);
    for (size_t i = 0; i < n; i++) {
        r.re[i] = (r.a_re[i] * r.a_re[i] + r.a_im[i] * r.a_im[i]) / (double)n;
        r.im[i] = 0;
    }
    f->kernel->fft(&f->fft, r.im, r.re,
                   r.work); /* with re and im exchanged: the inverse transform */
    memcpy(ws->c.re, r.re, terms * sizeof(double));
    memcpy(ws->c.im, r.im, terms * sizeof(double));
    ws->c.im[0] = 0;
}

void lmx_fourier_correlate_vjp(const lmx_fourier *f, lmx_fourier_workspace *ws)
{
    const size_t n = f->fft_length, terms = f->terms;
    if (n == 0) {
        f->kernel->correlate_vjp(&ws->g, &ws->a, &ws->t);
        return;
    }
    const buffers r = buffers_of(f, ws);
    memset(r.re, 0, 2 * n * sizeof(double));
    r.re[0] = 2 * ws->g.re[0];
    for (size_t k = 1; k < terms; k++) {
        r.re[k] = r.re[n - k] = ws->g.re[k];
        r.im[k] = ws->g.im[k];
        r.im[n - k] = -ws->g.im[k];
    }
    f->kernel->fft(&f->fft, r.re, r.im, r.work);
    for (size_t i = 0; i < n; i++) {
        const double g = r.re[i] / (double)n;
        r.re[i] = g * r.a_re[i];
        r.im[i] = g * r.a_im[i];
    }
    f->kernel->fft(&f->fft, r.im, r.re, r.work);
    for (size_t i = 0; i < terms; i++) {
        ws->t.re[i] += r.re[i];
        ws->t.im[i] += r.im[i];
    }
}
