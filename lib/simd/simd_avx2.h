/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 with FMA and F16C.  Contracts: simd.h. */
#if !defined(__AVX2__) || ((!defined(__FMA__) || !defined(__F16C__)) && !defined(_MSC_VER))
#  error "the avx2 tier must be compiled with AVX2, FMA and F16C enabled"
#endif
#include <immintrin.h>

#define LMX_ISA avx2

/* A mask whose first n lanes are all ones, read from a constant of ones and zeros. */
LMX_INLINE __m256i m_first_n(size_t n, size_t lanes)
{
    static const int32_t ones[16] = { -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0 };
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n * (8 / lanes)));
}

#if defined(LMX_REAL_F64)
#define V_LANES 4
typedef __m256d vreal;
typedef __m256i vint;
typedef __m256d vmask;

LMX_INLINE vreal v_set1(real a) { return _mm256_set1_pd(a); }
LMX_INLINE vreal v_load(const real *p) { return _mm256_loadu_pd(p); }
LMX_INLINE void  v_store(real *p, vreal v) { _mm256_storeu_pd(p, v); }
LMX_INLINE vreal v_load_n(const real *p, size_t n, real fill)
{
    const __m256i m = m_first_n(n, 4);
    return _mm256_blendv_pd(_mm256_set1_pd(fill), _mm256_maskload_pd(p, m), _mm256_castsi256_pd(m));
}
LMX_INLINE void  v_store_n(real *p, vreal v, size_t n) { _mm256_maskstore_pd(p, m_first_n(n, 4), v); }
LMX_INLINE void  v_stream(real *p, vreal v) { _mm256_stream_pd(p, v); }
LMX_INLINE vreal v_add(vreal a, vreal b) { return _mm256_add_pd(a, b); }
LMX_INLINE vreal v_sub(vreal a, vreal b) { return _mm256_sub_pd(a, b); }
LMX_INLINE vreal v_mul(vreal a, vreal b) { return _mm256_mul_pd(a, b); }
LMX_INLINE vreal v_div(vreal a, vreal b) { return _mm256_div_pd(a, b); }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return _mm256_fmadd_pd(a, b, c); }
LMX_INLINE vreal v_max(vreal a, vreal b) { return _mm256_max_pd(a, b); }
LMX_INLINE vreal v_min(vreal a, vreal b) { return _mm256_min_pd(a, b); }
LMX_INLINE real  v_hmax(vreal v)
{
    const __m128d a = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(a, _mm_unpackhi_pd(a, a)));
}
LMX_INLINE vmask v_gt(vreal a, vreal b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
LMX_INLINE vmask v_eq(vreal a, vreal b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
LMX_INLINE vmask v_isnan(vreal v) { return _mm256_cmp_pd(v, v, _CMP_UNORD_Q); }
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { return _mm256_blendv_pd(b, a, m); }
LMX_INLINE int   m_any(vmask m) { return _mm256_movemask_pd(m) != 0; }
LMX_INLINE vint  v_bits(vreal v) { return _mm256_castpd_si256(v); }
LMX_INLINE vreal v_from_bits(vint v) { return _mm256_castsi256_pd(v); }
LMX_INLINE vint  vi_set1(ibits a) { return _mm256_set1_epi64x(a); }
LMX_INLINE vint  vi_add(vint a, vint b) { return _mm256_add_epi64(a, b); }
LMX_INLINE vreal v_evens(vreal a, vreal b)
{
    return _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8);
}
LMX_INLINE vreal v_odds(vreal a, vreal b)
{
    return _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8);
}
LMX_INLINE vreal v_zip_low(vreal e, vreal o)
{
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(e, o), _mm256_unpackhi_pd(e, o), 0x20);
}
LMX_INLINE vreal v_zip_high(vreal e, vreal o)
{
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(e, o), _mm256_unpackhi_pd(e, o), 0x31);
}
#define vi_shl(v, count) _mm256_slli_epi64((v), (count))
#define vi_shr(v, count) _mm256_srli_epi64((v), (count))

