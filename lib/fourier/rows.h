/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of coefficients as the functions of the Fourier head want them: double, divided by a power of two so that
 * squares stay in range, and for bins folded.
 *
 * Folding: at the centres x[j] = -1 + (2 j + 1) / m of m bins e^(i pi m x[j]) is (-1)^(m + 1), so that the terms
 * a[l], a[l + m], a[l + 2 m] ... can be added with these signs.  A row of at most m terms remains, and then
 * sum_j |A(x[j])|^2 = m sum_l |b[l]|^2 without aliases.
 */
#ifndef LMX_FOURIER_ROWS_H
#define LMX_FOURIER_ROWS_H

#include "fourier/fft_plan.h"
#include "kernels/fourier/fourier.h"
#include "kernels/kernels.h"
#include "platform/pool.h"

enum {
    LMX_FOURIER_PLAIN,
    LMX_FOURIER_ZERO, /* nothing but zeros: the uniform density */
    LMX_FOURIER_BAD   /* holds NaN or inf */
};

/* Numbers that a desk has room for at least. */
#define LMX_FOURIER_NUMBERS 64

/* Rows that a worker takes at a time where a row is O(N). */
#define LMX_FOURIER_GRAIN 4

/* What a call has to do with. */
typedef struct lmx_fourier {
    const lmx_table *table;
    const lmx_fourier_kernel *kernel;
    void (*log)(const void *x, size_t n, int k, void *y); /* of doubles */
    lmx_pool *pool;
    size_t rows, terms;
    const char *coef;
    ptrdiff_t coef_row;
    size_t bins;   /* 0: none, and no folding */
    int one_bin;   /* no room for a number of each bin is needed */
    size_t room;   /* doubles that each desk has for other purposes */
    size_t circle; /* of the correlation, which see; 0: none */
    lmx_fft fft;
} lmx_fourier;

/* What one worker has in hand: the row, and room. */
typedef struct lmx_fourier_desk {
    lmx_series a; /* the row, divided by 2^e */
    int64_t e;
    int kind;
    double power;      /* sum |a|^2 */
    lmx_series folded; /* a itself where there are no more terms than bins */
    double folded_power;

    /* room */
    lmx_series c;   /* for a correlation, and */
    lmx_series g;   /* its gradient; */
    lmx_series t;   /* for the gradient by a, */
    lmx_series u;   /* and by folded; */
    lmx_series at;  /* for a value for each bin; */
    double *number; /* room for as many numbers as there are terms, or bins, or the following; */
    double *more;   /* for the bins; */
    float *real;    /* and for as many floats as number */
    lmx_powers powers;
    double *index;
    double *room;
    double *wave; /* for the correlation */
} lmx_fourier_desk;

/* Bytes of a desk, and its parts in memory at a multiple of 64, which was all zeros before the first row. */
size_t lmx_fourier_desk_size(const lmx_fourier *f);
void lmx_fourier_desk_open(const lmx_fourier *f, lmx_fourier_desk *d, void *memory);

/* Takes row r to the desk: a, e, kind and power; folded where there are bins. */
void lmx_fourier_take(const lmx_fourier *f, size_t r, lmx_fourier_desk *d);

/* Numbers to elements, each rounded once to real and then to the type. */
void lmx_fourier_put(const lmx_fourier *f, lmx_fourier_desk *d, const double *x, size_t n,
                     char *to);
/* And back. */
void lmx_fourier_get(const lmx_fourier *f, lmx_fourier_desk *d, const char *from, size_t n,
                     double *x);
/* n elements of one value */
void lmx_fourier_fill(const lmx_fourier *f, char *to, size_t n, double value);

/* Powers of e^(i pi x), and of the centre of bin j of `bins`, for as many terms as `terms`. */
void lmx_fourier_at(const lmx_fourier *f, lmx_fourier_desk *d, double x, size_t terms);
void lmx_fourier_at_centre(const lmx_fourier *f, lmx_fourier_desk *d, uint64_t j, size_t terms);

/* t = the gradient by a from u, that by folded; adds. */
void lmx_fourier_unfold(const lmx_fourier_desk *d, size_t bins);

/* The gradient t by a as coefficients of row r: divided by 2^e. */
void lmx_fourier_put_gradient(const lmx_fourier *f, lmx_fourier_desk *d, char *to);

/* x 2^n, inf and 0 where that leaves the range. */
LMX_INLINE double lmx_times_power2(double x, int64_t n)
{
    for (; n > 1000; n -= 1000)
        x *= 0x1p+1000;
    for (; n < -1000; n += 1000)
        x *= 0x1p-1000;
    return lmx_scale2(x, n);
}

#endif
