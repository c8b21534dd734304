/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan decides how a result is computed and written, and no bit of it: the kernels
 * directly, with every LMX_HOW_* that a plan may choose, streaming stores included, at
 * every alignment and between guard pages, against the public function.  Then the
 * choices of lmx_plan_rows() themselves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "platform/cpu.h"
#include "dispatch/dispatch.h"
#include "exec/plan.h"
#include "rows.h"

static void *get_memory(size_t n)
{
    void *const p = aligned_alloc(64, (n + 127) / 64 * 64);
    if (p == NULL)
        exit(3);
    return p;
}

/* Inputs, the right result and room for one operation. */
typedef struct job {
    const lmx_row_kernel *kernel;
    lmx_row_code op;
    lmx_dtype dtype;
    bool
        is_real; /* elements are what is computed with, so that terms can be stored in the output */
    size_t n, bytes;
    void *a, *b, *want, *scratch;
    check_buffer out;
} job;

static void try_apply(const job *j, size_t offset, check_flush flush, unsigned how)
{
    lmx_chunk chunk;
    lmx_norm norm;
    memset(&chunk, 0, sizeof chunk);
    memset(&norm, 0, sizeof norm);
    chunk.parameter = lmx_row_op_info((int)j->op)->parameter[0].standard;
    void *const out = check_put(&j->out, j->bytes, flush, offset * elem_size(j->dtype));
    const bool terms = (how & LMX_HOW_TERMS) != 0;
    j->kernel->measure(j->a, j->b, j->n, terms ? out : NULL, &chunk);
    j->kernel->fold(&chunk, 1, &norm);
    norm.rate = 1;
    j->kernel->apply(terms ? out : j->a, j->b, j->n, &chunk, &norm, out, how);
    results_same(j->op, j->dtype, out, j->want, j->n);
    check_canaries(&j->out, out, j->bytes);
    check_count(1);
}

static void try_rows(const job *j, size_t offset, check_flush flush, unsigned how)
{
    void *const out = check_put(&j->out, j->bytes, flush, offset * elem_size(j->dtype));
    const ptrdiff_t n = (ptrdiff_t)j->n;
    const double parameter = lmx_row_op_info((int)j->op)->parameter[0].standard;
    const lmx_rows rows = { 1, j->n, j->a, j->b, n, n, n, out, j->scratch, how, parameter };
    j->kernel->rows(&rows);
    results_same(j->op, j->dtype, out, j->want, j->n);
    check_canaries(&j->out, out, j->bytes);
    check_count(1);
}

static void try_job(const job *j)
{
    static const check_flush flush[] = { CHECK_START, CHECK_END };
    const size_t step = check_noguard ? 29 : check_fast ? 5 : 1;
    const size_t away = check_noguard ? 64 : 0; /* elements from the guards */
    for (size_t offset = j->n % step; offset < 64 / elem_size(j->dtype) + 2; offset += step)
        for (size_t f = 0; f < 2; f++) {
            check_at.out_offset = offset;
            for (unsigned stream = 0; stream <= LMX_HOW_STREAM; stream += LMX_HOW_STREAM) {
                try_apply(j, offset + away, flush[f], stream);
                if (j->kernel->uses_terms && j->is_real)
                    try_apply(j, offset + away, flush[f], stream | LMX_HOW_TERMS);
                try_rows(j, offset + away, flush[f], stream);
                if (j->kernel->uses_terms)
                    try_rows(j, offset + away, flush[f], stream | LMX_HOW_SCRATCH);
            }
        }
}

