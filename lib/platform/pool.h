/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parallel_for over numbered tasks.  The calling thread takes part; a pool that is busy
 * with another caller makes this one run alone, never wait.
 */
#ifndef LMX_POOL_H
#define LMX_POOL_H

#include <stddef.h>

typedef struct lmx_pool lmx_pool;

/* Runs tasks [begin, end); worker is below the pool's number of threads and unique among those
 * that run at the same time. */
typedef void lmx_task(void *job, size_t begin, size_t end, unsigned worker);

/* NULL: out of memory.  Threads start at first use; fewer than asked for is not an error. */
lmx_pool *lmx_pool_create(unsigned threads);
void lmx_pool_free(lmx_pool *pool);
unsigned lmx_pool_threads(const lmx_pool *pool);

/* All tasks, in pieces of `grain` handed out in order; returns when every one is done.
 * pool may be NULL. */
void lmx_parallel_for(lmx_pool *pool, size_t tasks, size_t grain, lmx_task *task, void *job);

#endif
