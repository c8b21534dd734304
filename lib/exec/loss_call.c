/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losses: a row is measured chunk by chunk, finished, and with a gradient written chunk by chunk; what a loss is made
 * of is in lib/kernels/loss/<name>.c.
 */
#include "exec/loss_call.h"

#include <string.h>

#include "base/targets.h"
#include "exec/temperature.h"

/*
 * Losses are added in order within blocks of rows, and blocks in order: the sum does not depend on the
 * number of threads.  A block is at most 64 rows or LMX_CHUNK logits, so that few rows divide well.
 */
static size_t rows_together(size_t cols)
{
    const size_t rows = LMX_CHUNK / cols;
    return rows < 1 ? 1 : rows > 64 ? 64 : rows;
}

/* A row at work. */
typedef struct row {
    lmx_loss_call *c;
    size_t index;
    const char *logits, *soft, *adversarial;
    const char *grad, *adversarial_grad; /* NULL: not wanted */
    lmx_dd own;                          /* of the target: adversarial logit less logit */
    double spread_scale;                 /* factor of the regulariser's gradient */
    double at_target;                    /* that gradient at the target */
    size_t target;
    lmx_passage in;
    double temperature;
    double largest; /* far: logits are measured from it before they are divided */
    int far;
    double unit; /* what row.scale was divided by */
    lmx_chunk *chunk;
    lmx_mix *mix;
    double *pivot;
    lmx_loss_row row;
} row;

static int is_adversarial(const lmx_loss_call *c)
{
    return c->array[LMX_LOSS_ADVERSARIAL].data != NULL;
}

static int has_probabilities(const lmx_loss_call *c)
{
    return c->array[LMX_LOSS_PROBABILITIES].data != NULL;
}

static int is_soft(const lmx_loss_call *c) { return has_probabilities(c) || c->add != 0; }

/* ------------------------------------------------------------- targets --- */

static int64_t class_of(const lmx_loss_call *c, size_t i)
{
    const lmx_array *t = &c->array[LMX_LOSS_CLASSES];
    const char *at = lmx_row_at(t, i);
    LMX_ALIGN(8) char one[8];
    if (!t->natural)
        at = memcpy(one, at, t->size);
    return lmx_class_at(at, (lmx_int)t->dtype, 0);
}

static double weight_of(const lmx_loss_call *c, size_t k)
{
    const lmx_array *w = &c->array[LMX_LOSS_WEIGHT];
    return w->data == NULL ? 1 : lmx_get(w, lmx_row_at(w, k));
}

lmx_status lmx_loss_weigh(lmx_loss_call *c)
{
    const size_t rows = c->space.rows;
    c->denominator = c->opt.reduction == LMX_MEAN ? (double)rows : 1;
    if (c->array[LMX_LOSS_CLASSES].data == NULL)
        return LMX_OK;
    lmx_dd s = { 0, 0 };
    for (size_t i = 0; i < rows; i++) {
        const int64_t t = class_of(c, i);
        if (t == c->opt.ignore_index)
            continue;
        if (t < 0 || (uint64_t)t >= c->space.cols)
            return LMX_ERR_LABEL;
        s = lmx_dd_add(s, (lmx_dd){ weight_of(c, (size_t)t), 0 });
    }
    if (c->opt.reduction == LMX_MEAN)
        c->denominator = s.hi;
    return LMX_OK;
}

/* The target's place in chunk i, LMX_NO_TARGET if it is in another. */
static size_t target_in(const row *w, size_t i)
{
    if (w->target == LMX_NO_TARGET || w->target / LMX_CHUNK != i)
        return LMX_NO_TARGET;
    return w->target % LMX_CHUNK;
}

/* ------------------------------------------------------------- loading --- */

static char *scratch_of(const lmx_loss_call *c, unsigned worker, size_t which)
{
    return c->scratch + ((size_t)worker * 3 + which) * c->scratch_size;
}

static lmx_stretch chunk_of(const row *w, const char *at, size_t i)
{
    return (lmx_stretch){ at, i * LMX_CHUNK, lmx_chunk_len(&w->c->drive, i) };
}

