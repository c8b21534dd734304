/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of the registry, for one element type: no byte outside the arrays
 * is read or written, the input stays, and the bits are those of the portable tier
 * whatever the tier, the alignment, the thread count, and in place or not.  A hash of
 * them is compared with golden.txt, so that compilers and architectures compare too.
 *
 *   test_ops DTYPE GOLDEN [--update]
 *
 * --update writes the hashes of this type into GOLDEN in place of comparing; that goes
 * with a new LMX_NUMERICS_VERSION.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "golden.h"
#include "rows.h"

#define MAX_TIERS 4
#define MAX_SMALL 259 /* each n up to here */

static lmx_dtype dtype;
static size_t size; /* of an element */

/* One context per tier of this CPU, best first; the last is portable. */
static lmx_ctx *ctx_of[MAX_TIERS];
static size_t n_tiers;

static lmx_ctx *portable(void) { return ctx_of[n_tiers - 1]; }

static lmx_row_code op_at(int i) { return (lmx_row_code)i; }

static int inputs_of(lmx_row_code op) { return lmx_row_op_info((int)op)->inputs; }

static size_t results_of(lmx_row_code op, size_t rows, size_t cols)
{
    return result_per_row(op) ? rows : rows * cols;
}

/* ------------------------------------------------------------------- data --- */

/* Inputs of one operation with the result of the portable tier. */
typedef struct sample {
    void *a, *b, *want;
} sample;

static sample sample_new(size_t n)
{
    const sample s = { malloc(n * 8 + 8), malloc(n * 8 + 8), malloc(n * 8 + sizeof(lmx_expsum)) };
    if (s.a == NULL || s.b == NULL || s.want == NULL)
        exit(3);
    return s;
}

static void sample_free(sample *s)
{
    free(s->a);
    free(s->b);
    free(s->want);
}

/* For a VJP: dy of the kind, and y as the forward function may give it. */
static void sample_inputs(const sample *s, lmx_row_code op, size_t n, row_kind kind, uint64_t seed)
{
    check_random r = check_random_new(seed);
    row_fill(dtype, s->a, n, kind, &r);
    if (inputs_of(op) < 2)
        return;
    row_fill(dtype, s->b, n, op == LMX_ROW_softmax_vjp ? ROW_UNIT : ROW_TO_88, &r);
    if ((seed & 15) == 15) /* and as nobody should */
        row_fill(dtype, s->b, n, (row_kind)check_below(&r, N_ROW_KINDS), &r);
}

static void sample_draw(const sample *s, lmx_row_code op, size_t n, row_kind kind, uint64_t seed)
{
    sample_inputs(s, op, n, kind, seed);
    check_true(row_call(portable(), op, dtype, 1, n, s->a, s->b, s->want) == LMX_OK,
               "the portable tier computes", __FILE__, __LINE__);
}

/* ------------------------------------------------------------------- grid --- */

typedef struct grid {
    check_buffer a, b, out;
    sample s;
} grid;

typedef enum placement { APART, IN_A, IN_B } placement;

static void try_cell(const grid *g, lmx_ctx *ctx, lmx_row_code op, size_t n, size_t in_offset,
                     size_t out_offset, check_flush flush, placement where)
{
    check_at.n = n;
    check_at.in_offset = in_offset;
    check_at.out_offset = out_offset;
    const bool two = inputs_of(op) == 2;
    const size_t bytes = n * size, one = result_size(op, dtype);
    const size_t out_bytes = results_of(op, 1, n) * one;
    /* Without guards: away from them. */
    const size_t away = check_noguard ? 512 : 0;
    void *const a = check_put(&g->a, bytes, flush, in_offset * size + away);
    void *const b = check_put(&g->b, bytes, flush, (in_offset * 7 + 3) % 16 * size + away);
    void *const out = where == IN_A ? a
                      : where == IN_B
                          ? b
                          : check_put(&g->out, out_bytes, flush, out_offset * one + away);
    memcpy(a, g->s.a, bytes);
    if (two)
        memcpy(b, g->s.b, bytes);

    const lmx_status status = row_call(ctx, op, dtype, 1, n, a, two ? b : NULL, out);
    if (status != LMX_OK)
        check_fail("status %d", (int)status);
    results_same(op, dtype, out, g->s.want, results_of(op, 1, n));
    if (where != IN_A && bytes != 0 && memcmp(a, g->s.a, bytes) != 0)
        check_fail("the input was written");
    if (where != IN_B && two && bytes != 0 && memcmp(b, g->s.b, bytes) != 0)
        check_fail("the second input was written");
    check_canaries(&g->a, a, bytes);
    if (two)
        check_canaries(&g->b, b, bytes);
    if (where == APART)
        check_canaries(&g->out, out, out_bytes);
    check_count(1);
}

