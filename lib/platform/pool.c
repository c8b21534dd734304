/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small pool over pthreads or Win32.
 *
 * Workers start at the first call that has work for them.  After a call they spin for some 50
 * microseconds, waiting for the next one, and then sleep, because waking a thread takes as long as
 * softmax of 100,000 elements.  After fork() the child has no workers.  A generation counter,
 * advanced in the child by an atfork handler, makes the pool forget its threads and locks and start
 * afresh at the next use.
 */
#include "platform/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "platform/cpu.h"

#if defined(_WIN32)
#  define WIN32_LEAN_AND_MEAN
#  include <windows.h>
#  include <process.h>
typedef SRWLOCK os_mutex;
typedef CONDITION_VARIABLE os_cond;
typedef HANDLE os_thread;
static void mutex_init(os_mutex *m) { InitializeSRWLock(m); }
static void mutex_lock(os_mutex *m) { AcquireSRWLockExclusive(m); }
static void mutex_unlock(os_mutex *m) { ReleaseSRWLockExclusive(m); }
static void mutex_destroy(os_mutex *m) { (void)m; }
static void cond_init(os_cond *c) { InitializeConditionVariable(c); }
static void cond_wait(os_cond *c, os_mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void cond_wake_all(os_cond *c) { WakeAllConditionVariable(c); }
static void cond_destroy(os_cond *c) { (void)c; }
#  define THREAD_RESULT unsigned __stdcall
#  define THREAD_RETURN return 0
static int thread_start(os_thread *t, unsigned(__stdcall *run)(void *), void *arg)
{
    *t = (HANDLE)_beginthreadex(NULL, 0, run, arg, 0, NULL);
    return *t != NULL;
}
static void thread_join(os_thread t)
{
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}
#else
#  include <pthread.h>
#  include <signal.h>
typedef pthread_mutex_t os_mutex;
typedef pthread_cond_t os_cond;
typedef pthread_t os_thread;
static void mutex_init(os_mutex *m) { pthread_mutex_init(m, NULL); }
static void mutex_lock(os_mutex *m) { pthread_mutex_lock(m); }
static void mutex_unlock(os_mutex *m) { pthread_mutex_unlock(m); }
static void mutex_destroy(os_mutex *m) { pthread_mutex_destroy(m); }
static void cond_init(os_cond *c) { pthread_cond_init(c, NULL); }
static void cond_wait(os_cond *c, os_mutex *m) { pthread_cond_wait(c, m); }
static void cond_wake_all(os_cond *c) { pthread_cond_broadcast(c); }
static void cond_destroy(os_cond *c) { pthread_cond_destroy(c); }
#  define THREAD_RESULT void *
#  define THREAD_RETURN return NULL
static int thread_start(os_thread *t, void *(*run)(void *), void *arg)
{
    /* Workers block all signals: the program's handlers run on its own threads. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int r = pthread_create(t, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r == 0;
}
static void thread_join(os_thread t) { pthread_join(t, NULL); }
#endif

/*
 * SPINS: how often a thread looks for work or for its end, with a pause after each look, before it
 * sleeps.
 */
#if defined(__x86_64__) || defined(_M_X64)
#  include <immintrin.h>
#  define SPINS 1000
static void pause_cpu(void) { _mm_pause(); } /* 40 to 140 cycles */
#elif defined(__aarch64__) && !defined(_MSC_VER)
#  define SPINS 20000
static void pause_cpu(void) { __asm__ volatile("yield"); } /* a few cycles */
#else
#  define SPINS 0
static void pause_cpu(void) {}
#endif

/* The number of forks between the first process and this one. */
static atomic_uint generation;

#if !defined(_WIN32)
static atomic_int atfork_set;
static void in_child(void) { atomic_fetch_add(&generation, 1); }
#endif

/*
 * Installs the handler once; 0 if that fails.  Without it a forked child would wait for threads
 * that it does not have.
 */
static int watch_forks(void)
{
#if !defined(_WIN32)
    if (atomic_exchange(&atfork_set, 1) == 0 && pthread_atfork(NULL, NULL, in_child) != 0) {
        atomic_store(&atfork_set, 0);
        return 0;
    }
#endif
    return 1;
}

/* The arguments of one lmx_parallel_for(). */
typedef struct {
    lmx_task *task; /* NULL: there is no call */
    void *job;
    size_t tasks, grain;
} order;

struct lmx_pool {
    unsigned threads;       /* requested, the caller included */
    unsigned running;       /* workers that have been started */
    atomic_uint generation; /* the generation in which they were started */
    atomic_uint owner;      /* 0: free; 2 * generation + 1: in use by a thread of that generation */
    os_mutex lock;
    os_cond wake, done;
    /* written under the lock, read without it while spinning */
    atomic_uint round;  /* the number of the current call */
    atomic_uint inside; /* workers that run tasks of it */
    int stop;
    order now;

    atomic_size_t next; /* the first task of the current call that is not handed out yet */
    os_thread thread[];
};

typedef struct {
    lmx_pool *pool;
    unsigned number;
} worker_start;

/*
 * Runs pieces until all are handed out.  o is a copy: the caller clears the pool's as soon as
 * nothing is left to hand out, while a worker may hold a piece that it has not begun.
 */
static void take_pieces(lmx_pool *p, order o, unsigned worker)
{
    for (;;) {
        const size_t begin = atomic_fetch_add_explicit(&p->next, o.grain, memory_order_relaxed);
        if (begin >= o.tasks)
            return;
        const size_t left = o.tasks - begin;
        o.task(o.job, begin, begin + (left < o.grain ? left : o.grain), worker);
    }
}

static THREAD_RESULT work(void *arg)
{
    worker_start s = *(worker_start *)arg;
    free(arg);
    lmx_pool *p = s.pool;
    unsigned seen = 0;
    mutex_lock(&p->lock);
    for (;;) {
        if (p->round == seen && !p->stop) {
            mutex_unlock(&p->lock);
            for (int i = 0; i < SPINS && atomic_load(&p->round) == seen; i++)
                pause_cpu();
            mutex_lock(&p->lock);
        }
        while (!p->stop && (p->round == seen || p->now.task == NULL))
            cond_wait(&p->wake, &p->lock);
        if (p->stop)
            break;
        seen = p->round;
        p->inside++;
        const order o = p->now;
        mutex_unlock(&p->lock);
        /* A worker inherits its creator's floating-point environment, whatever that was. */
        const lmx_fpenv env = lmx_fpenv_enter();
        take_pieces(p, o, s.number);
        lmx_fpenv_leave(env);
        mutex_lock(&p->lock);
        if (--p->inside == 0)
            cond_wake_all(&p->done);
    }
    mutex_unlock(&p->lock);
    THREAD_RETURN;
}

static void reset(lmx_pool *p)
{
    mutex_init(&p->lock);
    cond_init(&p->wake);
    cond_init(&p->done);
    p->running = 0;
    p->round = 0;
    p->inside = 0;
    p->stop = 0;
    p->now.task = NULL;
    atomic_store(&p->generation, atomic_load(&generation));
}

/*
 * Claims the pool for the caller; 0 if another thread has it.  In a child of fork() the workers are
 * gone, one of them may have held a lock, and an owner from before the fork does not count.  If
 * several threads of the child come here together, one claims the pool and resets it, and the
 * others find it taken.
 */
static int take_pool(lmx_pool *p)
{
    const unsigned now = atomic_load(&generation), mine = now << 1 | 1;
    unsigned owner = atomic_load(&p->owner);
    if (owner == mine || !atomic_compare_exchange_strong(&p->owner, &owner, mine))
        return 0;
    if (atomic_load(&p->generation) != now)
        reset(p);
    return 1;
}

lmx_pool *lmx_pool_create(unsigned threads)
{
    lmx_pool *p = calloc(1, sizeof *p + (size_t)threads * sizeof p->thread[0]);
    if (p == NULL)
        return NULL;
    if (!watch_forks()) {
        free(p);
        return NULL;
    }
    p->threads = threads;
    atomic_store(&p->owner, 0);
    reset(p);
    return p;
}

unsigned lmx_pool_threads(const lmx_pool *p) { return p == NULL ? 1 : p->threads; }

void lmx_pool_free(lmx_pool *p)
{
    if (p == NULL)
        return;
    if (atomic_load(&p->generation) == atomic_load(&generation)) {
        mutex_lock(&p->lock);
        p->stop = 1;
        cond_wake_all(&p->wake);
        mutex_unlock(&p->lock);
        for (unsigned i = 0; i < p->running; i++)
            thread_join(p->thread[i]);
        mutex_destroy(&p->lock);
        cond_destroy(&p->wake);
        cond_destroy(&p->done);
    }
    free(p);
}

static void start_workers(lmx_pool *p)
{
    while (p->running + 1 < p->threads) {
        worker_start *s = malloc(sizeof *s);
        if (s == NULL)
            return;
        *s = (worker_start){ p, p->running + 1 };
        if (!thread_start(&p->thread[p->running], work, s)) {
            free(s);
            return;
        }
        p->running++;
    }
}

void lmx_parallel_for(lmx_pool *p, size_t tasks, size_t grain, lmx_task *task, void *job)
{
    if (tasks == 0)
        return;
    if (p == NULL || p->threads < 2 || tasks <= grain || !take_pool(p)) {
        task(job, 0, tasks, 0);
        return;
    }
    start_workers(p);
    const order o = { task, job, tasks, grain };
    mutex_lock(&p->lock);
    p->now = o;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    p->round++;
    cond_wake_all(&p->wake);
    mutex_unlock(&p->lock);

    take_pieces(p, o, 0);

    for (int i = 0; i < SPINS && atomic_load(&p->inside) > 0; i++)
        pause_cpu();
    mutex_lock(&p->lock);
    p->now.task = NULL; /* a worker that wakes later finds nothing to do */
    while (p->inside > 0)
        cond_wait(&p->done, &p->lock);
    mutex_unlock(&p->lock);
    atomic_store(&p->owner, 0);
}
