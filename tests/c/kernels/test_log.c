/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logarithm by itself, log(v 2^k): at most 1 ULP of positive normal v against double (double: long
 * double), never falling for k = 0, and the same bits in every tier.  Floats: all mantissas with the
 * exponents around 1 and at the ends, every 61st float of the others; LMX_CHECK=full: all.
 *
 *   test_log f32|f64
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "platform/cpu.h"
#include "dispatch/dispatch.h"
#include "lanemax/lanemax.h"

#define MAX_ULP 1.0
#define BLOCK   4096

static const lmx_tier *tier_of[8];
static size_t n_tiers;

static double worst, worst_at;

/* The unit in the last place of a result of so many bits. */
static double ulp_of(double v, int bits) { return ldexp(1, ilogb(v) - bits + 1); }

static void judge(double v, int k, double got, long double exact, int bits)
{
    if (exact == 0) {
        if (got != 0)
            check_fail("log(%a) is %a", v, got);
        return;
    }
    const double error = (double)fabsl((long double)got - exact) / ulp_of((double)exact, bits);
    if (!(error <= worst)) {
        worst = error;
        worst_at = v;
        if (!(worst <= MAX_ULP))
            check_fail("log(%a 2^%d) = %a, %.3f ULP", v, k, got, error);
    }
}

/* The bits of the best tier, from every other one. */
static void compare_tiers(size_t type, const void *x, size_t n, int k, const void *want,
                          size_t size)
{
    static _Alignas(64) unsigned char other[BLOCK * 8];
    for (size_t t = 1; t < n_tiers; t++) {
        check_at.tier = tier_of[t]->isa;
        tier_of[t]->table[type]->log(x, n, k, other);
        check_same(other, want, n * size, size);
        check_count(n);
    }
    check_at.tier = tier_of[0]->isa;
}

static void test_f32(void)
{
    static float x[BLOCK], y[BLOCK];
    const uint64_t smallest = 0x00800000, past = 0x7f800000;
    const uint64_t fine = check_fast ? 97 : 1, coarse = check_full ? 1 : check_fast ? 5003 : 61;
    float last = -INFINITY;
    uint64_t u = smallest, blocks = 0;
    check_random r = check_random_new(check_at.seed = 3);
    check_at.tier = tier_of[0]->isa;
    while (u < past) {
        size_t n = 0;
        for (; n < BLOCK && u < past; n++) {
            x[n] = check_f32((uint32_t)u);
            const int exponent = (int)(u >> 23) - 127;
            const bool near =
                (exponent >= -3 && exponent <= 2) || exponent < -125 || exponent > 126;
            u += near ? fine : coarse;
        }
        tier_of[0]->table[LMX_F32]->log(x, n, 0, y);
        for (size_t i = 0; i < n; i++) {
            judge((double)x[i], 0, (double)y[i], log((double)x[i]), 24);
            if (y[i] < last)
                check_fail("not monotonic at %a", (double)x[i]);
            last = y[i];
        }
        if (blocks++ % 16 == 0) {
            compare_tiers(LMX_F32, x, n, 0, y, sizeof *y);
            const int k = (int)check_below(&r, 2001) - 1000;
            tier_of[0]->table[LMX_F32]->log(x, n, k, y);
            for (size_t i = 0; i < n; i++)
                judge((double)x[i], k, (double)y[i], logl(ldexpl((long double)x[i], k)), 24);
        }
        check_count(n);
    }
}

static void test_f64(void)
{
    static double x[BLOCK], y[BLOCK];
    const size_t blocks = check_full ? 25000 : check_fast ? 20 : 1000;
    check_random r = check_random_new(check_at.seed = 4);
    check_at.tier = tier_of[0]->isa;
    for (size_t b = 0; b < blocks; b++) {
        const int k = b % 3 == 0 ? (int)check_below(&r, 4001) - 2000 : 0;
        for (size_t i = 0; i < BLOCK; i++) {
            if (i % 3 == 0) /* near 1, where the result is small */
                x[i] = 1 + check_uniform(&r, -1, 1) * ldexp(1, -(int)check_below(&r, 50));
            else
                x[i] = ldexp(check_uniform(&r, 1, 2), (int)check_below(&r, 2046) - 1022);
        }
        tier_of[0]->table[LMX_F64]->log(x, BLOCK, k, y);
        for (size_t i = 0; i < BLOCK; i++)
            judge(x[i], k, y[i], logl(ldexpl((long double)x[i], k)), 53);
        compare_tiers(LMX_F64, x, BLOCK, k, y, sizeof *y);
        check_count(BLOCK);
    }
}

int main(int argc, char **argv)
{
    const bool wide = argc == 2 && strcmp(argv[1], "f64") == 0;
    if (!wide && (argc != 2 || strcmp(argv[1], "f32") != 0)) {
        fprintf(stderr, "usage: test_log f32|f64\n");
        return 2;
    }
    check_begin(wide ? "log-f64" : "log-f32");
    for (size_t i = 0; lmx_tier_at(i) != NULL && n_tiers < 8; i++)
        if ((lmx_tier_at(i)->needs & ~lmx_cpu_features()) == 0)
            tier_of[n_tiers++] = lmx_tier_at(i);
    if (wide)
        test_f64();
    else
        test_f32();
    printf("log: max error %.4f ULP at %a\n", worst, worst_at);
    return check_end();
}
