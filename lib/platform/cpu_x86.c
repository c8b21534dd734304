/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/cpu.h"

#if defined(__x86_64__) || defined(_M_X64)

#  include <xmmintrin.h>
#  if defined(_MSC_VER)
#    include <intrin.h>
#  else
#    include <cpuid.h>
#  endif

static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
#  if defined(_MSC_VER)
    int r[4];
    __cpuidex(r, (int)leaf, (int)subleaf);
    for (int i = 0; i < 4; i++)
        regs[i] = (uint32_t)r[i];
#  else
    __cpuid_count(leaf, subleaf, regs[0], regs[1], regs[2], regs[3]);
#  endif
}

static uint64_t xgetbv0(void)
{
#  if defined(_MSC_VER)
    return _xgetbv(0);
#  else
    uint32_t lo, hi;
    /*
     * The instruction is given as bytes: the intrinsic needs -mxsave, which this file must not
     * have.
     */
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
#  endif
}

static int bit(uint32_t word, int i) { return word >> i & 1; }

uint32_t lmx_cpu_features_from(const lmx_cpuid *from)
{
    uint32_t r[4], features = 0;
    from->cpuid(0, 0, r);
    const uint32_t leaves = r[0];
    if (leaves < 7)
        return 0;
    from->cpuid(1, 0, r);
    const uint32_t c1 = r[2];
    if (!bit(c1, 27)) /* OSXSAVE: without it XGETBV does not exist */
        return 0;
    const uint64_t xcr0 = from->xgetbv0();
    from->cpuid(7, 0, r);
    const uint32_t b7 = r[1];
    /* 12 FMA, 28 AVX, 29 F16C; XCR0 1 and 2: xmm and ymm */
    if ((xcr0 & 0x6) == 0x6 && bit(c1, 12) && bit(c1, 28) && bit(c1, 29) && bit(b7, 5)) {
        features |= LMX_CPU_AVX2;
        /* F, DQ, BW, VL; XCR0 5 to 7: masks, upper halves, upper registers */
        if ((xcr0 & 0xe6) == 0xe6 && bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31))
            features |= LMX_CPU_AVX512;
    }
    return features;
}

uint32_t lmx_cpu_features(void)
{
    static const lmx_cpuid real = { cpuid, xgetbv0 };
    uint32_t features = lmx_cpu_features_from(&real);
#  if defined(__APPLE__)
    features &= ~(uint32_t)LMX_CPU_AVX512; /* macOS saves zmm only once a thread has trapped */
#  endif
    return features;
}

/* The largest data cache of leaf 4 (Intel) or 0x8000001d (AMD), which have the same format. */
size_t lmx_cpu_cache(void)
{
    uint32_t r[4];
    size_t largest = 0;
    for (int amd = 0; amd < 2 && largest == 0; amd++) {
        const uint32_t leaf = amd ? 0x8000001du : 4u;
        cpuid(amd ? 0x80000000u : 0u, 0, r);
        if (r[0] < leaf)
            continue;
        for (uint32_t i = 0; i < 16; i++) {
            cpuid(leaf, i, r);
            if ((r[0] & 31) == 0)
                break;
            if ((r[0] & 31) == 2) /* instructions */
                continue;
            const size_t line = (r[1] & 0xfff) + 1, parts = (r[1] >> 12 & 0x3ff) + 1;
            const size_t ways = (r[1] >> 22) + 1, sets = (size_t)r[2] + 1;
            const size_t bytes = line * parts * ways * sets;
            largest = bytes > largest ? bytes : largest;
        }
    }
    return largest;
}

/* MXCSR: all exceptions masked, to nearest, no FTZ, no DAZ, no flags. */
#  define MXCSR_PLAIN 0x1f80u

lmx_fpenv lmx_fpenv_enter(void)
{
    const lmx_fpenv saved = { _mm_getcsr(), 0 };
    if (saved.control != MXCSR_PLAIN)
        _mm_setcsr(MXCSR_PLAIN);
    return saved;
}

void lmx_fpenv_leave(lmx_fpenv saved) { _mm_setcsr((unsigned)saved.control); }

#endif
