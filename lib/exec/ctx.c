/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/ctx.h"

#include <stdlib.h>
#include <string.h>

#include "exec/options.h"
#include "platform/cpu.h"

lmx_status lmx_options_init(lmx_options *options)
{
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_CTX);
    return LMX_OK;
}

lmx_status lmx_ctx_create(lmx_ctx **out, const lmx_options *options)
{
    if (out == NULL)
        return LMX_ERR_NULL;
    lmx_options o;
    lmx_options_init(&o);
    if (options != NULL) {
        if (!LMX_OPTIONS_FIT(options, LMX_TAG_CTX) || options->threads > LMX_THREADS_MAX)
            return LMX_ERR_ARG;
        o = *options;
    }
    const lmx_tier *tier = lmx_tier_default();
    if (o.isa != NULL)
        tier = lmx_tier_usable(o.isa);
    if (tier == NULL)
        return LMX_ERR_ISA;
    lmx_ctx *ctx = malloc(sizeof *ctx);
    if (ctx == NULL)
        return LMX_ERR_NOMEM;
    ctx->tier = tier;
    ctx->pool = NULL;
    if (o.threads > 1) {
        ctx->pool = lmx_pool_create(o.threads);
        if (ctx->pool == NULL) {
            free(ctx);
            return LMX_ERR_NOMEM;
        }
    }
    *out = ctx;
    return LMX_OK;
}

void lmx_ctx_free(lmx_ctx *ctx)
{
    if (ctx == NULL)
        return;
    lmx_pool_free(ctx->pool);
    free(ctx);
}

const char *lmx_isa_name(const lmx_ctx *ctx) { return lmx_ctx_tier(ctx)->isa; }

unsigned lmx_ctx_threads(const lmx_ctx *ctx)
{
    return ctx != NULL ? lmx_pool_threads(ctx->pool) : 1;
}
