/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on rows: one row, how a call is carried out, and the memory for it. */
#include "exec/row_call.h"

#include <string.h>

#include "exec/temperature.h"
#include "kernels/total.h"

/* --------------------------------------------------------------- one row --- */

void lmx_row_begin(lmx_row *w, lmx_row_call *c, size_t i, lmx_chunk *chunk)
{
    const lmx_array *t = &c->array[LMX_ROW_TEMPERATURE], *where = &c->array[LMX_ROW_WHERE];
    memset(w, 0, sizeof *w);
    w->c = c;
    w->index = i;
    w->a = lmx_row_at(&c->array[LMX_ROW_A], i);
    w->b = lmx_row_at(&c->array[LMX_ROW_B], i);
    w->out = lmx_row_at(&c->array[LMX_ROW_OUT], i);
    w->chunk = chunk;
    w->norm.rate = w->temperature = w->unit = 1;
    w->in.rate = w->back.rate = 1;
    w->back.masked_value = c->op == LMX_ROW_log_softmax;
    w->back.nontemporal = (c->drive.plan.how & LMX_HOW_STREAM) != 0;
    if (t->data != NULL) {
        const double given = lmx_get(t, lmx_row_at(t, i));
        w->temperature = given;
        if (c->info->inputs > 1) {
            w->unit = lmx_rate_unit(1 / given, c->real->real_size);
            w->norm.rate = 1 / (given * w->unit);
        } else {
            lmx_gather g;
            w->far = lmx_temperature_leaves(given, c->real->real_size);
            lmx_gather_divide(&g, given, c->real->real_size);
            w->in.rate = g.rate;
            w->in.rate_lo = g.rate_lo;
        }
    }
    if (where->data != NULL) {
        w->in.where = w->back.where = where;
        w->in.where_row = w->back.where_row = lmx_row_at(where, i);
    }
}

/* n elements from `first` on as contiguous reals in this worker's scratch. */
static void gather_range(const lmx_row *w, size_t first, size_t n, unsigned worker)
{
    const lmx_row_call *c = w->c;
    void *const z = lmx_row_scratch(c, worker, LMX_SCRATCH_A);
    lmx_passage in = w->in;
    if (w->far)
        in.rate = 1;
    lmx_load(&c->array[LMX_ROW_A], (lmx_stretch){ w->a, first, n }, &in, c->real, z);
    if (w->far)
        lmx_quotients(c->real->real_size, z, n, w->largest, w->temperature);
    if (w->b != NULL)
        lmx_load(&c->array[LMX_ROW_B], (lmx_stretch){ w->b, first, n }, &LMX_AS_IS, c->real,
                 lmx_row_scratch(c, worker, LMX_SCRATCH_B));
}

void lmx_row_measure(lmx_row *w, size_t i, unsigned worker)
{
    const lmx_row_call *c = w->c;
    const size_t n = lmx_chunk_len(&c->drive, i), offset = i * LMX_CHUNK * c->table->elem_size;
    w->chunk[i].parameter = c->parameter;
    if (c->direct) {
        void *terms = c->drive.plan.store_terms ? (char *)(uintptr_t)w->out + offset : NULL;
        c->kernel->measure(w->a + offset, w->b != NULL ? w->b + offset : NULL, n, terms,
                           &w->chunk[i]);
    } else {
        gather_range(w, i * LMX_CHUNK, n, worker);
        c->real_kernel->measure(lmx_row_scratch(c, worker, LMX_SCRATCH_A),
                                lmx_row_scratch(c, worker, LMX_SCRATCH_B), n, NULL, &w->chunk[i]);
    }
}

/* Through scratch, which holds the chunk already if `gathered`, else as much as the first-level cache does. */
static void apply_gathered(const lmx_row *w, size_t i, unsigned worker, int gathered)
{
    const lmx_row_call *c = w->c;
    const size_t n = lmx_chunk_len(&c->drive, i), step = gathered ? n : LMX_BATCH;
    char *const z = lmx_row_scratch(c, worker, LMX_SCRATCH_A);
    for (size_t at = 0; at < n; at += step) {
        const size_t part = n - at < step ? n - at : step, first = i * LMX_CHUNK + at;
        if (!gathered)
            gather_range(w, first, part, worker);
        c->real_kernel->apply(z, lmx_row_scratch(c, worker, LMX_SCRATCH_B), part, &w->chunk[i],
                              &w->norm, z, 0);
        if (w->unit != 1)
            lmx_rate_back(c->real, z, part, w->unit);
        lmx_store(&c->array[LMX_ROW_OUT], (lmx_stretch){ w->out, first, part }, &w->back, c->real,
                  z);
    }
}

