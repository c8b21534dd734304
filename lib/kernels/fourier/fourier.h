/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Fourier head: a row of coefficients a[0] ... a[N] is the density
 *
 *     p(x) = |A(x)|^2 / (2 c[0])  on [-1, 1],   A(x) = sum_n a[n] e^(i pi n x),   c[0] = sum_n |a[n]|^2.
 *
 * Everything is computed in double, whatever the type of the coefficients, and rounded once.  What is done with
 * vectors (kernels/fourier/fourier.c) is compiled for double alone; the tables of all types of a tier share it.
 *
 * A point x is known by the powers of e^(i pi x).  Each is the product of two that come from an exactly reduced
 * angle, so that the error does not grow with n: w^n = near[n % 32] far[n / 32].
 */
#ifndef LMX_FOURIER_H
#define LMX_FOURIER_H

#include <stddef.h>

#include "base/common.h"

/* Terms that share a far power: the virtual width of the sums over n. */
#define LMX_FOURIER_LANES 32

/* n complex numbers, with LMX_FOURIER_LANES zeros before them and at least as many behind. */
typedef struct lmx_series {
    double *re, *im;
    size_t n;
} lmx_series;

typedef struct lmx_powers {
    double near_cos[LMX_FOURIER_LANES], near_sin[LMX_FOURIER_LANES];
    double *far_cos, *far_sin;
} lmx_powers;

/* Columns that are transformed together. */
#define LMX_FFT_PANEL 8

/*
 * X[k] = sum_n x[n] e^(-2 i pi n k / N) for N = 2^6 and more; with re and im exchanged the inverse, times N.
 * N / cols and cols, at least LMX_FFT_PANEL, divide it in two steps.
 */
typedef struct lmx_fft {
    size_t n, cols;
    const double *cos, *sin; /* of -2 pi k / N, k < N */
    const double *twist_cos,
        *twist_sin; /* of -2 pi i j / N at i cols + j, i < N / cols, j < cols */
} lmx_fft;

/* Doubles that a transform works in. */
#define LMX_FFT_WORK(n, cols) (2 * (n) + 4 * LMX_FFT_PANEL * ((n) / (cols) + (cols)))

/* A matrix of e^(i pi ...), rows `row` apart, a multiple of LMX_FOURIER_LANES. */
typedef struct lmx_turns {
    const double *cos, *sin;
    size_t row;
} lmx_turns;

typedef struct lmx_fourier_kernel {
    void (*widen)(const float *x, size_t n, double *y);
    void (*narrow)(const double *x, size_t n, float *y);
    /* The largest absolute value; NaN if a number is not finite. */
    double (*largest)(const double *x, size_t n);
    double (*power)(const lmx_series *a); /* sum |a[n]|^2 */

    /* cos and sin of pi k[i] / m, of integers |k[i]| <= m; and of pi k[i] x, of integers k[i] <= 2^31. */
    void (*roots)(const double *k, size_t n, double m, double *cos, double *sin);
    void (*turns)(const double *k, size_t n, double x, double *cos, double *sin);

    /* sum_n a[n] w^n */
    void (*sum)(const lmx_series *a, const lmx_powers *w, double value[2]);
    /* t[n] += value conj(w^n) */
    void (*spread)(const double value[2], const lmx_powers *w, const lmx_series *t);
    /* y[i] += sum_k x[k] w[k][i] */
    void (*product)(const lmx_series *x, const lmx_turns *w, const lmx_series *y);
    void (*fft)(const lmx_fft *f, double *re, double *im, double *work);
    /* re + i im times cos + i sin, or with `back` cos - i sin */
    void (*twist)(double *re, double *im, const double *cos, const double *sin, size_t n, int back);
    /* c[j] = sum_n a[n + j] conj(a[n]), j < a->n */
    void (*correlate)(const lmx_series *a, const lmx_series *c);
    /* t[n] += sum_j g[j] a[n - j] + conj(g[j]) a[n + j], the gradient through correlate() */
    void (*pull)(const lmx_series *g, const lmx_series *a, const lmx_series *t);
} lmx_fourier_kernel;

#endif
