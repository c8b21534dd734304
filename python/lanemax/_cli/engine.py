# SPDX-License-Identifier: Apache-2.0
"""What computes the demo's softmax and loss: lanemax, and what one would write without it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

import lanemax as lm

from .corpus import Ids
from .objective import Floats, Objective
from .text import optional


class Engine(Protocol):
    """The softmax of the attention, and the loss."""

    name: str

    def attention(self, scores: Floats) -> Floats:
        """Return the softmax of each row."""

    def attention_vjp(self, dy: Floats, y: Floats) -> Floats:
        """Return the gradient through `attention` from its result y."""

    def loss_and_grad(self, logits: Floats, targets: Ids, grad: Floats) -> float:
        """Return the mean loss; write the gradient of the *sum* into `grad`.

        `logits` may be overwritten.
        """


class Lanemax:
    """The library's own functions."""

    name = "lanemax"

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def attention(self, scores: Floats) -> Floats:
        """Return the softmax of each row."""
        y: Floats = lm.softmax(scores)
        return y

    def attention_vjp(self, dy: Floats, y: Floats) -> Floats:
        """Return the gradient through the softmax."""
        dx: Floats = lm.softmax_vjp(dy, y)
        return dx

    def loss_and_grad(self, logits: Floats, targets: Ids, grad: Floats) -> float:
        """Return the mean loss, with the gradient in the same call."""
        return self._objective.loss_and_grad(logits, targets, grad)


class PlainNumPy:
    """The same in NumPy, without temporaries where NumPy can do without."""

    name = "NumPy"

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def attention(self, scores: Floats) -> Floats:
        """Return the softmax of each row."""
        e: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
        e /= e.sum(axis=-1, keepdims=True)
        return e

    def attention_vjp(self, dy: Floats, y: Floats) -> Floats:
        """Return the gradient through the softmax."""
        dx: Floats = y * (dy - (y * dy).sum(axis=-1, keepdims=True))
        return dx

    def loss_and_grad(self, logits: Floats, targets: Ids, grad: Floats) -> float:
        """Return the mean loss by the formula."""
        return self._objective.plain(logits, targets, grad)


class SciPy(PlainNumPy):
    """The same with scipy.special, as a SciPy user writes it."""

    name = "SciPy"

    def __init__(self, objective: Objective, special: Any) -> None:
        super().__init__(objective)
        self._special = special

    def attention(self, scores: Floats) -> Floats:
        """Return the softmax of each row."""
        y: Floats = self._special.softmax(scores, axis=-1)
        return y

    def loss_and_grad(self, logits: Floats, targets: Ids, grad: Floats) -> float:
        """Return the mean loss from scipy.special.log_softmax."""
        rows = np.arange(targets.size)
        log_p = self._special.log_softmax(logits, axis=-1)
        np.exp(log_p, out=grad)
        grad[rows, targets] -= 1.0
        return float(-log_p[rows, targets].mean(dtype=np.float64))


def engines(objective: Objective) -> list[Engine]:
    """Return lanemax and what is there to compare it with."""
    special = optional("scipy.special")
    found: list[Engine] = [Lanemax(objective)]
    if special is not None and objective.name == "cross_entropy":
        found.append(SciPy(objective, special))
    return [*found, PlainNumPy(objective)]
