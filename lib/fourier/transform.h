/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the terms of a folded row to the centres of all bins and back:
 *
 *     y[j] = sum_n x[n] e^(i pi n x[j]),  u[n] = sum_j v[j] e^(-i pi n x[j]),   x[j] = -1 + (2 j + 1) / m
 *
 * Few terms: products of blocks of bins with the matrix of the first block, for which the terms are multiplied by
 * e^(2 i pi n s / m), s the first bin of the block.  Else a discrete Fourier transform of length m after the terms have
 * been multiplied by (-1)^n e^(i pi n / m); where m is no power of two, by the chirp transform (Bluestein 1970): with
 * 2 n j = n^2 + j^2 - (j - n)^2 it is a convolution with e^(-i pi k^2 / m), done by transforms of a length that is one.
 */
#ifndef LMX_FOURIER_TRANSFORM_H
#define LMX_FOURIER_TRANSFORM_H

#include "fourier/fft_plan.h"

typedef struct lmx_fourier_transform {
    const lmx_fourier_kernel *kernel;
    size_t terms, bins;
    size_t size; /* of discrete transforms; 0: none */
    int chirp;
    lmx_turns to, from; /* without transforms: of a block of bins, */
    size_t block;       /* which has so many, */
    lmx_turns shift;    /* and what terms are multiplied by for each block, the first as they are */
    lmx_fft fft;
    double *term_cos, *term_sin;   /* what terms are multiplied by */
    double *bin_cos, *bin_sin;     /* chirp: and bins */
    double *filter_re, *filter_im; /* chirp: the transform of the other factor, over size */
} lmx_fourier_transform;

/* For so many terms (at most as many as bins) and bins: bytes, and doubles for each worker, at a multiple of 64 bytes. */
size_t lmx_fourier_transform_bytes(size_t terms, size_t bins);
size_t lmx_fourier_transform_room(size_t terms, size_t bins);

/* memory: as many bytes as said, at a multiple of 64. */
void lmx_fourier_transform_open(lmx_fourier_transform *t, const lmx_fourier_kernel *kernel,
                                size_t terms, size_t bins, void *memory);

void lmx_fourier_to_bins(const lmx_fourier_transform *t, const lmx_series *x, const lmx_series *y,
                         double *room);
/* Adds to u. */
void lmx_fourier_from_bins(const lmx_fourier_transform *t, const lmx_series *v, const lmx_series *u,
                           double *room);

#endif
