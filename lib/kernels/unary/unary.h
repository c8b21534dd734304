/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops of the activations, once: a result for each element, the gradient pulled back through it, and
 * sums of the gradient times the derivatives by the parameters.  A file unary_<name>.c supplies bodies.
 */
#ifndef LMX_UNARY_H
#define LMX_UNARY_H

#include "kernels/loops/map.h"
#include "kernels/loops/products.h"
#include "simd/vpair.h"

/* The bodies' constants k: the parameters, in the compute type. */
typedef struct {
    vreal p[LMX_UNARY_PARAMETERS];
    size_t n;
    double first;
    vreal limit, limit_slope; /* of p[0] x^(n-1) + ... + p[n-1] and its derivative at +inf */
} unary_constants;

LMX_INLINE unary_constants unary_at(const double *p, size_t n)
{
    unary_constants k;
    k.n = n;
    k.first = n > 0 ? p[0] : 0;
    for (size_t i = 0; i < LMX_UNARY_PARAMETERS; i++)
        k.p[i] = v_set1(i < n ? (real)p[i] : 0);
    real limit = n > 0 ? (real)p[n - 1] : 0, slope = n > 1 ? (real)p[n - 2] : 0;
    for (size_t i = n; i-- > 0;) {
        limit = i + 1 < n && p[i] != 0 ? (real)p[i] * LMX_INF : limit;
        slope = i + 2 < n && p[i] != 0 ? (real)p[i] * LMX_INF : slope;
    }
    k.limit = v_set1(limit);
    k.limit_slope = v_set1(slope);
    return k;
}

typedef vreal unary_value(vreal x, const unary_constants *k);
typedef vreal unary_vjp(vreal dy, vreal x, const unary_constants *k);
/* d[i] = d value / d p[i] for all of them */
typedef void unary_partials(vreal x, const unary_constants *k, size_t count, vreal *d);

LMX_INLINE void unary_sums(const elem *dy, const elem *x, size_t n, const unary_constants *k,
                           unary_partials *partials, size_t count, lmx_dd *sums)
{
    lane_sums s[LMX_UNARY_PARAMETERS];
    for (size_t q = 0; q < count; q++)
        for (size_t g = 0; g < GROUPS; g++)
            s[q].group[g] = vw_zero();
    for (size_t i = 0; i < n; i += LMX_LANES)
        for (size_t g = 0; g < GROUPS; g++) {
            const size_t at = i + g * V_LANES;
            if (at >= n)
                break;
            const size_t left = n - at;
            const vreal b = left >= V_LANES ? e_load(dy + at) : e_load_n(dy + at, left, 0);
            const vreal v = left >= V_LANES ? e_load(x + at) : e_load_n(x + at, left, 0);
            vreal d[LMX_UNARY_PARAMETERS];
            partials(v, k, count, d);
            for (size_t q = 0; q < count; q++)
                s[q].group[g] = vw_fma(s[q].group[g], b, d[q]);
        }
    for (size_t q = 0; q < count; q++)
        sums[q] = lane_total(s[q]);
}

#define LMX_UNARY_BODIES(name, value_, vjp_)                                                       \
  LMX_INLINE_VECTOR vreal name##_value(map_in in, const void *k, vreal *up)                        \
  {                                                                                                \
    (void)up;                                                                                      \
    return canonical(value_(in.x, k));                                                             \
  }                                                                                                \
  LMX_INLINE_VECTOR vreal name##_vjp(map_in in, const void *k, vreal *up)                          \
  {                                                                                                \
    (void)up;                                                                                      \
    return canonical(vjp_(in.dy, in.x, k));                                                        \
  }                                                                                                \
  static void name##_forward(const void *x, size_t n, const double *p, size_t np, void *y,         \
                             unsigned how)                                                         \
  {                                                                                                \
    const unary_constants k = unary_at(p, np);                                                     \
    const map_arrays m = { NULL, x, NULL, y, NULL, n, how, 0 };                                    \
    map_all(&m, 0, name##_value, &k);                                                              \
    map_done(how);                                                                                 \
  }                                                                                                \
  static void name##_backward(const void *dy, const void *x, size_t n, const double *p, size_t np, \
                              void *dx, unsigned how)                                              \
  {                                                                                                \
    const unary_constants k = unary_at(p, np);                                                     \
    const map_arrays m = { dy, x, NULL, dx, NULL, n, how, 0 };                                     \
    map_all(&m, HAS_DY, name##_vjp, &k);                                                           \
    map_done(how);                                                                                 \
  }

/* An activation without parameters that are learned. */
#define LMX_UNARY_KERNEL(name, value_, vjp_) \
  LMX_UNARY_BODIES(name, value_, vjp_)       \
  const lmx_unary_kernel LMX_K(name) = { name##_forward, name##_backward, NULL };

/* One whose parameters have gradients; how many, of the constants k. */
#define LMX_LEARNED_KERNEL(name, value_, vjp_, partials_, count_)                              \
  LMX_UNARY_BODIES(name, value_, vjp_)                                                         \
  static void name##_sums(const void *dy, const void *x, size_t n, const double *p, size_t np, \
                          lmx_dd *sums)                                                        \
  {                                                                                            \
    const unary_constants k = unary_at(p, np);                                                 \
    if ((count_) == 4) /* the usual polynomial: loops of known length */                       \
      unary_sums(dy, x, n, &k, partials_, 4, sums);                                            \
    else                                                                                       \
      unary_sums(dy, x, n, &k, partials_, count_, sums);                                       \
  }                                                                                            \
  const lmx_unary_kernel LMX_K(name) = { name##_forward, name##_backward, name##_sums };

#endif
