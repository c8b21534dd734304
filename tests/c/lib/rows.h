/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of every element type: sizes, elements as double, and the kinds of data
 * that the tests draw.  The same seed gives the same bits on every system.
 */
#ifndef LMX_TEST_ROWS_H
#define LMX_TEST_ROWS_H

#include "check.h"
#include "lanemax/lanemax.h"
#include "strided.h"

#define N_DTYPES 4

size_t elem_size(lmx_dtype dtype);
const char *dtype_name(lmx_dtype dtype);

/* Rounded once to the element type. */
void elem_put(lmx_dtype dtype, void *p, size_t i, double v);
double elem_get(lmx_dtype dtype, const void *p, size_t i);

/* Of one result of operation op, and whether there is one per row only. */
size_t result_size(lmx_row_code op, lmx_dtype dtype);
bool result_per_row(lmx_row_code op);

typedef enum row_kind {
    ROW_NORMAL, /* N(0, 1) */
    ROW_WIDE,   /* N(0, 10) */
    ROW_TO_88,  /* U(-88, 0) */
    ROW_TO_110, /* U(-110, 0): results from normal to below the smallest subnormal */
    ROW_UNIT,   /* U(0, 1) */
    ROW_PEAK,   /* constant with one peak */
    ROW_RAMP,   /* arithmetic sequence */
    ROW_TWO_VALUED,
    ROW_TEN_THOUSAND, /* U(-1e4, 1e4) */
    ROW_HEAVY,        /* ratio of normals */
    ROW_MASKED,       /* 99 % -inf */
    ROW_SUBNORMAL,    /* subnormal input */
    ROW_MILLION,      /* U(-1e6, 1e6), or what the type holds: the slow path */
    ROW_HUGE,         /* signed powers of two over the whole range of the type */
    ROW_ZEROS,        /* of both signs */
    ROW_ALL_MASKED,   /* only -inf */
    ROW_ONE_INF,      /* +inf somewhere in N(0, 1) */
    ROW_ONE_NAN,
    ROW_ANY, /* any bits */
    N_ROW_KINDS
} row_kind;

#define N_FINITE_KINDS (ROW_ZEROS + 1)

void row_fill(lmx_dtype dtype, void *p, size_t n, row_kind kind, check_random *r);
const char *row_kind_name(row_kind kind);

/* Element-wise comparison of results of op; prints the first difference. */
bool results_same(lmx_row_code op, lmx_dtype dtype, const void *got, const void *want, size_t n);

/* The strides of contiguous rows of n, and of one result per row. */
strided_steps row_strides(ptrdiff_t stride);

/* lmx_row_op on contiguous rows of the same stride everywhere, without options. */
lmx_status row_call(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t rows, size_t cols,
                    const void *a, const void *b, void *out);

/* Options of op with their defaults. */
strided_options row_options(lmx_row_code op);

/* What lmx_options_init() gives, with these. */
lmx_options ctx_options(unsigned threads, const char *isa);

/* A context or the end of the program. */
lmx_ctx *ctx_with(unsigned threads, const char *isa);

#endif
