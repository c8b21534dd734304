/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/transform.h"

#include "base/arena.h"
#include "base/vectors.h"

/*
 * Up to so many terms times bins one block has all bins; more are split into blocks of about half
 * of that.
 */
#define FEW 4096

/* A transform of more bins does not fit into the second-level cache. */
#define IN_CACHE 32768

/* The shortest transform: it is split in rows x columns, both at least LMX_FFT_PANEL. */
#define SHORTEST (LMX_FFT_PANEL * LMX_FFT_PANEL)

static int is_power_of_2(size_t n) { return (n & (n - 1)) == 0; }

/*
 * Up to so many terms matrix products are faster than a plain transform, or than the chirp
 * transform, which takes two of twice the length; measured.
 */
static size_t few_terms(size_t bins, int plain)
{
    const size_t few = plain ? 16 : 64;
    return bins > IN_CACHE ? few * 5 / 2 : few;
}

static size_t transform_size(size_t terms, size_t bins)
{
    const int plain = is_power_of_2(bins) && bins >= SHORTEST;
    if (bins <= FEW / terms || terms <= few_terms(bins, plain))
        return 0;
    if (plain)
        return bins;
    size_t n = SHORTEST;
    while (n < terms + bins - 1)
        n *= 2;
    return n;
}

/* The number of bins in a block. */
static size_t block_of(size_t terms, size_t bins)
{
    return bins <= FEW / terms ? bins : lmx_multiple(FEW / 2 / terms, LMX_FOURIER_LANES);
}

/* Doubles of a matrix of rotations, cosines and sines together. */
static size_t matrix_size(size_t rows, size_t cols)
{
    return 2 * rows * lmx_multiple(cols, LMX_FOURIER_LANES);
}

size_t lmx_fourier_transform_scratch(size_t terms, size_t bins)
{
    const size_t n = transform_size(terms, bins);
    return n == 0 ? matrix_size(1, terms) : 2 * n + lmx_fourier_fft_work(n);
}

/* ------------------------------------------------------------- tables --- */

static double *take(lmx_arena *a, size_t n) { return lmx_arena_take(a, n * sizeof(double)); }

static lmx_rotations take_matrix(lmx_arena *a, size_t rows, size_t cols)
{
    const size_t row = lmx_multiple(cols, LMX_FOURIER_LANES);
    double *const cos = take(a, rows * row);
    return (lmx_rotations){ cos, take(a, rows * row), row };
}

static void begin(lmx_fourier_transform *t, const lmx_fourier_kernel *kernel, size_t terms,
                  size_t bins)
{
    const size_t size = transform_size(terms, bins);
    *t = (lmx_fourier_transform){ .kernel = kernel,
                                  .terms = terms,
                                  .bins = bins,
                                  .block = block_of(terms, bins),
                                  .size = size,
                                  .chirp = size != 0 && size != bins };
}

/*
 * Places all tables, and the scratch for filling them: index for angles, scratch for a transform.
 */
static void lay_out(lmx_fourier_transform *t, lmx_arena *a, double **fft, double **index,
                    double **scratch)
{
    const size_t m = t->bins, n = t->terms;
    if (t->size == 0) {
        t->to = take_matrix(a, n, t->block);
        t->from = take_matrix(a, t->block, n);
        t->shift = take_matrix(a, (m - 1) / t->block + 1, n);
    } else {
        *fft = take(a, 4 * t->size);
        t->term_cos = take(a, n);
        t->term_sin = take(a, n);
    }
    if (t->chirp) {
        t->bin_cos = take(a, m);
        t->bin_sin = take(a, m);
        t->filter_re = take(a, t->size);
        t->filter_im = take(a, t->size);
    }
    *index = take(a, t->size > m ? t->size : m > n ? m : n);
    *scratch = take(a, lmx_fourier_transform_scratch(n, m));
}

size_t lmx_fourier_transform_bytes(size_t terms, size_t bins)
{
    lmx_fourier_transform t;
    lmx_arena counting = { NULL, 0 };
    double *fft, *index, *scratch;
    begin(&t, NULL, terms, bins);
    lay_out(&t, &counting, &fft, &index, &scratch);
    return counting.used;
}

/* The tables of lmx_rotations are const for their users; this file fills them. */
static double *writable(const double *p)
{
    union {
        const double *in;
        double *out;
    } cast = { p };
    return cast.out;
}

static void open_blocks(lmx_fourier_transform *t, double *index)
{
    const size_t m = t->bins, n = t->terms, block = t->block;
    memset(writable(t->to.cos), 0, matrix_size(n, block) * sizeof(double));
    memset(writable(t->from.cos), 0, matrix_size(block, n) * sizeof(double));
    for (size_t k = 0; k < n; k++) {
        lmx_fourier_angles(k * (1 + m), 2 * k, 0, m, block, index);
        t->kernel->roots(index, block, (double)m, writable(t->to.cos) + k * t->to.row,
                         writable(t->to.sin) + k * t->to.row);
    }
    for (size_t j = 0; j < block; j++) {
        double *const sin = writable(t->from.sin) + j * t->from.row;
        lmx_fourier_angles(0, 2 * j + 1 + m, 0, m, n, index);
        t->kernel->roots(index, n, (double)m, writable(t->from.cos) + j * t->from.row, sin);
        for (size_t k = 0; k < n; k++)
            sin[k] = -sin[k];
    }
    for (size_t b = 0; b * block < m; b++) {
        lmx_fourier_angles(0, 2 * b * block, 0, m, n, index);
        t->kernel->roots(index, n, (double)m, writable(t->shift.cos) + b * t->shift.row,
                         writable(t->shift.sin) + b * t->shift.row);
    }
}

