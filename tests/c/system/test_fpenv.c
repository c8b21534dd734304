/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise P7: results do not depend on the caller's floating-point environment, and
 * every bit of it, sticky flags included, is afterwards as it was.  All rounding
 * modes, with and without flushing of subnormals, with traps unmasked; on the
 * calling thread, on a pool, and on a pool whose threads were started in that
 * environment (a thread inherits its creator's).
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

#if defined(__x86_64__)
#  include <xmmintrin.h>
#endif

/* The control and status registers. */
typedef struct environment {
    uint64_t control, status, x87;
} environment;

#if defined(__x86_64__)
#  define FLAGS 0x3fu

static environment environment_get(void)
{
    uint16_t x87 = 0;
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return (environment){ _mm_getcsr(), 0, x87 };
}

static void environment_set(environment e) { _mm_setcsr((unsigned)e.control); }

#  define N_ROUNDING 4
#  define N_FLUSH    4
#  define N_TRAPS    4

static environment environment_make(size_t rounding, size_t flush, size_t traps)
{
    static const uint64_t flushes[N_FLUSH] = { 0, 0x8000, 0x40, 0x8040 }; /* FTZ, DAZ */
    /* none; invalid + divide + overflow; underflow + denormal; inexact */
    static const uint64_t unmasked[N_TRAPS] = { 0, 0x680, 0x900, 0x1000 };
    environment e = environment_get();
    /* Sticky flags of what is masked: some are set, and must stay; others must stay clear. */
    const uint64_t sticky = (rounding & 1) != 0 ? 0x3f & ~(unmasked[traps] >> 7) : 0;
    e.control = (0x1f80 & ~unmasked[traps]) | (uint64_t)rounding << 13 | flushes[flush] | sticky;
    return e;
}

#elif defined(__aarch64__)
static environment environment_get(void)
{
    environment e = { 0, 0, 0 };
    __asm__ volatile("mrs %0, fpcr" : "=r"(e.control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(e.status));
    return e;
}

static void environment_set(environment e)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(e.control));
    __asm__ volatile("msr fpsr, %0" : : "r"(e.status));
}

#  define N_ROUNDING 4
#  define N_FLUSH    4
#  define N_TRAPS    4

static environment environment_make(size_t rounding, size_t flush, size_t traps)
{
    /* FZ; FZ16; default NaN with the alternative half-precision format: all change results. */
    static const uint64_t flushes[N_FLUSH] = { 0, UINT64_C(1) << 24,
                                               UINT64_C(1) << 24 | UINT64_C(1) << 19,
                                               UINT64_C(1) << 25 | UINT64_C(1) << 26 };
    static const uint64_t enabled[N_TRAPS] = { 0, 7u << 8, 1u << 11 | 1u << 15, 1u << 12 };
    environment e = environment_get();
    e.control = (uint64_t)rounding << 22 | flushes[flush] | enabled[traps];
    e.status = (rounding & 1) != 0 ? 0x9f & ~(enabled[traps] >> 8) : 0;
    return e;
}

#else
#  define N_ROUNDING 0
#  define N_FLUSH    0
#  define N_TRAPS    0
static environment environment_get(void) { return (environment){ 0, 0, 0 }; }
static void environment_set(environment e) { (void)e; }
static environment environment_make(size_t r, size_t f, size_t t)
{
    (void)r, (void)f, (void)t;
    return environment_get();
}
#endif

static bool same_environment(environment a, environment b)
{
    return a.control == b.control && a.status == b.status && a.x87 == b.x87;
}

/* Rows of every kind: normal results, subnormal ones, the slow path, NaN. */
typedef struct job {
    lmx_row_code op;
    lmx_dtype dtype;
    size_t rows, cols;
    void *a, *b, *got, *want;
    size_t bytes;
} job;

