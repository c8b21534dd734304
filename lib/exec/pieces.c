/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/pieces.h"

#include <stdlib.h>
#include <string.h>

#include "platform/cpu.h"
#include "base/arena.h"
#include "exec/reach.h"

/* Sums by column are kept for so many blocks at most, and so are long lists of sums. */
#define COLUMN_BLOCKS 64
#define MANY_SUMS     16

/* Pieces without sums are handed out in so many groups of rows, where there is enough of it. */
#define LONG_RUN 64

/* Elements that are gathered at a time where no sum depends on it: x, dy and up stay in the first-level cache. */
#define GATHERED 2048

/* Shorter rows are gathered into longer pieces, if they do not follow each other anyway. */
#define SHORT_ROW 128

typedef struct cut {
    const lmx_pieces *p;
    lmx_shape shape;
    int direct; /* elements are read and written where they are */
    int packed; /* they follow each other, through all rows */
    unsigned how;

    /* Rows in all, of a group that is computed at once, and of a block; columns of a chunk; chunks of a row. */
    size_t rows, group, block, blocks, chunk, chunks;
    char *buffers; /* not direct: reals of x, dy and up for each worker, so many elements of each */
    size_t buffer_size, gathered;
    char *scratch;
    size_t scratch_size;
    lmx_dd *sums;    /* for each task */
    lmx_dd *columns; /* for each block */
} cut;

static const char *piece_of(const lmx_array *a, const cut *c, size_t row, size_t first)
{
    if (a->data == NULL)
        return NULL;
    return lmx_row_at(a, row / c->shape.inner, row % c->shape.inner) +
           (ptrdiff_t)first * a->stride[1] * (ptrdiff_t)a->size;
}

/* Each element follows the one before it in memory: rows, then what is inside. */
static int packed(const lmx_array *a, const lmx_shape *s)
{
    return a->data == NULL || (s->inner == 1 && (s->cols == 1 || a->stride[1] == 1) &&
                               (s->rows == 1 || a->stride[0] == (ptrdiff_t)s->cols));
}

static int in_rows(const lmx_array *a, const lmx_shape *s)
{
    return a->data == NULL || s->cols == 1 || a->stride[1] == 1;
}

/* Elements [first, first + n) of `rows` rows. */
typedef struct {
    size_t row, rows, first, n;
} extent;

/* The elements as contiguous reals, or back. */
static void move(const cut *c, const lmx_array *a, const extent *e, char *z, int back)
{
    const lmx_table *table = c->p->table;
    const int one = packed(a, &c->shape) && e->n == c->shape.cols; /* run of elements */
    const lmx_gather g = { .stride = one ? 1 : a->stride[1],
                           .rate = 1,
                           .stream = back && (c->how & LMX_HOW_STREAM) != 0 };
    const size_t n = one ? e->rows * e->n : e->n;
    for (size_t r = 0; r < (one ? 1 : e->rows); r++, z += n * table->real_size) {
        const char *at = piece_of(a, c, e->row + r, e->first);
        if (back)
            table->scatter(z, n, &g, (char *)(uintptr_t)at);
        else
            table->gather(at, n, &g, z);
    }
}

static void compute_in_place(const cut *c, const extent *e, lmx_piece *piece)
{
    const lmx_array *a = c->p->array;
    /* rows with an inner axis have no common stride: one by one */
    const size_t step = c->shape.inner == 1 ? e->rows : 1;
    piece->rows = step;
    for (int i = 0; i < LMX_ARRAYS; i++)
        piece->stride[i] = a[i].data != NULL ? a[i].stride[0] : 0;
    for (size_t r = 0; r < e->rows; r += step) {
        piece->dy = piece_of(&a[LMX_DY], c, e->row + r, e->first);
        piece->x = piece_of(&a[LMX_X], c, e->row + r, e->first);
        piece->up = piece_of(&a[LMX_UP], c, e->row + r, e->first);
        piece->out = (void *)(uintptr_t)piece_of(&a[LMX_OUT], c, e->row + r, e->first);
        piece->up_out = (void *)(uintptr_t)piece_of(&a[LMX_UP_OUT], c, e->row + r, e->first);
        c->p->compute(c->p->job, c->p->table, piece);
    }
}