/* Both ends of the buffers, out of place and in place. */
static void try_cells(const grid *g, lmx_ctx *ctx, lmx_row_code op, size_t n, size_t in_offset,
                      size_t out_offset)
{
    static const check_flush flush[] = { CHECK_START, CHECK_END };
    for (size_t f = 0; f < 2; f++) {
        try_cell(g, ctx, op, n, in_offset, out_offset, flush[f], APART);
        if (!result_per_row(op)) {
            try_cell(g, ctx, op, n, in_offset, out_offset, flush[f], IN_A);
            if (inputs_of(op) == 2)
                try_cell(g, ctx, op, n, in_offset, out_offset, flush[f], IN_B);
        }
    }
}

static grid grid_new(size_t n)
{
    /* Room for offsets of 15 results and for `away`; one page for small n. */
    const size_t bytes = n * (size > 4 ? size : 4) + 1024;
    return (grid){ check_buffer_new(bytes), check_buffer_new(bytes), check_buffer_new(bytes),
                   sample_new(n) };
}

static void grid_free(grid *g)
{
    check_buffer_free(&g->a);
    check_buffer_free(&g->b);
    check_buffer_free(&g->out);
    sample_free(&g->s);
}

/* Small n, at 16 x 16 offsets of input and output; with LMX_CHECK=fast at 2 x 2 of them, others for each n. */
static void test_small(lmx_row_code op)
{
    grid g = grid_new(MAX_SMALL);
    /* All offsets for float; the other types, of the same kernels: 4 x 4, others for each n. */
    const size_t step = check_fast ? 8 : dtype != LMX_F32 && !check_full ? 4 : 1;
    for (size_t n = 0; n <= MAX_SMALL; n++) {
        for (size_t i = n % step; i < 16; i += step) {
            check_at.seed = 1000 * n + i;
            const row_kind kind = (row_kind)((n * 16 + i) % N_ROW_KINDS);
            check_at.test = row_kind_name(kind);
            sample_draw(&g.s, op, n, kind, check_at.seed);
            for (size_t t = 0; t < n_tiers; t++) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                for (size_t o = n / step % step; o < 16; o += step)
                    try_cells(&g, ctx_of[t], op, n, i, o);
            }
        }
    }
    grid_free(&g);
}

/* Edges of blocks and chunks. */
static const size_t edges[] = { 511,   512,   513,   1000,  1023,  1024,   1025,
                                4095,  4096,  4097,  16383, 16384, 16385,  32767,
                                32768, 32769, 65535, 65536, 65537, 1000007 };

#define N_EDGES (sizeof edges / sizeof *edges)

static void test_edges(lmx_row_code op)
{
    const size_t last = check_fast ? 13 : N_EDGES;
    for (size_t k = 0; k < last; k++) {
        const size_t n = edges[k];
        grid g = grid_new(n); /* for this n: every cell compares all of its canaries */
        /* The cost of a cell grows with n: fewer of them. */
        const size_t many = dtype == LMX_F32 || check_full ? 4 : 1;
        const size_t tries = check_fast || n > 100000 ? 1 : n < 5000 ? 6 * many : many;
        for (size_t i = 0; i < tries; i++) {
            check_at.seed = 1000 * n + i;
            const row_kind kind = (row_kind)((k + 5 * i) % N_ROW_KINDS);
            check_at.test = row_kind_name(kind);
            sample_draw(&g.s, op, n, kind, check_at.seed);
            for (size_t t = 0; t < n_tiers; t++) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                try_cells(&g, ctx_of[t], op, n, (i * 5 + k) % 16, (i * 3 + k / 2) % 16);
            }
        }
        grid_free(&g);
    }
}

