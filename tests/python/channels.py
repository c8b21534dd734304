# SPDX-License-Identifier: Apache-2.0
"""Activations of channels: settings to test with, and what is exact, to 50 digits.

Of each row the oracle gives results and by how much they may be missed; nothing here calls lanemax
but `Case`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import lanemax as lm
import mpmath
import numpy as np
import oracle

EXACT = mpmath.mp.clone()
EXACT.dps = 50
mpf, fsum = EXACT.mpf, EXACT.fsum

#: what KAT ships as `swish` and `gelu`
KAT_SWISH = (
    [3.054879741161051e-07, 0.5000007853744493, 0.24999783422824703,
     0.05326628273219478, 0.005803034571292244, 0.0002751961022402342],
    [-4.111554955950634e-06, 0.10652899335007572, -1.2690007399796238e-06, 0.0005502331264140556],
)  # fmt: skip
KAT_GELU = (
    [-0.00153969, 0.51692871, 0.44075827, 0.0972553, -0.00884418, -0.00378675],
    [-0.14171056, -0.06481231, -0.0444695, 0.01283776],
)
THIRDS = [1 / 3, 1 / 3, 1 / 3]

# ------------------------------------------------------------------ settings ---


def _coefficients(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def _angles(channels: int) -> tuple:
    """One for each pair, that float32 holds."""
    rng = np.random.default_rng(5)
    return (rng.uniform(-4, 4, channels // 2).astype(np.float32).astype(np.float64),)


#: name in the registry -> label, parameters (a function of the number of channels if need be),
#: options, and the number that divides the channels
SETTINGS: dict[str, list[tuple]] = {
    "swiglu": [("", (), {}, 1)],
    "geglu": [("", (), {}, 1)],
    "geglu_tanh": [("", ("tanh",), {}, 1)],
    "reglu": [("", (), {}, 1)],
    "poly_norm": [
        ("thirds", (THIRDS, 0.0), {}, 1),
        ("3", ([0.7, -0.3, 0.2], 0.05), {}, 1),
        ("1", ([1.5], -0.5), {"eps": 1e-3}, 1),
        ("2", ([0.3, -1.7], 2.5), {"eps": 0.0}, 1),
        ("8", ([0.1, -0.5, 1.0, 0.0, -2.0, 0.7, 0.3, -1.0], 0.25), {}, 1),
    ],
    "poly_norm_glu": [
        ("3", ([0.7, -0.3, 0.2], 0.05), {}, 1),
        ("5", ([0.7, -0.3, 0.2, 0.1, 1.0], -0.5), {"eps": 0.0}, 1),
    ],
    "rational": [
        ("swish-B", KAT_SWISH, {}, 1),
        ("swish-A", KAT_SWISH, {"form": "A"}, 1),
        ("gelu-B", KAT_GELU, {"form": "B"}, 1),
        ("shared-A", (KAT_SWISH[0], _coefficients(1, 8, 4)), {"form": "A"}, 8),
        ("shared-B", (KAT_SWISH[0], _coefficients(2, 4, 4)), {}, 4),
        ("untied-B", (_coefficients(3, 4, 6), _coefficients(4, 4, 3)), {}, 4),
        ("untied-A", (_coefficients(3, 2, 4), _coefficients(4, 1, 8)), {"form": "A"}, 2),
        ("one-denominator", (_coefficients(3, 3, 9), _coefficients(4, 2)), {}, 3),
        ("polynomial", ([0.5, -2.0, 1.0, 0.25], []), {}, 1),
        ("polynomials", (_coefficients(5, 2, 3), np.empty((2, 0))), {"form": "A"}, 2),
        ("constant", ([0.75], [0.5, 0.25]), {}, 1),
    ],
    "max_min": [("", (), {}, 2)],
    "group_sort": [(str(n), (n,), {}, n) for n in (1, 2, 3, 4, 5, 6, 8, 16, 32, 48)],
    "householder": [
        ("pi/2", (np.pi / 2,), {}, 2),
        ("1", (1.0,), {}, 2),
        ("-2.5", (-2.5,), {}, 2),
        ("each", _angles, {}, 2),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An activation of the registry with parameters as Python takes them."""

    name: str
    label: str
    given: tuple | Callable[[int], tuple]
    options: dict = field(hash=False)
    unit: int
    python: str
    arrays: tuple[str, ...]
    learned: bool
    bound: float | None

    def values(self, channels: int) -> tuple:
        return self.given(channels) if callable(self.given) else self.given

    def channels(self, least: int) -> int:
        """The smallest number of channels from `least` on."""
        return -(-least // self.unit) * self.unit

    def __call__(self, *arrays, **options):
        channels = np.shape(arrays[0])[-1] if np.ndim(arrays[0]) else 1
        given = (*arrays, *self.values(channels))
        return getattr(lm, self.python)(*given, **self.options, **options)

    def vjp(self, dy, *arrays, **options):
        """The VJP as a tuple, whatever it returns."""
        channels = np.shape(dy)[-1] if np.ndim(dy) else 1
        given = (dy, *arrays, *self.values(channels))
        found = getattr(lm, f"{self.python}_vjp")(*given, **self.options, **options)
        return found if isinstance(found, tuple) else (found,)

    def everything(self, dy, *arrays):
        return (self(*arrays), *self.vjp(dy, *arrays))

    def draw(self, rng, shape, dtype, spread=2.0) -> list[np.ndarray]:
        """dy, and the arrays."""
        dy = rng.normal(size=shape).astype(dtype)
        return [dy, *(rng.normal(0, spread, shape).astype(dtype) for _ in self.arrays)]

    def __repr__(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name


def _cases(op) -> list[Case]:
    python = op["call"].partition("(")[0]
    settings = SETTINGS.get(op["name"], [])
    more = (python, tuple(op["arrays"]), op["learned"], op["bound"])
    return [Case(op["name"], *s, *more) for s in settings]


NAMES = [op["name"] for op in lm._core.registry.channel_ops()]
OPS = [op for op in lm.activations() if op["name"] in NAMES]
ALL = [c for op in OPS for c in _cases(op)]
GATES = [c for c in ALL if c.name in ("swiglu", "geglu", "geglu_tanh", "reglu")]
LEARNED = [c for c in ALL if c.learned]


def of(name: str) -> list[Case]:
    return [c for c in ALL if c.name == name]


# ------------------------------------------------------------------ what is exact ---


@dataclass
class Exact:
    """Results of one row, each with what it may be wrong by."""

    value: list
    value_terms: list
    dx: list | None = None
    dx_terms: list | None = None
    dup: list | None = None
    dup_terms: list | None = None
    #: sums for the gradients of the parameters, and those of absolute terms
    sums: list | None = None
    sum_terms: list | None = None
    #: where a kink is so near that the gradient may be either
    unsure: list | None = None
    #: f', whose range is that of the gradient; and what a product loses that underflows in it
    slope: list | None = None
    slope_lost: list | None = None
    #: the elements that these are of; all
    at: list | None = None


def _exactly(a) -> list:
    return [mpf(float(v)) for v in np.asarray(a).ravel()]


def in_real(values, dtype) -> list:
    """Parameters in the compute type."""
    real = np.float64 if dtype == np.float64 else np.float32
    with np.errstate(over="ignore"):
        return _exactly(np.asarray(values, np.float64).astype(real))


def _integers(a: np.ndarray) -> tuple[list[int], int]:
    """Integers n and one exponent e, so that the elements are n 2^e."""
    mantissa, exponent = np.frexp(np.asarray(a).astype(np.float64))
    exponent = np.where(mantissa == 0, 0, exponent).astype(int) - 53
    least = int(exponent.min())
    whole = np.ldexp(mantissa, 53).astype(np.int64).tolist()
    return [n << (e - least) for n, e in zip(whole, exponent.tolist(), strict=True)], least


def poly_norm(x, w, b, eps, dy, up=None, at=None) -> Exact:
    """Of arrays and exact parameters; `up` makes it poly_norm_glu.  Results of the elements `at`.

    Sums of powers are those of integers.
    """
    n, m = len(x), len(w)
    whole, e = _integers(x)
    g, ge = _integers(dy)
    if up is not None:
        u, ue = _integers(up)
        g, ge = [i * j for i, j in zip(g, u, strict=True)], ge + ue
    r, total, size = [mpf(0)], [], []
    power = [1] * n
    for k in range(m + 1):
        total.append(
            EXACT.ldexp(mpf(sum(i * j for i, j in zip(g, power, strict=True))), ge + k * e)
        )
        size.append(
            EXACT.ldexp(mpf(sum(abs(i * j) for i, j in zip(g, power, strict=True))), ge + k * e)
        )
        if k:
            mean = EXACT.ldexp(mpf(sum(i * i for i in power)), 2 * k * e) / n
            r.append(1 / EXACT.sqrt(mean + eps))
        power = [i * j for i, j in zip(power, whole, strict=True)]
    c = [b, *(w[m - k] * r[k] for k in range(1, m + 1))]
    d = [mpf(0), *(k * w[m - k] * r[k] ** 3 * total[k] / n for k in range(1, m + 1))]
    found = Exact([], [], [], [])
    found.at = list(range(n)) if at is None else at
    if up is not None:
        found.dup, found.dup_terms = [], []
    for i in found.at:
        v, a = mpf(float(x[i])), mpf(float(dy[i]))
        by = mpf(1) if up is None else mpf(float(up[i]))
        powers = [v**k for k in range(2 * m)]
        y = [p * q for p, q in zip(c, powers, strict=False)]
        slope = [k * c[k] * powers[k - 1] for k in range(1, m + 1)]
        back = [d[k] * powers[2 * k - 1] for k in range(1, m + 1)]
        value, terms = sum(y), sum(map(abs, y))
        found.value.append(value * by)
        found.value_terms.append(terms * abs(by))
        found.dx.append(a * by * sum(slope) - sum(back))
        found.dx_terms.append(abs(a * by) * sum(map(abs, slope)) + sum(map(abs, back)))
        if up is not None:
            found.dup.append(a * value)
            found.dup_terms.append(abs(a) * terms)
    found.sums = [total[k] * r[k] for k in range(m, 0, -1)] + [total[0]]
    found.sum_terms = [size[k] * r[k] for k in range(m, 0, -1)] + [size[0]]
    return found


@dataclass(frozen=True)
class Rational:
    """P / Q at one point, with sums of absolute terms."""

    value: mpmath.mpf
    value_terms: mpmath.mpf
    slope: mpmath.mpf
    slope_terms: mpmath.mpf
    partials: list
    partial_terms: list
    unsure: bool
    growth: mpmath.mpf  # Q' / Q, by which P / Q is multiplied


def _horner(c, x):
    y = mpf(0)
    for v in reversed(c):
        y = y * x + v
    return y


def rational(x, a, b, form, u) -> Rational:
    """Exact numbers throughout; u is the unit roundoff, for what is near a kink."""
    dot = [i * v for i, v in enumerate(a)][1:]
    p, p_terms = _horner(a, x), _horner([abs(v) for v in a], abs(x))
    dp, dp_terms = _horner(dot, x), _horner([abs(v) for v in dot], abs(x))
    size = abs(x)
    absolute = [abs(v) for v in b]
    if form == "A":
        at, coefficients, side = size, absolute, mpf(-1 if x < 0 else 1)
        inner = _horner([0, *absolute], size)
        sign = mpf(1)
    else:
        at, coefficients, side = x, b, mpf(1)
        inner = _horner([0, *b], x)
        sign = mpf((inner > 0) - (inner < 0))
    spread = _horner([0, *absolute], size)
    q = 1 + abs(inner)
    q_terms = 1 + spread
    dq = sign * side * _horner([j * v for j, v in enumerate(coefficients, 1)], at)
    dq_terms = _horner([j * v for j, v in enumerate(absolute, 1)], size)
    worse = q_terms / q
    value = p / q
    if form == "A" and x == 0:
        dq = mpf(0)
    powers = [mpf(1)]
    for _ in range(max(len(a), len(b) + 1)):
        powers.append(powers[-1] * x)
    by_a = [powers[i] / q for i in range(len(a))]
    by_b = []
    for j in range(1, len(b) + 1):
        if form == "A":
            direction, power = mpf(-1 if b[j - 1] < 0 else 1), abs(powers[j])
        else:
            direction, power = sign, powers[j]
        by_b.append(-value / q * direction * power)
    b_terms = [p_terms / q / q * abs(powers[j]) * 3 * worse for j in range(1, len(b) + 1)]
    return Rational(
        value,
        p_terms / q + abs(p) * q_terms / q**2,
        dp / q - value * dq / q,
        (dp_terms / q + p_terms * dq_terms / q**2 * 2) * worse,
        [*by_a, *by_b],
        [*(abs(v) * (1 + worse) for v in by_a), *b_terms],
        form == "B" and bool(b) and abs(inner) <= 8 * u * spread,
        abs(dq / q),
    )


def rational_row(x, groups_a, groups_b, form, u, dy=None) -> Exact:
    """Channels in equal parts, one for each row of the coefficients."""
    n = len(x)
    sets = max(len(groups_a), len(groups_b))
    size_a, size_b = len(groups_a[0]), len(groups_b[0])
    points, place_a, place_b = [], [], []
    for i, v in enumerate(x):
        s = i * sets // n
        place_a.append(s if len(groups_a) > 1 else 0)
        place_b.append(s if len(groups_b) > 1 else 0)
        points.append(rational(v, groups_a[place_a[-1]], groups_b[place_b[-1]], form, u))
    found = Exact([p.value for p in points], [p.value_terms for p in points])
    found.unsure = [p.unsure for p in points]
    if dy is None:
        return found
    found.slope = [p.slope for p in points]
    found.slope_lost = [abs(g) * p.growth for g, p in zip(dy, points, strict=True)]
    found.dx = [g * p.slope for g, p in zip(dy, points, strict=True)]
    found.dx_terms = [abs(g) * p.slope_terms for g, p in zip(dy, points, strict=True)]
    count_a = len(groups_a) * size_a
    found.sums = [mpf(0)] * (count_a + len(groups_b) * size_b)
    found.sum_terms = list(found.sums)
    for g, p, i, j in zip(dy, points, place_a, place_b, strict=True):
        at = [i * size_a + k for k in range(size_a)]
        at += [count_a + j * size_b + k for k in range(size_b)]
        for k, v, t in zip(at, p.partials, p.partial_terms, strict=True):
            found.sums[k] += g * v
            found.sum_terms[k] += abs(g) * t
    return found


def householder(x, theta, u, dy=None) -> Exact:
    """theta: one exact number, or one for each pair."""
    pairs = len(x) // 2
    one = len(theta) == 1
    turned = [(EXACT.cos(t), EXACT.sin(t), EXACT.sin(t / 2), EXACT.cos(t / 2)) for t in theta]
    found = Exact([], [], [], [], unsure=[])
    found.sums, found.sum_terms = [mpf(0)] * len(theta), [mpf(0)] * len(theta)
    for i in range(pairs):
        c, s, half_s, half_c = turned[0 if one else i]
        a, b = x[2 * i], x[2 * i + 1]
        side = a * half_s - b * half_c
        moved = side > 0
        y = (a * c + b * s, a * s - b * c) if moved else (a, b)
        found.value += y
        found.value_terms += [abs(a) + abs(b)] * 2
        near = abs(side) <= 4 * u * (abs(a * half_s) + abs(b * half_c))
        found.unsure += [near] * 2
        if dy is None:
            continue
        ga, gb = dy[2 * i], dy[2 * i + 1]
        found.dx += (ga * c + gb * s, ga * s - gb * c) if moved else (ga, gb)
        found.dx_terms += [abs(ga) + abs(gb)] * 2
        j = 0 if one else i
        if moved:
            found.sums[j] += gb * y[0] - ga * y[1]
        if moved or near:
            found.sum_terms[j] += (abs(ga) + abs(gb)) * (abs(a) + abs(b))
    return found


def exact_row(case: Case, dtype, dy, *arrays) -> Exact:
    """One row of what is neither a gate nor a sort; all arrays have the dtype."""
    values, u = case.values(len(dy)), oracle.format_of(dtype).u
    if case.name in ("poly_norm", "poly_norm_glu"):
        (bias,) = in_real(values[1], dtype)
        eps, n = mpf(case.options.get("eps", 1e-6)), len(dy)
        at = list(range(n)) if n <= 200 else list(range(0, n, n // 64))
        return poly_norm(arrays[0], in_real(values[0], dtype), bias, eps, dy, *arrays[1:], at=at)
    x, g = _exactly(arrays[0]), _exactly(dy)
    if case.name == "rational":
        sets = []
        for v in values:
            array = np.atleast_2d(np.asarray(v, np.float64))
            flat = in_real(array, dtype)
            width = array.shape[1]
            sets.append([flat[i * width : (i + 1) * width] for i in range(array.shape[0])])
        return rational_row(x, *sets, case.options.get("form", "B"), u, g)
    assert case.name == "householder"
    return householder(x, _exactly(values[0]), u, g)


def factors(case: Case, channels: int) -> tuple[int, int, int, int]:
    """Allowed errors of value, dx, dup and sums, in units of u times their absolute terms."""
    values = case.values(channels)
    if case.name in ("poly_norm", "poly_norm_glu"):
        m = len(values[0])
        return m + 2 + len(case.arrays) - 1, max(8, 2 * m + 2), m + 3, m + 2
    if case.name == "rational":
        degree = np.shape(values[0])[-1] - 1 + np.shape(values[1])[-1]
        return degree + 4, 8, 0, degree + 4
    return 3, 3, 0, 6


# ------------------------------------------------------------------ sorts ---


def sorted_groups(x: np.ndarray, size: int, descending: bool = False) -> np.ndarray:
    """Groups of the last axis in order; of what NumPy can compare."""
    groups = x.reshape(*x.shape[:-1], -1, size)
    wide = np.sort(groups.astype(np.float64), axis=-1)
    if descending:
        wide = wide[..., ::-1]
    wide = np.where(np.isnan(wide).any(axis=-1, keepdims=True), np.nan, wide)
    return wide.reshape(x.shape)


def unsorted_groups(
    dy: np.ndarray, x: np.ndarray, size: int, descending: bool = False
) -> np.ndarray:
    """dy back where the values came from; equal values in the order in which they stand."""
    groups, g = (a.reshape(*a.shape[:-1], -1, size) for a in (x, dy))
    wide = groups.astype(np.float64)
    order = np.argsort(-wide if descending else wide, axis=-1, kind="stable")
    found = np.empty_like(g)
    np.put_along_axis(found, order, g, axis=-1)
    return found.reshape(x.shape)
