/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More than 2^31 elements in 64 MiB: one tile of memory, mapped again and again, and
 * a tail of its own that decides the result.  A size or an offset that went through
 * an int would lose most of the sum, or the tail.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "rows.h"

#define TILE ((size_t)64 << 20) /* bytes */
#define TAIL 37                 /* elements behind the tiles */

/* Address space in which a file of one tile repeats, and one private tile behind them. */
static char *map_tiles(size_t tiles)
{
    char path[] = "/tmp/lanemax-test-XXXXXX"; /* memfd_create, but POSIX */
    const int file = mkstemp(path);
    if (file < 0)
        return NULL;
    unlink(path);
    if (ftruncate(file, (off_t)TILE) != 0) {
        close(file);
        return NULL;
    }
    char *const all = mmap(NULL, (tiles + 1) * TILE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) {
        close(file);
        return NULL;
    }
    bool good = true;
    for (size_t i = 0; i < tiles && good; i++)
        good = mmap(all + i * TILE, TILE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                    0) != MAP_FAILED;
    good = good && mprotect(all + tiles * TILE, TILE, PROT_READ | PROT_WRITE) == 0;
    close(file);
    if (!good) {
        munmap(all, (tiles + 1) * TILE);
        return NULL;
    }
    return all;
}

/*
 * The target is behind 2^31 classes.  Tiles of the gradient are written over each other; its tail, which
 * is apart, is what the loss says.
 */
