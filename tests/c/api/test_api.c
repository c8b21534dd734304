/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad input, as the C interface promises: which status, checked in which order, and
 * no byte of an output written unless the status is LMX_OK.  Every defect alone, and
 * every set of defects together: the first in order wins.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

/* ------------------------------------------------------------ a whole call --- */

#define ROWS  3
#define COLS  5
#define INNER 2
#define PAD   64 /* bytes around the data */

/* Everything that lmx_row_op is told, with memory behind it. */
typedef struct call {
    lmx_ctx *ctx;
    lmx_row_code op;
    lmx_dtype dtype;
    strided_shape shape, *shape_arg;
    strided_steps sa, sb, so, *sa_arg, *sb_arg, *so_arg;
    const void *a, *b;
    void *out;
    strided_options options;
    bool has_options;
    double temperature[ROWS * INNER];
    unsigned char keep[ROWS * COLS * INNER];
    lmx_expsum total[ROWS * INNER];
    size_t used; /* bytes of the output that a good call writes */
    _Alignas(64) unsigned char ma[2048], mb[2048], mo[4096];
} call;

static void call_init(call *c, lmx_row_code op, lmx_dtype dtype)
{
    memset(c, 0, sizeof *c);
    c->op = op;
    c->dtype = dtype;
    c->shape = (strided_shape){ ROWS, COLS, INNER };
    c->sa = c->sb = c->so = (strided_steps){ COLS * INNER, INNER, 1 };
    if (result_per_row(op))
        c->so = (strided_steps){ INNER, 0, 1 };
    c->shape_arg = &c->shape;
    c->sa_arg = &c->sa;
    c->sb_arg = &c->sb;
    c->so_arg = &c->so;
    check_random r = check_random_new(7);
    row_fill(dtype, c->ma + PAD, ROWS * COLS * INNER, ROW_NORMAL, &r);
    row_fill(dtype, c->mb + PAD, ROWS * COLS * INNER, ROW_UNIT, &r);
    memset(c->mo, 0x5b, sizeof c->mo);
    c->a = c->ma + PAD;
    c->b = lmx_row_op_info((int)op)->inputs == 2 ? c->mb + PAD : NULL;
    c->out = c->mo + PAD;
    c->options = row_options(op);
    for (size_t i = 0; i < ROWS * INNER; i++) {
        c->temperature[i] = 2;
        c->total[i] = (lmx_expsum){ .mantissa = 0.5, .exponent = 5 };
    }
    memset(c->keep, 1, sizeof c->keep);
    c->used = (size_t)ROWS * INNER * (result_per_row(op) ? 1 : COLS) * result_size(op, dtype);
}

static lmx_status call_run(call *c)
{
    return strided_row_op(c->ctx, c->op, c->dtype, c->shape_arg, c->a, c->sa_arg, c->b, c->sb_arg,
                          c->has_options ? &c->options : NULL, c->out, c->so_arg);
}

