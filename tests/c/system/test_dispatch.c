/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of a tier: every combination of what the CPU says, what the system
 * saves, what the build has and what the user asks for, with a CPU made of a table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "rows.h"
#include "platform/cpu.h"
#include "dispatch/dispatch.h"
#include "kernels/fourier/fourier.h"
#include "lanemax/lanemax.h"
#include "dispatch/selftest.h"
#include "kernels/gemm/tile.h"

#if defined(__x86_64__)
/* ------------------------------------------------------------ the faked CPU --- */

static struct {
    uint32_t leaves; /* the highest leaf */
    uint32_t c1, b7; /* leaf 1 ecx, leaf 7 ebx */
    uint64_t xcr0;
    unsigned asked, xgetbvs;
    bool past_the_last; /* a leaf was asked for that does not exist */
} fake;

static void fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    memset(regs, 0, 4 * sizeof *regs);
    fake.asked++;
    if (leaf == 0) {
        regs[0] = fake.leaves;
    } else if (leaf > fake.leaves) {
        fake.past_the_last = true;
        memset(regs, 0xff, 4 * sizeof *regs); /* Intel answers with the highest leaf: rubbish */
    } else if (leaf == 1) {
        regs[2] = fake.c1;
    } else if (leaf == 7 && subleaf == 0) {
        regs[1] = fake.b7;
    }
}

static uint64_t fake_xgetbv0(void)
{
    fake.xgetbvs++;
    return fake.xcr0;
}

enum {
    C1_FMA = 1u << 12,
    C1_OSXSAVE = 1u << 27,
    C1_AVX = 1u << 28,
    C1_F16C = 1u << 29,
    B7_AVX2 = 1u << 5,
    B7_F = 1u << 16,
    B7_DQ = 1u << 17,
    B7_BW = 1u << 30
};
#  define B7_VL   (1u << 31)
#  define ALL_C1  ((uint32_t)C1_FMA | C1_OSXSAVE | C1_AVX | C1_F16C)
#  define ALL_512 ((uint32_t)B7_F | B7_DQ | B7_BW | B7_VL)
#  define ALL_B7  (B7_AVX2 | ALL_512)

static uint32_t detect(uint32_t leaves, uint32_t c1, uint32_t b7, uint64_t xcr0)
{
    static const lmx_cpuid faked = { fake_cpuid, fake_xgetbv0 };
    memset(&fake, 0, sizeof fake);
    fake.leaves = leaves;
    fake.c1 = c1;
    fake.b7 = b7;
    fake.xcr0 = xcr0;
    return lmx_cpu_features_from(&faked);
}
#endif

