/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/plan.h"

#include "kernels/kernels.h"

/* Below this many elements a second thread costs more than it saves: waking it takes about as
 * long as 2^15 softmax elements. */
#define PARALLEL_MIN ((size_t)1 << 16)

/* Shorter rows are finished in batches: there is too little to overlap in one. */
#define PIPELINED_MIN 512

/* Where the cache size cannot be read. */
#define CACHE_GUESS ((size_t)8 << 20)

lmx_plan lmx_plan_rows(const lmx_plan_request *r)
{
    const size_t cache = r->cache != 0 ? r->cache : CACHE_GUESS;
    const double elements = (double)r->rows * (double)r->cols;
    const double bytes = elements * (double)r->elem_size * (r->inputs + (r->writes ? 1 : 0));
    const double row_bytes = 2.0 * (double)r->cols * (double)r->elem_size;
    lmx_plan p = { 0, 0, 0, 0, 1 };

    p.parallel = r->threads > 1 && elements >= (double)PARALLEL_MIN;
    const int split = p.parallel && r->cols > LMX_CHUNK && r->rows < 2 * (size_t)r->threads;
    const int pipelined = r->has_pipelined && !split && r->rows > 1 && r->cols >= PIPELINED_MIN &&
                          r->cols <= LMX_PIPELINED_CHUNKS * LMX_CHUNK;
    /* Interleaved, the passes move no more than a copy does, and streams pay earlier. */
    if (r->writes && !r->in_place && bytes > (pipelined ? 0.5 : 1) * (double)cache)
        p.how |= LMX_HOW_STREAM | (pipelined ? LMX_HOW_PIPELINED : 0);
    if (r->uses_terms && (r->in_place || (p.how & LMX_HOW_STREAM)))
        p.how |= LMX_HOW_SCRATCH;
    /* Exponentials are dear and caches are near: store them as long as the row stays close. */
    p.store_terms = r->uses_terms && r->is_real && !r->in_place &&
                    row_bytes <= 2.0 * (double)cache && !(p.how & LMX_HOW_STREAM);
    if (p.parallel) {
        p.split_rows = split;
        const size_t pieces = 4 * (size_t)r->threads;
        const size_t least = (PARALLEL_MIN / 4 + r->cols - 1) / r->cols;
        p.grain = (r->rows + pieces - 1) / pieces;
        p.grain = p.grain < least ? least : p.grain;
    }
    return p;
}
