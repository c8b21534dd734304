/* SPDX-License-Identifier: Apache-2.0 */
/*
 * U kept well conditioned and its inverse true.  W does not change here but for rounding.
 *
 * With s the singular values of U, F = |U| and G = |U^-1| (Frobenius), Cauchy and Schwarz give
 *
 *     F G >= sqrt(s_1^2 + s_d^2) sqrt(s_1^-2 + s_d^-2) + d - 2 = c + 1 / c + d - 2,  c = s_1 / s_d,
 *
 * so the condition c is below F G - d + 2 (the spread of U, here, is F G - d), at the cost of reading U twice: a few directions that have shrunk or grown
 * cannot hide.  Where many have a little, the bound is loose; then power iteration tells.  A direction that has gone
 * too far is brought back to the others by E = 1 + a y y^T on the left of U, y its left singular vector, and the
 * inverse of E on the right of V.  y need not be exact for that.
 */
#include "spherical/spherical.h"

#include <math.h>
#include <string.h>

#include "base/vectors.h"

/* Largest |U U^-1 - 1| that is left alone: errors of W are this much of the steps. */
#define RESIDUAL 0x1p-39

/* Singular values further than this from the others are brought back, once one has gone too far. */
#define SPREAD 2

/* gram is measured anew when it has become so much smaller that its rounding errors of old would show. */
#define FADED 0x1p-12

/* U as a whole this large or small is scaled: rows of V stay within the range of their type. */
#define LARGE 0x1p+10

/* No direction is missing: signs and sizes without a pattern. */
static void start(size_t d, double *x)
{
    uint64_t r = 1;
    for (size_t i = 0; i < d; i++) {
        r = r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x[i] = (r >> 63 ? -1 : 1) * (1 + (double)(r >> 40 & 0xffff) * 0x1p-16);
    }
}

/* y = a x, x = a^T y */
static void there(size_t d, const double *a, const double *x, double *y)
{
    for (size_t i = 0; i < d; i++)
        y[i] = lmx_dot(a + i * d, x, d);
}

static void back(size_t d, const double *a, const double *y, double *x)
{
    memset(x, 0, d * sizeof *x);
    for (size_t i = 0; i < d; i++)
        lmx_axpy(y[i], a + i * d, d, x);
}

double lmx_spherical_largest(size_t d, const double *a, double least, unsigned iterations,
                             double *y, double *x)
{
    start(d, x);
    double value = 0, before = 0;
    for (unsigned k = 0; k < iterations; k++) {
        there(d, a, x, y);
        const double length = sqrt(lmx_sum_squares(y, d));
        if (!(length > 0) || !lmx_finite(length))
            return length;
        lmx_scale(1 / length, d, y);
        back(d, a, y, x);
        before = value;
        value = sqrt(lmx_sum_squares(x, d));
        if (!(value - before > least * value))
            break;
        lmx_scale(1 / value, d, x);
    }
    return value;
}

/* The largest eigenvalue of a symmetric matrix of n with this diagonal and off-diagonal, by bisection: x is
 * beyond all of them where the pivots of x - T are positive. */
static double largest_of_tridiagonal(const double *diagonal, const double *off_diagonal, size_t n)
{
    double low = 0, high = 0;
    for (size_t i = 0; i < n; i++) {
        const double sum =
            diagonal[i] + fabs(off_diagonal[i]) + (i > 0 ? fabs(off_diagonal[i - 1]) : 0);
        high = sum > high ? sum : high;
    }
    for (int k = 0; k < 60; k++) {
        const double x = 0.5 * (low + high);
        double pivot = x - diagonal[0];
        size_t i = 1;
        for (; i < n && pivot > 0; i++)
            pivot = x - diagonal[i] - off_diagonal[i - 1] * (off_diagonal[i - 1] / pivot);
        if (i == n && pivot > 0)
            high = x;
        else
            low = x;
    }
    return high;
}

/*
 * Lanczos' vectors of a^T a, each made orthogonal to all before: the largest eigenvalue of what they see is nearly that
 * of the whole after a few, and exactly after d.
 */
double lmx_spherical_norm(size_t d, const double *a, double *vectors, double *y, double *z)
{
    double diagonal[LMX_SPHERICAL_VECTORS], off_diagonal[LMX_SPHERICAL_VECTORS];
    const size_t most = d < LMX_SPHERICAL_VECTORS ? d : LMX_SPHERICAL_VECTORS;
    size_t n = 0;
    start(d, z);
    double length = sqrt(lmx_sum_squares(z, d));
    double first = 0;
    while (n < most) {
        double *const q = vectors + n * d;
        for (size_t i = 0; i < d; i++)
            q[i] = z[i] / length;
        there(d, a, q, y);
        back(d, a, y, z);
        diagonal[n] = lmx_dot(z, q, d);
        for (int again = 0; again < 2; again++)
            for (size_t k = 0; k <= n; k++)
                lmx_axpy(-lmx_dot(vectors + k * d, z, d), vectors + k * d, d, z);
        length = off_diagonal[n] = sqrt(lmx_sum_squares(z, d));
        first = n == 0 ? diagonal[0] : first;
        n++;
        if (!(length > 0x1p-45 * first))
            break;
    }
    return sqrt(largest_of_tridiagonal(diagonal, off_diagonal, n));
}

double lmx_spherical_spread(const double squares[2], size_t d)
{
    return sqrt(squares[0]) * sqrt(squares[1]) - (double)d;
}

