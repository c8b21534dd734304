# SPDX-License-Identifier: Apache-2.0
"""Print the table of the float exponential: 2^(i/8) rounded, and its relative rounding error.

Run: python tools/coeffs/exp_f32.py   (needs mpmath and numpy)
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 40
for i in range(8):
    exact = mp.mpf(2) ** (mp.mpf(i) / 8)
    rounded = np.float32(float(exact))
    tail = np.float32(float((exact - mp.mpf(float(rounded))) / mp.mpf(float(rounded))))
    print(f"{i}: {rounded.view(np.uint32):#x} {float(tail).hex()}")
