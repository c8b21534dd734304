/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry of the losses: check, weigh the rows, hand out.  A row is measured chunk by chunk, finished,
 * and with a gradient written chunk by chunk; what a loss is made of is in lib/kernels/loss/<name>.c.
 */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "platform/cpu.h"
#include "exec/ctx.h"
#include "exec/plan.h"
#include "exec/options.h"
#include "exec/reach.h"
#include "dispatch/registry.h"
#include "base/targets.h"

/*
 * Losses are added in order within blocks of rows, and blocks in order: the sum does not depend on the
 * number of threads.  A block is at most 64 rows or LMX_CHUNK logits, so that few rows divide well.
 */
static size_t rows_together(size_t cols)
{
    const size_t rows = LMX_CHUNK / cols;
    return rows < 1 ? 1 : rows > 64 ? 64 : rows;
}

typedef struct call {
    const lmx_loss_kernel *kernel, *real_kernel;
    const lmx_table *table, *real_table, *soft_table;
    lmx_loss_code op;
    lmx_loss_options opt;
    lmx_loss_spec spec;
    lmx_shape shape;
    size_t rows;
    lmx_array o, grad, soft; /* strides: row, col, inner */
    lmx_array a, a_grad;     /* adversarial logits; data is NULL without them */
    const void *target;
    lmx_int target_type;
    ptrdiff_t target_stride;
    char *loss;
    ptrdiff_t loss_stride;
    lmx_plan plan;
    int direct;         /* elements can be read and written in place */
    double denominator; /* of the losses and gradients */
    size_t together;    /* rows in a block */
    double keep, add;   /* soft targets are (keep y + add) weight */
    size_t chunks;
    size_t row_chunks; /* of all rows that a worker has at a time */

    unsigned workers;
    char *scratch; /* three arrays of chunk_reals for each worker */
    size_t scratch_size;
    void *weight;     /* of the classes, as reals; NULL: 1 */
    lmx_chunk *chunk; /* chunks of a row for each worker, or of the one row that all share */
    lmx_mix *mix;
    double *pivot;
    lmx_dd *block; /* losses of so many rows */
} call;

/* A row at work. */
typedef struct row {
    call *c;
    const char *o, *soft, *a;
    char *grad, *a_grad;
    lmx_dd own;          /* of the target: adversarial logit less logit */
    double spread_scale; /* factor of the regulariser's gradient */
    double at_target;    /* that gradient at the target */
    size_t target;
    lmx_gather g;
    double temperature;
    double largest; /* far: logits are measured from it before they are divided */
    int far;
    double unit; /* what row.scale was divided by */
    lmx_chunk *chunk;
    lmx_mix *mix;
    double *pivot;
    lmx_loss_row row;
} row;

/* ------------------------------------------------------------- targets --- */

static int64_t class_of(const call *c, size_t i)
{
    return lmx_class_at(c->target, c->target_type, (ptrdiff_t)i * c->target_stride);
}

/* The denominator of a mean: the weights of the rows that count; LABEL if a target is none. */
static lmx_status weigh(call *c)
{
    c->denominator = c->opt.reduction == LMX_MEAN ? (double)c->rows : 1;
    if (c->opt.probabilities != NULL)
        return LMX_OK;
    lmx_dd s = { 0, 0 };
    for (size_t i = 0; i < c->rows; i++) {
        const int64_t t = class_of(c, i);
        if (t == c->opt.ignore_index)
            continue;
        if (t < 0 || (uint64_t)t >= c->shape.cols)
            return LMX_ERR_LABEL;
        s = lmx_dd_add(s, (lmx_dd){ c->opt.weight != NULL ? c->opt.weight[t] : 1, 0 });
    }
    if (c->opt.reduction == LMX_MEAN)
        c->denominator = s.hi;
    return LMX_OK;
}

/* ----------------------------------------------------------------- a row --- */

static size_t chunk_len(const call *c, size_t i)
{
    const size_t left = c->shape.cols - i * LMX_CHUNK;
    return left < LMX_CHUNK ? left : LMX_CHUNK;
}

static char *scratch_of(const call *c, unsigned worker, size_t which)
{
    return c->scratch + ((size_t)worker * 3 + which) * c->scratch_size;
}

/* The target's place in chunk i, LMX_NO_TARGET if it is in another. */
static size_t target_in(const row *w, size_t i)
{
    if (w->target == LMX_NO_TARGET || w->target / LMX_CHUNK != i)
        return LMX_NO_TARGET;
    return w->target % LMX_CHUNK;
}

/* n logits from `first` on as the loss sees them, capped if asked for and divided by the temperature. */
static void load(const row *w, size_t first, size_t n, int cap, void *z)
{
    const call *c = w->c;
    const ptrdiff_t offset = (ptrdiff_t)first * c->o.stride[1] * (ptrdiff_t)c->o.size;
    lmx_gather g = w->g;
    if (w->far)
        g.rate = 1;
    g.stride = c->o.stride[1];
    if (c->opt.softcap > 0) {
        lmx_gather plain = g;
        plain.rate = 1;
        c->table->gather(w->o + offset, n, &plain, z);
        if (!cap)
            return;
        c->real_table->softcap(z, n, c->opt.softcap);
        g.stride = 1;
        if (g.rate != 1)
            c->real_table->gather(z, n, &g, z);
    } else {
        c->table->gather(w->o + offset, n, &g, z);
    }
    if (w->far)
        lmx_quotients(c->real_table->real_size, z, n, w->largest, w->temperature);
}

