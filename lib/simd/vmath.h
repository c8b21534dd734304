/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp as (mantissa, integer exponent), from the operations of simd.h: one sequence of roundings for
 * every tier.
 *
 * A term is a = m * 2^(n - n0 + B), where exp(x) = m * 2^n, relative to an integer reference
 * exponent n0 (docs/algorithms.md, "One representation").  The bias B leaves room below: a stays a
 * normal number, hence exact in the exponent, wherever a row's result is not 0; and above: a wrong
 * guess of n0 shows in the sum before anything overflows.
 */
#ifndef LMX_VMATH_H
#define LMX_VMATH_H

#include "numeric/exp_log.h"
#include "simd/simd.h"

#if defined(LMX_REAL_F64)
#define V_BIAS      512
#define V_MANT_BITS 52
#else
#define V_BIAS      64
#define V_MANT_BITS 23
#endif

/*
 * Beyond this |x| the reduction by two terms of ln2 loses bits, and the shifted path (SUM_SHIFT)
 * takes over.
 */
#define V_EXP_MAX 0x1p+18

/*
 * A sum of 2^(B + V_ROOM) or more means that n0 was too small; x is clamped above that, so that
 * none goes unnoticed.
 */
#define V_ROOM (sizeof(real) == 4 ? 49 : 399)

/* The constants of terms relative to one n0. */
typedef struct {
    vreal lo, hi; /* bounds that x is clamped to */
#if defined(LMX_REAL_F64)
    vint bias; /* B - n0 in the exponent field */
#else
    vtable8 table; /* exp_table8, with the bias added */
    vtable8 tail;  /* exp_tail8 */
#endif
} v_ref;

/* B - n0 in the exponent field; it wraps, as the additions that use it do. */
LMX_INLINE ibits exp_bias(int64_t n0)
{
    return (ibits)((uint64_t)(V_BIAS - n0) << V_MANT_BITS);
}

/*
 * Smaller terms, also that of -inf, are clamped to 2^-124 (double: 2^-1018).  Relative to the row's
 * largest term that is below 2^-187 (2^-1529), so it changes neither a sum nor a rounded result.
 */
LMX_INLINE real exp_lo(int64_t n0)
{
    return (real)((double)(n0 - V_BIAS - (sizeof(real) == 4 ? 124 : 1018)) * LMX_LN2_1);
}

LMX_INLINE real exp_hi(int64_t n0)
{
    return (real)((double)(n0 + V_ROOM + 1) * LMX_LN2_1);
}

/* One step of the reduction, ln2 or ln2/8, is EXP_L1 + EXP_L2 + EXP_L3 to 160 or 72 bits. */
#if defined(LMX_REAL_F64)
#define EXP_MAGIC 0x1.8p+52
#define EXP_STEPS LMX_LOG2E /* 1 / step */
#define EXP_L1    LMX_LN2_1
#define EXP_L2    LMX_LN2_2
#define EXP_L3    LMX_LN2_3
#else
#define EXP_MAGIC 0x1.8p+23f
#define EXP_STEPS 0x1.715476p+3f
#define EXP_L1    0x1.62e430p-4f
#define EXP_L2    -0x1.05c610p-32f
#define EXP_L3    -0x1.950d88p-57f
#endif

/*
 * t = x - n steps, |t| <= step/2, for |x| <= 2^18.  Adding the magic constant rounds x / step to n;
 * two FMAs follow, of which the first is exact.  The low bits of k are n.
 */
typedef struct {
    vreal k, n, t1, t;
} v_reduced;

LMX_INLINE v_reduced v_reduce(vreal x)
{
    const vreal magic = v_set1(EXP_MAGIC);
    v_reduced r;
    r.k = v_fma(x, v_set1(EXP_STEPS), magic);
    r.n = v_sub(r.k, magic);
    r.t1 = v_fma(r.n, v_set1(-(EXP_L1)), x);
    r.t = v_fma(r.n, v_set1(-(EXP_L2)), r.t1);
    return r;
}

/* The rounding error of t: x - n steps - t. */
LMX_INLINE vreal v_reduced_error(v_reduced r)
{
    const vreal m = v_set1(-(EXP_L2)), b = v_mul(r.n, m);
    const vreal b_lo = v_fma(r.n, m, v_sub(v_set1(0), b));
    /* t1 + b - t by TwoSum, plus b_lo, which the FMA for t took into account */
    const vreal s = v_add(r.t1, b), v = v_sub(s, r.t1);
    const vreal e = v_add(v_sub(r.t1, v_sub(s, v)), v_sub(b, v));
    return v_fma(r.n, v_set1(-(EXP_L3)), v_add(v_add(v_sub(s, r.t), e), b_lo));
}

