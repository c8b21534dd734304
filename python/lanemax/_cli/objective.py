# SPDX-License-Identifier: Apache-2.0
"""What the demo can train with: each loss of the library, and the same in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import lanemax as lm

from .corpus import Ids

Floats: TypeAlias = NDArray[np.float32]

#: (logits, targets, where to write the gradient of the sum) -> mean loss; may overwrite logits
Plain: TypeAlias = Callable[[Floats, Ids, Floats], float]


#: (share of each word in the text) -> scores that a model may start from
Start: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Objective:
    """A loss: the library's function, its parameters, and NumPy's way."""

    name: str
    function: str
    plain: Plain
    parameters: dict[str, Any] = field(default_factory=dict)
    #: whether exp of the mean loss is a perplexity
    is_likelihood: bool = False
    #: scores that rank the words by how frequent they are
    start: Start = np.log

    def loss_and_grad(self, logits: Floats, targets: Ids, grad: Floats) -> float:
        """Return the mean loss; write the gradient of the sum, in one call of the library."""
        function = getattr(lm, self.function + "_and_grad")
        total, _ = function(logits, targets, reduction="sum", grad_out=grad, **self.parameters)
        return float(total) / targets.size


def _cross_entropy(logits: Floats, targets: Ids, grad: Floats) -> float:
    rows = np.arange(targets.size)
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=grad)
    total = grad.sum(axis=-1, keepdims=True)
    loss = float((np.log(total[:, 0]) - logits[rows, targets]).mean(dtype=np.float64))
    grad /= total
    grad[rows, targets] -= 1.0
    return loss


def _z_loss(logits: Floats, targets: Ids, grad: Floats) -> float:
    rows, classes = np.arange(targets.size), logits.shape[1]
    deviation = logits.std(axis=-1, keepdims=True)
    logits -= logits.mean(axis=-1, keepdims=True)
    logits /= deviation
    z = logits[rows, targets][:, None]
    r = 1.0 / (1.0 + np.exp(z))
    np.multiply(logits, z, out=grad)
    grad += 1.0
    grad[rows, targets] -= classes
    grad *= r / (classes * deviation)
    return float(np.logaddexp(0.0, -z).mean(dtype=np.float64))


def _spherical(logits: Floats, targets: Ids, grad: Floats) -> float:
    rows = np.arange(targets.size)
    eps = np.float32(1e-4)
    np.multiply(logits, logits, out=grad)
    total = grad.sum(axis=-1, keepdims=True) + eps * logits.shape[1]
    own = logits[rows, targets]
    square = own * own + eps
    np.multiply(logits, 2.0 / total, out=grad)
    grad[rows, targets] -= 2.0 * own / square
    return float((np.log(total[:, 0]) - np.log(square)).mean(dtype=np.float64))


def _taylor(logits: Floats, targets: Ids, grad: Floats) -> float:
    rows = np.arange(targets.size)
    logits += 1.0
    np.multiply(logits, logits, out=grad)
    total = 0.5 * (grad.sum(axis=-1, keepdims=True) + logits.shape[1])
    own = logits[rows, targets]
    value = 0.5 * (own * own + 1.0)
    np.divide(logits, total, out=grad)
    grad[rows, targets] -= own / value
    return float((np.log(total[:, 0]) - np.log(value)).mean(dtype=np.float64))


def _root(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores whose squares are as the shares: with their logarithms the rarest would come first."""
    return np.sqrt(shares * shares.size)


def _comp_sum(tau: float) -> Plain:
    def comp_sum(logits: Floats, targets: Ids, grad: Floats) -> float:
        rows, theta = np.arange(targets.size), tau - 1.0
        _cross_entropy(logits, targets, grad)
        log_p = np.log1p(grad[rows, targets])
        grad *= np.exp(theta * log_p)[:, None]
        loss = -log_p if theta == 0 else -np.expm1(theta * log_p) / theta
        return float(loss.mean(dtype=np.float64))

    return comp_sum


def objectives(tau: float) -> dict[str, Objective]:
    """Return what `--loss` offers, by name."""
    found = (
        Objective("cross_entropy", "cross_entropy", _cross_entropy, is_likelihood=True),
        Objective("z_loss", "z_loss", _z_loss),
        Objective("spherical", "spherical_softmax_loss", _spherical, start=_root),
        Objective("taylor", "taylor_softmax_loss", _taylor, start=_root),
        Objective("comp_sum", "comp_sum_loss", _comp_sum(tau), {"tau": tau}, tau == 1.0),
    )
    return {o.name: o for o in found}


NAMES = tuple(objectives(1.0))
