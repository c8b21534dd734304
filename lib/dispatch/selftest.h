/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_SELFTEST_H
#define LMX_SELFTEST_H

#include "dispatch/dispatch.h"

/*
 * 1 if every kernel of `tier` gives the bits of `reference`'s on 64 elements of every type, and
 * softmax of equal logits is exact.  Takes less than a millisecond.
 */
int lmx_tier_agrees(const lmx_tier *tier, const lmx_tier *reference);

#endif
