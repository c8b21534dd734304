/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cross-entropy of an output layer without its logits, and its gradient.
 *
 * Forward (linear_loss.c): pieces of classes are measured as cross_entropy measures chunks of a row, and what
 * they found is joined in the order of the classes: two chunks stand for a row, that of its largest logit and
 * all others together.
 *
 * Backward (linear_grad.c): for each tile of classes the gradient of its logits, g, then its rows of
 * dweight = g^T hidden, then its share of dhidden = g weight.  The logits come from dweight itself, where the forward
 * pass left as many as fit (no more memory, and no product twice), the others are computed again.
 */
#ifndef LMX_LINEAR_LOSS_H
#define LMX_LINEAR_LOSS_H

#include "linear/linear.h"

/* Rows of a tile that are skipped together (filter_eps). */
#define LMX_FILTER_ROWS 32

typedef struct lmx_linear_loss {
    lmx_linear l;
    const lmx_loss_kernel *kernel; /* cross_entropy, on reals */
    lmx_loss_spec spec;
    double softcap;   /* 0: none */
    double keep, add; /* soft targets are keep [k = t] + add */
    const size_t *target;

    lmx_loss_row *row;
    lmx_chunk *chunks; /* two for each row */

    /* forward: for each worker a piece of logits, and soft targets */
    char *z, *soft;
    size_t slots;     /* pieces measured before they are joined */
    lmx_chunk *found; /* slots x group */
    lmx_mix *mix;     /* likewise, and the pivots; NULL without soft targets */
    double *pivot;

    /* logits of the first `kept` rows, and with a filter the largest of each row and tile, in dweight */
    char *store; /* NULL: nothing is kept */
    size_t kept; /* a multiple of group, or all rows */
    int keeps_largest;

    /* backward; gradients are NULL where not wanted */
    int accumulate; /* gradients are added to what dweight and dbias hold */
    char *dweight;  /* elements */
    ptrdiff_t dweight_row;
    char *dhidden; /* reals, a row for each that counts */
    ptrdiff_t dhidden_row;
    char *dbias;         /* elements of the bias's type */
    const double *limit; /* logits of a row below this may be skipped; NULL: none are */
    double *dropped;     /* of each row; NULL: not wanted */

    size_t tiles;      /* of classes at a time */
    char *g;           /* for each tile: blocks for a group of rows */
    char *sums;        /* for each tile: LMX_TILE x depth reals of dweight; but for a single step */
    lmx_dd *bias_sums; /* for each tile: LMX_TILE */
    double *lost;      /* for each tile: of each row of a group */
    uint32_t *active;  /* for each tile: bit i for its rows i * LMX_FILTER_ROWS ... */
    char *hidden;      /* panels of a group of rows of hidden */
    char *transposed;  /* for each worker: a block */
    char *scratch;     /* for each worker: three tiles' rows of reals */
} lmx_linear_loss;

/* Finishes row[], but for ignored ones: losses and what the gradient needs. */
void lmx_linear_loss_forward(lmx_linear_loss *c);

/* The gradients, after that; dhidden is added to. */
void lmx_linear_loss_backward(lmx_linear_loss *c);

/* A gradient's row of depth reals, which may be overwritten, is stored in elements, or with accumulate added to them:
 * one addition of reals and one rounding to the element type. */
void lmx_linear_put_row(const lmx_linear_loss *c, void *reals, void *to);

/* Where the store has the largest logits of tile `from`, from row i on. */
LMX_INLINE char *lmx_linear_largest(const lmx_linear_loss *c, size_t from, size_t i)
{
    return c->store + from * c->l.depth * c->l.table->elem_size + i * c->l.real->real_size;
}

/* Where the store has tile `from`'s logits of row i, n classes of them. */
LMX_INLINE char *lmx_linear_kept(const lmx_linear_loss *c, size_t from, size_t n, size_t i)
{
    return lmx_linear_largest(c, from, (c->keeps_largest ? c->l.rows : 0) + i * n);
}

/* How many rows' logits fit into n rows of dweight besides the largest ones. */
LMX_INLINE size_t lmx_linear_room(const lmx_linear_loss *c, size_t n)
{
    const size_t reals = n * c->l.depth * c->l.table->elem_size / c->l.real->real_size;
    const size_t head = c->keeps_largest ? c->l.rows : 0;
    return reals < head ? 0 : (reals - head) / n;
}

/* Whether sums for dweight are those of one step and of its type, and replace what it holds: then they
 * are taken where they belong. */
LMX_INLINE int lmx_linear_is_direct(const lmx_linear_loss *c)
{
    return c->l.rows <= c->l.group && c->l.table->elem_size == c->l.real->real_size &&
           !c->accumulate;
}

#endif
