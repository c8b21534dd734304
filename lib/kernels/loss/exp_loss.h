/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losses made of softmax: measured as logsumexp, with the largest logit kept out of the sum, and with a
 * gradient that softmax's own kernel writes.
 */
#ifndef LMX_EXP_LOSS_H
#define LMX_EXP_LOSS_H

#include "kernels/kernels.h"
#include "kernels/loss/loss_math.h"
#include "kernels/loops/row.h"

extern const lmx_row_kernel LMX_K(softmax), LMX_K(logsumexp);

static void measure_exp(const void *o, size_t n, size_t skip, const lmx_loss_spec *spec,
                        const lmx_loss_row *row, lmx_chunk *c)
{
    (void)skip, (void)spec, (void)row;
    LMX_K(logsumexp).measure(o, NULL, n, NULL, c);
}

/* exp(o - center), from a difference in two parts.  k[0], k[1]: the center; k[2]: a sign */
static vreal far_softmax(vreal x, vreal b, const void *k)
{
    const vreal *c = k;
    (void)b;
    const vreal zero = v_set1(0);
    const vreal d = v_sub(x, c[0]), w = v_add(d, c[0]); /* TwoSum of x and -c[0] */
    const vreal off = v_sub(v_sub(v_sub(x, w), v_sub(c[0], v_sub(w, d))), c[1]);
    const vreal lost = v_select(v_isnan(off), zero, off); /* nothing of an infinite d */
    /* for a large center what was lost may be large too: TwoSum of d and that */
    const vreal s = v_add(d, lost), u = v_sub(s, d);
    const vreal rest = v_add(v_sub(d, v_sub(s, u)), v_sub(lost, u));
    const vreal y = v_exp(s), part = v_mul(y, rest);
    /* nothing is to be added to 0 or inf */
    const vreal some = v_select(v_isnan(part), zero, part);
    return v_mul(v_add(y, v_select(v_eq(y, v_set1(LMX_INF)), zero, some)), c[2]);
}

static void gradient_exp(const void *o, size_t n, const lmx_chunk *chunk, const lmx_loss_spec *spec,
                         const lmx_loss_row *row, void *out, unsigned how)
{
    (void)spec;
    if (!row->far) {
        LMX_K(softmax).apply(o, NULL, n, chunk, &row->norm, out, how);
        return;
    }
    const vreal k[3] = { v_set1((real)row->center), v_set1((real)row->center_lo),
                         v_set1((real)row->post) };
    row_map(o, NULL, n, out, how, 0, far_softmax, k);
    if (how & LMX_HOW_STREAM)
        v_fence();
}

/* The row's sum of exponentials; 0 where the row is NaN throughout. */
LMX_INLINE int fold_exp(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec,
                        lmx_loss_row *row)
{
    lmx_fold_log(chunks, n, &row->norm);
    row->bad = row->norm.kind != LMX_KIND_PLAIN;
    if (spec->cols == 1 && !row->bad) { /* nothing else, not even what pads a vector */
        row->norm.max = chunks[0].max;
        row->norm.log_rest = dd_of(0);
    }
    return !row->bad;
}

/* log(sum exp(o)) - x >= 0, +inf for a masked x: nothing cancels (lmx_fold_log). */
LMX_INLINE lmx_dd log_sum_over(const lmx_norm *norm, double x)
{
    if (!(x > -INFINITY))
        return dd_of(INFINITY);
    return lmx_dd_add(lmx_two_sum(norm->max, -x), norm->log_rest);
}

/*
 * Softmax times m 2^n from now on, of either sign.  The factor goes into the sum, for 1 over that is what
 * terms are multiplied by; but terms of masked logits are not 0, only smaller than any result of softmax,
 * so that a factor of 2^24 and more goes into an exponential of its own.
 */
LMX_INLINE void scale_softmax(lmx_loss_row *row, double m, int64_t n)
{
    lmx_norm *const norm = &row->norm;
    const lmx_sum s = norm->sum;
    double size = m < 0 ? -m : m;
    if (size < 0x1p-900) { /* the sum over a subnormal would be infinite */
        size *= 0x1p+200;
        n -= 200;
    }
    row->far = 0;
    if (!(size > 0) || !lmx_finite(size)) { /* 0 times every probability, or NaN */
        norm->sum.hi = size == 0 ? INFINITY : lmx_qnan();
    } else if (n > 900 || (n > -900 && size >= lmx_scale2_gradual(0x1p+24, -n))) {
        const lmx_dd center =
            dd_sub(lmx_dd_add(dd_of(norm->max), norm->log_rest), lmx_log_dd(size, 0, n));
        row->far = 1;
        row->center = (double)(real)center.hi;
        row->center_lo = (center.hi - row->center) + center.lo;
        row->post = m < 0 ? -1 : 1;
    } else {
        norm->sum = lmx_sum_of(s.hi / size, 0, s.n - n, s.base);
        if (m < 0)
            norm->sum.hi = -norm->sum.hi;
    }
}

/* Shared by the comp-sum losses, from comp_sum_loss.c; theta = tau - 1. */
int LMX_K(finish_comp_sum)(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec,
                           lmx_loss_row *row, double theta);

#endif
