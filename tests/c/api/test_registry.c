/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every parameter of every operation, and every option, at both ends of its range and outside: what the registry
 * accepts is LMX_OK, all else LMX_ERR_ARG.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "lanemax/lanemax.h"
#include "rows.h"

enum { COLS = 4 };

static const strided_shape shape = { 1, COLS, 1 };
static const strided_steps strides = { COLS, 1, 0 };
static const double x[COLS] = { 0.5, -1, 2, 1 };
static const int32_t target = 2;
static double out[COLS], grad[COLS], other[COLS];

typedef lmx_status try_value(int op, size_t which, double value);

/* ------------------------------------------------------------ operations --- */

static lmx_status try_row(int op, size_t which, double value)
{
    strided_options o = row_options((lmx_row_code)op);
    (void)which;
    o.o.parameter = value;
    return strided_row_op(NULL, (lmx_row_code)op, LMX_F64, &shape, x, &strides, x, &strides, &o,
                          out, &strides);
}

static lmx_status try_loss(int op, size_t which, double value)
{
    lmx_loss_options o;
    CHECK(lmx_loss_options_init((lmx_loss_code)op, &o) == LMX_OK);
    o.parameter[which] = value;
    return strided_loss(NULL, (lmx_loss_code)op, LMX_F64, &shape, x, &strides, &target, LMX_I32, 1,
                        &o, out, 1, grad, &strides);
}

static lmx_status try_unary(int op, size_t which, double value)
{
    double p[2] = { 1, 1 };
    const size_t n = lmx_unary_info(op)->parameter[1].name != NULL ? 2 : 1;
    lmx_unary_options o;
    CHECK(lmx_unary_options_init(&o) == LMX_OK);
    p[which] = value;
    o.parameter = p;
    o.parameters = n;
    return strided_unary(NULL, (lmx_unary_code)op, LMX_F64, &shape, x, &strides, &o, out, &strides);
}

/* group_size is no double: values that it cannot hold are not tried. */
static lmx_status try_channel(int op, size_t which, double value)
{
    const lmx_channel_description *const info = lmx_channel_info(op);
    double p[2] = { 1, 1 };
    lmx_channel_options o;
    CHECK(lmx_channel_options_init(&o) == LMX_OK);
    p[which] = value;
    if (op == LMX_CHANNEL_group_sort) {
        o.group_size = (size_t)value;
    } else if (op == LMX_CHANNEL_rational) {
        o.parameter = &p[0];
        o.denominator = &p[1];
        o.parameters = o.denominators = 1;
    } else {
        o.parameter = p;
        o.parameters = info->parameter[1].name != NULL ? 2 : 1;
    }
    return strided_channel(NULL, (lmx_channel_code)op, LMX_F64, &shape, x, &strides,
                           info->inputs == 2 ? x : NULL, &strides, &o, out, &strides);
}

/* --------------------------------------------------------------- options --- */

static lmx_status try_loss_option(int option, double value)
{
    const lmx_loss_code op = option == LMX_OPTION_rho || option == LMX_OPTION_nu
                                 ? LMX_LOSS_comp_sum_loss
                                 : LMX_LOSS_cross_entropy;
    lmx_loss_options o;
    strided number, a, a_grad;
    CHECK(lmx_loss_options_init(op, &o) == LMX_OK);
    switch (option) {
    case LMX_OPTION_temperature:
        o.temperature = strided_number(&number, &value);
        break;
    case LMX_OPTION_label_smoothing:
        o.label_smoothing = value;
        break;
    case LMX_OPTION_logz_penalty:
        o.logz_penalty = value;
        break;
    case LMX_OPTION_softcap:
        o.softcap = value;
        break;
    case LMX_OPTION_rho:
        o.rho = value;
        break;
    default:
        o.nu = value;
    }
    if (op == LMX_LOSS_comp_sum_loss) {
        o.adversarial = strided_view(&a, x, LMX_F64, &shape, &strides);
        o.adversarial_grad = strided_view(&a_grad, other, LMX_F64, &shape, &strides);
    }
    return strided_loss(NULL, op, LMX_F64, &shape, x, &strides, &target, LMX_I32, 1, &o, out, 1,
                        grad, &strides);
}

