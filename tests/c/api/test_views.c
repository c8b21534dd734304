/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of the registry on arrays of any layout and of mixed types: the bits of the same call on contiguous
 * rows of the compute type, one after the other.  Nothing but the elements of the outputs is written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "placed.h"
#include "rows.h"
#include "tiers.h"

/* The index space of a case, and which of its axes are reduced. */
typedef struct space {
    int ndim;
    ptrdiff_t shape[PLACED_NDIM];
    uint64_t axes;
    size_t rows, cols;
} space;

static space random_space(check_random *r, bool one_axis)
{
    static const ptrdiff_t extents[] = { 1, 2, 3, 4, 5, 7, 16, 17, 33 };
    space s = { .ndim = 1 + (int)check_below(r, 4), .rows = 1, .cols = 1 };
    while (s.axes == 0)
        s.axes = one_axis ? LMX_AXIS(check_below(r, (size_t)s.ndim))
                          : check_below(r, (size_t)1 << s.ndim);
    size_t left = 6000;
    for (int i = 0; i < s.ndim; i++) {
        do
            s.shape[i] = extents[check_below(r, sizeof extents / sizeof *extents)];
        while ((size_t)s.shape[i] > left);
        if (s.ndim == 1 && check_below(r, 3) == 0)
            s.shape[0] = 1 + (ptrdiff_t)check_below(r, 40000); /* several chunks */
        left /= (size_t)s.shape[i] > left ? left : (size_t)s.shape[i];
        *(s.axes >> i & 1 ? &s.cols : &s.rows) *= (size_t)s.shape[i];
    }
    return s;
}

static uint64_t kept(const space *s) { return ~s->axes & (LMX_AXIS(s->ndim) - 1); }

/* Element i in C order of the space as an element of contiguous rows. */
static size_t in_rows(const space *s, size_t i)
{
    return placed_index(s->ndim, s->shape, kept(s), i) * s->cols +
           placed_index(s->ndim, s->shape, s->axes, i);
}

static lmx_dtype real_of(lmx_dtype type) { return type == LMX_F64 ? LMX_F64 : LMX_F32; }

/* Another type half of the time; from double never to 16 bits, which would be rounded twice. */
static lmx_dtype other_type(check_random *r, lmx_dtype type)
{
    static const lmx_dtype wide[] = { LMX_F32, LMX_F64 };
    if (check_below(r, 2) == 0)
        return type;
    return type == LMX_F64 ? wide[check_below(r, 2)] : (lmx_dtype)check_below(r, 4);
}

/* An input: random elements, and the same as contiguous rows of reals. */
static void *open_input(placed *p, check_random *r, const space *s, lmx_dtype type, lmx_dtype real,
                        row_kind kind)
{
    placed_open(p, r, (int)type, s->ndim, s->shape, true);
    void *flat = get_memory(p->count * p->size + 8);
    row_fill(type, flat, p->count, kind, r);
    placed_write(p, flat);
    free(flat);
    void *rows = get_memory(p->count * 8 + 8);
    for (size_t i = 0; i < p->count; i++)
        elem_put(real, rows, in_rows(s, i), placed_get(p, i));
    return rows;
}

/* Writes contiguous rows of reals where they belong in a copy of what an array held before. */
static void expect_elements(const placed *p, const space *s, lmx_dtype real, const void *rows,
                            const char *what)
{
    const lmx_dtype type = (lmx_dtype)p->view.dtype;
    for (size_t i = 0; i < p->count; i++) {
        double want = 0, got = 0;
        elem_put(type, &want, 0, elem_get(real, rows, in_rows(s, i)));
        memcpy(&got, placed_at(p, i), p->size);
        if (memcmp(&want, &got, p->size) != 0 && !check_same(&got, &want, p->size, p->size)) {
            check_fail("%s: element %zu of %zu", what, i, p->count);
            return;
        }
    }
}

