/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the factored output layer: checks, memory, elements of any type to doubles and back. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "exec/arrays.h"
#include "base/candidate.h"
#include "platform/cpu.h"
#include "exec/ctx.h"
#include "exec/options.h"
#include "exec/reach.h"
#include "dispatch/registry.h"
#include "spherical/spherical.h"
#include "base/targets.h"
#include "base/vectors.h"

/* -------------------------------------------------------------- memory --- */

/* A part of one allocation, in doubles. */
typedef struct part {
    double **at;
    size_t count;
} part;

/* NULL: no memory. Parts begin at multiples of 64 bytes. */
static void *allocate(const part *parts, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].count > ((size_t)PTRDIFF_MAX - 128 - used) / sizeof(double))
            return NULL;
        used += lmx_round_up(parts[i].count * sizeof(double));
    }
    void *memory;
    lmx_arena all = lmx_arena_open(used, &memory);
    for (size_t i = 0; all.base != NULL && i < n; i++)
        *parts[i].at = lmx_arena_take(&all, parts[i].count * sizeof(double));
    return memory;
}

static size_t in_doubles(size_t bytes) { return (bytes - 1) / sizeof(double) + 1; }

/* ------------------------------------------------------------- elements --- */

/* Rows of elements go through these: the table of their type, and a row of reals. */
typedef struct elements {
    const lmx_table *table;
    void *reals; /* as many as a row has */
} elements;

static void load_row(const elements *e, const void *row, size_t n, double *to)
{
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    if (e->table->real_size == 8) {
        e->table->gather(row, n, &as_is, to);
        return;
    }
    e->table->gather(row, n, &as_is, e->reals);
    for (size_t k = 0; k < n; k++)
        to[k] = ((const float *)e->reals)[k];
}

static void store_row(const elements *e, const double *from, size_t n, void *row)
{
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    if (e->table->real_size == 8) {
        e->table->scatter(from, n, &as_is, row);
        return;
    }
    for (size_t k = 0; k < n; k++)
        ((float *)e->reals)[k] = (float)from[k];
    e->table->scatter(e->reals, n, &as_is, row);
}

static lmx_products products_on(const lmx_ctx *ctx)
{
    return (lmx_products){ lmx_ctx_tier(ctx)->table[LMX_F64], ctx != NULL ? ctx->pool : NULL,
                           NULL };
}

static void *row_at(const lmx_array *a, size_t i) { return (void *)(uintptr_t)lmx_row_at(a, i); }

/* ---------------------------------------------------------- a new layer --- */

/* The order of the Taylor softmax is 2 here, and the squared error has label smoothing for a parameter. */
static int parameters_fit(lmx_loss_code loss, const double *p)
{
    if (loss == LMX_LOSS_one_hot_mse_loss)
        return lmx_option_fits(LMX_OPTION_label_smoothing, p[0]);
    return lmx_parameters_fit(lmx_loss_info((int)loss)->parameter, p) &&
           (loss != LMX_LOSS_taylor_softmax_loss || p[0] == 2);
}

static int is_spherical(lmx_loss_code loss)
{
    return loss == LMX_LOSS_z_loss || loss == LMX_LOSS_spherical_softmax_loss ||
           loss == LMX_LOSS_taylor_softmax_loss || loss == LMX_LOSS_one_hot_mse_loss;
}

/* Zeros throughout, U = 1; NULL: no memory. */
static lmx_spherical *empty_layer(lmx_dtype dtype, size_t classes, size_t d)
{
    lmx_spherical *const l = calloc(1, sizeof *l);
    const size_t n = classes * d;
    double *v = NULL, *low = NULL;
    if (l == NULL)
        return NULL;
    l->dtype = dtype;
    l->classes = classes;
    l->d = d;
    const part rows[] = { { &v, dtype == LMX_F64 ? n : (n - 1) / 2 + 1 },
                          { &low, dtype == LMX_F64 ? 1 : (n - 1) / 8 + 1 } };
    const part factors[] = { { &l->u, d * d },       { &l->u_it, d * d },    { &l->gram, d * d },
                             { &l->next[0], d * d }, { &l->next[1], d * d }, { &l->next[2], d * d },
                             { &l->sum, d },         { &l->omega, d } };
    l->memory[0] = allocate(rows, 2);
    l->memory[1] = allocate(factors, sizeof factors / sizeof *factors);
    if (l->memory[0] == NULL || l->memory[1] == NULL) {
        lmx_spherical_free(l);
        return NULL;
    }
    l->v = v;
    l->low = dtype == LMX_F64 ? NULL : (int8_t *)(void *)low;
    memset(l->v, 0, n * (dtype == LMX_F64 ? sizeof(double) : sizeof(float)));
    if (l->low != NULL)
        memset(l->low, 0, n);
    for (size_t i = 0; i < 2; i++)
        memset(i == 0 ? l->u : l->u_it, 0, d * d * sizeof(double));
    for (size_t i = 0; i < d; i++)
        l->u[i * d + i] = l->u_it[i * d + i] = 1;
    memset(l->gram, 0, d * d * sizeof(double));
    memset(l->sum, 0, d * sizeof(double));
    memset(l->omega, 0, d * sizeof(double));
    return l;
}

