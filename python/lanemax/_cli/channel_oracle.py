# SPDX-License-Identifier: Apache-2.0
"""What the activations of channels should be, in the arithmetic of `oracle`.

Each function takes finite rows of moderate size and returns the exact values and, where a bound is
relative to them, the sums of absolute terms.  Parameters are numbers that float32 holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext

import numpy as np

from . import activation_oracle, oracle
from .activation_oracle import full, pair, select, values
from .oracle import Arithmetic, Array, Exact, Pair

#: (arrays by name, arithmetic) -> the exact values, and sums of absolute terms or None
Formula = Callable[[Mapping[str, Array], Arithmetic], tuple[Exact, Array | None]]

WEIGHT, BIAS, EPS = (0.5, -0.25, 1.0), 0.75, 2.0**-20
NUMERATOR, DENOMINATOR = (0.125, 0.5, 0.25, 0.0625), (0.25, -0.5, 0.125)
GROUP, THETA = 8, 1.25


def _gate(name: str) -> Formula:
    activation = activation_oracle.FORMULAS[name]

    def formula(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, None]:
        f = activation(a["x"], m)
        product = m.multiply(Pair(f.hi, f.lo), pair(a["up"]))
        return values(product, f.shift), None

    return formula


def _root(a: Pair, m: Arithmetic) -> Pair:
    """The square root of a positive number, by a step of Newton's method."""
    s = np.sqrt(a.hi)
    square = m.product(s, s)
    rest = m.add(a, Pair(-square.hi, -square.lo))
    return m.add(pair(s), m.divide(rest, pair(2 * s)))


def _poly_norm(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    x = a["x"]
    y, terms, power = full(x, BIAS), np.full_like(x, abs(BIAS)), full(x, 1.0)
    for weight in reversed(WEIGHT):
        power = m.multiply(power, pair(x))
        total = m.total(m.multiply(power, power))
        mean = m.divide(total, full(total.hi, x.shape[-1]))
        root = _root(m.add(mean, full(total.hi, EPS)), m)
        term = m.multiply(m.divide(power, root), full(x, weight))
        y, terms = m.add(y, term), terms + np.abs(term.hi)
    if "up" in a:
        y, terms = m.multiply(y, pair(a["up"])), terms * np.abs(a["up"])
    return values(y), terms


def _polynomial(c: tuple[float, ...], x: Array, m: Arithmetic) -> Pair:
    y = full(x, 0.0)
    for v in reversed(c):
        y = m.add(m.multiply(y, pair(x)), full(x, v))
    return y


def _rational(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    x = a["x"]
    p, inner = _polynomial(NUMERATOR, x, m), _polynomial((0.0, *DENOMINATOR), x, m)
    sign = np.where(inner.hi < 0, -1.0, 1.0)
    q = m.add(full(x, 1.0), Pair(inner.hi * sign, inner.lo * sign))
    above = np.polyval(NUMERATOR[::-1], np.abs(x))
    below = np.polyval([*np.abs(DENOMINATOR[::-1]), 1.0], np.abs(x))
    return values(m.divide(p, q)), above / q.hi + np.abs(p.hi) * below / q.hi**2


def _sorted(size: int, descending: bool = False) -> Formula:
    def formula(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, None]:
        x = a["x"]
        groups = np.sort(x.reshape(len(x), -1, size), axis=-1)
        groups = groups[..., ::-1] if descending else groups
        return values(pair(groups.reshape(x.shape))), None

    return formula


def _turn(theta: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """cos and sin in two parts each, by their series."""
    with localcontext() as context:
        context.prec = 50
        x, term = Decimal(theta), Decimal(1)
        sums = [Decimal(0), Decimal(0)]
        for i in range(60):
            sums[i % 2] += term if i % 4 < 2 else -term
            term = term * x / (i + 1)
        return oracle.decimal_pair(sums[0]), oracle.decimal_pair(sums[1])


def _householder(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    x, y = a["x"][:, ::2], a["x"][:, 1::2]
    (c, s), (half_c, half_s) = _turn(THETA), _turn(THETA / 2)

    def line(u: tuple[float, float], v: tuple[float, float], sign: float) -> Pair:
        first, second = m.multiply(full(x, *u), pair(x)), m.multiply(full(x, *v), pair(y))
        return m.add(first, Pair(sign * second.hi, sign * second.lo))

    beyond = line(half_s, half_c, -1).hi > 0
    parts = select(beyond, line(c, s, 1), pair(x)), select(beyond, line(s, c, -1), pair(y))
    hi, lo = (
        np.stack([getattr(p, part) for p in parts], axis=-1).reshape(a["x"].shape)
        for part in ("hi", "lo")
    )
    return values(Pair(hi, lo)), np.repeat(np.abs(x) + np.abs(y), 2, axis=-1)


#: Arguments behind the arrays of what has parameters.
PARAMETERS: dict[str, tuple[object, ...]] = {
    "poly_norm": (np.array(WEIGHT), BIAS),
    "poly_norm_glu": (np.array(WEIGHT), BIAS),
    "rational": (np.array(NUMERATOR), np.array(DENOMINATOR)),
    "group_sort": (GROUP,),
    "householder": (THETA,),
}

#: Options of the same.
OPTIONS: dict[str, dict[str, object]] = {
    "poly_norm": {"eps": EPS},
    "poly_norm_glu": {"eps": EPS},
    "rational": {"form": "B"},
}

#: What the number of channels is a multiple of.
UNITS = {"max_min": 2, "group_sort": GROUP, "householder": 2}

#: Bounds in units of u times the sum of absolute terms.
FACTORS = {
    "poly_norm": len(WEIGHT) + 2.0,
    "poly_norm_glu": len(WEIGHT) + 3.0,
    "rational": len(NUMERATOR) + len(DENOMINATOR) + 3.0,
    "householder": 3.0,
}

#: Those that `check` compares with exact results; the others, and gradients, it compares in bits.
FORMULAS: dict[str, Formula] = {
    "swiglu": _gate("silu"),
    "geglu_tanh": _gate("gelu_tanh"),
    "reglu": _gate("relu"),
    "poly_norm": _poly_norm,
    "poly_norm_glu": _poly_norm,
    "rational": _rational,
    "max_min": _sorted(2, descending=True),
    "group_sort": _sorted(GROUP),
    "householder": _householder,
}