/* Puts the canary back over all elements: then nothing else may have changed. */
static void expect_untouched(placed *p, const char *what)
{
    for (size_t i = 0; i < p->count; i++)
        memset(placed_at(p, i), 0x5b, p->size);
    for (size_t i = 0; i < p->span; i++)
        if (p->memory[i] != 0x5b) {
            check_fail("%s: byte %zu between its elements was written", what, i);
            break;
        }
    placed_close(p);
}

/* An array that broadcasts: some axes have extent 1, some leading ones are missing; never an axis of `without`. */
static void open_broadcast(placed *p, check_random *r, const space *s, int type, uint64_t without)
{
    ptrdiff_t shape[PLACED_NDIM];
    const int missing = check_below(r, 3) == 0 ? (int)check_below(r, (size_t)s->ndim + 1) : 0;
    for (int i = missing; i < s->ndim; i++)
        shape[i - missing] = (without >> i & 1) != 0 || check_below(r, 3) == 0 ? 1 : s->shape[i];
    placed_open(p, r, type, s->ndim - missing, shape, true);
}

/* The element of an array that broadcasts which belongs to element i of the space. */
static size_t broadcast_index(const placed *p, const space *s, size_t i)
{
    size_t at[PLACED_NDIM], index = 0;
    const int missing = s->ndim - p->view.ndim;
    for (int k = s->ndim - 1; k >= 0; k--) {
        at[k] = i % (size_t)s->shape[k];
        i /= (size_t)s->shape[k];
    }
    for (int k = 0; k < p->view.ndim; k++)
        index = index * (size_t)p->shape[k] + (p->shape[k] == 1 ? 0 : at[k + missing]);
    return index;
}

/* Temperatures of rows, which every type holds exactly; NULL half of the time. */
static double *open_temperature(placed *p, check_random *r, const space *s, const lmx_view **view)
{
    *view = NULL;
    if (check_below(r, 2) == 0)
        return NULL;
    open_broadcast(p, r, s, (int)check_below(r, 4), s->axes);
    for (size_t i = 0; i < p->count; i++)
        placed_put(p, i, 0.25 * (double)(1 + check_below(r, 12)));
    double *rows = get_memory(s->rows * sizeof *rows);
    for (size_t i = 0; i < s->rows * s->cols; i++)
        rows[in_rows(s, i) / s->cols] = placed_get(p, broadcast_index(p, s, i));
    *view = &p->view;
    return rows;
}

/* ---------------------------------------------------------------- rows --- */

static void open_values(placed *p, check_random *r, const space *s, int type)
{
    ptrdiff_t shape[PLACED_NDIM];
    int ndim = 0;
    const bool keepdims = check_below(r, 2) == 0;
    for (int i = 0; i < s->ndim; i++)
        if ((s->axes >> i & 1) == 0 || keepdims)
            shape[ndim++] = s->axes >> i & 1 ? 1 : s->shape[i];
    placed_open(p, r, type, ndim, shape, false);
}

