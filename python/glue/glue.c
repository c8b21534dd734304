/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "view.h"

enum { FEW = 256 }; /* numbers that are kept on the stack */

/* Numbers on the stack, or allocated where there are many: NULL if that failed. */
static double *numbers(size_t n, double *few) { return n <= FEW ? few : malloc(n * sizeof *few); }

static void release(double *taken, const double *few)
{
    if (taken != few)
        free(taken);
}

/* An input that is laid out like x, or None: *count grows if it is given. Returns whether it fits. */
static int like(uintptr_t object, view *arrays, int *count)
{
    view *v = &arrays[*count];
    if (is_none(object))
        return 1;
    if (!is_array(object, v) || v->type != arrays[0].type || !same_shape(v, &arrays[0]))
        return 0;
    ++*count;
    return 1;
}

/* The same for an output. */
static int output_like(uintptr_t object, view *arrays, int *count)
{
    const int before = *count;
    return like(object, arrays, count) && (*count == before || is_writeable(&arrays[before]));
}

static int is_gatherable(const view *v)
{
    return (v->type == LMX_F32 || v->type == LMX_F64) && is_aligned(v);
}

static const lmx_strides *strides_of(const layout *l, int i, int given)
{
    return given ? &l->strides[i] : NULL;
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

/* Shapes and types of one row operation, checked. */
typedef struct row_call {
    view array[4]; /* x, the second input, the mask, a row's output: so many of them as there are */
    int count, second, mask, output;
    view out;
    uint64_t over;
    ptrdiff_t mask_strides[LMXPY_MAX_NDIM];
} row_call;

static int reduced_axes(row_call *c, int axis, const row_given *o)
{
    const int ndim = c->array[0].ndim;
    if (o != NULL && o->axes != 0) {
        c->over = o->axes;
        return 1;
    }
    if (axis < 0)
        axis += ndim;
    c->over = (uint64_t)1 << (axis & 63);
    return axis >= 0 && axis < ndim;
}

/* Whether out has the shape of x without its reduced axes, or with extent 1 for them. */
static int is_reduced(const view *out, const view *x, uint64_t over, int keepdims)
{
    int at = 0;
    for (int i = 0; i < x->ndim; i++) {
        const int reduced = (int)(over >> i & 1);
        if (reduced && !keepdims)
            continue;
        if (at >= out->ndim || out->shape[at] != (reduced ? 1 : x->shape[i]))
            return 0;
        at++;
    }
    return at == out->ndim;
}

static int row_output(row_call *c, uintptr_t out, int result, int keepdims)
{
    const view *x = &c->array[0];
    if (result == LMX_RESULT_ROW) {
        c->output = c->count;
        if (!output_like(out, c->array, &c->count) || c->output == c->count)
            return 0;
        c->out = c->array[c->output];
        return 1;
    }
    c->output = -1;
    return is_array(out, &c->out) && is_contiguous(&c->out) && is_writeable(&c->out) &&
           is_reduced(&c->out, x, c->over, keepdims) &&
           (result == LMX_RESULT_SUM || c->out.type == (x->type == LMX_F64 ? LMX_F64 : LMX_F32));
}

static int row_mask(row_call *c, uintptr_t where)
{
    if (is_none(where))
        return 1;
    view *v = &c->array[c->count];
    c->mask = c->count++;
    return is_array(where, v) && v->type == LMXPY_BOOL &&
           broadcast(v, &c->array[0], c->mask_strides);
}

static int row_arrays(row_call *c, int axis, uintptr_t a, uintptr_t b, uintptr_t out, int result,
                      const row_given *o)
{
    c->count = 1;
    if (!is_array(a, &c->array[0]) || !is_float(&c->array[0]) || c->array[0].ndim == 0 ||
        !reduced_axes(c, axis, o) || !like(b, c->array, &c->count))
        return 0;
    c->second = c->count > 1;
    c->mask = -1;
    if (o != NULL && !row_mask(c, o->where))
        return 0;
    if (!row_output(c, out, result, o != NULL && o->keepdims))
        return 0;
    /* A mask counts with the values that it had before the call. */
    return c->mask < 0 || result == LMX_RESULT_SUM || !may_overlap(&c->array[c->mask], &c->out);
}

/* Temperatures of the rows in their order; *to is NULL where there are none. */
static int row_temperatures(const row_call *c, const layout *l, uintptr_t object, double *few,
                            double **to)
{
    view t;
    ptrdiff_t strides[LMXPY_MAX_NDIM];
    *to = NULL;
    if (is_none(object))
        return LMX_OK;
    if (!is_array(object, &t) || !is_gatherable(&t))
        return LMXPY_UNUSUAL;
    for (int i = 0; i < t.ndim; i++) {
        const int axis = c->array[0].ndim - t.ndim + i;
        if (axis >= 0 && (c->over >> axis & 1) && t.shape[i] != 1)
            return LMXPY_UNUSUAL;
    }
    if (!broadcast(&t, &c->array[0], strides))
        return LMXPY_UNUSUAL;
    *to = numbers(l->shape.rows * l->shape.inner, few);
    if (*to == NULL)
        return LMX_ERR_NOMEM;
    gather(&t, c->over, *to);
    return LMX_OK;
}

static int row_options(const row_call *c, int op, const layout *l, const row_given *o,
                       const double *temperatures, lmx_row_options *to)
{
    const ptrdiff_t inner = (ptrdiff_t)l->shape.inner, step = inner > 1;
    if (lmx_row_options_init((lmx_row_code)op, to) != LMX_OK)
        return 0;
    to->parameter = o->parameter;
    if (temperatures != NULL) {
        to->temperature = temperatures;
        to->temperature_row = inner;
        to->temperature_inner = step;
    } else if (o->temperature != 1) {
        to->temperature = &o->temperature;
    }
    if (c->mask >= 0) {
        to->where = (const unsigned char *)c->array[c->mask].data;
        to->where_strides = l->strides[c->mask];
    }
    if (!is_none(o->total)) {
        view total;
        const view *x = &c->array[0];
        if (!is_array(o->total, &total) || !is_contiguous(&total) ||
            (!is_reduced(&total, x, c->over, 0) && !is_reduced(&total, x, c->over, 1)))
            return 0;
        to->total = (const lmx_expsum *)(const void *)total.data;
        to->total_row = inner;
        to->total_inner = step;
    }
    return 1;
}

static int row_op(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out,
                  const row_given *given)
{
    row_call c;
    layout l;
    const lmx_row_info *info = lmx_row_op_info(op);
    if (!row_arrays(&c, axis, a, b, out, info->result, given))
        return LMXPY_UNUSUAL;
    if (elements(&c.out) == 0)
        return LMX_OK;
    int status = LMX_OK;
    if (elements(&c.array[0]) != 0)
        status = lay_out(c.array, c.count, c.over, &l);
    else
        lay_out_nothing(elements(&c.out), 0, &l);
    if (status != LMX_OK)
        return status;
    double few[FEW], *temperatures = NULL;
    lmx_row_options options, *passed = NULL;
    if (given != NULL) {
        status = row_temperatures(&c, &l, given->temperatures, few, &temperatures);
        if (status != LMX_OK)
            return status;
        passed = &options;
    }
    const lmx_strides value = { (ptrdiff_t)l.shape.inner, 0, 1 };
    if (given != NULL && !row_options(&c, op, &l, given, temperatures, &options))
        status = LMXPY_UNUSUAL;
    else
        status = lmx_row_op(ctx, (lmx_row_code)op, (lmx_dtype)c.array[0].type, &l.shape,
                            c.array[0].data, &l.strides[0], c.second ? c.array[1].data : NULL,
                            strides_of(&l, 1, c.second), passed, c.out.data,
                            c.output < 0 ? &value : &l.strides[c.output]);
    release(temperatures, few);
    return status;
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

/* Shapes and types of one call of a loss, checked. */
typedef struct loss_call {
    view array[LMXPY_MAX_ARRAYS]; /* logits, adversarial ones, probabilities, gradients */
    int count, adversarial, soft, grad, adversarial_grad; /* where they are, or -1 */
    view target, loss;
} loss_call;

/* Adds an array and returns where it is, -1 for None. */
static int added(loss_call *c, uintptr_t object, int output, int *fits)
{
    const int at = c->count;
    *fits = *fits && (output ? output_like : like)(object, c->array, &c->count);
    return c->count > at ? at : -1;
}

static int is_lead(const view *v, const view *logits)
{
    if (v->ndim != logits->ndim - 1)
        return 0;
    for (int i = 0; i < v->ndim; i++)
        if (v->shape[i] != logits->shape[i])
            return 0;
    return 1;
}

static int loss_target(loss_call *c, int op, uintptr_t target)
{
    if (!is_array(target, &c->target))
        return 0;
    c->soft = -1;
    if (!is_float(&c->target))
        return c->target.type >= LMXPY_INTEGERS && c->target.type < LMXPY_BOOL &&
               is_contiguous(&c->target) && is_lead(&c->target, &c->array[0]);
    if ((lmx_loss_info(op)->takes & LMX_TAKES_PROBABILITIES) == 0 ||
        !same_shape(&c->target, &c->array[0]))
        return 0;
    c->soft = c->count;
    c->array[c->count++] = c->target;
    return 1;
}

static int loss_arrays(loss_call *c, int op, int reduction, uintptr_t logits, uintptr_t target,
                       uintptr_t loss, uintptr_t grad, const loss_given *o)
{
    view *x = &c->array[0];
    int fits = 1;
    c->count = 1;
    if (!is_array(logits, x) || !is_float(x) || x->ndim == 0 || x->shape[x->ndim - 1] == 0)
        return 0;
    c->adversarial = c->adversarial_grad = -1;
    if (o != NULL)
        c->adversarial = added(c, o->adversarial, 0, &fits);
    if (!fits || !loss_target(c, op, target))
        return 0;
    c->grad = added(c, grad, 1, &fits);
    if (o != NULL && fits)
        c->adversarial_grad = added(c, o->adversarial_grad, 1, &fits);
    return fits && is_array(loss, &c->loss) && is_contiguous(&c->loss) &&
           c->loss.type == (x->type == LMX_F64 ? LMX_F64 : LMX_F32) &&
           (reduction == LMX_NONE ? is_lead(&c->loss, x) : c->loss.ndim == 0);
}

/* Class weights, then temperatures, as doubles; *to is NULL where there are neither. */
static int loss_numbers(const loss_call *c, const loss_given *o, double *few, double **to,
                        lmx_loss_options *options)
{
    const view *x = &c->array[0];
    const size_t cols = (size_t)x->shape[x->ndim - 1], rows = elements(x) / cols;
    const int weighted = !is_none(o->weight), heated = !is_none(o->temperatures);
    view w, t;
    ptrdiff_t strides[LMXPY_MAX_NDIM];
    *to = NULL;
    if (weighted && (!is_array(o->weight, &w) || !is_gatherable(&w) || w.ndim != 1 ||
                     (size_t)w.shape[0] != cols))
        return LMXPY_UNUSUAL;
    if (heated && (!is_array(o->temperatures, &t) || !is_gatherable(&t) ||
                   (t.ndim > 0 && t.shape[t.ndim - 1] != 1) || !broadcast(&t, x, strides)))
        return LMXPY_UNUSUAL;
    if (!weighted && !heated)
        return LMX_OK;
    *to = numbers((weighted ? cols : 0) + (heated ? rows : 0), few);
    if (*to == NULL)
        return LMX_ERR_NOMEM;
    double *next = *to;
    if (weighted) {
        gather(&w, 0, next);
        options->weight = next;
        next += cols;
    }
    if (heated && rows != 0) {
        gather(&t, (uint64_t)1 << (x->ndim - 1), next);
        options->temperature = next;
        options->temperature_stride = 1;
    }
    return LMX_OK;
}

/* Contiguous doubles, NULL for None.  Returns whether there are at least so many. */
static int doubles(uintptr_t object, size_t least, double **to)
{
    view v;
    *to = NULL;
    if (is_none(object))
        return 1;
    if (!is_array(object, &v) || v.type != LMX_F64 || !is_contiguous(&v) || elements(&v) < least)
        return 0;
    *to = (double *)(void *)v.data;
    return 1;
}

static int loss_options(const loss_call *c, const layout *l, const loss_given *o,
                        lmx_loss_options *to)
{
    if (o != NULL) {
        double *n;
        if (!doubles(o->numbers, 7, &n))
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
        if (to->temperature == NULL && o->temperature != 1)
            to->temperature = &o->temperature;
    }
    if (c->adversarial >= 0) {
        to->adversarial = c->array[c->adversarial].data;
        to->adversarial_strides = l->strides[c->adversarial];
    }
    if (c->adversarial_grad >= 0) {
        to->adversarial_grad = c->array[c->adversarial_grad].data;
        to->adversarial_grad_strides = l->strides[c->adversarial_grad];
    }
    if (c->soft >= 0) {
        to->probabilities = c->array[c->soft].data;
        to->probabilities_dtype = (lmx_dtype)c->array[c->soft].type;
        to->probabilities_strides = l->strides[c->soft];
    }
    return 1;
}

static int loss_op(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
                   uintptr_t loss, uintptr_t grad, const loss_given *given)
{
    loss_call c;
    layout l;
    if (!loss_arrays(&c, op, reduction, logits, target, loss, grad, given))
        return LMXPY_UNUSUAL;
    const view *x = &c.array[0];
    int status = LMX_OK;
    if (elements(x) != 0)
        status = lay_out(c.array, c.count, (uint64_t)1 << (x->ndim - 1), &l);
    else
        lay_out_nothing(0, (size_t)x->shape[x->ndim - 1], &l);
    lmx_loss_options options;
    if (status == LMX_OK)
        status = lmx_loss_options_init((lmx_loss_code)op, &options);
    if (status != LMX_OK)
        return status;
    options.reduction = (lmx_reduction)reduction;
    double few[FEW], *taken = NULL;
    if (given != NULL)
        status = loss_numbers(&c, given, few, &taken, &options);
    if (status != LMX_OK)
        return status;
    const int indices = c.soft < 0;
    if (!loss_options(&c, &l, given, &options))
        status = LMXPY_UNUSUAL;
    else
        status = lmx_loss(ctx, (lmx_loss_code)op, (lmx_dtype)x->type, &l.shape, x->data,
                          &l.strides[0], indices ? c.target.data : NULL,
                          indices ? (lmx_int)(c.target.type - LMXPY_INTEGERS) : LMX_I64, 1,
                          &options, c.loss.data, 1, c.grad < 0 ? NULL : c.array[c.grad].data,
                          strides_of(&l, c.grad, c.grad >= 0));
    release(taken, few);
    return status;
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

static int unary_options(const view *x, const view *out, const unary_given *o,
                         lmx_unary_options *to)
{
    lmx_unary_options_init(to);
    if (o == NULL)
        return 1;
    const size_t count = (size_t)o->parameters;
    double *numbers;
    if (!doubles(o->numbers, count, &numbers) ||
        !doubles(o->parameter_grad, count, &to->parameter_grad) ||
        !doubles(o->bias_grad, 0, &to->bias_grad))
        return 0;
    if (count > 0)
        to->parameter = numbers != NULL ? numbers : &o->parameter;
    to->parameters = count;
    if (is_none(o->bias))
        return 1;
    view b;
    if (!is_array(o->bias, &b) || b.type != (x->type == LMX_F64 ? LMX_F64 : LMX_F32) ||
        !is_contiguous(&b) || b.ndim != 1 || x->ndim == 0 || b.shape[0] != x->shape[x->ndim - 1] ||
        may_overlap(&b, out)) /* a bias counts with the values that it had before the call */
        return 0;
    to->bias = b.data;
    return 1;
}

/* Rows of the last axis; plain: without an inner axis. */
static int lay_out_rows(const view *arrays, int count, int plain, layout *l)
{
    const int ndim = arrays[0].ndim;
    const int status = lay_out(arrays, count, ndim > 0 ? (uint64_t)1 << (ndim - 1) : 0, l);
    if (status != LMX_OK || !plain || l->shape.inner == 1)
        return status;
    if (l->shape.rows != 1)
        return LMXPY_COPY;
    l->shape.rows = l->shape.inner;
    l->shape.inner = 1;
    for (int i = 0; i < count; i++)
        l->strides[i].row = l->strides[i].inner;
    return LMX_OK;
}

static int unary_op(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out,
                    const unary_given *given)
{
    view v[3];
    int count = 1;
    if (!is_array(x, &v[0]) || !is_float(&v[0]) || v[0].ndim == 0 || !like(dy, v, &count))
        return LMXPY_UNUSUAL;
    const int to = count;
    if (!output_like(out, v, &count) || count == to)
        return LMXPY_UNUSUAL;
    lmx_unary_options options;
    if (!unary_options(&v[0], &v[to], given, &options))
        return LMXPY_UNUSUAL;
    if (elements(&v[0]) == 0)
        return LMX_OK;
    layout l;
    const int summed = options.bias != NULL || options.parameter_grad != NULL;
    const int status = summed ? lay_out_rows(v, count, options.bias != NULL, &l)
                              : lay_out_pointwise(v, count, &v[to], &l);
    if (status != LMX_OK)
        return status;
    const lmx_dtype type = (lmx_dtype)v[0].type;
    if (to == 1)
        return lmx_unary(ctx, (lmx_unary_code)op, type, &l.shape, v[0].data, &l.strides[0],
                         &options, v[1].data, &l.strides[1]);
    return lmx_unary_vjp(ctx, (lmx_unary_code)op, type, &l.shape, v[1].data, &l.strides[1],
                         v[0].data, &l.strides[0], &options, v[2].data, &l.strides[2]);
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

int lmxpy_channel(lmx_ctx *ctx, int op, int pointwise, uintptr_t dy, uintptr_t x, uintptr_t up,
                  uintptr_t out, uintptr_t dup, const lmx_channel_options *options)
{
    view v[LMXPY_MAX_ARRAYS];
    int count = 1;
    if (!is_array(x, &v[0]) || !is_float(&v[0]) || v[0].ndim == 0 || !like(dy, v, &count))
        return LMXPY_UNUSUAL;
    const int two = count;
    if (!like(up, v, &count))
        return LMXPY_UNUSUAL;
    const int to = count, has_up = to > two;
    if (!output_like(out, v, &count) || count == to || !output_like(dup, v, &count))
        return LMXPY_UNUSUAL;
    if (elements(&v[0]) == 0)
        return LMX_OK;
    layout l;
    const int status =
        pointwise ? lay_out_pointwise(v, count, &v[to], &l) : lay_out_rows(v, count, 0, &l);
    if (status != LMX_OK)
        return status;
    const lmx_dtype type = (lmx_dtype)v[0].type;
    const char *up_data = has_up ? v[two].data : NULL;
    const lmx_strides *up_strides = strides_of(&l, two, has_up);
    if (two == 1)
        return lmx_channel(ctx, (lmx_channel_code)op, type, &l.shape, v[0].data, &l.strides[0],
                           up_data, up_strides, options, v[to].data, &l.strides[to]);
    const int has_dup = count > to + 1;
    return lmx_channel_vjp(ctx, (lmx_channel_code)op, type, &l.shape, v[1].data, &l.strides[1],
                           v[0].data, &l.strides[0], up_data, up_strides, options, v[to].data,
                           &l.strides[to], has_dup ? v[to + 1].data : NULL,
                           strides_of(&l, to + 1, has_dup));
}
