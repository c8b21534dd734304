/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/gate.h"
#include "ops/silu.h"

LMX_GATE_KERNEL(swiglu, silu_of, silu_gate_pull)
