/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results against a reference in long double, within the bounds of lanemax.h and with
 * no absolute tolerance; special values at every kind of place; and properties that
 * need no reference.  The other tests make every tier equal to this one.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

typedef long double wide; /* 64 bits of mantissa on x86, 113 on AArch64 */

static lmx_ctx *ctx_of[8];
static size_t n_tiers;

static void *get_memory(size_t n)
{
    void *const p = malloc(n + 64);
    if (p == NULL)
        exit(3);
    return p;
}

/* ----------------------------------------------------------------- formats --- */

/* What is computed in: float but for double. */
typedef struct format {
    wide u;       /* half an ulp of 1 */
    wide quantum; /* the smallest subnormal */
    int least;    /* exponent of the smallest normal number */
} format;

static format computed_in(lmx_dtype dtype)
{
    return dtype == LMX_F64 ? (format){ 0x1p-53L, 0x1p-1074L, -1022 }
                            : (format){ 0x1p-24L, 0x1p-149L, -126 };
}

/* One ulp at v, never below the quantum. */
static wide ulp_at(format f, wide v)
{
    if (v == 0 || fabsl(v) < ldexpl(1, f.least))
        return f.quantum;
    return ldexpl(2 * f.u, ilogbl(v));
}

/* Whether got may stand for a result in [low, high]: for 16 bits, those rounded once. */
static bool within(lmx_dtype dtype, double got, wide low, wide high)
{
    if (dtype == LMX_F32 || dtype == LMX_F64)
        return (wide)got >= low && (wide)got <= high;
    const float l = (float)low, h = (float)high;
    const uint16_t lb = dtype == LMX_F16 ? check_to_f16(l) : check_to_bf16(l);
    const uint16_t hb = dtype == LMX_F16 ? check_to_f16(h) : check_to_bf16(h);
    return got >= elem_get(dtype, &lb, 0) && got <= elem_get(dtype, &hb, 0);
}

static struct {
    double worst;
    size_t n;
} worst_of[16][N_DTYPES];

static void note(lmx_row_code op, lmx_dtype dtype, wide error)
{
    if ((double)error > worst_of[op][dtype].worst)
        worst_of[op][dtype].worst = (double)error;
    worst_of[op][dtype].n++;
}

static void check_result(lmx_row_code op, lmx_dtype dtype, size_t i, double got, wide exact,
                         wide bound, wide unit)
{
    const wide largest = dtype == LMX_F64   ? (wide)DBL_MAX
                         : dtype == LMX_F32 ? (wide)FLT_MAX
                         : dtype == LMX_F16 ? 65504
                                            : 0x1.fep127L;
    const wide error = fabsl((wide)got - exact);
    if (isinf(got) && fabsl(exact) > largest && (got > 0) == (exact > 0))
        return; /* x - max of huge logits: rounds to infinity, within half an ulp of the largest */
    if (dtype == LMX_F32 || dtype == LMX_F64)
        note(op, dtype, error / unit);
    else
        note(op, dtype, 0);
    if (got == exact) /* infinities too */
        return;
    if (!within(dtype, got, exact - bound, exact + bound))
        check_fail("index=%zu got=%a want=%La error=%.3Lg bound=%.3Lg", i, got, exact, error,
                   bound);
}

/* A row in which only -inf is left is NaN where an element is kept, 0 (log: -inf) where masked. */
static void check_nothing_left(lmx_dtype dtype, const unsigned char *mask, size_t n,
                               const void *got, double masked)
{
    for (size_t i = 0; i < n; i++) {
        const double v = elem_get(dtype, got, i);
        if (mask == NULL || mask[i] != 0 ? !isnan(v) : v != masked)
            check_fail("index=%zu: %a where only -inf is left", i, v);
    }
    check_count(n);
}

/* -------------------------------------------------------------- reference --- */

/* A sum by Kahan: n roundings of 64 bits would show in double. */
typedef struct total {
    wide sum, lost;
} total;

static void add(total *t, wide v)
{
    const wide y = v - t->lost, s = t->sum + y;
    t->lost = (s - t->sum) - y;
    t->sum = s;
}

/* log(sum exp(x)) = max + log1p(rest): no cancellation. */
typedef struct softmax_reference {
    wide max, rest;
    size_t arg;
    wide weighted; /* sum p |x|: what a relative error of every x does to log(sum) */
} softmax_reference;

static softmax_reference reference_of(const wide *x, size_t n)
{
    softmax_reference s = { -(wide)INFINITY, 0, 0, 0 };
    for (size_t i = 0; i < n; i++)
        if (x[i] > s.max) {
            s.max = x[i];
            s.arg = i;
        }
    total rest = { 0, 0 };
    for (size_t i = 0; i < n; i++)
        if (i != s.arg)
            add(&rest, expl(x[i] - s.max));
    s.rest = rest.sum;
    for (size_t i = 0; i < n; i++)
        if (x[i] != -(wide)INFINITY)
            s.weighted += expl(x[i] - s.max) / (1 + s.rest) * fabsl(x[i]);
    return s;
}

