# SPDX-License-Identifier: Apache-2.0
"""What the right answer is, to far more digits than lanemax has.

Nothing here calls lanemax.  float32 and 16-bit input is evaluated in float64 with exactly rounded
sums (`math.fsum`): the error of that is below 1e-6 ULP of float32.  float64 input is evaluated in
double-double arithmetic (106 bits) with exact sums and mpmath logarithms: `test_oracle.py` holds it
to 2^-90 of mpmath at 50 digits.  `longdouble` is avoided, for it is 64 bits wide on some platforms.

All functions take 2-D arrays and work along the rows.  They return a `Ref`: the exact value is
(hi + lo) * 2**k, with k an integer array or 0.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import mpmath
import numpy as np

mpmath.mp.dps = 50


class Ref(NamedTuple):
    """Exact values (hi + lo) * 2**k."""

    hi: np.ndarray
    lo: np.ndarray | float = 0.0
    k: np.ndarray | int = 0

    @property
    def value(self) -> np.ndarray:
        """The value as float64, rounded (and underflowing) as float64 does."""
        with np.errstate(under="ignore"):
            return np.ldexp(self.hi + self.lo, self.k)


# ------------------------------------------------------------------ float formats ---


class Format(NamedTuple):
    """Precision in bits, exponent of the smallest normal number, unit roundoff."""

    bits: int
    emin: int
    u: float


F32 = Format(24, -126, 2.0**-24)
F64 = Format(53, -1022, 2.0**-53)


def format_of(dtype) -> Format:
    """The format in which a dtype is computed (float32 for the 16-bit types)."""
    return F64 if np.dtype(dtype) == np.float64 else F32


def quantum_exponent(ref: Ref, fmt: Format) -> np.ndarray:
    """log2 of the ULP of the exact value, never below that of the subnormals."""
    _, e = np.frexp(np.abs(ref.hi))
    e = np.where(ref.hi == 0, np.int64(-(10**6)), e.astype(np.int64) + ref.k)
    return np.maximum(e - 1, fmt.emin) - (fmt.bits - 1)


def is_normal(ref: Ref, fmt: Format) -> np.ndarray:
    """Where the exact value is at least the smallest normal number."""
    _, e = np.frexp(np.abs(ref.hi))
    return (ref.hi != 0) & (e.astype(np.int64) + ref.k - 1 >= fmt.emin)


def overflowed(ref: Ref, fmt: Format) -> Ref:
    """Infinity where the exact value rounds to it."""
    if fmt is F64:
        return ref
    return ref._replace(
        hi=np.where(np.abs(ref.hi) >= 2.0**128 - 2.0**103, np.copysign(np.inf, ref.hi), ref.hi)
    )


def difference(got, ref: Ref, q) -> np.ndarray:
    """|got - ref| / 2**q.  Equal infinities and a NaN for a NaN count as 0, others as inf."""
    got = np.asarray(got, dtype=np.float64)
    hi, lo = np.asarray(ref.hi), np.asarray(ref.lo)
    with np.errstate(all="ignore"):
        q = np.asarray(q)
        err = np.abs((np.ldexp(got, -q) - np.ldexp(hi, ref.k - q)) - np.ldexp(lo, ref.k - q))
        special = ~(np.isfinite(got) & np.isfinite(hi))
        same = (np.isnan(got) & np.isnan(hi)) | (got == hi)
    return np.where(special, np.where(same, 0.0, np.inf), err)


def ulp_error(got, ref: Ref, fmt: Format) -> np.ndarray:
    """|got - exact| / ulp(exact), the ULP never below the smallest subnormal."""
    return difference(got, ref, quantum_exponent(ref, fmt))


# ------------------------------------------------------------------ exact sums ---


def fsum_rows(a: np.ndarray) -> np.ndarray:
    """The correctly rounded sum of every row."""
    return np.array([math.fsum(row) for row in a.tolist()], dtype=np.float64)


def _dd_fsum(*parts) -> tuple[float, float]:
    """The exact sum of all numbers in parts, as a double-double."""
    numbers = [v for part in parts for v in np.asarray(part, dtype=np.float64).ravel().tolist()]
    hi = math.fsum(numbers)
    numbers.append(-hi)
    return hi, math.fsum(numbers)


# ------------------------------------------------------------------ double-double ---


def two_sum(a, b):
    """a + b = s + e exactly."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _quick(a, b):
    s = a + b
    return s, b - (s - a)


