/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithms that the paper compares, on one contiguous row, with the same exponential and the
 * same loops, for the benchmarks alone (Dukhan and Ablavatski 2020, table 2):
 *
 *   two pass               sum of exp(x); exp(x) / sum                 2 reads, 1 write
 *   three pass, recompute  max; sum of exp(x - max); exp(x - max) / sum   3 reads, 1 write
 *   three pass, reload     max; exp(x - max) stored and summed; scaled    3 reads, 2 writes
 *
 * and the copy, the floor of them all.  Also the exponential by itself, for its exhaustive test.
 * No shipped table holds these; benchmarks and tests reach them through tables.c.
 */
#include "kernels/loops/expsum.h"
#include "kernels/paper/paper.h"

static lmx_sum row_sum(const elem *x, size_t n, real *terms, int64_t n0)
{
    lmx_sum sum = { 0, 0, 0, 0 };
    for (size_t i = 0; i < n; i += LMX_CHUNK) {
        const size_t len = n - i < LMX_CHUNK ? n - i : LMX_CHUNK;
        const lmx_dd s = LMX_K(sum_terms)(x + i, len, terms != NULL ? terms + i : NULL, n0);
        sum = lmx_sum_add(sum, lmx_sum_of(s.hi, s.lo, n0 - V_BIAS, 0));
    }
    return sum;
}

typedef struct {
    v_ref ref;
    vreal s;
} scale_constants;

static vreal scaled_term(vreal x, vreal b, const void *k)
{
    const scale_constants *c = k;
    (void)b;
    return v_mul(v_term(x, &c->ref), c->s);
}

static vreal scaled(vreal a, vreal b, const void *k)
{
    (void)b;
    return v_mul(a, *(const vreal *)k);
}

LMX_INLINE vreal same(vreal a, vreal b, const void *k)
{
    (void)b;
    (void)k;
    return a;
}

static real factor(const lmx_sum *sum, int64_t n0)
{
    return (real)lmx_scale2(1 / sum->hi, n0 - V_BIAS - sum->n);
}

static void scale_terms(const elem *x, size_t n, elem *y, int64_t n0, const lmx_sum *sum,
                        unsigned how)
{
    const scale_constants k = { v_ref_at(n0), v_set1(factor(sum, n0)) };
    row_map(x, NULL, n, y, how, 0, scaled_term, &k);
}

static real row_max(const elem *x, size_t n)
{
    vreal m[4];
    for (size_t u = 0; u < 4; u++)
        m[u] = v_set1(-LMX_INF);
    size_t i = 0;
    for (; i + 4 * V_LANES <= n; i += 4 * V_LANES) {
        /* as the other passes do */
        for (size_t q = 0; q < 4 * V_LANES * sizeof(elem); q += 64)
            LMX_PREFETCH_READ((const char *)(x + i) + PREFETCH_DISTANCE + q);
        for (size_t u = 0; u < 4; u++)
            m[u] = v_max(m[u], e_load(x + i + u * V_LANES));
    }
    for (; i < n; i += V_LANES)
        m[0] = v_max(m[0], e_load_n(x + i, n - i < V_LANES ? n - i : V_LANES, -LMX_INF));
    return v_hmax(v_max(v_max(m[0], m[1]), v_max(m[2], m[3])));
}

static void two_pass(const void *x, size_t n, void *y, int stream)
{
    const int64_t n0 = reference(guess_max(x, n));
    const lmx_sum sum = row_sum(x, n, NULL, n0);
    scale_terms(x, n, y, n0, &sum, stream ? LMX_HOW_STREAM : 0);
}

static void three_pass_recompute(const void *x, size_t n, void *y, int stream)
{
    const int64_t n0 = reference(row_max(x, n));
    const lmx_sum sum = row_sum(x, n, NULL, n0);
    scale_terms(x, n, y, n0, &sum, stream ? LMX_HOW_STREAM : 0);
}

static void three_pass_reload(const void *x, size_t n, void *y, int stream)
{
    (void)stream; /* the stored terms are read back at once: nothing to stream */
    const int64_t n0 = reference(row_max(x, n));
    const lmx_sum sum = row_sum(x, n, y, n0);
    const vreal k = v_set1(factor(&sum, n0));
    row_map(y, NULL, n, y, 0, MAP_TERMS, scaled, &k);
}

static void copy(const void *x, size_t n, void *y, int stream)
{
    row_map(x, NULL, n, y, stream ? LMX_HOW_STREAM : 0, 0, same, NULL);
}

static void exp_split(const void *x_, size_t n, void *m_, int32_t *e)
{
    const elem *x = x_;
    real *m = m_;
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal v = e_load_n(x + i, left, 0);
        real z[V_LANES], bias[V_LANES];
        int64_t n0[V_LANES];
        v_store(z, v);
        for (size_t q = 0; q < V_LANES; q++) {
            n0[q] = reference(z[q]);
            const ibits u = (ibits)((uint64_t)(-n0[q]) << V_MANT_BITS);
            memcpy(&bias[q], &u, sizeof u);
        }
        v_store_n(m + i, v_term_at(v, v_set1((real)-0x1p+20), v_set1((real)0x1p+20), v_load(bias)),
                  left);
        for (size_t q = 0; q < left; q++)
            e[i + q] = (int32_t)n0[q];
    }
}

extern const lmx_paper_kernel LMX_K(paper);

const lmx_paper_kernel LMX_K(paper) = {
    .two_pass = two_pass,
    .three_pass_recompute = three_pass_recompute,
    .three_pass_reload = three_pass_reload,
    .copy = copy,
    .exp_split = exp_split,
};