void lmx_spherical_free(lmx_spherical *layer)
{
    if (layer == NULL)
        return;
    free(layer->memory[0]);
    free(layer->memory[1]);
    free(layer);
}

/* The rows of the weights, and what is known of them; what is not finite shows in the end. */
static lmx_status take_weights(const lmx_ctx *ctx, lmx_spherical *l, const lmx_array *weight)
{
    const size_t d = l->d;
    lmx_spherical_work w;
    double *scratch, *reals;
    memset(&w, 0, sizeof w);
    w.on = products_on(ctx);
    w.d = d;
    const part parts[] = { { &w.rows[0], LMX_SPHERICAL_ROWS * d },
                           { &w.column, 2 * d },
                           { &scratch, in_doubles(lmx_matmul_scratch(lmx_ctx_threads(ctx))) },
                           { &reals, d } };
    void *const memory = allocate(parts, sizeof parts / sizeof *parts);
    if (memory == NULL)
        return LMX_ERR_NOMEM;
    w.on.scratch = scratch;
    const elements e = { lmx_ctx_tier(ctx)->table[l->dtype], reals };
    int holds = 1;
    for (size_t i = 0; i < l->classes && holds; i++) {
        load_row(&e, row_at(weight, i), d, w.column);
        holds = lmx_spherical_holds(l, w.column, d);
        lmx_spherical_put_row(l, i, w.column);
    }
    if (holds)
        lmx_spherical_measure(l, &w);
    holds = holds && lmx_finite(lmx_sum_squares(l->gram, d * d) + lmx_sum_squares(l->sum, d));
    free(memory);
    return holds ? LMX_OK : LMX_ERR_NUMERIC;
}

static lmx_status create(const lmx_ctx *ctx, lmx_dtype dtype, lmx_loss_code loss,
                         const double *parameter, size_t classes, size_t d, const void *weight,
                         ptrdiff_t weight_stride, lmx_spherical **out)
{
    lmx_loss_options o;
    if (!is_spherical(loss))
        return LMX_ERR_OP;
    if (dtype != LMX_F32 && dtype != LMX_F64)
        return LMX_ERR_DTYPE;
    lmx_loss_options_init(loss, &o);
    if (parameter != NULL)
        memcpy(o.parameter, parameter, sizeof o.parameter);
    if (!parameters_fit(loss, o.parameter))
        return LMX_ERR_ARG;
    if (out == NULL)
        return LMX_ERR_NULL;
    if (classes == 0 || d == 0)
        return LMX_ERR_SHAPE;
    if (d > (size_t)PTRDIFF_MAX / 64 / d || classes > (size_t)PTRDIFF_MAX / 64 / d)
        return LMX_ERR_OVERFLOW;
    const lmx_array rows =
        lmx_array_rows(weight, dtype == LMX_F64 ? 8 : 4, classes, d, weight_stride);
    const lmx_status wrong = lmx_rows_check(&rows, 1, 1, NULL);
    if (wrong != LMX_OK)
        return wrong;
    lmx_spherical *const l = empty_layer(dtype, classes, d);
    if (l == NULL)
        return LMX_ERR_NOMEM;
    l->loss = loss;
    memcpy(l->parameter, o.parameter, sizeof l->parameter);
    const lmx_status status = weight != NULL ? take_weights(ctx, l, &rows) : LMX_OK;
    if (status == LMX_OK)
        *out = l;
    else
        lmx_spherical_free(l);
    return status;
}

lmx_status lmx_spherical_create(lmx_ctx *ctx, lmx_dtype dtype, lmx_loss_code loss,
                                const double *parameter, size_t classes, size_t d,
                                const void *weight, ptrdiff_t weight_stride, lmx_spherical **out)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_status status =
        create(ctx, dtype, loss, parameter, classes, d, weight, weight_stride, out);
    lmx_fpenv_leave(env);
    return status;
}

