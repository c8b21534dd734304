/* SPDX-License-Identifier: Apache-2.0 */
/* AArch64 Advanced SIMD, which every AArch64 CPU has.  Contracts: simd.h. */
#if !defined(__aarch64__) && !defined(_M_ARM64)
#  error "the neon tier must be compiled for AArch64"
#endif
#include <arm_neon.h>

#define LMX_ISA neon

#if defined(LMX_REAL_F64)
#define V_LANES 2
typedef float64x2_t vreal;
typedef int64x2_t   vint;
typedef uint64x2_t  vmask;

LMX_INLINE vreal v_set1(real a) { return vdupq_n_f64(a); }
LMX_INLINE vreal v_load(const real *p) { return vld1q_f64(p); }
LMX_INLINE void  v_store(real *p, vreal v) { vst1q_f64(p, v); }
LMX_INLINE vreal v_add(vreal a, vreal b) { return vaddq_f64(a, b); }
LMX_INLINE vreal v_sub(vreal a, vreal b) { return vsubq_f64(a, b); }
LMX_INLINE vreal v_mul(vreal a, vreal b) { return vmulq_f64(a, b); }
LMX_INLINE vreal v_div(vreal a, vreal b) { return vdivq_f64(a, b); }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return vfmaq_f64(c, a, b); }
/* FMAX propagates NaN from either side; the contract is a comparison. */
LMX_INLINE vreal v_max(vreal a, vreal b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
LMX_INLINE vreal v_min(vreal a, vreal b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
LMX_INLINE real  v_hmax(vreal v) { return vmaxvq_f64(v); }
LMX_INLINE vmask v_gt(vreal a, vreal b) { return vcgtq_f64(a, b); }
LMX_INLINE vmask v_eq(vreal a, vreal b) { return vceqq_f64(a, b); }
LMX_INLINE vmask v_isnan(vreal v)
{
    return veorq_u64(vceqq_f64(v, v), vdupq_n_u64(~(uint64_t)0));
}
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { return vbslq_f64(m, a, b); }
LMX_INLINE int   m_any(vmask m) { return (vgetq_lane_u64(m, 0) | vgetq_lane_u64(m, 1)) != 0; }
LMX_INLINE vint  v_bits(vreal v) { return vreinterpretq_s64_f64(v); }
LMX_INLINE vreal v_from_bits(vint v) { return vreinterpretq_f64_s64(v); }
LMX_INLINE vint  vi_set1(ibits a) { return vdupq_n_s64(a); }
LMX_INLINE vint  vi_add(vint a, vint b) { return vaddq_s64(a, b); }
LMX_INLINE vreal v_evens(vreal a, vreal b) { return vuzp1q_f64(a, b); }
LMX_INLINE vreal v_odds(vreal a, vreal b) { return vuzp2q_f64(a, b); }
LMX_INLINE vreal v_zip_low(vreal a, vreal b) { return vzip1q_f64(a, b); }
LMX_INLINE vreal v_zip_high(vreal a, vreal b) { return vzip2q_f64(a, b); }
#define vi_shl(v, count) vshlq_n_s64((v), (count))
#define vi_shr(v, count) vreinterpretq_s64_u64(vshrq_n_u64(vreinterpretq_u64_s64(v), (count)))

#else
#define V_LANES 4
typedef float32x4_t vreal;
typedef int32x4_t   vint;
typedef uint32x4_t  vmask;
typedef struct { float64x2_t a, b; } vwide;
typedef uint8x16x2_t vtable8;

LMX_INLINE vreal v_set1(real a) { return vdupq_n_f32(a); }
LMX_INLINE vreal v_load(const real *p) { return vld1q_f32(p); }
LMX_INLINE void  v_store(real *p, vreal v) { vst1q_f32(p, v); }
LMX_INLINE vreal v_add(vreal a, vreal b) { return vaddq_f32(a, b); }
LMX_INLINE vreal v_sub(vreal a, vreal b) { return vsubq_f32(a, b); }
LMX_INLINE vreal v_mul(vreal a, vreal b) { return vmulq_f32(a, b); }
LMX_INLINE vreal v_div(vreal a, vreal b) { return vdivq_f32(a, b); }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return vfmaq_f32(c, a, b); }
LMX_INLINE vreal v_max(vreal a, vreal b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
LMX_INLINE vreal v_min(vreal a, vreal b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
LMX_INLINE real  v_hmax(vreal v) { return vmaxvq_f32(v); }
LMX_INLINE vmask v_gt(vreal a, vreal b) { return vcgtq_f32(a, b); }
LMX_INLINE vmask v_eq(vreal a, vreal b) { return vceqq_f32(a, b); }
LMX_INLINE vmask v_isnan(vreal v) { return vmvnq_u32(vceqq_f32(v, v)); }
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { return vbslq_f32(m, a, b); }
LMX_INLINE int   m_any(vmask m) { return vmaxvq_u32(m) != 0; }
LMX_INLINE vint  v_bits(vreal v) { return vreinterpretq_s32_f32(v); }
LMX_INLINE vreal v_from_bits(vint v) { return vreinterpretq_f32_s32(v); }
LMX_INLINE vint  vi_set1(ibits a) { return vdupq_n_s32(a); }
LMX_INLINE vint  vi_add(vint a, vint b) { return vaddq_s32(a, b); }
LMX_INLINE vreal v_evens(vreal a, vreal b) { return vuzp1q_f32(a, b); }
LMX_INLINE vreal v_odds(vreal a, vreal b) { return vuzp2q_f32(a, b); }
LMX_INLINE vreal v_zip_low(vreal a, vreal b) { return vzip1q_f32(a, b); }
LMX_INLINE vreal v_zip_high(vreal a, vreal b) { return vzip2q_f32(a, b); }
#define vi_shl(v, count) vshlq_n_s32((v), (count))
#define vi_shr(v, count) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(v), (count)))

LMX_INLINE vtable8 v_table8_load(const int32_t t[8])
{
    return (vtable8){ { vreinterpretq_u8_s32(vld1q_s32(t)), vreinterpretq_u8_s32(vld1q_s32(t + 4)) } };
}
LMX_INLINE vtable8 v_table8_add(vtable8 t, vint a)
{
    return (vtable8){ { vreinterpretq_u8_s32(vaddq_s32(vreinterpretq_s32_u8(t.val[0]), a)),
                        vreinterpretq_u8_s32(vaddq_s32(vreinterpretq_s32_u8(t.val[1]), a)) } };
}
LMX_INLINE vint v_table8(vtable8 t, vint i)
{
    /* Byte indices 4i, 4i+1, 4i+2, 4i+3 of each word: (i & 7) * 0x04040404 + 0x03020100. */
    const uint32x4_t k = vandq_u32(vreinterpretq_u32_s32(i), vdupq_n_u32(7));
    const uint32x4_t b = vmlaq_n_u32(vdupq_n_u32(0x03020100u), k, 0x04040404u);
    return vreinterpretq_s32_u8(vqtbl2q_u8(t, vreinterpretq_u8_u32(b)));
}

LMX_INLINE vwide vw_zero(void) { return (vwide){ vdupq_n_f64(0), vdupq_n_f64(0) }; }
LMX_INLINE float64x2_t v_low(vreal v) { return vcvt_f64_f32(vget_low_f32(v)); }
LMX_INLINE float64x2_t v_high(vreal v) { return vcvt_high_f64_f32(v); }
LMX_INLINE vwide vw_add(vwide w, vreal v)
{
    return (vwide){ vaddq_f64(w.a, v_low(v)), vaddq_f64(w.b, v_high(v)) };
}
LMX_INLINE vwide vw_fma(vwide w, vreal a, vreal b)
{
    return (vwide){ vfmaq_f64(w.a, v_low(a), v_low(b)), vfmaq_f64(w.b, v_high(a), v_high(b)) };
}
LMX_INLINE vwide vw_load(const double *hi, const double *lo)
{
    (void)lo;
    return (vwide){ vld1q_f64(hi), vld1q_f64(hi + 2) };
}
LMX_INLINE vwide vw_of(vreal v) { return (vwide){ v_low(v), v_high(v) }; }
LMX_INLINE vwide vw_mul(vwide a, vwide b)
{
    return (vwide){ vmulq_f64(a.a, b.a), vmulq_f64(a.b, b.b) };
}
LMX_INLINE vwide vw_merge(vwide a, vwide b)
{
    return (vwide){ vaddq_f64(a.a, b.a), vaddq_f64(a.b, b.b) };
}
LMX_INLINE double vw_total(vwide w)
{
    const float64x2_t s2 = vaddq_f64(w.a, w.b);
    return vgetq_lane_f64(s2, 0) + vgetq_lane_f64(s2, 1);
}
LMX_INLINE void vw_store(double *hi, double *lo, vwide w)
{
    vst1q_f64(hi, w.a);
    vst1q_f64(hi + 2, w.b);
    vst1q_f64(lo, vdupq_n_f64(0));
    vst1q_f64(lo + 2, vdupq_n_f64(0));
}

#if !LMX_ELEM_IS_REAL
#if defined(LMX_ELEM_F16)
LMX_INLINE vreal from_elem(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
LMX_INLINE uint16x4_t to_elem(vreal v) { return vreinterpret_u16_f16(vcvt_f16_f32(v)); }
#else
LMX_INLINE vreal from_elem(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }
LMX_INLINE uint16x4_t to_elem(vreal v)
{
    /* Round to nearest even on the upper half: add 0x7fff and the lowest bit that is kept. */
    const uint32x4_t u = vreinterpretq_u32_f32(v);
    const uint32x4_t last = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint32x4_t r = vaddq_u32(u, vaddq_u32(last, vdupq_n_u32(0x7fff)));
    const uint32x4_t q = vorrq_u32(u, vdupq_n_u32(0x400000)); /* NaN stays NaN */
    return vshrn_n_u32(vbslq_u32(v_isnan(v), q, r), 16);
}
#endif
LMX_INLINE vreal e_load(const elem *p) { return from_elem(vld1_u16(p)); }
LMX_INLINE void  e_store(elem *p, vreal v) { vst1_u16(p, to_elem(v)); }
LMX_INLINE void  e_stream(elem *p, vreal v) { e_store(p, v); }
LMX_INLINE vreal e_load_n(const elem *p, size_t n, real fill)
{
    elem part[V_LANES] = { 0 };
    real out[V_LANES];
    for (size_t i = 0; i < n; i++)
        part[i] = p[i];
    vst1q_f32(out, e_load(part));
    for (size_t i = n; i < V_LANES; i++)
        out[i] = fill;
    return vld1q_f32(out);
}
LMX_INLINE void e_store_n(elem *p, vreal v, size_t n)
{
    elem part[V_LANES];
    e_store(part, v);
    for (size_t i = 0; i < n; i++)
        p[i] = part[i];
}
#endif
#endif

/* NEON has no masked memory access: tails are copied. */
LMX_INLINE vreal v_load_n(const real *p, size_t n, real fill)
{
    real part[V_LANES];
    for (size_t i = 0; i < V_LANES; i++)
        part[i] = i < n ? p[i] : fill;
    return v_load(part);
}
LMX_INLINE void v_store_n(real *p, vreal v, size_t n)
{
    real part[V_LANES];
    v_store(part, v);
    for (size_t i = 0; i < n; i++)
        p[i] = part[i];
}

/* stnp is a hint that no intrinsic reaches portably; an ordinary store has the same result. */
LMX_INLINE void v_stream(real *p, vreal v) { v_store(p, v); }
LMX_INLINE void v_fence(void) {}
