/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier_transform.h"

/* Terms times bins up to which the matrix is faster, and fits in a first-level cache. */
#define FEW 4096

/* A transform has two sides of at least LMX_FFT_PANEL. */
#define LEAST (LMX_FFT_PANEL * LMX_FFT_PANEL)

static size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

static int is_power_of_2(size_t n) { return (n & (n - 1)) == 0; }

static size_t transform_size(size_t terms, size_t bins)
{
    if (bins <= FEW / terms)
        return 0;
    if (is_power_of_2(bins) && bins >= LEAST)
        return bins;
    size_t n = LEAST;
    while (n < terms + bins - 1)
        n *= 2;
    return n;
}

/* The side of the columns of the first step: the smaller of two that are alike. */
static size_t columns_of(size_t n)
{
    size_t cols = LMX_FFT_PANEL;
    while (4 * cols * cols <= n)
        cols *= 2;
    return cols;
}

size_t lmx_fourier_fft_work(size_t n) { return LMX_FFT_WORK(n, columns_of(n)); }

size_t lmx_fourier_transform_size(size_t terms, size_t bins)
{
    const size_t n = transform_size(terms, bins), most = terms > bins ? terms : bins;
    const size_t matrix =
        terms * round_up(bins, LMX_FOURIER_LANES) + bins * round_up(terms, LMX_FOURIER_LANES);
    const size_t arrays = 6 * n + 2 * round_up(terms, 8) + 2 * round_up(bins, 8);
    return (n == 0 ? 2 * matrix : arrays) + round_up(n > most ? n : most, 8) +
           lmx_fourier_transform_room(terms, bins);
}

size_t lmx_fourier_transform_room(size_t terms, size_t bins)
{
    const size_t n = transform_size(terms, bins);
    return n == 0 ? 0 : 2 * n + lmx_fourier_fft_work(n);
}

/* ------------------------------------------------------------- tables --- */

static double *cut(double **from, size_t n)
{
    double *const p = *from;
    *from += round_up(n, 8);
    return p;
}

static lmx_turns cut_matrix(double **from, size_t rows, size_t cols)
{
    const size_t row = round_up(cols, LMX_FOURIER_LANES);
    double *const cos = cut(from, rows * row);
    return (lmx_turns){ cos, cut(from, rows * row), row };
}

/* The const of the struct is for those who use it. */
static double *fill(const double *p)
{
    union {
        const double *in;
        double *out;
    } cast = { p };
    return cast.out;
}

static void open_matrix(lmx_fourier_transform *t, double *memory)
{
    const size_t m = t->bins;
    t->to = cut_matrix(&memory, t->terms, m);
    t->from = cut_matrix(&memory, m, t->terms);
    memset(fill(t->to.cos), 0, 2 * t->terms * t->to.row * sizeof(double));
    memset(fill(t->from.cos), 0, 2 * m * t->from.row * sizeof(double));
    double *const index = memory;
    for (size_t n = 0; n < t->terms; n++) {
        lmx_fourier_angles(n * (1 + m), 2 * n, 0, m, m, index);
        t->kernel->roots(index, m, (double)m, fill(t->to.cos) + n * t->to.row,
                         fill(t->to.sin) + n * t->to.row);
    }
    for (size_t j = 0; j < m; j++) {
        double *const sin = fill(t->from.sin) + j * t->from.row;
        lmx_fourier_angles(0, 2 * j + 1 + m, 0, m, t->terms, index);
        t->kernel->roots(index, t->terms, (double)m, fill(t->from.cos) + j * t->from.row, sin);
        for (size_t n = 0; n < t->terms; n++)
            sin[n] = -sin[n];
    }
}

void lmx_fourier_fft_open(lmx_fft *fft, const lmx_fourier_kernel *kernel, size_t n, double *memory,
                          double *index)
{
    const size_t cols = columns_of(n);
    double *const cos = memory, *const sin = cos + n, *const twist_cos = sin + n;
    double *const twist_sin = twist_cos + n;
    lmx_fourier_angles(0, 2 * n - 2, 0, n, n, index);
    kernel->roots(index, n, (double)n, cos, sin);
    for (size_t i = 0; i < n / cols; i++)
        for (size_t j = 0; j < cols; j++) {
            twist_cos[i * cols + j] = cos[i * j];
            twist_sin[i * cols + j] = sin[i * j];
        }
    *fft = (lmx_fft){ n, cols, cos, sin, twist_cos, twist_sin };
}

