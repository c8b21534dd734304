/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the softmax family: check, plan, hand out.  One driver serves every operation of
 * the registry; what differs between them is in lib/kernels/row.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "platform/cpu.h"
#include "exec/ctx.h"
#include "exec/options.h"
#include "exec/plan.h"
#include "exec/reach.h"
#include "dispatch/registry.h"
#include "kernels/total.h"

/* ------------------------------------------------------------ the call --- */

/* A worker's scratch: a and b as reals, results, and the terms of short rows. */
enum { SCRATCH_A, SCRATCH_B, SCRATCH_OUT, SCRATCH_TERMS, SCRATCHES };

typedef struct call {
    const lmx_row_kernel *kernel;      /* on elements */
    const lmx_row_kernel *real_kernel; /* on reals, behind gather */
    const lmx_table *table, *real_table;
    lmx_row_code op;
    const lmx_row_info *info;
    lmx_shape shape;
    lmx_array a, b, out; /* strides: row, col, inner */
    lmx_row_options opt;
    lmx_plan plan;
    int direct;    /* elements can be read and written in place */
    int batched;   /* short rows: several together */
    int columns;   /* a vector of columns at a time */
    int converted; /* columns: elements are not what the kernel reads */
    size_t chunks; /* per row */

    /* workspace: for each worker so many slots of scratch, and the chunks of a row */
    unsigned workers;
    char *scratch;
    size_t scratch_size;
    int slots, slot[SCRATCHES]; /* -1: not needed */
    char *lanes; /* columns: sums of a strip, and what is kept of it, for each worker */
    char *keep;
    size_t keep_size;
    char *blocks; /* converted columns: a chunk of a strip of a and b as reals, for each worker */
    size_t block_size;
    size_t strips, strip_cols, first_cols; /* columns: how many strips, and how wide they are */
    lmx_chunk *chunk;
    size_t chunk_count;
} call;

/* One row of a call: the elements reduced together. */
typedef struct row {
    call *c;
    const char *a, *b;
    char *out;
    lmx_gather ga, gb, gout;
    lmx_chunk *chunk;
    lmx_norm norm;
    double temperature;
    double largest; /* far: logits are measured from it before they are divided */
    int far;
    double unit; /* what the rate was divided by */
} row;

/* Row r, j, `first` elements further along the reduced axis. */
static const char *at_row(const lmx_array *x, size_t r, size_t j, size_t first)
{
    if (x->data == NULL)
        return NULL;
    return lmx_row_at(x, r, j) + (ptrdiff_t)first * x->stride[1] * (ptrdiff_t)x->size;
}

static void row_begin(row *w, call *c, size_t r, size_t j, lmx_chunk *chunk)
{
    const lmx_row_options *o = &c->opt;
    memset(w, 0, sizeof *w);
    w->c = c;
    w->a = lmx_row_at(&c->a, r, j);
    w->b = lmx_row_at(&c->b, r, j);
    w->out = (char *)(uintptr_t)lmx_row_at(&c->out, r, j);
    w->chunk = chunk;
    w->norm.rate = w->temperature = w->unit = 1;
    w->ga = w->gb = w->gout =
        (lmx_gather){ .stride = 1, .rate = 1, .masked_value = c->op == LMX_ROW_log_softmax };
    w->ga.stride = c->a.stride[1];
    w->gb.stride = c->b.stride[1];
    w->gout.stride = c->out.stride[1];
    w->gout.stream = (c->plan.how & LMX_HOW_STREAM) != 0;
    if (o->temperature != NULL) {
        const double t =
            o->temperature[(ptrdiff_t)r * o->temperature_row + (ptrdiff_t)j * o->temperature_inner];
        w->temperature = t;
        if (c->info->inputs > 1) {
            w->unit = lmx_rate_unit(1 / t, c->real_table->real_size);
            w->norm.rate = 1 / (t * w->unit);
        } else {
            w->far = lmx_temperature_leaves(t, c->real_table->real_size);
            lmx_gather_divide(&w->ga, t, c->real_table->real_size);
        }
    }
    if (o->where != NULL) {
        const unsigned char *mask =
            o->where + (ptrdiff_t)r * o->where_strides.row + (ptrdiff_t)j * o->where_strides.inner;
        w->ga.where = w->gout.where = mask;
        w->ga.where_stride = w->gout.where_stride = o->where_strides.col;
    }
}

static void *scratch_of(const call *c, unsigned worker, int which)
{
    if (c->scratch == NULL || c->slot[which] < 0)
        return NULL;
    return c->scratch +
           ((size_t)worker * (size_t)c->slots + (size_t)c->slot[which]) * c->scratch_size;
}

static size_t chunk_len(const call *c, size_t i)
{
    const size_t left = c->shape.cols - i * LMX_CHUNK;
    return left < LMX_CHUNK ? left : LMX_CHUNK;
}

/* n elements from `first` on as contiguous reals in this worker's scratch. */
static void gather_range(const row *w, size_t first, size_t n, unsigned worker)
{
    const call *c = w->c;
    const ptrdiff_t at = (ptrdiff_t)first, size = (ptrdiff_t)c->table->elem_size;
    lmx_gather g = w->ga;
    if (g.where != NULL)
        g.where += at * g.where_stride;
    if (w->far)
        g.rate = 1;
    c->table->gather(w->a + at * g.stride * size, n, &g, scratch_of(c, worker, SCRATCH_A));
    if (w->far)
        lmx_quotients(c->real_table->real_size, scratch_of(c, worker, SCRATCH_A), n, w->largest,
                      w->temperature);
    if (w->b != NULL)
        c->table->gather(w->b + at * w->gb.stride * size, n, &w->gb,
                         scratch_of(c, worker, SCRATCH_B));
}

