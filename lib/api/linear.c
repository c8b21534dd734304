/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the large output layers: check, divide the workspace, run, put what is in rows that count in its place. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "platform/cpu.h"
#include "exec/ctx.h"
#include "linear/loss.h"
#include "linear/topk.h"
#include "exec/options.h"
#include "exec/reach.h"
#include "dispatch/registry.h"
#include "base/targets.h"

/* The arguments that every entry has. */
typedef struct {
    const lmx_ctx *ctx;
    lmx_dtype dtype;
    size_t rows, depth, classes;
    const void *hidden, *weight;
    ptrdiff_t hidden_stride, weight_stride;
    lmx_linear_options opt;
    double denominator; /* of losses and gradients, once it is known which rows count */
} call;

/* ------------------------------------------------------------ checking --- */

lmx_status lmx_linear_options_init(lmx_linear_options *options)
{
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_LINEAR);
    options->bias_dtype = LMX_F32;
    options->ignore_index = -100;
    options->row_weight_stride = 1;
    return LMX_OK;
}

static const lmx_table *table_of(const lmx_ctx *ctx, lmx_dtype dtype)
{
    return lmx_ctx_tier(ctx)->table[dtype];
}

enum { HIDDEN, WEIGHT, BIAS, TARGET, ROW_WEIGHT, INPUTS, OUTPUTS = 5 };

static int options_fit(const lmx_linear_options *o)
{
    return lmx_option_fits(LMX_OPTION_label_smoothing, o->label_smoothing) &&
           lmx_option_fits(LMX_OPTION_logz_penalty, o->logz_penalty) &&
           lmx_option_fits(LMX_OPTION_softcap, o->softcap) &&
           lmx_option_fits(LMX_OPTION_filter_eps, o->filter_eps) &&
           (unsigned)o->reduction <= LMX_NONE;
}

