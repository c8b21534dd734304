/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vector header: one small set of operations, four hand-written implementations, one of which
 * this file includes.  Kernels are written once against it and compiled for every tier (LMX_TIER_*)
 * and element type (LMX_ELEM_*).  tests/c/kernels/test_simd.c holds every tier to the contract below bit
 * for bit.
 *
 * Types
 *   elem    as stored: float, double, or uint16_t holding binary16 or bfloat16
 *   real    as computed: float, or double for LMX_ELEM_F64
 *   ibits   the signed integer of real's width
 *   vreal   V_LANES reals; V_LANES divides 32
 *   vint    V_LANES integers of real's width
 *   vmask   V_LANES truth values
 *   vwide   V_LANES sums wider than real: double lanes for float, compensated
 *           pairs for double
 *
 * Memory: no operation touches a byte outside its n elements, and alignment matters for nontemporal
 * stores only
 *   v_load(p) v_store(p, v)             V_LANES reals
 *   v_load_n(p, n, fill)                n <= V_LANES reals (0 too), fill behind them
 *   v_store_n(p, v, n)                  the first n <= V_LANES lanes
 *   v_stream(p, v)                      a nontemporal v_store; p is a multiple of the vector's size
 *   e_load e_store e_load_n e_store_n e_stream
 *                                       the same on elem: exact on load, one rounding to nearest
 *                                       even on store, subnormals kept, NaN stays a (quiet) NaN
 *   v_fence()                           orders nontemporal stores before later stores
 *
 * Arithmetic; every one rounds once, to nearest even
 *   v_set1 v_add v_sub v_mul v_div v_fma(a, b, c) = a * b + c
 *   v_max(a, b) = a > b ? a : b         so the result is b when either is NaN, and for equal zeros
 *   v_min(a, b) = a < b ? a : b         likewise
 *   v_hmax(v)                           the largest lane; no promise for NaN
 *
 * Permutations
 *   v_evens(a, b) v_odds(a, b)          every second lane of a, then of b, from 0 or from 1 on
 *   v_zip_low(e, o) v_zip_high(e, o)    the inverse: a = e0 o0 e1 o1 ..., and b
 *
 * Masks
 *   v_gt(a, b) v_eq(a, b) v_isnan(v) v_select(m, a, b) = m ? a : b    m_any(m)
 *
 * Integers on the bits of reals; addition wraps
 *   v_bits v_from_bits vi_set1 vi_add vi_shl(v, constant) vi_shr(v, constant), which fills with 0
 *   v_table8(t, i)                      t[i & 7] of eight 32-bit entries (float only)
 *
 * Wide sums
 *   vw_zero()  vw_of(v)  vw_add(w, v)  vw_merge(a, b) adds lane by lane
 *   vw_fma(w, a, b) adds a * b (float: one rounding to double; double: both parts of the product)
 *   vw_mul(a, b) multiplies lane by lane (float: one rounding to double; double: within 2^-102)
 *   vw_store(hi, lo, w) writes V_LANES doubles to each of hi and lo, vw_load(hi, lo) reads them
 *   vw_total(w)                         float only: adds lanes i and i + V_LANES / 2, and so on
 */
#ifndef LMX_SIMD_H
#define LMX_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/common.h"

#if defined(LMX_ELEM_F32)
#  define LMX_DTYPE f32
#elif defined(LMX_ELEM_F64)
#  define LMX_DTYPE f64
#  define LMX_REAL_F64 1
#elif defined(LMX_ELEM_F16)
#  define LMX_DTYPE f16
#elif defined(LMX_ELEM_BF16)
#  define LMX_DTYPE bf16
#else
#  error "kernel files are compiled with one of LMX_ELEM_F32, _F64, _F16, _BF16"
#endif

#if defined(LMX_REAL_F64)
#  define LMX_REAL f64
typedef double  real;
typedef int64_t ibits;
#else
#  define LMX_REAL f32
typedef float   real;
typedef int32_t ibits;
#endif

#if defined(LMX_ELEM_F16) || defined(LMX_ELEM_BF16)
#  define LMX_ELEM_IS_REAL 0
typedef uint16_t elem;
#else
#  define LMX_ELEM_IS_REAL 1
typedef real elem;
#endif

/* The virtual width: element i of a row belongs to lane i mod 32, in every tier. */
#define LMX_LANES 32

#define LMX_INF  ((real)INFINITY)
/* The quiet NaN without sign or payload, 0x7fc00000 or 0x7ff8000000000000. */
#define LMX_QNAN ((real)NAN)

