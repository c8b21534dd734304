/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations against libm: the registry's bound (float64: twice that; 2 quanta where the result is
 * subnormal), never falling where the function never falls, and -inf, inf and NaN.  Floats: every 997th of
 * both signs, LMX_CHECK=fast: 40,009th.  Doubles: random, of every exponent that matters.  LMX_CHECK=full: all floats
 * against the double kernel, and against libm where the error is near the largest so far: minutes, not hours.
 *
 *   test_unary_accuracy f32|f64
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

#define BLOCK 4096
#define EPS   0.0078125 /* a parameter that float holds */
#define BETA  1.75

typedef long double wide;

static wide sigmoid(wide u)
{
    const wide e = expl(-fabsl(u));
    return u >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static wide ref_sigmoid(wide x) { return sigmoid(x); }
static wide ref_tanh(wide x) { return tanhl(x); }
static wide ref_softplus(wide x)
{
    return (x > 0 ? x : 0) + log1pl(expl(-fabsl(BETA * x))) / (wide)BETA;
}
static wide ref_silu(wide x) { return x * sigmoid(x); }
static wide ref_swish(wide x) { return x * sigmoid(BETA * x); }
static wide ref_gelu(wide x) { return 0.5L * x * erfcl(-x * 0.70710678118654752440084436210485L); }
static wide ref_gelu_tanh(wide x)
{
    return x * sigmoid(1.595769121605730711759542399739L * (x + 0.044715L * x * x * x));
}
static wide ref_mish(wide x)
{
    const wide e = expl(-fabsl(x));
    return x * (x >= 0 ? (1 + 2 * e) / (1 + 2 * e + 2 * e * e) : e * (2 + e) / (2 + e * (2 + e)));
}
static wide ref_crrelu(wide x) { return (x > 0 ? x : 0) + EPS * x * expl(-x * x / 2); }
static wide ref_squared_relu(wide x) { return x > 0 ? x * x : 0; }
static wide ref_relu_power(wide x) { return x > 0 ? powl(x, 7) : 0; }

/* erfcl and powl of large arguments are off by more than a double's half ulp: SLACK is theirs. */
static const struct {
    lmx_unary_code op;
    wide (*reference)(wide x);
    double parameter; /* 0: none */
    bool monotone;
    double slack;    /* ulp of double */
    double down, up; /* limits */
} cases[] = {
    { LMX_UNARY_sigmoid, ref_sigmoid, 0, true, 0.01, 0, 1 },
    { LMX_UNARY_tanh, ref_tanh, 0, true, 0.01, -1, 1 },
    { LMX_UNARY_softplus, ref_softplus, BETA, true, 0.01, 0, INFINITY },
    { LMX_UNARY_silu, ref_silu, 0, false, 0.01, 0, INFINITY },
    { LMX_UNARY_swish, ref_swish, BETA, false, 0.01, 0, INFINITY },
    { LMX_UNARY_gelu, ref_gelu, 0, false, 0.2, 0, INFINITY },
    { LMX_UNARY_gelu_tanh, ref_gelu_tanh, 0, false, 0.2, 0, INFINITY },
    { LMX_UNARY_mish, ref_mish, 0, false, 0.01, 0, INFINITY },
    { LMX_UNARY_crrelu, ref_crrelu, EPS, false, 0.2, 0, INFINITY },
    { LMX_UNARY_squared_relu, ref_squared_relu, 0, true, 0.01, 0, INFINITY },
    { LMX_UNARY_relu_power, ref_relu_power, 7, true, 0.01, 0, INFINITY },
};

static double worst, worst_at;

static void judge(size_t c, double x, double got, wide want, bool is_float)
{
    const int bits = is_float ? 24 : 53, least = is_float ? -126 : -1022;
    const double most = is_float ? FLT_MAX : DBL_MAX;
    if (fabsl(want) > most) /* rounds to it, or to inf */
        want = want > 0 ? (wide)(got < (wide)INFINITY ? most : INFINITY)
                        : (wide)(got > -(wide)INFINITY ? -most : -INFINITY);
    if (got == want)
        return;
    const bool subnormal = want == 0 || ilogbl(want) < least;
    const wide ulp = ldexpl(1, (subnormal ? least : ilogbl(want)) - bits + 1);
    const double error = (double)(fabsl(got - want) / ulp);
    const double bound = subnormal ? 2 : lmx_unary_info((int)cases[c].op)->ulp * (is_float ? 1 : 2);
    if (!(error <= bound + (is_float ? 0 : cases[c].slack)))
        check_fail("%s(%a) = %a, want %La, %.3f ULP", lmx_unary_info((int)cases[c].op)->name, x,
                   got, want, error);
    if (!subnormal && error > worst) {
        worst = error;
        worst_at = x;
    }
}

static void run(size_t c, bool is_float, size_t n, const void *x, void *y)
{
    const strided_shape shape = { 1, n, 1 };
    const strided_steps strides = { 0, 1, 0 };
    lmx_unary_options o;
    CHECK(lmx_unary_options_init(&o) == LMX_OK);
    o.parameter = &cases[c].parameter;
    o.parameters = cases[c].parameter != 0;
    CHECK(strided_unary(NULL, cases[c].op, is_float ? LMX_F32 : LMX_F64, &shape, x, &strides, &o, y,
                        &strides) == LMX_OK);
}

/* Whether float y may be further off than what has been seen: wide_y is within 4 ulp of double. */
static bool suspect(float y, double wide_y)
{
    const double d = fabs((double)y - wide_y), size = fabs(wide_y);
    if (isinf(y) && size > (double)FLT_MAX && (y > 0) == (wide_y > 0))
        return false;
    if (size < (double)FLT_MIN)
        return !(d <= 1.9 * 0x1p-149);
    const double power = check_f64(check_f64_bits(size) & UINT64_C(0x7ff0000000000000));
    return !(d <= (worst - 1e-3) * 0x1p-23 * power);
}

static void test_all_f32(size_t c)
{
    static float x[BLOCK], y[BLOCK];
    static double wide_x[BLOCK], wide_y[BLOCK];
    for (int sign = 0; sign < 2; sign++) {
        float last = sign ? INFINITY : -INFINITY;
        for (uint32_t from = 0; from < 0x7f800000; from += BLOCK) {
            for (uint32_t i = 0; i < BLOCK; i++) {
                x[i] = check_f32((from + i) | (sign ? 0x80000000u : 0));
                wide_x[i] = (double)x[i];
            }
            run(c, true, BLOCK, x, y);
            run(c, false, BLOCK, wide_x, wide_y);
            for (size_t i = 0; i < BLOCK; i++) {
                if (suspect(y[i], wide_y[i]))
                    judge(c, wide_x[i], (double)y[i], cases[c].reference((wide)x[i]), true);
                if (cases[c].monotone && (sign ? y[i] > last : y[i] < last))
                    check_fail("%s falls at %a", lmx_unary_info((int)cases[c].op)->name, wide_x[i]);
                last = y[i];
            }
            check_count(BLOCK);
        }
    }
}

static void test_f32(size_t c)
{
    const uint32_t step = check_fast ? 40009 : 997;
    static float x[BLOCK], y[BLOCK];
    for (int sign = 0; sign < 2; sign++) {
        float last = sign ? INFINITY : -INFINITY;
        for (uint64_t from = 0; from < 0x7f800000; from += (uint64_t)step * BLOCK) {
            size_t n = 0;
            for (uint64_t u = from; n < BLOCK && u < 0x7f800000; u += step)
                x[n++] = check_f32((uint32_t)u | (sign ? 0x80000000u : 0));
            run(c, true, n, x, y);
            for (size_t i = 0; i < n; i++) {
                judge(c, (double)x[i], (double)y[i], cases[c].reference((wide)x[i]), true);
                if (cases[c].monotone && (sign ? y[i] > last : y[i] < last))
                    check_fail("%s falls at %a", lmx_unary_info((int)cases[c].op)->name,
                               (double)x[i]);
                last = y[i];
            }
            check_count(n);
        }
    }
}

static void test_f64(size_t c)
{
    static double x[BLOCK], y[BLOCK];
    check_random r = check_random_new(11 + c);
    for (int k = 0; k < (check_fast ? 4 : 60); k++) {
        for (size_t i = 0; i < BLOCK; i++) {
            const double size = ldexp(check_uniform(&r, 1, 2), (int)check_below(&r, 70) - 60);
            x[i] = k % 2 ? check_uniform(&r, -60, 20) : i % 2 ? size : -size;
            if (k % 8 == 7)
                x[i] *= 12.5;
        }
        run(c, false, BLOCK, x, y);
        for (size_t i = 0; i < BLOCK; i++)
            judge(c, x[i], y[i], cases[c].reference((wide)x[i]), false);
        check_count(BLOCK);
    }
}

static void test_ends(size_t c, bool is_float)
{
    double x[6] = { -INFINITY, INFINITY, NAN, -DBL_MAX, 0, -0.0 }, y[6];
    float x32[6], y32[6];
    for (size_t i = 0; i < 6; i++)
        x32[i] = i == 3 ? -FLT_MAX : (float)x[i];
    if (is_float) {
        run(c, true, 6, x32, y32);
        for (size_t i = 0; i < 6; i++)
            y[i] = (double)y32[i];
    } else {
        run(c, false, 6, x, y);
    }
    if (!(y[0] == cases[c].down && y[1] == cases[c].up && isnan(y[2]) && y[3] == cases[c].down &&
          y[4] == y[5]))
        check_fail("%s at -inf, inf, nan, the least, 0, -0: %g %g %g %g %g %g",
                   lmx_unary_info((int)cases[c].op)->name, y[0], y[1], y[2], y[3], y[4], y[5]);
    check_count(6);
}

int main(int argc, char **argv)
{
    if (argc != 2 || (strcmp(argv[1], "f32") != 0 && strcmp(argv[1], "f64") != 0)) {
        fprintf(stderr, "usage: test_unary_accuracy f32|f64\n");
        return 2;
    }
    check_begin("unary accuracy");
    if (LDBL_MANT_DIG < 60) {
        check_skip("all", "long double is no wider than double here");
        return check_end();
    }
    const bool is_float = strcmp(argv[1], "f32") == 0;
    check_at.dtype = argv[1];
    check_at.tier = lmx_isa_name(NULL);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        check_at.test = lmx_unary_info((int)cases[c].op)->name;
        worst = worst_at = 0;
        test_ends(c, is_float);
        if (is_float)
            (check_full ? test_all_f32 : test_f32)(c);
        else
            test_f64(c);
        printf("%s: at most %.3f ULP, at %a\n", check_at.test, worst, worst_at);
    }
    return check_end();
}
