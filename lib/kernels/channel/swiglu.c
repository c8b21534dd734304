/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/channel/gate.h"
#include "kernels/unary/silu.h"

LMX_GATE_KERNEL(swiglu, silu_of, silu_gate_vjp)
