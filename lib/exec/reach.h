/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between elements wherever and as whatever they lie and contiguous reals of the compute type.  Elements that a
 * conversion kernel cannot reach in one go (several axes, misaligned, of another compute type) come through a stage on
 * the stack.
 */
#ifndef LMX_REACH_H
#define LMX_REACH_H

#include "exec/arrays.h"

/* Stretch of a row: elements [first, first + n). */
typedef struct lmx_stretch {
    const char *row; /* where the row begins: lmx_row_at() */
    size_t first, n;
} lmx_stretch;

/* Changes to elements on the way: division by a temperature, a mask; and whether they are stored past the caches. */
typedef struct lmx_passage {
    double rate, rate_lo;   /* of lmx_gather; rate 1: not divided */
    const lmx_array *where; /* NULL: all kept */
    const char *where_row;
    int masked_value; /* stores: 0, or with 1: -inf, where masked */
    int nontemporal;
} lmx_passage;

#define LMX_AS_IS ((lmx_passage){ .rate = 1 })

/* Elements as reals of `real` to z. */
void lmx_load(const lmx_array *x, lmx_stretch at, const lmx_passage *how, const lmx_table *real,
              void *z);

/* Reals at z as elements; z may be changed. */
void lmx_store(const lmx_array *y, lmx_stretch at, const lmx_passage *how, const lmx_table *real,
               void *z);

/* Elements [first, first + n) of some rows. */
typedef struct lmx_block {
    size_t row, rows, first, n;
} lmx_block;

/* The same for several rows, whose reals follow each other; the mask's row is found here.  Rows that are one run of
 * elements are converted in one go. */
void lmx_load_rows(const lmx_array *x, lmx_block b, lmx_passage how, const lmx_table *real,
                   char *z);
void lmx_store_rows(const lmx_array *y, lmx_block b, lmx_passage how, const lmx_table *real,
                    char *z);

/* The same value everywhere. */
void lmx_fill(const lmx_array *y, lmx_stretch at, double value);

/* One element, and one that is rounded to a real of `real` first. */
double lmx_get(const lmx_array *x, const char *at);
void lmx_put(const lmx_array *y, const char *at, const lmx_table *real, double value);

/* The same, as a real of `real`: an element of another compute type is rounded. */
LMX_INLINE double lmx_get_as(const lmx_table *real, const lmx_array *x, const char *at)
{
    const double v = lmx_get(x, at);
    return real->real_size == 4 ? (double)(float)v : v;
}

/* Whether consecutive rows of cols elements are one run of elements where they lie. */
int lmx_rows_packed(const lmx_array *x);

/* Whether one row can be read by a kernel in place, if its elements are of the right type. */
LMX_INLINE int lmx_row_contiguous(const lmx_array *x)
{
    return x->natural && x->axes == x->outer + 1 &&
           (x->stride[x->outer] == (ptrdiff_t)x->size || x->n[x->outer] == 1);
}

/* Whether kernels of this table read or write the rows of x where they are; an array that is not there is no hindrance. */
LMX_INLINE int lmx_rows_in_place(const lmx_array *x, const lmx_table *table)
{
    return x->data == NULL || (x->table == table && lmx_row_contiguous(x));
}

/* Where element `first` of a row is, for arrays with one reduced axis. */
LMX_INLINE const char *lmx_element_at(const lmx_array *x, const char *row, size_t first)
{
    return row == NULL ? NULL : row + (ptrdiff_t)first * x->stride[x->outer];
}

/* Real i of an array of them. */
LMX_INLINE double lmx_real_at(const lmx_table *real, const void *p, size_t i)
{
    return real->real_size == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* Soft targets of a chunk are measured from this: its largest logit, where that is a number. */
LMX_INLINE double lmx_pivot_of(const lmx_chunk *chunk)
{
    return chunk->kind == LMX_KIND_PLAIN || chunk->kind == LMX_KIND_SHIFTED ? chunk->max : 0;
}

/* Of losses, which may be infinite. */
LMX_INLINE lmx_dd lmx_losses_add(lmx_dd a, lmx_dd b)
{
    const double s = a.hi + b.hi;
    return lmx_finite(s) ? lmx_dd_add(a, b) : (lmx_dd){ s, 0 };
}

#endif
