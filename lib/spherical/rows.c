/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V in memory, and passes over all of it.
 *
 * A float number has eight more bits stored with it, for a row is rounded whenever it is a target: after t steps a plain
 * float would be off by about sqrt(t) 2^-25 of itself, which a frequent class would show.
 */
#include "spherical/spherical.h"

#include <float.h>
#include <string.h>

#include "base/vectors.h"

/* 2^-8 of the last place of v, or with up = 1 one over it. */
static double low_unit(float v, int up)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t field = bits >> 23 & 255, e = field == 0 ? 1 : field;
    const uint64_t exponent = up ? 1023 + 158 - e : 1023 - 158 + e;
    const uint64_t u = exponent << 52;
    double unit;
    memcpy(&unit, &u, sizeof unit);
    return unit;
}

void lmx_spherical_row(const lmx_spherical *l, size_t i, double *row)
{
    if (l->low == NULL) {
        memcpy(row, (const double *)l->v + i * l->d, l->d * sizeof *row);
        return;
    }
    const float *const v = (const float *)l->v + i * l->d;
    const int8_t *const low = l->low + i * l->d;
    for (size_t k = 0; k < l->d; k++)
        row[k] = v[k] + low[k] * low_unit(v[k], 0);
}

void lmx_spherical_put_row(lmx_spherical *l, size_t i, const double *row)
{
    if (l->low == NULL) {
        memcpy((double *)l->v + i * l->d, row, l->d * sizeof *row);
        return;
    }
    float *const v = (float *)l->v + i * l->d;
    int8_t *const low = l->low + i * l->d;
    for (size_t k = 0; k < l->d; k++) {
        v[k] = (float)row[k];
        const double rest = lmx_round((row[k] - v[k]) * low_unit(v[k], 1));
        low[k] = (int8_t)(rest < 127 ? rest : 127);
    }
}

int lmx_spherical_holds(const lmx_spherical *l, const double *row, size_t n)
{
    const double most = l->low == NULL ? DBL_MAX : FLT_MAX;
    int holds = 1;
    for (size_t k = 0; k < n; k++)
        holds &= row[k] >= -most && row[k] <= most;
    return holds;
}

double lmx_sum_squares(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i += 4096)
        sum += lmx_dot(x + i, x + i, n - i < 4096 ? n - i : 4096);
    return sum;
}

/* -------------------------------------------------- row after row, alone --- */

typedef struct turning {
    lmx_spherical *l;
    size_t count;
    const double *y, *beta;
    double factor;
    double *row; /* d for each worker */
} turning;

static void turn_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const turning *t = job;
    const size_t d = t->l->d;
    double *const row = t->row + worker * d;
    for (size_t i = begin; i < end; i++) {
        lmx_spherical_row(t->l, i, row);
        for (size_t k = 0; k < t->count; k++) {
            const double *const y = t->y + k * d;
            lmx_axpy(t->beta[k] * lmx_dot(row, y, d), y, d, row);
        }
        lmx_scale(t->factor, d, row);
        lmx_spherical_put_row(t->l, i, row);
    }
}

void lmx_spherical_turn_rows(lmx_spherical *l, const lmx_products *on, size_t count,
                             const double *y, const double *beta, double factor, double *row)
{
    turning t = { l, count, y, beta, factor, row };
    lmx_parallel_for(on->pool, l->classes, LMX_SPHERICAL_ROWS, turn_task, &t);
}

/* ------------------------------------------------------- blocks of rows --- */

static size_t block_rows(const lmx_spherical *l, size_t first)
{
    const size_t left = l->classes - first;
    return left < LMX_SPHERICAL_ROWS ? left : LMX_SPHERICAL_ROWS;
}

void lmx_spherical_weights(const lmx_spherical *l, const lmx_products *on, size_t first, size_t n,
                           double *v, double *weights)
{
    const size_t d = l->d;
    for (size_t i = 0; i < n; i++) {
        lmx_spherical_row(l, first + i, v + i * d);
        memcpy(weights + i * d, l->omega, d * sizeof *weights);
    }
    lmx_multiply(on, n, d, d, v, d, 1, l->u, d, 1, weights, d, 1);
}