/* -------------------------------------------------------------- batches --- */

typedef struct batch {
    lmx_spherical_batch b;
    lmx_array hidden, dhidden;
    elements e;
    size_t kept, pairs; /* rows that count, and their targets */
} batch;

lmx_status lmx_spherical_batch_init(lmx_spherical_batch *given)
{
    if (given == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(given, LMX_TAG_BATCH);
    given->target_type = LMX_I64;
    given->target_stride = 1;
    given->targets = 1;
    given->ignore_index = -100;
    return LMX_OK;
}

static int64_t class_of(const batch *c, size_t row, size_t k)
{
    return lmx_class_at(c->b.target, c->b.target_type,
                        (ptrdiff_t)row * c->b.target_stride + (ptrdiff_t)k);
}

static int is_kept(const batch *c, size_t row)
{
    for (size_t k = 0; k < c->b.targets; k++)
        if (class_of(c, row, k) != c->b.ignore_index)
            return 1;
    return 0;
}

static lmx_status count_targets(batch *c, size_t classes)
{
    for (size_t i = 0; i < c->b.rows; i++) {
        const size_t before = c->pairs;
        for (size_t k = 0; k < c->b.targets; k++) {
            const int64_t t = class_of(c, i, k);
            if (t == c->b.ignore_index)
                continue;
            if (t < 0 || (uint64_t)t >= classes)
                return LMX_ERR_LABEL;
            c->pairs++;
        }
        c->kept += c->pairs > before;
    }
    return LMX_OK;
}

static lmx_status check_batch(const lmx_ctx *ctx, const lmx_spherical *l,
                              const lmx_spherical_batch *given, batch *c)
{
    memset(c, 0, sizeof *c);
    if (l == NULL || given == NULL)
        return LMX_ERR_NULL;
    if (!LMX_OPTIONS_FIT(given, LMX_TAG_BATCH))
        return LMX_ERR_ARG;
    c->b = *given;
    const lmx_spherical_batch *const b = &c->b;
    if ((unsigned)b->dtype >= LMX_DTYPES || !lmx_is_integer((int)b->target_type))
        return LMX_ERR_DTYPE;
    if (b->loss == NULL || (b->rows > 0 && (b->hidden == NULL || b->target == NULL)))
        return LMX_ERR_NULL;
    const int squared = l->loss == LMX_LOSS_one_hot_mse_loss;
    if (b->targets == 0 || (b->targets > 1 && !squared))
        return LMX_ERR_SHAPE;
    if (b->values != NULL && !squared)
        return LMX_ERR_OP;
    const size_t most = (size_t)PTRDIFF_MAX / 64 / sizeof(lmx_spherical_target);
    if (b->rows > most / l->d || b->targets > most / (b->rows + 1))
        return LMX_ERR_OVERFLOW;
    c->e.table = lmx_ctx_tier(ctx)->table[b->dtype];
    const size_t size = c->e.table->elem_size;
    const lmx_array all[] = {
        lmx_array_rows(b->hidden, size, b->rows, l->d, b->hidden_stride),
        lmx_array_rows(b->target, lmx_int_size(b->target_type), b->rows, b->targets,
                       b->target_stride),
        lmx_array_rows(b->values, sizeof(double), b->rows, b->targets, b->values_stride),
        lmx_array_rows(b->loss, sizeof(double), 1, 1, 1),
        lmx_array_rows(b->dhidden, size, b->rows, l->d, b->dhidden_stride),
    };
    c->hidden = all[0];
    c->dhidden = all[4];
    static const unsigned may_be[] = { 0, 1 }; /* dhidden may be hidden */
    const lmx_status wrong = lmx_rows_check(all, 3, 5, may_be);
    return wrong != LMX_OK ? wrong : count_targets(c, l->classes);
}

/* Parts for a batch; those for a gradient and for a step are empty without. */
static void *open_work(const lmx_ctx *ctx, const lmx_spherical *l, batch *c, int gradient, int step,
                       lmx_spherical_work *w)
{
    const size_t m = c->kept, d = l->d, md = m * d, n = m > d ? m : d;
    const size_t per_row = gradient ? md : 0, dd = step ? d * d : 0;
    const size_t mm = step && m <= d ? m * m : 0, block = step ? LMX_SPHERICAL_ROWS : 0;
    double *target, *swap, *scratch, *reals;
    memset(w, 0, sizeof *w);
    w->on = products_on(ctx);
    w->m = m;
    w->d = d;
    const part parts[] = {
        { &target, in_doubles(c->pairs * sizeof *w->target + 1) },
        { &scratch, in_doubles(lmx_matmul_scratch(lmx_ctx_threads(ctx))) },
        { &reals, d },
        { &w->row, n },
        { &w->column, 2 * d },
        { &w->h, md },
        { &w->u_h, md },
        { &w->gram_h, md },
        { &w->few_logits, l->classes <= d ? l->classes * m : 0 },
        { &w->square, m },
        { &w->total, m },
        { &w->omega_h, m },
        { &w->loss, m },
        { &w->gv, m },
        { &w->gs, m },
        { &w->at_targets, m },
        { &w->g1, m },
        { &w->rate, m },
        { &w->z, per_row },
        { &w->centred, per_row },
        { &w->dhidden, per_row },
        { &w->p, per_row },
        { &w->row_pair[0], mm },
        { &w->row_pair[1], mm },
        { &w->row_pair[2], mm },
        { &w->pair[0], dd },
        { &w->pair[1], dd },
        { &w->pair[2], dd },
        { &w->pair[3], dd },
        { &w->panel, step ? n * LMX_LU_BLOCK : 0 },
        { &swap, step ? in_doubles(n * sizeof *w->swap) : 0 },
        { &w->touched, step ? c->pairs * d : 0 },
        { &w->rows[0], block * d },
        { &w->rows[1], (block > lmx_ctx_threads(ctx) ? block : lmx_ctx_threads(ctx)) * d },
        { &w->logits, block * m },
    };
    void *const memory = allocate(parts, sizeof parts / sizeof *parts);
    if (memory == NULL)
        return NULL;
    w->target = (void *)target;
    w->swap = (void *)swap;
    w->on.scratch = scratch;
    c->e.reals = reals;
    return memory;
}

static int by_class(const void *a_, const void *b_)
{
    const lmx_spherical_target *const a = a_, *const b = b_;
    if (a->class != b->class)
        return a->class < b->class ? -1 : 1;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

/* The rows that count and their targets, of which those of the same class and row add up. */
static void load(const batch *c, lmx_spherical_work *w)
{
    size_t row = 0, n = 0;
    for (size_t i = 0; i < c->b.rows; i++) {
        if (!is_kept(c, i))
            continue;
        load_row(&c->e, row_at(&c->hidden, i), w->d, w->h + row * w->d);
        for (size_t k = 0; k < c->b.targets; k++) {
            const int64_t t = class_of(c, i, k);
            if (t == c->b.ignore_index)
                continue;
            const ptrdiff_t at = (ptrdiff_t)i * c->b.values_stride + (ptrdiff_t)k;
            const double value = c->b.values != NULL ? c->b.values[at] : 1;
            w->target[n++] = (lmx_spherical_target){ (size_t)t, row, k, value, 0, 0 };
        }
        row++;
    }
    qsort(w->target, n, sizeof *w->target, by_class);
    for (size_t i = 0; i < n; i++) {
        lmx_spherical_target *const last = w->target + w->targets - 1;
        const lmx_spherical_target t = w->target[i];
        if (w->targets > 0 && last->class == t.class && last->row == t.row)
            last->value += t.value;
        else
            w->target[w->targets++] = t;
    }
}

static void store(const batch *c, const lmx_spherical_work *w)
{
    *c->b.loss = w->mean_loss;
    if (c->b.dhidden == NULL)
        return;
    size_t row = 0;
    for (size_t i = 0; i < c->b.rows; i++)
        if (is_kept(c, i))
            store_row(&c->e, w->dhidden + row++ * w->d, w->d, row_at(&c->dhidden, i));
        else
            c->e.table->fill(row_at(&c->dhidden, i), w->d, 1, 0);
}

lmx_status lmx_spherical_loss(lmx_ctx *ctx, const lmx_spherical *layer,
                              const lmx_spherical_batch *given)
{
    batch c;
    lmx_spherical_work w;
    const lmx_status wrong = check_batch(ctx, layer, given, &c);
    if (wrong != LMX_OK)
        return wrong;
    const int gradient = c.b.dhidden != NULL;
    void *const memory = open_work(ctx, layer, &c, gradient, 0, &w);
    if (memory == NULL)
        return LMX_ERR_NOMEM;
    const lmx_fpenv env = lmx_fpenv_enter();
    load(&c, &w);
    lmx_spherical_pass(layer, &w, gradient);
    store(&c, &w);
    lmx_fpenv_leave(env);
    free(memory);
    return LMX_OK;
}

static lmx_status step(const lmx_ctx *ctx, lmx_spherical *l, const lmx_spherical_batch *given,
                       double lr, double weight_decay)
{
    batch c;
    lmx_spherical_work w;
    const lmx_status wrong = check_batch(ctx, l, given, &c);
    if (wrong != LMX_OK)
        return wrong;
    if (!lmx_option_fits(LMX_OPTION_lr, lr) ||
        !lmx_option_fits(LMX_OPTION_weight_decay, weight_decay) || !lmx_finite(lr * weight_decay))
        return LMX_ERR_ARG;
    void *const memory = open_work(ctx, l, &c, 1, 1, &w);
    if (memory == NULL)
        return LMX_ERR_NOMEM;
    w.eta = lr;
    w.decay = 1 - lr * weight_decay;
    load(&c, &w);
    lmx_spherical_pass(l, &w, 1);
    const lmx_status status = lmx_spherical_update(l, &w);
    if (status == LMX_OK)
        store(&c, &w);
    free(memory);
    return status;
}

lmx_status lmx_spherical_step(lmx_ctx *ctx, lmx_spherical *layer, const lmx_spherical_batch *given,
                              double lr, double weight_decay)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_status status = step(ctx, layer, given, lr, weight_decay);
    lmx_fpenv_leave(env);
    return status;
}

/* --------------------------------------------------------------- logits --- */

/* Rows and classes whose logits are in memory at a time. */
#define ROWS     128
#define CLASSES  4096
#define TOGETHER 256 /* classes of a task */

typedef struct logits_call {
    const lmx_spherical *l;
    lmx_products on;
    elements e;
    lmx_array hidden, out, classes;
    size_t k;
    unsigned workers;
    size_t scratch_size; /* of products, in doubles for each worker */

    size_t first_row, rows, first, count; /* at work */
    double *h, *u_h, *shift;              /* ROWS x d, and ROWS: omega . h */
    double *logits;                       /* ROWS x CLASSES */
    double *v;                            /* TOGETHER x d for each worker */
    double *scratch;
    double *reals;       /* of a row of CLASSES or d, for each worker */
    double *rounded;     /* the same: elements */
    lmx_candidate *best; /* ROWS x k */
} logits_call;

static size_t row_reals(const logits_call *c) { return c->l->d > CLASSES ? c->l->d : CLASSES; }

static elements elements_of(const logits_call *c, unsigned worker)
{
    return (elements){ c->e.table, c->reals + worker * row_reals(c) };
}

/* Logits of TOGETHER classes from first + begin * TOGETHER on. */
static void logits_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const logits_call *const c = job;
    const size_t d = c->l->d;
    const lmx_products alone = { c->on.table, NULL, c->scratch + worker * c->scratch_size };
    double *const v = c->v + worker * TOGETHER * d;
    for (size_t b = begin; b < end; b++) {
        const size_t first = b * TOGETHER;
        const size_t n = c->count - first < TOGETHER ? c->count - first : TOGETHER;
        for (size_t i = 0; i < n; i++)
            lmx_spherical_row(c->l, c->first + first + i, v + i * d);
        double *const to = c->logits + first;
        for (size_t i = 0; i < c->rows; i++)
            for (size_t k = 0; k < n; k++)
                to[i * CLASSES + k] = c->shift[i];
        lmx_multiply(&alone, c->rows, n, d, c->u_h, d, 1, v, 1, d, to, CLASSES, 1);
    }
}