/* ---------------------------------------------------------------- threads --- */

/* Rows together, with 1 to 4 threads, against each row alone. */
static void test_threads(lmx_row_code op, lmx_ctx *const *threaded, size_t n_threaded)
{
    static const struct {
        size_t rows, cols;
    } shapes[] = {
        { 1, 40000 },  { 2, 200000 }, { 3, 65537 },  { 17, 5000 },
        { 300, 1000 }, { 20000, 10 }, { 100000, 1 },
    };
    /* Emulators: enough for two chunks in a thread, no more. */
    const size_t n_shapes = check_fast ? 1 : sizeof shapes / sizeof *shapes;
    for (size_t k = 0; k < n_shapes; k++) {
        const size_t rows = check_fast ? 2 : shapes[k].rows,
                     cols = check_fast ? 33000 : shapes[k].cols;
        const size_t one = result_size(op, dtype), per_row = results_of(op, 1, cols);
        sample s = sample_new(rows * cols);
        char *const got = malloc(rows * per_row * one + 1);
        char *const want = malloc(rows * per_row * one + 1);
        if (got == NULL || want == NULL)
            exit(3);
        check_at.n = cols;
        check_at.in_offset = check_at.out_offset = 0;
        check_at.seed = 77 + k;
        for (size_t r = 0; r < rows; r++) {
            const sample row = { (char *)s.a + r * cols * size, (char *)s.b + r * cols * size,
                                 want + r * per_row * one };
            sample_draw(&row, op, cols, (row_kind)((r + k) % N_ROW_KINDS), check_at.seed + 100 * r);
        }
        for (size_t t = 0; t < n_threaded; t++) {
            check_at.tier = lmx_isa_name(threaded[t]);
            check_at.test = lmx_ctx_threads(threaded[t]) == 1   ? "1 thread"
                            : lmx_ctx_threads(threaded[t]) == 2 ? "2 threads"
                                                                : "3 or more threads";
            memset(got, 0x5b, rows * per_row * one);
            CHECK(row_call(threaded[t], op, dtype, rows, cols, s.a, s.b, got) == LMX_OK);
            results_same(op, dtype, got, want, rows * per_row);
            if (!result_per_row(op)) { /* in place, and the input back afterwards */
                memcpy(got, s.a, rows * cols * size);
                CHECK(row_call(threaded[t], op, dtype, rows, cols, got, s.b, got) == LMX_OK);
                results_same(op, dtype, got, want, rows * per_row);
            }
            check_count(2 * rows);
        }
        free(got);
        free(want);
        sample_free(&s);
    }
}

/* ----------------------------------------------------------------- chunks --- */

/* P8: the sums of 16,384-element chunks, folded, have the bits of one call; other cuts agree. */
static void test_chunks(void)
{
    const size_t n = check_fast ? 40000 : 200001, step = check_fast ? 4 : 1;
    sample s = sample_new(n);
    for (size_t k = 0; k < N_ROW_KINDS; k += step) {
        check_at.seed = 400 + k;
        check_at.n = n;
        check_at.test = "chunks of exp_sum";
        sample_inputs(&s, LMX_ROW_exp_sum, n, (row_kind)k, check_at.seed * 16);
        lmx_expsum whole, folded = { 0, 0, 0, 0, 0, 0 }, part;
        CHECK(lmx_exp_sum(NULL, dtype, 1, n, s.a, (ptrdiff_t)n, &whole, 1) == LMX_OK);
        for (size_t at = 0; at < n; at += 16384) {
            const size_t m = n - at < 16384 ? n - at : 16384;
            CHECK(lmx_exp_sum(ctx_of[at / 16384 % n_tiers], dtype, 1, m, (char *)s.a + at * size,
                              (ptrdiff_t)m, &part, 1) == LMX_OK);
            CHECK(lmx_expsum_merge(1, &folded, &part, &folded) == LMX_OK);
        }
        check_same(&folded, &whole, sizeof whole, 8);
    }
    sample_free(&s);
}

