/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rational: P / Q, P = a[0] + ... + a[p] x^p, and Q = 1 + |b[1]| |x| + ... + |b[q]| |x|^q (form A) or
 * 1 + |b[1] x + ... + b[q] x^q| (form B): the group-rational activation of the Kolmogorov-Arnold Transformer (Yang and
 * Wang 2024, arXiv:2409.10594) and of Padé activation units (Molina, Schramowski and Kersting 2019,
 * arXiv:1907.06732).  Either way Q >= 1: there are no poles.
 *
 * Horner's scheme and a division: within (p + q + 4) u times (sum |a[i] x^i| / Q + |P| Sum / Q^2), where Sum is 1 and
 * the absolute terms of Q.  Where a power could overflow, vectors that hold such an x have it computed apart, with
 * exponents of any size; the limits at infinity too.
 *
 *   dx = dy (P' / Q - P / Q Q' / Q), da[i] = sum dy x^i / Q, db[j] = -sum dy P / Q^2 dQ/db[j]
 *
 * with 0 for the derivative of |u| at u = 0, but 1 by a b[j] of form A that is 0, so that it can grow.
 */
#include "kernels/loops/map.h"
#include "kernels/loops/products.h"
#include "kernels/loops/size.h"

#define A_MOST (LMX_CHANNEL_ORDER + 1)
#define B_MOST LMX_CHANNEL_ORDER
#define SUMS   (A_MOST + B_MOST)

/* Sums that are taken at once, where a frame has space for their lanes. */
#if defined(LMX_REAL_F64)
#  define AT_ONCE A_MOST
#else
#  define AT_ONCE 10
#endif

/* Coefficients of a group of channels; those of form A's denominator without their signs. */
typedef struct {
    vreal a[A_MOST], b[B_MOST];
    double b_sign[B_MOST];
    vreal most; /* |x| up to which no power overflows */
    double far_a[A_MOST], far_b[B_MOST];
    size_t na, nb;
    int form_a;
} coefficients;

/* t such that |c[k]| T^k < 2^(spare + 1) for T = 2^t, at most `most` */
static int64_t reach(const double *c, size_t n, size_t first, int64_t most)
{
    const int64_t end = sizeof(real) == 4 ? 126 : 1022, spare = end - 8;
    for (size_t i = 0; i < n; i++) {
        const int64_t k = (int64_t)(i + first);
        if (k == 0)
            continue;
        const int64_t powers = end / k,
                      size = c[i] == 0 ? powers : (spare - exponent_of(c[i]) + k * 2048) / k - 2048;
        most = powers < most ? powers : most;
        most = size < most ? size : most;
    }
    return most;
}

static void prepare(const lmx_channel_spec *spec, size_t column, coefficients *k)
{
    const size_t set = column / spec->group;
    const double *a = spec->p + (spec->p_sets > 1 ? set * spec->np : 0);
    const double *b = spec->nq > 0 ? spec->q + (spec->q_sets > 1 ? set * spec->nq : 0) : NULL;
    k->na = spec->np;
    k->nb = spec->nq;
    k->form_a = spec->form_a;
    int finite = 1;
    for (size_t i = 0; i < A_MOST; i++) {
        k->far_a[i] = i < k->na ? (double)(real)a[i] : 0;
        finite = finite && lmx_finite(k->far_a[i]);
    }
    for (size_t j = 0; j < B_MOST; j++) {
        const double v = j < k->nb ? (double)(real)b[j] : 0;
        finite = finite && lmx_finite(v);
        k->b_sign[j] = k->form_a && v < 0 ? -1 : 1;
        k->far_b[j] = k->form_a && v < 0 ? -v : v;
    }
    const double nan = lmx_qnan();
    for (size_t i = 0; i < A_MOST; i++)
        k->a[i] = v_set1((real)(finite ? k->far_a[i] : nan));
    for (size_t j = 0; j < B_MOST; j++)
        k->b[j] = v_set1((real)(finite ? k->far_b[j] : nan));
    /* NaN for all x, too, if a coefficient is not finite. */
    const int64_t t = reach(k->far_b, k->nb, 1, reach(k->far_a, k->na, 0, 1 << 20));
    k->most = v_set1(!finite || t > 1 << 16 ? LMX_INF : t < -120 ? 0 : (real)lmx_scale2(1, t));
}

/* ------------------------------------------------------------- far away --- */

/* m 2^e */
typedef struct {
    double m;
    int64_t e;
} scaled;

LMX_INLINE double to_double(scaled v)
{
    if (v.m == 0 || v.e < -3000)
        return 0 * v.m;
    if (v.e > 3000)
        return v.m * (double)INFINITY;
    return lmx_scale2_gradual(lmx_scale2_gradual(v.m, v.e / 2), v.e - v.e / 2);
}

