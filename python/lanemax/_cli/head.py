# SPDX-License-Identifier: Apache-2.0
"""The demo's output layers: what turns hidden units into scores of all words, and learns.

    z = h O^T                                O has a row for each word; h ends with a 1

`Dense` has all scores of a batch in memory, `Linear` and `Spherical` never.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

import lanemax as lm

from .corpus import Ids
from .engine import Engine, Lanemax
from .objective import NAMES as LOSSES
from .objective import Floats, Objective
from .training import Adam, Workers

#: As far down as the report looks for the right word.
DEPTH = 10

#: Of a head without all scores: from so many words a sampled one is drawn.
CHOICES = 64


class Head(Protocol):
    """An output layer in training.

    Attributes
    ----------
    name : str
        As `--head` knows it.
    losses : tuple of str
        What it can minimise, its own choice first.
    drawn : str
        Which scores `choices` returns.
    """

    name: ClassVar[str]
    losses: ClassVar[tuple[str, ...]]
    drawn: ClassVar[str]

    @staticmethod
    def memory(rows: int, columns: int, batch: int) -> int:
        """Return about how many bytes it takes for weights of shape (rows, columns)."""

    @property
    def size(self) -> int:
        """The number of parameters."""

    @property
    def story(self) -> str:
        """What it did."""

    def step(self, h: Floats, targets: Ids, rate: float) -> tuple[float, Floats]:
        """Learn from one batch; return its mean loss before, and the gradient of that by h."""

    def measure(self, h: Floats, targets: Ids) -> tuple[float, Ids]:
        """Return the sum of the losses, and how many words are preferred to each target.

        The loss is NaN where it is no likelihood; above `DEPTH` nobody counts.
        """

    def choices(self, h: Floats) -> tuple[Floats, Ids]:
        """Return the scores of the words worth drawing, and these, (rows, some)."""


class Dense:
    """All scores at once, an engine's loss and gradient, two products, Adam."""

    name: ClassVar[str] = "dense"
    losses: ClassVar[tuple[str, ...]] = LOSSES
    drawn: ClassVar[str] = "scores"

    def __init__(self, weight: Floats, objective: Objective, batch: int, workers: Workers) -> None:
        self.engine: Engine = Lanemax(objective)
        self._objective, self._workers = objective, workers
        self.output = Adam(weight, workers)
        self._logits = np.empty((batch, len(weight)), np.float32)
        self._gradient = np.empty_like(self._logits)
        self._output_gradient = np.empty_like(weight)

    @staticmethod
    def memory(rows: int, columns: int, batch: int) -> int:
        """Return about how many bytes it takes: weights, scores, gradients of both, Adam's two."""
        return 4 * rows * (4 * columns + 2 * batch)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.output.value.size

    @property
    def story(self) -> str:
        """What it did."""
        settings = "".join(f", {k} = {v:g}" for k, v in self._objective.parameters.items())
        return (
            f"lanemax.{self._objective.function}_and_grad{settings} turned the scores of the whole "
            "vocabulary into the loss and its gradient in one call"
        )

    def logits(self, h: Floats) -> Floats:
        """Return the scores of all words, in memory that the next call writes to."""
        rows = len(h)
        fits = rows <= len(self._logits)
        z = self._logits[:rows] if fits else np.empty((rows, len(self.output.value)), np.float32)
        return self._workers.product(h, self.output.value.T, z)

    def step(self, h: Floats, targets: Ids, rate: float) -> tuple[float, Floats]:
        """Learn from one batch; return its mean loss before, and the gradient of that by h."""
        z, dz = self.logits(h), self._gradient[: len(h)]
        loss = self.engine.loss_and_grad(z, targets, dz)
        # dz is the gradient of the sum; dividing the narrow factors makes it that of the mean.
        share = np.float32(1.0 / len(h))
        d_output = self._workers.product(dz.T, h * share, self._output_gradient)
        dh = self._workers.product(dz, self.output.value, np.empty_like(h))
        dh *= share
        self.output.dense(d_output, rate)
        return loss, dh

    def measure(self, h: Floats, targets: Ids) -> tuple[float, Ids]:
        """Return the sum of the losses, and how many words are preferred to each target."""
        z = self.logits(h)
        better = np.count_nonzero(z > z[np.arange(targets.size), targets][:, None], axis=1)
        if not self._objective.is_likelihood:
            return float("nan"), better
        return float(lm.cross_entropy(z, targets, reduction="sum")), better

    def choices(self, h: Floats) -> tuple[Floats, Ids]:
        """Return the scores of all words, and these."""
        z = self.logits(h)
        return z, np.broadcast_to(np.arange(z.shape[1]), z.shape)


