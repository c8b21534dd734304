/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts from several threads, before and after fork, and over and over: results
 * always have the bits of one thread, and nobody waits for ever.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "rows.h"

/* Large enough for a pool to be asked, small enough for a thousand calls. */
#define ROWS 24
#define COLS 3000

/* How often something is tried: emulators are slow. */
static size_t times(size_t normally)
{
    return check_noguard ? normally / 100 + 1 : check_fast ? normally / 20 + 1 : normally;
}

typedef struct work {
    lmx_ctx *ctx;
    lmx_row_code op;
    lmx_dtype dtype;
    size_t calls;
    void *a, *b, *want;
    size_t bytes;
    atomic_int *stop; /* NULL: `calls` calls */
    size_t wrong;
} work;

static work work_new(lmx_row_code op, lmx_dtype dtype)
{
    work w = { NULL, op, dtype, 1, NULL, NULL, NULL, 0, NULL, 0 };
    const size_t n = (size_t)ROWS * COLS;
    w.bytes = (result_per_row(op) ? ROWS : n) * result_size(op, dtype);
    w.a = malloc(n * elem_size(dtype));
    w.b = malloc(n * elem_size(dtype));
    w.want = malloc(w.bytes);
    if (w.a == NULL || w.b == NULL || w.want == NULL)
        exit(3);
    check_random r = check_random_new((uint64_t)op * 4 + (uint64_t)dtype);
    row_fill(dtype, w.a, n, ROW_WIDE, &r);
    row_fill(dtype, w.b, n, ROW_UNIT, &r);
    if (row_call(NULL, op, dtype, ROWS, COLS, w.a, w.b, w.want) != LMX_OK)
        exit(3);
    return w;
}

static void work_free(work *w)
{
    free(w->a);
    free(w->b);
    free(w->want);
}

/* Calls until told to stop; counts wrong results in w, as check_* is not for threads. */
static void *work_run(void *p)
{
    work *const w = p;
    void *const out = malloc(w->bytes);
    for (size_t i = 0; out != NULL && (w->stop != NULL ? !atomic_load(w->stop) : i < w->calls);
         i++) {
        memset(out, 0x5b, w->bytes);
        if (row_call(w->ctx, w->op, w->dtype, ROWS, COLS, w->a, w->b, out) != LMX_OK ||
            memcmp(out, w->want, w->bytes) != 0)
            w->wrong++;
    }
    free(out);
    return NULL;
}

/* ------------------------------------------------------------ concurrency --- */

static void test_one_context_many_threads(void)
{
    enum { CALLERS = 6 };
    check_at.test = "one context, several calling threads";
    for (unsigned threads = 1; threads <= 4; threads++) {
        check_at.n = threads;
        lmx_ctx *const ctx = ctx_with(threads, NULL);
        work w[CALLERS];
        pthread_t id[CALLERS];
        for (size_t i = 0; i < CALLERS; i++) {
            w[i] = work_new((lmx_row_code)(i % LMX_ROW_COUNT), (lmx_dtype)(i % N_DTYPES));
            w[i].ctx = ctx;
            w[i].calls = times(60);
            CHECK(pthread_create(&id[i], NULL, work_run, &w[i]) == 0);
        }
        for (size_t i = 0; i < CALLERS; i++) {
            pthread_join(id[i], NULL);
            CHECK(w[i].wrong == 0);
            work_free(&w[i]);
        }
        lmx_ctx_free(ctx);
    }
}

static void test_create_and_free(void)
{
    check_at.test = "create, call, free";
    work w = work_new(LMX_ROW_softmax, LMX_F32);
    for (size_t i = 0; i < times(400); i++) {
        w.ctx = ctx_with((unsigned)(i % 7), NULL);
        CHECK(lmx_ctx_threads(w.ctx) >= 1 && lmx_ctx_threads(w.ctx) <= (i % 7 > 1 ? i % 7 : 1));
        if (i % 3 == 0)
            work_run(&w); /* else freed unused */
        lmx_ctx_free(w.ctx);
    }
    CHECK(w.wrong == 0);
    work_free(&w);
    lmx_ctx_free(NULL);

    check_at.test = "many threads";
    lmx_ctx *const many = ctx_with(32, NULL);
    CHECK(lmx_ctx_threads(many) >= 1 && lmx_ctx_threads(many) <= 32);
    work all = work_new(LMX_ROW_log_softmax, LMX_F64);
    all.ctx = many;
    all.calls = 5;
    work_run(&all);
    CHECK(all.wrong == 0);
    lmx_ctx_free(many);
    work_free(&all);
}

/* ------------------------------------------------------------------- fork --- */

/* In the child: right results through ctx, for whichever of several threads comes first, and through
 * a new context, within five seconds. */
