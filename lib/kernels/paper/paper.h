/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_PAPER_H
#define LMX_PAPER_H

#include "kernels/kernels.h"
#include "simd/simd.h"

void LMX_K(exp_split)(const void *x, size_t n, void *m, int32_t *e);
void LMX_K(exp)(const void *x, size_t n, void *y);
void LMX_K(log)(const void *x, size_t n, int k, void *y);
void LMX_K(two_pass)(const void *x, size_t n, void *y, int stream);
void LMX_K(three_pass_recompute)(const void *x, size_t n, void *y, int stream);
void LMX_K(three_pass_reload)(const void *x, size_t n, void *y, int stream);
void LMX_K(copy)(const void *x, size_t n, void *y, int stream);

#endif
