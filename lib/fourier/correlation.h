/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The correlation c[k] = sum_n a[n + k] conj(a[n]) of a row's coefficients, and its vjp.
 *
 * Rows of many terms go through FFTs of a length of at least 2 N + 1, so that the cyclic
 * correlation equals the linear one.  With A the transform of the zero-padded row, c is the inverse
 * transform of |A|^2; the gradient is the inverse transform of A times the real function whose
 * Fourier coefficients are the gradient by c.
 */
#ifndef LMX_FOURIER_CORRELATION_H
#define LMX_FOURIER_CORRELATION_H

#include "fourier/rows.h"

/*
 * Fills f->fft; its tables are placed in memory, which has lmx_fourier_correlation_tables()
 * doubles.
 */
void lmx_fourier_correlation_open(lmx_fourier *f, double *memory);

/* Computes ws->c from ws->a. */
void lmx_fourier_correlate(const lmx_fourier *f, lmx_fourier_workspace *ws);
/*
 * Adds to ws->t, the gradient by a, the part that ws->g, the gradient by c, contributes.  Call it
 * after lmx_fourier_correlate(), whose transform of a it uses.
 */
void lmx_fourier_correlate_vjp(const lmx_fourier *f, lmx_fourier_workspace *ws);

#endif
