/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU features that the operating system supports too, the cache size, and the floating-point
 * environment.
 */
#ifndef LMX_CPU_H
#define LMX_CPU_H

#include <stddef.h>
#include <stdint.h>

enum {
    LMX_CPU_AVX2 = 1u << 0,   /* AVX2, FMA, F16C, and ymm saved by the system */
    LMX_CPU_AVX512 = 1u << 1, /* F, DQ, BW, VL on top, and zmm and masks saved */
    LMX_CPU_NEON = 1u << 2
};

/* The two instructions that detection uses; tests replace them by functions. */
typedef struct lmx_cpuid {
    void (*cpuid)(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]); /* eax, ebx, ecx, edx */
    uint64_t (*xgetbv0)(void); /* called only where CPUID says that the system enabled it */
} lmx_cpuid;

/* The LMX_CPU_* bits that these instructions announce. */
uint32_t lmx_cpu_features_from(const lmx_cpuid *from);
uint32_t lmx_cpu_features(void);

/* The last-level data cache that one thread may count on, in bytes; 0 if unknown. */
size_t lmx_cpu_cache(void);

/*
 * The library computes with rounding to nearest, no flush to zero and no traps.  enter() sets this
 * environment and returns the caller's, sticky flags included; leave() restores it.
 */
typedef struct lmx_fpenv {
    uint64_t control, status;
} lmx_fpenv;
lmx_fpenv lmx_fpenv_enter(void);
void lmx_fpenv_leave(lmx_fpenv saved);

#endif
