/* SPDX-License-Identifier: Apache-2.0 */
/* A row of a loss at work, for the files that take it through its steps. */
#ifndef LMX_LOSS_ROW_H
#define LMX_LOSS_ROW_H

#include <string.h>

#include "base/targets.h"
#include "exec/loss_call.h"

/* A row at work. */
typedef struct lmx_loss_work {
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
} lmx_loss_work;

LMX_INLINE int lmx_loss_is_adversarial(const lmx_loss_call *c)
{
    return c->array[LMX_LOSS_ADVERSARIAL].data != NULL;
}

LMX_INLINE int lmx_loss_has_probabilities(const lmx_loss_call *c)
{
    return c->array[LMX_LOSS_PROBABILITIES].data != NULL;
}

LMX_INLINE int lmx_loss_is_soft(const lmx_loss_call *c)
{
    return lmx_loss_has_probabilities(c) || c->add != 0;
}

LMX_INLINE int64_t lmx_loss_class_of(const lmx_loss_call *c, size_t i)
{
    const lmx_array *t = &c->array[LMX_LOSS_CLASSES];
    const char *at = lmx_row_at(t, i);
    LMX_ALIGN(8) char one[8];
    if (!t->natural)
        at = memcpy(one, at, t->size);
    return lmx_class_at(at, (lmx_int)t->dtype, 0);
}

LMX_INLINE double lmx_loss_weight_of(const lmx_loss_call *c, size_t k)
{
    const lmx_array *w = &c->array[LMX_LOSS_WEIGHT];
    return w->data == NULL ? 1 : lmx_get(w, lmx_row_at(w, k));
}

/* The target's place in chunk i, LMX_NO_TARGET if it is in another. */
LMX_INLINE size_t lmx_loss_target_in(const lmx_loss_work *w, size_t i)
{
    if (w->target == LMX_NO_TARGET || w->target / LMX_CHUNK != i)
        return LMX_NO_TARGET;
    return w->target % LMX_CHUNK;
}

LMX_INLINE char *lmx_loss_scratch(const lmx_loss_call *c, unsigned worker, size_t which)
{
    return c->scratch + ((size_t)worker * 3 + which) * c->scratch_size;
}

LMX_INLINE lmx_stretch lmx_loss_chunk(const lmx_loss_work *w, const char *at, size_t i)
{
    return (lmx_stretch){ at, i * LMX_CHUNK, lmx_chunk_len(&w->c->drive, i) };
}

/* ------------------------------------------------------- loss_row.c --- */

/* Logits as the loss sees them, capped if asked for and divided by the temperature. */
void lmx_loss_load(const lmx_loss_work *w, lmx_stretch at, int cap, void *z);
/* Chunk i of them: where they are, or in this worker's scratch. */
const void *lmx_loss_seen(const lmx_loss_work *w, size_t i, unsigned worker);
/* Soft targets of chunk i, or logits and adversarial logits as they are, in this worker's scratch. */
void lmx_loss_load_soft(const lmx_loss_work *w, size_t i, unsigned worker);
void lmx_loss_load_both(const lmx_loss_work *w, size_t i, unsigned worker);

/* Steps of the driver: driver.h says what they do. */
int lmx_loss_begin(void *state, void *call, size_t i, unsigned worker);
void lmx_loss_measure(void *state, size_t i, unsigned worker);
int lmx_loss_finish(void *state, unsigned worker);

/* Adds the row's loss, weighted, to *sum, or writes it where each row has one. */
void lmx_loss_take(const lmx_loss_work *w, lmx_dd *sum);

/* -------------------------------------------------- loss_gradient.c --- */

/* Every element of the row's gradients the same. */
void lmx_loss_fill(const lmx_loss_work *w, double value);
/* Whether the gradient is to be computed; one that is NaN throughout is written. */
int lmx_loss_has_gradient(const lmx_loss_work *w);
/* Writes chunk i of the gradient. */
void lmx_loss_apply(void *state, size_t i, unsigned worker);

#endif
