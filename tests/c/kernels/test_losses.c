/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every loss of the registry, for one element type: no byte outside the arrays is read or written, the
 * logits stay, and the bits are those of the portable tier whatever the tier, the alignment, the
 * number of threads, and in place or not.  Their hash is compared with golden.txt.
 *
 *   test_losses DTYPE GOLDEN [--update]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"
#include "tiers.h"

/* Settings of a loss, tried one after the other: options beyond what it takes are not set. */
#define SETTINGS 4

static lmx_loss_options options_of(lmx_loss_code op, unsigned set, const lmx_view *weight)
{
    lmx_loss_options o;
    CHECK(lmx_loss_options_init(op, &o) == LMX_OK);
    const unsigned takes = lmx_loss_info((int)op)->takes;
    o.reduction = LMX_NONE;
    o.weight = set & 1 ? weight : NULL;
    if (op == LMX_LOSS_taylor_softmax_loss && set >= 2)
        o.parameter[0] = 2 + 2 * set;
    if (op == LMX_LOSS_comp_sum_loss)
        o.parameter[0] = 0.5 * set;
    if (op == LMX_LOSS_z_loss && set >= 2) {
        o.parameter[0] = 0.7;
        o.parameter[1] = 2.5;
    }
    if (set >= 2 && (takes & LMX_TAKES_LABEL_SMOOTHING) != 0)
        o.label_smoothing = 0.125;
    if (set == 3 && (takes & LMX_TAKES_LOGZ_PENALTY) != 0)
        o.logz_penalty = 0.0625;
    if (set == 3 && (takes & LMX_TAKES_SOFTCAP) != 0)
        o.softcap = 20;
    return o;
}

static lmx_status loss_call(lmx_ctx *ctx, lmx_loss_code op, size_t rows, size_t cols, const void *x,
                            const int32_t *target, const lmx_loss_options *o, void *loss,
                            void *grad)
{
    const strided_shape shape = { rows, cols, 1 };
    const strided_steps strides = { (ptrdiff_t)cols, 1, 0 };
    return strided_loss(ctx, op, dtype, &shape, x, &strides, target, LMX_I32, 1, o, loss, 1, grad,
                        &strides);
}

/* ------------------------------------------------------------------- grid --- */

typedef struct grid {
    check_buffer x, loss, grad;
    void *data, *want; /* the row, its gradient */
    double want_loss;
    double *weight;
} grid;

static void try_cell(const grid *g, lmx_ctx *ctx, lmx_loss_code op, size_t n, int32_t target,
                     const lmx_loss_options *o, size_t offset, check_flush flush, bool in_place)
{
    const size_t bytes = n * size, away = check_noguard ? 512 : 0;
    check_at.in_offset = check_at.out_offset = offset;
    void *const x = check_put(&g->x, bytes, flush, offset * size + away);
    void *const loss = check_put(&g->loss, real_size, flush, offset % 4 * real_size + away);
    void *const grad =
        in_place ? x : check_put(&g->grad, bytes, flush, (offset * 5 + 1) % 16 * size + away);
    memcpy(x, g->data, bytes);
    if (!in_place) { /* the loss alone */
        CHECK(loss_call(ctx, op, 1, n, x, &target, o, loss, NULL) == LMX_OK);
        check_same(loss, &g->want_loss, real_size, real_size);
        check_canaries(&g->loss, loss, real_size);
    }
    CHECK(loss_call(ctx, op, 1, n, x, &target, o, loss, grad) == LMX_OK);
    check_same(loss, &g->want_loss, real_size, real_size);
    check_same(grad, g->want, bytes, size);
    if (!in_place && memcmp(x, g->data, bytes) != 0)
        check_fail("the logits were written");
    check_canaries(&g->x, x, bytes);
    check_canaries(&g->loss, loss, real_size);
    if (!in_place)
        check_canaries(&g->grad, grad, bytes);
    check_count(1);
}

