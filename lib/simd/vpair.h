/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in two parts, hi + lo with lo a few ulp of hi, and the functions that activations are
 * made of.  In float these are accurate to a few hundredths of an ulp, so that the error of an
 * activation is that of its final rounding.  In double their error is that of the polynomials,
 * below one ulp.
 */
#ifndef LMX_VPAIR_H
#define LMX_VPAIR_H

#include "simd/vmath.h"

typedef struct {
    vreal hi, lo;
} vpair;

/* the largest finite real */
#define LMX_MOST ((real)(sizeof(real) == 4 ? 0x1.fffffep+127 : 0x1.fffffffffffffp+1023))

/* x clamped to [-most, most]; NaN stays NaN */
LMX_INLINE vreal v_clamp(vreal x, real most)
{
    return v_min(v_set1(most), v_max(v_set1(-most), x));
}

LMX_INLINE vreal v_neg(vreal a) { return v_sub(v_set1(0), a); }
LMX_INLINE vpair p_of(vreal a) { return (vpair){ a, v_set1(0) }; }
LMX_INLINE vpair p_neg(vpair a) { return (vpair){ v_neg(a.hi), v_neg(a.lo) }; }
LMX_INLINE vreal p_value(vpair a) { return v_add(a.hi, a.lo); }
LMX_INLINE vpair p_select(vmask m, vpair a, vpair b)
{
    return (vpair){ v_select(m, a.hi, b.hi), v_select(m, a.lo, b.lo) };
}

/* a + b for |a| >= |b|, exactly (Dekker) */
LMX_INLINE vpair p_fast_sum(vreal a, vreal b)
{
    const vreal s = v_add(a, b);
    return (vpair){ s, v_sub(b, v_sub(s, a)) };
}

/* a + b, exactly (Knuth) */
LMX_INLINE vpair p_two_sum(vreal a, vreal b)
{
    const vreal s = v_add(a, b), t = v_sub(s, a);
    return (vpair){ s, v_add(v_sub(a, v_sub(s, t)), v_sub(b, t)) };
}

/* a * b, exactly unless it underflows */
LMX_INLINE vpair p_product(vreal a, vreal b)
{
    const vreal p = v_mul(a, b);
    return (vpair){ p, v_fma(a, b, v_neg(p)) };
}

LMX_INLINE vpair p_add(vpair a, vpair b)
{
    const vpair s = p_two_sum(a.hi, b.hi);
    return (vpair){ s.hi, v_add(s.lo, v_add(a.lo, b.lo)) };
}

LMX_INLINE vpair p_mul(vpair a, vpair b)
{
    const vpair p = p_product(a.hi, b.hi);
    return (vpair){ p.hi, v_add(p.lo, v_fma(a.hi, b.lo, v_mul(a.lo, b.hi))) };
}

/* a / b: a quotient, and its remainder divided by b. */
LMX_INLINE vpair p_div(vpair a, vpair b)
{
    const vreal r = v_div(v_set1(1), b.hi), q = v_mul(a.hi, r);
    const vreal remainder = v_fma(v_neg(q), b.hi, a.hi);
    return (vpair){ q, v_mul(v_add(remainder, v_fma(v_neg(q), b.lo, a.lo)), r) };
}

/* a >= 0 with the sign of s. */
LMX_INLINE vreal v_with_sign(vreal a, vreal s)
{
    enum { TOP = sizeof(real) * 8 - 1 };
    return v_from_bits(vi_add(v_bits(a), vi_shl(vi_shr(v_bits(s), TOP), TOP)));
}

/* ---------------------------------------------------------- exponential --- */

/* exp(x) 2^lift = T (1 + q.hi + q.lo), T a power of two (float: of 2^(1/8)). */
typedef struct {
    vreal T;
    vpair q;
} exp_parts;

/* `lift` in the exponent field, as v_exp_parts() takes it. */
LMX_INLINE vreal lift_bits(int64_t power)
{
    return v_from_bits(vi_set1((ibits)((uint64_t)power << V_MANT_BITS)));
}

LMX_INLINE_VECTOR exp_parts v_exp_parts(vreal x, vreal lift)
{
    const v_reduced r = v_reduce(x);
    const vint k = v_bits(r.k);
    exp_parts e;
#if defined(LMX_REAL_F64)
    const vreal c = v_fma(v_exp_c(r.t), r.t, v_set1(LMX_EXP_C2));
    e.q = p_fast_sum(r.t, v_mul(v_mul(r.t, r.t), c));
    e.q.lo = v_add(e.q.lo, v_reduced_error(r));
    e.T = v_exp_power(k, v_bits(lift));
#else
    /* Taylor's series to t^5; at |t| = ln2/16 the remainder is below 2^-30 of t. */
    vreal c = v_fma(r.t, v_set1(0x1.111112p-7f), v_set1(0x1.555556p-5f));
    c = v_fma(c, r.t, v_set1(0x1.555556p-3f));
    c = v_fma(c, r.t, v_set1(0x1p-1f));
    e.q = p_fast_sum(r.t, v_mul(v_mul(r.t, r.t), c));
    e.q.lo = v_add(e.q.lo, v_from_bits(v_table8(exp_tails(), k)));
    e.T = v_exp_power(k, lift);
#endif
    return e;
}

