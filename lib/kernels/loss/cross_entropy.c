/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cross_entropy: log(sum exp(o)) - o[t], as log_softmax computes it, bit for bit.
 *
 * Mixed (label smoothing, probabilities as targets, the log(Z)^2 penalty): with soft targets u >= 0
 * besides the target's own weight,
 *   on (L - o[t]) + sum u[k] (L - o[k]) + penalty L^2,  L = log(sum exp(o)),
 * the middle term from sum u (pivot - o) and sum u, with a pivot above every logit: nothing cancels.
 * Gradient: (on + sum u + 2 penalty L) softmax - u - on [k = t].
 */
#include "kernels/loss/exp_loss.h"

static void finish_mixed(const lmx_loss_spec *spec, lmx_loss_row *row)
{
    const lmx_norm *const norm = &row->norm;
    const lmx_mix *const mix = &row->mix;
    lmx_dd L = lmx_dd_add(dd_of(norm->max), norm->log_rest);
    if (row->shift != 0)
        L = dd_of(dd_value(L) + row->shift);
    /* without a penalty no square of L, which may overflow */
    lmx_dd loss = spec->penalty > 0 ? dd_mul(dd_of(spec->penalty), dd_mul(L, L)) : dd_of(0);
    double p = 0, own_term = 0;
    if (row->x == row->x) { /* a target of its own */
        const lmx_dd own = log_sum_over(norm, row->x);
        p = exp_of(dd_neg(own));
        own_term = row->on * expm1_of(dd_neg(own));
        if (row->on != 0)
            loss = lmx_dd_add(loss, dd_mul(dd_of(row->on), own));
    }
    if (mix->mass.hi != 0 || mix->below.hi != 0) {
        const lmx_dd over = log_sum_over(norm, row->pivot);
        loss = lmx_dd_add(loss, lmx_dd_add(mix->below, dd_mul(mix->mass, over)));
        row->less = expm1_of(dd_neg(over));
    }
    if (lmx_finite(loss.hi))
        row->loss = dd_value(loss);
    else /* a masked logit where there is weight, or a target that is no number */
        row->loss = mix->mass.hi == mix->mass.hi ? (double)INFINITY : lmx_qnan();
    /* L may be infinite where quotients by a temperature leave the range of double */
    const double more = spec->penalty > 0 ? 2 * spec->penalty * dd_value(L) : 0;
    const double pulled = dd_value(mix->mass) + more;
    row->pulled = lmx_dd_add(mix->mass, dd_of(more));
    row->at_target = row->scale * (own_term + (pulled * p - row->on_mix));
    scale_softmax(row, row->scale * (row->on + pulled), 0);
}

static int finish(const lmx_chunk *chunks, size_t n, const lmx_loss_spec *spec, lmx_loss_row *row)
{
    if (!fold_exp(chunks, n, spec, row))
        return LMX_LOSS_DONE;
    if (spec->mixed) {
        finish_mixed(spec, row);
        return LMX_LOSS_DONE;
    }
    /* log_softmax's two parts and its two roundings */
    const lmx_dd s = lmx_two_sum(row->norm.max, row->norm.log_rest.hi);
    const real hi = (real)s.hi, lo = (real)((s.hi - (double)hi) + (s.lo + row->norm.log_rest.lo));
    const real x = (real)row->x, y = (real)(x - hi) - lo;
    row->loss = 0 - (double)y;
    if (!row->gradient)
        return LMX_LOSS_DONE;
    row->at_target = row->scale * expm1_of(dd_neg(log_sum_over(&row->norm, row->x)));
    scale_softmax(row, row->scale, 0);
    return LMX_LOSS_DONE;
}

const lmx_loss_kernel LMX_K(cross_entropy) = { measure_exp, finish, gradient_exp, 0, sizeof(elem) };
