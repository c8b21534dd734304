# SPDX-License-Identifier: Apache-2.0
"""Print polynomial coefficients for the lower tail of the standard normal distribution.

Phi(-a) = exp(-a^2/2) * w * S, w = 1/(a + c), S = (a + c) * erfcx(a/sqrt 2)/2, which stays in
[0.4, 0.5] for c near 0.9.  Variables for S:
  shift: v = w - v0            one division
  ratio: v = (a - v0)/(a + k)  with k = c one division again, v = (a - v0) w = 1 - (v0 + c) w, and
                               smaller errors than shift; with k = 4 or 5 a second division and
                               about half the degree
The fit is minimax in relative error (Remez on a fine grid); v0 is chosen so that the constant
coefficient is all but representable, the others are rounded from low to high order and the rest
fitted again after each.  Measured: fit error of the rounded polynomial, error of its Horner
evaluation with FMA in the target precision against S at the computed v, and the error of the whole
w*S and S/(a + c) against erfcx(a/sqrt 2)/2.
Run: python tools/coeffs/normal_tail.py   (needs mpmath and numpy)
"""

import math

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def variable_of(a, w, v0, c, k, shift):
    """The variable of the polynomial, as the kernel computes it; w is 1 / (a + c)."""
    if shift:
        return w - v0
    return (a - v0) * w if k == c else (a - v0) / (a + k)


def target(a, c):
    """Evaluate S at a."""
    return (a + c) * mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2) / 2


class Tail:
    """S on 0 <= a <= end as a function of x in [-1, 1], which is linear in 1/(a + k)."""

    def __init__(self, c, k, end):
        self.c, self.k, self.end = mp.mpf(c), mp.mpf(k), mp.mpf(end)
        low, high = 1 / (self.end + self.k), 1 / self.k
        self.mid, self.half = (low + high) / 2, (high - low) / 2

    def at_x(self, x):
        return target(1 / (self.mid + self.half * x) - self.k, self.c)

    def chebyshev(self, n):
        """Chebyshev coefficients of S in x as doubles, a reference for vectors."""
        angles = [mp.pi * (2 * j + 1) / (2 * n) for j in range(n)]
        values = [self.at_x(mp.cos(t)) for t in angles]
        return np.array(
            [
                float(
                    (1 if i == 0 else 2)
                    * mp.fsum(f * mp.cos(i * t) for f, t in zip(values, angles, strict=True))
                    / n
                )
                for i in range(n)
            ]
        )

    def remez(self, degree):
        """Minimax polynomial in x, lowest degree first, and its relative error."""
        size = 24 * (degree + 2)
        grid = [-mp.cos(mp.pi * i / size) for i in range(size + 1)]
        values = [self.at_x(x) for x in grid]
        picks = [round(i * size / (degree + 1)) for i in range(degree + 2)]
        for _ in range(12):
            matrix = mp.matrix(degree + 2, degree + 2)
            right = mp.matrix(degree + 2, 1)
            for row, i in enumerate(picks):
                power = mp.mpf(1)
                for j in range(degree + 1):
                    matrix[row, j] = power
                    power *= grid[i]
                matrix[row, degree + 1] = (-1) ** row * values[i]
                right[row] = values[i]
            solution = list(mp.lu_solve(matrix, right))
            poly, level = solution[:-1], abs(solution[-1])
            errors = [mp.polyval(poly[::-1], x) / f - 1 for x, f in zip(grid, values, strict=True)]
            runs = [[0]]  # grid points split where the error changes sign
            for i in range(1, size + 1):
                if (errors[i] > 0) == (errors[i - 1] > 0):
                    runs[-1].append(i)
                else:
                    runs.append([i])
            peaks = [max(run, key=lambda i: abs(errors[i])) for run in runs]
            while len(peaks) > degree + 2:
                peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
            worst = max(abs(e) for e in errors)
            if len(peaks) < degree + 2 or worst < level * mp.mpf("1.001"):
                break
            picks = peaks
        return poly, worst

    def map_v(self, shift, v0):
        """p, q with x = p + q v."""
        if shift:  # t = v + v0
            return (v0 - self.mid) / self.half, 1 / self.half
        scale = 1 / (v0 + self.k)  # t = (1 - v)/(v0 + k)
        return (scale - self.mid) / self.half, -scale / self.half


