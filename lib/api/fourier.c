/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the Fourier head: they check arguments, allocate workspaces, run the job, and reduce
 * losses.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "exec/arrays.h"
#include "platform/cpu.h"
#include "exec/ctx.h"
#include "fourier/head.h"
#include "exec/options.h"
#include "exec/reach.h"
#include "dispatch/registry.h"
#include "base/targets.h"

/*
 * The largest number of terms or bins, so that sizes of arrays fit size_t and angles are exact in
 * double.
 */
#define MAX_TERMS ((size_t)1 << 31)

/* Calls of fewer multiplications run on one thread: waking another would cost more. */
#define SERIAL 20000

/* ------------------------------------------------------------- checking --- */

lmx_status lmx_fourier_options_init(lmx_fourier_options *options)
{
    if (options == NULL)
        return LMX_ERR_NULL;
    LMX_OPTIONS_BEGIN(options, LMX_TAG_FOURIER);
    options->eps = 1e-5;
    options->ignore_index = -100;
    return LMX_OK;
}

/*
 * Fills o with the options given, or the defaults; checks the type first, as every entry does.  The
 * comparisons run in the library's floating-point environment, where a NaN does not trap.
 */
static lmx_status read_options(lmx_dtype dtype, const lmx_fourier_options *given,
                               lmx_fourier_options *o)
{
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    lmx_fourier_options_init(o);
    if (given == NULL)
        return LMX_OK;
    if (!LMX_OPTIONS_FIT(given, LMX_TAG_FOURIER))
        return LMX_ERR_ARG;
    *o = *given;
    const lmx_fpenv env = lmx_fpenv_enter();
    const int fit =
        lmx_option_fits(LMX_OPTION_eps, o->eps) && lmx_option_fits(LMX_OPTION_gamma, o->gamma);
    lmx_fpenv_leave(env);
    return fit && (unsigned)o->reduction <= LMX_NONE ? LMX_OK : LMX_ERR_ARG;
}

/* Fills f with the arguments that every entry has. */
static lmx_status begin(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies, size_t bins,
                        const void *coef, ptrdiff_t coef_stride, lmx_fourier *f)
{
    if (frequencies >= MAX_TERMS || bins > MAX_TERMS)
        return LMX_ERR_OVERFLOW;
    if (rows > 0 && coef == NULL)
        return LMX_ERR_NULL;
    *f = (lmx_fourier){ .table = lmx_ctx_tier(ctx)->table[dtype],
                        .pool = ctx != NULL ? ctx->pool : NULL,
                        .rows = rows,
                        .terms = frequencies + 1,
                        .coef = coef,
                        .coef_row = coef_stride,
                        .bins = bins };
    f->kernel = f->table->fourier;
    f->log = lmx_ctx_tier(ctx)->table[LMX_F64]->log;
    return LMX_OK;
}

static lmx_array coefficients(const lmx_fourier *f, const void *data, ptrdiff_t row)
{
    return lmx_array_rows(data, f->table->elem_size, f->rows, 2 * f->terms, row);
}

/*
 * Whether all points are from `least` to 1; NaN is not.  The caller's environment might trap the
 * comparison.
 */
static int points_fit(const double *x, ptrdiff_t row, size_t rows, size_t points, double least)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    int fit = 1;
    for (size_t r = 0; r < rows && fit; r++)
        for (size_t i = 0; i < points && fit; i++) {
            const double v = x[(ptrdiff_t)r * row + (ptrdiff_t)i];
            fit = v >= least && v <= 1;
        }
    lmx_fpenv_leave(env);
    return fit;
}

/* ------------------------------------------------------------ workspace --- */

/*
 * Allocates the workers' workspaces, the tables of the correlation, and `more` bytes for the
 * caller, which it takes from the arena returned.  The arena has no base if there is no memory.
 */
