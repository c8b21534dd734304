/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about strided arrays, as pure functions; nothing here touches an element. */
#ifndef LMX_ARRAYS_H
#define LMX_ARRAYS_H

#include <stddef.h>

#include "lanemax/lanemax.h"

/* Three nested extents with strides in elements; those of extent 1 do not matter. */
typedef struct lmx_array {
    const void *data;
    size_t size; /* of one element, in bytes */
    size_t n[3];
    ptrdiff_t stride[3];
} lmx_array;

/* 0 if some offset, in bytes, does not fit in ptrdiff_t. */
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
 * may be input i itself if bit i of may_be[k] is set; NULL: no output may be an input.  Returns OVERFLOW, ALIGN, STRIDE
 * or OVERLAP, in this order.
 */
lmx_status lmx_arrays_check(const lmx_array *a, size_t inputs, size_t n, const unsigned *may_be);

#endif
