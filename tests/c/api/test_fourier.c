/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Fourier head, for one element type.  Values are compared with long double and with golden
 * ones of the paper's formulas; some properties must hold exactly (scaling by powers of two, ends
 * of the cdf, ignored rows); no byte outside the arrays is touched; and the bits are the same on
 * every tier, for any number of threads, with any strides and neighbouring rows.  Hashes are
 * compared with golden.txt.
 *
 *   test_fourier DTYPE GOLDEN [--update]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"
#include "tiers.h"

enum {
    DENSITY,
    CDF,
    SAMPLE,
    MEAN,
    VARIANCE,
    BINS,
    MASSES,
    LOG_BINS,
    BINS_VJP,
    MASSES_VJP,
    LOG_BINS_VJP,
    CROSS_ENTROPY, /* one loss for each row */
    PENALIZED,     /* the mean, with ignored rows */
    NORMALIZED,    /* the sum, with the other penalty */
    NLL,           /* the mean over all points, with a penalty */
    POINT_NLL,     /* a loss for each point */
    OPS
};

static const char *const names[OPS] = {
    "density",   "cdf",        "sample",   "mean",       "variance",     "bins",
    "masses",    "log_bins",   "bins_vjp", "masses_vjp", "log_bins_vjp", "cross_entropy",
    "penalized", "normalized", "nll",      "point_nll",
};

#define POINTS 5

typedef struct {
    size_t rows, frequencies, bins;
} shape;

typedef struct {
    shape s;
    void *coef, *dy;
    ptrdiff_t coef_row, dy_row;
    double *x, *u; /* POINTS for each row */
    int32_t *target;
} problem;

static int has_grad(int op) { return op >= CROSS_ENTROPY; }

static size_t out_rows(int op, shape s) { return op >= PENALIZED && op <= NLL ? 1 : s.rows; }

static size_t out_cols(int op, shape s)
{
    if (op <= SAMPLE || op == POINT_NLL)
        return POINTS;
    if (op >= BINS && op <= LOG_BINS)
        return s.bins;
    return op >= BINS_VJP && op <= LOG_BINS_VJP ? 2 * (s.frequencies + 1) : 1;
}

static size_t out_size(int op)
{
    return op == MEAN || op == VARIANCE || has_grad(op) ? real_size : size;
}

static lmx_fourier_options options_of(int op)
{
    lmx_fourier_options o;
    CHECK(lmx_fourier_options_init(&o) == LMX_OK);
    o.exact = op == MASSES || op == MASSES_VJP;
    o.reduction = op == PENALIZED || op == NLL ? LMX_MEAN : op == NORMALIZED ? LMX_SUM : LMX_NONE;
    o.gamma = op == PENALIZED || op == NLL ? 1e-6 : op == NORMALIZED ? 1e-3 : 0;
    o.normalized_penalty = op == NORMALIZED;
    return o;
}

static lmx_status run_with(lmx_ctx *ctx, int op, const problem *p, const lmx_fourier_options *o,
                           void *out, ptrdiff_t row, void *grad, ptrdiff_t grad_row)
{
    const size_t rows = p->s.rows, n = p->s.frequencies, m = p->s.bins;
    const void *const a = p->coef;
    const ptrdiff_t a_row = p->coef_row;
    switch (op) {
    case DENSITY:
        return lmx_fourier_density(ctx, dtype, rows, n, a, a_row, POINTS, p->x, POINTS, out, row);
    case CDF:
        return lmx_fourier_cdf(ctx, dtype, rows, n, a, a_row, POINTS, p->x, POINTS, out, row);
    case SAMPLE:
        return lmx_fourier_sample(ctx, dtype, rows, n, a, a_row, POINTS, p->u, POINTS, out, row);
    case MEAN:
        return lmx_fourier_mean(ctx, dtype, rows, n, a, a_row, out, row);
    case VARIANCE:
        return lmx_fourier_variance(ctx, dtype, rows, n, a, a_row, out, row);
    case BINS:
    case MASSES:
        return lmx_fourier_bins(ctx, dtype, rows, n, m, a, a_row, o, out, row);
    case LOG_BINS:
        return lmx_fourier_log_bins(ctx, dtype, rows, n, m, a, a_row, o, out, row);
    case BINS_VJP:
    case MASSES_VJP:
        return lmx_fourier_bins_vjp(ctx, dtype, rows, n, m, p->dy, p->dy_row, a, a_row, o, out,
                                    row);
    case LOG_BINS_VJP:
        return lmx_fourier_log_bins_vjp(ctx, dtype, rows, n, m, p->dy, p->dy_row, a, a_row, o, out,
                                        row);
    case NLL:
    case POINT_NLL:
        return lmx_fourier_nll(ctx, dtype, rows, n, a, a_row, POINTS, p->x, POINTS, o, out, row,
                               grad, grad_row);
    default:
        return lmx_fourier_cross_entropy(ctx, dtype, rows, n, m, a, a_row, p->target, LMX_I32, 1, o,
                                         out, row, grad, grad_row);
    }
}