static job job_new(lmx_row_code op, lmx_dtype dtype, size_t rows, size_t cols)
{
    job j = { op, dtype, rows, cols, NULL, NULL, NULL, NULL, 0 };
    const size_t size = elem_size(dtype);
    j.bytes = (result_per_row(op) ? rows : rows * cols) * result_size(op, dtype);
    j.a = malloc(rows * cols * size);
    j.b = malloc(rows * cols * size);
    j.got = malloc(j.bytes);
    j.want = malloc(j.bytes);
    if (j.a == NULL || j.b == NULL || j.got == NULL || j.want == NULL)
        exit(3);
    check_random r = check_random_new(5 + (uint64_t)op * 8 + (uint64_t)dtype);
    for (size_t i = 0; i < rows; i++) {
        row_fill(dtype, (char *)j.a + i * cols * size, cols, (row_kind)(i % N_ROW_KINDS), &r);
        row_fill(dtype, (char *)j.b + i * cols * size, cols,
                 op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_TO_110, &r);
    }
    return j;
}

static void job_free(job *j)
{
    free(j->a);
    free(j->b);
    free(j->got);
    free(j->want);
}

/* Nothing here but the call may run between the two environment_set: the test's own arithmetic
 * would feel the environment too. */
static void try_job(const job *j, lmx_ctx *ctx, environment e, double *temperature)
{
    const strided_shape shape = { j->rows, j->cols, 1 };
    const strided_steps in = row_strides((ptrdiff_t)j->cols);
    const strided_steps to = row_strides(result_per_row(j->op) ? 1 : (ptrdiff_t)j->cols);
    strided_options options = row_options(j->op);
    options.temperature = temperature;
    const environment mine = environment_get();
    memset(j->got, 0x5b, j->bytes);

    errno = 12345;
    environment_set(e);
    const environment before = environment_get();
    const lmx_status status = strided_row_op(ctx, j->op, j->dtype, &shape, j->a, &in, j->b, &in,
                                             temperature != NULL ? &options : NULL, j->got, &to);
    const environment after = environment_get();
    environment_set(mine);

    if (status != LMX_OK)
        check_fail("status %d", (int)status);
    if (errno != 12345)
        check_fail("errno is %d", errno);
    if (!same_environment(before, after))
        check_fail("environment %#llx, %#llx became %#llx, %#llx",
                   (unsigned long long)before.control, (unsigned long long)before.status,
                   (unsigned long long)after.control, (unsigned long long)after.status);
    if (memcmp(j->got, j->want, j->bytes) != 0) {
        check_fail("under environment %#llx", (unsigned long long)before.control);
        const size_t width = result_size(j->op, j->dtype);
        check_same(j->got, j->want, j->bytes, width == sizeof(lmx_expsum) ? 8 : width);
    }
    check_count(3);
}

static void test_job(job *j, lmx_ctx *plain, double *temperature)
{
    char title[80];
    snprintf(title, sizeof title, "%s%s", lmx_row_op_info((int)j->op)->name,
             temperature != NULL ? ", temperature" : "");
    check_at.test = title;
    check_at.dtype = dtype_name(j->dtype);
    check_at.n = j->cols;

    const strided_shape shape = { j->rows, j->cols, 1 };
    const strided_steps in = row_strides((ptrdiff_t)j->cols);
    const strided_steps to = row_strides(result_per_row(j->op) ? 1 : (ptrdiff_t)j->cols);
    strided_options options = row_options(j->op);
    options.temperature = temperature;
    CHECK(strided_row_op(NULL, j->op, j->dtype, &shape, j->a, &in, j->b, &in,
                         temperature != NULL ? &options : NULL, j->want, &to) == LMX_OK);

    for (size_t rounding = 0; rounding < N_ROUNDING; rounding++)
        for (size_t flush = 0; flush < N_FLUSH; flush++)
            for (size_t traps = 0; traps < N_TRAPS; traps++) {
                if (check_fast && (rounding + flush + traps) % 3 != 0)
                    continue;
                const environment e = environment_make(rounding, flush, traps);
                check_at.seed = rounding * 100 + flush * 10 + traps;
                check_at.tier = "default";
                try_job(j, NULL, e, temperature);
                for (int i = 1;
                     lmx_isa_available(i) != NULL && temperature == NULL && traps == flush; i++) {
                    lmx_ctx *const other = ctx_with(1, lmx_isa_available(i));
                    check_at.tier = lmx_isa_name(other);
                    try_job(j, other, e, NULL);
                    lmx_ctx_free(other);
                }
                check_at.tier = "pool";
                if (j->rows * j->cols > 100000)
                    try_job(j, plain, e, temperature);
            }
}

