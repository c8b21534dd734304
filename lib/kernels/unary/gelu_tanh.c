/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/unary/gelu_tanh.h"

LMX_UNARY_KERNEL(gelu_tanh, gelu_tanh_of, gelu_tanh_vjp_of)
