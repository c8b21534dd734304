/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exponential kernel by itself, exp(x) = m 2^e: every float with 2^-25 <= |x| <= 2^18
 * against a double reference (at most 2 ULP), never decreasing, 1 at 0, and the same
 * bits in every tier.  double: random points against long double.
 *
 *   test_exp positive|negative|zero|f64
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "platform/cpu.h"
#include "dispatch/dispatch.h"
#include "kernels/paper/paper.h"

#define MAX_ULP 2.0
#define BLOCK   4096

#define F32  0
#define F64  1
#define F16  2
#define BF16 3

static const lmx_tier *tier_of[8];
static size_t n_tiers;

/*
 * exp(x) 2^-e for |x - e ln2| <= 0.4, relative error below 2^-50: the first part of ln2 has 32
 * bits, so that its product with e is exact, and the series ends below 2^-57.  No call in the
 * loop, so that the compiler makes vectors of it.
 */
static double reference(double x, double e)
{
    double t = x - e * 0x1.62e42feep-1;
    t -= e * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 6227020800;
    p = p * t + 1.0 / 479001600;
    p = p * t + 1.0 / 39916800;
    p = p * t + 1.0 / 3628800;
    p = p * t + 1.0 / 362880;
    p = p * t + 1.0 / 40320;
    p = p * t + 1.0 / 5040;
    p = p * t + 1.0 / 720;
    p = p * t + 1.0 / 120;
    p = p * t + 1.0 / 24;
    p = p * t + 1.0 / 6;
    p = p * t + 0.5;
    return 1 + (t + t * t * p);
}

typedef struct block {
    float x[BLOCK], m[BLOCK], other_m[BLOCK];
    int32_t e[BLOCK], other_e[BLOCK];
    double error[BLOCK]; /* in ULP of the exact result */
} block;

/* The unit in the last place of a float near v, v in [0.5, 2). */
static double ulp_near(double v) { return v < 1 ? 0x1p-24 : 0x1p-23; }

static void measure(block *b)
{
    for (size_t i = 0; i < BLOCK; i++) {
        const double exact = reference((double)b->x[i], b->e[i]);
        b->error[i] = fabs((double)b->m[i] - exact) / ulp_near(exact);
    }
}

/* The value of m 2^e relative to 2^of, in double: exact, or clearly smaller or larger. */
static double relative(float m, int32_t e, int32_t of) { return ldexp((double)m, e - of); }

static void test_f32(bool negative)
{
    static block b;
    const uint32_t first = check_f32_bits(0x1p-25f), last = check_f32_bits(0x1p+18f);
    const uint32_t step = check_fast ? 64 : 1, sign = negative ? 0x80000000u : 0;
    double worst = 0;
    float worst_at = 0, last_m = 1;
    int32_t last_e = 0;
    uint64_t blocks = 0;
    check_at.dtype = "f32";
    check_at.test = negative ? "exp of negative floats" : "exp of positive floats";
    for (uint64_t u = first; u <= last; u += (uint64_t)step * BLOCK, blocks++) {
        size_t n = 0;
        for (; n < BLOCK; n++) { /* the last ones again, to fill a block */
            const uint64_t at = u + (uint64_t)step * n;
            b.x[n] = check_f32((uint32_t)(at < last ? at : last) | sign);
        }
        check_at.tier = tier_of[0]->isa;
        lmx_paper_of(tier_of[0]->isa, 0)->exp_split(b.x, BLOCK, b.m, b.e);
        measure(&b);
        for (size_t i = 0; i < BLOCK; i++) {
            if (!(b.error[i] <= worst)) {
                worst = b.error[i];
                worst_at = b.x[i];
                if (!(worst <= MAX_ULP))
                    check_fail("exp(%a) = %a 2^%d, %.3f ULP", (double)b.x[i], (double)b.m[i],
                               b.e[i], worst);
            }
            /* Same exponent nearly always, then the mantissas compare. */
            const bool falls = b.e[i] == last_e ? (negative ? b.m[i] > last_m : b.m[i] < last_m)
                               : negative       ? relative(b.m[i], b.e[i], last_e) > (double)last_m
                                                : relative(b.m[i], b.e[i], last_e) < (double)last_m;
            if (falls)
                check_fail("not monotonic: exp(%a) = %a 2^%d, before it %a 2^%d", (double)b.x[i],
                           (double)b.m[i], b.e[i], (double)last_m, last_e);
            last_m = b.m[i];
            last_e = b.e[i];
        }
        for (size_t t = 1; t < n_tiers; t++) {
            /* Without vectors it is slow, and the other kernels compare it too. */
            if (strcmp(tier_of[t]->isa, "portable") == 0 && !check_full && blocks % 16 != 0)
                continue;
            check_at.tier = tier_of[t]->isa;
            lmx_paper_of(tier_of[t]->isa, 0)->exp_split(b.x, BLOCK, b.other_m, b.other_e);
            check_same(b.other_m, b.m, sizeof b.m, sizeof *b.m);
            check_same(b.other_e, b.e, sizeof b.e, sizeof *b.e);
            check_count(BLOCK);
        }
        check_count(BLOCK);
    }
    printf("%s: max error %.4f ULP at x = %a\n", check_at.test, worst, (double)worst_at);
}

