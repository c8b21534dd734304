/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/channel/gate.h"
#include "kernels/unary/relu.h"

LMX_GATE_KERNEL(reglu, relu_of, relu_gate_vjp)
