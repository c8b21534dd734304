/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/channel/poly_norm.h"

NORM_KERNEL(poly_norm_glu, HAS_UP)
