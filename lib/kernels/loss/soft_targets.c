/* SPDX-License-Identifier: Apache-2.0 */
/* Options of cross_entropy on contiguous reals: soft targets and softcap. */
#include "kernels/loss/soft_targets.h"

#include "kernels/loops/row.h"
#include "simd/vpair.h"

/* u = (keep y + add) weight, without y: add weight, without weight: 1 for it */
void LMX_K(soften)(const void *y_, const void *weight_, size_t n, double keep, double add, void *u_)
{
    const real *y = y_, *weight = weight_;
    const vreal k = v_set1((real)keep), a = v_set1((real)add);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        vreal v = a;
        if (y != NULL)
            v = v_fma(k, v_load_n(y + i, left, 0), a);
        if (weight != NULL)
            v = v_mul(v, v_load_n(weight + i, left, 0));
        v_store_n((real *)u_ + i, v, left);
    }
}

/* Sums of u (pivot - o) and of u; u = 0 on a masked logit adds nothing. */
void LMX_K(mix)(const void *o_, const void *u_, size_t n, double pivot, lmx_mix *mix)
{
    const real *o = o_, *u = u_;
    const vreal p = v_set1((real)pivot), zero = v_set1(0);
    lane_sums below, mass;
    for (size_t g = 0; g < GROUPS; g++)
        below.group[g] = mass.group[g] = vw_zero();
    for (size_t i = 0; i < n; i += LMX_LANES)
        for (size_t g = 0; g < GROUPS && i + g * V_LANES < n; g++) {
            const size_t at = i + g * V_LANES;
            const size_t left = n - at < V_LANES ? n - at : V_LANES;
            const vreal w = v_load_n(u + at, left, 0);
            const vreal d = v_sub(p, v_load_n(o + at, left, 0));
            below.group[g] = vw_fma(below.group[g], w, v_select(v_eq(w, zero), zero, d));
            mass.group[g] = vw_add(mass.group[g], w);
        }
    mix->below = lane_total(below);
    mix->mass = lane_total(mass);
}

/* g -= scale u */
void LMX_K(subtract)(const void *u_, size_t n, double scale, void *g_)
{
    const real *u = u_;
    real *g = g_;
    const vreal s = v_set1((real)-scale);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        v_store_n(g + i, v_fma(s, v_load_n(u + i, left, 0), v_load_n(g + i, left, 0)), left);
    }
}

/* expm1(-2 |o / cap|), in (-1, 0] */
LMX_INLINE vreal twice(vreal o, vreal rate) { return p_value(v_expm1_pair(v_mul(v_abs(o), rate))); }

/* o = cap tanh(o / cap): tanh(v) = -E / (E + 2) for E = expm1(-2 v), v >= 0 */
void LMX_K(softcap)(void *o_, size_t n, double cap)
{
    real *o = o_;
    const vreal rate = v_set1((real)(-2 / cap)), c = v_set1((real)cap), two = v_set1(2);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal x = v_load_n(o + i, left, 0), E = twice(x, rate);
        const vreal t = v_mul(c, v_div(E, v_add(E, two))); /* -cap tanh |.| */
        v_store_n(o + i, v_select(v_gt(x, v_set1(0)), v_sub(v_set1(0), t), t), left);
    }
}

/* g *= 1 - tanh(o / cap)^2 = 4 (1 + E) / (2 + E)^2, from the logits before the cap */
void LMX_K(softcap_slope)(const void *o_, size_t n, double cap, void *g_)
{
    const real *o = o_;
    real *g = g_;
    const vreal rate = v_set1((real)(-2 / cap)), two = v_set1(2), four = v_set1(4);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const vreal x = v_load_n(o + i, left, 0);
        const vreal E = twice(x, rate), e = v_exp(v_mul(v_abs(x), rate)), d = v_add(E, two);
        const vreal slope = v_div(v_mul(four, e), v_mul(d, d));
        v_store_n(g + i, v_mul(v_load_n(g + i, left, 0), slope), left);
    }
}
