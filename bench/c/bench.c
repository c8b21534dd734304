/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times the C library without Python: any operation of the registry on any shape, element type, tier
 * and number of threads; or the algorithms that the two-pass softmax paper compares (--paper).
 *
 * Alternatives are measured in turn, round by round, and a line of output is one round's time or
 * the median of all, so that a disturbed moment does not favour anyone.
 */
#include <getopt.h>
#include <lanemax/lanemax.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#  include <sys/mman.h>
#endif

#include "platform/cpu.h"
#include "dispatch/dispatch.h"
#include "kernels/paper/paper.h"

static const char usage[] =
    "usage: bench [options]\n"
    "\n"
    "Times operations of the C library and prints ns per row and element, GB/s, and the time\n"
    "as a multiple of a copy of the same bytes.\n"
    "\n"
    "  --op NAME       one operation, or `all' (softmax)\n"
    "  --shape RxC     one shape (a list of common ones)\n"
    "  --axis0         reduce the first axis of the shape, not the last\n"
    "  --dtype NAME    f32, f64, f16 or bf16 (f32)\n"
    "  --isa NAME      a tier (the best)\n"
    "  --threads N     (1)\n"
    "  --seconds S     per line (0.3)\n"
    "  --spread X      logits from -X to X (8); with 80, most rows have one that dominates\n"
    "  --paper         two-pass, both three-pass forms and the copy on one row of f32, in every\n"
    "                  tier, for 1e3 to 1e8 elements\n"
    "  --longest N     with --paper: the longest row (100000000)\n"
    "  --json          JSON objects, one a line (with --paper: one for each round)\n";

enum { ROUNDS_MAX = 1000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void fail(const char *what, const char *got)
{
    fprintf(stderr, "bench: %s: %s\n", what, got);
    exit(2);
}

/* NumPy's large arrays start 16 bytes past a line of 64; so do ours.  Kept from line to line. */
typedef struct {
    char *block, *start;
    size_t size;
} array;

static void *memory(array *a, size_t bytes)
{
    if (bytes > a->size) {
        free(a->block);
        a->block = malloc(bytes + 128);
        if (a->block == NULL)
            fail("no memory", "try a smaller shape");
#if defined(MADV_HUGEPAGE)
        /* as NumPy does */
        const uintptr_t page = 4095, begin = ((uintptr_t)a->block + page) & ~page;
        if (bytes >= (size_t)4 << 20)
            madvise((void *)begin, bytes - page, MADV_HUGEPAGE);
#endif
        a->start = a->block + (64 - (uintptr_t)a->block % 64 + 16);
        a->size = bytes;
        memset(a->start, 0, bytes);
    }
    return a->start;
}

/* Uniform logits, the same in every run; float16 takes no other spread than 8. */
static float spread = 8;

static void *logits(array *a, lmx_dtype dtype, size_t n)
{
    static const size_t size[] = { 4, 8, 2, 2 };
    char *const x = memory(a, n * size[dtype]);
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const float f = (float)(int32_t)(state >> 32) * 0x1p-31f * spread;
        const double d = (double)f;
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        /* The upper half of a float is a bfloat16; as bits of a float16 it is a logit below 8 too,
         * once its exponent is cut to three bits. */
        const uint16_t h = (uint16_t)(dtype == LMX_F16 ? (u >> 16 & 0x87ff) | 0x3000 : u >> 16);
        if (dtype == LMX_F64)
            memcpy(x + i * 8, &d, 8);
        else if (dtype == LMX_F32)
            memcpy(x + i * 4, &f, 4);
        else
            memcpy(x + i * 2, &h, 2);
    }
    return x;
}

/* One thing to be timed. */
typedef struct {
    void (*run)(const void *job);
    const void *job;
    size_t batch; /* runs per round */
    double times[ROUNDS_MAX];
    size_t rounds;
} subject;

