/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output layers without logits, for one element type: the logits are the chains that linear.h promises, bit for bit;
 * loss and gradients are those of the logits within their rounding; no byte outside the arrays is touched, and the
 * bits do not depend on the tier, the threads, the strides, the memory allowed or other rows.  Hashes are compared
 * with golden.txt.
 *
 *   test_linear DTYPE GOLDEN [--update]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"
#include "kernels/gemm/tile.h"
#include "tiers.h"

typedef struct {
    size_t rows, depth, classes;
} shape;

typedef struct {
    int bias, softcap, smoothing, penalty, ignored, filter;
    lmx_reduction reduction;
    int weighted; /* rows, some by 0 */
} setting;

enum { HIDDEN, WEIGHT, BIAS, INPUTS };
enum { LOSS, DHIDDEN, DWEIGHT, DBIAS, RESULTS };

/* Arrays of one problem, contiguous. */
typedef struct {
    shape s;
    lmx_dtype type[INPUTS];
    void *in[INPUTS];
    int32_t *target;
    double *row_weight;
    void *out[RESULTS];
    double *dropped;
} problem;

static size_t count_of(const problem *p, int i)
{
    const size_t counts[] = { p->s.rows * p->s.depth, p->s.classes * p->s.depth, p->s.classes };
    return counts[i];
}

static size_t result_bytes(const problem *p, int i, lmx_reduction reduction)
{
    if (i == LOSS)
        return (reduction == LMX_NONE ? p->s.rows : 1) * real_size;
    return count_of(p, i - 1) * elem_size(p->type[i - 1]);
}

static problem problem_of(shape s, lmx_dtype bias, uint64_t seed, int ignored)
{
    problem p = { .s = s, .type = { dtype, dtype, bias } };
    check_random r = check_random_new(check_at.seed = seed);
    for (int i = 0; i < INPUTS; i++) {
        p.in[i] = get_memory(count_of(&p, i) * elem_size(p.type[i]));
        for (size_t k = 0; k < count_of(&p, i); k++)
            elem_put(p.type[i], p.in[i], k, check_normal(&r) * (i == WEIGHT ? 0.7 : 1));
    }
    p.target = get_memory(s.rows * sizeof *p.target);
    for (size_t i = 0; i < s.rows; i++)
        p.target[i] = ignored && i % 3 == 1 ? -100 : (int32_t)check_below(&r, s.classes);
    p.row_weight = get_memory(s.rows * sizeof *p.row_weight);
    for (size_t i = 0; i < s.rows; i++)
        p.row_weight[i] = i % 4 == 3 ? 0 : check_uniform(&r, 0.25, 3);
    for (int i = 0; i < RESULTS; i++)
        p.out[i] = get_memory(result_bytes(&p, i, LMX_NONE));
    p.dropped = get_memory(s.rows * sizeof *p.dropped);
    check_at.n = s.classes;
    return p;
}

static problem problem_new(shape s, uint64_t seed, int ignored)
{
    return problem_of(s, dtype, seed, ignored);
}

static void problem_free(problem *p)
{
    for (int i = 0; i < INPUTS; i++)
        free(p->in[i]);
    for (int i = 0; i < RESULTS; i++)
        free(p->out[i]);
    free(p->target);
    free(p->row_weight);
    free(p->dropped);
}

static lmx_linear_options options_of(const problem *p, const setting *s)
{
    lmx_linear_options o;
    CHECK(lmx_linear_options_init(&o) == LMX_OK);
    o.bias = s->bias ? p->in[BIAS] : NULL;
    o.bias_dtype = p->type[BIAS];
    o.row_weight = s->weighted ? p->row_weight : NULL;
    o.softcap = s->softcap ? 3.5 : 0;
    o.label_smoothing = s->smoothing ? 0.125 : 0;
    o.logz_penalty = s->penalty ? 0.01 : 0;
    o.reduction = s->reduction;
    o.filter_eps = s->filter ? 0.03 : 0;
    o.dropped = s->filter ? p->dropped : NULL;
    return o;
}

static lmx_status run(lmx_ctx *ctx, const problem *p, const lmx_linear_options *o,
                      void *const out[RESULTS])
{
    const ptrdiff_t d = (ptrdiff_t)p->s.depth;
    return lmx_linear_cross_entropy(ctx, p->type[HIDDEN], p->s.rows, p->s.depth, p->s.classes,
                                    p->in[HIDDEN], d, p->in[WEIGHT], d, p->target, LMX_I32, 1, o,
                                    out[LOSS], 1, out[DHIDDEN], d, out[DWEIGHT], d, out[DBIAS]);
}

static const setting settings[] = {
    { 0, 0, 0, 0, 0, 0, LMX_MEAN, 0 }, { 1, 0, 0, 0, 1, 0, LMX_SUM, 0 },
    { 1, 1, 0, 0, 0, 0, LMX_NONE, 0 }, { 0, 0, 1, 1, 0, 0, LMX_MEAN, 0 },
    { 1, 1, 1, 1, 1, 0, LMX_MEAN, 0 }, { 0, 0, 0, 0, 1, 1, LMX_NONE, 0 },
    { 1, 1, 0, 0, 0, 1, LMX_MEAN, 0 }, { 1, 0, 1, 1, 1, 0, LMX_MEAN, 1 },
    { 0, 0, 0, 0, 0, 0, LMX_NONE, 1 },
};
#define SETTINGS (sizeof settings / sizeof *settings)

