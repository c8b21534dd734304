/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gated linear units (Shazeer 2020, arXiv:2002.05202): f(x) up for an activation f.  The product of two rounded
 * numbers, so that the bits are those of the two steps.  The gradients, dy up f'(x) and dy f(x), come from one
 * exponential: the second has not the bits of f, but is within 8 u.
 */
#ifndef LMX_GATE_H
#define LMX_GATE_H

#include "kernels/unary/unary.h"

LMX_INLINE void gate_rows(const lmx_piece *e, unsigned flags, map_body *body, const void *k)
{
    for (size_t r = 0; r < map_runs(e); r++) {
        const map_arrays m = map_run(e, r);
        map_all(&m, flags, body, k);
    }
    map_done(e->how);
}

#define LMX_GATE_KERNEL(name, of_, vjp_)                                        \
  LMX_INLINE_VECTOR vreal name##_value(map_in in, const void *k, vreal *second) \
  {                                                                             \
    (void)second;                                                               \
    return canonical(v_mul(of_(in.x, k), in.up));                               \
  }                                                                             \
  LMX_INLINE_VECTOR vreal name##_vjp(map_in in, const void *k, vreal *second)   \
  {                                                                             \
    (void)k;                                                                    \
    const vreal first = vjp_(in.dy, in.up, in.x, second);                       \
    *second = canonical(*second);                                               \
    return canonical(first);                                                    \
  }                                                                             \
  static void name##_forward(const lmx_piece *e, const lmx_channel_spec *spec)  \
  {                                                                             \
    (void)spec;                                                                 \
    const unary_constants k = unary_at(NULL, 0);                                \
    gate_rows(e, HAS_UP, name##_value, &k);                                     \
  }                                                                             \
  static void name##_backward(const lmx_piece *e, const lmx_channel_spec *spec) \
  {                                                                             \
    (void)spec;                                                                 \
    const unary_constants k = unary_at(NULL, 0);                                \
    gate_rows(e, HAS_DY | HAS_UP | HAS_UP_OUT, name##_vjp, &k);                 \
  }                                                                             \
  const lmx_channel_kernel LMX_K(name) = { name##_forward, name##_backward };

#endif
