/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation and every thread creation fails once: the answer is
 * LMX_ERR_NOMEM with outputs untouched, or the right result by other means, and
 * nothing leaks.
 *
 * The linker's --wrap turns calls of malloc and friends in the static library into
 * calls of __wrap_malloc and friends below.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_posix_memalign(void **p, size_t alignment, size_t n);
void __real_free(void *p);
int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *), void *p);
int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
int __wrap_posix_memalign(void **p, size_t alignment, size_t n);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *), void *p);
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* Counted while armed; the `fail_at`-th fails, and with `stays` all after it. */
static atomic_int calls, armed, fail_at, stays;
static atomic_long live; /* allocations not yet freed */

static bool fails(void)
{
    if (!atomic_load(&armed))
        return false;
    const int now = atomic_fetch_add(&calls, 1) + 1, at = atomic_load(&fail_at);
    return at != 0 && (now == at || (now > at && atomic_load(&stays)));
}

/* Begins to count: the k-th call fails, and with all each after it. */
static void fail_from(int k, int all)
{
    atomic_store(&calls, 0);
    atomic_store(&fail_at, k);
    atomic_store(&stays, all);
    atomic_store(&armed, 1);
}

static void *counted(void *p)
{
    if (p != NULL)
        atomic_fetch_add(&live, 1);
    return p;
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : counted(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(n, size));
}
void *__wrap_realloc(void *p, size_t n)
{
    if (fails())
        return NULL;
    return p == NULL ? counted(__real_realloc(p, n)) : __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, n));
}
int __wrap_posix_memalign(void **p, size_t alignment, size_t n)
{
    if (fails())
        return ENOMEM;
    const int error = __real_posix_memalign(p, alignment, n);
    if (error == 0)
        counted(*p);
    return error;
}
void __wrap_free(void *p)
{
    if (p != NULL)
        atomic_fetch_sub(&live, 1);
    __real_free(p);
}
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *), void *p)
{
    return fails() ? EAGAIN : __real_pthread_create(id, attr, run, p);
}

static atomic_int atfork_fails, atfork_done;

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    if (atomic_load(&atfork_fails))
        return ENOMEM;
    atomic_store(&atfork_done, 1);
    return __real_pthread_atfork(prepare, parent, child);
}

/* Without its fork handler a pool would hang in a child: a context that has one must not be handed
 * out.  Called first: the handler is installed once. */
static void test_atfork(void)
{
    const lmx_options options = ctx_options(2, NULL);
    lmx_ctx *ctx = NULL;
    check_at.test = "pthread_atfork fails";
    atomic_store(&atfork_fails, 1);
    const lmx_status status = lmx_ctx_create(&ctx, &options);
    atomic_store(&atfork_fails, 0);
    CHECK(status == LMX_ERR_NOMEM || (status == LMX_OK && lmx_ctx_threads(ctx) == 1));
    if (status == LMX_OK)
        lmx_ctx_free(ctx);
    ctx = ctx_with(2, NULL);
    CHECK(atomic_load(&atfork_done)); /* tried again */
    lmx_ctx_free(ctx);
}

/* ------------------------------------------------------------------ calls --- */

typedef struct call {
    lmx_row_code op;
    lmx_dtype dtype;
    strided_shape shape;
    strided_steps in, to;
    strided_options options;
    bool has_options;
    void *a, *b, *got, *want;
    size_t bytes;
} call;

static lmx_status run_call(const call *c, lmx_ctx *ctx, void *out)
{
    return strided_row_op(ctx, c->op, c->dtype, &c->shape, c->a, &c->in, c->b, &c->in,
                          c->has_options ? &c->options : NULL, out, &c->to);
}

/* From no failure at all to the first number that is not reached: each fails alone, then with all
 * that follow. */
static void fail_each(const call *c, unsigned threads)
{
    for (int all = 0; all < 2; all++)
        for (int k = 1; k < 1000; k++) {
            check_at.seed = (uint64_t)k;
            const long before = atomic_load(&live);
            lmx_ctx *ctx = NULL;
            const lmx_options options = ctx_options(threads, NULL);
            memset(c->got, 0x5b, c->bytes);
            fail_from(k, all);
            const lmx_status created = threads != 0 ? lmx_ctx_create(&ctx, &options) : LMX_OK;
            const bool right_status = created == LMX_OK || created == LMX_ERR_NOMEM;
            const bool untouched = created == LMX_OK || ctx == NULL;
            lmx_status status = LMX_ERR_NOMEM;
            if (created == LMX_OK)
                status = run_call(c, ctx, c->got);
            atomic_store(&armed, 0);
            const int reached = atomic_load(&calls);
            if (created == LMX_OK)
                lmx_ctx_free(ctx);
            CHECK(right_status);
            CHECK(untouched);
            if (status == LMX_OK) {
                if (memcmp(c->got, c->want, c->bytes) != 0)
                    check_fail("a wrong result after a failed allocation");
            } else if (status == LMX_ERR_NOMEM) {
                for (size_t i = 0; i < c->bytes; i++)
                    if (((unsigned char *)c->got)[i] != 0x5b) {
                        check_fail("LMX_ERR_NOMEM, but byte %zu of the output was written", i);
                        break;
                    }
            } else {
                check_fail("status %d", (int)status);
            }
            if (atomic_load(&live) != before)
                check_fail("%ld allocations were lost", atomic_load(&live) - before);
            check_count(1);
            if (reached < k) {
                CHECK(created == LMX_OK && status == LMX_OK); /* nothing failed */
                break;
            }
        }
}