static void measure_chunk(const row *w, size_t i, unsigned worker)
{
    const call *c = w->c;
    const size_t n = chunk_len(c, i), offset = i * LMX_CHUNK * c->table->elem_size;
    w->chunk[i].parameter = c->opt.parameter;
    if (c->direct) {
        void *terms = c->plan.store_terms ? w->out + offset : NULL;
        c->kernel->measure(w->a + offset, w->b != NULL ? w->b + offset : NULL, n, terms,
                           &w->chunk[i]);
    } else {
        gather_range(w, i * LMX_CHUNK, n, worker);
        c->real_kernel->measure(scratch_of(c, worker, SCRATCH_A), scratch_of(c, worker, SCRATCH_B),
                                n, NULL, &w->chunk[i]);
    }
}

/* Through scratch, which holds the chunk already if `gathered`, else as much as the first-level cache does. */
static void apply_gathered(const row *w, size_t i, unsigned worker, int gathered)
{
    const call *c = w->c;
    const size_t n = chunk_len(c, i), step = gathered ? n : LMX_BATCH;
    char *const z = scratch_of(c, worker, SCRATCH_A);
    for (size_t at = 0; at < n; at += step) {
        const size_t part = n - at < step ? n - at : step, first = i * LMX_CHUNK + at;
        const ptrdiff_t to = (ptrdiff_t)first;
        if (!gathered)
            gather_range(w, first, part, worker);
        c->real_kernel->apply(z, scratch_of(c, worker, SCRATCH_B), part, &w->chunk[i], &w->norm, z,
                              0);
        if (w->unit != 1)
            lmx_rate_back(c->real_table, z, part, w->unit);
        lmx_gather g = w->gout;
        if (g.where != NULL)
            g.where += to * g.where_stride;
        c->table->scatter(z, part, &g, w->out + to * g.stride * (ptrdiff_t)c->table->elem_size);
    }
}

static void apply_chunk(const row *w, size_t i, unsigned worker, int gathered)
{
    const call *c = w->c;
    if (!c->direct) {
        apply_gathered(w, i, worker, gathered);
        return;
    }
    const size_t n = chunk_len(c, i), offset = i * LMX_CHUNK * c->table->elem_size;
    const char *from = c->plan.store_terms ? w->out + offset : w->a + offset;
    c->kernel->apply(from, w->b != NULL ? w->b + offset : NULL, n, &w->chunk[i], &w->norm,
                     w->out + offset,
                     (c->plan.how & LMX_HOW_STREAM) | (c->plan.store_terms ? LMX_HOW_TERMS : 0));
}

/* Joins what the chunks found of the row; with `total`, only whether it can be normalised by that. */
static void fold(row *w, size_t r, size_t j)
{
    const call *c = w->c;
    const double rate = w->norm.rate;
    c->kernel->fold(w->chunk, c->chunks, &w->norm);
    w->norm.rate = rate;
    if (c->opt.total == NULL)
        return;
    const lmx_expsum *t =
        c->opt.total + (ptrdiff_t)r * c->opt.total_row + (ptrdiff_t)j * c->opt.total_inner;
    if (w->norm.kind != LMX_KIND_BAD)
        w->norm.kind = t->mantissa == 0          ? LMX_KIND_EMPTY
                       : lmx_finite(t->mantissa) ? LMX_KIND_PLAIN
                                                 : LMX_KIND_BAD;
    const lmx_total total = lmx_total_unpack(t);
    w->norm.sum = total.rounded;
    w->norm.max = 0;
    if (w->norm.kind == LMX_KIND_PLAIN)
        w->norm.log_rest = lmx_sum_log(total.fine);
}

/* Whether a row that was folded is to be measured again, from its largest logit. */
static int is_far(row *w, unsigned worker)
{
    const call *c = w->c;
    const size_t real_size = c->real_table->real_size;
    if (w->far || c->direct || !lmx_quotients_left(&w->norm, w->temperature, real_size))
        return 0;
    const double t = w->temperature;
    double largest = -INFINITY;
    w->far = 1; /* for gather_range(): the logits themselves */
    w->largest = 0;
    w->temperature = 1;
    for (size_t i = 0; i < c->chunks; i++) {
        gather_range(w, i * LMX_CHUNK, chunk_len(c, i), worker);
        largest =
            lmx_largest_real(real_size, scratch_of(c, worker, SCRATCH_A), chunk_len(c, i), largest);
    }
    w->far = lmx_finite(largest) != 0;
    w->largest = largest;
    w->temperature = t;
    if (!w->far && c->chunks == 1) /* apply_chunk() reads what was measured */
        gather_range(w, 0, chunk_len(c, 0), worker);
    return w->far;
}

static void put_result(const row *w)
{
    if (w->c->info->result == LMX_RESULT_VALUE) {
        w->c->real_table->put_value(w->out, lmx_norm_value(&w->norm));
    } else {
        const lmx_expsum e = lmx_total_pack((lmx_total){ w->norm.fine, w->norm.sum });
        memcpy(w->out, &e, sizeof e);
    }
}

static void whole_row(call *c, size_t r, size_t j, unsigned worker)
{
    row w;
    row_begin(&w, c, r, j, c->chunk + (size_t)worker * c->chunk_count);
    do {
        for (size_t i = 0; i < c->chunks; i++)
            measure_chunk(&w, i, worker);
        fold(&w, r, j);
    } while (is_far(&w, worker));
    if (c->info->result != LMX_RESULT_ROW)
        put_result(&w);
    else
        for (size_t i = 0; i < c->chunks; i++)
            apply_chunk(&w, i, worker, c->chunks == 1);
}

/* --------------------------------------------------------------- tasks --- */

static void short_rows_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const call *c = job;
    lmx_rows r = { .rows = end - begin,
                   .cols = c->shape.cols,
                   .how = c->plan.how,
                   .parameter = c->opt.parameter };
    r.a = lmx_row_at(&c->a, begin, 0);
    r.b = lmx_row_at(&c->b, begin, 0);
    r.out = (char *)(uintptr_t)lmx_row_at(&c->out, begin, 0);
    r.a_stride = c->a.stride[0];
    r.b_stride = c->b.stride[0];
    r.out_stride = c->out.stride[0];
    r.scratch = scratch_of(c, worker, SCRATCH_TERMS);
    if (c->plan.how & LMX_HOW_PIPELINED)
        c->kernel->pipelined(&r);
    else
        c->kernel->rows(&r);
}