static void try_rows(lmx_row_code op, lmx_dtype type, uint64_t seed)
{
    check_random r = check_random_new(check_at.seed = seed);
    const lmx_row_info *info = lmx_row_op_info((int)op);
    const space s = random_space(&r, false);
    const lmx_dtype real = real_of(type);
    const bool per_row = result_per_row(op), sum = info->result == LMX_RESULT_SUM;
    placed a, b, out, where, temperature, total;
    check_at.n = s.cols;
    void *const xa = open_input(&a, &r, &s, type, real, (row_kind)check_below(&r, N_ROW_KINDS - 1));
    void *const xb = open_input(&b, &r, &s, other_type(&r, type), real,
                                op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_NORMAL);
    const int value = sum ? LMX_EXPSUM : (int)other_type(&r, per_row ? real : type);
    if (per_row)
        open_values(&out, &r, &s, value);
    else
        placed_open(&out, &r, value, s.ndim, s.shape, false);

    lmx_row_options options;
    strided_options same = row_options(op);
    CHECK(lmx_row_options_init(op, &options) == LMX_OK);
    unsigned char *keep = NULL;
    double *rates = NULL;
    lmx_expsum *sums = NULL;
    if ((info->takes & LMX_TAKES_TOTAL) != 0 && check_below(&r, 4) == 0) {
        open_values(&total, &r, &s, LMX_EXPSUM);
        sums = get_memory(s.rows * sizeof *sums);
        for (size_t i = 0; i < s.rows; i++)
            sums[i] = (lmx_expsum){ .mantissa = check_uniform(&r, 0.5, 1),
                                    .exponent = (int64_t)check_below(&r, 40) };
        placed_write(&total, sums);
        options.total = &total.view;
        same.total = sums;
        same.total_row = 1;
    } else {
        if ((info->takes & LMX_TAKES_TEMPERATURE) != 0)
            rates = open_temperature(&temperature, &r, &s, &options.temperature);
        if ((info->takes & LMX_TAKES_WHERE) != 0 && check_below(&r, 2) == 0) {
            open_broadcast(&where, &r, &s, LMX_BOOL, 0);
            for (size_t i = 0; i < where.count; i++)
                *placed_at(&where, i) = check_below(&r, 3) != 0;
            keep = get_memory(s.rows * s.cols);
            for (size_t i = 0; i < s.rows * s.cols; i++)
                keep[in_rows(&s, i)] = *placed_at(&where, broadcast_index(&where, &s, i));
            options.where = &where.view;
        }
    }
    const strided_shape shape = { s.rows, s.cols, 1 };
    const strided_steps steps = { (ptrdiff_t)s.cols, 1, 0 }, to = { per_row ? 1 : steps.row, 1, 0 };
    same.temperature = rates;
    same.temperature_row = 1;
    same.where = keep;
    same.where_strides = steps;
    void *const want = get_memory(s.rows * (per_row ? 1 : s.cols) * (sum ? sizeof(lmx_expsum) : 8));
    CHECK(strided_row_op(ctx_of[n_tiers - 1], op, real, &shape, xa, &steps, xb, &steps, &same, want,
                         &to) == LMX_OK);
    lmx_ctx *const ctx = ctx_of[check_below(&r, n_tiers)];
    check_at.tier = lmx_isa_name(ctx);
    const bool plain = options.total == NULL && rates == NULL && keep == NULL;
    const lmx_status status =
        lmx_row_op(ctx, op, &a.view, &b.view, s.axes, plain ? NULL : &options, &out.view);
    if (status != LMX_OK)
        check_fail("status %s", lmx_status_string(status));
    if (sum) {
        for (size_t i = 0; i < s.rows; i++)
            if (memcmp(placed_at(&out, i), (lmx_expsum *)want + i, sizeof(lmx_expsum)) != 0)
                check_fail("sum %zu of %zu differs", i, s.rows);
    } else if (per_row) {
        const space values = { out.view.ndim, { 0 }, 0, s.rows, 1 };
        space v = values;
        memcpy(v.shape, out.shape, sizeof v.shape);
        expect_elements(&out, &v, real, want, "value");
    } else {
        expect_elements(&out, &s, real, want, "row");
    }
    expect_untouched(&out, "output");
    if (options.total != NULL)
        placed_close(&total);
    if (rates != NULL)
        placed_close(&temperature);
    if (keep != NULL)
        placed_close(&where);
    placed_close(&a);
    placed_close(&b);
    free(xa);
    free(xb);
    free(want);
    free(keep);
    free(rates);
    free(sums);
    check_count(1);
}

/* -------------------------------------------------------------- losses --- */

/* Targets of rows, which every integer type holds; some are ignored. */
static int32_t *open_classes(placed *p, check_random *r, const space *s)
{
    ptrdiff_t shape[PLACED_NDIM];
    int ndim = 0;
    for (int i = 0; i < s->ndim; i++)
        if ((s->axes >> i & 1) == 0)
            shape[ndim++] = s->shape[i];
    const int type = LMX_I8 + (int)check_below(r, 8);
    int32_t *rows = get_memory(s->rows * sizeof *rows);
    placed_open(p, r, type, ndim, shape, false);
    for (size_t i = 0; i < s->rows; i++) {
        const size_t most = s->cols < 100 ? s->cols : 100;
        rows[i] = check_below(r, 6) == 0 ? 127 : (int32_t)check_below(r, most);
        const int64_t v = rows[i];
        memcpy(placed_at(p, i), &v, p->size); /* little-endian, as all that is tested here */
    }
    return rows;
}