/* Around 0, and 16-bit values, which are floats. */
static void test_zero(void)
{
    static const float tiny[] = { 0,          -0.0f,    0x1p-149f, -0x1p-149f, 0x1p-126f,
                                  -0x1p-126f, 0x1p-60f, -0x1p-60f, 0x1p-26f,   -0x1p-26f };
    enum { N = sizeof tiny / sizeof *tiny };
    for (size_t t = 0; t < n_tiers; t++) {
        float m[N];
        double d[N], md[N];
        int32_t e[N];
        check_at.tier = tier_of[t]->isa;
        check_at.dtype = "f32";
        check_at.test = "exp at 0";
        lmx_paper_of(tier_of[t]->isa, 0)->exp_split(tiny, N, m, e);
        for (size_t i = 0; i < N; i++)
            if (!CHECK(ldexp((double)m[i], e[i]) == 1))
                check_fail("exp(%a) = %a 2^%d", (double)tiny[i], (double)m[i], e[i]);
        check_at.dtype = "f64";
        for (size_t i = 0; i < N; i++)
            d[i] = ldexp((double)tiny[i], fabs((double)tiny[i]) >= 0x1p-26 ? -30 : 0);
        lmx_paper_of(tier_of[t]->isa, 1)->exp_split(d, N, md, e);
        for (size_t i = 0; i < N; i++)
            CHECK(ldexp(md[i], e[i]) == 1);

        /* All 16-bit values become the floats that they are. */
        for (int type = F16; type <= BF16; type++) {
            check_at.dtype = type == F16 ? "f16" : "bf16";
            check_at.test = "all 16-bit values as floats";
            for (uint32_t h = 0; h < 65536; h++) {
                static const lmx_gather as_is = { .stride = 1, .rate = 1 };
                const uint16_t stored = (uint16_t)h;
                const float want = type == F16 ? (float)check_from_f16(stored) : check_f32(h << 16);
                float got;
                tier_of[t]->table[type]->gather(&stored, 1, &as_is, &got);
                if (want != want)
                    CHECK(got != got);
                else
                    check_bits(h, check_f32_bits(got), check_f32_bits(want), 32);
                check_count(1);
            }
        }
    }
}

static void test_f64(void)
{
    static double x[BLOCK], m[BLOCK], other[BLOCK];
    static int32_t e[BLOCK], other_e[BLOCK];
    const size_t blocks = check_full ? 25000 : check_fast ? 20 : 2500;
    double worst = 0, worst_at = 0;
    check_at.dtype = "f64";
    check_at.test = "exp of doubles";
    check_random r = check_random_new(check_at.seed = 8);
    for (size_t k = 0; k < blocks; k++) {
        for (size_t i = 0; i < BLOCK; i++) {
            switch (i & 3) {
            case 0:
                x[i] = ldexp(check_uniform(&r, -1, 1), 18 - (int)check_below(&r, 80));
                break;
            case 1:
                x[i] = check_uniform(&r, -0x1p+18, 0x1p+18);
                break;
            case 2:
                x[i] = check_uniform(&r, -50, 50);
                break;
            default: /* where rounding to an integer exponent is a tie */
                x[i] = ((double)check_below(&r, 700000) - 350000 + 0.5) * 0.693147180559945309417 +
                       check_uniform(&r, -1, 1) * 0x1p-40;
                x[i] = x[i] > 0x1p+18 ? 0x1p+18 : x[i] < -0x1p+18 ? -0x1p+18 : x[i];
            }
        }
        check_at.tier = tier_of[0]->isa;
        lmx_paper_of(tier_of[0]->isa, 1)->exp_split(x, BLOCK, m, e);
        for (size_t i = 0; i < BLOCK; i++) {
            /* ln2 in 40 bits and a rest: exact products with e in long double of 64 bits. */
            const long double t = ((long double)x[i] - (long double)e[i] * 0x1.62e42fefa0p-1L) -
                                  (long double)e[i] * 0x1.cf79abc9e3b3ap-40L;
            const long double exact = expl(t);
            const double error =
                (double)(fabsl((long double)m[i] - exact) / (exact < 1 ? 0x1p-53L : 0x1p-52L));
            if (!(error <= worst)) {
                worst = error;
                worst_at = x[i];
                if (!(worst <= MAX_ULP))
                    check_fail("exp(%a) = %a 2^%d, %.3f ULP", x[i], m[i], e[i], worst);
            }
        }
        for (size_t t = 1; t < n_tiers; t++) {
            check_at.tier = tier_of[t]->isa;
            lmx_paper_of(tier_of[t]->isa, 1)->exp_split(x, BLOCK, other, other_e);
            check_same(other, m, sizeof m, sizeof *m);
            check_same(other_e, e, sizeof e, sizeof *e);
        }
        check_count(BLOCK * n_tiers);
    }
    printf("%s: max error %.4f ULP at x = %a\n", check_at.test, worst, worst_at);
}

int main(int argc, char **argv)
{
    const char *const what = argc == 2 ? argv[1] : "";
    char program[32];
    snprintf(program, sizeof program, "exp-%s", what);
    check_begin(program);
    for (size_t i = 0; lmx_tier_at(i) != NULL && n_tiers < 8; i++)
        if ((lmx_tier_at(i)->needs & ~lmx_cpu_features()) == 0)
            tier_of[n_tiers++] = lmx_tier_at(i);
    if (strcmp(what, "positive") == 0)
        test_f32(false);
    else if (strcmp(what, "negative") == 0)
        test_f32(true);
    else if (strcmp(what, "zero") == 0)
        test_zero();
    else if (strcmp(what, "f64") == 0)
        test_f64();
    else {
        fprintf(stderr, "usage: test_exp positive|negative|zero|f64\n");
        return 2;
    }
    return check_end();
}
