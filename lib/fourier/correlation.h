/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The correlation c[k] = sum_n a[n + k] conj(a[n]) of a row, and the gradient through it.  Of many terms by discrete
 * transforms around a circle that has room for 2 N + 1: c is the transform of |A|^2 there, and the gradient that of
 * A times the real function whose terms are those by c.
 */
#ifndef LMX_FOURIER_CORRELATION_H
#define LMX_FOURIER_CORRELATION_H

#include "fourier/rows.h"

/* Fills f->fft, whose tables are in memory. */
void lmx_fourier_circle_open(lmx_fourier *f, double *memory);

/* d->c from d->a */
void lmx_fourier_correlate(const lmx_fourier *f, lmx_fourier_desk *d);
/* adds to d->t what follows from d->g, the gradient by d->c; after lmx_fourier_correlate() */
void lmx_fourier_pull(const lmx_fourier *f, lmx_fourier_desk *d);

#endif
