/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_FOURIER_FFT_H
#define LMX_FOURIER_FFT_H

#include "kernels/fourier/fourier.h"
#include "simd/simd.h"

#if defined(LMX_REAL_F64)
void LMX_K(fourier_fft)(const lmx_fft *f, double *re, double *im, double *work);
#endif

#endif
