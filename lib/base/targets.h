/* SPDX-License-Identifier: Apache-2.0 */
/* Reads class indices from the caller's arrays, which may hold integers of any type. */
#ifndef LMX_TARGETS_H
#define LMX_TARGETS_H

#include "base/common.h"
#include "lanemax/lanemax.h"

/* Whether it is an lmx_int. */
LMX_INLINE int lmx_is_integer(int type) { return type >= LMX_I8 && type <= LMX_U64; }

/* The bytes of one integer of that type. */
LMX_INLINE size_t lmx_int_size(lmx_int type) { return (size_t)1 << ((unsigned)type & 3); }

/*
 * Element `at` of an array.  A value that int64_t cannot hold becomes INT64_MIN, which is no class
 * either.
 */
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
