/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of the Fourier head (fourier.h), in double.  A sum over n is made of 32 chains of FMAs,
 * one for each n mod 32, which are added in a tree; where there is a sum for each n, it is one
 * chain in the order of the other index.  So the width of a tier's vectors changes no bit.
 */
#include "kernels/fourier/fft.h"
#include "simd/vmath.h"

#if defined(LMX_REAL_F64)

#  define LANES  LMX_FOURIER_LANES
#  define GROUPS (LANES / V_LANES)
#  define UNROLLED \
    (GROUPS < 4 ? GROUPS : 4) /* vectors in flight: independent chains hide the latency of FMA */

static void widen(const float *x, size_t n, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
}

static void narrow(const double *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
}

static double largest(const double *x, size_t n)
{
    vreal most = v_set1(0), bad = v_set1(0);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i;
        const vreal v = left >= V_LANES ? v_load(x + i) : v_load_n(x + i, left, 0);
        most = v_max(most, v_abs(v));
        bad = v_fma(v, v_set1(0), bad);
    }
    return m_any(v_isnan(bad)) ? lmx_qnan() : v_hmax(most);
}

/* The sum of the lanes, ((0 + 16) + (8 + 24)) + ... */
static double tree(double *lane)
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static double power(const lmx_series *a)
{
    LMX_ALIGN(64) double lane[LANES];
    for (size_t g = 0; g < LANES; g += V_LANES) {
        vreal s = v_set1(0);
        for (size_t i = g; i < a->n; i += LANES) {
            const vreal re = v_load(a->re + i), im = v_load(a->im + i);
            s = v_fma(re, re, s);
            s = v_fma(im, im, s);
        }
        v_store(lane + g, s);
    }
    return tree(lane);
}

/* --------------------------------------------------------------- angles --- */

typedef struct {
    vreal cos, sin;
} vsincos;

LMX_INLINE vreal round_near(vreal v) /* |v| <= 2^51 */
{
    const vreal shift = v_set1(0x1.8p+52);
    return v_sub(v_add(v, shift), shift);
}

/* pi in two parts */
#  define PI_HI 0x1.921fb54442d18p+1
#  define PI_LO 0x1.1a62633145c07p-53

/*
 * cos and sin of pi (f + q / 2) for |f| up to slightly above 1/4 and an integer q from -2 to 2.
 * With t = pi f, Taylor's series to t^17 and t^18 are summed, whose next terms are below 2^-60;
 * the rounding errors of t and t^2 are added.
 */
LMX_INLINE vsincos sincospi(vreal f, vreal q)
{
    const vreal one = v_set1(1), zero = v_set1(0);
    const vreal t = v_mul(f, v_set1(PI_HI));
    const vreal t_lo = v_fma(f, v_set1(PI_LO), v_fma(f, v_set1(PI_HI), v_sub(zero, t)));
    const vreal z = v_mul(t, t);

    vreal s = v_set1(1 / 355687428096000.0); /* 1 / 17! */
    s = v_fma(s, z, v_set1(-1 / 1307674368000.0));
    s = v_fma(s, z, v_set1(1 / 6227020800.0));
    s = v_fma(s, z, v_set1(-1 / 39916800.0));
    s = v_fma(s, z, v_set1(1 / 362880.0));
    s = v_fma(s, z, v_set1(-1 / 5040.0));
    s = v_fma(s, z, v_set1(1 / 120.0));
    s = v_fma(s, z, v_set1(-1 / 6.0));
    const vreal sine = v_add(t, v_fma(v_mul(z, t), s, t_lo));

    vreal c = v_set1(-1 / 6402373705728000.0); /* -1 / 18! */
    c = v_fma(c, z, v_set1(1 / 20922789888000.0));
    c = v_fma(c, z, v_set1(-1 / 87178291200.0));
    c = v_fma(c, z, v_set1(1 / 479001600.0));
    c = v_fma(c, z, v_set1(-1 / 3628800.0));
    c = v_fma(c, z, v_set1(1 / 40320.0));
    c = v_fma(c, z, v_set1(-1 / 720.0));
    c = v_fma(c, z, v_set1(1 / 24.0));
    const vreal half = v_mul(z, v_set1(0.5)), near = v_sub(one, half);
    const vreal z_lo = v_fma(t, t, v_sub(zero, z));
    const vreal near_lo = v_sub(v_sub(one, near), half);
    const vreal correction = v_fma(t, t_lo, v_mul(z_lo, v_set1(0.5)));
    const vreal cosine =
        v_add(near, v_add(near_lo, v_fma(v_mul(z, z), c, v_sub(zero, correction))));

    const vmask up = v_eq(q, one), down = v_eq(q, v_set1(-1)), here = v_eq(q, zero);
    const vreal minus_s = v_sub(zero, sine), minus_c = v_sub(zero, cosine);
    vsincos r;
    r.cos = v_select(here, cosine, v_select(up, minus_s, v_select(down, sine, minus_c)));
    r.sin = v_select(here, sine, v_select(up, cosine, v_select(down, minus_c, minus_s)));
    return r;
}

