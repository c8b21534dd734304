/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/channel/gate.h"
#include "kernels/unary/gelu.h"

LMX_GATE_KERNEL(geglu, gelu_of, gelu_gate_vjp)
