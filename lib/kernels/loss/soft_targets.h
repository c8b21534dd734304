/* SPDX-License-Identifier: Apache-2.0 */
/* Options of losses on contiguous reals: soft_targets.c and adversarial.c. */
#ifndef LMX_SOFT_TARGETS_H
#define LMX_SOFT_TARGETS_H

#include "kernels/loss_state.h"
#include "simd/simd.h"

void LMX_K_REAL(soften)(const void *y, const void *weight, size_t n, double keep, double add,
                        void *u);
void LMX_K_REAL(mix)(const void *o, const void *u, size_t n, double pivot, lmx_mix *mix);
void LMX_K_REAL(subtract)(const void *u, size_t n, double scale, void *g);
void LMX_K_REAL(spread)(const void *h, const void *a, size_t n, lmx_dd own, lmx_mix *mix);
void LMX_K_REAL(spread_vjp)(const void *h, size_t n, lmx_dd own, double scale, void *g, void *a);
void LMX_K_REAL(softcap)(void *o, size_t n, double cap);
void LMX_K_REAL(softcap_slope)(const void *o, size_t n, double cap, void *g);

#endif
