/* SPDX-License-Identifier: Apache-2.0 */
/* Row sums of d = o 2^-e - pivot and of d^2, and gradients a (o - center) + b: the spherical family. */
#include "kernels/loops/sums.h"

static vreal plain(vreal x, vreal b, const void *k)
{
    (void)b, (void)k;
    return x;
}

static vreal shifted(vreal x, vreal b, const void *k)
{
    const vreal *c = k;
    (void)b;
    return v_sub(v_mul(x, c[0]), c[1]);
}

void LMX_K(measure_moments)(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                            const lmx_loss_row *row, lmx_chunk *c)
{
    (void)spec;
    if (row->e == 0 && row->pivot == 0) {
        sum_row(o, NULL, n, skip, plain, NULL, SUM_SQUARES, c);
        return;
    }
    const vreal k[2] = { v_set1((real)lmx_scale2(1, -row->e)), v_set1((real)row->pivot) };
    sum_row(o, NULL, n, skip, shifted, k, SUM_SQUARES, c);
}

/* Centred in two parts: near the mean the first difference is exact. */
static vreal linear(vreal x, vreal b, const void *k)
{
    const vreal *c = k;
    (void)b;
    const vreal d = v_sub(v_sub(x, c[0]), c[1]);
    return v_fma(d, c[2], c[3]);
}

static vreal linear_far(vreal x, vreal b, const void *k)
{
    const vreal *c = k;
    (void)b;
    const vreal d = v_sub(v_sub(v_mul(x, c[4]), c[0]), c[1]);
    return v_fma(v_mul(d, c[5]), c[2], c[3]);
}

void LMX_K(linear_gradient)(const void *o, size_t n, const lmx_chunk *chunk,
                            const lmx_loss_spec *spec, const lmx_loss_row *row, void *out,
                            unsigned how)
{
    (void)chunk, (void)spec;
    const vreal k[6] = { v_set1((real)row->center), v_set1((real)row->center_lo),
                         v_set1((real)row->a),      v_set1((real)row->b),
                         v_set1((real)row->pre),    v_set1((real)row->post) };
    if (row->pre == 1 && row->post == 1)
        row_map(o, NULL, n, out, how, 0, linear, k);
    else
        row_map(o, NULL, n, out, how, 0, linear_far, k);
    if (how & LMX_HOW_STREAM)
        v_fence();
}