static const shape shapes[] = {
    { 1, 1, 1 },     { 1, 7, 2 },      { 2, 1, 300 },   { 5, 16, 17 },    { 33, 20, 257 },
    { 40, 300, 50 }, { 257, 12, 100 }, { 70, 5, 2100 }, { 520, 33, 600 }, { 300, 513, 1300 },
};
#define SHAPES (sizeof shapes / sizeof *shapes)

/* Every grid has these: the hashes are of them. */
static bool is_small(shape s) { return s.rows * s.depth * s.classes <= 400000; }
static bool is_large(shape s)
{
    return check_fast ? !is_small(s) : s.rows * s.depth * s.classes > 40000000u;
}

/* -------------------------------------------------------- what is computed --- */

static double chain(double a, double b, double c)
{
    return real_size == 8 ? fma(a, b, c) : (double)fmaf((float)a, (float)b, (float)c);
}
static double sum(double a, double b)
{
    return real_size == 8 ? a + b : (double)((float)a + (float)b);
}

/* One logit as linear.h has it. */
static double logit(const problem *p, size_t i, size_t k, bool bias)
{
    const size_t d = p->s.depth, blocks = d == 0 ? 1 : (d - 1) / LMX_TILE + 1;
    const size_t step = ((d + blocks - 1) / blocks + 15) / 16 * 16;
    double total = 0;
    for (size_t at = 0; at < d || at == 0; at += step ? step : 1) {
        double s = 0;
        for (size_t j = at; j < d && j < at + step; j++)
            s = chain(elem_get(dtype, p->in[HIDDEN], i * d + j),
                      elem_get(dtype, p->in[WEIGHT], k * d + j), s);
        total = at == 0 ? s : sum(total, s);
        if (d == 0)
            break;
    }
    return bias ? sum(total, elem_get(p->type[BIAS], p->in[BIAS], k)) : total;
}

/* All logits by asking for all of the largest: the chains' bits, in order, and then what depends on them. */
static void test_values(shape s, lmx_dtype bias)
{
    problem p = problem_of(s, bias, 11, 0);
    const size_t n = s.rows * s.classes;
    void *const values = get_memory(n * size), *const lse = get_memory(s.rows * real_size);
    int64_t *const indices = get_memory(n * sizeof *indices);
    void *const want = get_memory(n * size);
    const ptrdiff_t d = (ptrdiff_t)s.depth, v = (ptrdiff_t)s.classes;
    lmx_linear_options o;
    lmx_linear_options_init(&o);
    o.bias = p.in[BIAS];
    o.bias_dtype = bias;
    for (size_t i = 0; i < s.rows; i++)
        for (size_t k = 0; k < s.classes; k++)
            elem_put(dtype, want, i * s.classes + k, logit(&p, i, k, true));
    for (size_t t = 0; t < n_tiers; t++) {
        check_at.tier = lmx_isa_name(ctx_of[t]);
        CHECK(lmx_linear_topk(ctx_of[t], dtype, s.rows, s.depth, s.classes, s.classes, p.in[HIDDEN],
                              d, p.in[WEIGHT], d, &o, values, v, indices, v) == LMX_OK);
        for (size_t i = 0; i < s.rows; i++)
            for (size_t q = 0; q < s.classes; q++) {
                const size_t at = i * s.classes + q;
                const size_t k = (size_t)indices[at];
                if (!CHECK(k < s.classes))
                    continue;
                check_same((char *)values + at * size, (char *)want + (i * s.classes + k) * size,
                           size, size);
                if (q == 0)
                    continue;
                const double last = elem_get(dtype, values, at - 1),
                             own = elem_get(dtype, values, at);
                /* the reals decide, of which the elements may be equal */
                CHECK(last > own ||
                      (last == own && (size < real_size || indices[at - 1] < indices[at])));
            }
        CHECK(lmx_linear_logsumexp(ctx_of[t], dtype, s.rows, s.depth, s.classes, p.in[HIDDEN], d,
                                   p.in[WEIGHT], d, &o, lse, 1) == LMX_OK);
        for (size_t i = 0; i < s.rows; i++) {
            long double total = 0;
            for (size_t k = 0; k < s.classes; k++)
                total += expl((long double)logit(&p, i, k, true));
            const double exact = (double)logl(total);
            const double got = real_size == 8 ? ((double *)lse)[i] : (double)((float *)lse)[i];
            /* A4: an ulp, or 2.5e-7 (float64: times 2^-29) where the result is near 0 */
            const double u = real_size == 8 ? 0x1p-52 : 0x1p-23;
            CHECK(fabs(got - exact) <=
                  fmax(u * fabs(exact), 2.5e-7 * (real_size == 8 ? 0x1p-29 : 1)));
        }
        check_count(n);
    }
    problem_free(&p);
    free(values);
    free(lse);
    free(indices);
    free(want);
}

/* The same as the loss sees it. */
static long double capped(const problem *p, size_t i, size_t k, const setting *how)
{
    const long double v = logit(p, i, k, how->bias);
    return how->softcap ? 3.5L * tanhl(v / 3.5L) : v;
}