/* A pool created in environment e; its threads then work for a caller in an ordinary one. */
static void test_inherited(const job *j)
{
    check_at.test = "pool created in a foreign environment";
    for (size_t flush = 0; flush < N_FLUSH; flush++)
        for (size_t rounding = 0; rounding < N_ROUNDING; rounding++) {
            const environment mine = environment_get(), e = environment_make(rounding, flush, 0);
            const lmx_options options = ctx_options(2, NULL);
            lmx_ctx *ctx = NULL;
            environment_set(e);
            const environment before = environment_get();
            const lmx_status status = lmx_ctx_create(&ctx, &options);
            const environment after = environment_get();
            environment_set(mine);
            CHECK(status == LMX_OK);
            CHECK(same_environment(before, after));
            try_job(j, ctx, mine, NULL);
            try_job(j, ctx, environment_make(3 - rounding, 3 - flush, 0), NULL);
            lmx_ctx_free(ctx);
        }
}

/* Sums of sums have no context, but the same promise. */
static void test_sums(void)
{
    enum { N = 200 };
    lmx_expsum a[N], b[N], want[N], got[N];
    double log_want[N], log_got[N];
    check_random r = check_random_new(9);
    for (size_t i = 0; i < N; i++) {
        a[i] =
            (lmx_expsum){ check_uniform(&r, 0.5, 1),          check_uniform(&r, -1, 1) * 0x1p-54,
                          (int64_t)check_below(&r, 100) - 50, 0,
                          check_uniform(&r, 0.5, 1),          check_uniform(&r, -1, 1) * 0x1p-54 };
        b[i] = (lmx_expsum){ .mantissa = check_uniform(&r, 0.5, 1),
                             .tail = check_uniform(&r, -1, 1) * 0x1p-54,
                             .exponent = (int64_t)check_below(&r, 100) - 50 };
    }
    check_at.test = "lmx_expsum_merge, lmx_expsum_log";
    check_at.dtype = NULL;
    check_at.n = N;
    CHECK(lmx_expsum_merge(N, a, b, want) == LMX_OK);
    CHECK(lmx_expsum_log(N, want, log_want) == LMX_OK);
    for (size_t rounding = 0; rounding < N_ROUNDING; rounding++)
        for (size_t flush = 0; flush < N_FLUSH; flush++)
            for (size_t traps = 0; traps < N_TRAPS; traps++) {
                const environment mine = environment_get(),
                                  e = environment_make(rounding, flush, traps);
                environment_set(e);
                const environment before = environment_get();
                const lmx_status merged = lmx_expsum_merge(N, a, b, got);
                const lmx_status logged = lmx_expsum_log(N, want, log_got);
                const environment after = environment_get();
                environment_set(mine);
                CHECK(merged == LMX_OK && logged == LMX_OK);
                CHECK(same_environment(before, after));
                check_same(got, want, sizeof got, 8);
                check_same(log_got, log_want, sizeof log_got, 8);
            }
}

/* The checks of arguments compare numbers too: the answer may not depend on the environment, and
 * no comparison may trap. */
