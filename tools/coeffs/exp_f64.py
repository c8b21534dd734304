# SPDX-License-Identifier: Apache-2.0
"""Print the coefficients of the double exponential and the error of the polynomial.

exp(t) = 1 + t + t^2/2 + t^3 P(t) on |t| <= ln2/2 with P of degree 9, interpolated at Chebyshev
nodes (within a fraction of a bit of minimax at this degree) and rounded to double.  The first three
coefficients stay exact: rounding t^2/2's would cost more than fitting it gains.
Run: python tools/coeffs/exp_f64.py   (needs mpmath)
"""

import mpmath as mp

mp.mp.dps = 60
DEGREE = 9
HALF = mp.log(2) / 2 * (1 + mp.mpf(2) ** -20)


def target(t):
    """P(t) without cancellation, from the Taylor series."""
    return mp.fsum(t**k / mp.factorial(k + 3) for k in range(40))


nodes = [
    HALF * mp.cos(mp.pi * (2 * k + 1) / (2 * (DEGREE + 1))) for k in range(DEGREE + 1)
]
matrix = mp.matrix(DEGREE + 1, DEGREE + 1)
values = mp.matrix(DEGREE + 1, 1)
for i, t in enumerate(nodes):
    values[i] = target(t)
    for j in range(DEGREE + 1):
        matrix[i, j] = t**j
coefficients = [float(c) for c in mp.lu_solve(matrix, values)]
print("#define LMX_EXP_C2 0x1p-1")
for k, c in enumerate(coefficients):
    print(f"#define LMX_EXP_C{k + 3} {c.hex()}")
rounded = [mp.mpf(c) for c in reversed(coefficients)]
worst = max(
    abs(1 + t + t * t / 2 + t**3 * mp.polyval(rounded, t) - mp.exp(t)) / mp.exp(t)
    for t in (HALF * (mp.mpf(i) / 2000 * 2 - 1) for i in range(2001))
)
print(f"relative error 2^{mp.nstr(mp.log(worst, 2), 6)}")
