/* SPDX-License-Identifier: Apache-2.0 */
/* Reduced axes in front of one whose elements follow each other: columns that lie side by side, a strip at a time. */
#include "exec/row_call.h"

#include <string.h>

/* The extent of the axis along which columns lie side by side. */
static size_t width_of(const lmx_row_call *c) { return c->space.n[c->space.outer - 1]; }

/* Element `first` of the row of column j of outer index r. */
static const char *at_column(const lmx_row_call *c, const lmx_array *x, size_t r, size_t j,
                             size_t first)
{
    return lmx_element_at(x, lmx_row_at(x, r * width_of(c) + j), first);
}

/* Of the strips that one outer index is cut into; the first is shorter where that makes the others
 * start at a line of the input. */
static size_t strip_begin(const lmx_row_call *c, size_t s)
{
    const size_t at = s == 0 ? 0 : c->first_cols + (s - 1) * c->strip_cols;
    return at < width_of(c) ? at : width_of(c);
}

/* A strip of columns at work. */
typedef struct strip {
    lmx_row_call *c;
    size_t r, j0, width; /* columns j0 ... j0 + width of outer index r */
    unsigned worker;
    lmx_chunk *chunk;  /* those of each column, one column behind the other */
    lmx_chunk *across; /* one chunk of each column */
    char *kept;        /* NULL: nothing is kept */
    size_t kept_row;
    lmx_norm norms[LMX_COLUMNS];
    unsigned char by_rows[LMX_COLUMNS]; /* columns that need the row kernel */
} strip;

/* The row that column j of the strip is. */
static size_t row_of(const strip *s, size_t j) { return s->r * width_of(s->c) + s->j0 + j; }

static char *block_of(const strip *s, int second)
{
    return s->c->blocks + ((size_t)s->worker * 2 + (size_t)second) * s->c->block_size;
}

/* Columns j ... j + n of chunk i of x as reals, in rows of kept_row; or with `back` from there to x. */
static void convert_block(const strip *s, const lmx_array *x, size_t i, size_t j, size_t n, char *z,
                          int back)
{
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    const lmx_row_call *c = s->c;
    const size_t rows = lmx_chunk_len(&c->drive, i), step = s->kept_row * c->table->real_size;
    const char *at = at_column(c, x, s->r, s->j0 + j, i * LMX_CHUNK);
    for (size_t k = 0; k < rows; k++, z += step, at += x->stride[x->outer])
        if (back)
            c->table->scatter(z, n, &as_is, (char *)(uintptr_t)at);
        else
            c->table->gather(at, n, &as_is, z);
}

/* From one element of a column to the next, in elements. */
static ptrdiff_t step_of(const lmx_array *x)
{
    return x->data == NULL ? 0 : x->stride[x->outer] / (ptrdiff_t)x->size;
}

/* The block for the column kernels: chunk i, columns j ... j + n: elements, or reals made of them. */
static lmx_columns columns_of(const strip *s, size_t i, size_t j, size_t n)
{
    const lmx_row_call *c = s->c;
    const lmx_array *a = &c->array[LMX_ROW_A], *b = &c->array[LMX_ROW_B];
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    const size_t first = i * LMX_CHUNK, real_size = c->table->real_size;
    lmx_columns k = { .cols = lmx_chunk_len(&c->drive, i),
                      .width = n,
                      .lanes = c->lanes + (size_t)s->worker * LMX_COLUMNS_LANES,
                      .scratch_stride = s->kept_row,
                      .how = c->drive.plan.how };
    if (c->converted) {
        k.a = block_of(s, 0);
        k.b = c->info->inputs > 1 ? block_of(s, 1) : NULL;
        k.a_stride = k.b_stride = k.out_stride = (ptrdiff_t)s->kept_row;
        k.out = block_of(s, 0);
        k.how = 0;
    } else {
        k.a = at_column(c, a, s->r, s->j0 + j, first);
        k.b = at_column(c, b, s->r, s->j0 + j, first);
        k.a_stride = step_of(a);
        k.b_stride = step_of(b);
        k.out_stride = lmx_row_yields_row(c) ? step_of(out) : 0;
    }
    if (s->kept != NULL)
        k.scratch = s->kept + (first * s->kept_row + j) * real_size;
    return k;
}

static void convert_inputs(const strip *s, size_t i, size_t j, size_t n)
{
    const lmx_row_call *c = s->c;
    if (!c->converted)
        return;
    convert_block(s, &c->array[LMX_ROW_A], i, j, n, block_of(s, 0), 0);
    if (c->info->inputs > 1)
        convert_block(s, &c->array[LMX_ROW_B], i, j, n, block_of(s, 1), 0);
}