/*
 * The transform of e^(-i pi k^2 / m), k from 1 - terms to m - 1, with negative k at the end of the
 * array.
 */
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
                                size_t terms, size_t bins, void *memory)
{
    lmx_arena parts = { memory, 0 };
    double *fft = NULL, *index, *scratch;
    begin(t, kernel, terms, bins);
    lay_out(t, &parts, &fft, &index, &scratch);
    if (t->size == 0) {
        open_blocks(t, index);
        return;
    }
    lmx_fourier_fft_open(&t->fft, kernel, t->size, fft, index);
    lmx_fourier_angles(0, 1 + bins, t->chirp ? 1 : 0, bins, terms, index);
    kernel->roots(index, terms, (double)bins, t->term_cos, t->term_sin);
    if (!t->chirp)
        return;
    lmx_fourier_angles(0, 0, 1, bins, bins, index);
    kernel->roots(index, bins, (double)bins, t->bin_cos, t->bin_sin);
    open_filter(t, index, scratch);
}

/* --------------------------------------------------------- transforms --- */

static void add(const lmx_series *x, const lmx_series *u)
{
    lmx_axpy(1, x->re, x->n, u->re);
    lmx_axpy(1, x->im, x->n, u->im);
}

/*
 * Copies x to re and im, times cos + i sin or its conjugate, and pads with zeros to the transform's
 * length.
 */
static void load(const lmx_fourier_transform *t, const lmx_series *x, const double *cos,
                 const double *sin, int conjugate, double *re, double *im)
{
    const size_t n = x->n, padding = t->size - n;
    memcpy(re, x->re, n * sizeof *re);
    memcpy(im, x->im, n * sizeof *im);
    memset(re + n, 0, padding * sizeof *re);
    memset(im + n, 0, padding * sizeof *im);
    if (cos != NULL)
        t->kernel->multiply(re, im, cos, sin, n, conjugate);
}

/* The bins of block b in a series over all bins. */
static lmx_series part_of(const lmx_fourier_transform *t, const lmx_series *all, size_t b)
{
    const size_t from = b * t->block, n = t->bins - from;
    return (lmx_series){ all->re + from, all->im + from, n < t->block ? n : t->block };
}

/* Multiplies terms by the factors of block b, or gradients of terms by their conjugates. */
static void shift(const lmx_fourier_transform *t, const lmx_series *x, size_t b, int conjugate)
{
    t->kernel->multiply(x->re, x->im, t->shift.cos + b * t->shift.row,
                        t->shift.sin + b * t->shift.row, x->n, conjugate);
}

static lmx_series terms_in(const lmx_fourier_transform *t, double *scratch)
{
    return (lmx_series){ scratch, scratch + lmx_multiple(t->terms, LMX_FOURIER_LANES), t->terms };
}

static void blocks_to_bins(const lmx_fourier_transform *t, const lmx_series *x, const lmx_series *y,
                           double *scratch)
{
    const lmx_series shifted = terms_in(t, scratch);
    lmx_series_clear(y);
    for (size_t b = 0; b * t->block < t->bins; b++) {
        const lmx_series part = part_of(t, y, b);
        memcpy(shifted.re, x->re, x->n * sizeof *x->re);
        memcpy(shifted.im, x->im, x->n * sizeof *x->im);
        if (b > 0)
            shift(t, &shifted, b, 0);
        t->kernel->product(&shifted, &t->to, &part);
    }
}

static void blocks_from_bins(const lmx_fourier_transform *t, const lmx_series *v,
                             const lmx_series *u, double *scratch)
{
    const lmx_series first = part_of(t, v, 0), more = terms_in(t, scratch);
    t->kernel->product(&first, &t->from, u);
    for (size_t b = 1; b * t->block < t->bins; b++) {
        const lmx_series part = part_of(t, v, b);
        lmx_series_clear(&more);
        t->kernel->product(&part, &t->from, &more);
        shift(t, &more, b, 1);
        add(&more, u);
    }
}

/* The cyclic convolution with the chirp; with conjugate, its adjoint. */
static void filter(const lmx_fourier_transform *t, int conjugate, double *re, double *im,
                   double *work)
{
    t->kernel->fft(&t->fft, re, im, work);
    t->kernel->multiply(re, im, t->filter_re, t->filter_im, t->size, conjugate);
    t->kernel->fft(&t->fft, im, re, work);
}

void lmx_fourier_to_bins(const lmx_fourier_transform *t, const lmx_series *x, const lmx_series *y,
                         double *scratch)
{
    const size_t m = t->bins;
    if (t->size == 0) {
        blocks_to_bins(t, x, y, scratch);
        return;
    }
    double *const re = scratch, *const im = scratch + t->size, *const work = scratch + 2 * t->size;
    load(t, x, t->term_cos, t->term_sin, 0, re, im);
    if (t->chirp) {
        filter(t, 0, re, im, work);
        t->kernel->multiply(re, im, t->bin_cos, t->bin_sin, m, 0);
    } else {
        t->kernel->fft(&t->fft, im, re, work);
    }
    memcpy(y->re, re, m * sizeof *re);
    memcpy(y->im, im, m * sizeof *im);
}

void lmx_fourier_from_bins(const lmx_fourier_transform *t, const lmx_series *v, const lmx_series *u,
                           double *scratch)
{
    if (t->size == 0) {
        blocks_from_bins(t, v, u, scratch);
        return;
    }
    double *const re = scratch, *const im = scratch + t->size, *const work = scratch + 2 * t->size;
    load(t, v, t->bin_cos, t->bin_sin, 1, re, im);
    if (t->chirp)
        filter(t, 1, re, im, work);
    else
        t->kernel->fft(&t->fft, re, im, work);
    t->kernel->multiply(re, im, t->term_cos, t->term_sin, u->n, 1);
    add(&(lmx_series){ re, im, u->n }, u);
}
