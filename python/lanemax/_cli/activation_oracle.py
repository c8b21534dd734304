# SPDX-License-Identifier: Apache-2.0
"""What the activations should be, in the arithmetic of `oracle`.

Each function takes finite x of moderate size and returns the exact values.  Parameters are numbers
that float32 holds, so that they mean the same in every type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

from . import oracle
from .oracle import Arithmetic, Array, Exact, Pair

#: (x, arithmetic) -> the exact values
Formula = Callable[[Array, Arithmetic], Exact]

#: The same, and sums of absolute terms, to which a bound is relative.
WithTerms = Callable[[Array, Arithmetic], tuple[Exact, Array]]

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


@dataclass(frozen=True)
class _Logistic:
    """1 / (1 + exp(-u)) as top / bottom * 2**shift, and t, 1 less that, as it is."""

    top: Pair
    bottom: Pair
    rest: Pair
    shift: Array


def _logistic(u: Pair, m: Arithmetic) -> _Logistic:
    plain, e, n = _exponential(u, m)
    below, one = u.hi < 0.0, pair(np.ones_like(u.hi))
    bottom = m.add(one, plain)
    rest = m.divide(select(below, one, plain), bottom)
    return _Logistic(select(below, e, one), bottom, rest, np.where(below, n, 0).astype(np.int32))


def _times_logistic(x: Array, u: Pair, m: Arithmetic) -> Exact:
    """x / (1 + exp(-u))"""
    s = _logistic(u, m)
    return values(m.divide(m.multiply(pair(x), s.top), s.bottom), s.shift)


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


def _gelu_tanh_inside(x: Array, m: Arithmetic) -> tuple[Pair, Pair]:
    """u = 2 sqrt(2 / pi) (x + 0.044715 x^3), and its derivative."""
    cubic = m.multiply(full(x, *GELU_CUBIC), m.product(x, x))
    slope = m.add(full(x, *GELU_LINEAR), m.multiply(full(x, 3.0), cubic))
    return m.multiply(m.add(full(x, *GELU_LINEAR), cubic), pair(x)), slope


def _gelu_tanh(x: Array, m: Arithmetic) -> Exact:
    return _times_logistic(x, _gelu_tanh_inside(x, m)[0], m)


#: Where the series of the normal distribution ends and its continued fraction begins: the series
#: has lost 15 bits there.  With so many steps both are right to 2^-90.
NORMAL_FAR, SERIES_STEPS, FRACTION_STEPS = 4.0, 60, 60


def _constants() -> tuple[tuple[float, float], list[tuple[float, float]]]:
    """1 / sqrt(2 pi), and 1 / (2 k + 1), in two parts."""
    with localcontext() as context:
        context.prec = 50
        pi = Decimal("3.1415926535897932384626433832795028841971693993751")
        odd = [oracle.decimal_pair(1 / Decimal(2 * k + 1)) for k in range(SERIES_STEPS)]
        return oracle.decimal_pair(1 / (2 * pi).sqrt()), odd


DENSITY_AT_0, ODD = _constants()


def _series(x: Array, m: Arithmetic) -> Pair:
    """(Phi(x) - 1 / 2) / density(x) = x (1 + x^2 / 3 (1 + x^2 / 5 (...)))"""
    square, one = m.product(x, x), pair(np.ones_like(x))
    s = one
    for odd in reversed(ODD[1:]):
        s = m.add(one, m.multiply(m.multiply(square, full(x, *odd)), s))
    return m.multiply(pair(x), s)


def _fraction(x: Array, m: Arithmetic) -> Pair:
    """Phi(-x) / density(x) = 1 / (x + 1 / (x + 2 / (x + ...))) for large x (Laplace)."""
    s = pair(x)
    for k in range(FRACTION_STEPS, 0, -1):
        s = m.add(pair(x), m.divide(full(x, float(k)), s))
    return m.divide(pair(np.ones_like(x)), s)


def _normal(x: Array, m: Arithmetic) -> tuple[Pair, Pair, Array]:
    """Phi(x) and the density of the normal distribution, both times 2**-shift."""
    plain, e, n = _exponential(m.multiply(m.product(x, x), full(x, 0.5)), m)
    low = x < -NORMAL_FAR
    density = m.multiply(select(low, e, plain), full(x, *DENSITY_AT_0))
    far = np.abs(x) > NORMAL_FAR
    ratio = full(x, 0.0)
    for of, part, to in ((_series, ~far, x[~far]), (_fraction, far, np.abs(x[far]))):
        found = of(to, m)
        ratio.hi[part], ratio.lo[part] = found.hi, found.lo
    product = m.multiply(density, ratio)
    high = far & ~low
    turned = Pair(np.where(high, -product.hi, product.hi), np.where(high, -product.lo, product.lo))
    offset = np.where(low, 0.0, np.where(high, 1.0, 0.5))
    return m.add(pair(offset), turned), density, np.where(low, n, 0).astype(np.int32)


def _gelu(x: Array, m: Arithmetic) -> Exact:
    below, _, shift = _normal(x, m)
    return values(m.multiply(pair(x), below), shift)


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


def _bell(x: Array, m: Arithmetic) -> tuple[Pair, Array]:
    """exp(-x^2 / 2), times 2**-shift where x is not positive."""
    plain, e, n = _exponential(m.multiply(m.product(x, x), full(x, 0.5)), m)
    return select(x > 0.0, plain, e), np.where(x > 0.0, 0, n).astype(np.int32)


def _crrelu(x: Array, m: Arithmetic) -> Exact:
    bell, shift = _bell(x, m)
    tail = m.multiply(m.product(np.full_like(x, EPS), x), bell)
    return values(m.add(pair(_relu(x)), tail), shift)


def _poly_relu(x: Array, m: Arithmetic) -> tuple[Exact, Array]:
    r, y = _relu(x), full(x, 0.0)
    for weight in (*WEIGHT, BIAS):
        y = m.add(m.multiply(y, pair(r)), full(x, weight))
    return values(y), np.polyval(np.abs([*WEIGHT, BIAS]), r)


#: Arguments behind x of what has parameters.
PARAMETERS: dict[str, tuple[object, ...]] = {
    "relu_power": (POWER,),
    "softplus": (BETA,),
    "swish": (BETA,),
    "crrelu": (EPS,),
    "fatrelu": (THRESHOLD,),
    "poly_relu": (np.array(WEIGHT), BIAS),
}

FORMULAS: dict[str, Formula] = {
    "relu": lambda x, m: values(pair(_relu(x))),
    "squared_relu": lambda x, m: values(m.product(_relu(x), _relu(x))),
    "relu_power": lambda x, m: values(_cubic(x, m)),
    "sigmoid": lambda x, m: _times_logistic(np.ones_like(x), pair(x), m),
    "tanh": _tanh,
    "softplus": _softplus,
    "silu": lambda x, m: _times_logistic(x, pair(x), m),
    "swish": lambda x, m: _times_logistic(x, m.product(np.full_like(x, BETA), x), m),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
    "crrelu": _crrelu,
    "fatrelu": lambda x, m: values(pair(np.where(x > THRESHOLD, x, 0.0))),
}

#: Those whose bound is relative to the sum of absolute terms, and how many u that is.
WITH_TERMS: dict[str, tuple[WithTerms, float]] = {"poly_relu": (_poly_relu, len(WEIGHT) + 2.0)}


# -------------------------------------------------------------------------------- gradients


@dataclass(frozen=True)
class Slope:
    """A derivative and the sum of the absolute terms of its formula, both times 2**-shift."""

    value: Pair
    terms: Array
    shift: Array | int = 0


def _plain_slope(value: Pair) -> Slope:
    return Slope(value, np.abs(value.hi))


def _swish_slope(x: Array, u: Pair, by_x: Pair, m: Arithmetic) -> Slope:
    """s + x s t u', s and t the logistic function of u and of -u"""
    s = _logistic(u, m)
    more = m.multiply(m.multiply(pair(x), by_x), s.rest)
    share = m.divide(s.top, s.bottom)
    value = m.multiply(share, m.add(pair(np.ones_like(x)), more))
    return Slope(value, share.hi * (1.0 + np.abs(more.hi)), s.shift)