/* Whether the rows of x follow each other, with nothing that differs between them. */
static int packed(const call *c, const lmx_array *x)
{
    return c->shape.inner == 1 && (c->shape.cols == 1 || x->stride[1] == 1) &&
           x->stride[0] == (ptrdiff_t)c->shape.cols && c->opt.where == NULL &&
           c->opt.temperature == NULL;
}

/* The rows of a batch as contiguous reals, or results from there to where they lie. */
static void move_batch(call *c, size_t first, size_t count, const char *z, int which)
{
    const int stream = (c->plan.how & LMX_HOW_STREAM) != 0;
    const lmx_gather as_is = { .stride = 1, .rate = 1, .stream = stream };
    const lmx_array *const x = which == SCRATCH_A ? &c->a : which == SCRATCH_B ? &c->b : &c->out;
    const size_t cols = c->shape.cols, step = cols * c->table->real_size;
    if (packed(c, x)) {
        char *const at = (char *)(uintptr_t)lmx_row_at(x, first, 0);
        if (which == SCRATCH_OUT)
            c->table->scatter(z, count * cols, &as_is, at);
        else
            c->table->gather(at, count * cols, &as_is, (void *)(uintptr_t)z);
        return;
    }
    for (size_t q = 0; q < count; q++, z += step) {
        row w;
        row_begin(&w, c, (first + q) / c->shape.inner, (first + q) % c->shape.inner, NULL);
        if (which == SCRATCH_A)
            c->table->gather(w.a, cols, &w.ga, (void *)(uintptr_t)z);
        else if (which == SCRATCH_B)
            c->table->gather(w.b, cols, &w.gb, (void *)(uintptr_t)z);
        else
            c->table->scatter(z, cols, &w.gout, w.out);
    }
}

/* Short rows that kernels cannot read where they are: a batch at a time through the first-level cache. */
static void batched_rows_task(void *job, size_t begin, size_t end, unsigned worker)
{
    call *c = job;
    const size_t cols = c->shape.cols, most = LMX_BATCH / cols > 0 ? LMX_BATCH / cols : 1;
    const int is_row = c->info->result == LMX_RESULT_ROW;
    lmx_rows r = { .cols = cols, .parameter = c->opt.parameter };
    r.a = scratch_of(c, worker, SCRATCH_A);
    r.b = scratch_of(c, worker, SCRATCH_B);
    r.scratch = scratch_of(c, worker, SCRATCH_TERMS);
    r.a_stride = r.b_stride = (ptrdiff_t)cols;
    for (size_t i = begin; i < end; i += r.rows) {
        r.rows = end - i < most ? end - i : most;
        move_batch(c, i, r.rows, r.a, SCRATCH_A);
        if (c->info->inputs > 1)
            move_batch(c, i, r.rows, r.b, SCRATCH_B);
        if (is_row) {
            r.out = scratch_of(c, worker, SCRATCH_OUT);
            r.out_stride = (ptrdiff_t)cols;
        } else if (c->shape.inner == 1) {
            r.out = (char *)(uintptr_t)lmx_row_at(&c->out, i, 0);
            r.out_stride = c->out.stride[0];
        } else { /* up to the end of what lies behind one outer index */
            const size_t left = c->shape.inner - i % c->shape.inner;
            r.rows = r.rows < left ? r.rows : left;
            r.out = (char *)(uintptr_t)lmx_row_at(&c->out, i / c->shape.inner, i % c->shape.inner);
            r.out_stride = c->out.stride[2];
        }
        c->real_kernel->rows(&r);
        if (is_row)
            move_batch(c, i, r.rows, r.out, SCRATCH_OUT);
    }
}

static void whole_rows_task(void *job, size_t begin, size_t end, unsigned worker)
{
    call *c = job;
    for (size_t i = begin; i < end; i++)
        whole_row(c, i / c->shape.inner, i % c->shape.inner, worker);
}

static void measure_task(void *job, size_t begin, size_t end, unsigned worker)
{
    for (size_t i = begin; i < end; i++)
        measure_chunk(job, i, worker);
}

static void apply_task(void *job, size_t begin, size_t end, unsigned worker)
{
    for (size_t i = begin; i < end; i++)
        apply_chunk(job, i, worker, 0);
}

/* Of the strips that one outer index is cut into; the first is shorter where that makes the others
 * start at a line of the input. */
static size_t strip_begin(const call *c, size_t s)
{
    const size_t at = s == 0 ? 0 : c->first_cols + (s - 1) * c->strip_cols;
    return at < c->shape.inner ? at : c->shape.inner;
}

/* A strip of columns at work. */
typedef struct strip {
    call *c;
    size_t r, j0, width; /* columns j0 ... j0 + width of outer index r */
    unsigned worker;
    lmx_chunk *chunk;  /* those of each column, one column behind the other */
    lmx_chunk *across; /* one chunk of each column */
    char *kept;        /* NULL: nothing is kept */
    size_t kept_row;
    lmx_norm norms[LMX_COLUMNS];
    unsigned char by_rows[LMX_COLUMNS]; /* columns that need the row kernel */
} strip;

static char *block_of(const strip *s, int second)
{
    return s->c->blocks + ((size_t)s->worker * 2 + (size_t)second) * s->c->block_size;
}

/* Columns j ... j + n of chunk i of x as reals, in rows of kept_row; or with `back` from there to x. */
static void convert_block(const strip *s, const lmx_array *x, size_t i, size_t j, size_t n, char *z,
                          int back)
{
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    const call *c = s->c;
    const size_t rows = chunk_len(c, i), step = s->kept_row * c->table->real_size;
    const char *at = at_row(x, s->r, s->j0 + j, i * LMX_CHUNK);
    const ptrdiff_t x_step = x->stride[1] * (ptrdiff_t)x->size;
    for (size_t k = 0; k < rows; k++, z += step, at += x_step)
        if (back)
            c->table->scatter(z, n, &as_is, (char *)(uintptr_t)at);
        else
            c->table->gather(at, n, &as_is, z);
}