/* Soft targets of chunk i in this worker's scratch. */
static void load_soft(const row *w, size_t i, unsigned worker)
{
    const call *c = w->c;
    const size_t n = chunk_len(c, i), first = i * LMX_CHUNK;
    char *const u = scratch_of(c, worker, 1);
    const void *y = NULL;
    if (w->soft != NULL) {
        const lmx_gather g = { .stride = c->soft.stride[1], .rate = 1 };
        char *const given = scratch_of(c, worker, 2);
        c->soft_table->gather(w->soft + (ptrdiff_t)first * g.stride * (ptrdiff_t)c->soft.size, n,
                              &g, given);
        y = given;
        if (c->soft_table->real_size < c->real_table->real_size)
            for (size_t k = n; k-- > 0;) { /* from the end: in place */
                const double v = ((const float *)(const void *)given)[k];
                memcpy(given + k * sizeof v, &v, sizeof v);
            }
        else if (c->soft_table->real_size > c->real_table->real_size)
            for (size_t k = 0; k < n; k++) {
                const float v = (float)((const double *)(const void *)given)[k];
                memcpy(given + k * sizeof v, &v, sizeof v);
            }
    }
    const char *const weight =
        c->weight == NULL ? NULL : (const char *)c->weight + first * c->real_table->real_size;
    c->real_table->soften(y, weight, n, c->keep, c->add, u);
}

static int is_adversarial(const call *c) { return c->a.data != NULL; }

static int is_soft(const call *c) { return c->opt.probabilities != NULL || c->add != 0; }

/* Logits and adversarial logits as they are. */
static void load_both(const row *w, size_t first, size_t n, unsigned worker)
{
    const call *c = w->c;
    const lmx_gather g = { .stride = c->o.stride[1], .rate = 1 };
    const lmx_gather ga = { .stride = c->a.stride[1], .rate = 1 };
    const ptrdiff_t size = (ptrdiff_t)c->o.size, at_first = (ptrdiff_t)first;
    c->table->gather(w->o + at_first * g.stride * size, n, &g, scratch_of(c, worker, 1));
    c->table->gather(w->a + at_first * ga.stride * size, n, &ga, scratch_of(c, worker, 2));
}

static void measure_chunk(row *w, size_t i, unsigned worker)
{
    const call *c = w->c;
    const size_t n = chunk_len(c, i), first = i * LMX_CHUNK;
    const size_t skip = c->kernel->skips_target ? target_in(w, i) : LMX_NO_TARGET;
    if (c->direct) {
        c->kernel->measure(w->o + first * c->o.size, n, skip, &c->spec, &w->row, &w->chunk[i]);
        return;
    }
    char *const z = scratch_of(c, worker, 0);
    load(w, first, n, 1, z);
    c->real_kernel->measure(z, n, skip, &c->spec, &w->row, &w->chunk[i]);
    if (is_adversarial(c)) {
        load_both(w, first, n, worker);
        c->real_table->spread(scratch_of(c, worker, 1), scratch_of(c, worker, 2), n, w->own,
                              &w->mix[i]);
    }
    if (!is_soft(c))
        return;
    load_soft(w, i, worker);
    w->pivot[i] = lmx_pivot_of(&w->chunk[i]);
    c->real_table->mix(z, scratch_of(c, worker, 1), n, w->pivot[i], &w->mix[i]);
    if (target_in(w, i) != LMX_NO_TARGET)
        w->row.on_mix = lmx_real_at(c->real_table, scratch_of(c, worker, 1), target_in(w, i));
}

/* Where in chunk i, loaded into z, the largest logit of soft targets lies, if most of the probability does. */
static size_t peak_in(const row *w, size_t i, size_t n, const void *z)
{
    const call *c = w->c;
    if (!is_soft(c) || w->target != LMX_NO_TARGET || !(w->row.less > -0.5) ||
        w->pivot[i] != w->row.pivot)
        return LMX_NO_TARGET;
    for (size_t k = 0; k < n; k++)
        if (lmx_real_at(c->real_table, z, k) == w->row.pivot)
            return k;
    return LMX_NO_TARGET; /* the pivot of a chunk of masked logits */
}

/*
 * The gradient at the largest logit, of probability p and target u, as at a class index: with M what the
 * softmax is multiplied by, M p - u is (M - u) - M (1 - p), of which nothing cancels where u is most of M.
 */
static void put_peak(const row *w, size_t peak, const void *soft, void *z)
{
    const size_t real_size = w->c->real_table->real_size;
    const double u = lmx_real_at(w->c->real_table, soft, peak);
    const lmx_dd off = lmx_dd_add(w->row.pulled, (lmx_dd){ -u, 0 });
    if (u > off.hi && lmx_finite(off.hi))
        w->c->real_table->put_value((char *)z + peak * real_size,
                                    w->row.scale *
                                        (off.hi + (off.lo + w->row.pulled.hi * w->row.less)));
}

