/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels and the entry of the losses say to each other.  A loss is measured chunk by chunk,
 * finished in double-double from what the chunks found, and its gradient is written chunk by chunk
 * from the few constants that finishing left.
 */
#ifndef LMX_LOSS_H
#define LMX_LOSS_H

#include "kernels/row_state.h"

#define LMX_NO_TARGET ((size_t)-1)

/* Of a call. */
typedef struct lmx_loss_spec {
    double p[2]; /* the loss's parameters */
    double cols;
    double smoothing;
    double penalty; /* of log(Z)^2 */
    int mixed;      /* cross_entropy with soft targets or a penalty: lmx_loss_row.mix says how */
} lmx_loss_spec;

/* Soft targets of a chunk or row, u >= 0, relative to a pivot above its logits. */
typedef struct lmx_mix {
    lmx_dd below; /* sum of u[k] (pivot - o[k]) */
    lmx_dd mass;  /* sum of u[k] */
} lmx_mix;

/* Adds b, whose pivot lies `up` below that of a. */
LMX_INLINE void lmx_mix_add(lmx_mix *a, const lmx_mix *b, double up)
{
    a->mass = lmx_dd_add(a->mass, b->mass);
    a->below = lmx_dd_add(a->below, b->below);
    a->below = lmx_dd_add(a->below, (lmx_dd){ b->mass.hi * up, b->mass.lo * up });
}

/* Of a row. */
typedef struct lmx_loss_row {
    /* known before measuring */
    double x;     /* the target's logit */
    int gradient; /* whether one is wanted; what is for it alone need not be found otherwise */
    double scale; /* what the gradient is multiplied by */
    int64_t e;    /* measure sees o * 2^-e - pivot */
    double pivot;
    double on; /* mixed: the weight of the target itself, and of its own entry in mix */
    double on_mix;
    lmx_mix mix;  /* mixed */
    double shift; /* what was taken from every logit before measuring */

    /* found by finish() */
    lmx_dd pulled; /* mixed: what multiplies softmax in the gradient, but for scale and on */
    double less;   /* mixed, soft targets: the largest probability less 1 */
    int bad;       /* loss and gradient are NaN */
    double loss;
    double at_target; /* the gradient there, scaled */
    lmx_norm norm;    /* exponential losses: the gradient is softmax with this sum, */
    int far;          /* or post * exp(o - center) */
    /* other losses: it is ((o * pre - center) - center_lo) * a * post + b, or as the loss says */
    double pre, center, center_lo, a, post, b;
} lmx_loss_row;

/* finish(): whether the row is to be measured again, with another e or pivot. */
enum { LMX_LOSS_DONE, LMX_LOSS_AGAIN };

typedef struct lmx_loss_kernel {
    /* skip: an element that takes no part, LMX_NO_TARGET for none */
    void (*measure)(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                    const lmx_loss_row *row, lmx_chunk *chunk);
    int (*finish)(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row);
    /* the gradient without the target's own term, which the caller writes */
    void (*gradient)(const void *o, size_t n, const lmx_chunk *chunk, const lmx_loss_spec *spec,
                     const lmx_loss_row *row, void *out, unsigned how);
    int skips_target; /* measure() leaves it out */
    size_t elem_size; /* of the logits and gradients: those of reals, or of its table */
} lmx_loss_kernel;

#endif