/* T (1 + q) (1 + lo), where lo is the low part of the argument */
LMX_INLINE vpair exp_value(exp_parts e, vreal lo)
{
    const vreal a = v_fma(e.T, e.q.hi, e.T);
    const vreal a_lo = v_fma(e.T, e.q.hi, v_sub(e.T, a));
    return (vpair){ a, v_fma(a, lo, v_fma(e.T, e.q.lo, a_lo)) };
}

/*
 * exp(x), x <= 0, is part * down.  Wherever exp(x) times the largest real is not 0, part is a
 * normal number: it is lifted by 64 (double: 512) powers of two down to x = EXP_NEAR, and by 128
 * (1022) below.  Callers that lift only below LIFT_FROM have a part of less than 1 there.  Below
 * EXP_LEAST part is 0, which loses subnormal numbers only.
 */
#if defined(LMX_REAL_F64)
#define EXP_LIFT     512
#define EXP_LIFT_FAR 1022
#define EXP_DOWN     0x1p-512
#define EXP_DOWN_FAR 0x1p-1022
#define EXP_NEAR     -760
#define EXP_LEAST    -1416
#define LIFT_FROM    -355
#else
#define EXP_LIFT     64
#define EXP_LIFT_FAR 128
#define EXP_DOWN     0x1p-64f
#define EXP_DOWN_FAR 0x1p-128f
#define EXP_NEAR     -110
#define EXP_LEAST    -176
#define LIFT_FROM    -45
#endif
typedef struct {
    vpair part;
    vreal down;
} vlifted;

/* exp(x.hi + x.lo) for x <= 0 */
LMX_INLINE_VECTOR vlifted v_exp_lifted(vpair x)
{
    const vreal least = v_set1(EXP_LEAST);
    const vmask far = v_gt(v_set1(EXP_NEAR), x.hi);
    const vreal lift = v_select(far, lift_bits(EXP_LIFT_FAR), lift_bits(EXP_LIFT));
    const vpair y = exp_value(v_exp_parts(v_max(least, x.hi), lift), x.lo);
    return (vlifted){ p_select(v_gt(least, x.hi), p_of(v_set1(0)), y),
                      v_select(far, v_set1(EXP_DOWN_FAR), v_set1(EXP_DOWN)) };
}

/*
 * The same as a single real, with an error of slightly more than one rounding, and lifted below
 * LIFT_FROM only.  It serves gradients, whose bounds allow for the rounding of each factor.
 */
typedef struct {
    vreal part, down;
    vmask tiny; /* part is lifted */
} vlifted_one;

LMX_INLINE_VECTOR vlifted_one v_exp_lifted_one(vpair x)
{
    const vreal least = v_set1(EXP_LEAST), zero = v_set1(0);
    const vmask tiny = v_gt(v_set1(LIFT_FROM), x.hi), far = v_gt(v_set1(EXP_NEAR), x.hi);
    const vreal lift = v_select(tiny, lift_bits(EXP_LIFT), zero);
    const vreal down = v_select(tiny, v_set1(EXP_DOWN), v_set1(1));
    const exp_parts e = v_exp_parts(v_max(least, x.hi),
                                    v_select(far, lift_bits(EXP_LIFT_FAR), lift));
    const vreal q = v_add(e.q.hi, v_add(e.q.lo, v_fma(x.lo, e.q.hi, x.lo)));
    const vreal y = v_select(v_gt(least, x.hi), zero, v_fma(e.T, q, e.T));
    return (vlifted_one){ y, v_select(far, v_set1(EXP_DOWN_FAR), down), tiny };
}

LMX_INLINE vpair p_scaled(vpair a, vreal power)
{
    return (vpair){ v_mul(a.hi, power), v_mul(a.lo, power) };
}

/* exp(x) - 1 for x <= 0; T - 1 is 0 or of at least twice the size of T q. */
LMX_INLINE_VECTOR vpair v_expm1_pair(vreal x)
{
    const exp_parts e = v_exp_parts(v_max(v_set1(-50), x), v_set1(0));
    const vpair less = p_fast_sum(v_set1(-1), e.T);
    const vreal a = v_fma(e.T, e.q.hi, less.hi);
    const vreal a_lo = v_fma(e.T, e.q.hi, v_sub(less.hi, a));
    return (vpair){ a, v_add(less.lo, v_fma(e.T, e.q.lo, a_lo)) };
}

