/* SPDX-License-Identifier: Apache-2.0 */
#include "fourier/fft_plan.h"

void lmx_fourier_angles(uint64_t start, uint64_t linear, uint64_t square, uint64_t m, size_t n,
                        double *index)
{
    const uint64_t period = 2 * m, step_change = 2 * square % period;
    uint64_t k = start % period, step = (linear + square) % period;
    for (size_t i = 0; i < n; i++) {
        index[i] = k > m ? -(double)(period - k) : (double)k;
        k += step;
        k -= k >= period ? period : 0;
        step += step_change;
        step -= step >= period ? period : 0;
    }
}

/* n = rows x cols, as square as powers of two allow, with cols the smaller. */
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
    double *const cos = memory, *const sin = cos + n, *const twiddle_cos = sin + n;
    double *const twiddle_sin = twiddle_cos + n;
    lmx_fourier_angles(0, 2 * n - 2, 0, n, n, index);
    kernel->roots(index, n, (double)n, cos, sin);
    for (size_t i = 0; i < n / cols; i++)
        for (size_t j = 0; j < cols; j++) {
            twiddle_cos[i * cols + j] = cos[i * j];
            twiddle_sin[i * cols + j] = sin[i * j];
        }
    *fft = (lmx_fft){ n, cols, cos, sin, twiddle_cos, twiddle_sin };
}

/* From so many terms on, transforms are faster than direct sums of products (measured). */
#define MANY 192

size_t lmx_fourier_correlation_length(size_t terms)
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

size_t lmx_fourier_correlation_tables(size_t fft_length) { return 5 * fft_length; }

size_t lmx_fourier_correlation_scratch(size_t fft_length)
{
    return fft_length == 0 ? 0 : 4 * fft_length + lmx_fourier_fft_work(fft_length);
}