static void test_arguments(void)
{
    static const struct {
        double temperature;
        lmx_status want;
    } cases[] = {
        { 0x1p-1074, LMX_OK },        { 0x1p-1030, LMX_OK },
        { 0, LMX_ERR_ARG },           { -0x1p-1074, LMX_ERR_ARG },
        { (double)NAN, LMX_ERR_ARG }, { (double)INFINITY, LMX_ERR_ARG },
    };
    const float x[3] = { 1, 2, 3 };
    float y[3];
    const strided_shape shape = { 1, 3, 1 };
    const strided_steps strides = row_strides(3);
    check_at.test = "temperature is checked in a foreign environment";
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (size_t rounding = 0; rounding < N_ROUNDING; rounding++)
            for (size_t flush = 0; flush < N_FLUSH; flush++)
                for (size_t traps = 0; traps < N_TRAPS; traps++) {
                    const environment mine = environment_get();
                    const environment e = environment_make(rounding, flush, traps);
                    strided_options options = row_options(LMX_ROW_softmax);
                    options.temperature = &cases[k].temperature;
                    check_at.n = k;
                    check_at.seed = rounding * 100 + flush * 10 + traps;
                    environment_set(e);
                    const environment before = environment_get();
                    const lmx_status status =
                        strided_row_op(NULL, LMX_ROW_softmax, LMX_F32, &shape, x, &strides, NULL,
                                       NULL, &options, y, &strides);
                    const environment after = environment_get();
                    environment_set(mine);
                    if (status != cases[k].want)
                        check_fail("status %d for temperature %a", (int)status,
                                   cases[k].temperature);
                    if (!same_environment(before, after))
                        check_fail("environment %#llx became %#llx",
                                   (unsigned long long)before.control,
                                   (unsigned long long)after.control);
                    check_count(2);
                }
}

/* What `live` fills in, whatever the environment. */
static void in_environments(void (*live)(const void *in, void *results), const void *in,
                            const void *want, void *got, size_t bytes)
{
    for (size_t rounding = 0; rounding < N_ROUNDING; rounding++)
        for (size_t flush = 0; flush < N_FLUSH; flush++)
            for (size_t traps = 0; traps < N_TRAPS; traps++) {
                const environment mine = environment_get();
                const environment e = environment_make(rounding, flush, traps);
                check_at.seed = rounding * 100 + flush * 10 + traps;
                environment_set(e);
                const environment before = environment_get();
                live(in, got);
                const environment after = environment_get();
                environment_set(mine);
                check_same(got, want, bytes, 4);
                CHECK(same_environment(before, after));
                check_count(1);
            }
}

/* --------------------------------------------- factored output layer --- */

enum { CLASSES = 40, D = 5, ROWS = 3 };

typedef struct layer_inputs {
    float weight[CLASSES * D], hidden[ROWS * D];
} layer_inputs;

static layer_inputs draw_layer(void)
{
    layer_inputs in;
    check_random r = check_random_new(9);
    for (size_t i = 0; i < CLASSES * D; i++)
        in.weight[i] =
            (float)(check_normal(&r) * (i % 3 == 0 ? 1e-39 : 1)); /* subnormal ones too */
    for (size_t i = 0; i < ROWS * D; i++)
        in.hidden[i] = (float)check_normal(&r);
    return in;
}

/* What some steps leave behind: the weights, in float, and all the layer gave on the way. */
typedef struct layer_results {
    double loss, condition;
    float dhidden[ROWS * D], logits[ROWS * CLASSES], weight[CLASSES * D];
    lmx_status wrong[2];
} layer_results;

static void live_layer(const void *inputs, void *results)
{
    static const int32_t target[ROWS] = { 1, 39, 1 };
    const layer_inputs *const in = inputs;
    layer_results *const r = results;
    lmx_spherical *layer = NULL;
    lmx_spherical_batch b;
    lmx_spherical_batch_init(&b);
    b.rows = ROWS;
    b.hidden = in->hidden;
    b.target = target;
    b.target_type = LMX_I32;
    b.loss = &r->loss;
    b.dhidden = r->dhidden;
    b.hidden_stride = b.dhidden_stride = D;
    memset(r, 0, sizeof *r);
    if (lmx_spherical_create(NULL, LMX_F32, LMX_LOSS_one_hot_mse_loss, NULL, CLASSES, D, in->weight,
                             D, &layer) != LMX_OK)
        return;
    for (int i = 0; i < 30; i++) /* until U has had to be mended */
        lmx_spherical_step(NULL, layer, &b, 0.09, 0.25);
    r->wrong[0] = lmx_spherical_step(NULL, layer, &b, 1e200, 1e200);
    r->wrong[1] = lmx_spherical_step(NULL, layer, &b, 1e300, 0);
    lmx_spherical_loss(NULL, layer, &b);
    lmx_spherical_logits(NULL, layer, LMX_F32, ROWS, in->hidden, D, r->logits, CLASSES);
    lmx_spherical_weight(NULL, layer, r->weight, D);
    lmx_spherical_condition(layer, &r->condition);
    lmx_spherical_free(layer);
}

