/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the softmax family: check, fill a call, run it; what differs between operations is in lib/kernels/row. */
#include <string.h>

#include "dispatch/registry.h"
#include "exec/options.h"
#include "exec/row_call.h"
#include "kernels/total.h"
#include "exec/temperature.h"
#include "platform/cpu.h"

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

/* The tag, and which options are set. */
static lmx_status check_options(const lmx_row_info *info, const lmx_row_options *o)
{
    if (!LMX_OPTIONS_FIT(o, LMX_TAG_ROW))
        return LMX_ERR_ARG;
    const unsigned set = (o->temperature != NULL ? LMX_TAKES_TEMPERATURE : 0u) |
                         (o->where != NULL ? LMX_TAKES_WHERE : 0u) |
                         (o->total != NULL ? LMX_TAKES_TOTAL : 0u);
    if ((set & ~info->takes) != 0 || ((set & LMX_TAKES_TOTAL) != 0 && set != LMX_TAKES_TOTAL))
        return LMX_ERR_OP;
    return lmx_parameters_fit(info->parameter, &o->parameter) ? LMX_OK : LMX_ERR_ARG;
}

/* Each array of an operation, and the shape and elements that it should have. */
static void describe(const lmx_row_info *info, const lmx_row_options *o, const lmx_view *a,
                     const lmx_view *b, const lmx_view *out, lmx_operand *to)
{
    const int is_row = info->result == LMX_RESULT_ROW;
    const lmx_holds result = info->result == LMX_RESULT_SUM ? LMX_HOLDS_SUMS : LMX_HOLDS_REALS;
    to[LMX_ROW_A] = (lmx_operand){ a, LMX_FIT_SAME, LMX_HOLDS_REALS };
    to[LMX_ROW_B] = (lmx_operand){ info->inputs > 1 ? b : NULL, LMX_FIT_SAME, LMX_HOLDS_REALS };
    to[LMX_ROW_WHERE] = (lmx_operand){ o->where, LMX_FIT_BROADCAST, LMX_HOLDS_BOOLS };
    to[LMX_ROW_TEMPERATURE] = (lmx_operand){ o->temperature, LMX_FIT_OF_ROWS, LMX_HOLDS_REALS };
    to[LMX_ROW_TOTAL] = (lmx_operand){ o->total, LMX_FIT_VALUES, LMX_HOLDS_SUMS };
    to[LMX_ROW_OUT] = (lmx_operand){ out, is_row ? LMX_FIT_SAME : LMX_FIT_VALUES, result };
}

/* Types and ranks of the views, and that there is an axis to reduce. */
static lmx_status check_views(const lmx_operand *o, uint64_t axes)
{
    for (int i = 0; i < LMX_ROW_ARRAYS; i++) {
        const lmx_status status =
            o[i].view == NULL ? LMX_OK : lmx_view_check(o[i].view, o[i].holds);
        if (status != LMX_OK)
            return status;
    }
    const int ndim = o[LMX_ROW_A].view->ndim;
    return axes != 0 && (ndim == LMX_NDIM_MAX || axes >> ndim == 0) ? LMX_OK : LMX_ERR_SHAPE;
}

