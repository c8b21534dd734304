/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of coefficients as the functions of the Fourier head take them: in double, divided by a
 * power of two so that squares stay in range, and folded where there are bins.
 *
 * Folding: at the centres x[j] = -1 + (2 j + 1) / m of m bins e^(i pi m x[j]) is (-1)^(m + 1), so
 * that the terms a[l], a[l + m], a[l + 2 m] ... can be added with these signs.  A row b of at most
 * m terms results, and sum_j |A(x[j])|^2 = m sum_l |b[l]|^2 without aliases.
 */
#ifndef LMX_FOURIER_ROWS_H
#define LMX_FOURIER_ROWS_H

#include "fourier/fft_plan.h"
#include "kernels/fourier/fourier.h"
#include "kernels/kernels.h"
#include "platform/pool.h"

/* Kinds of rows. */
enum {
    LMX_FOURIER_PLAIN, /* finite coefficients, not all of them 0 */
    LMX_FOURIER_ZERO,  /* all coefficients are 0: the uniform density */
    LMX_FOURIER_BAD    /* a coefficient is NaN or infinite */
};

/* The least number of values that a workspace holds: points are processed in groups of so many. */
#define LMX_FOURIER_VALUES 64

/* Rows that a worker takes at a time where a row costs O(N). */
#define LMX_FOURIER_GRAIN 4

/* The arguments and plans of one call, the same for all rows. */
typedef struct lmx_fourier {
    const lmx_table *table;           /* kernels of the coefficients' type */
    const lmx_fourier_kernel *kernel; /* kernels of the Fourier head, in double */
    void (*log)(const void *x, size_t n, int k, void *y); /* logarithms of doubles */
    lmx_pool *pool;                                       /* NULL: one thread */
    size_t rows;
    size_t terms;       /* coefficients of a row, N + 1 */
    const char *coef;   /* the coefficients: the real parts of a row, then the imaginary ones */
    ptrdiff_t coef_row; /* stride of their rows, in elements */
    size_t bins;        /* 0: no bins, and rows are not folded */
    int one_bin;        /* only the target's bin is computed: no arrays over the bins */
    size_t transform_scratch; /* doubles of scratch for the transform to the bins */
    size_t fft_length;        /* FFT length of the correlation (correlation.h); 0: direct sums */
    lmx_fft fft;              /* its plan */
} lmx_fourier;

/* One worker's workspace: the row in hand and its intermediate results. */
typedef struct lmx_fourier_workspace {
    lmx_series a; /* the row, divided by 2^e */
    int64_t e;
    int kind;            /* of the row: LMX_FOURIER_PLAIN, ... */
    double power;        /* sum |a|^2 */
    lmx_series folded;   /* the folded row; a itself if there are no more terms than bins */
    double folded_power; /* sum |folded|^2 */

    lmx_series c;      /* the correlation of a */
    lmx_series g;      /* the gradient by c; for the cdf, the terms of its series */
    lmx_series t;      /* the gradient by a */
    lmx_series u;      /* the gradient by folded; for masses, the terms of the transform */
    lmx_series bins;   /* a complex value for each bin */
    double *values;    /* one for each bin, term, or point of a group */
    double *dvalues;   /* the gradient by the bins */
    float *reals;      /* as many as values: rows of 16-bit types on their way to and from double */
    lmx_powers powers; /* powers of e^(i pi x) for one x */
    double *index;     /* integers, for the angles of these powers */
    double *scratch;   /* for the transform to the bins */
    double *fft_scratch; /* for the correlation */
} lmx_fourier_workspace;

/* The bytes of a workspace. */
size_t lmx_fourier_workspace_size(const lmx_fourier *f);
/* Lays ws out in memory, which is a multiple of 64 and was all zeros before the first row. */
void lmx_fourier_workspace_open(const lmx_fourier *f, lmx_fourier_workspace *ws, void *memory);

/* Reads row r: fills a, e, kind and power, and folded where there are bins. */
void lmx_fourier_load_row(const lmx_fourier *f, size_t r, lmx_fourier_workspace *ws);

/* Stores n doubles as elements, each rounded once to real and then to the type. */
void lmx_fourier_put(const lmx_fourier *f, lmx_fourier_workspace *ws, const double *x, size_t n,
                     char *to);
/* Loads n elements as doubles, exactly. */
void lmx_fourier_get(const lmx_fourier *f, lmx_fourier_workspace *ws, const char *from, size_t n,
                     double *x);
/* Stores n elements of one value. */
void lmx_fourier_fill(const lmx_fourier *f, char *to, size_t n, double value);

/* Fills ws->powers with those of e^(i pi x) that `terms` terms need. */
void lmx_fourier_powers_at(const lmx_fourier *f, lmx_fourier_workspace *ws, double x, size_t terms);
/* The same for x the centre of bin j, from exactly reduced angles. */
void lmx_fourier_powers_at_centre(const lmx_fourier *f, lmx_fourier_workspace *ws, uint64_t j,
                                  size_t terms);

/* Adds to t, the gradient by a, what u, the gradient by folded, contributes. */
void lmx_fourier_unfold(const lmx_fourier_workspace *ws, size_t bins);

/* Stores t, divided by 2^e: the gradient by the coefficients as they were before scaling. */
void lmx_fourier_put_gradient(const lmx_fourier *f, lmx_fourier_workspace *ws, char *to);

/* x 2^n; inf or 0 where that leaves the range of double. */
LMX_INLINE double lmx_times_power2(double x, int64_t n)
{
    for (; n > 1000; n -= 1000)
        x *= 0x1p+1000;
    for (; n < -1000; n += 1000)
        x *= 0x1p-1000;
    return lmx_scale2(x, n);
}

#endif
