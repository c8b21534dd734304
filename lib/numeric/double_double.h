/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Double-double numbers (unevaluated sums of two doubles), and scaling by powers of two.
 *
 * Everything here is scalar double arithmetic from +, -, *, / and fma, so it has the same bits in
 * whichever file and tier it is inlined.  Libm is not called except for fma(), which is exact.
 */
#ifndef LMX_DOUBLE_DOUBLE_H
#define LMX_DOUBLE_DOUBLE_H

#include <stdint.h>
#include <string.h>

#include "base/common.h"

/* The quiet NaN without sign or payload; the macro NAN may carry either. */
LMX_INLINE double lmx_qnan(void)
{
    const uint64_t u = UINT64_C(0x7ff8000000000000);
    double v;
    memcpy(&v, &u, sizeof v);
    return v;
}

LMX_INLINE int lmx_finite(double v) { return v - v == 0; }

/* The number hi + lo. */
typedef struct {
    double hi, lo;
} lmx_dd;

/* hi + lo = a + b exactly (Knuth). */
LMX_INLINE lmx_dd lmx_two_sum(double a, double b)
{
    const double s = a + b, t = s - a;
    return (lmx_dd){ s, (a - (s - t)) + (b - t) };
}

/* The same for |a| >= |b| (Dekker). */
LMX_INLINE lmx_dd lmx_fast_two_sum(double a, double b)
{
    const double s = a + b;
    return (lmx_dd){ s, b - (s - a) };
}

LMX_INLINE lmx_dd lmx_dd_add(lmx_dd a, lmx_dd b)
{
    const lmx_dd s = lmx_two_sum(a.hi, b.hi);
    return lmx_fast_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

/* x * 2^n, for n <= 1023 and a result in the normal range; 0 if n <= -1022. */
LMX_INLINE double lmx_scale2(double x, int64_t n)
{
    if (n <= -1022)
        return 0;
    const uint64_t u = (uint64_t)(n + 1023) << 52;
    double p;
    memcpy(&p, &u, sizeof p);
    return x * p;
}

/* The same, with subnormal results rounded once. */
LMX_INLINE double lmx_scale2_gradual(double x, int64_t n)
{
    return n < -1100 ? 0 : lmx_scale2(lmx_scale2(x, n / 2), n - n / 2);
}

#endif
