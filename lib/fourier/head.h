/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs of the Fourier head: an entry of lib/api/fourier.c fills one, and it is then run over the
 * rows.
 */
#ifndef LMX_FOURIER_HEAD_H
#define LMX_FOURIER_HEAD_H

#include "fourier/correlation.h"
#include "fourier/rows.h"
#include "fourier/transform.h"

/* The common part of every job, its first member. */
typedef struct lmx_fourier_job {
    lmx_fourier f;
    double *tables;        /* memory for the tables of f.fft */
    char *workspaces;      /* one for each worker, one behind the other */
    size_t workspace_size; /* bytes of one */
} lmx_fourier_job;

/* The losses: cross-entropy of bins, or -log p at points, and their gradients. */
typedef struct lmx_fourier_loss_job {
    lmx_fourier_job job;
    const size_t
        *target;     /* the bin of each row, LMX_NO_TARGET where it is ignored; NULL for points */
    const double *x; /* the points of each row, without targets */
    ptrdiff_t x_row; /* stride of the rows of x */
    size_t points;   /* points of each row; 1 with targets */
    double eps;      /* added to the probability of the target */
    double gamma;    /* factor of the smoothness penalty */
    int normalized;  /* the penalty is divided by the square of c[0] */
    double scale;    /* factor of the gradient: 1, or 1 / count for a mean */
    double *loss;    /* output, `points` for each row; 0 where the row is ignored */
    char *grad;      /* output, the gradient by the coefficients; NULL if it is not wanted */
    ptrdiff_t grad_row; /* stride of its rows, in elements */
} lmx_fourier_loss_job;

void lmx_fourier_loss_run(lmx_fourier_loss_job *k);

/* Probabilities of bins or their logarithms, and the vjp of either. */
typedef struct lmx_fourier_bin_job {
    lmx_fourier_job job;
    int exact;  /* the bins' masses; else the density at their centres, normalised */
    int logs;   /* the result is log(q + eps) */
    double eps; /* added to each probability before the logarithm */
    lmx_fourier_transform transform;
    const double *sinc; /* sinc(n / bins) for each term n, used for masses */
    const char *dy;     /* the gradient by the bins; NULL for the forward direction */
    ptrdiff_t dy_row;   /* stride of its rows, in elements */
    char *out;          /* output: the bins, or the gradient by the coefficients */
    ptrdiff_t out_row;  /* stride of its rows, in elements */
} lmx_fourier_bin_job;

/*
 * Fills sinc[n] = sinc(n / bins) for each term n.  The array has twice as many numbers: the upper
 * half is scratch.
 */
void lmx_fourier_sincs(const lmx_fourier *f, double *sinc);
void lmx_fourier_bins_run(lmx_fourier_bin_job *k);

/* A quantity of the density of each row, at its points x[r][i]. */
typedef enum {
    LMX_FOURIER_DENSITY,
    LMX_FOURIER_CDF,
    LMX_FOURIER_SAMPLE,  /* the x at which the cdf is x[r][i] */
    LMX_FOURIER_MEAN,    /* one for each row, stored as a real; the points are not used */
    LMX_FOURIER_VARIANCE /* likewise */
} lmx_fourier_point_op;

typedef struct lmx_fourier_point_job {
    lmx_fourier_job job;
    lmx_fourier_point_op op;
    size_t points;     /* points of each row; 1 for moments */
    const double *x;   /* the points */
    ptrdiff_t x_row;   /* stride of the rows of x */
    char *out;         /* output, `points` for each row */
    ptrdiff_t out_row; /* stride of its rows, in elements */
} lmx_fourier_point_job;

void lmx_fourier_points_run(lmx_fourier_point_job *k);

/* The workspace of a worker, laid out. */
LMX_INLINE lmx_fourier_workspace lmx_fourier_workspace_of(const lmx_fourier_job *job,
                                                          unsigned worker)
{
    lmx_fourier_workspace ws;
    lmx_fourier_workspace_open(&job->f, &ws, job->workspaces + worker * job->workspace_size);
    return ws;
}

#endif