static void test_op(lmx_row_code op, lmx_dtype dtype, strided_shape shape, bool gaps,
                    const char *option)
{
    call c;
    const size_t n = shape.rows * shape.cols * shape.inner, one = result_size(op, dtype);
    static double temperature = 1.5;
    static unsigned char keep = 1;
    memset(&c, 0, sizeof c);
    c.op = op;
    c.dtype = dtype;
    c.shape = shape;
    const ptrdiff_t step = gaps ? 2 : 1;
    c.in = (strided_steps){ (ptrdiff_t)(shape.cols * shape.inner) * step,
                            (ptrdiff_t)shape.inner * step, step };
    c.to = c.in;
    if (result_per_row(op))
        c.to = (strided_steps){ (ptrdiff_t)shape.inner, 0, 1 };
    c.bytes = (result_per_row(op) ? shape.rows * shape.inner : n * (size_t)step) * one;
    c.a = malloc(n * (size_t)step * 8);
    c.b = malloc(n * (size_t)step * 8);
    c.got = malloc(c.bytes);
    c.want = malloc(c.bytes);
    if (c.a == NULL || c.b == NULL || c.got == NULL || c.want == NULL)
        exit(3);
    check_random r = check_random_new(3);
    row_fill(dtype, c.a, n * (size_t)step, ROW_WIDE, &r);
    row_fill(dtype, c.b, n * (size_t)step, ROW_UNIT, &r);
    c.options = row_options(op);
    c.has_options = option[0] != '\0';
    if (strchr(option, 'T') != NULL)
        c.options.temperature = &temperature;
    if (strchr(option, 'W') != NULL)
        c.options.where = &keep; /* broadcast: all kept */
    check_at.test = lmx_row_op_info((int)op)->name;
    check_at.dtype = dtype_name(dtype);
    check_at.n = shape.cols;
    memset(c.want, 0x5b, c.bytes);
    CHECK(run_call(&c, NULL, c.want) == LMX_OK);
    fail_each(&c, 0);
    fail_each(&c, 4);
    free(c.a);
    free(c.b);
    free(c.got);
    free(c.want);
}

/* ------------------------------------------------ factored output layer --- */

enum { CLASSES = 9, D = 4, ROWS = 3 };

/* What a layer gives: after each call, whether it succeeded. */
typedef struct layer_results {
    double loss, condition;
    float dhidden[ROWS * D], logits[ROWS * CLASSES], best[ROWS * 2], weight[CLASSES * D];
    int64_t classes[ROWS * 2];
} layer_results;

/* A call that fails leaves its part of r as it was; 0: there is no layer. */
static int live_layer(const float *weight, const float *hidden, layer_results *r, int *steps)
{
    static const int32_t target[ROWS] = { 1, 8, 1 };
    lmx_spherical *layer = NULL;
    lmx_spherical_batch b;
    lmx_spherical_batch_init(&b);
    b.rows = ROWS;
    b.hidden = hidden;
    b.target = target;
    b.target_type = LMX_I32;
    b.loss = &r->loss;
    b.dhidden = r->dhidden;
    b.hidden_stride = b.dhidden_stride = D;
    if (lmx_spherical_create(NULL, LMX_F32, LMX_LOSS_z_loss, NULL, CLASSES, D, weight, D, &layer) !=
        LMX_OK)
        return layer != NULL;
    *steps = lmx_spherical_step(NULL, layer, &b, 0.5, 0) == LMX_OK;
    lmx_spherical_logits(NULL, layer, LMX_F32, ROWS, hidden, D, r->logits, CLASSES);
    lmx_spherical_topk(NULL, layer, LMX_F32, ROWS, hidden, D, 2, r->best, 2, r->classes, 2);
    lmx_spherical_weight(NULL, layer, r->weight, D);
    lmx_spherical_condition(layer, &r->condition);
    lmx_spherical_free(layer);
    return 1;
}

static void draw_layer(uint64_t seed, float *weight, float *hidden)
{
    check_random r = check_random_new(seed);
    for (size_t i = 0; i < CLASSES * D; i++)
        weight[i] = (float)check_normal(&r);
    for (size_t i = 0; i < ROWS * D; i++)
        hidden[i] = (float)check_normal(&r);
}

