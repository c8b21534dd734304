/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the activations that take element by element: check, then pieces.c. */
#include "platform/cpu.h"
#include "exec/options.h"
#include "exec/pieces.h"
#include "exec/reach.h"
#include "dispatch/registry.h"

typedef struct call {
    lmx_unary_code op;
    const lmx_table *real_table;
    lmx_unary_options opt;
    double standard;
} call;

/* ------------------------------------------------------------ computing --- */

static void add_bias(const call *c, const lmx_piece *e)
{
    if (c->real_table->real_size == 8) {
        const double *b = (const double *)c->opt.bias + e->first;
        for (double *v = e->out, *end = v + e->rows * e->n; v < end; v += e->n)
            for (size_t i = 0; i < e->n; i++)
                v[i] += b[i];
    } else {
        const float *b = (const float *)c->opt.bias + e->first;
        for (float *v = e->out, *end = v + e->rows * e->n; v < end; v += e->n)
            for (size_t i = 0; i < e->n; i++)
                v[i] += b[i];
    }
}

static void add_columns(const call *c, const lmx_piece *e)
{
    lmx_dd *const sums = e->columns + e->first;
    for (size_t r = 0; r < e->rows; r++)
        for (size_t i = 0; i < e->n; i++) {
            const size_t at = r * e->n + i;
            const double v = c->real_table->real_size == 8 ? ((const double *)e->out)[at]
                                                           : (double)((const float *)e->out)[at];
            const lmx_dd s = lmx_two_sum(sums[i].hi, v);
            sums[i] = (lmx_dd){ s.hi, sums[i].lo + s.lo };
        }
}

static void compute_run(const call *c, const lmx_unary_kernel *kernel, const void *dy,
                        const void *x, size_t n, void *out, unsigned how, lmx_dd *sums)
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

static void compute(const void *job, const lmx_table *table, const lmx_piece *e)
{
    const call *c = job;
    if (c->opt.bias != NULL)
        add_bias(c, e);
    const int together = lmx_piece_together(e);
    const size_t calls = together ? 1 : e->rows, n = together ? e->rows * e->n : e->n;
    const ptrdiff_t size = (ptrdiff_t)table->elem_size;
    for (size_t r = 0; r < calls; r++) {
        const ptrdiff_t at = (ptrdiff_t)r * size;
        compute_run(c, table->unary[c->op],
                    e->dy != NULL ? (const char *)e->dy + at * e->stride[LMX_DY] : NULL,
                    (const char *)e->x + at * e->stride[LMX_X], n,
                    (char *)e->out + at * e->stride[LMX_OUT], e->how, e->sums);
    }
    if (e->columns != NULL)
        add_columns(c, e);
}

/* ------------------------------------------------------------ checking --- */

lmx_status lmx_unary_options_init(lmx_unary_options *options)
{
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_UNARY);
    return LMX_OK;
}

/* Those that the registry accepts and kernels computing in `most` or less can hold. */
static int fits(const lmx_unary_description *info, double most, const double *p, size_t n)
{
    const lmx_parameter *described = info->parameter;
    if (lmx_parameter_count(described) == LMX_PARAMETERS_MAX) /* a polynomial */
        return p != NULL && n >= 2 && n <= LMX_UNARY_PARAMETERS;
    if (n != lmx_parameter_count(described))
        return 0;
    return n == 0 || (lmx_parameter_fits(&described[0], p[0]) && p[0] >= -most && p[0] <= most);
}

static lmx_status check_options(call *c, lmx_unary_code op, lmx_dtype dtype, int backward,
                                size_t inner, const lmx_unary_options *o)
{
    lmx_unary_options_init(&c->opt);
    if (o != NULL) {
        if (!LMX_OPTIONS_FIT(o, LMX_TAG_UNARY))
            return LMX_ERR_ARG;
        c->opt = *o;
    }
    const lmx_unary_description *info = lmx_unary_info((int)op);
    if (c->opt.parameter == NULL && lmx_parameter_count(info->parameter) == 1) {
        c->standard = info->parameter[0].standard;
        c->opt.parameter = &c->standard;
        c->opt.parameters = 1;
    }
    if (!fits(info, dtype == LMX_F64 ? DBL_MAX : (double)FLT_MAX, c->opt.parameter,
              c->opt.parameters))
        return LMX_ERR_ARG;
    if (!backward)
        c->opt.parameter_grad = c->opt.bias_grad = NULL;
    if (c->opt.parameter_grad != NULL && (info->parameter[0].flags & LMX_LEARNED) == 0)
        return LMX_ERR_OP;
    if (c->opt.bias_grad != NULL && c->opt.bias == NULL)
        return LMX_ERR_NULL;
    if (c->opt.bias != NULL && inner != 1)
        return LMX_ERR_SHAPE;
    return LMX_OK;
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
    c.op = op;
    const lmx_status status = check_options(&c, op, dtype, backward, shape->inner, options);
    if (status != LMX_OK)
        return status;

    lmx_pieces p;
    lmx_pieces_open(&p, ctx, dtype, shape);
    c.real_table = p.real_table;
    lmx_pieces_array(&p, LMX_X, x, x_strides);
    lmx_pieces_array(&p, LMX_OUT, out, out_strides);
    if (backward)
        lmx_pieces_array(&p, LMX_DY, dy, dy_strides);
    p.flat = 1;
    p.gathered = c.opt.bias != NULL;
    p.sums = c.opt.parameter_grad != NULL ? c.opt.parameters : 0;
    p.columns = c.opt.bias_grad != NULL ? shape->cols : 0;
    p.compute = compute;
    p.job = &c;
    return lmx_pieces_run(ctx, &p, c.opt.parameter_grad, c.opt.bias_grad);
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
