/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled once per tier and element type with that tier's flags, like a kernel:
 * every operation of simd.h behind a function pointer.  See simd_ops.h.
 */
#include "simd/simd.h"

#include "simd_ops.h"

LMX_INLINE vreal in(const real *p)
{
    vreal v;
    memcpy(&v, p, sizeof v);
    return v;
}

LMX_INLINE void out_real(real *p, vreal v) { memcpy(p, &v, sizeof v); }

LMX_INLINE vint in_int(const ibits *p)
{
    vint v;
    memcpy(&v, p, sizeof v);
    return v;
}

LMX_INLINE void out_int(ibits *p, vint v) { memcpy(p, &v, sizeof v); }

static void do_set1(real a, real *out) { out_real(out, v_set1(a)); }
static void do_load(const real *p, real *out) { out_real(out, v_load(p)); }
static void do_store(real *p, const real *v) { v_store(p, in(v)); }
static void do_load_n(const real *p, size_t n, real fill, real *out)
{
    out_real(out, v_load_n(p, n, fill));
}
static void do_store_n(real *p, const real *v, size_t n) { v_store_n(p, in(v), n); }
static void do_stream(real *p, const real *v)
{
    v_stream(p, in(v));
    v_fence();
}

static void do_e_load(const elem *p, real *out) { out_real(out, e_load(p)); }
static void do_e_store(elem *p, const real *v) { e_store(p, in(v)); }
static void do_e_load_n(const elem *p, size_t n, real fill, real *out)
{
    out_real(out, e_load_n(p, n, fill));
}
static void do_e_store_n(elem *p, const real *v, size_t n) { e_store_n(p, in(v), n); }
static void do_e_stream(elem *p, const real *v)
{
    e_stream(p, in(v));
    v_fence();
}
static real do_e_get(const elem *p) { return e_get(p); }
static void do_e_put(elem *p, real v) { e_put(p, v); }

static void do_add(const real *a, const real *b, real *out) { out_real(out, v_add(in(a), in(b))); }
static void do_sub(const real *a, const real *b, real *out) { out_real(out, v_sub(in(a), in(b))); }
static void do_mul(const real *a, const real *b, real *out) { out_real(out, v_mul(in(a), in(b))); }
static void do_div(const real *a, const real *b, real *out) { out_real(out, v_div(in(a), in(b))); }
static void do_max(const real *a, const real *b, real *out) { out_real(out, v_max(in(a), in(b))); }
static void do_min(const real *a, const real *b, real *out) { out_real(out, v_min(in(a), in(b))); }
static void do_fma(const real *a, const real *b, const real *c, real *out)
{
    out_real(out, v_fma(in(a), in(b), in(c)));
}
static real do_hmax(const real *v) { return v_hmax(in(v)); }

static void do_select_gt(const real *a, const real *b, const real *x, const real *y, real *out)
{
    out_real(out, v_select(v_gt(in(a), in(b)), in(x), in(y)));
}
static void do_select_eq(const real *a, const real *b, const real *x, const real *y, real *out)
{
    out_real(out, v_select(v_eq(in(a), in(b)), in(x), in(y)));
}
static void do_select_nan(const real *a, const real *x, const real *y, real *out)
{
    out_real(out, v_select(v_isnan(in(a)), in(x), in(y)));
}
static int do_any_gt(const real *a, const real *b) { return m_any(v_gt(in(a), in(b))); }
static int do_any_eq(const real *a, const real *b) { return m_any(v_eq(in(a), in(b))); }
static int do_any_nan(const real *a) { return m_any(v_isnan(in(a))); }

