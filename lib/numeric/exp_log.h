/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp and log of one number; as a double-double where a caller needs more than a double.
 *
 * Everything here is scalar double arithmetic from +, -, *, / and fma, so it has the same bits in
 * whichever file and tier it is inlined.  Libm is not called except for fma(), which is exact.
 */
#ifndef LMX_EXP_LOG_H
#define LMX_EXP_LOG_H

#include <math.h>

#include "numeric/double_double.h"

/* ln 2 = LN2_1 + LN2_2 + LN2_3 to 160 bits. */
#define LMX_LOG2E 0x1.71547652b82fep+0
#define LMX_LN2_1 0x1.62e42fefa39efp-1
#define LMX_LN2_2 0x1.abc9e3b39803fp-56
#define LMX_LN2_3 0x1.7b57a079a1934p-111

/*
 * exp(t) = 1 + t + C2 t^2 + ... + C12 t^12 on |t| <= ln2/2, relative error below 2^-58:
 * tools/coeffs/exp_f64.py.  The vector exponential of double uses the same numbers.
 */
#define LMX_EXP_C2  0x1p-1
#define LMX_EXP_C3  0x1.5555555555556p-3
#define LMX_EXP_C4  0x1.5555555555555p-5
#define LMX_EXP_C5  0x1.11111111109b5p-7
#define LMX_EXP_C6  0x1.6c16c16c167e2p-10
#define LMX_EXP_C7  0x1.a01a01a7c2f2cp-13
#define LMX_EXP_C8  0x1.a01a01a47a5abp-16
#define LMX_EXP_C9  0x1.71de0db2eb873p-19
#define LMX_EXP_C10 0x1.27e4e1f71bcbbp-22
#define LMX_EXP_C11 0x1.af389eea54156p-26
#define LMX_EXP_C12 0x1.1f66d957d0ef0p-29

/* exp(x + lo) = (m + m_lo) * 2^n, m in [0.7, 1.42] and nearest to m + m_lo; |x| <= 2^53, |lo|
 * small.  Softmax of huge logits stays at most 1 because m is nearest (kernels/row/softmax.c). */
typedef struct {
    double m, m_lo;
    int64_t n;
} lmx_exp2part;

/* x - n ln2 to about 2^-106 relative to max(x, 1), for n within 1 of x / ln2. */
LMX_INLINE lmx_dd lmx_exp_reduce(double x, double n)
{
    /* n * LN2_1 = p + e exactly, and x - p is exact, for p is within a factor 2 of x or 0. */
    const double p = n * LMX_LN2_1, e = fma(n, LMX_LN2_1, -p);
    const lmx_dd a = lmx_two_sum(x - p, -e);
    const double q = n * LMX_LN2_2, f = fma(n, LMX_LN2_2, -q);
    const lmx_dd b = lmx_two_sum(a.hi, -q);
    return lmx_fast_two_sum(b.hi, b.lo + (a.lo - f - n * LMX_LN2_3));
}

LMX_INLINE double lmx_round(double x) /* |x| <= 2^51 */ { return (x + 0x1.8p+52) - 0x1.8p+52; }

LMX_INLINE lmx_exp2part lmx_exp_split(double x, double lo)
{
    /*
     * Clamped, because converting a double that int64_t cannot hold is undefined; callers drop such
     * terms.
     */
    x = x > -0x1p+53 ? x : -0x1p+53;
    x = x < 0x1p+53 ? x : 0x1p+53;
    double n = x * LMX_LOG2E;
    n = n < 0x1p+51 && n > -0x1p+51 ? lmx_round(n) : (double)(int64_t)n;
    lmx_dd t = lmx_exp_reduce(x, n);
    t.lo += lo;
    if (t.hi > 0.4 || t.hi < -0.4) { /* x so large that x * log2e was off by an integer */
        const double k = lmx_round(t.hi * LMX_LOG2E);
        lo = t.lo;
        t = lmx_exp_reduce(t.hi, k);
        t.lo += lo;
        n += k;
    }
    double c = LMX_EXP_C12;
    c = fma(c, t.hi, LMX_EXP_C11);
    c = fma(c, t.hi, LMX_EXP_C10);
    c = fma(c, t.hi, LMX_EXP_C9);
    c = fma(c, t.hi, LMX_EXP_C8);
    c = fma(c, t.hi, LMX_EXP_C7);
    c = fma(c, t.hi, LMX_EXP_C6);
    c = fma(c, t.hi, LMX_EXP_C5);
    c = fma(c, t.hi, LMX_EXP_C4);
    c = fma(c, t.hi, LMX_EXP_C3);
    /* t^2 / 2 is kept in two parts, so that only t^3 c, below 0.008, is rounded. */
    const double h = 0.5 * t.hi * t.hi, h_lo = fma(0.5 * t.hi, t.hi, -h);
    const lmx_dd u = lmx_two_sum(t.hi, h);
    const lmx_dd m = lmx_two_sum(1, u.hi);
    const double r = u.lo + (h_lo + fma(2 * h * t.hi, c, fma(t.lo, u.hi, t.lo)));
    const lmx_dd e = lmx_fast_two_sum(m.hi, m.lo + r);
    return (lmx_exp2part){ e.hi, e.lo, (int64_t)n };
}