/* Logits as the loss sees them, capped if asked for and divided by the temperature. */
static void load(const row *w, lmx_stretch at, int cap, void *z)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *x = &c->array[LMX_LOSS_LOGITS];
    lmx_passage in = w->in;
    if (w->far)
        in.rate = 1;
    if (c->opt.softcap > 0) {
        lmx_load(x, at, &LMX_AS_IS, c->real, z);
        if (!cap)
            return;
        c->real->softcap(z, at.n, c->opt.softcap);
        const lmx_gather g = { .stride = 1, .rate = in.rate, .rate_lo = in.rate_lo };
        if (g.rate != 1)
            c->real->gather(z, at.n, &g, z);
    } else {
        lmx_load(x, at, &in, c->real, z);
    }
    if (w->far)
        lmx_quotients(c->real->real_size, z, at.n, w->largest, w->temperature);
}

/* Whether logits are what the loss sees, where they are. */
static int are_as_seen(const row *w)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *x = &c->array[LMX_LOSS_LOGITS];
    return x->table == c->real && lmx_row_contiguous(x) && w->in.rate == 1 && !w->far &&
           c->opt.softcap == 0;
}

/* Chunk i of them: where they are, or in this worker's scratch. */
static const void *seen_chunk(const row *w, size_t i, unsigned worker)
{
    if (are_as_seen(w))
        return w->logits + i * LMX_CHUNK * w->c->real->real_size;
    char *const z = scratch_of(w->c, worker, 0);
    load(w, chunk_of(w, w->logits, i), 1, z);
    return z;
}

/* Soft targets of chunk i in this worker's scratch. */
static void load_soft(const row *w, size_t i, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const lmx_stretch at = chunk_of(w, w->soft, i);
    const void *y = NULL;
    if (w->soft != NULL) {
        y = scratch_of(c, worker, 2);
        lmx_load(&c->array[LMX_LOSS_PROBABILITIES], at, &LMX_AS_IS, c->real,
                 scratch_of(c, worker, 2));
    }
    const char *const weight =
        c->weight == NULL ? NULL : (const char *)c->weight + at.first * c->real->real_size;
    c->real->soften(y, weight, at.n, c->keep, c->add, scratch_of(c, worker, 1));
}

/* Logits and adversarial logits as they are. */
static void load_both(const row *w, size_t i, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    lmx_load(&c->array[LMX_LOSS_LOGITS], chunk_of(w, w->logits, i), &LMX_AS_IS, c->real,
             scratch_of(c, worker, 1));
    lmx_load(&c->array[LMX_LOSS_ADVERSARIAL], chunk_of(w, w->adversarial, i), &LMX_AS_IS, c->real,
             scratch_of(c, worker, 2));
}

static void load_target(row *w, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *x = &c->array[LMX_LOSS_LOGITS];
    if (w->in.rate == 1 && !w->far && c->opt.softcap == 0) {
        w->row.x = lmx_get(x, lmx_element_at(x, w->logits, w->target));
        return;
    }
    char *const z = scratch_of(c, worker, 0);
    load(w, (lmx_stretch){ w->logits, w->target, 1 }, 1, z);
    w->row.x = lmx_real_at(c->real, z, 0);
}

/* ------------------------------------------------------------ measuring --- */

static void measure_chunk(void *state, size_t i, unsigned worker)
{
    row *w = state;
    const lmx_loss_call *c = w->c;
    const size_t n = lmx_chunk_len(&c->drive, i), first = i * LMX_CHUNK;
    const size_t skip = c->kernel->skips_target ? target_in(w, i) : LMX_NO_TARGET;
    if (c->direct) {
        c->kernel->measure(w->logits + first * c->table->elem_size, n, skip, &c->spec, &w->row,
                           &w->chunk[i]);
        return;
    }
    const void *const z = seen_chunk(w, i, worker);
    c->real_kernel->measure(z, n, skip, &c->spec, &w->row, &w->chunk[i]);
    if (is_adversarial(c)) {
        load_both(w, i, worker);
        c->real->spread(scratch_of(c, worker, 1), scratch_of(c, worker, 2), n, w->own, &w->mix[i]);
    }
    if (!is_soft(c))
        return;
    load_soft(w, i, worker);
    w->pivot[i] = lmx_pivot_of(&w->chunk[i]);
    c->real->mix(z, scratch_of(c, worker, 1), n, w->pivot[i], &w->mix[i]);
    if (target_in(w, i) != LMX_NO_TARGET)
        w->row.on_mix = lmx_real_at(c->real, scratch_of(c, worker, 1), target_in(w, i));
}