static lmx_arena open_workspaces(lmx_fourier_job *job, size_t work, size_t more, void **to_free)
{
    if (work < SERIAL)
        job->f.pool = NULL;
    const size_t tables = lmx_fourier_correlation_tables(job->f.fft_length) * sizeof(double);
    const size_t own = more + lmx_round_up(tables), workers = lmx_pool_threads(job->f.pool);
    job->workspace_size = lmx_fourier_workspace_size(&job->f);
    const int fits = job->workspace_size <= (SIZE_MAX - own - 64) / workers;
    lmx_arena all = lmx_arena_open(fits ? own + workers * job->workspace_size : SIZE_MAX, to_free);
    const lmx_arena parts = all;
    if (all.base != NULL) {
        lmx_arena_take(&all, more);
        job->tables = lmx_arena_take(&all, tables);
        job->workspaces = lmx_arena_take(&all, workers * job->workspace_size);
        /* once for all rows: the zeros around a series are never overwritten */
        memset(job->workspaces, 0, workers * job->workspace_size);
    }
    return parts;
}

/* Enters the library's floating-point environment and fills the tables. */
static lmx_fpenv start(lmx_fourier_job *job)
{
    const lmx_fpenv env = lmx_fpenv_enter();
    lmx_fourier_correlation_open(&job->f, job->tables);
    return env;
}

static size_t work_of(size_t rows, size_t each)
{
    return each != 0 && rows > SERIAL / each ? SERIAL : rows * each;
}

/* --------------------------------------------------------------- points --- */

enum { COEF, OTHER, INPUTS };

static lmx_status run_points(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                             const void *coef, ptrdiff_t coef_stride, lmx_fourier_point_op op,
                             size_t points, const double *x, ptrdiff_t x_stride, void *out,
                             ptrdiff_t out_stride)
{
    if ((unsigned)dtype >= LMX_DTYPES)
        return LMX_ERR_DTYPE;
    lmx_fourier_point_job k = {
        .op = op, .points = points, .x = x, .x_row = x_stride, .out = out, .out_row = out_stride
    };
    lmx_fourier *const f = &k.job.f;
    if (rows == 0 || points == 0)
        return LMX_OK;
    lmx_status status = begin(ctx, dtype, rows, frequencies, 0, coef, coef_stride, f);
    if (status != LMX_OK)
        return status;
    const int moment = op >= LMX_FOURIER_MEAN;
    if (out == NULL || (!moment && x == NULL))
        return LMX_ERR_NULL;
    const lmx_array all[INPUTS + 1] = {
        coefficients(f, coef, coef_stride),
        lmx_array_rows(moment ? NULL : x, sizeof *x, rows, points, x_stride),
        lmx_array_rows(out, moment ? f->table->real_size : f->table->elem_size, rows, points,
                       out_stride),
    };
    status = lmx_rows_check(all, INPUTS, INPUTS + 1, NULL);
    if (status != LMX_OK)
        return status;
    if (!moment && !points_fit(x, x_stride, rows, points, op == LMX_FOURIER_SAMPLE ? 0 : -1))
        return LMX_ERR_ARG;
    if (op != LMX_FOURIER_DENSITY)
        f->fft_length = lmx_fourier_correlation_length(f->terms);
    void *to_free;
    if (open_workspaces(&k.job, work_of(rows, (points + f->terms) * f->terms), 0, &to_free).base ==
        NULL)
        return LMX_ERR_NOMEM;
    const lmx_fpenv env = start(&k.job);
    lmx_fourier_points_run(&k);
    lmx_fpenv_leave(env);
    free(to_free);
    return LMX_OK;
}

lmx_status lmx_fourier_density(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                               const void *coef, ptrdiff_t coef_stride, size_t points,
                               const double *x, ptrdiff_t x_stride, void *p, ptrdiff_t p_stride)
{
    return run_points(ctx, dtype, rows, frequencies, coef, coef_stride, LMX_FOURIER_DENSITY, points,
                      x, x_stride, p, p_stride);
}

lmx_status lmx_fourier_cdf(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                           const void *coef, ptrdiff_t coef_stride, size_t points, const double *x,
                           ptrdiff_t x_stride, void *cdf, ptrdiff_t cdf_stride)
{
    return run_points(ctx, dtype, rows, frequencies, coef, coef_stride, LMX_FOURIER_CDF, points, x,
                      x_stride, cdf, cdf_stride);
}

