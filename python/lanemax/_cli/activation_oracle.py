# SPDX-License-Identifier: Apache-2.0
"""What the activations should be, in the arithmetic of `oracle`.

Each function takes finite x of moderate size and returns the exact values.  Parameters are numbers
that float32 holds, so that they mean the same in every type.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import oracle
from .oracle import Arithmetic, Array, Exact, Pair

#: (x, arithmetic) -> the exact values
Formula = Callable[[Array, Arithmetic], Exact]

POWER, BETA, EPS, THRESHOLD = 3, 1.75, 0.0078125, 0.5
WEIGHT, BIAS = (0.5, -0.25, 1.0), 0.75

#: 2 sqrt(2 / pi) and 0.044715 times it, in two parts
GELU_LINEAR = (1.5957691216057308, -9.96930880911092e-17)
GELU_CUBIC = (0.07135481627260025, -6.175149918155315e-19)


def pair(a: Array) -> Pair:
    return Pair(a, np.zeros_like(a))


def full(like: Array, hi: float, lo: float = 0.0) -> Pair:
    return Pair(np.full_like(like, hi), np.full_like(like, lo))


def select(mask: Array, a: Pair, b: Pair) -> Pair:
    lo = [np.broadcast_to(v.lo, v.hi.shape) for v in (a, b)]
    return Pair(np.where(mask, a.hi, b.hi), np.where(mask, lo[0], lo[1]))


def values(a: Pair, shift: Array | int = 0) -> Exact:
    return oracle.exact(a.hi, np.broadcast_to(a.lo, a.hi.shape), shift)


def _exponential(u: Pair, m: Arithmetic) -> tuple[Pair, Pair, Array]:
    """Return exp(-|u|) as it is, and as (mantissa, exponent)."""
    sign = np.where(u.hi > 0.0, -1.0, 1.0)
    e, n = m.exp(Pair(u.hi * sign, u.lo * sign))
    n = np.broadcast_to(np.asarray(n, np.int32), e.hi.shape)
    return Pair(np.ldexp(e.hi, n), np.ldexp(e.lo + 0 * e.hi, n)), e, n


def _times_logistic(x: Array, u: Pair, m: Arithmetic) -> Exact:
    """x / (1 + exp(-u))"""
    plain, e, n = _exponential(u, m)
    below = u.hi < 0.0
    one = np.ones_like(x)
    top = select(below, e, pair(one))
    value = m.divide(m.multiply(pair(x), top), m.add(pair(one), plain))
    return values(value, np.where(below, n, 0).astype(np.int32))


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def _cubic(x: Array, m: Arithmetic) -> Pair:
    r = _relu(x)
    return m.multiply(m.product(r, r), pair(r))


def _softplus(x: Array, m: Arithmetic) -> Exact:
    u = m.product(np.full_like(x, BETA), x)
    plain, e, n = _exponential(u, m)
    tiny = plain.hi < 1e-40  # log1p(e) is e to all digits
    log = select(tiny, e, m.log1p(plain))
    value = m.add(pair(np.where(tiny, 0.0, _relu(x))), m.divide(log, full(x, BETA)))
    far = tiny & (x > 0.0)
    value = select(far, pair(x), value)
    return values(value, np.where(tiny & ~far, n, 0).astype(np.int32))


def _tanh(x: Array, m: Arithmetic) -> Exact:
    """(1 - e) / (1 + e), e = exp(-2 |x|), and for small |x| the series."""
    plain, _, _ = _exponential(pair(2.0 * x), m)
    one = np.ones_like(x)
    large = m.divide(m.add(pair(one), Pair(-plain.hi, -plain.lo)), m.add(pair(one), plain))
    sign = np.where(x < 0.0, -1.0, 1.0)
    large = Pair(large.hi * sign, large.lo * sign)
    z = m.product(x, x)
    small = full(x, 0.0)
    for above, below in ((2, 15), (-1, 3), (1, 1)):  # x - x^3 / 3 + 2 x^5 / 15
        small = m.add(
            m.multiply(small, z), m.quotient(np.full_like(x, above), np.full_like(x, below))
        )
    return values(select(np.abs(x) < 1e-8, m.multiply(small, pair(x)), large))


def _gelu_tanh(x: Array, m: Arithmetic) -> Exact:
    inside = m.multiply(full(x, *GELU_CUBIC), m.product(x, x))
    u = m.multiply(m.add(full(x, *GELU_LINEAR), inside), pair(x))
    return _times_logistic(x, u, m)


def _mish(x: Array, m: Arithmetic) -> Exact:
    plain, e, n = _exponential(pair(x), m)
    below, one, two = x < 0.0, np.ones_like(x), np.full_like(x, 2.0)
    more = m.add(pair(two), plain)  # e (2 + e) is the numerator below 0
    low = m.divide(m.multiply(e, more), m.add(pair(two), m.multiply(plain, more)))
    double = m.multiply(plain, pair(two))
    upper = m.add(pair(one), double)
    high = m.divide(upper, m.add(upper, m.multiply(double, plain)))
    value = m.multiply(pair(x), select(below, low, high))
    return values(value, np.where(below, n, 0).astype(np.int32))


def _crrelu(x: Array, m: Arithmetic) -> Exact:
    half = m.multiply(m.product(x, x), full(x, 0.5))
    plain, e, n = _exponential(half, m)
    tail = m.multiply(m.product(np.full_like(x, EPS), x), select(x > 0.0, plain, e))
    value = m.add(pair(_relu(x)), tail)
    return values(value, np.where(x > 0.0, 0, n).astype(np.int32))


#: Arguments behind x of what has parameters.
PARAMETERS: dict[str, tuple[object, ...]] = {
    "relu_power": (POWER,),
    "softplus": (BETA,),
    "swish": (BETA,),
    "crrelu": (EPS,),
    "fatrelu": (THRESHOLD,),
    "poly_relu": (np.array(WEIGHT), BIAS),
}

#: Those that `check` compares with exact results; the others, and gradients, it compares in bits.
FORMULAS: dict[str, Formula] = {
    "relu": lambda x, m: values(pair(_relu(x))),
    "squared_relu": lambda x, m: values(m.product(_relu(x), _relu(x))),
    "relu_power": lambda x, m: values(_cubic(x, m)),
    "sigmoid": lambda x, m: _times_logistic(np.ones_like(x), pair(x), m),
    "tanh": _tanh,
    "softplus": _softplus,
    "silu": lambda x, m: _times_logistic(x, pair(x), m),
    "swish": lambda x, m: _times_logistic(x, m.product(np.full_like(x, BETA), x), m),
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
    "crrelu": _crrelu,
    "fatrelu": lambda x, m: values(pair(np.where(x > THRESHOLD, x, 0.0))),
}
