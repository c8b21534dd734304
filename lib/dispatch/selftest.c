/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-test of a tier.  Emulators and hypervisors have been seen that announce an instruction
 * set and compute garbage with it, so the results of all kernels are compared with those of the
 * portable tier, which is plain C.
 */
#include "dispatch/selftest.h"
#include "dispatch/registry.h"

#include <string.h>

#include "kernels/fourier/fourier.h"
#include "kernels/gemm/tile.h"
#include "lanemax/lanemax.h"
#include "platform/cpu.h"

#define N      64
#define MASKED 41
#define TARGET 5

/* Fills x with unordered logits from -7 to 7, and y with numbers in (0, 1) for the vjps. */
static void inputs(const lmx_table *t, void *x, void *y)
{
    const lmx_gather as_is = { .stride = 1, .rate = 1 };
    double wide[N];
    float narrow[N];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < N; i++) {
            wide[i] = k == 0 ? (i * 37 % N - 32) * 0.21875 : (i * 11 % N + 1) * 0.0078125;
            narrow[i] = (float)wide[i];
        }
        t->scatter(t->real_size == 8 ? (const void *)wide : narrow, N, &as_is, k == 0 ? x : y);
    }
}

/* The largest result of a kernel: two arrays and sums. */
#define RESULT_BYTES (2 * N * 8 + 192)

typedef struct {
    LMX_ALIGN(64) unsigned char x[N * 8], y[N * 8], scratch[N * 8], result[RESULT_BYTES];
} workspace;

static void run_row(const lmx_table *t, int op, workspace *w)
{
    const lmx_rows rows = { 1,
                            N,
                            w->x,
                            w->y,
                            N,
                            N,
                            N,
                            w->result,
                            w->scratch,
                            0,
                            lmx_row_op_info(op)->parameter[0].standard };
    memset(w->result, 0, sizeof w->result);
    t->row[op]->rows(&rows);
}

/* run_row() for a reference that may have a kernel of reals only; it converts before and after. */
static void run_reference_row(const lmx_table *t, int op, workspace *w)
{
    if (t->row[op]->elem_size == t->elem_size) {
        run_row(t, op, w);
        return;
    }
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    float x[N], y[N], out[N];
    LMX_ALIGN(64) float scratch[2 * N];
    const lmx_row_info *info = lmx_row_op_info(op);
    const int is_row = info->result == LMX_RESULT_ROW;
    const lmx_rows rows = { 1,
                            N,
                            x,
                            y,
                            N,
                            N,
                            N,
                            is_row ? (void *)out : w->result,
                            scratch,
                            0,
                            info->parameter[0].standard };
    t->gather(w->x, N, &as_is, x);
    t->gather(w->y, N, &as_is, y);
    memset(w->result, 0, sizeof w->result);
    t->row[op]->rows(&rows);
    if (is_row)
        t->scatter(out, N, &as_is, w->result);
}

/* On logits o of the kernel's elements; x is the target's. */
static void run_loss_on(const lmx_loss_kernel *kernel, int op, const void *o, double x, void *grad,
                        lmx_loss_row *row)
{
    const lmx_loss_description *info = lmx_loss_info(op);
    const lmx_loss_spec spec = {
        { info->parameter[0].standard, info->parameter[1].standard }, N, 0, 0, 0
    };
    lmx_chunk chunk;
    memset(row, 0, sizeof *row);
    memset(&chunk, 0, sizeof chunk);
    row->x = x;
    row->gradient = 1;
    row->scale = 1;
    do
        kernel->measure(o, N, kernel->skips_target ? TARGET : LMX_NO_TARGET, &spec, row, &chunk);
    while (kernel->finish(&chunk, 1, &spec, row) == LMX_LOSS_AGAIN);
    kernel->gradient(o, N, &chunk, &spec, row, grad, 0);
}

static void keep_loss(const lmx_loss_row *row, workspace *w)
{
    memcpy(w->result + N * 8, &row->loss, sizeof row->loss);
    memcpy(w->result + N * 8 + 8, &row->at_target, sizeof row->at_target);
}