static void try_loss(lmx_loss_code op, lmx_dtype type, uint64_t seed)
{
    check_random r = check_random_new(check_at.seed = seed);
    const lmx_loss_description *info = lmx_loss_info((int)op);
    const space s = random_space(&r, true);
    const lmx_dtype real = real_of(type);
    int axis = 0;
    while ((s.axes >> axis & 1) == 0)
        axis++;
    placed x, classes, soft, weight, temperature, adversarial, loss, grad, other_grad;
    check_at.n = s.cols;
    void *const logits =
        open_input(&x, &r, &s, type, real, check_below(&r, 4) != 0 ? ROW_NORMAL : ROW_WIDE);
    lmx_loss_options o, same;
    CHECK(lmx_loss_options_init(op, &o) == LMX_OK);
    o.ignore_index = 127;
    o.reduction = (lmx_reduction)check_below(&r, 3);
    const bool mixed = (info->takes & LMX_TAKES_PROBABILITIES) != 0;
    const bool is_soft = mixed && check_below(&r, 3) == 0;
    if ((info->takes & LMX_TAKES_LABEL_SMOOTHING) != 0 && check_below(&r, 3) == 0)
        o.label_smoothing = 0.125;
    if ((info->takes & LMX_TAKES_SOFTCAP) != 0 && check_below(&r, 4) == 0)
        o.softcap = 20;
    same = o;

    int32_t *const rows_of = open_classes(&classes, &r, &s);
    void *const probabilities = open_input(&soft, &r, &s, other_type(&r, real), real, ROW_UNIT);
    strided vw, vt, va, vag;
    double *numbers = NULL, *rates = NULL;
    const ptrdiff_t cols = (ptrdiff_t)s.cols;
    placed_open(&weight, &r, (int)check_below(&r, 4), 1, &cols, true);
    if (check_below(&r, 2) == 0) {
        numbers = get_memory(s.cols * sizeof *numbers);
        for (size_t i = 0; i < s.cols; i++)
            placed_put(&weight, i, 0.25 * (double)(1 + check_below(&r, 12)));
        for (size_t i = 0; i < s.cols; i++)
            numbers[i] = placed_get(&weight, i);
        o.weight = &weight.view;
        same.weight = strided_vector(&vw, numbers, LMX_F64, s.cols);
    }
    const strided_shape shape = { s.rows, s.cols, 1 }, one = { s.rows, 1, 1 };
    const strided_steps steps = { cols, 1, 0 }, each = { 1, 0, 0 };
    const size_t count = s.rows * s.cols;
    const bool two = (info->takes & LMX_TAKES_ADVERSARIAL) != 0 && check_below(&r, 2) == 0;
    if ((info->takes & LMX_TAKES_TEMPERATURE) != 0 && !two)
        rates = open_temperature(&temperature, &r, &s, &o.temperature);
    if (rates != NULL)
        same.temperature = strided_view(&vt, rates, LMX_F64, &one, &each);
    void *const adversary =
        open_input(&adversarial, &r, &s, other_type(&r, type), real, ROW_NORMAL);
    void *const want_grad = get_memory(count * 8), *const want_other = get_memory(count * 8);
    placed_open(&grad, &r, (int)other_type(&r, type), s.ndim, s.shape, false);
    placed_open(&other_grad, &r, (int)other_type(&r, type), s.ndim, s.shape, false);
    if (two) {
        o.adversarial = &adversarial.view;
        o.adversarial_grad = &other_grad.view;
        same.adversarial = strided_view(&va, adversary, (int)real, &shape, &steps);
        same.adversarial_grad = strided_view(&vag, want_other, (int)real, &shape, &steps);
    }
    const bool none = o.reduction == LMX_NONE, backward = check_below(&r, 3) != 0;
    placed_open(&loss, &r, (int)other_type(&r, real), none ? classes.view.ndim : 0, classes.shape,
                false);
    double *const want = get_memory((s.rows + 1) * sizeof *want);
    CHECK(strided_loss(ctx_of[n_tiers - 1], op, real, &shape, logits, &steps,
                       is_soft ? probabilities : (void *)rows_of, is_soft ? (int)real : LMX_I32, 1,
                       &same, want, 1, backward ? want_grad : NULL, &steps) == LMX_OK);
    lmx_ctx *const ctx = ctx_of[check_below(&r, n_tiers)];
    check_at.tier = lmx_isa_name(ctx);
    const lmx_status status = lmx_loss(
        ctx, op, &x.view, check_below(&r, 2) == 0 ? axis : axis - s.ndim,
        is_soft ? &soft.view : &classes.view, &o, &loss.view, backward ? &grad.view : NULL);
    if (status != LMX_OK)
        check_fail("status %s", lmx_status_string(status));
    space values = { loss.view.ndim, { 0 }, 0, loss.count, 1 };
    memcpy(values.shape, loss.shape, sizeof values.shape);
    expect_elements(&loss, &values, real, want, "loss");
    if (backward) {
        expect_elements(&grad, &s, real, want_grad, "gradient");
        if (two)
            expect_elements(&other_grad, &s, real, want_other, "adversarial gradient");
    }
    expect_untouched(&loss, "loss");
    expect_untouched(&grad, "gradient");
    expect_untouched(&other_grad, "adversarial gradient");
    if (rates != NULL)
        placed_close(&temperature);
    placed_close(&x);
    placed_close(&classes);
    placed_close(&soft);
    placed_close(&weight);
    placed_close(&adversarial);
    free(logits);
    free(rows_of);
    free(probabilities);
    free(numbers);
    free(rates);
    free(adversary);
    free(want_grad);
    free(want_other);
    free(want);
    check_count(1);
}