static void test_detection(void)
{
#if defined(__x86_64__)
    static const uint64_t xcr0s[] = { 0,    1,    2,    3,    4,     6,           7,
                                      0x26, 0x46, 0x86, 0x66, 0xa6,  0xc6,        0xe0,
                                      0xe2, 0xe4, 0xe6, 0xe7, 0x2e7, ~UINT64_C(0) };
    static const uint32_t c1_bits[] = { C1_FMA, C1_OSXSAVE, C1_AVX, C1_F16C };
    static const uint32_t b7_bits[] = { B7_AVX2, B7_F, B7_DQ, B7_BW, B7_VL };
    check_at.test = "detection";
    for (uint32_t c = 0; c < 1u << 4; c++)
        for (uint32_t b = 0; b < 1u << 5; b++)
            for (size_t k = 0; k < sizeof xcr0s / sizeof *xcr0s; k++)
                for (uint32_t rest = 0; rest < 2; rest++) { /* unrelated bits do not matter */
                    uint32_t c1 = 0, b7 = 0;
                    for (size_t i = 0; i < 4; i++)
                        c1 |= c >> i & 1 ? c1_bits[i] : 0;
                    for (size_t i = 0; i < 5; i++)
                        b7 |= b >> i & 1 ? b7_bits[i] : 0;
                    if (rest != 0) {
                        c1 |= ~ALL_C1;
                        b7 |= ~ALL_B7;
                    }
                    const uint32_t got = detect(13, c1, b7, xcr0s[k]);
                    const bool avx2 =
                        (c1 & ALL_C1) == ALL_C1 && (b7 & B7_AVX2) != 0 && (xcr0s[k] & 6) == 6;
                    const bool avx512 =
                        avx2 && (b7 & ALL_512) == ALL_512 && (xcr0s[k] & 0xe6) == 0xe6;
                    const uint32_t want = (avx2 ? (uint32_t)LMX_CPU_AVX2 : 0) |
                                          (avx512 ? (uint32_t)LMX_CPU_AVX512 : 0);
                    check_count(1);
                    if (got != want)
                        check_fail("ecx=%#x ebx=%#x xcr0=%#llx: got %#x want %#x", c1, b7,
                                   (unsigned long long)xcr0s[k], got, want);
                    if (fake.xgetbvs != 0 && (c1 & C1_OSXSAVE) == 0)
                        check_fail("XGETBV without OSXSAVE is an illegal instruction");
                    if (fake.past_the_last)
                        check_fail("asked for a leaf that does not exist");
                }
    /* Old CPUs: no leaf 7, or nothing at all. */
    for (uint32_t leaves = 0; leaves < 7; leaves++) {
        CHECK(detect(leaves, ALL_C1, ALL_B7, 0xe7) == 0);
        CHECK(!fake.past_the_last);
    }
    CHECK(detect(7, ALL_C1, ALL_B7, 0xe7) == (LMX_CPU_AVX2 | LMX_CPU_AVX512));
#else
    check_skip("detection", "no CPUID on this architecture");
#endif
    /* The real one agrees with an independent look. */
    CHECK(((lmx_cpu_features() & LMX_CPU_AVX2) != 0) == check_cpu_runs("avx2"));
#if !defined(__APPLE__)
    CHECK(((lmx_cpu_features() & LMX_CPU_AVX512) != 0) == check_cpu_runs("avx512"));
#endif
    CHECK(((lmx_cpu_features() & LMX_CPU_NEON) != 0) == check_cpu_runs("neon"));
}

static void test_choice(void)
{
    static const char *const names[] = { "avx512",  "avx2", "neon",         "portable",
                                         "",        "AVX2", "avx",          "avx5",
                                         "avx512 ", "sse2", "portable,avx2" };
    check_at.test = "choice";
    for (uint32_t features = 0; features < 8; features++) {
        const lmx_tier *const best = lmx_tier_choose(features, NULL);
        CHECK(best != NULL && (best->needs & ~features) == 0);
        for (size_t i = 0; lmx_tier_at(i) != best; i++)
            CHECK((lmx_tier_at(i)->needs & ~features) != 0); /* nothing better was passed over */
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const lmx_tier *const got = lmx_tier_choose(features, names[k]);
            const lmx_tier *want = NULL;
            for (size_t i = 0; lmx_tier_at(i) != NULL; i++)
                if (strcmp(lmx_tier_at(i)->isa, names[k]) == 0 &&
                    (lmx_tier_at(i)->needs & ~features) == 0)
                    want = lmx_tier_at(i);
            CHECK(got == want);
        }
    }
    CHECK(lmx_tier_at(0) != NULL && lmx_tier_at(100) == NULL && lmx_tier_at((size_t)-1) == NULL);
}