static void run_loss(const lmx_table *t, int op, workspace *w)
{
    lmx_loss_row row;
    t->fill(w->x + MASKED * t->elem_size, 1, 1, 0.25); /* not every loss takes a masked logit */
    memset(w->result, 0, sizeof w->result);
    run_loss_on(t->loss[op], op, w->x, t->get(w->x + TARGET * t->elem_size), w->result, &row);
    keep_loss(&row, w);
}

/* As run_reference_row(). */
static void run_reference_loss(const lmx_table *t, int op, workspace *w)
{
    if (t->loss[op]->elem_size == t->elem_size) {
        run_loss(t, op, w);
        return;
    }
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    float x[N], grad[N];
    lmx_loss_row row;
    t->fill(w->x + MASKED * t->elem_size, 1, 1, 0.25);
    t->gather(w->x, N, &as_is, x);
    memset(w->result, 0, sizeof w->result);
    run_loss_on(t->loss[op], op, x, (double)x[TARGET], grad, &row);
    t->scatter(grad, N, &as_is, w->result);
    keep_loss(&row, w);
}

/* Runs an activation: the values, or the gradient by x and the sums by the parameters. */
static void run_unary(const lmx_table *t, int op, int backward, workspace *w)
{
    const lmx_unary_kernel *kernel = t->unary[op];
    const size_t n = lmx_parameter_count(lmx_unary_info(op)->parameter);
    const double p[LMX_PARAMETERS_MAX] = { n == 0 ? 0 : 2, 0.5 };
    lmx_dd sums[2] = { { 0, 0 }, { 0, 0 } };
    memset(w->result, 0, sizeof w->result);
    if (!backward) {
        kernel->forward(w->x, N, p, n, w->result, 0);
        return;
    }
    kernel->backward(w->y, w->x, N, p, n, w->result, 0);
    if (kernel->sums != NULL)
        kernel->sums(w->y, w->x, N, p, n, sums);
    memcpy(w->result + N * 8, sums, sizeof sums);
}

/*
 * The same for activations of channels; the gradient by the second input follows that by the first.
 */
static void run_channel(const lmx_table *t, int op, int backward, workspace *w)
{
    static const double p[6] = { 0.5, -0.25, 1, 0.125, 0.0625, -0.03125 };
    static const double angles[4] = { 0.25, 0.96875, 0.625, 0.78125 };
    const int rational = op == LMX_CHANNEL_rational;
    lmx_dd sums[10] = { { 0, 0 } };
    for (size_t i = 0; i < 4; i++)
        t->put_value(w->scratch + i * t->real_size, angles[i]);
    const lmx_channel_spec spec = { .cols = N,
                                    .group = rational ? SIZE_MAX : 4,
                                    .p = p,
                                    .np = rational ? 6 : 4,
                                    .p_sets = 1,
                                    .q = p + 1,
                                    .nq = rational ? 4 : 0,
                                    .q_sets = 1,
                                    .eps = 1e-6,
                                    .table = w->scratch,
                                    .pairs = 1 };
    unsigned char *const second = w->result + N * 8;
    const int two = lmx_channel_info(op)->inputs == 2;
    const lmx_piece piece = { .rows = 1,
                              .n = N,
                              .dy = backward ? w->y : NULL,
                              .x = w->x,
                              .up = two ? w->y : NULL,
                              .out = w->result,
                              .up_out = two && backward ? second : NULL,
                              .stride = { N, N, N, N, N },
                              .sums = backward ? sums : NULL,
                              .scratch = second };
    memset(w->result, 0, sizeof w->result);
    (backward ? t->channel[op]->backward : t->channel[op]->forward)(&piece, &spec);
    memcpy(w->result + 2 * N * 8, sums, sizeof sums);
}

/*
 * Products of 2 x 3 with 3 x 36, with the second matrix packed in both ways, and operations on rows
 * of the result.
 */