static void test_tier(const lmx_tier *tier)
{
    static const size_t lengths[] = { 1,  2,  7,   8,   15,  16,  17,   31,   33,   63,    64,   65,
                                      66, 97, 127, 129, 260, 513, 1000, 1537, 4097, 16383, 16384 };
    check_at.tier = tier->isa;
    for (int op = 0; op < LMX_ROW_COUNT; op++) {
        if (result_per_row((lmx_row_code)op))
            continue;
        check_at.test = lmx_row_op_info(op)->name;
        for (int d = 0; d < N_DTYPES; d++) {
            const lmx_table *const table = tier->table[d];
            const size_t size = elem_size((lmx_dtype)d);
            check_at.dtype = dtype_name((lmx_dtype)d);
            for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
                job j;
                j.kernel = table->row[op];
                if (j.kernel->elem_size != size)
                    continue; /* the kernel of reals, which has its turn as such */
                j.op = (lmx_row_code)op;
                j.dtype = (lmx_dtype)d;
                j.is_real = table->elem_size == table->real_size;
                j.n = check_at.n = lengths[k];
                j.bytes = j.n * size;
                if (j.n > 4097 && check_fast)
                    continue;
                j.a = get_memory(j.bytes);
                j.b = get_memory(j.bytes);
                j.want = get_memory(j.bytes);
                j.scratch = get_memory((j.n < LMX_BATCH ? LMX_BATCH : j.n) * 8);
                j.out = check_buffer_new(j.bytes + 66 * size + 64 * size);
                for (int kind = 0; kind < N_ROW_KINDS; kind++) {
                    if (j.n > 600 && kind != (int)(k % N_ROW_KINDS) && kind != ROW_TO_110)
                        continue;
                    if (check_fast &&
                        ((size_t)kind + k + (size_t)op) % (j.kernel->uses_terms ? 3u : 9u) != 0)
                        continue;
                    check_random r = check_random_new(check_at.seed = (uint64_t)(1000 * kind) + k);
                    row_fill(j.dtype, j.a, j.n, (row_kind)kind, &r);
                    row_fill(j.dtype, j.b, j.n, op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_TO_88,
                             &r);
                    CHECK(row_call(NULL, j.op, j.dtype, 1, j.n, j.a, j.b, j.want) == LMX_OK);
                    try_job(&j);
                }
                free(j.a);
                free(j.b);
                free(j.want);
                free(j.scratch);
                check_buffer_free(&j.out);
            }
        }
    }
    check_at.tier = NULL;
    check_at.out_offset = 0;
}

/*
 * Rows written beside each other, every kind of row before and after every other, against the public
 * function on each row by itself; the scratch has no room to spare.
 */
static void test_beside(const lmx_tier *tier)
{
    static const size_t lengths[] = { 1,    2,    31,    33,    127,   128,   129,  300,
                                      1024, 1025, 16383, 16384, 16385, 40000, 70000 };
    check_at.tier = tier->isa;
    for (int op = 0; op < LMX_ROW_COUNT; op++)
        for (int d = 0; d < N_DTYPES; d++) {
            const lmx_table *const table = tier->table[d];
            const lmx_row_kernel *const kernel = table->row[op];
            if (kernel->pipelined == NULL || kernel->elem_size != table->elem_size)
                continue;
            check_at.test = lmx_row_op_info(op)->name;
            check_at.dtype = dtype_name((lmx_dtype)d);
            for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
                const size_t n = check_at.n = lengths[k], size = table->elem_size;
                if (n > 1025 && check_fast && k % 4 != 0)
                    continue;
                const size_t rows = n > 2000 ? N_ROW_KINDS + 3 : 3 * N_ROW_KINDS;
                const size_t scratch_size =
                    (n < LMX_BATCH ? LMX_BATCH : n) * table->real_size; /* as kernels.h says */
                char *const a = get_memory(rows * n * size), *const b = get_memory(n * size);
                void *const want = get_memory(rows * n * size);
                const size_t away = check_noguard ? 512 : 0; /* bytes from the guards */
                check_buffer out = check_buffer_new(rows * n * size + 128 + 2 * away);
                check_buffer scratch = check_buffer_new(scratch_size + away);
                check_random r = check_random_new(check_at.seed = k + 77);
                for (size_t i = 0; i < rows; i++) {
                    /* 5 and 19 have no common divisor: steps of 1, 5 and 11 kinds in turn */
                    static const size_t step[] = { 1, 5, 11 };
                    const size_t kind = i * step[i / N_ROW_KINDS % 3] % N_ROW_KINDS;
                    row_fill((lmx_dtype)d, a + i * n * size, n, (row_kind)kind, &r);
                    CHECK(row_call(NULL, (lmx_row_code)op, (lmx_dtype)d, 1, n, a + i * n * size, b,
                                   (char *)want + i * n * size) == LMX_OK);
                }
                for (size_t offset = 0; offset < 128; offset += 64 - 3 * size) {
                    check_at.out_offset = offset / size;
                    void *const y = check_put(&out, rows * n * size, CHECK_START, offset + away);
                    void *const s = check_put(&scratch, scratch_size, CHECK_END, away);
                    const ptrdiff_t stride = (ptrdiff_t)n;
                    const lmx_rows all = {
                        rows, n,      a, NULL, stride,
                        0,    stride, y, s,    LMX_HOW_STREAM | LMX_HOW_PIPELINED,
                        0
                    };
                    kernel->pipelined(&all);
                    results_same((lmx_row_code)op, (lmx_dtype)d, y, want, rows * n);
                    check_canaries(&out, y, rows * n * size);
                    check_count(rows);
                }
                free(a);
                free(b);
                free(want);
                check_buffer_free(&out);
                check_buffer_free(&scratch);
            }
        }
    check_at.tier = NULL;
    check_at.out_offset = 0;
}

