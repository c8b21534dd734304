/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transform from the terms of a folded row to the centres of all bins, and its adjoint:
 *
 *     y[j] = sum_n x[n] e^(i pi n x[j]),  u[n] = sum_j v[j] e^(-i pi n x[j]),
 *     x[j] = -1 + (2 j + 1) / m
 *
 * Few terms are multiplied by a matrix of rotations.  It has the columns of the first block of
 * bins; for the block that begins at bin s the terms are first multiplied by e^(2 i pi n s / m).
 * More terms go through a discrete Fourier transform of length m, after they have been multiplied
 * by the twiddles (-1)^n e^(i pi n / m).  If m is not a power of two, that is done by the chirp
 * transform (Bluestein 1970): with 2 n j = n^2 + j^2 - (j - n)^2 it is a convolution with e^(-i pi
 * k^2 / m), computed by transforms whose length is a power of two.
 */
#ifndef LMX_FOURIER_TRANSFORM_H
#define LMX_FOURIER_TRANSFORM_H

#include "fourier/fft_plan.h"

typedef struct lmx_fourier_transform {
    const lmx_fourier_kernel *kernel;
    size_t terms, bins;
    size_t size; /* length of the discrete transforms; 0: matrix products by blocks of bins */
    int chirp;   /* size differs from bins: the chirp transform */

    /* for matrix products */
    size_t block;        /* bins of a block */
    lmx_rotations to;    /* rotations from the terms to the bins of the first block */
    lmx_rotations from;  /* their conjugates, from the bins of the first block to the terms */
    lmx_rotations shift; /* one row for each block: the factors of the terms, 1 for the first */

    /* for discrete transforms */
    lmx_fft fft;
    double *term_cos, *term_sin;   /* twiddles of the terms */
    double *bin_cos, *bin_sin;     /* chirp: twiddles of the bins */
    double *filter_re, *filter_im; /* chirp: the transform of e^(-i pi k^2 / m), over size */
} lmx_fourier_transform;

/* The bytes of tables for so many terms (at most as many as bins) and bins. */
size_t lmx_fourier_transform_bytes(size_t terms, size_t bins);
/* The doubles of scratch that each worker needs, at a multiple of 64 bytes. */
size_t lmx_fourier_transform_scratch(size_t terms, size_t bins);

/* Fills t; its tables stay in memory, lmx_fourier_transform_bytes() at a multiple of 64. */
void lmx_fourier_transform_open(lmx_fourier_transform *t, const lmx_fourier_kernel *kernel,
                                size_t terms, size_t bins, void *memory);

/* Computes y from x. */
void lmx_fourier_to_bins(const lmx_fourier_transform *t, const lmx_series *x, const lmx_series *y,
                         double *scratch);
/* The adjoint: adds to u what follows from v. */
void lmx_fourier_from_bins(const lmx_fourier_transform *t, const lmx_series *v, const lmx_series *u,
                           double *scratch);

#endif