static void measure_strip(strip *s)
{
    lmx_row_call *c = s->c;
    for (size_t i = 0; i < c->drive.chunks; i++) {
        convert_inputs(s, i, 0, s->width);
        const lmx_columns k = columns_of(s, i, 0, s->width);
        c->kernel->measure_columns(&k, s->across);
        for (size_t j = 0; j < s->width; j++) {
            s->chunk[j * c->drive.chunks + i] = s->across[j];
            if (s->across[j].kind >= 0)
                continue;
            lmx_row w;
            lmx_row_begin(&w, c, row_of(s, j), s->chunk + j * c->drive.chunks);
            lmx_row_measure(&w, i, s->worker);
            s->by_rows[j] = 1; /* what was kept is not relative to what this found */
        }
    }
}

static void fold_strip(strip *s)
{
    lmx_row_call *c = s->c;
    for (size_t j = 0; j < s->width; j++) {
        lmx_norm *norm = &s->norms[j];
        memset(norm, 0, sizeof *norm);
        norm->rate = 1;
        lmx_row_fold(c, row_of(s, j), s->chunk + j * c->drive.chunks, norm);
        if (norm->kind != LMX_KIND_PLAIN)
            s->by_rows[j] = 1; /* filled, not computed: NaN in is not the NaN that goes out */
        if (!lmx_row_yields_row(c))
            lmx_row_put(c, row_of(s, j), norm);
    }
}

/* Columns j ... j + n, which the column kernel can write. */
static void apply_strip(const strip *s, size_t j, size_t n)
{
    const lmx_row_call *c = s->c;
    const lmx_array *out = &c->array[LMX_ROW_OUT];
    for (size_t i = 0; i < c->drive.chunks; i++) {
        for (size_t q = 0; q < n; q++)
            s->across[q] = s->chunk[(j + q) * c->drive.chunks + i];
        if (s->kept == NULL && (c->drive.chunks > 1 || n < s->width)) /* else it is still there */
            convert_inputs(s, i, j, n);
        lmx_columns k = columns_of(s, i, j, n);
        if (!c->converted)
            k.out = (char *)(uintptr_t)at_column(c, out, s->r, s->j0 + j, i * LMX_CHUNK);
        c->kernel->apply_columns(&k, s->across, s->norms + j);
        if (c->converted)
            convert_block(s, out, i, j, n, k.out, 1);
    }
}

/* Writes the strip: column by column where the row kernel is needed, the others in runs. */
static void write_strip(strip *s)
{
    lmx_row_call *c = s->c;
    for (size_t j = 0; j < s->width; j++)
        if (s->by_rows[j]) {
            lmx_row w;
            lmx_row_begin(&w, c, row_of(s, j), s->chunk + j * c->drive.chunks);
            w.norm = s->norms[j];
            for (size_t i = 0; i < c->drive.chunks; i++)
                lmx_row_apply(&w, i, s->worker, 0);
        }
    for (size_t j = 0, run; j < s->width; j += run) {
        run = 1;
        while (j + run < s->width && s->by_rows[j + run] == s->by_rows[j])
            run++;
        if (!s->by_rows[j])
            apply_strip(s, j, run);
    }
}

void lmx_row_columns_task(void *call, size_t begin, size_t end, unsigned worker)
{
    lmx_row_call *c = call;
    for (size_t at = begin; at < end; at++) {
        strip s;
        s.c = c;
        s.r = at / c->strips;
        s.j0 = strip_begin(c, at % c->strips);
        s.width = strip_begin(c, at % c->strips + 1) - s.j0;
        s.worker = worker;
        s.chunk = c->chunk + (size_t)worker * c->chunk_count;
        s.across = s.chunk + LMX_COLUMNS * c->drive.chunks;
        s.kept = c->keep_size == 0 ? NULL : c->keep + (size_t)worker * c->keep_size;
        s.kept_row = (s.width + 15) / 16 * 16;
        memset(s.by_rows, 0, sizeof s.by_rows);
        measure_strip(&s);
        fold_strip(&s);
        if (lmx_row_yields_row(c))
            write_strip(&s);
    }
}

/* Or, for long columns, a strip is at least a line wide. */
void lmx_row_plan_strips(lmx_row_call *c)
{
    enum { KEEP = 512 << 10, KEEP_MAX = 16 << 20 };
    const lmx_array *a = &c->array[LMX_ROW_A];
    const size_t line = 64 / c->table->elem_size, cols = c->space.cols, width = width_of(c);
    const size_t real_size = c->table->real_size;
    size_t cols_of_strip = LMX_COLUMNS;
    c->converted = c->kernel->elem_size != c->table->elem_size;
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
    if ((size_t)step_of(a) % line == 0 && width > cols_of_strip) {
        const size_t past = (size_t)((uintptr_t)a->data % 64) / c->table->elem_size;
        first = past == 0 ? cols_of_strip : line - past;
    }
    c->strip_cols = cols_of_strip;
    c->first_cols = first;
    c->strips = width <= first ? 1 : (width - first - 1) / cols_of_strip + 2;
}
