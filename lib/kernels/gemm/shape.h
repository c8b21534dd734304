/* SPDX-License-Identifier: Apache-2.0 */
/* How many vectors of a product a tier keeps in registers, which the packing of operands follows. */
#ifndef LMX_TILE_SHAPE_H
#define LMX_TILE_SHAPE_H

#include "simd/simd.h"

#if defined(LMX_TIER_AVX512)
#  define ROWS 14
#  define COLS 2
#elif defined(LMX_TIER_AVX2)
#  define ROWS 6
#  define COLS 2
#elif defined(LMX_TIER_NEON)
#  define ROWS 8
#  define COLS 3
#else
#  define ROWS 4
#  define COLS 1
#endif
#define WIDTH ((size_t)COLS * V_LANES) /* of a panel */

/* From panel to panel of k rows: a line more than they fill, so that the panels do not share the sets of a cache. */
#define PITCH(k) ((k)*WIDTH + 64 / sizeof(real))

#endif
