/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/unary/relu.h"

LMX_UNARY_KERNEL(relu, relu_of, relu_vjp_of)
