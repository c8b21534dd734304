/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the activations of channels: check, prepare what follows from the parameters, then pieces.c. */
#include <stdlib.h>
#include <string.h>

#include "platform/cpu.h"
#include "exec/options.h"
#include "exec/pieces.h"
#include "exec/reach.h"
#include "dispatch/registry.h"
#include "numeric/sincos.h"

typedef struct call {
    lmx_channel_code op;
    lmx_channel_options opt;
    lmx_channel_spec spec;
} call;

static void compute(const void *job, const lmx_table *table, const lmx_piece *e)
{
    const call *c = job;
    const lmx_channel_kernel *kernel = table->channel[c->op];
    (e->dy != NULL ? kernel->backward : kernel->forward)(e, &c->spec);
}

/* ------------------------------------------------------------ checking --- */

_Static_assert((int64_t)LMX_CHANNEL_ANGLE_MAX <= (int64_t)LMX_SINCOS_MAX,
               "angles of the registry are those that lmx_sincos_of() takes");

lmx_status lmx_channel_options_init(lmx_channel_options *options)
{
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_CHANNEL);
    options->parameter_sets = options->denominator_sets = 1;
    options->form = 'B';
    options->eps = lmx_option_info(LMX_OPTION_eps)->standard;
    return LMX_OK;
}

/* Channels in equal parts, one for each set; one set serves all. */
static lmx_status check_rational(call *c, size_t cols)
{
    const lmx_channel_options *o = &c->opt;
    const size_t sets = o->parameter_sets, q_sets = o->denominator_sets;
    if (o->parameter == NULL || sets == 0 || o->parameters == 0 || o->parameters % sets != 0 ||
        q_sets == 0 || o->denominators % q_sets != 0 ||
        (o->denominators > 0 && o->denominator == NULL) || (o->form != 'A' && o->form != 'B'))
        return LMX_ERR_ARG;
    c->spec.np = o->parameters / sets;
    c->spec.nq = o->denominators / q_sets;
    if (c->spec.np > LMX_CHANNEL_ORDER + 1 || c->spec.nq > LMX_CHANNEL_ORDER)
        return LMX_ERR_ARG;
    const size_t most = sets > q_sets ? sets : q_sets;
    if ((sets > 1 && sets != most) || (q_sets > 1 && q_sets != most))
        return LMX_ERR_ARG;
    if (cols % most != 0)
        return LMX_ERR_SHAPE;
    c->spec.p_sets = sets;
    c->spec.q = o->denominator;
    c->spec.q_sets = q_sets;
    c->spec.group = most > 1 && cols > 0 ? cols / most : SIZE_MAX;
    c->spec.form_a = o->form == 'A';
    return LMX_OK;
}

static lmx_status check_parameters(call *c, size_t cols)
{
    const lmx_channel_options *o = &c->opt;
    const lmx_parameter *described = lmx_channel_info((int)c->op)->parameter;
    c->spec.cols = cols;
    c->spec.group = 1;
    c->spec.p = o->parameter;
    c->spec.np = o->parameters;
    c->spec.p_sets = c->spec.q_sets = 1;
    if (c->op != LMX_CHANNEL_rational && o->denominators != 0)
        return LMX_ERR_ARG;
    switch (c->op) {
    case LMX_CHANNEL_poly_norm:
    case LMX_CHANNEL_poly_norm_glu:
        if (o->parameter == NULL || o->parameters < 2 || o->parameters > LMX_CHANNEL_ORDER + 1 ||
            !lmx_option_fits(LMX_OPTION_eps, o->eps))
            return LMX_ERR_ARG;
        c->spec.eps = o->eps;
        c->spec.group = cols;
        return LMX_OK;
    case LMX_CHANNEL_rational:
        return check_rational(c, cols);
    case LMX_CHANNEL_householder:
        if (o->parameter == NULL || o->parameters == 0)
            return LMX_ERR_ARG;
        for (size_t i = 0; i < o->parameters; i++)
            if (!lmx_parameter_fits(described, o->parameter[i]))
                return LMX_ERR_ARG;
        c->spec.group = 2;
        return cols % 2 != 0 || (o->parameters > 1 && o->parameters != cols / 2) ? LMX_ERR_SHAPE
                                                                                 : LMX_OK;
    case LMX_CHANNEL_group_sort:
        if (!lmx_parameter_fits(described, (double)o->group_size))
            return LMX_ERR_ARG;
        c->spec.group = o->group_size;
        return o->parameters != 0          ? LMX_ERR_ARG
               : cols % o->group_size != 0 ? LMX_ERR_SHAPE
                                           : LMX_OK;
    case LMX_CHANNEL_max_min:
        c->spec.group = 2;
        return o->parameters != 0 ? LMX_ERR_ARG : cols % 2 != 0 ? LMX_ERR_SHAPE : LMX_OK;
    default:
        return o->parameters != 0 ? LMX_ERR_ARG : LMX_OK;
    }
}

