/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Fourier head: a row of coefficients a[0] ... a[N] is the density
 *
 *     p(x) = |A(x)|^2 / (2 c[0])  on [-1, 1],
 *     A(x) = sum_n a[n] e^(i pi n x),   c[0] = sum_n |a[n]|^2.
 *
 * Everything is computed in double, whatever the type of the coefficients, and rounded once.  The
 * kernels (kernels/fourier/fourier.c) are compiled for double alone; the tables of all types of a
 * tier share them.
 *
 * A point x enters through the powers of w = e^(i pi x), w^n = near[n % 32] far[n / 32].  Both
 * factors come from an exactly reduced angle, so that the error does not grow with n.
 */
#ifndef LMX_FOURIER_H
#define LMX_FOURIER_H

#include <stddef.h>

#include "base/common.h"

/* The number of terms that share a far power, and the virtual width of the sums over n. */
#define LMX_FOURIER_LANES 32

/*
 * n complex numbers, with LMX_FOURIER_LANES zeros before them and at least as many behind: kernels
 * load whole vectors there.
 */
typedef struct lmx_series {
    double *re, *im;
    size_t n;
} lmx_series;

/* The powers w^n of one w, in two tables. */
typedef struct lmx_powers {
    double near_cos[LMX_FOURIER_LANES], near_sin[LMX_FOURIER_LANES];
    double *far_cos, *far_sin;
} lmx_powers;

/* The number of columns that are transformed together. */
#define LMX_FFT_PANEL 8

/*
 * The plan of X[k] = sum_n x[n] e^(-2 i pi n k / N), N a power of two, at least 2^6.  With re and
 * im exchanged it is the inverse transform, times N.  N is split in rows x cols, both at least
 * LMX_FFT_PANEL.
 */
typedef struct lmx_fft {
    size_t n, cols;
    const double *cos, *sin; /* of -2 pi k / N, k < N */
    const double *twiddle_cos,
        *twiddle_sin; /* [i cols + j]: of -2 pi i j / N, i < rows, j < cols */
} lmx_fft;

/* The doubles of workspace that a transform needs. */
#define LMX_FFT_WORK(n, cols) (2 * (n) + 4 * LMX_FFT_PANEL * ((n) / (cols) + (cols)))

/*
 * A table of rotations e^(i pi ...), a matrix whose rows are `row` apart, a multiple of
 * LMX_FOURIER_LANES.
 */
typedef struct lmx_rotations {
    const double *cos, *sin;
    size_t row;
} lmx_rotations;

/* The kernels of the Fourier head, one set for each tier. */
typedef struct lmx_fourier_kernel {
    void (*widen)(const float *x, size_t n, double *y);
    void (*narrow)(const double *x, size_t n, float *y);
    /* the largest absolute value; NaN if a number is not finite */
    double (*largest)(const double *x, size_t n);
    double (*power)(const lmx_series *a); /* sum |a[n]|^2 */

    /* cos and sin of pi k[i] / m, for integers |k[i]| <= m */
    void (*roots)(const double *k, size_t n, double m, double *cos, double *sin);
    /* cos and sin of pi k[i] x, for integers k[i] <= 2^31 */
    void (*phases)(const double *k, size_t n, double x, double *cos, double *sin);

    /* sum_n a[n] w^n */
    void (*sum)(const lmx_series *a, const lmx_powers *w, double value[2]);
    /* t[n] += value conj(w^n) */
    void (*spread)(const double value[2], const lmx_powers *w, const lmx_series *t);
    /* y[i] += sum_k x[k] w[k][i] */
    void (*product)(const lmx_series *x, const lmx_rotations *w, const lmx_series *y);
    /* transforms re + i im in place */
    void (*fft)(const lmx_fft *f, double *re, double *im, double *work);
    /* re + i im *= cos + i sin, or cos - i sin with conjugate */
    void (*multiply)(double *re, double *im, const double *cos, const double *sin, size_t n,
                     int conjugate);
    /* c[j] = sum_n a[n + j] conj(a[n]), j < a->n */
    void (*correlate)(const lmx_series *a, const lmx_series *c);
    /* t[n] += sum_j g[j] a[n - j] + conj(g[j]) a[n + j], the vjp of correlate() */
    void (*correlate_vjp)(const lmx_series *g, const lmx_series *a, const lmx_series *t);
} lmx_fourier_kernel;

#endif