/* Fills the call and checks its arrays.  *done: nothing is to be computed. */
static lmx_status prepare(lmx_row_call *c, const lmx_operand *o, uint64_t axes,
                          const lmx_tier *tier, int *done)
{
    const int is_row = c->info->result == LMX_RESULT_ROW;
    lmx_status status = check_views(o, axes);
    if (status != LMX_OK)
        return status;
    status = lmx_space_open(&c->space, o, LMX_ROW_ARRAYS, axes, 0, is_row ? LMX_ROW_OUT : LMX_ROW_A,
                            tier, c->array);
    if (status != LMX_OK)
        return status;
    if (c->space.rows > 0 && !lmx_temperatures_fit(&c->array[LMX_ROW_TEMPERATURE]))
        return LMX_ERR_ARG;
    *done = c->space.rows == 0 || (is_row && c->space.cols == 0);
    if (*done)
        return LMX_OK;
    const unsigned may_be = is_row ? 1u << LMX_ROW_A | 1u << LMX_ROW_B : 0;
    status = lmx_space_data(&c->space, o, LMX_ROW_ARRAYS, c->array);
    return status != LMX_OK ? status
                            : lmx_arrays_check(c->array, LMX_ROW_OUT, LMX_ROW_ARRAYS, &may_be);
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_row_code op, const lmx_view *a, const lmx_view *b,
                                uint64_t axes, const lmx_row_options *options, const lmx_view *out)
{
    lmx_row_call c;
    lmx_row_options standard;
    lmx_operand operands[LMX_ROW_ARRAYS];
    int done = 0;
    if ((unsigned)op >= LMX_ROW_COUNT)
        return LMX_ERR_OP;
    c.op = op;
    c.info = lmx_row_op_info((int)op);
    if (a == NULL || out == NULL || (c.info->inputs > 1 && b == NULL))
        return LMX_ERR_NULL;
    lmx_status status = lmx_view_check(a, LMX_HOLDS_REALS);
    if (status != LMX_OK)
        return status;
    if (options == NULL) {
        lmx_row_options_init(op, &standard);
        options = &standard;
    }
    status = check_options(c.info, options);
    if (status != LMX_OK)
        return status;
    const lmx_tier *tier = lmx_ctx_tier(ctx);
    describe(c.info, options, a, b, out, operands);
    status = prepare(&c, operands, axes, tier, &done);
    if (status != LMX_OK || done)
        return status;
    c.parameter = options->parameter;
    c.table = c.array[LMX_ROW_A].table;
    c.real = c.table->real_size == 8 ? tier->table[LMX_F64] : tier->table[LMX_F32];
    c.kernel = c.table->row[op];
    c.real_kernel = c.real->row[op];
    return lmx_row_run(ctx, &c);
}

/* ------------------------------------------------------- one short row --- */

/* Reals that a short row may need as scratch on the stack, and so its length. */
#define SHORT_ROW 512

static int apart(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return x + a_bytes <= y || y + b_bytes <= x;
}

/* A view of one axis of n elements that follow each other, of this type. */
static int is_run(const lmx_view *v, int dtype, ptrdiff_t n, size_t size)
{
    return v->ndim == 1 && v->dtype == dtype && v->shape[0] == n && v->data != NULL &&
           (v->strides == NULL || v->strides[0] == (ptrdiff_t)size) &&
           ((uintptr_t)v->data & (size - 1)) == 0;
}

/*
 * One contiguous row of a few elements, for which checking, planning and handing out cost more than
 * the kernel.  1 if it was such a row, and nothing was wrong with it; 0 leaves it to the rest.
 */
static int short_row(const lmx_ctx *ctx, lmx_row_code op, const lmx_view *a, const lmx_view *b,
                     uint64_t axes, const lmx_view *out)
{
    if ((unsigned)op >= LMX_ROW_COUNT || axes != 1 || a == NULL || out == NULL || a->ndim != 1 ||
        a->shape == NULL || a->dtype < 0 || a->dtype >= LMX_DTYPES)
        return 0;
    const ptrdiff_t n = a->shape[0];
    const lmx_table *t = lmx_ctx_tier(ctx)->table[a->dtype];
    const lmx_row_kernel *kernel = t->row[op];
    const lmx_row_info *info = lmx_row_op_info((int)op);
    const int is_row = info->result == LMX_RESULT_ROW;
    if (n <= 0 || n > SHORT_ROW || kernel->elem_size != t->elem_size ||
        !is_run(a, a->dtype, n, t->elem_size))
        return 0;
    const size_t bytes = (size_t)n * t->elem_size;
    size_t out_bytes = bytes;
    if (is_row) {
        if (!is_run(out, a->dtype, n, t->elem_size))
            return 0;
    } else {
        const int sum = info->result == LMX_RESULT_SUM;
        const int dtype = sum ? LMX_EXPSUM : t->real_size == 8 ? LMX_F64 : LMX_F32;
        out_bytes = sum ? sizeof(lmx_expsum) : t->real_size;
        if (out->ndim != 0 || out->dtype != dtype || out->data == NULL ||
            ((uintptr_t)out->data & ((sum ? 8 : t->real_size) - 1)) != 0)
            return 0;
    }
    const int in_place = a->data == out->data;
    if (!(in_place && is_row) && !apart(a->data, bytes, out->data, out_bytes))
        return 0;
    if (info->inputs > 1 &&
        (b == NULL || b->ndim != 1 || b->shape == NULL || !is_run(b, a->dtype, n, t->elem_size) ||
         (b->data != out->data && !apart(b->data, bytes, out->data, out_bytes))))
        return 0;
    LMX_ALIGN(64) char scratch[SHORT_ROW * 8];
    const lmx_rows one = { .rows = 1,
                           .cols = (size_t)n,
                           .a = a->data,
                           .b = info->inputs > 1 ? b->data : NULL,
                           .out = (void *)(uintptr_t)out->data,
                           .scratch = scratch,
                           .parameter = info->parameter[0].standard,
                           .how = in_place && kernel->uses_terms ? LMX_HOW_SCRATCH : 0 };
    kernel->rows(&one);
    return 1;
}

