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
    size_t cols; /* of a row; or of all rows, taken as one */
    int direct;  /* elements are read and written where they are */
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

/* Rows that are a constant stride apart, those of one value of all outer axes but the last, at a time. */
static void compute_in_place(const cut *c, const lmx_block *e, lmx_piece *piece)
{
    const lmx_array *a = c->p->array;
    const size_t inner = c->p->space.n[c->p->space.outer - 1];
    for (int i = 0; i < LMX_ARRAYS; i++)
        piece->stride[i] =
            a[i].data != NULL ? a[i].stride[a[i].outer - 1] / (ptrdiff_t)a[i].size : 0;
    for (size_t r = 0; r < e->rows; r += piece->rows) {
        const size_t row = e->row + r, left = inner - row % inner;
        const char *at[LMX_ARRAYS];
        piece->rows = left < e->rows - r ? left : e->rows - r;
        for (int i = 0; i < LMX_ARRAYS; i++)
            at[i] = lmx_element_at(&a[i], lmx_row_at(&a[i], row), e->first);
        piece->dy = at[LMX_DY];
        piece->x = at[LMX_X];
        piece->up = at[LMX_UP];
        piece->out = (void *)(uintptr_t)at[LMX_OUT];
        piece->up_out = (void *)(uintptr_t)at[LMX_UP_OUT];
        c->p->compute(c->p->job, c->p->real, piece);
    }
}

/* As many elements as the buffers hold. */
static void compute_buffered(const cut *c, const lmx_block *e, unsigned worker, lmx_piece *piece)
{
    const lmx_array *a = c->p->array;
    char *x = c->buffers + (size_t)worker * 3 * c->buffer_size;
    char *dy = x + c->buffer_size, *up = dy + c->buffer_size;
    const lmx_passage back = { .rate = 1, .nontemporal = (c->how & LMX_HOW_STREAM) != 0 };
    lmx_load_rows(&a[LMX_X], *e, LMX_AS_IS, c->p->real, x);
    if (a[LMX_DY].data != NULL)
        lmx_load_rows(&a[LMX_DY], *e, LMX_AS_IS, c->p->real, dy);
    if (a[LMX_UP].data != NULL)
        lmx_load_rows(&a[LMX_UP], *e, LMX_AS_IS, c->p->real, up);
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
    c->p->compute(c->p->job, c->p->real, piece);
    lmx_store_rows(&a[LMX_OUT], *e, back, c->p->real, x);
    if (a[LMX_UP_OUT].data != NULL)
        lmx_store_rows(&a[LMX_UP_OUT], *e, back, c->p->real, up);
}

