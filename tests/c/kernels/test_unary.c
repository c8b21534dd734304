/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every activation of the registry, for one element type: no byte outside the arrays is read or written, the
 * inputs stay, and the bits are those of the portable tier whatever the tier, the alignment, the strides, the
 * number of threads, and in place or not.  Their hash is compared with golden.txt.
 *
 *   test_unary DTYPE GOLDEN [--update]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"
#include "tiers.h"

/* Settings of an activation, tried one after the other. */
#define SETTINGS 3

typedef struct {
    double p[LMX_UNARY_PARAMETERS];
    lmx_unary_options o;
    double by_parameter[LMX_UNARY_PARAMETERS];
} setting;

static void settle(setting *s, lmx_unary_code op, unsigned set)
{
    static const double first[SETTINGS] = { 1, 3, 0.1875 };
    static const double weights[LMX_UNARY_PARAMETERS] = { 0.5,    -0.25, 1,    0.75, -1.5,
                                                          0.3125, 2,     -0.5, 0.125 };
    const lmx_unary_description *const info = lmx_unary_info((int)op);
    memset(s, 0, sizeof *s);
    lmx_unary_options_init(&s->o);
    if (info->parameter[0].name == NULL)
        return;
    s->o.parameter = s->p;
    s->o.parameters = 1;
    s->p[0] = first[set];
    if (op == LMX_UNARY_relu_power)
        s->p[0] = set == 2 ? 7 : first[set];
    if (op == LMX_UNARY_poly_relu) {
        memcpy(s->p, weights, sizeof s->p);
        s->o.parameters = set == 0 ? 4 : set == 1 ? 2 : 9;
    }
    if ((info->parameter[0].flags & LMX_LEARNED) != 0)
        s->o.parameter_grad = s->by_parameter;
}

static lmx_status forward(lmx_ctx *ctx, lmx_unary_code op, size_t rows, size_t cols, const void *x,
                          ptrdiff_t row, ptrdiff_t col, const setting *s, void *y)
{
    const strided_shape shape = { rows, cols, 1 };
    const strided_steps in = { row, col, 0 }, out = { (ptrdiff_t)cols, 1, 0 };
    return strided_unary(ctx, op, dtype, &shape, x, &in, &s->o, y, &out);
}

static lmx_status backward(lmx_ctx *ctx, lmx_unary_code op, size_t rows, size_t cols,
                           const void *dy, const void *x, ptrdiff_t row, ptrdiff_t col,
                           const setting *s, void *dx)
{
    const strided_shape shape = { rows, cols, 1 };
    const strided_steps in = { row, col, 0 }, out = { (ptrdiff_t)cols, 1, 0 };
    return strided_unary_vjp(ctx, op, dtype, &shape, dy, &out, x, &in, &s->o, dx, &out);
}

/* ------------------------------------------------------------------- grid --- */

typedef struct {
    check_buffer x, dy, out;
    void *data[2], *want[2]; /* x and dy; value and gradient */
    double by_parameter[LMX_UNARY_PARAMETERS];
} grid;

static void try_cell(const grid *g, lmx_ctx *ctx, lmx_unary_code op, size_t n, setting *s,
                     size_t offset, check_flush flush, bool in_place)
{
    const size_t bytes = n * size, away = check_noguard ? 512 : 0;
    check_at.in_offset = check_at.out_offset = offset;
    void *const x = check_put(&g->x, bytes, flush, offset * size + away);
    void *const dy = check_put(&g->dy, bytes, flush, (offset * 3 + 2) % 16 * size + away);
    void *const out = check_put(&g->out, bytes, flush, (offset * 5 + 1) % 16 * size + away);
    void *const y = in_place ? x : out, *const dx = in_place ? dy : out;
    const ptrdiff_t row = (ptrdiff_t)n;
    memcpy(x, g->data[0], bytes);
    memcpy(dy, g->data[1], bytes);
    CHECK(forward(ctx, op, 1, n, x, row, 1, s, y) == LMX_OK);
    check_same(y, g->want[0], bytes, size);
    if (!in_place) {
        if (memcmp(x, g->data[0], bytes) != 0)
            check_fail("the input was written");
        check_canaries(&g->out, out, bytes);
    }
    memcpy(x, g->data[0], bytes);
    memset(s->by_parameter, 0x55, sizeof s->by_parameter);
    CHECK(backward(ctx, op, 1, n, dy, x, row, 1, s, dx) == LMX_OK);
    check_same(dx, g->want[1], bytes, size);
    if (s->o.parameter_grad != NULL)
        check_same(s->by_parameter, g->by_parameter, s->o.parameters * 8, 8);
    if (memcmp(x, g->data[0], bytes) != 0 || (!in_place && memcmp(dy, g->data[1], bytes) != 0))
        check_fail("an input was written");
    check_canaries(&g->x, x, bytes);
    check_canaries(&g->dy, dy, bytes);
    if (!in_place)
        check_canaries(&g->out, out, bytes);
    check_count(1);
}

