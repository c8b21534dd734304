/* SPDX-License-Identifier: Apache-2.0 */
/* max_min: (max, min) of each two channels (Anil, Lucas and Grosse 2019, arXiv:1811.05381).  Exact. */
#include "kernels/channel/sorting.h"

/* Equal channels stay in their places. */
LMX_INLINE void value(const vreal *dy, vreal *x, const void *k, size_t at, vreal *out)
{
    (void)dy, (void)k, (void)at;
    const vmask swap = v_gt(x[1], x[0]);
    out[0] = v_select(swap, x[1], x[0]);
    out[1] = v_select(swap, x[0], x[1]);
    or_nan(out, 2, group_nan(x, 2));
}

LMX_INLINE void vjp(const vreal *dy, vreal *x, const void *k, size_t at, vreal *out)
{
    (void)k, (void)at;
    const vmask swap = v_gt(x[1], x[0]);
    out[0] = v_select(swap, dy[1], dy[0]);
    out[1] = v_select(swap, dy[0], dy[1]);
    or_nan(out, 2, group_nan(x, 2));
}

static void forward(const lmx_piece *e, const lmx_channel_spec *spec)
{
    (void)spec;
    groups_piece(e, 2, 0, value);
}

static void backward(const lmx_piece *e, const lmx_channel_spec *spec)
{
    (void)spec;
    groups_piece(e, 2, 1, vjp);
}

const lmx_channel_kernel LMX_K(max_min) = { forward, backward };