/* ----------------------------------------------------------------- golden --- */

static uint64_t hash_results(uint64_t hash, lmx_row_code op, const void *p, size_t n)
{
    return check_hash(hash, p, n * result_size(op, dtype));
}

/* Options and layouts, in a small shape: every bit of their arithmetic is in the hash too. */
static uint64_t hash_options(uint64_t hash, lmx_ctx *ctx, lmx_row_code op, const sample *s,
                             void *out)
{
    enum { ROWS = 5, COLS = 77, INNER = 6 };
    const unsigned takes = lmx_row_op_info((int)op)->takes;
    const bool per_row = result_per_row(op);
    double temperature[ROWS * INNER];
    unsigned char keep[ROWS * COLS * INNER];
    lmx_expsum total[ROWS * INNER];
    check_random r = check_random_new(99);
    for (size_t i = 0; i < ROWS * INNER; i++) {
        temperature[i] = check_uniform(&r, 0.1, 4);
        total[i] = (lmx_expsum){ .mantissa = check_uniform(&r, 0.5, 1),
                                 .exponent = (int64_t)check_below(&r, 40) };
    }
    for (size_t i = 0; i < sizeof keep; i++)
        keep[i] = check_below(&r, 3) != 0;
    sample_inputs(s, op, ROWS * COLS * INNER, ROW_WIDE, 1600);

    const strided_shape shape = { ROWS, COLS, INNER };
    const strided_steps in = { COLS * INNER, INNER, 1 };
    const strided_steps to = { per_row ? INNER : COLS * INNER, INNER, 1 };
    const size_t results = per_row ? ROWS * INNER : ROWS * COLS * INNER;
    for (unsigned set = 0; set < 5; set++) {
        strided_options options = row_options(op);
        static const unsigned needs[5] = { 0, LMX_TAKES_TEMPERATURE, LMX_TAKES_WHERE,
                                           LMX_TAKES_TEMPERATURE | LMX_TAKES_WHERE,
                                           LMX_TAKES_TOTAL };
        if ((needs[set] & ~takes) != 0)
            continue;
        if (set == 1 || set == 3) {
            options.temperature = temperature;
            options.temperature_row = INNER;
            options.temperature_inner = 1;
        }
        if (set == 2 || set == 3) {
            options.where = keep;
            options.where_strides = in;
        }
        if (set == 4) {
            options.total = total;
            options.total_row = INNER;
            options.total_inner = 1;
        }
        CHECK(strided_row_op(ctx, op, dtype, &shape, s->a, &in, s->b, &in,
                             set != 0 ? &options : NULL, out, &to) == LMX_OK);
        hash = hash_results(hash, op, out, results);
    }
    return hash;
}

typedef uint64_t hashes[LMX_ROW_COUNT][MAX_TIERS];

/* The same data for every operation with its kind of b, and for every tier: drawn once. */
static void hash_data(hashes hash, const sample *s, void *out, lmx_row_code like, size_t n,
                      row_kind kind)
{
    sample_inputs(s, like, n, kind, 16 * (n * N_ROW_KINDS + (uint64_t)kind));
    for (int i = 0; i < LMX_ROW_COUNT; i++) {
        const lmx_row_code op = op_at(i);
        if ((op == LMX_ROW_softmax_vjp) != (like == LMX_ROW_softmax_vjp))
            continue;
        check_at.test = lmx_row_op_info(i)->name;
        for (size_t t = 0; t < n_tiers; t++) {
            check_at.tier = lmx_isa_name(ctx_of[t]);
            CHECK(row_call(ctx_of[t], op, dtype, 1, n, s->a, s->b, out) == LMX_OK);
            hash[i][t] = hash_results(hash[i][t], op, out, results_of(op, 1, n));
        }
    }
}