static void test_grid(lmx_unary_code op)
{
    static const size_t edges[] = { 511, 512, 513, 1025, 4097, 16383, 16384, 16385, 33000 };
    const size_t longest = 33000, small = 140;
    const size_t cases = small + sizeof edges / sizeof *edges;
    grid g;
    for (size_t i = 0; i < 2; i++) {
        g.data[i] = get_memory(longest * size);
        g.want[i] = get_memory(longest * size);
    }
    const size_t step = check_fast ? 8 : 3;
    for (size_t k = 0; k < cases; k++) {
        const size_t n = k < small ? k + 1 : edges[k - small];
        if (check_fast && (n > 4097 || k % 5 != 0))
            continue;
        /* for this n: every cell compares all of its canaries */
        g.x = check_buffer_new(n * size + 2048);
        g.dy = check_buffer_new(n * size + 2048);
        g.out = check_buffer_new(n * size + 2048);
        for (unsigned set = 0; set < SETTINGS; set++) {
            setting s;
            settle(&s, op, set);
            if (s.o.parameters == 0 && set > 0)
                break;
            check_at.n = n;
            check_at.seed = 100 * n + set;
            check_random r = check_random_new(check_at.seed);
            row_fill(dtype, g.data[0], n, (row_kind)((k * 5 + set) % N_ROW_KINDS), &r);
            row_fill(dtype, g.data[1], n, k % 7 == 6 ? ROW_ANY : ROW_NORMAL, &r);
            lmx_ctx *const plain = ctx_of[n_tiers - 1];
            CHECK(forward(plain, op, 1, n, g.data[0], 0, 1, &s, g.want[0]) == LMX_OK);
            CHECK(backward(plain, op, 1, n, g.data[1], g.data[0], 0, 1, &s, g.want[1]) == LMX_OK);
            memcpy(g.by_parameter, s.by_parameter, sizeof g.by_parameter);
            for (size_t t = 0; t < n_tiers; t++) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                for (size_t offset = k % step; offset < 16; offset += step) {
                    try_cell(&g, ctx_of[t], op, n, &s, offset, CHECK_START, false);
                    try_cell(&g, ctx_of[t], op, n, &s, offset, CHECK_END, false);
                    try_cell(&g, ctx_of[t], op, n, &s, offset, CHECK_END, true);
                    if (n > 600)
                        break;
                }
            }
        }
        check_buffer_free(&g.x);
        check_buffer_free(&g.dy);
        check_buffer_free(&g.out);
    }
    for (size_t i = 0; i < 2; i++) {
        free(g.data[i]);
        free(g.want[i]);
    }
}

/* ------------------------------------------------ threads, strides, a bias --- */

static void bias_of(void *bias, size_t n, check_random *r)
{
    for (size_t i = 0; i < n; i++) {
        const double v = check_normal(r);
        if (real_size == 8)
            ((double *)bias)[i] = v;
        else
            ((float *)bias)[i] = (float)v;
    }
}