/* Contiguous results. */
static lmx_status run(lmx_ctx *ctx, int op, const problem *p, void *out, void *grad)
{
    const lmx_fourier_options o = options_of(op);
    return run_with(ctx, op, p, &o, out, (ptrdiff_t)out_cols(op, p->s), has_grad(op) ? grad : NULL,
                    (ptrdiff_t)(2 * (p->s.frequencies + 1)));
}

static size_t out_bytes(int op, shape s)
{
    return out_rows(op, s) * out_cols(op, s) * out_size(op);
}
static size_t coef_bytes(shape s) { return s.rows * 2 * (s.frequencies + 1) * size; }
static size_t most_bytes(shape s)
{
    const size_t cols = 2 * (s.frequencies + 1) + s.bins + POINTS;
    return s.rows * cols * 8;
}

static problem problem_new(shape s, uint64_t seed)
{
    problem p = { .s = s };
    const size_t width = 2 * (s.frequencies + 1);
    check_random r = check_random_new(check_at.seed = seed);
    check_at.n = s.bins;
    p.coef_row = (ptrdiff_t)width;
    p.dy_row = (ptrdiff_t)s.bins;
    p.coef = get_memory(s.rows * width * size);
    p.dy = get_memory(s.rows * s.bins * size);
    p.x = get_memory(s.rows * POINTS * sizeof(double));
    p.u = get_memory(s.rows * POINTS * sizeof(double));
    p.target = get_memory(s.rows * sizeof *p.target);
    for (size_t i = 0; i < s.rows * width; i++)
        elem_put(dtype, p.coef, i, check_normal(&r));
    for (size_t i = 0; i < s.rows * s.bins; i++)
        elem_put(dtype, p.dy, i, check_normal(&r));
    for (size_t i = 0; i < s.rows * POINTS; i++) {
        p.x[i] = i % POINTS == 1 ? -1 : i % POINTS == 2 ? 1 : check_uniform(&r, -1, 1);
        p.u[i] = i % POINTS == 1 ? 0 : i % POINTS == 2 ? 1 : check_uniform(&r, 0, 1);
    }
    for (size_t i = 0; i < s.rows; i++)
        p.target[i] = (int32_t)check_below(&r, s.bins);
    return p;
}

static void problem_free(problem *p)
{
    free(p->coef);
    free(p->dy);
    free(p->x);
    free(p->u);
    free(p->target);
}

/*
 * One block and several, powers of two and chirps, more terms than bins, transforms of square and
 * oblong matrices.
 */
