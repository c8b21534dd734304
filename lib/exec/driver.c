/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/driver.h"

#include <stdlib.h>

void lmx_drive_open(lmx_drive *d, const lmx_ctx *ctx)
{
    d->chunks = d->cols == 0 ? 0 : (d->cols - 1) / LMX_CHUNK + 1;
    d->workers = ctx != NULL && d->plan.parallel ? lmx_pool_threads(ctx->pool) : 1;
}

void lmx_drive_row(lmx_drive *d, void *row, size_t i, unsigned worker)
{
    const lmx_row_steps *s = d->steps;
    if (!s->begin(row, d, i, worker))
        return;
    do
        for (size_t k = 0; k < d->chunks; k++)
            s->measure(row, k, worker);
    while (s->finish(row, worker));
    if (s->deliver(row))
        for (size_t k = 0; k < d->chunks; k++)
            s->apply(row, k, worker);
}

static void measure_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_drive *d = job;
    for (size_t i = begin; i < end; i++)
        d->steps->measure(d->row, i, worker);
}

static void apply_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const lmx_drive *d = job;
    for (size_t i = begin; i < end; i++)
        d->steps->apply(d->row, i, worker);
}

/* Rows one after the other, the chunks of each shared by the threads. */
static void split_rows(lmx_drive *d, lmx_pool *pool)
{
    const size_t grain = (d->chunks + 2 * d->workers - 1) / (2 * d->workers);
    for (size_t i = 0; i < d->rows; i++) {
        if (!d->steps->begin(d->row, d, i, 0))
            continue;
        do
            lmx_parallel_for(pool, d->chunks, grain, measure_task, d);
        while (d->steps->finish(d->row, 0));
        if (d->steps->deliver(d->row))
            lmx_parallel_for(pool, d->chunks, grain, apply_task, d);
    }
}

lmx_status lmx_drive_run(lmx_ctx *ctx, lmx_drive *d)
{
    lmx_pool *pool = ctx != NULL && d->plan.parallel ? ctx->pool : NULL;
    LMX_ALIGN(64) char small[4096]; /* small calls stay off the heap */
    void *to_free = NULL;
    lmx_arena parts = { NULL, 0 };
    d->divide(d, &parts);
    parts =
        parts.used <= sizeof small ? (lmx_arena){ small, 0 } : lmx_arena_open(parts.used, &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    d->divide(d, &parts);
    d->clear(d);
    if (d->task == NULL)
        split_rows(d, pool);
    else
        lmx_parallel_for(pool, d->tasks, d->grain, d->task, d);
    if (d->conclude != NULL)
        d->conclude(d);
    free(to_free);
    return LMX_OK;
}
