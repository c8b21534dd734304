/* SPDX-License-Identifier: Apache-2.0 */
/* Compiler attributes.  This is the only file that asks which compiler is used. */
#ifndef LMX_COMMON_H
#define LMX_COMMON_H

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#  define LMX_INLINE            static __forceinline
#  define LMX_NOINLINE          static __declspec(noinline)
#  define LMX_RESTRICT          __restrict
#  define LMX_LIKELY(c)         (c)
#  define LMX_UNLIKELY(c)       (c)
#  define LMX_ALIGN(n)          __declspec(align(n))
#  define LMX_PREFETCH_WRITE(p) ((void)(p))
#  define LMX_PREFETCH_READ(p)  ((void)(p))
#else
#  define LMX_INLINE            static inline __attribute__((always_inline))
#  define LMX_NOINLINE          static __attribute__((noinline, unused))
#  define LMX_RESTRICT          __restrict__
#  define LMX_LIKELY(c)         __builtin_expect(!!(c), 1)
#  define LMX_UNLIKELY(c)       __builtin_expect(!!(c), 0)
#  define LMX_ALIGN(n)          __attribute__((aligned(n)))
#  define LMX_PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)
#  define LMX_PREFETCH_READ(p)  __builtin_prefetch((p), 0, 3)
#endif

/*
 * LMX_INLINE_VECTOR marks larger functions of vectors.  They are inlined where a vector is a
 * register.  They are called where it is an array (the portable tier), and under sanitizers, with
 * which compiling a kernel would take minutes.
 */
#if defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#    define LMX_SANITIZED 1
#  endif
#elif defined(__SANITIZE_ADDRESS__)
#  define LMX_SANITIZED 1
#endif
#if defined(LMX_TIER_PORTABLE) || defined(LMX_SANITIZED)
#  define LMX_INLINE_VECTOR LMX_NOINLINE
#else
#  define LMX_INLINE_VECTOR LMX_INLINE
#endif

#define LMX_CAT2_(a, b)          a##b
#define LMX_CAT2(a, b)           LMX_CAT2_(a, b)
#define LMX_CAT4_(a, b, c, d, e) a##b##c##d##e
#define LMX_CAT4(a, b, c, d, e)  LMX_CAT4_(a, b, c, d, e)

#endif