/* Sets the factor of a row's gradient, of temperature t and class weight `weight`. */
static void set_scale(row *w, double t, double weight)
{
    const lmx_loss_call *c = w->c;
    const double divisor = c->denominator * t;
    w->row.scale = lmx_finite(divisor) ? 1 / divisor : 1 / c->denominator / t;
    /* hard targets' scale is a double; what is subtracted for soft ones is a real */
    w->unit = 1;
    if (w->row.scale > 1 && c->denominator > 0 && !is_adversarial(c)) {
        w->unit = lmx_rate_unit(w->row.scale, is_soft(c) ? c->real->real_size : sizeof(double));
        if (w->unit != 1)
            w->row.scale = 1 / c->denominator / (t * w->unit);
    }
    if (c->spec.mixed)
        w->row.on = w->soft != NULL ? 0 : weight * c->keep;
    else
        w->row.scale *= weight;
}

/* Where the parts of row i begin, and nothing known of it. */
static void set_row(row *w, lmx_loss_call *c, size_t i, unsigned worker)
{
    const lmx_array *a = c->array;
    w->c = c;
    w->index = i;
    w->logits = lmx_row_at(&a[LMX_LOSS_LOGITS], i);
    w->soft = lmx_row_at(&a[LMX_LOSS_PROBABILITIES], i);
    w->adversarial = lmx_row_at(&a[LMX_LOSS_ADVERSARIAL], i);
    w->grad = lmx_row_at(&a[LMX_LOSS_GRAD], i);
    w->adversarial_grad = lmx_row_at(&a[LMX_LOSS_ADVERSARIAL_GRAD], i);
    w->target = LMX_NO_TARGET;
    w->chunk = c->chunk + (size_t)worker * c->row_chunks;
    w->mix = c->mix == NULL ? NULL : c->mix + (size_t)worker * c->row_chunks;
    w->pivot = c->pivot == NULL ? NULL : c->pivot + (size_t)worker * c->row_chunks;
    w->in = LMX_AS_IS;
    w->largest = 0;
    w->row.gradient = w->grad != NULL;
    w->row.e = 0;
    w->row.pivot = 0;
    w->row.bad = 0;
    w->row.shift = 0;
    w->row.less = -1;
    w->row.on = w->row.on_mix = 0;
    w->row.mix = (lmx_mix){ { 0, 0 }, { 0, 0 } };
    w->row.x = lmx_qnan();
}

static void put_loss(const row *w, double loss)
{
    const lmx_array *out = &w->c->array[LMX_LOSS_OUT];
    if (w->c->opt.reduction == LMX_NONE)
        lmx_put(out, lmx_row_at(out, w->index), w->c->real, loss);
}

/* Every element of the row's gradients the same. */
static void fill_gradient(const row *w, double value)
{
    const lmx_loss_call *c = w->c;
    const size_t cols = c->space.cols;
    lmx_fill(&c->array[LMX_LOSS_GRAD], (lmx_stretch){ w->grad, 0, cols }, value);
    if (is_adversarial(c))
        lmx_fill(&c->array[LMX_LOSS_ADVERSARIAL_GRAD],
                 (lmx_stretch){ w->adversarial_grad, 0, cols }, value);
}

static double temperature_of(const lmx_loss_call *c, size_t i)
{
    const lmx_array *t = &c->array[LMX_LOSS_TEMPERATURE];
    return is_adversarial(c) ? c->opt.rho : t->data == NULL ? 1 : lmx_get(t, lmx_row_at(t, i));
}

