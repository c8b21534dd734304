/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_LINEAR_TOPK_H
#define LMX_LINEAR_TOPK_H

#include "base/candidate.h"
#include "linear/linear.h"

/* The k largest logits of each row, without the logits. */
typedef struct lmx_topk {
    lmx_linear l;
    size_t k;
    size_t slots;        /* pieces computed before they are looked at */
    char *z;             /* slots x group pieces of logits */
    lmx_candidate *heap; /* k for each row of a group */
    char *values;        /* elements */
    ptrdiff_t values_row;
    int64_t *indices;
    ptrdiff_t indices_row;
} lmx_topk;

void lmx_topk_run(lmx_topk *c);

#endif
