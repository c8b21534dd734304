/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the activations: check, cut, hand out.  Rows are cut into blocks by the shape alone, and
 * what is summed over all elements is merged in the blocks' order.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "ctx.h"
#include "kernels.h"
#include "reach.h"

/* Sums by column are kept for so many blocks at most. */
#define BIAS_BLOCKS 64

/* Shorter rows are gathered into longer pieces, if they do not follow each other anyway. */
#define SHORT_ROW 128

typedef struct call {
    const lmx_unary_kernel *kernel, *real_kernel;
    const lmx_table *table, *real_table;
    lmx_shape shape;
    lmx_array dy, x, out; /* dy without data: forward */
    lmx_unary_options opt;
    double standard;
    int direct; /* elements are read and written in place, */
    int packed; /* those of a group of rows as one run */
    unsigned how;

    /* Rows in all, of a group that is computed at once, and of a block; chunks of a row. */
    size_t rows, group, block, blocks, chunks;
    size_t workers;
    char *scratch; /* not direct: reals of x and dy for each worker */
    size_t scratch_size;
    lmx_dd *sums;      /* by parameter, for each task */
    lmx_dd *bias_sums; /* by column, for each block */
} call;

static void add_bias(const call *c, size_t first, size_t rows, size_t n, void *z)
{
    if (c->real_table->real_size == 8) {
        const double *b = (const double *)c->opt.bias + first;
        for (double *v = z, *end = v + rows * n; v < end; v += n)
            for (size_t i = 0; i < n; i++)
                v[i] += b[i];
    } else {
        const float *b = (const float *)c->opt.bias + first;
        for (float *v = z, *end = v + rows * n; v < end; v += n)
            for (size_t i = 0; i < n; i++)
                v[i] += b[i];
    }
}

static void add_columns(const call *c, const void *dx, size_t rows, size_t n, lmx_dd *sums)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double v = c->real_table->real_size == 8 ? ((const double *)dx)[r * n + i]
                                                           : (double)((const float *)dx)[r * n + i];
            const lmx_dd s = lmx_two_sum(sums[i].hi, v);
            sums[i] = (lmx_dd){ s.hi, sums[i].lo + s.lo };
        }
}

static const char *piece_of(const lmx_array *a, const call *c, size_t row, size_t first)
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

/* Elements [first, first + n) of `rows` rows; sums of the piece go to *sums, a column's to columns[]. */
typedef struct {
    size_t row, rows, first, n;
} extent;

/* The elements as contiguous reals, or back. */
static void move(const call *c, const lmx_array *a, const extent *e, char *z, int back)
{
    const int one = packed(a, &c->shape) && e->n == c->shape.cols; /* run of elements */
    const lmx_gather g = { one ? 1 : a->stride[1], 1, 0, NULL, 0, 0 };
    const size_t n = one ? e->rows * e->n : e->n;
    for (size_t r = 0; r < (one ? 1 : e->rows); r++, z += n * c->table->real_size) {
        const char *at = piece_of(a, c, e->row + r, e->first);
        if (back)
            c->table->scatter(z, n, &g, (char *)(uintptr_t)at);
        else
            c->table->gather(at, n, &g, z);
    }
}

static void compute(const call *c, const lmx_unary_kernel *kernel, const void *dy, const void *x,
                    size_t n, void *out, unsigned how, lmx_dd *sums)
{
    const double *p = c->opt.parameter;
    const size_t np = c->opt.parameters;
    if (dy == NULL) {
        kernel->forward(x, n, p, np, out, how);
        return;
    }
    if (sums != NULL) {
        lmx_dd part[LMX_UNARY_PARAMETERS];
        kernel->sums(dy, x, n, p, np, part);
        for (size_t i = 0; i < np; i++)
            sums[i] = lmx_dd_add(sums[i], part[i]);
    }
    kernel->backward(dy, x, n, p, np, out, how);
}

static void piece(const call *c, const extent *e, unsigned worker, lmx_dd *sums, lmx_dd *columns)
{
    if (c->direct) {
        const size_t calls = c->packed ? 1 : e->rows, n = c->packed ? e->rows * e->n : e->n;
        for (size_t r = 0; r < calls; r++)
            compute(c, c->kernel, piece_of(&c->dy, c, e->row + r, e->first),
                    piece_of(&c->x, c, e->row + r, e->first), n,
                    (char *)(uintptr_t)piece_of(&c->out, c, e->row + r, e->first), c->how, sums);
        return;
    }
    char *z = c->scratch + (size_t)worker * 2 * c->scratch_size, *d = z + c->scratch_size;
    move(c, &c->x, e, z, 0);
    if (c->opt.bias != NULL)
        add_bias(c, e->first, e->rows, e->n, z);
    if (c->dy.data != NULL)
        move(c, &c->dy, e, d, 0);
    compute(c, c->real_kernel, c->dy.data != NULL ? d : NULL, z, e->rows * e->n, z, 0, sums);
    if (columns != NULL)
        add_columns(c, z, e->rows, e->n, columns);
    move(c, &c->out, e, z, 1);
}

