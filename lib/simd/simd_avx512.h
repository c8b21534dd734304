/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 F, DQ, BW, VL.  Contracts: simd.h. */
#if (!defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512BW__) || \
     !defined(__AVX512VL__))
#  error "the avx512 tier must be compiled with AVX-512 F, DQ, BW and VL enabled"
#endif
#include <immintrin.h>

#define LMX_ISA avx512

#if defined(LMX_REAL_F64)
#define V_LANES 8
typedef __m512d  vreal;
typedef __m512i  vint;
typedef __mmask8 vmask;

LMX_INLINE vmask m_first_n(size_t n) { return (vmask)((1u << n) - 1u); }

LMX_INLINE vreal v_set1(real a) { return _mm512_set1_pd(a); }
LMX_INLINE vreal v_load(const real *p) { return _mm512_loadu_pd(p); }
LMX_INLINE void  v_store(real *p, vreal v) { _mm512_storeu_pd(p, v); }
LMX_INLINE vreal v_load_n(const real *p, size_t n, real fill)
{
    return _mm512_mask_loadu_pd(_mm512_set1_pd(fill), m_first_n(n), p);
}
LMX_INLINE void  v_store_n(real *p, vreal v, size_t n) { _mm512_mask_storeu_pd(p, m_first_n(n), v); }
LMX_INLINE void  v_stream(real *p, vreal v) { _mm512_stream_pd(p, v); }
LMX_INLINE vreal v_add(vreal a, vreal b) { return _mm512_add_pd(a, b); }
LMX_INLINE vreal v_sub(vreal a, vreal b) { return _mm512_sub_pd(a, b); }
LMX_INLINE vreal v_mul(vreal a, vreal b) { return _mm512_mul_pd(a, b); }
LMX_INLINE vreal v_div(vreal a, vreal b) { return _mm512_div_pd(a, b); }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return _mm512_fmadd_pd(a, b, c); }
LMX_INLINE vreal v_max(vreal a, vreal b) { return _mm512_max_pd(a, b); }
LMX_INLINE vreal v_min(vreal a, vreal b) { return _mm512_min_pd(a, b); }
LMX_INLINE real  v_hmax(vreal v) { return _mm512_reduce_max_pd(v); }
LMX_INLINE vmask v_gt(vreal a, vreal b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
LMX_INLINE vmask v_eq(vreal a, vreal b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
LMX_INLINE vmask v_isnan(vreal v) { return _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q); }
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { return _mm512_mask_blend_pd(m, b, a); }
LMX_INLINE vint  v_bits(vreal v) { return _mm512_castpd_si512(v); }
LMX_INLINE vreal v_from_bits(vint v) { return _mm512_castsi512_pd(v); }
LMX_INLINE vint  vi_set1(ibits a) { return _mm512_set1_epi64(a); }
LMX_INLINE vint  vi_add(vint a, vint b) { return _mm512_add_epi64(a, b); }
LMX_INLINE vreal v_evens(vreal a, vreal b)
{
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b);
}
LMX_INLINE vreal v_odds(vreal a, vreal b)
{
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b);
}
LMX_INLINE vreal v_zip_low(vreal e, vreal o)
{
    return _mm512_permutex2var_pd(e, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), o);
}
LMX_INLINE vreal v_zip_high(vreal e, vreal o)
{
    return _mm512_permutex2var_pd(e, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), o);
}
#define vi_shl(v, count) _mm512_slli_epi64((v), (count))
#define vi_shr(v, count) _mm512_srli_epi64((v), (count))

#else
#define V_LANES 16
typedef __m512    vreal;
typedef __m512i   vint;
typedef __mmask16 vmask;
typedef struct { __m512d a, b; } vwide;
typedef __m512i   vtable8;

LMX_INLINE vmask m_first_n(size_t n) { return (vmask)((1u << n) - 1u); }

LMX_INLINE vreal v_set1(real a) { return _mm512_set1_ps(a); }
LMX_INLINE vreal v_load(const real *p) { return _mm512_loadu_ps(p); }
LMX_INLINE void  v_store(real *p, vreal v) { _mm512_storeu_ps(p, v); }
LMX_INLINE vreal v_load_n(const real *p, size_t n, real fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), m_first_n(n), p);
}
LMX_INLINE void  v_store_n(real *p, vreal v, size_t n) { _mm512_mask_storeu_ps(p, m_first_n(n), v); }
LMX_INLINE void  v_stream(real *p, vreal v) { _mm512_stream_ps(p, v); }
LMX_INLINE vreal v_add(vreal a, vreal b) { return _mm512_add_ps(a, b); }
LMX_INLINE vreal v_sub(vreal a, vreal b) { return _mm512_sub_ps(a, b); }
LMX_INLINE vreal v_mul(vreal a, vreal b) { return _mm512_mul_ps(a, b); }
LMX_INLINE vreal v_div(vreal a, vreal b) { return _mm512_div_ps(a, b); }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return _mm512_fmadd_ps(a, b, c); }
LMX_INLINE vreal v_max(vreal a, vreal b) { return _mm512_max_ps(a, b); }
LMX_INLINE vreal v_min(vreal a, vreal b) { return _mm512_min_ps(a, b); }
LMX_INLINE real  v_hmax(vreal v) { return _mm512_reduce_max_ps(v); }
LMX_INLINE vmask v_gt(vreal a, vreal b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
LMX_INLINE vmask v_eq(vreal a, vreal b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
LMX_INLINE vmask v_isnan(vreal v) { return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q); }
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { return _mm512_mask_blend_ps(m, b, a); }
LMX_INLINE vint  v_bits(vreal v) { return _mm512_castps_si512(v); }
LMX_INLINE vreal v_from_bits(vint v) { return _mm512_castsi512_ps(v); }
LMX_INLINE vint  vi_set1(ibits a) { return _mm512_set1_epi32(a); }
LMX_INLINE vint  vi_add(vint a, vint b) { return _mm512_add_epi32(a, b); }
#define V_EVEN_LANES _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define V_LOW_LANES  _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
LMX_INLINE vreal v_evens(vreal a, vreal b) { return _mm512_permutex2var_ps(a, V_EVEN_LANES, b); }
LMX_INLINE vreal v_odds(vreal a, vreal b)
{
    const __m512i odd = _mm512_add_epi32(V_EVEN_LANES, _mm512_set1_epi32(1));
    return _mm512_permutex2var_ps(a, odd, b);
}
LMX_INLINE vreal v_zip_low(vreal e, vreal o) { return _mm512_permutex2var_ps(e, V_LOW_LANES, o); }
LMX_INLINE vreal v_zip_high(vreal e, vreal o)
{
    const __m512i high = _mm512_add_epi32(V_LOW_LANES, _mm512_set1_epi32(8));
    return _mm512_permutex2var_ps(e, high, o);
}
#define vi_shl(v, count) _mm512_slli_epi32((v), (count))
#define vi_shr(v, count) _mm512_srli_epi32((v), (count))

/* vpermps reads four index bits, so the eight entries stand there twice. */
LMX_INLINE vtable8 v_table8_load(const int32_t t[8])
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)t));
}
LMX_INLINE vtable8 v_table8_add(vtable8 t, vint a) { return _mm512_add_epi32(t, a); }
LMX_INLINE vint    v_table8(vtable8 t, vint i) { return _mm512_permutexvar_epi32(i, t); }