/* The block for the column kernels: chunk i, columns j ... j + n: elements, or reals made of them. */
static lmx_columns columns_of(const strip *s, size_t i, size_t j, size_t n)
{
    const call *c = s->c;
    const size_t first = i * LMX_CHUNK, real_size = c->table->real_size;
    lmx_columns k = { .cols = chunk_len(c, i),
                      .width = n,
                      .lanes = c->lanes + (size_t)s->worker * LMX_COLUMNS_LANES,
                      .scratch_stride = s->kept_row,
                      .how = c->plan.how };
    if (c->converted) {
        k.a = block_of(s, 0);
        k.b = c->info->inputs > 1 ? block_of(s, 1) : NULL;
        k.a_stride = k.b_stride = k.out_stride = (ptrdiff_t)s->kept_row;
        k.out = block_of(s, 0);
        k.how = 0;
    } else {
        k.a = at_row(&c->a, s->r, s->j0 + j, first);
        k.b = at_row(&c->b, s->r, s->j0 + j, first);
        k.a_stride = c->a.stride[1];
        k.b_stride = c->b.stride[1];
        k.out_stride = c->out.stride[1];
    }
    if (s->kept != NULL)
        k.scratch = s->kept + (first * s->kept_row + j) * real_size;
    return k;
}

static void convert_inputs(const strip *s, size_t i, size_t j, size_t n)
{
    const call *c = s->c;
    if (!c->converted)
        return;
    convert_block(s, &c->a, i, j, n, block_of(s, 0), 0);
    if (c->info->inputs > 1)
        convert_block(s, &c->b, i, j, n, block_of(s, 1), 0);
}

static void measure_strip(strip *s)
{
    call *c = s->c;
    for (size_t i = 0; i < c->chunks; i++) {
        convert_inputs(s, i, 0, s->width);
        const lmx_columns k = columns_of(s, i, 0, s->width);
        c->kernel->measure_columns(&k, s->across);
        for (size_t j = 0; j < s->width; j++) {
            s->chunk[j * c->chunks + i] = s->across[j];
            if (s->across[j].kind >= 0)
                continue;
            row w;
            row_begin(&w, c, s->r, s->j0 + j, s->chunk + j * c->chunks);
            measure_chunk(&w, i, s->worker);
            s->by_rows[j] = 1; /* what was kept is not relative to what this found */
        }
    }
}

static void fold_strip(strip *s)
{
    call *c = s->c;
    for (size_t j = 0; j < s->width; j++) {
        row w;
        row_begin(&w, c, s->r, s->j0 + j, s->chunk + j * c->chunks);
        fold(&w, s->r, s->j0 + j);
        s->norms[j] = w.norm;
        if (w.norm.kind != LMX_KIND_PLAIN)
            s->by_rows[j] = 1; /* filled, not computed: NaN in is not the NaN that goes out */
        if (c->info->result != LMX_RESULT_ROW)
            put_result(&w);
    }
}

/* Columns j ... j + n, which the column kernel can write. */
static void apply_strip(const strip *s, size_t j, size_t n)
{
    const call *c = s->c;
    for (size_t i = 0; i < c->chunks; i++) {
        for (size_t q = 0; q < n; q++)
            s->across[q] = s->chunk[(j + q) * c->chunks + i];
        if (s->kept == NULL && (c->chunks > 1 || n < s->width)) /* else it is still there */
            convert_inputs(s, i, j, n);
        lmx_columns k = columns_of(s, i, j, n);
        if (!c->converted)
            k.out = (char *)(uintptr_t)at_row(&c->out, s->r, s->j0 + j, i * LMX_CHUNK);
        c->kernel->apply_columns(&k, s->across, s->norms + j);
        if (c->converted)
            convert_block(s, &c->out, i, j, n, k.out, 1);
    }
}

static void columns_task(void *job, size_t begin, size_t end, unsigned worker)
{
    call *c = job;
    for (size_t at = begin; at < end; at++) {
        strip s = { .c = c, .r = at / c->strips, .j0 = strip_begin(c, at % c->strips) };
        s.width = strip_begin(c, at % c->strips + 1) - s.j0;
        s.worker = worker;
        s.chunk = c->chunk + (size_t)worker * c->chunk_count;
        s.across = s.chunk + LMX_COLUMNS * c->chunks;
        s.kept = c->keep_size == 0 ? NULL : c->keep + (size_t)worker * c->keep_size;
        s.kept_row = (s.width + 15) / 16 * 16;
        measure_strip(&s);
        fold_strip(&s);
        if (c->info->result != LMX_RESULT_ROW)
            continue;
        for (size_t j = 0; j < s.width; j++)
            if (s.by_rows[j]) {
                row w;
                row_begin(&w, c, s.r, s.j0 + j, s.chunk + j * c->chunks);
                w.norm = s.norms[j];
                for (size_t i = 0; i < c->chunks; i++)
                    apply_chunk(&w, i, worker, 0);
            }
        for (size_t j = 0, run; j < s.width; j += run) {
            run = 1;
            while (j + run < s.width && s.by_rows[j + run] == s.by_rows[j])
                run++;
            if (!s.by_rows[j])
                apply_strip(&s, j, run);
        }
    }
}

/* Strips of whole lines, such that what is kept of one stays in a second-level cache; or, for long
 * columns, is at least a line wide. */
