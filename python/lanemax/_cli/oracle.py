# SPDX-License-Identifier: Apache-2.0
"""What the results should be, computed in NumPy with more digits than any result has.

Results of float32, float16 and bfloat16 are compared with float64 arithmetic (29 spare bits).
Results of float64 are compared with double-double arithmetic (over 80 bits): a value is the
unevaluated sum of two float64 numbers (Dekker 1971; Hida, Li and Bailey 2001). Nothing here uses
the library, and no formula here is the library's: rows are shifted by their maximum, exponentials
are taken of the differences, and sums run over a tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

#: exp of less is below half the smallest subnormal of float64.
EXP_FLOOR = -760.0

#: Subnormal float64 factors are multiplied by 2 to this power.
LIFT = 200

#: Elements per pass of the double-double exponential, so that its many temporaries stay in cache.
BLOCK = 8192


@dataclass(frozen=True)
class Exact:
    """The values ``(hi + lo) * 2**shift``; the shift keeps subnormal results at full precision.

    Shifts are int32 throughout: NumPy's ldexp takes no int64 on Windows.
    """

    hi: Array
    lo: Array
    shift: Array


def exact(hi: Array, lo: Array | float = 0.0, shift: Array | int = 0) -> Exact:
    """Return an `Exact` whose parts all have the shape of `hi`."""
    return Exact(
        hi,
        np.broadcast_to(np.asarray(lo, np.float64), hi.shape),
        np.broadcast_to(np.asarray(shift, np.int32), hi.shape),
    )


@dataclass(frozen=True)
class Pair:
    """The values ``hi + lo``; lo is 0 in plain float64 arithmetic."""

    hi: Array
    lo: Array


class Arithmetic(Protocol):
    """The few operations that the formulas below are made of."""

    def difference(self, a: Array, b: Array) -> Pair:
        """Return a - b."""

    def quotient(self, a: Array, b: Array) -> Pair:
        """Return a / b."""

    def product(self, a: Array, b: Array) -> Pair:
        """Return a * b."""

    def add(self, a: Pair, b: Pair) -> Pair:
        """Return a + b."""

    def multiply(self, a: Pair, b: Pair) -> Pair:
        """Return a * b."""

    def divide(self, a: Pair, b: Pair) -> Pair:
        """Return a / b."""

    def exp(self, a: Pair) -> tuple[Pair, Array]:
        """Return (m, n) with exp(a) = m * 2**n; 0 below `EXP_FLOOR`."""

    def log1p(self, a: Pair) -> Pair:
        """Return log(1 + a) for a >= 0."""

    def total(self, a: Pair) -> Pair:
        """Return the sum over the last axis, which stays with length 1."""


class Double:
    """Plain float64, for results of float32 and shorter types."""

    def difference(self, a: Array, b: Array) -> Pair:
        """Return a - b."""
        return self._one(a - b)

    def quotient(self, a: Array, b: Array) -> Pair:
        """Return a / b."""
        return self._one(a / b)

    def product(self, a: Array, b: Array) -> Pair:
        """Return a * b, exact for factors of float32."""
        return self._one(a * b)

    def add(self, a: Pair, b: Pair) -> Pair:
        """Return a + b."""
        return self._one(a.hi + b.hi)

    def multiply(self, a: Pair, b: Pair) -> Pair:
        """Return a * b."""
        return self._one(a.hi * b.hi)

    def divide(self, a: Pair, b: Pair) -> Pair:
        """Return a / b."""
        return self._one(a.hi / b.hi)

    def exp(self, a: Pair) -> tuple[Pair, Array]:
        """Return exp(a) and exponents of 0: to float64 every float32 result is a normal number."""
        value = np.where(a.hi > -700.0, np.exp(np.maximum(a.hi, -700.0)), 0.0)
        return self._one(value), np.zeros((), np.int32)

    def log1p(self, a: Pair) -> Pair:
        """Return log(1 + a)."""
        return self._one(np.log1p(a.hi))

    def total(self, a: Pair) -> Pair:
        """Return the sum over the last axis."""
        return self._one(a.hi.sum(axis=-1, keepdims=True))

    @staticmethod
    def _one(value: Array) -> Pair:
        return Pair(value, np.zeros((), np.float64))


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _quick_two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    s = a + b
    return s, b - (s - a)


def _split(a: Array) -> tuple[Array, Array]:
    t = 134217729.0 * a  # 2^27 + 1
    hi = t - (t - a)
    return hi, a - hi


def _two_prod(a: Array, b: Array) -> tuple[Array, Array]:
    p = a * b
    ah, al = _split(a)
    bh, bl = _split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def decimal_pair(value: Decimal) -> tuple[float, float]:
    hi = float(value)
    return hi, float(value - Decimal(hi))


def _tables() -> tuple[Array, Array, tuple[float, float, float]]:
    """Return 2**(j/64) as two arrays, and log(2)/64 in three parts of which two are short."""
    with localcontext() as context:
        context.prec = 60
        ln2 = Decimal(2).ln()
        powers = [decimal_pair((ln2 * j / 64).exp()) for j in range(64)]
        # 36 bits each: times a multiple below 2^17 they are exact in float64.
        step = ln2 / 64
        c1 = float(int(step * 2**42)) / 2**42
        c2 = float(int((step - Decimal(c1)) * 2**78)) / 2**78
        c3 = float(step - Decimal(c1) - Decimal(c2))
    table = np.array(powers)
    return table[:, 0].copy(), table[:, 1].copy(), (c1, c2, c3)


class DoubleDouble:
    """Two float64 numbers per value, for results of float64."""

    def __init__(self) -> None:
        self._power_hi, self._power_lo, self._step = _tables()
        self._third = decimal_pair(Decimal(1) / Decimal(3))
        self._sixth = decimal_pair(Decimal(1) / Decimal(6))
        self._24th = decimal_pair(Decimal(1) / Decimal(24))

    def difference(self, a: Array, b: Array) -> Pair:
        """Return a - b without an error."""
        return Pair(*_two_sum(a, -b))

    def quotient(self, a: Array, b: Array) -> Pair:
        """Return a / b."""
        return self.divide(self._pair(a), self._pair(b))

    def product(self, a: Array, b: Array) -> Pair:
        """Return a * b without an error, unless it underflows."""
        return Pair(*_two_prod(a, b))

    def add(self, a: Pair, b: Pair) -> Pair:
        """Return a + b."""
        s, e = _two_sum(a.hi, b.hi)
        t, f = _two_sum(a.lo, b.lo)
        s, e = _quick_two_sum(s, e + t)
        return Pair(*_quick_two_sum(s, e + f))

    def multiply(self, a: Pair, b: Pair) -> Pair:
        """Return a * b."""
        p, e = _two_prod(a.hi, b.hi)
        return Pair(*_quick_two_sum(p, e + (a.hi * b.lo + a.lo * b.hi)))

    def divide(self, a: Pair, b: Pair) -> Pair:
        """Return a / b by two steps of long division."""
        q = a.hi / b.hi
        rest = self.add(a, self._negative(self.multiply(self._pair(q), b)))
        s, e = _quick_two_sum(q, rest.hi / b.hi)
        rest = self.add(a, self._negative(self.multiply(Pair(s, e), b)))
        return self.add(Pair(s, e), self._pair(rest.hi / b.hi))

    def exp(self, a: Pair) -> tuple[Pair, Array]:
        """Return (m, n) with exp(a) = m * 2**n, block by block."""
        hi, lo = np.broadcast_arrays(a.hi, a.lo)
        flat_hi, flat_lo = hi.reshape(-1), lo.reshape(-1)
        m_hi, m_lo = np.empty(flat_hi.shape), np.empty(flat_hi.shape)
        n = np.empty(flat_hi.shape, np.int32)
        for start in range(0, flat_hi.size, BLOCK):
            part = slice(start, start + BLOCK)
            m_hi[part], m_lo[part], n[part] = self._exp_block(flat_hi[part], flat_lo[part])
        return Pair(m_hi.reshape(hi.shape), m_lo.reshape(hi.shape)), n.reshape(hi.shape)

    def _exp_block(self, hi: Array, lo: Array) -> tuple[Array, Array, Array]:
        keep = hi >= EXP_FLOOR
        hi, lo = np.where(keep, hi, 0.0), np.where(keep, lo, 0.0)
        c1, c2, c3 = self._step
        k = np.rint(hi * (1.0 / c1))
        # The first difference is exact by Sterbenz's lemma, and k * c2 by the length of c2.
        s, e = _two_sum(hi - k * c1, -(k * c2))
        r = Pair(*_quick_two_sum(s, e + (lo - k * c3)))
        # exp(r) - 1 with |r| < 0.0055: what is below r^5 needs no second word.
        x = r.hi
        tail = x**5 / 120.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0 * (1.0 + x / 8.0)))
        p = self.add(self.multiply(r, self._constant(self._24th)), self._constant(self._sixth))
        p = self.add(self.multiply(p, r), self._constant((0.5, 0.0)))
        p = self.add(self.multiply(p, r), self._constant((1.0, 0.0)))
        p = self.add(self.multiply(p, r), self._pair(tail))
        whole = k.astype(np.int32)
        n, j = whole >> 6, whole & 63
        t = Pair(self._power_hi[j], self._power_lo[j])
        m = self.add(t, self.multiply(t, p))
        return np.where(keep, m.hi, 0.0), np.where(keep, m.lo, 0.0), np.where(keep, n, 0)

    def log1p(self, a: Pair) -> Pair:
        """Return log(1 + a): a series for small a, a Newton step on the exponential for others."""
        small = a.hi < 2.0**-20
        s = Pair(np.where(small, a.hi, 0.0), np.where(small, a.lo, 0.0))
        p = self._pair(-0.25 + s.hi * (0.2 - s.hi / 6.0))
        p = self.add(self.multiply(p, s), self._constant(self._third))
        p = self.add(self.multiply(p, s), self._constant((-0.5, 0.0)))
        p = self.add(self.multiply(p, s), self._constant((1.0, 0.0)))
        series = self.multiply(p, s)
        guess = np.log1p(a.hi)
        m, n = self.exp(self._pair(guess))
        at_guess = Pair(np.ldexp(m.hi, n), np.ldexp(m.lo, n))
        rest = self.add(self.add(self._constant((1.0, 0.0)), a), self._negative(at_guess))
        newton = self.add(self._pair(guess), self._pair(rest.hi / at_guess.hi))
        return Pair(np.where(small, series.hi, newton.hi), np.where(small, series.lo, newton.lo))

    def total(self, a: Pair) -> Pair:
        """Return the sum over the last axis, halves upon halves."""
        hi, lo = np.broadcast_arrays(a.hi, a.lo)
        while hi.shape[-1] > 1:
            half = hi.shape[-1] // 2
            odd = hi[..., 2 * half :], lo[..., 2 * half :]
            s = self.add(
                Pair(hi[..., :half], lo[..., :half]),
                Pair(hi[..., half : 2 * half], lo[..., half : 2 * half]),
            )
            hi = np.concatenate([s.hi, odd[0]], axis=-1)
            lo = np.concatenate([s.lo, odd[1]], axis=-1)
        return Pair(hi, lo)

    @staticmethod
    def _pair(a: Array) -> Pair:
        return Pair(a, np.zeros_like(a))

    @staticmethod
    def _constant(value: tuple[float, float]) -> Pair:
        return Pair(np.asarray(value[0]), np.asarray(value[1]))

    @staticmethod
    def _negative(a: Pair) -> Pair:
        return Pair(-a.hi, -a.lo)


# --------------------------------------------------------------------------------- formulas
#
# x is float64, (rows, cols), without NaN or +inf; every row has a finite element. -inf is a
# masked element. The largest element of a row is left out of the sum: 1 + rest is then right
# to the last digit however confident the row is.


@dataclass(frozen=True)
class Rows:
    """What the formulas share about the rows of logits z = x / temperature."""

    arithmetic: Arithmetic
    masked: Array
    distance: Pair  # z - max z
    exponential: Pair  # exp(distance) = exponential * 2**shift
    shift: Array
    rest: Pair  # sum of exp(distance) over all elements but one maximal
    lifted: Pair  # rest * 2**LIFT
    largest: Pair  # max z


def rows_of(x: Array, arithmetic: Arithmetic, temperature: Array | None = None) -> Rows:
    """Return the shared part of the formulas for logits `x` of type float64."""
    masked = np.isneginf(x)
    z = Pair(np.where(masked, 0.0, x), np.zeros(x.shape))
    if temperature is not None:
        z = arithmetic.quotient(z.hi, np.broadcast_to(temperature, x.shape))
    order = np.where(masked, -np.inf, z.hi)
    top = order.argmax(axis=-1)[..., None]
    largest = Pair(
        np.take_along_axis(z.hi, top, -1),
        np.take_along_axis(np.broadcast_to(z.lo, x.shape), top, -1),
    )
    if temperature is None:
        distance = arithmetic.difference(z.hi, largest.hi)
    else:
        distance = arithmetic.add(z, Pair(-largest.hi, -largest.lo))
    exponential, shift = arithmetic.exp(distance)
    exponential = Pair(np.where(masked, 0.0, exponential.hi), np.where(masked, 0.0, exponential.lo))
    value = Pair(np.ldexp(exponential.hi, shift + LIFT), np.ldexp(exponential.lo, shift + LIFT))
    np.put_along_axis(value.hi, top, 0.0, -1)
    np.put_along_axis(value.lo, top, 0.0, -1)
    lifted = arithmetic.total(value)
    rest = Pair(np.ldexp(lifted.hi, -LIFT), np.ldexp(lifted.lo, -LIFT))
    return Rows(arithmetic, masked, distance, exponential, shift, rest, lifted, largest)


def _one(like: Pair) -> Pair:
    return Pair(np.ones_like(like.hi), np.zeros_like(like.hi))


def softmax(r: Rows) -> Exact:
    """Return exp(z) / sum exp(z)."""
    y = r.arithmetic.divide(r.exponential, r.arithmetic.add(_one(r.rest), r.rest))
    return exact(y.hi, y.lo, r.shift)


def log_softmax(r: Rows) -> Exact:
    """Return z - log(sum exp(z)); -inf where masked."""
    log = r.arithmetic.log1p(r.rest)
    y = r.arithmetic.add(r.distance, Pair(-log.hi, -log.lo))
    # log(1 + rest) is rest itself here, and subnormal perhaps.
    confident = (r.lifted.hi < np.ldexp(1.0, LIFT - 120)) & (r.distance.hi == 0.0) & ~r.masked
    hi = np.where(confident, -r.lifted.hi, np.where(r.masked, -np.inf, y.hi))
    lo = np.where(confident, -r.lifted.lo, np.where(r.masked, 0.0, y.lo))
    return exact(hi, lo, np.where(confident, -LIFT, 0))


def logsumexp(r: Rows) -> Exact:
    """Return log(sum exp(z)), one value per row."""
    y = r.arithmetic.add(r.largest, r.arithmetic.log1p(r.rest))
    return exact(y.hi[..., 0], y.lo[..., 0] if y.lo.ndim else 0.0)


def softmax_vjp(
    dy: Array, y: Array, arithmetic: Arithmetic, temperature: Array | None = None
) -> tuple[Exact, Array]:
    """Return y * (dy - sum y dy) / temperature and y * (|dy| + sum y |dy|) / temperature."""
    products = arithmetic.product(y, dy)
    total = arithmetic.total(products)
    inner = arithmetic.add(Pair(dy, np.zeros_like(dy)), Pair(-total.hi, -total.lo))
    # Lifted out of the subnormal range, where a product would lose its second word.
    lifted = np.ldexp(y, LIFT)
    dx = arithmetic.multiply(Pair(lifted, np.zeros_like(y)), inner)
    scale = y * (np.abs(dy) + np.abs(products.hi).sum(axis=-1, keepdims=True))
    return _over(dx, scale, arithmetic, temperature, -LIFT)


def log_softmax_vjp(
    dy: Array, y: Array, arithmetic: Arithmetic, temperature: Array | None = None
) -> tuple[Exact, Array]:
    """Return dy - exp(y) * sum dy over temperature, and |dy| + exp(y) * sum |dy| likewise."""
    masked = np.isneginf(y)
    m, n = arithmetic.exp(Pair(np.where(masked, 0.0, y), np.zeros_like(y)))
    p = Pair(np.where(masked, 0.0, np.ldexp(m.hi, n)), np.where(masked, 0.0, np.ldexp(m.lo, n)))
    total = arithmetic.total(Pair(dy, np.zeros_like(dy)))
    pulled = arithmetic.multiply(p, total)
    dx = arithmetic.add(Pair(dy, np.zeros_like(dy)), Pair(-pulled.hi, -pulled.lo))
    scale = np.abs(dy) + p.hi * np.abs(dy).sum(axis=-1, keepdims=True)
    return _over(dx, scale, arithmetic, temperature)


def _over(
    dx: Pair, scale: Array, arithmetic: Arithmetic, temperature: Array | None, shift: int = 0
) -> tuple[Exact, Array]:
    if temperature is not None:
        t = np.broadcast_to(temperature, dx.hi.shape)
        dx = arithmetic.divide(dx, Pair(t, np.zeros_like(t)))
        scale = scale / t
    return exact(dx.hi, dx.lo, shift), scale


# ----------------------------------------------------------------------------------- errors


@dataclass(frozen=True)
class Format:
    """A floating-point type: significant bits and the exponent of the smallest normal number."""

    bits: int
    least: int


FORMATS = {
    "float64": Format(53, -1022),
    "float32": Format(24, -126),
    "float16": Format(11, -14),
    "bfloat16": Format(8, -126),
}


def exponent_of(value: Exact) -> Array:
    """Return floor(log2(|value|)); very small for 0."""
    _, e = np.frexp(value.hi)
    return np.where(value.hi == 0.0, -(10**6), e - 1 + value.shift).astype(np.int32)


def unit_exponent(value: Exact, form: Format) -> Array:
    """Return the exponent of the distance between neighbours of `value` in `form`."""
    return (np.maximum(exponent_of(value), form.least) - (form.bits - 1)).astype(np.int32)


def absolute_error(got: Array, value: Exact, unit: Array) -> Array:
    """Return |got - value| / 2**unit; 0 for equal infinities, inf for any other non-number."""
    g = got.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        # Scaling is exact: it brings subnormal results into the range of value.hi.
        error = np.abs((np.ldexp(g, -value.shift) - value.hi) - value.lo)
        error = np.ldexp(error, (value.shift - unit).astype(np.int32))
        same = np.isinf(value.hi) & (g == value.hi)
        return np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