static void test_layer(void)
{
    static layer_results want, got;
    const layer_inputs in = draw_layer();
    check_at.test = "factored layer in a foreign environment";
    live_layer(&in, &want);
    CHECK(want.wrong[0] == LMX_ERR_ARG && want.wrong[1] == LMX_ERR_NUMERIC);
    in_environments(live_layer, &in, &want, &got, sizeof got);
}

/* ---------------------------------------- output layers without logits --- */

typedef struct linear_results {
    float loss, dhidden[ROWS * D], dweight[CLASSES * D], lse[ROWS], best[ROWS * 2];
    double dbias[CLASSES];
    int64_t classes[ROWS * 2];
    lmx_status wrong[2];
} linear_results;

static void live_linear(const void *inputs, void *results)
{
    static const int32_t target[ROWS] = { 1, 39, 1 };
    /* rounded to float, to infinity even */
    static const double bias[CLASSES] = { 0.1, 0.3, -1e300, 1e-300 };
    static double row_weight[ROWS];
    const layer_inputs *const in = inputs;
    linear_results *const r = results;
    lmx_linear_options o;
    memset(r, 0, sizeof *r);
    lmx_linear_options_init(&o);
    o.softcap = 3;
    o.bias = bias;
    o.bias_dtype = LMX_F64;
    o.accumulate = 1;
    for (size_t i = 0; i < ROWS; i++)
        row_weight[i] = 0.3 * (double)i;
    o.row_weight = row_weight;
    lmx_linear_cross_entropy(NULL, LMX_F32, ROWS, D, CLASSES, in->hidden, D, in->weight, D, target,
                             LMX_I32, 1, &o, &r->loss, 1, r->dhidden, D, r->dweight, D, r->dbias);
    lmx_linear_logsumexp(NULL, LMX_F32, ROWS, D, CLASSES, in->hidden, D, in->weight, D, NULL,
                         r->lse, 1);
    lmx_linear_topk(NULL, LMX_F32, ROWS, D, CLASSES, 2, in->hidden, D, in->weight, D, NULL, r->best,
                    2, r->classes, 2);
    for (int i = 0; i < 2; i++) {
        o.softcap = i == 0 ? (double)NAN : 3;
        row_weight[1] = i == 0 ? 1 : (double)NAN;
        r->wrong[i] =
            lmx_linear_cross_entropy(NULL, LMX_F32, ROWS, D, CLASSES, in->hidden, D, in->weight, D,
                                     target, LMX_I32, 1, &o, &r->loss, 1, NULL, D, NULL, D, NULL);
    }
}

static void test_linear(void)
{
    static linear_results want, got;
    const layer_inputs in = draw_layer();
    check_at.test = "output layers without logits in a foreign environment";
    live_linear(&in, &want);
    CHECK(want.wrong[0] == LMX_ERR_ARG && want.wrong[1] == LMX_ERR_ARG);
    CHECK(want.loss > 0 && want.lse[0] != 0 && want.dbias[1] != 0 && want.dweight[0] != 0);
    in_environments(live_linear, &in, &want, &got, sizeof got);
}

/* ------------------------------------------------------ Fourier head --- */

enum { TERMS = 6, BINS = 30 };

typedef struct head_results {
    double loss, nll, grad[ROWS * 2 * TERMS], y[ROWS * BINS], cdf[ROWS], sample[ROWS], mean[ROWS];
    lmx_status wrong[2];
} head_results;

