/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums whose exponent is an integer of 64 bits, so that they neither overflow nor underflow.
 *
 * Everything here is scalar double arithmetic from +, -, *, / and fma, so it has the same bits in
 * whichever file and tier it is inlined.  Libm is not called except for fma(), which is exact.
 */
#ifndef LMX_WIDE_SUM_H
#define LMX_WIDE_SUM_H

#include "numeric/exp_log.h"

/*
 * (hi + lo) * 2^n * e^base.  hi is 0 (nothing), in [0.5, 1), +inf or NaN; base is 0 unless
 * |base| > 2^52.
 */
typedef struct {
    double hi, lo;
    int64_t n;
    double base;
} lmx_sum;

#define LMX_BASE_MIN 0x1p+52

/* (hi + lo) * 2^n * e^base, normalised. */
LMX_INLINE lmx_sum lmx_sum_of(double hi, double lo, int64_t n, double base)
{
    if (hi == 0)
        return (lmx_sum){ 0, 0, 0, 0 };
    if (!lmx_finite(hi))
        return (lmx_sum){ hi > 0 ? hi : lmx_qnan(), 0, 0, 0 };
    const lmx_dd s = lmx_fast_two_sum(hi, lo);
    uint64_t u;
    memcpy(&u, &s.hi, sizeof u);
    const int64_t k = (int64_t)(u >> 52) - 1022;
    return (lmx_sum){ lmx_scale2(s.hi, -k), lmx_scale2(s.lo, -k), n + k, base };
}

/* (hi + lo) 2^n e^r, exact in the exponent for any finite r. */
LMX_INLINE lmx_sum lmx_sum_shift(double hi, double lo, int64_t n, double r)
{
    if (r > LMX_BASE_MIN || r < -LMX_BASE_MIN)
        return lmx_sum_of(hi, lo, n, r);
    const lmx_exp2part e = lmx_exp_split(r, 0);
    const double p = hi * e.m;
    const double q = fma(hi, e.m, -p) + (hi * e.m_lo + lo * e.m);
    return lmx_sum_of(p, q, n + e.n, 0);
}

/* a + b, to about 106 bits. */
LMX_INLINE lmx_sum lmx_sum_add(lmx_sum a, lmx_sum b)
{
    if (b.hi == 0)
        return a;
    if (a.hi == 0)
        return b;
    if (!lmx_finite(a.hi) || !lmx_finite(b.hi))
        return lmx_sum_of(a.hi + b.hi, 0, 0, 0);
    if (a.base != b.base) {
        if (a.base < b.base) {
            const lmx_sum t = a;
            a = b;
            b = t;
        }
        const double d = b.base - a.base;
        if (!(d > -0x1p+53))
            return a; /* b is negligible, for |n ln2| <= 2^52 where base is 0 */
        b = lmx_sum_shift(b.hi, b.lo, b.n, d < -LMX_BASE_MIN ? -LMX_BASE_MIN : d);
        b.base = a.base;
    }
    if (a.n < b.n) {
        const lmx_sum t = a;
        a = b;
        b = t;
    }
    /* An addend below 2^-200 of the other has no bit in the sum's 106. */
    const int64_t d = b.n - a.n < -200 ? -1022 : b.n - a.n;
    const lmx_dd s = lmx_two_sum(a.hi, lmx_scale2(b.hi, d));
    return lmx_sum_of(s.hi, s.lo + (a.lo + lmx_scale2(b.lo, d)), a.n, a.base);
}

/* Whether a < b by their leading parts, for sums whose base is 0. */
LMX_INLINE int lmx_sum_less(lmx_sum a, lmx_sum b)
{
    if (a.hi == 0 || b.hi == 0 || a.n == b.n)
        return a.hi < b.hi;
    return a.n < b.n;
}

/* log of a sum; -inf, +inf and NaN in hi. */
LMX_INLINE lmx_dd lmx_sum_log(lmx_sum s)
{
    if (s.hi == 0)
        return (lmx_dd){ -INFINITY, 0 };
    if (!lmx_finite(s.hi))
        return (lmx_dd){ s.hi, 0 };
    const lmx_dd l = lmx_log_dd(s.hi, s.lo, s.n);
    const lmx_dd t = lmx_two_sum(s.base, l.hi);
    return lmx_fast_two_sum(t.hi, t.lo + l.lo);
}

/* exp(log(s) - m), s <= about e^m */
LMX_INLINE double lmx_sum_relative(lmx_sum s, double m)
{
    if (s.hi == 0)
        return 0;
    if (s.base == 0 && m <= LMX_BASE_MIN && m >= -LMX_BASE_MIN) {
        const lmx_exp2part e = lmx_exp_split(m, 0);
        const double q = s.hi / e.m;
        const double r = (fma(-q, e.m, s.hi) + (s.lo - q * e.m_lo)) / e.m;
        return lmx_scale2_gradual(q + r, s.n - e.n);
    }
    const lmx_dd l = lmx_sum_log(s), d = lmx_two_sum(l.hi - m, l.lo);
    return lmx_exp_neg(d.hi, d.lo);
}

#endif
