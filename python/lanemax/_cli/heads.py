# SPDX-License-Identifier: Apache-2.0
"""What ``check`` verifies of the Fourier head: against its formula in float64, on every tier."""

from __future__ import annotations

import numpy as np

import lanemax as lm

from .layers import EVERY, Layer, Operands
from .oracle import FORMATS, Array

#: Frequencies and bins: one block; more frequencies than bins; several blocks; transforms of 2^k
#: and by a chirp.
CASES = ((12, 50), (15, 11), (15, 600), (40, 1024), (70, 300))

#: Error of a probability over the largest of its row; float64: 2^-29 of that.
BOUND = 2e-6


def _coefficients(o: Operands, frequencies: int) -> Array:
    coef: Array = np.resize(o.hidden, (len(o.hidden), 2 * (frequencies + 1)))
    return coef


def _wide(coef: Array) -> Array:
    """The complex coefficients, in extended precision where there is one."""
    terms = coef.shape[1] // 2
    wide = coef.astype(np.float64).astype(np.longdouble)
    a: Array = wide[:, :terms] + 1j * wide[:, terms:]
    return a


def _pi() -> Array:
    pi: Array = 4 * np.arctan(np.longdouble(1))
    return pi


def _series(coef: Array, bins: int) -> tuple[Array, Array]:
    """A(x) at the centres, and the waves, in extended precision where there is one."""
    a = _wide(coef)
    turns = np.outer(np.arange(a.shape[1]), 2 * np.arange(bins) + 1 - bins) % (2 * bins)
    waves: Array = np.exp(1j * _pi() * turns / bins)
    values: Array = a @ waves
    return values, waves


def _probabilities(coef: Array, bins: int) -> Array:
    """Bins by the formula."""
    squares = abs(_series(coef, bins)[0]) ** 2
    q: Array = squares / squares.sum(axis=1, keepdims=True)
    return q


def _room(o: Operands, q: Array) -> Array:
    stored = FORMATS[str(o.hidden.dtype)]
    last, least = 2.0**-stored.bits, 2.0 ** (stored.least - stored.bits)
    most = BOUND * (2.0**-29 if o.hidden.dtype == np.float64 else 1) * q.max(axis=1, keepdims=True)
    room: Array = most + (last * q + least if o.hidden.dtype.itemsize == 2 else 0)
    return room


def _run_bins(o: Operands) -> tuple[Array, ...]:
    return tuple(lm.fourier_bins(_coefficients(o, n), bins) for n, bins in CASES)


def _bins_error(o: Operands, found: tuple[Array, ...]) -> float:
    worst = 0.0
    for (n, bins), got in zip(CASES, found, strict=True):
        q = _probabilities(_coefficients(o, n), bins)
        # the formula itself in float64 is right to some 16 digits
        error = abs(got.astype(np.float64) - q) - 1e-15 * q.max(axis=1, keepdims=True)
        worst = max(worst, float(np.max(error / _room(o, q))))
    return worst


def _upstream(o: Operands, bins: int) -> Array:
    drawn = np.random.default_rng(bins).standard_normal((len(o.hidden), bins))
    dy: Array = drawn.astype(o.hidden.dtype)
    return dy


def _run_vjp(o: Operands) -> tuple[Array, ...]:
    return tuple(
        lm.fourier_log_bins_vjp(_upstream(o, bins), _coefficients(o, n), bins) for n, bins in CASES
    )


def _vjp_error(o: Operands, found: tuple[Array, ...]) -> float:
    worst = 0.0
    stored = FORMATS[str(o.hidden.dtype)]
    last, least = 2.0**-stored.bits, 2.0 ** (stored.least - stored.bits)
    for (n, bins), got in zip(CASES, found, strict=True):
        values, waves = _series(_coefficients(o, n), bins)
        whole = (abs(values) ** 2).sum(axis=1, keepdims=True)
        q = abs(values) ** 2 / whole
        g = _upstream(o, bins).astype(np.float64) / (q + 1e-5)
        mean = (g * q).sum(axis=1, keepdims=True)
        slope = 2 / whole * ((g - mean) * values) @ waves.conj().T
        terms = abs(g) + (abs(g) * q).sum(axis=1, keepdims=True)
        # A itself is a sum, of which little may be left where the density is nearly 0
        coef = _coefficients(o, n).astype(np.float64)
        most = np.hypot(*np.split(coef, 2, axis=1)).sum(axis=1, keepdims=True)
        size = (2 / whole * terms).sum(axis=1, keepdims=True) * most
        exact = np.concatenate([slope.real, slope.imag], axis=1)
        room = 6 * o.unit * size + (last * abs(exact) + least if got.dtype.itemsize == 2 else 0)
        worst = max(worst, float(np.max(abs(got.astype(np.float64) - exact) / room)))
    return worst


def _run_loss(o: Operands) -> tuple[Array, ...]:
    found: list[Array] = []
    for n, bins in CASES:
        target = np.where(o.target < 0, o.target, o.target % bins)
        found += lm.fourier_cross_entropy_and_grad(
            _coefficients(o, n), target, bins, reduction="none"
        )
    return tuple(found)