static void roots(const double *k, size_t n, double m, double *c, double *s)
{
    const vreal whole = v_set1(m), twice = v_set1(2 * m), rate = v_set1(2 / m);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal v = v_load_n(k + i, left, 0);
        /* 2 k = q m + r exactly, so the angle is rounded once, by r / (2 m) */
        const vreal q = round_near(v_mul(v, rate));
        const vreal r = v_fma(v_sub(v_set1(0), q), whole, v_add(v, v));
        const vsincos w = sincospi(v_div(r, twice), q);
        v_store_n(c + i, w.cos, left);
        v_store_n(s + i, w.sin, left);
    }
}

static void phases(const double *k, size_t n, double x, double *c, double *s)
{
    const vreal at = v_set1(x), zero = v_set1(0), half = v_set1(0.5), minus_half = v_set1(-0.5);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal v = v_load_n(k + i, left, 0);
        /* k x = p + e; less multiples of 2 and q quadrants it is (h - q / 2) + e, and h - q / 2 is
         * exact */
        const vreal p = v_mul(v, at), e = v_fma(v, at, v_sub(zero, p));
        const vreal h = v_fma(round_near(v_mul(p, half)), v_set1(-2), p);
        const vreal q = round_near(v_add(h, h));
        const vsincos w = sincospi(v_add(v_fma(q, minus_half, h), e), q);
        v_store_n(c + i, w.cos, left);
        v_store_n(s + i, w.sin, left);
    }
}

/* ----------------------------------------------------- sums over points --- */

/* lane[n mod 32] = near[n mod 32] times the sum of a[n] far[n / 32], for some vectors of lanes. */
LMX_INLINE void sum_lanes(const lmx_series *a, const lmx_powers *w, size_t from, size_t vectors,
                          double *lane_re, double *lane_im)
{
    vreal re[UNROLLED], im[UNROLLED];
    for (size_t g = 0; g < vectors; g++)
        re[g] = im[g] = v_set1(0);
    for (size_t q = 0; q * LANES < a->n; q++) {
        const vreal c = v_set1(w->far_cos[q]), s = v_set1(w->far_sin[q]);
        const vreal minus_s = v_sub(v_set1(0), s);
        for (size_t g = 0; g < vectors; g++) {
            const size_t at = q * LANES + from + g * V_LANES;
            const vreal x = v_load(a->re + at), y = v_load(a->im + at);
            re[g] = v_fma(x, c, re[g]);
            im[g] = v_fma(x, s, im[g]);
            re[g] = v_fma(y, minus_s, re[g]);
            im[g] = v_fma(y, c, im[g]);
        }
    }
    for (size_t g = 0; g < vectors; g++) {
        const size_t at = from + g * V_LANES;
        const vreal c = v_load(w->near_cos + at), s = v_load(w->near_sin + at);
        v_store(lane_re + at, v_fma(re[g], c, v_mul(im[g], v_sub(v_set1(0), s))));
        v_store(lane_im + at, v_fma(re[g], s, v_mul(im[g], c)));
    }
}

static void sum(const lmx_series *a, const lmx_powers *w, double value[2])
{
    LMX_ALIGN(64) double re[LANES] = { 0 }, im[LANES] = { 0 };
    const size_t used = a->n < LANES ? a->n : LANES; /* the other lanes hold 0 */
    for (size_t g = 0; g < used; g += UNROLLED * V_LANES) {
        if (used - g > V_LANES * (UNROLLED - 1))
            sum_lanes(a, w, g, UNROLLED, re, im);
        else
            for (size_t i = g; i < used; i += V_LANES)
                sum_lanes(a, w, i, 1, re, im);
    }
    value[0] = tree(re);
    value[1] = tree(im);
}