/* Task i: chunk i % chunks of the rows of block i / chunks, a group of rows at a time. */
static void task(void *job, size_t begin, size_t end, unsigned worker)
{
    const call *c = job;
    for (size_t i = begin; i < end; i++) {
        const size_t b = i / c->chunks, first = i % c->chunks * LMX_CHUNK;
        const size_t left = c->shape.cols - first, from = b * c->block;
        const size_t to = c->rows - from < c->block ? c->rows : from + c->block;
        lmx_dd *sums = c->sums != NULL ? c->sums + i * c->opt.parameters : NULL;
        lmx_dd *columns = c->bias_sums != NULL ? c->bias_sums + b * c->shape.cols + first : NULL;
        for (size_t row = from; row < to; row += c->group) {
            const extent e = { row, to - row < c->group ? to - row : c->group, first,
                               left < LMX_CHUNK ? left : LMX_CHUNK };
            piece(c, &e, worker, sums, columns);
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

static lmx_status run(lmx_ctx *ctx, call *c)
{
    lmx_pool *pool = ctx != NULL ? ctx->pool : NULL;
    const size_t cols = c->shape.cols;
    c->rows = c->shape.rows * c->shape.inner;
    c->chunks = (cols - 1) / LMX_CHUNK + 1;
    c->group = c->block = cols >= LMX_CHUNK ? 1 : LMX_CHUNK / cols;
    if (c->opt.bias_grad != NULL && c->rows / BIAS_BLOCKS >= c->block)
        c->block = c->rows / BIAS_BLOCKS + 1;
    c->blocks = (c->rows - 1) / c->block + 1;
    const size_t tasks = c->blocks * c->chunks;
    if (tasks < 4) /* what is not worth waking a thread for */
        pool = NULL;
    c->workers = pool != NULL ? lmx_pool_threads(pool) : 1;
    const size_t most = c->group * (cols < LMX_CHUNK ? cols : LMX_CHUNK); /* elements of a piece */
    c->scratch_size = (most * c->table->real_size + 63) / 64 * 64;

    const size_t scratch = c->direct ? 0 : c->workers * 2 * c->scratch_size + 64;
    const size_t sums = c->opt.parameter_grad != NULL ? tasks * c->opt.parameters : 0;
    const size_t columns = c->opt.bias_grad != NULL ? c->blocks * cols : 0;
    char *memory = NULL;
    if (scratch + sums + columns > 0) {
        memory = calloc(scratch + (sums + columns) * sizeof(lmx_dd), 1);
        if (memory == NULL)
            return LMX_ERR_NOMEM;
    }
    c->sums = sums > 0 ? (lmx_dd *)(void *)memory : NULL;
    c->bias_sums = columns > 0 ? (lmx_dd *)(void *)memory + sums : NULL;
    char *const rest = memory == NULL ? NULL : memory + (sums + columns) * sizeof(lmx_dd);
    c->scratch = scratch > 0 ? rest + (64 - (uintptr_t)rest % 64) : NULL;

    lmx_parallel_for(pool, tasks, 1, task, c);
    if (c->sums != NULL)
        merge(c->sums, tasks, c->opt.parameters, c->opt.parameter_grad);
    if (c->bias_sums != NULL)
        merge(c->bias_sums, c->blocks, cols, c->opt.bias_grad);
    free(memory);
    return LMX_OK;
}

/* ------------------------------------------------------------ checking --- */

/* Of finite parameters: those that kernels computing in `most` or less can hold. */
static int fits(lmx_unary_code op, double most, const double *p, size_t n)
{
    if (op == LMX_UNARY_poly_relu) /* any values: NaN and inf act as they do in arithmetic */
        return p != NULL && n >= 2 && n <= LMX_UNARY_PARAMETERS;
    if (lmx_unary_info((int)op)->parameters[0] == 0)
        return n == 0;
    if (n != 1 || !(p[0] >= -most && p[0] <= most))
        return 0;
    switch (op) {
    case LMX_UNARY_relu_power:
        return p[0] >= 1 && p[0] <= 16 && p[0] == (double)(int)p[0];
    case LMX_UNARY_softplus: /* 1 / beta is a normal float too */
        return p[0] >= 1e-30 && p[0] <= 1e+30;
    default:
        return 1;
    }
}

static lmx_status check_options(call *c, lmx_unary_code op, lmx_dtype dtype, int backward,
                                const lmx_unary_options *o)
{
    memset(&c->opt, 0, sizeof c->opt);
    if (o != NULL) {
        if (o->size != sizeof *o)
            return LMX_ERR_ARG;
        c->opt = *o;
    }
    const lmx_unary_description *info = lmx_unary_info((int)op);
    if (c->opt.parameter == NULL && info->parameters[0] != 0 && op != LMX_UNARY_poly_relu) {
        c->standard = info->standard;
        c->opt.parameter = &c->standard;
        c->opt.parameters = 1;
    }
    if (!fits(op, dtype == LMX_F64 ? DBL_MAX : (double)FLT_MAX, c->opt.parameter,
              c->opt.parameters))
        return LMX_ERR_ARG;
    if (!backward)
        c->opt.parameter_grad = c->opt.bias_grad = NULL;
    if (c->opt.parameter_grad != NULL && !info->learned)
        return LMX_ERR_OP;
    if (c->opt.bias_grad != NULL && c->opt.bias == NULL)
        return LMX_ERR_NULL;
    if (c->opt.bias != NULL && c->shape.inner != 1)
        return LMX_ERR_SHAPE;
    return LMX_OK;
}

static lmx_array array_of(const void *data, size_t size, const lmx_shape *s, const lmx_strides *t)
{
    return (lmx_array){ data, size, { s->rows, s->cols, s->inner }, { t->row, t->col, t->inner } };
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype,
                                const lmx_shape *shape, int backward, const void *dy,
                                const lmx_strides *dy_strides, const void *x,
                                const lmx_strides *x_strides, const lmx_unary_options *options,
                                void *out, const lmx_strides *out_strides)
{
    call c;
    if ((unsigned)op >= LMX_UNARY_COUNT)
        return LMX_ERR_OP;
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    if (shape == NULL || x_strides == NULL || out_strides == NULL ||
        (backward && dy_strides == NULL))
        return LMX_ERR_NULL;
    c.shape = *shape;
    const lmx_status status = check_options(&c, op, dtype, backward, options);
    if (status != LMX_OK)
        return status;
    if (shape->rows == 0 || shape->inner == 0 || shape->cols == 0) {
        for (size_t i = 0; c.opt.parameter_grad != NULL && i < c.opt.parameters; i++)
            c.opt.parameter_grad[i] = 0;
        for (size_t i = 0; c.opt.bias_grad != NULL && i < shape->cols; i++)
            c.opt.bias_grad[i] = 0;
        return LMX_OK;
    }
    if (x == NULL || out == NULL || (backward && dy == NULL))
        return LMX_ERR_NULL;

    const lmx_tier *tier = ctx != NULL ? ctx->tier : lmx_tier_default();
    c.table = tier->table[dtype];
    c.real_table = c.table->real_size == 8 ? tier->table[LMX_F64] : tier->table[LMX_F32];
    c.kernel = c.table->unary[op];
    c.real_kernel = c.real_table->unary[op];
    static const lmx_strides none = { 0, 0, 0 };
    const size_t size = c.table->elem_size;
    c.x = array_of(x, size, shape, x_strides);
    c.dy = array_of(backward ? dy : NULL, size, shape, backward ? dy_strides : &none);
    c.out = array_of(out, size, shape, out_strides);
    if (!lmx_array_fits(&c.x) || !lmx_array_fits(&c.dy) || !lmx_array_fits(&c.out))
        return LMX_ERR_OVERFLOW;
    if (!lmx_array_aligned(&c.x) || !lmx_array_aligned(&c.dy) || !lmx_array_aligned(&c.out))
        return LMX_ERR_ALIGN;
    if (!lmx_array_distinct(&c.out))
        return LMX_ERR_STRIDE;
    const int is_x = lmx_array_same(&c.out, &c.x),
              is_dy = backward && lmx_array_same(&c.out, &c.dy);
    if ((!is_x && lmx_array_overlap(&c.out, &c.x)) ||
        (backward && !is_dy && lmx_array_overlap(&c.out, &c.dy)))
        return LMX_ERR_OVERLAP;

    /* Sums are those of groups of rows, so that rows with gaps are brought together for them. */
    c.packed = packed(&c.x, shape) && packed(&c.dy, shape) && packed(&c.out, shape);
    const int rows = in_rows(&c.x, shape) && in_rows(&c.dy, shape) && in_rows(&c.out, shape);
    const int alone =
        shape->cols >= LMX_CHUNK || (c.opt.parameter_grad == NULL && shape->cols >= SHORT_ROW);
    c.direct = c.opt.bias == NULL && (c.packed || (rows && alone));
    if (c.packed && c.direct && c.opt.parameter_grad == NULL) /* one long row */
        c.shape = (lmx_shape){ 1, shape->rows * shape->cols, 1 };
    /* Beyond the caches, past them. */
    const size_t bytes = shape->rows * shape->inner * shape->cols * size;
    c.how = !is_x && !is_dy && bytes > lmx_cache_size() ? LMX_HOW_STREAM : 0;
    return run(ctx, &c);
}

lmx_status lmx_unary(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype, const lmx_shape *shape,
                     const void *x, const lmx_strides *x_strides, const lmx_unary_options *options,
                     void *y, const lmx_strides *y_strides)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_status status =
        check_and_run(ctx, op, dtype, shape, 0, NULL, NULL, x, x_strides, options, y, y_strides);
    lmx_fpenv_leave(env);
    return status;
}

lmx_status lmx_unary_vjp(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype, const lmx_shape *shape,
                         const void *dy, const lmx_strides *dy_strides, const void *x,
                         const lmx_strides *x_strides, const lmx_unary_options *options, void *dx,
                         const lmx_strides *dx_strides)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_status status = check_and_run(ctx, op, dtype, shape, 1, dy, dy_strides, x, x_strides,
                                            options, dx, dx_strides);
    lmx_fpenv_leave(env);
    return status;
}