/* Rows together: the bits of one thread, contiguous; with a bias, those of the sums. */
static void test_together(lmx_unary_code op)
{
    static const struct {
        size_t rows, cols;
    } shapes[] = { { 300, 70 }, { 3, 40000 }, { 1, 70000 }, { 2000, 9 } };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const size_t rows = check_fast ? 40 : shapes[k].rows, cols = shapes[k].cols;
        const size_t n = rows * cols;
        if (check_fast && k > 0)
            break;
        void *const x = get_memory(n * size), *const dy = get_memory(n * size);
        void *const wide = get_memory(2 * n * size), *const got = get_memory(n * size);
        void *const want[2] = { get_memory(n * size), get_memory(n * size) };
        void *const biased[2] = { get_memory(n * size), get_memory(n * size) };
        void *const bias = get_memory(cols * 8);
        strided vector;
        double *const by_bias[2] = { get_memory(cols * 8), get_memory(cols * 8) };
        setting s, first;
        settle(&s, op, 0);
        check_random r = check_random_new(check_at.seed = 900 + k);
        row_fill(dtype, x, n, ROW_NORMAL, &r);
        row_fill(dtype, dy, n, ROW_NORMAL, &r);
        bias_of(bias, cols, &r);
        for (size_t i = 0; i < n; i++) /* columns apart */
            memcpy((char *)wide + 2 * i * size, (char *)x + i * size, size);
        check_at.n = cols;
        for (unsigned threads = 1; threads <= (check_fast ? 2 : 4); threads++)
            for (size_t t = 0; t < n_tiers; t++) {
                if (t > 0 && threads != 2)
                    continue;
                const bool is_first = threads == 1 && t == 0;
                lmx_ctx *const ctx = ctx_with(threads, lmx_isa_name(ctx_of[t]));
                check_at.tier = lmx_isa_name(ctx);
                const ptrdiff_t c = (ptrdiff_t)cols;
                CHECK(forward(ctx, op, rows, cols, x, c, 1, &s, is_first ? want[0] : got) ==
                      LMX_OK);
                if (!is_first)
                    check_same(got, want[0], n * size, size);
                CHECK(backward(ctx, op, rows, cols, dy, x, c, 1, &s, is_first ? want[1] : got) ==
                      LMX_OK);
                if (is_first)
                    first = s;
                else
                    check_same(got, want[1], n * size, size);
                check_same(s.by_parameter, first.by_parameter, sizeof s.by_parameter, 8);
                CHECK(forward(ctx, op, rows, cols, wide, 2 * c, 2, &s, got) == LMX_OK);
                check_same(got, want[0], n * size, size);
                CHECK(backward(ctx, op, rows, cols, dy, wide, 2 * c, 2, &s, got) == LMX_OK);
                check_same(got, want[1], n * size, size);
                check_same(s.by_parameter, first.by_parameter, sizeof s.by_parameter, 8);
                s.o.bias =
                    strided_vector(&vector, bias, dtype == LMX_F64 ? LMX_F64 : LMX_F32, cols);
                s.o.bias_grad = by_bias[is_first ? 0 : 1];
                CHECK(forward(ctx, op, rows, cols, x, c, 1, &s, is_first ? biased[0] : got) ==
                      LMX_OK);
                if (!is_first)
                    check_same(got, biased[0], n * size, size);
                CHECK(backward(ctx, op, rows, cols, dy, wide, 2 * c, 2, &s,
                               is_first ? biased[1] : got) == LMX_OK);
                if (!is_first) {
                    check_same(got, biased[1], n * size, size);
                    check_same(by_bias[1], by_bias[0], cols * 8, 8);
                }
                s.o.bias = NULL;
                s.o.bias_grad = NULL;
                check_count(rows);
                lmx_ctx_free(ctx);
            }
        if (dtype == LMX_F64) { /* the bias is added, and its gradient is the sum of dx */
            for (size_t i = 0; i < n; i++)
                ((double *)x)[i] += ((double *)bias)[i % cols];
            CHECK(forward(NULL, op, rows, cols, x, (ptrdiff_t)cols, 1, &s, got) == LMX_OK);
            check_same(got, biased[0], n * size, size);
            for (size_t j = 0; j < cols; j++) {
                double sum = 0, terms = 0;
                for (size_t i = 0; i < rows; i++) {
                    sum += ((double *)biased[1])[i * cols + j];
                    terms += fabs(((double *)biased[1])[i * cols + j]);
                }
                if (!(fabs(sum - by_bias[0][j]) <= 0x1p-53 * (double)rows * terms))
                    check_fail("column %zu: got %.17g want %.17g", j, by_bias[0][j], sum);
            }
        }
        void *const all[] = { x,         dy,        wide, got,        want[0],   want[1],
                              biased[0], biased[1], bias, by_bias[0], by_bias[1] };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
}