static int begin(void *state, void *call, size_t i, unsigned worker)
{
    row *w = state;
    lmx_loss_call *c = call;
    set_row(w, c, i, worker);
    const double t = w->temperature = temperature_of(c, i);
    if (t != 1) {
        lmx_gather g;
        lmx_gather_divide(&g, t, c->real->real_size);
        w->in.rate = g.rate;
        w->in.rate_lo = g.rate_lo;
    }
    w->far = lmx_temperature_leaves(t, c->real->real_size);
    double weight = 1;
    if (!has_probabilities(c)) {
        const int64_t k = class_of(c, i);
        if (k == c->opt.ignore_index) {
            put_loss(w, 0);
            if (w->grad != NULL)
                fill_gradient(w, 0);
            return 0;
        }
        w->target = (size_t)k;
        weight = weight_of(c, w->target);
        load_target(w, worker);
    }
    if (is_adversarial(c)) {
        const lmx_array *x = &c->array[LMX_LOSS_LOGITS], *a = &c->array[LMX_LOSS_ADVERSARIAL];
        w->own = lmx_two_sum(lmx_get_as(c->real, a, lmx_element_at(a, w->adversarial, w->target)),
                             -lmx_get(x, lmx_element_at(x, w->logits, w->target)));
    }
    set_scale(w, t, weight);
    return 1;
}

/* ------------------------------------------------------------ finishing --- */

