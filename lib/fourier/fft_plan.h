/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Series of complex numbers, their angles, and discrete Fourier transforms: tables, workspace, and the lengths of
 * those that correlate a series with itself.
 */
#ifndef LMX_FOURIER_FFT_PLAN_H
#define LMX_FOURIER_FFT_PLAN_H

#include <string.h>

#include "kernels/fourier/fourier.h"

/* n, or the next multiple of step. */
LMX_INLINE size_t lmx_multiple(size_t n, size_t step) { return (n + step - 1) / step * step; }

LMX_INLINE void lmx_series_clear(const lmx_series *s)
{
    memset(s->re, 0, s->n * sizeof *s->re);
    memset(s->im, 0, s->n * sizeof *s->im);
}

/* start + linear i + square i^2 modulo 2 m for i < n, as integers from -m to m; m <= 2^31. */
void lmx_fourier_angles(uint64_t start, uint64_t linear, uint64_t square, uint64_t m, size_t n,
                        double *index);

/* A discrete transform of length n, whose tables take 4 n doubles; index: n doubles, for the time being. */
void lmx_fourier_fft_open(lmx_fft *fft, const lmx_fourier_kernel *kernel, size_t n, double *memory,
                          double *index);
size_t lmx_fourier_fft_work(size_t n);

/* Points of the circle, 0: none is needed; doubles of its tables, and of the room that a desk has for it. */
size_t lmx_fourier_circle(size_t terms);
size_t lmx_fourier_circle_size(size_t circle);
size_t lmx_fourier_circle_room(size_t circle);

#endif