def two_prod(a, b):
    """a * b = p + e exactly, for factors below 2**990 and products above 2**-960."""
    p = a * b
    ca, cb = 134217729.0 * a, 134217729.0 * b
    ah, bh = ca - (ca - a), cb - (cb - b)
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def dd_add(a, b):
    s, e = two_sum(a[0], b[0])
    t, f = two_sum(a[1], b[1])
    s, e = _quick(s, e + t)
    return _quick(s, e + f)


def dd_mul(a, b):
    p, e = two_prod(a[0], b[0])
    return _quick(p, e + (a[0] * b[1] + a[1] * b[0]))


def dd_div(a, b):
    q1 = a[0] / b[0]
    p = dd_mul(b, (q1, 0.0 * q1))
    r = dd_add(a, (-p[0], -p[1]))
    q2 = r[0] / b[0]
    p = dd_mul(b, (q2, 0.0 * q2))
    r = dd_add(r, (-p[0], -p[1]))
    return _quick(q1, q2 + r[0] / b[0])


def _split(value) -> tuple[float, float, float]:
    hi = float(value)
    rest = value - (Fraction(hi) if isinstance(value, Fraction) else mpmath.mpf(hi))
    mid = float(rest)
    rest = rest - (Fraction(mid) if isinstance(value, Fraction) else mpmath.mpf(mid))
    return hi, mid, float(rest)


_LN2 = _split(mpmath.log(2))
_INVERSE_FACTORIAL = [_split(Fraction(1, math.factorial(i)))[:2] for i in range(11)]
_SQUARINGS = 8


def dd_exp(a):
    """exp of a double-double as (mantissa double-double in [0.7, 1.42], integer exponent).

    Below -10**5 the mantissa is 1 and the exponent -10**6: a zero for every purpose here.
    """
    masked = a[0] < -1e5
    hi = np.where(masked, 0.0, a[0])
    lo = np.where(masked, 0.0, a[1])
    k = np.rint(hi / _LN2[0])
    r = (hi, lo)
    for part in _LN2[:2]:
        p, e = two_prod(-k, np.full_like(k, part))
        r = dd_add(r, (p, e))
    r = dd_add(r, (-k * _LN2[2], np.zeros_like(k)))
    r = (np.ldexp(r[0], -_SQUARINGS), np.ldexp(r[1], -_SQUARINGS))
    s = (np.full_like(hi, _INVERSE_FACTORIAL[-1][0]), np.full_like(hi, _INVERSE_FACTORIAL[-1][1]))
    for c in reversed(_INVERSE_FACTORIAL[:-1]):
        s = dd_mul(s, r)
        s = dd_add(s, (np.full_like(hi, c[0]), np.full_like(hi, c[1])))
    for _ in range(_SQUARINGS):
        s = dd_mul(s, s)
    return s, np.where(masked, -(10**6), k).astype(np.int64)


# ------------------------------------------------------------------ rows of logits ---


class _Rows(NamedTuple):
    """Logits relative to the largest one kept, and what special values make of the row."""

    d: tuple  # double-double (x - max) / temperature, -inf where masked
    largest: np.ndarray  # the largest, 0 if there is none
    rest: list  # per row, double-double sum of exp(d) over all others
    nan: np.ndarray  # rows whose kept elements become NaN
    kept: np.ndarray | None


def _exp(d, wide):
    """exp(d) as (hi, lo, k); d <= 0."""
    if wide:
        s, k = dd_exp(d)
        return s[0], s[1], k
    with np.errstate(under="ignore"):
        return np.exp(d[0]) * (1.0 + np.where(np.isfinite(d[0]), d[1], 0.0)), np.zeros(1), 0


