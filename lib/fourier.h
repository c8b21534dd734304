/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Fourier head: a row of coefficients a[0] ... a[N] is the density
 *
 *     p(x) = |A(x)|^2 / (2 c[0])  on [-1, 1],   A(x) = sum_n a[n] e^(i pi n x),   c[0] = sum_n |a[n]|^2.
 *
 * Everything is computed in double, whatever the type of the coefficients, and rounded once.  What is done with
 * vectors (ops/fourier.c) is compiled for double alone; the tables of all types of a tier share it.
 *
 * A point x is known by the powers of e^(i pi x).  Each is the product of two that come from an exactly reduced
 * angle, so that the error does not grow with n: w^n = near[n % 32] far[n / 32].
 */
#ifndef LMX_FOURIER_H
#define LMX_FOURIER_H

#include <stddef.h>

#include "chunk.h"

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
    /* c[j] = sum_n a[n + j] conj(a[n]), j < a->n */
    void (*correlate)(const lmx_series *a, const lmx_series *c);
    /* t[n] += sum_j g[j] a[n - j] + conj(g[j]) a[n + j], the gradient through correlate() */
    void (*pull)(const lmx_series *g, const lmx_series *a, const lmx_series *t);
} lmx_fourier_kernel;

#endif
