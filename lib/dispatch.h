/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_DISPATCH_H
#define LMX_DISPATCH_H

#include "kernels.h"

#define LMX_DTYPES 4

/* A tier: its name, the CPU bits that its code may use, and a table for each element type. */
typedef struct lmx_tier {
    const char *isa;
    uint32_t needs;
    const lmx_table *table[LMX_DTYPES];
} lmx_tier;

/* Best first; NULL past the last. */
const lmx_tier *lmx_tier_at(size_t i);

/* The best tier whose needs are among features, of the given name if that is not NULL. */
const lmx_tier *lmx_tier_choose(uint32_t features, const char *name);

/* The process's tier: LANEMAX_ISA if it can be honoured, else the best. */
const lmx_tier *lmx_tier_default(void);
int lmx_tier_override_ignored(void);

/* lmx_cpu_cache(), asked once: CPUID is slow in virtual machines. */
size_t lmx_cache_size(void);

#endif