#else
#define V_LANES 8
typedef __m256  vreal;
typedef __m256i vint;
typedef __m256  vmask;
typedef struct { __m256d a, b; } vwide;
typedef __m256i vtable8;

LMX_INLINE vreal v_set1(real a) { return _mm256_set1_ps(a); }
LMX_INLINE vreal v_load(const real *p) { return _mm256_loadu_ps(p); }
LMX_INLINE void  v_store(real *p, vreal v) { _mm256_storeu_ps(p, v); }
LMX_INLINE vreal v_load_n(const real *p, size_t n, real fill)
{
    const __m256i m = m_first_n(n, 8);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, m), _mm256_castsi256_ps(m));
}
LMX_INLINE void  v_store_n(real *p, vreal v, size_t n) { _mm256_maskstore_ps(p, m_first_n(n, 8), v); }
LMX_INLINE void  v_stream(real *p, vreal v) { _mm256_stream_ps(p, v); }
LMX_INLINE vreal v_add(vreal a, vreal b) { return _mm256_add_ps(a, b); }
LMX_INLINE vreal v_sub(vreal a, vreal b) { return _mm256_sub_ps(a, b); }
LMX_INLINE vreal v_mul(vreal a, vreal b) { return _mm256_mul_ps(a, b); }
LMX_INLINE vreal v_div(vreal a, vreal b) { return _mm256_div_ps(a, b); }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return _mm256_fmadd_ps(a, b, c); }
LMX_INLINE vreal v_max(vreal a, vreal b) { return _mm256_max_ps(a, b); }
LMX_INLINE vreal v_min(vreal a, vreal b) { return _mm256_min_ps(a, b); }
LMX_INLINE real  v_hmax(vreal v)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
LMX_INLINE vmask v_gt(vreal a, vreal b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
LMX_INLINE vmask v_eq(vreal a, vreal b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
LMX_INLINE vmask v_isnan(vreal v) { return _mm256_cmp_ps(v, v, _CMP_UNORD_Q); }
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { return _mm256_blendv_ps(b, a, m); }
LMX_INLINE int   m_any(vmask m) { return _mm256_movemask_ps(m) != 0; }
LMX_INLINE vint  v_bits(vreal v) { return _mm256_castps_si256(v); }
LMX_INLINE vreal v_from_bits(vint v) { return _mm256_castsi256_ps(v); }
LMX_INLINE vint  vi_set1(ibits a) { return _mm256_set1_epi32(a); }
LMX_INLINE vint  vi_add(vint a, vint b) { return _mm256_add_epi32(a, b); }
/* _mm256_shuffle_ps works within 128-bit halves: this exchanges quarters 1 and 2 of its result. */
LMX_INLINE vreal v_unhalve(vreal v)
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
}
LMX_INLINE vreal v_evens(vreal a, vreal b) { return v_unhalve(_mm256_shuffle_ps(a, b, 0x88)); }
LMX_INLINE vreal v_odds(vreal a, vreal b) { return v_unhalve(_mm256_shuffle_ps(a, b, 0xdd)); }
LMX_INLINE vreal v_zip_low(vreal e, vreal o)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(e, o), _mm256_unpackhi_ps(e, o), 0x20);
}
LMX_INLINE vreal v_zip_high(vreal e, vreal o)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(e, o), _mm256_unpackhi_ps(e, o), 0x31);
}
#define vi_shl(v, count) _mm256_slli_epi32((v), (count))
#define vi_shr(v, count) _mm256_srli_epi32((v), (count))

LMX_INLINE vtable8 v_table8_load(const int32_t t[8])
{
    return _mm256_loadu_si256((const __m256i *)(const void *)t);
}
LMX_INLINE vtable8 v_table8_add(vtable8 t, vint a) { return _mm256_add_epi32(t, a); }
/* vpermd reads three index bits: no mask is needed. */
LMX_INLINE vint v_table8(vtable8 t, vint i) { return _mm256_permutevar8x32_epi32(t, i); }