/* Each tier of the build fills every slot for every element type. */
static void test_tables(void)
{
    check_at.test = "tables";
    for (size_t i = 0; lmx_tier_at(i) != NULL; i++) {
        const lmx_tier *const tier = lmx_tier_at(i);
        check_at.tier = tier->isa;
        for (size_t d = 0; d < LMX_DTYPES; d++) {
            static const size_t size[LMX_DTYPES] = { 4, 8, 2, 2 };
            const lmx_table *const t = tier->table[d];
            check_at.n = d;
            if (!CHECK(t != NULL))
                continue;
            CHECK(strcmp(t->isa, tier->isa) == 0);
            CHECK(t->elem_size == size[d] && t->real_size == (d == 1 ? 8 : 4));
            CHECK(t->gather != NULL && t->scatter != NULL && t->put_value != NULL);
            CHECK(t->fill != NULL && t->get != NULL && t->pack != NULL && t->tile != NULL);
            CHECK(t->fourier != NULL && t->log != NULL && t->soften != NULL && t->softcap != NULL);
            for (size_t op = 0; op < LMX_LOSS_COUNT; op++)
                CHECK(t->loss[op] != NULL);
            for (size_t op = 0; op < LMX_UNARY_COUNT; op++)
                CHECK(t->unary[op] != NULL);
            for (size_t op = 0; op < LMX_CHANNEL_COUNT; op++)
                CHECK(t->channel[op] != NULL);
            for (int op = 0; op < LMX_ROW_COUNT; op++) {
                const lmx_row_kernel *const k = t->row[op];
                if (CHECK(k != NULL))
                    CHECK((k->elem_size == t->elem_size || k->elem_size == t->real_size) &&
                          k->measure != NULL && k->fold != NULL && k->apply != NULL &&
                          k->rows != NULL &&
                          (k->measure_columns != NULL) == (k->apply_columns != NULL));
            }
        }
    }
    check_at.tier = NULL;
    check_at.n = 0;
}

static void no_product(const lmx_tile_product *p) { (void)p; }

static void no_correlation(const lmx_series *a, const lmx_series *c) { (void)a, (void)c; }

static void no_transform(const lmx_fft *f, double *re, double *im, double *work)
{
    (void)f, (void)re, (void)im, (void)work;
}

/* Every tier passes its self-test, fast; one with a wrong kernel, in any slot and type, does not. */
static void test_selftest(void)
{
    check_at.test = "self-test";
    size_t last = 0;
    while (lmx_tier_at(last + 1) != NULL)
        last++;
    const lmx_tier *const portable = lmx_tier_at(last);
    for (size_t i = 0; i <= last; i++) {
        if ((lmx_tier_at(i)->needs & ~lmx_cpu_features()) != 0)
            continue;
        check_at.tier = lmx_tier_at(i)->isa;
        CHECK(lmx_tier_works(lmx_tier_at(i)));
        const double started = check_seconds();
        CHECK(lmx_tier_agrees(lmx_tier_at(i), portable));
        printf("self-test of %s: %.2f ms\n", check_at.tier, 1e3 * (check_seconds() - started));
    }
    for (size_t d = 0; d < LMX_DTYPES; d++) {
        lmx_table table = *portable->table[d];
        lmx_tier broken = *portable;
        broken.table[d] = &table;
        CHECK(lmx_tier_agrees(&broken, portable));
        for (int op = 0; op < LMX_ROW_COUNT; op++) { /* one operation does the work of another */
            int other = (op + 1) % LMX_ROW_COUNT;
            while ((lmx_row_op_info(other)->parameter[0].flags & LMX_EVEN) != 0)
                other = (other + 1) % LMX_ROW_COUNT; /* it relies on its parameter */
            table.row[op] = portable->table[d]->row[other];
            if (table.row[op]->elem_size == table.elem_size) /* else it is tried with the reals */
                CHECK(!lmx_tier_agrees(&broken, portable));
            table.row[op] = portable->table[d]->row[op];
        }
        for (int op = 0; op < LMX_LOSS_COUNT; op++) {
            int other = (op + 1) % LMX_LOSS_COUNT;
            if (other == LMX_LOSS_taylor_softmax_loss) /* it relies on its parameter */
                other++;
            table.loss[op] = portable->table[d]->loss[other];
            if (table.loss[op]->elem_size == table.elem_size)
                CHECK(!lmx_tier_agrees(&broken, portable));
            table.loss[op] = portable->table[d]->loss[op];
        }
        lmx_tile_kernel tile = *table.tile;
        table.tile = &tile;
        tile.multiply = no_product;
        CHECK(!lmx_tier_agrees(&broken, portable));
        table.tile = portable->table[d]->tile;
        lmx_fourier_kernel fourier = *table.fourier;
        table.fourier = &fourier;
        fourier.correlate = no_correlation;
        CHECK(!lmx_tier_agrees(&broken, portable));
        fourier.correlate = portable->table[d]->fourier->correlate;
        CHECK(lmx_tier_agrees(&broken, portable));
        fourier.fft = no_transform;
        CHECK(!lmx_tier_agrees(&broken, portable));
        table.fourier = portable->table[d]->fourier;
        table.scatter = portable->table[(d + 1) % LMX_DTYPES]->scatter;
        if (d != LMX_F32 && d != LMX_F64) /* of the same sizes */
            CHECK(!lmx_tier_agrees(&broken, portable));
    }
    check_at.tier = NULL;
}