static void spread(const double value[2], const lmx_powers *w, const lmx_series *t)
{
    vreal re[GROUPS], im[GROUPS]; /* value conj(near) */
    const vreal x = v_set1(value[0]), y = v_set1(value[1]);
    for (size_t g = 0; g < GROUPS; g++) {
        const vreal c = v_load(w->near_cos + g * V_LANES), s = v_load(w->near_sin + g * V_LANES);
        re[g] = v_fma(x, c, v_mul(y, s));
        im[g] = v_fma(y, c, v_mul(x, v_sub(v_set1(0), s)));
    }
    for (size_t q = 0; q * LANES < t->n; q++) {
        const vreal c = v_set1(w->far_cos[q]), s = v_set1(w->far_sin[q]);
        const vreal minus_s = v_sub(v_set1(0), s);
        for (size_t g = 0; g < GROUPS && q * LANES + g * V_LANES < t->n; g++) {
            const size_t at = q * LANES + g * V_LANES;
            vreal u = v_fma(re[g], c, v_load(t->re + at)), v = v_fma(im[g], c, v_load(t->im + at));
            u = v_fma(im[g], s, u);
            v = v_fma(re[g], minus_s, v);
            const size_t left = t->n - at < V_LANES ? t->n - at : V_LANES;
            v_store_n(t->re + at, u, left);
            v_store_n(t->im + at, v, left);
        }
    }
}

/* ------------------------------------------------------------ transforms --- */

/* Stores `vectors` vectors from element `from` on, but nothing past the end of the series. */
LMX_INLINE void put_vectors(const vreal *re, const vreal *im, size_t from, size_t vectors,
                            const lmx_series *to)
{
    for (size_t g = 0; g < vectors; g++) {
        const size_t at = from + g * V_LANES;
        const size_t left = to->n - at < V_LANES ? to->n - at : V_LANES;
        v_store_n(to->re + at, re[g], left);
        v_store_n(to->im + at, im[g], left);
    }
}

LMX_INLINE void product_some(const lmx_series *x, const lmx_rotations *w, const lmx_series *y,
                             size_t from, size_t vectors)
{
    vreal re[UNROLLED], im[UNROLLED];
    for (size_t g = 0; g < vectors; g++) {
        re[g] = v_load(y->re + from + g * V_LANES);
        im[g] = v_load(y->im + from + g * V_LANES);
    }
    for (size_t k = 0; k < x->n; k++) {
        const vreal u = v_set1(x->re[k]), v = v_set1(x->im[k]), minus_v = v_set1(-x->im[k]);
        for (size_t g = 0; g < vectors; g++) {
            const size_t at = k * w->row + from + g * V_LANES;
            const vreal c = v_load(w->cos + at), s = v_load(w->sin + at);
            re[g] = v_fma(c, u, re[g]);
            im[g] = v_fma(s, u, im[g]);
            re[g] = v_fma(s, minus_v, re[g]);
            im[g] = v_fma(c, v, im[g]);
        }
    }
    put_vectors(re, im, from, vectors, y);
}

static void product(const lmx_series *x, const lmx_rotations *w, const lmx_series *y)
{
    size_t i = 0;
    for (; i + (UNROLLED - 1) * V_LANES < y->n; i += UNROLLED * V_LANES)
        product_some(x, w, y, i, UNROLLED);
    for (; i < y->n; i += V_LANES)
        product_some(x, w, y, i, 1);
}

static void multiply(double *re, double *im, const double *c, const double *s, size_t n,
                     int conjugate)
{
    const vreal sign = v_set1(conjugate ? -1 : 1);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal x = v_load_n(re + i, left, 0), y = v_load_n(im + i, left, 0);
        const vreal u = v_load_n(c + i, left, 0), v = v_mul(v_load_n(s + i, left, 0), sign);
        v_store_n(re + i, v_fma(x, u, v_mul(y, v_sub(v_set1(0), v))), left);
        v_store_n(im + i, v_fma(x, v, v_mul(y, u)), left);
    }
}

