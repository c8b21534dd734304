/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On contiguous reals, what comp_sum_loss has in its smooth adversarial form: with d = a - h, the
 * adversarial logits less the others, e[k] = d[t] - d[k] in two-part differences, for it is their
 * difference that counts.  A class that is masked in both has e = 0.
 */
#include "kernels/loops/row.h"
#include "kernels/loss/soft_targets.h"

typedef struct {
    vreal hi, lo;
} own_shift;

LMX_INLINE own_shift shift_of(lmx_dd own)
{
    const real hi = (real)own.hi;
    return (own_shift){ v_set1(hi), v_set1((real)((own.hi - (double)hi) + own.lo)) };
}

LMX_INLINE_VECTOR vreal shift_from(vreal h, vreal a, const own_shift *own)
{
    const vreal masked = v_set1(-LMX_INF), zero = v_set1(0);
    const vreal d = v_sub(a, h), w = v_sub(d, a); /* TwoSum of a and -h */
    const vreal lo = v_sub(v_sub(a, v_sub(d, w)), v_add(h, w));
    const vreal e = v_add(v_sub(own->hi, d), v_sub(own->lo, lo));
    return v_select(v_eq(h, masked), v_select(v_eq(a, masked), zero, e), e);
}

/* Sums of e^2 (below) and e (mass). */
void LMX_K(spread)(const void *h_, const void *a_, size_t n, lmx_dd own, lmx_mix *mix)
{
    const real *h = h_, *a = a_;
    const own_shift shift = shift_of(own);
    lane_sums squares, values;
    for (size_t g = 0; g < GROUPS; g++)
        squares.group[g] = values.group[g] = vw_zero();
    for (size_t i = 0; i < n; i += LMX_LANES)
        for (size_t g = 0; g < GROUPS && i + g * V_LANES < n; g++) {
            const size_t at = i + g * V_LANES;
            const size_t left = n - at < V_LANES ? n - at : V_LANES;
            /* masked in both where there is nothing */
            const vreal e = shift_from(v_load_n(h + at, left, -LMX_INF),
                                       v_load_n(a + at, left, -LMX_INF), &shift);
            squares.group[g] = vw_fma(squares.group[g], e, e);
            values.group[g] = vw_add(values.group[g], e);
        }
    mix->below = lane_total(squares);
    mix->mass = lane_total(values);
}

/* g += scale e, and a = -scale e: the gradient through spread(). */
void LMX_K(spread_vjp)(const void *h_, size_t n, lmx_dd own, double scale, void *g_, void *a_)
{
    const real *h = h_;
    real *g = g_, *a = a_;
    const own_shift shift = shift_of(own);
    const vreal f = v_set1((real)scale), zero = v_set1(0);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal e = shift_from(v_load_n(h + i, left, 0), v_load_n(a + i, left, 0), &shift);
        v_store_n(g + i, v_fma(f, e, v_load_n(g + i, left, 0)), left);
        v_store_n(a + i, v_sub(zero, v_mul(f, e)), left);
    }
}