static void compute_gathered(const cut *c, const lmx_block *e, unsigned worker, lmx_piece *piece)
{
    const size_t most = c->gathered, unit = c->p->unit;
    const size_t rows = e->n < most ? most / e->n : 1;
    const size_t cols = e->n <= most ? e->n : most / unit * unit;
    for (size_t r = 0; r < e->rows; r += rows)
        for (size_t at = 0; at < e->n; at += cols) {
            const lmx_block part = { e->row + r, e->rows - r < rows ? e->rows - r : rows,
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
        const size_t left = c->cols - first, from = b * c->block;
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
            const lmx_block e = { row, to - row < c->group ? to - row : c->group, first, piece.n };
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

/* How rows and columns are cut: from the shape alone where there are sums. */
static void plan(cut *c, size_t workers)
{
    const lmx_pieces *p = c->p;
    const size_t cols = c->cols;
    c->chunk = p->unit >= LMX_CHUNK ? p->unit : LMX_CHUNK / p->unit * p->unit;
    c->chunk = c->chunk < cols ? c->chunk : cols;
    c->chunks = (cols - 1) / c->chunk + 1;
    c->group = c->block = cols >= LMX_CHUNK ? 1 : LMX_CHUNK / cols;
    if ((p->columns > 0 || p->sums > MANY_SUMS) && c->rows / COLUMN_BLOCKS >= c->block)
        c->block = c->rows / COLUMN_BLOCKS + 1;
    if (c->direct && p->sums == 0 && p->columns == 0) { /* any cut will do: more rows at once */
        const size_t share = c->rows / (8 * workers);
        const size_t most = share < LONG_RUN * c->group ? share : LONG_RUN * c->group;
        c->group = c->block = most > c->block ? most : c->block;
    }
    c->blocks = (c->rows - 1) / c->block + 1;
    c->gathered = c->group * c->chunk;
    if (p->sums == 0 && p->columns == 0 && c->gathered > GATHERED)
        c->gathered = p->unit > GATHERED ? p->unit : GATHERED;
    c->buffer_size = c->direct ? 0 : lmx_round_up(c->gathered * p->real->real_size);
    c->scratch_size = lmx_round_up(p->scratch);
}

/* Sums first, which are cleared, then buffers and scratch of each worker; NULL parts are not needed. */
static void divide(cut *c, size_t workers, lmx_arena *a)
{
    const lmx_pieces *p = c->p;
    const size_t tasks = c->blocks * c->chunks;
    lmx_dd *sums = lmx_arena_take(a, tasks * p->sums * sizeof *sums);
    lmx_dd *columns = lmx_arena_take(a, c->blocks * p->columns * sizeof *columns);
    c->sums = p->sums > 0 ? sums : NULL;
    c->columns = p->columns > 0 ? columns : NULL;
    c->buffers = lmx_arena_take(a, workers * 3 * c->buffer_size);
    c->scratch = lmx_arena_take(a, workers * c->scratch_size);
}

static lmx_status run(lmx_ctx *ctx, cut *c, double *sums, double *columns)
{
    lmx_pool *pool = ctx != NULL ? ctx->pool : NULL;
    const lmx_pieces *p = c->p;
    if (c->rows * c->cols <= 3 * LMX_CHUNK) /* not worth waking a thread for */
        pool = NULL;
    const size_t workers = pool != NULL ? lmx_pool_threads(pool) : 1;
    plan(c, workers);
    const size_t tasks = c->blocks * c->chunks;
    LMX_ALIGN(64) char small[2048]; /* small calls stay off the heap */
    void *to_free = NULL;
    lmx_arena parts = { NULL, 0 };
    divide(c, workers, &parts);
    parts =
        parts.used <= sizeof small ? (lmx_arena){ small, 0 } : lmx_arena_open(parts.used, &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    divide(c, workers, &parts);
    if (c->sums != NULL)
        memset(c->sums, 0, tasks * p->sums * sizeof *c->sums);
    if (c->columns != NULL)
        memset(c->columns, 0, c->blocks * p->columns * sizeof *c->columns);
    lmx_parallel_for(pool, tasks, 1, task, c);
    if (c->sums != NULL)
        merge(c->sums, tasks, p->sums, sums);
    if (c->columns != NULL)
        merge(c->columns, c->blocks, p->columns, columns);
    free(to_free);
    return LMX_OK;
}

lmx_status lmx_pieces_open(lmx_pieces *p, const lmx_ctx *ctx,
                           const lmx_view *const views[LMX_ARRAYS], uint64_t columns)
{
    /* Outputs may be inputs, element by element, and nothing else. */
    static const unsigned may_be[] = { (1u << LMX_OUT) - 1, (1u << LMX_OUT) - 1 };
    const lmx_tier *tier = lmx_ctx_tier(ctx);
    lmx_operand operands[LMX_ARRAYS];
    p->unit = 1;
    p->gathered = p->flat = 0;
    p->sums = p->columns = p->scratch = 0;
    for (int i = 0; i < LMX_ARRAYS; i++) {
        operands[i] = (lmx_operand){ views[i], LMX_FIT_SAME, LMX_HOLDS_REALS };
        const lmx_status wrong =
            views[i] == NULL ? LMX_OK : lmx_view_check(views[i], LMX_HOLDS_REALS);
        if (wrong != LMX_OK)
            return wrong;
    }
    const lmx_status status = lmx_space_open(&p->space, operands, LMX_ARRAYS, columns, columns != 0,
                                             LMX_OUT, tier, p->array);
    if (status != LMX_OK)
        return status;
    if (columns == 0)
        lmx_space_by_element(&p->space, LMX_ARRAYS, p->array);
    p->real = tier->table[views[LMX_X]->dtype == LMX_F64 ? LMX_F64 : LMX_F32];
    if (p->space.rows == 0 || p->space.cols == 0)
        return LMX_OK;
    const lmx_status missing = lmx_space_data(&p->space, operands, LMX_ARRAYS, p->array);
    return missing != LMX_OK ? missing : lmx_arrays_check(p->array, LMX_OUT, LMX_ARRAYS, may_be);
}

/* Whether elements of every array can be computed where they are. */
static int is_direct(const lmx_pieces *p, int *packed)
{
    int contiguous = 1, of_reals = 1;
    *packed = 1;
    for (int i = 0; i < LMX_ARRAYS; i++) {
        const lmx_array *a = &p->array[i];
        if (a->data == NULL)
            continue;
        *packed = *packed && lmx_rows_packed(a);
        contiguous = contiguous && lmx_row_contiguous(a);
        of_reals = of_reals && a->table == p->real;
    }
    /* Sums are those of groups of rows, so that rows with gaps are brought together for them. */
    const int alone = p->space.cols >= LMX_CHUNK || (p->sums == 0 && p->space.cols >= SHORT_ROW);
    return of_reals && !p->gathered && (*packed || (contiguous && alone));
}

lmx_status lmx_pieces_run(lmx_ctx *ctx, lmx_pieces *p, double *sums, double *columns)
{
    const size_t rows = p->space.rows, cols = p->space.cols;
    if (rows == 0 || cols == 0) {
        for (size_t i = 0; i < p->sums; i++)
            sums[i] = 0;
        for (size_t i = 0; i < p->columns; i++)
            columns[i] = 0;
        return LMX_OK;
    }
    cut c = { .p = p, .rows = rows, .cols = cols };
    int in_place = 0, packed;
    for (int i = 0; i < LMX_OUT; i++)
        for (int o = LMX_OUT; o < LMX_ARRAYS; o++)
            in_place |= p->array[i].data != NULL && p->array[i].data == p->array[o].data;
    c.direct = is_direct(p, &packed);
    if (packed && c.direct && p->flat && p->sums == 0 && p->columns == 0) { /* one long row */
        c.rows = 1;
        c.cols = rows * cols;
    }
    const size_t bytes = rows * cols * p->array[LMX_OUT].size;
    c.how = !in_place && bytes > lmx_cache_size() ? LMX_HOW_STREAM : 0; /* past the caches */
    return run(ctx, &c, sums, columns);
}