static void plan_strips(call *c)
{
    enum { KEEP = 512 << 10, KEEP_MAX = 16 << 20 };
    const size_t line = 64 / c->table->elem_size, cols = c->shape.cols;
    const size_t real_size = c->table->real_size;
    size_t cols_of_strip = LMX_COLUMNS;
    c->keep_size = c->block_size = 0;
    if (c->kernel->keeps_columns || c->converted) {
        cols_of_strip = KEEP / (cols * real_size) / line * line;
        if (cols_of_strip < line)
            cols_of_strip = line;
        if (cols_of_strip > LMX_COLUMNS)
            cols_of_strip = LMX_COLUMNS;
        const size_t row_bytes = (cols_of_strip + 15) / 16 * 16 * real_size;
        if (c->kernel->keeps_columns && cols <= KEEP_MAX / row_bytes)
            c->keep_size = cols * row_bytes;
        if (c->converted)
            c->block_size = (cols < LMX_CHUNK ? cols : LMX_CHUNK) * row_bytes;
    }
    size_t first = cols_of_strip;
    if ((size_t)c->a.stride[1] % line == 0 && c->shape.inner > cols_of_strip) {
        const size_t past = (size_t)((uintptr_t)c->a.data % 64) / c->table->elem_size;
        first = past == 0 ? cols_of_strip : line - past;
    }
    c->strip_cols = cols_of_strip;
    c->first_cols = first;
    c->strips = c->shape.inner <= first ? 1 : (c->shape.inner - first - 1) / cols_of_strip + 2;
}

/* ------------------------------------------------------------- running --- */

/* Reals in a slot of scratch, and which slots there are. */
static void plan_scratch(call *c, int short_rows)
{
    const size_t cols = c->shape.cols, chunk = cols < LMX_CHUNK ? cols : LMX_CHUNK;
    const size_t batch = c->shape.rows * c->shape.inner > 1 && cols < LMX_BATCH ? LMX_BATCH : cols;
    const int two = c->info->inputs > 1, is_row = c->info->result == LMX_RESULT_ROW;
    for (int i = 0; i < SCRATCHES; i++)
        c->slot[i] = -1;
    c->slots = 0;
    if (!c->direct) {
        c->slot[SCRATCH_A] = c->slots++;
        if (two)
            c->slot[SCRATCH_B] = c->slots++;
        if (c->batched && is_row)
            c->slot[SCRATCH_OUT] = c->slots++;
    } else if (short_rows && c->kernel->uses_terms &&
               ((c->plan.how & LMX_HOW_SCRATCH) || c->table->elem_size != c->table->real_size)) {
        c->slot[SCRATCH_TERMS] = c->slots++;
    }
    const size_t reals = c->batched || short_rows ? batch : chunk;
    c->scratch_size = lmx_round_up(reals * c->table->real_size);
}

/* All memory that a call needs besides its arrays. */
static void divide(call *c, lmx_arena *a)
{
    const size_t workers = c->workers;
    c->scratch = lmx_arena_take(a, workers * (size_t)c->slots * c->scratch_size);
    if (c->columns) {
        c->lanes = lmx_arena_take(a, workers * LMX_COLUMNS_LANES);
        c->keep = lmx_arena_take(a, workers * c->keep_size);
        c->blocks = lmx_arena_take(a, workers * 2 * c->block_size);
    }
    c->chunk = lmx_arena_take(a, workers * c->chunk_count * sizeof *c->chunk);
}

/* Rows one after the other, the chunks of each shared by the threads. */
static void split_rows(call *c, lmx_pool *pool)
{
    const size_t grain = (c->chunks + 2 * c->workers - 1) / (2 * c->workers);
    for (size_t i = 0; i < c->shape.rows * c->shape.inner; i++) {
        const size_t r = i / c->shape.inner, j = i % c->shape.inner;
        row w;
        row_begin(&w, c, r, j, c->chunk);
        do {
            lmx_parallel_for(pool, c->chunks, grain, measure_task, &w);
            fold(&w, r, j);
        } while (is_far(&w, 0));
        if (c->info->result != LMX_RESULT_ROW)
            put_result(&w);
        else
            lmx_parallel_for(pool, c->chunks, grain, apply_task, &w);
    }
}

static lmx_status run(lmx_ctx *ctx, call *c)
{
    const lmx_shape *s = &c->shape;
    lmx_pool *pool = ctx != NULL && c->plan.parallel ? ctx->pool : NULL;
    const int plain = c->opt.total == NULL && (c->opt.temperature == NULL || !c->direct);
    const int short_rows = c->direct && s->inner == 1 && s->cols > 0 && plain &&
                           (s->cols <= LMX_CHUNK || (c->plan.how & LMX_HOW_PIPELINED));
    c->batched = !c->direct && !c->columns && c->opt.total == NULL && s->cols > 0 &&
                 s->cols <= LMX_CHUNK && c->opt.temperature == NULL;
    c->chunks = s->cols == 0 ? 0 : (s->cols - 1) / LMX_CHUNK + 1;
    c->workers = pool != NULL ? lmx_pool_threads(pool) : 1;
    c->chunk_count = short_rows || c->batched ? 0
                     : c->columns             ? LMX_COLUMNS * (c->chunks + 1)
                                              : c->chunks + 1;
    plan_scratch(c, short_rows);
    if (c->columns)
        plan_strips(c);

    LMX_ALIGN(64) char small[4096]; /* small calls stay off the heap */
    void *to_free = NULL;
    lmx_arena parts = { NULL, 0 };
    divide(c, &parts);
    parts =
        parts.used <= sizeof small ? (lmx_arena){ small, 0 } : lmx_arena_open(parts.used, &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    divide(c, &parts);
    if (c->chunk_count > 0)
        memset(c->chunk, 0, c->workers * c->chunk_count * sizeof *c->chunk);

    if (short_rows)
        lmx_parallel_for(pool, s->rows, c->plan.grain, short_rows_task, c);
    else if (c->batched)
        lmx_parallel_for(pool, s->rows * s->inner, c->plan.grain, batched_rows_task, c);
    else if (c->columns)
        lmx_parallel_for(pool, s->rows * c->strips, 1, columns_task, c);
    else if (c->plan.split_rows)
        split_rows(c, pool);
    else
        lmx_parallel_for(pool, s->rows * s->inner, c->plan.grain, whole_rows_task, c);
    free(to_free);
    return LMX_OK;
}

/* ------------------------------------------------------------ checking --- */

lmx_status lmx_row_options_init(lmx_row_code op, lmx_row_options *options)
{
    if ((unsigned)op >= LMX_ROW_COUNT)
        return LMX_ERR_OP;
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_ROW);
    options->parameter = lmx_row_op_info((int)op)->parameter[0].standard;
    return LMX_OK;
}

