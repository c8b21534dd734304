/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/fft_plan.h"

void lmx_fourier_angles(uint64_t start, uint64_t linear, uint64_t square, uint64_t m, size_t n,
                        double *index)
{
    const uint64_t circle = 2 * m, more = 2 * square % circle;
    uint64_t k = start % circle, step = (linear + square) % circle;
    for (size_t i = 0; i < n; i++) {
        index[i] = k > m ? -(double)(circle - k) : (double)k;
        k += step;
        k -= k >= circle ? circle : 0;
        step += more;
        step -= step >= circle ? circle : 0;
    }
}

/* The side of the columns of the first step: the smaller of two that are alike. */
static size_t columns_of(size_t n)
{
    size_t cols = LMX_FFT_PANEL;
    while (4 * cols * cols <= n)
        cols *= 2;
    return cols;
}

size_t lmx_fourier_fft_work(size_t n) { return LMX_FFT_WORK(n, columns_of(n)); }

void lmx_fourier_fft_open(lmx_fft *fft, const lmx_fourier_kernel *kernel, size_t n, double *memory,
                          double *index)
{
    const size_t cols = columns_of(n);
    double *const cos = memory, *const sin = cos + n, *const twist_cos = sin + n;
    double *const twist_sin = twist_cos + n;
    lmx_fourier_angles(0, 2 * n - 2, 0, n, n, index);
    kernel->roots(index, n, (double)n, cos, sin);
    for (size_t i = 0; i < n / cols; i++)
        for (size_t j = 0; j < cols; j++) {
            twist_cos[i * cols + j] = cos[i * j];
            twist_sin[i * cols + j] = sin[i * j];
        }
    *fft = (lmx_fft){ n, cols, cos, sin, twist_cos, twist_sin };
}

/* Terms from which transforms are faster than sums of products. */
#define MANY 192

size_t lmx_fourier_circle(size_t terms)
{
    if (terms < MANY)
        return 0;
    size_t n = 2 * MANY;
    while ((n & (n - 1)) != 0)
        n++;
    while (n < 2 * terms - 1)
        n *= 2;
    return n;
}

size_t lmx_fourier_circle_size(size_t circle) { return circle == 0 ? 0 : 5 * circle; }

size_t lmx_fourier_circle_room(size_t circle)
{
    return circle == 0 ? 0 : 4 * circle + lmx_fourier_fft_work(circle);
}