static void run_tile(const lmx_table *t, workspace *w)
{
    enum { M = 2, K = 3, COLUMNS = 36, PANELS = K * (COLUMNS + 47) + 6 * 8 };
    LMX_ALIGN(64) double block[M * LMX_TILE_ROW], panels[PANELS];
    const lmx_rows_of a = { w->y, K, NULL }, b = { w->x, 7, NULL }, across = { w->x, 1, NULL };
    lmx_tile_product p = { block, 0, M, K, COLUMNS, panels, 0, K, w->result, COLUMNS, 0 };
    unsigned char *const after = w->result + M * COLUMNS * 8;
    memset(w->result, 0, sizeof w->result);
    t->pack->block(&a, 0, M, 0, K, block);
    t->pack->panels(&b, 0, K, 0, COLUMNS, panels);
    t->tile->multiply(&p);
    t->pack->panels_across(&across, 0, COLUMNS, 0, K, panels);
    p.add = 1;
    t->tile->multiply(&p);
    for (size_t i = 0; i < COLUMNS; i++)
        t->put_value((char *)panels + i * t->real_size, 0.25 * (double)i - 4);
    t->tile->add_bias(panels, M, COLUMNS, w->result, COLUMNS);
    t->tile->largest(w->result, COLUMNS, M, COLUMNS, after);
    t->tile->sum_columns(w->result, COLUMNS, M, COLUMNS, (lmx_dd *)(void *)(after + 64));
}

/*
 * The kernels of the Fourier head: powers at a point, sums, products and correlations of a series.
 */
static void run_series(const lmx_fourier_kernel *k, workspace *w)
{
    enum { TERMS = 20, PAD = LMX_FOURIER_LANES };
    LMX_ALIGN(64) double re[3 * PAD] = { 0 }, im[3 * PAD] = { 0 }, index[PAD], far[2];
    double *const out = (double *)(void *)w->result;
    const lmx_series a = { re + PAD, im + PAD, TERMS }, t = { out, out + PAD, TERMS };
    const lmx_series c = { out + 2 * PAD, out + 3 * PAD, TERMS };
    lmx_powers powers = { .far_cos = far, .far_sin = far + 1 };
    memset(w->result, 0, sizeof w->result);
    for (int i = 0; i < PAD; i++)
        index[i] = i;
    k->roots(index, TERMS, 53, a.re, a.im);
    k->phases(index, PAD, 0.3, powers.near_cos, powers.near_sin);
    k->phases(index, 1, 0.3, powers.far_cos, powers.far_sin);
    k->sum(&a, &powers, out + 4 * PAD);
    k->spread(out + 4 * PAD, &powers, &t);
    k->correlate(&a, &c);
    k->correlate_vjp(&c, &a, &t);
    k->multiply(t.re, t.im, powers.near_cos, powers.near_sin, TERMS, 1);
    k->product(&a, &(lmx_rotations){ powers.near_cos, powers.near_sin, 0 }, &t);
    out[4 * PAD + 2] = k->power(&a);
    out[4 * PAD + 3] = k->largest(re, 3 * PAD);
    k->narrow(a.re, TERMS, (float *)(void *)(out + 4 * PAD + 4));
}

static void run_transform(const lmx_fourier_kernel *k, workspace *w)
{
    enum { LENGTH = 64 };
    LMX_ALIGN(64) double cos[LENGTH], sin[LENGTH], work[LMX_FFT_WORK(LENGTH, LMX_FFT_PANEL)];
    const lmx_fft f = { LENGTH, LMX_FFT_PANEL, cos, sin, cos, sin };
    double *const re = (double *)(void *)w->result, *const im = re + LENGTH;
    memset(w->result, 0, sizeof w->result);
    for (int i = 0; i < LENGTH; i++)
        re[i] = im[i] = i;
    k->roots(re, LENGTH, LENGTH, cos, sin);
    k->fft(&f, re, im, work);
}

/* Masks one logit of a function of logits; the inputs of a vjp stay finite. */
static void mask(const lmx_table *t, int op, workspace *w)
{
    const int logits = lmx_row_op_info(op)->inputs == 1;
    t->fill(w->x + MASKED * t->elem_size, 1, 1, logits ? -(double)INFINITY : 0.25);
}

static int same_results(const workspace *a, const workspace *b)
{
    return memcmp(a->result, b->result, RESULT_BYTES) == 0;
}

