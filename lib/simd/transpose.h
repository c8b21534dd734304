/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMX_TRANSPOSE_H
#define LMX_TRANSPOSE_H

#include "simd/simd.h"

/*
 * Transposes a square of V_LANES vectors.  Each round doubles the length of the runs that are in
 * their final order.
 */
LMX_INLINE void v_transpose(vreal v[V_LANES])
{
    for (size_t round = 1; round < V_LANES; round *= 2) {
        vreal w[V_LANES];
        for (size_t i = 0; i < V_LANES / 2; i++) {
            w[2 * i] = v_zip_low(v[i], v[i + V_LANES / 2]);
            w[2 * i + 1] = v_zip_high(v[i], v[i + V_LANES / 2]);
        }
        for (size_t i = 0; i < V_LANES; i++)
            v[i] = w[i];
    }
}

#endif