#if defined(LMX_REAL_F64)

LMX_INLINE v_ref v_ref_at(int64_t n0)
{
    return (v_ref){ v_set1(exp_lo(n0)), v_set1(exp_hi(n0)), vi_set1(exp_bias(n0)) };
}

/* exp(t) = 1 + t + t^2 (1/2 + t c): c, of degree 9 (exp_log.h). */
LMX_INLINE vreal v_exp_c(vreal t)
{
    vreal p = v_set1(LMX_EXP_C12);
    p = v_fma(p, t, v_set1(LMX_EXP_C11));
    p = v_fma(p, t, v_set1(LMX_EXP_C10));
    p = v_fma(p, t, v_set1(LMX_EXP_C9));
    p = v_fma(p, t, v_set1(LMX_EXP_C8));
    p = v_fma(p, t, v_set1(LMX_EXP_C7));
    p = v_fma(p, t, v_set1(LMX_EXP_C6));
    p = v_fma(p, t, v_set1(LMX_EXP_C5));
    p = v_fma(p, t, v_set1(LMX_EXP_C4));
    return v_fma(p, t, v_set1(LMX_EXP_C3));
}

/* exp(x) = (1 + p) 2^n for |x| <= 2^18: p, and the integer whose low bits are n. */
LMX_INLINE_VECTOR vreal v_exp_p(vreal x, vint *n)
{
    const v_reduced r = v_reduce(x);
    const vreal c = v_fma(v_exp_c(r.t), r.t, v_set1(LMX_EXP_C2));
    *n = v_bits(r.k);
    return v_fma(v_mul(r.t, r.t), c, r.t);
}

/* 2^n with the bias, from the bits of 1; the term is T + T p, so that NaN survives in p. */
LMX_INLINE vreal v_exp_power(vint n, vint bias)
{
    return v_from_bits(vi_add(vi_add(vi_shl(n, 52), v_bits(v_set1(1))), bias));
}
LMX_INLINE vreal v_exp_scale(vreal p, vint n, vint bias)
{
    const vreal T = v_exp_power(n, bias);
    return v_fma(T, p, T);
}

LMX_INLINE_VECTOR vreal v_term(vreal x, const v_ref *r)
{
    vint n;
    const vreal p = v_exp_p(v_min(r->hi, v_max(r->lo, x)), &n);
    return v_exp_scale(p, n, r->bias);
}

/* The same with the bias of each lane in the bits of a real (column kernels). */
LMX_INLINE_VECTOR vreal v_term_at(vreal x, vreal lo, vreal hi, vreal bias)
{
    vint n;
    const vreal p = v_exp_p(v_min(hi, v_max(lo, x)), &n);
    return v_exp_scale(p, n, v_bits(bias));
}

/*
 * exp(x) - v_term_at(x), to 2^-56 of exp(x): 1 + p = 1 + t + t^2/2 + t^3 c is evaluated again with
 * the low parts of t and t^2.  The differences t - p, its sum with t^2/2, and T - a are exact
 * (Sterbenz).
 */
LMX_INLINE_VECTOR vreal v_term_error_at(vreal x, vreal lo, vreal hi, vreal bias)
{
    x = v_min(hi, v_max(lo, x));
    vint n;
    const vreal p = v_exp_p(x, &n);
    const vreal T = v_exp_power(n, v_bits(bias)), a = v_fma(T, p, T);
    const v_reduced r = v_reduce(x);
    const vreal t_lo = v_reduced_error(r);
    const vreal h = v_mul(r.t, r.t), half = v_set1(0.5);
    const vreal h_lo = v_fma(r.t, r.t, v_sub(v_set1(0), h));
    vreal d = v_fma(half, h, v_sub(r.t, p));
    d = v_add(d, v_mul(v_mul(r.t, h), v_exp_c(r.t)));
    d = v_add(d, v_fma(half, h_lo, v_fma(t_lo, p, t_lo)));
    return v_add(v_fma(T, p, v_sub(T, a)), v_mul(T, d));
}

#else

