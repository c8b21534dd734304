/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between strided elements and contiguous reals: layouts, temperature and mask that the
 * row kernels do not read in place.  Also fill, and one value per row.
 */
#include "kernels/layout.h"

#include "kernels/loops/row.h"

/*
 * x / temperature, within a rounding: the reciprocal is given as rate + rate_lo.  The product
 * with an infinite x, or an infinite one with rate_lo, is no number; x itself is right then.
 */
LMX_INLINE vreal divide(vreal x, vreal rate, vreal rate_lo)
{
    const vreal z = v_fma(x, rate, v_mul(x, rate_lo));
    return v_select(v_isnan(z), x, z);
}

void LMX_K(gather)(const void *x_, size_t n, const lmx_gather *how, void *out_)
{
    const elem *x = x_;
    real *z = out_;
    if (how->stride == 1) {
        size_t i = 0;
        for (; i + V_LANES <= n; i += V_LANES)
            v_store(z + i, e_load(x + i));
        if (i < n)
            v_store_n(z + i, e_load_n(x + i, n - i, 0), n - i);
    } else {
        for (size_t i = 0; i < n; i++)
            z[i] = e_get(x + (ptrdiff_t)i * how->stride);
    }
    if (how->rate != 1) {
        const vreal rate = v_set1((real)how->rate), rate_lo = v_set1((real)how->rate_lo);
        for (size_t i = 0; i < n; i += V_LANES) {
            const size_t left = n - i < V_LANES ? n - i : V_LANES;
            const vreal v = v_load_n(z + i, left, 0);
            v_store_n(z + i, how->rate == 0 ? v_div(v, rate_lo) : divide(v, rate, rate_lo), left);
        }
    }
    if (how->where != NULL)
        for (size_t i = 0; i < n; i++)
            if (how->where[(ptrdiff_t)i * how->where_stride] == 0)
                z[i] = -LMX_INF;
}

/* Nontemporal stores fill whole lines: up to the first boundary, ordinary ones. */
static void scatter_run(const real *z, size_t n, elem *y, int stream)
{
    size_t i = 0;
    if (stream) {
        size_t head = (size_t)(0 - (uintptr_t)y) % 64 / sizeof(elem);
        head = head < n ? head : n;
        for (; i < head; i += V_LANES)
            e_store_n(y + i, v_load_n(z + i, head - i < V_LANES ? head - i : V_LANES, 0),
                      head - i < V_LANES ? head - i : V_LANES);
        i = head;
        for (; i + V_LANES <= n; i += V_LANES)
            e_stream(y + i, v_load(z + i));
        v_fence();
    }
    for (; i + V_LANES <= n; i += V_LANES)
        e_store(y + i, v_load(z + i));
    if (i < n)
        e_store_n(y + i, v_load_n(z + i, n - i, 0), n - i);
}

void LMX_K(scatter)(const void *z_, size_t n, const lmx_gather *how, void *y_)
{
    const real *z = z_;
    elem *y = y_;
    if (how->where != NULL) {
        const real masked = how->masked_value ? -LMX_INF : 0;
        for (size_t i = 0; i < n; i++)
            e_put(y + (ptrdiff_t)i * how->stride,
                  how->where[(ptrdiff_t)i * how->where_stride] ? z[i] : masked);
    } else if (how->stride == 1) {
        scatter_run(z, n, y, how->stream);
    } else {
        for (size_t i = 0; i < n; i++)
            e_put(y + (ptrdiff_t)i * how->stride, z[i]);
    }
}

void LMX_K(put_value)(void *out, double value)
{
    *(real *)out = value == value ? (real)value : LMX_QNAN;
}

double LMX_K(get)(const void *x) { return (double)e_get(x); }

void LMX_K(fill)(void *out, size_t n, ptrdiff_t stride, double value)
{
    const real v = value == value ? (real)value : LMX_QNAN;
    if (stride == 1)
        row_fill(out, n, v);
    else
        for (size_t i = 0; i < n; i++)
            e_put((elem *)out + (ptrdiff_t)i * stride, v);
}