/* c[0] x^first + ... of which each coefficient is multiplied by its exponent if `slope`; x = m 2^e, 1 <= |m| < 2 */
static scaled polynomial(const double *c, size_t n, size_t first, scaled x, int slope)
{
    int64_t top = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        const int64_t k = (int64_t)(i + first), size = exponent_of(c[i]) + k * x.e;
        if (c[i] != 0 && !(slope && k == 0) && size > top)
            top = size;
    }
    if (top == INT64_MIN)
        return (scaled){ 0, 0 };
    double y = 0;
    for (size_t i = n + first; i-- > 0;) {
        double part = 0;
        if (i >= first)
            part = lmx_scale2_gradual(c[i - first], (int64_t)i * x.e - top);
        if (slope && i == 0)
            break;
        y = fma(y, x.m, slope ? (double)i * part : part);
    }
    return (scaled){ y, slope ? top - x.e : top };
}

static scaled sum(scaled a, scaled b)
{
    if (a.m == 0 || b.m == 0)
        return a.m == 0 ? b : a;
    const int64_t top = a.e > b.e ? a.e : b.e;
    return (scaled){ lmx_scale2_gradual(a.m, a.e - top) + lmx_scale2_gradual(b.m, b.e - top), top };
}

typedef struct {
    double value, slope, partial[SUMS]; /* by a, then by b */
} far_result;

LMX_NOINLINE void far_one(const coefficients *k, double v, far_result *r)
{
    scaled x = { v < 0 ? -1 : 1, 1 << 20 }; /* infinite: as large as need be */
    if (lmx_finite(v)) {
        x.e = exponent_of(v);
        x.m = lmx_scale2_gradual(v, -x.e);
    }
    const double side = x.m < 0 ? -1 : 1;
    const scaled at = { k->form_a ? x.m * side : x.m, x.e };
    const scaled one = { 1, 0 }, p = polynomial(k->far_a, k->na, 0, x, 0);
    const scaled inner = polynomial(k->far_b, k->nb, 1, at, 0);
    const double sign = k->form_a ? side : inner.m > 0 ? 1 : inner.m < 0 ? -1 : 0;
    const scaled q = sum(one, (scaled){ inner.m < 0 ? -inner.m : inner.m, inner.e });
    const scaled dp = polynomial(k->far_a, k->na, 0, x, 1);
    const scaled dq = polynomial(k->far_b, k->nb, 1, at, 1);
    const scaled y = { p.m / q.m, p.e - q.e };
    r->value = to_double(y);
    r->slope = to_double(sum((scaled){ dp.m / q.m, dp.e - q.e },
                             (scaled){ -y.m * (sign * dq.m / q.m), y.e + dq.e - q.e }));
    scaled power = one;
    for (size_t i = 0; i < k->na; i++) {
        r->partial[i] = to_double((scaled){ power.m / q.m, power.e - q.e });
        power = (scaled){ power.m * x.m, power.e + x.e };
    }
    power = one;
    for (size_t j = 0; j < k->nb; j++) {
        power = (scaled){ power.m * at.m, power.e + at.e };
        const double s = k->form_a ? 1 : sign;
        r->partial[k->na + j] =
            to_double((scaled){ -y.m / q.m * s * power.m, y.e - q.e + power.e });
    }
}

enum { FAR_VALUE, FAR_SLOPE, FAR_PARTIALS /* and those behind the first */ };

/* Lanes of v with |x| > most, computed apart. */
LMX_NOINLINE void far_lanes(const coefficients *k, const vreal *x_, int what, vreal *v)
{
    real x[V_LANES], most[V_LANES], lane[V_LANES];
    v_store(x, *x_);
    v_store(most, k->most);
    v_store(lane, *v);
    for (size_t l = 0; l < V_LANES; l++) {
        far_result r;
        if (!(x[l] > most[0] || x[l] < -most[0]))
            continue;
        far_one(k, (double)x[l], &r);
        lane[l] = (real)(what == FAR_VALUE   ? r.value
                         : what == FAR_SLOPE ? r.slope
                                             : r.partial[what - FAR_PARTIALS]);
    }
    *v = v_load(lane);
}

/* v, computed apart in lanes that are far; what has no address stays in registers. */
LMX_INLINE vreal with_far(const coefficients *k, vreal x, int what, vreal v)
{
    if (LMX_UNLIKELY(m_any(v_gt(v_abs(x), k->most)))) {
        vreal at = x, apart = v;
        far_lanes(k, &at, what, &apart);
        v = apart;
    }
    return v;
}

/* ------------------------------------------------------------------ near --- */

