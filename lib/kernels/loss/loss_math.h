/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scalar mathematics that finishes a loss: double-double where a rounding would show in the last
 * digits of a double result.  As chunk.h: +, -, *, /, sqrt and fma only.
 */
#ifndef LMX_LOSS_MATH_H
#define LMX_LOSS_MATH_H

#include "kernels/loss_state.h"
#include "simd/simd.h"

LMX_INLINE lmx_dd dd_of(double v) { return (lmx_dd){ v, 0 }; }
LMX_INLINE double dd_value(lmx_dd v) { return v.hi + v.lo; }
LMX_INLINE lmx_dd dd_neg(lmx_dd v) { return (lmx_dd){ -v.hi, -v.lo }; }
LMX_INLINE lmx_dd dd_sub(lmx_dd a, lmx_dd b) { return lmx_dd_add(a, dd_neg(b)); }

LMX_INLINE lmx_dd dd_mul(lmx_dd a, lmx_dd b)
{
    const double p = a.hi * b.hi;
    return lmx_fast_two_sum(p, fma(a.hi, b.hi, -p) + (a.hi * b.lo + a.lo * b.hi));
}

/* To 2^-100: the remainder of the first quotient, divided once more. */
LMX_INLINE lmx_dd dd_div(lmx_dd a, lmx_dd b)
{
    const double q = a.hi / b.hi;
    const double r = fma(-q, b.hi, a.hi) + (a.lo - q * b.lo);
    return lmx_fast_two_sum(q, r / b.hi);
}

LMX_INLINE lmx_dd dd_sqrt(lmx_dd a)
{
    if (!(a.hi > 0))
        return dd_of(a.hi == 0 ? 0 : lmx_qnan());
    const double s = sqrt(a.hi);
    return lmx_fast_two_sum(s, (fma(-s, s, a.hi) + a.lo) / (2 * s));
}

/* As precise as a loss of this type needs where nothing cancels: double for float, else the above. */
#define FLOAT_LOSS (sizeof(real) == 4)
LMX_INLINE lmx_dd w_add(lmx_dd a, lmx_dd b)
{
    return FLOAT_LOSS ? dd_of(a.hi + b.hi) : lmx_dd_add(a, b);
}
LMX_INLINE lmx_dd w_sub(lmx_dd a, lmx_dd b) { return w_add(a, dd_neg(b)); }
LMX_INLINE lmx_dd w_mul(lmx_dd a, lmx_dd b)
{
    return FLOAT_LOSS ? dd_of(a.hi * b.hi) : dd_mul(a, b);
}
LMX_INLINE lmx_dd w_div(lmx_dd a, lmx_dd b)
{
    return FLOAT_LOSS ? dd_of(a.hi / b.hi) : dd_div(a, b);
}
LMX_INLINE lmx_dd w_sqrt(lmx_dd a) { return FLOAT_LOSS ? dd_of(sqrt(a.hi)) : dd_sqrt(a); }

/* exp(x), 0 and inf where it leaves the range of double. */
LMX_INLINE double exp_of(lmx_dd x)
{
    if (!(x.hi < 710))
        return x.hi > 0 ? (double)INFINITY : x.hi;
    if (x.hi < -760)
        return 0;
    const lmx_exp2part e = lmx_exp_split(x.hi, x.lo);
    const double m = e.m + e.m_lo;
    return e.n > 1000 ? lmx_scale2(m, e.n - 100) * 0x1p+100 : lmx_scale2_gradual(m, e.n);
}

/*
 * expm1(x) within 1 ulp.  For |x| <= ln2/2 from the terms of exp behind the 1, x^2/2 kept in two
 * parts; beyond, nothing of 2^n m - 1 cancels below a quarter of it.
 */
LMX_INLINE double expm1_of(lmx_dd x)
{
    if (x.hi > -0.34 && x.hi < 0.34) {
        const double t = x.hi;
        double c = LMX_EXP_C12;
        c = fma(c, t, LMX_EXP_C11);
        c = fma(c, t, LMX_EXP_C10);
        c = fma(c, t, LMX_EXP_C9);
        c = fma(c, t, LMX_EXP_C8);
        c = fma(c, t, LMX_EXP_C7);
        c = fma(c, t, LMX_EXP_C6);
        c = fma(c, t, LMX_EXP_C5);
        c = fma(c, t, LMX_EXP_C4);
        c = fma(c, t, LMX_EXP_C3);
        const double h = 0.5 * t * t, h_lo = fma(0.5 * t, t, -h);
        const lmx_dd u = lmx_fast_two_sum(t, h);
        return u.hi + (u.lo + (h_lo + fma(2 * h * t, c, fma(x.lo, t, x.lo))));
    }
    if (x.hi < -40)
        return x.hi == x.hi ? -1 : x.hi;
    if (!(x.hi < 700))
        return exp_of(x);
    const lmx_exp2part e = lmx_exp_split(x.hi, x.lo);
    const lmx_dd m = { lmx_scale2(e.m, e.n), lmx_scale2(e.m_lo, e.n) };
    const lmx_dd s = lmx_two_sum(m.hi, -1);
    return s.hi + (s.lo + m.lo);
}

/* log(1 + v), v >= 0, relative error below 1 ulp; +inf for +inf. */
LMX_INLINE lmx_dd log1p_of(lmx_dd v)
{
    if (!lmx_finite(v.hi))
        return dd_of(v.hi);
    lmx_dd l = lmx_log1p(v.hi);
    l.lo += v.lo / (1 + v.hi);
    return l;
}

/* log(1 + a / b) for b > 0, whatever their exponents */
LMX_INLINE lmx_dd log1p_ratio(lmx_sum a, lmx_sum b)
{
    if (a.hi == 0)
        return dd_of(0);
    const lmx_dd q = dd_div((lmx_dd){ a.hi, a.lo }, (lmx_dd){ b.hi, b.lo });
    const int64_t n = a.n - b.n;
    if (n > 100) /* the 1 is nothing */
        return lmx_log_dd(q.hi, q.lo, n);
    return log1p_of((lmx_dd){ lmx_scale2_gradual(q.hi, n), lmx_scale2_gradual(q.lo, n) });
}

/* log(1 + exp(u)) */
LMX_INLINE lmx_dd softplus_of(lmx_dd u)
{
    if (!lmx_finite(u.hi))
        return dd_of(u.hi == -INFINITY ? 0 : u.hi);
    if (u.hi > 0)
        return lmx_dd_add(u, lmx_log1p(exp_of(dd_neg(u))));
    return lmx_log1p(exp_of(u));
}

/* 1 / (1 + exp(-u)) */
LMX_INLINE double sigmoid_of(lmx_dd u)
{
    if (u.hi >= 0)
        return 1 / (1 + exp_of(dd_neg(u)));
    const double e = exp_of(u);
    return e / (1 + e);
}

/* The sums of all chunks, `sum` and `rest`: of d and d^2 where moments were measured. */
typedef struct {
    lmx_dd s, q;
} moments;

LMX_INLINE moments all_moments(const lmx_chunk *chunks, size_t n)
{
    moments m = { { 0, 0 }, { 0, 0 } };
    for (size_t i = 0; i < n; i++) {
        m.s = lmx_dd_add(m.s, (lmx_dd){ chunks[i].sum.hi, chunks[i].sum.lo });
        m.q = lmx_dd_add(m.q, (lmx_dd){ chunks[i].rest.hi, chunks[i].rest.lo });
    }
    return m;
}

#endif
