/* SPDX-License-Identifier: Apache-2.0 */
#include <lanemax/lanemax.h>
#include <stdio.h>

int main(void)
{
    const float x[3] = { 1, 2, 3 };
    float y[3];
    if (lmx_softmax(NULL, LMX_F32, 1, 3, x, 3, y, 3) != LMX_OK ||
        lmx_abi_version() != LMX_ABI_VERSION)
        return 1;
    printf("lanemax %s on %s: %.6f %.6f %.6f\n", lmx_version(), lmx_isa_name(NULL), (double)y[0],
           (double)y[1], (double)y[2]);
    return 0;
}
