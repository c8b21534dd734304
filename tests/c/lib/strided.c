/* SPDX-License-Identifier: Apache-2.0 */
#include "strided.h"

static ptrdiff_t size_of(int dtype)
{
    static const ptrdiff_t real[] = { 4, 8, 2, 2 }, integer[] = { 1, 2, 4, 8, 1, 2, 4, 8 };
    if (dtype >= LMX_I8 && dtype <= LMX_U64)
        return integer[dtype - LMX_I8];
    return dtype == LMX_BOOL         ? 1
           : dtype == LMX_EXPSUM     ? (ptrdiff_t)sizeof(lmx_expsum)
           : dtype >= 0 && dtype < 4 ? real[dtype]
                                     : 1;
}

static ptrdiff_t extent(size_t n) { return n > PTRDIFF_MAX ? PTRDIFF_MAX : (ptrdiff_t)n; }

static ptrdiff_t bytes(ptrdiff_t step, ptrdiff_t size)
{
    return step > PTRDIFF_MAX / size   ? PTRDIFF_MAX
           : step < PTRDIFF_MIN / size ? PTRDIFF_MIN
                                       : step * size;
}

const lmx_view *strided_view(strided *s, const void *data, int dtype, const strided_shape *shape,
                             const strided_steps *steps)
{
    const ptrdiff_t size = size_of(dtype);
    if (steps == NULL)
        return NULL;
    s->view = (lmx_view){ data, dtype, 3, shape != NULL ? s->shape : NULL, s->strides };
    if (shape != NULL) {
        s->shape[0] = extent(shape->rows);
        s->shape[1] = extent(shape->cols);
        s->shape[2] = extent(shape->inner);
    }
    s->strides[0] = bytes(steps->row, size);
    s->strides[1] = bytes(steps->col, size);
    s->strides[2] = bytes(steps->inner, size);
    return &s->view;
}

const lmx_view *strided_vector(strided *s, const void *data, int dtype, size_t n)
{
    s->shape[0] = extent(n);
    s->strides[0] = size_of(dtype);
    s->view = (lmx_view){ data, dtype, 1, s->shape, s->strides };
    return data == NULL ? NULL : &s->view;
}

const lmx_view *strided_number(strided *s, const double *value)
{
    s->view = (lmx_view){ value, LMX_F64, 0, NULL, NULL };
    return value == NULL ? NULL : &s->view;
}

/* One value for each row: the reduced axis has extent 1. */
static const lmx_view *of_rows(strided *s, const void *data, int dtype, const strided_shape *shape,
                               ptrdiff_t row, ptrdiff_t inner)
{
    const strided_steps steps = { row, 0, inner };
    strided_shape one = { row == 0 ? 1 : shape->rows, 1, inner == 0 ? 1 : shape->inner };
    return data == NULL ? NULL : strided_view(s, data, dtype, &one, &steps);
}

/* The same without the reduced axis. */
static const lmx_view *values(strided *s, const void *data, int dtype, const strided_shape *shape,
                              const strided_steps *steps)
{
    const ptrdiff_t size = size_of(dtype);
    if (steps == NULL)
        return NULL;
    s->view = (lmx_view){ data, dtype, 2, shape != NULL ? s->shape : NULL, s->strides };
    if (shape != NULL) {
        s->shape[0] = extent(shape->rows);
        s->shape[1] = extent(shape->inner);
    }
    s->strides[0] = bytes(steps->row, size);
    s->strides[1] = bytes(steps->inner, size);
    return &s->view;
}

lmx_status strided_row_op(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype,
                          const strided_shape *shape, const void *a, const strided_steps *a_steps,
                          const void *b, const strided_steps *b_steps,
                          const strided_options *options, void *out, const strided_steps *out_steps)
{
    const lmx_row_info *info = lmx_row_op_info((int)op);
    strided va, vb, vo, temperature, where, total;
    lmx_row_options passed;
    if (options != NULL) {
        passed = options->o;
        passed.temperature = of_rows(&temperature, options->temperature, LMX_F64, shape,
                                     options->temperature_row, options->temperature_inner);
        passed.where = options->where == NULL ? NULL
                                              : strided_view(&where, options->where, LMX_BOOL,
                                                             shape, &options->where_strides);
        const strided_steps steps = { options->total_row, 0, options->total_inner };
        passed.total = options->total == NULL
                           ? NULL
                           : values(&total, options->total, LMX_EXPSUM, shape, &steps);
    }
    const int value = info == NULL                     ? (int)dtype
                      : info->result == LMX_RESULT_SUM ? LMX_EXPSUM
                      : dtype == LMX_F64               ? LMX_F64
                                                       : LMX_F32;
    const lmx_view *to = info == NULL || info->result == LMX_RESULT_ROW
                             ? strided_view(&vo, out, (int)dtype, shape, out_steps)
                             : values(&vo, out, value, shape, out_steps);
    return lmx_row_op(ctx, op, strided_view(&va, a, (int)dtype, shape, a_steps),
                      strided_view(&vb, b, (int)dtype, shape, b_steps), LMX_AXIS(1),
                      options != NULL ? &passed : NULL, to);
}

