/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one driver of operations on rows and of losses: it finds memory for a call, and takes rows step by step, alone or
 * with the chunks of one row shared by the threads.  The steps belong to the family.
 */
#ifndef LMX_DRIVER_H
#define LMX_DRIVER_H

#include "base/arena.h"
#include "dispatch/dispatch.h"
#include "exec/ctx.h"
#include "exec/plan.h"

/* The steps of a row.  `row` is the family's state of a row at work. */
typedef struct lmx_row_steps {
    /* Begins row i; 0 if there is nothing to be measured, and its results are written. */
    int (*begin)(void *row, void *call, size_t i, unsigned worker);
    void (*measure)(void *row, size_t chunk, unsigned worker);
    /* Joins what the chunks found; whether they are to be measured again. */
    int (*finish)(void *row, unsigned worker);
    /* Writes the row's one value, if it has any; whether chunks are to be written, too. */
    int (*deliver)(void *row);
    void (*apply)(void *row, size_t chunk, unsigned worker);
} lmx_row_steps;

/* A call as the driver sees it, the first member of the family's own struct. */
typedef struct lmx_drive {
    const lmx_row_steps *steps;
    size_t rows, cols, chunks;
    lmx_plan plan;
    unsigned workers;
    /* Takes the call's memory from the arena, in the same order each time. */
    void (*divide)(void *call, lmx_arena *a);
    /* Begins the work once there is memory: clears what needs to be. */
    void (*clear)(void *call);
    /* Ends it while the memory is still there; NULL: nothing is left to be done. */
    void (*conclude)(void *call);
    /* Does some of `tasks` tasks on a worker; NULL: rows go one after the other, their chunks shared. */
    void (*task)(void *call, size_t begin, size_t end, unsigned worker);
    size_t tasks, grain;
    void *row; /* without a task: state of a row, for the steps */
} lmx_drive;

/* Chunk i of a row of cols elements. */
LMX_INLINE size_t lmx_chunk_len(const lmx_drive *d, size_t i)
{
    const size_t left = d->cols - i * LMX_CHUNK;
    return left < LMX_CHUNK ? left : LMX_CHUNK;
}

/* Sets workers and chunks, which the family's memory depends on. */
void lmx_drive_open(lmx_drive *d, const lmx_ctx *ctx);

/* All steps of row i by one worker. */
void lmx_drive_row(lmx_drive *d, void *row, size_t i, unsigned worker);

/* Finds memory and does the tasks: OK or NOMEM. */
lmx_status lmx_drive_run(lmx_ctx *ctx, lmx_drive *d);

#endif
