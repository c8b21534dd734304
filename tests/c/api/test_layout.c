/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmx_row_op on any layout and with every option: strides of any size and sign, axes
 * in any order, broadcast inputs, in place, blocks of columns, on every tier and with
 * threads.  Each row must have the bits that the portable tier gives for it alone,
 * contiguous and with the same options (promises P3 and P4), and nothing between the
 * elements may be touched.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

#define MAX_CTX 8

static lmx_ctx *ctx_of[MAX_CTX]; /* the last is portable, with one thread */
static size_t n_ctx;

/* Where the elements of an array of a shape are, in elements from `first`. */
typedef struct layout {
    strided_steps stride;
    size_t span;  /* elements from the lowest address to the highest, both included */
    size_t first; /* element (0, 0, 0) counted from the lowest address */
} layout;

static ptrdiff_t place(const layout *l, size_t r, size_t c, size_t j)
{
    return (ptrdiff_t)l->first + (ptrdiff_t)r * l->stride.row + (ptrdiff_t)c * l->stride.col +
           (ptrdiff_t)j * l->stride.inner;
}

static size_t count_of(const strided_shape *s) { return s->rows * s->cols * s->inner; }

/* Axes in random order with random gaps and signs; broadcast: some strides become 0. */
static layout random_layout(check_random *r, const strided_shape *shape, bool broadcast)
{
    static const unsigned char order[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                               { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    const size_t extent[3] = { shape->rows, shape->cols, shape->inner };
    ptrdiff_t stride[3];
    layout l = { { 0, 0, 0 }, 1, 0 };
    /* Half of them C-contiguous, where the fast paths are. */
    const bool plain = check_below(r, 2) == 0;
    const unsigned char *const axes = order[plain ? 0 : check_below(r, 6)];
    size_t step = 1;
    for (int k = 2; k >= 0; k--) {
        const size_t axis = axes[k];
        if (!plain) {
            static const size_t gaps[] = { 0, 0, 0, 1, 2, 6, 16 };
            step += gaps[check_below(r, 7)] * (check_below(r, 2) + (k == 2));
        } else if (axis == 0) {
            step += check_below(r, 3) * 5; /* padded rows are still contiguous ones */
        }
        stride[axis] = (ptrdiff_t)step;
        if (broadcast && check_below(r, 6) == 0)
            stride[axis] = 0;
        else
            step = step * (extent[axis] != 0 ? extent[axis] : 1);
        if (extent[axis] > 1) {
            l.span += (extent[axis] - 1) * (size_t)stride[axis];
            if (!plain && check_below(r, 4) == 0) {
                l.first += (extent[axis] - 1) * (size_t)stride[axis];
                stride[axis] = -stride[axis];
            }
        } else if (check_below(r, 4) == 0) {
            stride[axis] = 999; /* never used: there is one element */
        }
    }
    l.stride = (strided_steps){ stride[0], stride[1], stride[2] };
    if (count_of(shape) == 0)
        l.span = l.first = 0;
    return l;
}

/* ------------------------------------------------------------------ a case --- */

typedef struct options_case {
    strided_options options;
    double *temperature; /* by r * inner + j; the stored ones may be one for all */
    unsigned char *keep;
    layout keep_layout;
    lmx_expsum *total;
} options_case;

static void *get_memory(size_t n)
{
    void *const p = malloc(n + 1);
    if (p == NULL)
        exit(3);
    return p;
}

/* Options among those that an operation takes; none of those that take one has a parameter. */
static options_case random_options(check_random *r, unsigned takes, const strided_shape *shape,
                                   lmx_dtype dtype)
{
    options_case o;
    memset(&o, 0, sizeof o);
    o.options = row_options(LMX_ROW_softmax);
    const size_t rows = shape->rows * shape->inner;
    o.temperature = get_memory(rows * sizeof *o.temperature);
    o.total = get_memory(rows * sizeof *o.total);
    o.keep = NULL;
    if ((takes & LMX_TAKES_TOTAL) != 0 && check_below(r, 4) == 0) {
        for (size_t i = 0; i < rows; i++)
            o.total[i] = (lmx_expsum){ .mantissa = check_uniform(r, 0.5, 1),
                                       .tail = check_uniform(r, -1, 1) * 0x1p-54,
                                       .exponent = (int64_t)check_below(r, 60) - 10 };
        if (rows != 0 && check_below(r, 3) == 0)
            o.total[check_below(r, rows)] = (lmx_expsum){ .mantissa = 0 };
        o.options.total = o.total;
        o.options.total_row = (ptrdiff_t)shape->inner;
        o.options.total_inner = 1;
        return o;
    }
    if ((takes & LMX_TAKES_TEMPERATURE) != 0 && check_below(r, 2) == 0) {
        const bool scalar = check_below(r, 2) == 0;
        for (size_t i = 0; i < rows; i++)
            o.temperature[i] = scalar && i > 0
                                   ? o.temperature[0]
                                   : ldexp(check_uniform(r, 0.5, 1), (int)check_below(r, 8) - 3);
        o.options.temperature = o.temperature;
        o.options.temperature_row = scalar ? 0 : (ptrdiff_t)shape->inner;
        o.options.temperature_inner = scalar ? 0 : 1;
    }
    if ((takes & LMX_TAKES_WHERE) != 0 && check_below(r, 2) == 0) {
        o.keep_layout = random_layout(r, shape, true);
        o.keep = get_memory(o.keep_layout.span);
        const size_t density = check_below(r, 4); /* of 3: none, some, most, all */
        for (size_t i = 0; i < o.keep_layout.span; i++)
            o.keep[i] = (unsigned char)(check_below(r, 3) < density ? 1 + check_below(r, 255) : 0);
        o.options.where = o.keep + o.keep_layout.first;
        o.options.where_strides = o.keep_layout.stride;
    }
    (void)dtype;
    return o;
}

static void options_free(options_case *o)
{
    free(o->temperature);
    free(o->keep);
    free(o->total);
}

static bool has_options(const options_case *o)
{
    return o->options.temperature != NULL || o->options.where != NULL || o->options.total != NULL;
}

/* One row alone, contiguous, by the portable tier. */
static void reference_row(lmx_row_code op, lmx_dtype dtype, size_t cols, const void *a,
                          const void *b, const options_case *o, size_t r, size_t j,
                          const strided_shape *whole, unsigned char *keep, void *want)
{
    const strided_shape shape = { 1, cols, 1 };
    const strided_steps strides = { (ptrdiff_t)cols, 1, 1 };
    strided_options options = row_options(op);
    if (o->options.temperature != NULL)
        options.temperature = &o->temperature[r * whole->inner + j];
    if (o->options.total != NULL)
        options.total = &o->total[r * whole->inner + j];
    if (o->options.where != NULL) {
        for (size_t c = 0; c < cols; c++)
            keep[c] = o->keep[place(&o->keep_layout, r, c, j)];
        options.where = keep;
        options.where_strides = strides;
    }
    const lmx_status status =
        strided_row_op(ctx_of[n_ctx - 1], op, dtype, &shape, a, &strides, b, &strides,
                       has_options(o) ? &options : NULL, want, &strides);
    if (status != LMX_OK)
        check_fail("reference: status %d", (int)status);
}

/* An array of the test: guarded memory and where its elements are. */
typedef struct array {
    check_buffer buffer;
    layout l;
    char *low; /* the lowest element */
    size_t size;
} array;

static array array_new(const layout *l, size_t size, check_flush flush)
{
    array x = { check_buffer_new(l->span * size + 1024), *l, NULL, size };
    x.low = check_put(&x.buffer, l->span * size, flush, check_noguard ? 512 / size * size : 0);
    return x;
}

static char *at(const array *x, size_t r, size_t c, size_t j)
{
    return x->low + place(&x->l, r, c, j) * (ptrdiff_t)x->size;
}

static char *origin(const array *x) { return x->low + x->l.first * x->size; }

static void try_layout(lmx_row_code op, lmx_dtype dtype, const strided_shape *shape, uint64_t seed)
{
    check_at.seed = seed;
    check_at.n = shape->cols;
    check_random r = check_random_new(seed);
    const lmx_row_info *const info = lmx_row_op_info((int)op);
    const bool two = info->inputs == 2, per_row = result_per_row(op);
    const size_t size = elem_size(dtype), one = result_size(op, dtype);
    const size_t cols = shape->cols, results = per_row ? 1 : cols;
    const row_kind kind = (row_kind)check_below(&r, N_ROW_KINDS);
    const check_flush flush = check_below(&r, 2) != 0 ? CHECK_START : CHECK_END;
    options_case o = random_options(&r, info->takes, shape, dtype);
    lmx_ctx *const ctx = ctx_of[check_below(&r, n_ctx)];

    /* In place: out has the layout of the input, which then must not overlap itself. */
    const size_t in_place = per_row ? 0 : check_below(&r, 4);
    const strided_shape out_shape = { shape->rows, results, shape->inner };
    const layout la = random_layout(&r, shape, in_place != 1);
    const layout lb = random_layout(&r, shape, in_place != 2);
    array a = array_new(&la, size, flush);
    array b = array_new(&lb, size, flush);
    const bool in_a = in_place == 1, in_b = in_place == 2 && two;
    const layout lo = in_a ? la : in_b ? lb : random_layout(&r, &out_shape, false);
    array apart = array_new(&lo, one, flush);
    const array *out = in_a ? &a : in_b ? &b : &apart;
    check_at.tier = lmx_isa_name(ctx);
    check_at.test = info->name;
    check_at.in_offset = (size_t)in_place;

    /* Fill the elements only; what is between them keeps its canary. */
    char *const row_a = get_memory(cols * size), *const row_b = get_memory(cols * size);
    char *const want = get_memory((shape->rows * shape->inner * results + 1) * one);
    unsigned char *const keep = get_memory(cols);
    for (size_t i = 0; i < shape->rows; i++)
        for (size_t j = 0; j < shape->inner; j++) {
            row_fill(dtype, row_a, cols, kind, &r);
            row_fill(dtype, row_b, cols, op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_TO_88, &r);
            for (size_t c = 0; c < cols; c++) {
                memcpy(at(&a, i, c, j), row_a + c * size, size);
                memcpy(at(&b, i, c, j), row_b + c * size, size);
            }
        }
    for (size_t i = 0; i < shape->rows;
         i++) /* after all are filled: broadcast ones overwrite each other */
        for (size_t j = 0; j < shape->inner; j++) {
            for (size_t c = 0; c < cols; c++) {
                memcpy(row_a + c * size, at(&a, i, c, j), size);
                memcpy(row_b + c * size, at(&b, i, c, j), size);
            }
            reference_row(op, dtype, cols, row_a, two ? row_b : NULL, &o, i, j, shape, keep,
                          want + (i * shape->inner + j) * results * one);
        }

    char *const copy_a = get_memory(a.buffer.size), *const copy_b = get_memory(b.buffer.size);
    memcpy(copy_a, a.buffer.base, a.buffer.size);
    memcpy(copy_b, b.buffer.base, b.buffer.size);
    const lmx_status status =
        strided_row_op(ctx, op, dtype, shape, origin(&a), &la.stride, two ? origin(&b) : NULL,
                       &lb.stride, has_options(&o) ? &o.options : NULL, origin(out), &lo.stride);
    if (status != LMX_OK)
        check_fail("status %d; shape %zu x %zu x %zu, strides %td %td %td -> %td %td %td",
                   (int)status, shape->rows, cols, shape->inner, la.stride.row, la.stride.col,
                   la.stride.inner, lo.stride.row, lo.stride.col, lo.stride.inner);

    /* Results, row by row; each element is then put back to its canary or input. */
    char *const got = get_memory(results * one);
    for (size_t i = 0; i < shape->rows; i++)
        for (size_t j = 0; j < shape->inner; j++) {
            for (size_t c = 0; c < results; c++)
                memcpy(got + c * one, at(out, i, c, j), one);
            const char *const right = want + (i * shape->inner + j) * results * one;
            if (!results_same(op, dtype, got, right, results)) {
                check_fail(
                    "row (%zu, %zu) of %zu x %zu x %zu; in %td %td %td, out %td %td %td;%s%s%s %s",
                    i, j, shape->rows, cols, shape->inner, la.stride.row, la.stride.col,
                    la.stride.inner, lo.stride.row, lo.stride.col, lo.stride.inner,
                    o.options.temperature != NULL ? " temperature" : "",
                    o.options.where != NULL ? " where" : "",
                    o.options.total != NULL ? " total" : "", row_kind_name(kind));
            }
        }
    /* Put the elements of the output back to what was there: then nothing may differ. */
    for (size_t i = 0; i < shape->rows; i++)
        for (size_t j = 0; j < shape->inner; j++)
            for (size_t c = 0; c < results; c++) {
                char *const p = at(out, i, c, j);
                const check_buffer *const whole = &out->buffer;
                const size_t offset = (size_t)(p - (char *)whole->base);
                memcpy(p,
                       in_a   ? copy_a + offset
                       : in_b ? copy_b + offset
                              : (char *)whole->image + offset,
                       one);
            }
    if (memcmp(a.buffer.base, copy_a, a.buffer.size) != 0)
        check_fail("memory of the input changed");
    if (memcmp(b.buffer.base, copy_b, b.buffer.size) != 0)
        check_fail("memory of the second input changed");
    check_untouched(&apart.buffer);
    check_count(shape->rows * shape->inner + 1);

    free(got);
    free(copy_a);
    free(copy_b);
    free(row_a);
    free(row_b);
    free(want);
    free(keep);
    check_buffer_free(&a.buffer);
    check_buffer_free(&b.buffer);
    check_buffer_free(&apart.buffer);
    options_free(&o);
}

int main(void)
{
    static const size_t row_counts[] = { 0, 1, 2, 3, 5, 17 };
    static const size_t inner_counts[] = { 0, 1, 1, 2, 3, 7, 31, 63, 64, 65, 130 };
    static const size_t col_counts[] = { 0,  1,  2,  3,  7,  8,   15,  16,  17,
                                         31, 32, 33, 64, 65, 100, 257, 513, 1025 };
    check_begin("layout");
    for (int i = 0; lmx_isa_available(i) != NULL && n_ctx + 3 < MAX_CTX; i++)
        ctx_of[n_ctx++] = ctx_with(1, lmx_isa_available(i));
    lmx_ctx *const one = ctx_of[--n_ctx];
    ctx_of[n_ctx++] = ctx_with(2, NULL);
    ctx_of[n_ctx++] = ctx_with(3, lmx_isa_available(1));
    ctx_of[n_ctx++] = one;

    const size_t cases = check_full ? 20000 : check_noguard ? 20 : check_fast ? 30 : 200;
    for (int op = 0; op < LMX_ROW_COUNT; op++)
        for (int d = 0; d < N_DTYPES; d++) {
            check_at.dtype = dtype_name((lmx_dtype)d);
            for (size_t k = 0; k < cases; k++) {
                const uint64_t seed = ((uint64_t)op * N_DTYPES + (uint64_t)d) * 1000000 + k;
                check_random r = check_random_new(seed ^ 0x5eed);
                strided_shape shape = { row_counts[check_below(&r, 6)],
                                        col_counts[check_below(&r, 18)],
                                        inner_counts[check_below(&r, 11)] };
                if (k < 5) { /* more than a chunk, on both paths */
                    static const strided_shape large[5] = { { 2, 16385, 1 },
                                                            { 1, 16384, 3 },
                                                            { 1, 33000, 65 },
                                                            { 3, 1, 5000 },
                                                            { 1, 50000, 2 } };
                    shape = large[k];
                    if (check_fast && k > 1)
                        continue;
                }
                while (count_of(&shape) > (check_fast ? 20000u : 3000000u))
                    shape.rows > 1 ? (shape.rows /= 2) : (shape.inner /= 2);
                if (k >= 5)
                    while (count_of(&shape) > 40000)
                        shape.rows > 1 ? (shape.rows /= 2) : (shape.inner /= 2);
                try_layout((lmx_row_code)op, (lmx_dtype)d, &shape, seed);
            }
        }
    for (size_t i = 0; i < n_ctx; i++)
        lmx_ctx_free(ctx_of[i]);
    return check_end();
}