def _prepare(x, temperature, where) -> _Rows:
    x = np.asarray(x)
    wide = x.dtype == np.float64
    with np.errstate(all="ignore"):
        v = x.astype(np.float64)
        if where is not None:
            where = np.broadcast_to(where, x.shape)
            v = np.where(where, v, -np.inf)
        bad = np.isnan(v).any(axis=1) | (v == np.inf).any(axis=1)
        v = np.where(bad[:, None], 0.0, v)
        at, top = np.arange(len(v)), np.argmax(v, axis=1)
        m = v[at, top]
        empty = m == -np.inf
        m = np.where(empty, 0.0, m)
        hi, lo = two_sum(v, -m[:, None])
        finite = np.isfinite(hi)
        lo = np.where(finite, lo, 0.0)
        if temperature is not None:
            q = _divide((np.where(finite, hi, 0.0), lo), temperature)
            hi, lo = np.where(finite, q[0], hi), np.where(finite, q[1], 0.0)
        d = hi, lo
        h, tail, k = _exp(d, wide)
        # Lifted out of the subnormal range, where every term would lose bits of its own.
        lift = 900 if wide else 0
        h, tail = np.ldexp(h, k + lift), np.ldexp(tail, k + lift) * np.ones_like(h)
        h[at, top] = 0.0
        tail[at, top] = 0.0
        rest = (
            [np.ldexp(_dd_fsum(a, b), -lift) for a, b in zip(h, tail, strict=True)]
            if wide
            else [(s, 0.0) for s in fsum_rows(h)]
        )
    return _Rows(d, m, rest, bad | empty, where)


def _finish(rows: _Rows, ref: Ref, masked_value: float) -> Ref:
    """Put NaN and the masked value where they belong."""
    shape = ref.hi.shape
    nan = np.broadcast_to(rows.nan[:, None], shape)
    hi, lo, k = ref.hi, np.broadcast_to(ref.lo, shape), np.broadcast_to(ref.k, shape)
    hi, lo, k = np.where(nan, np.nan, hi), np.where(nan, 0.0, lo), np.where(nan, 0, k)
    if rows.kept is not None:
        hi = np.where(rows.kept, hi, masked_value)
        lo, k = np.where(rows.kept, lo, 0.0), np.where(rows.kept, k, 0)
    return Ref(hi, lo, k)


def _column(pairs) -> tuple[np.ndarray, np.ndarray]:
    a = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return a[:, :1], a[:, 1:]


def softmax(x, *, temperature=None, where=None) -> Ref:
    """exp(x[i]) / sum_k exp(x[k])."""
    x = np.asarray(x)
    if x.shape[1] == 0:
        return Ref(np.empty(x.shape))
    rows = _prepare(x, temperature, where)
    wide = x.dtype == np.float64
    h, tail, k = _exp(rows.d, wide)
    rest = _column(rows.rest)
    with np.errstate(all="ignore"):
        total = dd_add((np.ones_like(rest[0]), np.zeros_like(rest[0])), rest)
        if wide:
            q = dd_div((h, tail), tuple(np.broadcast_to(t, h.shape) for t in total))
            zero = rows.d[0] == -np.inf
            ref = Ref(np.where(zero, 0.0, q[0]), np.where(zero, 0.0, q[1]), np.where(zero, 0, k))
        else:
            ref = Ref(h / total[0])
    return _finish(rows, ref, 0.0)


def _log1p(pair) -> tuple[float, float]:
    v = mpmath.log1p(mpmath.mpf(float(pair[0])) + mpmath.mpf(float(pair[1])))
    return _split(v)[:2]


def log_softmax(x, *, temperature=None, where=None) -> Ref:
    """x[i] - log(sum_k exp(x[k])), as (x[i] - max) - log1p(the rest): nothing cancels."""
    x = np.asarray(x)
    if x.shape[1] == 0:
        return Ref(np.empty(x.shape))
    rows = _prepare(x, temperature, where)
    with np.errstate(all="ignore"):
        if x.dtype == np.float64:
            ln = _column([_log1p(p) for p in rows.rest])
            r = dd_add(rows.d, tuple(np.broadcast_to(-v, rows.d[0].shape) for v in ln))
            masked = rows.d[0] == -np.inf
            ref = Ref(np.where(masked, -np.inf, r[0]), np.where(masked, 0.0, r[1]))
        else:
            ref = Ref(rows.d[0] - np.log1p(_column(rows.rest)[0]))
    return _finish(rows, ref, -np.inf)


