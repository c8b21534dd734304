/* SPDX-License-Identifier: Apache-2.0 */
/* What cross_entropy's options do to contiguous reals: soft targets and softcap.  See soft_targets.c. */
#ifndef LMX_SOFT_TARGETS_H
#define LMX_SOFT_TARGETS_H

#include "loss.h"
#include "simd/simd.h"

void LMX_K(soften)(const void *y, const void *weight, size_t n, double keep, double add, void *u);
void LMX_K(mix)(const void *o, const void *u, size_t n, double pivot, lmx_mix *mix);
void LMX_K(subtract)(const void *u, size_t n, double scale, void *g);
void LMX_K(softcap)(void *o, size_t n, double cap);
void LMX_K(softcap_slope)(const void *o, size_t n, double cap, void *g);

#endif