/* The gradient of chunk i on reals, but for a target's own term. */
static void gathered_gradient(const row *w, size_t i, unsigned worker)
{
    const call *c = w->c;
    const size_t n = chunk_len(c, i);
    char *const z = scratch_of(c, worker, 0), *const u = scratch_of(c, worker, 1);
    load(w, i * LMX_CHUNK, n, 1, z);
    const size_t peak = peak_in(w, i, n, z);
    c->real_kernel->gradient(z, n, &w->chunk[i], &c->spec, &w->row, z, 0);
    if (!is_soft(c))
        return;
    load_soft(w, i, worker);
    c->real_table->subtract(u, n, w->row.scale, z);
    if (peak != LMX_NO_TARGET)
        put_peak(w, peak, u, z);
}

static void gradient_chunk(const row *w, size_t i, unsigned worker)
{
    const call *c = w->c;
    const size_t n = chunk_len(c, i), first = i * LMX_CHUNK, t = target_in(w, i);
    char *const z = scratch_of(c, worker, 0);
    char *out = w->grad + (ptrdiff_t)first * c->grad.stride[1] * (ptrdiff_t)c->grad.size;
    if (c->direct) {
        const char *from = w->o + first * c->o.size;
        const size_t size = c->o.size;
        /* The line of the target is written twice, so it does not go past the caches. */
        size_t begin = n, end = n;
        if ((c->plan.how & LMX_HOW_STREAM) && t != LMX_NO_TARGET) {
            const size_t line = (size_t)((uintptr_t)(out + t * size) % 64) / size;
            begin = t < line ? 0 : t - line;
            end = t - line + 64 / size < n ? t + 64 / size - line : n;
        }
        const struct {
            size_t begin, end;
            unsigned how;
        } part[3] = { { 0, begin, c->plan.how & LMX_HOW_STREAM },
                      { begin, end, 0 },
                      { end, n, c->plan.how & LMX_HOW_STREAM } };
        for (size_t k = 0; k < 3; k++)
            if (part[k].end > part[k].begin)
                c->kernel->gradient(from + part[k].begin * size, part[k].end - part[k].begin,
                                    &w->chunk[i], &c->spec, &w->row, out + part[k].begin * size,
                                    part[k].how);
    } else {
        gathered_gradient(w, i, worker);
    }
    if (t != LMX_NO_TARGET && !w->row.bad) {
        if (c->direct)
            c->table->fill(out + t * c->o.size, 1, 1, w->row.at_target);
        else
            c->real_table->fill(z + t * c->real_table->real_size, 1, 1, w->row.at_target);
    }
    if (c->direct)
        return;
    if (is_adversarial(c)) {
        char *const a = scratch_of(c, worker, 2);
        const ptrdiff_t at_first = (ptrdiff_t)first * c->a_grad.stride[1];
        const lmx_gather g = { .stride = c->a_grad.stride[1], .rate = 1 };
        load_both(w, first, n, worker);
        c->real_table->spread_vjp(scratch_of(c, worker, 1), n, w->own, w->spread_scale, z, a);
        if (t != LMX_NO_TARGET) { /* e is 0 there */
            const size_t offset = t * c->real_table->real_size;
            c->real_table->fill(z + offset, 1, 1, w->row.at_target - w->at_target);
            c->real_table->fill(a + offset, 1, 1, w->at_target);
        }
        c->table->scatter(a, n, &g, w->a_grad + at_first * (ptrdiff_t)c->a_grad.size);
    }
    if (w->unit != 1)
        lmx_rate_back(c->real_table, z, n, w->unit);
    if (c->opt.softcap > 0) {
        load(w, first, n, 0, scratch_of(c, worker, 1));
        c->real_table->softcap_slope(scratch_of(c, worker, 1), n, c->opt.softcap, z);
    }
    const lmx_gather g = { .stride = c->grad.stride[1],
                           .rate = 1,
                           .stream = (c->plan.how & LMX_HOW_STREAM) != 0 };
    c->table->scatter(z, n, &g, out);
}

/* Every element of the gradient of row w the same. */
static void fill_gradient(const row *w, double value)
{
    const call *c = w->c;
    c->table->fill(w->grad, c->shape.cols, c->grad.stride[1], value);
    if (is_adversarial(c))
        c->table->fill(w->a_grad, c->shape.cols, c->a_grad.stride[1], value);
}

static void load_target(row *w, unsigned worker)
{
    const call *c = w->c;
    if (c->direct) {
        w->row.x = c->table->get(w->o + w->target * c->o.size);
    } else {
        char *const z = scratch_of(c, worker, 0);
        load(w, w->target, 1, 1, z);
        w->row.x = lmx_real_at(c->real_table, z, 0);
    }
}

