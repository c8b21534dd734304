/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/unary/silu.h"

LMX_UNARY_KERNEL(silu, silu_of, silu_vjp_of)