static void write_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const logits_call *const c = job;
    const elements e = elements_of(c, worker);
    for (size_t i = begin; i < end; i++)
        store_row(&e, c->logits + i * CLASSES, c->count,
                  (char *)row_at(&c->out, c->first_row + i) + c->first * e.table->elem_size);
}

static void rank_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const logits_call *const c = job;
    const elements e = elements_of(c, worker);
    double *const rounded = c->rounded + worker * row_reals(c);
    for (size_t i = begin; i < end; i++) {
        double *const logits = c->logits + i * CLASSES;
        if (e.table->elem_size < 8) {
            store_row(&e, logits, c->count, rounded);
            load_row(&e, rounded, c->count, logits);
        }
        for (size_t k = 0; k < c->count; k++)
            lmx_consider(c->best + i * c->k, c->k, (lmx_candidate){ logits[k], c->first + k });
    }
}

/* The best of the rows at work, in order. */
static void write_best(const logits_call *c)
{
    const elements e = elements_of(c, 0);
    for (size_t i = 0; i < c->rows; i++) {
        lmx_candidate *const best = c->best + i * c->k;
        char *const values = row_at(&c->out, c->first_row + i);
        int64_t *const classes = row_at(&c->classes, c->first_row + i);
        lmx_sort_candidates(best, c->k);
        for (size_t k = 0; k < c->k; k++) {
            store_row(&e, &best[k].value, 1, values + k * e.table->elem_size);
            classes[k] = (int64_t)best[k].index;
        }
    }
}

