/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gelu: x Phi(x), Phi the normal distribution (Hendrycks and Gimpel 2016, arXiv:1606.08415), accurate in the
 * negative tail too, where 1 + erf cancels.
 *
 * With a = |x|, Phi(-a) = exp(-a^2 / 2) S / (a + C), where S is between 0.4 and 0.5: a polynomial in v =
 * (a - V) / (a + K), to 2^-29.1 of it up to a = 14.5, for double to 2^-56.5 up to 38.8 (tools/coeffs/normal_tail.py).
 * Beyond these nothing is left of the exponential.  For float K is C, which takes six terms more but no second
 * division, and an error of v matters less.
 * At most 1.257 ulp in float32: -0x1.f7989ap+2.
 */
#ifndef LMX_GELU_H
#define LMX_GELU_H

#include "kernels/unary/bell.h"

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

/* S = p v + last, and what it is of: v, and w = 1 / (a + C) for a + C = d */
typedef struct {
    vreal p, v, last, w;
    vpair d;
} tail_parts;

LMX_INLINE_VECTOR tail_parts tail_of(vreal a)
{
    const vreal c = v_set1(TAIL_C), larger = v_max(a, c);
    tail_parts t;
    t.d = p_fast_sum(larger, v_min(a, c));
    t.w = v_div(v_set1(1), t.d.hi);
#if defined(LMX_REAL_F64)
    t.v = v_div(v_sub(a, v_set1(TAIL_V)), v_add(a, v_set1(TAIL_K)));
#else
    t.v = v_mul(v_sub(a, v_set1(TAIL_V)), t.w);
#endif
    /* Four chains, for one would take longer than all the rest. */
    const vreal v2 = v_mul(t.v, t.v), v4 = v_mul(v2, v2);
    enum { TERMS = TAIL_TERMS - 1 };
    vreal part[4];
    for (size_t r = 0; r < 4; r++) {
        size_t degree = (TERMS - 1 - r) / 4 * 4 + r;
        part[r] = v_set1(tail_s[TERMS - 1 - degree]);
        while (degree >= 4) {
            degree -= 4;
            part[r] = v_fma(part[r], v4, v_set1(tail_s[TERMS - 1 - degree]));
        }
    }
    t.p = v_fma(v_fma(part[3], t.v, part[2]), v2, v_fma(part[1], t.v, part[0]));
    t.last = v_set1(tail_s[TAIL_TERMS - 1]);
    return t;
}

/* x S / (a + C) of a = |x|, clamped: what exp(-a^2 / 2) is to be multiplied by */
LMX_INLINE_VECTOR vpair share_of(vreal a, vreal x)
{
    const tail_parts t = tail_of(a);
    const vreal s = v_fma(t.p, t.v, t.last);
    const vreal s_lo = v_fma(t.p, t.v, v_sub(t.last, s)); /* |p v| < last */
    const vpair n = p_product(x, s);
    const vreal q = v_mul(n.hi, t.w), n_lo = v_fma(x, s_lo, n.lo);
    const vreal left = v_fma(v_neg(q), t.d.lo, v_add(v_fma(v_neg(q), t.d.hi, n.hi), n_lo));
    return (vpair){ q, v_mul(left, t.w) };
}

/* max(x, 0) - |x| Phi(-|x|), on either side: the product is lifted until the last operation. */
LMX_INLINE vreal gelu_of(vreal x, const unary_constants *k)
{
    (void)k;
    const vreal a = v_min(v_set1(BELL_NEAR), v_abs(x));
    const vpair e = bell_near(a), z = share_of(a, a);
    const vreal more = v_fma(e.hi, z.lo, v_mul(e.lo, z.hi));
    return v_fma(v_fma(e.hi, z.hi, more), v_set1(-EXP_DOWN), v_max(v_set1(0), x));
}

/* Phi(-|x|) = share part down for gradients, and x where these are of account */
typedef struct {
    vreal x, share, part, down;
} gelu_parts;

LMX_INLINE gelu_parts gelu_parts_of(vreal x)
{
    const vreal c = bell_inside(x);
    const tail_parts t = tail_of(v_abs(c));
    const vlifted_one e = bell_one(c);
    return (gelu_parts){ c, v_mul(v_fma(t.p, t.v, t.last), t.w), e.part, e.down };
}

/* dy (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)); Phi(x) is 1 - Phi(-x) above */
LMX_INLINE vreal gelu_vjp_by(const gelu_parts *p, vreal dy)
{
    const vmask below = v_gt(v_set1(0), p->x);
    const vreal share = v_select(below, p->share, v_neg(p->share));
    const vreal part = v_fma(p->x, v_set1((real)0.398942280401432677939946), share);
    const vreal more = v_mul(v_mul(v_mul(dy, part), p->part), p->down);
    return v_add(v_select(below, v_set1(0), dy), more);
}

LMX_INLINE vreal gelu_vjp_of(vreal dy, vreal x, const unary_constants *k)
{
    (void)k;
    const gelu_parts p = gelu_parts_of(x);
    return gelu_vjp_by(&p, dy);
}

LMX_INLINE vreal gelu_gate_vjp(vreal dy, vreal up, vreal x, vreal *dup)
{
    const gelu_parts p = gelu_parts_of(x);
    const vreal less = v_mul(v_mul(v_abs(p.x), p.share), p.part);
    *dup = v_mul(dy, v_fma(less, v_neg(p.down), v_max(v_set1(0), x)));
    return gelu_vjp_by(&p, v_mul(dy, up));
}

#endif