typedef struct head_inputs {
    double coef[ROWS * 2 * TERMS], u[ROWS];
} head_inputs;

static void live_head(const void *inputs, void *results)
{
    static const int32_t target[ROWS] = { 1, 29, 7 };
    static const double nan[ROWS] = { (double)NAN, 0, 0 };
    const ptrdiff_t width = 2 * TERMS;
    const double *const coef = ((const head_inputs *)inputs)->coef;
    const double *const u = ((const head_inputs *)inputs)->u;
    head_results *const r = results;
    lmx_fourier_options o;
    memset(r, 0, sizeof *r);
    lmx_fourier_options_init(&o);
    o.gamma = 1e-3;
    lmx_fourier_cross_entropy(NULL, LMX_F64, ROWS, TERMS - 1, BINS, coef, width, target, LMX_I32, 1,
                              &o, &r->loss, 1, r->grad, width);
    lmx_fourier_nll(NULL, LMX_F64, ROWS, TERMS - 1, coef, width, 1, u, 1, &o, &r->nll, 1, NULL, 0);
    lmx_fourier_log_bins(NULL, LMX_F64, ROWS, TERMS - 1, BINS, coef, width, NULL, r->y, BINS);
    lmx_fourier_cdf(NULL, LMX_F64, ROWS, TERMS - 1, coef, width, 1, u, 1, r->cdf, 1);
    lmx_fourier_sample(NULL, LMX_F64, ROWS, TERMS - 1, coef, width, 1, u, 1, r->sample, 1);
    lmx_fourier_mean(NULL, LMX_F64, ROWS, TERMS - 1, coef, width, r->mean, 1);
    r->wrong[0] =
        lmx_fourier_cdf(NULL, LMX_F64, ROWS, TERMS - 1, coef, width, 1, nan, 1, r->sample, 1);
    o.eps = (double)NAN;
    r->wrong[1] =
        lmx_fourier_log_bins(NULL, LMX_F64, ROWS, TERMS - 1, BINS, coef, width, &o, r->y, BINS);
}

static void test_head(void)
{
    static head_results want, got;
    head_inputs in;
    check_random r = check_random_new(9);
    check_at.test = "Fourier head in a foreign environment";
    for (size_t i = 0; i < ROWS * 2 * TERMS; i++)
        in.coef[i] = check_normal(&r) * (i < 2 * TERMS ? 0x1p-1060 : 1); /* a row of subnormals */
    for (size_t i = 0; i < ROWS; i++)
        in.u[i] = check_uniform(&r, 0, 1);
    live_head(&in, &want);
    CHECK(want.wrong[0] == LMX_ERR_ARG && want.wrong[1] == LMX_ERR_ARG);
    CHECK(want.loss > 0 && want.sample[0] != 0);
    in_environments(live_head, &in, &want, &got, sizeof got);
}

int main(void)
{
    check_begin("fpenv");
    if (N_ROUNDING == 0) {
        check_skip("all", "unknown floating-point control register on this CPU");
        return check_end();
    }
    double temperature = 0.7;
    lmx_ctx *plain = ctx_with(2, NULL);
    for (int op = 0; op < LMX_ROW_COUNT; op++)
        for (int d = 0; d < N_DTYPES; d++) {
            job small =
                job_new((lmx_row_code)op, (lmx_dtype)d, N_ROW_KINDS, check_fast ? 100 : 700);
            test_job(&small, plain, NULL);
            if ((lmx_row_op_info(op)->takes & LMX_TAKES_TEMPERATURE) != 0)
                test_job(&small, plain, &temperature);
            job_free(&small);
        }
    job large = job_new(LMX_ROW_softmax, LMX_F32, 20, check_fast ? 6000 : 40000);
    test_job(&large, plain, NULL);
    test_inherited(&large);
    job_free(&large);
    test_sums();
    test_arguments();
    test_layer();
    test_linear();
    test_head();
    lmx_ctx_free(plain);
    return check_end();
}
