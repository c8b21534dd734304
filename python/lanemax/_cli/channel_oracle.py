# SPDX-License-Identifier: Apache-2.0
"""What the activations of channels should be, in the arithmetic of `oracle`.

Each function takes finite rows of moderate size and returns the exact values and, where a bound is
relative to them, the sums of absolute terms.  Parameters are numbers that float32 holds.  Of
functions of two arrays the gradient is that by the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


def _normalised(x: Array, m: Arithmetic) -> Iterator[tuple[float, Pair, Pair, Pair]]:
    """Weight, x^(k-1), x^k, and the root of the mean of x^2k, for k = 1, 2, ..."""
    power = full(x, 1.0)
    for weight in reversed(WEIGHT):
        before, power = power, m.multiply(power, pair(x))
        total = m.total(m.multiply(power, power))
        mean = m.divide(total, full(total.hi, x.shape[-1]))
        yield weight, before, power, _root(m.add(mean, full(total.hi, EPS)), m)


def _poly_norm(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    x = a["x"]
    y, terms = full(x, BIAS), np.full_like(x, abs(BIAS))
    for weight, _, power, root in _normalised(x, m):
        term = m.multiply(m.divide(power, root), full(x, weight))
        y, terms = m.add(y, term), terms + np.abs(term.hi)
    if "up" in a:
        y, terms = m.multiply(y, pair(a["up"])), terms * np.abs(a["up"])
    return values(y), terms


def _gradient_by_gate(a: Mapping[str, Array], m: Arithmetic) -> Pair:
    """What is pulled back through the function of x alone."""
    return m.product(a["dy"], a["up"]) if "up" in a else pair(a["dy"])


def _poly_norm_vjp(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    x, dy = a["x"], _gradient_by_gate(a, m)
    slope, back = full(x, 0.0), full(x, 0.0)
    slope_terms, back_terms = np.zeros_like(x), np.zeros_like(x)
    for k, (weight, before, power, root) in enumerate(_normalised(x, m), 1):
        factor = m.divide(full(root.hi, k * weight), root)
        term = m.multiply(factor, before)
        slope, slope_terms = m.add(slope, term), slope_terms + np.abs(term.hi)
        total = m.total(m.multiply(dy, power))
        mean = m.divide(total, full(total.hi, x.shape[-1]))
        factor = m.divide(m.multiply(factor, mean), m.multiply(root, root))
        term = m.multiply(factor, m.multiply(power, before))
        back, back_terms = m.add(back, term), back_terms + np.abs(term.hi)
    dx = m.add(m.multiply(dy, slope), Pair(-back.hi, -back.lo))
    return values(dx), np.abs(dy.hi) * slope_terms + back_terms


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


def _rational_vjp(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    """dy (P' / Q - P Q' / Q^2); at a kink that rounding may cross, terms are infinite."""
    x, size, dy = a["x"], np.abs(a["x"]), pair(a["dy"])
    by_x = [tuple(i * v for i, v in enumerate(c))[1:] for c in (NUMERATOR, (0.0, *DENOMINATOR))]
    p, inner = _polynomial(NUMERATOR, x, m), _polynomial((0.0, *DENOMINATOR), x, m)
    sign = np.sign(inner.hi)
    q = m.add(full(x, 1.0), Pair(inner.hi * sign, inner.lo * sign))
    dp, d_inner = (_polynomial(c, x, m) for c in by_x)
    dq = Pair(d_inner.hi * -sign, d_inner.lo * -sign)
    slope = m.divide(m.add(dp, m.multiply(m.divide(p, q), dq)), q)
    p_terms, dp_terms, dq_terms, spread = (
        np.polyval(np.abs(c[::-1]), size) for c in (NUMERATOR, *by_x, (0.0, *DENOMINATOR))
    )
    terms = (dp_terms + 2.0 * p_terms * dq_terms / q.hi) / q.hi * (1.0 + spread) / q.hi
    near = (np.abs(inner.hi) <= 2.0**-21 * spread) & (x != 0.0)
    return values(m.multiply(dy, slope)), np.where(near, np.inf, np.abs(a["dy"]) * terms)


def _sorted(size: int, descending: bool = False) -> Formula:
    def formula(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, None]:
        x = a["x"]
        groups = np.sort(x.reshape(len(x), -1, size), axis=-1)
        groups = groups[..., ::-1] if descending else groups
        return values(pair(groups.reshape(x.shape))), None

    return formula


def _max_min_vjp(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    """dy back where the values came from; equal values stay where they are."""
    x, dy = a["x"], a["dy"]
    crossed = np.repeat(x[:, ::2] < x[:, 1::2], 2, axis=-1)
    other = dy.reshape(len(dy), -1, 2)[..., ::-1].reshape(dy.shape)
    return values(pair(np.where(crossed, other, dy))), np.ones_like(x)


def _group_sort_vjp(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    """dy back where the values came from; terms are infinite where that is one of equal values."""
    x, dy = (v.reshape(len(v), -1, GROUP) for v in (a["x"], a["dy"]))
    order = np.argsort(x, axis=-1)
    dx, terms = np.empty_like(dy), np.ones_like(dy)
    np.put_along_axis(dx, order, dy, axis=-1)
    same = np.diff(np.take_along_axis(x, order, axis=-1), axis=-1) == 0
    terms[same.any(axis=-1)] = np.inf
    return values(pair(dx.reshape(a["x"].shape))), terms.reshape(a["x"].shape)


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


_Number = tuple[float, float]


def _line(u: _Number, a: Array, v: _Number, b: Array, m: Arithmetic) -> Pair:
    """u a + v b"""
    return m.add(m.multiply(full(a, *u), pair(a)), m.multiply(full(b, *v), pair(b)))


def _negative(u: _Number) -> _Number:
    return -u[0], -u[1]


def _side(x: Array, m: Arithmetic) -> Array:
    """Where each pair lies: beyond the line if positive."""
    half_c, half_s = _turn(THETA / 2)
    return _line(half_s, x[:, ::2], _negative(half_c), x[:, 1::2], m).hi


def _reflected(x: Array, beyond: Array, m: Arithmetic) -> tuple[Exact, Array]:
    """The reflection of each pair that lies beyond the line."""
    a, b = x[:, ::2], x[:, 1::2]
    c, s = _turn(THETA)
    parts = (
        select(beyond, _line(c, a, s, b, m), pair(a)),
        select(beyond, _line(s, a, _negative(c), b, m), pair(b)),
    )
    hi, lo = (
        np.stack([getattr(p, part) for p in parts], axis=-1).reshape(x.shape)
        for part in ("hi", "lo")
    )
    return values(Pair(hi, lo)), np.repeat(np.abs(a) + np.abs(b), 2, axis=-1)


def _householder(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    return _reflected(a["x"], _side(a["x"], m) > 0, m)


def _householder_vjp(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
    """The same reflections; where rounding may cross the line, terms are infinite."""
    x = a["x"]
    side = _side(x, m)
    dx, terms = _reflected(a["dy"], side > 0, m)
    size = np.abs(x[:, ::2]) + np.abs(x[:, 1::2])
    near = (np.abs(side) <= 2.0**-22 * size) & (size > 0)
    return dx, np.where(np.repeat(near, 2, axis=-1), np.inf, terms)


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

FORMULAS: dict[str, Formula] = {
    "swiglu": _gate("silu"),
    "geglu": _gate("gelu"),
    "geglu_tanh": _gate("gelu_tanh"),
    "reglu": _gate("relu"),
    "poly_norm": _poly_norm,
    "poly_norm_glu": _poly_norm,
    "rational": _rational,
    "max_min": _sorted(2, descending=True),
    "group_sort": _sorted(GROUP),
    "householder": _householder,
}


def _gate_vjp(name: str) -> Formula:
    def formula(a: Mapping[str, Array], m: Arithmetic) -> tuple[Exact, Array]:
        return activation_oracle.pulled_back(name, _gradient_by_gate(a, m), a["x"], m)

    return formula


#: Bounds of gradients in the same units.
GRADIENT_FACTORS = {
    "swiglu": 8.0,
    "geglu": 8.0,
    "geglu_tanh": 8.0,
    "reglu": 8.0,
    "poly_norm": max(8.0, 2.0 * len(WEIGHT) + 2.0),
    "poly_norm_glu": max(8.0, 2.0 * len(WEIGHT) + 2.0),
    "rational": 8.0,
    "max_min": 0.0,
    "group_sort": 0.0,
    "householder": 3.0,
}

GRADIENTS: dict[str, Formula] = {
    "swiglu": _gate_vjp("silu"),
    "geglu": _gate_vjp("gelu"),
    "geglu_tanh": _gate_vjp("gelu_tanh"),
    "reglu": _gate_vjp("relu"),
    "poly_norm": _poly_norm_vjp,
    "poly_norm_glu": _poly_norm_vjp,
    "rational": _rational_vjp,
    "max_min": _max_min_vjp,
    "group_sort": _group_sort_vjp,
    "householder": _householder_vjp,
}