/*
 * Blocks of columns, with and without streams and what measuring keeps, against the public function on
 * each column by itself.  Columns of which the kernel says that it cannot tell are left out, and
 * must be none where the logits are ordinary.
 */
static void test_columns(const lmx_tier *tier)
{
    static const size_t widths[] = { 1, 15, 16, 17, 48, 64 };
    static const size_t lengths[] = { 1, 2, 31, 33, 127, 128, 129, 300, 1024, 1025, 1300 };
    check_at.tier = tier->isa;
    void *const lanes = get_memory(LMX_COLUMNS_LANES);
    for (int op = 0; op < LMX_ROW_COUNT; op++)
        for (int d = 0; d < N_DTYPES; d++) {
            const lmx_table *const table = tier->table[d];
            const lmx_row_kernel *const kernel = table->row[op];
            if (result_per_row((lmx_row_code)op) || kernel->measure_columns == NULL ||
                kernel->elem_size != table->elem_size)
                continue;
            check_at.test = lmx_row_op_info(op)->name;
            check_at.dtype = dtype_name((lmx_dtype)d);
            for (size_t g = 0; g < sizeof lengths / sizeof *lengths * 6; g++) {
                const size_t n = check_at.n = lengths[g / 6], width = widths[g % 6];
                const size_t size = table->elem_size, stride = 80;
                if (check_fast && (g * 7 + (size_t)op) % 11 != 0)
                    continue;
                const row_kind kind = (row_kind)(g % 4 == 0 ? ROW_NORMAL : g % N_ROW_KINDS);
                char *const x = get_memory(n * size), *const dy = get_memory(n * size);
                char *const a = get_memory(n * stride * size), *const b =
                                                                   get_memory(n * stride * size);
                char *const want = get_memory(n * stride * size), *const y = get_memory(n * size);
                char *const out = get_memory(n * stride * size);
                void *const scratch = get_memory(n * 64 * table->real_size);
                check_random r = check_random_new(check_at.seed = g);
                memset(a, 0, n * stride * size);
                memset(b, 0, n * stride * size);
                memset(want, 0x5a, n * stride * size);
                for (size_t j = 0; j < width; j++) {
                    row_fill((lmx_dtype)d, x, n, kind, &r);
                    row_fill((lmx_dtype)d, dy, n, ROW_TO_88, &r);
                    CHECK(row_call(NULL, (lmx_row_code)op, (lmx_dtype)d, 1, n, x, dy, y) == LMX_OK);
                    for (size_t i = 0; i < n; i++) {
                        memcpy(a + (i * stride + j) * size, x + i * size, size);
                        memcpy(b + (i * stride + j) * size, dy + i * size, size);
                        memcpy(want + (i * stride + j) * size, y + i * size, size);
                    }
                }
                for (unsigned how = 0; how < 4; how++) {
                    lmx_chunk chunks[LMX_COLUMNS];
                    lmx_norm norms[LMX_COLUMNS];
                    lmx_columns c = { .cols = n, .width = width, .a = a, .b = b, .out = out };
                    c.a_stride = c.b_stride = c.out_stride = (ptrdiff_t)stride;
                    c.lanes = lanes;
                    c.scratch = how & 2 ? scratch : NULL;
                    c.scratch_stride = (width + 15) / 16 * 16;
                    c.how = how & 1 ? LMX_HOW_STREAM : 0;
                    memset(out, 0x5a, n * stride * size);
                    memset(chunks, 0, sizeof chunks);
                    memset(norms, 0, sizeof norms);
                    kernel->measure_columns(&c, chunks);
                    size_t told = 0;
                    for (size_t j = 0; j < width; j++) {
                        if (chunks[j].kind < 0)
                            continue;
                        kernel->fold(&chunks[j], 1, &norms[j]);
                        norms[j].rate = 1;
                        told++;
                    }
                    if (kind == ROW_NORMAL && n > 1)
                        CHECK(told == width);
                    kernel->apply_columns(&c, chunks, norms);
                    for (size_t j = 0; j < stride; j++) {
                        if (j < width && (chunks[j].kind < 0 || norms[j].kind != LMX_KIND_PLAIN))
                            continue;
                        for (size_t i = 0; i < n; i++) {
                            const size_t at = (i * stride + j) * size;
                            if (memcmp(out + at, want + at, size) != 0) {
                                results_same((lmx_row_code)op, (lmx_dtype)d, out + at, want + at,
                                             1);
                                check_fail("row %zu, column %zu of %zu, how %u", i, j, width, how);
                                break;
                            }
                        }
                        check_count(1);
                    }
                }
                free(x);
                free(dy);
                free(a);
                free(b);
                free(want);
                free(y);
                free(out);
                free(scratch);
            }
        }
    free(lanes);
    check_at.tier = NULL;
}