/* --------------------------------------------------------- correlations --- */

/*
 * Computes `vectors` vectors of c from element `from` on.  Lanes past the end of the series sum
 * products with the zeros that follow it; they are not stored.
 */
LMX_INLINE void correlate_some(const lmx_series *a, const lmx_series *c, size_t from,
                               size_t vectors)
{
    vreal re[UNROLLED], im[UNROLLED];
    for (size_t g = 0; g < vectors; g++)
        re[g] = im[g] = v_set1(0);
    for (size_t n = 0; n + from < a->n; n++) {
        const vreal x = v_set1(a->re[n]), y = v_set1(a->im[n]), minus_y = v_set1(-a->im[n]);
        for (size_t g = 0; g < vectors; g++) {
            const size_t at = n + from + g * V_LANES;
            const vreal u = v_load(a->re + at), v = v_load(a->im + at);
            re[g] = v_fma(u, x, re[g]);
            im[g] = v_fma(v, x, im[g]);
            re[g] = v_fma(v, y, re[g]);
            im[g] = v_fma(u, minus_y, im[g]);
        }
    }
    put_vectors(re, im, from, vectors, c);
}

static void correlate(const lmx_series *a, const lmx_series *c)
{
    size_t j = 0;
    for (; j + (UNROLLED - 1) * V_LANES < a->n; j += UNROLLED * V_LANES)
        correlate_some(a, c, j, UNROLLED);
    for (; j < a->n; j += V_LANES)
        correlate_some(a, c, j, 1);
}

LMX_INLINE void correlate_vjp_some(const lmx_series *g, const lmx_series *a, const lmx_series *t,
                                   size_t from, size_t vectors)
{
    vreal re[UNROLLED], im[UNROLLED];
    for (size_t k = 0; k < vectors; k++) {
        re[k] = v_load(t->re + from + k * V_LANES);
        im[k] = v_load(t->im + from + k * V_LANES);
    }
    const size_t wide = vectors * V_LANES;
    for (size_t j = 0; j < g->n && j < from + wide; j++) { /* g[j] a[n - j] */
        const vreal x = v_set1(g->re[j]), y = v_set1(g->im[j]), minus_y = v_set1(-g->im[j]);
        for (size_t k = 0; k < vectors; k++) {
            const ptrdiff_t at = (ptrdiff_t)(from + k * V_LANES) - (ptrdiff_t)j;
            if (at <= -(ptrdiff_t)V_LANES)
                continue; /* before the first element */
            const vreal u = v_load(a->re + at), v = v_load(a->im + at);
            re[k] = v_fma(u, x, re[k]);
            im[k] = v_fma(u, y, im[k]);
            re[k] = v_fma(v, minus_y, re[k]);
            im[k] = v_fma(v, x, im[k]);
        }
    }
    for (size_t j = 0; j < g->n && j + from < a->n; j++) { /* conj(g[j]) a[n + j] */
        const vreal x = v_set1(g->re[j]), y = v_set1(g->im[j]), minus_y = v_set1(-g->im[j]);
        for (size_t k = 0; k < vectors; k++) {
            const size_t at = from + k * V_LANES + j;
            if (at >= a->n)
                continue;
            const vreal u = v_load(a->re + at), v = v_load(a->im + at);
            re[k] = v_fma(u, x, re[k]);
            im[k] = v_fma(u, minus_y, im[k]);
            re[k] = v_fma(v, y, re[k]);
            im[k] = v_fma(v, x, im[k]);
        }
    }
    put_vectors(re, im, from, vectors, t);
}

static void correlate_vjp(const lmx_series *g, const lmx_series *a, const lmx_series *t)
{
    size_t n = 0;
    for (; n + (UNROLLED - 1) * V_LANES < t->n; n += UNROLLED * V_LANES)
        correlate_vjp_some(g, a, t, n, UNROLLED);
    for (; n < t->n; n += V_LANES)
        correlate_vjp_some(g, a, t, n, 1);
}

extern const lmx_fourier_kernel LMX_K(fourier);
const lmx_fourier_kernel LMX_K(fourier) = {
    widen,    narrow,    largest,       power,   roots,
    phases,   sum,       spread,        product, LMX_K(fourier_fft),
    multiply, correlate, correlate_vjp,
};

#endif