def _sigmoid_slope(x: Array, m: Arithmetic) -> Slope:
    plain, e, n = _exponential(pair(x), m)
    bottom = m.add(pair(np.ones_like(x)), plain)
    value = m.divide(e, m.multiply(bottom, bottom))
    return Slope(value, value.hi, n)


def _tanh_slope(x: Array, m: Arithmetic) -> Slope:
    s = _sigmoid_slope(2.0 * x, m)
    return Slope(Pair(4.0 * s.value.hi, 4.0 * s.value.lo), 4.0 * s.terms, s.shift)


def _softplus_slope(x: Array, m: Arithmetic) -> Slope:
    s = _logistic(m.product(np.full_like(x, BETA), x), m)
    value = m.divide(s.top, s.bottom)
    return Slope(value, value.hi, s.shift)


def _gelu_slope(x: Array, m: Arithmetic) -> Slope:
    below, density, shift = _normal(x, m)
    more = m.multiply(pair(x), density)
    return Slope(m.add(below, more), below.hi + np.abs(more.hi), shift)


def _mish_slope(x: Array, m: Arithmetic) -> Slope:
    """t + x s (1 - t^2): with e = exp(-|x|) both terms are fractions of polynomials in e."""
    plain, e, n = _exponential(pair(x), m)
    below, one, two = x < 0.0, pair(np.ones_like(x)), full(x, 2.0)
    square, double = m.multiply(plain, plain), m.multiply(plain, two)
    whole = m.add(select(below, two, one), double)
    whole = m.add(whole, select(below, square, m.multiply(square, two)))
    first = m.divide(m.add(select(below, two, one), select(below, plain, double)), whole)
    more = m.multiply(full(x, 4.0), m.multiply(pair(x), m.add(one, plain)))
    more = m.divide(m.multiply(more, select(below, one, square)), m.multiply(whole, whole))
    top = select(below, e, one)
    return Slope(
        m.multiply(top, m.add(first, more)),
        top.hi * (first.hi + np.abs(more.hi)),
        np.where(below, n, 0).astype(np.int32),
    )