/*
 * T = 2^(i/8) rounded to float, as bits minus i << 20: adding k << 20 for k = 8 n + i gives the
 * bits of 2^(i/8 + n) in one addition.  The relative rounding error (2^(i/8) - T) / T is in
 * exp_tail8 (tools/coeffs/exp_f32.py): adding it costs one lookup, saves half an ulp, and makes the
 * exponential monotonic over all floats with 2^-25 <= |x| <= 2^18 (tests/c/kernels/test_exp.c).
 */
static const int32_t exp_table8[8] = {
    0x3f800000,
    0x3f8b95c2 - (1 << 20),
    0x3f9837f0 - (2 << 20),
    0x3fa5fed7 - (3 << 20),
    0x3fb504f3 - (4 << 20),
    0x3fc5672a - (5 << 20),
    0x3fd744fd - (6 << 20),
    0x3feac0c7 - (7 << 20),
};

static const real exp_tail8[8] = {
    0x0p+0f,        -0x1.9c0c22p-27f, 0x1.125002p-25f,  -0x1.0a3550p-25f,
    0x1.26055cp-26f, 0x1.67a1cap-28f, -0x1.f9c304p-27f, -0x1.a5217cp-28f,
};

LMX_INLINE vtable8 exp_tails(void)
{
    int32_t bits[8];
    memcpy(bits, exp_tail8, sizeof bits);
    return v_table8_load(bits);
}

LMX_INLINE v_ref v_ref_at(int64_t n0)
{
    return (v_ref){ v_set1(exp_lo(n0)), v_set1(exp_hi(n0)),
                    v_table8_add(v_table8_load(exp_table8), vi_set1(exp_bias(n0))), exp_tails() };
}

/*
 * In steps of ln2/8: exp(t) = 1 + q with q = t w + tail, w = 1 + t (c2 + c3 t).  The result is T q
 * + T with T = 2^(k/8) built in integers.  Max error 1.462 ulp, at x = -0x1.f3526ap+17.
 */
LMX_INLINE vreal v_exp_w(vreal t)
{
    const vreal u = v_fma(t, v_set1(0x1.555656p-3f), v_set1(0x1.000874p-1f));
    return v_fma(t, u, v_set1(1));
}
LMX_INLINE_VECTOR vreal v_exp_q(vreal x, vtable8 tail, vint *k)
{
    const v_reduced r = v_reduce(x);
    *k = v_bits(r.k);
    return v_fma(r.t, v_exp_w(r.t), v_from_bits(v_table8(tail, *k)));
}

LMX_INLINE_VECTOR vreal v_term(vreal x, const v_ref *r)
{
    vint k;
    const vreal q = v_exp_q(v_min(r->hi, v_max(r->lo, x)), r->tail, &k);
    const vreal T = v_from_bits(vi_add(v_table8(r->table, k), vi_shl(k, 20)));
    return v_fma(T, q, T);
}

/* 2^(k/8) with the bias */
LMX_INLINE vreal v_exp_power(vint k, vreal bias)
{
    const vint b = vi_add(v_table8(v_table8_load(exp_table8), k), vi_shl(k, 20));
    return v_from_bits(vi_add(b, v_bits(bias)));
}

LMX_INLINE_VECTOR vreal v_term_at(vreal x, vreal lo, vreal hi, vreal bias)
{
    vint k;
    const vreal q = v_exp_q(v_min(hi, v_max(lo, x)), exp_tails(), &k);
    const vreal T = v_exp_power(k, bias);
    return v_fma(T, q, T);
}

/*
 * exp(x) - v_term_at(x), to 2^-29 of exp(x): the errors of q against expm1(t), of the tail, and of
 * the tail's product with expm1(t), which q leaves out.  The difference T - a is exact (Sterbenz).
 */
LMX_INLINE_VECTOR vreal v_term_error_at(vreal x, vreal lo, vreal hi, vreal bias)
{
    x = v_min(hi, v_max(lo, x));
    vint k;
    const vreal q = v_exp_q(x, exp_tails(), &k);
    const vreal T = v_exp_power(k, bias), a = v_fma(T, q, T);
    const v_reduced r = v_reduce(x);
    const vreal t_lo = v_reduced_error(r);
    const vreal tail = v_from_bits(v_table8(exp_tails(), k)), w = v_exp_w(r.t), one = v_set1(1);
    vreal u = v_fma(r.t, v_set1(0x1.111112p-7f), v_set1(0x1.555556p-5f)); /* 1/5!, 1/4! */
    u = v_fma(u, r.t, v_set1(0x1.555556p-3f));
    u = v_fma(u, r.t, v_set1(0x1p-1f));
    vreal d = v_add(v_fma(r.t, w, v_sub(v_set1(0), q)), tail);
    d = v_fma(r.t, v_fma(r.t, u, v_sub(one, w)), d);
    d = v_add(d, v_fma(tail, q, v_fma(t_lo, q, t_lo)));
    return v_add(v_fma(T, q, v_sub(T, a)), v_mul(T, d));
}