static void test_grid(lmx_loss_code op)
{
    static const size_t edges[] = { 511, 512, 513, 1023, 1025, 4097, 16383, 16384, 16385, 33000 };
    const size_t longest = 33000, small = 140;
    const size_t cases = small + sizeof edges / sizeof *edges;
    grid g;
    g.data = get_memory(longest * size);
    g.want = get_memory(longest * size);
    g.weight = get_memory(longest * sizeof(double));
    check_random r = check_random_new(5);
    for (size_t i = 0; i < longest; i++)
        g.weight[i] = check_uniform(&r, 0.25, 2);
    const size_t step = check_fast ? 8 : 3;
    for (size_t k = 0; k < cases; k++) {
        const size_t n = k < small ? k + 1 : edges[k - small];
        if (check_fast && (n > 4097 || k % 3 != 0))
            continue;
        /* for this n: every cell compares all of its canaries */
        g.x = check_buffer_new(n * size + 2048);
        g.loss = check_buffer_new(2048);
        g.grad = check_buffer_new(n * size + 2048);
        for (unsigned set = 0; set < SETTINGS; set++) {
            strided weight;
            const lmx_loss_options o =
                options_of(op, set, strided_vector(&weight, g.weight, LMX_F64, n));
            const row_kind kind = (row_kind)((k * 5 + set) % N_ROW_KINDS);
            check_at.n = n;
            check_at.seed = 100 * n + set;
            r = check_random_new(check_at.seed);
            row_fill(dtype, g.data, n, kind, &r);
            const int32_t target = (int32_t)check_below(&r, n);
            CHECK(loss_call(ctx_of[n_tiers - 1], op, 1, n, g.data, &target, &o, &g.want_loss,
                            g.want) == LMX_OK);
            for (size_t t = 0; t < n_tiers; t++) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                for (size_t offset = k % step; offset < 16; offset += step) {
                    try_cell(&g, ctx_of[t], op, n, target, &o, offset, CHECK_START, false);
                    try_cell(&g, ctx_of[t], op, n, target, &o, offset, CHECK_END, false);
                    try_cell(&g, ctx_of[t], op, n, target, &o, offset, CHECK_END, true);
                    if (n > 600)
                        break;
                }
            }
        }
        check_buffer_free(&g.x);
        check_buffer_free(&g.loss);
        check_buffer_free(&g.grad);
    }
    free(g.data);
    free(g.want);
    free(g.weight);
}

/* ---------------------------------------------------------------- threads --- */

/* Rows together, summed, on several threads and tiers: the bits of one thread. */
static void test_threads(lmx_loss_code op)
{
    static const struct {
        size_t rows, cols;
    } shapes[] = { { 700, 200 }, { 3, 40000 }, { 1, 70000 }, { 40, 9000 } };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const size_t rows = shapes[k].rows, cols = shapes[k].cols, n = rows * cols;
        if (check_fast && k > 1)
            break;
        void *const x = get_memory(n * size), *const want = get_memory(n * size);
        void *const got = get_memory(n * size);
        int32_t *const target = get_memory(rows * sizeof *target);
        check_random r = check_random_new(check_at.seed = 900 + k);
        for (size_t i = 0; i < rows; i++) {
            row_fill(dtype, (char *)x + i * cols * size, cols,
                     (row_kind)(i % 7 == 3 ? ROW_PEAK : ROW_NORMAL), &r);
            target[i] = i % 11 == 5 ? -100 : (int32_t)check_below(&r, cols);
        }
        lmx_loss_options o = options_of(op, (unsigned)k % SETTINGS & 2, NULL);
        o.reduction = LMX_MEAN;
        double loss = 0, same = 0;
        CHECK(loss_call(NULL, op, rows, cols, x, target, &o, &loss, want) == LMX_OK);
        for (unsigned threads = 1; threads <= 4; threads++)
            for (size_t t = 0; t < n_tiers; t++) {
                if (t > 0 && threads != 2)
                    continue;
                lmx_ctx *const ctx = ctx_with(threads, lmx_isa_name(ctx_of[t]));
                check_at.tier = lmx_isa_name(ctx);
                check_at.n = cols;
                memset(got, 0x5b, n * size);
                CHECK(loss_call(ctx, op, rows, cols, x, target, &o, &same, got) == LMX_OK);
                check_same(&same, &loss, real_size, real_size);
                check_same(got, want, n * size, size);
                check_count(rows);
                lmx_ctx_free(ctx);
            }
        free(x);
        free(want);
        free(got);
        free(target);
    }
}

/* ------------------------------------------------------ adversarial logits --- */

