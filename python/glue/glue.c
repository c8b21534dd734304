/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"

/* Python promises one dtype for all main arrays of a call. */
static int same_dtype(const lmx_view *v, const lmx_view *x)
{
    return v == NULL || v->dtype == x->dtype;
}

/* An output like x, whose dtype may not differ. */
static int is_output_like(uintptr_t object, lmx_view *v, const lmx_view *x)
{
    return is_output(object, v) && v->dtype == x->dtype;
}

/* The same, or None: *to is v, or NULL. */
static int is_optional_output(uintptr_t object, lmx_view *v, const lmx_view **to, const lmx_view *x)
{
    *to = is_none(object) ? NULL : v;
    return *to == NULL || is_output_like(object, v, x);
}

static int real_of(const lmx_view *x) { return x->dtype == LMX_F64 ? LMX_F64 : LMX_F32; }

/* Temperatures of a call: an array, or *number where that is not 1, or NULL. */
static int take_temperature(uintptr_t object, const double *number, lmx_view *v,
                            const lmx_view **to)
{
    if (!is_optional(object, v, to))
        return 0;
    if (*to == NULL && *number != 1) {
        *v = (lmx_view){ number, LMX_F64, 0, NULL, NULL };
        *to = v;
    }
    return 1;
}

/* ---------------------------------------------------------------- row operations --- */

/* The options of one row operation, as lmxpy_row_with() has them. */
typedef struct row_given {
    uint64_t axes;
    int keepdims;
    double temperature;
    uintptr_t temperatures, where, total;
    double parameter;
} row_given;

/* Views of the options of a call. */
typedef struct row_views {
    lmx_view temperature, where, total;
} row_views;

static int count_axes(uint64_t axes)
{
    int n = 0;
    for (; axes != 0; axes &= axes - 1)
        n++;
    return n;
}

/* The set of reduced axes; 0 if there is no such axis. */
static uint64_t reduced_axes(const lmx_view *x, int axis, const row_given *o)
{
    if (o != NULL && o->axes != 0)
        return o->axes;
    if (axis < 0)
        axis += x->ndim;
    return axis >= 0 && axis < x->ndim ? LMX_AXIS(axis) : 0;
}

/* Whether the output has the dtype and the number of axes that Python promises. */
static int is_result(uintptr_t object, const lmx_row_info *info, const lmx_view *x, uint64_t axes,
                     int keepdims, lmx_view *out)
{
    if (info->result == LMX_RESULT_ROW)
        return is_output_like(object, out, x);
    if (!is_output(object, out) || out->ndim != (keepdims ? x->ndim : x->ndim - count_axes(axes)))
        return 0;
    if (info->result == LMX_RESULT_SUM)
        out->dtype = LMX_EXPSUM; /* Python makes these arrays itself */
    return info->result == LMX_RESULT_SUM || out->dtype == real_of(x);
}

static int row_options(const row_given *o, lmx_row_code op, row_views *v, lmx_row_options *to)
{
    if (lmx_row_options_init(op, to) != LMX_OK ||
        !take_temperature(o->temperatures, &o->temperature, &v->temperature, &to->temperature) ||
        !is_optional(o->where, &v->where, &to->where) ||
        !is_optional(o->total, &v->total, &to->total))
        return 0;
    v->total.dtype = LMX_EXPSUM;
    to->parameter = o->parameter;
    return 1;
}

static int row_op(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out,
                  const row_given *given)
{
    const lmx_row_code code = (lmx_row_code)op;
    lmx_view x, y, result;
    const lmx_view *second;
    row_views views;
    lmx_row_options options;
    if (!is_array(a, &x) || !is_optional(b, &y, &second) || !same_dtype(second, &x))
        return LMXPY_UNUSUAL;
    const uint64_t axes = reduced_axes(&x, axis, given);
    if (axes == 0 ||
        !is_result(out, lmx_row_op_info(op), &x, axes, given != NULL && given->keepdims, &result))
        return LMXPY_UNUSUAL;
    if (given != NULL && !row_options(given, code, &views, &options))
        return LMXPY_UNUSUAL;
    return lmx_row_op(ctx, code, &x, second, axes, given != NULL ? &options : NULL, &result);
}

int lmxpy_row(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out)
{
    return row_op(ctx, op, axis, a, b, out, NULL);
}

int lmxpy_row_with(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out,
                   uint64_t axes, int keepdims, double temperature, uintptr_t temperatures,
                   uintptr_t where, uintptr_t total, double parameter)
{
    const row_given given = { axes, keepdims, temperature, temperatures, where, total, parameter };
    return row_op(ctx, op, axis, a, b, out, &given);
}

/* ------------------------------------------------------------------------ losses --- */

/* The options of one call of a loss, as lmxpy_loss_with() has them. */
typedef struct loss_given {
    uintptr_t numbers;
    double temperature;
    int64_t ignore_index;
    uintptr_t temperatures, weight, adversarial, adversarial_grad;
} loss_given;

/* Views of the options of a call. */
typedef struct loss_views {
    lmx_view temperature, weight, adversarial, adversarial_grad;
} loss_views;

