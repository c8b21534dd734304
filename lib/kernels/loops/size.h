/* SPDX-License-Identifier: Apache-2.0 */
/* Exponents of numbers and of rows, for functions that scale by a power of two to stay in range. */
#ifndef LMX_SIZE_H
#define LMX_SIZE_H

#include "kernels/loops/row.h"

/* floor(log2(|v|)); -1023 for 0 and subnormal numbers */
LMX_INLINE int64_t exponent_of(double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return (int64_t)(u >> 52 & 0x7ff) - 1023;
}

/* e, clamped such that 2^-e and 2^e are normal reals. */
LMX_INLINE int64_t exponent_bounded(int64_t e)
{
    const int64_t most = sizeof(real) == 4 ? 126 : 1022;
    return e > most ? most : e < -most ? -most : e;
}

/*
 * The largest element, or with by_size the largest absolute value; any value if an element is NaN.
 */
LMX_INLINE_VECTOR double row_largest(const elem *x, size_t n, int by_size)
{
    const real least = by_size ? 0 : -LMX_INF;
    vreal most = v_set1(least);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i;
        const vreal v = left >= V_LANES ? e_load(x + i) : e_load_n(x + i, left, least);
        most = v_max(most, by_size ? v_abs(v) : v);
    }
    return (double)v_hmax(most);
}

#endif