void lmx_row_apply(lmx_row *w, size_t i, unsigned worker, int gathered)
{
    const lmx_row_call *c = w->c;
    if (!c->direct) {
        apply_gathered(w, i, worker, gathered);
        return;
    }
    const lmx_plan *p = &c->drive.plan;
    const size_t n = lmx_chunk_len(&c->drive, i), offset = i * LMX_CHUNK * c->table->elem_size;
    char *const out = (char *)(uintptr_t)w->out + offset;
    c->kernel->apply(p->store_terms ? out : w->a + offset, w->b != NULL ? w->b + offset : NULL, n,
                     &w->chunk[i], &w->norm, out,
                     (p->how & LMX_HOW_STREAM) | (p->store_terms ? LMX_HOW_TERMS : 0));
}

/* The norm of row i is the sum given for it, unless a chunk holds what cannot be normalised. */
static void take_total(const lmx_array *totals, size_t i, lmx_norm *norm)
{
    lmx_expsum t;
    memcpy(&t, lmx_row_at(totals, i), sizeof t);
    if (norm->kind != LMX_KIND_BAD)
        norm->kind = t.mantissa == 0          ? LMX_KIND_EMPTY
                     : lmx_finite(t.mantissa) ? LMX_KIND_PLAIN
                                              : LMX_KIND_BAD;
    const lmx_total total = lmx_total_unpack(&t);
    norm->sum = total.rounded;
    norm->max = 0;
    if (norm->kind == LMX_KIND_PLAIN)
        norm->log_rest = lmx_sum_log(total.fine);
}

void lmx_row_fold(const lmx_row_call *c, size_t i, const lmx_chunk *chunk, lmx_norm *norm)
{
    const double rate = norm->rate;
    c->kernel->fold(chunk, c->drive.chunks, norm);
    norm->rate = rate;
    if (c->array[LMX_ROW_TOTAL].data != NULL)
        take_total(&c->array[LMX_ROW_TOTAL], i, norm);
}

void lmx_row_put(const lmx_row_call *c, size_t i, const lmx_norm *norm)
{
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    if (c->info->result == LMX_RESULT_VALUE) {
        lmx_put(out, lmx_row_at(out, i), c->real, lmx_norm_value(norm));
    } else {
        const lmx_expsum e = lmx_total_pack((lmx_total){ norm->fine, norm->sum });
        memcpy((char *)(uintptr_t)lmx_row_at(out, i), &e, sizeof e);
    }
}

/* Whether a row that was folded is to be measured again, from its largest logit. */
static int is_far(lmx_row *w, unsigned worker)
{
    const lmx_row_call *c = w->c;
    const size_t real_size = c->real->real_size, chunks = c->drive.chunks;
    if (w->far || c->direct || !lmx_quotients_left(&w->norm, w->temperature, real_size))
        return 0;
    const double t = w->temperature;
    double largest = -INFINITY;
    w->far = 1; /* for gather_range(): the logits themselves */
    w->largest = 0;
    w->temperature = 1;
    for (size_t i = 0; i < chunks; i++) {
        const size_t n = lmx_chunk_len(&c->drive, i);
        gather_range(w, i * LMX_CHUNK, n, worker);
        largest =
            lmx_largest_real(real_size, lmx_row_scratch(c, worker, LMX_SCRATCH_A), n, largest);
    }
    w->far = lmx_finite(largest) != 0;
    w->largest = largest;
    w->temperature = t;
    if (!w->far && chunks == 1) /* applying reads what was measured */
        gather_range(w, 0, lmx_chunk_len(&c->drive, 0), worker);
    return w->far;
}

/* ------------------------------------------------------- steps of the driver --- */

static int begin(void *row, void *call, size_t i, unsigned worker)
{
    lmx_row_call *c = call;
    lmx_row_begin(row, c, i, c->chunk + (size_t)worker * c->chunk_count);
    return 1;
}

static void measure(void *row, size_t chunk, unsigned worker)
{
    lmx_row_measure(row, chunk, worker);
}

static int finish(void *row, unsigned worker)
{
    lmx_row *w = row;
    lmx_row_fold(w->c, w->index, w->chunk, &w->norm);
    return is_far(w, worker);
}

