/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread pool that runs numbered tasks.  The calling thread takes part.  If the pool is busy with
 * another caller, the call runs on its own thread alone and does not wait.
 */
#ifndef LMX_POOL_H
#define LMX_POOL_H

#include <stddef.h>

typedef struct lmx_pool lmx_pool;

/* Runs tasks [begin, end); worker is below the pool's number of threads and unique among those
 * that run at the same time. */
typedef void lmx_task(void *job, size_t begin, size_t end, unsigned worker);

/*
 * Creates a pool of so many threads, the caller included; NULL if there is no memory.  Threads
 * start at first use, and it is no error if fewer start than asked for.
 */
lmx_pool *lmx_pool_create(unsigned threads);
void lmx_pool_free(lmx_pool *pool);
unsigned lmx_pool_threads(const lmx_pool *pool);

/*
 * Runs all tasks, in pieces of `grain` that are handed out in order, and returns when every one is
 * done.  A pool of NULL runs them on the calling thread.
 */
void lmx_parallel_for(lmx_pool *pool, size_t tasks, size_t grain, lmx_task *task, void *job);

#endif