/* ----------------------------------------------------------------- golden --- */

/* The same data for every activation and tier: drawn once. */
static void hash_all(uint64_t hash[LMX_UNARY_COUNT][MAX_TIERS])
{
    static const size_t lengths[] = { 1, 3, 17, 64, 257, 1025, 16385 };
    const size_t longest = 16385;
    void *const x = get_memory(longest * size), *const dy = get_memory(longest * size);
    void *const out = get_memory(longest * size);
    for (int i = 0; i < LMX_UNARY_COUNT; i++)
        for (size_t t = 0; t < n_tiers; t++)
            hash[i][t] = CHECK_HASH_SEED;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
        for (size_t kind = 0; kind < N_ROW_KINDS; kind++)
            for (unsigned set = 0; set < SETTINGS; set++) {
                const size_t n = lengths[k];
                if (n > 1025 && kind % 9 != 0)
                    continue;
                check_random r = check_random_new(n * 1000 + kind * 10 + set);
                row_fill(dtype, x, n, (row_kind)kind, &r);
                row_fill(dtype, dy, n, ROW_NORMAL, &r);
                for (int i = 0; i < LMX_UNARY_COUNT; i++) {
                    const lmx_unary_code op = (lmx_unary_code)i;
                    setting s;
                    settle(&s, op, set);
                    if (s.o.parameters == 0 && set > 0)
                        continue;
                    check_at.test = lmx_unary_info(i)->name;
                    for (size_t t = 0; t < n_tiers; t++) {
                        uint64_t *const h = &hash[i][t];
                        check_at.tier = lmx_isa_name(ctx_of[t]);
                        CHECK(forward(ctx_of[t], op, 1, n, x, 0, 1, &s, out) == LMX_OK);
                        *h = check_hash(*h, out, n * size);
                        CHECK(backward(ctx_of[t], op, 1, n, dy, x, 0, 1, &s, out) == LMX_OK);
                        *h = check_hash(*h, out, n * size);
                        *h = check_hash(*h, s.by_parameter, s.o.parameters * 8);
                    }
                }
            }
    free(x);
    free(dy);
    free(out);
}

/* -------------------------------------------------------------- arguments --- */