static lmx_status try_row_temperature(double value)
{
    strided_options o = row_options(LMX_ROW_softmax);
    o.temperature = &value;
    return strided_row_op(NULL, LMX_ROW_softmax, LMX_F64, &shape, x, &strides, NULL, NULL, &o, out,
                          &strides);
}

static lmx_status try_linear(int option, double value)
{
    lmx_linear_options o;
    CHECK(lmx_linear_options_init(&o) == LMX_OK);
    if (option == LMX_OPTION_label_smoothing)
        o.label_smoothing = value;
    else if (option == LMX_OPTION_logz_penalty)
        o.logz_penalty = value;
    else if (option == LMX_OPTION_softcap)
        o.softcap = value;
    else
        o.filter_eps = value;
    return lmx_linear_cross_entropy(NULL, LMX_F64, 1, 1, COLS, x, 1, x, 1, &target, LMX_I32, 1, &o,
                                    out, 1, grad, 1, other, 1, NULL);
}

static lmx_status try_fourier(int option, double value)
{
    lmx_fourier_options o;
    CHECK(lmx_fourier_options_init(&o) == LMX_OK);
    *(option == LMX_OPTION_eps ? &o.eps : &o.gamma) = value;
    return lmx_fourier_cross_entropy(NULL, LMX_F64, 1, 1, COLS, x, COLS, &target, LMX_I32, 1, &o,
                                     out, 1, grad, COLS);
}

static lmx_status try_norm_eps(double value)
{
    static const double p[2] = { 1, 0 };
    lmx_channel_options o;
    CHECK(lmx_channel_options_init(&o) == LMX_OK);
    o.parameter = p;
    o.parameters = 2;
    o.eps = value;
    return strided_channel(NULL, LMX_CHANNEL_poly_norm, LMX_F64, &shape, x, &strides, NULL, NULL,
                           &o, out, &strides);
}

/* A step of the largest rate cannot be finite; the layer says so with another status. */
static lmx_status try_step(int option, double value)
{
    lmx_spherical *layer = NULL;
    lmx_spherical_batch b;
    CHECK(lmx_spherical_create(NULL, LMX_F64, LMX_LOSS_one_hot_mse_loss, NULL, COLS, 1, x, 1,
                               &layer) == LMX_OK);
    CHECK(lmx_spherical_batch_init(&b) == LMX_OK);
    b.rows = 1;
    b.dtype = LMX_F64;
    b.hidden = x;
    b.hidden_stride = 1;
    b.target = &target;
    b.target_type = LMX_I32;
    b.loss = out;
    const int is_lr = option == LMX_OPTION_lr;
    const lmx_status status =
        lmx_spherical_step(NULL, layer, &b, is_lr ? value : 0, is_lr ? 0 : value);
    lmx_spherical_free(layer);
    return status == LMX_ERR_NUMERIC ? LMX_OK : status;
}

/* Each function that takes the option. */
static lmx_status try_option(int option, size_t which, double value)
{
    switch (option) {
    case LMX_OPTION_temperature:
        return which == 0 ? try_row_temperature(value) : try_loss_option(option, value);
    case LMX_OPTION_label_smoothing:
    case LMX_OPTION_logz_penalty:
    case LMX_OPTION_softcap:
        return which == 0 ? try_linear(option, value) : try_loss_option(option, value);
    case LMX_OPTION_filter_eps:
        return try_linear(option, value);
    case LMX_OPTION_gamma:
        return try_fourier(option, value);
    case LMX_OPTION_eps:
        return which == 0 ? try_fourier(option, value) : try_norm_eps(value);
    case LMX_OPTION_lr:
    case LMX_OPTION_weight_decay:
        return try_step(option, value);
    default:
        return try_loss_option(option, value);
    }
}

