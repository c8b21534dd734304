/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes in, strategy out.  Pure functions: the same arguments give the same plan, and no plan
 * changes a bit of a result.
 */
#ifndef LMX_PLAN_H
#define LMX_PLAN_H

#include <stddef.h>

typedef struct lmx_plan_request {
    size_t rows, cols;
    size_t elem_size;
    unsigned inputs;   /* arrays read */
    int writes;        /* an array is written, not only one value per row */
    int in_place;      /* the output is an input */
    int uses_terms;    /* pass 2 can start from what pass 1 stored */
    int is_real;       /* elements are stored as they are computed */
    int has_pipelined; /* pass 2 of a row can be interleaved with pass 1 of the next */
    unsigned threads;
    size_t cache; /* last-level cache in bytes, 0 if unknown */
} lmx_plan_request;

typedef struct lmx_plan {
    unsigned how;    /* LMX_HOW_STREAM, LMX_HOW_SCRATCH */
    int store_terms; /* long rows: store-and-rescale in the output, else two passes over x */
    int split_rows;  /* long rows: threads share one row, else each takes whole rows */
    int parallel;
    size_t grain; /* rows per task */
} lmx_plan;

lmx_plan lmx_plan_rows(const lmx_plan_request *r);

#endif