/* The rates of a VJP are reals of the kernel: elsewhere than where results are stored they are two factors. */
static int rates_fit(const call *c)
{
    const lmx_row_options *o = &c->opt;
    for (size_t i = 0; o->temperature != NULL && i < c->shape.rows * c->shape.inner; i++) {
        const size_t r = i / c->shape.inner, j = i % c->shape.inner;
        const double t =
            o->temperature[(ptrdiff_t)r * o->temperature_row + (ptrdiff_t)j * o->temperature_inner];
        if (lmx_rate_unit(1 / t, c->real_table->real_size) != 1)
            return 0;
        if (o->temperature_row == 0 && o->temperature_inner == 0)
            break;
    }
    return 1;
}

static int temperatures_fit(const call *c, const lmx_row_options *o)
{
    const size_t rows = o->temperature == NULL ? 0 : c->shape.rows;
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < c->shape.inner; j++) {
            if (!lmx_option_fits(LMX_OPTION_temperature,
                                 o->temperature[(ptrdiff_t)r * o->temperature_row +
                                                (ptrdiff_t)j * o->temperature_inner]))
                return 0;
            if (o->temperature_inner == 0)
                break;
        }
        if (o->temperature_row == 0)
            break;
    }
    return 1;
}

static lmx_status check_options(const call *c, const lmx_row_options *o)
{
    if (!LMX_OPTIONS_FIT(o, LMX_TAG_ROW))
        return LMX_ERR_ARG;
    const unsigned set = (o->temperature != NULL ? LMX_TAKES_TEMPERATURE : 0u) |
                         (o->where != NULL ? LMX_TAKES_WHERE : 0u) |
                         (o->total != NULL ? LMX_TAKES_TOTAL : 0u);
    if ((set & ~c->info->takes) != 0 || ((set & LMX_TAKES_TOTAL) != 0 && set != LMX_TAKES_TOTAL))
        return LMX_ERR_OP;
    return lmx_parameters_fit(c->info->parameter, &o->parameter) && temperatures_fit(c, o)
               ? LMX_OK
               : LMX_ERR_ARG;
}

/* The arrays as they are given; LMX_OK if they fit together. */
static lmx_status check_arrays(call *c, const void *a, const lmx_strides *a_strides, const void *b,
                               const lmx_strides *b_strides, void *out,
                               const lmx_strides *out_strides)
{
    static const lmx_strides none = { 0, 0, 0 };
    const int two = c->info->inputs > 1, is_row = c->info->result == LMX_RESULT_ROW;
    const size_t size = c->table->elem_size;
    const size_t out_size = is_row                                ? size
                            : c->info->result == LMX_RESULT_VALUE ? c->table->real_size
                                                                  : sizeof(lmx_expsum);
    const lmx_shape values = { c->shape.rows, 1, c->shape.inner }; /* one for each row */
    c->a = lmx_array_of(a, size, &c->shape, a_strides);
    c->b = lmx_array_of(two ? b : NULL, size, &c->shape, two ? b_strides : &none);
    c->out = lmx_array_of(out, out_size, is_row ? &c->shape : &values, out_strides);
    const lmx_array all[] = { c->a, c->b, c->out };
    const unsigned may_be = is_row ? 3 : 0; /* a or b */
    return lmx_arrays_check(all, 2, 3, &may_be);
}

/* Whether kernels can read the rows where they are, and else, whether columns can be taken together. */
static void choose_way(call *c)
{
    const lmx_shape *s = &c->shape;
    const int one = s->cols == 1; /* a stride of extent 1 does not matter */
    const int is_row = c->info->result == LMX_RESULT_ROW, two = c->b.data != NULL;
    const int plain = c->opt.where == NULL && c->opt.temperature == NULL;
    c->direct = c->kernel->elem_size == c->table->elem_size && (c->a.stride[1] == 1 || one) &&
                (!two || c->b.stride[1] == 1 || one) && (!is_row || c->out.stride[1] == 1 || one) &&
                c->opt.where == NULL && (c->opt.temperature == NULL || (two && rates_fit(c)));
    c->columns = !c->direct && s->inner > 1 && s->cols > 0 && plain && c->opt.total == NULL &&
                 c->a.stride[2] == 1 && c->kernel->measure_columns != NULL &&
                 (!two || c->b.stride[2] == 1) && (!is_row || c->out.stride[2] == 1);
    c->converted = c->columns && c->kernel->elem_size != c->table->elem_size;
}

static void choose_plan(const lmx_ctx *ctx, call *c)
{
    const int is_row = c->info->result == LMX_RESULT_ROW;
    const lmx_plan_request request = {
        .rows = c->shape.rows * c->shape.inner,
        .cols = c->shape.cols,
        .elem_size = c->table->elem_size,
        .inputs = (unsigned)c->info->inputs,
        .writes = is_row,
        .in_place = is_row && (lmx_array_same(&c->out, &c->a) ||
                               (c->b.data != NULL && lmx_array_same(&c->out, &c->b))),
        .uses_terms = c->kernel->uses_terms,
        .is_real = c->table->elem_size == c->table->real_size,
        .has_pipelined = c->kernel->pipelined != NULL && c->direct,
        .threads = ctx != NULL ? lmx_pool_threads(ctx->pool) : 1,
        .cache = lmx_cache_size(),
    };
    c->plan = lmx_plan_rows(&request);
    if (c->opt.total != NULL || !c->direct)
        c->plan.store_terms = 0;
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype,
                                const lmx_shape *shape, const void *a, const lmx_strides *a_strides,
                                const void *b, const lmx_strides *b_strides,
                                const lmx_row_options *options, void *out,
                                const lmx_strides *out_strides)
{
    call c;
    if ((unsigned)op >= LMX_ROW_COUNT)
        return LMX_ERR_OP;
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    c.op = op;
    c.info = lmx_row_op_info(op);
    if (shape == NULL || a_strides == NULL || out_strides == NULL ||
        (c.info->inputs > 1 && b_strides == NULL))
        return LMX_ERR_NULL;
    c.shape = *shape;
    lmx_row_options_init(op, &c.opt);
    lmx_status status = options == NULL ? LMX_OK : check_options(&c, options);
    if (status != LMX_OK)
        return status;
    if (options != NULL)
        c.opt = *options;
    if (shape->rows == 0 || shape->inner == 0 ||
        (c.info->result == LMX_RESULT_ROW && shape->cols == 0))
        return LMX_OK;
    if (out == NULL || (shape->cols > 0 && (a == NULL || (c.info->inputs > 1 && b == NULL))))
        return LMX_ERR_NULL;

    const lmx_tier *tier = lmx_ctx_tier(ctx);
    c.table = tier->table[dtype];
    c.real_table = c.table->real_size == 8 ? tier->table[LMX_F64] : tier->table[LMX_F32];
    c.kernel = c.table->row[op];
    c.real_kernel = c.real_table->row[op];
    status = check_arrays(&c, a, a_strides, b, b_strides, out, out_strides);
    if (status != LMX_OK)
        return status;
    choose_way(&c);
    choose_plan(ctx, &c);
    return run(ctx, &c);
}

