/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every activation of channels of the registry, for one element type: no byte outside the arrays is read or
 * written, the inputs stay, and the bits are those of the portable tier whatever the tier, the alignment, the
 * strides, the number of threads, and in place or not.  Their hash is compared with golden.txt.
 *
 *   test_channel DTYPE GOLDEN [--update]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"
#include "tiers.h"

/* Settings of an activation, tried one after the other. */
#define SETTINGS 6
#define LONGEST  17000
#define SUMS     (LONGEST / 2 + 20)

typedef struct {
    lmx_channel_code op;
    lmx_channel_options o;
    size_t unit; /* channels are a multiple of it */
    double *sums, *q_sums;
    size_t n_sums, n_q_sums;
} setting;

static const double numbers[] = { 0.5,  -0.25, 1,     0.75,  -1.5, 0.3125, 2,     -0.5,   0.125,
                                  0.25, 0.125, -0.75, 0.875, 1.25, -0.625, 0.375, 0.0625, -0.125,
                                  1.5,  -0.5,  0.625, 0.25,  -1,   0.1875, 0.75,  -0.375 };

static void rational_of(setting *s, size_t np, size_t sets, size_t nq, size_t q_sets, char form)
{
    s->o.parameters = np * sets;
    s->o.parameter_sets = sets;
    s->o.denominators = nq * q_sets;
    s->o.denominator_sets = q_sets;
    s->o.form = form;
    s->unit = sets > q_sets ? sets : q_sets;
}

static int is_learned(lmx_channel_code op)
{
    return (lmx_channel_info((int)op)->parameter[0].flags & LMX_LEARNED) != 0;
}

/* 0 if there is no such setting. */
static int settle(setting *s, lmx_channel_code op, unsigned set)
{
    static double turns[LONGEST / 2];
    static const size_t groups[SETTINGS] = { 2, 4, 8, 16, 6, 1 };
    lmx_channel_options_init(&s->o);
    s->op = op;
    s->unit = 1;
    s->o.parameter = numbers;
    switch (op) {
    case LMX_CHANNEL_poly_norm:
    case LMX_CHANNEL_poly_norm_glu:
        s->o.parameters = set == 0 ? 4 : set == 1 ? 2 : 9;
        s->o.eps = set == 1 ? 0 : 1e-6;
        break;
    case LMX_CHANNEL_rational:
        s->o.denominator = numbers + 7;
        if (set == 0)
            rational_of(s, 6, 1, 4, 1, 'B');
        else if (set == 1)
            rational_of(s, 6, 1, 4, 2, 'A');
        else
            rational_of(s, 9, 2, set == 2 ? 0 : 8, set == 2 ? 1 : 2, 'B');
        if (set > 3)
            return 0;
        break;
    case LMX_CHANNEL_max_min:
        s->unit = 2;
        break;
    case LMX_CHANNEL_group_sort:
        s->o.group_size = s->unit = groups[set];
        return 1;
    case LMX_CHANNEL_householder:
        s->unit = 2;
        for (size_t i = 0; i < LONGEST / 2; i++)
            turns[i] = (double)(i % 50) * 0.25 - 6;
        s->o.parameter = set == 1 ? turns : numbers;
        s->o.parameters = 1;
        if (set > 1)
            return 0;
        return 1;
    default:
        break;
    }
    const int learned = is_learned(op);
    return set < (learned ? (op == LMX_CHANNEL_rational ? 4u : 3u) : 1u);
}

/* For rows of n channels; where sums go. */
static void settle_for(setting *s, size_t n, double *sums, double *q_sums)
{
    if (s->op == LMX_CHANNEL_householder && s->o.parameter != numbers)
        s->o.parameters = n / 2;
    s->n_sums = is_learned(s->op) ? s->o.parameters : 0;
    s->n_q_sums = s->op == LMX_CHANNEL_rational ? s->o.denominators : 0;
    s->o.parameter_grad = s->n_sums > 0 ? sums : NULL;
    s->o.denominator_grad = s->n_q_sums > 0 ? q_sums : NULL;
}