def compose(poly, p, q):
    """Coefficients of poly(p + q v), lowest degree first."""
    out = [mp.mpf(0)]
    for coefficient in reversed(poly):
        longer = [mp.mpf(0)] * (len(out) + 1)
        for i, value in enumerate(out):
            longer[i] += p * value
            longer[i + 1] += q * value
        longer[0] += coefficient
        out = longer[: len(poly)]
    return out


def round_to(value, bits):
    return float(np.float32(float(value))) if bits == 24 else float(value)


def round_all(exact, tail, p, q, bits):
    """Round from low to high order; fit the higher orders again to each rounding error."""
    x = -np.cos(np.pi * np.arange(401) / 400)
    v = (x - float(p)) / float(q)
    reach = np.abs(v).max()
    weight = 1 / np.polynomial.chebyshev.chebval(x, tail.chebyshev(48))
    basis = np.array([(v / reach) ** i * weight for i in range(len(exact))]).T
    work, out = list(exact), []
    for i in range(len(exact)):
        out.append(round_to(work[i], bits))
        work[i] = mp.mpf(out[i])
        if i + 1 < len(exact):
            left = sum(
                float((exact[j] - work[j]) * mp.mpf(reach) ** j) * basis[:, j]
                for j in range(len(exact))
            )
            size = np.abs(left).max()
            if size > 0:
                fixed = np.linalg.lstsq(basis[:, i + 1 :], left / size, rcond=1e-13)[0] * size
                for j, f in enumerate(fixed):
                    work[i + 1 + j] += mp.mpf(float(f)) / mp.mpf(reach) ** (i + 1 + j)
    return out


def fit_error(coefficients, tail, p, q, points):
    worst = 0
    for i in range(points + 1):
        x = -mp.cos(mp.pi * i / points)
        value = mp.polyval([mp.mpf(f) for f in reversed(coefficients)], (x - p) / q)
        worst = max(worst, abs(value / tail.at_x(x) - 1))
    return worst


def sensitivity(tail):
    """The extremes of t S'(t)/S(t), t = 1/(a + k)."""
    values = []
    for i in range(401):
        a = tail.end * (mp.mpf(i) / 400) ** 2
        s = target(a, tail.c)
        slope = s / (a + tail.c) + a * s - (a + tail.c) / mp.sqrt(2 * mp.pi)  # dS/da
        values.append(-(a + tail.k) * slope / s)
    return min(values), max(values)