/* rounded: the logits were divided by a temperature and rounded, which moves p by that much more. */
static void check_softmax(lmx_dtype dtype, const wide *x, size_t n, bool rounded,
                          const unsigned char *mask, const void *got)
{
    const format f = computed_in(dtype);
    const softmax_reference s = reference_of(x, n);
    if (s.max == -(wide)INFINITY) {
        check_nothing_left(dtype, mask, n, got, 0);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const wide exact = i == s.arg ? 1 / (1 + s.rest) : expl(x[i] - s.max) / (1 + s.rest);
        const double y = elem_get(dtype, got, i);
        const wide unit = ulp_at(f, exact), moved = rounded ? f.u * (fabsl(x[i]) + s.weighted) : 0;
        const wide bound =
            (exact < ldexpl(1, f.least) ? 2 : 4) * unit + (exact > 0 ? exact * expm1l(moved) : 0);
        check_result(LMX_ROW_softmax, dtype, i, y, exact, bound, bound / 4);
        if (!(y >= 0 && y <= 1) || signbit(y))
            check_fail("index=%zu: %a is no probability", i, y);
        if (y == 0 && exact > f.quantum * 0.5000001L && (dtype == LMX_F32 || dtype == LMX_F64))
            check_fail("index=%zu: 0 for %La", i, exact);
    }
    check_count(n);
}

static void check_log_softmax(lmx_dtype dtype, const wide *x, size_t n, bool rounded,
                              const unsigned char *mask, const void *got)
{
    const format f = computed_in(dtype);
    const softmax_reference s = reference_of(x, n);
    if (s.max == -(wide)INFINITY) {
        check_nothing_left(dtype, mask, n, got, -(double)INFINITY);
        return;
    }
    const wide log_rest = log1pl(s.rest);
    for (size_t i = 0; i < n; i++) {
        const wide exact = i == s.arg ? -log_rest : (x[i] - s.max) - log_rest;
        const double y = elem_get(dtype, got, i);
        const wide unit = ulp_at(f, exact);
        const wide moved =
            rounded && isfinite(exact) ? f.u * (fabsl(x[i]) + s.weighted) * 1.01L : 0;
        check_result(LMX_ROW_log_softmax, dtype, i, y, exact, 3 * unit + moved, unit + moved / 3);
        if (!(y <= 0))
            check_fail("index=%zu: log-probability %a", i, y);
    }
    check_count(n);
}

static void check_logsumexp(lmx_dtype dtype, const wide *x, size_t n, double got)
{
    const format f = computed_in(dtype);
    const softmax_reference s = reference_of(x, n);
    if (s.max == -(wide)INFINITY) {
        check_true(got == -(double)INFINITY, "the logarithm of nothing", __FILE__, __LINE__);
        return;
    }
    const wide exact = s.max + log1pl(s.rest), unit = ulp_at(f, exact);
    const wide absolute = dtype == LMX_F64 ? 2.5e-7L * 0x1p-29L : 2.5e-7L;
    const wide error = fabsl((wide)got - exact);
    note(LMX_ROW_logsumexp, dtype, error < absolute ? 0 : error / unit);
    if (!(got == exact || error <= unit || error <= absolute))
        check_fail("got=%a want=%La error=%.3Lg ulp", got, exact, error / unit);
    check_count(1);
}

static void check_exp_sum(lmx_dtype dtype, const wide *x, size_t n, bool rounded, lmx_expsum got)
{
    const format f = computed_in(dtype);
    const softmax_reference s = reference_of(x, n);
    if (n == 0 || s.max == -(wide)INFINITY) {
        check_true(got.mantissa == 0 && got.tail == 0 && got.exponent == 0 && got.base == 0,
                   "the empty sum", __FILE__, __LINE__);
        return;
    }
    if (!(got.mantissa >= 0.5 && got.mantissa < 1) || fabs(got.tail) > 0x1p-53)
        check_fail("not normalised: %a, %a", got.mantissa, got.tail);
    if (fabsl(s.max) > 0x1p+40L) /* the reference has no bits left for it */
        return;
    /* Compare relative to the maximum: exp(-max) 2^exponent must not overflow. */
    const wide ln2 = 0.693147180559945309417232121458176568L;
    const wide shift = ((wide)got.base - s.max) + (wide)got.exponent * ln2;
    const wide unit = expl(shift), exact = 1 + s.rest;
    const wide rounding = fabsl(s.max) * LDBL_EPSILON * 4 + /* of the reference itself */
                          (rounded ? expm1l(f.u * s.weighted) : 0);
    const wide bound = (dtype == LMX_F64 ? 0x1p-56L : 0x1p-29L) + rounding;
    const wide error = fabsl(((wide)got.mantissa + got.tail) * unit - exact) / exact;
    note(LMX_ROW_exp_sum, dtype, error / bound);
    if (!(error <= bound))
        check_fail("sum off by %.3Lg, bound %.3Lg", error, bound);
    const wide of_rounded = fabsl(((wide)got.rounded + got.rounded_tail) * unit - exact) / exact;
    if (!(of_rounded <= 3 * f.u + rounding))
        check_fail("rounded sum off by %.3Lg, bound %.3Lg", of_rounded, 3 * f.u + rounding);
    check_count(1);
}