static void child(work *w, lmx_ctx *ctx)
{
    enum { CALLERS = 3 };
    alarm(check_fast ? 60 : 5); /* a hang becomes a signal; emulators are slow */
    w->stop = NULL;
    w->wrong = 0;
    w->calls = 2;
    w->ctx = ctx;
    work also[CALLERS];
    pthread_t id[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        also[i] = *w;
        if (pthread_create(&id[i], NULL, work_run, &also[i]) != 0)
            _exit(2);
    }
    work_run(w);
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(id[i], NULL);
        w->wrong += also[i].wrong;
    }
    lmx_ctx *const fresh = ctx_with(2, NULL);
    w->ctx = fresh;
    work_run(w);
    lmx_ctx_free(fresh);
    lmx_ctx_free(ctx); /* its threads are the parent's: nothing to wait for */
    _exit(w->wrong == 0 ? 0 : 1);
}

static void wait_for(pid_t pid)
{
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        check_fail("fork");
    else if (WIFSIGNALED(status))
        check_fail("the child died of signal %d%s", WTERMSIG(status),
                   WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    else if (WEXITSTATUS(status) != 0)
        check_fail("the child got wrong results");
    check_count(1);
}

static void test_fork_idle(void)
{
    check_at.test = "fork with an idle pool";
    work w = work_new(LMX_ROW_softmax, LMX_F32);
    lmx_ctx *const ctx = ctx_with(3, NULL);
    for (size_t i = 0; i < times(100); i++) {
        w.ctx = ctx;
        w.calls = i % 2; /* sometimes never used before */
        work_run(&w);
        CHECK(w.wrong == 0);
        const pid_t pid = fork();
        if (pid == 0) {
            if (i % 4 == 3) { /* a child of the child */
                w.wrong = 0;
                w.calls = 1;
                work_run(&w);
                if (w.wrong != 0)
                    _exit(1);
                const pid_t grandchild = fork();
                if (grandchild == 0)
                    child(&w, ctx);
                int status = 0;
                waitpid(grandchild, &status, 0);
                _exit(status == 0 ? 0 : 1);
            }
            child(&w, ctx);
        }
        wait_for(pid);
        w.ctx = ctx; /* and the parent goes on */
        w.calls = 1;
        work_run(&w);
        CHECK(w.wrong == 0);
    }
    lmx_ctx_free(ctx);
    work_free(&w);
}

static void test_fork_during_a_call(void)
{
    check_at.test = "fork during a call of another thread";
    work busy = work_new(LMX_ROW_log_softmax, LMX_F32), w = work_new(LMX_ROW_softmax, LMX_BF16);
    lmx_ctx *const ctx = ctx_with(3, NULL);
    atomic_int stop = 0;
    pthread_t id[2];
    work also = busy;
    busy.ctx = also.ctx = ctx;
    busy.stop = also.stop = &stop;
    CHECK(pthread_create(&id[0], NULL, work_run, &busy) == 0);
    CHECK(pthread_create(&id[1], NULL, work_run, &also) == 0);
    for (size_t i = 0; i < times(200); i++) {
        const pid_t pid = fork();
        if (pid == 0)
            child(&w, ctx);
        wait_for(pid);
    }
    atomic_store(&stop, 1);
    pthread_join(id[0], NULL);
    pthread_join(id[1], NULL);
    CHECK(busy.wrong == 0 && also.wrong == 0);
    lmx_ctx_free(ctx);
    work_free(&busy);
    work_free(&w);
}

/* ---------------------------------------------------------- the first call --- */

static pthread_barrier_t barrier;

static void *first_call(void *p)
{
    const float x[4] = { 1, 2, 3, 4 };
    pthread_barrier_wait(&barrier);
    *(lmx_status *)p = lmx_softmax(NULL, LMX_F32, 1, 4, x, 4, (char *)p + sizeof(double), 4);
    return NULL;
}

/* Fresh processes, in which dispatch has not happened: several threads call at once. */
static void test_first_call(void)
{
    enum { THREADS = 4 };
    check_at.test = "first call from several threads";
    for (size_t i = 0; i < times(100); i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            pthread_t id[THREADS];
            double result[THREADS][3]; /* the status, then four floats */
            memset(result, 0xff, sizeof result);
            pthread_barrier_init(&barrier, NULL, THREADS);
            for (size_t t = 0; t < THREADS; t++)
                if (pthread_create(&id[t], NULL, first_call, result[t]) != 0)
                    _exit(2);
            int bad = 0;
            for (size_t t = 0; t < THREADS; t++) {
                pthread_join(id[t], NULL);
                lmx_status status;
                memcpy(&status, result[t], sizeof status);
                bad |= status != LMX_OK || memcmp(&result[t][1], &result[0][1], 16) != 0;
            }
            _exit(bad);
        }
        wait_for(pid);
    }
}

int main(void)
{
    check_begin("pool");
    if (check_nofork)
        check_skip("fork", "this emulator dies when a forked child starts threads");
    else
        test_first_call(); /* before anything else uses the library */
    test_one_context_many_threads();
    test_create_and_free();
    if (!check_nofork) {
        test_fork_idle();
        test_fork_during_a_call();
    }
    return check_end();
}