static void logits_of_rows(logits_call *c)
{
    const size_t d = c->l->d;
    const elements e = elements_of(c, 0);
    for (size_t i = 0; i < c->rows; i++) {
        load_row(&e, row_at(&c->hidden, c->first_row + i), d, c->h + i * d);
        c->shift[i] = lmx_dot(c->h + i * d, c->l->omega, d);
        for (size_t k = 0; k < c->k; k++) /* worse than every logit */
            c->best[i * c->k + k] = (lmx_candidate){ -(double)INFINITY, c->l->classes };
    }
    lmx_multiply(&c->on, c->rows, d, d, c->h, d, 1, c->l->u, 1, d, c->u_h, d, 0);
    for (c->first = 0; c->first < c->l->classes; c->first += CLASSES) {
        const size_t left = c->l->classes - c->first;
        c->count = left < CLASSES ? left : CLASSES;
        lmx_parallel_for(c->on.pool, (c->count - 1) / TOGETHER + 1, 1, logits_task, c);
        lmx_parallel_for(c->on.pool, c->rows, 8, c->k > 0 ? rank_task : write_task, c);
    }
    if (c->k > 0)
        write_best(c);
}

static lmx_status run_logits(const lmx_ctx *ctx, logits_call *c, size_t rows)
{
    const size_t d = c->l->d, n = rows < ROWS ? rows : ROWS;
    c->on = products_on(ctx);
    c->workers = lmx_ctx_threads(ctx);
    c->scratch_size = (in_doubles(lmx_matmul_scratch(1)) + 7) / 8 * 8;
    double *shared, *best;
    const part parts[] = {
        { &c->h, n * d },
        { &c->u_h, n * d },
        { &c->shift, n },
        { &c->logits, n * CLASSES },
        { &c->v, c->workers * TOGETHER * d },
        { &c->scratch, c->workers * c->scratch_size },
        { &shared, in_doubles(lmx_matmul_scratch(c->workers)) },
        { &c->reals, c->workers * row_reals(c) },
        { &c->rounded, c->workers * row_reals(c) },
        { &best, in_doubles(n * c->k * sizeof *c->best + 1) },
    };
    void *const memory = allocate(parts, sizeof parts / sizeof *parts);
    if (memory == NULL)
        return LMX_ERR_NOMEM;
    c->on.scratch = shared;
    c->best = (void *)best;
    const lmx_fpenv env = lmx_fpenv_enter();
    for (c->first_row = 0; c->first_row < rows; c->first_row += ROWS) {
        c->rows = rows - c->first_row < ROWS ? rows - c->first_row : ROWS;
        logits_of_rows(c);
    }
    lmx_fpenv_leave(env);
    free(memory);
    return LMX_OK;
}