static void check_softmax_vjp(lmx_dtype dtype, const wide *dy, const wide *y, size_t n, wide rate,
                              const void *got)
{
    const format f = computed_in(dtype);
    total dot = { 0, 0 }, size = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        add(&dot, y[i] * dy[i]);
        add(&size, y[i] * fabsl(dy[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const wide exact = rate * y[i] * (dy[i] - dot.sum);
        const wide unit = f.u * rate * y[i] * (fabsl(dy[i]) + size.sum);
        /* Underflow: of the result, of the difference, and for double of every product. */
        const wide lost =
            f.quantum * (2 + 2 * rate + (dtype == LMX_F64 ? rate * y[i] * (wide)n : 0));
        check_result(LMX_ROW_softmax_vjp, dtype, i, elem_get(dtype, got, i), exact, 6 * unit + lost,
                     unit + lost / 6);
    }
    check_count(n);
}

static void check_log_softmax_vjp(lmx_dtype dtype, const wide *dy, const wide *y, size_t n,
                                  wide rate, const void *got)
{
    const format f = computed_in(dtype);
    total sum = { 0, 0 }, size = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        add(&sum, dy[i]);
        add(&size, fabsl(dy[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const wide exact = rate * (dy[i] - expl(y[i]) * sum.sum);
        const wide unit = f.u * rate * (fabsl(dy[i]) + expl(y[i]) * size.sum);
        const wide lost = f.quantum * (2 + 2 * rate);
        check_result(LMX_ROW_log_softmax_vjp, dtype, i, elem_get(dtype, got, i), exact,
                     6 * unit + lost, unit + lost / 6);
    }
    check_count(n);
}

/* Rows normalised by another function than exp, with the parameter's default; `x` may hold -inf. */
typedef struct positive_reference {
    wide f, slope;
} positive_reference;

static positive_reference positive_of(lmx_row_code op, wide x)
{
    switch (op) {
    case LMX_ROW_spherical_softmax:
    case LMX_ROW_spherical_softmax_vjp:
        return (positive_reference){ x * x + (wide)1e-4, 2 * x };
    case LMX_ROW_taylor_softmax:
    case LMX_ROW_taylor_softmax_vjp:
        return (positive_reference){ ((1 + x) * (1 + x) + 1) / 2, 1 + x };
    default:
        if (x >= 0)
            return (positive_reference){ 1 + x, 1 };
        return (positive_reference){ 1 / (1 - x), 1 / (1 - x) / (1 - x) };
    }
}

static bool is_positive(lmx_row_code op) { return op >= LMX_ROW_spherical_softmax; }

/* Whether -inf is a logit like NaN to it, and not a masked one. */
static bool masks_nothing(lmx_row_code op)
{
    return op == LMX_ROW_spherical_softmax || op == LMX_ROW_taylor_softmax ||
           op == LMX_ROW_spherical_softmax_vjp || op == LMX_ROW_taylor_softmax_vjp;
}

static void check_positive(lmx_row_code op, lmx_dtype dtype, const wide *x, size_t n,
                           const void *got)
{
    const format f = computed_in(dtype);
    total sum = { 0, 0 };
    size_t most = 0;
    bool lost = false; /* to masks that are none */
    for (size_t i = 0; i < n; i++) {
        lost = lost || (masks_nothing(op) && isinf(x[i]));
        add(&sum, positive_of(op, x[i]).f);
        if (x[i] > x[most])
            most = i;
    }
    if (lost || sum.sum == 0) {
        check_nothing_left(dtype, NULL, n, got, 0);
        return;
    }
    total rest = { 0, 0 };
    for (size_t i = 0; i < n; i++)
        if (i != most)
            add(&rest, positive_of(op, x[i]).f);
    for (size_t i = 0; i < n; i++) {
        const wide own = positive_of(op, x[i]).f;
        wide exact = own / sum.sum;
        if (op == LMX_ROW_log_stablemax)
            exact = i == most && own > rest.sum ? -log1pl(rest.sum / own) : logl(exact);
        const wide unit = ulp_at(f, exact);
        const wide bound = (fabsl(exact) < ldexpl(1, f.least) ? 2 : 4) * unit;
        check_result(op, dtype, i, elem_get(dtype, got, i), exact, bound, bound / 4);
    }
    check_count(n);
}

static void check_positive_vjp(lmx_row_code op, lmx_dtype dtype, const wide *dy, const wide *x,
                               size_t n, const void *got)
{
    const format f = computed_in(dtype);
    const bool log = op == LMX_ROW_log_stablemax_vjp;
    total sum = { 0, 0 }, dot = { 0, 0 }, size = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        const wide own = positive_of(op, x[i]).f;
        add(&sum, own);
        add(&dot, log ? dy[i] : own * dy[i]);
        add(&size, log ? fabsl(dy[i]) : own * fabsl(dy[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const positive_reference own = positive_of(op, x[i]);
        const wide p = own.f / sum.sum, r = log ? 1 / (1 + fabsl(x[i])) : own.slope / sum.sum;
        const wide taken = log ? p : 1 / sum.sum;
        const wide exact = r * (dy[i] - taken * dot.sum);
        const wide unit = f.u * fabsl(r) * (fabsl(dy[i]) + taken * size.sum);
        const wide lost = f.quantum * 2;
        check_result(op, dtype, i, elem_get(dtype, got, i), exact, 6 * unit + lost,
                     unit + lost / 6);
    }
    check_count(n);
}

/* ------------------------------------------------------------------ bounds --- */

/* x / temperature (softmax family), or dy and y with 1 / temperature as the rate (VJPs). */
static void try_row(lmx_row_code op, lmx_dtype dtype, size_t n, row_kind kind, uint64_t seed,
                    double temperature, unsigned char *mask)
{
    const size_t size = elem_size(dtype);
    void *const a = get_memory(n * size), *const b = get_memory(n * size);
    void *const out = get_memory(n * size + sizeof(lmx_expsum));
    wide *const x = get_memory(n * sizeof(wide)), *const y = get_memory(n * sizeof(wide));
    const bool vjp = lmx_row_op_info((int)op)->inputs == 2;
    check_random r = check_random_new(seed);
    char title[80];
    snprintf(title, sizeof title, "%s, %s, temperature %g%s", lmx_row_op_info((int)op)->name,
             row_kind_name(kind), temperature, mask != NULL ? ", where" : "");
    check_at.test = title;
    check_at.seed = seed;
    check_at.n = n;
    check_at.dtype = dtype_name(dtype);
    row_fill(dtype, a, n, kind, &r);
    row_fill(dtype, b, n, op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_TO_88, &r);
    for (size_t i = 0; mask != NULL && i < n; i++)
        mask[i] = check_below(&r, 4) != 0;
    if (mask != NULL && n != 0)
        mask[check_below(&r, n)] = 1;
    for (size_t i = 0; i < n; i++) {
        const wide v = elem_get(dtype, a, i);
        x[i] = vjp ? v : mask != NULL && mask[i] == 0 ? -(wide)INFINITY : v / (wide)temperature;
        y[i] = elem_get(dtype, b, i);
    }

    const strided_shape shape = { 1, n, 1 };
    const strided_steps s = row_strides((ptrdiff_t)n);
    strided_options options = row_options(op);
    options.temperature = temperature != 1 ? &temperature : NULL;
    options.where = mask;
    options.where_strides = s;
    CHECK(strided_row_op(ctx_of[0], op, dtype, &shape, a, &s, vjp ? b : NULL, &s,
                         temperature != 1 || mask != NULL ? &options : NULL, out, &s) == LMX_OK);
    switch (op) {
    case LMX_ROW_softmax:
        check_softmax(dtype, x, n, temperature != 1, mask, out);
        break;
    case LMX_ROW_log_softmax:
        check_log_softmax(dtype, x, n, temperature != 1, mask, out);
        break;
    case LMX_ROW_logsumexp:
        check_logsumexp(dtype, x, n, dtype == LMX_F64 ? *(double *)out : (double)*(float *)out);
        break;
    case LMX_ROW_exp_sum:
        check_exp_sum(dtype, x, n, temperature != 1, *(lmx_expsum *)out);
        break;
    case LMX_ROW_softmax_vjp:
        check_softmax_vjp(dtype, x, y, n, 1 / (wide)temperature, out);
        break;
    case LMX_ROW_log_softmax_vjp:
        check_log_softmax_vjp(dtype, x, y, n, 1 / (wide)temperature, out);
        break;
    default:
        if (!CHECK(is_positive(op)))
            break; /* no reference for this operation: write one */
        if (vjp)
            check_positive_vjp(op, dtype, x, y, n, out);
        else
            check_positive(op, dtype, x, n, out);
    }
    free(a);
    free(b);
    free(out);
    free(x);
    free(y);
}

static void test_bounds(void)
{
    static const size_t lengths[] = { 1,   2,   3,    5,    10,    32,    33,
                                      100, 257, 1000, 4097, 16384, 40000, 200000 };
    static const double temperatures[] = { 1, 0.7, 2, 0.1, 13.37 };
    const size_t n_lengths = check_full ? 14 : check_fast ? 9 : 13;
    unsigned char *const mask = get_memory(200000);
    check_at.tier = lmx_isa_name(ctx_of[0]);
    for (int op = 0; op < LMX_ROW_COUNT; op++) {
        const bool vjp = lmx_row_op_info(op)->inputs == 2;
        for (int d = 0; d < N_DTYPES; d++)
            for (size_t k = 0; k < n_lengths; k++)
                for (int kind = 0; kind < N_FINITE_KINDS; kind++) {
                    const bool wild =
                        kind == ROW_HUGE || kind == ROW_MASKED || kind == ROW_HEAVY ||
                        kind == ROW_MILLION; /* dy of -inf, or sums beyond the range */
                    if (vjp && wild)
                        continue;
                    if (check_fast && is_positive((lmx_row_code)op) && ((size_t)kind + k) % 4 != 0)
                        continue;
                    const size_t rounds = lengths[k] < 100    ? (check_full   ? 500
                                                                 : check_fast ? 4
                                                                              : 60)
                                          : lengths[k] < 5000 ? (check_full   ? 50
                                                                 : check_fast ? 1
                                                                              : 4)
                                                              : (check_full ? 4 : 1);
                    for (size_t i = 0; i < rounds; i++) {
                        const uint64_t seed =
                            (((uint64_t)op * 4 + (uint64_t)d) * 20 + k) * 1000000 +
                            (uint64_t)kind * 1000 + i;
                        const double t = i % 2 == 0 ? 1 : temperatures[i / 2 % 5];
                        const bool takes_t =
                            (lmx_row_op_info(op)->takes & LMX_TAKES_TEMPERATURE) != 0;
                        const bool takes_w = (lmx_row_op_info(op)->takes & LMX_TAKES_WHERE) != 0;
                        if (kind == ROW_HUGE && t < 1)
                            continue; /* x / t is beyond the range of the type */
                        try_row((lmx_row_code)op, (lmx_dtype)d, lengths[k], (row_kind)kind, seed,
                                takes_t ? t : 1, takes_w && i % 3 == 2 ? mask : NULL);
                    }
                }
    }
    free(mask);
    for (int op = 0; op < LMX_ROW_COUNT; op++) /* 4, 3, 1, 6, 6, 1.5, then 4 and 6 are allowed */
        printf("%-22s max error f32 %.3f, f64 %.3f\n", lmx_row_op_info(op)->name,
               worst_of[op][LMX_F32].worst, worst_of[op][LMX_F64].worst);
}

/* ---------------------------------------------------------- special values --- */

typedef enum special {
    NO_NUMBER,
    NEGATIVE_NAN,
    SIGNALLING,
    PLUS_INF,
    MINUS_INF,
    N_SPECIALS
} special;

static void put_special(lmx_dtype dtype, void *p, size_t i, special s)
{
    static const uint64_t bits[N_DTYPES][N_SPECIALS] = {
        { 0x7fc00000, 0xffc12345, 0x7f800001, 0x7f800000, 0xff800000 },
        { 0x7ff8000000000000, 0xfff8000012345678, 0x7ff0000000000001, 0x7ff0000000000000,
          0xfff0000000000000 },
        { 0x7e00, 0xfe12, 0x7c01, 0x7c00, 0xfc00 },
        { 0x7fc0, 0xffd2, 0x7f81, 0x7f80, 0xff80 },
    };
    memcpy((char *)p + i * elem_size(dtype), &bits[dtype][s], elem_size(dtype));
}

/* The only NaN that a result may be. */
static bool is_canonical(lmx_dtype dtype, const void *p, size_t i)
{
    unsigned char want[8];
    put_special(dtype, want, 0, NO_NUMBER);
    return memcmp((const char *)p + i * elem_size(dtype), want, elem_size(dtype)) == 0;
}

/* One special value at a place of a row, for every operation. */
static void try_special(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t n, size_t at,
                        special s, row_kind kind, bool in_second)
{
    const size_t size = elem_size(dtype);
    const lmx_dtype value_type = dtype == LMX_F64 ? LMX_F64 : LMX_F32;
    static _Alignas(64) unsigned char a[8 * 1100], b[8 * 1100], out[8 * 1100];
    check_random r = check_random_new(check_at.seed = n * 1000 + at);
    static const char *const names[] = { "NaN", "negative NaN", "signalling NaN", "+inf", "-inf" };
    char title[80];
    snprintf(title, sizeof title, "%s, %s%s in %s", lmx_row_op_info((int)op)->name, names[s],
             in_second ? " (second input)" : "", row_kind_name(kind));
    check_at.test = title;
    check_at.n = n;
    check_at.in_offset = at;
    row_fill(dtype, a, n, kind, &r);
    row_fill(dtype, b, n, op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_TO_88, &r);
    put_special(dtype, in_second ? b : a, at, s);
    CHECK(row_call(ctx, op, dtype, 1, n, a, b, out) == LMX_OK);

    const bool bad = s != MINUS_INF || masks_nothing(op),
               vjp = lmx_row_op_info((int)op)->inputs == 2;
    const bool only = n == 1 || kind == ROW_ALL_MASKED; /* nothing but -inf in the row */
    if (op == LMX_ROW_exp_sum) {
        lmx_expsum sum;
        memcpy(&sum, out, sizeof sum);
        if (s == PLUS_INF)
            CHECK(sum.mantissa == (double)INFINITY);
        else if (bad)
            CHECK(check_f64_bits(sum.mantissa) == 0x7ff8000000000000);
        else
            CHECK(only ? sum.mantissa == 0 : isfinite(sum.mantissa) && sum.mantissa > 0);
        if (bad || only)
            CHECK(sum.tail == 0 && sum.exponent == 0 && sum.base == 0);
    } else if (op == LMX_ROW_logsumexp) {
        const double v = elem_get(value_type, out, 0);
        if (s == PLUS_INF)
            CHECK(v == (double)INFINITY);
        else if (bad)
            CHECK(is_canonical(value_type, out, 0));
        else
            CHECK(only ? v == -(double)INFINITY : isfinite(v));
    } else if (bad || (only && !vjp)) {
        for (size_t i = 0; i < n; i++)
            if (!is_canonical(dtype, out, i)) {
                check_fail("index=%zu is %a", i, elem_get(dtype, out, i));
                break;
            }
    } else if (!vjp) { /* masked: 0 there; finite elsewhere unless x - max is beyond the range */
        const bool log = op == LMX_ROW_log_softmax || op == LMX_ROW_log_stablemax;
        check_true(elem_get(dtype, out, at) == (log ? -(double)INFINITY : 0) &&
                       (log || !signbit(elem_get(dtype, out, at))),
                   "a masked element gets 0", __FILE__, __LINE__);
        for (size_t i = 0; i < n; i++)
            if (i != at && !isfinite(elem_get(dtype, out, i)) && kind != ROW_HUGE &&
                kind != ROW_MILLION)
                check_fail("index=%zu is %a", i, elem_get(dtype, out, i));
    } else if (in_second && is_positive(op) && !only) {
        check_true(elem_get(dtype, out, at) == 0, "a masked element gets 0", __FILE__, __LINE__);
    } else if (in_second && op == LMX_ROW_log_softmax_vjp) { /* y = -inf: dx is dy there */
        check_true(memcmp(out + at * size, a + at * size, size) == 0 || elem_get(dtype, a, at) == 0,
                   "a masked element gets dy", __FILE__, __LINE__);
    }
    check_count(1);
}

static void test_special(void)
{
    static const size_t lengths[] = { 1, 2, 3, 7, 33, 67, 259, 515, 1030 };
    for (size_t t = 0; t < n_tiers; t++) {
        check_at.tier = lmx_isa_name(ctx_of[t]);
        for (int op = 0; op < LMX_ROW_COUNT; op++) {
            const bool vjp = lmx_row_op_info(op)->inputs == 2;
            for (int d = 0; d < N_DTYPES; d++) {
                check_at.dtype = dtype_name((lmx_dtype)d);
                for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
                    for (size_t at = 0; at < lengths[k]; at++) {
                        const size_t n = lengths[k];
                        /* All 32 lanes, the edges of blocks, the tail. */
                        if (at >= 32 && at + 34 < n && at % 256 > 1 && at % 256 < 254)
                            continue;
                        if (check_fast && (at * 7 + k) % 5 != 0)
                            continue;
                        for (int s = 0; s < N_SPECIALS; s++) {
                            static const row_kind kinds[] = { ROW_WIDE,       ROW_ZEROS,
                                                              ROW_MILLION,    ROW_HUGE,
                                                              ROW_ALL_MASKED, ROW_SUBNORMAL };
                            const row_kind kind = kinds[(at + (size_t)s + n) % 6];
                            if (vjp &&
                                (kind == ROW_ALL_MASKED || kind == ROW_HUGE || kind == ROW_MILLION))
                                continue; /* what -inf and overflow of dy give is not promised */
                            try_special(ctx_of[t], (lmx_row_code)op, (lmx_dtype)d, n, at,
                                        (special)s, kind, false);
                            if (vjp)
                                try_special(ctx_of[t], (lmx_row_code)op, (lmx_dtype)d, n, at,
                                            (special)s, ROW_WIDE, true);
                        }
                    }
            }
        }
    }
    check_at.in_offset = 0;
}

/* Rows of which the answer is known by heart. */
static void test_known(void)
{
    static const struct {
        const char *name;
        double x[4];
        size_t n;
        double p[4];
    } rows[] = {
        { "largest and smallest", { FLT_MAX, -FLT_MAX, 0 }, 3, { 1, 0, 0 } },
        { "-inf and a number", { -(double)INFINITY, 5 }, 2, { 0, 1 } },
        { "huge equals", { 1e30, 1e30 }, 2, { 0.5, 0.5 } },
        { "huge negative equals", { -1e30, -1e30, -1e30, -1e30 }, 4, { 0.25, 0.25, 0.25, 0.25 } },
        { "the mask of others", { -1e9, 0, -1e9 }, 3, { 0, 1, 0 } },
        { "all masked so", { -1e9, -1e9 }, 2, { 0.5, 0.5 } },
        { "-FLT_MAX as a mask", { -FLT_MAX, 3, 3 }, 3, { 0, 0.5, 0.5 } },
        { "all -FLT_MAX", { -FLT_MAX, -FLT_MAX }, 2, { 0.5, 0.5 } },
        { "1e8 and 8 above",
          { 1e8, 1e8 + 8 },
          2,
          { 1 / (1 + 2980.9579870417283), 2980.9579870417283 / (1 + 2980.9579870417283) } },
        { "one", { 7 }, 1, { 1 } },
        { "subnormal", { 0x1p-149, -0x1p-149 }, 2, { 0.5, 0.5 } },
    };
    for (size_t t = 0; t < n_tiers; t++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            for (int d = 0; d < 2; d++) {
                double x[4], y[4], l[4];
                check_at.tier = lmx_isa_name(ctx_of[t]);
                check_at.test = rows[k].name;
                check_at.dtype = dtype_name((lmx_dtype)d);
                for (size_t i = 0; i < rows[k].n; i++)
                    elem_put((lmx_dtype)d, x, i, rows[k].x[i]);
                CHECK(row_call(ctx_of[t], LMX_ROW_softmax, (lmx_dtype)d, 1, rows[k].n, x, NULL,
                               y) == LMX_OK);
                CHECK(row_call(ctx_of[t], LMX_ROW_log_softmax, (lmx_dtype)d, 1, rows[k].n, x, NULL,
                               l) == LMX_OK);
                for (size_t i = 0; i < rows[k].n; i++) {
                    const double p = elem_get((lmx_dtype)d, y, i), want = rows[k].p[i];
                    if (!(fabs(p - want) <= want * 2e-7))
                        check_fail("index=%zu: softmax %a, expected %a", i, p, want);
                    const double q = elem_get((lmx_dtype)d, l, i), log_want = log(want);
                    if (want != 0 && !(fabs(q - log_want) <= fabs(log_want) * 2e-7))
                        check_fail("index=%zu: log_softmax %a, expected %a", i, q, log_want);
                    check_count(2);
                }
            }
    /* A confident row: every peer loses this one. */
    float y[3];
    const float x[3] = { 40, 0, -3 };
    check_at.test = "confident";
    CHECK(lmx_log_softmax(NULL, LMX_F32, 1, 3, x, 3, y, 3) == LMX_OK);
    CHECK(fabs((double)y[0] - -4.459867359050697e-18) < 1e-24);
}

/* -------------------------------------------------------------- properties --- */

/* Every forward operation that takes the option: of x with options, the bits that plain has without. */
static void same_with_options(lmx_ctx *ctx, lmx_dtype dtype, size_t n, lmx_takes option,
                              const void *plain, const void *x, const strided_options *options,
                              void *want, void *got)
{
    const strided_shape shape = { 1, n, 1 };
    const strided_steps s = row_strides((ptrdiff_t)n);
    for (int op = 0; op < LMX_ROW_COUNT; op++) {
        const lmx_row_info *const info = lmx_row_op_info(op);
        if (info->inputs != 1 || (info->takes & (unsigned)option) == 0)
            continue;
        CHECK(row_call(ctx, (lmx_row_code)op, dtype, 1, n, plain, NULL, want) == LMX_OK);
        CHECK(strided_row_op(ctx, (lmx_row_code)op, dtype, &shape, x, &s, NULL, NULL, options, got,
                             &s) == LMX_OK);
        results_same((lmx_row_code)op, dtype, got, want, result_per_row((lmx_row_code)op) ? 1 : n);
    }
}

static void test_properties(void)
{
    enum { N = 700, MORE = 20000 };
    static _Alignas(8) unsigned char other[8 * N];
    static _Alignas(8) unsigned char x[8 * (N + MORE)], y[8 * (N + MORE)], z[8 * (N + MORE)],
        w[8 * N];
    static unsigned char keep[N];
    for (size_t round = 0; round < (check_fast ? 30u : 400u); round++)
        for (int d = 0; d < N_DTYPES; d++) {
            const lmx_dtype dtype = (lmx_dtype)d;
            const size_t size = elem_size(dtype);
            check_random r = check_random_new(check_at.seed = round * 4 + (uint64_t)d);
            const size_t n = 1 + check_below(&r, N - 1);
            const row_kind kind = (row_kind)check_below(&r, N_FINITE_KINDS);
            lmx_ctx *const ctx = ctx_of[check_below(&r, n_tiers)];
            check_at.dtype = dtype_name(dtype);
            check_at.tier = lmx_isa_name(ctx);
            check_at.n = n;
            row_fill(dtype, x, n, kind, &r);
            if (n > 3) /* a duplicate far away */
                memcpy(x + (n - 1) * size, x + check_below(&r, n - 2) * size, size);

            for (int op = 0; op < 2; op++) {
                check_at.test = op == LMX_ROW_softmax ? "order of softmax" : "order of log_softmax";
                CHECK(row_call(ctx, (lmx_row_code)op, dtype, 1, n, x, NULL, y) == LMX_OK);
                for (size_t k = 0; k < 200; k++) {
                    const size_t i = check_below(&r, n), j = check_below(&r, n);
                    const double xi = elem_get(dtype, x, i), xj = elem_get(dtype, x, j);
                    const double yi = elem_get(dtype, y, i), yj = elem_get(dtype, y, j);
                    if ((xi < xj && yi > yj) ||
                        (xi == xj && memcmp(y + i * size, y + j * size, size) != 0))
                        check_fail("x %a, %a: y %a, %a", xi, xj, yi, yj);
                    check_count(1);
                }
            }

            /* Appending -inf changes no bit of anything. */
            const size_t more = round % 5 == 0 ? MORE : 1 + check_below(&r, 300);
            memcpy(z, x, n * size);
            for (size_t i = 0; i < more; i++)
                put_special(dtype, z, n + i, MINUS_INF);
            for (int op = 0; op < LMX_ROW_COUNT; op++) {
                if (lmx_row_op_info(op)->inputs != 1 || masks_nothing((lmx_row_code)op))
                    continue;
                static _Alignas(8) unsigned char longer[8 * (N + MORE)];
                check_at.test = "appended -inf";
                CHECK(row_call(ctx, (lmx_row_code)op, dtype, 1, n, x, NULL, y) == LMX_OK);
                CHECK(row_call(ctx, (lmx_row_code)op, dtype, 1, n + more, z, NULL, longer) ==
                      LMX_OK);
                results_same((lmx_row_code)op, dtype, longer, y,
                             result_per_row((lmx_row_code)op) ? 1 : n);
            }

            /* where is -inf, whatever stands there; and a mask over all gives 0. */
            for (size_t i = 0; i < n; i++)
                keep[i] = (unsigned char)check_below(&r, 3);
            const size_t sure = check_below(&r, n);
            keep[sure] = 1;
            memcpy(z, x, n * size);
            memcpy(w, x, n * size);
            elem_put(dtype, z, sure, 1);
            elem_put(dtype, w, sure, 1);
            for (size_t i = 0; i < n; i++)
                if (keep[i] == 0) {
                    put_special(dtype, z, i, MINUS_INF);
                    put_special(dtype, w, i, (special)check_below(&r, N_SPECIALS));
                }
            const strided_shape shape = { 1, n, 1 };
            const strided_steps s = row_strides((ptrdiff_t)n);
            strided_options options = row_options(LMX_ROW_softmax);
            options.where = keep;
            options.where_strides = s;
            check_at.test = "where is -inf";
            same_with_options(ctx, dtype, n, LMX_TAKES_WHERE, z, w, &options, y, other);
            memset(keep, 0, n);
            check_at.test = "nothing kept";
            CHECK(strided_row_op(ctx, LMX_ROW_softmax, dtype, &shape, w, &s, NULL, NULL, &options,
                                 y, &s) == LMX_OK);
            for (size_t i = 0; i < n; i++)
                if (elem_get(dtype, y, i) != 0 || signbit(elem_get(dtype, y, i)))
                    check_fail("index=%zu is %a", i, elem_get(dtype, y, i));
            CHECK(strided_row_op(ctx, LMX_ROW_log_softmax, dtype, &shape, w, &s, NULL, NULL,
                                 &options, y, &s) == LMX_OK);
            for (size_t i = 0; i < n; i++)
                if (elem_get(dtype, y, i) != -(double)INFINITY)
                    check_fail("index=%zu is %a", i, elem_get(dtype, y, i));

            /* A temperature that is a power of two is exact. */
            double temperature = ldexp(1, (int)check_below(&r, 9) - 4);
            row_fill(dtype, x, n, ROW_TO_88, &r);
            bool exact = true;
            for (size_t i = 0; i < n; i++) {
                const double v = elem_get(dtype, x, i) / temperature;
                elem_put(dtype, z, i, v);
                exact = exact && elem_get(dtype, z, i) == v;
            }
            strided_options warm = row_options(LMX_ROW_softmax);
            warm.temperature = &temperature;
            check_at.test = "temperature of a power of two";
            if (exact)
                same_with_options(ctx, dtype, n, LMX_TAKES_TEMPERATURE, z, x, &warm, y, other);

            /* The row's own sum as `total`: softmax has the same bits; a foreign sum scales. */
            lmx_expsum own;
            row_fill(dtype, x, n, ROW_WIDE, &r);
            CHECK(lmx_exp_sum(ctx, dtype, 1, n, x, (ptrdiff_t)n, &own, 1) == LMX_OK);
            strided_options with_total = row_options(LMX_ROW_softmax);
            with_total.total = &own;
            check_at.test = "the row's own total";
            CHECK(row_call(ctx, LMX_ROW_softmax, dtype, 1, n, x, NULL, y) == LMX_OK);
            CHECK(strided_row_op(ctx, LMX_ROW_softmax, dtype, &shape, x, &s, NULL, NULL,
                                 &with_total, z, &s) == LMX_OK);
            results_same(LMX_ROW_softmax, dtype, z, y, n);
            check_at.test = "twice the row's own total";
            own.exponent++;
            CHECK(strided_row_op(ctx, LMX_ROW_softmax, dtype, &shape, x, &s, NULL, NULL,
                                 &with_total, z, &s) == LMX_OK);
            for (size_t i = 0; i < n; i++) {
                const double p = elem_get(dtype, y, i), q = elem_get(dtype, z, i);
                if (p > 1e-30 && size > 2 && q * 2 != p)
                    check_fail("index=%zu: %a is not half of %a", i, q, p);
            }
            check_count(2 * n);
        }
}

int main(void)
{
    check_begin("accuracy");
    for (int i = 0; lmx_isa_available(i) != NULL && n_tiers < 8; i++)
        ctx_of[n_tiers++] = ctx_with(1, lmx_isa_available(i));
    test_known();
    test_properties();
    test_special();
    test_bounds();
    for (size_t t = 0; t < n_tiers; t++)
        lmx_ctx_free(ctx_of[t]);
    return check_end();
}
