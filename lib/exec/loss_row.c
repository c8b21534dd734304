/* SPDX-License-Identifier: Apache-2.0 */
/* Losses: a row is measured chunk by chunk and finished; the kernel of the loss is in lib/kernels/loss/<name>.c. */
#include "exec/loss_row.h"

#include "exec/temperature.h"

/* ------------------------------------------------------------- loading --- */

/* Logits as the loss sees them, capped if asked for and divided by the temperature. */
void lmx_loss_load(const lmx_loss_work *w, lmx_stretch at, int cap, void *z)
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
static int are_as_seen(const lmx_loss_work *w)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *x = &c->array[LMX_LOSS_LOGITS];
    return x->table == c->real && lmx_row_contiguous(x) && w->in.rate == 1 && !w->far &&
           c->opt.softcap == 0;
}

/* Chunk i of them: where they are, or in this worker's scratch. */
const void *lmx_loss_seen(const lmx_loss_work *w, size_t i, unsigned worker)
{
    if (are_as_seen(w))
        return w->logits + i * LMX_CHUNK * w->c->real->real_size;
    char *const z = lmx_loss_scratch(w->c, worker, 0);
    lmx_loss_load(w, lmx_loss_chunk(w, w->logits, i), 1, z);
    return z;
}

/* Soft targets of chunk i in this worker's scratch. */
void lmx_loss_load_soft(const lmx_loss_work *w, size_t i, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const lmx_stretch at = lmx_loss_chunk(w, w->soft, i);
    const void *y = NULL;
    if (w->soft != NULL) {
        y = lmx_loss_scratch(c, worker, 2);
        lmx_load(&c->array[LMX_LOSS_PROBABILITIES], at, &LMX_AS_IS, c->real,
                 lmx_loss_scratch(c, worker, 2));
    }
    const char *const weight =
        c->weight == NULL ? NULL : (const char *)c->weight + at.first * c->real->real_size;
    c->real->soften(y, weight, at.n, c->keep, c->add, lmx_loss_scratch(c, worker, 1));
}

/* Logits and adversarial logits as they are. */
void lmx_loss_load_both(const lmx_loss_work *w, size_t i, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    lmx_load(&c->array[LMX_LOSS_LOGITS], lmx_loss_chunk(w, w->logits, i), &LMX_AS_IS, c->real,
             lmx_loss_scratch(c, worker, 1));
    lmx_load(&c->array[LMX_LOSS_ADVERSARIAL], lmx_loss_chunk(w, w->adversarial, i), &LMX_AS_IS,
             c->real, lmx_loss_scratch(c, worker, 2));
}

static void load_target(lmx_loss_work *w, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *x = &c->array[LMX_LOSS_LOGITS];
    if (w->in.rate == 1 && !w->far && c->opt.softcap == 0) {
        w->row.x = lmx_get(x, lmx_element_at(x, w->logits, w->target));
        return;
    }
    char *const z = lmx_loss_scratch(c, worker, 0);
    lmx_loss_load(w, (lmx_stretch){ w->logits, w->target, 1 }, 1, z);
    w->row.x = lmx_real_at(c->real, z, 0);
}

/* ------------------------------------------------------------ measuring --- */

void lmx_loss_measure(void *state, size_t i, unsigned worker)
{
    lmx_loss_work *w = state;
    const lmx_loss_call *c = w->c;
    const size_t n = lmx_chunk_len(&c->drive, i), first = i * LMX_CHUNK;
    const size_t skip = c->kernel->skips_target ? lmx_loss_target_in(w, i) : LMX_NO_TARGET;
    if (c->direct) {
        c->kernel->measure(w->logits + first * c->table->elem_size, n, skip, &c->spec, &w->row,
                           &w->chunk[i]);
        return;
    }
    const void *const z = lmx_loss_seen(w, i, worker);
    c->real_kernel->measure(z, n, skip, &c->spec, &w->row, &w->chunk[i]);
    if (lmx_loss_is_adversarial(c)) {
        lmx_loss_load_both(w, i, worker);
        c->real->spread(lmx_loss_scratch(c, worker, 1), lmx_loss_scratch(c, worker, 2), n, w->own,
                        &w->mix[i]);
    }
    if (!lmx_loss_is_soft(c))
        return;
    lmx_loss_load_soft(w, i, worker);
    w->pivot[i] = lmx_pivot_of(&w->chunk[i]);
    c->real->mix(z, lmx_loss_scratch(c, worker, 1), n, w->pivot[i], &w->mix[i]);
    if (lmx_loss_target_in(w, i) != LMX_NO_TARGET)
        w->row.on_mix =
            lmx_real_at(c->real, lmx_loss_scratch(c, worker, 1), lmx_loss_target_in(w, i));
}

