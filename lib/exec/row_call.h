/* SPDX-License-Identifier: Apache-2.0 */
/* A call of an operation on rows: its arrays, how it is carried out, and its memory. */
#ifndef LMX_ROW_CALL_H
#define LMX_ROW_CALL_H

#include "dispatch/registry.h"
#include "exec/driver.h"
#include "exec/reach.h"
#include "exec/view.h"

/* Arrays of a call, inputs first. */
enum {
    LMX_ROW_A,
    LMX_ROW_B,
    LMX_ROW_WHERE,
    LMX_ROW_TEMPERATURE,
    LMX_ROW_TOTAL,
    LMX_ROW_OUT,
    LMX_ROW_ARRAYS
};

/* Parts of a worker's scratch: a and b as reals, results, and the terms of short rows. */
enum { LMX_SCRATCH_A, LMX_SCRATCH_B, LMX_SCRATCH_OUT, LMX_SCRATCH_TERMS, LMX_SCRATCHES };

typedef enum lmx_row_way {
    LMX_WAY_ROWS,    /* a row at a time, chunk by chunk */
    LMX_WAY_SHORT,   /* short rows, read and written by the kernel where they are */
    LMX_WAY_BATCHES, /* short rows that it cannot read there: several at a time through scratch */
    LMX_WAY_COLUMNS  /* columns that lie side by side, a vector of them at a time */
} lmx_row_way;

typedef struct lmx_row_call {
    lmx_drive drive;
    lmx_row_code op;
    const lmx_row_info *info;
    const lmx_row_kernel *kernel;      /* on elements */
    const lmx_row_kernel *real_kernel; /* on reals */
    const lmx_table *table, *real;
    lmx_space space;
    lmx_array array[LMX_ROW_ARRAYS];
    double parameter;
    lmx_row_way way;
    int direct;    /* elements can be read and written in place */
    int converted; /* columns: elements are not what the kernel reads */

    /* workspace: parts of scratch for each worker, and the chunks of a row */
    char *scratch;
    size_t scratch_size;
    int slots, slot[LMX_SCRATCHES]; /* -1: not needed */
    lmx_chunk *chunk;
    size_t chunk_count;

    /* columns: sums of a strip, and what is kept of it, for each worker */
    char *lanes;
    char *keep;
    size_t keep_size;
    char *blocks; /* converted: a chunk of a strip of a and b as reals, for each worker */
    size_t block_size;
    size_t strips, strip_cols, first_cols; /* how many strips, and how wide they are */
} lmx_row_call;

/* A row at work: the elements reduced together. */
typedef struct lmx_row {
    lmx_row_call *c;
    const char *a, *b, *out;
    size_t index;
    lmx_passage in, back;
    lmx_chunk *chunk;
    lmx_norm norm;
    double temperature;
    double largest; /* far: logits are measured from it before they are divided */
    int far;
    double unit; /* what the rate was divided by */
} lmx_row;

/* Chooses the way and the plan of a call whose arrays and options are set and checked, and carries it out. */
lmx_status lmx_row_run(lmx_ctx *ctx, lmx_row_call *c);

/* ----------------------------------------------- for row_batch.c and row_columns.c --- */

LMX_INLINE int lmx_row_yields_row(const lmx_row_call *c)
{
    return c->info->result == LMX_RESULT_ROW;
}

LMX_INLINE void *lmx_row_scratch(const lmx_row_call *c, unsigned worker, int which)
{
    if (c->scratch == NULL || c->slot[which] < 0)
        return NULL;
    return c->scratch +
           ((size_t)worker * (size_t)c->slots + (size_t)c->slot[which]) * c->scratch_size;
}

void lmx_row_begin(lmx_row *w, lmx_row_call *c, size_t i, lmx_chunk *chunk);
void lmx_row_measure(lmx_row *w, size_t i, unsigned worker);
/* Joins what the chunks of row i found; with `total`, only whether it can be normalised by that. */
void lmx_row_fold(const lmx_row_call *c, size_t i, const lmx_chunk *chunk, lmx_norm *norm);
void lmx_row_put(const lmx_row_call *c, size_t i, const lmx_norm *norm);
/* gathered: the chunk is in scratch already. */
void lmx_row_apply(lmx_row *w, size_t i, unsigned worker, int gathered);

/* How many rows from row i on, at most `most`, are a constant stride apart in every array. */
LMX_INLINE size_t lmx_row_run_length(const lmx_row_call *c, size_t i, size_t most)
{
    const size_t inner = c->space.n[c->space.outer - 1], left = inner - i % inner;
    return left < most ? left : most;
}

/* From row to row of such a run, in elements. */
LMX_INLINE ptrdiff_t lmx_row_step(const lmx_array *x)
{
    return x->data == NULL ? 0 : x->stride[x->outer - 1] / (ptrdiff_t)x->size;
}

void lmx_row_short_task(void *call, size_t begin, size_t end, unsigned worker);
void lmx_row_batch_task(void *call, size_t begin, size_t end, unsigned worker);
void lmx_row_columns_task(void *call, size_t begin, size_t end, unsigned worker);

/* Strips of whole lines, such that what is kept of one stays in a second-level cache. */
void lmx_row_plan_strips(lmx_row_call *c);

#endif