/* --------------------------------------------------------- activations --- */

static void try_unary(lmx_unary_code op, lmx_dtype type, uint64_t seed)
{
    static const double weights[4] = { 0.5, -0.25, 1, 0.75 }, three = 3;
    check_random r = check_random_new(check_at.seed = seed);
    const lmx_unary_description *info = lmx_unary_info((int)op);
    space s = random_space(&r, true);
    s.axes = LMX_AXIS(s.ndim - 1); /* a bias lies along the last axis */
    s.cols = (size_t)s.shape[s.ndim - 1];
    s.rows = 1;
    for (int i = 0; i + 1 < s.ndim; i++)
        s.rows *= (size_t)s.shape[i];
    const lmx_dtype real = real_of(type);
    placed x, dy, out, bias;
    check_at.n = s.cols;
    void *const xs = open_input(&x, &r, &s, type, real, ROW_NORMAL);
    void *const dys = open_input(&dy, &r, &s, other_type(&r, type), real, ROW_NORMAL);
    double by_parameter[2][LMX_UNARY_PARAMETERS] = { { 0 } };
    double *const by_bias = get_memory(2 * s.cols * sizeof *by_bias);
    void *const biases = get_memory(s.cols * 8), *const want = get_memory(s.rows * s.cols * 8);
    const ptrdiff_t cols = (ptrdiff_t)s.cols;
    const bool backward = check_below(&r, 2) == 0;
    lmx_unary_options o, same;
    CHECK(lmx_unary_options_init(&o) == LMX_OK);
    if (info->parameter[0].name != NULL) {
        o.parameter = op == LMX_UNARY_poly_relu ? weights : &three;
        o.parameters = op == LMX_UNARY_poly_relu ? 4 : 1;
        if ((info->parameter[0].flags & LMX_LEARNED) != 0 && check_below(&r, 2) == 0)
            o.parameter_grad = by_parameter[0];
    }
    strided vb;
    same = o;
    if (o.parameter_grad != NULL)
        same.parameter_grad = by_parameter[1];
    placed_open(&bias, &r, (int)other_type(&r, real), 1, &cols, true);
    if (check_below(&r, 3) == 0) {
        for (size_t i = 0; i < s.cols; i++)
            placed_put(&bias, i, check_uniform(&r, -1, 1));
        for (size_t i = 0; i < s.cols; i++)
            elem_put(real, biases, i, placed_get(&bias, i));
        o.bias = &bias.view;
        o.bias_grad = by_bias;
        same.bias = strided_vector(&vb, biases, (int)real, s.cols);
        same.bias_grad = by_bias + s.cols;
    }
    placed_open(&out, &r, (int)other_type(&r, type), s.ndim, s.shape, false);
    lmx_ctx *const ctx = ctx_of[check_below(&r, n_tiers)];
    check_at.tier = lmx_isa_name(ctx);
    const strided_shape shape = { s.rows, s.cols, 1 };
    const strided_steps steps = { cols, 1, 0 };
    if (backward) {
        CHECK(strided_unary_vjp(ctx_of[n_tiers - 1], op, real, &shape, dys, &steps, xs, &steps,
                                &same, want, &steps) == LMX_OK);
        CHECK(lmx_unary_vjp(ctx, op, &dy.view, &x.view, &o, &out.view) == LMX_OK);
        CHECK(memcmp(by_parameter[0], by_parameter[1], sizeof by_parameter[0]) == 0);
        if (o.bias != NULL)
            CHECK(memcmp(by_bias, by_bias + s.cols, s.cols * sizeof *by_bias) == 0);
    } else {
        CHECK(strided_unary(ctx_of[n_tiers - 1], op, real, &shape, xs, &steps, &same, want,
                            &steps) == LMX_OK);
        CHECK(lmx_unary(ctx, op, &x.view, &o, &out.view) == LMX_OK);
    }
    expect_elements(&out, &s, real, want, "activation");
    expect_untouched(&out, "activation");
    placed_close(&x);
    placed_close(&dy);
    placed_close(&bias);
    free(xs);
    free(dys);
    free(by_bias);
    free(biases);
    free(want);
    check_count(1);
}