/* Loss and gradients against long double, from the logits as they are. */
static void test_against_logits(shape s, lmx_dtype bias, const setting *how)
{
    problem p = problem_of(s, bias, 17, how->ignored);
    const lmx_linear_options o = options_of(&p, how);
    check_at.tier = lmx_isa_name(ctx_of[0]);
    CHECK(run(ctx_of[0], &p, &o, p.out) == LMX_OK);
    const size_t n = s.rows * s.classes, d = s.depth;
    double *const g = get_memory(n * sizeof *g);
    long double total = 0, kept = 0;
    for (size_t i = 0; i < s.rows; i++)
        kept += p.target[i] < 0 ? 0 : how->weighted ? p.row_weight[i] : 1;
    const long double denominator = how->reduction == LMX_MEAN ? kept : 1;
    const double u = real_size == 8 ? 0x1p-53 : 0x1p-24;
    for (size_t i = 0; i < s.rows; i++) {
        double *const row = g + i * s.classes;
        if (p.target[i] < 0) {
            for (size_t k = 0; k < s.classes; k++)
                row[k] = 0;
            continue;
        }
        const long double own = capped(&p, i, (size_t)p.target[i], how);
        long double others = 0, above = 0, slope;
        for (size_t k = 0; k < s.classes; k++) {
            const long double v = capped(&p, i, k, how);
            others += k == (size_t)p.target[i] ? 0 : expl(v - own);
            above += (own - v) / (long double)s.classes;
        }
        /* from the target's logit on: nothing cancels where it is far above the others */
        const long double over = log1pl(others), lse = own + over;
        const long double eps = how->smoothing ? 0.125L : 0, penalty = how->penalty ? 0.01L : 0;
        const long double times = how->weighted ? p.row_weight[i] : 1;
        const long double loss = times * (over + eps * above + penalty * lse * lse);
        total += loss;
        if (how->reduction == LMX_NONE) {
            const double got =
                real_size == 8 ? ((double *)p.out[LOSS])[i] : (double)((float *)p.out[LOSS])[i];
            /* 3 ulp of the loss; softcap rounds the logits themselves, of at most 3.5 */
            const long double bound = how->softcap ? 12 * 3.5L * u : 6 * u * loss;
            CHECK(fabsl(got - loss) <= bound);
        }
        for (size_t k = 0; k < s.classes; k++) {
            long double v = logit(&p, i, k, how->bias);
            slope = 1;
            if (how->softcap) {
                const long double t = tanhl(v / 3.5L);
                v = 3.5L * t;
                slope = 1 - t * t;
            }
            const long double y =
                (1 - eps) * ((size_t)p.target[i] == k) + eps / (long double)s.classes;
            row[k] = (double)(times * (expl(v - lse) * (1 + 2 * penalty * lse) - y) * slope /
                              denominator);
        }
    }
    if (how->reduction != LMX_NONE) {
        const double got = real_size == 8 ? *(double *)p.out[LOSS] : (double)*(float *)p.out[LOSS];
        CHECK(fabsl(got - total / denominator) <=
              16 * u * (fabsl(total / denominator) + how->softcap * 3.5L));
    }
    /* Gradients: that of a logit is good to 16 u of p + y (capped ones to more), products and sums to the chains'. */
    for (int which = DHIDDEN; which <= DBIAS; which++) {
        const lmx_dtype type = p.type[which - 1];
        const double elem_u = type == LMX_F16    ? 0x1p-11
                              : type == LMX_BF16 ? 0x1p-8
                              : type == LMX_F32  ? 0x1p-24
                                                 : 0;
        const double smallest = type == LMX_F16 ? 0x1p-25 : 0;
        for (size_t a = 0; a < (which == DHIDDEN ? s.rows : s.classes); a++)
            for (size_t j = 0; j < (which == DBIAS ? 1 : d); j++) {
                long double exact = 0, terms = 0;
                const size_t many = which == DHIDDEN ? s.classes : s.rows;
                for (size_t q = 0; q < many; q++) {
                    const double f = which == DHIDDEN   ? elem_get(dtype, p.in[WEIGHT], q * d + j)
                                     : which == DWEIGHT ? elem_get(dtype, p.in[HIDDEN], q * d + j)
                                                        : 1;
                    const size_t at = which == DHIDDEN ? a * s.classes + q : q * s.classes + a;
                    exact += (long double)g[at] * f;
                    terms += fabsl((long double)g[at] * f);
                }
                const size_t at = which == DBIAS ? a : a * d + j;
                const double got = elem_get(type, p.out[which], at);
                const long double chains =
                    24 + (many < 256 ? (long double)many : 256) + (long double)many / 256;
                const long double room = chains * u * terms + elem_u * fabsl(exact) + smallest +
                                         64 * u / denominator * (how->softcap ? 4 : 1);
                if (!(fabsl(got - exact) <= room))
                    check_fail("result %d of (%zu, %zu): %a, exactly %La, room %La", which, a, j,
                               got, exact, room);
            }
    }
    check_count(n);
    free(g);
    problem_free(&p);
}

/* --------------------------------------------------------- bits and memory --- */

static uint64_t hash_results(const problem *p, void *const out[RESULTS], const setting *how,
                             uint64_t hash)
{
    for (int i = 0; i < RESULTS; i++)
        hash = check_hash(hash, out[i], result_bytes(p, i, how->reduction));
    return hash;
}

