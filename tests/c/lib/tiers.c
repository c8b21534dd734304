/* SPDX-License-Identifier: Apache-2.0 */
#include "tiers.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "golden.h"
#include "rows.h"

lmx_dtype dtype;
size_t size, real_size;
lmx_ctx *ctx_of[MAX_TIERS];
size_t n_tiers;

static bool updates;
static const char *golden;

void tiers_begin(int argc, char **argv, const char *program)
{
    static char name[40];
    updates = golden_arguments(argc, argv, &dtype);
    golden = argv[2];
    snprintf(name, sizeof name, "%s-%s", program, argv[1]);
    check_begin(name);
    check_at.dtype = argv[1];
    size = elem_size(dtype);
    real_size = dtype == LMX_F64 ? 8 : 4;
    for (int i = 0; lmx_isa_available(i) != NULL && n_tiers < MAX_TIERS; i++)
        ctx_of[n_tiers++] = ctx_with(1, lmx_isa_available(i));
    golden_read(golden);
}

void tiers_golden(const char *name, const uint64_t hash[MAX_TIERS])
{
    check_at.test = name;
    for (size_t t = n_tiers; t-- > 0;) {
        check_at.tier = lmx_isa_name(ctx_of[t]);
        golden_check(name, check_at.dtype, hash[t], updates && t == n_tiers - 1);
    }
}

int tiers_end(void)
{
    if (updates)
        golden_write(golden);
    for (size_t t = 0; t < n_tiers; t++)
        lmx_ctx_free(ctx_of[t]);
    return check_end();
}

const lmx_tier *tiers_next(size_t *at)
{
    const lmx_tier *tier;
    while ((tier = lmx_tier_at((*at)++)) != NULL)
        if (check_cpu_runs(tier->isa)) {
            check_at.tier = tier->isa;
            return tier;
        }
    return NULL;
}

void *get_memory(size_t n)
{
    void *const p = malloc(n + 64);
    if (p == NULL)
        exit(3);
    return p;
}