static int loss_options(const loss_given *o, const lmx_view *x, loss_views *v, lmx_loss_options *to)
{
    double *n;
    if (!are_doubles(o->numbers, 7, &n) ||
        !take_temperature(o->temperatures, &o->temperature, &v->temperature, &to->temperature) ||
        !is_optional(o->weight, &v->weight, &to->weight) ||
        !is_optional(o->adversarial, &v->adversarial, &to->adversarial) ||
        !same_dtype(to->adversarial, x) ||
        !is_optional_output(o->adversarial_grad, &v->adversarial_grad, &to->adversarial_grad, x))
        return 0;
    if (n != NULL) {
        to->parameter[0] = n[0];
        to->parameter[1] = n[1];
        to->label_smoothing = n[2];
        to->logz_penalty = n[3];
        to->softcap = n[4];
        to->rho = n[5];
        to->nu = n[6];
    }
    to->ignore_index = o->ignore_index;
    return 1;
}

static int loss_op(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
                   uintptr_t loss, uintptr_t grad, const loss_given *given)
{
    lmx_view x, t, l, g;
    const lmx_view *gradient;
    loss_views views;
    lmx_loss_options options;
    if (!is_array(logits, &x) || !is_array(target, &t) || !is_output(loss, &l) ||
        !is_optional_output(grad, &g, &gradient, &x))
        return LMXPY_UNUSUAL;
    const int is_class = t.dtype >= LMX_I8;
    if (l.dtype != real_of(&x) || l.ndim != (reduction == LMX_NONE ? x.ndim - 1 : 0) ||
        (is_class && t.ndim != x.ndim - 1))
        return LMXPY_UNUSUAL;
    const int status = lmx_loss_options_init((lmx_loss_code)op, &options);
    if (status != LMX_OK)
        return status;
    options.reduction = (lmx_reduction)reduction;
    if (given != NULL && !loss_options(given, &x, &views, &options))
        return LMXPY_UNUSUAL;
    return lmx_loss(ctx, (lmx_loss_code)op, &x, -1, &t, &options, &l, gradient);
}

int lmxpy_loss(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
               uintptr_t loss, uintptr_t grad)
{
    return loss_op(ctx, op, reduction, logits, target, loss, grad, NULL);
}

int lmxpy_loss_with(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
                    uintptr_t loss, uintptr_t grad, uintptr_t numbers, double temperature,
                    int64_t ignore_index, uintptr_t temperatures, uintptr_t weight,
                    uintptr_t adversarial, uintptr_t adversarial_grad)
{
    const loss_given given = { numbers, temperature, ignore_index,    temperatures,
                               weight,  adversarial, adversarial_grad };
    return loss_op(ctx, op, reduction, logits, target, loss, grad, &given);
}

/* ------------------------------------------------------------------- activations --- */

/* The options of one activation, as lmxpy_unary_with() has them. */
typedef struct unary_given {
    int parameters;
    double parameter;
    uintptr_t numbers, bias, parameter_grad, bias_grad;
} unary_given;

static int unary_options(const unary_given *o, lmx_view *bias, lmx_unary_options *to)
{
    lmx_unary_options_init(to);
    if (o == NULL)
        return 1;
    const size_t count = (size_t)o->parameters;
    double *numbers;
    if (!are_doubles(o->numbers, count, &numbers) ||
        !are_doubles(o->parameter_grad, count, &to->parameter_grad) ||
        !are_doubles(o->bias_grad, 0, &to->bias_grad))
        return 0;
    if (count > 0)
        to->parameter = numbers != NULL ? numbers : &o->parameter;
    to->parameters = count;
    return is_optional(o->bias, bias, &to->bias);
}

static int unary_op(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out,
                    const unary_given *given)
{
    const lmx_unary_code code = (lmx_unary_code)op;
    lmx_view v, rate, result, bias;
    const lmx_view *backward;
    lmx_unary_options options;
    if (!is_array(x, &v) || v.ndim == 0 || !is_optional(dy, &rate, &backward) ||
        !same_dtype(backward, &v) || !is_output_like(out, &result, &v) ||
        !unary_options(given, &bias, &options))
        return LMXPY_UNUSUAL;
    if (backward == NULL)
        return lmx_unary(ctx, code, &v, &options, &result);
    return lmx_unary_vjp(ctx, code, backward, &v, &options, &result);
}

int lmxpy_unary(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out)
{
    return unary_op(ctx, op, dy, x, out, NULL);
}

int lmxpy_unary_with(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out, int parameters,
                     double parameter, uintptr_t numbers, uintptr_t bias, uintptr_t parameter_grad,
                     uintptr_t bias_grad)
{
    const unary_given given = { parameters, parameter, numbers, bias, parameter_grad, bias_grad };
    return unary_op(ctx, op, dy, x, out, &given);
}

int lmxpy_channel(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t up, uintptr_t out,
                  uintptr_t dup, const lmx_channel_options *options)
{
    const lmx_channel_code code = (lmx_channel_code)op;
    lmx_view v, rate, other, result, result_up;
    const lmx_view *backward, *second, *second_result;
    if (!is_array(x, &v) || v.ndim == 0 || !is_optional(dy, &rate, &backward) ||
        !same_dtype(backward, &v) || !is_optional(up, &other, &second) || !same_dtype(second, &v) ||
        !is_output_like(out, &result, &v) ||
        !is_optional_output(dup, &result_up, &second_result, &v))
        return LMXPY_UNUSUAL;
    if (backward == NULL)
        return lmx_channel(ctx, code, &v, second, -1, options, &result);
    return lmx_channel_vjp(ctx, code, backward, &v, second, -1, options, &result, second_result);
}