LMX_INLINE vreal horner(const vreal *c, size_t n, vreal x)
{
    vreal y = c[n - 1];
    for (size_t i = n - 1; i-- > 0;)
        y = v_fma(y, x, c[i]);
    return y;
}

/* Lengths of the loops: constants for the published 6 and 4. */
typedef struct {
    size_t na, nb;
} lengths;

typedef struct {
    vreal p, q, at, inner; /* Q = 1 + |inner|; at is what its powers are of */
} quotient;

LMX_INLINE quotient near_of(const coefficients *k, lengths n, vreal x)
{
    const vreal one = v_set1(1);
    quotient r = { horner(k->a, n.na, x), one, x, v_set1(0) };
    if (n.nb == 0)
        return r;
    if (k->form_a)
        r.at = v_abs(x);
    const vreal h = horner(k->b, n.nb, r.at);
    r.inner = v_mul(h, r.at);
    r.q = v_fma(v_abs(h), v_abs(x), one);
    return r;
}

LMX_INLINE vreal near_value(const coefficients *k, lengths n, vreal x)
{
    const quotient r = near_of(k, n, x);
    return canonical(with_far(k, x, FAR_VALUE, with_nan(x, v_div(r.p, r.q))));
}

/* v with the sign of s; 0 where that is 0 */
LMX_INLINE vreal signed_by(vreal v, vreal s)
{
    const vreal zero = v_set1(0), other = v_sub(zero, v);
    return v_select(v_gt(s, zero), v, v_select(v_gt(zero, s), other, zero));
}

LMX_INLINE vreal near_slope(const coefficients *k, lengths n, vreal x)
{
    const quotient r = near_of(k, n, x);
    const vreal w = v_div(v_set1(1), r.q), zero = v_set1(0);
    vreal dp = zero, dq = zero;
    for (size_t i = n.na - 1; i >= 1; i--)
        dp = v_fma(dp, x, v_mul(v_set1((real)i), k->a[i]));
    for (size_t j = n.nb; j >= 1; j--)
        dq = v_fma(dq, r.at, v_mul(v_set1((real)j), k->b[j - 1]));
    dq = signed_by(dq, k->form_a ? x : r.inner);
    /* P w dq w from the product that neither overflows nor is subnormal: w <= 1 */
    const vreal q = v_mul(dq, w);
    const vmask large = v_gt(v_abs(r.p), v_set1(1));
    const vreal first = v_mul(r.p, v_select(large, w, q)), second = v_select(large, q, w);
    const vreal d = v_fma(first, v_sub(zero, second), v_mul(dp, w));
    return with_far(k, x, FAR_SLOPE, with_nan(x, d));
}

/* d[] = the derivatives by coefficients first .. end - 1, a then b; but for the signs of form A's b */
LMX_INLINE void near_partials(const coefficients *k, lengths n, size_t first, size_t end, vreal x,
                              vreal *d)
{
    const quotient r = near_of(k, n, x);
    const vreal w = v_div(v_set1(1), r.q);
    vreal power = with_nan(x, w);
    for (size_t i = first; i < n.na; i++) { /* first is 0 or na */
        d[i] = power;
        power = v_mul(power, x);
    }
    if (end > n.na) {
        power = v_sub(v_set1(0), v_mul(v_mul(r.p, w), w));
        if (!k->form_a)
            power = signed_by(power, r.inner);
        for (size_t j = n.na; j < end; j++)
            d[j - first] = power = v_mul(power, r.at);
    }
    for (size_t i = first; i < end; i++)
        d[i - first] = with_far(k, x, FAR_PARTIALS + (int)i, d[i - first]);
}

/* -------------------------------------------------------------- the rows --- */

static vreal value_kat(map_in in, const void *k, vreal *up)
{
    (void)up;
    return near_value(k, (lengths){ 6, 4 }, in.x);
}

static vreal value_any(map_in in, const void *k_, vreal *up)
{
    const coefficients *k = k_;
    (void)up;
    return near_value(k, (lengths){ k->na, k->nb }, in.x);
}

static vreal pull_kat(map_in in, const void *k, vreal *up)
{
    (void)up;
    return canonical(v_mul(in.dy, near_slope(k, (lengths){ 6, 4 }, in.x)));
}

static vreal pull_any(map_in in, const void *k_, vreal *up)
{
    const coefficients *k = k_;
    (void)up;
    return canonical(v_mul(in.dy, near_slope(k, (lengths){ k->na, k->nb }, in.x)));
}

/* The part of a row, from `at` on, that has one set of coefficients; the rows of a piece begin alike. */
LMX_INLINE size_t segment(const lmx_piece *e, const lmx_channel_spec *spec, size_t at)
{
    const size_t left = spec->group - (e->first + at) % spec->group;
    return left < e->n - at ? left : e->n - at;
}

