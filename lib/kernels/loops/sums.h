/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over a row of body(x[i]), for functions without exponentials. */
#ifndef LMX_SUMS_H
#define LMX_SUMS_H

#include "kernels/loss_state.h"
#include "kernels/loops/row.h"

/*
 * A second sum: of the squares of the body's results, of their products with the input b, or of b.
 */
enum { SUM_SQUARES = 1, SUM_PRODUCTS = 2, SUM_SECOND = 4 };
#define SUM_B (SUM_PRODUCTS | SUM_SECOND)

/* The first sum and the second. */
typedef struct {
    lane_sums s, q;
} sum_pair;

LMX_INLINE void sum_one(sum_pair *p, size_t g, vreal d, vreal b, unsigned flags)
{
    p->s.group[g] = vw_add(p->s.group[g], d);
    if (flags & SUM_SQUARES)
        p->q.group[g] = vw_fma(p->q.group[g], d, d);
    if (flags & SUM_PRODUCTS)
        p->q.group[g] = vw_fma(p->q.group[g], d, b);
    if (flags & SUM_SECOND)
        p->q.group[g] = vw_add(p->q.group[g], b);
}

/* Adds the 32 elements from i on; those past the end, and element `skip`, count as 0. */
LMX_INLINE_VECTOR void sum_odd(const elem *x, const elem *b, size_t i, size_t n, size_t skip,
                               row_body *body, const void *k, unsigned flags, sum_pair *p)
{
    real d[LMX_LANES], second[LMX_LANES] = { 0 };
    for (size_t u = 0; u < LMX_LANES; u += V_LANES) {
        const size_t at = i + u;
        const size_t left = at >= n ? 0 : n - at < V_LANES ? n - at : V_LANES;
        const vreal v = left == 0 ? v_set1(0) : e_load_n(x + at, left, 0);
        v_store(d + u, body(v, v, k));
        if (flags & SUM_B && left > 0)
            v_store(second + u, e_load_n(b + at, left, 0));
    }
    for (size_t u = 0; u < LMX_LANES; u++)
        if (i + u >= n || i + u == skip)
            d[u] = 0;
    for (size_t g = 0; g < GROUPS; g++)
        sum_one(p, g, v_load(d + g * V_LANES), v_load(second + g * V_LANES), flags);
}

LMX_INLINE_VECTOR void sum_whole(const elem *x, const elem *b, size_t i, size_t end, row_body *body,
                                 const void *k, unsigned flags, sum_pair *p)
{
    for (; i < end; i += LMX_LANES) {
        for (size_t q = 0; q < LMX_LANES * sizeof(elem); q += 64) {
            LMX_PREFETCH_READ((const char *)(x + i) + PREFETCH_DISTANCE + q);
            if (flags & SUM_B)
                LMX_PREFETCH_READ((const char *)(b + i) + PREFETCH_DISTANCE + q);
        }
        for (size_t g = 0; g < GROUPS; g++) {
            const vreal v = e_load(x + i + g * V_LANES);
            const vreal second = flags & SUM_B ? e_load(b + i + g * V_LANES) : v;
            sum_one(p, g, body(v, v, k), second, flags);
        }
    }
}

/*
 * Stores the sum of body(x[i]) in chunk->sum and the second sum, chosen by the flags, in
 * chunk->rest.  Each lane is a double (for double: a compensated pair) with at most 512 additions
 * in a chunk, so the error is within 2^-44 (2^-97) of the sum of absolute values.  Element `skip`
 * is left out; flags are then SUM_SQUARES or none.
 */
LMX_INLINE void sum_row(const elem *x, const elem *b, size_t n, size_t skip, row_body *body,
                        const void *k, unsigned flags, lmx_chunk *c)
{
    sum_pair p;
    for (size_t g = 0; g < GROUPS; g++)
        p.s.group[g] = p.q.group[g] = vw_zero();
    const size_t whole = n / LMX_LANES * LMX_LANES;
    if (skip < whole) {
        const size_t at = skip / LMX_LANES * LMX_LANES;
        sum_whole(x, b, 0, at, body, k, flags, &p);
        sum_odd(x, b, at, n, skip, body, k, flags, &p);
        sum_whole(x, b, at + LMX_LANES, whole, body, k, flags, &p);
    } else {
        sum_whole(x, b, 0, whole, body, k, flags, &p);
    }
    if (whole < n)
        sum_odd(x, b, whole, n, skip, body, k, flags, &p);
    const lmx_dd s = lane_total(p.s);
    c->kind = LMX_KIND_PLAIN;
    c->sum.hi = s.hi;
    c->sum.lo = s.lo;
    if (flags != 0) {
        const lmx_dd q = lane_total(p.q);
        c->rest.hi = q.hi;
        c->rest.lo = q.lo;
    }
}

/*
 * Shared by several losses, in moments.c: sums of o 2^-e - pivot and of its squares, and gradients
 * that are linear in the logits.
 */
void LMX_K(measure_moments)(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                            const lmx_loss_row *row, lmx_chunk *c);
void LMX_K(linear_gradient)(const void *o, size_t n, const lmx_chunk *chunk,
                            const lmx_loss_spec *spec, const lmx_loss_row *row, void *out,
                            unsigned how);

#define LMX_LOSS_KERNEL(name, measure, finish, gradient, skips) \
  const lmx_loss_kernel LMX_K(name) = { measure, finish, gradient, skips, sizeof(elem) };

/*
 * Splits the factor m 2^e of a linear gradient into a * post.  If the exponent does not fit both,
 * pre and center, which must have been set, are scaled by the remainder.
 */
LMX_INLINE void loss_factor(lmx_loss_row *row, double m, int64_t e)
{
    if (m != 0 && lmx_finite(m)) {
        uint64_t u;
        memcpy(&u, &m, sizeof u);
        const int64_t k = (int64_t)(u >> 52 & 0x7ff) - 1022;
        m = lmx_scale2(m, -k);
        e += k;
    }
    const int64_t most = sizeof(real) == 4 ? 120 : 1000;
    const int64_t near = e > most ? most : e < -most ? -most : e;
    e -= near;
    const int64_t far = e > most ? most : e < -most ? -most : e;
    row->a = lmx_scale2(m, near);
    row->post = lmx_scale2(1, far);
    row->pre = lmx_scale2_gradual(row->pre, e - far);
    row->center = lmx_scale2_gradual(row->center, e - far);
    row->center_lo = lmx_scale2_gradual(row->center_lo, e - far);
}

#endif
