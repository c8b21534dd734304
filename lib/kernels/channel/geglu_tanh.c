/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/channel/gate.h"
#include "kernels/unary/gelu_tanh.h"

LMX_GATE_KERNEL(geglu_tanh, gelu_tanh_of, gelu_tanh_gate_vjp)
