/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy arrays as the library takes them. */
#ifndef LMXPY_VIEW_H
#define LMXPY_VIEW_H

#include "glue.h"

int is_none(uintptr_t object);

/* Whether the object is a numpy.ndarray and no subclass; then *v is filled, with dtype -1 for a type that has none. */
int is_array(uintptr_t object, lmx_view *v);

/* The same for one that may be written. */
int is_output(uintptr_t object, lmx_view *v);

/* An input that may be None: *to is v, or NULL. Returns whether it is either. */
int is_optional(uintptr_t object, lmx_view *v, const lmx_view **to);

/* Contiguous doubles, NULL for None.  Returns whether there are at least so many. */
int are_doubles(uintptr_t object, size_t least, double **to);

#endif