static void test_losses(lmx_dtype dtype, lmx_ctx *ctx, const char *x, size_t tiles, double log_sum,
                        double mean, double square)
{
    const size_t size = elem_size(dtype), n = check_at.n;
    const strided_shape shape = { 1, n, 1 };
    const strided_steps strides = { 0, 1, 0 };
    const int64_t target = (int64_t)n - 3;
    const double at = elem_get(dtype, x, n - 3), z = (at - mean) / sqrt(square - mean * mean);
    check_at.test = "losses of more than 2^31 classes";
    char *const grad = map_tiles(tiles);
    if (grad == NULL) {
        check_skip(check_at.test, "cannot map the address space");
        return;
    }
    const struct {
        lmx_loss_code op;
        double want, slope; /* at the target, a coarse 2 percent */
    } cases[] = {
        { LMX_LOSS_cross_entropy, log_sum - at, exp(at - log_sum) - 1 },
        { LMX_LOSS_one_hot_mse_loss, square * (double)n - 2 * at + 1, 2 * (at - 1) },
        { LMX_LOSS_z_loss, log1p(exp(-z)),
          (z * z / (double)n - 1) / (1 + exp(z)) / sqrt(square - mean * mean) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double loss = 0;
        float loss32 = 0;
        memset(grad + tiles * TILE, 0xee, TAIL * size);
        CHECK(strided_loss(ctx, cases[i].op, dtype, &shape, x, &strides, &target, LMX_I64, 1, NULL,
                           dtype == LMX_F64 ? (void *)&loss : &loss32, 1, grad,
                           &strides) == LMX_OK);
        loss = dtype == LMX_F64 ? loss : (double)loss32;
        if (!(fabs(loss / cases[i].want - 1) <= (dtype == LMX_F64 ? 1e-12 : 2e-7)))
            check_fail("%s: got %.17g want %.17g", lmx_loss_info((int)cases[i].op)->name, loss,
                       cases[i].want);
        const double slope = elem_get(dtype, grad, n - 3);
        if (!(fabs(slope / cases[i].slope - 1) <= 0.02))
            check_fail("%s: gradient %.9g want %.9g", lmx_loss_info((int)cases[i].op)->name, slope,
                       cases[i].slope);
    }
    munmap(grad, (tiles + 1) * TILE);
}

/* An output layer of 2^31 weights, of which each row's last counts, and the tail holds the last of the last row. */
static void test_layer(lmx_dtype dtype, lmx_ctx *ctx, const char *x)
{
    enum { DEPTH = 2048 };
    static char hidden[DEPTH * 8];
    const size_t size = elem_size(dtype), classes = (size_t)1 << 31 >> 11;
    const char *const weight = x + (check_at.n - classes * DEPTH) * size;
    check_at.test = "an output layer of 2^31 weights";
    for (size_t i = 0; i < DEPTH; i++)
        elem_put(dtype, hidden, i, i == DEPTH - 1 ? 1 : 0);
    double value = 0, most = 0;
    float value32 = 0;
    int64_t best = 0;
    CHECK(lmx_linear_logsumexp(ctx, dtype, 1, DEPTH, classes, hidden, DEPTH, weight, DEPTH, NULL,
                               dtype == LMX_F64 ? (void *)&value : &value32, 1) == LMX_OK);
    value = dtype == LMX_F64 ? value : (double)value32;
    const double usual = elem_get(dtype, weight, DEPTH - 1);
    const double last = elem_get(dtype, x, check_at.n - 1);
    const double want = log((double)(classes - 1) * exp(usual) + exp(last));
    if (!(fabs(value - want) <= (dtype == LMX_F64 ? 1e-14 : ldexp(want, -24) * 1.01)))
        check_fail("got %.17g want %.17g", value, want);
    CHECK(lmx_linear_topk(ctx, dtype, 1, DEPTH, classes, 1, hidden, DEPTH, weight, DEPTH, NULL,
                          &most, 1, &best, 1) == LMX_OK);
    CHECK(best == (int64_t)classes - 1 && elem_get(dtype, &most, 0) == last);
}

/* Period of the data: short, so that the reference is exact. */
#define PERIOD 1024

static void test_row(lmx_dtype dtype, lmx_ctx *ctx)
{
    const size_t size = elem_size(dtype), per_tile = TILE / size;
    const size_t tiles = ((size_t)1 << 31) / per_tile; /* 2^31 elements */
    check_at.dtype = dtype_name(dtype);
    check_at.tier = lmx_isa_name(ctx);
    check_at.n = tiles * per_tile + TAIL;
    char *const x = map_tiles(tiles);
    if (x == NULL) {
        check_skip(check_at.dtype, "cannot map the address space");
        return;
    }
    /* Tiles: N(0, 1); tail: 10 above, so that its sum is about a percent of theirs... */
    check_random r = check_random_new(1);
    double sum = 0, tail = 0, line = 0, square = 0; /* the last two, of a period and then of all */
    row_fill(dtype, x, PERIOD, ROW_NORMAL, &r);
    for (size_t i = 0; i < PERIOD; i++) {
        const double v = elem_get(dtype, x, i);
        sum += exp(v);
        line += v;
        square += v * v;
    }
    line *= (double)(tiles * per_tile / PERIOD);
    square *= (double)(tiles * per_tile / PERIOD);
    for (size_t at = PERIOD * size; at < TILE; at *= 2)
        memcpy(x + at, x, at);
    char *const last = x + tiles * TILE;
    for (size_t i = 0; i < TAIL; i++) {
        elem_put(dtype, last, i, 14 + check_uniform(&r, 0, 1));
        const double v = elem_get(dtype, last, i);
        tail += exp(v);
        line += v;
        square += v * v;
    }
    const double want = log(sum * (double)(tiles * per_tile / PERIOD) + tail);
    const double n = (double)check_at.n;

    check_at.test = "logsumexp of more than 2^31 elements";
    double value = 0;
    float value32 = 0;
    CHECK(lmx_logsumexp(ctx, dtype, 1, check_at.n, x, 1,
                        dtype == LMX_F64 ? (void *)&value : &value32, 1) == LMX_OK);
    if (dtype != LMX_F64)
        value = (double)value32;
    const double bound = dtype == LMX_F64 ? 1e-14 : ldexp(want, -24) * 1.01 + 1e-12;
    if (!(fabs(value - want) <= bound))
        check_fail("got %.17g want %.17g, off by %.3g", value, want, value - want);

    check_at.test = "exp_sum of more than 2^31 elements";
    lmx_expsum total;
    CHECK(lmx_exp_sum(ctx, dtype, 1, check_at.n, x, 1, &total, 1) == LMX_OK);
    const double got = log(total.mantissa) + (double)total.exponent * 0.693147180559945309417;
    /* float: the block sums round to 24 bits, at random: far below their bound on average. */
    if (!(fabs(got - want) <= (dtype == LMX_F64 ? 1e-14 : 2e-7)) || total.base != 0)
        check_fail("got %.17g want %.17g, off by %.3g", got, want, got - want);

    check_at.test = "a row that is spread over more than 2^31 elements";
    enum { FEW = 20000 };
    static char row[FEW * 8], spread[FEW * 8], gathered[FEW * 8];
    const ptrdiff_t step = ((ptrdiff_t)1 << 31) / FEW;
    const strided_shape sparse = { 1, FEW, 1 };
    const strided_steps apart = { 0, step, 0 }, together = { 0, 1, 0 };
    for (size_t i = 0; i < FEW; i++)
        memcpy(row + i * size, x + (ptrdiff_t)i * step * (ptrdiff_t)size, size);
    CHECK(lmx_softmax(ctx, dtype, 1, FEW, row, FEW, spread, FEW) == LMX_OK);
    CHECK(strided_row_op(ctx, LMX_ROW_softmax, dtype, &sparse, x, &apart, NULL, NULL, NULL,
                         gathered, &together) == LMX_OK);
    check_same(gathered, spread, FEW * size, size);

    /* The tail is not lost: without it the result is another. */
    CHECK(fabs(log(sum * (n - TAIL) / PERIOD) - want) > 1e-4);

    check_at.test = "rows more than 2^31 elements apart";
    char y[2 * TAIL * 8], y1[2 * TAIL * 8];
    const size_t stride = tiles * per_tile;
    CHECK(lmx_softmax(ctx, dtype, 2, TAIL, x, (ptrdiff_t)stride, y, TAIL) == LMX_OK);
    CHECK(lmx_softmax(ctx, dtype, 1, TAIL, x, TAIL, y1, TAIL) == LMX_OK);
    CHECK(lmx_softmax(ctx, dtype, 1, TAIL, last, TAIL, y1 + TAIL * size, TAIL) == LMX_OK);
    check_same(y, y1, 2 * TAIL * size, size);
    CHECK(lmx_softmax(ctx, dtype, 2, TAIL, last, -(ptrdiff_t)stride, y + 0, TAIL) == LMX_OK);
    check_same(y, y1 + TAIL * size, TAIL * size, size);
    check_same(y + TAIL * size, y1, TAIL * size, size);

    check_at.test = "columns more than 2^31 elements apart";
    const strided_shape shape = { 1, 2, TAIL };
    const strided_steps in = { 0, (ptrdiff_t)stride, 1 }, to = { 0, TAIL, 1 };
    CHECK(strided_row_op(ctx, LMX_ROW_softmax, dtype, &shape, x, &in, NULL, NULL, NULL, y, &to) ==
          LMX_OK);
    for (size_t j = 0; j < TAIL; j++) {
        const double a = elem_get(dtype, x, j), b = elem_get(dtype, last, j);
        const double p = 1 / (1 + exp(b - a)), q = elem_get(dtype, y, j);
        const double ulp = dtype == LMX_F16 ? 0x1p-24 : 0; /* of its subnormals, which p is among */
        if (!(fabs(q - p) <= p * (size == 2 ? 0x1p-8 : 1e-6) + 0.5 * ulp))
            check_fail("column %zu: got %.9g want %.9g", j, q, p);
    }
    test_losses(dtype, ctx, x, tiles, want, line / n, square / n);
    test_layer(dtype, ctx, x);
    munmap(x, (tiles + 1) * TILE);
}

int main(void)
{
    check_begin("huge");
    if (check_fast) {
        check_skip("all", "an emulator, valgrind or a sanitizer would take minutes");
        return check_end();
    }
    lmx_ctx *const ctx = ctx_with(2, NULL);
    test_row(LMX_F32, ctx);
    test_row(LMX_BF16, ctx);
    if (check_full) {
        test_row(LMX_F64, ctx);
        test_row(LMX_F16, ctx);
    }
    lmx_ctx_free(ctx);
    return check_end();
}
