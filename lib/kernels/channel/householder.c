/* SPDX-License-Identifier: Apache-2.0 */
/*
 * householder: of each two channels (a, b), those with a sin(theta/2) > b cos(theta/2) are reflected at that line:
 * (a cos theta + b sin theta, a sin theta - b cos theta), and the others stay (Singla, Singla and Feizi 2022,
 * arXiv:2108.04062).  theta = pi/2 sorts the pair.  Within 3 u (|a| + |b|): cos and sin are rounded once, the
 * product with b too, and the sum.  On which side a pair within 2 u of the line is does not matter to the value.
 *
 * The gradient by theta of a reflected pair (a', b') is dy[1] a' - dy[0] b'.
 */
#include "kernels/channel/groups.h"

/* cos and sin of theta and sin and cos of theta / 2 for a vector of pairs */
typedef struct {
    vreal c, s, half_s, half_c;
} turns;

typedef struct {
    const real *table; /* those four for each pair, or once */
    size_t pairs, first, left;
    turns all;
    real *terms; /* of the gradient by theta, for each pair; NULL: not wanted */
} constants;

/* Four vectors of quadruples, as groups of four. */
LMX_INLINE turns turns_at(const constants *k, size_t pair)
{
    if (k->pairs == 1)
        return k->all;
    const real *t = k->table + 4 * (k->first + pair);
    const size_t left = 4 * (k->left - pair);
    vreal v[4];
    for (size_t i = 0; i < 4; i++) {
        const size_t at = i * V_LANES, here = left > at ? left - at : 0;
        v[i] = here >= V_LANES ? v_load(t + at) : here > 0 ? v_load_n(t + at, here, 0) : v_set1(0);
    }
    groups_split(v, 4);
    return (turns){ v[0], v[1], v[2], v[3] };
}

LMX_INLINE vmask reflected(const vreal *x, const turns *t)
{
    return v_gt(v_mul(x[0], t->half_s), v_mul(x[1], t->half_c));
}

LMX_INLINE void reflect(const vreal *x, const turns *t, vreal *out)
{
    out[0] = v_fma(x[0], t->c, v_mul(x[1], t->s));
    out[1] = v_fma(x[0], t->s, v_sub(v_set1(0), v_mul(x[1], t->c)));
}

LMX_INLINE void with_pair_nan(const vreal *x, vreal *out)
{
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            out[i] = v_select(v_isnan(x[j]), x[j], out[i]);
}

LMX_INLINE void value(const vreal *dy, vreal *x, const void *k, size_t at, vreal *out)
{
    (void)dy;
    const turns t = turns_at(k, at / 2);
    const vmask m = reflected(x, &t);
    reflect(x, &t, out);
    for (size_t i = 0; i < 2; i++)
        out[i] = v_select(m, out[i], x[i]);
    with_pair_nan(x, out);
}

LMX_INLINE void vjp(const vreal *dy, vreal *x, const void *k_, size_t at, vreal *out)
{
    const constants *k = k_;
    const turns t = turns_at(k, at / 2);
    const vmask m = reflected(x, &t);
    if (k->terms != NULL) {
        vreal y[2];
        reflect(x, &t, y);
        const vreal d = v_sub(v_mul(dy[1], y[0]), v_mul(dy[0], y[1]));
        /* 0, but NaN if dy is not finite, where theta does not matter */
        const vreal same = v_fma(dy[0], v_set1(0), times_zero(dy[1]));
        vreal term[2] = { v_select(m, d, same), v_set1(0) };
        with_pair_nan(x, term);
        const size_t left = k->left - at / 2;
        v_store_n(k->terms + at / 2, term[0], left < V_LANES ? left : V_LANES);
    }
    reflect(dy, &t, out);
    for (size_t i = 0; i < 2; i++)
        out[i] = v_select(m, out[i], dy[i]);
    with_pair_nan(x, out);
}

LMX_INLINE constants constants_of(const lmx_channel_spec *spec, size_t first, size_t n)
{
    const real *t = spec->table;
    return (constants){ t,
                        spec->pairs,
                        first / 2,
                        n / 2,
                        { v_set1(t[0]), v_set1(t[1]), v_set1(t[2]), v_set1(t[3]) },
                        NULL };
}

/* Terms of n pairs to the sum of all, or to those of their columns. */
static void add_terms(const real *terms, size_t n, const lmx_piece *e, const constants *k)
{
    if (k->pairs > 1) {
        lmx_dd *sums = e->columns + k->first;
        for (size_t i = 0; i < n; i++) {
            const lmx_dd s = lmx_two_sum(sums[i].hi, (double)terms[i]);
            sums[i] = (lmx_dd){ s.hi, sums[i].lo + s.lo };
        }
        return;
    }
    lane_sums s;
    for (size_t g = 0; g < GROUPS; g++)
        s.group[g] = vw_zero();
    for (size_t i = 0; i < n; i += LMX_LANES)
        for (size_t g = 0; g < GROUPS && i + g * V_LANES < n; g++) {
            const size_t at = i + g * V_LANES, left = n - at;
            s.group[g] = vw_add(s.group[g], left >= V_LANES ? v_load(terms + at)
                                                            : v_load_n(terms + at, left, 0));
        }
    e->sums[0] = lmx_dd_add(e->sums[0], lane_total(s));
}

/* Rows are one where every pair has the same angle. */
static void forward(const lmx_piece *e, const lmx_channel_spec *spec)
{
    const int one = spec->pairs == 1;
    for (size_t r = 0; r < (one ? map_runs(e) : e->rows); r++) {
        const map_arrays m = one ? map_run(e, r) : map_row(e, r);
        const constants k = constants_of(spec, e->first, m.n);
        groups_row(&m, 2, 0, value, &k);
    }
}

static void backward(const lmx_piece *e, const lmx_channel_spec *spec)
{
    const int one = spec->pairs == 1;
    for (size_t r = 0; r < (one ? map_runs(e) : e->rows); r++) {
        const map_arrays m = one ? map_run(e, r) : map_row(e, r);
        constants k = constants_of(spec, e->first, m.n);
        if (e->sums != NULL || e->columns != NULL)
            k.terms = e->scratch;
        groups_row(&m, 2, 1, vjp, &k);
        if (k.terms != NULL)
            add_terms(k.terms, m.n / 2, e, &k);
    }
}

const lmx_channel_kernel LMX_K(householder) = { forward, backward };
