/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/transform.h"

#include "base/arena.h"
#include "base/vectors.h"

/* Terms times bins up to which one block has them all; of several blocks each has about half of that. */
#define FEW 4096

/* Bins beyond which a transform leaves the second-level cache. */
#define IN_CACHE 32768

/* A transform has two sides of at least LMX_FFT_PANEL. */
#define LEAST (LMX_FFT_PANEL * LMX_FFT_PANEL)

static int is_power_of_2(size_t n) { return (n & (n - 1)) == 0; }

/* Terms up to which blocks are faster than a transform, or the chirp with its two of twice the length: measured. */
static size_t few_terms(size_t bins, int plain)
{
    const size_t few = plain ? 16 : 64;
    return bins > IN_CACHE ? few * 5 / 2 : few;
}

static size_t transform_size(size_t terms, size_t bins)
{
    const int plain = is_power_of_2(bins) && bins >= LEAST;
    if (bins <= FEW / terms || terms <= few_terms(bins, plain))
        return 0;
    if (plain)
        return bins;
    size_t n = LEAST;
    while (n < terms + bins - 1)
        n *= 2;
    return n;
}

/* Bins of a block. */
static size_t block_of(size_t terms, size_t bins)
{
    return bins <= FEW / terms ? bins : lmx_multiple(FEW / 2 / terms, LMX_FOURIER_LANES);
}

/* Numbers of a matrix, cos and sin. */
static size_t matrix_size(size_t rows, size_t cols)
{
    return 2 * rows * lmx_multiple(cols, LMX_FOURIER_LANES);
}

size_t lmx_fourier_transform_room(size_t terms, size_t bins)
{
    const size_t n = transform_size(terms, bins);
    return n == 0 ? matrix_size(1, terms) : 2 * n + lmx_fourier_fft_work(n);
}

/* ------------------------------------------------------------- tables --- */

static double *take(lmx_arena *a, size_t n) { return lmx_arena_take(a, n * sizeof(double)); }

static lmx_turns take_matrix(lmx_arena *a, size_t rows, size_t cols)
{
    const size_t row = lmx_multiple(cols, LMX_FOURIER_LANES);
    double *const cos = take(a, rows * row);
    return (lmx_turns){ cos, take(a, rows * row), row };
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

/* All tables, and what is needed while they are filled: numbers of angles, and the room of a transform. */
static void divide(lmx_fourier_transform *t, lmx_arena *a, double **fft, double **index,
                   double **room)
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
    *room = take(a, lmx_fourier_transform_room(n, m));
}

size_t lmx_fourier_transform_bytes(size_t terms, size_t bins)
{
    lmx_fourier_transform t;
    lmx_arena counting = { NULL, 0 };
    double *fft, *index, *room;
    begin(&t, NULL, terms, bins);
    divide(&t, &counting, &fft, &index, &room);
    return counting.used;
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

static void open_blocks(lmx_fourier_transform *t, double *index)
{
    const size_t m = t->bins, n = t->terms, block = t->block;
    memset(fill(t->to.cos), 0, matrix_size(n, block) * sizeof(double));
    memset(fill(t->from.cos), 0, matrix_size(block, n) * sizeof(double));
    for (size_t k = 0; k < n; k++) {
        lmx_fourier_angles(k * (1 + m), 2 * k, 0, m, block, index);
        t->kernel->roots(index, block, (double)m, fill(t->to.cos) + k * t->to.row,
                         fill(t->to.sin) + k * t->to.row);
    }
    for (size_t j = 0; j < block; j++) {
        double *const sin = fill(t->from.sin) + j * t->from.row;
        lmx_fourier_angles(0, 2 * j + 1 + m, 0, m, n, index);
        t->kernel->roots(index, n, (double)m, fill(t->from.cos) + j * t->from.row, sin);
        for (size_t k = 0; k < n; k++)
            sin[k] = -sin[k];
    }
    for (size_t b = 0; b * block < m; b++) {
        lmx_fourier_angles(0, 2 * b * block, 0, m, n, index);
        t->kernel->roots(index, n, (double)m, fill(t->shift.cos) + b * t->shift.row,
                         fill(t->shift.sin) + b * t->shift.row);
    }
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
                                size_t terms, size_t bins, void *memory)
{
    lmx_arena parts = { memory, 0 };
    double *fft = NULL, *index, *room;
    begin(t, kernel, terms, bins);
    divide(t, &parts, &fft, &index, &room);
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
    open_filter(t, index, room);
}

/* --------------------------------------------------------- transforms --- */

static void add(const lmx_series *x, const lmx_series *u)
{
    lmx_axpy(1, x->re, x->n, u->re);
    lmx_axpy(1, x->im, x->n, u->im);
}

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

/* Block b of a value for each bin. */
static lmx_series part_of(const lmx_fourier_transform *t, const lmx_series *all, size_t b)
{
    const size_t from = b * t->block, left = t->bins - from;
    return (lmx_series){ all->re + from, all->im + from, left < t->block ? left : t->block };
}

/* The terms, or what is to be added to them, multiplied for block b. */
static void shift(const lmx_fourier_transform *t, const lmx_series *x, size_t b, int back)
{
    t->kernel->twist(x->re, x->im, t->shift.cos + b * t->shift.row, t->shift.sin + b * t->shift.row,
                     x->n, back);
}

static lmx_series terms_in(const lmx_fourier_transform *t, double *room)
{
    return (lmx_series){ room, room + lmx_multiple(t->terms, LMX_FOURIER_LANES), t->terms };
}

static void blocks_to_bins(const lmx_fourier_transform *t, const lmx_series *x, const lmx_series *y,
                           double *room)
{
    const lmx_series shifted = terms_in(t, room);
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
                             const lmx_series *u, double *room)
{
    const lmx_series first = part_of(t, v, 0), more = terms_in(t, room);
    t->kernel->product(&first, &t->from, u);
    for (size_t b = 1; b * t->block < t->bins; b++) {
        const lmx_series part = part_of(t, v, b);
        lmx_series_clear(&more);
        t->kernel->product(&part, &t->from, &more);
        shift(t, &more, b, 1);
        add(&more, u);
    }
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
        blocks_to_bins(t, x, y, room);
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
        blocks_from_bins(t, v, u, room);
        return;
    }
    double *const re = room, *const im = room + t->size, *const work = room + 2 * t->size;
    load(t, v, t->bin_cos, t->bin_sin, 1, re, im);
    if (t->chirp)
        filter(t, 1, re, im, work);
    else
        t->kernel->fft(&t->fft, re, im, work);
    t->kernel->twist(re, im, t->term_cos, t->term_sin, u->n, 1);
    add(&(lmx_series){ re, im, u->n }, u);
}