/* Sets the factor of a row's gradient, of temperature t and class weight `weight`. */
static void set_scale(lmx_loss_work *w, double t, double weight)
{
    const lmx_loss_call *c = w->c;
    const double divisor = c->denominator * t;
    w->row.scale = lmx_finite(divisor) ? 1 / divisor : 1 / c->denominator / t;
    /* hard targets' scale is a double; what is subtracted for soft ones is a real */
    w->unit = 1;
    if (w->row.scale > 1 && c->denominator > 0 && !lmx_loss_is_adversarial(c)) {
        w->unit =
            lmx_rate_unit(w->row.scale, lmx_loss_is_soft(c) ? c->real->real_size : sizeof(double));
        if (w->unit != 1)
            w->row.scale = 1 / c->denominator / (t * w->unit);
    }
    if (c->spec.mixed)
        w->row.on = w->soft != NULL ? 0 : weight * c->keep;
    else
        w->row.scale *= weight;
}

/* Where the parts of row i begin, and nothing known of it. */
static void set_row(lmx_loss_work *w, lmx_loss_call *c, size_t i, unsigned worker)
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

static void put_loss(const lmx_loss_work *w, double loss)
{
    const lmx_array *out = &w->c->array[LMX_LOSS_OUT];
    if (w->c->opt.reduction == LMX_NONE)
        lmx_put(out, lmx_row_at(out, w->index), w->c->real, loss);
}

static double temperature_of(const lmx_loss_call *c, size_t i)
{
    const lmx_array *t = &c->array[LMX_LOSS_TEMPERATURE];
    return lmx_loss_is_adversarial(c) ? c->opt.rho
           : t->data == NULL          ? 1
                                      : lmx_get(t, lmx_row_at(t, i));
}

int lmx_loss_begin(void *state, void *call, size_t i, unsigned worker)
{
    lmx_loss_work *w = state;
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
    if (!lmx_loss_has_probabilities(c)) {
        const int64_t k = lmx_loss_class_of(c, i);
        if (k == c->opt.ignore_index) {
            put_loss(w, 0);
            if (w->grad != NULL)
                lmx_loss_fill(w, 0);
            return 0;
        }
        w->target = (size_t)k;
        weight = lmx_loss_weight_of(c, w->target);
        load_target(w, worker);
    }
    if (lmx_loss_is_adversarial(c)) {
        const lmx_array *x = &c->array[LMX_LOSS_LOGITS], *a = &c->array[LMX_LOSS_ADVERSARIAL];
        w->own = lmx_two_sum(lmx_get_as(c->real, a, lmx_element_at(a, w->adversarial, w->target)),
                             -lmx_get(x, lmx_element_at(x, w->logits, w->target)));
    }
    set_scale(w, t, weight);
    return 1;
}

/* ------------------------------------------------------------ finishing --- */

/* Adds nu times the norm of e, and finds what its gradient needs. */
static void regularise(lmx_loss_work *w)
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
static int is_far(lmx_loss_work *w, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const size_t real_size = c->real->real_size;
    if (w->far || !lmx_quotients_left(&w->row.norm, w->temperature, real_size))
        return 0;
    const double t = w->temperature;
    const lmx_passage in = w->in;
    char *const z = lmx_loss_scratch(c, worker, 0);
    double largest = -INFINITY;
    w->in.rate = 1; /* for lmx_loss_load(): the logits themselves */
    for (size_t i = 0; i < c->drive.chunks; i++) {
        const lmx_stretch at = lmx_loss_chunk(w, w->logits, i);
        lmx_loss_load(w, at, 1, z);
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
int lmx_loss_finish(void *state, unsigned worker)
{
    lmx_loss_work *w = state;
    const lmx_loss_call *c = w->c;
    const size_t chunks = c->drive.chunks;
    if (lmx_loss_is_soft(c)) {
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
    if (lmx_loss_is_adversarial(c) && !w->row.bad)
        regularise(w);
    return 0;
}

/* The row's loss, weighted, to be written or added. */
void lmx_loss_take(const lmx_loss_work *w, lmx_dd *sum)
{
    const lmx_loss_call *c = w->c;
    double loss = w->row.bad ? lmx_qnan() : w->row.loss;
    if (!c->spec.mixed && w->target != LMX_NO_TARGET)
        loss *= lmx_loss_weight_of(c, w->target);
    put_loss(w, loss);
    *sum = lmx_losses_add(*sum, (lmx_dd){ loss, 0 });
}