/* Adds nu times the norm of e, and finds what its gradient needs. */
static void regularise(row *w)
{
    const lmx_loss_call *c = w->c;
    lmx_dd squares = { 0, 0 }, values = { 0, 0 };
    for (size_t i = 0; i < c->drive.chunks; i++) {
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
    const lmx_loss_call *c = w->c;
    const size_t real_size = c->real->real_size;
    if (w->far || !lmx_quotients_left(&w->row.norm, w->temperature, real_size))
        return 0;
    const double t = w->temperature;
    const lmx_passage in = w->in;
    char *const z = scratch_of(c, worker, 0);
    double largest = -INFINITY;
    w->in.rate = 1; /* for load(): the logits themselves */
    for (size_t i = 0; i < c->drive.chunks; i++) {
        const lmx_stretch at = chunk_of(w, w->logits, i);
        load(w, at, 1, z);
        largest = lmx_largest_real(real_size, z, at.n, largest);
    }
    w->in = in;
    w->far = lmx_finite(largest) != 0;
    w->largest = largest;
    if (w->far) {
        w->row.bad = 0;
        w->row.shift = largest / t;
        if (w->target != LMX_NO_TARGET)
            load_target(w, worker);
    }
    return w->far;
}

/* Finishes the row from what its chunks found. */
static int finish(void *state, unsigned worker)
{
    row *w = state;
    const lmx_loss_call *c = w->c;
    const size_t chunks = c->drive.chunks;
    if (is_soft(c)) {
        double pivot = w->pivot[0];
        for (size_t i = 1; i < chunks; i++)
            pivot = w->pivot[i] > pivot ? w->pivot[i] : pivot;
        lmx_mix all = { { 0, 0 }, { 0, 0 } };
        for (size_t i = 0; i < chunks; i++)
            lmx_mix_add(&all, &w->mix[i], pivot - w->pivot[i]);
        w->row.mix = all;
        w->row.pivot = pivot;
    }
    if (c->kernel->finish(w->chunk, chunks, &c->spec, &w->row) == LMX_LOSS_AGAIN)
        return 1;
    if (c->heated && is_far(w, worker))
        return 1;
    if (is_adversarial(c) && !w->row.bad)
        regularise(w);
    return 0;
}

/* The row's loss, weighted, to be written or added. */
static void take_loss(const row *w, lmx_dd *sum)
{
    const lmx_loss_call *c = w->c;
    double loss = w->row.bad ? lmx_qnan() : w->row.loss;
    if (!c->spec.mixed && w->target != LMX_NO_TARGET)
        loss *= weight_of(c, w->target);
    put_loss(w, loss);
    *sum = lmx_losses_add(*sum, (lmx_dd){ loss, 0 });
}

/* ------------------------------------------------------------- gradient --- */

/* Where in chunk i, at z, the largest logit of soft targets lies, if most of the probability does. */
static size_t peak_in(const row *w, size_t i, size_t n, const void *z)
{
    const lmx_loss_call *c = w->c;
    if (!is_soft(c) || w->target != LMX_NO_TARGET || !(w->row.less > -0.5) ||
        w->pivot[i] != w->row.pivot)
        return LMX_NO_TARGET;
    for (size_t k = 0; k < n; k++)
        if (lmx_real_at(c->real, z, k) == w->row.pivot)
            return k;
    return LMX_NO_TARGET; /* the pivot of a chunk of masked logits */
}

/*
 * The gradient at the largest logit, of probability p and target u, as at a class index: with M what the
 * softmax is multiplied by, M p - u is (M - u) - M (1 - p), of which nothing cancels where u is most of M.
 */
static void put_peak(const row *w, size_t peak, const void *soft, void *z)
{
    const lmx_table *real = w->c->real;
    const double u = lmx_real_at(real, soft, peak);
    const lmx_dd off = lmx_dd_add(w->row.pulled, (lmx_dd){ -u, 0 });
    if (u > off.hi && lmx_finite(off.hi))
        real->put_value((char *)z + peak * real->real_size,
                        w->row.scale * (off.hi + (off.lo + w->row.pulled.hi * w->row.less)));
}

/* Elements in place; the line of the target is written twice, so it does not go past the caches. */
static void direct_gradient(const row *w, size_t i)
{
    const lmx_loss_call *c = w->c;
    const size_t size = c->table->elem_size, offset = i * LMX_CHUNK * size;
    const size_t n = lmx_chunk_len(&c->drive, i), t = target_in(w, i);
    const unsigned how = c->drive.plan.how & LMX_HOW_STREAM;
    const char *from = w->logits + offset;
    char *out = (char *)(uintptr_t)w->grad + offset;
    size_t begin = n, end = n;
    if (how != 0 && t != LMX_NO_TARGET) {
        const size_t line = (size_t)((uintptr_t)(out + t * size) % 64) / size;
        begin = t < line ? 0 : t - line;
        end = t - line + 64 / size < n ? t + 64 / size - line : n;
    }
    const struct {
        size_t begin, end;
        unsigned how;
    } part[3] = { { 0, begin, how }, { begin, end, 0 }, { end, n, how } };
    for (size_t k = 0; k < 3; k++)
        if (part[k].end > part[k].begin)
            c->kernel->gradient(from + part[k].begin * size, part[k].end - part[k].begin,
                                &w->chunk[i], &c->spec, &w->row, out + part[k].begin * size,
                                part[k].how);
    if (t != LMX_NO_TARGET && !w->row.bad)
        c->table->fill(out + t * size, 1, 1, w->row.at_target);
}

/* The regulariser's gradients: added to z, and written for the adversarial logits. */
static void add_regulariser(const row *w, size_t i, unsigned worker, char *z)
{
    const lmx_loss_call *c = w->c;
    const lmx_stretch at = chunk_of(w, w->adversarial_grad, i);
    const size_t t = target_in(w, i), offset = t * c->real->real_size;
    char *const a = scratch_of(c, worker, 2);
    load_both(w, i, worker);
    c->real->spread_vjp(scratch_of(c, worker, 1), at.n, w->own, w->spread_scale, z, a);
    if (t != LMX_NO_TARGET) { /* e is 0 there */
        c->real->fill(z + offset, 1, 1, w->row.at_target - w->at_target);
        c->real->fill(a + offset, 1, 1, w->at_target);
    }
    lmx_store(&c->array[LMX_LOSS_ADVERSARIAL_GRAD], at, &LMX_AS_IS, c->real, a);
}

/* Where reals of the gradient of chunk i can be computed: in its own place, or in this worker's scratch. */
static char *gradient_at(const row *w, size_t i, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *g = &c->array[LMX_LOSS_GRAD];
    /* with softcap or adversarial logits the logits are read again afterwards */
    const int own = g->table == c->real && lmx_row_contiguous(g) && c->opt.softcap == 0 &&
                    !is_adversarial(c) && (c->drive.plan.how & LMX_HOW_STREAM) == 0;
    if (!own)
        return scratch_of(c, worker, 0);
    return (char *)(uintptr_t)w->grad + i * LMX_CHUNK * c->real->real_size;
}

static void apply(void *state, size_t i, unsigned worker)
{
    row *w = state;
    const lmx_loss_call *c = w->c;
    if (c->direct) {
        direct_gradient(w, i);
        return;
    }
    const size_t n = lmx_chunk_len(&c->drive, i), t = target_in(w, i);
    char *const z = gradient_at(w, i, worker), *const u = scratch_of(c, worker, 1);
    const void *const o = seen_chunk(w, i, worker);
    const size_t peak = peak_in(w, i, n, o);
    c->real_kernel->gradient(o, n, &w->chunk[i], &c->spec, &w->row, z, 0);
    if (is_soft(c)) {
        load_soft(w, i, worker);
        c->real->subtract(u, n, w->row.scale, z);
        if (peak != LMX_NO_TARGET)
            put_peak(w, peak, u, z);
    }
    if (t != LMX_NO_TARGET && !w->row.bad)
        c->real->fill(z + t * c->real->real_size, 1, 1, w->row.at_target);
    if (is_adversarial(c))
        add_regulariser(w, i, worker, z);
    if (w->unit != 1)
        lmx_rate_back(c->real, z, n, w->unit);
    if (c->opt.softcap > 0) {
        load(w, chunk_of(w, w->logits, i), 0, u);
        c->real->softcap_slope(u, n, c->opt.softcap, z);
    }
    const lmx_passage back = { .rate = 1,
                               .nontemporal = (c->drive.plan.how & LMX_HOW_STREAM) != 0 };
    if (z == scratch_of(c, worker, 0))
        lmx_store(&c->array[LMX_LOSS_GRAD], chunk_of(w, w->grad, i), &back, c->real, z);
}

/* Whether the gradient is to be computed; one that is NaN throughout is written. */
static int has_gradient(const row *w)
{
    if (w->grad == NULL)
        return 0;
    /* Weights that sum to 0 make a mean's gradient NaN where the row's own weight is 0, else infinite. */
    if (!w->row.bad && lmx_finite(w->row.scale))
        return 1;
    fill_gradient(w, lmx_qnan());
    return 0;
}

static int deliver(void *state)
{
    const row *w = state;
    take_loss(w, &w->c->block[w->index / w->c->together]);
    return has_gradient(w);
}

static const lmx_row_steps loss_steps = { begin, measure_chunk, finish, deliver, apply };

/* --------------------------------------------------------- rows together --- */

/* Short rows take each step together: as one waits for a result in finishing, another is computed. */
#define BATCH 8

static void measure_row(row *w, unsigned worker)
{
    for (size_t k = 0; k < w->c->drive.chunks; k++)
        measure_chunk(w, k, worker);
}

/* count rows from `first` on, of one chunk if they are several; their losses are added to sum. */
static void some_rows(lmx_loss_call *c, size_t first, size_t count, unsigned worker, lmx_dd *sum)
{
    row w[BATCH];
    int counts[BATCH];
    for (size_t q = 0; q < count; q++) {
        counts[q] = begin(&w[q], c, first + q, worker);
        w[q].chunk += q;
        w[q].mix = w[q].mix == NULL ? NULL : w[q].mix + q;
        w[q].pivot = w[q].pivot == NULL ? NULL : w[q].pivot + q;
        if (counts[q])
            measure_row(&w[q], worker);
    }
    for (size_t q = 0; q < count; q++) {
        if (!counts[q])
            continue;
        while (finish(&w[q], worker))
            measure_row(&w[q], worker);
        take_loss(&w[q], sum); /* before the logits may be overwritten */
    }
    for (size_t q = 0; q < count; q++)
        if (counts[q] && has_gradient(&w[q]))
            for (size_t k = 0; k < c->drive.chunks; k++)
                apply(&w[q], k, worker);
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
    const int soft = is_soft(c), mixes = soft || is_adversarial(c);
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
        c->real->put_value((char *)c->weight + k * c->real->real_size, weight_of(c, k));
}

/* Whether a kernel reads or writes the rows of x where they are. */
static int in_place(const lmx_loss_call *c, const lmx_array *x)
{
    return x->data == NULL || (x->table == c->table && lmx_row_contiguous(x));
}

static void choose_plan(const lmx_ctx *ctx, lmx_loss_call *c)
{
    const lmx_array *logits = &c->array[LMX_LOSS_LOGITS], *grad = &c->array[LMX_LOSS_GRAD];
    c->direct = c->kernel->elem_size == c->table->elem_size && in_place(c, logits) &&
                in_place(c, grad) && !is_soft(c) && c->opt.softcap == 0 && !c->heated;
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
    row w;
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
