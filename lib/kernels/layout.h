/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_LAYOUT_H
#define LMX_LAYOUT_H

#include "kernels/kernels.h"
#include "simd/simd.h"

void LMX_K(gather)(const void *x, size_t n, const lmx_gather *how, void *out);
void LMX_K(scatter)(const void *z, size_t n, const lmx_gather *how, void *y);
void LMX_K(put_value)(void *out, double value);
double LMX_K(get)(const void *x);
void LMX_K(fill)(void *out, size_t n, ptrdiff_t stride, double value);

#endif