/* ------------------------------------------------------- one short row --- */

/* Reals that a short row may need as scratch on the stack, and so its length. */
#define SHORT_ROW 512

static int apart(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return x + a_bytes <= y || y + b_bytes <= x;
}

/*
 * One contiguous row of a few elements, for which checking, planning and handing out cost more than
 * the kernel.  1 if it was such a row, and nothing was wrong with it; 0 leaves it to the rest.
 */
static int short_row(const lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, const lmx_shape *shape,
                     const void *a, const lmx_strides *a_strides, const void *b,
                     const lmx_strides *b_strides, void *out, const lmx_strides *out_strides)
{
    if ((unsigned)op >= LMX_ROW_COUNT || (unsigned)dtype >= LMX_DTYPES || shape == NULL ||
        a_strides == NULL || out_strides == NULL || a == NULL || out == NULL)
        return 0;
    const size_t n = shape->cols;
    if (shape->rows != 1 || shape->inner != 1 || n == 0 || n > SHORT_ROW || a_strides->col != 1)
        return 0;
    const lmx_table *t = lmx_ctx_tier(ctx)->table[dtype];
    const lmx_row_kernel *kernel = t->row[op];
    if (kernel->elem_size != t->elem_size)
        return 0;
    const lmx_row_info *info = lmx_row_op_info(op);
    const size_t bytes = n * t->elem_size;
    size_t out_bytes = bytes, unit = t->elem_size;
    if (info->result == LMX_RESULT_ROW) {
        if (out_strides->col != 1)
            return 0;
    } else {
        out_bytes = info->result == LMX_RESULT_VALUE ? t->real_size : sizeof(lmx_expsum);
        unit = t->real_size | (info->result == LMX_RESULT_SUM ? 8 : 0);
    }
    if ((((uintptr_t)a & (t->elem_size - 1)) | ((uintptr_t)out & (unit - 1))) != 0)
        return 0;
    const int in_place = a == out;
    if (!(in_place && info->result == LMX_RESULT_ROW) && !apart(a, bytes, out, out_bytes))
        return 0;
    if (info->inputs > 1 && (b == NULL || b_strides == NULL || b_strides->col != 1 ||
                             ((uintptr_t)b & (t->elem_size - 1)) != 0 ||
                             (b != out && !apart(b, bytes, out, out_bytes))))
        return 0;
    LMX_ALIGN(64) char scratch[SHORT_ROW * 8];
    const lmx_rows one = { .rows = 1,
                           .cols = n,
                           .a = a,
                           .b = b,
                           .out = out,
                           .scratch = scratch,
                           .parameter = info->parameter[0].standard,
                           .how = in_place && kernel->uses_terms ? LMX_HOW_SCRATCH : 0 };
    kernel->rows(&one);
    return 1;
}

/* ------------------------------------------------------------- entries --- */

/* Checks and plans compare and multiply too, so the caller's traps are off from the start. */
lmx_status lmx_row_op(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, const lmx_shape *shape,
                      const void *a, const lmx_strides *a_strides, const void *b,
                      const lmx_strides *b_strides, const lmx_row_options *options, void *out,
                      const lmx_strides *out_strides)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    lmx_status status = LMX_OK;
    if (options != NULL ||
        !short_row(ctx, op, dtype, shape, a, a_strides, b, b_strides, out, out_strides))
        status = check_and_run(ctx, op, dtype, shape, a, a_strides, b, b_strides, options, out,
                               out_strides);
    lmx_fpenv_leave(env);
    return status;
}

static lmx_status contiguous_with(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t rows,
                                  size_t cols, const void *a, ptrdiff_t a_stride, const void *b,
                                  ptrdiff_t b_stride, const lmx_row_options *options, void *out,
                                  ptrdiff_t out_stride)
{
    const lmx_shape shape = { rows, cols, 1 };
    const lmx_strides sa = { a_stride, 1, 0 }, sb = { b_stride, 1, 0 }, so = { out_stride, 1, 0 };
    return lmx_row_op(ctx, op, dtype, &shape, a, &sa, b, &sb, options, out, &so);
}

static lmx_status contiguous(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t rows,
                             size_t cols, const void *a, ptrdiff_t a_stride, const void *b,
                             ptrdiff_t b_stride, void *out, ptrdiff_t out_stride)
{
    return contiguous_with(ctx, op, dtype, rows, cols, a, a_stride, b, b_stride, NULL, out,
                           out_stride);
}

static lmx_status with_parameter(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t rows,
                                 size_t cols, const void *a, ptrdiff_t a_stride, const void *b,
                                 ptrdiff_t b_stride, double parameter, void *out,
                                 ptrdiff_t out_stride)
{
    lmx_row_options options;
    lmx_row_options_init(op, &options);
    options.parameter = parameter;
    return contiguous_with(ctx, op, dtype, rows, cols, a, a_stride, b, b_stride, &options, out,
                           out_stride);
}

