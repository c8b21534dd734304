/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithms that the paper compares, for benchmarks and tests; the library itself does not
 * contain them.
 */
#ifndef LMX_PAPER_H
#define LMX_PAPER_H

#include <stddef.h>
#include <stdint.h>

typedef struct lmx_paper_kernel {
    /* softmax of one contiguous row, `stream` with nontemporal stores */
    void (*two_pass)(const void *x, size_t n, void *y, int stream);
    void (*three_pass_recompute)(const void *x, size_t n, void *y, int stream);
    void (*three_pass_reload)(const void *x, size_t n, void *y, int stream);
    void (*copy)(const void *x, size_t n, void *y, int stream);
    void (*exp_split)(const void *x, size_t n, void *m, int32_t *e); /* exp(x) = m 2^e */
} lmx_paper_kernel;

/* Those of the tier of this name; NULL where the build does not have it. */
const lmx_paper_kernel *lmx_paper_of(const char *isa, int is_double);

#endif