/* exp(x + lo) rounded nearly to nearest for x <= 0; 0 below 2^-1022. */
LMX_INLINE double lmx_exp_neg(double x, double lo)
{
    if (!(x > -800))
        return 0;
    const lmx_exp2part e = lmx_exp_split(x, lo);
    return lmx_scale2(e.m + e.m_lo, e.n);
}

/*
 * log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)], given as the correction to f, to 2^-58 absolute.
 * With s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + R)), where
 * R = 2 s^2 (s^2/3 + s^4/5 + ...) / s ... summed to s^22: the first term left out is below 2^-59.
 * f^2/2 <= 0.09 is kept in two parts, so that only s (f^2/2 + R) <= 0.015 is rounded.
 */
LMX_INLINE lmx_dd lmx_log1p_tail(double f)
{
    const double s = f / (2 + f), z = s * s;
    /* Estrin's scheme has half the latency of Horner's. */
    const double z2 = z * z, z4 = z2 * z2;
    const double r0 = fma(2.0 / 5, z, 2.0 / 3), r1 = fma(2.0 / 9, z, 2.0 / 7);
    const double r2 = fma(2.0 / 13, z, 2.0 / 11), r3 = fma(2.0 / 17, z, 2.0 / 15);
    const double r4 = fma(2.0 / 21, z, 2.0 / 19), r5 = 2.0 / 23;
    const double s0 = fma(r1, z2, r0), s1 = fma(r3, z2, r2), s2 = fma(r5, z2, r4);
    const double r = fma(fma(s2, z4, s1), z4, s0);
    const double h = 0.5 * f * f;
    return lmx_fast_two_sum(-h, fma(s, fma(r, z, h), -fma(0.5 * f, f, -h)));
}

/* m * 2^n = v for a positive normal v, m in [sqrt(1/2), sqrt(2)). */
LMX_INLINE double lmx_split_sqrt(double v, int64_t *n)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    /* 0x3fe6a09e667f3bcd is sqrt(1/2): take the power of two that leaves at least that. */
    const int64_t k = (int64_t)(u - UINT64_C(0x3fe6a09e667f3bcd)) >> 52;
    u -= (uint64_t)k << 52;
    memcpy(&v, &u, sizeof v);
    *n = k;
    return v;
}

/* log((hi + lo) * 2^n) for positive normal hi, to about 2^-57 absolute, as hi + lo. */
LMX_INLINE lmx_dd lmx_log_dd(double hi, double lo, int64_t n)
{
    int64_t k;
    const double m = lmx_split_sqrt(hi, &k), f = m - 1;
    const double c = lmx_scale2(lo, -k) / m;
    const double kn = (double)(k + n);
    const double p = kn * LMX_LN2_1, e = fma(kn, LMX_LN2_1, -p);
    const lmx_dd s = lmx_two_sum(p, f), t = lmx_log1p_tail(f), u = lmx_two_sum(s.hi, t.hi);
    return lmx_fast_two_sum(u.hi, u.lo + (s.lo + t.lo + (c + fma(kn, LMX_LN2_2, e))));
}

/* log(1 + v) for v >= 0, relative error below 1 ulp; underflows gradually as v does. */
LMX_INLINE lmx_dd lmx_log1p(double v)
{
    if (v < 0.41) {
        const lmx_dd t = lmx_log1p_tail(v), u = lmx_fast_two_sum(v, t.hi);
        return lmx_fast_two_sum(u.hi, u.lo + t.lo);
    }
    const lmx_dd w = lmx_two_sum(1, v);
    return lmx_log_dd(w.hi, w.lo, 0);
}

#endif