/* Sets the factor of a row's gradient, of temperature t and class weight `weight`. */
static void set_scale(row *w, double t, double weight)
{
    const call *c = w->c;
    const double divisor = c->denominator * t;
    w->row.scale = lmx_finite(divisor) ? 1 / divisor : 1 / c->denominator / t;
    /* hard targets' scale is a double; what is subtracted for soft ones is a real */
    w->unit = 1;
    if (w->row.scale > 1 && c->denominator > 0 && !is_adversarial(c)) {
        w->unit =
            lmx_rate_unit(w->row.scale, is_soft(c) ? c->real_table->real_size : sizeof(double));
        if (w->unit != 1)
            w->row.scale = 1 / c->denominator / (t * w->unit);
    }
    if (c->spec.mixed)
        w->row.on = w->soft != NULL ? 0 : weight * c->keep;
    else
        w->row.scale *= weight;
}

/* 0 if the row is ignored: then all is said. */
static int row_begin(row *w, call *c, size_t i, unsigned worker)
{
    const size_t r = i / c->shape.inner, j = i % c->shape.inner;
    w->c = c;
    w->soft = NULL;
    w->row.e = 0;
    w->row.pivot = 0;
    w->row.bad = 0;
    w->row.shift = 0;
    w->row.less = -1;
    w->row.on = w->row.on_mix = 0;
    w->row.mix = (lmx_mix){ { 0, 0 }, { 0, 0 } };
    w->o = lmx_row_at(&c->o, r, j);
    w->grad = c->grad.data == NULL ? NULL : (char *)(uintptr_t)lmx_row_at(&c->grad, r, j);
    w->a = is_adversarial(c) ? lmx_row_at(&c->a, r, j) : NULL;
    w->a_grad =
        w->grad != NULL && w->a != NULL ? (char *)(uintptr_t)lmx_row_at(&c->a_grad, r, j) : NULL;
    w->target = LMX_NO_TARGET;
    w->chunk = c->chunk + (size_t)worker * c->row_chunks;
    w->mix = c->mix == NULL ? NULL : c->mix + (size_t)worker * c->chunks;
    w->pivot = c->pivot == NULL ? NULL : c->pivot + (size_t)worker * c->chunks;
    w->g = (lmx_gather){ .stride = 1, .rate = 1 };
    w->row.gradient = w->grad != NULL;
    double weight = 1, t = 1;
    if (c->opt.temperature != NULL)
        t = c->opt.temperature[(ptrdiff_t)i * c->opt.temperature_stride];
    if (t != 1)
        lmx_gather_divide(&w->g, t, c->real_table->real_size);
    w->temperature = t;
    w->largest = 0;
    w->far = lmx_temperature_leaves(t, c->real_table->real_size);
    w->row.x = lmx_qnan();
    if (c->opt.probabilities != NULL) {
        w->soft = lmx_row_at(&c->soft, r, j);
    } else {
        const int64_t k = class_of(c, i);
        if (k == c->opt.ignore_index)
            return 0;
        w->target = (size_t)k;
        if (c->opt.weight != NULL)
            weight = c->opt.weight[k];
        load_target(w, worker);
    }
    if (w->a != NULL) {
        const ptrdiff_t k = (ptrdiff_t)w->target, size = (ptrdiff_t)c->o.size;
        w->own = lmx_two_sum(c->table->get(w->a + k * c->a.stride[1] * size),
                             -c->table->get(w->o + k * c->o.stride[1] * size));
    }
    set_scale(w, t, weight);
    return 1;
}

/* Adds nu times the norm of e, and finds what its gradient needs. */
static void regularise(row *w)
{
    const call *c = w->c;
    lmx_dd squares = { 0, 0 }, values = { 0, 0 };
    for (size_t i = 0; i < c->chunks; i++) {
        squares = lmx_dd_add(squares, w->mix[i].below);
        values = lmx_dd_add(values, w->mix[i].mass);
    }
    const double norm = sqrt(squares.hi);
    if (!lmx_finite(norm)) {
        w->row.bad = 1;
        return;
    }
    /* the scale of comp_sum's gradient has a 1 / rho in it that is not ours */
    w->spread_scale = norm > 0 ? c->opt.nu * (w->row.scale * c->opt.rho) / norm : 0;
    w->at_target = w->spread_scale * values.hi;
    w->row.loss += c->opt.nu * norm;
}

/* Whether a row that was finished is to be measured again, from its largest logit. */
static int is_far(row *w, unsigned worker)
{
    const call *c = w->c;
    const size_t real_size = c->real_table->real_size;
    if (w->far || !lmx_quotients_left(&w->row.norm, w->temperature, real_size))
        return 0;
    const double t = w->temperature;
    char *const z = scratch_of(c, worker, 0);
    double largest = -INFINITY;
    w->far = 1; /* for load(): the logits themselves */
    w->largest = 0;
    w->temperature = 1;
    for (size_t i = 0; i < c->chunks; i++) {
        load(w, i * LMX_CHUNK, chunk_len(c, i), 1, z);
        largest = lmx_largest_real(real_size, z, chunk_len(c, i), largest);
    }
    w->far = lmx_finite(largest) != 0;
    w->largest = largest;
    w->temperature = t;
    if (w->far) {
        w->row.bad = 0;
        w->row.shift = largest / t;
        if (w->target != LMX_NO_TARGET)
            load_target(w, worker);
    }
    return w->far;
}

