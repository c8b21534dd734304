/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version and ABI numbers, and the export mark.  Meson reads the numbers from
 * this file; nothing else in the tree repeats them.
 */
#ifndef LANEMAX_VERSION_H
#define LANEMAX_VERSION_H

#define LMX_VERSION_MAJOR 0
#define LMX_VERSION_MINOR 1
#define LMX_VERSION_PATCH 0
#define LMX_VERSION_STRING "0.1.0"

/* Changes only when a program built against an older header would break. */
#define LMX_ABI_VERSION 0

/* Changes when any documented result changes any bit; tests/golden.json belongs to one value. */
#define LMX_NUMERICS_VERSION 1

#if defined(_WIN32) && defined(LMX_SHARED)
#  ifdef LMX_BUILDING
#    define LMX_API __declspec(dllexport)
#  else
#    define LMX_API __declspec(dllimport)
#  endif
#elif defined(__GNUC__)
#  define LMX_API __attribute__((visibility("default")))
#else
#  define LMX_API
#endif

#endif
