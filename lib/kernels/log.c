/* SPDX-License-Identifier: Apache-2.0 */
/* log of many reals, for the Fourier head. */
#include "kernels/kernels.h"
#include "simd/vmath.h"

void LMX_K(log)(const void *x, size_t n, int k, void *y);

void LMX_K(log)(const void *x_, size_t n, int k, void *y_)
{
    const real *x = x_;
    real *y = y_;
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        v_store_n(y + i, v_log(v_load_n(x + i, left, 1), v_set1((real)k)), left);
    }
}
