/* SPDX-License-Identifier: Apache-2.0 */
/* Classes as callers have them, in integers of any type. */
#ifndef LMX_TARGETS_H
#define LMX_TARGETS_H

#include "base/common.h"
#include "lanemax/lanemax.h"

LMX_INLINE size_t lmx_int_size(lmx_int type) { return (size_t)1 << ((unsigned)type & 3); }

/* Element `at` of an array; INT64_MIN for what int64_t cannot hold, which is no class. */
LMX_INLINE int64_t lmx_class_at(const void *target, lmx_int type, ptrdiff_t at)
{
    switch (type) {
    case LMX_I8:
        return ((const int8_t *)target)[at];
    case LMX_I16:
        return ((const int16_t *)target)[at];
    case LMX_I32:
        return ((const int32_t *)target)[at];
    case LMX_I64:
        return ((const int64_t *)target)[at];
    case LMX_U8:
        return ((const uint8_t *)target)[at];
    case LMX_U16:
        return ((const uint16_t *)target)[at];
    case LMX_U32:
        return ((const uint32_t *)target)[at];
    case LMX_U64:
        break;
    }
    const uint64_t v = ((const uint64_t *)target)[at];
    return v > INT64_MAX ? INT64_MIN : (int64_t)v;
}

#endif
