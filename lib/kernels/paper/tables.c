/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/paper/paper.h"

#define DECLARE(isa) extern const lmx_paper_kernel lmx_paper_f32_##isa, lmx_paper_f64_##isa;
#define TIER(isa)                                        \
  {                                                      \
#    isa, { &lmx_paper_f32_##isa, &lmx_paper_f64_##isa } \
  }

#ifdef LMX_BUILD_AVX512
DECLARE(avx512)
#endif
#ifdef LMX_BUILD_AVX2
DECLARE(avx2)
#endif
#ifdef LMX_BUILD_NEON
DECLARE(neon)
#endif
DECLARE(portable)

static const struct {
    const char *isa;
    const lmx_paper_kernel *kernel[2];
} tiers[] = {
#ifdef LMX_BUILD_AVX512
    TIER(avx512),
#endif
#ifdef LMX_BUILD_AVX2
    TIER(avx2),
#endif
#ifdef LMX_BUILD_NEON
    TIER(neon),
#endif
    TIER(portable),
};

const lmx_paper_kernel *lmx_paper_of(const char *isa, int is_double)
{
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++)
        if (strcmp(tiers[i].isa, isa) == 0)
            return tiers[i].kernel[is_double != 0];
    return NULL;
}