static const shape shapes[] = {
    { 1, 0, 1 },     { 2, 0, 5 },    { 1, 1, 1 },    { 3, 3, 8 },      { 5, 12, 50 },
    { 2, 42, 18 },   { 3, 31, 64 },  { 2, 32, 65 },  { 2, 100, 64 },   { 2, 200, 33 },
    { 3, 40, 128 },  { 2, 64, 130 }, { 2, 65, 256 }, { 2, 260, 256 },  { 1, 300, 1024 },
    { 1, 20, 512 },  { 9, 70, 500 }, { 1, 5, 2048 }, { 1, 550, 4096 }, { 2, 12, 1000 },
    { 1, 120, 300 },
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static bool is_large(shape s)
{
    return s.rows * s.frequencies * s.bins > (check_fast ? 200000u : 4000000u);
}

/* ---------------------------------------------------------------- values --- */

static double out_get(int op, const void *out, size_t i)
{
    if (out_size(op) == size && size != real_size)
        return elem_get(dtype, out, i);
    return real_size == 8 ? ((const double *)out)[i] : (double)((const float *)out)[i];
}

typedef struct {
    long double re, im;
} complex_value;

/* A(x) for x = at / of, of a row that is multiplied by nothing */
static complex_value series(const problem *p, size_t r, long double x)
{
    const size_t terms = p->s.frequencies + 1;
    const long double pi = 3.14159265358979323846264338327950288L;
    complex_value sum = { 0, 0 };
    for (size_t n = 0; n < terms; n++) {
        const long double t = pi * fmodl((long double)n * x, 2), c = cosl(t), s = sinl(t);
        const long double re = elem_get(dtype, p->coef, r * 2 * terms + n),
                          im = elem_get(dtype, p->coef, r * 2 * terms + terms + n);
        sum.re += re * c - im * s;
        sum.im += re * s + im * c;
    }
    return sum;
}

static long double square(complex_value v) { return v.re * v.re + v.im * v.im; }

static long double power(const problem *p, size_t r)
{
    const size_t width = 2 * (p->s.frequencies + 1);
    long double sum = 0;
    for (size_t i = 0; i < width; i++) {
        const long double v = elem_get(dtype, p->coef, r * width + i);
        sum += v * v;
    }
    return sum;
}

/* A result of elements is rounded once more than its bound says. */
static long double one_rounding(void)
{
    return dtype == LMX_F64   ? 0x1p-53L
           : dtype == LMX_F32 ? 0x1p-24L
           : dtype == LMX_F16 ? 0x1p-11L
                              : 0x1p-8L;
}

static void near_to(int op, size_t i, double got, long double want, long double allowed)
{
    if (!(fabsl((long double)got - want) <= allowed))
        check_fail("%s[%zu]: %a, exactly %La, allowed %La", names[op], i, got, want, allowed);
}

/*
 * Density, bins, their logs and the cross-entropy, within the bounds of docs/fourier-head.md: 2e-6
 * of the row's largest.
 */
static void test_values(shape s)
{
    problem p = problem_new(s, 3);
    const size_t m = s.bins;
    long double *const q = get_memory(m * sizeof *q);
    void *const out = get_memory(most_bytes(s)), *const grad = get_memory(coef_bytes(s));
    const long double a11 = (s.frequencies <= 256 ? 2e-6L : 8e-6L) *
                            (dtype == LMX_F64 ? 0x1p-29L : 1) / (real_size == size ? 1 : 16);
    check_at.tier = lmx_isa_name(ctx_of[0]);
    for (int op = 0; op < OPS; op++) {
        if (op != DENSITY && op != BINS && op != LOG_BINS && op != CROSS_ENTROPY)
            continue;
        CHECK(run(ctx_of[0], op, &p, out, grad) == LMX_OK);
        for (size_t r = 0; r < s.rows; r++) {
            long double sum = 0, most = 0;
            for (size_t j = 0; j < m; j++) {
                q[j] = square(series(&p, r, -1 + (2 * (long double)j + 1) / (long double)m));
                sum += q[j];
            }
            for (size_t j = 0; j < m; j++) {
                q[j] /= sum;
                most = q[j] > most ? q[j] : most;
            }
            const long double rounding = size == real_size ? 0 : one_rounding();
            const long double eps = 1e-5L;
            if (op == DENSITY)
                for (size_t i = 0; i < POINTS; i++) {
                    const long double want =
                        square(series(&p, r, p.x[r * POINTS + i])) / (2 * power(&p, r));
                    const long double top = (long double)(s.frequencies + 1) / 2;
                    near_to(op, r * POINTS + i, out_get(op, out, r * POINTS + i), want,
                            rounding * want + a11 * top);
                }
            for (size_t j = 0; j < m && (op == BINS || op == LOG_BINS); j++) {
                const double got = out_get(op, out, r * m + j);
                const long double want = op == BINS ? q[j] : logl(q[j] + eps);
                const long double allowed =
                    op == BINS ? a11 * most : a11 * most / (q[j] + eps) + 2 * a11 * fabsl(want);
                near_to(op, r * m + j, got, want,
                        allowed + rounding * fabsl(want) + (dtype == LMX_F16 ? 0x1p-25L : 0));
            }
            if (op == CROSS_ENTROPY) {
                const long double at = q[p.target[r]] + eps,
                                  want = -logl(at / (1 + (long double)m * eps));
                near_to(op, r, out_get(op, out, r), want,
                        (real_size == 8 ? 0x1p-29L : 1) *
                                (2e-6L * most / at + 4 * 0x1p-24L * want) +
                            0x1p-60L);
            }
        }
        check_count(s.rows);
    }
    problem_free(&p);
    free(q);
    free(out);
    free(grad);
}

/*
 * Gradients through q[j] = |A(x[j])|^2 / T for the sum T over all bins, whatever their number: 2
 * sum_j (g[j] - sum_i g[i] q[i]) / T A(x[j]) e^(-i pi n x[j]), within 6 u of the absolute terms, u
 * = 2^-24 or 2^-53.
 */
static void test_gradients(shape s)
{
    static const int ops[] = { BINS_VJP, LOG_BINS_VJP, CROSS_ENTROPY };
    problem p = problem_new(s, 4);
    const size_t m = s.bins, terms = s.frequencies + 1;
    const long double pi = 3.14159265358979323846264338327950288L, eps = 1e-5L;
    const long double u = real_size == 8 ? 0x1p-53L : 0x1p-24L;
    complex_value *const a = get_memory(m * sizeof *a);
    long double *const q = get_memory(m * sizeof *q), *const g = get_memory(m * sizeof *g);
    void *const out = get_memory(most_bytes(s)), *const grad = get_memory(coef_bytes(s));
    check_at.tier = lmx_isa_name(ctx_of[0]);
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        const int op = ops[k];
        CHECK(run(ctx_of[0], op, &p, out, grad) == LMX_OK);
        for (size_t r = 0; r < s.rows; r++) {
            long double sum = 0, mean = 0, mean_size = 0;
            for (size_t j = 0; j < m; j++) {
                a[j] = series(&p, r, -1 + (2 * (long double)j + 1) / (long double)m);
                sum += q[j] = square(a[j]);
            }
            for (size_t j = 0; j < m; j++) {
                q[j] /= sum;
                const long double dy = elem_get(dtype, p.dy, r * m + j),
                                  log_slope = 1 / (q[j] + eps);
                g[j] = op == BINS_VJP       ? dy
                       : op == LOG_BINS_VJP ? dy * log_slope
                                            : -((size_t)p.target[r] == j) * log_slope;
                mean += g[j] * q[j];
                mean_size += fabsl(g[j] * q[j]);
            }
            for (size_t n = 0; n < terms; n++) {
                complex_value want = { 0, 0 };
                long double size_of_terms = 0;
                for (size_t j = 0; j < m; j++) {
                    const long double x = -1 + (2 * (long double)j + 1) / (long double)m;
                    const long double t = pi * fmodl((long double)n * x, 2);
                    const long double h = 2 * (g[j] - mean) / sum, c = cosl(t), y = sinl(t);
                    want.re += h * (a[j].re * c + a[j].im * y);
                    want.im += h * (a[j].im * c - a[j].re * y);
                    size_of_terms += 2 * (fabsl(g[j]) + mean_size) / sum * sqrtl(square(a[j]));
                }
                const void *const got = op == CROSS_ENTROPY ? grad : out;
                const size_t at = r * 2 * terms + n;
                const long double rest = size == real_size ? 0 : one_rounding();
                const long double least = dtype == LMX_F16 ? 0x1p-25L : 0,
                                  allowed = 6 * u * size_of_terms;
                near_to(op, at, elem_get(dtype, got, at), want.re,
                        allowed + rest * fabsl(want.re) + least);
                near_to(op, at + terms, elem_get(dtype, got, at + terms), want.im,
                        allowed + rest * fabsl(want.im) + least);
            }
        }
        check_count(s.rows);
    }
    problem_free(&p);
    free(a);
    free(q);
    free(g);
    free(out);
    free(grad);
}

