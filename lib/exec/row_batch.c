/* SPDX-License-Identifier: Apache-2.0 */
/* Short rows, several at a time: where they are, or through the first-level cache. */
#include "exec/row_call.h"

#include <string.h>

void lmx_row_short_task(void *call, size_t begin, size_t end, unsigned worker)
{
    const lmx_row_call *c = call;
    const lmx_array *a = &c->array[LMX_ROW_A], *b = &c->array[LMX_ROW_B];
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    lmx_rows r = { .cols = c->space.cols,
                   .how = c->drive.plan.how,
                   .parameter = c->parameter,
                   .a_stride = lmx_row_step(a),
                   .b_stride = lmx_row_step(b),
                   .out_stride = lmx_row_step(out),
                   .scratch = lmx_row_scratch(c, worker, LMX_SCRATCH_TERMS) };
    for (size_t i = begin; i < end; i += r.rows) {
        r.rows = lmx_row_run_length(c, i, end - i);
        r.a = lmx_row_at(a, i);
        r.b = lmx_row_at(b, i);
        r.out = (char *)(uintptr_t)lmx_row_at(out, i);
        if (c->drive.plan.how & LMX_HOW_PIPELINED)
            c->kernel->pipelined(&r);
        else
            c->kernel->rows(&r);
    }
}

/* A mask that a call may have, and how its results are stored. */
static lmx_passage passage_of(const lmx_row_call *c)
{
    const lmx_array *where = &c->array[LMX_ROW_WHERE];
    return (lmx_passage){ .rate = 1,
                          .where = where->data != NULL ? where : NULL,
                          .masked_value = c->op == LMX_ROW_log_softmax,
                          .nontemporal = (c->drive.plan.how & LMX_HOW_STREAM) != 0 };
}

/* One value for each row of a batch, from scratch. */
static void store_values(const lmx_row_call *c, size_t first, size_t count, const char *z)
{
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    for (size_t q = 0; q < count; q++) {
        const char *at = lmx_row_at(out, first + q);
        if (c->info->result == LMX_RESULT_SUM)
            memcpy((char *)(uintptr_t)at, z + q * sizeof(lmx_expsum), sizeof(lmx_expsum));
        else
            lmx_put(out, at, c->real, lmx_real_at(c->real, z, q));
    }
}

void lmx_row_batch_task(void *call, size_t begin, size_t end, unsigned worker)
{
    lmx_row_call *c = call;
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    const size_t cols = c->space.cols, most = LMX_BATCH / cols > 0 ? LMX_BATCH / cols : 1;
    const int yields_row = lmx_row_yields_row(c);
    const lmx_passage how = passage_of(c);
    char *const own = lmx_row_scratch(c, worker, LMX_SCRATCH_OUT);
    char *const a = lmx_row_scratch(c, worker, LMX_SCRATCH_A);
    char *const b = lmx_row_scratch(c, worker, LMX_SCRATCH_B);
    lmx_rows r = { .cols = cols, .parameter = c->parameter };
    r.a = a;
    r.b = b;
    r.a_stride = r.b_stride = (ptrdiff_t)cols;
    for (size_t i = begin; i < end; i += r.rows) {
        r.rows = end - i < most ? end - i : most;
        if (own != NULL) {
            r.out = own;
            r.out_stride = yields_row ? (ptrdiff_t)cols : 1;
        } else {
            r.rows = lmx_row_run_length(c, i, r.rows);
            r.out = (char *)(uintptr_t)lmx_row_at(out, i);
            r.out_stride = lmx_row_step(out);
        }
        const lmx_block block = { i, r.rows, 0, cols };
        lmx_load_rows(&c->array[LMX_ROW_A], block, how, c->real, a);
        if (b != NULL)
            lmx_load_rows(&c->array[LMX_ROW_B], block, LMX_AS_IS, c->real, b);
        c->real_kernel->rows(&r);
        if (yields_row)
            lmx_store_rows(out, block, how, c->real, own);
        else if (own != NULL)
            store_values(c, i, r.rows, own);
    }
}