/* As many elements as the buffers hold. */
static void compute_buffered(const cut *c, const extent *e, unsigned worker, lmx_piece *piece)
{
    const lmx_array *a = c->p->array;
    char *x = c->buffers + (size_t)worker * 3 * c->buffer_size;
    char *dy = x + c->buffer_size, *up = dy + c->buffer_size;
    move(c, &a[LMX_X], e, x, 0);
    if (a[LMX_DY].data != NULL)
        move(c, &a[LMX_DY], e, dy, 0);
    if (a[LMX_UP].data != NULL)
        move(c, &a[LMX_UP], e, up, 0);
    piece->rows = e->rows;
    piece->first = e->first;
    piece->n = e->n;
    for (int i = 0; i < LMX_ARRAYS; i++)
        piece->stride[i] = (ptrdiff_t)e->n;
    piece->dy = a[LMX_DY].data != NULL ? dy : NULL;
    piece->x = piece->out = x;
    piece->up = a[LMX_UP].data != NULL ? up : NULL;
    piece->up_out = a[LMX_UP_OUT].data != NULL ? up : NULL;
    piece->how = 0;
    c->p->compute(c->p->job, c->p->real_table, piece);
    move(c, &a[LMX_OUT], e, x, 1);
    if (a[LMX_UP_OUT].data != NULL)
        move(c, &a[LMX_UP_OUT], e, up, 1);
}

static void compute_gathered(const cut *c, const extent *e, unsigned worker, lmx_piece *piece)
{
    const size_t most = c->gathered, unit = c->p->unit;
    const size_t rows = e->n < most ? most / e->n : 1;
    const size_t cols = e->n <= most ? e->n : most / unit * unit;
    for (size_t r = 0; r < e->rows; r += rows)
        for (size_t at = 0; at < e->n; at += cols) {
            const extent part = { e->row + r, e->rows - r < rows ? e->rows - r : rows,
                                  e->first + at, e->n - at < cols ? e->n - at : cols };
            compute_buffered(c, &part, worker, piece);
        }
}

/* Task i: chunk i % chunks of the rows of block i / chunks, a group of rows at a time. */
static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const cut *c = job;
    for (size_t i = begin; i < end; i++) {
        const size_t b = i / c->chunks, first = i % c->chunks * c->chunk;
        const size_t left = c->shape.cols - first, from = b * c->block;
        const size_t to = c->rows - from < c->block ? c->rows : from + c->block;
        lmx_piece piece;
        piece.first = first;
        piece.n = left < c->chunk ? left : c->chunk;
        piece.how = c->how;
        piece.sums = c->sums != NULL ? c->sums + i * c->p->sums : NULL;
        piece.columns = c->columns != NULL ? c->columns + b * c->p->columns : NULL;
        piece.scratch = NULL;
        if (c->scratch_size > 0)
            piece.scratch = c->scratch + (size_t)worker * c->scratch_size;
        for (size_t row = from; row < to; row += c->group) {
            const extent e = { row, to - row < c->group ? to - row : c->group, first, piece.n };
            if (c->direct)
                compute_in_place(c, &e, &piece);
            else
                compute_gathered(c, &e, worker, &piece);
        }
    }
}

/* out[i] = the sum over k of parts[k * n + i] */
static void merge(const lmx_dd *parts, size_t count, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        lmx_dd s = { 0, 0 };
        for (size_t k = 0; k < count; k++)
            s = lmx_dd_add(s, parts[k * n + i]);
        /* of inf, lo is NaN; a NaN may have any payload */
        out[i] = lmx_finite(s.hi) ? s.hi + s.lo : s.hi == s.hi ? s.hi : lmx_qnan();
    }
}