/* Every tier, number of threads and limit of memory: the bits of the portable tier alone. */
static void test_bits(void)
{
    static uint64_t hash[SETTINGS][MAX_TIERS];
    for (size_t k = 0; k < SETTINGS; k++)
        for (size_t t = 0; t < MAX_TIERS; t++)
            hash[k][t] = CHECK_HASH_SEED;
    for (size_t q = 0; q < SHAPES; q++)
        for (size_t k = 0; k < SETTINGS; k++) {
            if (is_large(shapes[q]))
                continue;
            const setting *const how = &settings[k];
            problem p = problem_new(shapes[q], 100 * q + k, how->ignored);
            lmx_linear_options o = options_of(&p, how);
            void *other[RESULTS];
            for (int i = 0; i < RESULTS; i++)
                other[i] = get_memory(result_bytes(&p, i, LMX_NONE));
            double *const lost = get_memory(p.s.rows * sizeof *lost);
            for (size_t t = n_tiers; t-- > 0;) {
                check_at.tier = lmx_isa_name(ctx_of[t]);
                for (unsigned threads = 1; threads <= (check_noguard ? 1 : 4); threads++) {
                    const bool first = t == n_tiers - 1 && threads == 1;
                    if (t > 0 && threads > 1 && t != n_tiers - 1)
                        continue;
                    lmx_ctx *const ctx = threads > 1 ? ctx_with(threads, check_at.tier) : ctx_of[t];
                    o.dropped = how->filter ? (first ? p.dropped : lost) : NULL;
                    o.max_workspace_bytes = 0;
                    if (threads == 4) /* all that one thread takes */
                        o.max_workspace_bytes =
                            lmx_linear_workspace(NULL, dtype, p.s.rows, p.s.depth, 1) * 2;
                    CHECK(run(ctx, &p, &o, first ? p.out : other) == LMX_OK);
                    for (int i = 0; i < RESULTS && !first; i++)
                        check_same(other[i], p.out[i], result_bytes(&p, i, how->reduction),
                                   i == LOSS ? real_size : size);
                    if (!first && how->filter)
                        check_same(lost, p.dropped, p.s.rows * sizeof *lost, sizeof *lost);
                    if (threads == 1 && is_small(p.s))
                        hash[k][t] = hash_results(&p, first ? p.out : other, how, hash[k][t]);
                    check_count(1);
                    if (threads > 1)
                        lmx_ctx_free(ctx);
                }
            }
            for (int i = 0; i < RESULTS; i++)
                free(other[i]);
            free(lost);
            problem_free(&p);
        }
    for (size_t k = 0; k < SETTINGS; k++) {
        char name[40];
        snprintf(name, sizeof name, "linear_cross_entropy_%zu", k);
        tiers_golden(name, hash[k]);
    }
}

/* p with its operands in the compute type, in which the same sums are taken. */
static problem widened(const problem *p)
{
    const lmx_dtype real = real_size == 8 ? LMX_F64 : LMX_F32;
    problem q = *p;
    for (int i = 0; i < INPUTS; i++) {
        q.type[i] = real;
        q.in[i] = get_memory(count_of(p, i) * real_size);
        for (size_t k = 0; k < count_of(p, i); k++)
            elem_put(real, q.in[i], k, elem_get(p->type[i], p->in[i], k));
    }
    for (int i = 0; i < RESULTS; i++)
        q.out[i] = get_memory(result_bytes(&q, i, LMX_NONE));
    return q;
}

static void widened_free(problem *q)
{
    for (int i = 0; i < INPUTS; i++)
        free(q->in[i]);
    for (int i = 0; i < RESULTS; i++)
        free(q->out[i]);
}

/* Whether p->out are the gradients of q, or those added to what was there, `before`. */
static void check_added(const problem *p, const problem *q, void *const before[RESULTS])
{
    for (int i = DHIDDEN; i < RESULTS; i++) {
        const size_t n = count_of(p, i - 1), bytes = elem_size(p->type[i - 1]);
        void *const want = get_memory(n * bytes);
        for (size_t k = 0; k < n; k++) {
            const double there = before == NULL ? 0 : elem_get(p->type[i - 1], before[i], k);
            elem_put(p->type[i - 1], want, k, sum(there, elem_get(q->type[0], q->out[i], k)));
        }
        check_same(p->out[i], want, n * bytes, bytes);
        free(want);
    }
}

/*
 * Gradients added to what is there: one addition in the compute type and one rounding, on every tier, for any number of
 * threads, within the workspace that is announced; added to zeros they are those that are stored.
 */
static void test_accumulate(void)
{
    for (size_t q = 0; q < SHAPES; q++)
        for (size_t k = 0; k < SETTINGS; k++) {
            if (is_large(shapes[q]) ||
                shapes[q].rows * shapes[q].depth * shapes[q].classes > 8000000)
                continue;
            problem p = problem_new(shapes[q], 900 + q, settings[k].ignored), wide = widened(&p);
            lmx_linear_options o = options_of(&p, &settings[k]);
            lmx_linear_options wide_o = options_of(&wide, &settings[k]);
            CHECK(run(ctx_of[0], &wide, &wide_o, wide.out) == LMX_OK);
            void *before[RESULTS];
            check_random r = check_random_new(q);
            for (int i = 0; i < RESULTS; i++) {
                before[i] = get_memory(result_bytes(&p, i, LMX_NONE));
                for (size_t j = 0; i != LOSS && j < count_of(&p, i - 1); j++)
                    elem_put(dtype, before[i], j, check_normal(&r) / 8);
            }
            o.accumulate = 1;
            for (size_t t = 0; t < n_tiers; t++)
                for (unsigned threads = 1; threads <= (check_noguard ? 1 : 3); threads += 2) {
                    check_at.tier = lmx_isa_name(ctx_of[t]);
                    lmx_ctx *const ctx = ctx_with(threads, check_at.tier);
                    o.max_workspace_bytes =
                        lmx_linear_workspace(ctx, dtype, p.s.rows, p.s.depth, 2);
                    for (int onto_zeros = 0; onto_zeros < 2; onto_zeros++) {
                        for (int i = DHIDDEN; i < RESULTS; i++)
                            if (onto_zeros)
                                memset(p.out[i], 0, result_bytes(&p, i, LMX_NONE));
                            else
                                memcpy(p.out[i], before[i], result_bytes(&p, i, LMX_NONE));
                        CHECK(run(ctx, &p, &o, p.out) == LMX_OK);
                        check_added(&p, &wide, onto_zeros ? NULL : before);
                        check_same(p.out[LOSS], wide.out[LOSS],
                                   result_bytes(&p, LOSS, settings[k].reduction), real_size);
                        check_count(1);
                    }
                    lmx_ctx_free(ctx);
                }
            for (int i = 0; i < RESULTS; i++)
                free(before[i]);
            widened_free(&wide);
            problem_free(&p);
        }
}

