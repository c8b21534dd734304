# SPDX-License-Identifier: Apache-2.0
"""What ``check`` verifies of output layers: against the dense layer in float64, on every tier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import lanemax as lm

from .oracle import FORMATS, Array

ROWS, DEPTH, CLASSES = 70, 33, 2100


@dataclass(frozen=True)
class Operands:
    """A layer and a batch."""

    hidden: Array
    weight: Array
    bias: Array
    target: Array

    @property
    def unit(self) -> float:
        """The unit roundoff of what they are computed in."""
        return 2.0**-53 if self.hidden.dtype == np.float64 else 2.0**-24


def operands(dtype: np.dtype[Any]) -> Operands:
    """Return the same operands in every run."""
    rng = np.random.default_rng(5)
    hidden = rng.standard_normal((ROWS, DEPTH)).astype(dtype)
    weight = (0.4 * rng.standard_normal((CLASSES, DEPTH))).astype(dtype)
    bias = rng.standard_normal(CLASSES).astype(dtype)
    target = rng.integers(0, CLASSES, ROWS)
    target[::9] = -100
    return Operands(hidden, weight, bias, target)


@dataclass(frozen=True)
class Layer:
    """One row of the check.

    Attributes
    ----------
    name : str
        As the table shows it.
    bound : str
        The same of the bound that `error` counts in.
    types : tuple of str
        Element types that it has.
    run : callable
        Calls the library and returns all that it gives.
    error : callable
        The largest error of that, as a multiple of the bound.
    """

    name: str
    bound: str
    types: tuple[str, ...]
    run: Callable[[Operands], tuple[Array, ...]]
    error: Callable[[Operands, tuple[Array, ...]], float]


@dataclass(frozen=True)
class Dense:
    """All logits, losses and gradients, in float64."""

    terms: Array  # sums of the logits' absolute terms
    logits: Array
    lse: Array
    loss: Array
    gradient: Array

    @classmethod
    def of(cls, o: Operands) -> Dense:
        """Compute them."""
        h, w, b = (a.astype(np.float64) for a in (o.hidden, o.weight, o.bias))
        logits = h @ w.T + b
        most = logits.max(axis=1)
        lse = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        kept = o.target >= 0
        rows, own = np.arange(ROWS), np.where(kept, o.target, 0)
        gradient = np.exp(logits - lse[:, None])
        gradient[rows, own] -= 1
        gradient *= kept[:, None]
        loss = np.where(kept, lse - logits[rows, own], 0)
        return cls(abs(h) @ abs(w).T + abs(b), logits, lse, loss, gradient)


def _worst(error: Array, room: Array) -> float:
    return float(np.max(error / np.where(room > 0, room, np.inf), initial=0.0))


def _logit_room(o: Operands, d: Dense) -> Array:
    # a chain of d FMAs and the bias, and as much again for float64's own
    room: Array = 2 * (DEPTH + 2) * o.unit * d.terms
    return room


def _run_loss(o: Operands) -> tuple[Array, ...]:
    loss, *gradients = lm.linear_cross_entropy_and_grad(
        o.hidden, o.weight, o.target, bias=o.bias, reduction="none"
    )
    return (loss, *gradients, lm.linear_logsumexp(o.hidden, o.weight, bias=o.bias))


def _loss_error(o: Operands, found: tuple[Array, ...]) -> float:
    loss, dh, dw, db, lse = (a.astype(np.float64) for a in found)
    d = Dense.of(o)
    moved = _logit_room(o, d).max(axis=1)
    errors = [
        _worst(abs(loss - d.loss), 2 * moved + 3 * o.unit * d.loss),
        _worst(abs(lse - d.lse), moved + 3 * o.unit * abs(d.lse)),
    ]
    # each probability is off by what the logits are; sums of products by their own roundings
    size = abs(d.gradient) * (2 * moved[:, None] + (CLASSES // 256 + 260) * o.unit)
    stored = FORMATS[str(o.hidden.dtype)]
    last, least = 2.0**-stored.bits, 2.0 ** (stored.least - stored.bits)
    h, w = o.hidden.astype(np.float64), o.weight.astype(np.float64)
    for got, exact, room in (
        (dh, d.gradient @ w, size @ abs(w)),
        (dw, d.gradient.T @ h, size.T @ abs(h)),
        (db, d.gradient.sum(axis=0), size.sum(axis=0)),
    ):
        errors.append(_worst(abs(got - exact), room + last * abs(exact) + least))
    return max(errors)


def _run_topk(o: Operands) -> tuple[Array, ...]:
    return lm.linear_topk(o.hidden, o.weight, CLASSES, bias=o.bias)


def _topk_error(o: Operands, found: tuple[Array, ...]) -> float:
    values, classes = found
    if not np.array_equal(np.sort(classes, axis=1), np.tile(np.arange(CLASSES), (ROWS, 1))):
        return float("inf")
    if np.any(np.diff(values.astype(np.float64), axis=1) > 0):
        return float("inf")
    d = Dense.of(o)
    exact = np.take_along_axis(d.logits, classes, axis=1)
    room = np.take_along_axis(_logit_room(o, d), classes, axis=1)
    stored = 2.0 ** -FORMATS[str(o.hidden.dtype)].bits * abs(exact)
    return _worst(abs(values.astype(np.float64) - exact), room + stored)


STEPS, RATE, DECAY = 20, 0.05, 0.01


def _batches() -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(6)
    return [
        (rng.standard_normal((ROWS, DEPTH)), rng.integers(0, CLASSES // 50, ROWS))
        for _ in range(STEPS)
    ]


def _run_spherical(o: Operands) -> tuple[Array, ...]:
    layer = lm.SphericalOutput(o.weight, loss="z")
    losses = [
        layer.step(h.astype(o.hidden.dtype), t, RATE, weight_decay=DECAY)[0] for h, t in _batches()
    ]
    return np.array(losses), layer.weight()


def _spherical_error(o: Operands, found: tuple[Array, ...]) -> float:
    """Compare with dense gradient descent, whose gradient is that of `z_loss`."""
    weight, losses = o.weight.astype(np.float64), []
    for hidden, target in _batches():
        h = hidden.astype(o.hidden.dtype).astype(np.float64)
        z = h @ weight.T
        deviation = z.std(axis=1, keepdims=True)
        z = (z - z.mean(axis=1, keepdims=True)) / deviation
        rows = np.arange(ROWS)
        own = z[rows, target][:, None]
        r = 1 / (1 + np.exp(own))
        g = r / (CLASSES * deviation) * (1 + own * z)
        g[rows, target] -= (r / deviation)[:, 0]
        losses.append(np.logaddexp(0, -own).mean())
        weight = (1 - RATE * DECAY) * weight - RATE / ROWS * g.T @ h
    most = 1e-10 if o.hidden.dtype == np.float64 else 5e-7
    off = np.linalg.norm(found[1] - weight) / np.linalg.norm(weight)
    return float(max(off, np.max(abs(found[0] - losses) / losses)) / most)


EVERY = ("float32", "float64", "float16", "bfloat16")

LAYERS = (
    Layer("linear_cross_entropy_and_grad", "dense layer's rounding", EVERY, _run_loss, _loss_error),
    Layer("linear_topk", "dense layer's rounding", EVERY, _run_topk, _topk_error),
    Layer(
        "SphericalOutput.step",
        "1e-10 (float32: 5e-7)",
        ("float32", "float64"),
        _run_spherical,
        _spherical_error,
    ),
)