static bool is_part(const void *got, const void *want, const void *empty, size_t bytes)
{
    return memcmp(got, want, bytes) == 0 || memcmp(got, empty, bytes) == 0;
}

static void test_layer(void)
{
    static layer_results want, got, empty;
    float weight[CLASSES * D], hidden[ROWS * D];
    int steps = 0;
    check_at.test = "spherical";
    draw_layer(4, weight, hidden);
    memset(&empty, 0x5b, sizeof empty);
    memset(&want, 0x5b, sizeof want);
    CHECK(live_layer(weight, hidden, &want, &steps) && steps);
    for (int k = 1; k < 1000; k++) {
        const long before = atomic_load(&live);
        check_at.seed = (uint64_t)k;
        memset(&got, 0x5b, sizeof got);
        fail_from(k, 0);
        const int created = live_layer(weight, hidden, &got, &steps);
        atomic_store(&armed, 0);
        CHECK(atomic_load(&live) == before);
        check_count(1);
        if (atomic_load(&calls) < k) {
            CHECK(created && memcmp(&got, &want, sizeof got) == 0);
            return;
        }
        CHECK(is_part(&got.loss, &want.loss, &empty, sizeof got.loss));
        CHECK(is_part(got.dhidden, want.dhidden, &empty, sizeof got.dhidden));
        if (!created || !steps)
            continue; /* later results are those of another layer */
        CHECK(is_part(got.logits, want.logits, &empty, sizeof got.logits));
        CHECK(is_part(got.best, want.best, &empty, sizeof got.best));
        CHECK(is_part(got.classes, want.classes, &empty, sizeof got.classes));
        CHECK(is_part(got.weight, want.weight, &empty, sizeof got.weight));
        CHECK(is_part(&got.condition, &want.condition, &empty, sizeof got.condition));
    }
}

/* ---------------------------------------------- output layers without logits --- */

typedef struct {
    float loss, dhidden[ROWS * D], dweight[CLASSES * D], lse[ROWS], best[ROWS * 2];
    int64_t classes[ROWS * 2];
} linear_results;

static void run_linear(const float *weight, const float *hidden, linear_results *r, lmx_status s[3])
{
    static const int32_t target[ROWS] = { 1, 8, 1 };
    s[0] =
        lmx_linear_cross_entropy(NULL, LMX_F32, ROWS, D, CLASSES, hidden, D, weight, D, target,
                                 LMX_I32, 1, NULL, &r->loss, 1, r->dhidden, D, r->dweight, D, NULL);
    s[1] = lmx_linear_logsumexp(NULL, LMX_F32, ROWS, D, CLASSES, hidden, D, weight, D, NULL, r->lse,
                                1);
    s[2] = lmx_linear_topk(NULL, LMX_F32, ROWS, D, CLASSES, 2, hidden, D, weight, D, NULL, r->best,
                           2, r->classes, 2);
}

static void test_linear(void)
{
    static linear_results want, got, empty;
    float weight[CLASSES * D], hidden[ROWS * D];
    lmx_status s[3];
    check_at.test = "linear";
    draw_layer(5, weight, hidden);
    memset(&empty, 0x5b, sizeof empty);
    memset(&want, 0x5b, sizeof want);
    run_linear(weight, hidden, &want, s);
    CHECK(s[0] == LMX_OK && s[1] == LMX_OK && s[2] == LMX_OK);
    for (int k = 1; k < 100; k++) {
        const long before = atomic_load(&live);
        check_at.seed = (uint64_t)k;
        memset(&got, 0x5b, sizeof got);
        fail_from(k, 0);
        run_linear(weight, hidden, &got, s);
        atomic_store(&armed, 0);
        CHECK(atomic_load(&live) == before);
        check_count(1);
        if (atomic_load(&calls) < k) {
            CHECK(memcmp(&got, &want, sizeof got) == 0);
            return;
        }
        const linear_results *const loss = s[0] == LMX_OK ? &want : &empty;
        const linear_results *const lse = s[1] == LMX_OK ? &want : &empty;
        const linear_results *const best = s[2] == LMX_OK ? &want : &empty;
        for (size_t i = 0; i < 3; i++)
            CHECK(s[i] == LMX_OK || s[i] == LMX_ERR_NOMEM);
        CHECK(memcmp(&got.loss, &loss->loss, sizeof got.loss) == 0);
        CHECK(memcmp(got.dhidden, loss->dhidden, sizeof got.dhidden) == 0);
        CHECK(memcmp(got.dweight, loss->dweight, sizeof got.dweight) == 0);
        CHECK(memcmp(got.lse, lse->lse, sizeof got.lse) == 0);
        CHECK(memcmp(got.best, best->best, sizeof got.best) == 0);
        CHECK(memcmp(got.classes, best->classes, sizeof got.classes) == 0);
    }
    check_fail("it never stops to allocate");
}