/* Parameters that the operation needs, and channels that divide into its groups. */
static void channel_options(lmx_channel_code op, lmx_channel_options *o, double *sums)
{
    static const double weights[4] = { 0.5, -0.25, 1, 0.75 };
    CHECK(lmx_channel_options_init(o) == LMX_OK);
    o->group_size = 4;
    if (op != LMX_CHANNEL_rational && op != LMX_CHANNEL_poly_norm &&
        op != LMX_CHANNEL_poly_norm_glu && op != LMX_CHANNEL_householder)
        return;
    o->parameter = weights;
    o->parameters = op == LMX_CHANNEL_householder ? 1 : 4;
    o->parameter_grad = sums;
    if (op != LMX_CHANNEL_rational)
        return;
    o->denominator = weights + 1;
    o->denominators = 2;
    o->denominator_grad = sums + 4;
}

static void try_channel(lmx_channel_code op, lmx_dtype type, uint64_t seed)
{
    check_random r = check_random_new(check_at.seed = seed);
    space s = random_space(&r, true);
    int axis = 0;
    while ((s.axes >> axis & 1) == 0)
        axis++;
    s.shape[axis] = (s.shape[axis] + 3) / 4 * 4;
    s.cols = (size_t)s.shape[axis];
    const lmx_dtype real = real_of(type);
    const bool two = lmx_channel_info((int)op)->inputs == 2, backward = check_below(&r, 2) == 0;
    placed x, dy, up, out, out_up;
    check_at.n = s.cols;
    void *const xs = open_input(&x, &r, &s, type, real, ROW_NORMAL);
    void *const dys = open_input(&dy, &r, &s, other_type(&r, type), real, ROW_NORMAL);
    void *const ups = open_input(&up, &r, &s, other_type(&r, type), real, ROW_NORMAL);
    void *const want[2] = { get_memory(s.rows * s.cols * 8), get_memory(s.rows * s.cols * 8) };
    double sums[2][8] = { { 0 } };
    lmx_channel_options o, same;
    channel_options(op, &o, sums[0]);
    channel_options(op, &same, sums[1]);
    placed_open(&out, &r, (int)other_type(&r, type), s.ndim, s.shape, false);
    placed_open(&out_up, &r, (int)other_type(&r, type), s.ndim, s.shape, false);
    lmx_ctx *const ctx = ctx_of[check_below(&r, n_tiers)], *const last = ctx_of[n_tiers - 1];
    check_at.tier = lmx_isa_name(ctx);
    const strided_shape shape = { s.rows, s.cols, 1 };
    const strided_steps steps = { (ptrdiff_t)s.cols, 1, 0 };
    const lmx_view *const second = two ? &up.view : NULL;
    const int at = check_below(&r, 2) == 0 ? axis : axis - s.ndim;
    if (backward) {
        CHECK(strided_channel_vjp(last, op, real, &shape, dys, &steps, xs, &steps, two ? ups : NULL,
                                  &steps, &same, want[0], &steps, two ? want[1] : NULL,
                                  &steps) == LMX_OK);
        CHECK(lmx_channel_vjp(ctx, op, &dy.view, &x.view, second, at, &o, &out.view,
                              two ? &out_up.view : NULL) == LMX_OK);
        CHECK(memcmp(sums[0], sums[1], sizeof sums[0]) == 0);
        if (two)
            expect_elements(&out_up, &s, real, want[1], "gradient by up");
    } else {
        CHECK(strided_channel(last, op, real, &shape, xs, &steps, two ? ups : NULL, &steps, &same,
                              want[0], &steps) == LMX_OK);
        CHECK(lmx_channel(ctx, op, &x.view, second, at, &o, &out.view) == LMX_OK);
    }
    expect_elements(&out, &s, real, want[0], "activation");
    expect_untouched(&out, "activation");
    expect_untouched(&out_up, "gradient by up");
    placed_close(&x);
    placed_close(&dy);
    placed_close(&up);
    free(xs);
    free(dys);
    free(ups);
    free(want[0]);
    free(want[1]);
    check_count(1);
}