/*
 * One row whose results were computed by an independent program from the paper's formulas, to 12 or
 * 16 digits.
 */
static void test_golden(void)
{
    static const double a[8] = { 1, 0.3, -0.1, 0.05, 0.5, -0.2, 0.4, 0.1 };
    static const double dy[8] = { .3, -.1, .2, .5, -.4, .1, .05, -.2 };
    static const double logits[8] = { -3.002501886140, -3.913463797424, -2.149102575310,
                                      -1.561895874911, -2.198413920933, -2.326074771457,
                                      -1.501437878273, -1.756475345068 };
    static const double masses[8] = { 0.053944879847, 0.025610786431, 0.117165100032,
                                      0.199382886840, 0.115586380926, 0.105213992182,
                                      0.213303639195, 0.169792334548 };
    static const double back[8] = { -0.179608668273, -0.420543052509, 0.297015954850,
                                    -2.325201968603, -0.059520510804, -0.146094875348,
                                    0.807326147611,  1.293440992293 };
    static const double gradient[8] = { -0.488420786560, -0.649204456580, 0.849552481582,
                                        1.845334840182,  0.254094179785,  1.230058220756,
                                        2.035147544317,  -0.192238337849 };
    if (dtype != LMX_F64)
        return;
    double out[8], grad[8], loss;
    const double x = 0.3;
    const int64_t target = 5;
    lmx_fourier_options o;
    lmx_fourier_options_init(&o);
    o.reduction = LMX_SUM;
    for (size_t t = 0; t < n_tiers; t++) {
        lmx_ctx *const ctx = ctx_of[t];
        check_at.tier = lmx_isa_name(ctx);
        const long double digits = 0.6e-12L; /* the expected values have 12 decimals */
        CHECK(lmx_fourier_log_bins(ctx, dtype, 1, 3, 8, a, 8, &o, out, 8) == LMX_OK);
        for (size_t i = 0; i < 8; i++)
            near_to(LOG_BINS, i, out[i], logits[i], digits);
        CHECK(lmx_fourier_log_bins_vjp(ctx, dtype, 1, 3, 8, dy, 8, a, 8, &o, out, 8) == LMX_OK);
        for (size_t i = 0; i < 8; i++)
            near_to(LOG_BINS_VJP, i, out[i], back[i], digits);
        o.exact = 1;
        CHECK(lmx_fourier_bins(ctx, dtype, 1, 3, 8, a, 8, &o, out, 8) == LMX_OK);
        for (size_t i = 0; i < 8; i++)
            near_to(MASSES, i, out[i], masses[i], digits);
        CHECK(lmx_fourier_cross_entropy(ctx, dtype, 1, 3, 8, a, 8, &target, LMX_I64, 1, &o, &loss,
                                        1, grad, 8) == LMX_OK);
        near_to(CROSS_ENTROPY, 0, loss, 2.326154768257343L, 1e-15L);
        for (size_t i = 0; i < 8; i++)
            near_to(CROSS_ENTROPY, i, grad[i], gradient[i], digits);
        o.gamma = 1;
        CHECK(lmx_fourier_nll(ctx, dtype, 1, 3, a, 8, 1, &x, 1, &o, &loss, 1, NULL, 0) == LMX_OK);
        near_to(PENALIZED, 0, loss, 48.60385383360465L + 1.206446942368362L, 2e-14L);
        o.gamma = 0;
        CHECK(lmx_fourier_density(ctx, dtype, 1, 3, a, 8, 1, &x, 1, out, 1) == LMX_OK);
        near_to(DENSITY, 0, out[0], 0.299258676034344L, 1e-15L);
        CHECK(lmx_fourier_cdf(ctx, dtype, 1, 3, a, 8, 1, &x, 1, out, 1) == LMX_OK);
        near_to(CDF, 0, out[0], 0.526248741047554L, 1e-15L);
        CHECK(lmx_fourier_sample(ctx, dtype, 1, 3, a, 8, 1, out, 1, grad, 1) == LMX_OK);
        near_to(SAMPLE, 0, grad[0], 0.3L, 1e-14L);
        CHECK(lmx_fourier_mean(ctx, dtype, 1, 3, a, 8, out, 1) == LMX_OK);
        near_to(MEAN, 0, out[0], 0.203718327157626L, 1e-15L);
        CHECK(lmx_fourier_variance(ctx, dtype, 1, 3, a, 8, out, 1) == LMX_OK);
        near_to(VARIANCE, 0, out[0], 0.304188857754080L - 0.203718327157626L * 0.203718327157626L,
                1e-15L);
        check_count(1);
    }
}