/* |(U U^-1 - 1) x| / |x| for one x of signs, another at each step: on average |U U^-1 - 1|. */
static double residual(const lmx_spherical *l, double *x, double *y)
{
    const size_t d = l->d;
    uint64_t r = l->count.steps;
    for (size_t i = 0; i < d; i++) {
        r = r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x[i] = r >> 63 ? -1 : 1;
    }
    back(d, l->u_it, x, y);
    double sum = 0;
    for (size_t i = 0; i < d; i++) {
        const double e = lmx_dot(l->u + i * d, y, d) - x[i];
        sum += e * e;
    }
    return sqrt(sum);
}

/* 0: U is singular, as far as elimination can tell. */
static int invert(lmx_spherical *l, const lmx_spherical_work *w)
{
    const size_t d = l->d;
    double *const lu = w->pair[0], *const inverse = w->pair[1];
    memcpy(lu, l->u, d * d * sizeof *lu);
    memset(inverse, 0, d * d * sizeof *inverse);
    for (size_t i = 0; i < d; i++)
        inverse[i * d + i] = 1;
    l->count.inversions++;
    if (!lmx_lu(&w->on, d, lu, w->swap, w->panel))
        return 0;
    lmx_lu_solve(&w->on, d, lu, w->swap, d, inverse, w->panel);
    if (!lmx_finite(lmx_sum_squares(inverse, d * d)))
        return 0;
    for (size_t i = 0; i < d; i++)
        for (size_t k = 0; k < d; k++)
            l->u_it[k * d + i] = inverse[i * d + k];
    return 1;
}

/* a <- (1 + f y y^T) a */
static void rank_one_update(double *a, size_t d, double f, const double *y, double *x)
{
    back(d, a, y, x);
    for (size_t i = 0; i < d; i++)
        lmx_axpy(f * y[i], x, d, a + i * d);
}

/* 0: so many directions are out of bounds that V had better become W. */
static int bring_back(lmx_spherical *l, const lmx_spherical_work *w)
{
    const size_t d = l->d, quarter = d / 4 + 1;
    const size_t most = quarter < LMX_SPHERICAL_ROWS ? quarter : LMX_SPHERICAL_ROWS - 1;
    const double others = (double)(d - 1);
    double *const directions = w->rows[0], *const beta = w->row, *const x = w->column;
    size_t count = 0;
    int done = 0;
    while (!done) {
        double *const y = directions + count * d, *const small = w->column + d;
        const double f = lmx_sum_squares(l->u, d * d), g = lmx_sum_squares(l->u_it, d * d);
        const double s = lmx_spherical_largest(d, l->u, 0x1p-20, 100, y, x);
        const double t = lmx_spherical_largest(d, l->u_it, 0x1p-20, 100, small, x);
        /* against the root mean square of the others, and of their inverses */
        const double above = f - s * s > 0 ? s / sqrt((f - s * s) / others) : s;
        const double below = g - t * t > 0 ? t / sqrt((g - t * t) / others) : t;
        done = above <= SPREAD && below <= SPREAD;
        if (done || count == most)
            break;
        if (below > above)
            memcpy(y, small, d * sizeof *y);
        const double a = below > above ? below - 1 : 1 / above - 1;
        beta[count] = -a / (1 + a * lmx_dot(y, y, d));
        rank_one_update(l->u, d, a, y, x);
        rank_one_update(l->u_it, d, beta[count], y, x);
        count++;
    }
    lmx_spherical_turn_rows(l, &w->on, count, directions, beta, 1, w->rows[1]);
    l->count.directions += count;
    return done;
}

static void refresh(lmx_spherical *l, const lmx_spherical_work *w)
{
    if (lmx_spherical_refresh(l, w, 0))
        l->count.refreshes++;
}

/* A power of two taken out of U. */
static void rescale(lmx_spherical *l, const lmx_spherical_work *w, double size)
{
    const size_t d = l->d;
    int64_t n;
    lmx_split_sqrt(size, &n);
    const double up = lmx_scale2(1, n), down = lmx_scale2(1, -n);
    lmx_scale(down, d * d, l->u);
    lmx_scale(up, d * d, l->u_it);
    lmx_spherical_turn_rows(l, &w->on, 0, NULL, NULL, up, w->rows[1]);
}

static void watch_condition(lmx_spherical *l, const lmx_spherical_work *w)
{
    /* seldom enough to be cheap, and so early that nothing is exceeded in between */
    const double limit = 0.75 * LMX_SPHERICAL_CONDITION, often = LMX_SPHERICAL_CONDITION / 8.0;
    const double found = lmx_spherical_spread(w->squares, l->d);
    if (found <= limit - 2) {
        l->watched = 0;
        return;
    }
    if (found < l->watched)
        l->watched = found;
    if (found < l->watched + often)
        return;
    double *const y = w->column, *const x = w->column + l->d;
    const double s = lmx_spherical_largest(l->d, l->u, 0x1p-20, 100, y, x);
    const double t = lmx_spherical_largest(l->d, l->u_it, 0x1p-20, 100, y, x);
    if (!(s * t <= limit) && !bring_back(l, w))
        refresh(l, w);
    const size_t n = l->d * l->d;
    const double squares[2] = { lmx_sum_squares(l->u, n), lmx_sum_squares(l->u_it, n) };
    l->watched = lmx_spherical_spread(squares, l->d);
}

void lmx_spherical_mend(lmx_spherical *l, const lmx_spherical_work *w)
{
    const size_t d = l->d;
    double now = 0;
    for (size_t k = 0; k < d; k++)
        now += l->gram[k * d + k];
    if (!(now >= FADED * l->peak)) {
        refresh(l, w);
        return;
    }
    const double size = sqrt(w->squares[0] / (double)d);
    if (size > LARGE || size < 1 / LARGE)
        rescale(l, w, size);
    if (d > 1)
        watch_condition(l, w);
    if (!(residual(l, w->column, w->column + d) <= RESIDUAL) && !invert(l, w))
        refresh(l, w);
}