static lmx_status check_and_run_logits(const lmx_ctx *ctx, const lmx_spherical *l, lmx_dtype dtype,
                                       size_t rows, const void *hidden, ptrdiff_t hidden_stride,
                                       size_t k, size_t cols, void *out, ptrdiff_t out_stride,
                                       int64_t *classes, ptrdiff_t classes_stride)
{
    logits_call c;
    memset(&c, 0, sizeof c);
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    if (rows == 0 || cols == 0)
        return LMX_OK;
    if (hidden == NULL || out == NULL || (k > 0 && classes == NULL))
        return LMX_ERR_NULL;
    c.l = l;
    c.k = k;
    c.e.table = lmx_ctx_tier(ctx)->table[dtype];
    const lmx_array all[] = {
        lmx_array_rows(hidden, c.e.table->elem_size, rows, l->d, hidden_stride),
        lmx_array_rows(out, c.e.table->elem_size, rows, cols, out_stride),
        lmx_array_rows(classes, sizeof *classes, rows, cols, classes_stride)
    };
    c.hidden = all[0];
    c.out = all[1];
    c.classes = all[2];
    const lmx_status wrong = lmx_rows_check(all, 1, 3, NULL);
    return wrong != LMX_OK ? wrong : run_logits(ctx, &c, rows);
}