LMX_INLINE vwide vw_zero(void) { return (vwide){ _mm512_setzero_pd(), _mm512_setzero_pd() }; }
LMX_INLINE __m512d v_low(vreal v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
LMX_INLINE __m512d v_high(vreal v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }
LMX_INLINE vwide vw_add(vwide w, vreal v)
{
    return (vwide){ _mm512_add_pd(w.a, v_low(v)), _mm512_add_pd(w.b, v_high(v)) };
}
LMX_INLINE vwide vw_fma(vwide w, vreal a, vreal b)
{
    return (vwide){ _mm512_fmadd_pd(v_low(a), v_low(b), w.a),
                    _mm512_fmadd_pd(v_high(a), v_high(b), w.b) };
}
LMX_INLINE vwide vw_load(const double *hi, const double *lo)
{
    (void)lo;
    return (vwide){ _mm512_loadu_pd(hi), _mm512_loadu_pd(hi + 8) };
}
LMX_INLINE vwide vw_of(vreal v) { return (vwide){ v_low(v), v_high(v) }; }
LMX_INLINE vwide vw_mul(vwide a, vwide b)
{
    return (vwide){ _mm512_mul_pd(a.a, b.a), _mm512_mul_pd(a.b, b.b) };
}
LMX_INLINE vwide vw_merge(vwide a, vwide b)
{
    return (vwide){ _mm512_add_pd(a.a, b.a), _mm512_add_pd(a.b, b.b) };
}
LMX_INLINE double vw_total(vwide w)
{
    const __m512d s8 = _mm512_add_pd(w.a, w.b);
    const __m256d s4 = _mm256_add_pd(_mm512_castpd512_pd256(s8), _mm512_extractf64x4_pd(s8, 1));
    const __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
LMX_INLINE void vw_store(double *hi, double *lo, vwide w)
{
    _mm512_storeu_pd(hi, w.a);
    _mm512_storeu_pd(hi + 8, w.b);
    _mm512_storeu_pd(lo, _mm512_setzero_pd());
    _mm512_storeu_pd(lo + 8, _mm512_setzero_pd());
}

#if !LMX_ELEM_IS_REAL
#if defined(LMX_ELEM_F16)
LMX_INLINE vreal   from_elem(__m256i h) { return _mm512_cvtph_ps(h); }
LMX_INLINE __m256i to_elem(vreal v)
{
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#else
LMX_INLINE vreal from_elem(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
LMX_INLINE __m256i to_elem(vreal v)
{
    /* Round to nearest even on the upper half: add 0x7fff and the lowest bit that is kept. */
    const __m512i u = _mm512_castps_si512(v);
    const __m512i last = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i r = _mm512_add_epi32(u, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff)));
    const __m512i q = _mm512_or_si512(u, _mm512_set1_epi32(0x400000)); /* NaN stays NaN */
    return _mm512_cvtepi32_epi16(
        _mm512_srli_epi32(_mm512_mask_blend_epi32(v_isnan(v), r, q), 16));
}
#endif
LMX_INLINE vreal e_load(const elem *p)
{
    return from_elem(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
LMX_INLINE vreal e_load_n(const elem *p, size_t n, real fill)
{
    const vmask m = m_first_n(n);
    return v_select(m, from_elem(_mm256_maskz_loadu_epi16(m, p)), v_set1(fill));
}
LMX_INLINE void e_store(elem *p, vreal v) { _mm256_storeu_si256((__m256i *)(void *)p, to_elem(v)); }
LMX_INLINE void e_store_n(elem *p, vreal v, size_t n)
{
    _mm256_mask_storeu_epi16(p, m_first_n(n), to_elem(v));
}
LMX_INLINE void e_stream(elem *p, vreal v) { _mm256_stream_si256((__m256i *)(void *)p, to_elem(v)); }
#endif
#endif

LMX_INLINE int  m_any(vmask m) { return m != 0; }
LMX_INLINE void v_fence(void) { _mm_sfence(); }
