/* SPDX-License-Identifier: Apache-2.0 */
/* A whole call of a loss: rows in blocks, memory, the sum of the losses. */
#include "exec/loss_row.h"

/*
 * Losses are added in order within blocks of rows, and blocks in order: the sum does not depend on the
 * number of threads.  A block is at most 64 rows or LMX_CHUNK logits, so that few rows divide well.
 */
static size_t rows_together(size_t cols)
{
    const size_t rows = LMX_CHUNK / cols;
    return rows < 1 ? 1 : rows > 64 ? 64 : rows;
}

lmx_status lmx_loss_weigh(lmx_loss_call *c)
{
    const size_t rows = c->space.rows;
    c->denominator = c->opt.reduction == LMX_MEAN ? (double)rows : 1;
    if (c->array[LMX_LOSS_CLASSES].data == NULL)
        return LMX_OK;
    lmx_dd s = { 0, 0 };
    for (size_t i = 0; i < rows; i++) {
        const int64_t t = lmx_loss_class_of(c, i);
        if (t == c->opt.ignore_index)
            continue;
        if (t < 0 || (uint64_t)t >= c->space.cols)
            return LMX_ERR_LABEL;
        s = lmx_dd_add(s, (lmx_dd){ lmx_loss_weight_of(c, (size_t)t), 0 });
    }
    if (c->opt.reduction == LMX_MEAN)
        c->denominator = s.hi;
    return LMX_OK;
}

static int deliver(void *state)
{
    const lmx_loss_work *w = state;
    lmx_loss_take(w, &w->c->block[w->index / w->c->together]);
    return lmx_loss_has_gradient(w);
}

static const lmx_row_steps loss_steps = { lmx_loss_begin, lmx_loss_measure, lmx_loss_finish,
                                          deliver, lmx_loss_apply };

/* --------------------------------------------------------- rows together --- */

/* Short rows take each step together: as one waits for a result in finishing, another is computed. */
#define BATCH 8

static void measure_row(lmx_loss_work *w, unsigned worker)
{
    for (size_t k = 0; k < w->c->drive.chunks; k++)
        lmx_loss_measure(w, k, worker);
}

/* count rows from `first` on, of one chunk if they are several; their losses are added to sum. */
static void some_rows(lmx_loss_call *c, size_t first, size_t count, unsigned worker, lmx_dd *sum)
{
    lmx_loss_work w[BATCH];
    int counts[BATCH];
    for (size_t q = 0; q < count; q++) {
        counts[q] = lmx_loss_begin(&w[q], c, first + q, worker);
        w[q].chunk += q;
        w[q].mix = w[q].mix == NULL ? NULL : w[q].mix + q;
        w[q].pivot = w[q].pivot == NULL ? NULL : w[q].pivot + q;
        if (counts[q])
            measure_row(&w[q], worker);
    }
    for (size_t q = 0; q < count; q++) {
        if (!counts[q])
            continue;
        while (lmx_loss_finish(&w[q], worker))
            measure_row(&w[q], worker);
        lmx_loss_take(&w[q], sum); /* before the logits may be overwritten */
    }
    for (size_t q = 0; q < count; q++)
        if (counts[q] && lmx_loss_has_gradient(&w[q]))
            for (size_t k = 0; k < c->drive.chunks; k++)
                lmx_loss_apply(&w[q], k, worker);
}

static void blocks_task(void *call, size_t begin_block, size_t end, unsigned worker)
{
    lmx_loss_call *c = call;
    const size_t rows = c->space.rows, fit = LMX_BATCH / c->space.cols;
    const size_t batch = fit < 1 ? 1 : fit > BATCH ? BATCH : fit;
    for (size_t b = begin_block; b < end; b++) {
        lmx_dd sum = { 0, 0 };
        const size_t first = b * c->together;
        const size_t last = rows - first < c->together ? rows : first + c->together;
        for (size_t i = first; i < last; i += batch)
            some_rows(c, i, last - i < batch ? last - i : batch, worker, &sum);
        c->block[b] = sum;
    }
}

/* ---------------------------------------------------------- the whole call --- */

static size_t blocks_of(const lmx_loss_call *c) { return (c->space.rows - 1) / c->together + 1; }