lmx_status lmx_spherical_logits(lmx_ctx *ctx, const lmx_spherical *layer, lmx_dtype dtype,
                                size_t rows, const void *hidden, ptrdiff_t hidden_stride,
                                void *logits, ptrdiff_t logits_stride)
{
    if (layer == NULL)
        return LMX_ERR_NULL;
    return check_and_run_logits(ctx, layer, dtype, rows, hidden, hidden_stride, 0, layer->classes,
                                logits, logits_stride, NULL, 0);
}

lmx_status lmx_spherical_topk(lmx_ctx *ctx, const lmx_spherical *layer, lmx_dtype dtype,
                              size_t rows, const void *hidden, ptrdiff_t hidden_stride, size_t k,
                              void *values, ptrdiff_t values_stride, int64_t *classes,
                              ptrdiff_t classes_stride)
{
    if (layer == NULL)
        return LMX_ERR_NULL;
    if (k > layer->classes)
        return LMX_ERR_SHAPE;
    return check_and_run_logits(ctx, layer, dtype, rows, hidden, hidden_stride, k, k, values,
                                values_stride, classes, classes_stride);
}

/* --------------------------------------------------- looking at a layer --- */

lmx_status lmx_spherical_weight(lmx_ctx *ctx, const lmx_spherical *layer, void *weight,
                                ptrdiff_t weight_stride)
{
    if (layer == NULL || weight == NULL)
        return LMX_ERR_NULL;
    const size_t d = layer->d, D = layer->classes;
    elements e = { lmx_ctx_tier(ctx)->table[layer->dtype], NULL };
    const lmx_array rows = lmx_array_rows(weight, e.table->elem_size, D, d, weight_stride);
    const lmx_status wrong = lmx_rows_check(&rows, 0, 1, NULL);
    if (wrong != LMX_OK)
        return wrong;
    lmx_products on = products_on(ctx);
    double *v, *weights, *scratch, *reals;
    const part parts[] = { { &v, LMX_SPHERICAL_ROWS * d },
                           { &weights, LMX_SPHERICAL_ROWS * d },
                           { &scratch, in_doubles(lmx_matmul_scratch(lmx_ctx_threads(ctx))) },
                           { &reals, d } };
    void *const memory = allocate(parts, sizeof parts / sizeof *parts);
    if (memory == NULL)
        return LMX_ERR_NOMEM;
    on.scratch = scratch;
    e.reals = reals;
    const lmx_fpenv env = lmx_fpenv_enter();
    for (size_t first = 0; first < D; first += LMX_SPHERICAL_ROWS) {
        const size_t n = D - first < LMX_SPHERICAL_ROWS ? D - first : LMX_SPHERICAL_ROWS;
        lmx_spherical_weights(layer, &on, first, n, v, weights);
        for (size_t i = 0; i < n; i++)
            store_row(&e, weights + i * d, d, row_at(&rows, first + i));
    }
    lmx_fpenv_leave(env);
    free(memory);
    return LMX_OK;
}

lmx_status lmx_spherical_condition(const lmx_spherical *layer, double *condition)
{
    if (layer == NULL || condition == NULL)
        return LMX_ERR_NULL;
    const size_t d = layer->d;
    const size_t most = d < LMX_SPHERICAL_VECTORS ? d : LMX_SPHERICAL_VECTORS;
    double *vectors, *x, *y;
    const part parts[] = { { &vectors, most * d }, { &x, d }, { &y, d } };
    void *const memory = allocate(parts, sizeof parts / sizeof *parts);
    if (memory == NULL)
        return LMX_ERR_NOMEM;
    const lmx_fpenv env = lmx_fpenv_enter();
    const double largest = lmx_spherical_norm(d, layer->u, vectors, x, y);
    const double inverse = lmx_spherical_norm(d, layer->u_it, vectors, x, y);
    const double product = largest * inverse;
    *condition = product < 1 ? 1 : product;
    lmx_fpenv_leave(env);
    free(memory);
    return LMX_OK;
}

static void copy_counts(const lmx_spherical *l, uint64_t *counts)
{
    const uint64_t all[5] = { l->count.steps, l->count.dense, l->count.inversions,
                              l->count.directions, l->count.refreshes };
    memcpy(counts, all, sizeof all);
}

