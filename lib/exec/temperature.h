/* SPDX-License-Identifier: Apache-2.0 */
/* Division of logits by a temperature as of real numbers, also where quotients leave the range of the type. */
#ifndef LMX_TEMPERATURE_H
#define LMX_TEMPERATURE_H

#include <float.h>

#include "dispatch/registry.h"
#include "exec/reach.h"

/* g divides by t: by the reciprocal in two parts, the first a real of the kernel, or, where that is no
 * normal number, by t itself. */
LMX_INLINE void lmx_gather_divide(lmx_gather *g, double t, size_t real_size)
{
    if (real_size == 4) {
        g->rate = (float)(1 / t);
        g->rate_lo = 1 / t - g->rate;
    } else {
        g->rate = 1 / t;
        g->rate_lo = -fma(g->rate, t, -1) / t;
    }
    const double least = real_size == 4 ? FLT_MIN : DBL_MIN;
    if (!(g->rate >= least && g->rate <= 1 / least)) {
        const double smallest = real_size == 4 ? 0x1p-149 : 0x1p-1074;
        g->rate = 0;
        g->rate_lo = t > smallest ? t : smallest;
    }
}

/*
 * Whether quotients by a temperature below 1 may have left the range of reals, from what folding them found: a
 * quotient that became +inf makes the row NaN, as do quotients that all became -inf; and one that became -inf is
 * within the range of the largest only if that is far below 0.
 */
LMX_INLINE int lmx_quotients_left(const lmx_norm *norm, double t, size_t real_size)
{
    const double far = real_size == 4 ? -0x1p+100 : -0x1p+996;
    return t < 1 && (norm->kind != LMX_KIND_PLAIN || norm->max + norm->log_rest.hi < far);
}

/* z[i] = (z[i] - largest) / t, in double for float: what softmax and its loss are made of, in range where x / t is not. */
LMX_INLINE void lmx_quotients(size_t real_size, void *z, size_t n, double largest, double t)
{
    float *f = z;
    double *d = z;
    for (size_t i = 0; i < n; i++)
        if (real_size == 4)
            f[i] = (float)(((double)f[i] - largest) / t);
        else
            d[i] = (d[i] - largest) / t;
}

/* The larger of `largest` and the n reals at z; NaN and +inf, once there, stay. */
LMX_INLINE double lmx_largest_real(size_t real_size, const void *z, size_t n, double largest)
{
    const float *f = z;
    const double *d = z;
    for (size_t i = 0; i < n; i++) {
        const double v = real_size == 4 ? (double)f[i] : d[i];
        largest = v > largest || v != v ? v : largest;
    }
    return largest;
}

/*
 * What a rate must be divided by to be a normal real of the kernel: a power of 2, by which results are multiplied
 * afterwards, 1 for most.
 */
LMX_INLINE double lmx_rate_unit(double rate, size_t real_size)
{
    const double most = real_size == 4 ? FLT_MAX : DBL_MAX,
                 least = real_size == 4 ? FLT_MIN : DBL_MIN;
    return rate > most ? 0x1p+100 : rate < least ? 0x1p-100 : 1;
}

/* z times a unit of rates */
LMX_INLINE void lmx_rate_back(const lmx_table *real, void *z, size_t n, double unit)
{
    const lmx_gather up = { .stride = 1, .rate = unit };
    real->gather(z, n, &up, z);
}

/* Whether a temperature is no real of the kernel: logits are then divided in double. */
LMX_INLINE int lmx_temperature_leaves(double t, size_t real_size)
{
    return real_size == 4 && t > FLT_MAX;
}

/* Whether all temperatures of a call are numbers that the registry accepts. */
LMX_INLINE int lmx_temperatures_fit(const lmx_array *t)
{
    for (size_t i = 0, n = t->data == NULL ? 0 : lmx_distinct_count(t); i < n; i++)
        if (!lmx_option_fits(LMX_OPTION_temperature, lmx_get(t, lmx_distinct_at(t, i))))
            return 0;
    return 1;
}

#endif