#endif

/*
 * exp(x) over the whole range, with at most one rounding more than a term: gradual underflow,
 * overflow to inf.
 */
LMX_INLINE vreal v_exp(vreal x)
{
    /* Two references 2 B apart keep the term normal on either side of 0. */
    const vmask up = v_gt(x, v_set1(0));
    const real span = sizeof(real) == 4 ? 110 : 760; /* beyond, the result is inf or 0 anyway */
    const ibits bias = (ibits)((uint64_t)V_BIAS << V_MANT_BITS);
    const vreal above = v_from_bits(vi_set1((ibits)(0 - (uint64_t)bias)));
    const vreal below = v_from_bits(vi_set1(bias));
    const real down = sizeof(real) == 4 ? (real)0x1p-64 : (real)0x1p-512;
    const real raise = sizeof(real) == 4 ? (real)0x1p+64 : (real)0x1p+512;
    const vreal a = v_term_at(x, v_set1(-span), v_set1(span), v_select(up, above, below));
    return v_mul(a, v_select(up, v_set1(raise), v_set1(down)));
}

/*
 * log(v 2^k) for positive normal v and integer |k| <= 2^20, within 1 ulp.  v = m 2^n with m in
 * [sqrt(1/2), sqrt(2)), f = m - 1 exactly, and log(1 + f) = f - (f^2/2 - s (f^2/2 + z P(z))), s = f
 * / (2 + f), z = s^2 <= 0.0295, by the series of atanh: P = 2/3 + 2/5 z + ... , which is cut where
 * it is below 2^-29 (2^-59) of the result.  (n + k) ln2 is added in two parts, each by an FMA.
 */
#if defined(LMX_REAL_F64)
#define LOG_SQRT   INT64_C(0x3fe6a09e667f3bcd)
#define LOG_LIFT   1024
#define LOG_MAGIC  0x1p+52
#define LOG_TERMS  10
#define LOG_LN2    LMX_LN2_1
#define LOG_LN2_LO LMX_LN2_2
#else
#define LOG_SQRT   0x3f3504f3
#define LOG_LIFT   128
#define LOG_MAGIC  0x1p+23f
#define LOG_TERMS  4
#define LOG_LN2    0x1.62e430p-1f
#define LOG_LN2_LO -0x1.05c610p-29f
#endif
LMX_INLINE_VECTOR vreal v_log(vreal v, vreal k)
{
    /*
     * The field of n, lifted so that it is not negative, above the mantissa relative to sqrt(1/2).
     */
    const ibits lift = (ibits)LOG_LIFT << V_MANT_BITS;
    const vint u = vi_add(v_bits(v), vi_set1(lift - LOG_SQRT));
    const vreal lifted = v_from_bits(vi_add(vi_shr(u, V_MANT_BITS), v_bits(v_set1(LOG_MAGIC))));
    const vreal n = v_add(v_sub(lifted, v_set1(LOG_MAGIC + LOG_LIFT)), k);
    enum { FIELD = sizeof(real) * 8 - V_MANT_BITS };
    const vint mantissa = vi_shr(vi_shl(u, FIELD), FIELD);
    const vreal f = v_sub(v_from_bits(vi_add(mantissa, vi_set1(LOG_SQRT))), v_set1(1));
    const vreal s = v_div(f, v_add(f, v_set1(2))), z = v_mul(s, s);
    vreal p = v_set1((real)2 / (2 * LOG_TERMS + 1));
    for (int i = LOG_TERMS - 1; i >= 1; i--)
        p = v_fma(p, z, v_set1((real)2 / (real)(2 * i + 1)));
    const vreal h = v_mul(v_mul(v_set1((real)0.5), f), f);
    const vreal tail = v_sub(v_mul(s, v_fma(p, z, h)), h);
    return v_fma(n, v_set1(LOG_LN2), v_add(f, v_fma(n, v_set1(LOG_LN2_LO), tail)));
}

LMX_INLINE vreal v_abs(vreal x) { return v_max(x, v_sub(v_set1(0), x)); }

#endif