lmx_status lmx_fourier_sample(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                              const void *coef, ptrdiff_t coef_stride, size_t points,
                              const double *u, ptrdiff_t u_stride, void *x, ptrdiff_t x_stride)
{
    return run_points(ctx, dtype, rows, frequencies, coef, coef_stride, LMX_FOURIER_SAMPLE, points,
                      u, u_stride, x, x_stride);
}

lmx_status lmx_fourier_mean(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                            const void *coef, ptrdiff_t coef_stride, void *mean,
                            ptrdiff_t mean_stride)
{
    return run_points(ctx, dtype, rows, frequencies, coef, coef_stride, LMX_FOURIER_MEAN, 1, NULL,
                      0, mean, mean_stride);
}

lmx_status lmx_fourier_variance(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                const void *coef, ptrdiff_t coef_stride, void *variance,
                                ptrdiff_t variance_stride)
{
    return run_points(ctx, dtype, rows, frequencies, coef, coef_stride, LMX_FOURIER_VARIANCE, 1,
                      NULL, 0, variance, variance_stride);
}

/* ----------------------------------------------------------------- bins --- */

/*
 * The bins, or their vjp with backward: then dy is the gradient by the bins and out that by the
 * coefficients.
 */
static lmx_status run_bins(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                           size_t bins, int backward, const void *dy, ptrdiff_t dy_stride,
                           const void *coef, ptrdiff_t coef_stride,
                           const lmx_fourier_options *options, int logs, void *out,
                           ptrdiff_t out_stride)
{
    lmx_fourier_options o;
    lmx_status status = read_options(dtype, options, &o);
    if (status != LMX_OK)
        return status;
    if (rows == 0)
        return LMX_OK;
    if (bins == 0)
        return LMX_ERR_SHAPE;
    lmx_fourier_bin_job k = { .exact = !logs && o.exact,
                              .logs = logs,
                              .eps = o.eps,
                              .dy = dy,
                              .dy_row = dy_stride,
                              .out = out,
                              .out_row = out_stride };
    lmx_fourier *const f = &k.job.f;
    status = begin(ctx, dtype, rows, frequencies, bins, coef, coef_stride, f);
    if (status != LMX_OK)
        return status;
    if (out == NULL || (backward && dy == NULL))
        return LMX_ERR_NULL;
    const lmx_array all[INPUTS + 1] = {
        coefficients(f, coef, coef_stride),
        lmx_array_rows(backward ? dy : NULL, f->table->elem_size, rows, bins, dy_stride),
        backward ? coefficients(f, out, out_stride)
                 : lmx_array_rows(out, f->table->elem_size, rows, bins, out_stride),
    };
    const unsigned may_be = 1u << COEF;
    status = lmx_rows_check(all, INPUTS, INPUTS + 1, backward ? &may_be : NULL);
    if (status != LMX_OK)
        return status;
    const size_t folded = bins < f->terms ? bins : f->terms;
    const size_t tables = lmx_fourier_transform_bytes(folded, bins);
    const size_t sincs = k.exact ? 2 * f->terms * sizeof *k.sinc : 0;
    f->transform_scratch = lmx_fourier_transform_scratch(folded, bins);
    f->fft_length = k.exact ? lmx_fourier_correlation_length(f->terms) : 0;
    void *to_free;
    lmx_arena parts = open_workspaces(&k.job, work_of(rows, bins),
                                      lmx_round_up(tables) + lmx_round_up(sincs), &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    void *const of_transform = lmx_arena_take(&parts, tables);
    double *const sinc = lmx_arena_take(&parts, sincs);
    const lmx_fpenv env = start(&k.job);
    lmx_fourier_transform_open(&k.transform, f->kernel, folded, bins, of_transform);
    if (k.exact)
        lmx_fourier_sincs(f, sinc);
    k.sinc = sinc;
    lmx_fourier_bins_run(&k);
    lmx_fpenv_leave(env);
    free(to_free);
    return LMX_OK;
}

lmx_status lmx_fourier_bins(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                            size_t bins, const void *coef, ptrdiff_t coef_stride,
                            const lmx_fourier_options *options, void *q, ptrdiff_t q_stride)
{
    return run_bins(ctx, dtype, rows, frequencies, bins, 0, NULL, 0, coef, coef_stride, options, 0,
                    q, q_stride);
}

lmx_status lmx_fourier_bins_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                size_t bins, const void *dq, ptrdiff_t dq_stride, const void *coef,
                                ptrdiff_t coef_stride, const lmx_fourier_options *options,
                                void *dcoef, ptrdiff_t dcoef_stride)
{
    return run_bins(ctx, dtype, rows, frequencies, bins, 1, dq, dq_stride, coef, coef_stride,
                    options, 0, dcoef, dcoef_stride);
}

