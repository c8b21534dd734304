/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_CTX_H
#define LMX_CTX_H

#include "dispatch/dispatch.h"
#include "lanemax/lanemax.h"
#include "platform/pool.h"

#define LMX_THREADS_MAX 1024

struct lmx_ctx {
    const lmx_tier *tier;
    lmx_pool *pool; /* NULL: the calling thread alone */
};

/* Of a context that may be NULL. */
static inline const lmx_tier *lmx_ctx_tier(const lmx_ctx *ctx)
{
    return ctx != NULL ? ctx->tier : lmx_tier_default();
}

#endif