static bool all_of(const unsigned char *p, size_t n, unsigned char value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

/* Runs a call that must fail so, or must succeed; the output is looked at in both cases. */
static void expect(call *c, lmx_status want, const char *what)
{
    unsigned char before_a[sizeof c->ma];
    memcpy(before_a, c->ma, sizeof before_a);
    check_at.test = what;
    const lmx_status got = call_run(c);
    if (got != want)
        check_fail("status %d (%s), expected %d (%s)", (int)got, lmx_status_string(got), (int)want,
                   lmx_status_string(want));
    if (want != LMX_OK && !all_of(c->mo, sizeof c->mo, 0x5b))
        check_fail("the output was written");
    if (memcmp(before_a, c->ma, sizeof before_a) != 0 &&
        (want != LMX_OK || (const void *)c->out != c->a))
        check_fail("the input was written");
    check_count(2);
}

/* ---------------------------------------------------------------- defects --- */

/* In the order of the header: OP, DTYPE, ARG, NULL, OVERFLOW, STRIDE, OVERLAP. */
typedef enum defect {
    BAD_OP,
    BAD_DTYPE,
    BAD_ARG,
    BAD_NULL,
    BAD_OVERFLOW,
    BAD_STRIDE,
    BAD_OVERLAP,
    N_DEFECTS
} defect;

static const lmx_status status_of[N_DEFECTS] = {
    LMX_ERR_OP,       LMX_ERR_DTYPE,  LMX_ERR_ARG,     LMX_ERR_NULL,
    LMX_ERR_OVERFLOW, LMX_ERR_STRIDE, LMX_ERR_OVERLAP,
};

/* Variants of a defect, so that the sets meet more than one spelling. */
static void spoil(call *c, defect d, uint64_t variant)
{
    switch (d) {
    case BAD_OP: {
        static const int ops[] = { -1, LMX_ROW_COUNT, 1000, INT32_MIN, INT32_MAX };
        c->op = (lmx_row_code)ops[variant % 5];
        break;
    }
    case BAD_DTYPE: {
        static const int types[] = { -1, 4, 99, INT32_MAX };
        c->dtype = (lmx_dtype)types[variant % 4];
        break;
    }
    case BAD_ARG: {
        const uint64_t tag = c->options.o.tag;
        const uint64_t tags[] = { 0, sizeof(strided_options), tag - 1, tag + 1, UINT64_MAX };
        c->has_options = true;
        c->options.o.tag = tags[variant % 5];
        break;
    }
    case BAD_NULL:
        if (c->b != NULL && variant % 3 == 0)
            c->b = NULL;
        else if (variant % 3 == 1)
            c->a = NULL;
        else
            c->out = NULL;
        break;
    case BAD_OVERFLOW: {
        static const ptrdiff_t strides[] = { PTRDIFF_MAX, PTRDIFF_MIN, PTRDIFF_MAX / 2,
                                             PTRDIFF_MIN / 2 };
        (variant % 2 == 0 ? &c->sa : &c->so)->row = strides[variant / 2 % 4];
        break;
    }
    case BAD_STRIDE:
        if (variant % 3 == 0)
            c->so.inner = 0;
        else if (variant % 3 == 1 || llabs(c->so.row) > 1000) /* not in the way of an overflow */
            c->so.inner = c->so.col = 0;
        else
            c->so.row = 1;
        break;
    default: /* one element into the input */
        if (c->out != NULL)
            c->out = (char *)c->ma + PAD + 8 + (uintptr_t)c->out % 2;
    }
}

/* All sets of defects. */
static void test_order(lmx_row_code op, lmx_dtype dtype)
{
    static call c;
    char what[40];
    for (unsigned set = 1; set < 1u << N_DEFECTS; set++)
        for (uint64_t variant = 0; variant < 8; variant++) {
            call_init(&c, op, dtype);
            int first = -1;
            for (int d = N_DEFECTS - 1; d >= 0; d--)
                if (set >> d & 1)
                    first = d;
            for (int d = 0; d < N_DEFECTS; d++)
                if (set >> d & 1)
                    spoil(&c, (defect)d, variant + (uint64_t)d);
            snprintf(what, sizeof what, "defects %#x, variant %d", set, (int)variant);
            expect(&c, status_of[first], what);
        }
    call_init(&c, op, dtype);
    expect(&c, LMX_OK, "no defect");
    CHECK(!all_of(c.mo + PAD, c.used, 0x5b) && all_of(c.mo, PAD, 0x5b) &&
          all_of(c.mo + PAD + c.used, sizeof c.mo - PAD - c.used, 0x5b));
}

static void test_single_defects(lmx_row_code op, lmx_dtype dtype)
{
    static call c;
    const lmx_row_info *const info = lmx_row_op_info((int)op);
    const size_t size = elem_size(dtype), one = result_size(op, dtype);
    const bool per_row = result_per_row(op);
#define FRESH call_init(&c, op, dtype)

    FRESH;
    c.shape_arg = NULL;
    expect(&c, LMX_ERR_NULL, "shape is NULL");
    FRESH;
    c.sa_arg = NULL;
    expect(&c, LMX_ERR_NULL, "a_strides is NULL");
    FRESH;
    c.so_arg = NULL;
    expect(&c, LMX_ERR_NULL, "out_strides is NULL");
    FRESH;
    c.sb_arg = NULL;
    expect(&c, info->inputs == 2 ? LMX_ERR_NULL : LMX_OK, "b_strides is NULL");
    FRESH;
    if (info->inputs == 1) { /* not looked at */
        c.b = (const void *)(uintptr_t)1;
        c.sb = (strided_steps){ PTRDIFF_MAX, PTRDIFF_MAX, PTRDIFF_MAX };
        expect(&c, LMX_OK, "b where there is one input");
    }

    /* Extents of 0: no access, whatever the pointers. */
    for (size_t zero = 0; zero < 7; zero++) {
        FRESH;
        c.shape =
            (strided_shape){ zero == 0 || zero > 2 ? 0 : ROWS, zero == 1 || zero > 3 ? 0 : COLS,
                             zero == 2 || zero > 4 ? 0 : INNER };
        if (zero == 6)
            c.shape = (strided_shape){ 0, SIZE_MAX, SIZE_MAX };
        if (per_row && c.shape.rows != 0 && c.shape.inner != 0)
            continue; /* writes; see below */
        c.a = c.b = NULL;
        c.out = NULL;
        expect(&c, LMX_OK, "an extent of 0 with NULL");
        CHECK(all_of(c.mo, sizeof c.mo, 0x5b));
        c.a = c.b = c.out = (void *)(uintptr_t)3;
        c.sa.row = c.so.row = PTRDIFF_MIN;
        expect(&c, LMX_OK, "an extent of 0 with nonsense");
    }
    if (per_row) {
        FRESH;
        c.shape.cols = 0;
        c.a = NULL; /* nothing is read */
        c.b = NULL;
        expect(&c, LMX_OK, "no columns");
        for (size_t i = 0; i < ROWS * INNER; i++) {
            if (op == LMX_ROW_exp_sum)
                CHECK(all_of((unsigned char *)c.out + i * one, one, 0));
            else
                CHECK(isinf(elem_get(dtype == LMX_F64 ? LMX_F64 : LMX_F32, c.out, i)) &&
                      elem_get(dtype == LMX_F64 ? LMX_F64 : LMX_F32, c.out, i) < 0);
        }
        CHECK(all_of((unsigned char *)c.out + ROWS * INNER * one, 512, 0x5b));
        FRESH;
        c.shape.cols = 0;
        c.out = NULL;
        expect(&c, LMX_ERR_NULL, "no columns, and nowhere to say so");
    }

    /* No address needs to be a multiple of the element; test_views compares the results. */
    for (size_t off = 1; off < (one < 8 ? one : 8); off++) {
        FRESH;
        c.out = (char *)c.out + off;
        expect(&c, LMX_OK, "output misaligned");
    }
    for (size_t off = 1; off < size; off++) {
        FRESH;
        c.a = (const char *)c.a + off;
        expect(&c, LMX_OK, "input misaligned");
        FRESH;
        if (c.b != NULL) {
            c.b = (const char *)c.b + off;
            expect(&c, LMX_OK, "second input misaligned");
        }
    }
    FRESH;
    c.out = (char *)c.out + (one < 8 ? one : 8);
    expect(&c, LMX_OK, "aligned to the element and no more");

    /* Overflow, in each way. */
    static const struct {
        strided_shape shape;
        strided_steps s;
    } overflows[] = {
        { { 2, 1, 1 }, { PTRDIFF_MAX, 1, 1 } },
        { { 2, 1, 1 }, { PTRDIFF_MIN, 1, 1 } },
        { { 2, 1, 1 }, { PTRDIFF_MAX / 2 + 1, 1, 1 } },
        { { 1, 2, 1 }, { 1, PTRDIFF_MAX, 1 } },
        { { 1, 2, 1 }, { 1, PTRDIFF_MIN, 1 } },
        { { 1, 1, 2 }, { 1, 1, PTRDIFF_MIN } },
        { { SIZE_MAX, 1, 1 }, { 1, 1, 1 } },
        { { 1, SIZE_MAX, 1 }, { 1, 1, 1 } },
        { { 1, 1, SIZE_MAX }, { 1, 1, 1 } },
        { { (size_t)1 << 32, (size_t)1 << 32, 1 }, { (ptrdiff_t)1 << 32, 1, 1 } },
        { { (size_t)1 << 31, 1, (size_t)1 << 31 }, { (ptrdiff_t)1 << 31, 1, 1 } },
        { { 3, 1, 3 }, { PTRDIFF_MAX / 4, 1, PTRDIFF_MAX / 4 } },
    };
    for (size_t k = 0; k < sizeof overflows / sizeof *overflows; k++) {
        FRESH;
        c.shape = overflows[k].shape;
        c.sa = c.sb = overflows[k].s;
        c.so = overflows[k].s;
        expect(&c, LMX_ERR_OVERFLOW, "overflow of extents or strides");
    }
    FRESH;
    c.so.row = PTRDIFF_MAX / 2;
    expect(&c, LMX_ERR_OVERFLOW, "overflow of the output alone");
    FRESH;
    if (c.b != NULL) {
        c.sb.col = PTRDIFF_MAX / 3;
        expect(&c, LMX_ERR_OVERFLOW, "overflow of the second input alone");
    }

    /* Strides: an output may not overlap itself; an input may. */
    static const strided_steps self[] = {
        { 0, INNER, 1 }, { COLS * INNER, INNER, 0 }, { COLS * INNER - 1, INNER, 1 },
        { 1, INNER, 1 }, { -1, INNER, 1 },           { COLS * INNER, 1, 1 }
    };
    for (size_t k = 0; k < sizeof self / sizeof *self && !per_row; k++) {
        FRESH;
        c.so = self[k];
        expect(&c, LMX_ERR_STRIDE, "output overlaps itself");
        FRESH;
        c.sa = self[k];
        c.a = c.ma + PAD + 2 * size;
        expect(&c, LMX_OK, "input overlaps itself");
    }
    if (per_row) {
        FRESH;
        c.so.row = 1;
        expect(&c, LMX_ERR_STRIDE, "output overlaps itself");
        FRESH;
        c.so = (strided_steps){ 0, 0, 1 };
        expect(&c, LMX_ERR_STRIDE, "output does not move");
        FRESH;
        c.so.col = PTRDIFF_MAX; /* not used: one result per row */
        expect(&c, LMX_OK, "col of the output of one result per row");
    }
    FRESH;
    c.shape = (strided_shape){ 1, COLS, 1 };
    c.sa.row = c.so.row = 999999;
    c.sa.inner = c.so.inner = PTRDIFF_MIN;
    c.sa.col = c.so.col = 1;
    expect(&c, LMX_OK, "strides of extent 1 do not matter");
    FRESH;
    c.so.row = -c.so.row;
    c.out = (char *)c.out + (per_row ? (ROWS - 1) * INNER : (ROWS - 1) * COLS * INNER) * one;
    expect(&c, LMX_OK, "negative stride of the output");

    /* Overlap: in place is exact, or an error. */
    if (!per_row) {
        const size_t bytes = (size_t)ROWS * COLS * INNER * size;
        FRESH;
        c.out = c.ma + PAD;
        expect(&c, LMX_OK, "in place");
        for (ptrdiff_t by = -(ptrdiff_t)bytes; by <= (ptrdiff_t)bytes; by += (ptrdiff_t)size) {
            FRESH;
            c.a = c.ma + 700;
            c.a = (const char *)c.a - (uintptr_t)c.a % 8;
            c.out = (char *)(uintptr_t)c.a + by;
            const bool apart = by == -(ptrdiff_t)bytes || by == (ptrdiff_t)bytes || by == 0;
            check_at.test = "output shifted against the input";
            unsigned char before[sizeof c.ma];
            memcpy(before, c.ma, sizeof before);
            const lmx_status got = call_run(&c);
            CHECK(got == (apart ? LMX_OK : LMX_ERR_OVERLAP));
            if (got != LMX_OK)
                CHECK(memcmp(before, c.ma, sizeof before) == 0);
        }
        FRESH;
        c.out = c.ma + PAD;
        c.so = (strided_steps){ -COLS * INNER, INNER, 1 };
        c.out = (char *)c.out + (ROWS - 1) * COLS * INNER * size;
        expect(&c, LMX_ERR_OVERLAP, "in place, rows in the other order");
        FRESH;
        c.out = c.ma + PAD;
        c.so = (strided_steps){ INNER, ROWS * INNER, 1 };
        expect(&c, LMX_ERR_OVERLAP, "in place, transposed");
        FRESH; /* every second element of the same memory */
        c.shape = (strided_shape){ ROWS, COLS, 1 };
        c.sa = c.so = (strided_steps){ 2 * COLS, 2, 1 };
        c.out = c.ma + PAD + size;
        check_at.test = "interleaved without a common element";
        CHECK(call_run(&c) == LMX_OK);
        if (c.b != NULL) {
            FRESH;
            c.out = c.mb + PAD;
            expect(&c, LMX_OK, "in place of the second input");
            FRESH;
            c.out = c.mb + PAD + size;
            expect(&c, LMX_ERR_OVERLAP, "output shifted against the second input");
            FRESH;
            c.b = c.a;
            expect(&c, LMX_OK, "both inputs the same");
            c.out = c.ma + PAD;
            expect(&c, LMX_OK, "everything the same");
        }
    } else {
        FRESH;
        c.out = c.ma + PAD;
        expect(&c, LMX_ERR_OVERLAP, "result on the input");
        FRESH;
        c.out = c.ma + PAD + ROWS * COLS * INNER * size - 8 / size * size;
        c.out = (char *)c.out - (uintptr_t)c.out % 8;
        expect(&c, LMX_ERR_OVERLAP, "result on the end of the input");
        FRESH;
        c.out = c.ma + PAD + (ROWS * COLS * INNER * size + 7) / 8 * 8;
        check_at.test = "result right behind the input";
        CHECK(call_run(&c) == LMX_OK);
    }
#undef FRESH
}

/* With the strides of the input, an overlap is found exactly: against every pair of elements. */
static void test_overlap(lmx_row_code op, lmx_dtype dtype)
{
    static const struct {
        strided_shape shape;
        strided_steps s;
    } cases[] = {
        { { 3, 5, 1 }, { 10, 1, 0 } },   { { 3, 5, 1 }, { 1, 7, 0 } },
        { { 3, 2, 2 }, { 13, 5, 2 } },   { { 3, 5, 1 }, { -10, 1, 0 } },
        { { 2, 3, 4 }, { -20, 6, -1 } }, { { 1, 5, 1 }, { 0, 3, 0 } },
    };
    static call c;
    const ptrdiff_t size = (ptrdiff_t)elem_size(dtype);
    if (result_per_row(op))
        return;
    check_at.test = "overlap of equal strides";
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (ptrdiff_t by = -60; by <= 60; by++) {
            const strided_shape n = cases[k].shape;
            const strided_steps t = cases[k].s;
            bool common = false; /* i - j = by for offsets i, j of two elements */
            for (size_t i = 0; i < n.rows * n.cols * n.inner; i++)
                for (size_t j = 0; j < n.rows * n.cols * n.inner; j++) {
                    const ptrdiff_t at[2] = { (ptrdiff_t)i, (ptrdiff_t)j };
                    ptrdiff_t offset[2];
                    for (int q = 0; q < 2; q++) {
                        const ptrdiff_t inner = (ptrdiff_t)n.inner, cols = (ptrdiff_t)n.cols;
                        offset[q] = at[q] / inner / cols * t.row + at[q] / inner % cols * t.col +
                                    at[q] % inner * t.inner;
                    }
                    common = common || offset[0] - offset[1] == by;
                }
            call_init(&c, op, dtype);
            c.shape = n;
            c.sa = c.sb = c.so = t;
            c.a = c.ma + 1024;
            c.out = c.ma + 1024 + by * size;
            check_at.n = k;
            check_at.out_offset = (size_t)by;
            CHECK(call_run(&c) == (common && by != 0 ? LMX_ERR_OVERLAP : LMX_OK));
        }

    /* Right before and right behind the input, with other strides. */
    check_at.test = "neighbours with other strides";
    for (int behind = 0; behind < 2; behind++) {
        call_init(&c, op, dtype);
        c.shape = (strided_shape){ 2, 4, 1 };
        c.sa = c.sb = (strided_steps){ 4, 1, 0 };
        c.so = (strided_steps){ 6, 1, 0 };
        c.a = c.ma + 1024;
        c.out = c.ma + 1024 + (behind ? 8 : -10) * size;
        CHECK(call_run(&c) == LMX_OK);
        c.out = (char *)c.out + (behind ? -size : size);
        CHECK(call_run(&c) == LMX_ERR_OVERLAP);
    }
    check_at.n = check_at.out_offset = 0;
}

/* ---------------------------------------------------------------- options --- */

static void test_options(lmx_row_code op, lmx_dtype dtype)
{
    static call c;
    const lmx_row_info *const info = lmx_row_op_info((int)op);
    const bool t = (info->takes & LMX_TAKES_TEMPERATURE) != 0,
               w = (info->takes & LMX_TAKES_WHERE) != 0, s = (info->takes & LMX_TAKES_TOTAL) != 0;
#define FRESH (call_init(&c, op, dtype), c.has_options = true)
    FRESH;
    expect(&c, LMX_OK, "options without one");

    FRESH;
    c.options.temperature = c.temperature;
    c.options.temperature_row = INNER;
    c.options.temperature_inner = 1;
    expect(&c, t ? LMX_OK : LMX_ERR_OP, "temperature");
    FRESH;
    c.options.where = c.keep;
    c.options.where_strides = (strided_steps){ COLS * INNER, INNER, 1 };
    expect(&c, w ? LMX_OK : LMX_ERR_OP, "where");
    FRESH;
    c.options.total = c.total;
    c.options.total_row = INNER;
    c.options.total_inner = 1;
    expect(&c, s ? LMX_OK : LMX_ERR_OP, "total");
    c.options.temperature = c.temperature;
    memset(c.mo, 0x5b, sizeof c.mo);
    expect(&c, LMX_ERR_OP, "total with temperature");
    c.options.temperature = NULL;
    c.options.where = c.keep;
    memset(c.mo, 0x5b, sizeof c.mo);
    expect(&c, LMX_ERR_OP, "total with where");

    if (t) {
        static const double bad[] = { 0.0,
                                      -0.0,
                                      -1,
                                      -DBL_TRUE_MIN,
                                      -DBL_MAX,
                                      (double)INFINITY,
                                      -(double)INFINITY,
                                      (double)NAN,
                                      -(double)NAN };
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
            for (size_t at = 0; at < ROWS * INNER; at++) { /* also where it is met last */
                FRESH;
                c.options.temperature = c.temperature;
                c.options.temperature_row = INNER;
                c.options.temperature_inner = 1;
                c.temperature[at] = bad[k];
                expect(&c, LMX_ERR_ARG, "temperature out of range");
            }
        for (size_t at = 0; at < ROWS; at++) { /* one for each row */
            FRESH;
            c.options.temperature = c.temperature;
            c.options.temperature_row = INNER;
            c.temperature[at * INNER] = -1;
            c.temperature[at * INNER + 1] = (double)NAN; /* not looked at */
            expect(&c, LMX_ERR_ARG, "temperature of a row out of range");
            c.temperature[at * INNER] = 1;
            expect(&c, LMX_OK, "temperature between the rows' is not looked at");
        }
        for (size_t at = 0; at < INNER; at++) { /* one for each inner index */
            FRESH;
            c.options.temperature = c.temperature;
            c.options.temperature_inner = 1;
            c.temperature[at] = 0;
            expect(&c, LMX_ERR_ARG, "temperature of an inner index out of range");
        }
        static const double good[] = { DBL_TRUE_MIN, DBL_MIN, 1e-300, 1, DBL_MAX };
        for (size_t k = 0; k < sizeof good / sizeof *good; k++) {
            FRESH;
            c.options.temperature = c.temperature; /* strides 0: one for all */
            c.temperature[0] = good[k];
            c.temperature[1] = -1;
            expect(&c, LMX_OK, "extreme temperature");
        }
        FRESH;
        c.options.temperature = c.temperature;
        c.temperature[0] = -1;
        c.shape.rows = 0;
        expect(&c, LMX_OK, "no row, so no temperature is out of range");
        FRESH;
        c.options.temperature = c.temperature;
        c.temperature[0] = -1;
        c.out = NULL;
        expect(&c, LMX_ERR_ARG, "temperature comes before NULL");
        c.dtype = (lmx_dtype)9;
        expect(&c, LMX_ERR_DTYPE, "the type comes before temperature");
    }
#undef FRESH
}

/* -------------------------------------------------------- contiguous entries --- */

typedef struct entry {
    const char *name;
    lmx_row_code op;
    lmx_status (*one)(lmx_ctx *, lmx_dtype, size_t, size_t, const void *, ptrdiff_t, void *,
                      ptrdiff_t);
    lmx_status (*two)(lmx_ctx *, lmx_dtype, size_t, size_t, const void *, ptrdiff_t, const void *,
                      ptrdiff_t, void *, ptrdiff_t);
} entry;

static lmx_status exp_sum_entry(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                const void *x, ptrdiff_t xs, void *sum, ptrdiff_t ss)
{
    return lmx_exp_sum(ctx, dtype, rows, cols, x, xs, sum, ss);
}

/* With the parameter's default. */
static lmx_status spherical_entry(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                  const void *x, ptrdiff_t xs, void *y, ptrdiff_t ys)
{
    return lmx_spherical_softmax(ctx, dtype, rows, cols, x, xs, 1e-4, y, ys);
}

static lmx_status taylor_entry(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                               const void *x, ptrdiff_t xs, void *y, ptrdiff_t ys)
{
    return lmx_taylor_softmax(ctx, dtype, rows, cols, x, xs, 2, y, ys);
}

static lmx_status spherical_vjp_entry(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                      const void *dy, ptrdiff_t dys, const void *x, ptrdiff_t xs,
                                      void *dx, ptrdiff_t dxs)
{
    return lmx_spherical_softmax_vjp(ctx, dtype, rows, cols, dy, dys, x, xs, 1e-4, dx, dxs);
}

static lmx_status taylor_vjp_entry(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                   const void *dy, ptrdiff_t dys, const void *x, ptrdiff_t xs,
                                   void *dx, ptrdiff_t dxs)
{
    return lmx_taylor_softmax_vjp(ctx, dtype, rows, cols, dy, dys, x, xs, 2, dx, dxs);
}

static const entry entries[] = {
    { "lmx_softmax", LMX_ROW_softmax, lmx_softmax, NULL },
    { "lmx_log_softmax", LMX_ROW_log_softmax, lmx_log_softmax, NULL },
    { "lmx_logsumexp", LMX_ROW_logsumexp, lmx_logsumexp, NULL },
    { "lmx_softmax_vjp", LMX_ROW_softmax_vjp, NULL, lmx_softmax_vjp },
    { "lmx_log_softmax_vjp", LMX_ROW_log_softmax_vjp, NULL, lmx_log_softmax_vjp },
    { "lmx_exp_sum", LMX_ROW_exp_sum, exp_sum_entry, NULL },
    { "lmx_spherical_softmax", LMX_ROW_spherical_softmax, spherical_entry, NULL },
    { "lmx_taylor_softmax", LMX_ROW_taylor_softmax, taylor_entry, NULL },
    { "lmx_stablemax", LMX_ROW_stablemax, lmx_stablemax, NULL },
    { "lmx_log_stablemax", LMX_ROW_log_stablemax, lmx_log_stablemax, NULL },
    { "lmx_spherical_softmax_vjp", LMX_ROW_spherical_softmax_vjp, NULL, spherical_vjp_entry },
    { "lmx_taylor_softmax_vjp", LMX_ROW_taylor_softmax_vjp, NULL, taylor_vjp_entry },
    { "lmx_stablemax_vjp", LMX_ROW_stablemax_vjp, NULL, lmx_stablemax_vjp },
    { "lmx_log_stablemax_vjp", LMX_ROW_log_stablemax_vjp, NULL, lmx_log_stablemax_vjp },
};

static lmx_status call_entry(const entry *e, lmx_dtype dtype, size_t rows, size_t cols,
                             const void *a, ptrdiff_t as, const void *b, ptrdiff_t bs, void *out,
                             ptrdiff_t os)
{
    return e->one != NULL ? e->one(NULL, dtype, rows, cols, a, as, out, os)
                          : e->two(NULL, dtype, rows, cols, a, as, b, bs, out, os);
}

/* The named functions are lmx_row_op on contiguous rows, errors included. */
static void test_entries(void)
{
    static call c;
    for (size_t k = 0; k < sizeof entries / sizeof *entries; k++)
        for (int d = 0; d < N_DTYPES; d++) {
            const entry *const e = &entries[k];
            const lmx_dtype dtype = (lmx_dtype)d;
            const bool per_row = result_per_row(e->op);
            check_at.test = e->name;
            check_at.dtype = dtype_name(dtype);
            call_init(&c, e->op, dtype);
            const ptrdiff_t so = per_row ? 1 : COLS;
            CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.out, so) == LMX_OK);
            unsigned char want[sizeof c.mo];
            memcpy(want, c.mo, sizeof want);
            memset(c.mo, 0x5b, sizeof c.mo);
            CHECK(row_call(NULL, e->op, dtype, ROWS, COLS, c.a, c.b, c.out) == LMX_OK);
            CHECK(memcmp(want, c.mo, sizeof want) == 0);
            memset(c.mo, 0x5b, sizeof c.mo);

            CHECK(call_entry(e, (lmx_dtype)4, ROWS, COLS, c.a, COLS, c.b, COLS, c.out, so) ==
                  LMX_ERR_DTYPE);
            CHECK(call_entry(e, (lmx_dtype)4, ROWS, COLS, NULL, COLS, NULL, COLS, NULL, so) ==
                  LMX_ERR_DTYPE);
            CHECK(call_entry(e, dtype, ROWS, COLS, NULL, COLS, c.b, COLS, c.out, so) ==
                  LMX_ERR_NULL);
            CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, NULL, so) == LMX_ERR_NULL);
            if (e->two != NULL)
                CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, NULL, COLS, c.out, so) ==
                      LMX_ERR_NULL);
            CHECK(call_entry(e, dtype, ROWS, COLS, c.a, PTRDIFF_MAX, c.b, COLS, c.out, so) ==
                  LMX_ERR_OVERFLOW);
            CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.out, PTRDIFF_MIN) ==
                  LMX_ERR_OVERFLOW);
            CHECK(call_entry(e, dtype, 1, SIZE_MAX, c.a, 1, c.b, 1, c.out, 1) == LMX_ERR_OVERFLOW);
            CHECK(call_entry(e, dtype, ROWS, COLS, (const char *)c.a + 1, COLS, c.b, COLS, c.out,
                             so) == LMX_OK);
            CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, (char *)c.out + 1, so) ==
                  LMX_OK);
            memset(c.mo, 0x5b, sizeof c.mo);
            CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.out, 0) ==
                  LMX_ERR_STRIDE);
            if (!per_row) {
                CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.out, COLS - 1) ==
                      LMX_ERR_STRIDE);
                CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.out, 1 - COLS) ==
                      LMX_ERR_STRIDE);
                CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.ma + PAD,
                                 COLS + 1) == LMX_ERR_OVERLAP);
                CHECK(call_entry(e, dtype, ROWS, COLS, c.a, COLS, c.b, COLS, c.ma + PAD + 8,
                                 COLS) == LMX_ERR_OVERLAP);
                CHECK(call_entry(e, dtype, 1, COLS, c.a, 0, c.b, 0, c.out, 0) == LMX_OK);
            }
            CHECK(call_entry(e, dtype, 0, COLS, NULL, 0, NULL, 0, NULL, 0) == LMX_OK);
            CHECK(call_entry(e, dtype, 0, SIZE_MAX, NULL, PTRDIFF_MIN, NULL, 0, NULL,
                             PTRDIFF_MAX) == LMX_OK);
            if (!per_row)
                CHECK(call_entry(e, dtype, SIZE_MAX, 0, NULL, 0, NULL, 0, NULL, 0) == LMX_OK);
        }
    check_at.dtype = NULL;
}

