/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans of discrete Fourier transforms: their tables of angles, their workspace, and the length of
 * those that correlate a series with itself.
 */
#ifndef LMX_FOURIER_FFT_PLAN_H
#define LMX_FOURIER_FFT_PLAN_H

#include <string.h>

#include "kernels/fourier/fourier.h"

/* n rounded up to a multiple of step. */
LMX_INLINE size_t lmx_multiple(size_t n, size_t step) { return (n + step - 1) / step * step; }

LMX_INLINE void lmx_series_clear(const lmx_series *s)
{
    memset(s->re, 0, s->n * sizeof *s->re);
    memset(s->im, 0, s->n * sizeof *s->im);
}

/*
 * index[i] = start + linear i + square i^2 modulo 2 m for i < n, as integers from -m to m; m <=
 * 2^31.
 */
void lmx_fourier_angles(uint64_t start, uint64_t linear, uint64_t square, uint64_t m, size_t n,
                        double *index);

/*
 * Makes the plan of a transform of length n.  Its tables stay in memory, 4 n doubles; index is
 * scratch of n doubles.
 */
void lmx_fourier_fft_open(lmx_fft *fft, const lmx_fourier_kernel *kernel, size_t n, double *memory,
                          double *index);
/* The doubles of workspace that a transform of length n needs. */
size_t lmx_fourier_fft_work(size_t n);

/* The FFT length of the correlation of so many terms; 0 where direct sums are faster. */
size_t lmx_fourier_correlation_length(size_t terms);
/* The doubles of tables for an FFT length, those of lmx_fourier_fft_open() and its index. */
size_t lmx_fourier_correlation_tables(size_t fft_length);
/* The doubles of scratch that each workspace has for the correlation. */
size_t lmx_fourier_correlation_scratch(size_t fft_length);

#endif