/* ------------------------------------------------------------ what is exact --- */

/* Multiplied by a power of two a row has the bits of the row, and its gradient the inverse. */
static void test_scale(shape s)
{
    problem p = problem_new(s, 7);
    const size_t n = s.rows * 2 * (s.frequencies + 1);
    for (size_t i = 0; i < n; i++) /* digits to spare in every type */
        elem_put(dtype, p.coef, i, (double)((int)(i * 37 % 61) - 30) / 16);
    problem q = p;
    q.coef = get_memory(n * size);
    const double factor = dtype == LMX_F64 ? 0x1p+900 : dtype == LMX_F16 ? 0x1p-5 : 0x1p+100;
    void *const out = get_memory(most_bytes(s)), *const other = get_memory(most_bytes(s));
    void *const grad = get_memory(coef_bytes(s)), *const grad_other = get_memory(coef_bytes(s));
    for (int up = 0; up < 2; up++) {
        const double f = up ? factor : 1 / factor;
        for (size_t i = 0; i < n; i++)
            elem_put(dtype, q.coef, i, elem_get(dtype, p.coef, i) * f);
        for (int op = 0; op < OPS; op++) {
            if (op == PENALIZED || op == NLL) /* depend on the size */
                continue;
            CHECK(run(ctx_of[0], op, &p, out, grad) == LMX_OK);
            CHECK(run(ctx_of[0], op, &q, other, grad_other) == LMX_OK);
            const int backward = op >= BINS_VJP && op <= LOG_BINS_VJP;
            if (!backward)
                check_same(other, out, out_bytes(op, s), out_size(op));
            if ((backward || has_grad(op)) && size == real_size)
                for (size_t i = 0; i < n; i++) {
                    const double one = elem_get(dtype, backward ? out : grad, i),
                                 two = elem_get(dtype, backward ? other : grad_other, i);
                    CHECK(two * f == one || fabs(two) < 0x1p-126 || fabs(two) > 0x1p+1000);
                }
            check_count(1);
        }
    }
    free(q.coef);
    problem_free(&p);
    free(out);
    free(other);
    free(grad);
    free(grad_other);
}

