/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discrete Fourier transforms of 2^k complex doubles, k >= 6, by Bailey's four steps: the data are
 * a matrix of rows x cols; its columns are transformed, multiplied by twiddle factors and
 * transposed, and the columns of the transpose are transformed.  A panel of WIDE columns goes
 * through all of its passes in a cache, and vectors run across it, so that they are full in every
 * pass.  Columns are transformed by Stockham's passes of radix 4, with one of radix 2 if the length
 * is an odd power of two; a pass has the same twiddle factors for a whole panel.
 */
#include "kernels/fourier/fft.h"
#include "simd/transpose.h"

#if defined(LMX_REAL_F64)

#  define WIDE LMX_FFT_PANEL

typedef struct {
    vreal re, im;
} vcomplex;

LMX_INLINE vcomplex take(const double *re, const double *im, size_t at)
{
    return (vcomplex){ v_load(re + at), v_load(im + at) };
}
LMX_INLINE void put(double *re, double *im, size_t at, vcomplex v)
{
    v_store(re + at, v.re);
    v_store(im + at, v.im);
}
LMX_INLINE vcomplex plus(vcomplex a, vcomplex b)
{
    return (vcomplex){ v_add(a.re, b.re), v_add(a.im, b.im) };
}
LMX_INLINE vcomplex minus(vcomplex a, vcomplex b)
{
    return (vcomplex){ v_sub(a.re, b.re), v_sub(a.im, b.im) };
}
LMX_INLINE vcomplex times(vcomplex a, vreal c, vreal s)
{
    return (vcomplex){ v_fma(a.re, c, v_mul(a.im, v_sub(v_set1(0), s))),
                       v_fma(a.re, s, v_mul(a.im, c)) };
}

/*
 * A panel in two buffers: each pass reads one and writes the other; `at` says which one holds the
 * data.
 */
typedef struct {
    double *re[2], *im[2];
    int at;
} panel;

/* One pass of radix 4 over n elements, each of them s adjacent numbers. */
static void pass_4(const lmx_fft *f, panel *x, size_t n, size_t s)
{
    const double *const re = x->re[x->at], *const im = x->im[x->at];
    double *const to_re = x->re[!x->at], *const to_im = x->im[!x->at];
    const size_t quarter = n / 4, step = f->n / n;
    for (size_t p = 0; p < quarter; p++) {
        const vreal c1 = v_set1(f->cos[p * step]), s1 = v_set1(f->sin[p * step]);
        const vreal c2 = v_set1(f->cos[2 * p * step]), s2 = v_set1(f->sin[2 * p * step]);
        const vreal c3 = v_set1(f->cos[3 * p * step]), s3 = v_set1(f->sin[3 * p * step]);
        for (size_t q = 0; q < s; q += V_LANES) {
            const vcomplex a = take(re, im, s * p + q), b = take(re, im, s * (p + quarter) + q);
            const vcomplex c = take(re, im, s * (p + 2 * quarter) + q),
                           d = take(re, im, s * (p + 3 * quarter) + q);
            const vcomplex e = plus(a, c), o = plus(b, d), g = minus(a, c), h = minus(b, d);
            /* g - i h and g + i h */
            const vcomplex u = { v_add(g.re, h.im), v_sub(g.im, h.re) },
                           v = { v_sub(g.re, h.im), v_add(g.im, h.re) };
            put(to_re, to_im, s * 4 * p + q, plus(e, o));
            put(to_re, to_im, s * (4 * p + 1) + q, times(u, c1, s1));
            put(to_re, to_im, s * (4 * p + 2) + q, times(minus(e, o), c2, s2));
            put(to_re, to_im, s * (4 * p + 3) + q, times(v, c3, s3));
        }
    }
    x->at = !x->at;
}

static void pass_2(panel *x, size_t s)
{
    const double *const re = x->re[x->at], *const im = x->im[x->at];
    double *const to_re = x->re[!x->at], *const to_im = x->im[!x->at];
    for (size_t q = 0; q < s; q += V_LANES) {
        const vcomplex a = take(re, im, q), b = take(re, im, s + q);
        put(to_re, to_im, q, plus(a, b));
        put(to_re, to_im, s + q, minus(a, b));
    }
    x->at = !x->at;
}

/* Transforms WIDE columns of n rows that are `row` apart; the result is in the panel. */
static void columns(const lmx_fft *f, panel *x, size_t n, const double *re, const double *im,
                    size_t row)
{
    x->at = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t q = 0; q < WIDE; q += V_LANES)
            put(x->re[0], x->im[0], i * WIDE + q, take(re, im, i * row + q));
    size_t s = WIDE;
    for (; n >= 4; n /= 4, s *= 4)
        pass_4(f, x, n, s);
    if (n == 2)
        pass_2(x, s);
}

/* Multiplies the panel by its twiddle factors and stores it as rows of the transpose. */
static void twiddle_and_transpose(const lmx_fft *f, const panel *x, size_t from, double *re,
                                  double *im)
{
    const size_t rows = f->n / f->cols;
    const double *const own_re = x->re[x->at], *const own_im = x->im[x->at];
    for (size_t i = 0; i < rows; i += V_LANES)
        for (size_t q = 0; q < WIDE; q += V_LANES) {
            vreal part_re[V_LANES], part_im[V_LANES];
            for (size_t k = 0; k < V_LANES; k++) {
                const size_t at = (i + k) * f->cols + from + q;
                const vcomplex v = times(take(own_re, own_im, (i + k) * WIDE + q),
                                         v_load(f->twiddle_cos + at), v_load(f->twiddle_sin + at));
                part_re[k] = v.re;
                part_im[k] = v.im;
            }
            v_transpose(part_re);
            v_transpose(part_im);
            for (size_t k = 0; k < V_LANES; k++) {
                v_store(re + (from + q + k) * rows + i, part_re[k]);
                v_store(im + (from + q + k) * rows + i, part_im[k]);
            }
        }
}

void LMX_K(fourier_fft)(const lmx_fft *f, double *re, double *im, double *work)
{
    const size_t n = f->n, rows = n / f->cols, most = rows > f->cols ? rows : f->cols;
    double *const transposed_re = work, *const transposed_im = work + n,
                  *const scratch = work + 2 * n;
    panel x = { { scratch, scratch + 2 * most * WIDE },
                { scratch + most * WIDE, scratch + 3 * most * WIDE },
                0 };
    for (size_t from = 0; from < f->cols; from += WIDE) {
        columns(f, &x, rows, re + from, im + from, f->cols);
        twiddle_and_transpose(f, &x, from, transposed_re, transposed_im);
    }
    for (size_t from = 0; from < rows; from += WIDE) {
        columns(f, &x, f->cols, transposed_re + from, transposed_im + from, rows);
        for (size_t i = 0; i < f->cols; i++)
            for (size_t q = 0; q < WIDE; q += V_LANES)
                put(re, im, i * rows + from + q, take(x.re[x.at], x.im[x.at], i * WIDE + q));
    }
}

#endif