/* Parts that these options have no use for are NULL. */
static void divide(void *call, lmx_arena *a)
{
    lmx_loss_call *c = call;
    const int soft = lmx_loss_is_soft(c), mixes = soft || lmx_loss_is_adversarial(c);
    const size_t count = (c->drive.task == NULL ? 1 : c->drive.workers) * c->row_chunks;
    const int weighs = soft && c->array[LMX_LOSS_WEIGHT].data != NULL;
    c->scratch = lmx_arena_take(a, c->drive.workers * 3 * c->scratch_size);
    c->chunk = lmx_arena_take(a, count * sizeof *c->chunk);
    c->mix = mixes ? lmx_arena_take(a, count * sizeof *c->mix) : NULL;
    c->pivot = soft ? lmx_arena_take(a, count * sizeof *c->pivot) : NULL;
    c->block = lmx_arena_take(a, blocks_of(c) * sizeof *c->block);
    c->weight = weighs ? lmx_arena_take(a, c->space.cols * c->real->real_size) : NULL;
}

static void clear(void *call)
{
    lmx_loss_call *c = call;
    memset(c->block, 0, blocks_of(c) * sizeof *c->block);
    memset(c->chunk, 0,
           (c->drive.task == NULL ? 1 : c->drive.workers) * c->row_chunks * sizeof *c->chunk);
    for (size_t k = 0; c->weight != NULL && k < c->space.cols; k++)
        c->real->put_value((char *)c->weight + k * c->real->real_size, lmx_loss_weight_of(c, k));
}

static void choose_plan(const lmx_ctx *ctx, lmx_loss_call *c)
{
    const lmx_array *logits = &c->array[LMX_LOSS_LOGITS], *grad = &c->array[LMX_LOSS_GRAD];
    c->direct = c->kernel->elem_size == c->table->elem_size &&
                lmx_rows_in_place(logits, c->table) && lmx_rows_in_place(grad, c->table) &&
                !lmx_loss_is_soft(c) && c->opt.softcap == 0 && !c->heated;
    const lmx_plan_request request = {
        .rows = c->space.rows,
        .cols = c->space.cols,
        .elem_size = c->table->elem_size,
        .inputs = 1,
        .writes = grad->data != NULL,
        .in_place = grad->data != NULL && grad->data == logits->data,
        .is_real = c->table->elem_size == c->table->real_size,
        .threads = ctx != NULL ? lmx_pool_threads(ctx->pool) : 1,
        .cache = lmx_cache_size(),
    };
    c->drive.plan = lmx_plan_rows(&request);
}

/* Merges the blocks in their order, where one loss is wanted. */
static void conclude(void *call)
{
    const lmx_loss_call *c = call;
    const lmx_array *out = &c->array[LMX_LOSS_OUT];
    if (c->opt.reduction == LMX_NONE)
        return;
    lmx_dd sum = { 0, 0 };
    for (size_t b = 0; b < blocks_of(c); b++)
        sum = lmx_losses_add(sum, c->block[b]);
    /* Smoothing and the penalty do not see the weights: no rows to take a mean over all the same. */
    const int nothing = c->spec.mixed && c->denominator == 0;
    lmx_put(out, out->data, c->real, nothing ? lmx_qnan() : sum.hi / c->denominator);
}

lmx_status lmx_loss_run(lmx_ctx *ctx, lmx_loss_call *c)
{
    lmx_drive *d = &c->drive;
    lmx_loss_work w;
    c->together = rows_together(c->space.cols);
    choose_plan(ctx, c);
    d->steps = &loss_steps;
    d->rows = c->space.rows;
    d->cols = c->space.cols;
    d->divide = divide;
    d->clear = clear;
    d->conclude = conclude;
    d->row = &w;
    lmx_drive_open(d, ctx);
    d->tasks = blocks_of(c);
    d->task = d->plan.split_rows ? NULL : blocks_task;
    d->grain = (d->plan.grain - 1) / c->together + 1;
    const size_t reals = c->direct ? 16 : d->cols < LMX_CHUNK ? d->cols : LMX_CHUNK;
    c->scratch_size = lmx_round_up(reals * c->real->real_size);
    c->row_chunks = d->chunks > BATCH ? d->chunks : BATCH;
    return lmx_drive_run(ctx, d);
}