def _loss_error(o: Operands, found: tuple[Array, ...]) -> float:
    worst = 0.0
    for (n, bins), loss in zip(CASES, found[::2], strict=True):
        q = _probabilities(_coefficients(o, n), bins)
        kept = o.target >= 0
        rows = np.flatnonzero(kept)
        hit = q[rows, o.target[rows] % bins]
        want = np.log((1 + 1e-5 * bins) / (hit + 1e-5))
        unit = o.unit
        most = BOUND * (2.0**-29 if unit < 1e-10 else 1) * q.max(axis=1)[rows]
        room = most / (hit + 1e-5) + 8 * unit * want
        worst = max(worst, float(np.max(abs(loss[rows].astype(np.float64) - want) / room)))
        if np.any(loss[~kept] != 0):
            return float("inf")
    return worst


def _points(rows: int) -> Array:
    """From end to end, in steps whose multiples float64 holds exactly."""
    points: Array = np.clip((2 * np.arange(rows) - rows) / 64, -1, 1)
    return points


def _run_points(o: Operands) -> tuple[Array, ...]:
    coef, x = _coefficients(o, 15), _points(len(o.hidden))
    return (
        lm.fourier_density(coef, x),
        lm.fourier_cdf(coef, x),
        lm.fourier_mean(coef),
        lm.fourier_variance(coef),
        lm.fourier_sample(coef, rng=3),
        *lm.fourier_nll_and_grad(coef, x, gamma=1e-6, reduction="none"),
    )


def _points_error(o: Operands, found: tuple[Array, ...]) -> float:
    """Compare the density with its formula; the cdf's ends, and samples, are what they must be."""
    coef, x = _coefficients(o, 15), _points(len(o.hidden))
    a = _wide(coef)
    terms = a.shape[1]
    wave = np.exp(1j * np.pi * np.arange(terms) * x[:, None])
    p = abs((a * wave).sum(axis=1)) ** 2 / (2 * (abs(a) ** 2).sum(axis=1))
    most = np.full(p.shape, terms / 2)
    stored = FORMATS[str(o.hidden.dtype)]
    room = most * BOUND * (2.0**-29 if o.hidden.dtype == np.float64 else 1) + 2.0**-stored.bits * p
    if found[1][0] != 0 or found[1][-1] != 1 or np.any(abs(found[4].astype(np.float64)) > 1):
        return float("inf")
    error = abs(found[0].astype(np.float64) - p) - 1e-15 * most  # the formula's own
    return max(0.0, float(np.max(error / room)))


def _run_integrals(o: Operands) -> tuple[Array, ...]:
    coef = _coefficients(o, 15)
    return (
        lm.fourier_cdf(coef, _points(len(coef))),
        lm.fourier_mean(coef),
        lm.fourier_variance(coef),
        lm.fourier_bins(coef, 40, exact=True),
    )


def _exact_integrals(o: Operands) -> tuple[Array, ...]:
    """The same from the correlation of the coefficients."""
    a = _wide(_coefficients(o, 15))
    terms = a.shape[1]
    whole = (abs(a) ** 2).sum(axis=1)
    k = np.arange(1, terms)
    c = np.stack([(a[:, i:] * a[:, : terms - i].conj()).sum(axis=1) for i in k], axis=1)
    c = c / whole[:, None]
    sign, at = (-1.0) ** k, _pi() * k

    def cdf(x: Array) -> Array:
        turn = np.exp(1j * at * x[..., None]) - sign
        y: Array = (x + 1) / 2 + (c[:, None] * turn / (1j * at)).real.sum(axis=-1)
        return y

    x = _points(len(a)).astype(np.longdouble)
    mean = (2 * sign * c.imag / at).sum(axis=1)
    square = np.longdouble(1) / 3 + (4 * sign * c.real / at**2).sum(axis=1)
    edges = 2 * np.arange(41).astype(np.longdouble) / 40 - 1
    return cdf(x[:, None])[:, 0], mean, square - mean**2, np.diff(cdf(edges[None, :]), axis=1)


def _integrals_error(o: Operands, found: tuple[Array, ...]) -> float:
    worst = 0.0
    for got, want in zip(found, _exact_integrals(o), strict=True):
        stored = FORMATS[str(got.dtype)]
        # the formula in float64 is right to some 15 digits, bins are no further off
        room = 1e-14 + 2.0**-stored.bits * abs(want) + 2.0 ** (stored.least - stored.bits)
        worst = max(worst, float(np.max(abs(got.astype(np.float64) - want) / room)))
    return worst


HEADS = (
    Layer("fourier_bins", "2e-6 of the largest", EVERY, _run_bins, _bins_error),
    Layer("fourier_log_bins_vjp", "6 u of the terms", EVERY, _run_vjp, _vjp_error),
    Layer("fourier_cross_entropy_and_grad", "what bins allow", EVERY, _run_loss, _loss_error),
    Layer("fourier_density", "2e-6 of the largest", EVERY, _run_points, _points_error),
    Layer(
        "fourier_cdf, moments, masses",
        "1e-14 and rounding",
        EVERY,
        _run_integrals,
        _integrals_error,
    ),
)
