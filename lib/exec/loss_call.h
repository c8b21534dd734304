/* SPDX-License-Identifier: Apache-2.0 */
/* A call of a loss: its arrays, options as the rows read them, and its memory. */
#ifndef LMX_LOSS_CALL_H
#define LMX_LOSS_CALL_H

#include "exec/driver.h"
#include "exec/reach.h"
#include "exec/view.h"

/* Arrays of a call, inputs first. */
enum {
    LMX_LOSS_LOGITS,
    LMX_LOSS_CLASSES,       /* targets as class indices, */
    LMX_LOSS_PROBABILITIES, /* or as these */
    LMX_LOSS_ADVERSARIAL,
    LMX_LOSS_TEMPERATURE,
    LMX_LOSS_WEIGHT, /* of the classes: a vector, not an array of the index space */
    LMX_LOSS_OUT,
    LMX_LOSS_GRAD,
    LMX_LOSS_ADVERSARIAL_GRAD,
    LMX_LOSS_ARRAYS
};

typedef struct lmx_loss_call {
    lmx_drive drive;
    const lmx_loss_kernel *kernel, *real_kernel;
    const lmx_table *table, *real;
    lmx_space space;
    lmx_array array[LMX_LOSS_ARRAYS];
    lmx_loss_options opt;
    lmx_loss_spec spec;
    int direct;         /* elements can be read and written in place */
    int heated;         /* logits are divided by a temperature, or by rho */
    double denominator; /* of the losses and gradients */
    size_t together;    /* rows in a block */
    double keep, add;   /* soft targets are (keep y + add) weight */

    char *scratch; /* three arrays of reals for each worker */
    size_t scratch_size;
    void *weight; /* of the classes, as reals, for soft targets; NULL: 1 */
    /* For the chunks of all rows that a worker has at a time, row_chunks of them; one row's if all share it. */
    size_t row_chunks;
    lmx_chunk *chunk;
    lmx_mix *mix;
    double *pivot;
    lmx_dd *block; /* losses of so many rows */
} lmx_loss_call;

/* The denominator of a mean: the weights of the rows that count; LABEL if a target is none. */
lmx_status lmx_loss_weigh(lmx_loss_call *c);

/* Plans the call, whose arrays and options are set and checked, and carries it out. */
lmx_status lmx_loss_run(lmx_ctx *ctx, lmx_loss_call *c);

#endif
