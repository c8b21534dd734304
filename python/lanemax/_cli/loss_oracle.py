# SPDX-License-Identifier: Apache-2.0
"""What the losses should be, in the arithmetic of `oracle`: float64, or double-double for float64.

Each function takes logits x (rows, cols) and targets t (rows,), and returns the loss of each row,
its gradient, and the sum of the absolute terms of each entry of the gradient. -inf is not among the
logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import oracle
from .oracle import Arithmetic, Array, Exact, Pair


@dataclass(frozen=True)
class Loss:
    """Exact values: one per row, and one per element."""

    value: Exact
    gradient: Exact
    terms: Array


#: (x, t, arithmetic) -> the exact loss
Formula = Callable[[Array, Array, Arithmetic], Loss]


def _pair(a: Array) -> Pair:
    return Pair(a, np.zeros_like(a))


def _minus(a: Pair) -> Pair:
    return Pair(-a.hi, -a.lo)


def _plus(m: Arithmetic, a: Pair, b: float) -> Pair:
    return m.add(a, _pair(np.full_like(a.hi, b)))


def _times(m: Arithmetic, a: Pair, b: float) -> Pair:
    return m.multiply(a, _pair(np.full_like(a.hi, b)))


def _at(a: Pair, t: Array) -> Pair:
    """Return the entries of the targets, as a column."""
    lo = np.broadcast_to(a.lo, a.hi.shape)
    return Pair(np.take_along_axis(a.hi, t[:, None], -1), np.take_along_axis(lo, t[:, None], -1))


def _without(a: Pair, t: Array) -> Pair:
    hi, lo = a.hi.copy(), np.broadcast_to(a.lo, a.hi.shape).copy()
    np.put_along_axis(hi, t[:, None], 0.0, -1)
    np.put_along_axis(lo, t[:, None], 0.0, -1)
    return Pair(hi, lo)


def _put(a: Pair, t: Array, v: Pair) -> Pair:
    hi, lo = a.hi.copy(), np.broadcast_to(a.lo, a.hi.shape).copy()
    np.put_along_axis(hi, t[:, None], v.hi, -1)
    np.put_along_axis(lo, t[:, None], np.broadcast_to(v.lo, v.hi.shape), -1)
    return Pair(hi, lo)


def _exact(a: Pair) -> Exact:
    return oracle.exact(a.hi, np.broadcast_to(a.lo, a.hi.shape))


def _scaled(a: Pair | Exact, shift: Array) -> Pair:
    """Return a * 2**shift."""
    return Pair(np.ldexp(a.hi, shift), np.ldexp(a.lo + 0 * a.hi, shift))


def _column(a: Pair) -> Pair:
    return Pair(a.hi[:, None], a.lo[:, None])


def _sqrt(m: Arithmetic, a: Pair) -> Pair:
    """Return the square root, by a Newton step on that of the leading part."""
    root = np.sqrt(a.hi)
    wrong = m.add(a, _minus(m.product(root, root)))
    step = wrong.hi / (2.0 * np.where(root > 0.0, root, 1.0))
    return m.add(_pair(root), _pair(np.where(root > 0.0, step, 0.0)))


def _row(a: Pair) -> Exact:
    return oracle.exact(a.hi[:, 0], np.broadcast_to(a.lo, a.hi.shape)[:, 0])


@dataclass(frozen=True)
class Positive:
    """A positive function of every logit: its values, its slope, whose terms add up to `terms`."""

    f: Pair
    slope: Pair
    terms: Array


def spherical(x: Array, m: Arithmetic) -> Positive:
    """x^2 + eps, eps = 1e-4."""
    return Positive(_plus(m, m.product(x, x), 1e-4), _pair(2.0 * x), np.abs(2.0 * x))


def taylor(x: Array, m: Arithmetic) -> Positive:
    """Order 2: ((x + 1)^2 + 1) / 2."""
    u = m.difference(x, -np.ones_like(x))
    return Positive(_times(m, _plus(m, m.multiply(u, u), 1.0), 0.5), u, 1.0 + np.abs(x))


def stable(x: Array, m: Arithmetic) -> Positive:
    """x + 1, or 1 / (1 - x) below 0."""
    one = np.ones_like(x)
    small = m.divide(_pair(one), m.difference(one, np.minimum(x, 0.0)))
    large = m.difference(x, -one)
    square = m.multiply(small, small)
    below = x < 0
    f = Pair(np.where(below, small.hi, large.hi), np.where(below, small.lo, large.lo))
    slope = Pair(np.where(below, square.hi, 1.0), np.where(below, square.lo, 0.0))
    return Positive(f, slope, np.abs(slope.hi))


def _wide(a: Pair, like: Array) -> Pair:
    return Pair(np.broadcast_to(a.hi, like.shape), a.lo + 0 * like)


def _share(m: Arithmetic, p: Positive, t: Array) -> Loss:
    """-log(f[t] / sum f)."""
    own, rest = _at(p.f, t), m.total(_without(p.f, t))
    total = m.add(own, rest)
    value = m.log1p(m.divide(rest, own))
    gradient = m.divide(p.slope, _wide(total, p.f.hi))
    at_target = _minus(m.divide(m.multiply(_at(p.slope, t), rest), m.multiply(total, own)))
    scale = p.terms / total.hi
    there = np.take_along_axis(scale, t[:, None], -1)
    there += np.take_along_axis(p.terms, t[:, None], -1) / own.hi
    np.put_along_axis(scale, t[:, None], there, -1)
    return Loss(_row(value), _exact(_put(gradient, t, at_target)), scale)


def shares(p: Positive, m: Arithmetic) -> Exact:
    """f / sum f."""
    return _exact(m.divide(p.f, _wide(m.total(p.f), p.f.hi)))


def log_shares(p: Positive, m: Arithmetic) -> Exact:
    """log(f / sum f) as -log1p(rest / f); for the largest, rest is a sum and no difference."""
    most = np.argmax(p.f.hi, axis=-1)
    total = m.total(p.f)
    rest = m.add(_wide(total, p.f.hi), _minus(p.f))
    rest = _put(rest, most, m.total(_without(p.f, most)))
    rest = Pair(np.maximum(rest.hi, 0.0), np.where(rest.hi > 0.0, rest.lo, 0.0))
    return _exact(_minus(m.log1p(m.divide(rest, p.f))))


def shares_vjp(dy: Array, p: Positive, m: Arithmetic) -> tuple[Exact, Array]:
    """The gradient through f / sum f, and the sum of its absolute terms."""
    total = _wide(m.total(p.f), dy)
    mean = m.divide(_wide(m.total(m.multiply(p.f, _pair(dy))), dy), total)
    outer = m.divide(p.slope, total)
    share = p.f.hi / total.hi
    size = np.abs(dy) + (share * np.abs(dy)).sum(axis=-1, keepdims=True)
    gradient = m.multiply(outer, m.add(_pair(dy), _minus(mean)))
    return _exact(gradient), np.abs(outer.hi) * size


def log_shares_vjp(dy: Array, p: Positive, m: Arithmetic) -> tuple[Exact, Array]:
    """The gradient through log(f / sum f), and the sum of its absolute terms."""
    share = m.divide(p.f, _wide(m.total(p.f), dy))
    sum_dy = _wide(m.total(_pair(dy)), dy)
    rate = m.divide(p.slope, p.f)
    gradient = m.multiply(rate, m.add(_pair(dy), _minus(m.multiply(share, sum_dy))))
    size = np.abs(dy) + share.hi * np.abs(dy).sum(axis=-1, keepdims=True)
    return _exact(gradient), np.abs(rate.hi) * size


def spherical_softmax_loss(x: Array, t: Array, m: Arithmetic) -> Loss:
    """eps is 1e-4."""
    return _share(m, spherical(x, m), t)


def taylor_softmax_loss(x: Array, t: Array, m: Arithmetic) -> Loss:
    """The order is 2."""
    return _share(m, taylor(x, m), t)


def stablemax_cross_entropy(x: Array, t: Array, m: Arithmetic) -> Loss:
    """No parameter."""
    return _share(m, stable(x, m), t)


def one_hot_mse_loss(x: Array, t: Array, m: Arithmetic) -> Loss:
    """The differences themselves, squared."""
    y = np.zeros_like(x)
    np.put_along_axis(y, t[:, None], 1.0, -1)
    d = m.difference(x, y)
    return Loss(_row(m.total(m.multiply(d, d))), _exact(_times(m, d, 2.0)), 2.0 * (np.abs(x) + y))


def cross_entropy(x: Array, t: Array, m: Arithmetic) -> Loss:
    """-log_softmax at the target, and softmax with -(1 - p) there."""
    rows = oracle.rows_of(x, m)
    log_p, p = oracle.log_softmax(rows), oracle.softmax(rows)
    index = np.arange(len(t)), t
    value = oracle.exact(-log_p.hi[index], -log_p.lo[index], log_p.shift[index])
    rest, total = _rest(rows, t, m)
    left = _minus(m.divide(rest, total))
    hi, lo, shift = p.hi.copy(), p.lo.copy(), p.shift.copy()
    hi[index], lo[index] = left.hi[:, 0], np.broadcast_to(left.lo, left.hi.shape)[:, 0]
    shift[index] = 0
    return Loss(value, oracle.exact(hi, lo, shift), np.abs(np.ldexp(hi, shift)))


def _exponential(rows: oracle.Rows) -> Pair:
    return _scaled(rows.exponential, rows.shift)


def _rest(rows: oracle.Rows, t: Array, m: Arithmetic) -> tuple[Pair, Pair]:
    """Return the sum of exp(x - max) without the target, and with it."""
    e = _exponential(rows)
    rest = m.total(_without(e, t))
    return rest, m.add(rest, _at(e, t))


def mae_loss(x: Array, t: Array, m: Arithmetic) -> Loss:
    """1 - p; the gradient is p (softmax - one-hot)."""
    rows = oracle.rows_of(x, m)
    rest, total = _rest(rows, t, m)
    left = m.divide(rest, total)
    e = _exponential(rows)
    p = m.divide(e, _wide(total, x))
    own = _at(p, t)
    gradient = m.multiply(p, _wide(own, x))
    gradient = _put(gradient, t, _minus(m.multiply(own, left)))
    scale = p.hi * own.hi
    np.put_along_axis(scale, t[:, None], own.hi * (1.0 + own.hi), -1)
    return Loss(_row(left), _exact(gradient), scale)


def comp_sum_loss(x: Array, t: Array, m: Arithmetic) -> Loss:
    """tau is 1: cross-entropy."""
    found = cross_entropy(x, t, m)
    terms = found.terms.copy()
    there = np.take_along_axis(terms, t[:, None], -1)
    np.put_along_axis(terms, t[:, None], 2.0 - there, -1)  # p + 1, where that is 1 - p
    return Loss(found.value, found.gradient, terms)


def generalized_cross_entropy(x: Array, t: Array, m: Arithmetic) -> Loss:
    """q is 0.7: (1 - exp(-q L)) / q with L = -log p; the gradient is p^q (softmax - one-hot)."""
    q = 0.7
    entropy = comp_sum_loss(x, t, m)
    u = _times(m, _column(_scaled(entropy.value, entropy.value.shift)), q)
    power = _scaled(*m.exp(_minus(u)))
    series = _pair(np.ones_like(u.hi))  # (1 - exp(-u)) / u = 1 - u/2 (1 - u/3 (1 - ...))
    for k in range(16, 1, -1):
        series = _plus(m, _minus(_over(m, m.multiply(u, series), float(k))), 1.0)
    series = m.multiply(u, series)
    rest = _plus(m, _minus(power), 1.0)
    small = u.hi < 0.25
    part = Pair(np.where(small, series.hi, rest.hi), np.where(small, series.lo, rest.lo))
    wide = _wide(power, x)
    gradient = m.multiply(wide, _scaled(entropy.gradient, entropy.gradient.shift))
    return Loss(_row(_over(m, part, q)), _exact(gradient), entropy.terms * wide.hi)


def smooth_adversarial(x: Array, a: Array, t: Array, m: Arithmetic) -> Exact:
    """tau, rho and nu are 1: cross-entropy, and the distance of the margins."""
    own = _at(m.difference(a, x), t)
    e = m.add(_wide(own, x), m.difference(x, a))
    value = cross_entropy(x, t, m).value
    distance = _sqrt(m, m.total(m.multiply(e, e)))
    return _row(m.add(_column(_scaled(value, value.shift)), distance))


def z_loss(x: Array, t: Array, m: Arithmetic) -> Loss:
    """a is 1, b is 0: softplus(-z[t])."""
    cols = float(x.shape[1])

    mean = _over(m, m.total(_pair(x)), cols)
    d = m.add(_pair(x), _minus(_wide(mean, x)))
    var = _over(m, m.total(m.multiply(d, d)), cols)
    flat = var.hi <= 2.0**-40 * np.mean(x * x, axis=-1, keepdims=True)
    var = Pair(np.where(flat, 1.0, var.hi), np.where(flat, 0.0, var.lo))
    std = _sqrt(m, var)
    z = m.divide(d, _wide(std, x))
    own = _at(z, t)
    own = Pair(np.where(flat, 0.0, own.hi), np.where(flat, 0.0, own.lo))
    sign = np.where(own.hi > 0, -1.0, 1.0)
    e = _scaled(*m.exp(Pair(sign * own.hi, sign * own.lo)))
    value = m.log1p(e)
    low = own.hi <= 0
    value = m.add(value, Pair(np.where(low, -own.hi, 0.0), np.where(low, -own.lo, 0.0)))
    # r = exp(-z) / (1 + exp(-z))
    r = m.divide(Pair(np.where(low, 1.0, e.hi), np.where(low, 0.0, e.lo)), _plus(m, e, 1.0))
    f = m.divide(r, _times(m, std, cols))
    product = m.multiply(z, _wide(own, x))
    inner = _plus(m, product, 1.0)
    inner = _put(inner, t, _plus(m, _at(inner, t), -cols))
    gradient = m.multiply(_wide(f, x), inner)
    terms = 1.0 + np.abs(product.hi)
    there = np.take_along_axis(terms, t[:, None], -1) + cols
    np.put_along_axis(terms, t[:, None], there, -1)
    scale = np.where(flat, 0.0, f.hi * terms)
    zero = np.where(flat, 0.0, 1.0)
    gradient = Pair(gradient.hi * zero, gradient.lo * zero)
    return Loss(_row(value), _exact(gradient), scale)


def _over(m: Arithmetic, a: Pair, b: float) -> Pair:
    return m.divide(a, _pair(np.full_like(a.hi, b)))


#: The losses that `check` compares with exact results; all others it compares in bits.
FORMULAS: dict[str, Formula] = {
    "cross_entropy": cross_entropy,
    "z_loss": z_loss,
    "spherical_softmax_loss": spherical_softmax_loss,
    "taylor_softmax_loss": taylor_softmax_loss,
    "one_hot_mse_loss": one_hot_mse_loss,
    "stablemax_cross_entropy": stablemax_cross_entropy,
    "mae_loss": mae_loss,
    "comp_sum_loss": comp_sum_loss,
    "generalized_cross_entropy": generalized_cross_entropy,
}