/* ------------------------------------------------------------------ main --- */

int main(void)
{
    check_begin("views");
    for (int i = 0; lmx_isa_available(i) != NULL; i++)
        ctx_of[n_tiers++] = ctx_with(1 + (unsigned)(i == 0), lmx_isa_available(i));
    const uint64_t cases = check_full ? 2000 : check_fast || check_noguard ? 16 : 300;
    for (int t = 0; t < N_DTYPES; t++) {
        const lmx_dtype type = (lmx_dtype)t;
        check_at.dtype = dtype_name(type);
        for (uint64_t seed = 1; seed <= cases; seed++) {
            for (int i = 0; i < LMX_ROW_COUNT; i++) {
                check_at.test = lmx_row_op_info(i)->name;
                try_rows((lmx_row_code)i, type, seed);
            }
            for (int i = 0; i < LMX_LOSS_COUNT; i++) {
                check_at.test = lmx_loss_info(i)->name;
                try_loss((lmx_loss_code)i, type, seed);
            }
            for (int i = 0; i < LMX_UNARY_COUNT; i++) {
                check_at.test = lmx_unary_info(i)->name;
                try_unary((lmx_unary_code)i, type, seed);
            }
            for (int i = 0; i < LMX_CHANNEL_COUNT; i++) {
                check_at.test = lmx_channel_info(i)->name;
                try_channel((lmx_channel_code)i, type, seed);
            }
        }
    }
    for (size_t i = 0; i < n_tiers; i++)
        lmx_ctx_free(ctx_of[i]);
    return check_end();
}