/* ------------------------------------------------------------- entries --- */

/* Checks and plans compare and multiply too, so the caller's traps are off from the start. */
lmx_status lmx_row_op(lmx_ctx *ctx, lmx_row_code op, const lmx_view *a, const lmx_view *b,
                      uint64_t axes, const lmx_row_options *options, const lmx_view *out)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    lmx_status status = LMX_OK;
    if (options != NULL || !short_row(ctx, op, a, b, axes, out))
        status = check_and_run(ctx, op, a, b, axes, options, out);
    lmx_fpenv_leave(env);
    return status;
}

/* Rows of contiguous elements, a stride of elements apart, as a view; OVERFLOW if there is none. */
typedef struct rows_view {
    lmx_view view;
    ptrdiff_t shape[2], strides[2];
} rows_view;

static lmx_status view_rows(rows_view *v, int dtype, size_t size, size_t rows, size_t cols,
                            const void *data, ptrdiff_t stride)
{
    const ptrdiff_t most = PTRDIFF_MAX / (ptrdiff_t)size;
    if (rows > PTRDIFF_MAX || cols > (size_t)most ||
        (rows > 1 && (stride > most || stride < -most)))
        return LMX_ERR_OVERFLOW;
    v->shape[0] = (ptrdiff_t)rows;
    v->shape[1] = (ptrdiff_t)cols;
    v->strides[0] = rows > 1 ? stride * (ptrdiff_t)size : 0;
    v->strides[1] = (ptrdiff_t)size;
    v->view = (lmx_view){ data, dtype, 2, v->shape, v->strides };
    return LMX_OK;
}

static lmx_status contiguous_with(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t rows,
                                  size_t cols, const void *a, ptrdiff_t a_stride, const void *b,
                                  ptrdiff_t b_stride, const lmx_row_options *options, void *out,
                                  ptrdiff_t out_stride)
{
    const lmx_row_info *info = lmx_row_op_info((int)op);
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    const int is_row = info->result == LMX_RESULT_ROW, sum = info->result == LMX_RESULT_SUM;
    if (rows == 0 || (cols == 0 && is_row))
        return options == NULL ? LMX_OK : check_options(info, options);
    const size_t size = lmx_ctx_tier(ctx)->table[dtype]->elem_size;
    const int value = sum ? LMX_EXPSUM : dtype == LMX_F64 ? LMX_F64 : LMX_F32;
    const size_t value_size = sum ? sizeof(lmx_expsum) : dtype == LMX_F64 ? 8 : 4;
    rows_view va, vb, vo;
    lmx_status status = view_rows(&va, (int)dtype, size, rows, cols, a, a_stride);
    if (status == LMX_OK)
        status = view_rows(&vb, (int)dtype, size, rows, cols, b, b_stride);
    if (status == LMX_OK)
        status = view_rows(&vo, is_row ? (int)dtype : value, is_row ? size : value_size, rows,
                           is_row ? cols : 1, out, out_stride);
    if (status != LMX_OK)
        return status;
    return lmx_row_op(ctx, op, &va.view, &vb.view, LMX_AXIS(1), options, &vo.view);
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