#if defined(LMX_TIER_AVX512)
#  include "simd/simd_avx512.h"
#elif defined(LMX_TIER_AVX2)
#  include "simd/simd_avx2.h"
#elif defined(LMX_TIER_NEON)
#  include "simd/simd_neon.h"
#elif defined(LMX_TIER_PORTABLE)
#  include "simd/simd_portable.h"
#else
#  error "kernel files are compiled with one of LMX_TIER_PORTABLE, _AVX2, _AVX512, _NEON"
#endif

/*
 * The name of a kernel: lmx_<name>_<dtype>_<tier>; and of the one that takes the reals of this
 * type.
 */
#define LMX_K(name)      LMX_CAT4(lmx_##name, _, LMX_DTYPE, _, LMX_ISA)
#define LMX_K_REAL(name) LMX_CAT4(lmx_##name, _, LMX_REAL, _, LMX_ISA)

#if LMX_ELEM_IS_REAL
LMX_INLINE vreal e_load(const elem *p) { return v_load(p); }
LMX_INLINE void  e_store(elem *p, vreal v) { v_store(p, v); }
LMX_INLINE vreal e_load_n(const elem *p, size_t n, real fill) { return v_load_n(p, n, fill); }
LMX_INLINE void  e_store_n(elem *p, vreal v, size_t n) { v_store_n(p, v, n); }
LMX_INLINE void  e_stream(elem *p, vreal v) { v_stream(p, v); }
#endif

#if defined(LMX_REAL_F64)
/* Compensated sums, from the operations above: hi + lo holds the sum to about 106 bits. */
typedef struct { vreal hi, lo; } vwide;

LMX_INLINE vwide vw_zero(void) { return (vwide){ v_set1(0), v_set1(0) }; }

LMX_INLINE vwide vw_add(vwide w, vreal v)
{
    /* TwoSum (Knuth): s + e is hi + v exactly, whichever is larger. */
    const vreal s = v_add(w.hi, v);
    const vreal b = v_sub(s, w.hi);
    const vreal e = v_add(v_sub(w.hi, v_sub(s, b)), v_sub(v, b));
    return (vwide){ s, v_add(w.lo, e) };
}

LMX_INLINE vwide vw_fma(vwide w, vreal a, vreal b)
{
    /* Dot2 (Ogita, Rump, Oishi 2005) with the product split by FMA. */
    const vreal p = v_mul(a, b);
    const vreal e = v_fma(a, b, v_sub(v_set1(0), p));
    w = vw_add(w, p);
    return (vwide){ w.hi, v_add(w.lo, e) };
}

LMX_INLINE vwide vw_of(vreal v) { return (vwide){ v, v_set1(0) }; }

LMX_INLINE vwide vw_mul(vwide a, vwide b)
{
    const vreal p = v_mul(a.hi, b.hi);
    const vreal e = v_fma(a.hi, b.hi, v_sub(v_set1(0), p));
    return (vwide){ p, v_add(e, v_fma(a.hi, b.lo, v_mul(a.lo, b.hi))) };
}

LMX_INLINE vwide vw_merge(vwide a, vwide b)
{
    a.lo = v_add(a.lo, b.lo);
    return vw_add(a, b.hi);
}

LMX_INLINE void vw_store(double *hi, double *lo, vwide w)
{
    v_store(hi, w.hi);
    v_store(lo, w.lo);
}
#endif

#if defined(LMX_REAL_F64)
LMX_INLINE vwide vw_load(const double *hi, const double *lo)
{
    return (vwide){ v_load(hi), v_load(lo) };
}
#endif

/* One scalar element, for strided access; the vector conversions give the same bits. */
#if LMX_ELEM_IS_REAL
LMX_INLINE real e_get(const elem *p) { return *p; }
LMX_INLINE void e_put(elem *p, real v) { *p = v; }
#elif defined(LMX_ELEM_BF16)
LMX_INLINE real e_get(const elem *p)
{
    const uint32_t u = (uint32_t)*p << 16;
    real v;
    memcpy(&v, &u, sizeof v);
    return v;
}
LMX_INLINE void e_put(elem *p, real v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    if (v != v)
        *p = (elem)(u >> 16 | 0x40);
    else
        *p = (elem)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
#else
LMX_INLINE real e_get(const elem *p)
{
    real out[V_LANES];
    v_store(out, e_load_n(p, 1, 0));
    return out[0];
}
LMX_INLINE void e_put(elem *p, real v) { e_store_n(p, v_set1(v), 1); }
#endif

#endif
