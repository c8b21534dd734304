/* SPDX-License-Identifier: Apache-2.0 */
/* How a row is cut, what measuring a chunk of it found, and what a whole row needs to be written. */
#ifndef LMX_ROW_STATE_H
#define LMX_ROW_STATE_H

#include <stddef.h>

#include "numeric/wide_sum.h"

/*
 * A row is cut into chunks of 16,384 elements, whatever the number of threads; the
 * sums of chunks are merged in their order.  A chunk is cut into blocks of 128:
 * LMX_TREE elements for each of the 32 lanes, summed in a tree.
 */
#define LMX_CHUNK 16384
#define LMX_TREE  4
#define LMX_BLOCK (32 * LMX_TREE)

/* The log family sums this many elements of a chunk without trees, term by term in double: what
 * the sum is without its largest term is a subtraction if that is among them. */
#define LMX_WIDE 1024

enum {
    LMX_KIND_PLAIN,   /* terms are exp(x) 2^(B - n0) */
    LMX_KIND_SHIFTED, /* terms are exp(x - shift) 2^B: logits beyond 2^18 */
    LMX_KIND_EMPTY,   /* only -inf */
    LMX_KIND_BAD      /* NaN or +inf */
};

/* The result of measuring one chunk. */
typedef struct lmx_chunk {
    lmx_sum sum;  /* of exp(x); of products for the VJPs (hi + lo alone) */
    lmx_sum rest; /* exp_sum: of exp(x), from terms that were not rounded to real */
    int kind;
    int has_rest;
    int64_t n0; /* integer reference exponent of the terms */
    double shift;
    double max;       /* log family: the largest logit */
    double ratio;     /* where has_rest: the sum without one such term, over that term */
    double parameter; /* of the operation; known before measuring */
} lmx_chunk;

/* The constants from which a whole row is written. */
typedef struct lmx_norm {
    int kind; /* BAD: fill with NaN; EMPTY: nothing but -inf; else PLAIN */
    lmx_sum sum;
    lmx_sum fine; /* exp_sum: from terms that were not rounded to real */
    double max;   /* log family: log(sum exp(x)) = max + log_rest */
    lmx_dd log_rest;
    double rate; /* 1 / temperature, for the VJPs */
    double mean; /* VJPs from the input: what is taken from dy */
} lmx_norm;

/* The log of the sum, as one double. */
LMX_INLINE double lmx_norm_value(const lmx_norm *norm)
{
    if (norm->kind == LMX_KIND_BAD)
        return norm->sum.hi;
    if (norm->kind == LMX_KIND_EMPTY)
        return -INFINITY;
    const lmx_dd s = lmx_two_sum(norm->max, norm->log_rest.hi);
    return s.hi + (s.lo + norm->log_rest.lo);
}

/* a row's sums of chunks, in their order */
LMX_INLINE void lmx_fold_sum(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    int kind = LMX_KIND_EMPTY;
    lmx_sum sum = { 0, 0, 0, 0 };
    for (size_t i = 0; i < n; i++) {
        sum = lmx_sum_add(sum, chunks[i].sum);
        if (chunks[i].kind == LMX_KIND_BAD)
            kind = LMX_KIND_BAD;
        else if (chunks[i].kind != LMX_KIND_EMPTY && kind != LMX_KIND_BAD)
            kind = LMX_KIND_PLAIN;
    }
    norm->kind = kind;
    norm->sum = sum;
}

/* The chunk of the row's largest logit, the first of several. */
LMX_INLINE size_t lmx_largest_chunk(const lmx_chunk *chunks, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (chunks[i].max > chunks[best].max)
            best = i;
    return best;
}

/* sum, and those of all chunks but one */
LMX_INLINE lmx_sum lmx_add_others(lmx_sum sum, const lmx_chunk *chunks, size_t n, size_t but)
{
    for (size_t i = 0; i < n; i++)
        if (i != but)
            sum = lmx_sum_add(sum, chunks[i].sum);
    return sum;
}

/* exp_sum: both sums */
LMX_INLINE void lmx_fold_fine(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->fine = (lmx_sum){ 0, 0, 0, 0 };
    for (size_t i = 0; i < n; i++)
        norm->fine = lmx_sum_add(norm->fine, chunks[i].rest);
}

/*
 * The log family: log(sum) as max + log_rest.
 *
 * With m the largest logit and S' the sum of exp(x - m) over all elements but one that attains it,
 * log(sum) = m + log1p(S'): no cancellation, so log_softmax is accurate at the confident end, where
 * S' is small.  Where S' >= 2.25, log(sum) itself, in double-double, is as good and needs no S'.
 */
LMX_INLINE void lmx_fold_log(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_fold_sum(chunks, n, norm);
    norm->max = 0;
    norm->log_rest = (lmx_dd){ 0, 0 };
    if (norm->kind != LMX_KIND_PLAIN)
        return;
    const size_t best = lmx_largest_chunk(chunks, n);
    const double m = chunks[best].max;
    if (chunks[best].has_rest) {
        const lmx_sum nothing = { 0, 0, 0, 0 };
        const lmx_sum others = lmx_add_others(nothing, chunks, n, best);
        norm->max = m;
        norm->log_rest = lmx_log1p(chunks[best].ratio + lmx_sum_relative(others, m));
    } else {
        norm->log_rest = lmx_sum_log(norm->sum);
    }
}

/* The VJPs: plain sums of products, in double-double. */
LMX_INLINE void lmx_fold_products(const lmx_chunk *chunks, size_t n, lmx_norm *norm)
{
    lmx_dd sum = { 0, 0 };
    for (size_t i = 0; i < n; i++)
        sum = lmx_dd_add(sum, (lmx_dd){ chunks[i].sum.hi, chunks[i].sum.lo });
    norm->kind = LMX_KIND_PLAIN;
    norm->sum = (lmx_sum){ sum.hi + sum.lo, 0, 0, 0 };
}

#endif
