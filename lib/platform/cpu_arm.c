/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AArch64, where Advanced SIMD is part of the architecture, and CPUs without a tier of their own.
 */
#include "platform/cpu.h"

#if !(defined(__x86_64__) || defined(_M_X64))

uint32_t lmx_cpu_features_from(const lmx_cpuid *from)
{
    (void)from;
    return lmx_cpu_features();
}

uint32_t lmx_cpu_features(void)
{
#  if defined(__aarch64__) || defined(_M_ARM64)
    return LMX_CPU_NEON;
#  else
    return 0;
#  endif
}

size_t lmx_cpu_cache(void) { return 0; /* the cache registers are not readable from user space */ }

#  if defined(__aarch64__)

lmx_fpenv lmx_fpenv_enter(void)
{
    lmx_fpenv saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved.control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(saved.status));
    if (saved.control != 0) /* to nearest, no flushing, no traps */
        __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return saved;
}

void lmx_fpenv_leave(lmx_fpenv saved)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(saved.control));
    __asm__ volatile("msr fpsr, %0" : : "r"(saved.status));
}

#  else
#    include <fenv.h>

/* A fenv_t does not fit in two words, so only the rounding mode and the flags are saved. */
lmx_fpenv lmx_fpenv_enter(void)
{
    lmx_fpenv saved = { (uint64_t)fegetround(), (uint64_t)fetestexcept(FE_ALL_EXCEPT) };
    fesetround(FE_TONEAREST);
    return saved;
}

void lmx_fpenv_leave(lmx_fpenv saved)
{
    fesetround((int)saved.control);
    feclearexcept(FE_ALL_EXCEPT & ~(int)saved.status);
}

#  endif
#endif
