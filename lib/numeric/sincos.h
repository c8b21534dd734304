/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sin and cos of an angle in radians, |x| <= LMX_SINCOS_MAX, within 0.6 ulp: scalar double
 * arithmetic as in double_double.h, with the same bits everywhere.  Largest errors found
 * (tests/c/kernels/test_sincos.c): of 10^8 doubles 0.5938 ulp of sin at 0x1.11b0df4170e0bp+29 and 0.5908 of
 * cos at 0x1.25ba90a4c9da9p+29; of all floats from 2^-27 to 2^30 0.5913 of sin at 0x1.c428a8p+22
 * and 0.5903 of cos at 0x1.7f398p+5.
 */
#ifndef LMX_SINCOS_H
#define LMX_SINCOS_H

#include "numeric/exp_log.h"

#define LMX_SINCOS_MAX 0x1p+30

/* pi / 2 to 160 bits, in three parts */
#define LMX_PIO2_1 0x1.921fb54442d18p+0
#define LMX_PIO2_2 0x1.1a62633145c07p-54
#define LMX_PIO2_3 -0x1.f1976b7ed8fbcp-110

/* 1 / 6 in two parts */
#define LMX_SIXTH    0x1.5555555555555p-3
#define LMX_SIXTH_LO 0x1.5555555555555p-57

typedef struct lmx_sincos {
    double cos, sin;
} lmx_sincos;

/*
 * The angle is reduced to x = r + n pi / 2 with |r| <= pi / 4 in two parts.  No double in range is
 * nearer than 2^-62 to a multiple of pi / 2, and there the relative error of r is still at most
 * 2^-60.  Taylor's series follow, to r^17 for the sine and r^18 for the cosine; their next terms
 * are below 2^-62.
 */
LMX_INLINE lmx_sincos lmx_sincos_of(double x)
{
    const double n = lmx_round(x * 0x1.45f306dc9c883p-1);
    const double p = n * LMX_PIO2_1, p_lo = fma(n, LMX_PIO2_1, -p);
    const lmx_dd a = lmx_two_sum(x - p, -p_lo);
    const double q = n * LMX_PIO2_2, q_lo = fma(n, LMX_PIO2_2, -q);
    const lmx_dd b = lmx_two_sum(a.hi, -q);
    const lmx_dd r = lmx_fast_two_sum(b.hi, b.lo + (a.lo - q_lo - n * LMX_PIO2_3));

    const double z = r.hi * r.hi;
    double s = 0x1.952c77030ad4ap-49; /* 1 / 17! */
    s = fma(s, z, -0x1.ae7f3e733b81fp-41);
    s = fma(s, z, 0x1.6124613a86d09p-33);
    s = fma(s, z, -0x1.ae64567f544e4p-26);
    s = fma(s, z, 0x1.71de3a556c734p-19);
    s = fma(s, z, -0x1.a01a01a01a01ap-13);
    s = fma(s, z, 0x1.1111111111111p-7);
    double c = -0x1.6827863b97d97p-53; /* -1 / 18! */
    c = fma(c, z, 0x1.ae7f3e733b81fp-45);
    c = fma(c, z, -0x1.93974a8c07c9dp-37);
    c = fma(c, z, 0x1.1eed8eff8d898p-29);
    c = fma(c, z, -0x1.27e4fb7789f5cp-22);
    c = fma(c, z, 0x1.a01a01a01a01ap-16);
    c = fma(c, z, -0x1.6c16c16c16c17p-10);
    c = fma(c, z, 0x1.5555555555555p-5);

    /* sin(hi + lo) = sin hi + lo cos hi; cos(hi + lo) = cos hi - lo sin hi. */
    const double half = 0.5 * z, near = 1 - half, z_lo = fma(r.hi, r.hi, -z);
    /*
     * hi - hi^3 / 6 to twice the digits: rounding that term alone would cost a quarter of an ulp.
     */
    const double cube = r.hi * z, cube_lo = fma(r.hi, z, -cube) + r.hi * z_lo;
    const double sixth = cube * LMX_SIXTH;
    const double sixth_lo =
        fma(cube, LMX_SIXTH, -sixth) + (cube * LMX_SIXTH_LO + cube_lo * LMX_SIXTH);
    const lmx_dd most = lmx_fast_two_sum(r.hi, -sixth);
    const double sine = most.hi + (most.lo + fma(cube * z, s, fma(r.lo, near, -sixth_lo)));
    const double cosine =
        near + (((1 - near) - half) + fma(z * z, c, -fma(r.hi, r.lo, 0.5 * z_lo)));
    const int quadrant = (int)((int64_t)n & 3);
    const double for_sin = quadrant & 1 ? cosine : sine, for_cos = quadrant & 1 ? sine : cosine;
    return (lmx_sincos){ quadrant == 1 || quadrant == 2 ? -for_cos : for_cos,
                         quadrant >= 2 ? -for_sin : for_sin };
}

#endif