/* Finishes the row from what its chunks found. */
static int row_finish(row *w, unsigned worker)
{
    const call *c = w->c;
    if (is_soft(c)) {
        double pivot = w->pivot[0];
        for (size_t i = 1; i < c->chunks; i++)
            pivot = w->pivot[i] > pivot ? w->pivot[i] : pivot;
        lmx_mix all = { { 0, 0 }, { 0, 0 } };
        for (size_t i = 0; i < c->chunks; i++)
            lmx_mix_add(&all, &w->mix[i], pivot - w->pivot[i]);
        w->row.mix = all;
        w->row.pivot = pivot;
    }
    if (c->kernel->finish(w->chunk, c->chunks, &c->spec, &w->row) == LMX_LOSS_AGAIN)
        return 1;
    if (c->opt.temperature != NULL && is_far(w, worker))
        return 1;
    if (is_adversarial(c) && !w->row.bad)
        regularise(w);
    return 0;
}

/* Writes the loss of row i where each row has one. */
static void put_loss(const call *c, size_t i, double loss)
{
    const ptrdiff_t at = (ptrdiff_t)i * c->loss_stride * (ptrdiff_t)c->table->real_size;
    if (c->opt.reduction == LMX_NONE)
        c->table->put_value(c->loss + at, loss);
}

/* The row's loss, weighted and written. */
static double row_loss(const row *w, size_t i)
{
    const call *c = w->c;
    double loss = w->row.bad ? lmx_qnan() : w->row.loss;
    if (!c->spec.mixed && c->opt.weight != NULL)
        loss *= c->opt.weight[w->target];
    put_loss(c, i, loss);
    return loss;
}

static void ignored_row(const row *w, size_t i)
{
    put_loss(w->c, i, 0);
    if (w->grad != NULL)
        fill_gradient(w, 0);
}

static void measure_row(row *w, unsigned worker)
{
    for (size_t k = 0; k < w->c->chunks; k++)
        measure_chunk(w, k, worker);
}

/* Weights that sum to 0 make a mean's gradient NaN where the row's own weight is 0, else infinite. */
static int is_nan(const row *w) { return w->row.bad || !lmx_finite(w->row.scale); }

static void gradient_row(const row *w, unsigned worker)
{
    if (is_nan(w))
        fill_gradient(w, lmx_qnan());
    else
        for (size_t k = 0; k < w->c->chunks; k++)
            gradient_chunk(w, k, worker);
}

/* Short rows take each step together: what one waits for in finishing, another has done. */
#define BATCH 8

static size_t batch_rows(const call *c)
{
    const size_t rows = c->direct ? LMX_BATCH / c->shape.cols : 1;
    return rows < 1 ? 1 : rows > BATCH ? BATCH : rows;
}

/* count rows from `first` on; their losses are added to sum. */
static void some_rows(call *c, size_t first, size_t count, unsigned worker, lmx_dd *sum)
{
    row w[BATCH];
    int counts[BATCH];
    for (size_t q = 0; q < count; q++) {
        counts[q] = row_begin(&w[q], c, first + q, worker);
        w[q].chunk += q;
        if (counts[q])
            measure_row(&w[q], worker);
    }
    for (size_t q = 0; q < count; q++) {
        if (!counts[q])
            continue;
        while (row_finish(&w[q], worker))
            measure_row(&w[q], worker);
        /* before the logits may be overwritten */
        *sum = lmx_losses_add(*sum, (lmx_dd){ row_loss(&w[q], first + q), 0 });
    }
    for (size_t q = 0; q < count; q++)
        if (!counts[q])
            ignored_row(&w[q], first + q);
        else if (w[q].grad != NULL)
            gradient_row(&w[q], worker);
}

static void rows_task(void *job, size_t begin, size_t end, unsigned worker)
{
    call *c = job;
    const size_t batch = batch_rows(c);
    for (size_t b = begin; b < end; b++) {
        lmx_dd sum = { 0, 0 };
        const size_t first = b * c->together;
        const size_t last = c->rows - first < c->together ? c->rows : first + c->together;
        for (size_t i = first; i < last; i += batch)
            some_rows(c, i, last - i < batch ? last - i : batch, worker, &sum);
        c->block[b] = sum;
    }
}

static void measure_task(void *job, size_t begin, size_t end, unsigned worker)
{
    for (size_t i = begin; i < end; i++)
        measure_chunk(job, i, worker);
}

static void gradient_task(void *job, size_t begin, size_t end, unsigned worker)
{
    for (size_t i = begin; i < end; i++)
        gradient_chunk(job, i, worker);
}

/* Rows one after the other, the chunks of each shared by the threads. */
static void split_rows(call *c, lmx_pool *pool)
{
    const size_t grain = (c->chunks + 2 * c->workers - 1) / (2 * c->workers);
    for (size_t i = 0; i < c->rows; i++) {
        row w;
        if (!row_begin(&w, c, i, 0)) {
            ignored_row(&w, i);
        } else {
            do
                lmx_parallel_for(pool, c->chunks, grain, measure_task, &w);
            while (row_finish(&w, 0));
            lmx_dd *const block = &c->block[i / c->together];
            *block = lmx_losses_add(*block, (lmx_dd){ row_loss(&w, i), 0 });
            if (w.grad != NULL) {
                if (is_nan(&w))
                    fill_gradient(&w, lmx_qnan());
                else
                    lmx_parallel_for(pool, c->chunks, grain, gradient_task, &w);
            }
        }
    }
}