/* LANEMAX_ISA is read once, so each value has a process of its own.  The result of the child:
 * the index of its tier, plus 64 if it says that the variable was ignored. */
static int default_tier_under(const char *value)
{
    const pid_t pid = fork();
    if (pid == 0) {
        if (value != NULL)
            setenv("LANEMAX_ISA", value, 1);
        else
            unsetenv("LANEMAX_ISA");
        const char *const name = lmx_isa_name(NULL);
        setenv("LANEMAX_ISA", "portable", 1); /* later changes mean nothing */
        if (strcmp(lmx_isa_name(NULL), name) != 0)
            _exit(127);
        for (int i = 0; lmx_tier_at((size_t)i) != NULL; i++)
            if (strcmp(lmx_tier_at((size_t)i)->isa, name) == 0)
                _exit(i + (lmx_isa_ignored() != 0 ? 64 : 0));
        _exit(126);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static void test_environment(void)
{
    check_at.test = "LANEMAX_ISA";
    const uint32_t have = lmx_cpu_features();
    int best = 0;
    while ((lmx_tier_at((size_t)best)->needs & ~have) != 0)
        best++;
    CHECK(default_tier_under(NULL) == best);
    CHECK(default_tier_under("") == best); /* empty means unset */
    CHECK(default_tier_under("nonsense") == best + 64);
    CHECK(default_tier_under("AVX2") == best + 64);
    CHECK(default_tier_under("../../etc/passwd") == best + 64);
    char lengthy[5000];
    const char *all[] = { "avx512", "avx2", "neon", "portable" };
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    CHECK(default_tier_under(lengthy) == best + 64);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        int want = best + 64; /* not built, or not for this CPU */
        for (int i = 0; lmx_tier_at((size_t)i) != NULL; i++)
            if (strcmp(lmx_tier_at((size_t)i)->isa, all[k]) == 0 &&
                (lmx_tier_at((size_t)i)->needs & ~have) == 0)
                want = i;
        if (!CHECK(default_tier_under(all[k]) == want))
            check_fail("for %s", all[k]);
    }
}

/* What the public functions say of the same. */
static void test_information(void)
{
    check_at.test = "lmx_isa_available";
    int n = 0;
    for (size_t i = 0; lmx_tier_at(i) != NULL; i++)
        if ((lmx_tier_at(i)->needs & ~lmx_cpu_features()) == 0) {
            const char *const name = lmx_isa_available(n++);
            CHECK(name != NULL && strcmp(name, lmx_tier_at(i)->isa) == 0);
            lmx_ctx *ctx = NULL;
            const lmx_options options = ctx_options(0, name);
            CHECK(lmx_ctx_create(&ctx, &options) == LMX_OK);
            CHECK(strcmp(lmx_isa_name(ctx), lmx_tier_at(i)->isa) == 0);
            lmx_ctx_free(ctx);
        } else {
            lmx_ctx *ctx = NULL;
            const lmx_options options = ctx_options(0, lmx_tier_at(i)->isa);
            CHECK(lmx_ctx_create(&ctx, &options) == LMX_ERR_ISA && ctx == NULL);
        }
    CHECK(n > 0 && strcmp(lmx_isa_available(n - 1), "portable") == 0);
    CHECK(lmx_isa_available(n) == NULL && lmx_isa_available(1000) == NULL &&
          lmx_isa_available(-1) == NULL);
    CHECK(lmx_cpu_cache() == 0 ||
          (lmx_cpu_cache() >= 1 << 14 && lmx_cpu_cache() <= (size_t)1 << 34));
}

int main(void)
{
    check_begin("dispatch");
    test_environment(); /* first: nothing may have asked for the default yet */
    test_detection();
    test_choice();
    test_tables();
    test_selftest();
    test_information();
    return check_end();
}
