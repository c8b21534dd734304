/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the activations that take element by element: check, then pieces.c. */
#include <float.h>
#include <stdlib.h>

#include "dispatch/registry.h"
#include "exec/options.h"
#include "exec/pieces.h"
#include "exec/reach.h"
#include "platform/cpu.h"

/* Numbers of a bias that are kept on the stack. */
enum { FEW = 512 };

typedef struct call {
    lmx_unary_code op;
    const lmx_table *real;
    lmx_unary_options opt;
    double standard;
    const void *bias; /* as reals; NULL: none */
} call;

/* ------------------------------------------------------------ computing --- */

static void add_bias(const call *c, const lmx_piece *e)
{
    if (c->real->real_size == 8) {
        const double *b = (const double *)c->bias + e->first;
        for (double *v = e->out, *end = v + e->rows * e->n; v < end; v += e->n)
            for (size_t i = 0; i < e->n; i++)
                v[i] += b[i];
    } else {
        const float *b = (const float *)c->bias + e->first;
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
            const double v = c->real->real_size == 8 ? ((const double *)e->out)[at]
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
    if (c->bias != NULL)
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

static lmx_status check_options(call *c, lmx_unary_code op, int is_double, int backward,
                                const lmx_unary_options *o)
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
    if (!fits(info, is_double ? DBL_MAX : (double)FLT_MAX, c->opt.parameter, c->opt.parameters))
        return LMX_ERR_ARG;
    if (!backward)
        c->opt.parameter_grad = c->opt.bias_grad = NULL;
    if (c->opt.parameter_grad != NULL && (info->parameter[0].flags & LMX_LEARNED) == 0)
        return LMX_ERR_OP;
    return c->opt.bias_grad != NULL && c->opt.bias == NULL ? LMX_ERR_NULL : LMX_OK;
}

/* The bias as an array, which no output overlaps. */
static lmx_status check_bias(const call *c, const lmx_ctx *ctx, const lmx_pieces *p,
                             lmx_array *bias)
{
    lmx_status status = lmx_view_check(c->opt.bias, LMX_HOLDS_REALS);
    if (status != LMX_OK)
        return status;
    status = lmx_view_vector(c->opt.bias, p->space.cols, lmx_ctx_tier(ctx), bias);
    if (status != LMX_OK || p->space.rows == 0)
        return status;
    const lmx_array both[] = { *bias, p->array[LMX_OUT] };
    return lmx_arrays_check(both, 1, 2, NULL);
}

static lmx_status run(lmx_ctx *ctx, call *c, lmx_pieces *p)
{
    p->flat = 1;
    p->sums = c->opt.parameter_grad != NULL ? c->opt.parameters : 0;
    p->compute = compute;
    p->job = c;
    c->real = p->real;
    c->bias = NULL;
    if (c->opt.bias == NULL)
        return lmx_pieces_run(ctx, p, c->opt.parameter_grad, NULL);

    lmx_array bias;
    const size_t cols = p->space.cols;
    lmx_status status = check_bias(c, ctx, p, &bias);
    if (status != LMX_OK)
        return status;
    p->gathered = 1;
    p->columns = c->opt.bias_grad != NULL ? cols : 0;
    double few[FEW];
    double *const reals = cols <= FEW ? few : malloc(cols * sizeof *reals);
    if (reals == NULL)
        return LMX_ERR_NOMEM;
    for (size_t i = 0; i < cols; i++)
        p->real->put_value((char *)reals + i * p->real->real_size,
                           lmx_get(&bias, lmx_row_at(&bias, i)));
    c->bias = reals;
    status = lmx_pieces_run(ctx, p, c->opt.parameter_grad, c->opt.bias_grad);
    if (reals != few)
        free(reals);
    return status;
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_unary_code op, int backward, const lmx_view *dy,
                                const lmx_view *x, const lmx_unary_options *options,
                                const lmx_view *out)
{
    call c;
    if ((unsigned)op >= LMX_UNARY_COUNT)
        return LMX_ERR_OP;
    if (x == NULL || out == NULL || (backward && dy == NULL))
        return LMX_ERR_NULL;
    c.op = op;
    lmx_status status = lmx_view_check(x, LMX_HOLDS_REALS);
    if (status != LMX_OK)
        return status;
    status = check_options(&c, op, x->dtype == LMX_F64, backward, options);
    if (status != LMX_OK)
        return status;
    const int by_columns = c.opt.bias != NULL || c.opt.parameter_grad != NULL;
    if (c.opt.bias != NULL && x->ndim == 0)
        return LMX_ERR_SHAPE;
    const lmx_view *const views[LMX_ARRAYS] = { [LMX_DY] = dy, [LMX_X] = x, [LMX_OUT] = out };
    lmx_pieces p;
    status = lmx_pieces_open(&p, ctx, views, by_columns ? lmx_view_axis(x, -1) : 0);
    return status != LMX_OK ? status : run(ctx, &c, &p);
}

lmx_status lmx_unary(lmx_ctx *ctx, lmx_unary_code op, const lmx_view *x,
                     const lmx_unary_options *options, const lmx_view *y)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_status status = check_and_run(ctx, op, 0, NULL, x, options, y);
    lmx_fpenv_leave(env);
    return status;
}

lmx_status lmx_unary_vjp(lmx_ctx *ctx, lmx_unary_code op, const lmx_view *dy, const lmx_view *x,
                         const lmx_unary_options *options, const lmx_view *dx)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_status status = check_and_run(ctx, op, 1, dy, x, options, dx);
    lmx_fpenv_leave(env);
    return status;
}