def _crrelu_slope(x: Array, m: Arithmetic) -> Slope:
    bell, shift = _bell(x, m)
    square = m.product(x, x)
    factor = m.add(pair(np.ones_like(x)), Pair(-square.hi, -square.lo))
    more = m.multiply(m.multiply(full(x, EPS), factor), bell)
    step = (x > 0.0).astype(np.float64)
    return Slope(m.add(pair(step), more), step + np.abs(more.hi), shift)


def _poly_relu_slope(x: Array, m: Arithmetic) -> Slope:
    r, y = _relu(x), full(x, 0.0)
    weights = [k * w for k, w in zip(range(len(WEIGHT), 0, -1), WEIGHT, strict=True)]
    for weight in weights:
        y = m.add(m.multiply(y, pair(r)), full(x, weight))
    step = x > 0.0
    terms = np.where(step, np.polyval(np.abs(weights), r), 0.0)
    return Slope(select(step, y, full(x, 0.0)), terms)


def _relu_power_slope(x: Array, m: Arithmetic) -> Slope:
    return _plain_slope(m.multiply(full(x, float(POWER)), m.product(_relu(x), _relu(x))))


SLOPES: dict[str, Callable[[Array, Arithmetic], Slope]] = {
    "relu": lambda x, m: _plain_slope(pair(np.where(x > 0.0, 1.0, 0.0))),
    "squared_relu": lambda x, m: _plain_slope(pair(2.0 * _relu(x))),
    "relu_power": _relu_power_slope,
    "sigmoid": _sigmoid_slope,
    "tanh": _tanh_slope,
    "softplus": _softplus_slope,
    "silu": lambda x, m: _swish_slope(x, pair(x), full(x, 1.0), m),
    "swish": lambda x, m: _swish_slope(x, m.product(np.full_like(x, BETA), x), full(x, BETA), m),
    "gelu": _gelu_slope,
    "gelu_tanh": lambda x, m: _swish_slope(x, *_gelu_tanh_inside(x, m), m),
    "mish": _mish_slope,
    "crrelu": _crrelu_slope,
    "fatrelu": lambda x, m: _plain_slope(pair(np.where(x > THRESHOLD, 1.0, 0.0))),
    "poly_relu": _poly_relu_slope,
}


def pulled_back(name: str, dy: Pair, x: Array, m: Arithmetic) -> tuple[Exact, Array]:
    """dy f'(x), and the sum of its absolute terms."""
    s = SLOPES[name](x, m)
    terms = np.ldexp(np.abs(dy.hi) * s.terms, s.shift)
    return values(m.multiply(dy, s.value), s.shift), terms