/* Guarded memory for both kinds of logits and gradients, every tier, in place and not. */
static void test_adversarial(void)
{
    static const size_t lengths[] = { 1, 2, 7, 16, 31, 33, 64, 100, 257, 1025, 16385 };
    const size_t away = check_noguard ? 512 : 0;
    check_at.test = "adversarial";
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const size_t n = check_at.n = lengths[k], bytes = n * size;
        if (check_fast && n > 2000)
            continue;
        check_buffer buffer[4];
        void *data[2], *want[2];
        for (size_t i = 0; i < 4; i++)
            buffer[i] = check_buffer_new(bytes + 2048);
        for (size_t i = 0; i < 2; i++) {
            data[i] = get_memory(bytes);
            want[i] = get_memory(bytes);
        }
        for (size_t kind = 0; kind < N_ROW_KINDS; kind++) {
            check_random r = check_random_new(check_at.seed = 31 * n + kind);
            row_fill(dtype, data[0], n, (row_kind)kind, &r);
            row_fill(dtype, data[1], n, (row_kind)(kind % 3 == 0 ? kind : ROW_NORMAL), &r);
            const int32_t target = (int32_t)check_below(&r, n);
            double want_loss = 0, loss = 0;
            for (size_t t = n_tiers; t-- > 0;)
                for (int in_place = 0; in_place < 2; in_place++) {
                    void *at[4];
                    check_at.tier = lmx_isa_name(ctx_of[t]);
                    for (size_t i = 0; i < 4; i++)
                        at[i] = check_put(&buffer[i], bytes, i & 1 ? CHECK_START : CHECK_END,
                                          (k + i) % 5 * size + away);
                    memcpy(at[0], data[0], bytes);
                    memcpy(at[1], data[1], bytes);
                    if (in_place) {
                        at[2] = at[0];
                        at[3] = at[1];
                    }
                    lmx_loss_options o = options_of(LMX_LOSS_comp_sum_loss, 3, NULL);
                    const strided_shape shape = { 1, n, 1 };
                    const strided_steps steps = { (ptrdiff_t)n, 1, 0 };
                    strided a, a_grad;
                    o.adversarial = strided_view(&a, at[1], (int)dtype, &shape, &steps);
                    o.adversarial_grad = strided_view(&a_grad, at[3], (int)dtype, &shape, &steps);
                    o.rho = 0.75;
                    o.nu = 1.5;
                    CHECK(loss_call(ctx_of[t], LMX_LOSS_comp_sum_loss, 1, n, at[0], &target, &o,
                                    &loss, at[2]) == LMX_OK);
                    if (t == n_tiers - 1 && !in_place) {
                        want_loss = loss;
                        memcpy(want[0], at[2], bytes);
                        memcpy(want[1], at[3], bytes);
                    }
                    check_same(&loss, &want_loss, real_size, real_size);
                    check_same(at[2], want[0], bytes, size);
                    check_same(at[3], want[1], bytes, size);
                    for (size_t i = 0; i < (in_place ? 2u : 4u); i++)
                        check_canaries(&buffer[i], at[i], bytes);
                    check_count(1);
                }
        }
        for (size_t i = 0; i < 4; i++)
            check_buffer_free(&buffer[i]);
        for (size_t i = 0; i < 2; i++) {
            free(data[i]);
            free(want[i]);
        }
    }
}

/* ----------------------------------------------------------------- golden --- */