static void test_arguments(void)
{
    enum { N = 6 };
    double x[2 * N] = { 0 }, dy[2 * N] = { 0 }, out[2 * N], bias[N] = { 0 }, grad[N];
    const strided_shape shape = { 2, N, 1 }, inside = { 1, 2, N };
    const strided_steps in = { N, 1, 0 }, zero = { 0, 1, 0 }, columns = { 0, N, 1 };
    lmx_unary_options plain, o;
    CHECK(lmx_unary_options_init(&plain) == LMX_OK);
    check_at.test = "arguments";
#define TRY(op, type, shape_, x_, sx, o_, out_, so, want)                                     \
  do {                                                                                        \
    memset(out, 0x77, sizeof out);                                                            \
    memset(grad, 0x77, sizeof grad);                                                          \
    CHECK(strided_unary(NULL, op, type, shape_, x_, sx, o_, out_, so) == (want));             \
    CHECK(strided_unary_vjp(NULL, op, type, shape_, dy, sx, x_, sx, o_, out_, so) == (want)); \
    for (size_t i_ = 0; i_ < sizeof out; i_++)                                                \
      CHECK(((unsigned char *)out)[i_] == 0x77);                                              \
    CHECK(((unsigned char *)grad)[0] == 0x77);                                                \
    check_count(1);                                                                           \
  } while (0)
    const lmx_unary_code silu = LMX_UNARY_silu;
    TRY((lmx_unary_code)99, LMX_F64, &shape, x, &in, NULL, out, &in, LMX_ERR_OP);
    TRY(silu, (lmx_dtype)9, &shape, x, &in, NULL, out, &in, LMX_ERR_DTYPE);
    TRY(silu, LMX_F64, NULL, x, &in, NULL, out, &in, LMX_ERR_NULL);
    TRY(silu, LMX_F64, &shape, NULL, &in, NULL, out, &in, LMX_ERR_NULL);
    TRY(silu, LMX_F64, &shape, x, NULL, NULL, out, &in, LMX_ERR_NULL);
    TRY(silu, LMX_F64, &shape, x, &in, NULL, NULL, &in, LMX_ERR_NULL);
    TRY(silu, LMX_F64, &shape, x, &in, NULL, out, &zero, LMX_ERR_STRIDE);
    TRY(silu, LMX_F64, &shape, x, &in, NULL, x + 1, &in, LMX_ERR_OVERLAP);
#define TRY_OPTION(op, field, value, want) \
  o = plain;                               \
  o.field = value;                         \
  TRY(op, LMX_F64, &shape, x, &in, &o, out, &in, want)
    TRY_OPTION(silu, tag, 0, LMX_ERR_ARG);
    TRY_OPTION(silu, tag, sizeof o, LMX_ERR_ARG);
    TRY_OPTION(silu, parameters, 1, LMX_ERR_ARG);
    TRY_OPTION(LMX_UNARY_poly_relu, parameters, 4, LMX_ERR_ARG); /* and no numbers */
    static const struct {
        lmx_unary_code op;
        double value;
    } wrong[] = {
        { LMX_UNARY_relu_power, 0 }, { LMX_UNARY_relu_power, 17 },   { LMX_UNARY_relu_power, 2.5 },
        { LMX_UNARY_softplus, 0 },   { LMX_UNARY_softplus, -1 },     { LMX_UNARY_softplus, 1e31 },
        { LMX_UNARY_swish, NAN },    { LMX_UNARY_crrelu, INFINITY }, { LMX_UNARY_fatrelu, NAN },
        { LMX_UNARY_poly_relu, 1 }, /* one number: no weight */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o = plain;
        o.parameter = &wrong[i].value;
        o.parameters = 1;
        TRY(wrong[i].op, LMX_F64, &shape, x, &in, &o, out, &in, LMX_ERR_ARG);
    }
    strided vector;
    o = plain;
    o.bias = strided_vector(&vector, bias, LMX_F64, N - 1);
    TRY(silu, LMX_F64, &shape, x, &in, &o, out, &in, LMX_ERR_SHAPE);
    o.bias = strided_vector(&vector, bias, LMX_F64, 2); /* the last axis has N elements */
    TRY(silu, LMX_F64, &inside, x, &columns, &o, out, &columns, LMX_ERR_SHAPE);
    /* gradients that there are not */
    memset(out, 0x77, sizeof out);
    o = plain;
    o.parameter_grad = grad;
    CHECK(strided_unary_vjp(NULL, silu, LMX_F64, &shape, dy, &in, x, &in, &o, out, &in) ==
          LMX_ERR_OP);
    o = plain;
    o.bias_grad = grad;
    CHECK(strided_unary_vjp(NULL, silu, LMX_F64, &shape, dy, &in, x, &in, &o, out, &in) ==
          LMX_ERR_NULL);
    CHECK(((unsigned char *)out)[0] == 0x77);
    /* nothing to do, and sums of nothing */
    const strided_shape none = { 0, N, 1 };
    o.bias = strided_vector(&vector, bias, LMX_F64, N);
    CHECK(strided_unary_vjp(NULL, silu, LMX_F64, &none, NULL, &in, NULL, &in, &o, NULL, &in) ==
          LMX_OK);
    for (size_t i = 0; i < N; i++)
        CHECK(grad[i] == 0);
    CHECK(lmx_unary_info(-1) == NULL && lmx_unary_info(LMX_UNARY_COUNT) == NULL);
}

/* ------------------------------------------------------------------- main --- */

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "unary");
    test_arguments();
    static uint64_t hash[LMX_UNARY_COUNT][MAX_TIERS];
    hash_all(hash);
    for (int i = 0; i < (int)LMX_UNARY_COUNT; i++) {
        const double started = check_seconds();
        const lmx_unary_code op = (lmx_unary_code)i;
        tiers_golden(lmx_unary_info(i)->name, hash[i]);
        if (!check_noguard) { /* the golden hashes know the bits */
            test_together(op);
            test_grid(op);
        }
        printf("%s: %.2f s\n", lmx_unary_info(i)->name, check_seconds() - started);
    }
    return tiers_end();
}