/* dbias of a type that is not the operands': as stored, and added with nothing narrowed. */
static void test_bias_gradient(void)
{
    const setting how = { 1, 0, 0, 0, 0, 0, LMX_SUM, 0 };
    for (int type = 0; type < N_DTYPES; type++) {
        problem p = problem_of((shape){ 5, 6, 300 }, (lmx_dtype)type, 41, 0);
        problem q = widened(&p);
        q.type[BIAS] = LMX_F64; /* the sums as they are */
        free(q.in[BIAS]);
        q.in[BIAS] = get_memory(p.s.classes * sizeof(double));
        for (size_t k = 0; k < p.s.classes; k++)
            elem_put(LMX_F64, q.in[BIAS], k, elem_get(p.type[BIAS], p.in[BIAS], k));
        free(q.out[DBIAS]);
        q.out[DBIAS] = get_memory(p.s.classes * sizeof(double));
        lmx_linear_options o = options_of(&p, &how), wide_o = options_of(&q, &how);
        CHECK(run(ctx_of[0], &q, &wide_o, q.out) == LMX_OK);
        for (int add = 0; add < 2; add++) {
            const double there = add ? 1.0 / 3 : 0;
            const bool narrow = real_size == 4 && type != LMX_F64;
            void *const want = get_memory(result_bytes(&p, DBIAS, LMX_SUM));
            for (size_t k = 0; k < p.s.classes; k++) {
                elem_put(p.type[BIAS], p.out[DBIAS], k, there);
                const double old = elem_get(p.type[BIAS], p.out[DBIAS], k),
                             g = elem_get(LMX_F64, q.out[DBIAS], k);
                elem_put(p.type[BIAS], want, k, narrow ? sum(add ? old : 0, g) : add ? old + g : g);
            }
            o.accumulate = add;
            if (add)
                for (int i = DHIDDEN; i <= DWEIGHT; i++)
                    memset(p.out[i], 0, result_bytes(&p, i, LMX_SUM));
            CHECK(run(ctx_of[0], &p, &o, p.out) == LMX_OK);
            check_same(p.out[DBIAS], want, result_bytes(&p, DBIAS, LMX_SUM),
                       elem_size(p.type[BIAS]));
            free(want);
            check_count(1);
        }
        widened_free(&q);
        problem_free(&p);
    }
}

/* Weights of 1 are no weights; they may be strided; rows that do not count have none in the mean. */
static void test_row_weight(void)
{
    for (size_t k = 0; k < SETTINGS; k++) {
        problem p = problem_new((shape){ 40, 9, 300 }, 61, settings[k].ignored);
        lmx_linear_options o = options_of(&p, &settings[k]);
        void *other[RESULTS];
        for (int i = 0; i < RESULTS; i++)
            other[i] = get_memory(result_bytes(&p, i, LMX_NONE));
        double *const gaps = get_memory(2 * p.s.rows * sizeof *gaps);
        for (int ones = 0; ones < 2; ones++) {
            for (size_t i = 0; i < p.s.rows; i++) {
                p.row_weight[i] = ones ? 1 : p.row_weight[i];
                gaps[2 * i] = p.target[i] < 0 && !ones ? 1e30 : p.row_weight[i];
                gaps[2 * i + 1] = (double)NAN;
            }
            o.row_weight = ones ? NULL : p.row_weight;
            o.row_weight_stride = 1;
            CHECK(run(ctx_of[0], &p, &o, p.out) == LMX_OK);
            o.row_weight = gaps;
            o.row_weight_stride = 2;
            CHECK(run(ctx_of[0], &p, &o, other) == LMX_OK);
            for (int i = 0; i < RESULTS; i++)
                check_same(other[i], p.out[i], result_bytes(&p, i, settings[k].reduction),
                           i == LOSS ? real_size : size);
            check_count(1);
        }
        free(gaps);
        for (int i = 0; i < RESULTS; i++)
            free(other[i]);
        problem_free(&p);
    }
}

