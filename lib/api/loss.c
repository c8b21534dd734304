/* SPDX-License-Identifier: Apache-2.0 */
/* Entry of the losses: check, fill a call, run it. */
#include <float.h>
#include <string.h>

#include "dispatch/registry.h"
#include "exec/loss_call.h"
#include "exec/options.h"
#include "exec/temperature.h"
#include "platform/cpu.h"

lmx_status lmx_loss_options_init(lmx_loss_code op, lmx_loss_options *options)
{
    if ((unsigned)op >= LMX_LOSS_COUNT)
        return LMX_ERR_OP;
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_LOSS);
    for (size_t i = 0; i < LMX_PARAMETERS_MAX; i++)
        options->parameter[i] = lmx_loss_info((int)op)->parameter[i].standard;
    options->ignore_index = -100;
    options->label_smoothing = lmx_option_info(LMX_OPTION_label_smoothing)->standard;
    options->logz_penalty = lmx_option_info(LMX_OPTION_logz_penalty)->standard;
    options->softcap = lmx_option_info(LMX_OPTION_softcap)->standard;
    options->rho = lmx_option_info(LMX_OPTION_rho)->standard;
    options->nu = lmx_option_info(LMX_OPTION_nu)->standard;
    return LMX_OK;
}

/* ------------------------------------------------------------ checking --- */

static int is_float(const lmx_view *v) { return v->dtype >= 0 && v->dtype < LMX_DTYPES; }

/* Of lmx_takes: the options that are set. */
static unsigned options_set(const lmx_loss_options *o, int soft)
{
    return (soft ? LMX_TAKES_PROBABILITIES : 0u) |
           (o->label_smoothing != 0 ? LMX_TAKES_LABEL_SMOOTHING : 0u) |
           (o->logz_penalty != 0 ? LMX_TAKES_LOGZ_PENALTY : 0u) |
           (o->softcap != 0 ? LMX_TAKES_SOFTCAP : 0u) |
           (o->temperature != NULL ? LMX_TAKES_TEMPERATURE : 0u) |
           (o->adversarial != NULL ? LMX_TAKES_ADVERSARIAL : 0u);
}

static lmx_status check_options(lmx_loss_code op, const lmx_loss_options *o, int soft, int gradient)
{
    const lmx_loss_description *info = lmx_loss_info((int)op);
    if ((options_set(o, soft) & ~info->takes) != 0)
        return LMX_ERR_OP;
    if (!lmx_option_fits(LMX_OPTION_label_smoothing, o->label_smoothing) ||
        !lmx_option_fits(LMX_OPTION_logz_penalty, o->logz_penalty) ||
        !lmx_option_fits(LMX_OPTION_softcap, o->softcap) || (unsigned)o->reduction > LMX_NONE ||
        !lmx_parameters_fit(info->parameter, o->parameter))
        return LMX_ERR_ARG;
    if (o->adversarial == NULL)
        return LMX_OK;
    if (!lmx_option_fits(LMX_OPTION_rho, o->rho) || !lmx_option_fits(LMX_OPTION_nu, o->nu))
        return LMX_ERR_ARG;
    return gradient && o->adversarial_grad == NULL ? LMX_ERR_NULL : LMX_OK;
}

/* The views of a call. */
typedef struct given {
    const lmx_view *logits, *target, *loss, *grad;
    int axis;
} given;

/* Arrays of the index space in the order of the call's; loss is one where each row has one. */
static void describe(const lmx_loss_options *o, const given *g, lmx_operand *to)
{
    const int soft = is_float(g->target);
    const lmx_view *own_grad =
        g->grad != NULL && o->adversarial != NULL ? o->adversarial_grad : NULL;
    for (int i = 0; i < LMX_LOSS_ARRAYS; i++)
        to[i] = (lmx_operand){ NULL, LMX_FIT_SAME, LMX_HOLDS_REALS };
    to[LMX_LOSS_LOGITS].view = g->logits;
    to[LMX_LOSS_PROBABILITIES].view = soft ? g->target : NULL;
    to[LMX_LOSS_ADVERSARIAL].view = o->adversarial;
    to[LMX_LOSS_GRAD].view = g->grad;
    to[LMX_LOSS_ADVERSARIAL_GRAD].view = own_grad;
    to[LMX_LOSS_CLASSES] =
        (lmx_operand){ soft ? NULL : g->target, LMX_FIT_VALUES, LMX_HOLDS_INTEGERS };
    to[LMX_LOSS_TEMPERATURE] = (lmx_operand){ o->temperature, LMX_FIT_OF_ROWS, LMX_HOLDS_REALS };
    to[LMX_LOSS_OUT] =
        (lmx_operand){ o->reduction == LMX_NONE ? g->loss : NULL, LMX_FIT_VALUES, LMX_HOLDS_REALS };
}

static lmx_status check_views(const lmx_operand *o, const lmx_view *loss, const lmx_view *weight)
{
    lmx_status status = lmx_view_check(loss, LMX_HOLDS_REALS);
    if (status == LMX_OK && weight != NULL)
        status = lmx_view_check(weight, LMX_HOLDS_REALS);
    for (int i = 0; i < LMX_LOSS_ARRAYS && status == LMX_OK; i++)
        if (o[i].view != NULL)
            status = lmx_view_check(o[i].view, o[i].holds);
    return status;
}