/* The kernels of output layers and of the Fourier head. */
static int layers_agree(const lmx_table *t, const lmx_table *reference, workspace *a, workspace *b)
{
    run_tile(t, a);
    run_tile(reference, b);
    if (!same_results(a, b))
        return 0;
    run_series(t->fourier, a);
    run_series(reference->fourier, b);
    if (!same_results(a, b))
        return 0;
    run_transform(t->fourier, a);
    run_transform(reference->fourier, b);
    return same_results(a, b);
}

/*
 * The operations on rows whose kernels read this table's elements: all, or the native ones of a
 * 16-bit type.
 */
static int rows_agree(const lmx_table *t, const lmx_table *reference, workspace *a, workspace *b)
{
    for (int op = 0; op < LMX_ROW_COUNT; op++) {
        if (t->row[op]->elem_size != t->elem_size)
            continue;
        mask(t, op, a);
        mask(reference, op, b);
        run_row(t, op, a);
        run_reference_row(reference, op, b);
        if (!same_results(a, b))
            return 0;
    }
    return 1;
}

/* Losses have kernels of their own for 16-bit elements where the operations on rows do. */
static int losses_agree(const lmx_table *t, const lmx_table *reference, workspace *a, workspace *b)
{
    for (int op = 0; op < LMX_LOSS_COUNT; op++) {
        if (t->loss[op]->elem_size != t->elem_size)
            continue;
        run_loss(t, op, a);
        run_reference_loss(reference, op, b);
        if (!same_results(a, b))
            return 0;
    }
    return 1;
}

static int activations_agree(const lmx_table *t, const lmx_table *reference, workspace *a,
                             workspace *b)
{
    for (int i = 0; i < 2 * LMX_UNARY_COUNT; i++) {
        run_unary(t, i / 2, i % 2, a);
        run_unary(reference, i / 2, i % 2, b);
        if (!same_results(a, b))
            return 0;
    }
    for (int i = 0; i < 2 * LMX_CHANNEL_COUNT; i++) {
        run_channel(t, i / 2, i % 2, a);
        run_channel(reference, i / 2, i % 2, b);
        if (!same_results(a, b))
            return 0;
    }
    return 1;
}

/*
 * Conversions of a 16-bit type in both directions, of reals that it has and of reals between them.
 */
static int conversions_agree(const lmx_table *t, const lmx_table *reference, workspace *a,
                             workspace *b)
{
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    float between[N];
    for (int i = 0; i < N; i++)
        between[i] = (float)(i - 20) * 0x1.2345p-3f;
    memset(a->result, 0, sizeof a->result);
    memset(b->result, 0, sizeof b->result);
    t->scatter(between, N, &as_is, a->result);
    reference->scatter(between, N, &as_is, b->result);
    t->gather(a->x, N, &as_is, a->result + N * 8);
    reference->gather(b->x, N, &as_is, b->result + N * 8);
    return same_results(a, b);
}

static int tables_agree(const lmx_table *t, const lmx_table *reference)
{
    workspace a, b;
    inputs(t, a.x, a.y);
    inputs(reference, b.x, b.y);
    if (memcmp(a.x, b.x, N * t->elem_size) != 0 || memcmp(a.y, b.y, N * t->elem_size) != 0)
        return 0;
    if (!rows_agree(t, reference, &a, &b) || !losses_agree(t, reference, &a, &b))
        return 0;
    if (t->elem_size != t->real_size) {
        if (!conversions_agree(t, reference, &a, &b))
            return 0;
    } else if (!activations_agree(t, reference, &a, &b)) {
        return 0;
    }
    if (!layers_agree(t, reference, &a, &b))
        return 0;
    if (t->row[LMX_ROW_softmax]->elem_size != t->elem_size)
        return 1;
    t->fill(a.x, N, 1, 1.5);
    run_row(t, LMX_ROW_softmax, &a);
    for (size_t i = 0; i < N; i++)
        if (t->get(a.result + i * t->elem_size) != 1.0 / N)
            return 0;
    return 1;
}

int lmx_tier_agrees(const lmx_tier *tier, const lmx_tier *reference)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    int good = 1;
    for (size_t d = 0; d < LMX_DTYPES && good; d++)
        good = tables_agree(tier->table[d], reference->table[d]);
    lmx_fpenv_leave(env);
    return good;
}