/* Arrays with gaps between guard pages, single gradients, and one row of many: nothing else is touched or changes. */
static void test_memory(void)
{
    for (size_t q = 0; q < SHAPES; q++) {
        const shape s = shapes[q];
        if (s.rows * s.depth * s.classes > 2000000 || is_large(s))
            continue;
        const setting *const how = &settings[q % SETTINGS];
        problem p = problem_new(s, 500 + q, how->ignored);
        lmx_linear_options o = options_of(&p, how);
        const size_t gap = 3, wide = s.depth + gap;
        const size_t bytes[INPUTS] = { (s.rows * wide - gap) * size,
                                       (s.classes * wide - gap) * size, s.classes * size };
        const size_t out_bytes[RESULTS] = { result_bytes(&p, LOSS, how->reduction), bytes[0],
                                            bytes[1], bytes[2] };
        check_buffer in[INPUTS], out[RESULTS];
        void *input[INPUTS], *result[RESULTS];
        const check_flush flush = q % 2 ? CHECK_START : CHECK_END;
        const size_t away = check_noguard ? 512 : 0;
        for (int i = 0; i < INPUTS; i++) {
            in[i] = check_buffer_new(bytes[i] + 1024);
            input[i] = check_put(&in[i], bytes[i], flush, away);
            const size_t rows = i == BIAS ? 1 : i == WEIGHT ? s.classes : s.rows;
            const size_t cols = i == BIAS ? s.classes : s.depth, row = i == BIAS ? s.classes : wide;
            for (size_t k = 0; k < rows; k++)
                memcpy((char *)input[i] + k * row * size, (char *)p.in[i] + k * cols * size,
                       cols * size);
        }
        for (int i = 0; i < RESULTS; i++) {
            out[i] = check_buffer_new(out_bytes[i] + 1024);
            result[i] = check_put(&out[i], out_bytes[i], flush, away);
        }
        o.bias = how->bias ? input[BIAS] : NULL;
        for (size_t t = 0; t < n_tiers; t++) {
            check_at.tier = lmx_isa_name(ctx_of[t]);
            CHECK(run(ctx_of[t], &p, &(lmx_linear_options){ 0 }, p.out) == LMX_ERR_ARG);
            const lmx_linear_options plain = options_of(&p, how);
            CHECK(run(ctx_of[t], &p, &plain, p.out) == LMX_OK);
            for (int only = DHIDDEN; only <= DBIAS + 1; only++) {
                const bool all = only > DBIAS;
                const ptrdiff_t row = (ptrdiff_t)wide;
                CHECK(lmx_linear_cross_entropy(
                          ctx_of[t], dtype, s.rows, s.depth, s.classes, input[HIDDEN], row,
                          input[WEIGHT], row, p.target, LMX_I32, 1, &o, result[LOSS], 1,
                          all || only == DHIDDEN ? result[DHIDDEN] : NULL, row,
                          all || only == DWEIGHT ? result[DWEIGHT] : NULL, row,
                          all || only == DBIAS ? result[DBIAS] : NULL) == LMX_OK);
                check_same(result[LOSS], p.out[LOSS], out_bytes[LOSS], real_size);
                check_canaries(&out[LOSS], result[LOSS], out_bytes[LOSS]);
                for (int i = DHIDDEN; i <= DBIAS; i++) {
                    if (!all && i != only)
                        continue;
                    const size_t rows = i == DBIAS ? 1 : i == DWEIGHT ? s.classes : s.rows;
                    const size_t cols = i == DBIAS ? s.classes : s.depth,
                                 step = i == DBIAS ? s.classes : wide;
                    for (size_t k = 0; k < rows; k++)
                        check_same((char *)result[i] + k * step * size,
                                   (char *)p.out[i] + k * cols * size, cols * size, size);
                    check_canaries(&out[i], result[i], out_bytes[i]);
                }
                check_count(1);
            }
        }
        for (int i = 0; i < INPUTS; i++) {
            check_canaries(&in[i], input[i], bytes[i]);
            check_buffer_free(&in[i]);
        }
        for (int i = 0; i < RESULTS; i++)
            check_buffer_free(&out[i]);
        problem_free(&p);
    }
}

/* A row by itself has the loss and dhidden that it has among others. */
static void test_alone(void)
{
    const setting how = { 1, 0, 1, 0, 0, 0, LMX_NONE, 0 };
    problem p = problem_new((shape){ 37, 24, 300 }, 77, 0);
    const lmx_linear_options o = options_of(&p, &how);
    check_at.tier = lmx_isa_name(ctx_of[0]);
    CHECK(run(ctx_of[0], &p, &o, p.out) == LMX_OK);
    void *const loss = get_memory(real_size), *const dhidden = get_memory(p.s.depth * size);
    for (size_t i = 0; i < p.s.rows; i++) {
        const size_t at = i * p.s.depth * size;
        CHECK(lmx_linear_cross_entropy(ctx_of[0], dtype, 1, p.s.depth, p.s.classes,
                                       (char *)p.in[HIDDEN] + at, 0, p.in[WEIGHT],
                                       (ptrdiff_t)p.s.depth, p.target + i, LMX_I32, 1, &o, loss, 1,
                                       dhidden, 0, NULL, 0, NULL) == LMX_OK);
        check_same(loss, (char *)p.out[LOSS] + i * real_size, real_size, real_size);
        check_same(dhidden, (char *)p.out[DHIDDEN] + at, p.s.depth * size, size);
        check_count(1);
    }
    free(loss);
    free(dhidden);
    problem_free(&p);
}

/* ---------------------------------------------------------- special values --- */

static double loss_at(const problem *p, size_t i)
{
    return real_size == 8 ? ((double *)p->out[LOSS])[i] : (double)((float *)p->out[LOSS])[i];
}