static lmx_status run(lmx_ctx *ctx, cut *c, double *sums, double *columns)
{
    lmx_pool *pool = ctx != NULL ? ctx->pool : NULL;
    const lmx_pieces *p = c->p;
    const size_t cols = c->shape.cols;
    c->rows = c->shape.rows * c->shape.inner;
    c->chunk = p->unit >= LMX_CHUNK ? p->unit : LMX_CHUNK / p->unit * p->unit;
    c->chunk = c->chunk < cols ? c->chunk : cols;
    c->chunks = (cols - 1) / c->chunk + 1;
    c->group = c->block = cols >= LMX_CHUNK ? 1 : LMX_CHUNK / cols;
    if ((p->columns > 0 || p->sums > MANY_SUMS) && c->rows / COLUMN_BLOCKS >= c->block)
        c->block = c->rows / COLUMN_BLOCKS + 1;
    if (c->rows * cols <= 3 * LMX_CHUNK) /* not worth waking a thread for */
        pool = NULL;
    const size_t workers = pool != NULL ? lmx_pool_threads(pool) : 1;
    if (c->direct && p->sums == 0 && p->columns == 0) { /* any cut will do: more rows at once */
        const size_t share = c->rows / (8 * workers);
        const size_t most = share < LONG_RUN * c->group ? share : LONG_RUN * c->group;
        c->group = c->block = most > c->block ? most : c->block;
    }
    c->blocks = (c->rows - 1) / c->block + 1;
    const size_t tasks = c->blocks * c->chunks;

    c->gathered = c->group * c->chunk;
    if (p->sums == 0 && p->columns == 0 && c->gathered > GATHERED)
        c->gathered = p->unit > GATHERED ? p->unit : GATHERED;
    c->buffer_size = c->direct ? 0 : lmx_round_up(c->gathered * p->table->real_size);
    c->scratch_size = lmx_round_up(p->scratch);
    const size_t per_worker = 3 * c->buffer_size + c->scratch_size;
    const size_t parts = tasks * p->sums + c->blocks * p->columns;
    char *memory = NULL;
    c->buffers = c->scratch = NULL;
    c->sums = c->columns = NULL;
    if (per_worker + parts > 0) {
        memory = calloc(workers * per_worker + 64 + parts * sizeof(lmx_dd), 1);
        if (memory == NULL)
            return LMX_ERR_NOMEM;
        lmx_dd *const first = (lmx_dd *)(void *)memory;
        c->sums = p->sums > 0 ? first : NULL;
        c->columns = p->columns > 0 ? first + tasks * p->sums : NULL;
        char *const rest = memory + parts * sizeof(lmx_dd);
        c->buffers = rest + (64 - (uintptr_t)rest % 64);
        c->scratch = c->buffers + workers * 3 * c->buffer_size;
    }
    lmx_parallel_for(pool, tasks, 1, task, c);
    if (c->sums != NULL)
        merge(c->sums, tasks, p->sums, sums);
    if (c->columns != NULL)
        merge(c->columns, c->blocks, p->columns, columns);
    free(memory);
    return LMX_OK;
}

void lmx_pieces_open(lmx_pieces *p, const lmx_ctx *ctx, lmx_dtype dtype, const lmx_shape *shape)
{
    memset(p, 0, sizeof *p);
    const lmx_tier *tier = lmx_ctx_tier(ctx);
    p->table = tier->table[dtype];
    p->real_table = p->table->real_size == 8 ? tier->table[LMX_F64] : tier->table[LMX_F32];
    p->shape = *shape;
    p->unit = 1;
}

void lmx_pieces_array(lmx_pieces *p, int which, const void *data, const lmx_strides *strides)
{
    p->array[which] = lmx_array_of(data, p->table->elem_size, &p->shape, strides);
}

/* Outputs may be inputs, element by element, and nothing else. */
static lmx_status check(const lmx_array *a)
{
    static const unsigned may_be[] = { (1u << LMX_OUT) - 1, (1u << LMX_OUT) - 1 };
    for (int i = 0; i < LMX_ARRAYS; i++)
        if (a[i].size != 0 && a[i].data == NULL)
            return LMX_ERR_NULL;
    return lmx_arrays_check(a, LMX_OUT, LMX_ARRAYS, may_be);
}

lmx_status lmx_pieces_run(lmx_ctx *ctx, lmx_pieces *p, double *sums, double *columns)
{
    const lmx_shape *shape = &p->shape;
    if (shape->rows == 0 || shape->inner == 0 || shape->cols == 0) {
        for (size_t i = 0; i < p->sums; i++)
            sums[i] = 0;
        for (size_t i = 0; i < p->columns; i++)
            columns[i] = 0;
        return LMX_OK;
    }
    const lmx_status status = check(p->array);
    if (status != LMX_OK)
        return status;

    cut c;
    c.p = p;
    c.shape = *shape;
    c.packed = 1;
    int rows = 1, in_place = 0;
    size_t bytes = 0;
    for (int i = 0; i < LMX_ARRAYS; i++) {
        const lmx_array *a = &p->array[i];
        c.packed = c.packed && packed(a, shape);
        rows = rows && in_rows(a, shape);
        if (a->size != 0)
            bytes = shape->rows * shape->inner * shape->cols * a->size;
        for (int o = LMX_OUT; o < LMX_ARRAYS && i < LMX_OUT; o++)
            in_place |= a->size != 0 && p->array[o].size != 0 && a->data == p->array[o].data;
    }
    /* Sums are those of groups of rows, so that rows with gaps are brought together for them. */
    const int alone = shape->cols >= LMX_CHUNK || (p->sums == 0 && shape->cols >= SHORT_ROW);
    c.direct = p->table == p->real_table && !p->gathered && (c.packed || (rows && alone));
    if (c.packed && c.direct && p->flat && p->sums == 0 && p->columns == 0) /* one long row */
        c.shape = (lmx_shape){ 1, shape->rows * shape->cols, 1 };
    c.how = !in_place && bytes > lmx_cache_size() ? LMX_HOW_STREAM : 0; /* past the caches */
    return run(ctx, &c, sums, columns);
}
