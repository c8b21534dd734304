/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/unary/gelu.h"

LMX_UNARY_KERNEL(gelu, gelu_of, gelu_vjp_of)