/* The same data for every loss and tier: drawn once. */
static void hash_all(uint64_t hash[LMX_LOSS_COUNT][MAX_TIERS])
{
    static const size_t lengths[] = { 1, 2, 3, 16, 17, 33, 64, 100, 257, 1025, 16385 };
    const size_t longest = 16385;
    void *const x = get_memory(longest * size), *const grad = get_memory(longest * size);
    double *const weight = get_memory(longest * sizeof *weight);
    check_random r = check_random_new(1);
    for (size_t i = 0; i < longest; i++)
        weight[i] = check_uniform(&r, 0.25, 2);
    for (int i = 0; i < LMX_LOSS_COUNT; i++)
        for (size_t t = 0; t < n_tiers; t++)
            hash[i][t] = CHECK_HASH_SEED;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
        for (size_t kind = 0; kind < N_ROW_KINDS; kind++)
            for (unsigned set = 0; set < SETTINGS; set++) {
                const size_t n = lengths[k];
                if (n > 20 && (kind + k) % (n > 200 ? 9 : 3) != 0)
                    continue;
                r = check_random_new(n * 1000 + kind * 10 + set);
                row_fill(dtype, x, n, (row_kind)kind, &r);
                const int32_t target = (int32_t)check_below(&r, n);
                strided vector;
                const lmx_view *const classes = strided_vector(&vector, weight, LMX_F64, n);
                for (int i = 0; i < LMX_LOSS_COUNT; i++) {
                    const lmx_loss_options o = options_of((lmx_loss_code)i, set, classes);
                    check_at.test = lmx_loss_info(i)->name;
                    for (size_t t = 0; t < n_tiers; t++) {
                        double loss = 0;
                        check_at.tier = lmx_isa_name(ctx_of[t]);
                        CHECK(loss_call(ctx_of[t], (lmx_loss_code)i, 1, n, x, &target, &o, &loss,
                                        grad) == LMX_OK);
                        hash[i][t] = check_hash(hash[i][t], &loss, real_size);
                        hash[i][t] = check_hash(hash[i][t], grad, n * size);
                    }
                }
            }
    free(x);
    free(grad);
    free(weight);
}

/* -------------------------------------------------------------- arguments --- */

static bool is_filled(const void *p, size_t n)
{
    const unsigned char *const bytes = p;
    size_t same = 0;
    while (same < n && bytes[same] == 0x77)
        same++;
    return same == n;
}

static void test_arguments(void)
{
    enum { N = 6 };
    double x[2 * N] = { 0 }, grad[2 * N], loss[2];
    int32_t target[2] = { 1, 5 };
    const strided_shape shape = { 2, N, 1 };
    const strided_steps in = { N, 1, 0 }, zero = { 0, 1, 0 };
    lmx_loss_options o;
    strided other;
    check_at.test = "arguments";
    const lmx_loss_code ce = LMX_LOSS_cross_entropy, z = LMX_LOSS_z_loss;
#define TRY(op, type, shape_, x_, sx, t, tt, o_, loss_, grad_, sg, want)                     \
  do {                                                                                       \
    memset(grad, 0x77, sizeof grad);                                                         \
    memset(loss, 0x77, sizeof loss);                                                         \
    CHECK(strided_loss(NULL, op, type, shape_, x_, sx, t, tt, 1, o_, loss_, 1, grad_, sg) == \
          (want));                                                                           \
    CHECK(is_filled(grad, sizeof grad) && is_filled(loss, sizeof loss));                     \
    check_count(1);                                                                          \
  } while (0)
    TRY((lmx_loss_code)99, LMX_F64, &shape, x, &in, target, LMX_I32, NULL, loss, grad, &in,
        LMX_ERR_OP);
    TRY(ce, (lmx_dtype)9, &shape, x, &in, target, LMX_I32, NULL, loss, grad, &in, LMX_ERR_DTYPE);
    TRY(ce, LMX_F64, NULL, x, &in, target, LMX_I32, NULL, loss, grad, &in, LMX_ERR_NULL);
    TRY(ce, LMX_F64, &shape, NULL, &in, target, LMX_I32, NULL, loss, grad, &in, LMX_ERR_NULL);
    TRY(ce, LMX_F64, &shape, x, &in, NULL, LMX_I32, NULL, loss, grad, &in, LMX_ERR_NULL);
    TRY(ce, LMX_F64, &shape, x, &in, target, LMX_I32, NULL, NULL, grad, &in, LMX_ERR_NULL);
    TRY(ce, LMX_F64, &shape, x, &in, target, (lmx_int)77, NULL, loss, grad, &in, LMX_ERR_DTYPE);
    TRY(ce, LMX_F64, &shape, x, &in, target, LMX_I32, NULL, loss, grad, &zero, LMX_ERR_STRIDE);
    TRY(ce, LMX_F64, &shape, x, &in, target, LMX_I32, NULL, loss, x + 1, &in, LMX_ERR_OVERLAP);
    const strided_shape none = { 2, 0, 1 };
    TRY(ce, LMX_F64, &none, x, &in, target, LMX_I32, NULL, loss, grad, &in, LMX_ERR_SHAPE);
    static const int32_t wrong[] = { 6, -1, -99, INT32_MIN };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        target[1] = wrong[i];
        TRY(ce, LMX_F64, &shape, x, &in, target, LMX_I32, NULL, loss, grad, &in, LMX_ERR_LABEL);
    }
    const uint64_t large[2] = { 0, UINT64_MAX - 99 }; /* -100 as a signed number */
    TRY(ce, LMX_F64, &shape, x, &in, large, LMX_U64, NULL, loss, grad, &in, LMX_ERR_LABEL);
    target[1] = 5;