static lmx_status check_call(call *c, const lmx_linear_options *options)
{
    if ((unsigned)c->dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    lmx_linear_options_init(&c->opt);
    if (options != NULL) {
        if (!LMX_OPTIONS_FIT(options, LMX_TAG_LINEAR))
            return LMX_ERR_ARG;
        c->opt = *options;
    }
    if ((unsigned)c->opt.bias_dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    const lmx_fpenv env = lmx_fpenv_enter(); /* comparisons with NaN may trap */
    const int fits = options_fit(&c->opt);
    lmx_fpenv_leave(env);
    if (!fits)
        return LMX_ERR_ARG;
    const int has_hidden = c->rows > 0 && c->depth > 0, has_weight = c->classes > 0 && c->depth > 0;
    if ((has_hidden && c->hidden == NULL) || (has_weight && c->weight == NULL))
        return LMX_ERR_NULL;
    return c->rows > 0 && c->classes == 0 ? LMX_ERR_SHAPE : LMX_OK;
}

static void inputs_of(const call *c, lmx_array a[INPUTS])
{
    const size_t size = table_of(c->ctx, c->dtype)->elem_size;
    a[HIDDEN] = lmx_array_rows(c->hidden, size, c->rows, c->depth, c->hidden_stride);
    a[WEIGHT] = lmx_array_rows(c->weight, size, c->classes, c->depth, c->weight_stride);
    a[BIAS] = lmx_array_rows(c->opt.bias, table_of(c->ctx, c->opt.bias_dtype)->elem_size, 1,
                             c->classes, 0);
    a[TARGET] = a[ROW_WEIGHT] = lmx_array_rows(NULL, 1, 0, 0, 0);
}

/* ----------------------------------------------------------- workspace --- */

static void begin_linear(const call *c, lmx_linear *l)
{
    memset(l, 0, sizeof *l);
    l->table = table_of(c->ctx, c->dtype);
    l->real = l->table->real_size == 8 ? table_of(c->ctx, LMX_F64) : table_of(c->ctx, LMX_F32);
    l->pool = c->ctx != NULL ? c->ctx->pool : NULL;
    l->workers = lmx_pool_threads(l->pool);
    l->rows = c->rows;
    l->depth = c->depth;
    l->classes = c->classes;
    l->hidden = (lmx_rows_of){ c->hidden, c->hidden_stride, NULL };
    l->weight = (lmx_rows_of){ c->weight, c->weight_stride, NULL };
    l->bias = c->opt.bias;
    l->bias_table = table_of(c->ctx, c->opt.bias_dtype);
    lmx_linear_cut(l);
    /* Packed weights serve this many rows, whose logits are 2 MiB for each thread. */
    l->group = lmx_at_most(LMX_GROUP_MOST * sizeof(float) / l->real->real_size, l->rows);
}

static void divide_linear(lmx_linear *l, lmx_arena *a)
{
    l->blocks = lmx_arena_take(a, lmx_linear_blocks_size(l));
    l->panels = lmx_arena_take(a, l->workers * lmx_linear_panels_size(l));
}

/* The backward pass works in the memory of the forward pass. */
static void divide_loss(lmx_linear_loss *c, lmx_arena *a, int gradients)
{
    const size_t real_size = c->l.real->real_size, rows = c->l.rows;
    c->row = lmx_arena_take(a, rows * sizeof *c->row);
    c->chunks = lmx_arena_take(a, rows * 2 * sizeof *c->chunks);
    divide_linear(&c->l, a);
    lmx_arena back = *a;

    const size_t group = c->l.group;
    c->slots = 8 * c->l.workers;
    c->z = lmx_arena_take(a, c->l.workers * group * LMX_PIECE_ROW * real_size);
    c->found = lmx_arena_take(a, c->slots * group * sizeof *c->found);
    const int soft = c->spec.mixed && c->add != 0;
    char *const u = lmx_arena_take(a, soft ? c->l.workers * LMX_PIECE * real_size : 0);
    c->soft = soft ? u : NULL;
    c->mix = lmx_arena_take(a, soft ? c->slots * group * sizeof *c->mix : 0);
    c->pivot = lmx_arena_take(a, soft ? c->slots * group * sizeof *c->pivot : 0);
    if (!soft)
        c->mix = NULL;
    if (!gradients)
        return;

    const size_t blocks = lmx_tiles(group), rows_of_dweight = c->tiles * LMX_TILE;
    c->g = lmx_arena_take(&back, c->tiles * blocks * LMX_BLOCK_REALS * real_size);
    c->sums = lmx_arena_take(
        &back, lmx_linear_is_direct(c) ? 0 : rows_of_dweight * c->l.depth * real_size);
    c->bias_sums = lmx_arena_take(&back, rows_of_dweight * sizeof *c->bias_sums);
    c->lost = lmx_arena_take(&back, c->tiles * group * sizeof *c->lost);
    c->active = lmx_arena_take(&back, c->tiles * sizeof *c->active);
    c->hidden =
        lmx_arena_take(&back, blocks * lmx_tiles(c->l.depth) * lmx_linear_panels_size(&c->l));
    c->transposed = lmx_arena_take(&back, c->l.workers * LMX_BLOCK_REALS * real_size);
    c->scratch = lmx_arena_take(&back, c->l.workers * 3 * LMX_TILE * real_size);
    a->used = back.used > a->used ? back.used : a->used;
}

/* Tiles of classes at a time: enough for the threads, and else of 4 MiB. */
static size_t tiles_for(const lmx_linear *l)
{
    const size_t bytes = LMX_TILE * (l->depth + LMX_TILE_ROW) * l->real->real_size;
    const size_t fit = ((size_t)4 << 20) / bytes;
    return fit > l->workers ? fit : l->workers;
}

/* A pool numbers its workers, so it is all of them or none. */
static int give_up_threads(lmx_linear *l)
{
    if (l->workers == 1)
        return 0;
    l->workers = 1;
    l->pool = NULL;
    return 1;
}

/* The bytes, with fewer tiles or one thread if they are to be within `most`; SIZE_MAX if they never are. */
static size_t fit_loss(lmx_linear_loss *c, int gradients, size_t most)
{
    c->tiles = tiles_for(&c->l);
    for (;;) {
        lmx_arena counting = { NULL, 0 };
        divide_loss(c, &counting, gradients);
        if (most == 0 || counting.used <= most)
            return counting.used;
        if (c->tiles > c->l.workers)
            c->tiles = c->l.workers;
        else if (give_up_threads(&c->l))
            c->tiles = 1;
        else
            return SIZE_MAX;
    }
}

/* The kept logits' place: dweight, if its rows are one array and what they hold is not needed. */
static void open_store(lmx_linear_loss *c)
{
    c->store = NULL;
    if (c->dweight == NULL || c->dweight_row != (ptrdiff_t)c->l.depth || c->l.depth == 0 ||
        c->accumulate)
        return;
    c->store = c->dweight;
    const size_t most = lmx_at_most(c->l.classes, LMX_TILE),
                 last = (c->l.classes - 1) % LMX_TILE + 1;
    c->keeps_largest = c->limit != NULL;
    if (lmx_linear_room(c, most) == 0 || lmx_linear_room(c, last) == 0)
        c->keeps_largest = 0;
    const size_t fitting = lmx_at_most(lmx_linear_room(c, most), lmx_linear_room(c, last));
    c->kept = fitting >= c->l.rows ? c->l.rows : fitting / c->l.group * c->l.group;
    if (c->kept == 0 && !c->keeps_largest)
        c->store = NULL;
}

/* Whether dhidden is summed in memory of its own: not in the caller's elements. */
static int keeps_apart(const lmx_linear_loss *c)
{
    return c->accumulate || c->l.table->elem_size < c->l.real->real_size;
}

size_t lmx_linear_workspace(const lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t depth,
                            int gradients)
{
    if ((unsigned)dtype >= LMX_DTYPES)
        return 0;
    lmx_linear_loss c;
    memset(&c, 0, sizeof c);
    const call what = { .ctx = ctx, .dtype = dtype, .rows = rows, .depth = depth, .classes = 1 };
    begin_linear(&what, &c.l);
    c.accumulate = gradients == 2;
    const size_t lists = rows * 3 * sizeof(double);
    const int apart = gradients && keeps_apart(&c);
    return fit_loss(&c, gradients, 0) + lists + (apart ? rows * depth * c.l.real->real_size : 0);
}

/* ------------------------------------------------------- cross-entropy --- */

/* Sends the results of rows that count to where they belong, last first: they may lie in the same array. */
static void put_hidden(const lmx_linear_loss *c, char *out, ptrdiff_t out_row, size_t rows)
{
    const size_t elem_size = c->l.table->elem_size;
    size_t left = c->l.rows;
    for (size_t i = rows; i-- > 0;) {
        char *const to = out + (ptrdiff_t)i * out_row * (ptrdiff_t)elem_size;
        if (left > 0 && c->l.hidden.picked[left - 1] == i) {
            left--;
            char *const from =
                c->dhidden + (ptrdiff_t)left * c->dhidden_row * (ptrdiff_t)c->l.real->real_size;
            if (from != to)
                lmx_linear_put_row(c, from, to);
        } else if (!c->accumulate) {
            c->l.table->fill(to, c->l.depth, 1, 0);
        }
    }
}

typedef struct {
    const void *target;
    lmx_int type;
    ptrdiff_t target_stride;
    char *loss;
    ptrdiff_t loss_stride;
    char *dhidden, *dweight, *dbias;
    ptrdiff_t dhidden_stride, dweight_stride;
} loss_arrays;

/* Fills picked and classes with the rows that count; LABEL. */
static lmx_status pick(const call *c, const loss_arrays *a, size_t *picked, size_t *classes,
                       size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < c->rows; i++) {
        const int64_t t = lmx_class_at(a->target, a->type, (ptrdiff_t)i * a->target_stride);
        if (t == c->opt.ignore_index)
            continue;
        if (t < 0 || (uint64_t)t >= c->classes)
            return LMX_ERR_LABEL;
        picked[*count] = i;
        classes[(*count)++] = (size_t)t;
    }
    return LMX_OK;
}

static double weight_of_row(const call *c, size_t i)
{
    return c->opt.row_weight == NULL ? 1
                                     : c->opt.row_weight[(ptrdiff_t)i * c->opt.row_weight_stride];
}

/* Losses and gradients are divided by this: the weights of the rows that count. */
static double denominator(const call *c, const size_t *picked, size_t count)
{
    if (c->opt.reduction != LMX_MEAN)
        return 1;
    lmx_dd sum = { 0, 0 };
    for (size_t i = 0; i < count; i++)
        sum = lmx_dd_add(sum, (lmx_dd){ weight_of_row(c, picked[i]), 0 });
    return sum.hi;
}

/* The losses of all rows, or what they come to. */
static void put_losses(const call *c, const loss_arrays *a, const lmx_linear_loss *k)
{
    lmx_dd sum = { 0, 0 };
    if (c->opt.reduction == LMX_NONE)
        for (size_t i = 0; i < c->rows; i++)
            k->l.table->put_value(
                a->loss + (ptrdiff_t)i * a->loss_stride * (ptrdiff_t)k->l.real->real_size, 0);
    for (size_t i = 0; i < k->l.rows; i++) {
        const size_t own = k->l.hidden.picked[i];
        const double loss = (k->row[i].bad ? lmx_qnan() : k->row[i].loss) * weight_of_row(c, own);
        const ptrdiff_t at = (ptrdiff_t)own * a->loss_stride;
        if (c->opt.reduction == LMX_NONE)
            k->l.table->put_value(a->loss + at * (ptrdiff_t)k->l.real->real_size, loss);
        sum = lmx_losses_add(sum, (lmx_dd){ loss, 0 });
    }
    if (c->opt.reduction != LMX_NONE)
        k->l.table->put_value(a->loss, sum.hi / c->denominator);
}

static void begin_rows(const call *c, lmx_linear_loss *k, int gradients)
{
    memset(k->row, 0, k->l.rows * sizeof *k->row);
    for (size_t i = 0; i < k->l.rows; i++) {
        k->row[i].x = lmx_qnan();
        k->row[i].gradient = gradients;
        k->row[i].scale = weight_of_row(c, k->l.hidden.picked[i]) / c->denominator;
        k->row[i].on = k->keep;
    }
}

/* Logits below the returned ones, relative to each row's sum, may be skipped. */
static void set_limits(const lmx_linear_loss *k, double eps, double *limit)
{
    const lmx_dd log_eps = lmx_log_dd(eps, 0, 0);
    for (size_t i = 0; i < k->l.rows; i++)
        limit[i] = lmx_norm_value(&k->row[i].norm) + log_eps.hi;
}

static void no_gradients(const call *c, const loss_arrays *a, const lmx_linear_loss *k)
{
    const size_t size = k->l.table->elem_size;
    if (k->accumulate)
        return;
    for (size_t i = 0; a->dweight != NULL && i < c->classes; i++)
        k->l.table->fill(a->dweight + (ptrdiff_t)i * a->dweight_stride * (ptrdiff_t)size, c->depth,
                         1, 0);
    if (a->dbias != NULL)
        k->l.bias_table->fill(a->dbias, c->classes, 1, 0);
}

/* Hands out the probability that the rows have lost, if it is wanted. */
static void put_dropped(const call *c, const lmx_linear_loss *k)
{
    for (size_t i = 0; c->opt.dropped != NULL && i < c->rows; i++)
        c->opt.dropped[i] = 0;
    for (size_t i = 0; k->dropped != NULL && i < k->l.rows; i++)
        c->opt.dropped[k->l.hidden.picked[i]] = k->dropped[i];
}

/* The gradients of rows that count; limit: a number for each of them, if some may be left out. */
static void run_gradients(const call *c, const loss_arrays *a, lmx_linear_loss *k, double *limit)
{
    if (limit != NULL)
        set_limits(k, c->opt.filter_eps, limit);
    if (k->dropped != NULL)
        memset(k->dropped, 0, k->l.rows * sizeof *k->dropped);
    for (size_t i = 0; k->dhidden != NULL && i < k->l.rows; i++)
        k->l.real->fill(k->dhidden +
                            (ptrdiff_t)i * k->dhidden_row * (ptrdiff_t)k->l.real->real_size,
                        c->depth, 1, 0);
    lmx_linear_loss_backward(k);
    if (k->dhidden != NULL)
        put_hidden(k, a->dhidden, a->dhidden_stride, c->rows);
}

/* Of rows that count, of which there is one at least. */
static lmx_status run_rows(const call *c, const loss_arrays *a, lmx_linear_loss *k)
{
    const size_t rows = k->l.rows, real_size = k->l.real->real_size;
    const int gradients = a->dhidden != NULL || a->dweight != NULL || a->dbias != NULL;
    const int apart = a->dhidden != NULL && keeps_apart(k);
    const int filters = gradients && c->opt.filter_eps >= DBL_MIN;
    const int drops = filters && c->opt.dropped != NULL;
    const size_t apart_size = apart ? rows * c->depth * real_size : 0;
    const size_t limit_size = filters ? rows * sizeof(double) : 0;
    const size_t lost_size = drops ? rows * sizeof(double) : 0;
    const size_t own =
        lmx_round_up(apart_size) + lmx_round_up(limit_size) + lmx_round_up(lost_size);

    const size_t most = c->opt.max_workspace_bytes;
    if (most != 0 && most <= own)
        return LMX_ERR_NOMEM;
    const size_t used = fit_loss(k, gradients, most == 0 ? 0 : most - own);
    void *to_free = NULL;
    lmx_arena parts = lmx_arena_open(used == SIZE_MAX ? used : used + own, &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;

    char *const dhidden = lmx_arena_take(&parts, apart_size);
    double *const limit = lmx_arena_take(&parts, limit_size), *const lost =
                                                                  lmx_arena_take(&parts, lost_size);
    k->dhidden = apart ? dhidden : a->dhidden;
    k->dhidden_row = apart ? (ptrdiff_t)c->depth : a->dhidden_stride;
    k->dweight = a->dweight;
    k->dweight_row = a->dweight_stride;
    k->dbias = a->dbias;
    k->limit = filters ? limit : NULL;
    k->dropped = drops ? lost : NULL;
    divide_loss(k, &parts, gradients);
    begin_rows(c, k, gradients);
    open_store(k);
    lmx_linear_loss_forward(k);
    put_losses(c, a, k);
    if (gradients)
        run_gradients(c, a, k, filters ? limit : NULL);
    put_dropped(c, k);
    free(to_free);
    return LMX_OK;
}

static lmx_status run_loss(call *c, const loss_arrays *a)
{
    lmx_linear_loss k;
    memset(&k, 0, sizeof k);
    begin_linear(c, &k.l);
    k.kernel = k.l.real->loss[LMX_LOSS_cross_entropy];
    k.softcap = k.l.real->real_size == 4 && c->opt.softcap > FLT_MAX ? 0 : c->opt.softcap;
    k.spec.cols = (double)c->classes;
    k.spec.penalty = c->opt.logz_penalty;
    k.spec.smoothing = c->opt.label_smoothing;
    k.keep = 1 - c->opt.label_smoothing;
    k.add = c->opt.label_smoothing / k.spec.cols;
    k.spec.mixed = k.add != 0 || k.spec.penalty != 0;
    k.accumulate = c->opt.accumulate != 0;

    /* Which rows count has to be known first, for targets are checked before anything is written. */
    size_t *const picked = malloc((c->rows + 1) * 2 * sizeof *picked);
    if (picked == NULL)
        return LMX_ERR_NOMEM;
    lmx_status status = pick(c, a, picked, picked + c->rows, &k.l.rows);
    c->denominator = denominator(c, picked, k.l.rows);
    k.l.hidden.picked = picked;
    k.target = picked + c->rows;
    k.l.group = lmx_at_most(k.l.group, k.l.rows);
    if (status == LMX_OK && k.l.rows > 0) {
        status = run_rows(c, a, &k);
    } else if (status == LMX_OK) {
        put_losses(c, a, &k);
        no_gradients(c, a, &k);
        if (a->dhidden != NULL)
            put_hidden(&k, a->dhidden, a->dhidden_stride, c->rows);
        put_dropped(c, &k);
    }
    free(picked);
    return status;
}

static lmx_status check_loss(const call *c, const loss_arrays *a)
{
    if (a->loss == NULL || (c->rows > 0 && a->target == NULL))
        return LMX_ERR_NULL;
    if (!lmx_is_integer((int)a->type))
        return LMX_ERR_DTYPE;
    const lmx_table *const t = table_of(c->ctx, c->dtype);
    lmx_array all[INPUTS + OUTPUTS];
    inputs_of(c, all);
    const size_t losses = c->opt.reduction == LMX_NONE ? c->rows : 1;
    all[TARGET] = lmx_array_rows(a->target, lmx_int_size(a->type), c->rows, 1, a->target_stride);
    all[ROW_WEIGHT] =
        lmx_array_rows(c->opt.row_weight, sizeof(double), c->rows, 1, c->opt.row_weight_stride);
    all[INPUTS] = lmx_array_rows(a->loss, t->real_size, losses, 1, a->loss_stride);
    all[INPUTS + 1] =
        lmx_array_rows(a->dhidden, t->elem_size, c->rows, c->depth, a->dhidden_stride);
    all[INPUTS + 2] =
        lmx_array_rows(a->dweight, t->elem_size, c->classes, c->depth, a->dweight_stride);
    all[INPUTS + 3] =
        lmx_array_rows(a->dbias, table_of(c->ctx, c->opt.bias_dtype)->elem_size, 1, c->classes, 0);
    all[INPUTS + 4] = lmx_array_rows(c->opt.dropped, sizeof(double), c->rows, 1, 1);
    const lmx_status status = lmx_rows_check(all, INPUTS, INPUTS + OUTPUTS, NULL);
    for (size_t i = 0; status == LMX_OK && i < c->rows; i++)
        if (!(weight_of_row(c, i) >= 0 && lmx_finite(weight_of_row(c, i))))
            return LMX_ERR_ARG;
    return status;
}

lmx_status lmx_linear_cross_entropy(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t depth,
                                    size_t classes, const void *hidden, ptrdiff_t hidden_stride,
                                    const void *weight, ptrdiff_t weight_stride, const void *target,
                                    lmx_int target_type, ptrdiff_t target_stride,
                                    const lmx_linear_options *options, void *loss,
                                    ptrdiff_t loss_stride, void *dhidden, ptrdiff_t dhidden_stride,
                                    void *dweight, ptrdiff_t dweight_stride, void *dbias)
{
    call c = { ctx,    dtype,         rows,          depth, classes, hidden,
               weight, hidden_stride, weight_stride, { 0 }, 0 };
    const loss_arrays a = { target,  target_type, target_stride, loss,           loss_stride,
                            dhidden, dweight,     dbias,         dhidden_stride, dweight_stride };
    const lmx_fpenv env = lmx_fpenv_enter();
    lmx_status status = check_call(&c, options);
    if (status == LMX_OK)
        status = check_loss(&c, &a);
    if (status == LMX_OK)
        status = run_loss(&c, &a);
    lmx_fpenv_leave(env);
    return status;
}

/* ------------------------------------------------ logsumexp and largest --- */

static lmx_status run_logsumexp(const call *c, char *result, ptrdiff_t stride)
{
    lmx_linear_loss k;
    memset(&k, 0, sizeof k);
    begin_linear(c, &k.l);
    k.kernel = k.l.real->loss[LMX_LOSS_cross_entropy];
    k.spec.cols = (double)c->classes;
    k.keep = 1;
    const size_t used = fit_loss(&k, 0, c->opt.max_workspace_bytes),
                 targets = c->rows * sizeof *k.target;
    void *to_free = NULL;
    lmx_arena parts =
        lmx_arena_open(used == SIZE_MAX ? used : used + lmx_round_up(targets), &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    size_t *const target = lmx_arena_take(&parts, targets);
    k.target = target;
    divide_loss(&k, &parts, 0);
    memset(k.row, 0, c->rows * sizeof *k.row);
    for (size_t i = 0; i < c->rows; i++)
        target[i] = LMX_NO_TARGET;
    lmx_linear_loss_forward(&k);
    for (size_t i = 0; i < c->rows; i++)
        k.l.table->put_value(result + (ptrdiff_t)i * stride * (ptrdiff_t)k.l.real->real_size,
                             lmx_norm_value(&k.row[i].norm));
    free(to_free);
    return LMX_OK;
}

lmx_status lmx_linear_logsumexp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t depth,
                                size_t classes, const void *hidden, ptrdiff_t hidden_stride,
                                const void *weight, ptrdiff_t weight_stride,
                                const lmx_linear_options *options, void *result,
                                ptrdiff_t result_stride)
{
    call c = { ctx,    dtype,         rows,          depth, classes, hidden,
               weight, hidden_stride, weight_stride, { 0 }, 0 };
    lmx_status status = check_call(&c, options);
    if (status == LMX_ERR_SHAPE) /* nothing to add up: -inf */
        status = LMX_OK;
    if (status == LMX_OK && rows > 0 && result == NULL)
        status = LMX_ERR_NULL;
    if (status != LMX_OK || rows == 0)
        return status;
    const lmx_table *const t = table_of(ctx, dtype);
    lmx_array all[INPUTS + 1];
    inputs_of(&c, all);
    all[INPUTS] = lmx_array_rows(result, t->real_size, rows, 1, result_stride);
    status = lmx_rows_check(all, INPUTS, INPUTS + 1, NULL);
    if (status != LMX_OK)
        return status;
    if (classes == 0) {
        for (size_t i = 0; i < rows; i++)
            t->put_value((char *)result + (ptrdiff_t)i * result_stride * (ptrdiff_t)t->real_size,
                         -(double)INFINITY);
        return LMX_OK;
    }
    const lmx_fpenv env = lmx_fpenv_enter();
    status = run_logsumexp(&c, result, result_stride);
    lmx_fpenv_leave(env);
    return status;
}

static lmx_status run_topk(const call *c, size_t k, char *values, ptrdiff_t values_stride,
                           int64_t *indices, ptrdiff_t indices_stride)
{
    lmx_topk t;
    memset(&t, 0, sizeof t);
    begin_linear(c, &t.l);
    t.k = k;
    t.values = values;
    t.values_row = values_stride;
    t.indices = indices;
    t.indices_row = indices_stride;
    if (k > SIZE_MAX / sizeof *t.heap / t.l.group)
        return LMX_ERR_OVERFLOW;
    for (;;) {
        lmx_arena parts = { NULL, 0 };
        void *to_free = NULL;
        for (int pass = 0; pass < 2; pass++) {
            t.slots = t.l.workers;
            divide_linear(&t.l, &parts);
            t.z = lmx_arena_take(&parts, t.slots * t.l.group * LMX_PIECE_ROW * t.l.real->real_size);
            t.heap = lmx_arena_take(&parts, t.l.group * k * sizeof *t.heap);
            if (pass == 1)
                break;
            if (c->opt.max_workspace_bytes != 0 && parts.used > c->opt.max_workspace_bytes)
                break;
            parts = lmx_arena_open(parts.used, &to_free);
            if (parts.base == NULL)
                return LMX_ERR_NOMEM;
        }
        if (parts.base != NULL) {
            lmx_topk_run(&t);
            free(to_free);
            return LMX_OK;
        }
        if (!give_up_threads(&t.l))
            return LMX_ERR_NOMEM;
    }
}

lmx_status lmx_linear_topk(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t depth, size_t classes,
                           size_t k, const void *hidden, ptrdiff_t hidden_stride,
                           const void *weight, ptrdiff_t weight_stride,
                           const lmx_linear_options *options, void *values, ptrdiff_t values_stride,
                           int64_t *indices, ptrdiff_t indices_stride)
{
    call c = { ctx,    dtype,         rows,          depth, classes, hidden,
               weight, hidden_stride, weight_stride, { 0 }, 0 };
    lmx_status status = check_call(&c, options);
    if (status == LMX_OK && k > classes)
        status = LMX_ERR_SHAPE;
    if (status == LMX_ERR_SHAPE && k == 0)
        status = LMX_OK;
    if (status != LMX_OK || rows == 0 || k == 0)
        return status;
    if (values == NULL || indices == NULL)
        return LMX_ERR_NULL;
    lmx_array all[INPUTS + 2];
    inputs_of(&c, all);
    all[INPUTS] = lmx_array_rows(values, table_of(ctx, dtype)->elem_size, rows, k, values_stride);
    all[INPUTS + 1] = lmx_array_rows(indices, sizeof *indices, rows, k, indices_stride);
    status = lmx_rows_check(all, INPUTS, INPUTS + 2, NULL);
    if (status != LMX_OK)
        return status;
    const lmx_fpenv env = lmx_fpenv_enter();
    status = run_topk(&c, k, values, values_stride, indices, indices_stride);
    lmx_fpenv_leave(env);
    return status;
}