/* ---------------------------------------------------------------- walking --- */

static void expect(try_value *run, const lmx_parameter *p, int op, size_t which, double value,
                   bool fits)
{
    memset(out, 0x5b, sizeof out);
    const lmx_status status = run(op, which, value);
    const lmx_status want = fits || (p->flags & LMX_UNCHECKED) != 0 ? LMX_OK : LMX_ERR_ARG;
    if (status != want)
        check_fail("%s = %a: %s", p->name, value, lmx_status_string(status));
    for (size_t i = 0; want != LMX_OK && i < sizeof out; i++)
        CHECK(((unsigned char *)out)[i] == 0x5b);
    check_count(1);
}

static void walk(try_value *run, const lmx_parameter *p, int op, size_t which, bool any_double)
{
    const bool even = (p->flags & LMX_EVEN) != 0, whole = even || (p->flags & LMX_INTEGER) != 0;
    const bool optional = (p->flags & LMX_OPTIONAL) != 0;
    const bool reaches_least = (p->flags & LMX_ABOVE) == 0;
    const double step = even ? 2 : 1;
    CHECK(p->least <= p->greatest && p->standard <= p->greatest);
    expect(run, p, op, which, p->least, reaches_least || (optional && p->least == 0));
    if (p->greatest < DBL_MAX)
        expect(run, p, op, which, p->greatest, true);
    if (whole) {
        expect(run, p, op, which, p->least + step, true);
        expect(run, p, op, which, p->least - step, false);
        if (p->greatest < DBL_MAX)
            expect(run, p, op, which, p->greatest + step, false);
    }
    if (even)
        expect(run, p, op, which, p->least + 1, false);
    if (!any_double)
        return;
    if (whole)
        expect(run, p, op, which, p->least + 0.5, false);
    else
        expect(run, p, op, which, nextafter(p->least, INFINITY), true);
    expect(run, p, op, which, nextafter(p->least, -INFINITY), false);
    expect(run, p, op, which, nextafter(p->greatest, INFINITY), false);
    expect(run, p, op, which, p->greatest, true);
    expect(run, p, op, which, (double)NAN, false);
    expect(run, p, op, which, (double)INFINITY, false);
    expect(run, p, op, which, -(double)INFINITY, false);
}

static void walk_all(try_value *run, const lmx_parameter *p, int op, const char *name)
{
    check_at.test = name;
    for (size_t i = 0; i < LMX_PARAMETERS_MAX && p[i].name != NULL; i++) {
        walk(run, &p[i], op, i, strcmp(p[i].name, "group_size") != 0);
        printf("%s: %s\n", name, p[i].name);
    }
}

int main(void)
{
    check_begin("registry");
    for (int op = 0; op < LMX_ROW_COUNT; op++)
        walk_all(try_row, lmx_row_op_info(op)->parameter, op, lmx_row_op_info(op)->name);
    for (int op = 0; op < LMX_LOSS_COUNT; op++)
        walk_all(try_loss, lmx_loss_info(op)->parameter, op, lmx_loss_info(op)->name);
    for (int op = 0; op < LMX_UNARY_COUNT; op++)
        walk_all(try_unary, lmx_unary_info(op)->parameter, op, lmx_unary_info(op)->name);
    for (int op = 0; op < LMX_CHANNEL_COUNT; op++)
        walk_all(try_channel, lmx_channel_info(op)->parameter, op, lmx_channel_info(op)->name);
    for (int option = 0; option < LMX_OPTION_COUNT; option++) {
        const lmx_parameter *const p = lmx_option_info(option);
        check_at.test = "options";
        for (size_t function = 0; function < 2; function++)
            walk(try_option, p, option, function, true);
    }
    CHECK(lmx_option_info(-1) == NULL && lmx_option_info(LMX_OPTION_COUNT) == NULL);
    return check_end();
}