LMX_INLINE vwide vw_zero(void) { return (vwide){ _mm256_setzero_pd(), _mm256_setzero_pd() }; }
LMX_INLINE __m256d v_low(vreal v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
LMX_INLINE __m256d v_high(vreal v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
LMX_INLINE vwide vw_add(vwide w, vreal v)
{
    return (vwide){ _mm256_add_pd(w.a, v_low(v)), _mm256_add_pd(w.b, v_high(v)) };
}
LMX_INLINE vwide vw_fma(vwide w, vreal a, vreal b)
{
    return (vwide){ _mm256_fmadd_pd(v_low(a), v_low(b), w.a),
                    _mm256_fmadd_pd(v_high(a), v_high(b), w.b) };
}
LMX_INLINE vwide vw_load(const double *hi, const double *lo)
{
    (void)lo;
    return (vwide){ _mm256_loadu_pd(hi), _mm256_loadu_pd(hi + 4) };
}
LMX_INLINE vwide vw_of(vreal v) { return (vwide){ v_low(v), v_high(v) }; }
LMX_INLINE vwide vw_mul(vwide a, vwide b)
{
    return (vwide){ _mm256_mul_pd(a.a, b.a), _mm256_mul_pd(a.b, b.b) };
}
LMX_INLINE vwide vw_merge(vwide a, vwide b)
{
    return (vwide){ _mm256_add_pd(a.a, b.a), _mm256_add_pd(a.b, b.b) };
}
LMX_INLINE double vw_total(vwide w)
{
    const __m256d s4 = _mm256_add_pd(w.a, w.b);
    const __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
LMX_INLINE void vw_store(double *hi, double *lo, vwide w)
{
    _mm256_storeu_pd(hi, w.a);
    _mm256_storeu_pd(hi + 4, w.b);
    _mm256_storeu_pd(lo, _mm256_setzero_pd());
    _mm256_storeu_pd(lo + 4, _mm256_setzero_pd());
}

#if !LMX_ELEM_IS_REAL
#if defined(LMX_ELEM_F16)
LMX_INLINE vreal   from_elem(__m128i h) { return _mm256_cvtph_ps(h); }
LMX_INLINE __m128i to_elem(vreal v)
{
    return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#else
LMX_INLINE vreal from_elem(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
LMX_INLINE __m128i to_elem(vreal v)
{
    /* Round to nearest even on the upper half: add 0x7fff and the lowest bit that is kept. */
    const __m256i u = _mm256_castps_si256(v);
    const __m256i last = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i r = _mm256_add_epi32(u, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff)));
    const __m256i q = _mm256_or_si256(u, _mm256_set1_epi32(0x400000)); /* NaN stays NaN */
    const __m256i h = _mm256_srli_epi32(
        _mm256_castps_si256(v_select(v_isnan(v), _mm256_castsi256_ps(q), _mm256_castsi256_ps(r))), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}
#endif
LMX_INLINE vreal e_load(const elem *p)
{
    return from_elem(_mm_loadu_si128((const __m128i *)(const void *)p));
}
LMX_INLINE vreal e_load_n(const elem *p, size_t n, real fill)
{
    /* AVX2 masks whole words only, so a 16-bit tail is copied. */
    elem part[V_LANES] = { 0 };
    for (size_t i = 0; i < n; i++)
        part[i] = p[i];
    return v_select(_mm256_castsi256_ps(m_first_n(n, 8)), e_load(part), v_set1(fill));
}
LMX_INLINE void e_store(elem *p, vreal v) { _mm_storeu_si128((__m128i *)(void *)p, to_elem(v)); }
LMX_INLINE void e_store_n(elem *p, vreal v, size_t n)
{
    elem part[V_LANES];
    e_store(part, v);
    for (size_t i = 0; i < n; i++)
        p[i] = part[i];
}
LMX_INLINE void e_stream(elem *p, vreal v) { _mm_stream_si128((__m128i *)(void *)p, to_elem(v)); }
#endif
#endif

LMX_INLINE void v_fence(void) { _mm_sfence(); }