static void hash_all(hashes hash)
{
    static const size_t lengths[] = { 0,    1,    2,    3,    5,     8,     15,    16,    17,
                                      31,   32,   33,   63,   64,    65,    100,   127,   128,
                                      129,  255,  256,  257,  511,   512,   513,   999,   1023,
                                      1024, 1025, 4095, 4097, 16383, 16384, 16385, 32769, 50257 };
    const size_t longest = 50257;
    sample s = sample_new(longest);
    void *const out = malloc(longest * 8 + sizeof(lmx_expsum) * 64);
    if (out == NULL)
        exit(3);
    for (int i = 0; i < LMX_ROW_COUNT; i++)
        for (size_t t = 0; t < n_tiers; t++)
            hash[i][t] = CHECK_HASH_SEED;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const size_t n = lengths[k];
        for (size_t kind = 0; kind < N_ROW_KINDS; kind++) {
            if (n > 1025 && kind != k % N_ROW_KINDS && kind != ROW_WIDE)
                continue; /* long ones with two kinds of data */
            hash_data(hash, &s, out, LMX_ROW_log_softmax_vjp, n, (row_kind)kind);
            hash_data(hash, &s, out, LMX_ROW_softmax_vjp, n, (row_kind)kind);
        }
    }
    for (int i = 0; i < LMX_ROW_COUNT; i++)
        for (size_t t = 0; t < n_tiers; t++)
            hash[i][t] = hash_options(hash[i][t], ctx_of[t], op_at(i), &s, out);
    free(out);
    sample_free(&s);
}

static void test_golden(const char *path, bool update)
{
    static hashes hash;
    golden_read(path);
    hash_all(hash);
    for (int i = 0; i < LMX_ROW_COUNT; i++) {
        check_at.test = lmx_row_op_info(i)->name;
        check_at.n = 0;
        for (size_t t = n_tiers; t-- > 0;) {
            check_at.tier = lmx_isa_name(ctx_of[t]);
            golden_check(check_at.test, dtype_name(dtype), hash[i][t], update && t == n_tiers - 1);
        }
    }
    if (update)
        golden_write(path);
}

/* ------------------------------------------------------------------- main --- */

int main(int argc, char **argv)
{
    const bool update = golden_arguments(argc, argv, &dtype);
    char program[32];
    snprintf(program, sizeof program, "ops-%s", argv[1]);
    check_begin(program);
    check_at.dtype = argv[1];
    size = elem_size(dtype);

    for (int i = 0; lmx_isa_available(i) != NULL && n_tiers < MAX_TIERS; i++)
        ctx_of[n_tiers++] = ctx_with(1, lmx_isa_available(i));
    CHECK(n_tiers > 0 && strcmp(lmx_isa_name(portable()), "portable") == 0);

    test_golden(argv[2], update);
    test_chunks();

    /* Best tier with several threads, the others with two. */
    lmx_ctx *threaded[MAX_TIERS + 3];
    size_t n_threaded = 0;
    for (unsigned n = 1; n <= 4; n++)
        threaded[n_threaded++] = ctx_with(n, lmx_isa_available(0));
    for (size_t t = 1; t < n_tiers && !check_fast; t++)
        threaded[n_threaded++] = ctx_with(2, lmx_isa_available((int)t));
    for (int i = 0; i < LMX_ROW_COUNT; i++) {
        const double started = check_seconds();
        /* Without guards only the bits matter, and those the golden hashes know. */
        if (!check_noguard) {
            test_threads(op_at(i), threaded, n_threaded);
            test_edges(op_at(i));
            test_small(op_at(i));
        }
        printf("%s: %.2f s\n", lmx_row_op_info(i)->name, check_seconds() - started);
    }
    for (size_t t = 0; t < n_threaded; t++)
        lmx_ctx_free(threaded[t]);
    for (size_t t = 0; t < n_tiers; t++)
        lmx_ctx_free(ctx_of[t]);
    return check_end();
}