lmx_status lmx_spherical_description_init(lmx_spherical_description *description)
{
    if (description == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(description, LMX_TAG_DESCRIPTION);
    return LMX_OK;
}

lmx_status lmx_spherical_info(const lmx_spherical *layer, lmx_spherical_description *description)
{
    if (layer == NULL || description == NULL)
        return LMX_ERR_NULL;
    if (!LMX_OPTIONS_FIT(description, LMX_TAG_DESCRIPTION))
        return LMX_ERR_ARG;
    description->dtype = layer->dtype;
    description->loss = layer->loss;
    memcpy(description->parameter, layer->parameter, sizeof layer->parameter);
    description->classes = layer->classes;
    description->d = layer->d;
    description->steps = layer->count.steps;
    description->dense_steps = layer->count.dense;
    description->inversions = layer->count.inversions;
    description->directions = layer->count.directions;
    description->refreshes = layer->count.refreshes;
    return LMX_OK;
}

/* ---------------------------------------------------------------- state --- */

lmx_status lmx_spherical_state_init(lmx_spherical_state *state)
{
    if (state == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(state, LMX_TAG_STATE);
    return LMX_OK;
}

typedef struct copied {
    void *inside, *outside;
    size_t bytes, align;
} copied;

enum { COPIED = 7 };

static lmx_status state_arrays(const lmx_spherical *l, const lmx_spherical_state *s,
                               copied a[COPIED])
{
    if (l == NULL || s == NULL)
        return LMX_ERR_NULL;
    if (!LMX_OPTIONS_FIT(s, LMX_TAG_STATE))
        return LMX_ERR_ARG;
    const size_t n = l->classes * l->d, d = l->d * sizeof(double), real = l->low == NULL ? 8 : 4;
    const copied all[COPIED] = {
        { l->v, s->v, n * real, real },    { l->low, s->v_low, l->low == NULL ? 0 : n, 1 },
        { l->u, s->u, l->d * d, 8 },       { l->u_it, s->u_it, l->d * d, 8 },
        { l->gram, s->gram, l->d * d, 8 }, { l->sum, s->sum, d, 8 },
        { l->omega, s->omega, d, 8 },
    };
    memcpy(a, all, sizeof all);
    for (int i = 0; i < COPIED; i++)
        if (a[i].bytes > 0 && a[i].outside == NULL)
            return LMX_ERR_NULL;
    for (int i = 0; i < COPIED; i++)
        if (a[i].bytes > 0 && (uintptr_t)a[i].outside % a[i].align != 0)
            return LMX_ERR_ALIGN;
    return LMX_OK;
}

lmx_status lmx_spherical_get_state(const lmx_spherical *layer, lmx_spherical_state *state)
{
    copied a[COPIED];
    const lmx_status wrong = state_arrays(layer, state, a);
    if (wrong != LMX_OK)
        return wrong;
    for (int i = 0; i < COPIED; i++)
        if (a[i].bytes > 0)
            memcpy(a[i].outside, a[i].inside, a[i].bytes);
    state->watched = layer->watched;
    state->peak = layer->peak;
    copy_counts(layer, state->counts);
    return LMX_OK;
}

static int is_finite(const void *p, size_t bytes, size_t real)
{
    int finite = 1;
    for (size_t i = 0; i < bytes / real; i++)
        finite &= lmx_finite(real == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i]);
    return finite;
}

lmx_status lmx_spherical_set_state(lmx_spherical *layer, const lmx_spherical_state *state)
{
    copied a[COPIED];
    const lmx_status wrong = state_arrays(layer, state, a);
    if (wrong != LMX_OK)
        return wrong;
    const lmx_fpenv env = lmx_fpenv_enter();
    int finite = lmx_finite(state->watched) && lmx_finite(state->peak);
    for (int i = 0; i < COPIED; i++)
        if (a[i].align > 1)
            finite = finite && is_finite(a[i].outside, a[i].bytes, a[i].align);
    lmx_fpenv_leave(env);
    if (!finite)
        return LMX_ERR_NUMERIC;
    for (int i = 0; i < COPIED; i++)
        if (a[i].bytes > 0)
            memcpy(a[i].inside, a[i].outside, a[i].bytes);
    layer->watched = state->watched;
    layer->peak = state->peak;
    layer->count = (lmx_spherical_counts){ state->counts[0], state->counts[1], state->counts[2],
                                           state->counts[3], state->counts[4] };
    return LMX_OK;
}