/* --------------------------------------------------------------- contexts --- */

static void test_contexts(void)
{
    check_at.test = "lmx_ctx_create";
    int mark;
    lmx_ctx *const untouched = (lmx_ctx *)(void *)&mark;
    lmx_ctx *ctx = untouched;
    CHECK(lmx_ctx_create(NULL, NULL) == LMX_ERR_NULL);
    const uint64_t tag = ctx_options(0, NULL).tag;
    const struct {
        lmx_options o;
        lmx_status want;
    } bad[] = {
        { { 0, 1, NULL }, LMX_ERR_ARG },
        { { sizeof(lmx_options), 1, NULL }, LMX_ERR_ARG },
        { { tag - 1, 1, NULL }, LMX_ERR_ARG },
        { { tag + 8, 1, NULL }, LMX_ERR_ARG },
        { { UINT64_MAX, 1, NULL }, LMX_ERR_ARG },
        { { tag, 1025, NULL }, LMX_ERR_ARG },
        { { tag, (unsigned)-1, NULL }, LMX_ERR_ARG },
        { { tag, 1, "" }, LMX_ERR_ISA },
        { { tag, 1, "sse" }, LMX_ERR_ISA },
        { { tag, 1, "PORTABLE" }, LMX_ERR_ISA },
        { { tag, 1, "portable " }, LMX_ERR_ISA },
#if defined(__aarch64__)
        { { tag, 1, "avx2" }, LMX_ERR_ISA },
#else
        { { tag, 1, "neon" }, LMX_ERR_ISA },
#endif
        { { tag, 2000, "sse" }, LMX_ERR_ARG }, /* ARG comes before ISA */
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        check_at.n = k;
        CHECK(lmx_ctx_create(&ctx, &bad[k].o) == bad[k].want);
        CHECK(ctx == untouched);
        CHECK(lmx_ctx_create(NULL, &bad[k].o) == LMX_ERR_NULL);
    }
    check_at.n = 0;

    CHECK(lmx_ctx_create(&ctx, NULL) == LMX_OK && ctx != untouched && ctx != NULL);
    CHECK(lmx_ctx_threads(ctx) == 1 && strcmp(lmx_isa_name(ctx), lmx_isa_name(NULL)) == 0);
    lmx_ctx_free(ctx);
    for (unsigned threads = 0; threads <= 3; threads++) {
        ctx = ctx_with(threads, NULL);
        CHECK(lmx_ctx_threads(ctx) == (threads == 0 ? 1 : threads));
        lmx_ctx_free(ctx);
    }
    ctx = ctx_with(1024, NULL); /* allowed; no thread starts before there is work */
    CHECK(lmx_ctx_threads(ctx) >= 1 && lmx_ctx_threads(ctx) <= 1024);
    lmx_ctx_free(ctx);
    lmx_ctx_free(NULL);
    CHECK(lmx_ctx_threads(NULL) == 1);
}

