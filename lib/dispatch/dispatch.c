/* SPDX-License-Identifier: Apache-2.0 */
/* The tiers of this build, best first, and the choice of one: a pointer that is set once. */
#if defined(__linux__)
#  define _GNU_SOURCE /* secure_getenv */
#endif
#include "dispatch/dispatch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch/selftest.h"
#include "lanemax/lanemax.h"
#include "platform/cpu.h"

#if defined(__AVX__) && !defined(LMX_ALLOW_NATIVE_PORTABLE)
#  error \
      "dispatch.c must run anywhere: compile it without AVX (or define LMX_ALLOW_NATIVE_PORTABLE)"
#endif

#define TABLES(isa)                                                                     \
  extern const lmx_table lmx_table_f32_##isa, lmx_table_f64_##isa, lmx_table_f16_##isa, \
      lmx_table_bf16_##isa;
#define TIER(isa, needs)                                                                      \
  {                                                                                           \
#    isa, needs,                                                                              \
    {                                                                                         \
      &lmx_table_f32_##isa, &lmx_table_f64_##isa, &lmx_table_f16_##isa, &lmx_table_bf16_##isa \
    }                                                                                         \
  }

#ifdef LMX_BUILD_AVX512
TABLES(avx512)
#endif
#ifdef LMX_BUILD_AVX2
TABLES(avx2)
#endif
#ifdef LMX_BUILD_NEON
TABLES(neon)
#endif
TABLES(portable)

/* Best first.  The last tier runs on every CPU, so the search always ends. */
static const lmx_tier tiers[] = {
#ifdef LMX_BUILD_AVX512
    TIER(avx512, LMX_CPU_AVX512),
#endif
#ifdef LMX_BUILD_AVX2
    TIER(avx2, LMX_CPU_AVX2),
#endif
#ifdef LMX_BUILD_NEON
    TIER(neon, LMX_CPU_NEON),
#endif
    TIER(portable, 0),
};

static _Atomic(const lmx_tier *) active;
static atomic_int ignored;

const lmx_tier *lmx_tier_at(size_t i)
{
    return i < sizeof tiers / sizeof *tiers ? &tiers[i] : NULL;
}

const lmx_tier *lmx_tier_choose(uint32_t features, const char *name)
{
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++)
        if ((tiers[i].needs & ~features) == 0 && (name == NULL || strcmp(name, tiers[i].isa) == 0))
            return &tiers[i];
    return NULL;
}

static const char * override(void)
{
#if defined(__GLIBC__)
    return secure_getenv("LANEMAX_ISA");
#else
    return getenv("LANEMAX_ISA");
#endif
}

/* For each tier LMX_WORKS or LMX_FAILS, or 0 while it has not been tested. */
enum { LMX_WORKS = 1, LMX_FAILS = 2 };
static atomic_int tried[sizeof tiers / sizeof *tiers];

int lmx_tier_works(const lmx_tier *tier)
{
    const size_t i = (size_t)(tier - tiers), last = sizeof tiers / sizeof *tiers - 1;
    int state = atomic_load_explicit(&tried[i], memory_order_acquire);
    if (state == 0) { /* two threads may both get here; they find the same */
        state = i == last || lmx_tier_agrees(tier, &tiers[last]) ? LMX_WORKS : LMX_FAILS;
        atomic_store_explicit(&tried[i], state, memory_order_release);
    }
    return state == LMX_WORKS;
}

/* lmx_tier_choose() among the tiers that pass the self-test. */
const lmx_tier *lmx_tier_usable(const char *name)
{
    uint32_t features = lmx_cpu_features();
    for (;;) {
        const lmx_tier *t = lmx_tier_choose(features, name);
        if (t == NULL || lmx_tier_works(t))
            return t;
        features &= ~t->needs;
    }
}

/* Two threads may both get here; they store the same pointer. */
const lmx_tier *lmx_tier_default(void)
{
    const lmx_tier *t = atomic_load_explicit(&active, memory_order_acquire);
    if (t == NULL) {
        const char *name = override();
        if (name != NULL && *name == '\0')
            name = NULL;
        t = lmx_tier_usable(name);
        if (t == NULL) {
            atomic_store_explicit(&ignored, 1, memory_order_relaxed);
            t = lmx_tier_usable(NULL);
        }
        atomic_store_explicit(&active, t, memory_order_release);
    }
    return t;
}

size_t lmx_cache_size(void)
{
    static _Atomic size_t known; /* bytes + 1 */
    size_t size = atomic_load_explicit(&known, memory_order_relaxed);
    if (size == 0) {
        size = lmx_cpu_cache() + 1;
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size - 1;
}

int lmx_tier_override_ignored(void)
{
    lmx_tier_default();
    return atomic_load_explicit(&ignored, memory_order_relaxed);
}

const char *lmx_isa_available(int i)
{
    const uint32_t features = lmx_cpu_features();
    int seen = 0;
    for (size_t k = 0; lmx_tier_at(k) != NULL; k++)
        if ((lmx_tier_at(k)->needs & ~features) == 0 && lmx_tier_works(lmx_tier_at(k)) &&
            seen++ == i)
            return lmx_tier_at(k)->isa;
    return NULL;
}

int lmx_isa_ignored(void) { return lmx_tier_override_ignored(); }