static lmx_status check_options(call *c, const lmx_channel_options *o, int backward, size_t cols)
{
    lmx_channel_options_init(&c->opt);
    memset(&c->spec, 0, sizeof c->spec);
    if (o != NULL) {
        if (!LMX_OPTIONS_FIT(o, LMX_TAG_CHANNEL))
            return LMX_ERR_ARG;
        c->opt = *o;
    }
    if (!backward)
        c->opt.parameter_grad = c->opt.denominator_grad = NULL;
    if (c->opt.parameter_grad != NULL &&
        (lmx_channel_info((int)c->op)->parameter[0].flags & LMX_LEARNED) == 0)
        return LMX_ERR_OP;
    if (c->opt.denominator_grad != NULL && c->op != LMX_CHANNEL_rational)
        return LMX_ERR_OP;
    return check_parameters(c, cols);
}

/* ----------------------------------------------------------- preparing --- */

/* cos and sin of theta, sin and cos of theta / 2, for each theta, as reals. */
static char *half_angles(const lmx_table *table, const double *theta, size_t n)
{
    const size_t size = table->real_size;
    char *all = n > SIZE_MAX / 4 / size ? NULL : malloc(4 * n * size);
    for (size_t i = 0; all != NULL && i < n; i++) {
        const lmx_sincos t = lmx_sincos_of(theta[i]), half = lmx_sincos_of(theta[i] / 2);
        char *at = all + 4 * i * size;
        table->put_value(at, t.cos);
        table->put_value(at + size, t.sin);
        table->put_value(at + 2 * size, half.sin);
        table->put_value(at + 3 * size, half.cos);
    }
    return all;
}

/* How it may be cut, what is summed, and how much memory of its own a piece needs. */
static void plan(const call *c, lmx_pieces *p)
{
    const lmx_channel_spec *s = &c->spec;
    const size_t real = p->real->real_size;
    const int sums = c->opt.parameter_grad != NULL || c->opt.denominator_grad != NULL;
    switch (c->op) {
    case LMX_CHANNEL_poly_norm:
    case LMX_CHANNEL_poly_norm_glu:
        p->unit = s->cols;
        p->sums = sums ? s->np : 0;
        break;
    case LMX_CHANNEL_rational:
        p->flat = s->group == SIZE_MAX;
        p->unit = p->flat ? 1 : s->cols;
        p->sums = sums ? s->p_sets * s->np + s->q_sets * s->nq : 0;
        break;
    case LMX_CHANNEL_householder:
        p->flat = s->pairs == 1;
        p->unit = 2;
        p->sums = sums && p->flat ? 1 : 0;
        p->columns = sums && !p->flat ? s->pairs : 0;
        p->scratch = sums ? LMX_CHUNK / 2 * real : 0;
        break;
    case LMX_CHANNEL_group_sort:
        p->flat = 1;
        p->unit = s->group;
        /* what is merged: a real and its place, twice */
        p->scratch = s->group == 2 || s->group == 4 || s->group == 8 || s->group == 16
                         ? 0
                         : 2 * s->group * (sizeof(double) + sizeof(size_t));
        break;
    case LMX_CHANNEL_max_min:
        p->flat = 1;
        p->unit = 2;
        break;
    default:
        p->flat = 1;
    }
}

/* Sums as the caller has them. */
static void hand_out(const call *c, const lmx_pieces *p, const double *sums)
{
    const size_t n = c->op == LMX_CHANNEL_rational ? c->spec.p_sets * c->spec.np : p->sums;
    if (c->opt.parameter_grad != NULL)
        memcpy(c->opt.parameter_grad, sums, n * sizeof *sums);
    if (c->opt.denominator_grad != NULL)
        memcpy(c->opt.denominator_grad, sums + n, (p->sums - n) * sizeof *sums);
}

