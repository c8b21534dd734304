/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on vectors of doubles outside the kernels.  Products and sums are not fused, and their
 * order is written down here, so that every compiler gives the same bits and may still vectorize
 * the loops.
 */
#ifndef LMX_VECTORS_H
#define LMX_VECTORS_H

#include <stddef.h>

#include "base/common.h"

/* sum a[i] b[i], in eight partial sums that are added in a tree */
LMX_INLINE double lmx_dot(const double *a, const double *b, size_t n)
{
    double s[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            s[k] += a[i + k] * b[i + k];
    for (size_t k = 0; i < n; i++, k++)
        s[k] += a[i] * b[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* y += f x */
LMX_INLINE void lmx_axpy(double f, const double *LMX_RESTRICT x, size_t n, double *LMX_RESTRICT y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += f * x[i];
}

/* x *= f */
LMX_INLINE void lmx_scale(double f, size_t n, double *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= f;
}

#endif