def measure32(coefficients, tail, shift, v0, points=100000):
    """The errors of Horner's scheme, w*S and S/(a + c) in units of 2^-24."""
    f32, f64 = np.float32, np.float64
    end = float(tail.end)
    a = np.concatenate(
        [np.linspace(0, end, points // 2), end * np.linspace(0, 1, points // 2) ** 3]
    ).astype(f32)
    c, k = f32(float(tail.c)), f32(float(tail.k))
    w = f32(1) / (a + c)
    v = variable_of(a, w, f32(v0), c, k, shift)
    s = np.full(a.shape, f32(coefficients[-1]))
    for f in reversed(coefficients[:-1]):
        s = (s.astype(f64) * v.astype(f64) + f64(f)).astype(f32)
    series = tail.chebyshev(48)
    t = w.astype(f64) if shift else (1 - v.astype(f64)) / (f64(v0) + f64(k))
    x = (t - float(tail.mid)) / float(tail.half)
    exact = np.polynomial.chebyshev.chebval(x, series)
    horner = np.abs(s / exact - 1).max()
    x = (1 / (a.astype(f64) + f64(k)) - float(tail.mid)) / float(tail.half)
    whole = np.polynomial.chebyshev.chebval(x, series) / (a.astype(f64) + f64(c))
    return [
        float(e) * 2**24
        for e in (
            horner,
            np.abs((w * s).astype(f64) / whole - 1).max(),
            np.abs((s / (a + c)).astype(f64) / whole - 1).max(),
        )
    ]


def measure64(coefficients, tail, shift, v0, points=2000):
    """The same in units of 2^-53; float(mpf) rounds once, so each step is a correct FMA."""
    end, c, k = float(tail.end), float(tail.c), float(tail.k)
    worst = [0, 0, 0]
    wide = [mp.mpf(f) for f in coefficients]
    for i in range(points):
        u = math.modf((i + 0.5) * 0.6180339887498949)[0]
        a = end * (u if i % 2 else u**3)
        w = 1 / (a + c)
        v = variable_of(a, w, v0, c, k, shift)
        s, wide_v = wide[-1], mp.mpf(v)
        for f in reversed(wide[:-1]):
            s = mp.mpf(float(s * wide_v + f))
        t = mp.mpf(w) if shift else (1 - wide_v) / (mp.mpf(v0) + k)
        whole = target(mp.mpf(a), tail.c) / (mp.mpf(a) + tail.c)
        errors = (
            s / target(1 / t - tail.k, tail.c) - 1,
            mp.mpf(w * float(s)) / whole - 1,
            mp.mpf(float(s) / (a + c)) / whole - 1,
        )
        worst = [max(m, abs(e)) for m, e in zip(worst, errors, strict=True)]
    return [float(e) * 2**53 for e in worst]


def literal(value):
    mantissa, exponent = float(value).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def report(bits, end, c, k, degree, shift, v0, table):
    tail = Tail(c, k, end)
    poly, level = tail.remez(degree)
    p, q = tail.map_v(shift, mp.mpf(v0))
    coefficients = round_all(compose(poly, p, q), tail, p, q, bits)
    error = fit_error(coefficients, tail, p, q, 1500)
    measure = measure32 if bits == 24 else measure64
    horner, product, quotient = measure(coefficients, tail, shift, v0)
    low, high = sensitivity(tail)
    suffix = "f" if bits == 24 else ""
    variable = (
        f"v = w - {v0}" if shift else f"v = (a - {v0}) w" if k == c else f"v = (a - {v0})/(a + {k})"
    )
    print(
        f"/* float{32 if bits == 24 else 64}, 0 <= a <= {end}: w = 1/(a + {c}), "
        f"{variable}, degree {degree}"
    )
    print(
        f"   fit: minimax 2^{mp.nstr(mp.log(level, 2), 5)}, "
        f"rounded 2^{mp.nstr(mp.log(error, 2), 5)}"
    )
    print(
        f"   in units of 2^-{bits}: Horner {horner:.3f}, w*S {product:.3f}, "
        f"S/(a + c) {quotient:.3f}"
    )
    print(f"   t S'(t)/S(t), t = 1/(a + {k}): {mp.nstr(low, 4)} to {mp.nstr(high, 4)} */")
    if not table:
        print(flush=True)
        return
    print(f"c = {literal(c)}{suffix}, k = {literal(k)}{suffix}, v0 = {literal(v0)}{suffix}")
    for f in reversed(coefficients):
        print(f"    {literal(f)}{suffix},")
    print(flush=True)


# bits, end, c, k, degree, shift, v0, whether to print the table or only the errors
CHOICES = (
    (24, 14.5, 0.90625, 0.90625, 16, False, 0.9921875, True),
    (24, 14.5, 0.875, 4, 10, False, 3.59765625, True),
    (53, 38.8, 0.90625, 0.90625, 40, False, 1.06640625, True),
    (53, 38.8, 0.875, 5, 22, False, 4.015625, True),
    # alternatives that were tried and are worse: w itself, w - v0, one degree less, a large c
    (24, 14.5, 0.890625, 0.890625, 16, True, 0, False),
    (24, 14.5, 0.890625, 0.890625, 16, True, 0.25, False),
    (24, 14.5, 0.890625, 0.890625, 16, True, 0.5029296875, False),
    (24, 14.5, 0.90625, 0.90625, 15, True, 0.486328125, False),
    (24, 14.5, 0.875, 4, 9, False, 2.765625, False),
    (24, 14.5, 3, 3, 11, True, 0.1875, False),
    (53, 38.8, 0.90625, 0.90625, 40, True, 0.505859375, False),
    (53, 38.8, 0.90625, 0.90625, 39, True, 0.498046875, False),
    (53, 38.8, 0.875, 5, 21, False, 3.0625, False),
    (53, 38.8, 3, 3, 25, True, 0.1875, False),
)

if __name__ == "__main__":
    for choice in CHOICES:
        report(*choice)
