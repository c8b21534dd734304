/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of lib/simd/simd.h against plain C, bit for bit, for every tier
 * that this CPU runs.  One program per element type; the operations come from
 * simd_ops.c, compiled once per tier.
 *
 * NaN results of arithmetic are compared as NaN: which payload survives is the
 * CPU's choice and no kernel lets it out.  Everything that moves or selects must
 * keep every bit.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "simd_ops.h"

#if defined(LMX_ELEM_F64)
#  define DTYPE        "f64"
#  define SYMBOL(tier) lmx_simd_ops_f64_##tier
#elif defined(LMX_ELEM_F32)
#  define DTYPE        "f32"
#  define SYMBOL(tier) lmx_simd_ops_f32_##tier
#elif defined(LMX_ELEM_F16)
#  define DTYPE        "f16"
#  define SYMBOL(tier) lmx_simd_ops_f16_##tier
#elif defined(LMX_ELEM_BF16)
#  define DTYPE        "bf16"
#  define SYMBOL(tier) lmx_simd_ops_bf16_##tier
#endif

#define MAX_LANES 32

#if REAL_BITS == 64
typedef uint64_t ubits;
#  define MIN_SUB   DBL_TRUE_MIN
#  define MIN_NORM  DBL_MIN
#  define MAX_REAL  DBL_MAX
#  define EPS       DBL_EPSILON
#  define INF_BITS  UINT64_C(0x7ff0000000000000)
#  define SIGN_BIT  UINT64_C(0x8000000000000000)
#  define QUIET_BIT UINT64_C(0x0008000000000000)
#  define INTEGERS  0x1p52 /* from here on all reals are integers */
#else
typedef uint32_t ubits;
#  define MIN_SUB   FLT_TRUE_MIN
#  define MIN_NORM  FLT_MIN
#  define MAX_REAL  FLT_MAX
#  define EPS       FLT_EPSILON
#  define INF_BITS  UINT32_C(0x7f800000)
#  define SIGN_BIT  UINT32_C(0x80000000)
#  define QUIET_BIT UINT32_C(0x00400000)
#  define INTEGERS  0x1p23f
#endif