static int deliver(void *row)
{
    const lmx_row *w = row;
    if (lmx_row_yields_row(w->c))
        return 1;
    lmx_row_put(w->c, w->index, &w->norm);
    return 0;
}

static void apply(void *row, size_t chunk, unsigned worker)
{
    lmx_row *w = row;
    lmx_row_apply(w, chunk, worker,
                  w->c->drive.chunks == 1); /* scratch holds a row's one chunk still */
}

static const lmx_row_steps row_steps = { begin, measure, finish, deliver, apply };

static void rows_task(void *call, size_t begin_row, size_t end, unsigned worker)
{
    lmx_row_call *c = call;
    lmx_row w;
    for (size_t i = begin_row; i < end; i++)
        lmx_drive_row(&c->drive, &w, i, worker);
}

/* ---------------------------------------------------------- the whole call --- */

/* The rates of a VJP are reals of the kernel: elsewhere than where results are stored they are two factors. */
static int rates_fit(const lmx_row_call *c)
{
    const lmx_array *t = &c->array[LMX_ROW_TEMPERATURE];
    for (size_t i = 0; t->data != NULL && i < lmx_distinct_count(t); i++)
        if (lmx_rate_unit(1 / lmx_get(t, lmx_distinct_at(t, i)), c->real->real_size) != 1)
            return 0;
    return 1;
}

/* Whether the values of rows can be written by a kernel where they belong. */
static int values_in_place(const lmx_row_call *c)
{
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    return out->natural && (c->info->result == LMX_RESULT_SUM || out->table == c->real);
}

/* Whether columns of x lie side by side. */
static int side_by_side(const lmx_row_call *c, const lmx_array *x)
{
    return x->data == NULL ||
           (x->natural && x->table == c->table && x->axes == x->outer + 1 &&
            x->n[x->outer - 1] > 1 && x->stride[x->outer - 1] == (ptrdiff_t)x->size);
}

static lmx_row_way choose_way(lmx_row_call *c)
{
    const lmx_array *a = c->array, *out = &a[LMX_ROW_OUT];
    const int yields_row = lmx_row_yields_row(c), two = a[LMX_ROW_B].data != NULL;
    const int where = a[LMX_ROW_WHERE].data != NULL, total = a[LMX_ROW_TOTAL].data != NULL;
    const int temperature = a[LMX_ROW_TEMPERATURE].data != NULL;
    const size_t cols = c->space.cols;
    c->direct = c->kernel->elem_size == c->table->elem_size &&
                lmx_rows_in_place(&a[LMX_ROW_A], c->table) &&
                lmx_rows_in_place(&a[LMX_ROW_B], c->table) &&
                (!yields_row || lmx_rows_in_place(out, c->table)) && !where &&
                (!temperature || (two && rates_fit(c)));
    const int plain = cols > 0 && !where && !temperature && !total;
    if (!c->direct && plain && c->kernel->measure_columns != NULL &&
        side_by_side(c, &a[LMX_ROW_A]) && side_by_side(c, &a[LMX_ROW_B]) &&
        (!yields_row || side_by_side(c, out)))
        return LMX_WAY_COLUMNS;
    if (c->direct)
        return plain && (yields_row || values_in_place(c)) ? LMX_WAY_SHORT : LMX_WAY_ROWS;
    return cols > 0 && cols <= LMX_CHUNK && !temperature && !total ? LMX_WAY_BATCHES : LMX_WAY_ROWS;
}

static void choose_plan(const lmx_ctx *ctx, lmx_row_call *c)
{
    const lmx_array *a = c->array, *out = &a[LMX_ROW_OUT];
    const int yields_row = lmx_row_yields_row(c);
    const lmx_plan_request request = {
        .rows = c->space.rows,
        .cols = c->space.cols,
        .elem_size = c->table->elem_size,
        .inputs = (unsigned)c->info->inputs,
        .writes = yields_row,
        .in_place = yields_row && (out->data == a[LMX_ROW_A].data ||
                                   (c->info->inputs > 1 && out->data == a[LMX_ROW_B].data)),
        .uses_terms = c->kernel->uses_terms,
        .is_real = c->table->elem_size == c->table->real_size,
        .has_pipelined = c->kernel->pipelined != NULL && c->direct,
        .threads = ctx != NULL ? lmx_pool_threads(ctx->pool) : 1,
        .cache = lmx_cache_size(),
    };
    c->drive.plan = lmx_plan_rows(&request);
    if (a[LMX_ROW_TOTAL].data != NULL || !c->direct)
        c->drive.plan.store_terms = 0;
    /* Rows of more than a chunk are short only for kernels that write one while they read the next. */
    if (c->way == LMX_WAY_SHORT && c->space.cols > LMX_CHUNK &&
        !(c->drive.plan.how & LMX_HOW_PIPELINED))
        c->way = LMX_WAY_ROWS;
}

