/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/gate.h"
#include "ops/relu.h"

LMX_GATE_KERNEL(reglu, relu_of, relu_gate_pull)