/* ------------------------------------------------------------ information --- */

static void test_information(void)
{
    check_at.test = "lmx_status_string";
    for (int i = 0; i <= LMX_ERR_NUMERIC; i++) {
        const char *const text = lmx_status_string((lmx_status)i);
        CHECK(text != NULL && strlen(text) > 3);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(text, lmx_status_string((lmx_status)j)) != 0);
    }
    static const int unknown[] = { -1, LMX_ERR_NUMERIC + 1, 1000, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(lmx_status_string((lmx_status)unknown[i]) != NULL);

    check_at.test = "lmx_row_op_info";
    static const struct {
        int number;
        lmx_row_info info;
    } rows[] = {
#define LINE(number, name, inputs, result, takes, parameters, formula) \
  { number, { #name, inputs, result, takes, { parameters }, formula } },
        LMX_ROW_LIST(LINE)
#undef LINE
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lmx_row_info *const info = lmx_row_op_info(rows[i].number), *line = &rows[i].info;
        if (!CHECK(info != NULL))
            continue;
        CHECK(strcmp(info->name, line->name) == 0 && strcmp(info->formula, line->formula) == 0);
        CHECK(info->inputs == line->inputs && info->result == line->result);
        CHECK(info->takes == line->takes && info->parameter[1].name == NULL);
        const lmx_parameter *const p = &info->parameter[0], *const q = &line->parameter[0];
        CHECK((p->name == NULL) == (q->name == NULL));
        CHECK(p->name == NULL || strcmp(p->name, q->name) == 0);
        CHECK(p->standard == q->standard && p->least == q->least && p->greatest == q->greatest &&
              p->flags == q->flags);
    }
    CHECK(lmx_row_op_info(-1) == NULL && lmx_row_op_info(LMX_ROW_COUNT) == NULL);
    CHECK(lmx_row_op_info(INT32_MAX) == NULL && lmx_row_op_info(INT32_MIN) == NULL);

    check_at.test = "version";
    char text[40];
    snprintf(text, sizeof text, "%d.%d.%d", LMX_VERSION_MAJOR, LMX_VERSION_MINOR,
             LMX_VERSION_PATCH);
    CHECK(strcmp(text, LMX_VERSION_STRING) == 0 && strcmp(lmx_version(), LMX_VERSION_STRING) == 0);
    CHECK(lmx_abi_version() == LMX_ABI_VERSION);
}

/* ----------------------------------------------------------- partial sums --- */

static bool same_sum(lmx_expsum a, lmx_expsum b) { return memcmp(&a, &b, sizeof a) == 0; }

/* with the rounded sum equal to the sum */
static lmx_expsum sum_of(double mantissa, double tail, int64_t exponent, double base)
{
    return (lmx_expsum){ mantissa, tail, exponent, base, mantissa, tail };
}

static lmx_expsum merged(lmx_expsum a, lmx_expsum b)
{
    lmx_expsum out = { -1, -1, -1, -1, -1, -1 };
    CHECK(lmx_expsum_merge(1, &a, &b, &out) == LMX_OK);
    return out;
}

static double log_of(lmx_expsum a)
{
    double out = -1;
    CHECK(lmx_expsum_log(1, &a, &out) == LMX_OK);
    return out;
}

static void test_sums(void)
{
    const double inf = (double)INFINITY, nan = (double)NAN;
    const double none = check_f64(0x7ff8000000000000);
    const lmx_expsum zero = sum_of(0, 0, 0, 0), one = sum_of(0.5, 0, 1, 0),
                     plus_inf = sum_of(inf, 0, 0, 0), no_number = sum_of(none, 0, 0, 0),
                     odd = sum_of(0.75, 0x1p-60, -12345, 0), far = sum_of(0.5, 0, 1, 0x1p+60);
    check_at.test = "lmx_expsum_merge";
    lmx_expsum out[3];
    memset(out, 0x5b, sizeof out);
    CHECK(lmx_expsum_merge(0, NULL, NULL, NULL) == LMX_OK);
    CHECK(lmx_expsum_merge(1, NULL, &one, out) == LMX_ERR_NULL);
    CHECK(lmx_expsum_merge(1, &one, NULL, out) == LMX_ERR_NULL);
    CHECK(lmx_expsum_merge(1, &one, &one, NULL) == LMX_ERR_NULL);
    CHECK(all_of((unsigned char *)out, sizeof out, 0x5b));

    const lmx_expsum values[] = { zero, one, plus_inf, no_number, odd, far };
    const size_t n = sizeof values / sizeof *values;
    for (size_t i = 0; i < n; i++) {
        CHECK(same_sum(merged(zero, values[i]),
                       values[i])); /* the identity, on both sides, exactly */
        CHECK(same_sum(merged(values[i], zero), values[i]));
        CHECK(same_sum(merged(no_number, values[i]), no_number));
        CHECK(same_sum(merged(values[i], no_number), no_number));
        if (i != 3) {
            CHECK(same_sum(merged(plus_inf, values[i]), plus_inf));
            CHECK(same_sum(merged(values[i], plus_inf), plus_inf));
        }
        for (size_t j = 0; j < n; j++) { /* commutative, normalised */
            const lmx_expsum s = merged(values[i], values[j]);
            CHECK(same_sum(s, merged(values[j], values[i])));
            CHECK(s.mantissa == 0 || !isfinite(s.mantissa) ||
                  (s.mantissa >= 0.5 && s.mantissa < 1));
            CHECK(isfinite(s.tail) && fabs(s.tail) <= 0x1p-53);
        }
    }
    CHECK(same_sum(merged(one, one), sum_of(0.5, 0, 2, 0)));
    CHECK(same_sum(merged(one, merged(one, one)), sum_of(0.75, 0, 2, 0)));
    CHECK(same_sum(merged(odd, far), far)); /* e^(2^60) swallows it */
    /* A term below the last bit goes to the tail, and comes back when it adds up. */
    const lmx_expsum small = sum_of(0.5, 0, -70, 0);
    const lmx_expsum with_tail = merged(one, small);
    CHECK(with_tail.mantissa == 0.5 && with_tail.exponent == 1 && with_tail.tail == 0x1p-72);
    lmx_expsum sum = one;
    for (int i = 0; i < 1 << 18; i++)
        sum = merged(sum, small);
    CHECK(sum.mantissa == 0.5 + 0x1p-54 + 0x0p0 || sum.tail == 0x1p-54);
    CHECK(fabs(log_of(sum) - 0x1p-53) < 1e-20);
    /* Exponents at the ends of what logits can give. */
    const lmx_expsum low = sum_of(0.5, 0, -((int64_t)1 << 53), 0),
                     high = sum_of(0.5, 0, (int64_t)1 << 53, 0);
    CHECK(same_sum(merged(low, high), high));

    /* Filled by hand, with a mantissa alone; and the rounded sum at the other side of a power of 2. */
    CHECK(same_sum(merged((lmx_expsum){ .mantissa = 0.5, .exponent = 1 }, zero), one));
    const lmx_expsum above = { 0.5, 0, 1, 0, 0.5 - 0x1p-30, 0 };
    CHECK(same_sum(merged(above, zero), above));
    CHECK(same_sum(merged(above, above), (lmx_expsum){ 0.5, 0, 2, 0, 0.5 - 0x1p-30, 0 }));
    CHECK(log_of(above) == 0);

    check_at.test = "lmx_expsum_merge, several and in place";
    const lmx_expsum a[3] = { one, odd, zero }, b[3] = { zero, one, far };
    CHECK(lmx_expsum_merge(3, a, b, out) == LMX_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK(same_sum(out[i], merged(a[i], b[i])));
    lmx_expsum in_a[3], in_b[3];
    memcpy(in_a, a, sizeof a);
    memcpy(in_b, b, sizeof b);
    CHECK(lmx_expsum_merge(3, in_a, b, in_a) == LMX_OK && memcmp(in_a, out, sizeof out) == 0);
    CHECK(lmx_expsum_merge(3, a, in_b, in_b) == LMX_OK && memcmp(in_b, out, sizeof out) == 0);
    memcpy(in_a, a, sizeof a);
    CHECK(lmx_expsum_merge(3, in_a, in_a, in_a) == LMX_OK &&
          same_sum(in_a[0], sum_of(0.5, 0, 2, 0)));

    check_at.test = "lmx_expsum_log";
    double value = 1;
    CHECK(lmx_expsum_log(0, NULL, NULL) == LMX_OK);
    CHECK(lmx_expsum_log(1, NULL, &value) == LMX_ERR_NULL && value == 1);
    CHECK(lmx_expsum_log(1, &one, NULL) == LMX_ERR_NULL);
    CHECK(log_of(zero) == -inf && log_of(plus_inf) == inf && isnan(log_of(no_number)));
    CHECK(log_of(one) == 0 && !signbit(log_of(one)));
    CHECK(log_of(far) == 0x1p+60);
    check_random r = check_random_new(12);
    for (size_t i = 0; i < 20000; i++) {
        const lmx_expsum s = { .mantissa = check_uniform(&r, 0.5, 1),
                               .tail = check_uniform(&r, -1, 1) * 0x1p-54,
                               .exponent = (int64_t)check_below(&r, 2000) - 1000 };
        const long double exact = logl((long double)s.mantissa + s.tail) +
                                  0.693147180559945309417232121458L * (long double)s.exponent;
        const double got = log_of(s), error = (double)fabsl((long double)got - exact);
        const double ulp = ldexp(1, (exact == 0 ? 0 : ilogb((double)exact)) - 52);
        if (!(error <= 1.2e-16 || error <= ulp))
            check_fail("log of %a * 2^%lld: got %a, error %.3g", s.mantissa, (long long)s.exponent,
                       got, error);
    }
    (void)nan;
}

int main(void)
{
    check_begin("api");
    test_information();
    test_contexts();
    test_sums();
    test_entries();
    for (int op = 0; op < LMX_ROW_COUNT; op++)
        for (int d = 0; d < N_DTYPES; d++) {
            check_at.dtype = dtype_name((lmx_dtype)d);
            check_at.tier =
                lmx_row_op_info(op)->name; /* the operation stands in the tier's place */
            test_order((lmx_row_code)op, (lmx_dtype)d);
            test_single_defects((lmx_row_code)op, (lmx_dtype)d);
            test_overlap((lmx_row_code)op, (lmx_dtype)d);
            test_options((lmx_row_code)op, (lmx_dtype)d);
        }
    return check_end();
}