/* ------------------------------------------------------------- running --- */

/* Divides the workspace; parts that these options have no use for are NULL. */
static void divide(call *c, lmx_arena *a, size_t blocks)
{
    const size_t real_size = c->real_table->real_size;
    const int soft = is_soft(c), mixes = soft || is_adversarial(c);
    const size_t per = (c->plan.split_rows ? 1 : c->workers) * c->chunks;
    c->scratch = lmx_arena_take(a, c->workers * 3 * c->scratch_size);
    c->chunk = lmx_arena_take(a, c->workers * c->row_chunks * sizeof *c->chunk);
    c->mix = mixes ? lmx_arena_take(a, per * sizeof *c->mix) : NULL;
    c->pivot = soft ? lmx_arena_take(a, per * sizeof *c->pivot) : NULL;
    c->block = lmx_arena_take(a, blocks * sizeof *c->block);
    c->weight = soft && c->opt.weight != NULL ? lmx_arena_take(a, c->shape.cols * real_size) : NULL;
}

static lmx_status run(lmx_ctx *ctx, call *c)
{
    lmx_pool *pool = ctx != NULL && c->plan.parallel ? ctx->pool : NULL;
    c->together = rows_together(c->shape.cols);
    const size_t blocks = (c->rows - 1) / c->together + 1;
    const size_t real_size = c->real_table->real_size;
    const int soft = is_soft(c);
    c->workers = pool != NULL ? lmx_pool_threads(pool) : 1;
    c->chunks = (c->shape.cols - 1) / LMX_CHUNK + 1;
    const size_t reals = c->direct ? 16 : c->shape.cols < LMX_CHUNK ? c->shape.cols : LMX_CHUNK;
    /* soft targets arrive as reals of their own type */
    c->scratch_size = (reals * (soft ? 8 : real_size) + 63) / 64 * 64;
    c->row_chunks = c->chunks > BATCH ? c->chunks : BATCH;

    LMX_ALIGN(64) char small[4096];
    void *to_free = NULL;
    lmx_arena parts = { NULL, 0 };
    divide(c, &parts, blocks);
    if (parts.used <= sizeof small)
        parts = (lmx_arena){ small, 0 };
    else
        parts = lmx_arena_open(parts.used, &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    divide(c, &parts, blocks);
    memset(c->block, 0, blocks * sizeof *c->block);
    memset(c->chunk, 0, c->workers * c->row_chunks * sizeof *c->chunk);
    for (size_t k = 0; c->weight != NULL && k < c->shape.cols; k++)
        c->real_table->put_value((char *)c->weight + k * real_size, c->opt.weight[k]);

    if (c->plan.split_rows)
        split_rows(c, pool);
    else
        lmx_parallel_for(pool, blocks, (c->plan.grain - 1) / c->together + 1, rows_task, c);
    if (c->opt.reduction != LMX_NONE) {
        lmx_dd sum = { 0, 0 };
        for (size_t b = 0; b < blocks; b++)
            sum = lmx_losses_add(sum, c->block[b]);
        /* Smoothing and the penalty do not see the weights: no rows to take a mean over all the same. */
        const int nothing = c->spec.mixed && c->denominator == 0;
        c->table->put_value(c->loss, nothing ? lmx_qnan() : sum.hi / c->denominator);
    }
    free(to_free);
    return LMX_OK;
}

/* ------------------------------------------------------------ checking --- */

lmx_status lmx_loss_options_init(lmx_loss_code op, lmx_loss_options *options)
{
    if ((unsigned)op >= LMX_LOSS_COUNT)
        return LMX_ERR_OP;
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_LOSS);
    for (size_t i = 0; i < LMX_PARAMETERS_MAX; i++)
        options->parameter[i] = lmx_loss_info((int)op)->parameter[i].standard;
    options->ignore_index = -100;
    options->label_smoothing = lmx_option_info(LMX_OPTION_label_smoothing)->standard;
    options->logz_penalty = lmx_option_info(LMX_OPTION_logz_penalty)->standard;
    options->softcap = lmx_option_info(LMX_OPTION_softcap)->standard;
    options->rho = lmx_option_info(LMX_OPTION_rho)->standard;
    options->nu = lmx_option_info(LMX_OPTION_nu)->standard;
    return LMX_OK;
}

/* Of lmx_takes: the options that are set. */
static unsigned options_set(const lmx_loss_options *o)
{
    return (o->probabilities != NULL ? LMX_TAKES_PROBABILITIES : 0u) |
           (o->label_smoothing != 0 ? LMX_TAKES_LABEL_SMOOTHING : 0u) |
           (o->logz_penalty != 0 ? LMX_TAKES_LOGZ_PENALTY : 0u) |
           (o->softcap != 0 ? LMX_TAKES_SOFTCAP : 0u) |
           (o->temperature != NULL ? LMX_TAKES_TEMPERATURE : 0u) |
           (o->adversarial != NULL ? LMX_TAKES_ADVERSARIAL : 0u);
}