static ubits to_bits(real v)
{
    ubits u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static real to_real(ubits u)
{
    real v;
    memcpy(&v, &u, sizeof v);
    return v;
}

static bool same_real(size_t i, real got, real want)
{
    return check_bits(i, to_bits(got), to_bits(want), REAL_BITS);
}

/* Bits, or any NaN for any NaN. */
static bool same_value(size_t i, real got, real want)
{
    return (isnan(got) && isnan(want)) || same_real(i, got, want);
}

/* ------------------------------------------------------------------- data --- */

/* Where operations go wrong: zeros, subnormals, ties, the integers' edge, overflow, NaNs. */
#define N_SPECIAL 48
static real special[N_SPECIAL];

static void make_special(void)
{
    const real half[N_SPECIAL / 2] = {
        0,
        MIN_SUB,
        3 * MIN_SUB,
        MIN_NORM - MIN_SUB,
        MIN_NORM,
        MIN_NORM * (1 + EPS),
        EPS / 2,
        EPS,
        (real)0.5,
        1 - EPS / 2,
        1,
        1 + EPS,
        (real)1.5,
        3,
        INTEGERS - 1,
        INTEGERS,
        (real)1.5 * INTEGERS,
        2 * INTEGERS + 2,
        MAX_REAL * (1 - EPS),
        MAX_REAL,
        to_real(INF_BITS),
        to_real(INF_BITS | QUIET_BIT),
        to_real(INF_BITS | QUIET_BIT | 0x1234),
        to_real(INF_BITS | 0x5678), /* signalling */
    };
    for (size_t i = 0; i < N_SPECIAL / 2; i++) {
        special[2 * i] = half[i];
        special[2 * i + 1] = to_real(to_bits(half[i]) ^ SIGN_BIT);
    }
}

/* Any bits, or a special value, or a moderate number, or a neighbour of a special value. */
static real any_real(check_random *r)
{
    const uint64_t kind = check_next(r);
    switch (kind & 3) {
    case 0:
        return to_real((ubits)check_next(r));
    case 1:
        return special[check_below(r, N_SPECIAL)];
    case 2:
        return (real)(check_normal(r) * 8);
    default:
        return to_real(to_bits(special[check_below(r, N_SPECIAL)]) + (ubits)(kind >> 62) - 2);
    }
}

static size_t trials(void) { return check_full ? 4000000 : check_fast ? 20000 : 400000; }

/* ------------------------------------------------------------- arithmetic --- */

typedef real reference3(real a, real b, real c);

static real ref_add(real a, real b, real c)
{
    (void)c;
    return a + b;
}
static real ref_sub(real a, real b, real c)
{
    (void)c;
    return a - b;
}
static real ref_mul(real a, real b, real c)
{
    (void)c;
    return a * b;
}
static real ref_div(real a, real b, real c)
{
    (void)c;
    return a / b;
}

/* Selections on bits: the compiler must not replace a chosen NaN by another. */
static real ref_max(real a, real b, real c)
{
    (void)c;
    return to_real(a > b ? to_bits(a) : to_bits(b));
}
static real ref_min(real a, real b, real c)
{
    (void)c;
    return to_real(a < b ? to_bits(a) : to_bits(b));
}

static real ref_fma(real a, real b, real c)
{
#if REAL_BITS == 64
    return fma(a, b, c);
#else
    /* Not by libm, which may be the very instruction under test: the product is exact in double,
     * the sum is rounded to odd there, and then once more to float, which is then correct
     * (Boldo and Melquiond 2008; 53 >= 2 * 24 + 2). */
    const double p = (double)a * (double)b, s = p + (double)c;
    if (!isfinite(s))
        return (real)s;
    const double t = s - p, e = (p - (s - t)) + ((double)c - t);
    uint64_t u = check_f64_bits(s);
    if (e != 0 && (u & 1) == 0)
        u += (e > 0) == (s > 0) ? 1u : (uint64_t)-1;
    return (real)check_f64(u);
#endif
}

/* One operation: exactly one of the three is set. */
typedef struct operation {
    const char *name;
    void (*binary)(const real *a, const real *b, real *out);
    void (*ternary)(const real *a, const real *b, const real *c, real *out);
    reference3 *ref;
    bool moves; /* every bit counts, also of a NaN */
} operation;

static void try_operation(const simd_ops *t, const operation *op, const real *a, const real *b,
                          const real *c, size_t index)
{
    real got[MAX_LANES];
    if (op->binary != NULL)
        op->binary(a, b, got);
    else
        op->ternary(a, b, c, got);
    for (size_t i = 0; i < t->lanes; i++) {
        const real want = op->ref(a[i], b[i], c[i]);
        if (op->moves ? !same_real(index + i, got[i], want) : !same_value(index + i, got[i], want))
            check_fail("%s of %a, %a, %a", op->name, (double)a[i], (double)b[i], (double)c[i]);
    }
    check_count(t->lanes);
}

static void test_arithmetic(const simd_ops *t)
{
    const operation operations[] = {
        { "v_add", t->add, NULL, ref_add, false }, { "v_sub", t->sub, NULL, ref_sub, false },
        { "v_mul", t->mul, NULL, ref_mul, false }, { "v_div", t->div, NULL, ref_div, false },
        { "v_max", t->max, NULL, ref_max, true },  { "v_min", t->min, NULL, ref_min, true },
        { "v_fma", NULL, t->fma, ref_fma, false },
    };
    real a[MAX_LANES], b[MAX_LANES], c[MAX_LANES];
    for (size_t k = 0; k < sizeof operations / sizeof *operations; k++) {
        const operation *const op = &operations[k];
        check_at.test = op->name;
        /* All pairs, or all triples, of special values, in lanes that move. */
        const size_t pairs = (size_t)N_SPECIAL * N_SPECIAL;
        const size_t total = op->ternary != NULL ? pairs * N_SPECIAL : pairs;
        const size_t step = check_fast && op->ternary != NULL ? 7 * t->lanes : t->lanes;
        for (size_t first = 0; first < total; first += step) {
            for (size_t i = 0; i < t->lanes; i++) {
                const size_t at = (first + i) % total;
                a[i] = special[at % N_SPECIAL];
                b[i] = special[at / N_SPECIAL % N_SPECIAL];
                c[i] = special[at / pairs];
            }
            try_operation(t, op, a, b, c, first);
        }
        check_at.seed = 1 + k;
        check_random r = check_random_new(check_at.seed);
        for (size_t first = 0; first < trials(); first += t->lanes) {
            for (size_t i = 0; i < t->lanes; i++) {
                a[i] = any_real(&r);
                b[i] = any_real(&r);
                c[i] = any_real(&r);
                if (op->ternary != NULL && (check_next(&r) & 1) != 0)
                    c[i] = -(a[i] * b[i]) * (1 + (real)(int)check_below(&r, 5) * EPS); /* cancels */
            }
            try_operation(t, op, a, b, c, first);
        }
    }
}

/* The data of the fma test must be able to tell one rounding from two. */
static void test_fma_data_discriminates(void)
{
    check_at.test = "fma data";
    check_random r = check_random_new(6);
    size_t different = 0;
    for (size_t i = 0; i < 1000; i++) {
        const real a = (real)check_normal(&r), b = (real)check_normal(&r), p = a * b;
        different += to_bits(ref_fma(a, b, -p)) != to_bits(p + -p);
    }
    CHECK(different > 900);
#if REAL_BITS == 32
    for (size_t i = 0; i < 100000; i++) { /* and the reference is what libm says */
        const real a = any_real(&r), b = any_real(&r), c = any_real(&r);
        same_value(i, ref_fma(a, b, c), fmaf(a, b, c));
    }
#endif
}

static void test_set1_and_hmax(const simd_ops *t)
{
    real v[MAX_LANES], got[MAX_LANES];
    check_at.test = "v_set1";
    for (size_t k = 0; k < N_SPECIAL; k++) {
        t->set1(special[k], got);
        for (size_t i = 0; i < t->lanes; i++)
            same_real(i, got[i], special[k]);
        check_count(t->lanes);
    }

    check_at.test = "v_hmax";
    check_random r = check_random_new(check_at.seed = 11);
    for (size_t k = 0; k < trials() / t->lanes; k++) {
        for (size_t i = 0; i < t->lanes; i++) {
            do
                v[i] = any_real(&r);
            while (isnan(v[i]));
            if ((k & 7) == 0) /* no larger one hides the case */
                v[i] = -(real)fabs((double)v[i]);
        }
        const size_t top = k % t->lanes; /* each lane wins in turn */
        if ((k & 3) == 1)
            v[top] = to_real(INF_BITS);
        real want = v[0];
        for (size_t i = 1; i < t->lanes; i++)
            want = v[i] > want ? v[i] : want;
        const real hmax = t->hmax(v);
        if (!(hmax == want)) /* equal zeros may come with either sign */
            same_real(top, hmax, want);
        check_count(1);
    }
}

/* ------------------------------------------------------------------ masks --- */

static void test_masks(const simd_ops *t)
{
    real a[MAX_LANES], b[MAX_LANES], x[MAX_LANES], y[MAX_LANES], got[MAX_LANES];
    check_random r = check_random_new(check_at.seed = 21);
    for (size_t k = 0; k < trials() / t->lanes; k++) {
        for (size_t i = 0; i < t->lanes; i++) {
            a[i] = any_real(&r);
            b[i] = (check_next(&r) & 3) != 0 ? any_real(&r) : a[i];
            x[i] = any_real(&r); /* NaN, signalling too, must come through untouched */
            y[i] = any_real(&r);
        }
        int any_gt = 0, any_eq = 0, any_nan = 0;
        check_at.test = "v_gt, v_select";
        t->select_gt(a, b, x, y, got);
        for (size_t i = 0; i < t->lanes; i++) {
            any_gt |= a[i] > b[i];
            same_real(i, got[i], to_real(a[i] > b[i] ? to_bits(x[i]) : to_bits(y[i])));
        }
        check_at.test = "v_eq, v_select";
        t->select_eq(a, b, x, y, got);
        for (size_t i = 0; i < t->lanes; i++) {
            any_eq |= a[i] == b[i];
            same_real(i, got[i], to_real(a[i] == b[i] ? to_bits(x[i]) : to_bits(y[i])));
        }
        check_at.test = "v_isnan, v_select";
        t->select_nan(a, x, y, got);
        for (size_t i = 0; i < t->lanes; i++) {
            any_nan |= isnan(a[i]) != 0;
            same_real(i, got[i], to_real(isnan(a[i]) ? to_bits(x[i]) : to_bits(y[i])));
        }
        check_at.test = "m_any";
        if ((t->any_gt(a, b) != 0) != any_gt || (t->any_eq(a, b) != 0) != any_eq ||
            (t->any_nan(a) != 0) != any_nan)
            check_fail("of %d, %d, %d", any_gt, any_eq, any_nan);
        check_count(3 * t->lanes + 3);
    }

    /* One true lane at a time, and none. */
    check_at.test = "m_any";
    for (size_t only = 0; only <= t->lanes; only++) {
        for (size_t i = 0; i < t->lanes; i++) {
            a[i] = i == only ? 1 : (real)-1;
            b[i] = 0;
            x[i] = i == only ? (real)NAN : 1;
            y[i] = i == only ? -(real)0.0 : 1;
        }
        check_at.n = only;
        CHECK((t->any_gt(a, b) != 0) == (only < t->lanes));
        CHECK((t->any_eq(y, b) != 0) == (only < t->lanes));
        CHECK((t->any_nan(x) != 0) == (only < t->lanes));
    }
    check_at.n = 0;
}

/* --------------------------------------------------------------- integers --- */

static void test_integers(const simd_ops *t)
{
    ibits a[MAX_LANES], b[MAX_LANES], got[MAX_LANES];
    real v[MAX_LANES];
    check_random r = check_random_new(check_at.seed = 31);
    for (size_t k = 0; k < trials() / t->lanes; k++) {
        for (size_t i = 0; i < t->lanes; i++) {
            const ubits u = (ubits)check_next(&r);
            a[i] = (ibits)u;
            b[i] = (ibits)((check_next(&r) & 1) != 0 ? (ubits)check_next(&r) : (ubits)0 - u);
        }
        check_at.test = "v_from_bits";
        t->from_bits(a, v);
        for (size_t i = 0; i < t->lanes; i++)
            check_bits(i, to_bits(v[i]), (ubits)a[i], REAL_BITS);
        check_at.test = "v_bits";
        t->bits(v, got);
        for (size_t i = 0; i < t->lanes; i++)
            check_bits(i, (ubits)got[i], (ubits)a[i], REAL_BITS);
        check_at.test = "vi_set1";
        t->vi_set1(a[0], got);
        for (size_t i = 0; i < t->lanes; i++)
            check_bits(i, (ubits)got[i], (ubits)a[0], REAL_BITS);
        check_at.test = "vi_add";
        t->vi_add(a, b, got);
        for (size_t i = 0; i < t->lanes; i++)
            check_bits(i, (ubits)got[i], (ubits)a[i] + (ubits)b[i], REAL_BITS);
#define TRY_SHIFT(op, count, sign)      \
  check_at.test = #op;                  \
  t->op(a, count, got);                 \
  for (size_t i = 0; i < t->lanes; i++) \
    check_bits(i, (ubits)got[i], (ubits)((ubits)a[i] sign count), REAL_BITS);
#define TRY_BOTH(count)        \
  TRY_SHIFT(vi_shl, count, <<) \
  TRY_SHIFT(vi_shr, count, >>)
        TRY_SHIFT(vi_shl, 0, <<)
        SHIFTS(TRY_BOTH)
#undef TRY_BOTH
#undef TRY_SHIFT
        check_count(25 * t->lanes);
    }
}

static void test_table8(const simd_ops *t)
{
    if (t->table8 == NULL)
        return;
    check_at.test = "v_table8";
    check_random r = check_random_new(check_at.seed = 41);
    ibits index[MAX_LANES], got[MAX_LANES];
    for (size_t k = 0; k < trials() / t->lanes; k++) {
        int32_t table[8];
        for (size_t i = 0; i < 8; i++)
            table[i] = (int32_t)(uint32_t)check_next(&r);
        const ibits plus = (k & 1) != 0 ? (ibits)(ubits)check_next(&r) : 0;
        for (size_t i = 0; i < t->lanes; i++) {
            const ubits any = (ubits)check_next(&r);
            switch (k % 3) {
            case 0: /* every entry in every lane */
                index[i] = (ibits)((k / 3 + i) % 8);
                break;
            case 1: /* the bits of a magic number, as kernels pass them */
                index[i] =
                    (ibits)to_bits((real)(0x1.8p+23 + (double)(int)(any % 6000000) - 3000000));
                break;
            default:
                index[i] = (ibits)any;
            }
        }
        t->table8(table, plus, index, got);
        for (size_t i = 0; i < t->lanes; i++)
            check_bits(i, (ubits)got[i], (ubits)table[(ubits)index[i] & 7] + (ubits)plus,
                       REAL_BITS);
        check_count(t->lanes);
    }
}

/* -------------------------------------------------------------- wide sums --- */

/* What simd.h promises of vw_add and vw_fma, for one lane. */
typedef struct wide {
    double hi, lo;
} wide;

static wide ref_wide_add(wide w, real v)
{
#if REAL_BITS == 64
    const double s = w.hi + v, b = s - w.hi;
    return (wide){ s, w.lo + ((w.hi - (s - b)) + (v - b)) };
#else
    return (wide){ w.hi + (double)v, 0 };
#endif
}

static wide ref_wide_fma(wide w, real a, real b)
{
#if REAL_BITS == 64
    const double p = a * b, e = fma(a, b, -p);
    w = ref_wide_add(w, p);
    w.lo += e;
    return w;
#else
    return (wide){ w.hi + (double)a * (double)b, 0 };
#endif
}

#define MAX_TERMS 17

static wide ref_wide_merge(wide a, wide b)
{
#if REAL_BITS == 64
    return ref_wide_add((wide){ a.hi, a.lo + b.lo }, b.hi);
#else
    return (wide){ a.hi + b.hi, 0 };
#endif
}

static void test_wide_merge(const simd_ops *t)
{
    double a_hi[MAX_LANES], a_lo[MAX_LANES], b_hi[MAX_LANES], b_lo[MAX_LANES];
    double hi[MAX_LANES], lo[MAX_LANES];
    check_random r = check_random_new(check_at.seed = 52);
    check_at.test = "vw_load, vw_merge, vw_store";
    for (size_t k = 0; k < trials() / t->lanes / 4; k++) {
        for (size_t i = 0; i < t->lanes; i++) {
            a_hi[i] = ldexp(check_normal(&r), (int)check_below(&r, 100) - 50);
            b_hi[i] = (k & 1) != 0 ? ldexp(check_normal(&r), (int)check_below(&r, 100) - 50)
                                   : -a_hi[i] * (1 + (double)(int)check_below(&r, 5) * DBL_EPSILON);
            a_lo[i] = a_hi[i] * 0x1p-54 * check_uniform(&r, -1, 1);
            b_lo[i] = b_hi[i] * 0x1p-54 * check_uniform(&r, -1, 1);
        }
        t->wide_merge(a_hi, a_lo, b_hi, b_lo, hi, lo);
        for (size_t i = 0; i < t->lanes; i++) {
            const wide w = ref_wide_merge((wide){ a_hi[i], a_lo[i] }, (wide){ b_hi[i], b_lo[i] });
            check_bits(i, check_f64_bits(hi[i]), check_f64_bits(w.hi), 64);
            check_bits(i, check_f64_bits(lo[i]), check_f64_bits(w.lo), 64);
        }
        check_count(2 * t->lanes);
    }
}

static wide ref_wide_mul(wide a, wide b)
{
#if REAL_BITS == 64
    const double p = a.hi * b.hi, e = fma(a.hi, b.hi, -p);
    return (wide){ p, e + fma(a.hi, b.lo, a.lo * b.hi) };
#else
    return (wide){ a.hi * b.hi, 0 };
#endif
}

static void test_wide_mul(const simd_ops *t)
{
    real a[MAX_LANES], b[MAX_LANES], c[MAX_LANES];
    double hi[MAX_LANES], lo[MAX_LANES];
    check_random r = check_random_new(check_at.seed = 54);
    check_at.test = "vw_of, vw_mul";
    for (size_t k = 0; k < trials() / t->lanes / 4; k++) {
        for (size_t i = 0; i < t->lanes; i++) {
            a[i] = (real)ldexp(check_normal(&r), (int)check_below(&r, 60) - 30);
            b[i] = (real)check_normal(&r);
            c[i] = (real)check_normal(&r);
        }
        t->wide_mul(a, b, c, hi, lo);
        for (size_t i = 0; i < t->lanes; i++) {
            const wide ab = ref_wide_mul((wide){ a[i], 0 }, (wide){ b[i], 0 });
            const wide abc = ref_wide_mul(ab, (wide){ c[i], 0 }), w = ref_wide_mul(abc, abc);
            check_bits(i, check_f64_bits(hi[i]), check_f64_bits(w.hi), 64);
            check_bits(i, check_f64_bits(lo[i]), check_f64_bits(w.lo), 64);
        }
        check_count(2 * t->lanes);
    }
}

/* Elements know their places. */
static void test_order(const simd_ops *t)
{
    real a[2 * MAX_LANES], e[MAX_LANES], o[MAX_LANES], back[2 * MAX_LANES];
    check_at.test = "v_evens, v_odds, v_zip_low, v_zip_high";
    for (size_t i = 0; i < 2 * t->lanes; i++)
        a[i] = (real)i;
    t->split(a, a + t->lanes, e, o);
    for (size_t i = 0; i < t->lanes; i++) {
        same_real(i, e[i], (real)(2 * i));
        same_real(i, o[i], (real)(2 * i + 1));
    }
    t->zip(e, o, back, back + t->lanes);
    check_same(back, a, 2 * t->lanes * sizeof *a, sizeof *a);
    check_count(4 * t->lanes);
}

static void test_wide_total(const simd_ops *t)
{
    double hi[MAX_LANES], lo[MAX_LANES] = { 0 }, sum[MAX_LANES];
    check_random r = check_random_new(check_at.seed = 53);
    check_at.test = "vw_total";
    for (size_t k = 0; k < trials() / t->lanes / 4; k++) {
        for (size_t i = 0; i < t->lanes; i++) /* sizes apart, so that another order shows */
            sum[i] = hi[i] = ldexp(check_normal(&r), (int)check_below(&r, 60) - 30);
        for (size_t n = t->lanes / 2; n > 0; n /= 2)
            for (size_t i = 0; i < n; i++)
                sum[i] += sum[i + n];
        check_bits(0, check_f64_bits(t->wide_total(hi, lo)), check_f64_bits(sum[0]), 64);
        check_count(1);
    }
}

static void test_wide(const simd_ops *t)
{
    static real v[MAX_TERMS * MAX_LANES], a[MAX_TERMS * MAX_LANES], b[MAX_TERMS * MAX_LANES];
    const size_t bytes = t->lanes * sizeof(double);
    check_buffer hi_at = check_buffer_new(bytes), lo_at = check_buffer_new(bytes);
    check_random r = check_random_new(check_at.seed = 51);
    check_at.test = "vw_add, vw_fma, vw_store";
    for (size_t k = 0; k < trials() / t->lanes / 8; k++) {
        const size_t n_add = check_below(&r, MAX_TERMS), n_fma = check_below(&r, MAX_TERMS);
        for (size_t i = 0; i < MAX_TERMS * t->lanes; i++) {
            if ((k & 1) != 0) { /* cancelling, and of many sizes */
                v[i] = (real)ldexp(check_normal(&r), (int)check_below(&r, 60) - 30);
                a[i] = (real)ldexp(check_normal(&r), (int)check_below(&r, 60) - 30);
                b[i] = (real)check_normal(&r);
            } else {
                v[i] = any_real(&r);
                a[i] = any_real(&r);
                b[i] = any_real(&r);
            }
        }
        const check_flush flush = (k & 2) != 0 ? CHECK_START : CHECK_END;
        double *const hi = check_put(&hi_at, bytes, flush, 0);
        double *const lo = check_put(&lo_at, bytes, flush, 0);
        t->wide(v, n_add, a, b, n_fma, hi, lo);
        for (size_t i = 0; i < t->lanes; i++) {
            wide w = { 0, 0 };
            for (size_t j = 0; j < n_add; j++)
                w = ref_wide_add(w, v[j * t->lanes + i]);
            for (size_t j = 0; j < n_fma; j++)
                w = ref_wide_fma(w, a[j * t->lanes + i], b[j * t->lanes + i]);
            if (!(isnan(hi[i]) && isnan(w.hi)))
                check_bits(i, check_f64_bits(hi[i]), check_f64_bits(w.hi), 64);
            if (!(isnan(lo[i]) && isnan(w.lo)))
                check_bits(i, check_f64_bits(lo[i]), check_f64_bits(w.lo), 64);
        }
        check_canaries(&hi_at, hi, bytes);
        check_canaries(&lo_at, lo, bytes);
        check_count(2 * t->lanes);
    }
    check_buffer_free(&hi_at);
    check_buffer_free(&lo_at);
}

/* ----------------------------------------------------------------- memory --- */

/* The same walk for real and for elem: bytes decide. */
typedef struct memory_case {
    const simd_ops *t;
    check_buffer *buffer;
    check_random *r;
} memory_case;

static real stored[MAX_LANES]; /* a vector of values that elem can hold, and their elems */
static elem as_elem[MAX_LANES];

static real elem_value(elem e);
static elem elem_of(real v);
static bool is_real_elem(void) { return sizeof(elem) == sizeof(real); }

static real elem_value(elem e)
{
#if defined(LMX_ELEM_F16)
    return (real)check_from_f16(e);
#elif defined(LMX_ELEM_BF16)
    return check_f32((uint32_t)e << 16);
#else
    return e;
#endif
}

static elem elem_of(real v)
{
#if defined(LMX_ELEM_F16)
    return check_to_f16(v);
#elif defined(LMX_ELEM_BF16)
    return check_to_bf16(v);
#else
    return v;
#endif
}

static void draw(const memory_case *m)
{
    for (size_t i = 0; i < m->t->lanes; i++) {
        if (is_real_elem()) {
            stored[i] = any_real(m->r); /* moves keep all bits */
            as_elem[i] = (elem)stored[i];
            memcpy(&as_elem[i], &stored[i], sizeof as_elem[i]);
        } else {
            as_elem[i] = elem_of((real)check_normal(m->r));
            stored[i] = elem_value(as_elem[i]);
        }
    }
}

/* n elements at an offset from a guard; `full` is the operation without a count. */
static void test_memory_at(const memory_case *m, size_t n, bool full, check_flush flush,
                           size_t offset)
{
    const simd_ops *const t = m->t;
    const real fill = special[(n + offset) % N_SPECIAL];
    real got[MAX_LANES];
    check_at.n = n;

    check_at.in_offset = offset * sizeof(real);
    real *const p = check_put(m->buffer, n * sizeof *p, flush, offset * sizeof *p);
    draw(m);
    memcpy(p, stored, n * sizeof *p);
    check_at.test = full ? "v_load" : "v_load_n";
    if (full)
        t->load(p, got);
    else
        t->load_n(p, n, fill, got);
    check_same(got, stored, n * sizeof *p, sizeof *p);
    for (size_t i = n; i < t->lanes; i++)
        same_real(i, got[i], fill);
    check_canaries(m->buffer, p, n * sizeof *p);
    check_at.test = full ? "v_store" : "v_store_n";
    if (full)
        t->store(p, stored);
    else
        t->store_n(p, stored, n);
    check_same(p, stored, n * sizeof *p, sizeof *p);
    check_canaries(m->buffer, p, n * sizeof *p);

    check_at.in_offset = offset * sizeof(elem);
    elem *const e = check_put(m->buffer, n * sizeof *e, flush, offset * sizeof *e);
    memcpy(e, as_elem, n * sizeof *e);
    check_at.test = full ? "e_load" : "e_load_n";
    if (full)
        t->e_load(e, got);
    else
        t->e_load_n(e, n, fill, got);
    check_same(got, stored, n * sizeof *p, sizeof *p);
    for (size_t i = n; i < t->lanes; i++)
        same_real(i, got[i], fill);
    check_canaries(m->buffer, e, n * sizeof *e);
    check_at.test = full ? "e_store" : "e_store_n";
    if (full)
        t->e_store(e, stored);
    else
        t->e_store_n(e, stored, n);
    check_same(e, as_elem, n * sizeof *e, sizeof *e);
    check_canaries(m->buffer, e, n * sizeof *e);
    check_count(4 * t->lanes);
}

static void test_memory(const simd_ops *t)
{
    check_buffer buffer = check_buffer_new(2048);
    check_random r = check_random_new(check_at.seed = 61);
    const memory_case m = { t, &buffer, &r };
    const int rounds = check_full ? 20 : 2;
    for (int round = 0; round < rounds; round++)
        for (size_t n = 0; n <= t->lanes; n++)
            for (size_t offset = 0; offset < 2 * MAX_LANES; offset++) {
                /* Without guards: far from them. */
                const size_t away = check_noguard ? 256 : 0;
                const size_t at = offset + away / sizeof(real);
                test_memory_at(&m, n, false, CHECK_START, at);
                test_memory_at(&m, n, false, CHECK_END, at);
                if (n == t->lanes) {
                    test_memory_at(&m, n, true, CHECK_START, at);
                    test_memory_at(&m, n, true, CHECK_END, at);
                }
            }

    /* Streams: multiples of the vector, up to both guards. */
    for (size_t k = 0; k < 16; k++) {
        const size_t size = t->lanes * sizeof(real), e_size = t->lanes * sizeof(elem);
        const check_flush flush = k & 1 ? CHECK_START : CHECK_END;
        draw(&m);
        check_at.test = "v_stream";
        check_at.n = t->lanes;
        check_at.in_offset = k / 2 * size;
        real *const p = check_put(&buffer, size, flush, k / 2 * size);
        t->stream(p, stored);
        check_same(p, stored, size, sizeof *p);
        check_canaries(&buffer, p, size);
        check_at.test = "e_stream";
        check_at.in_offset = k / 2 * e_size;
        elem *const e = check_put(&buffer, e_size, flush, k / 2 * e_size);
        t->e_stream(e, stored);
        check_same(e, as_elem, e_size, sizeof *e);
        check_canaries(&buffer, e, e_size);
        check_count(2 * t->lanes);
    }

    /* One element at both ends. */
    for (size_t k = 0; k < 2 * MAX_LANES; k++) {
        draw(&m);
        check_at.test = "e_get, e_put";
        check_at.n = 1;
        check_at.in_offset = 0;
        elem *const e =
            check_put(&buffer, sizeof *e, k & 1 ? CHECK_START : CHECK_END, check_noguard ? 256 : 0);
        *e = as_elem[0];
        memcpy(e, &as_elem[0], sizeof *e);
        same_real(0, t->e_get(e), stored[0]);
        check_canaries(&buffer, e, sizeof *e);
        t->e_put(e, stored[0]);
        check_same(e, &as_elem[0], sizeof *e, sizeof *e);
        check_canaries(&buffer, e, sizeof *e);
        check_count(2);
    }
    check_at.n = check_at.in_offset = 0;
    check_buffer_free(&buffer);
}

/* ------------------------------------------------------------ conversions --- */

#if defined(LMX_ELEM_F16) || defined(LMX_ELEM_BF16)

/* The float a stored value is: exact; binary16 NaNs become quiet as every CPU converts them, and
 * bfloat16 keeps its bits. */
static uint32_t loaded_bits(uint16_t e)
{
#  if defined(LMX_ELEM_F16)
    if ((e & 0x7fff) > 0x7c00)
        return (uint32_t)(e & 0x8000) << 16 | 0x7fc00000u | (uint32_t)(e & 0x3ff) << 13;
#  endif
    return check_f32_bits(elem_value(e));
}

static void try_stores(const simd_ops *t, const uint32_t *u, size_t index)
{
    float v[MAX_LANES];
    uint16_t got[MAX_LANES];
    memcpy(v, u, t->lanes * sizeof *v);
    t->e_store(got, v);
    for (size_t i = 0; i < t->lanes; i++) {
        const uint16_t want = elem_of(v[i]);
        if (!check_bits(index + i, got[i], want, 16))
            check_fail("storing %a (0x%08x)", (double)v[i], (unsigned)u[i]);
    }
    check_count(t->lanes);
}

static void test_conversions(const simd_ops *t)
{
    /* Exhaustive on load, in every lane in turn; scalar too. */
    check_at.test = "e_load, all values";
    for (size_t first = 0; first < 65536; first++) {
        uint16_t e[MAX_LANES];
        float got[MAX_LANES];
        for (size_t i = 0; i < t->lanes; i++)
            e[i] = (uint16_t)(first + i * 0x0821);
        t->e_load(e, got);
        for (size_t i = 0; i < t->lanes; i++)
            check_bits(e[i], check_f32_bits(got[i]), loaded_bits(e[i]), 32);
        check_bits(e[0], check_f32_bits(t->e_get(e)), loaded_bits(e[0]), 32);
        check_count(t->lanes + 1);
        if (check_fast)
            first += t->lanes - 1;
    }

    /* Every stored value back, and every tie between neighbours with the floats around it. */
    check_at.test = "e_store, round trip and ties";
    uint32_t u[MAX_LANES];
    size_t filled = 0;
    for (uint32_t e = 0; e < 65536; e++) {
        const uint32_t low = check_f32_bits(elem_value((uint16_t)e));
        const uint32_t high = check_f32_bits(elem_value((uint16_t)(e + 1)));
        const float middle = (float)(0.5 * ((double)check_f32(low) + (double)check_f32(high)));
        const uint32_t tie = isnan(middle) ? low : check_f32_bits(middle);
        const uint32_t tried[] = { low, low + 1, low - 1, tie, tie + 1, tie - 1, tie + 2, tie - 2 };
        for (size_t k = 0; k < sizeof tried / sizeof *tried; k++) {
            u[filled++] = tried[k];
            if (filled == t->lanes) {
                try_stores(t, u, e);
                filled = 0;
            }
        }
        uint16_t one;
        t->e_put(&one, check_f32(tie));
        check_bits(e, one, elem_of(check_f32(tie)), 16);
        check_count(1);
    }

    /* Overflow edges and NaNs by name, so that a failure says what broke. */
    check_at.test = "e_store, edges";
    static const uint32_t edges[] = {
        0x477fe000, 0x477fefff, 0x477ff000, 0x477ff001, 0x47800000, /* 65504, tie 65520, 65536 */
        0x7f7f0000, 0x7f7f7fff, 0x7f7f8000, 0x7f7f8001, 0x7f7fffff, /* the same for bfloat16 */
        0x33000000, 0x33000001, 0x32ffffff, 0x33c00000, 0x38800000, /* half of the least binary16 */
        0x387fffff, 0x387fe000, 0x387ff000, 0x387ff001, 0x00008000, 0x00000001, 0x00007fff,
        0x00008001, 0x00018000, 0x007fffff, 0x7f800000, 0x7f800001, 0x7fa00000, 0x7fc00000,
        0x7fc01fff, 0x7fffffff, 0x7f80ffff, 0x7fbfffff, 0x7f802000, 0x7f801fff,
    };
    for (size_t k = 0; k < sizeof edges / sizeof *edges; k++)
        for (uint32_t sign = 0; sign < 2; sign++) {
            for (size_t i = 0; i < t->lanes; i++)
                u[i] = edges[(k + i) % (sizeof edges / sizeof *edges)] | sign << 31;
            try_stores(t, u, k);
        }

    /* Many floats: all of them in a nightly run. */
    check_at.test = "e_store, many values";
    if (check_full) {
        for (uint64_t first = 0; first < UINT64_C(1) << 32; first += t->lanes) {
            for (size_t i = 0; i < t->lanes; i++)
                u[i] = (uint32_t)(first + i);
            try_stores(t, u, (size_t)first);
        }
        return;
    }
    check_random r = check_random_new(check_at.seed = 71);
    for (size_t k = 0; k < 20 * trials(); k += t->lanes) {
        for (size_t i = 0; i < t->lanes; i++) {
            u[i] = (uint32_t)check_next(&r);
#  if defined(LMX_ELEM_F16)
            if ((k / t->lanes & 1) != 0) /* most floats overflow or vanish: stay in range */
                u[i] = (u[i] & 0x80ffffff) | (uint32_t)(0x32 + check_below(&r, 22)) << 24;
#  endif
        }
        try_stores(t, u, k);
    }
}

#else
static void test_conversions(const simd_ops *t) { (void)t; }
#endif

/* ------------------------------------------------------------------- main --- */

static void test_tier(const simd_ops *t, const char *tier)
{
    check_at.tier = tier;
    if (!check_cpu_runs(tier)) {
        check_skip(tier, "this CPU cannot run it");
        return;
    }
    CHECK(strcmp(t->tier, tier) == 0);
    CHECK(t->lanes > 0 && t->lanes <= MAX_LANES && 32 % t->lanes == 0);
    test_set1_and_hmax(t);
    test_arithmetic(t);
    test_masks(t);
    test_integers(t);
    test_table8(t);
    test_wide(t);
    test_wide_merge(t);
    test_wide_mul(t);
    test_order(t);
    if (t->wide_total != NULL)
        test_wide_total(t);
    test_memory(t);
    test_conversions(t);
}

/* lib/meson.build defines LMX_BUILD_<TIER> for each tier of the build. */
extern const simd_ops SYMBOL(portable), SYMBOL(avx2), SYMBOL(avx512), SYMBOL(neon);

int main(void)
{
    check_begin("simd-" DTYPE);
    check_at.dtype = DTYPE;
    make_special();
    test_fma_data_discriminates();
#if defined(LMX_BUILD_PORTABLE)
    test_tier(&SYMBOL(portable), "portable");
#endif
#if defined(LMX_BUILD_AVX2)
    test_tier(&SYMBOL(avx2), "avx2");
#endif
#if defined(LMX_BUILD_AVX512)
    test_tier(&SYMBOL(avx512), "avx512");
#endif
#if defined(LMX_BUILD_NEON)
    test_tier(&SYMBOL(neon), "neon");
#endif
    return check_end();
}