/* The one element that a loss of all rows is written to. */
static lmx_status one_loss(const lmx_view *loss, const lmx_tier *tier, lmx_array *out)
{
    for (int i = 0; i < loss->ndim; i++)
        if (loss->shape[i] != 1)
            return LMX_ERR_SHAPE;
    if (loss->data == NULL)
        return LMX_ERR_NULL;
    *out = lmx_array_rows(loss->data, tier->table[loss->dtype]->elem_size, 1, 1, 0);
    out->dtype = loss->dtype;
    out->table = tier->table[loss->dtype];
    return LMX_OK;
}

/* Arrays of the call, from views whose types are right; LMX_OK if they fit together. */
static lmx_status set_arrays(lmx_loss_call *c, const given *g, const lmx_operand *o,
                             const lmx_tier *tier)
{
    static const unsigned may_be[] = { 0, 1u << LMX_LOSS_LOGITS, 1u << LMX_LOSS_ADVERSARIAL };
    const uint64_t reduced = lmx_view_axis(g->logits, g->axis);
    if (reduced == 0)
        return LMX_ERR_SHAPE;
    lmx_status status =
        lmx_space_open(&c->space, o, LMX_LOSS_ARRAYS, reduced, 1, 0, tier, c->array);
    if (status == LMX_OK && c->space.rows > 0 && c->space.cols == 0)
        status = LMX_ERR_SHAPE;
    if (status == LMX_OK && c->opt.weight != NULL)
        status = lmx_view_vector(c->opt.weight, c->space.cols, tier, &c->array[LMX_LOSS_WEIGHT]);
    if (status == LMX_OK && c->opt.reduction != LMX_NONE)
        status = one_loss(g->loss, tier, &c->array[LMX_LOSS_OUT]);
    if (status == LMX_OK && c->space.rows > 0 &&
        !lmx_temperatures_fit(&c->array[LMX_LOSS_TEMPERATURE]))
        status = LMX_ERR_ARG;
    if (status == LMX_OK)
        status = lmx_space_data(&c->space, o, LMX_LOSS_ARRAYS, c->array);
    return status != LMX_OK ? status
                            : lmx_arrays_check(c->array, LMX_LOSS_OUT, LMX_LOSS_ARRAYS, may_be);
}

/* ------------------------------------------------------------- running --- */

/* Fills the part of the call that kernels read. */
static void set_spec(lmx_loss_call *c, lmx_loss_code op)
{
    if (c->real->real_size == 4 && c->opt.softcap > FLT_MAX)
        c->opt.softcap = 0; /* no float is changed by it */
    c->spec.p[0] = c->opt.parameter[0];
    c->spec.p[1] = c->opt.parameter[1];
    c->spec.cols = (double)c->space.cols;
    c->spec.smoothing = c->opt.label_smoothing;
    c->spec.penalty = c->opt.logz_penalty;
    c->spec.mixed = 0;
    c->keep = 1;
    c->add = 0;
    if (op == LMX_LOSS_cross_entropy) {
        c->keep = 1 - c->opt.label_smoothing;
        c->add = c->opt.label_smoothing / c->spec.cols;
        c->spec.mixed =
            c->array[LMX_LOSS_PROBABILITIES].data != NULL || c->add != 0 || c->spec.penalty != 0;
    }
    c->heated =
        c->array[LMX_LOSS_TEMPERATURE].data != NULL || c->array[LMX_LOSS_ADVERSARIAL].data != NULL;
}

static lmx_status check_and_run(lmx_ctx *ctx, lmx_loss_code op, const given *g,
                                const lmx_loss_options *options)
{
    lmx_loss_call c;
    lmx_operand operands[LMX_LOSS_ARRAYS];
    if ((unsigned)op >= LMX_LOSS_COUNT)
        return LMX_ERR_OP;
    if (g->logits == NULL || g->target == NULL || g->loss == NULL)
        return LMX_ERR_NULL;
    lmx_status status = lmx_view_check(g->logits, LMX_HOLDS_REALS);
    if (status != LMX_OK)
        return status;
    lmx_loss_options_init(op, &c.opt);
    if (options != NULL) {
        if (!LMX_OPTIONS_FIT(options, LMX_TAG_LOSS))
            return LMX_ERR_ARG;
        c.opt = *options;
    }
    status = check_options(op, &c.opt, is_float(g->target), g->grad != NULL);
    if (status != LMX_OK)
        return status;
    describe(&c.opt, g, operands);
    status = check_views(operands, g->loss, c.opt.weight);
    if (status != LMX_OK)
        return status;
    const lmx_tier *tier = lmx_ctx_tier(ctx);
    status = set_arrays(&c, g, operands, tier);
    if (status != LMX_OK)
        return status;
    c.table = c.array[LMX_LOSS_LOGITS].table;
    c.real = c.table->real_size == 8 ? tier->table[LMX_F64] : tier->table[LMX_F32];
    c.kernel = c.table->loss[op];
    c.real_kernel = c.real->loss[op];
    status = lmx_loss_weigh(&c);
    if (status != LMX_OK)
        return status;
    if (c.space.rows == 0) {
        const lmx_array *out = &c.array[LMX_LOSS_OUT];
        if (c.opt.reduction != LMX_NONE)
            lmx_put(out, out->data, c.real, c.opt.reduction == LMX_MEAN ? lmx_qnan() : 0);
        return LMX_OK;
    }
    set_spec(&c, op);
    return lmx_loss_run(ctx, &c);
}

lmx_status lmx_loss(lmx_ctx *ctx, lmx_loss_code op, const lmx_view *logits, int axis,
                    const lmx_view *target, const lmx_loss_options *options, const lmx_view *loss,
                    const lmx_view *grad)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    const given g = { logits, target, loss, grad, axis };
    const lmx_status status = check_and_run(ctx, op, &g, options);
    lmx_fpenv_leave(env);
    return status;
}