/* Zeros, NaN, ignored rows, rows of bins that are all empty. */
static void test_special(void)
{
    const shape s = { 4, 5, 20 };
    problem p = problem_new(s, 5);
    const size_t width = 12;
    for (size_t i = 0; i < width; i++)
        elem_put(dtype, p.coef, width + i, 0);
    elem_put(dtype, p.coef, 2 * width + 3, NAN);
    elem_put(dtype, p.coef, 3 * width + 7, INFINITY);
    void *const out = get_memory(most_bytes(s)), *const grad = get_memory(coef_bytes(s));
    for (size_t t = 0; t < n_tiers; t++) {
        check_at.tier = lmx_isa_name(ctx_of[t]);
        for (int op = 0; op < OPS; op++) {
            CHECK(run(ctx_of[t], op, &p, out, grad) == LMX_OK);
            const size_t cols = out_cols(op, s);
            for (size_t r = 1; r < 4 && out_rows(op, s) > 1; r++)
                for (size_t i = 0; i < cols; i++) {
                    const double got = out_get(op, out, r * cols + i);
                    if (r > 1)
                        CHECK(got != got);
                    else if (op == DENSITY)
                        CHECK(got == 0.5);
                    else if (op == MEAN || (op >= BINS_VJP && op <= LOG_BINS_VJP))
                        CHECK(got == 0);
                    else if (op == BINS || op == MASSES)
                        near_to(op, i, got, 0.05L, one_rounding() * 0.05L);
                    else if (op == CDF && i < 3)
                        near_to(op, i, got, 0.5L * (p.x[POINTS + i] + 1), one_rounding());
                }
            for (size_t i = 0; i < 4 * width && has_grad(op); i++) {
                const double got = elem_get(dtype, grad, i);
                CHECK(i / width == 0 || (i / width == 1 ? got == 0 : got != got));
            }
            check_count(1);
        }
        /* ignored: neither the loss nor the gradient knows what the row holds; none left: NaN */
        lmx_fourier_options o = options_of(CROSS_ENTROPY);
        for (int left = 1; left >= 0; left--) {
            o.reduction = LMX_MEAN;
            for (size_t r = 0; r < 4; r++)
                p.target[r] = r == 0 && left ? 3 : -100;
            CHECK(run_with(ctx_of[t], CROSS_ENTROPY, &p, &o, out, 1, grad, (ptrdiff_t)width) ==
                  LMX_OK);
            const double loss = out_get(CROSS_ENTROPY, out, 0);
            CHECK(left ? loss > 0 && loss < 20 : loss != loss);
            for (size_t i = left ? width : 0; i < 4 * width; i++)
                CHECK(elem_get(dtype, grad, i) == 0);
        }
        for (size_t r = 0; r < 4; r++)
            p.target[r] = 3;
    }
    /* 1 + w has its only zero at the end; a[0] + a[2] fold to nothing in bins of 2 */
    const double pair[8] = { 1, 1, 0, 0, 0, 0, 0, 0 }, gone[6] = { 1, 0, 1, 0, 0, 0 };
    for (size_t i = 0; i < 4; i++)
        elem_put(dtype, p.coef, i, i < 2 ? pair[i] : 0);
    problem q = p;
    q.s = (shape){ 1, 1, 2 };
    q.coef_row = 4;
    for (size_t i = 0; i < POINTS; i++)
        q.x[i] = 1;
    CHECK(run(ctx_of[0], POINT_NLL, &q, out, grad) == LMX_OK);
    for (size_t i = 0; i < POINTS; i++)
        CHECK(out_get(POINT_NLL, out, i) == (double)INFINITY);
    for (size_t i = 0; i < 4; i++)
        CHECK(elem_get(dtype, grad, i) == (i < 2 ? POINTS : 0));
    for (size_t i = 0; i < 6; i++)
        elem_put(dtype, p.coef, i, gone[i]);
    q.s = (shape){ 1, 2, 2 };
    q.coef_row = 6;
    CHECK(run(ctx_of[0], BINS, &q, out, grad) == LMX_OK);
    CHECK(out_get(BINS, out, 0) == 0.5 && out_get(BINS, out, 1) == 0.5);
    problem_free(&p);
    free(out);
    free(grad);
}

/* --------------------------------------------------------- bits and memory --- */

static void test_bits(void)
{
    static uint64_t hash[OPS][MAX_TIERS];
    for (int op = 0; op < OPS; op++)
        for (size_t t = 0; t < MAX_TIERS; t++)
            hash[op][t] = CHECK_HASH_SEED;
    for (size_t q = 0; q < SHAPES; q++) {
        const shape s = shapes[q];
        if (is_large(s))
            continue;
        problem p = problem_new(s, 100 + q);
        if (s.rows > 2)
            p.target[1] = -100;
        const size_t most = most_bytes(s), width = coef_bytes(s);
        void *const out = get_memory(most), *const other = get_memory(most);
        void *const grad = get_memory(width), *const grad_other = get_memory(width);
        for (int op = 0; op < OPS; op++)
            for (size_t t = n_tiers; t-- > 0;) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                for (unsigned threads = 1; threads <= (check_noguard ? 1 : 3); threads += 2) {
                    const bool first = t == n_tiers - 1 && threads == 1;
                    lmx_ctx *const ctx = threads > 1 ? ctx_with(threads, check_at.tier) : ctx_of[t];
                    CHECK(run(ctx, op, &p, first ? out : other, first ? grad : grad_other) ==
                          LMX_OK);
                    if (!first)
                        check_same(other, out, out_bytes(op, s), out_size(op));
                    if (!first && has_grad(op))
                        check_same(grad_other, grad, width, size);
                    if (threads == 1 && s.rows * s.frequencies * s.bins <= 200000) {
                        hash[op][t] =
                            check_hash(hash[op][t], first ? out : other, out_bytes(op, s));
                        if (has_grad(op))
                            hash[op][t] = check_hash(hash[op][t], first ? grad : grad_other, width);
                    }
                    if (threads > 1)
                        lmx_ctx_free(ctx);
                    check_count(1);
                }
            }
        problem_free(&p);
        free(out);
        free(other);
        free(grad);
        free(grad_other);
    }
    for (int op = 0; op < OPS; op++) {
        char name[40];
        snprintf(name, sizeof name, "fourier_%s", names[op]);
        tiers_golden(name, hash[op]);
    }
}