/* Rows first ... first + n of W, decay W - eta G H: the logits again, their gradients, and those times H. */
static void step_weights(const lmx_spherical *l, const lmx_spherical_work *w, size_t first,
                         size_t n, size_t *target, double *weights)
{
    const size_t m = w->m, d = w->d;
    double *const g = w->logits;
    lmx_multiply(&w->on, n, m, d, weights, d, 1, w->h, 1, d, g, m, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            const double centred = g[i * m + j] - w->total[j] / (double)l->classes;
            g[i * m + j] = w->gv[j] * centred + w->gs[j];
        }
    for (; *target < w->targets && w->target[*target].class < first + n; ++*target) {
        const lmx_spherical_target *const t = &w->target[*target];
        g[(t->class - first) * m + t->row] += t->grad;
    }
    lmx_scale(-w->eta, n * m, g);
    lmx_scale(w->decay, n * d, weights);
    lmx_multiply(&w->on, n, d, m, g, m, 1, w->h, d, 1, weights, d, 1);
}

/* A pass that writes follows one that only looks whether it can: the two compute the same. */
static int rewrite(lmx_spherical *l, const lmx_spherical_work *w, int step, int write)
{
    const size_t d = l->d;
    size_t target = 0;
    double sum = 0;
    for (size_t first = 0; first < l->classes; first += LMX_SPHERICAL_ROWS) {
        const size_t n = block_rows(l, first);
        lmx_spherical_weights(l, &w->on, first, n, w->rows[0], w->rows[1]);
        if (step)
            step_weights(l, w, first, n, &target, w->rows[1]);
        if (!write) {
            if (!lmx_spherical_holds(l, w->rows[1], n * d))
                return 0;
            sum += lmx_sum_squares(w->rows[1], n * d);
            continue;
        }
        for (size_t i = 0; i < n; i++)
            lmx_spherical_put_row(l, first + i, w->rows[1] + i * d);
    }
    return lmx_finite(sum);
}

static void set_identity(double *a, size_t d)
{
    memset(a, 0, d * d * sizeof *a);
    for (size_t i = 0; i < d; i++)
        a[i * d + i] = 1;
}

int lmx_spherical_refresh(lmx_spherical *l, const lmx_spherical_work *w, int step)
{
    if (!rewrite(l, w, step, 0))
        return 0;
    rewrite(l, w, step, 1);
    set_identity(l->u, l->d);
    set_identity(l->u_it, l->d);
    memset(l->omega, 0, l->d * sizeof *l->omega);
    l->watched = 0;
    lmx_spherical_measure(l, w);
    return 1;
}

void lmx_spherical_measure(lmx_spherical *l, const lmx_spherical_work *w)
{
    const size_t d = l->d;
    double *const rows = w->rows[0], *const mean = w->column;
    memset(l->sum, 0, d * sizeof *l->sum);
    for (size_t first = 0; first < l->classes; first += LMX_SPHERICAL_ROWS) {
        memset(mean, 0, d * sizeof *mean);
        for (size_t i = 0; i < block_rows(l, first); i++) {
            lmx_spherical_row(l, first + i, rows);
            lmx_axpy(1, rows, d, mean);
        }
        lmx_axpy(1, mean, d, l->sum);
    }
    for (size_t k = 0; k < d; k++)
        mean[k] = l->sum[k] / (double)l->classes;
    memset(l->gram, 0, d * d * sizeof *l->gram);
    for (size_t first = 0; first < l->classes; first += LMX_SPHERICAL_ROWS) {
        const size_t n = block_rows(l, first);
        for (size_t i = 0; i < n; i++) {
            lmx_spherical_row(l, first + i, rows + i * d);
            lmx_axpy(-1, mean, d, rows + i * d);
        }
        lmx_multiply(&w->on, d, d, n, rows, 1, d, rows, d, 1, l->gram, d, 1);
    }
    l->peak = 0;
    for (size_t k = 0; k < d; k++)
        l->peak += l->gram[k * d + k];
}