/* Reals in a part of scratch, and which parts there are. */
static void plan_scratch(lmx_row_call *c)
{
    const size_t cols = c->space.cols, chunk = cols < LMX_CHUNK ? cols : LMX_CHUNK;
    const size_t batch = c->space.rows > 1 && cols < LMX_BATCH ? LMX_BATCH : cols;
    const int short_rows = c->way == LMX_WAY_SHORT, batches = c->way == LMX_WAY_BATCHES;
    const int own_values = !lmx_row_yields_row(c) && !values_in_place(c);
    for (int i = 0; i < LMX_SCRATCHES; i++)
        c->slot[i] = -1;
    c->slots = 0;
    if (!c->direct) {
        c->slot[LMX_SCRATCH_A] = c->slots++;
        if (c->info->inputs > 1)
            c->slot[LMX_SCRATCH_B] = c->slots++;
        if (batches && (lmx_row_yields_row(c) || own_values))
            c->slot[LMX_SCRATCH_OUT] = c->slots++;
    } else if (short_rows && c->kernel->uses_terms &&
               ((c->drive.plan.how & LMX_HOW_SCRATCH) ||
                c->table->elem_size != c->table->real_size)) {
        c->slot[LMX_SCRATCH_TERMS] = c->slots++;
    }
    const size_t reals = batches || short_rows ? batch : chunk;
    const size_t size =
        own_values && c->info->result == LMX_RESULT_SUM ? sizeof(lmx_expsum) : c->table->real_size;
    c->scratch_size = lmx_round_up(reals * size);
}

static void divide(void *call, lmx_arena *a)
{
    lmx_row_call *c = call;
    const size_t workers = c->drive.workers;
    c->scratch = lmx_arena_take(a, workers * (size_t)c->slots * c->scratch_size);
    if (c->way == LMX_WAY_COLUMNS) {
        c->lanes = lmx_arena_take(a, workers * LMX_COLUMNS_LANES);
        c->keep = lmx_arena_take(a, workers * c->keep_size);
        c->blocks = lmx_arena_take(a, workers * 2 * c->block_size);
    }
    c->chunk = lmx_arena_take(a, workers * c->chunk_count * sizeof *c->chunk);
}

static void clear(void *call)
{
    lmx_row_call *c = call;
    if (c->chunk_count > 0)
        memset(c->chunk, 0, c->drive.workers * c->chunk_count * sizeof *c->chunk);
}

/* How tasks are cut, and how many chunks a worker has at a time. */
static void set_tasks(lmx_row_call *c)
{
    lmx_drive *d = &c->drive;
    const size_t chunks = d->chunks;
    d->tasks = d->rows;
    d->grain = d->plan.grain;
    c->chunk_count = 0;
    switch (c->way) {
    case LMX_WAY_SHORT:
        d->task = lmx_row_short_task;
        break;
    case LMX_WAY_BATCHES:
        d->task = lmx_row_batch_task;
        break;
    case LMX_WAY_COLUMNS:
        lmx_row_plan_strips(c);
        d->task = lmx_row_columns_task;
        d->tasks = d->rows / c->space.n[c->space.outer - 1] * c->strips;
        d->grain = 1;
        c->chunk_count = LMX_COLUMNS * (chunks + 1);
        break;
    default:
        d->task = d->plan.split_rows ? NULL : rows_task;
        c->chunk_count = chunks + 1;
    }
}

lmx_status lmx_row_run(lmx_ctx *ctx, lmx_row_call *c)
{
    lmx_drive *d = &c->drive;
    lmx_row w;
    d->steps = &row_steps;
    d->rows = c->space.rows;
    d->cols = c->space.cols;
    d->divide = divide;
    d->clear = clear;
    d->conclude = NULL;
    d->row = &w;
    c->way = choose_way(c);
    choose_plan(ctx, c);
    lmx_drive_open(d, ctx);
    set_tasks(c);
    plan_scratch(c);
    return lmx_drive_run(ctx, d);
}
