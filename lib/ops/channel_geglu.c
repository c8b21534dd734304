/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/gate.h"
#include "ops/gelu.h"

LMX_GATE_KERNEL(geglu, gelu_of, gelu_gate_pull)
