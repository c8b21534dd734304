/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of losses: a row's is written chunk by chunk from what finishing it left. */
#include "exec/loss_row.h"

#include "exec/temperature.h"

/* Every element of the row's gradients the same. */
void lmx_loss_fill(const lmx_loss_work *w, double value)
{
    const lmx_loss_call *c = w->c;
    const size_t cols = c->space.cols;
    lmx_fill(&c->array[LMX_LOSS_GRAD], (lmx_stretch){ w->grad, 0, cols }, value);
    if (lmx_loss_is_adversarial(c))
        lmx_fill(&c->array[LMX_LOSS_ADVERSARIAL_GRAD],
                 (lmx_stretch){ w->adversarial_grad, 0, cols }, value);
}

/* Where in chunk i, at z, the largest logit of soft targets lies, if most of the probability does. */
static size_t peak_in(const lmx_loss_work *w, size_t i, size_t n, const void *z)
{
    const lmx_loss_call *c = w->c;
    if (!lmx_loss_is_soft(c) || w->target != LMX_NO_TARGET || !(w->row.less > -0.5) ||
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
static void put_peak(const lmx_loss_work *w, size_t peak, const void *soft, void *z)
{
    const lmx_table *real = w->c->real;
    const double u = lmx_real_at(real, soft, peak);
    const lmx_dd off = lmx_dd_add(w->row.pulled, (lmx_dd){ -u, 0 });
    if (u > off.hi && lmx_finite(off.hi))
        real->put_value((char *)z + peak * real->real_size,
                        w->row.scale * (off.hi + (off.lo + w->row.pulled.hi * w->row.less)));
}

/* Elements in place; the line of the target is written twice, so it does not go past the caches. */
static void direct_gradient(const lmx_loss_work *w, size_t i)
{
    const lmx_loss_call *c = w->c;
    const size_t size = c->table->elem_size, offset = i * LMX_CHUNK * size;
    const size_t n = lmx_chunk_len(&c->drive, i), t = lmx_loss_target_in(w, i);
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
static void add_regulariser(const lmx_loss_work *w, size_t i, unsigned worker, char *z)
{
    const lmx_loss_call *c = w->c;
    const lmx_stretch at = lmx_loss_chunk(w, w->adversarial_grad, i);
    const size_t t = lmx_loss_target_in(w, i), offset = t * c->real->real_size;
    char *const a = lmx_loss_scratch(c, worker, 2);
    lmx_loss_load_both(w, i, worker);
    c->real->spread_vjp(lmx_loss_scratch(c, worker, 1), at.n, w->own, w->spread_scale, z, a);
    if (t != LMX_NO_TARGET) { /* e is 0 there */
        c->real->fill(z + offset, 1, 1, w->row.at_target - w->at_target);
        c->real->fill(a + offset, 1, 1, w->at_target);
    }
    lmx_store(&c->array[LMX_LOSS_ADVERSARIAL_GRAD], at, &LMX_AS_IS, c->real, a);
}

/* Where reals of the gradient of chunk i can be computed: in its own place, or in this worker's scratch. */
static char *gradient_at(const lmx_loss_work *w, size_t i, unsigned worker)
{
    const lmx_loss_call *c = w->c;
    const lmx_array *g = &c->array[LMX_LOSS_GRAD];
    /* with softcap or adversarial logits the logits are read again afterwards */
    const int own = g->table == c->real && lmx_row_contiguous(g) && c->opt.softcap == 0 &&
                    !lmx_loss_is_adversarial(c) && (c->drive.plan.how & LMX_HOW_STREAM) == 0;
    if (!own)
        return lmx_loss_scratch(c, worker, 0);
    return (char *)(uintptr_t)w->grad + i * LMX_CHUNK * c->real->real_size;
}

void lmx_loss_apply(void *state, size_t i, unsigned worker)
{
    lmx_loss_work *w = state;
    const lmx_loss_call *c = w->c;
    if (c->direct) {
        direct_gradient(w, i);
        return;
    }
    const size_t n = lmx_chunk_len(&c->drive, i), t = lmx_loss_target_in(w, i);
    char *const z = gradient_at(w, i, worker), *const u = lmx_loss_scratch(c, worker, 1);
    const void *const o = lmx_loss_seen(w, i, worker);
    const size_t peak = peak_in(w, i, n, o);
    c->real_kernel->gradient(o, n, &w->chunk[i], &c->spec, &w->row, z, 0);
    if (lmx_loss_is_soft(c)) {
        lmx_loss_load_soft(w, i, worker);
        c->real->subtract(u, n, w->row.scale, z);
        if (peak != LMX_NO_TARGET)
            put_peak(w, peak, u, z);
    }
    if (t != LMX_NO_TARGET && !w->row.bad)
        c->real->fill(z + t * c->real->real_size, 1, 1, w->row.at_target);
    if (lmx_loss_is_adversarial(c))
        add_regulariser(w, i, worker, z);
    if (w->unit != 1)
        lmx_rate_back(c->real, z, n, w->unit);
    if (c->opt.softcap > 0) {
        lmx_loss_load(w, lmx_loss_chunk(w, w->logits, i), 0, u);
        c->real->softcap_slope(u, n, c->opt.softcap, z);
    }
    const lmx_passage back = { .rate = 1,
                               .nontemporal = (c->drive.plan.how & LMX_HOW_STREAM) != 0 };
    if (z == lmx_loss_scratch(c, worker, 0))
        lmx_store(&c->array[LMX_LOSS_GRAD], lmx_loss_chunk(w, w->grad, i), &back, c->real, z);
}

/* Whether the gradient is to be computed; one that is NaN throughout is written. */
int lmx_loss_has_gradient(const lmx_loss_work *w)
{
    if (w->grad == NULL)
        return 0;
    /* Weights that sum to 0 make a mean's gradient NaN where the row's own weight is 0, else infinite. */
    if (!w->row.bad && lmx_finite(w->row.scale))
        return 1;
    lmx_loss_fill(w, lmx_qnan());
    return 0;
}