/* ------------------------------------------------------ Fourier head --- */

enum { WIDTH = 8, BINS = 1100 }; /* more terms times bins than a matrix is made for */

typedef struct head_results {
    float loss, grad[ROWS * WIDTH], y[ROWS * BINS], dcoef[ROWS * WIDTH], cdf[ROWS];
} head_results;

/* How many of the calls succeed; one that fails leaves its part of r as it was. */
static int live_head(const float *coef, const float *dy, head_results *r)
{
    static const int32_t target[ROWS] = { 1, 8, 599 };
    static const double x[ROWS] = { 0.25, -1, 0.75 };
    const lmx_status found[] = {
        lmx_fourier_cross_entropy(NULL, LMX_F32, ROWS, 3, BINS, coef, WIDTH, target, LMX_I32, 1,
                                  NULL, &r->loss, 1, r->grad, WIDTH),
        lmx_fourier_log_bins(NULL, LMX_F32, ROWS, 3, BINS, coef, WIDTH, NULL, r->y, BINS),
        lmx_fourier_log_bins_vjp(NULL, LMX_F32, ROWS, 3, BINS, dy, BINS, coef, WIDTH, NULL,
                                 r->dcoef, WIDTH),
        lmx_fourier_cdf(NULL, LMX_F32, ROWS, 3, coef, WIDTH, 1, x, 1, r->cdf, 1),
    };
    int good = 0;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        CHECK(found[i] == LMX_OK || found[i] == LMX_ERR_NOMEM);
        good += found[i] == LMX_OK;
    }
    return good;
}

static void test_head(void)
{
    static head_results want, got, empty;
    static float coef[ROWS * WIDTH], dy[ROWS * BINS];
    check_random r = check_random_new(4);
    check_at.test = "Fourier head";
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        coef[i] = (float)check_normal(&r);
    for (size_t i = 0; i < ROWS * BINS; i++)
        dy[i] = (float)check_normal(&r);
    memset(&empty, 0x5b, sizeof empty);
    memset(&want, 0x5b, sizeof want);
    CHECK(live_head(coef, dy, &want) == 4);
    for (int k = 1; k < 100; k++) {
        const long before = atomic_load(&live);
        check_at.seed = (uint64_t)k;
        memset(&got, 0x5b, sizeof got);
        fail_from(k, 0);
        const int good = live_head(coef, dy, &got);
        atomic_store(&armed, 0);
        CHECK(atomic_load(&live) == before);
        check_count(1);
        if (atomic_load(&calls) < k) {
            CHECK(good == 4 && k == 5 && memcmp(&got, &want, sizeof got) == 0);
            return;
        }
        CHECK(good == 3);
        CHECK(is_part(&got.loss, &want.loss, &empty, sizeof got.loss));
        CHECK(is_part(got.grad, want.grad, &empty, sizeof got.grad));
        CHECK(is_part(got.y, want.y, &empty, sizeof got.y));
        CHECK(is_part(got.dcoef, want.dcoef, &empty, sizeof got.dcoef));
        CHECK(is_part(got.cdf, want.cdf, &empty, sizeof got.cdf));
    }
}

int main(void)
{
    check_begin("alloc");
    if (check_noguard) {
        check_skip("all", "what happens without memory does not depend on the emulated CPU");
        return check_end();
    }
    test_atfork();
    test_layer();
    test_linear();
    test_head();
    for (int op = 0; op < LMX_ROW_COUNT; op++) {
        const unsigned takes = lmx_row_op_info(op)->takes;
        for (int d = 0; d < N_DTYPES; d++) {
            const lmx_row_code o = (lmx_row_code)op;
            const lmx_dtype t = (lmx_dtype)d;
            if (check_fast && (op + d) % 7 != 0)
                continue; /* it is allocations that matter here, not element types */
            const size_t scale = check_fast ? 1 : 2;
            test_op(o, t, (strided_shape){ 70, 1000, 1 }, false, "");
            test_op(o, t, (strided_shape){ 2, 33000 * scale, 1 }, false, ""); /* several chunks */
            test_op(o, t, (strided_shape){ scale, 40000, 1 }, true, "");      /* gathered */
            test_op(o, t, (strided_shape){ 1, 17000, 2 * scale }, false, ""); /* columns */
            test_op(o, t, (strided_shape){ 300 * scale, 300, 1 }, false,
                    (takes & LMX_TAKES_TEMPERATURE) != 0 ? "T" : "");
            if ((takes & LMX_TAKES_WHERE) != 0)
                test_op(o, t, (strided_shape){ scale, 33000, 2 }, true, "W");
        }
    }
    return check_end();
}
