/* SPDX-License-Identifier: Apache-2.0 */
/* What the entries of the Fourier head ask for: each a job that is filled, then run over the rows. */
#ifndef LMX_FOURIER_HEAD_H
#define LMX_FOURIER_HEAD_H

#include "fourier/correlation.h"
#include "fourier/rows.h"
#include "fourier/transform.h"

/* Desks of the workers, one behind the other; each job begins with these. */
typedef struct lmx_fourier_job {
    lmx_fourier f;
    double *tables; /* of f.fft */
    char *desks;
    size_t desk_size;
} lmx_fourier_job;

/* Cross-entropy of bins, or -log p at points; and their gradients. */
typedef struct lmx_fourier_loss_job {
    lmx_fourier_job job;
    const size_t *target; /* LMX_NO_TARGET: ignored; NULL: points */
    const double *x;
    ptrdiff_t x_row;
    size_t points; /* of each row; 1 with targets */
    double eps, gamma;
    int normalized; /* the penalty by the square of c[0] */
    double scale;   /* of the gradient */
    double *loss;   /* of the points of each row; 0 where it is ignored */
    char *grad;     /* NULL: not wanted */
    ptrdiff_t grad_row;
} lmx_fourier_loss_job;

void lmx_fourier_loss_run(lmx_fourier_loss_job *k);

/* Probabilities of bins, their logs, and gradients through either. */
typedef struct lmx_fourier_bin_job {
    lmx_fourier_job job;
    int exact; /* masses, else the density at the centres, normalised */
    int logs;  /* log(q + eps) */
    double eps;
    lmx_fourier_transform transform;
    const double *sinc; /* sinc(n / bins) of the terms, for masses */
    const char *dy;     /* NULL: forward */
    ptrdiff_t dy_row;
    char *out; /* the bins, or the gradient by the coefficients */
    ptrdiff_t out_row;
} lmx_fourier_bin_job;

/* Fills sinc(n / bins) of the terms; there is room for as many behind them. */
void lmx_fourier_sincs(const lmx_fourier *f, double *sinc);
void lmx_fourier_bins_run(lmx_fourier_bin_job *k);

/* What is asked of a density at points x[r][i]. */
typedef enum {
    LMX_FOURIER_DENSITY,
    LMX_FOURIER_CDF,
    LMX_FOURIER_SAMPLE,  /* the x at which the cdf is x[r][i] */
    LMX_FOURIER_MEAN,    /* of each row, in reals */
    LMX_FOURIER_VARIANCE /* likewise */
} lmx_fourier_what;

typedef struct lmx_fourier_point_job {
    lmx_fourier_job job;
    lmx_fourier_what what;
    size_t points; /* of each row */
    const double *x;
    ptrdiff_t x_row;
    char *out;
    ptrdiff_t out_row;
} lmx_fourier_point_job;

void lmx_fourier_points_run(lmx_fourier_point_job *k);

/* The desk of a worker, open. */
LMX_INLINE lmx_fourier_desk lmx_fourier_desk_of(const lmx_fourier_job *job, unsigned worker)
{
    lmx_fourier_desk d;
    lmx_fourier_desk_open(&job->f, &d, job->desks + worker * job->desk_size);
    return d;
}

#endif