#define TRY_OPTION(op, field, value, want)        \
  CHECK(lmx_loss_options_init(op, &o) == LMX_OK); \
  o.field = value;                                \
  TRY(op, LMX_F64, &shape, x, &in, target, LMX_I32, &o, loss, grad, &in, want)
    TRY_OPTION(ce, tag, 0, LMX_ERR_ARG);
    TRY_OPTION(ce, tag, sizeof o, LMX_ERR_ARG);
    /* Of the right size, but of another type: their first fields have the same place. */
    lmx_fourier_options fourier;
    CHECK(lmx_fourier_options_init(&fourier) == LMX_OK);
    TRY_OPTION(ce, tag, fourier.tag - sizeof fourier + sizeof o, LMX_ERR_ARG);
    TRY_OPTION(ce, label_smoothing, 1.5, LMX_ERR_ARG);
    TRY_OPTION(ce, label_smoothing, (double)NAN, LMX_ERR_ARG);
    TRY_OPTION(ce, logz_penalty, -1, LMX_ERR_ARG);
    TRY_OPTION(ce, softcap, (double)INFINITY, LMX_ERR_ARG);
    TRY_OPTION(ce, reduction, (lmx_reduction)3, LMX_ERR_ARG);
    TRY_OPTION(z, parameter[0], 0, LMX_ERR_ARG);
    TRY_OPTION(z, parameter[1], (double)NAN, LMX_ERR_ARG);
    TRY_OPTION(z, label_smoothing, 0.5, LMX_ERR_OP);
    TRY_OPTION(z, softcap, 5, LMX_ERR_OP);
    TRY(z, LMX_F64, &shape, x, &in, x, LMX_F64, NULL, loss, grad, &in, LMX_ERR_OP);
    const lmx_view *const like = strided_view(&other, x, LMX_F64, &shape, &in);
    TRY_OPTION(z, adversarial, like, LMX_ERR_OP);
    TRY_OPTION(LMX_LOSS_comp_sum_loss, adversarial, like,
               LMX_ERR_NULL); /* no place for its gradient */
    TRY_OPTION(LMX_LOSS_taylor_softmax_loss, parameter[0], 3, LMX_ERR_ARG);
    TRY_OPTION(LMX_LOSS_taylor_softmax_loss, parameter[0], 34, LMX_ERR_ARG);
    TRY_OPTION(LMX_LOSS_spherical_softmax_loss, parameter[0], -1e-9, LMX_ERR_ARG);
    TRY_OPTION(LMX_LOSS_comp_sum_loss, parameter[0], -1, LMX_ERR_ARG);
    TRY_OPTION(LMX_LOSS_generalized_cross_entropy, parameter[0], 1.5, LMX_ERR_ARG);
    const double bad_temperature = -1;
    TRY_OPTION(ce, temperature, strided_number(&other, &bad_temperature), LMX_ERR_ARG);
    CHECK(lmx_loss_options_init((lmx_loss_code)99, &o) == LMX_ERR_OP);
    CHECK(lmx_loss_options_init(ce, NULL) == LMX_ERR_NULL);
    CHECK(lmx_loss_info(-1) == NULL && lmx_loss_info(LMX_LOSS_COUNT) == NULL);
}

/* ------------------------------------------------------------------- main --- */

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "losses");
    test_arguments();
    test_adversarial();
    static uint64_t hash[LMX_LOSS_COUNT][MAX_TIERS];
    hash_all(hash);
    for (int i = 0; i < (int)LMX_LOSS_COUNT; i++) {
        const double started = check_seconds();
        const lmx_loss_code op = (lmx_loss_code)i;
        tiers_golden(lmx_loss_info(i)->name, hash[i]);
        if (!check_noguard) { /* the golden hashes know the bits */
            test_threads(op);
            test_grid(op);
        }
        printf("%s: %.2f s\n", lmx_loss_info(i)->name, check_seconds() - started);
    }
    return tiers_end();
}