static void test_special(void)
{
    const setting how = { 1, 0, 0, 0, 0, 0, LMX_NONE, 0 };
    for (size_t t = 0; t < n_tiers; t++) {
        check_at.tier = lmx_isa_name(ctx_of[t]);
        problem p = problem_new((shape){ 4, 3, 300 }, 5, 0);
        const lmx_linear_options o = options_of(&p, &how);
        /* NaN in one row, whose target is not to be looked at; huge logits in another; masked classes */
        p.target[0] = -100;
        elem_put(dtype, p.in[HIDDEN], 0, NAN);
        elem_put(dtype, p.in[HIDDEN], 3, 3e4);
        for (size_t k = 0; k < 300; k += 2)
            elem_put(dtype, p.in[BIAS], k, -INFINITY);
        p.target[1] = 1;
        p.target[2] = 2;
        p.target[3] = 299;
        CHECK(run(ctx_of[t], &p, &o, p.out) == LMX_OK);
        CHECK(loss_at(&p, 0) == 0);
        CHECK(loss_at(&p, 1) >= 0 && loss_at(&p, 1) < 1e6);
        CHECK(loss_at(&p, 2) == (double)INFINITY);
        CHECK(loss_at(&p, 3) > 0 && loss_at(&p, 3) < 100);
        for (size_t j = 0; j < 3; j++)
            CHECK(elem_get(dtype, p.out[DHIDDEN], j) == 0);
        for (size_t k = 0; k < 300; k++) {
            CHECK(isfinite(elem_get(dtype, p.out[DWEIGHT], k * 3)));
            if (k % 2 == 0 && k != 2)
                CHECK(elem_get(dtype, p.out[DBIAS], k) == 0);
        }
        /* only masked classes: NaN */
        for (size_t k = 1; k < 300; k += 2)
            elem_put(dtype, p.in[BIAS], k, -INFINITY);
        CHECK(run(ctx_of[t], &p, &o, p.out) == LMX_OK);
        CHECK(isnan(loss_at(&p, 1)) && isnan(elem_get(dtype, p.out[DHIDDEN], 3)));
        CHECK(loss_at(&p, 0) == 0 && elem_get(dtype, p.out[DHIDDEN], 0) == 0);
        /* no row counts */
        lmx_linear_options mean = o;
        mean.reduction = LMX_MEAN;
        for (size_t i = 0; i < 4; i++)
            p.target[i] = -100;
        CHECK(run(ctx_of[t], &p, &mean, p.out) == LMX_OK);
        CHECK(isnan(loss_at(&p, 0)));
        for (size_t k = 0; k < 900; k++)
            CHECK(elem_get(dtype, p.out[DWEIGHT], k) == 0);
        check_count(1);
        problem_free(&p);
    }
}

/* The largest of equal and unequal logits, of NaN and infinities. */
static void test_topk(void)
{
    enum { CLASSES = 1500, K = 20 };
    void *const weight = get_memory(CLASSES * size), *const values = get_memory(K * size);
    void *const hidden = get_memory(size);
    int64_t indices[K];
    elem_put(dtype, hidden, 0, 1);
    for (int kind = 0; kind < 4; kind++)
        for (size_t t = 0; t < n_tiers; t++) {
            check_at.tier = lmx_isa_name(ctx_of[t]);
            check_at.n = (size_t)kind;
            for (size_t k = 0; k < CLASSES; k++)
                elem_put(dtype, weight, k,
                         kind == 0   ? 1
                         : kind == 3 ? -INFINITY
                                     : (double)(k * 7919 % 50));
            if (kind == 2) {
                elem_put(dtype, weight, 700, NAN);
                elem_put(dtype, weight, 600, NAN);
                elem_put(dtype, weight, 1400, INFINITY);
            }
            for (unsigned threads = 1; threads < 4; threads++) {
                lmx_ctx *const ctx = ctx_with(threads, check_at.tier);
                CHECK(lmx_linear_topk(ctx, dtype, 1, 1, CLASSES, K, hidden, 1, weight, 1, NULL,
                                      values, K, indices, K) == LMX_OK);
                lmx_ctx_free(ctx);
                for (int64_t i = 0; i < K; i++) {
                    /* 49 stands at every class that is 21 more than a multiple of 50 */
                    if (kind == 0 || kind == 3)
                        CHECK(indices[i] == i);
                    else if (kind == 1)
                        CHECK(indices[i] * 7919 % 50 == 49 &&
                              (i == 0 || indices[i] == indices[i - 1] + 50));
                    else
                        CHECK(i == 0   ? indices[i] == 600
                              : i == 1 ? indices[i] == 700
                                       : i > 2 || indices[i] == 1400);
                }
                check_count(1);
            }
        }
    free(weight);
    free(values);
    free(hidden);
}

/* ---------------------------------------------------------------- errors --- */

/* The outputs are as they were. */
static void expect(const problem *p, lmx_status got, lmx_status want, void *const before[RESULTS])
{
    if (got != want)
        check_fail("%s, expected %s", lmx_status_string(got), lmx_status_string(want));
    for (int i = 0; i < RESULTS; i++)
        check_same(p->out[i], before[i], result_bytes(p, i, LMX_NONE), 1);
    check_count(1);
}