lmx_status lmx_fourier_log_bins(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                size_t bins, const void *coef, ptrdiff_t coef_stride,
                                const lmx_fourier_options *options, void *y, ptrdiff_t y_stride)
{
    return run_bins(ctx, dtype, rows, frequencies, bins, 0, NULL, 0, coef, coef_stride, options, 1,
                    y, y_stride);
}

lmx_status lmx_fourier_log_bins_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                    size_t bins, const void *dy, ptrdiff_t dy_stride,
                                    const void *coef, ptrdiff_t coef_stride,
                                    const lmx_fourier_options *options, void *dcoef,
                                    ptrdiff_t dcoef_stride)
{
    return run_bins(ctx, dtype, rows, frequencies, bins, 1, dy, dy_stride, coef, coef_stride,
                    options, 1, dcoef, dcoef_stride);
}

/* --------------------------------------------------------------- losses --- */

typedef struct {
    const void *target;
    lmx_int type;
    ptrdiff_t target_stride;
    void *loss;
    ptrdiff_t loss_stride;
} loss_arrays;

/*
 * Reads the target bin of each row and counts the rows that are not ignored; LMX_ERR_LABEL if a
 * target is no bin.
 */
static lmx_status read_targets(const lmx_fourier *f, const loss_arrays *a, int64_t ignore_index,
                               size_t *target, size_t *count)
{
    for (size_t r = 0; r < f->rows; r++) {
        const int64_t t = lmx_class_at(a->target, a->type, (ptrdiff_t)r * a->target_stride);
        target[r] = LMX_NO_TARGET;
        if (t == ignore_index)
            continue;
        if (t < 0 || (uint64_t)t >= f->bins)
            return LMX_ERR_LABEL;
        target[r] = (size_t)t;
        (*count)++;
    }
    return LMX_OK;
}

/* Stores the losses, or their sum divided by count. */
static void put_losses(const lmx_fourier_loss_job *k, const loss_arrays *a, lmx_reduction reduction,
                       double count)
{
    const lmx_table *const table = k->job.f.table;
    lmx_dd sum = { 0, 0 };
    for (size_t r = 0; r < k->job.f.rows; r++)
        for (size_t i = 0; i < k->points; i++) {
            const double loss = k->loss[r * k->points + i];
            const ptrdiff_t at = (ptrdiff_t)r * a->loss_stride + (ptrdiff_t)i;
            if (reduction == LMX_NONE)
                table->put_value((char *)a->loss + at * (ptrdiff_t)table->real_size, loss);
            sum = lmx_losses_add(sum, (lmx_dd){ loss, 0 });
        }
    if (reduction != LMX_NONE)
        table->put_value(a->loss, sum.hi / count);
}