static void do_bits(const real *v, ibits *out) { out_int(out, v_bits(in(v))); }
static void do_from_bits(const ibits *v, real *out) { out_real(out, v_from_bits(in_int(v))); }
static void do_vi_set1(ibits a, ibits *out) { out_int(out, vi_set1(a)); }
static void do_vi_add(const ibits *a, const ibits *b, ibits *out)
{
    out_int(out, vi_add(in_int(a), in_int(b)));
}
static void do_vi_shl(const ibits *v, int count, ibits *out)
{
    switch (count) {
#define SHIFT(constant)                        \
  case constant:                               \
    out_int(out, vi_shl(in_int(v), constant)); \
    return;
        SHIFT(0)
        SHIFTS(SHIFT)
#undef SHIFT
    default:
        memset(out, 0, sizeof(vint));
    }
}
static void do_vi_shr(const ibits *v, int count, ibits *out)
{
    switch (count) {
#define SHIFT(constant)                        \
  case constant:                               \
    out_int(out, vi_shr(in_int(v), constant)); \
    return;
        SHIFTS(SHIFT)
#undef SHIFT
    default:
        memset(out, 0, sizeof(vint));
    }
}

#if REAL_BITS == 32
static void do_table8(const int32_t *t, ibits a, const ibits *i, ibits *out)
{
    out_int(out, v_table8(v_table8_add(v_table8_load(t), vi_set1(a)), in_int(i)));
}
#else
#  define do_table8 NULL
#endif

static void do_wide(const real *v, size_t n_add, const real *a, const real *b, size_t n_fma,
                    double *hi, double *lo)
{
    vwide w = vw_zero();
    for (size_t i = 0; i < n_add; i++)
        w = vw_add(w, in(v + i * V_LANES));
    for (size_t i = 0; i < n_fma; i++)
        w = vw_fma(w, in(a + i * V_LANES), in(b + i * V_LANES));
    vw_store(hi, lo, w);
}

static void do_wide_merge(const double *a_hi, const double *a_lo, const double *b_hi,
                          const double *b_lo, double *hi, double *lo)
{
    vw_store(hi, lo, vw_merge(vw_load(a_hi, a_lo), vw_load(b_hi, b_lo)));
}

static void do_wide_mul(const real *a, const real *b, const real *c, double *hi, double *lo)
{
    const vwide w = vw_mul(vw_mul(vw_of(in(a)), vw_of(in(b))), vw_of(in(c)));
    vw_store(hi, lo, vw_mul(w, w));
}

static void do_split(const real *a, const real *b, real *evens, real *odds)
{
    out_real(evens, v_evens(in(a), in(b)));
    out_real(odds, v_odds(in(a), in(b)));
}

static void do_zip(const real *evens, const real *odds, real *low, real *high)
{
    out_real(low, v_zip_low(in(evens), in(odds)));
    out_real(high, v_zip_high(in(evens), in(odds)));
}

#if REAL_BITS == 32
static double do_wide_total(const double *hi, const double *lo)
{
    return vw_total(vw_load(hi, lo));
}
#else
#  define do_wide_total NULL
#endif

extern const simd_ops LMX_K(simd_ops);

const simd_ops LMX_K(simd_ops) = {
#define NAME_OF_(x) #x
#define NAME_OF(x)  NAME_OF_(x)
    .tier = NAME_OF(LMX_ISA),
    .lanes = V_LANES,
    .set1 = do_set1,
    .load = do_load,
    .store = do_store,
    .load_n = do_load_n,
    .store_n = do_store_n,
    .stream = do_stream,
    .e_load = do_e_load,
    .e_store = do_e_store,
    .e_load_n = do_e_load_n,
    .e_store_n = do_e_store_n,
    .e_stream = do_e_stream,
    .e_get = do_e_get,
    .e_put = do_e_put,
    .add = do_add,
    .sub = do_sub,
    .mul = do_mul,
    .div = do_div,
    .max = do_max,
    .min = do_min,
    .fma = do_fma,
    .hmax = do_hmax,
    .select_gt = do_select_gt,
    .select_eq = do_select_eq,
    .select_nan = do_select_nan,
    .any_gt = do_any_gt,
    .any_eq = do_any_eq,
    .any_nan = do_any_nan,
    .bits = do_bits,
    .from_bits = do_from_bits,
    .vi_set1 = do_vi_set1,
    .vi_add = do_vi_add,
    .vi_shl = do_vi_shl,
    .vi_shr = do_vi_shr,
    .table8 = do_table8,
    .wide = do_wide,
    .wide_merge = do_wide_merge,
    .wide_total = do_wide_total,
    .wide_mul = do_wide_mul,
    .split = do_split,
    .zip = do_zip,
};
