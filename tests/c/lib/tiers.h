/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that hold every tier to the same bits for one element type:  PROGRAM DTYPE GOLDEN [--update] */
#ifndef LMX_TEST_TIERS_H
#define LMX_TEST_TIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "dispatch/dispatch.h"
#include "lanemax/lanemax.h"

#define MAX_TIERS 4

extern lmx_dtype dtype;
extern size_t size, real_size;     /* bytes of an element, and of what it is computed in */
extern lmx_ctx *ctx_of[MAX_TIERS]; /* one thread each; best first, portable last */
extern size_t n_tiers;

/* The arguments, check_begin(), a context for each tier. */
void tiers_begin(int argc, char **argv, const char *program);

/* The hash of each tier, portable first, against the golden one of this name. */
void tiers_golden(const char *name, const uint64_t hash[MAX_TIERS]);

int tiers_end(void);

/* For kernels by themselves: the next tier from *at on that this CPU runs, which failures then name; NULL past the
 * last. */
const lmx_tier *tiers_next(size_t *at);

/* Or the end of the program. */
void *get_memory(size_t n);

#endif