static size_t channels_of(const setting *s, size_t n)
{
    return (n + s->unit - 1) / s->unit * s->unit;
}

/* Rows of n, x and up with the given strides, the others contiguous; up and dup NULL where there is one input. */
static lmx_status forward(lmx_ctx *ctx, const setting *s, size_t rows, size_t n, const void *x,
                          const void *up, ptrdiff_t row, ptrdiff_t col, void *y)
{
    const strided_shape shape = { rows, n, 1 };
    const strided_steps in = { row, col, 0 }, out = { (ptrdiff_t)n, 1, 0 };
    return strided_channel(ctx, s->op, dtype, &shape, x, &in, up, &in, &s->o, y, &out);
}

static lmx_status backward(lmx_ctx *ctx, const setting *s, size_t rows, size_t n, const void *dy,
                           const void *x, const void *up, ptrdiff_t row, ptrdiff_t col, void *dx,
                           void *dup)
{
    const strided_shape shape = { rows, n, 1 };
    const strided_steps in = { row, col, 0 }, out = { (ptrdiff_t)n, 1, 0 };
    return strided_channel_vjp(ctx, s->op, dtype, &shape, dy, &out, x, &in, up, &in, &s->o, dx,
                               &out, dup, &out);
}

/* ------------------------------------------------------------------- grid --- */

enum { X, DY, UP, INPUTS };
enum { VALUE, BY_X, BY_UP, RESULTS };

typedef struct {
    check_buffer in[INPUTS], out[2];
    void *data[INPUTS], *want[RESULTS];
    double *sums[2], *q_sums[2]; /* wanted, got */
    int two;
} grid;

static void check_sums(const grid *g, const setting *s)
{
    check_same(g->sums[1], g->sums[0], s->n_sums * 8, 8);
    check_same(g->q_sums[1], g->q_sums[0], s->n_q_sums * 8, 8);
}

static void try_cell(const grid *g, lmx_ctx *ctx, const setting *s, size_t n, size_t offset,
                     check_flush flush, bool in_place)
{
    const size_t bytes = n * size, away = check_noguard ? 512 : 0;
    void *in[INPUTS], *out[2];
    check_at.in_offset = check_at.out_offset = offset;
    for (size_t i = 0; i < INPUTS; i++) {
        in[i] = check_put(&g->in[i], bytes, flush, (offset * (2 * i + 1) + i) % 16 * size + away);
        memcpy(in[i], g->data[i], bytes);
    }
    for (size_t i = 0; i < 2; i++)
        out[i] = check_put(&g->out[i], bytes, flush, (offset * 5 + 3 * i + 1) % 16 * size + away);
    void *const up = g->two ? in[UP] : NULL;
    void *const y = in_place ? in[X] : out[0];
    CHECK(forward(ctx, s, 1, n, in[X], up, 0, 1, y) == LMX_OK);
    check_same(y, g->want[VALUE], bytes, size);
    if (!in_place)
        check_canaries(&g->out[0], out[0], bytes);
    memcpy(in[X], g->data[X], bytes);
    void *const dx = in_place ? in[DY] : out[0], *const dup = in_place ? in[UP] : out[1];
    CHECK(backward(ctx, s, 1, n, in[DY], in[X], up, 0, 1, dx, g->two ? dup : NULL) == LMX_OK);
    check_same(dx, g->want[BY_X], bytes, size);
    if (g->two)
        check_same(dup, g->want[BY_UP], bytes, size);
    check_sums(g, s);
    for (size_t i = 0; i < INPUTS; i++) {
        const bool written = in_place && (i == DY || (i == UP && g->two));
        if (!written && memcmp(in[i], g->data[i], bytes) != 0)
            check_fail("an input was written");
        check_canaries(&g->in[i], in[i], bytes);
    }
    for (size_t i = 0; i < 2 && !in_place; i++)
        check_canaries(&g->out[i], out[i], bytes);
    check_count(1);
}

