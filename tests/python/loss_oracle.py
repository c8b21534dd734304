# SPDX-License-Identifier: Apache-2.0
"""The losses at 50 digits, by their formulas, one row at a time: slow and plain."""

from __future__ import annotations

from dataclasses import dataclass

import mpmath as mp

DIGITS = 60


@dataclass
class Row:
    """A loss, its gradient, and the sum of the absolute terms of each entry of the gradient."""

    loss: mp.mpf
    grad: list
    terms: list


def _softmax(o):
    top = max(o)
    e = [mp.exp(v - top) if v != mp.ninf else mp.mpf(0) for v in o]
    total = mp.fsum(e)
    return [v / total for v in e], top + mp.log(total)


def cross_entropy(o, t):
    return comp_sum_loss(o, t, 1)


def comp_sum_loss(o, t, tau):
    p, _ = _softmax(o)
    theta = mp.mpf(tau) - 1
    rest = mp.fsum(v for k, v in enumerate(p) if k != t)
    ell = mp.log1p(-rest) if rest < mp.mpf("0.5") else mp.log(p[t])
    loss = -ell if theta == 0 else -mp.expm1(theta * ell) / theta
    w = mp.exp(theta * ell)
    grad = [w * v for v in p]
    terms = [w * v for v in p]
    grad[t] = -w * rest
    terms[t] = w * (1 + p[t])
    return Row(loss, grad, terms)


def generalized_cross_entropy(o, t, q):
    return comp_sum_loss(o, t, mp.mpf(q) + 1)


def mae_loss(o, t):
    return comp_sum_loss(o, t, 2)


def _softplus(u):
    return u + mp.log1p(mp.exp(-u)) if u > 0 else mp.log1p(mp.exp(u))


def z_loss(o, t, a, b):
    a, b, D = mp.mpf(a), mp.mpf(b), len(o)
    mean = mp.fsum(o) / D
    var = mp.fsum((v - mean) ** 2 for v in o) / D
    if var <= mp.mpf(2) ** -40 * mp.fsum(v * v for v in o) / D:
        return Row(_softplus(a * b) / a, [mp.mpf(0)] * D, [mp.mpf(0)] * D)
    std = mp.sqrt(var)
    z = [(v - mean) / std for v in o]
    u = a * (b - z[t])
    r = 1 / (1 + mp.exp(-u))
    f = r / (D * std)
    grad = [f * (1 + z[t] * z[k] - D * (k == t)) for k in range(D)]
    terms = [f * (1 + abs(z[t] * z[k]) + D * (k == t)) for k in range(D)]
    return Row(_softplus(u) / a, grad, terms)


def _ratio(value, slope, o, t, slope_terms=None):
    """-log of the target's share of the sum of value(o)."""
    slope_terms = slope_terms or (lambda v: abs(slope(v)))
    f = [value(v) for v in o]
    total = mp.fsum(f)
    rest = mp.fsum(v for k, v in enumerate(f) if k != t)
    loss = mp.inf if f[t] == 0 else mp.log1p(rest / f[t])
    grad = [slope(v) / total for v in o]
    terms = [slope_terms(v) / total for v in o]
    if f[t] == 0:
        grad[t], terms[t] = mp.mpf(0), mp.mpf(0)
    else:
        grad[t] = -slope(o[t]) * rest / (total * f[t])
        terms[t] += slope_terms(o[t]) / f[t]
    return Row(loss, grad, terms)


def spherical_softmax_loss(o, t, eps):
    eps = mp.mpf(eps)
    return _ratio(lambda v: v * v + eps, lambda v: 2 * v, o, t)


def taylor_softmax_loss(o, t, order):
    def poly(v, n):
        return mp.fsum(v**k / mp.factorial(k) for k in range(n + 1))

    n = int(order)
    return _ratio(lambda v: poly(v, n), lambda v: poly(v, n - 1), o, t,
                  lambda v: poly(abs(v), n - 1))  # fmt: skip


def stablemax_cross_entropy(o, t):
    def s(v):
        return v + 1 if v >= 0 else 1 / (1 - v)

    def slope(v):
        return mp.mpf(1) if v >= 0 else 1 / (1 - v) ** 2

    return _ratio(s, slope, o, t)


def one_hot_mse_loss(o, t, smoothing=0):
    D, s = len(o), mp.mpf(smoothing)
    y = [s / D + (1 - s) * (k == t) for k in range(D)]
    d = [v - w for v, w in zip(o, y, strict=True)]
    return Row(
        mp.fsum(v * v for v in d),
        [2 * v for v in d],
        [2 * (abs(v) + w) for v, w in zip(o, y, strict=True)],
    )


def bouchard_loss(o, t):
    if len(o) == 1:
        return Row(mp.mpf(0), [mp.mpf(0)], [mp.mpf(2)])
    # A confident row leaves D exp(-xi) of terms of the order of xi; below 1e-330 nobody sees it.
    lost = min((max(o) - min(o)) / 2 / mp.log(10), 330)
    with mp.workdps(mp.mp.dps + int(lost)):
        return _bouchard(o, t)


def _bouchard(o, t):
    D = len(o)
    mean = mp.fsum(o) / D
    var = mp.fsum((v - mean) ** 2 for v in o) / D

    def bound(xi):
        lam = (1 / (1 + mp.exp(-xi)) - mp.mpf("0.5")) / (2 * xi)
        return (
            -((D - 2) ** 2) / (16 * D * lam) - D * xi / 2 - D * lam * xi**2
            + D * mp.log(1 + mp.exp(xi)) + mean + lam * D * var - o[t]
        )  # fmt: skip

    # the best parameter by the fixed point xi^2 = var + (mean - alpha)^2, as a root in xi
    def excess(xi):
        lam = (1 / (1 + mp.exp(-xi)) - mp.mpf("0.5")) / (2 * xi)
        return xi**2 - var - (mp.mpf(D - 2) / (4 * D * lam)) ** 2

    lo, hi = mp.mpf(10) ** -30, mp.mpf(1)
    while excess(hi) < 0:
        hi *= 2
    for _ in range(150):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if excess(mid) < 0 else (lo, mid)
    xi = mp.findroot(excess, (lo, hi), verify=False)
    slope = (1 / (1 + mp.exp(-xi)) - mp.mpf("0.5")) / xi
    # from the mean of the others, for there the terms of a confident row's gradient are its size
    others = (D * mean - o[t]) / (D - 1)
    beta = 1 - slope * (o[t] - others)
    grad = [beta / D + slope * (v - others) for v in o]
    terms = [abs(beta) / D + slope * abs(v - others) for v in o]
    grad[t] = beta / D - beta
    terms[t] = abs(beta)
    return Row(bound(xi), grad, terms)
