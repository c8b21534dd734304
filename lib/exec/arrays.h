/* SPDX-License-Identifier: Apache-2.0 */
/* Strided arrays over the index space of a call, and questions about them; nothing here touches an element. */
#ifndef LMX_ARRAYS_H
#define LMX_ARRAYS_H

#include <stddef.h>

#include "kernels/kernels.h"
#include "lanemax/lanemax.h"

/* Axes that may be left after all that can be joined are: NumPy had no more before its version 2. */
#define LMX_AXES 32

/*
 * Nested extents with strides in bytes; those of extent 1 do not matter.  The first `outer` axes number the rows, in C
 * order; the others number the elements of a row.  An array of one element for each row has the outer axes alone.
 */
typedef struct lmx_array {
    const void *data; /* NULL: there is no such array */
    size_t size;      /* of one element, in bytes */
    int outer, axes;
    int natural;            /* lmx_array_natural() */
    int dtype;              /* of lmx_view */
    const lmx_table *table; /* for elements of a floating-point type, else NULL */
    size_t n[LMX_AXES];
    ptrdiff_t stride[LMX_AXES];
} lmx_array;

/* Rows of cols contiguous elements, which begin `stride` elements apart. */
lmx_array lmx_array_rows(const void *data, size_t size, size_t rows, size_t cols, ptrdiff_t stride);

/* Whether strides are multiples of the element's size, and the address of what it is aligned to. */
int lmx_array_natural(const lmx_array *a);

/* Where row i begins. */
LMX_INLINE const char *lmx_row_at(const lmx_array *a, size_t i)
{
    if (a->data == NULL)
        return NULL;
    ptrdiff_t offset = 0;
    for (int k = a->outer - 1; k > 0; k--) {
        const size_t q = i / a->n[k];
        offset += (ptrdiff_t)(i - q * a->n[k]) * a->stride[k];
        i = q;
    }
    return (const char *)a->data + offset + (ptrdiff_t)i * a->stride[0];
}

/* Elements with a place of their own: axes along which the array repeats itself count once. */
size_t lmx_distinct_count(const lmx_array *a);
const char *lmx_distinct_at(const lmx_array *a, size_t i);

/* 0 if some offset, in bytes, or the number of elements does not fit in ptrdiff_t. */
int lmx_array_fits(const lmx_array *a);

/* 1 if the address is a multiple of the element size (8 for sums), or there is no element. */
int lmx_array_aligned(const lmx_array *a);

/* 1 if no two elements overlap: each stride reaches past everything inside it. */
int lmx_array_distinct(const lmx_array *a);

/* 1 if both name the same elements in the same order. */
int lmx_array_same(const lmx_array *a, const lmx_array *b);

/* 1 if some byte may belong to both.  Exact where size and strides agree, else by address range. */
int lmx_array_overlap(const lmx_array *a, const lmx_array *b);

/*
 * The one check of a call's arrays, n in all, inputs first and then outputs; those without data are not there.  Output k
 * may be input i itself if bit i of may_be[k] is set; NULL: no output may be an input.  Returns OVERFLOW, STRIDE or
 * OVERLAP, in this order.
 */
lmx_status lmx_arrays_check(const lmx_array *a, size_t inputs, size_t n, const unsigned *may_be);

/* The same for functions that read contiguous rows in place: ALIGN comes behind OVERFLOW. */
lmx_status lmx_rows_check(const lmx_array *a, size_t inputs, size_t n, const unsigned *may_be);

#endif