/* Rows with gaps between guard pages; each row alone; the gradient in place of the coefficients. */
static void test_memory(shape s)
{
    problem p = problem_new(s, 500);
    const size_t cols = 2 * (s.frequencies + 1), gap = 3, wide = cols + gap;
    const size_t bytes = (s.rows * wide - gap) * size;
    void *const want = get_memory(most_bytes(s)), *const want_grad = get_memory(coef_bytes(s));
    check_buffer in = check_buffer_new(bytes + 1024), both = check_buffer_new(bytes + 1024);
    void *const coef = check_put(&in, bytes, CHECK_END, check_noguard ? 512 : 0);
    void *const grad = check_put(&both, bytes, CHECK_END, check_noguard ? 512 : 0);
    for (size_t r = 0; r < s.rows; r++)
        memcpy((char *)coef + r * wide * size, (char *)p.coef + r * cols * size, cols * size);
    problem apart = p;
    apart.coef = coef;
    apart.coef_row = (ptrdiff_t)wide;
    for (size_t t = 0; t < n_tiers; t++)
        for (int op = 0; op < OPS; op++) {
            check_at.tier = lmx_isa_name(ctx_of[t]);
            const size_t n = out_rows(op, s), own = out_cols(op, s), row = own + gap;
            const size_t need = (n * row - gap) * out_size(op);
            CHECK(run(ctx_of[t], op, &p, want, want_grad) == LMX_OK);
            check_buffer result = check_buffer_new(need + 1024);
            void *const out = check_put(&result, need, CHECK_END, check_noguard ? 512 : 0);
            const lmx_fourier_options o = options_of(op);
            check_paint(&result);
            CHECK(run_with(ctx_of[t], op, &apart, &o, out, (ptrdiff_t)row,
                           has_grad(op) ? grad : NULL, (ptrdiff_t)wide) == LMX_OK);
            for (size_t r = 0; r < n; r++)
                check_same((char *)out + r * row * out_size(op),
                           (char *)want + r * own * out_size(op), own * out_size(op), out_size(op));
            check_canaries(&result, out, need);
            check_buffer_free(&result);
            for (size_t r = 0; r < s.rows && has_grad(op); r++)
                check_same((char *)grad + r * wide * size, (char *)want_grad + r * cols * size,
                           cols * size, size);
            if (n == s.rows) { /* the last row alone */
                problem one = p;
                one.s.rows = 1;
                one.coef = (char *)p.coef + (s.rows - 1) * cols * size;
                one.dy = (char *)p.dy + (s.rows - 1) * s.bins * size;
                one.x = p.x + (s.rows - 1) * POINTS;
                one.u = p.u + (s.rows - 1) * POINTS;
                one.target = p.target + s.rows - 1;
                void *const alone = get_memory(most_bytes(s));
                CHECK(run(ctx_of[t], op, &one, alone, grad) == LMX_OK);
                check_same(alone, (char *)want + (n - 1) * own * out_size(op), own * out_size(op),
                           out_size(op));
                free(alone);
            }
            if (op >= BINS_VJP) { /* over the coefficients */
                problem over = p;
                over.coef = get_memory(coef_bytes(s));
                memcpy(over.coef, p.coef, coef_bytes(s));
                void *const loss = get_memory(most_bytes(s));
                CHECK(run(ctx_of[t], op, &over, has_grad(op) ? loss : over.coef, over.coef) ==
                      LMX_OK);
                check_same(over.coef, has_grad(op) ? want_grad : want, coef_bytes(s), size);
                free(over.coef);
                free(loss);
            }
            check_count(1);
        }
    check_buffer_free(&in);
    check_buffer_free(&both);
    problem_free(&p);
    free(want);
    free(want_grad);
}

/* ---------------------------------------------------------------- errors --- */

static void expect(lmx_status got, lmx_status want, const void *out, const void *grad, size_t bytes)
{
    if (got != want)
        check_fail("%s, expected %s", lmx_status_string(got), lmx_status_string(want));
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)out)[i] != 0x5a || ((const unsigned char *)grad)[i] != 0x5a)
            check_fail("byte %zu was written", i);
    check_count(1);
}