/*
 * log(1 + e) for e from 0 to 1.  f is e, or (e - 1) / 2 where 1 + e is sqrt(2) and more; as v_log.
 */
LMX_INLINE_VECTOR vpair v_log1p_pair(vpair e)
{
    const vreal half = v_set1((real)0.5), zero = v_set1(0);
    const vmask upper = v_gt(e.hi, v_set1((real)0.41421357));
    const vpair less = p_fast_sum(v_set1(-1), e.hi);
    const vreal f = v_select(upper, v_mul(half, less.hi), e.hi);
    const vreal f_lo = v_select(upper, v_mul(half, v_add(less.lo, e.lo)), e.lo);
    const vreal s = v_div(f, v_add(f, v_set1(2))), z = v_mul(s, s);
    vreal p = v_set1((real)2 / (2 * LOG_TERMS + 1));
    for (int i = LOG_TERMS - 1; i >= 1; i--)
        p = v_fma(p, z, v_set1((real)2 / (real)(2 * i + 1)));
    const vreal h = v_mul(v_mul(half, f), f);
    const vreal h_lo = v_fma(v_mul(half, f), f, v_neg(h));
    const vreal tail = v_sub(v_mul(s, v_fma(p, z, h)), h);
    /* d log(1 + f) = df (1 - f / (1 + f)); f / (1 + f) = 2 s / (1 + s) */
    const vreal more = v_fma(v_neg(f_lo), v_mul(v_set1(2), v_sub(s, z)), f_lo);
    const vpair r = p_two_sum(v_select(upper, v_set1(LOG_LN2), zero), f);
    const vreal lo = v_add(v_sub(more, h_lo), v_select(upper, v_set1(LOG_LN2_LO), zero));
    const vpair u = p_fast_sum(r.hi, tail);
    return (vpair){ u.hi, v_add(u.lo, v_add(r.lo, lo)) };
}

/* ------------------------------------------------------------ factors --- */

/*
 * A factor from 0 to 1, part * post: where it is tiny, post is a power of two and part is less than
 * 1.
 */
typedef struct {
    vpair part;
    vreal post;
} vfactor;

/*
 * A factor of about exp(exponent): lifted * down where it is tiny, else plain, the same value without
 * lifting.
 */
LMX_INLINE vfactor f_of(vreal exponent, vpair lifted, vreal down, vpair plain)
{
    const vmask tiny = v_gt(v_set1(LIFT_FROM), exponent);
    return (vfactor){ p_select(tiny, lifted, plain), v_select(tiny, down, v_set1(1)) };
}

LMX_INLINE vreal f_value(vfactor f) { return v_mul(p_value(f.part), f.post); }

/* x times a factor; 0 where the factor is 0, even if x is infinite. */
LMX_INLINE vreal f_times(vfactor f, vreal x)
{
    const vreal y = v_mul(v_fma(x, f.part.hi, v_mul(x, f.part.lo)), f.post);
    const vreal plain = v_mul(f.part.hi, f.post), zero = v_set1(0);
    const vreal limit = v_select(v_eq(plain, zero), zero, v_mul(x, plain));
    return v_select(v_eq(v_abs(x), v_set1(LMX_INF)), limit, y);
}

/*
 * x s(u) = x / (1 + exp(-u)), within 1.6 ulp: 1 + exp(-u) and the quotient are rounded.  Where s(u)
 * is below exp(-130) (double: exp(-1000)) the result is 0, so x must be small enough there.  Where
 * u is below LIFT_FROM the 1 is negligible and left out, and x and exp(-u) are both scaled by
 * EXP_DOWN, so that neither overflows.
 */
LMX_INLINE_VECTOR vreal v_times_logistic(vreal x, vpair u)
{
    const vreal least = v_set1(sizeof(real) == 4 ? -130 : -1000);
    const vmask far = v_gt(v_set1(LIFT_FROM), u.hi);
    const vreal lift = v_select(far, lift_bits(-EXP_LIFT), v_set1(0));
    const exp_parts e = v_exp_parts(v_neg(v_max(least, v_min(v_set1(-LIFT_FROM), u.hi))), lift);
    const vreal q = v_add(e.q.hi, v_sub(e.q.lo, v_fma(u.lo, e.q.hi, u.lo)));
    const vreal one = v_select(far, v_set1(0), v_set1(1));
    const vpair s = p_fast_sum(v_max(e.T, one), v_min(e.T, one)); /* 1 + T, and T q to it */
    const vreal d = v_add(s.hi, v_fma(e.T, q, s.lo));
    const vreal y = v_div(v_mul(x, v_select(far, v_set1(EXP_DOWN), v_set1(1))), d);
    return v_select(v_gt(least, u.hi), v_set1(0), y);
}

#endif