def _places(words: Ids, targets: Ids) -> Ids:
    """Return where each target stands among its row of words, `DEPTH` if it does not."""
    found = words == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1), DEPTH)


class Linear:
    """Cross-entropy from hidden units and weights, whose scores are never in memory, and Adam."""

    name: ClassVar[str] = "linear"
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    drawn: ClassVar[str] = f"the {CHOICES} largest scores"

    def __init__(self, weight: Floats, objective: Objective, batch: int, workers: Workers) -> None:
        self.output = Adam(weight, workers)

    @staticmethod
    def memory(rows: int, columns: int, batch: int) -> int:
        """Return about how many bytes it takes: weights, gradient and Adam's two."""
        return 16 * rows * columns

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.output.value.size

    @property
    def story(self) -> str:
        """What it did."""
        return (
            "lanemax.linear_cross_entropy_and_grad went from hidden units and weights to the loss "
            "and both gradients, without the scores of the whole vocabulary ever in memory"
        )

    def step(self, h: Floats, targets: Ids, rate: float) -> tuple[float, Floats]:
        """Learn from one batch; return its mean loss before, and the gradient of that by h."""
        loss, dh, d_output, _ = lm.linear_cross_entropy_and_grad(h, self.output.value, targets)
        self.output.dense(d_output, rate)
        return float(loss), dh

    def _topk(self, h: Floats, k: int) -> tuple[Floats, Ids]:
        weight = self.output.value
        values, words = lm.linear_topk(h, weight, min(k, len(weight)))
        return values, words

    def measure(self, h: Floats, targets: Ids) -> tuple[float, Ids]:
        """Return the sum of the losses, and how many words are preferred to each target."""
        loss = lm.linear_cross_entropy(h, self.output.value, targets, reduction="sum")
        return float(loss), _places(self._topk(h, DEPTH)[1], targets)

    def choices(self, h: Floats) -> tuple[Floats, Ids]:
        """Return the largest scores, and their words."""
        return self._topk(h, CHOICES)


class Spherical:
    """The factored layer: plain gradient descent, at a cost that does not depend on the words."""

    name: ClassVar[str] = "spherical"
    losses: ClassVar[tuple[str, ...]] = ("z_loss", "spherical", "taylor")
    drawn: ClassVar[str] = f"the {CHOICES} largest scores"

    #: `SphericalOutput`'s names for them, and how much larger its steps are than Adam's: a word
    #: that occurs once in a batch gets a small share of the mean. Chosen by accuracy after 450
    #: steps on the default text.
    CALLED: ClassVar[dict[str, tuple[str, float]]] = {
        "z_loss": ("z", 1e5),
        "spherical": ("spherical", 1e3),
        "taylor": ("taylor", 1e5),
    }

    def __init__(self, weight: Floats, objective: Objective, batch: int, workers: Workers) -> None:
        self._loss, self._scale = self.CALLED[objective.name]
        self._size, self._words = weight.size, len(weight)
        self.layer = lm.SphericalOutput(weight, loss=self._loss)

    @staticmethod
    def memory(rows: int, columns: int, batch: int) -> int:
        """Return about how many bytes it takes: weights in 40 bits, and where they start."""
        return 9 * rows * columns

    @property
    def size(self) -> int:
        """The number of parameters, were it dense."""
        return self._size

    @property
    def story(self) -> str:
        """What it did."""
        return (
            f'lanemax.SphericalOutput(weights, loss="{self._loss}").step moved the weights of the '
            "whole vocabulary exactly as plain gradient descent does, at a cost that does not "
            "depend on its size"
        )

    def step(self, h: Floats, targets: Ids, rate: float) -> tuple[float, Floats]:
        """Learn from one batch; return its mean loss before, and the gradient of that by h."""
        loss, dh = self.layer.step(h, targets, self._scale * rate)
        return float(loss), dh

    def _topk(self, h: Floats, k: int) -> tuple[Floats, Ids]:
        values, words = self.layer.topk(h, min(k, self._words))
        return values, words

    def measure(self, h: Floats, targets: Ids) -> tuple[float, Ids]:
        """Return NaN, and how many words are preferred to each target."""
        return float("nan"), _places(self._topk(h, DEPTH)[1], targets)

    def choices(self, h: Floats) -> tuple[Floats, Ids]:
        """Return the largest scores, and their words."""
        return self._topk(h, CHOICES)


HEADS: dict[str, type[Dense] | type[Linear] | type[Spherical]] = {
    "dense": Dense,
    "linear": Linear,
    "spherical": Spherical,
}
NAMES = tuple(HEADS)