/* Runs a loss: of points if f has no bins, of targets otherwise. */
static lmx_status run_loss(lmx_fourier_loss_job *k, const loss_arrays *a,
                           const lmx_fourier_options *o)
{
    lmx_fourier *const f = &k->job.f;
    const int has_targets = f->bins != 0;
    const size_t rows = f->rows, points = k->points;
    if (a->loss == NULL ||
        (rows > 0 && points > 0 && (has_targets ? a->target : (const void *)k->x) == NULL))
        return LMX_ERR_NULL;
    if (has_targets && !lmx_is_integer((int)a->type))
        return LMX_ERR_DTYPE;
    const int each = o->reduction == LMX_NONE;
    const lmx_array all[INPUTS + 2] = {
        coefficients(f, f->coef, f->coef_row),
        has_targets ? lmx_array_rows(a->target, lmx_int_size(a->type), rows, 1, a->target_stride)
                    : lmx_array_rows(k->x, sizeof *k->x, rows, points, k->x_row),
        lmx_array_rows(a->loss, f->table->real_size, each ? rows : 1, each ? points : 1,
                       a->loss_stride),
        coefficients(f, k->grad, k->grad_row),
    };
    static const unsigned may_be[] = { 1u << COEF, 1u << COEF };
    lmx_status status = lmx_rows_check(all, INPUTS, INPUTS + 2, may_be);
    if (status != LMX_OK)
        return status;
    if (lmx_array_overlap(&all[COEF], &all[INPUTS]))
        return LMX_ERR_OVERLAP; /* the gradient alone may be the coefficients */
    if (!has_targets && !points_fit(k->x, k->x_row, rows, points, -1))
        return LMX_ERR_ARG;
    /* does not overflow: the caller's x or losses have as many elements */
    const size_t losses = rows * points * sizeof *k->loss;
    const size_t targets = has_targets ? rows * sizeof *k->target : 0;
    f->fft_length = k->gamma > 0 ? lmx_fourier_correlation_length(f->terms) : 0;
    const size_t work = (k->gamma > 0 ? f->terms : 8) * f->terms + points * f->terms;
    void *to_free;
    lmx_arena parts = open_workspaces(&k->job, work_of(rows, work),
                                      lmx_round_up(losses) + lmx_round_up(targets), &to_free);
    if (parts.base == NULL)
        return LMX_ERR_NOMEM;
    k->loss = lmx_arena_take(&parts, losses);
    size_t *const target = lmx_arena_take(&parts, targets);
    size_t count = has_targets ? 0 : rows * points;
    if (has_targets)
        status = read_targets(f, a, o->ignore_index, target, &count);
    if (status == LMX_OK) {
        const lmx_fpenv env = start(&k->job);
        const double divisor = o->reduction == LMX_MEAN ? (double)count : 1;
        k->target = has_targets ? target : NULL;
        k->scale = count == 0 ? 0 : 1 / divisor;
        lmx_fourier_loss_run(k);
        put_losses(k, a, o->reduction, divisor);
        lmx_fpenv_leave(env);
    }
    free(to_free);
    return status;
}

static lmx_fourier_loss_job loss_of(const lmx_fourier_options *o, void *grad, ptrdiff_t grad_stride)
{
    return (lmx_fourier_loss_job){ .eps = o->eps,
                                   .gamma = o->gamma,
                                   .normalized = o->normalized_penalty,
                                   .grad = grad,
                                   .grad_row = grad_stride,
                                   .points = 1 };
}

lmx_status lmx_fourier_cross_entropy(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                     size_t bins, const void *coef, ptrdiff_t coef_stride,
                                     const void *target, lmx_int target_type,
                                     ptrdiff_t target_stride, const lmx_fourier_options *options,
                                     void *loss, ptrdiff_t loss_stride, void *grad,
                                     ptrdiff_t grad_stride)
{
    lmx_fourier_options o;
    lmx_status status = read_options(dtype, options, &o);
    if (status != LMX_OK)
        return status;
    if (bins == 0)
        return LMX_ERR_SHAPE;
    lmx_fourier_loss_job k = loss_of(&o, grad, grad_stride);
    status = begin(ctx, dtype, rows, frequencies, bins, coef, coef_stride, &k.job.f);
    if (status != LMX_OK)
        return status;
    k.job.f.one_bin = 1;
    const loss_arrays a = { target, target_type, target_stride, loss, loss_stride };
    return run_loss(&k, &a, &o);
}

lmx_status lmx_fourier_nll(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                           const void *coef, ptrdiff_t coef_stride, size_t points, const double *x,
                           ptrdiff_t x_stride, const lmx_fourier_options *options, void *loss,
                           ptrdiff_t loss_stride, void *grad, ptrdiff_t grad_stride)
{
    lmx_fourier_options o;
    lmx_status status = read_options(dtype, options, &o);
    if (status != LMX_OK)
        return status;
    lmx_fourier_loss_job k = loss_of(&o, grad, grad_stride);
    status = begin(ctx, dtype, rows, frequencies, 0, coef, coef_stride, &k.job.f);
    if (status != LMX_OK)
        return status;
    k.points = points;
    k.x = x;
    k.x_row = x_stride;
    const loss_arrays a = { NULL, LMX_I64, 0, loss, loss_stride };
    return run_loss(&k, &a, &o);
}