static int less(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(subject *s)
{
    qsort(s->times, s->rounds, sizeof *s->times, less);
    return s->times[s->rounds / 2];
}

/* Rounds of at least 1 ms of each subject, in turn. */
static void measure(subject *s, size_t n, double seconds)
{
    for (size_t i = 0; i < n; i++) {
        s[i].run(s[i].job); /* warm-up, and page faults */
        const double begin = now();
        s[i].run(s[i].job);
        const double once = now() - begin;
        s[i].batch = once > 1e-3 ? 1 : (size_t)(1e-3 / (once + 1e-8)) + 1;
        s[i].rounds = 0;
    }
    const double end = now() + seconds * (double)n;
    do
        for (size_t i = 0; i < n; i++) {
            const double begin = now();
            for (size_t k = 0; k < s[i].batch; k++)
                s[i].run(s[i].job);
            s[i].times[s[i].rounds++] = (now() - begin) / (double)s[i].batch;
        }
    while (s[0].rounds < ROUNDS_MAX && (now() < end || s[0].rounds < 3));
}

/* ------------------------------------------------------------- operations --- */

typedef struct {
    lmx_ctx *ctx;
    const lmx_table *table;
    lmx_row_code op;
    lmx_dtype dtype;
    uint64_t axes;
    ptrdiff_t shape
        [2]; /* of the inputs; out_shape: without the reduced axis where each row has one value */
    ptrdiff_t out_shape[2];
    int out_ndim, out_dtype;
    const void *a, *b;
    void *out;
    size_t copied; /* bytes */
} op_job;

static void run_op(const void *job)
{
    const op_job *j = job;
    const lmx_view a = { j->a, (int)j->dtype, 2, j->shape, NULL };
    const lmx_view b = { j->b, (int)j->dtype, 2, j->shape, NULL };
    const lmx_view out = { j->out, j->out_dtype, j->out_ndim, j->out_shape, NULL };
    const lmx_status s = lmx_row_op(j->ctx, j->op, &a, &b, j->axes, NULL, &out);
    if (s != LMX_OK)
        fail("lmx_row_op", lmx_status_string(s));
}

static void run_copy(const void *job)
{
    const op_job *j = job;
    /* as floats, whatever the elements are: no byte is looked at */
    lmx_paper_of(j->table->isa, 0)
        ->copy(j->a, j->copied / 4, j->out, j->copied * 2 > lmx_cache_size());
}

typedef struct {
    const char *op;
    lmx_dtype dtype;
    const char *isa;
    unsigned threads;
    size_t rows, cols;
    int axis0, json;
    double seconds;
} request;

static const char *const dtype_names[] = { "f32", "f64", "f16", "bf16" };

static void time_op(const request *q, lmx_ctx *ctx, lmx_row_code op, size_t rows, size_t cols)
{
    const lmx_row_info *info = lmx_row_op_info((int)op);
    const size_t n = rows * cols;
    op_job j = { .ctx = ctx, .op = op, .dtype = q->dtype };
    j.table = lmx_tier_choose(lmx_cpu_features(), lmx_isa_name(ctx))->table[q->dtype];
    j.copied = n * j.table->elem_size;
    j.shape[0] = (ptrdiff_t)rows;
    j.shape[1] = (ptrdiff_t)cols;
    j.axes = q->axis0 ? LMX_AXIS(0) : LMX_AXIS(1);
    j.out_ndim = info->result == LMX_RESULT_ROW ? 2 : 1;
    j.out_shape[0] = (ptrdiff_t)(j.out_ndim == 1 && q->axis0 ? cols : rows);
    j.out_shape[1] = (ptrdiff_t)cols;
    j.out_dtype = info->result == LMX_RESULT_SUM                                ? LMX_EXPSUM
                  : info->result == LMX_RESULT_VALUE && j.table->real_size == 8 ? LMX_F64
                  : info->result == LMX_RESULT_VALUE                            ? LMX_F32
                                                                                : (int)q->dtype;
    static array a, b, out;
    j.a = logits(&a, q->dtype, n);
    j.b = info->inputs > 1 ? logits(&b, q->dtype, n) : NULL;
    j.out = memory(&out, n * j.table->elem_size + sizeof(lmx_expsum) * (q->axis0 ? cols : rows));

    static subject s[2];
    s[0].run = run_op;
    s[1].run = run_copy;
    s[0].job = s[1].job = &j;
    measure(s, 2, q->seconds);
    const double t = median(&s[0]), copy = median(&s[1]);
    const size_t reduced = q->axis0 ? cols : rows;
    const double bytes = (double)n * (double)j.table->elem_size *
                         (info->inputs + (info->result == LMX_RESULT_ROW ? 1 : 0));
    if (q->json)
        printf("{\"op\": \"%s\", \"isa\": \"%s\", \"dtype\": \"%s\", \"threads\": %u, "
               "\"rows\": %zu, \"cols\": %zu, \"axis\": %d, \"ns_per_row\": %.1f, "
               "\"ns_per_element\": %.5f, \"gb_per_s\": %.2f, \"vs_copy\": %.3f}\n",
               info->name, lmx_isa_name(ctx), dtype_names[q->dtype], q->threads, rows, cols,
               q->axis0 ? 0 : 1, t * 1e9 / (double)reduced, t * 1e9 / (double)n, bytes * 1e-9 / t,
               t / copy);
    else
        printf("%-16s %-9s %-5s %8zu x %-9zu %12.1f %10.4f %8.1f %8.2f\n", info->name,
               lmx_isa_name(ctx), dtype_names[q->dtype], rows, cols, t * 1e9 / (double)reduced,
               t * 1e9 / (double)n, bytes * 1e-9 / t, t / copy);
    fflush(stdout);
}

static void time_ops(const request *q)
{
    static const size_t common[][2] = { { 1, 10 },      { 1, 1000 },     { 1, 10000 },
                                        { 1, 100000 },  { 1, 1000000 },  { 4096, 128 },
                                        { 4096, 1024 }, { 1, 10000000 }, { 512, 32768 },
                                        { 128, 128256 } };
    lmx_options options;
    lmx_options_init(&options);
    options.threads = q->threads;
    options.isa = q->isa;
    lmx_ctx *ctx;
    const lmx_status status = lmx_ctx_create(&ctx, &options);
    if (status != LMX_OK)
        fail(q->isa != NULL ? q->isa : "context", lmx_status_string(status));
    if (!q->json)
        printf("%-16s %-9s %-5s %20s %12s %10s %8s %8s\n", "operation", "tier", "type", "shape",
               "ns/row", "ns/element", "GB/s", "x copy");
    int found = 0;
    for (int op = 0; op < LMX_ROW_COUNT; op++) {
        if (strcmp(q->op, "all") != 0 && strcmp(q->op, lmx_row_op_info(op)->name) != 0)
            continue;
        found = 1;
        if (q->rows != 0)
            time_op(q, ctx, (lmx_row_code)op, q->rows, q->cols);
        else
            for (size_t i = 0; i < sizeof common / sizeof *common; i++)
                time_op(q, ctx, (lmx_row_code)op, common[i][0], common[i][1]);
    }
    if (!found)
        fail("unknown operation", q->op);
    lmx_ctx_free(ctx);
}

/* -------------------------------------------------------------- the paper --- */

typedef struct {
    void (*form)(const void *x, size_t n, void *y, int stream);
    const void *x;
    void *y;
    size_t n;
    int stream;
} paper_job;

static void run_form(const void *job)
{
    const paper_job *j = job;
    j->form(j->x, j->n, j->y, j->stream);
}

static void time_paper(const request *q, size_t longest)
{
    static const char *const names[] = { "two_pass", "three_pass_recompute", "three_pass_reload",
                                         "copy" };
    static array a, out;
    const void *x = logits(&a, LMX_F32, longest);
    void *y = memory(&out, longest * 4);
    /* 1, 3.2, 10, 32, ... thousand */
    for (size_t decade = 1000, n = decade; n <= longest;) {
        for (int i = 0; lmx_isa_available(i) != NULL; i++) {
            const char *isa = lmx_isa_available(i);
            if ((q->isa != NULL && strcmp(q->isa, isa) != 0) || strcmp(isa, "portable") == 0)
                continue;
            const lmx_paper_kernel *t = lmx_paper_of(isa, 0);
            const int stream = n * 8 > lmx_cache_size();
            const paper_job jobs[] = { { t->two_pass, x, y, n, stream },
                                       { t->three_pass_recompute, x, y, n, stream },
                                       { t->three_pass_reload, x, y, n, stream },
                                       { t->copy, x, y, n, stream } };
            static subject s[4];
            for (size_t k = 0; k < 4; k++) {
                s[k].run = run_form;
                s[k].job = &jobs[k];
            }
            measure(s, 4, q->seconds);
            for (size_t k = 0; k < 4; k++) {
                for (size_t r = 0; q->json && r < s[k].rounds; r++)
                    printf("{\"op\": \"%s\", \"isa\": \"%s\", \"n\": %zu, "
                           "\"ns_per_element\": %.5f}\n",
                           names[k], isa, n, s[k].times[r] * 1e9 / (double)n);
                if (!q->json)
                    printf("%-22s %-9s %12zu %10.4f ns/element\n", names[k], isa, n,
                           median(&s[k]) * 1e9 / (double)n);
            }
            fflush(stdout);
        }
        if (n == decade)
            n = decade / 10 * 32;
        else
            n = decade *= 10;
    }
}

/* ------------------------------------------------------------------- main --- */

static size_t number(const char *name, const char *text)
{
    char *end;
    const unsigned long long v = strtoull(text, &end, 10);
    if (*end != '\0' || v == 0)
        fail(name, text);
    return (size_t)v;
}

int main(int argc, char **argv)
{
    enum { OP = 1, SHAPE, AXIS0, DTYPE, ISA, THREADS, SECONDS, PAPER, LONGEST, JSON, SPREAD, HELP };
    static const struct option options[] = {
        { "op", 1, NULL, OP },
        { "shape", 1, NULL, SHAPE },
        { "axis0", 0, NULL, AXIS0 },
        { "dtype", 1, NULL, DTYPE },
        { "isa", 1, NULL, ISA },
        { "threads", 1, NULL, THREADS },
        { "seconds", 1, NULL, SECONDS },
        { "paper", 0, NULL, PAPER },
        { "longest", 1, NULL, LONGEST },
        { "json", 0, NULL, JSON },
        { "spread", 1, NULL, SPREAD },
        { "help", 0, NULL, HELP },
        { NULL, 0, NULL, 0 },
    };
    request q = { .op = "softmax", .threads = 1, .seconds = 0.3 };
    int paper = 0;
    size_t longest = 100000000;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case OP:
            q.op = optarg;
            break;
        case SHAPE:
            if (sscanf(optarg, "%zux%zu", &q.rows, &q.cols) != 2 || q.rows == 0 || q.cols == 0)
                fail("--shape: expected ROWSxCOLS", optarg);
            break;
        case AXIS0:
            q.axis0 = 1;
            break;
        case DTYPE:
            q.dtype = LMX_F32;
            while (strcmp(dtype_names[q.dtype], optarg) != 0)
                if (++q.dtype > LMX_BF16)
                    fail("--dtype: expected f32, f64, f16 or bf16", optarg);
            break;
        case ISA:
            q.isa = optarg;
            break;
        case THREADS:
            q.threads = (unsigned)number("--threads: expected a number", optarg);
            break;
        case SECONDS:
            q.seconds = strtod(optarg, NULL);
            break;
        case PAPER:
            paper = 1;
            break;
        case LONGEST:
            longest = number("--longest: expected a number", optarg);
            break;
        case SPREAD:
            spread = strtof(optarg, NULL);
            break;
        case JSON:
            q.json = 1;
            break;
        case HELP:
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    if (optind < argc)
        fail("unexpected argument", argv[optind]);
    if (paper)
        time_paper(&q, longest);
    else
        time_ops(&q);
    return 0;
}