static int temperatures_fit(const call *c)
{
    const lmx_loss_options *o = &c->opt;
    const size_t n = o->temperature == NULL       ? 0
                     : o->temperature_stride == 0 ? c->rows > 0
                                                  : c->rows;
    for (size_t i = 0; i < n; i++)
        if (!lmx_option_fits(LMX_OPTION_temperature,
                             o->temperature[(ptrdiff_t)i * o->temperature_stride]))
            return 0;
    return 1;
}

static lmx_status check_options(const call *c)
{
    const lmx_loss_options *o = &c->opt;
    const lmx_loss_description *info = lmx_loss_info((int)c->op);
    if ((options_set(o) & ~info->takes) != 0)
        return LMX_ERR_OP;
    if (!lmx_option_fits(LMX_OPTION_label_smoothing, o->label_smoothing) ||
        !lmx_option_fits(LMX_OPTION_logz_penalty, o->logz_penalty) ||
        !lmx_option_fits(LMX_OPTION_softcap, o->softcap) || (unsigned)o->reduction > LMX_NONE ||
        !lmx_parameters_fit(info->parameter, o->parameter))
        return LMX_ERR_ARG;
    if (o->adversarial != NULL &&
        !(lmx_option_fits(LMX_OPTION_rho, o->rho) && lmx_option_fits(LMX_OPTION_nu, o->nu)))
        return LMX_ERR_ARG;
    return temperatures_fit(c) ? LMX_OK : LMX_ERR_ARG;
}

/* Whether the rows can go to kernels as they are. */
static int is_direct(const call *c)
{
    const int one = c->shape.cols == 1;
    return c->kernel->elem_size == c->table->elem_size && (c->o.stride[1] == 1 || one) &&
           (c->grad.data == NULL || c->grad.stride[1] == 1 || one) && !is_soft(c) &&
           c->opt.softcap == 0 && c->opt.temperature == NULL;
}

/* The arguments of lmx_loss(). */
typedef struct given {
    const lmx_shape *shape;
    const void *logits;
    const lmx_strides *logits_strides;
    const void *target;
    lmx_int target_type;
    ptrdiff_t target_stride;
    void *loss;
    ptrdiff_t loss_stride;
    void *grad;
    const lmx_strides *grad_strides;
} given;