/* Whether it does not matter where among the channels an element is, and nothing is summed in the order of rows. */
static int is_by_element(const call *c)
{
    const int sums = c->opt.parameter_grad != NULL || c->opt.denominator_grad != NULL;
    switch (c->op) {
    case LMX_CHANNEL_poly_norm:
    case LMX_CHANNEL_poly_norm_glu:
    case LMX_CHANNEL_householder:
    case LMX_CHANNEL_group_sort:
    case LMX_CHANNEL_max_min:
        return 0;
    case LMX_CHANNEL_rational:
        return c->spec.group == SIZE_MAX && !sums;
    default:
        return 1;
    }
}

static lmx_status run(lmx_ctx *ctx, call *c, lmx_pieces *p)
{
    char *table = NULL;
    if (c->op == LMX_CHANNEL_householder) {
        table = half_angles(p->real, c->opt.parameter, c->opt.parameters);
        if (table == NULL)
            return LMX_ERR_NOMEM;
        c->spec.table = table;
        c->spec.pairs = c->opt.parameters;
    }
    plan(c, p);
    double few[32] = { 0 };
    double *const many = p->sums > 32 ? malloc(p->sums * sizeof *many) : few;
    lmx_status status = LMX_ERR_NOMEM;
    if (many != NULL) {
        p->compute = compute;
        p->job = c;
        status = lmx_pieces_run(ctx, p, many, c->opt.parameter_grad);
        if (status == LMX_OK && p->sums > 0)
            hand_out(c, p, many);
    }
    if (many != few)
        free(many);
    free(table);
    return status;
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_channel_code op,
                                const lmx_view *const given[LMX_ARRAYS], int backward, int axis,
                                const lmx_channel_options *options)
{
    call c;
    if ((unsigned)op >= LMX_CHANNEL_COUNT)
        return LMX_ERR_OP;
    const int two = lmx_channel_info((int)op)->inputs == 2;
    const int wanted[LMX_ARRAYS] = { backward, 1, two, 1, two && backward };
    const lmx_view *views[LMX_ARRAYS];
    for (int i = 0; i < LMX_ARRAYS; i++) {
        views[i] = wanted[i] ? given[i] : NULL;
        if (wanted[i] && given[i] == NULL)
            return LMX_ERR_NULL;
    }
    const lmx_view *x = views[LMX_X];
    const uint64_t columns = lmx_view_axis(x, axis);
    lmx_status status = lmx_view_check(x, LMX_HOLDS_REALS);
    if (status == LMX_OK && columns == 0)
        status = LMX_ERR_SHAPE;
    if (status != LMX_OK)
        return status;
    c.op = op;
    status =
        check_options(&c, options, backward, (size_t)x->shape[axis < 0 ? axis + x->ndim : axis]);
    if (status != LMX_OK)
        return status;
    lmx_pieces p;
    /* Elements by themselves go as they lie in memory: gates, and one set of coefficients without sums. */
    status = lmx_pieces_open(&p, ctx, views, is_by_element(&c) ? 0 : columns);
    return status != LMX_OK ? status : run(ctx, &c, &p);
}

lmx_status lmx_channel(lmx_ctx *ctx, lmx_channel_code op, const lmx_view *x, const lmx_view *up,
                       int axis, const lmx_channel_options *options, const lmx_view *y)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_view *const given[LMX_ARRAYS] = { [LMX_X] = x, [LMX_UP] = up, [LMX_OUT] = y };
    const lmx_status status = check_and_run(ctx, op, given, 0, axis, options);
    lmx_fpenv_leave(env);
    return status;
}

lmx_status lmx_channel_vjp(lmx_ctx *ctx, lmx_channel_code op, const lmx_view *dy, const lmx_view *x,
                           const lmx_view *up, int axis, const lmx_channel_options *options,
                           const lmx_view *dx, const lmx_view *dup)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const lmx_view *const given[LMX_ARRAYS] = {
        [LMX_DY] = dy, [LMX_X] = x, [LMX_UP] = up, [LMX_OUT] = dx, [LMX_UP_OUT] = dup
    };
    const lmx_status status = check_and_run(ctx, op, given, 1, axis, options);
    lmx_fpenv_leave(env);
    return status;
}
