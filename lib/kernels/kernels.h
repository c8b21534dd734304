/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tier offers for one element type.  Kernels see contiguous elements and a
 * length, or a block of columns; never a context, a type code or a thread.  Every
 * slot of every table is filled (kernels/table.c expands the registry).
 */
#ifndef LMX_KERNELS_H
#define LMX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/row_state.h"
#include "lanemax/ops.h"
#include "kernels/loss_state.h"

/* How results are written, chosen by plan.c; no bit of a result depends on it. */
enum {
    LMX_HOW_STREAM = 1,  /* nontemporal stores; v_fence() follows */
    LMX_HOW_SCRATCH = 2, /* terms go through scratch, not through the output */
    LMX_HOW_TERMS = 4,   /* apply reads the terms that measure stored, not the input */
    LMX_HOW_PIPELINED =
        8 /* pass 2 of a row interleaved with pass 1 of the next; with STREAM, SCRATCH */
};

/* rows() measures, folds and writes short rows together, up to this many elements. */
#define LMX_BATCH 2048

/* Rows of at most this many chunks can be pipelined. */
#define LMX_PIPELINED_CHUNKS 16

/* Contiguous rows: of at most LMX_CHUNK elements for rows(), LMX_PIPELINED_CHUNKS chunks for pipelined(). */
typedef struct lmx_rows {
    size_t rows, cols;
    const void *a, *b;
    ptrdiff_t a_stride, b_stride, out_stride;
    void *out;
    void *scratch; /* max(cols, LMX_BATCH) reals; cols for one row */
    unsigned how;
    double parameter; /* of the operation */
} lmx_rows;

/* Columns next to each other: element (i, j) of cols x width at i * stride + j. */
typedef struct lmx_columns {
    size_t cols, width; /* width <= LMX_COLUMNS */
    const void *a, *b;
    ptrdiff_t a_stride, b_stride, out_stride;
    void *out;
    void *lanes; /* LMX_COLUMNS_LANES bytes at a multiple of 64 */
    /* measure_columns() keeps here, if it keeps anything, for apply_columns(): cols rows of
     * scratch_stride reals, a multiple of 16 and no less than width; NULL: the input is read again. */
    void *scratch;
    size_t scratch_stride;
    unsigned how;
} lmx_columns;

#define LMX_COLUMNS 64

/* Twice 32 lanes of pairs of doubles for each column. */
#define LMX_COLUMNS_LANES (2 * 32 * 16 * LMX_COLUMNS)

/* How many operations each list of the registry has: the sizes of the table's slots. */
#define LMX_ONE(...) +1
enum {
    LMX_ROW_KERNELS = 0 LMX_ROW_LIST(LMX_ONE),
    LMX_UNARY_KERNELS = 0 LMX_UNARY_LIST(LMX_ONE),
    LMX_CHANNEL_KERNELS = 0 LMX_CHANNEL_LIST(LMX_ONE),
    LMX_LOSS_KERNELS = 0 LMX_LOSS_LIST(LMX_ONE)
};
#undef LMX_ONE

/*
 * One operation.  measure() looks at up to LMX_CHUNK elements; fold() turns the chunks of a row
 * into what is needed to write it; apply() writes a chunk.  rows() is the three for short rows, and
 * pipelined() for rows that come from memory and go there (NULL if there is none).
 * measure_columns() and apply_columns() are the first and last for a chunk of a block of columns, with
 * one lmx_chunk and lmx_norm each; measure_columns() leaves kind negative where it could not tell; NULL if
 * there are none, and the columns are gathered.
 */
typedef struct lmx_row_kernel {
    void (*measure)(const void *a, const void *b, size_t n, void *terms, lmx_chunk *chunk);
    void (*fold)(const lmx_chunk *chunks, size_t n, lmx_norm *norm);
    void (*apply)(const void *a, const void *b, size_t n, const lmx_chunk *chunk,
                  const lmx_norm *norm, void *out, unsigned how);
    void (*rows)(const lmx_rows *r);
    void (*pipelined)(const lmx_rows *r);
    void (*measure_columns)(const lmx_columns *c, lmx_chunk *chunks);
    void (*apply_columns)(const lmx_columns *c, const lmx_chunk *chunks, const lmx_norm *norms);
    int keeps_columns; /* measure_columns() can fill scratch */
    int uses_terms;    /* measure() can store what apply() with LMX_HOW_TERMS reads */
    size_t elem_size;  /* of the elements that it reads and writes: reals, or those of its table */
} lmx_row_kernel;

/* An activation on n elements; p are its np parameters. */
typedef struct lmx_unary_kernel {
    void (*forward)(const void *x, size_t n, const double *p, size_t np, void *y, unsigned how);
    void (*backward)(const void *dy, const void *x, size_t n, const double *p, size_t np, void *dx,
                     unsigned how);
    /* of dy times the derivative by each parameter; NULL if none is learned */
    void (*sums)(const void *dy, const void *x, size_t n, const double *p, size_t np, lmx_dd *sums);
} lmx_unary_kernel;

