/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain C: the specification that the other tiers equal bit for bit, and the
 * tier of CPUs that have no other.  fma() rounds once everywhere; on a CPU without
 * FMA the C library computes it in software, slowly and exactly.
 * Contracts: simd.h.
 */
#if defined(__AVX__) && !defined(LMX_ALLOW_NATIVE_PORTABLE)
#  error "the portable tier must be compiled without AVX (or define LMX_ALLOW_NATIVE_PORTABLE)"
#endif

#define LMX_ISA portable
#define V_LANES 8

typedef struct { real v[V_LANES]; } vreal;
typedef struct { ibits v[V_LANES]; } vint;
typedef struct { unsigned char v[V_LANES]; } vmask;

#if defined(LMX_REAL_F64)
typedef uint64_t ubits;
#define LMX_FMA(a, b, c) fma((a), (b), (c))
#else
typedef uint32_t ubits;
#define LMX_FMA(a, b, c) fmaf((a), (b), (c))
#endif

#define V_EACH for (int i = 0; i < V_LANES; i++)

LMX_INLINE vreal v_set1(real a) { vreal r; V_EACH r.v[i] = a; return r; }
LMX_INLINE vreal v_load(const real *p) { vreal r; V_EACH r.v[i] = p[i]; return r; }
LMX_INLINE void  v_store(real *p, vreal v) { V_EACH p[i] = v.v[i]; }
LMX_INLINE vreal v_load_n(const real *p, size_t n, real fill)
{
    vreal r;
    V_EACH r.v[i] = (size_t)i < n ? p[i] : fill;
    return r;
}
LMX_INLINE void v_store_n(real *p, vreal v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = v.v[i];
}
LMX_INLINE void  v_stream(real *p, vreal v) { v_store(p, v); }
LMX_INLINE void  v_fence(void) {}
LMX_INLINE vreal v_add(vreal a, vreal b) { V_EACH a.v[i] = a.v[i] + b.v[i]; return a; }
LMX_INLINE vreal v_sub(vreal a, vreal b) { V_EACH a.v[i] = a.v[i] - b.v[i]; return a; }
LMX_INLINE vreal v_mul(vreal a, vreal b) { V_EACH a.v[i] = a.v[i] * b.v[i]; return a; }
LMX_INLINE vreal v_div(vreal a, vreal b) { V_EACH a.v[i] = a.v[i] / b.v[i]; return a; }
LMX_INLINE vreal v_fma(vreal a, vreal b, vreal c)
{
    V_EACH a.v[i] = LMX_FMA(a.v[i], b.v[i], c.v[i]);
    return a;
}
LMX_INLINE vreal v_max(vreal a, vreal b) { V_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
LMX_INLINE vreal v_min(vreal a, vreal b) { V_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
LMX_INLINE real  v_hmax(vreal v)
{
    real m = v.v[0];
    V_EACH m = v.v[i] > m ? v.v[i] : m;
    return m;
}
LMX_INLINE vreal v_evens(vreal a, vreal b)
{
    vreal r;
    V_EACH r.v[i] = i < V_LANES / 2 ? a.v[2 * i] : b.v[2 * i - V_LANES];
    return r;
}
LMX_INLINE vreal v_odds(vreal a, vreal b)
{
    vreal r;
    V_EACH r.v[i] = i < V_LANES / 2 ? a.v[2 * i + 1] : b.v[2 * i + 1 - V_LANES];
    return r;
}
LMX_INLINE vreal v_zip_low(vreal a, vreal b)
{
    vreal r;
    V_EACH r.v[i] = i % 2 == 0 ? a.v[i / 2] : b.v[i / 2];
    return r;
}
LMX_INLINE vreal v_zip_high(vreal a, vreal b)
{
    vreal r;
    V_EACH r.v[i] = i % 2 == 0 ? a.v[(V_LANES + i) / 2] : b.v[(V_LANES + i) / 2];
    return r;
}
LMX_INLINE vmask v_gt(vreal a, vreal b) { vmask m; V_EACH m.v[i] = a.v[i] > b.v[i]; return m; }
LMX_INLINE vmask v_eq(vreal a, vreal b) { vmask m; V_EACH m.v[i] = a.v[i] == b.v[i]; return m; }
LMX_INLINE vmask v_isnan(vreal v) { vmask m; V_EACH m.v[i] = v.v[i] != v.v[i]; return m; }
LMX_INLINE vreal v_select(vmask m, vreal a, vreal b) { V_EACH a.v[i] = m.v[i] ? a.v[i] : b.v[i]; return a; }
LMX_INLINE int   m_any(vmask m) { int r = 0; V_EACH r |= m.v[i]; return r != 0; }
LMX_INLINE vint  v_bits(vreal v) { vint r; memcpy(&r, &v, sizeof r); return r; }
LMX_INLINE vreal v_from_bits(vint v) { vreal r; memcpy(&r, &v, sizeof r); return r; }
LMX_INLINE vint  vi_set1(ibits a) { vint r; V_EACH r.v[i] = a; return r; }
LMX_INLINE vint  vi_add(vint a, vint b)
{
    V_EACH a.v[i] = (ibits)((ubits)a.v[i] + (ubits)b.v[i]);
    return a;
}
LMX_INLINE vint vi_shl(vint a, int count)
{
    V_EACH a.v[i] = (ibits)((ubits)a.v[i] << count);
    return a;
}
LMX_INLINE vint vi_shr(vint a, int count)
{
    V_EACH a.v[i] = (ibits)((ubits)a.v[i] >> count);
    return a;
}

#if !defined(LMX_REAL_F64)
typedef struct { int32_t v[8]; } vtable8;
typedef struct { double v[V_LANES]; } vwide;

LMX_INLINE vtable8 v_table8_load(const int32_t t[8])
{
    vtable8 r;
    memcpy(r.v, t, sizeof r.v);
    return r;
}
LMX_INLINE vtable8 v_table8_add(vtable8 t, vint a)
{
    for (int i = 0; i < 8; i++) /* a is the same in every lane */
        t.v[i] = (int32_t)((uint32_t)t.v[i] + (uint32_t)a.v[0]);
    return t;
}
LMX_INLINE vint v_table8(vtable8 t, vint i_) { vint r; V_EACH r.v[i] = t.v[i_.v[i] & 7]; return r; }

LMX_INLINE vwide vw_zero(void) { vwide w; V_EACH w.v[i] = 0; return w; }
LMX_INLINE vwide vw_add(vwide w, vreal v) { V_EACH w.v[i] = w.v[i] + (double)v.v[i]; return w; }
LMX_INLINE vwide vw_fma(vwide w, vreal a, vreal b)
{
    /* The product of two floats is exact in double, so this rounds once like an FMA. */
    V_EACH w.v[i] = (double)a.v[i] * (double)b.v[i] + w.v[i];
    return w;
}
LMX_INLINE vwide vw_load(const double *hi, const double *lo)
{
    vwide w;
    (void)lo;
    V_EACH w.v[i] = hi[i];
    return w;
}
LMX_INLINE vwide vw_of(vreal v) { vwide w; V_EACH w.v[i] = (double)v.v[i]; return w; }
LMX_INLINE vwide vw_mul(vwide a, vwide b) { V_EACH a.v[i] = a.v[i] * b.v[i]; return a; }
LMX_INLINE vwide vw_merge(vwide a, vwide b) { V_EACH a.v[i] = a.v[i] + b.v[i]; return a; }
LMX_INLINE double vw_total(vwide w)
{
    for (size_t n = V_LANES / 2; n > 0; n /= 2)
        for (size_t i = 0; i < n; i++)
            w.v[i] = w.v[i] + w.v[i + n];
    return w.v[0];
}
LMX_INLINE void vw_store(double *hi, double *lo, vwide w) { V_EACH hi[i] = w.v[i], lo[i] = 0; }

#if !LMX_ELEM_IS_REAL
#if defined(LMX_ELEM_F16)
LMX_INLINE real from_elem(elem h)
{
    /* Move exponent and fraction up, then let one exact multiplication fix the bias: it also
     * normalises subnormals.  Inf and NaN have the largest exponent in both formats. */
    const uint32_t em = (uint32_t)(h & 0x7fff) << 13;
    uint32_t u;
    float f;
    if (em >= 0x0f800000u) {
        u = em | 0x7f800000u;
        if (u & 0x7fffffu)
            u |= 0x400000u;
    } else {
        memcpy(&f, &em, sizeof f);
        f *= 0x1p112f;
        memcpy(&u, &f, sizeof u);
    }
    u |= (uint32_t)(h & 0x8000) << 16;
    memcpy(&f, &u, sizeof f);
    return f;
}
LMX_INLINE elem to_elem(real v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    const uint32_t sign = u >> 16 & 0x8000;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (elem)(sign | 0x7e00 | (u >> 13 & 0x3ff));
    if (u >= 0x47800000u) /* 2^16 and more; what rounds up to 2^16 carries into inf below */
        return (elem)(sign | 0x7c00);
    if (u < 0x38800000u) { /* below 2^-14: adding 0.5 leaves multiples of 2^-24 */
        float f;
        memcpy(&f, &u, sizeof f);
        f += 0.5f;
        memcpy(&u, &f, sizeof u);
        return (elem)(sign | (u - 0x3f000000u));
    }
    u += 0xfff + (u >> 13 & 1);
    return (elem)(sign | ((u - 0x38000000u) >> 13));
}
#else
LMX_INLINE real from_elem(elem h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
LMX_INLINE elem to_elem(real v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    if (v != v)
        return (elem)(u >> 16 | 0x40);
    return (elem)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
#endif
LMX_INLINE vreal e_load(const elem *p) { vreal r; V_EACH r.v[i] = from_elem(p[i]); return r; }
LMX_INLINE vreal e_load_n(const elem *p, size_t n, real fill)
{
    vreal r;
    V_EACH r.v[i] = (size_t)i < n ? from_elem(p[i]) : fill;
    return r;
}
LMX_INLINE void e_store(elem *p, vreal v) { V_EACH p[i] = to_elem(v.v[i]); }
LMX_INLINE void e_store_n(elem *p, vreal v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = to_elem(v.v[i]);
}
LMX_INLINE void e_stream(elem *p, vreal v) { e_store(p, v); }
#endif
#endif
