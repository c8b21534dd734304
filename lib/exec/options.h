/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of the structs that programs fill: the initialisers write them, and every entry that reads a struct compares. */
#ifndef LMX_OPTIONS_H
#define LMX_OPTIONS_H

#include <string.h>

#include "base/common.h"

/* One number for each struct, so that one which was initialised as another kind is refused. */
enum {
    LMX_TAG_CTX = 1,
    LMX_TAG_ROW,
    LMX_TAG_LOSS,
    LMX_TAG_LINEAR,
    LMX_TAG_UNARY,
    LMX_TAG_CHANNEL,
    LMX_TAG_BATCH,
    LMX_TAG_DESCRIPTION,
    LMX_TAG_STATE,
    LMX_TAG_FOURIER
};

/* Neither 0 nor a size alone: memory that is zeroed or filled by hand has another value. */
LMX_INLINE uint64_t lmx_tag(unsigned kind, size_t size)
{
    return (uint64_t)0x6c6d << 48 | (uint64_t)kind << 32 | (uint64_t)size;
}

/* Zeroes *options, whose first field is its tag, and writes the tag. */
#define LMX_OPTIONS_BEGIN(options, kind)    \
  (memset((options), 0, sizeof *(options)), \
   (void)((options)->tag = lmx_tag((kind), sizeof *(options))))

#define LMX_OPTIONS_FIT(options, kind) ((options)->tag == lmx_tag((kind), sizeof *(options)))

#endif