static void grid_open(grid *g, lmx_channel_code op)
{
    for (size_t i = 0; i < INPUTS; i++) {
        g->data[i] = get_memory(LONGEST * size);
    }
    for (size_t i = 0; i < 2; i++) {
        g->sums[i] = get_memory(SUMS * 8);
        g->q_sums[i] = get_memory(SUMS * 8);
    }
    for (size_t i = 0; i < RESULTS; i++)
        g->want[i] = get_memory(LONGEST * size);
    g->two = lmx_channel_info((int)op)->inputs == 2;
}

static void grid_close(grid *g)
{
    for (size_t i = 0; i < INPUTS; i++) {
        free(g->data[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        free(g->sums[i]);
        free(g->q_sums[i]);
    }
    for (size_t i = 0; i < RESULTS; i++)
        free(g->want[i]);
}

/* Guards around rows of n. */
static void guard(grid *g, size_t n)
{
    for (size_t i = 0; i < INPUTS; i++)
        g->in[i] = check_buffer_new(n * size + 2048);
    for (size_t i = 0; i < 2; i++)
        g->out[i] = check_buffer_new(n * size + 2048);
}

static void unguard(grid *g)
{
    for (size_t i = 0; i < INPUTS; i++)
        check_buffer_free(&g->in[i]);
    for (size_t i = 0; i < 2; i++)
        check_buffer_free(&g->out[i]);
}

static void test_grid(lmx_channel_code op)
{
    static const size_t edges[] = { 255, 511, 512, 513, 1025, 4097, 16383, 16385 };
    const size_t small = 100, cases = small + sizeof edges / sizeof *edges;
    const size_t step = check_fast ? 8 : 5;
    grid g;
    grid_open(&g, op);
    for (size_t k = 0; k < cases; k++)
        for (unsigned set = 0; set < SETTINGS; set++) {
            setting s;
            if (!settle(&s, op, set))
                break;
            const size_t n = channels_of(&s, k < small ? k + 1 : edges[k - small]);
            if (check_fast && (n > 1100 || (k + set) % 6 != 0))
                continue;
            settle_for(&s, n, g.sums[0], g.q_sums[0]);
            check_at.n = n;
            check_at.seed = 100 * n + set;
            check_random r = check_random_new(check_at.seed);
            row_fill(dtype, g.data[X], n, (row_kind)((k * 5 + set) % N_ROW_KINDS), &r);
            row_fill(dtype, g.data[DY], n, k % 7 == 6 ? ROW_ANY : ROW_NORMAL, &r);
            row_fill(dtype, g.data[UP], n, k % 9 == 4 ? ROW_HUGE : ROW_NORMAL, &r);
            lmx_ctx *const plain = ctx_of[n_tiers - 1];
            const void *const up = g.two ? g.data[UP] : NULL;
            CHECK(forward(plain, &s, 1, n, g.data[X], up, 0, 1, g.want[VALUE]) == LMX_OK);
            CHECK(backward(plain, &s, 1, n, g.data[DY], g.data[X], up, 0, 1, g.want[BY_X],
                           g.two ? g.want[BY_UP] : NULL) == LMX_OK);
            settle_for(&s, n, g.sums[1], g.q_sums[1]);
            guard(&g, n);
            for (size_t t = 0; t < n_tiers; t++) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                for (size_t offset = k % step; offset < 16; offset += step) {
                    try_cell(&g, ctx_of[t], &s, n, offset, CHECK_START, false);
                    try_cell(&g, ctx_of[t], &s, n, offset, CHECK_END, false);
                    try_cell(&g, ctx_of[t], &s, n, offset, CHECK_END, true);
                    if (n > 600)
                        break;
                }
            }
            unguard(&g);
        }
    grid_close(&g);
}

/* -------------------------------------------------------- threads, strides --- */

/* Rows together: the bits of one thread, contiguous. */
static void test_together(lmx_channel_code op)
{
    static const struct {
        size_t rows, cols;
    } shapes[] = { { 300, 96 }, { 5, 16800 }, { 1, 16800 }, { 2000, 48 } };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (unsigned set = 0; set < SETTINGS; set++) {
            const size_t rows = check_fast ? 40 : shapes[k].rows, cols = shapes[k].cols;
            const size_t n = rows * cols;
            setting s;
            if ((check_fast && k > 0) || !settle(&s, op, set))
                break;
            void *const in[INPUTS] = { get_memory(n * size), get_memory(n * size),
                                       get_memory(n * size) };
            void *const wide[2] = { get_memory(2 * n * size), get_memory(2 * n * size) };
            void *const want[RESULTS] = { get_memory(n * size), get_memory(n * size),
                                          get_memory(n * size) };
            void *const got[2] = { get_memory(n * size), get_memory(n * size) };
            double *const sums[2] = { get_memory(SUMS * 8), get_memory(SUMS * 8) };
            double *const q_sums[2] = { get_memory(SUMS * 8), get_memory(SUMS * 8) };
            const int two = lmx_channel_info((int)op)->inputs == 2;
            check_random r = check_random_new(check_at.seed = 900 + k);
            for (size_t i = 0; i < INPUTS; i++)
                row_fill(dtype, in[i], n, ROW_NORMAL, &r);
            for (size_t i = 0; i < n; i++) { /* columns apart */
                memcpy((char *)wide[0] + 2 * i * size, (char *)in[X] + i * size, size);
                memcpy((char *)wide[1] + 2 * i * size, (char *)in[UP] + i * size, size);
            }
            check_at.n = cols;
            const ptrdiff_t c = (ptrdiff_t)cols;
            void *const up = two ? in[UP] : NULL, *const wide_up = two ? wide[1] : NULL;
            for (unsigned threads = 1; threads <= (check_fast ? 2 : 3); threads++)
                for (size_t t = 0; t < n_tiers; t++) {
                    if (t > 0 && threads != 2)
                        continue;
                    const bool first = threads == 1 && t == 0;
                    lmx_ctx *const ctx = ctx_with(threads, lmx_isa_name(ctx_of[t]));
                    check_at.tier = lmx_isa_name(ctx);
                    for (int gaps = 0; gaps < 2; gaps++) {
                        const bool keep = first && !gaps;
                        void *const y = keep ? want[VALUE] : got[0];
                        void *const dx = keep ? want[BY_X] : got[0];
                        void *const dup = !two ? NULL : keep ? want[BY_UP] : got[1];
                        const void *const x = gaps ? wide[0] : in[X];
                        const void *const u = gaps ? wide_up : up;
                        settle_for(&s, cols, sums[!keep], q_sums[!keep]);
                        CHECK(forward(ctx, &s, rows, cols, x, u, gaps ? 2 * c : c, gaps ? 2 : 1,
                                      y) == LMX_OK);
                        check_same(y, want[VALUE], n * size, size);
                        CHECK(backward(ctx, &s, rows, cols, in[DY], x, u, gaps ? 2 * c : c,
                                       gaps ? 2 : 1, dx, dup) == LMX_OK);
                        check_same(dx, want[BY_X], n * size, size);
                        if (two)
                            check_same(dup, want[BY_UP], n * size, size);
                        check_same(sums[!keep], sums[0], s.n_sums * 8, 8);
                        check_same(q_sums[!keep], q_sums[0], s.n_q_sums * 8, 8);
                    }
                    check_count(rows);
                    lmx_ctx_free(ctx);
                }
            void *const all[] = { in[0],   in[1],  in[2],  wide[0], wide[1], want[0],   want[1],
                                  want[2], got[0], got[1], sums[0], sums[1], q_sums[0], q_sums[1] };
            for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                free(all[i]);
        }
}

/* ---------------------------------------------------------------- streams --- */

/* Kernels with and without streams, which calls take for arrays larger than the caches: rows with gaps. */
static void test_streams(lmx_channel_code op)
{
    if (size != real_size)
        return; /* kernels see reals alone */
    enum { ROWS = 5, WIDEST = 1040, GAP = 16, ALL = ROWS * (WIDEST + GAP) + 16 };
    static const size_t widths[] = { 16, 112, 128, 144, 528, WIDEST };
    static const double turn[4] = { 0.25, 0.96875, 0.625, 0.78125 };
    const int two = lmx_channel_info((int)op)->inputs == 2;
    const int rational = op == LMX_CHANNEL_rational;
    void *in[INPUTS], *out[2][2];
    double *const scratch = get_memory(ALL * 8), *const table = get_memory(64);
    check_random r = check_random_new(check_at.seed = 31);
    for (size_t i = 0; i < INPUTS; i++) {
        in[i] = get_memory(ALL * size);
        row_fill(dtype, in[i], ALL, ROW_NORMAL, &r);
        for (size_t k = 0; k < 2 && i < 2; k++)
            out[k][i] = get_memory(ALL * size);
    }
    elem_put(dtype, in[X], 3 * (528 + GAP), INFINITY); /* a row of poly_norm that is NaN */
    const lmx_tier *tier;
    for (size_t t = 0; (tier = tiers_next(&t)) != NULL;) {
        const lmx_table *const kernels = tier->table[dtype];
        const lmx_channel_kernel *const kernel = kernels->channel[op];
        for (size_t i = 0; i < 4; i++)
            kernels->put_value((char *)table + i * real_size, turn[i]);
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (size_t offset = 0; offset < 16; offset += 3)
                for (int by = 0; by < 2; by++) {
                    const size_t n = widths[w];
                    const ptrdiff_t row = (ptrdiff_t)(n + GAP);
                    const lmx_channel_spec spec = { .cols = n,
                                                    .group = rational ? SIZE_MAX : 8,
                                                    .p = numbers,
                                                    .np = rational ? 6 : 4,
                                                    .p_sets = 1,
                                                    .q = numbers,
                                                    .nq = rational ? 4 : 0,
                                                    .q_sets = 1,
                                                    .eps = 1e-6,
                                                    .table = table,
                                                    .pairs = 1 };
                    check_at.n = n;
                    check_at.out_offset = offset;
                    for (unsigned how = 0; how < 2; how++) {
                        char *const a = (char *)out[how][0] + offset * size;
                        char *const b = (char *)out[how][1] + (offset + (by ? 0 : 1)) * size;
                        const lmx_piece piece = { .rows = ROWS,
                                                  .n = n,
                                                  .dy = by ? in[DY] : NULL,
                                                  .x = in[X],
                                                  .up = two ? in[UP] : NULL,
                                                  .out = a,
                                                  .up_out = two && by ? b : NULL,
                                                  .stride = { row, row, row, row, row },
                                                  .how = how ? LMX_HOW_STREAM : 0,
                                                  .scratch = scratch };
                        memset(out[how][0], 0x5a, ALL * size);
                        memset(out[how][1], 0x5a, ALL * size);
                        (by ? kernel->backward : kernel->forward)(&piece, &spec);
                    }
                    check_same(out[1][0], out[0][0], ALL * size, size);
                    check_same(out[1][1], out[0][1], ALL * size, size);
                    check_count(ROWS);
                }
    }
    for (size_t i = 0; i < INPUTS; i++) {
        free(in[i]);
        for (size_t k = 0; k < 2 && i < 2; k++)
            free(out[k][i]);
    }
    free(scratch);
    free(table);
}

/* ----------------------------------------------------------------- golden --- */

/* The same data for every tier: drawn once. */
static void hash_all(lmx_channel_code op, uint64_t hash[MAX_TIERS])
{
    static const size_t lengths[] = { 1, 3, 17, 64, 257, 1025, 16385 };
    grid g;
    grid_open(&g, op);
    for (size_t t = 0; t < n_tiers; t++)
        hash[t] = CHECK_HASH_SEED;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
        for (size_t kind = 0; kind < N_ROW_KINDS; kind++)
            for (unsigned set = 0; set < SETTINGS; set++) {
                setting s;
                if (!settle(&s, op, set) || (lengths[k] > 1025 && kind % 9 != 0))
                    break;
                const size_t n = channels_of(&s, lengths[k]);
                settle_for(&s, n, g.sums[0], g.q_sums[0]);
                check_random r = check_random_new(n * 1000 + kind * 10 + set);
                row_fill(dtype, g.data[X], n, (row_kind)kind, &r);
                row_fill(dtype, g.data[DY], n, ROW_NORMAL, &r);
                row_fill(dtype, g.data[UP], n, ROW_NORMAL, &r);
                const void *const up = g.two ? g.data[UP] : NULL;
                void *const *const out = g.want;
                for (size_t t = 0; t < n_tiers; t++) {
                    CHECK(forward(ctx_of[t], &s, 1, n, g.data[X], up, 0, 1, out[VALUE]) == LMX_OK);
                    CHECK(backward(ctx_of[t], &s, 1, n, g.data[DY], g.data[X], up, 0, 1, out[BY_X],
                                   g.two ? out[BY_UP] : NULL) == LMX_OK);
                    for (size_t i = 0; i < (g.two ? RESULTS : BY_UP); i++)
                        hash[t] = check_hash(hash[t], out[i], n * size);
                    hash[t] = check_hash(hash[t], g.sums[0], s.n_sums * 8);
                    hash[t] = check_hash(hash[t], g.q_sums[0], s.n_q_sums * 8);
                }
            }
    grid_close(&g);
}

/* -------------------------------------------------------------- arguments --- */

static double x[12], up[12], dy[12], out[12], second[12];

static void try_with(lmx_channel_code op, const strided_shape *shape, const void *x_,
                     const lmx_channel_options *o, void *y, lmx_status want)
{
    const strided_steps t = { 6, 1, 0 };
    memset(out, 0x77, sizeof out);
    memset(second, 0x77, sizeof second);
    const int two = (unsigned)op < LMX_CHANNEL_COUNT && lmx_channel_info((int)op)->inputs == 2;
    CHECK(strided_channel(NULL, op, LMX_F64, shape, x_, &t, two ? up : NULL, &t, o, y, &t) == want);
    CHECK(strided_channel_vjp(NULL, op, LMX_F64, shape, dy, &t, x_, &t, two ? up : NULL, &t, o, y,
                              &t, two ? second : NULL, &t) == want);
    for (size_t i = 0; i < sizeof out; i++)
        CHECK(((unsigned char *)out)[i] == 0x77 && ((unsigned char *)second)[i] == 0x77);
    check_count(1);
}

static void test_arguments(void)
{
    const strided_shape shape = { 2, 6, 1 }, odd = { 2, 5, 1 }, none = { 0, 6, 1 };
    lmx_channel_options plain;
    CHECK(lmx_channel_options_init(&plain) == LMX_OK);
    const double bad[2] = { 0, NAN };
    check_at.test = "arguments";
    try_with((lmx_channel_code)99, &shape, x, NULL, out, LMX_ERR_OP);
    try_with(LMX_CHANNEL_swiglu, NULL, x, NULL, out, LMX_ERR_NULL);
    try_with(LMX_CHANNEL_swiglu, &shape, NULL, NULL, out, LMX_ERR_NULL);
    try_with(LMX_CHANNEL_swiglu, &shape, x, NULL, NULL, LMX_ERR_NULL);
    try_with(LMX_CHANNEL_swiglu, &shape, x, NULL, x + 1, LMX_ERR_OVERLAP);
    try_with(LMX_CHANNEL_max_min, &odd, x, NULL, out, LMX_ERR_SHAPE);
    try_with(LMX_CHANNEL_poly_norm, &shape, x, NULL, out, LMX_ERR_ARG);
#define TRY(op_, want, ...)                  \
  do {                                       \
    lmx_channel_options o = plain;           \
    __VA_ARGS__;                             \
    try_with(op_, &shape, x, &o, out, want); \
  } while (0)
    TRY(LMX_CHANNEL_max_min, LMX_ERR_ARG, o.tag = 0);
    TRY(LMX_CHANNEL_max_min, LMX_ERR_ARG, o.tag = sizeof o);
    TRY(LMX_CHANNEL_swiglu, LMX_ERR_ARG, o.parameters = 1, o.parameter = numbers);
    TRY(LMX_CHANNEL_poly_norm, LMX_ERR_ARG, o.parameters = 1, o.parameter = numbers);
    TRY(LMX_CHANNEL_poly_norm, LMX_ERR_ARG, o.parameters = 10, o.parameter = numbers);
    TRY(LMX_CHANNEL_poly_norm, LMX_ERR_ARG, o.parameters = 4, o.parameter = numbers, o.eps = -1);
    TRY(LMX_CHANNEL_poly_norm, LMX_ERR_ARG, o.parameters = 4, o.parameter = numbers,
        o.eps = (double)NAN);
    TRY(LMX_CHANNEL_group_sort, LMX_ERR_ARG, o.group_size = 0);
    TRY(LMX_CHANNEL_group_sort, LMX_ERR_SHAPE, o.group_size = 4);
    TRY(LMX_CHANNEL_householder, LMX_ERR_ARG, o.parameters = 2, o.parameter = bad);
    TRY(LMX_CHANNEL_householder, LMX_ERR_SHAPE, o.parameters = 2, o.parameter = numbers);
    TRY(LMX_CHANNEL_rational, LMX_ERR_ARG, o.parameters = 6, o.parameter = numbers,
        o.parameter_sets = 0);
    TRY(LMX_CHANNEL_rational, LMX_ERR_ARG, o.parameters = 6, o.parameter = numbers,
        o.parameter_sets = 1, o.denominator_sets = 1, o.form = 'C');
    TRY(LMX_CHANNEL_rational, LMX_ERR_ARG, o.parameters = 6, o.parameter = numbers,
        o.parameter_sets = 4, o.denominator_sets = 1, o.form = 'A');
    TRY(LMX_CHANNEL_rational, LMX_ERR_ARG, o.parameters = 6, o.parameter = numbers,
        o.parameter_sets = 2, o.denominators = 3, o.denominator = numbers, o.denominator_sets = 3,
        o.form = 'A');
    TRY(LMX_CHANNEL_rational, LMX_ERR_SHAPE, o.parameters = 4, o.parameter = numbers,
        o.parameter_sets = 4, o.denominator_sets = 1, o.form = 'A');
    /* gradients that there are not */
    const strided_steps t = { 6, 1, 0 };
    lmx_channel_options o = plain;
    double grad[4] = { 9, 9, 9, 9 };
    o.parameter_grad = grad;
    CHECK(strided_channel_vjp(NULL, LMX_CHANNEL_max_min, LMX_F64, &shape, dy, &t, x, &t, NULL, NULL,
                              &o, out, &t, NULL, NULL) == LMX_ERR_OP);
    /* the two gradients of a gate in one array */
    CHECK(strided_channel_vjp(NULL, LMX_CHANNEL_reglu, LMX_F64, &shape, dy, &t, x, &t, up, &t, NULL,
                              out, &t, out, &t) == LMX_ERR_OVERLAP);
    /* nothing to do, and sums of nothing */
    o.parameter = numbers;
    o.parameters = 4;
    CHECK(strided_channel_vjp(NULL, LMX_CHANNEL_poly_norm, LMX_F64, &none, NULL, &t, NULL, &t, NULL,
                              NULL, &o, NULL, &t, NULL, NULL) == LMX_OK);
    for (size_t i = 0; i < 4; i++)
        CHECK(grad[i] == 0);
    CHECK(lmx_channel_info(-1) == NULL && lmx_channel_info(LMX_CHANNEL_COUNT) == NULL);
}

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "channel");
    test_arguments();
    for (int i = 0; i < (int)LMX_CHANNEL_COUNT; i++) {
        const double started = check_seconds();
        const lmx_channel_code op = (lmx_channel_code)i;
        uint64_t hash[MAX_TIERS];
        hash_all(op, hash);
        tiers_golden(lmx_channel_info(i)->name, hash);
        if (!check_noguard) { /* the golden hashes know the bits */
            test_streams(op);
            test_together(op);
            test_grid(op);
        }
        printf("%s: %.2f s\n", lmx_channel_info(i)->name, check_seconds() - started);
    }
    return tiers_end();
}
