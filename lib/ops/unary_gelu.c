/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gelu: x Phi(x), Phi the normal distribution (Hendrycks and Gimpel 2016, arXiv:1606.08415), accurate in the
 * negative tail too, where 1 + erf cancels.
 *
 * With a = |x|, Phi(-a) = exp(-a^2 / 2) S / (a + C), where S is between 0.4 and 0.5: a polynomial in v =
 * (a - V) / (a + K), to 2^-29.1 of it up to a = 14.5, for double to 2^-56.5 up to 38.8 (tools/coeffs/normal_tail.py).
 * Beyond these nothing is left of the exponential.  For float K is C, which takes six terms more but no second
 * division, and an error of v matters less.
 */
#include "ops/bell.h"

#if defined(LMX_REAL_F64)
#  define TAIL_C 0x1.cp-1
#  define TAIL_V 0x1.01p+2
#  define TAIL_K 5
static const real tail_s[] = {
    0x1.ef26c0f7afaefp-28, 0x1.4abc813f90b5ap-26,  -0x1.d1068188e976p-25,  -0x1.772051e9843c5p-23,
    0x1.1bd8e0fb5781p-22,  0x1.19fe32cd7263bp-20,  -0x1.6e69812cd2c49p-20, -0x1.7f411e3416eaap-18,
    0x1.39b88ff55704ap-17, 0x1.e44cb507393bfp-16,  -0x1.4e6f5eca3f31ap-14, -0x1.9b5e56534692dp-14,
    0x1.6686a8ee45ff8p-11, -0x1.49d21b1d24b3cp-11, -0x1.db1fbee00b2e5p-9,  0x1.17eb2678eb61ep-6,
    -0x1.50a629f09c17ep-5, 0x1.12da918ccb4ep-4,    -0x1.39d13df92d217p-4,  0x1.a8af19c091f2ap-5,
    0x1.232ef3712bd11p-7,  -0x1.5abbe09f54aa8p-4,  0x1.d725bc24af272p-2,
};
#else
#  define TAIL_C 0x1.dp-1f
#  define TAIL_V 0x1.fcp-1f
static const real tail_s[] = {
    0x1.11690ep-13f,  0x1.d70002p-12f,  0x1.2eb276p-12f, -0x1.74177ap-11f, -0x1.5e80d8p-10f,
    -0x1.feb674p-11f, -0x1.15f8e8p-11f, 0x1.33b45p-13f,  0x1.211d24p-9f,   0x1.67a75cp-8f,
    0x1.053276p-7f,   0x1.629a04p-8f,   -0x1.25cdd4p-7f, -0x1.45d376p-5f,  -0x1.1cd826p-4f,
    0x1.b22a72p-15f,  0x1.fe9a1p-2f,
};
#endif
#define TAIL_TERMS (sizeof tail_s / sizeof *tail_s)

/* Of a clamped x: exp(-x^2 / 2), and the share of it that Phi(-|x|) is. */
typedef struct {
    vlifted bell;
    vreal exponent;
    vpair share;
} normal_tail;

LMX_INLINE_VECTOR normal_tail tail_of(vreal x)
{
    const vreal a = v_abs(x);
    const vpair d = p_two_sum(a, v_set1(TAIL_C));
#if defined(LMX_REAL_F64)
    const vreal v = v_div(v_sub(a, v_set1(TAIL_V)), v_add(a, v_set1(TAIL_K)));
#else
    const vreal v = v_mul(v_sub(a, v_set1(TAIL_V)), v_div(v_set1(1), d.hi));
#endif
    vreal p = v_set1(tail_s[0]);
    for (size_t i = 1; i + 1 < TAIL_TERMS; i++)
        p = v_fma(p, v, v_set1(tail_s[i]));
    const vreal last = v_set1(tail_s[TAIL_TERMS - 1]), s = v_fma(p, v, last);
    const vpair S = { s, v_fma(p, v, v_sub(last, s)) }; /* |p v| < last */
    normal_tail t;
    t.share = p_div(S, d);
    t.bell = bell_lifted(a, &t.exponent);
    return t;
}

LMX_INLINE vreal value(vreal x, const unary_constants *k)
{
    (void)k;
    const vmask below = v_gt(v_set1(0), x);
    const normal_tail t = tail_of(bell_inside(x));
    const vpair tail = p_mul(t.bell.part, t.share), plain = p_scaled(tail, t.bell.down);
    const vfactor low = f_of(t.exponent, tail, t.bell.down, plain);
    vpair high = p_fast_sum(v_set1(1), v_neg(plain.hi));
    high.lo = v_sub(high.lo, plain.lo);
    const vfactor phi = { p_select(below, low.part, high), v_select(below, low.post, v_set1(1)) };
    return f_times(phi, x);
}

/* Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi); Phi(x) is 1 - Phi(-x) above */
LMX_INLINE vreal pull(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    const vreal c = bell_inside(x);
    const vmask below = v_gt(v_set1(0), x);
    const normal_tail t = tail_of(c);
    const vfactor f =
        f_of(t.exponent, t.bell.part, t.bell.down, p_scaled(t.bell.part, t.bell.down));
    const vreal share = p_value(t.share);
    const vreal part =
        v_fma(c, v_set1((real)0.398942280401432677939946), v_select(below, share, v_neg(share)));
    return v_add(v_select(below, v_set1(0), dy), f_times(f, v_mul(dy, part)));
}

LMX_UNARY_KERNEL(gelu, value, pull)
