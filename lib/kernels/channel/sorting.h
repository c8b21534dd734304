/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of channels in ascending order (Anil, Lucas and Grosse 2019, arXiv:1811.05381).  Groups of 2, 4, 8 and 16
 * go through sorting networks (the last Green's of 60 comparators), as many groups at a time as there are lanes;
 * others are merged.  The gradient goes back where the value came from.  0 and -0 are equal; equal values come in
 * the same order in both directions.  A group that holds NaN is NaN throughout, whatever it is sorted into.
 */
#ifndef LMX_SORTING_H
#define LMX_SORTING_H

#include "kernels/channel/groups.h"

/* clang-format off */
#define NETWORK_2(S) S(0, 1)
#define NETWORK_4(S) S(0, 1) S(2, 3) S(0, 2) S(1, 3) S(1, 2)
#define NETWORK_8(S)                                                                        \
  S(0, 2) S(1, 3) S(4, 6) S(5, 7) S(0, 4) S(1, 5) S(2, 6) S(3, 7) S(0, 1) S(2, 3) S(4, 5)   \
  S(6, 7) S(2, 4) S(3, 5) S(1, 4) S(3, 6) S(1, 2) S(3, 4) S(5, 6)
#define NETWORK_16(S)                                                                       \
  S(0, 1) S(2, 3) S(4, 5) S(6, 7) S(8, 9) S(10, 11) S(12, 13) S(14, 15) S(0, 2) S(1, 3)     \
  S(4, 6) S(5, 7) S(8, 10) S(9, 11) S(12, 14) S(13, 15) S(0, 4) S(1, 5) S(2, 6) S(3, 7)     \
  S(8, 12) S(9, 13) S(10, 14) S(11, 15) S(0, 8) S(1, 9) S(2, 10) S(3, 11) S(4, 12)          \
  S(5, 13) S(6, 14) S(7, 15) S(5, 10) S(6, 9) S(3, 12) S(13, 14) S(4, 8) S(7, 11) S(1, 2)   \
  S(1, 4) S(7, 13) S(2, 8) S(11, 14) S(2, 4) S(5, 6) S(9, 10) S(11, 13) S(3, 8) S(7, 12)    \
  S(6, 8) S(10, 12) S(3, 5) S(7, 9) S(3, 4) S(5, 6) S(7, 8) S(9, 10) S(11, 12) S(6, 7) S(8, 9)
/* clang-format on */

/* x[a] <= x[b] */
LMX_INLINE_VECTOR void order(vreal *x, size_t a, size_t b)
{
    const vmask swap = v_gt(x[a], x[b]);
    const vreal low = v_select(swap, x[b], x[a]);
    x[b] = v_select(swap, x[a], x[b]);
    x[a] = low;
}

/* and where they came from with them */
LMX_INLINE_VECTOR void order_from(vreal *x, vreal *from, size_t a, size_t b)
{
    const vmask swap = v_gt(x[a], x[b]);
    const vreal low = v_select(swap, x[b], x[a]), first = v_select(swap, from[b], from[a]);
    x[b] = v_select(swap, x[a], x[b]);
    from[b] = v_select(swap, from[a], from[b]);
    x[a] = low;
    from[a] = first;
}

/* NaN in the lanes of groups that hold one; else some number */
LMX_INLINE_VECTOR vreal group_nan(const vreal *x, size_t n)
{
    vreal nan = x[0];
    for (size_t i = 1; i < n; i++)
        nan = v_select(v_isnan(x[i]), x[i], nan);
    return nan;
}

LMX_INLINE_VECTOR void or_nan(vreal *v, size_t n, vreal nan)
{
    const vmask m = v_isnan(nan);
    for (size_t i = 0; i < n; i++)
        v[i] = v_select(m, v_set1(LMX_QNAN), v[i]);
}

/* The gradient of what came from place i. */
LMX_INLINE_VECTOR vreal sent_back(const vreal *dy, const vreal *from, size_t n, size_t i)
{
    vreal v = dy[0];
    for (size_t r = 1; r < n; r++)
        v = v_select(v_eq(from[r], v_set1((real)i)), dy[r], v);
    return v;
}

#define SORT_GROUPS(n)                                                                        \
  LMX_INLINE void sort_##n(const vreal *dy, vreal *x, const void *k, size_t at, vreal *out)   \
  {                                                                                           \
    (void)dy, (void)k, (void)at;                                                              \
    const vreal nan = group_nan(x, n);                                                        \
    for (size_t i = 0; i < n; i++)                                                            \
      out[i] = x[i];                                                                          \
    NETWORK_##n(SORT_VALUES);                                                                 \
    or_nan(out, n, nan);                                                                      \
  }                                                                                           \
  LMX_INLINE void unsort_##n(const vreal *dy, vreal *x, const void *k, size_t at, vreal *out) \
  {                                                                                           \
    (void)k, (void)at;                                                                        \
    vreal from[n];                                                                            \
    const vreal nan = group_nan(x, n);                                                        \
    for (size_t i = 0; i < n; i++)                                                            \
      from[i] = v_set1((real)i);                                                              \
    NETWORK_##n(SORT_BOTH);                                                                   \
    for (size_t i = 0; i < n; i++)                                                            \
      out[i] = sent_back(dy, from, n, i);                                                     \
    or_nan(out, n, nan);                                                                      \
  }
#define SORT_VALUES(a, b) order(out, a, b);
#define SORT_BOTH(a, b)   order_from(x, from, a, b);

#endif