/* e^(-i pi k^2 / m) for k from 1 - terms to m - 1, around a circle of size */
static void open_filter(lmx_fourier_transform *t, double *index, double *work)
{
    const size_t m = t->bins, n = t->size;
    double *const re = t->filter_re, *const im = t->filter_im;
    memset(re, 0, n * sizeof *re);
    memset(im, 0, n * sizeof *im);
    lmx_fourier_angles(0, 0, 2 * m - 1, m, m, index);
    t->kernel->roots(index, m, (double)m, re, im);
    for (size_t k = 1; k < t->terms; k++) {
        re[n - k] = re[k];
        im[n - k] = im[k];
    }
    t->kernel->fft(&t->fft, re, im, work);
    for (size_t k = 0; k < n; k++) {
        re[k] /= (double)n;
        im[k] /= (double)n;
    }
}

void lmx_fourier_transform_open(lmx_fourier_transform *t, const lmx_fourier_kernel *kernel,
                                size_t terms, size_t bins, double *memory)
{
    *t = (lmx_fourier_transform){
        .kernel = kernel, .terms = terms, .bins = bins, .size = transform_size(terms, bins)
    };
    if (t->size == 0) {
        open_matrix(t, memory);
        return;
    }
    t->chirp = t->size != bins;
    double *const index = cut(&memory, t->size > bins ? t->size : bins);
    lmx_fourier_fft_open(&t->fft, kernel, t->size, cut(&memory, 4 * t->size), index);
    t->term_cos = cut(&memory, terms);
    t->term_sin = cut(&memory, terms);
    lmx_fourier_angles(0, 1 + bins, t->chirp ? 1 : 0, bins, terms, index);
    kernel->roots(index, terms, (double)bins, t->term_cos, t->term_sin);
    if (!t->chirp)
        return;
    t->bin_cos = cut(&memory, bins);
    t->bin_sin = cut(&memory, bins);
    lmx_fourier_angles(0, 0, 1, bins, bins, index);
    kernel->roots(index, bins, (double)bins, t->bin_cos, t->bin_sin);
    t->filter_re = cut(&memory, t->size);
    t->filter_im = cut(&memory, t->size);
    open_filter(t, index, memory);
}

/* --------------------------------------------------------- transforms --- */

/* n numbers, then zeros; times cos + i sin, or its conjugate. */
static void load(const lmx_fourier_transform *t, const lmx_series *x, const double *cos,
                 const double *sin, int back, double *re, double *im)
{
    const size_t n = x->n, rest = t->size - n;
    memcpy(re, x->re, n * sizeof *re);
    memcpy(im, x->im, n * sizeof *im);
    memset(re + n, 0, rest * sizeof *re);
    memset(im + n, 0, rest * sizeof *im);
    if (cos != NULL)
        t->kernel->twist(re, im, cos, sin, n, back);
}

/* A circular convolution with the filter, or the correlation. */
static void filter(const lmx_fourier_transform *t, int back, double *re, double *im, double *work)
{
    t->kernel->fft(&t->fft, re, im, work);
    t->kernel->twist(re, im, t->filter_re, t->filter_im, t->size, back);
    t->kernel->fft(&t->fft, im, re, work);
}

void lmx_fourier_to_bins(const lmx_fourier_transform *t, const lmx_series *x, const lmx_series *y,
                         double *room)
{
    const size_t m = t->bins;
    if (t->size == 0) {
        lmx_series_clear(y);
        t->kernel->product(x, &t->to, y);
        return;
    }
    double *const re = room, *const im = room + t->size, *const work = room + 2 * t->size;
    load(t, x, t->term_cos, t->term_sin, 0, re, im);
    if (t->chirp) {
        filter(t, 0, re, im, work);
        t->kernel->twist(re, im, t->bin_cos, t->bin_sin, m, 0);
    } else {
        t->kernel->fft(&t->fft, im, re, work);
    }
    memcpy(y->re, re, m * sizeof *re);
    memcpy(y->im, im, m * sizeof *im);
}

void lmx_fourier_from_bins(const lmx_fourier_transform *t, const lmx_series *v, const lmx_series *u,
                           double *room)
{
    if (t->size == 0) {
        t->kernel->product(v, &t->from, u);
        return;
    }
    double *const re = room, *const im = room + t->size, *const work = room + 2 * t->size;
    load(t, v, t->bin_cos, t->bin_sin, 1, re, im);
    if (t->chirp)
        filter(t, 1, re, im, work);
    else
        t->kernel->fft(&t->fft, re, im, work);
    t->kernel->twist(re, im, t->term_cos, t->term_sin, u->n, 1);
    for (size_t n = 0; n < u->n; n++) {
        u->re[n] += re[n];
        u->im[n] += im[n];
    }
}
