/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sin and cos of sincos.h against libm's long double: its comment's bound must hold for |x| <= 2^30, and
 * sin must be odd and cos even in bits.  Of the floats from 2^-27 on (below, sin x is x) every 997th is tried, every
 * 40,009th with LMX_CHECK=fast, and all, which takes minutes, with LMX_CHECK=full.  The doubles are random ones of every
 * size, and those nearest to multiples of pi / 4, where a digit that the reduction lacks would be the first of the
 * result.
 *
 *   test_sincos f32|f64
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "numeric/sincos.h"

#define MAX_ULP 0.6
#define LEAST   0x1p-27

typedef struct {
    double ulp, at;
} witness;

static witness worst_sin, worst_cos;

/* One result in ulp of the exact one; libm's own error is 2^-10 of that. */
static void judge(const char *name, double x, double got, long double want, witness *worst)
{
    const double error =
        want == 0 ? (got == 0 ? 0 : INFINITY)
                  : (double)(fabsl((long double)got - want) / ldexpl(1, ilogbl(want) - 52));
    if (!(error <= MAX_ULP))
        check_fail("%s(%a) = %a, want %La, %.4f ulp", name, x, got, want, error);
    if (!(error <= worst->ulp))
        *worst = (witness){ error, x };
}

static void both(double x)
{
    const lmx_sincos t = lmx_sincos_of(x), negated = lmx_sincos_of(-x);
    judge("sin", x, t.sin, sinl((long double)x), &worst_sin);
    judge("cos", x, t.cos, cosl((long double)x), &worst_cos);
    CHECK(check_f64_bits(negated.cos) == check_f64_bits(t.cos));
    CHECK(negated.sin == -t.sin);
    check_count(1);
}

static void test_f32(void)
{
    const uint32_t least = check_f32_bits((float)LEAST),
                   most = check_f32_bits((float)LMX_SINCOS_MAX);
    const uint32_t step = check_full ? 1 : check_fast ? 40009 : 997;
    both(0);
    for (uint32_t u = 1; u < least; u += 997 * step) {
        const double x = (double)check_f32(u);
        const lmx_sincos t = lmx_sincos_of(x);
        CHECK(t.sin == x && t.cos == 1);
        check_count(1);
    }
    for (uint32_t u = least; u < most; u += step)
        both((double)check_f32(u));
    both(LMX_SINCOS_MAX);
}

static void test_f64(void)
{
    const size_t n = check_full ? 100000000 : check_fast ? 20000 : 1000000;
    const double multiples = LMX_SINCOS_MAX / LMX_PIO2_1;
    check_random r = check_random_new(check_at.seed = 6);
    for (size_t i = 0; i < n; i++) {
        double x;
        switch (i % 4) {
        case 0: /* down to where sin x is x */
            x = ldexp(check_uniform(&r, 1, 2), 29 - (int)check_below(&r, 60));
            break;
        case 1:
            x = check_uniform(&r, 0, LMX_SINCOS_MAX);
            break;
        case 2:
            x = check_uniform(&r, 0, 7);
            break;
        default: /* near a multiple of pi / 4, where the quadrant changes or a result is nearly 0 */
            x = (double)(floorl((long double)check_uniform(&r, 0, 2 * multiples)) *
                         0.785398163397448309615660845819875721L);
            for (size_t k = check_below(&r, 3); k > 0; k--)
                x = nextafter(x, INFINITY);
        }
        both(x < LMX_SINCOS_MAX ? x : LMX_SINCOS_MAX);
    }
}

int main(int argc, char **argv)
{
    const bool wide = argc == 2 && strcmp(argv[1], "f64") == 0;
    if (!wide && (argc != 2 || strcmp(argv[1], "f32") != 0)) {
        fprintf(stderr, "usage: test_sincos f32|f64\n");
        return 2;
    }
    check_begin(wide ? "sincos-f64" : "sincos-f32");
    check_at.test = "sin and cos";
    check_at.dtype = wide ? "f64" : "f32";
    if (LDBL_MANT_DIG < 64)
        check_skip("sin and cos", "long double has no more digits than double");
    else if (wide)
        test_f64();
    else
        test_f32();
    printf("sin: max error %.5f ulp at %a\ncos: max error %.5f ulp at %a\n", worst_sin.ulp,
           worst_sin.at, worst_cos.ulp, worst_cos.at);
    return check_end();
}