lmx_status lmx_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *x,
                       ptrdiff_t x_stride, void *y, ptrdiff_t y_stride)
{
    return contiguous(ctx, LMX_ROW_softmax, dtype, rows, cols, x, x_stride, NULL, 0, y, y_stride);
}

lmx_status lmx_log_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *x,
                           ptrdiff_t x_stride, void *y, ptrdiff_t y_stride)
{
    return contiguous(ctx, LMX_ROW_log_softmax, dtype, rows, cols, x, x_stride, NULL, 0, y,
                      y_stride);
}

lmx_status lmx_logsumexp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *x,
                         ptrdiff_t x_stride, void *value, ptrdiff_t value_stride)
{
    return contiguous(ctx, LMX_ROW_logsumexp, dtype, rows, cols, x, x_stride, NULL, 0, value,
                      value_stride);
}

lmx_status lmx_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *dy,
                           ptrdiff_t dy_stride, const void *y, ptrdiff_t y_stride, void *dx,
                           ptrdiff_t dx_stride)
{
    return contiguous(ctx, LMX_ROW_softmax_vjp, dtype, rows, cols, dy, dy_stride, y, y_stride, dx,
                      dx_stride);
}

lmx_status lmx_log_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                               const void *dy, ptrdiff_t dy_stride, const void *y,
                               ptrdiff_t y_stride, void *dx, ptrdiff_t dx_stride)
{
    return contiguous(ctx, LMX_ROW_log_softmax_vjp, dtype, rows, cols, dy, dy_stride, y, y_stride,
                      dx, dx_stride);
}

lmx_status lmx_exp_sum(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *x,
                       ptrdiff_t x_stride, lmx_expsum *sum, ptrdiff_t sum_stride)
{
    return contiguous(ctx, LMX_ROW_exp_sum, dtype, rows, cols, x, x_stride, NULL, 0, sum,
                      sum_stride);
}

lmx_status lmx_spherical_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                 const void *x, ptrdiff_t x_stride, double eps, void *y,
                                 ptrdiff_t y_stride)
{
    return with_parameter(ctx, LMX_ROW_spherical_softmax, dtype, rows, cols, x, x_stride, NULL, 0,
                          eps, y, y_stride);
}

lmx_status lmx_taylor_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                              const void *x, ptrdiff_t x_stride, int order, void *y,
                              ptrdiff_t y_stride)
{
    return with_parameter(ctx, LMX_ROW_taylor_softmax, dtype, rows, cols, x, x_stride, NULL, 0,
                          order, y, y_stride);
}

lmx_status lmx_stablemax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *x,
                         ptrdiff_t x_stride, void *y, ptrdiff_t y_stride)
{
    return contiguous(ctx, LMX_ROW_stablemax, dtype, rows, cols, x, x_stride, NULL, 0, y, y_stride);
}

lmx_status lmx_log_stablemax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols, const void *x,
                             ptrdiff_t x_stride, void *y, ptrdiff_t y_stride)
{
    return contiguous(ctx, LMX_ROW_log_stablemax, dtype, rows, cols, x, x_stride, NULL, 0, y,
                      y_stride);
}

lmx_status lmx_spherical_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                     const void *dy, ptrdiff_t dy_stride, const void *x,
                                     ptrdiff_t x_stride, double eps, void *dx, ptrdiff_t dx_stride)
{
    return with_parameter(ctx, LMX_ROW_spherical_softmax_vjp, dtype, rows, cols, dy, dy_stride, x,
                          x_stride, eps, dx, dx_stride);
}

lmx_status lmx_taylor_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                  const void *dy, ptrdiff_t dy_stride, const void *x,
                                  ptrdiff_t x_stride, int order, void *dx, ptrdiff_t dx_stride)
{
    return with_parameter(ctx, LMX_ROW_taylor_softmax_vjp, dtype, rows, cols, dy, dy_stride, x,
                          x_stride, order, dx, dx_stride);
}

lmx_status lmx_stablemax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                             const void *dy, ptrdiff_t dy_stride, const void *x, ptrdiff_t x_stride,
                             void *dx, ptrdiff_t dx_stride)
{
    return contiguous(ctx, LMX_ROW_stablemax_vjp, dtype, rows, cols, dy, dy_stride, x, x_stride, dx,
                      dx_stride);
}

lmx_status lmx_log_stablemax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                 const void *dy, ptrdiff_t dy_stride, const void *x,
                                 ptrdiff_t x_stride, void *dx, ptrdiff_t dx_stride)
{
    return contiguous(ctx, LMX_ROW_log_stablemax_vjp, dtype, rows, cols, dy, dy_stride, x, x_stride,
                      dx, dx_stride);
}

/* -------------------------------------------------------- partial sums --- */

lmx_status lmx_expsum_merge(size_t n, const lmx_expsum *a, const lmx_expsum *b, lmx_expsum *out)
{
    if (n > 0 && (a == NULL || b == NULL || out == NULL))
        return LMX_ERR_NULL;
    const lmx_fpenv env = lmx_fpenv_enter();
    for (size_t i = 0; i < n; i++) {
        const lmx_total s = lmx_total_unpack(&a[i]), t = lmx_total_unpack(&b[i]);
        out[i] = lmx_total_pack(
            (lmx_total){ lmx_sum_add(s.fine, t.fine), lmx_sum_add(s.rounded, t.rounded) });
    }
    lmx_fpenv_leave(env);
    return LMX_OK;
}

lmx_status lmx_expsum_log(size_t n, const lmx_expsum *a, double *out)
{
    if (n > 0 && (a == NULL || out == NULL))
        return LMX_ERR_NULL;
    const lmx_fpenv env = lmx_fpenv_enter();
    for (size_t i = 0; i < n; i++) {
        const lmx_dd l = lmx_sum_log(lmx_total_unpack(&a[i]).fine);
        out[i] = l.hi + l.lo;
    }
    lmx_fpenv_leave(env);
    return LMX_OK;
}