/* What any plan must respect, over sizes from one element to more than memory. */
static void test_choices(void)
{
    static const size_t extents[] = {
        1, 2, 3, 10, 1000, 16384, 16385, 50257, 1000000, (size_t)1 << 31, (size_t)1 << 40
    };
    enum { N = sizeof extents / sizeof *extents };
    static const unsigned threads[] = { 1, 2, 3, 16, 1024 };
    static const size_t caches[] = { 0, 1 << 15, (size_t)32 << 20 };
    check_at.test = "lmx_plan_rows";
    for (size_t r = 0; r < N; r++)
        for (size_t c = 0; c < N; c++)
            for (size_t t = 0; t < 5; t++)
                for (size_t cache = 0; cache < 3; cache++)
                    for (unsigned flags = 0; flags < 1u << 6; flags++) {
                        lmx_plan_request q;
                        memset(&q, 0, sizeof q);
                        q.rows = extents[r];
                        q.cols = extents[c];
                        q.inputs = 1 + (flags & 1);
                        q.writes = (flags & 2) != 0;
                        q.in_place = q.writes && (flags & 4) != 0;
                        q.uses_terms = (flags & 8) != 0;
                        q.is_real = (flags & 16) != 0;
                        q.has_pipelined = q.writes && (flags & 32) != 0;
                        q.elem_size = q.is_real ? 4 : 2;
                        q.threads = threads[t];
                        q.cache = caches[cache];
                        check_at.n = q.cols;
                        const lmx_plan p = lmx_plan_rows(&q);
                        const lmx_plan again = lmx_plan_rows(&q);
                        bool good = again.how == p.how && again.grain == p.grain;
                        good = good && !(p.parallel && q.threads < 2);
                        good = good && p.grain >= 1;
                        /* Streams past the caches what would be read again: not in place. */
                        good = good && !((p.how & LMX_HOW_STREAM) && (q.in_place || !q.writes));
                        good = good && (p.how & ~(unsigned)(LMX_HOW_STREAM | LMX_HOW_SCRATCH |
                                                            LMX_HOW_PIPELINED)) == 0;
                        /* Beside each other: streams, whole rows, of a size that the kernels take. */
                        good = good &&
                               !((p.how & LMX_HOW_PIPELINED) &&
                                 (!q.has_pipelined || !(p.how & LMX_HOW_STREAM) || p.split_rows ||
                                  q.rows < 2 || q.cols > LMX_PIPELINED_CHUNKS * LMX_CHUNK));
                        good = good && !((p.how & LMX_HOW_SCRATCH) && !q.uses_terms);
                        /* Terms in the output destroy an input in place, and need its type. */
                        good =
                            good && !(p.store_terms && (!q.uses_terms || !q.is_real || q.in_place));
                        good = good && !(p.split_rows && (!p.parallel || q.cols <= LMX_CHUNK));
                        if (!good)
                            check_fail("plan for %zu x %zu, %u threads, cache %zu, flags %#x",
                                       q.rows, q.cols, q.threads, q.cache, flags);
                        check_count(1);
                    }
}

int main(void)
{
    check_begin("plans");
    test_choices();
    for (size_t i = 0; lmx_tier_at(i) != NULL; i++)
        if ((lmx_tier_at(i)->needs & ~lmx_cpu_features()) == 0) {
            test_tier(lmx_tier_at(i));
            test_beside(lmx_tier_at(i));
            test_columns(lmx_tier_at(i));
        }
    return check_end();
}
