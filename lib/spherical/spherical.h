/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The factored output layer, W = V U + 1 omega^T, inside.
 *
 * All that is known of W besides its factors is centred: with mean = sum / D, gram = (W - 1 mean^T)^T (W - 1 mean^T).
 * The sum of squares of the logits W h is then h^T gram h + (sum . h)^2 / D, two terms that are not negative, and
 * their variance the first one: nothing cancels, however large the mean is.
 *
 *     rows.c     V in memory, and passes over all of it
 *     loss.c     losses from those sums
 *     batch.c    a batch through the layer and back
 *     step.c     the update
 *     factors.c  what keeps U well conditioned
 */
#ifndef LMX_SPHERICAL_H
#define LMX_SPHERICAL_H

#include "lanemax/lanemax.h"
#include "linalg/lu.h"

/* The condition of U is kept below this. */
#define LMX_SPHERICAL_CONDITION 256

/* A change of a row of V this much longer than that of W, or a step of U that may make its condition so large, is not
 * made: rounding would show. */
#define LMX_SPHERICAL_GROWTH 256
#define LMX_SPHERICAL_SPREAD 512

/* Directions that are looked at for the condition. */
#define LMX_SPHERICAL_VECTORS 128

typedef struct lmx_spherical_counts {
    uint64_t steps, dense, inversions, directions, refreshes;
} lmx_spherical_counts;

struct lmx_spherical {
    lmx_dtype dtype;
    lmx_loss_code loss;
    double parameter[2];
    size_t classes, d;

    void *v;     /* D x d, float or double */
    int8_t *low; /* float: what is left, in units of 2^-8 of the last place */
    double *u, *u_it, *gram;
    double *sum, *omega;

    double watched; /* what was found of the spread of U when its condition was last looked at */
    double peak;    /* the largest trace of gram since W was last measured */
    lmx_spherical_counts count;

    double *next[3]; /* where a step builds u, u_it and gram */
    void *memory[2]; /* what to free */
};

/* Rows of V that passes over all of it take at a time. */
#define LMX_SPHERICAL_ROWS 256

/* A class among the targets of a row. */
typedef struct lmx_spherical_target {
    size_t class, row;
    size_t place; /* among those of the row */
    double value; /* of the target */
    double logit;
    double grad; /* of the mean loss by the logit, besides gv and gs */
} lmx_spherical_target;

/*
 * A batch at work: its m rows that count as rows of m x d matrices, and vectors over them.  The gradient of the mean
 * loss by the logits o of row j is gv[j] (o - mean of o) + gs[j] + those of its targets; g1 is its sum.
 */
typedef struct lmx_spherical_work {
    lmx_products on;
    size_t m, d;
    lmx_spherical_target *target; /* by class, then row; one for each pair of the two */
    size_t targets;
    double *h, *u_h, *gram_h;         /* H, H U^T, H gram */
    double *square, *total, *omega_h; /* h^T gram h, sum . h, omega . h */
    double *loss, *gv, *gs, *at_targets, *g1;
    double *rate;       /* m, for now and then */
    double *row;        /* d */
    double *few_logits; /* classes x m, if classes <= d */
    double mean_loss;

    double *z;       /* (W - 1 mean^T)^T of the targets' gradients */
    double *centred; /* gv gram_h + z: the same of all of the gradient */
    double *dhidden;
    double *p; /* H U^-1, then that after the step */

    double eta, decay;   /* W <- decay W - eta dW */
    double *row_pair[3]; /* m x m, if m <= d */
    double *pair[4];     /* d x d */
    double *column;      /* d, twice */
    double *panel;       /* max(m, d) x LMX_LU_BLOCK */
    size_t *swap;        /* max(m, d) */
    double squares[2];   /* of the norms of U and its inverse after the step */
    double *
        touched; /* targets x d: rows of V after the step, one for each class; before, sums for each */
    double *rows[2]; /* LMX_SPHERICAL_ROWS x d */
    double *logits;  /* LMX_SPHERICAL_ROWS x m */
} lmx_spherical_work;

/* The end of the targets of the class at `begin`. */
LMX_INLINE size_t lmx_spherical_class_end(const lmx_spherical_work *w, size_t begin)
{
    size_t end = begin + 1;
    while (end < w->targets && w->target[end].class == w->target[begin].class)
        end++;
    return end;
}

/* ------------------------------------------------------------ rows of V --- */

void lmx_spherical_row(const lmx_spherical *l, size_t i, double *row);
void lmx_spherical_put_row(lmx_spherical *l, size_t i, const double *row);

/* Whether the rows' type holds all n numbers. */
int lmx_spherical_holds(const lmx_spherical *l, const double *row, size_t n);

/* V (1 + beta[k] y[k] y[k]^T) for k = 0 ... count - 1, times factor; y are rows of d, row is d for each thread. */
void lmx_spherical_turn_rows(lmx_spherical *l, const lmx_products *on, size_t count,
                             const double *y, const double *beta, double factor, double *row);

/* Rows first ... first + n of W, n x d. v takes those of V. */
void lmx_spherical_weights(const lmx_spherical *l, const lmx_products *on, size_t first, size_t n,
                           double *v, double *weights);

/*
 * V becomes W, or with step what W is after that step; then U = 1, omega = 0, and W is measured.  0: it would not be
 * finite, and nothing has been done.
 */
int lmx_spherical_refresh(lmx_spherical *l, const lmx_spherical_work *w, int step);

/* sum and gram of V, U being 1. */
void lmx_spherical_measure(lmx_spherical *l, const lmx_spherical_work *w);

/* ------------------------------------------------------------- batches --- */

/* Losses, and gradients by the logits over m, from square, total and the targets' logits. */
void lmx_spherical_losses(const lmx_spherical *l, lmx_spherical_work *w);

/* The mean loss, and with gradient dhidden and what a step needs. */
void lmx_spherical_pass(const lmx_spherical *l, lmx_spherical_work *w, int gradient);

/* The update by eta and decay after that pass; LMX_ERR_NUMERIC without a change. */
lmx_status lmx_spherical_update(lmx_spherical *l, lmx_spherical_work *w);

/* ------------------------------------------------------------- factors --- */

/* |U| |U^-1| - d, from the squares of the two (Frobenius) norms: the condition of U is below it + 2. */
double lmx_spherical_spread(const double squares[2], size_t d);

/* U and its inverse kept in order, after a step. */
void lmx_spherical_mend(lmx_spherical *l, const lmx_spherical_work *w);

/* The largest singular value of a (d x d) to a relative change of `least` in an iteration; y (d) becomes its left
 * vector of length 1, x (d) is scratch. */
double lmx_spherical_largest(size_t d, const double *a, double least, unsigned iterations,
                             double *y, double *x);

/* The same to more digits, at the cost of `vectors`, min(d, LMX_SPHERICAL_VECTORS) x d; y and z are d. */
double lmx_spherical_norm(size_t d, const double *a, double *vectors, double *y, double *z);

double lmx_sum_squares(const double *x, size_t n);

#endif
