/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_DISPATCH_H
#define LMX_DISPATCH_H

#include "kernels/kernels.h"

#define LMX_DTYPES 4

/* A tier: its name, the CPU bits that its code may use, and a table for each element type. */
typedef struct lmx_tier {
    const char *isa;
    uint32_t needs;
    const lmx_table *table[LMX_DTYPES];
} lmx_tier;

/* Tier i of this build, best first; NULL past the last. */
const lmx_tier *lmx_tier_at(size_t i);

/* The best tier whose needs are among features, of the given name if that is not NULL. */
const lmx_tier *lmx_tier_choose(uint32_t features, const char *name);

/*
 * Whether the tier passes the self-test (selftest.h), which runs once for each tier.  The CPU must
 * announce the instructions that it needs.
 */
int lmx_tier_works(const lmx_tier *tier);

/* The best tier that the CPU announces and that works, of the given name if that is not NULL. */
const lmx_tier *lmx_tier_usable(const char *name);

/* The process's tier: LANEMAX_ISA if it can be honoured, else the best. */
const lmx_tier *lmx_tier_default(void);
/* Whether LANEMAX_ISA was set and could not be honoured. */
int lmx_tier_override_ignored(void);

/* lmx_cpu_cache(), called once and remembered, because CPUID is slow in virtual machines. */
size_t lmx_cache_size(void);

#endif