LMX_INLINE map_arrays part_of(map_arrays m, size_t at, size_t n)
{
    m.dy = m.dy != NULL ? m.dy + at : NULL;
    m.x += at;
    m.out += at;
    m.n = n;
    return m;
}

LMX_INLINE void map_segment(const map_arrays *m, const coefficients *k)
{
    const int kat = k->na == 6 && k->nb == 4;
    if (m->dy == NULL && kat)
        map_all(m, 0, value_kat, k);
    else if (m->dy == NULL)
        map_all(m, 0, value_any, k);
    else if (kat)
        map_all(m, HAS_DY, pull_kat, k);
    else
        map_all(m, HAS_DY, pull_any, k);
}

/* Sums first .. end - 1 over all rows of a piece for one segment, as poly_norm.h: lane by lane. */
LMX_INLINE void segment_sums(const lmx_piece *e, size_t at, size_t n, const coefficients *k,
                             lengths size, size_t first, size_t end, lmx_dd *total)
{
    const size_t count = end - first;
    lane_sums lanes[AT_ONCE];
    for (size_t g = 0; g < GROUPS; g++) {
        vwide s[AT_ONCE];
        for (size_t i = 0; i < count; i++)
            s[i] = vw_zero();
        for (size_t r = 0; r < e->rows; r++) {
            const map_arrays m = part_of(map_row(e, r), at, n);
            for (size_t i = g * V_LANES; i < n; i += LMX_LANES) {
                const size_t left = n - i;
                vreal d[AT_ONCE];
                const vreal dy = left < V_LANES ? e_load_n(m.dy + i, left, 0) : e_load(m.dy + i);
                const vreal x = left < V_LANES ? e_load_n(m.x + i, left, 0) : e_load(m.x + i);
                near_partials(k, size, first, end, x, d);
                for (size_t q = 0; q < count; q++)
                    s[q] = vw_fma(s[q], dy, d[q]);
            }
        }
        for (size_t i = 0; i < count; i++)
            lanes[i].group[g] = s[i];
    }
    for (size_t i = 0; i < count; i++)
        total[first + i] = lane_total(lanes[i]);
}

LMX_NOINLINE void sums_kat(const lmx_piece *e, size_t at, size_t n, const coefficients *k,
                           lmx_dd *total)
{
    const size_t end = AT_ONCE < 10 ? 6 : 10;
    segment_sums(e, at, n, k, (lengths){ 6, 4 }, 0, end, total);
    if (end < 10)
        segment_sums(e, at, n, k, (lengths){ 6, 4 }, end, 10, total);
}

LMX_NOINLINE void sums_any(const lmx_piece *e, size_t at, size_t n, const coefficients *k,
                           lmx_dd *total)
{
    const lengths size = { k->na, k->nb };
    for (size_t first = 0, end = k->na; end > first; first = end, end = k->na + k->nb)
        segment_sums(e, at, n, k, size, first, end, total);
}

static void add_sums(const lmx_piece *e, const lmx_channel_spec *spec, size_t at, size_t n,
                     const coefficients *k)
{
    lmx_dd total[SUMS];
    (k->na == 6 && k->nb == 4 ? sums_kat : sums_any)(e, at, n, k, total);
    const size_t set = (e->first + at) / spec->group;
    lmx_dd *a = e->sums + (spec->p_sets > 1 ? set * k->na : 0);
    lmx_dd *b = e->sums + spec->p_sets * k->na + (spec->q_sets > 1 ? set * k->nb : 0);
    for (size_t i = 0; i < k->na; i++)
        a[i] = lmx_dd_add(a[i], total[i]);
    for (size_t j = 0; j < k->nb; j++) {
        const lmx_dd t = total[k->na + j];
        b[j] = lmx_dd_add(b[j], (lmx_dd){ k->b_sign[j] * t.hi, k->b_sign[j] * t.lo });
    }
}

/* Values, or with dy gradients. */
static void rows(const lmx_piece *e, const lmx_channel_spec *spec)
{
    coefficients k;
    size_t n;
    const int one = spec->p_sets == 1 && spec->q_sets == 1;
    for (size_t at = 0; at < (one ? 1 : e->n); at += n) {
        n = segment(e, spec, at);
        prepare(spec, e->first + at, &k);
        if (e->sums != NULL)
            add_sums(e, spec, at, n, &k);
        for (size_t r = 0; r < (one ? map_runs(e) : e->rows); r++) {
            const map_arrays m = one ? map_run(e, r) : part_of(map_row(e, r), at, n);
            map_segment(&m, &k);
        }
    }
    map_done(e->how);
}

const lmx_channel_kernel LMX_K(rational) = { rows, rows };