static void test_errors(void)
{
    const shape s = { 3, 2, 7 };
    problem p = problem_new(s, 9);
    const size_t bytes = coef_bytes(s);
    void *const out = get_memory(most_bytes(s)), *const grad = get_memory(bytes + 8);
    memset(out, 0x5a, bytes);
    memset(grad, 0x5a, bytes);
    check_at.tier = lmx_isa_name(ctx_of[0]);
#define TRY(status, op, change)                                                                   \
  do {                                                                                            \
    problem q = p;                                                                                \
    lmx_fourier_options o = options_of(op);                                                       \
    void *result = out, *slope = grad;                                                            \
    change;                                                                                       \
    expect(run_with(ctx_of[0], op, &q, &o, result, (ptrdiff_t)out_cols(op, s), slope, 6), status, \
           out, grad, bytes);                                                                     \
  } while (0)
    for (int op = 0; op < OPS; op++) {
        const bool binned = op >= BINS && op < NLL, grads = has_grad(op);
        TRY(LMX_ERR_NULL, op, q.coef = NULL);
        TRY(LMX_ERR_NULL, op, result = NULL);
        TRY(LMX_ERR_ALIGN, op, result = (char *)out + 1);
        TRY(LMX_ERR_OVERFLOW, op, q.s.frequencies = (size_t)1 << 40);
        if (op < BINS_VJP || op > LOG_BINS_VJP)
            TRY(LMX_ERR_OVERLAP, op, result = p.coef);
        if (op >= BINS) {
            TRY(LMX_ERR_ARG, op, o.tag = 0);
            TRY(LMX_ERR_ARG, op, o.tag = sizeof o);
        }
        if (binned) {
            TRY(LMX_ERR_SHAPE, op, q.s.bins = 0);
            TRY(LMX_ERR_OVERFLOW, op, q.s.bins = (size_t)1 << 40);
            TRY(LMX_ERR_ARG, op, o.eps = -1);
            TRY(LMX_ERR_ARG, op, o.eps = NAN);
        }
        if (grads) {
            TRY(LMX_ERR_ARG, op, o.gamma = INFINITY);
            TRY(LMX_ERR_ARG, op, o.reduction = (lmx_reduction)3);
            TRY(LMX_ERR_OVERLAP, op, slope = out);
        }
    }
    TRY(LMX_ERR_NULL, DENSITY, q.x = NULL);
    TRY(LMX_ERR_NULL, BINS_VJP, q.dy = NULL);
    TRY(LMX_ERR_NULL, CROSS_ENTROPY, q.target = NULL);
    const double x = p.x[7], u = p.u[7];
    const double outside[] = { 1.0000000000000002, -1.0000000000000002, NAN };
    for (size_t i = 0; i < 3; i++) {
        p.x[7] = outside[i];
        p.u[7] = outside[i];
        TRY(LMX_ERR_ARG, DENSITY, (void)0);
        TRY(LMX_ERR_ARG, CDF, (void)0);
        TRY(LMX_ERR_ARG, SAMPLE, (void)0);
        TRY(LMX_ERR_ARG, NLL, (void)0);
    }
    p.x[7] = x;
    p.u[7] = u;
    const int32_t wrong[] = { 7, -1, -99 };
    for (size_t i = 0; i < 3; i++) {
        p.target[2] = wrong[i];
        TRY(LMX_ERR_LABEL, CROSS_ENTROPY, (void)0);
    }
    CHECK(lmx_fourier_density(NULL, (lmx_dtype)9, 1, 2, p.coef, 6, 1, p.x, 1, out, 1) ==
          LMX_ERR_DTYPE);
    CHECK(lmx_fourier_options_init(NULL) == LMX_ERR_NULL);
    /* nothing to do */
    CHECK(lmx_fourier_density(NULL, dtype, 0, 2, NULL, 6, 1, NULL, 1, NULL, 1) == LMX_OK);
    CHECK(lmx_fourier_density(NULL, dtype, 1, 2, NULL, 6, 0, NULL, 1, NULL, 1) == LMX_OK);
    CHECK(lmx_fourier_bins(NULL, dtype, 0, 2, 7, NULL, 6, NULL, NULL, 7) == LMX_OK);
    problem_free(&p);
    free(out);
    free(grad);
}

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "fourier");
    check_at.test = "golden values";
    test_golden();
    check_at.test = "values";
    for (size_t q = 0; q < SHAPES; q++)
        if (shapes[q].frequencies * shapes[q].bins <= (check_fast ? 6000u : 500000u))
            test_values(shapes[q]);
    check_at.test = "gradients";
    for (size_t q = 0; q < SHAPES; q++)
        if (shapes[q].frequencies * shapes[q].bins <= (check_fast ? 3000u : 50000u))
            test_gradients(shapes[q]);
    check_at.test = "scale";
    test_scale((shape){ 2, 12, 50 });
    test_scale((shape){ 2, 40, 33 });
    test_scale((shape){ 1, 90, 100 });
    check_at.test = "special";
    test_special();
    check_at.test = "errors";
    test_errors();
    check_at.test = "memory";
    test_memory((shape){ 3, 12, 50 });
    test_memory((shape){ 3, 33, 129 });
    test_memory((shape){ 2, 70, 64 });
    check_at.test = "bits";
    test_bits();
    return tiers_end();
}