def logsumexp(x, *, where=None) -> Ref:
    """log(sum_k exp(x[k])), one value per row."""
    x = np.asarray(x)
    if x.shape[1] == 0:
        return Ref(np.full(len(x), -np.inf))
    rows = _prepare(x, None, where)
    kept = x.astype(np.float64)
    if where is not None:
        kept = np.where(np.broadcast_to(where, x.shape), kept, -np.inf)
    nan, inf = np.isnan(kept).any(axis=1), (kept == np.inf).any(axis=1)
    finite = ~(nan | inf | rows.nan)
    if x.dtype == np.float64:
        pairs = [
            _split(mpmath.mpf(float(m)) + mpmath.log1p(mpmath.mpf(s[0]) + mpmath.mpf(s[1])))[:2]
            for m, s in zip(rows.largest, rows.rest, strict=True)
        ]
        hi, lo = (v[:, 0] for v in _column(pairs))
    else:
        hi, lo = two_sum(rows.largest, np.log1p(_column(rows.rest)[0][:, 0]))
    special = np.where(nan, np.nan, np.where(inf, np.inf, -np.inf))
    return Ref(np.where(finite, hi, special), np.where(finite, lo, 0.0))


def _weighted(dy, y, wide):
    """Per row, the exact sum of dy * y, as a column pair."""
    if wide:
        return _column([_dd_fsum(*two_prod(a, b)) for a, b in zip(dy, y, strict=True)])
    s = fsum_rows(dy * y)[:, None]
    return s, np.zeros_like(s)


def _divide(pair, temperature):
    if temperature is None:
        return pair
    t = np.broadcast_to(np.asarray(temperature, dtype=np.float64), pair[0].shape)
    return dd_div(pair, (t, np.zeros_like(t)))


def softmax_vjp(dy, y, *, temperature=None) -> Ref:
    """y[i] * (dy[i] - sum_k y[k] dy[k]) / temperature; finite input."""
    wide = np.asarray(y).dtype == np.float64
    dy, y = np.asarray(dy).astype(np.float64), np.asarray(y).astype(np.float64)
    if y.shape[1] == 0:
        return Ref(np.empty(y.shape))
    dot = _weighted(dy, y, wide)
    zero = np.zeros_like(dy)
    r = dd_add((dy, zero), tuple(np.broadcast_to(-v, dy.shape) for v in dot))
    r = dd_mul(r, (y, zero))
    return Ref(*_divide(r, temperature))


def log_softmax_vjp(dy, y, *, temperature=None) -> Ref:
    """(dy[i] - exp(y[i]) * sum_k dy[k]) / temperature; finite dy, y finite or -inf."""
    wide = np.asarray(y).dtype == np.float64
    dy, y = np.asarray(dy).astype(np.float64), np.asarray(y).astype(np.float64)
    if y.shape[1] == 0:
        return Ref(np.empty(y.shape))
    zero = np.zeros_like(dy)
    total = _column([_dd_fsum(row) for row in dy])
    with np.errstate(under="ignore", invalid="ignore"):
        if wide:
            s, k = dd_exp((y, zero))
            p = np.ldexp(s[0], k), np.ldexp(s[1], k)
        else:
            p = np.exp(y), zero
        r = dd_mul(p, tuple(np.broadcast_to(-v, dy.shape) for v in total))
        r = dd_add((dy, zero), r)
    return Ref(*_divide(r, temperature))


def log_softmax_total(x, log_total: Ref) -> Ref:
    """x[i] - log(total) where the total was gathered elsewhere; finite total, one per row."""
    x = np.asarray(x).astype(np.float64)
    ln = (log_total.hi[:, None], np.asarray(log_total.lo) * np.ones(len(x)))
    ln = -ln[0], -np.reshape(ln[1], (-1, 1))
    with np.errstate(all="ignore"):
        r = dd_add((x, np.zeros_like(x)), tuple(np.broadcast_to(v, x.shape) for v in ln))
        masked = x == -np.inf
    return Ref(np.where(masked, -np.inf, r[0]), np.where(masked, 0.0, r[1]))


def softmax_total(x, log_total: Ref) -> Ref:
    """exp(x[i]) / total."""
    r = log_softmax_total(x, log_total)
    s, k = dd_exp((r.hi, np.asarray(r.lo)))
    zero = r.hi == -np.inf
    return Ref(np.where(zero, 0.0, s[0]), np.where(zero, 0.0, s[1]), np.where(zero, 0, k))