/* Arrays of a call of an activation. */
enum { LMX_DY, LMX_X, LMX_UP, LMX_OUT, LMX_UP_OUT, LMX_ARRAYS };

/* Elements [first, first + n) of some rows; pointers are NULL where there is no such array. */
typedef struct lmx_piece {
    size_t rows, n, first;
    const void *dy, *x, *up;
    void *out, *up_out;
    ptrdiff_t stride[LMX_ARRAYS]; /* from row to row, in elements */
    unsigned how;
    lmx_dd *sums, *columns; /* added to; NULL: not wanted */
    void *scratch;
} lmx_piece;

/* Whether the rows of a piece can be taken as one. */
LMX_INLINE int lmx_piece_together(const lmx_piece *e)
{
    const ptrdiff_t n = (ptrdiff_t)e->n;
    return e->rows == 1 || (e->stride[LMX_X] == n && e->stride[LMX_OUT] == n &&
                            (e->dy == NULL || e->stride[LMX_DY] == n) &&
                            (e->up == NULL || e->stride[LMX_UP] == n) &&
                            (e->up_out == NULL || e->stride[LMX_UP_OUT] == n));
}

/*
 * What an activation of channels is given with its arrays (ops.h, LMX_CHANNEL_LIST).  group is how many
 * channels hang together: those that are sorted, those that share coefficients, else all of a row.
 */
typedef struct lmx_channel_spec {
    size_t cols, group;
    const double *p; /* weights and a bias, or p_sets numerators of np numbers each */
    size_t np, p_sets;
    const double *q; /* q_sets denominators of nq numbers each */
    size_t nq, q_sets;
    double eps;
    int form_a;
    const void *table; /* of reals: householder.h */
    size_t pairs;      /* in the table: 1 for all, or one for each two channels */
} lmx_channel_spec;

typedef struct lmx_channel_kernel {
    void (*forward)(const lmx_piece *piece, const lmx_channel_spec *spec);
    void (*backward)(const lmx_piece *piece, const lmx_channel_spec *spec);
} lmx_channel_kernel;

/* A strided run of elements with temperature and mask, to contiguous reals and back. */
typedef struct lmx_gather {
    ptrdiff_t stride;
    double rate;                /* 1 / temperature, and what its rounding left out; */
    double rate_lo;             /* or, with a rate of 0, the temperature itself */
    const unsigned char *where; /* NULL: all kept */
    ptrdiff_t where_stride;
    int masked_value; /* scatter writes 0, or with 1: -inf, where masked */
    int stream;       /* scatter: nontemporal stores, where elements follow each other */
} lmx_gather;

/*
 * A tier's table for one element type.  Kernels work on reals: float for LMX_F16, LMX_BF16 and LMX_F32, double for
 * LMX_F64.  16-bit types are storage: their tables have conversions and packing of their own, and the kernels of
 * LMX_F32; but for those of operations on rows and losses, which outside the portable tier read 16-bit elements
 * themselves.
 */
typedef struct lmx_table {
    const char *isa;
    size_t elem_size, real_size;
    const lmx_row_kernel *row[LMX_ROW_KERNELS];
    void (*gather)(const void *x, size_t n, const lmx_gather *how, void *out);
    void (*scatter)(const void *z, size_t n, const lmx_gather *how, void *y);
    void (*put_value)(void *out, double value);                        /* one real */
    void (*fill)(void *out, size_t n, ptrdiff_t stride, double value); /* elements */
    double (*get)(const void *x);                                      /* one element */

    const lmx_unary_kernel *unary[LMX_UNARY_KERNELS];
    const lmx_channel_kernel *channel[LMX_CHANNEL_KERNELS];

    const struct lmx_pack_kernel *pack; /* gemm/tile.h: from elements, and */
    const struct lmx_tile_kernel *tile; /* of reals */
    const struct lmx_fourier_kernel
        *fourier; /* fourier.h: of doubles, the same for all types of a tier */

    const lmx_loss_kernel *loss[LMX_LOSS_KERNELS];
    /* On reals: soft targets, sums over them, softcap and its derivative (kernels/loss/soft_targets.c), the
     * regulariser of the smooth adversarial loss (kernels/loss/adversarial.c). */
    void (*soften)(const void *y, const void *weight, size_t n, double keep, double add, void *u);
    void (*mix)(const void *o, const void *u, size_t n, double pivot, lmx_mix *mix);
    void (*subtract)(const void *u, size_t n, double scale, void *g);
    void (*spread)(const void *h, const void *a, size_t n, lmx_dd own, lmx_mix *mix);
    void (*spread_vjp)(const void *h, size_t n, lmx_dd own, double scale, void *g, void *a);
    void (*softcap)(void *o, size_t n, double cap);
    void (*softcap_slope)(const void *o, size_t n, double cap, void *g);

    void (*log)(const void *x, size_t n, int k, void *y); /* log(x 2^k) of positive normal reals */
} lmx_table;

#endif