static void test_errors(void)
{
    problem p = problem_new((shape){ 3, 4, 5 }, 9, 0);
    const setting how = { 1, 0, 0, 0, 0, 0, LMX_NONE, 0 };
    const lmx_linear_options good = options_of(&p, &how);
    void *before[RESULTS];
    for (int i = 0; i < RESULTS; i++) {
        const size_t n = result_bytes(&p, i, LMX_NONE);
        before[i] = get_memory(n);
        memset(before[i], 0x5a, n);
        memcpy(p.out[i], before[i], n);
    }
    check_at.tier = lmx_isa_name(ctx_of[0]);
#define TRY(status, change)                                      \
  do {                                                           \
    lmx_linear_options o = good;                                 \
    change;                                                      \
    expect(&p, run(ctx_of[0], &p, &o, p.out), (status), before); \
  } while (0)
    TRY(LMX_ERR_ARG, o.tag = 0);
    TRY(LMX_ERR_ARG, o.tag = sizeof o);
    TRY(LMX_ERR_ARG, o.softcap = -1);
    TRY(LMX_ERR_ARG, o.softcap = NAN);
    TRY(LMX_ERR_ARG, o.label_smoothing = 1.5);
    TRY(LMX_ERR_ARG, o.logz_penalty = INFINITY);
    TRY(LMX_ERR_ARG, o.filter_eps = -0.5);
    TRY(LMX_ERR_ARG, o.reduction = (lmx_reduction)7);
    TRY(LMX_ERR_DTYPE, o.bias_dtype = (lmx_dtype)9);
    const double bad_weights[] = { -1, NAN, INFINITY };
    for (size_t i = 0; i < sizeof bad_weights / sizeof *bad_weights; i++) {
        const double weights[3] = { 1, 0, bad_weights[i] };
        TRY(LMX_ERR_ARG, o.row_weight = weights);
    }
    TRY(LMX_ERR_ALIGN, o.row_weight = (void *)((char *)p.row_weight + 1));
    TRY(LMX_ERR_OVERLAP, o.row_weight = p.out[DHIDDEN]; o.row_weight_stride = 0);
    TRY(LMX_ERR_NOMEM, o.max_workspace_bytes = 1000);
    const int32_t target = p.target[2];
    p.target[2] = 5;
    TRY(LMX_ERR_LABEL, (void)0);
    p.target[2] = -1;
    TRY(LMX_ERR_LABEL, (void)0);
    p.target[2] = target;
    problem q = p;
    q.in[HIDDEN] = NULL;
    expect(&p, run(ctx_of[0], &q, &good, p.out), LMX_ERR_NULL, before);
    q = p;
    q.target = NULL;
    expect(&p, run(ctx_of[0], &q, &good, p.out), LMX_ERR_NULL, before);
    q = p;
    q.s.classes = 0;
    expect(&p, run(ctx_of[0], &q, &good, p.out), LMX_ERR_SHAPE, before);
    void *shared[RESULTS] = { p.out[0], p.in[HIDDEN], p.out[2], p.out[3] };
    expect(&p, run(ctx_of[0], &p, &good, shared), LMX_ERR_OVERLAP, before);
    void *both[RESULTS] = { p.out[0], p.out[2], p.out[2], p.out[3] };
    expect(&p, run(ctx_of[0], &p, &good, both), LMX_ERR_OVERLAP, before);
    void *odd[RESULTS] = { p.out[0], p.out[1], (char *)p.out[2] + 1, p.out[3] };
    expect(&p, run(ctx_of[0], &p, &good, odd), LMX_ERR_ALIGN, before);
    CHECK(lmx_linear_cross_entropy(NULL, (lmx_dtype)9, 1, 1, 1, p.in[0], 1, p.in[1], 1, p.target,
                                   LMX_I32, 1, NULL, p.out[0], 1, NULL, 0, NULL, 0,
                                   NULL) == LMX_ERR_DTYPE);
    CHECK(lmx_linear_cross_entropy(NULL, dtype, 1, 1, 1, p.in[0], 1, p.in[1], 1, p.target,
                                   (lmx_int)99, 1, NULL, p.out[0], 1, NULL, 0, NULL, 0,
                                   NULL) == LMX_ERR_DTYPE);
    CHECK(lmx_linear_cross_entropy(NULL, dtype, (size_t)1 << 62, 4, 5, p.in[0], 4, p.in[1], 4,
                                   p.target, LMX_I32, 1, NULL, p.out[0], 1, NULL, 0, NULL, 0,
                                   NULL) == LMX_ERR_OVERFLOW);
    CHECK(lmx_linear_options_init(NULL) == LMX_ERR_NULL);
    int64_t indices[5];
    CHECK(lmx_linear_topk(NULL, dtype, 1, 4, 5, 6, p.in[0], 4, p.in[1], 4, NULL, p.out[1], 6,
                          indices, 6) == LMX_ERR_SHAPE);
    CHECK(lmx_linear_topk(NULL, dtype, 1, 4, 5, 2, p.in[0], 4, p.in[1], 4, NULL, p.in[1], 2,
                          indices, 2) == LMX_ERR_OVERLAP);
    /* nothing to do: nothing is looked at */
    CHECK(lmx_linear_topk(NULL, dtype, 0, 4, 5, 2, NULL, 4, p.in[1], 4, NULL, NULL, 2, NULL, 2) ==
          LMX_OK);
    CHECK(lmx_linear_logsumexp(NULL, dtype, 0, 4, 5, NULL, 4, p.in[1], 4, NULL, NULL, 1) == LMX_OK);
    CHECK(lmx_linear_logsumexp(NULL, dtype, 1, 4, 0, p.in[0], 4, NULL, 4, NULL, p.out[0], 1) ==
          LMX_OK);
    CHECK(loss_at(&p, 0) == -(double)INFINITY);
    for (int i = 0; i < RESULTS; i++)
        free(before[i]);
    problem_free(&p);
}

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "linear");
    check_at.test = "values";
    for (size_t q = 0; q < SHAPES; q++)
        if (shapes[q].rows * shapes[q].classes <= (check_fast ? 10000u : 200000u) &&
            !is_large(shapes[q]))
            for (int bias = 0; bias < N_DTYPES; bias++)
                test_values(shapes[q], (lmx_dtype)bias);
    check_at.test = "against logits";
    for (size_t q = 0; q < SHAPES; q++)
        for (size_t k = 0; k < SETTINGS; k++)
            if (!settings[k].filter && shapes[q].rows * shapes[q].depth * shapes[q].classes <
                                           (check_fast ? 50000u : 6000000u))
                for (int bias = 0; bias < (settings[k].bias ? N_DTYPES : 1); bias++)
                    test_against_logits(shapes[q], settings[k].bias ? (lmx_dtype)bias : dtype,
                                        &settings[k]);
    check_at.test = "alone";
    test_alone();
    check_at.test = "special";
    test_special();
    check_at.test = "topk";
    test_topk();
    check_at.test = "accumulate";
    test_accumulate();
    check_at.test = "bias gradient";
    test_bias_gradient();
    check_at.test = "row weight";
    test_row_weight();
    check_at.test = "errors";
    test_errors();
    check_at.test = "memory";
    test_memory();
    check_at.test = "bits";
    test_bits();
    return tiers_end();
}