/* Options, pointers and types, before any array is looked at. */
static lmx_status check_given(call *c, const given *g, const lmx_loss_options *options)
{
    const lmx_shape *shape = g->shape;
    if (options != NULL) {
        if (!LMX_OPTIONS_FIT(options, LMX_TAG_LOSS))
            return LMX_ERR_ARG;
        c->opt = *options;
    } else {
        lmx_loss_options_init(c->op, &c->opt);
    }
    if (shape->inner != 0 && shape->rows > (size_t)PTRDIFF_MAX / shape->inner)
        return LMX_ERR_OVERFLOW;
    c->shape = *shape;
    c->rows = shape->rows * shape->inner;
    const lmx_status wrong = check_options(c);
    if (wrong != LMX_OK)
        return wrong;
    const int soft = c->opt.probabilities != NULL;
    if (soft && (unsigned)c->opt.probabilities_dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    if (c->rows > 0 && shape->cols > 0 && (g->logits == NULL || (g->target == NULL && !soft)))
        return LMX_ERR_NULL;
    if (!soft && (unsigned)g->target_type > LMX_U64)
        return LMX_ERR_DTYPE;
    return c->rows > 0 && shape->cols == 0 ? LMX_ERR_SHAPE : LMX_OK;
}

/* The arrays as they are given; LMX_OK if they fit together. */
static lmx_status check_arrays(call *c, const given *g)
{
    static const lmx_strides none = { 0, 0, 0 };
    enum { LOGITS, TARGET, SOFT, ADVERSARIAL, LOSS, GRAD, ADVERSARIAL_GRAD, ARRAYS };
    static const unsigned may_be[] = { 0, 1u << LOGITS, 1u << ADVERSARIAL };
    const size_t size = c->table->elem_size;
    const size_t losses = c->opt.reduction == LMX_NONE ? c->rows : 1;
    const int soft = c->opt.probabilities != NULL, grad = g->grad != NULL;
    lmx_array all[ARRAYS];
    all[LOGITS] = lmx_array_of(g->logits, size, g->shape, g->logits_strides);
    all[TARGET] = (lmx_array){ soft ? NULL : g->target,
                               soft ? 1 : lmx_int_size(g->target_type),
                               { c->rows, 1, 1 },
                               { g->target_stride, 0, 0 } };
    all[SOFT] = lmx_array_of(c->opt.probabilities, soft ? c->soft_table->elem_size : 1, g->shape,
                             soft ? &c->opt.probabilities_strides : &none);
    all[ADVERSARIAL] =
        lmx_array_of(c->opt.adversarial, size, g->shape, &c->opt.adversarial_strides);
    all[LOSS] =
        (lmx_array){ g->loss, c->table->real_size, { losses, 1, 1 }, { g->loss_stride, 0, 0 } };
    all[GRAD] = lmx_array_of(g->grad, size, g->shape, grad ? g->grad_strides : &none);
    all[ADVERSARIAL_GRAD] =
        lmx_array_of(grad && c->opt.adversarial != NULL ? c->opt.adversarial_grad : NULL, size,
                     g->shape, &c->opt.adversarial_grad_strides);
    if (grad && c->opt.adversarial != NULL && c->opt.adversarial_grad == NULL)
        return LMX_ERR_NULL;
    c->o = all[LOGITS];
    c->soft = all[SOFT];
    c->a = all[ADVERSARIAL];
    c->grad = all[GRAD];
    c->a_grad = all[ADVERSARIAL_GRAD];
    const lmx_status status = lmx_arrays_check(all, LOSS, ARRAYS, may_be);
    if (status != LMX_OK)
        return status;
    const uintptr_t numbers = (uintptr_t)c->opt.weight | (uintptr_t)c->opt.temperature;
    return numbers % sizeof(double) != 0 ? LMX_ERR_ALIGN : LMX_OK;
}

/* Sets what the kernels read of the call. */
static void set_spec(call *c)
{
    if (c->real_table->real_size == 4 && c->opt.softcap > FLT_MAX)
        c->opt.softcap = 0; /* no float is changed by it */
    c->spec.p[0] = c->opt.parameter[0];
    c->spec.p[1] = c->opt.parameter[1];
    c->spec.cols = (double)c->shape.cols;
    c->spec.smoothing = c->opt.label_smoothing;
    c->spec.penalty = c->opt.logz_penalty;
    c->keep = 1;
    if (c->op == LMX_LOSS_cross_entropy) {
        c->keep = 1 - c->opt.label_smoothing;
        c->add = c->opt.label_smoothing / c->spec.cols;
        c->spec.mixed = c->opt.probabilities != NULL || c->add != 0 || c->spec.penalty != 0;
    }
    if (is_adversarial(c))
        c->opt.temperature = &c->opt.rho;
}

static void choose_plan(const lmx_ctx *ctx, call *c)
{
    c->direct = is_direct(c);
    const lmx_plan_request request = {
        .rows = c->rows,
        .cols = c->shape.cols,
        .elem_size = c->table->elem_size,
        .inputs = 1,
        .writes = c->grad.data != NULL,
        .in_place = c->grad.data != NULL && lmx_array_same(&c->grad, &c->o),
        .is_real = c->table->elem_size == c->table->real_size,
        .threads = ctx != NULL ? lmx_pool_threads(ctx->pool) : 1,
        .cache = lmx_cache_size(),
    };
    c->plan = lmx_plan_rows(&request);
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_loss_code op, lmx_dtype dtype, const given *g,
                                const lmx_loss_options *options)
{
    call c;
    memset(&c, 0, sizeof c);
    if ((unsigned)op >= LMX_LOSS_COUNT)
        return LMX_ERR_OP;
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    if (g->shape == NULL || g->logits_strides == NULL || g->loss == NULL ||
        (g->grad != NULL && g->grad_strides == NULL))
        return LMX_ERR_NULL;
    c.op = op;
    lmx_status status = check_given(&c, g, options);
    if (status != LMX_OK)
        return status;
    const lmx_tier *tier = lmx_ctx_tier(ctx);
    c.table = tier->table[dtype];
    c.real_table = c.table->real_size == 8 ? tier->table[LMX_F64] : tier->table[LMX_F32];
    c.soft_table = c.opt.probabilities != NULL ? tier->table[c.opt.probabilities_dtype] : NULL;
    c.kernel = c.table->loss[op];
    c.real_kernel = c.real_table->loss[op];
    c.target = g->target;
    c.target_type = g->target_type;
    c.target_stride = g->target_stride;
    c.loss = g->loss;
    c.loss_stride = g->loss_stride;
    status = check_arrays(&c, g);
    if (status == LMX_OK)
        status = weigh(&c);
    if (status != LMX_OK)
        return status;
    if (c.rows == 0) {
        if (c.opt.reduction != LMX_NONE)
            c.table->put_value(g->loss, c.opt.reduction == LMX_MEAN ? lmx_qnan() : 0);
        return LMX_OK;
    }
    set_spec(&c);
    choose_plan(ctx, &c);
    return run(ctx, &c);
}

lmx_status lmx_loss(lmx_ctx *ctx, lmx_loss_code op, lmx_dtype dtype, const lmx_shape *shape,
                    const void *logits, const lmx_strides *logits_strides, const void *target,
                    lmx_int target_type, ptrdiff_t target_stride, const lmx_loss_options *options,
                    void *loss, ptrdiff_t loss_stride, void *grad, const lmx_strides *grad_strides)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const given g = { shape,         logits, logits_strides, target, target_type,
                      target_stride, loss,   loss_stride,    grad,   grad_strides };
    const lmx_status status = check_and_run(ctx, op, dtype, &g, options);
    lmx_fpenv_leave(env);
    return status;
}