lmx_status strided_loss(lmx_ctx *ctx, lmx_loss_code op, lmx_dtype dtype, const strided_shape *shape,
                        const void *logits, const strided_steps *logits_steps, const void *target,
                        int target_type, ptrdiff_t target_step, const lmx_loss_options *options,
                        void *loss, ptrdiff_t loss_step, void *grad,
                        const strided_steps *grad_steps)
{
    strided vx, vt, vl, vg;
    const ptrdiff_t inner = shape == NULL ? 1 : extent(shape->inner);
    const strided_steps t = { target_step * inner, 0, target_step },
                        l = { loss_step * inner, 0, loss_step };
    const int real = dtype == LMX_F64 ? LMX_F64 : LMX_F32;
    const int each = options != NULL && options->reduction == LMX_NONE;
    const lmx_view *to = each ? values(&vl, loss, real, shape, &l) : strided_number(&vl, loss);
    if (to != NULL)
        vl.view.dtype = real;
    return lmx_loss(
        ctx, op, strided_view(&vx, logits, (int)dtype, shape, logits_steps), 1,
        target_type < LMX_I8 ? strided_view(&vt, target, target_type, shape, logits_steps)
                             : values(&vt, target, target_type, shape, &t),
        options, to, grad != NULL ? strided_view(&vg, grad, (int)dtype, shape, grad_steps) : NULL);
}

/* Without an inner axis the last one is cols. */
static const lmx_view *of_two(strided *s, const void *data, int dtype, const strided_shape *shape,
                              const strided_steps *steps)
{
    const lmx_view *v = strided_view(s, data, dtype, shape, steps);
    if (v != NULL && shape != NULL && shape->inner == 1)
        s->view.ndim = 2;
    return v;
}

lmx_status strided_unary(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype,
                         const strided_shape *shape, const void *x, const strided_steps *x_steps,
                         const lmx_unary_options *options, void *y, const strided_steps *y_steps)
{
    strided vx, vy;
    return lmx_unary(ctx, op, of_two(&vx, x, (int)dtype, shape, x_steps), options,
                     of_two(&vy, y, (int)dtype, shape, y_steps));
}

lmx_status strided_unary_vjp(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype,
                             const strided_shape *shape, const void *dy,
                             const strided_steps *dy_steps, const void *x,
                             const strided_steps *x_steps, const lmx_unary_options *options,
                             void *dx, const strided_steps *dx_steps)
{
    strided vdy, vx, vdx;
    return lmx_unary_vjp(ctx, op, of_two(&vdy, dy, (int)dtype, shape, dy_steps),
                         of_two(&vx, x, (int)dtype, shape, x_steps), options,
                         of_two(&vdx, dx, (int)dtype, shape, dx_steps));
}

static const lmx_view *maybe(strided *s, const void *data, int dtype, const strided_shape *shape,
                             const strided_steps *steps)
{
    return data == NULL ? NULL : strided_view(s, data, dtype, shape, steps);
}

lmx_status strided_channel(lmx_ctx *ctx, lmx_channel_code op, lmx_dtype dtype,
                           const strided_shape *shape, const void *x, const strided_steps *x_steps,
                           const void *up, const strided_steps *up_steps,
                           const lmx_channel_options *options, void *y,
                           const strided_steps *y_steps)
{
    strided vx, vu, vy;
    return lmx_channel(ctx, op, strided_view(&vx, x, (int)dtype, shape, x_steps),
                       maybe(&vu, up, (int)dtype, shape, up_steps), 1, options,
                       strided_view(&vy, y, (int)dtype, shape, y_steps));
}

lmx_status strided_channel_vjp(lmx_ctx *ctx, lmx_channel_code op, lmx_dtype dtype,
                               const strided_shape *shape, const void *dy,
                               const strided_steps *dy_steps, const void *x,
                               const strided_steps *x_steps, const void *up,
                               const strided_steps *up_steps, const lmx_channel_options *options,
                               void *dx, const strided_steps *dx_steps, void *dup,
                               const strided_steps *dup_steps)
{
    strided vdy, vx, vu, vdx, vdu;
    return lmx_channel_vjp(ctx, op, strided_view(&vdy, dy, (int)dtype, shape, dy_steps),
                           strided_view(&vx, x, (int)dtype, shape, x_steps),
                           maybe(&vu, up, (int)dtype, shape, up_steps), 1, options,
                           strided_view(&vdx, dx, (int)dtype, shape, dx_steps),
                           maybe(&vdu, dup, (int)dtype, shape, dup_steps));
}
