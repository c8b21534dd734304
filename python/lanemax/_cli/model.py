# SPDX-License-Identifier: Apache-2.0
"""The demo's next-word model: embeddings, attention over the context, hidden layers, softmax.

    e_j = E[word j]                          the context, nearest word first, j = 0 ... length - 1
    a   = softmax_j(e_j . q + p_j)           which of the context words matter
    h   = tanh([e_0, e_1, e_2, sum_j a_j e_j] W + b)
    h   = f(h V + c)                         only with an activation f, which may learn as well
    [h, 1] O^T                               scores of the whole vocabulary, for the loss

The softmax of the attention comes from an `Engine`, so that the same step can be timed with
lanemax and with what one would write without it. The last line, the loss and their gradients are a
`Head`'s. The activation is always the library's; everything else is NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import lanemax as lm

from .activation import NUMPY_TANH, Activation
from .corpus import Ids, contexts
from .engine import Engine, Lanemax
from .head import DEPTH, HEADS, Head
from .objective import Floats, Objective
from .text import Progress
from .training import Adam, Workers


@dataclass(frozen=True)
class Settings:
    """Sizes of the model and of its training."""

    vocabulary: int
    dim: int = 64
    hidden: int = 128
    context: int = 12
    near: int = 3
    batch: int = 512
    rate: float = 2e-3


class HiddenLayer:
    """y = f(x W + b) with an activation f, trained by Adam.

    Parameters
    ----------
    activation : Activation
        f.
    weight : array, shape (features, activation.inputs * units)
        Where W starts; b starts at 0.
    workers : Workers
        Runs the products.
    """

    def __init__(self, activation: Activation, weight: Floats, workers: Workers) -> None:
        self.activation, self._workers = activation, workers
        self.weight = Adam(weight, workers)
        self.bias = Adam(np.zeros((1, weight.shape[1]), np.float32), workers)
        self.learned = {n: Adam(v.copy(), workers) for n, v in activation.learned.items()}

    @property
    def parts(self) -> list[Adam]:
        """All that is trained."""
        return [self.weight, self.bias, *self.learned.values()]

    def _learned(self) -> list[Floats]:
        return [p.value for p in self.learned.values()]

    def forward(self, x: Floats, y: Floats) -> None:
        """Write the layer's value into `y` and keep what `backward` needs."""
        sums = np.empty((len(x), self.weight.value.shape[1]), np.float32)
        self._workers.product(x, self.weight.value, sums)
        sums += self.bias.value
        self.activation.forward(sums, self._learned(), y)
        self._x, self._sums = x, sums

    def backward(self, dy: Floats) -> Floats:
        """Return the gradient by x, keep the others for `update`; `dy` may be overwritten."""
        d_sums, d_learned = self.activation.backward(dy, self._sums, self._learned())
        d_weight = self._workers.product(self._x.T, d_sums, np.empty_like(self.weight.value))
        self._gradients = [d_weight, d_sums.sum(axis=0, keepdims=True), *d_learned]
        return self._workers.product(d_sums, self.weight.value.T, np.empty_like(self._x))

    def update(self, rate: float) -> None:
        """Move everything against its gradient."""
        for part, gradient in zip(self.parts, self._gradients, strict=True):
            part.dense(gradient, rate)


class NextWord:
    """The model and its training step.

    Parameters
    ----------
    settings : Settings
        Sizes.
    counts : array of int, shape (vocabulary,)
        How often each word occurs: the output starts with this order of the words.
    workers : Workers
        Runs the products.
    objective : Objective
        What training minimises.
    rng : numpy.random.Generator
        Draws the initial weights.
    head : str
        The name of the output layer.
    activation : Activation, optional
        Of a second hidden layer; without it there is one.
    """

    def __init__(
        self,
        settings: Settings,
        counts: Ids,
        workers: Workers,
        objective: Objective,
        rng: np.random.Generator,
        head: str = "dense",
        activation: Activation | None = None,
    ) -> None:
        self.settings, self.workers, self.objective = settings, workers, objective
        self.engine: Engine = Lanemax(objective)
        s = settings

        def normal(rows: int, cols: int, deviation: float) -> Any:
            return rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(deviation)

        features = (s.near + 1) * s.dim
        self.embedding = Adam(normal(s.vocabulary, s.dim, 0.3), workers)
        self.query = Adam(normal(1, s.dim, 0.1), workers)
        self.position = Adam(np.zeros((1, s.context), np.float32), workers)
        self.layers = [HiddenLayer(NUMPY_TANH, normal(features, s.hidden, features**-0.5), workers)]
        # The last column meets the 1 behind the hidden units: it is each word's offset.
        output = normal(s.vocabulary, s.hidden + 1, 0.02)
        output[:, -1] = objective.start((counts + 0.5) / (counts + 0.5).sum())
        self.head: Head = HEADS[head](output, objective, s.batch, workers)
        if activation is not None:  # drawn last: all else starts as it does without
            weight = normal(s.hidden, activation.inputs * s.hidden, s.hidden**-0.5)
            self.layers.append(HiddenLayer(activation, weight, workers))

    @property
    def size(self) -> int:
        """The number of parameters."""
        parts = [self.embedding, self.query, self.position]
        parts += [part for layer in self.layers for part in layer.parts]
        return self.head.size + sum(part.value.size for part in parts)

    def _forward(self, before: Ids) -> tuple[Floats, Floats, Floats]:
        e: Floats = self.embedding.value[before]  # (rows, context, dim)
        scores = (e * self.query.value[0]).sum(axis=2) + self.position.value[0]
        attention = self.engine.attention(scores)
        pooled = (attention[:, :, None] * e).sum(axis=1)
        near = e[:, : self.settings.near].reshape(len(before), -1)
        x: Floats = np.concatenate([near, pooled], axis=1)
        for layer in self.layers:
            h = np.empty((len(before), self.settings.hidden + 1), np.float32)
            layer.forward(x, h[:, :-1])
            x = h[:, :-1]
        h[:, -1] = 1.0
        return e, attention, h

    def hidden(self, before: Ids) -> Floats:
        """Return what the head reads, (rows, hidden + 1), after contexts (rows, context)."""
        return self._forward(before)[2]

    def step(self, before: Ids, targets: Ids, rate: float) -> float:
        """Train on one batch and return its mean loss in nats per word."""
        s, rows = self.settings, len(before)
        e, attention, h = self._forward(before)
        loss, dh = self.head.step(h, targets, rate)
        dx = dh[:, :-1]
        for layer in reversed(self.layers):
            dx = layer.backward(dx)

        d_pooled = dx[:, None, s.near * s.dim :]
        d_attention = (e * d_pooled).sum(axis=2)
        d_scores = self.engine.attention_vjp(d_attention, attention)
        de = attention[:, :, None] * d_pooled + d_scores[:, :, None] * self.query.value[0]
        de[:, : s.near] += dx[:, : s.near * s.dim].reshape(rows, s.near, s.dim)
        d_query = (d_scores[:, :, None] * e).sum(axis=(0, 1))[None, :]

        for layer in self.layers:
            layer.update(rate)
        self.query.dense(d_query, rate)
        self.position.dense(d_scores.sum(axis=0, keepdims=True), rate)
        index, gradient = rows_summed(before.reshape(-1), de.reshape(-1, s.dim))
        self.embedding.rows(index, gradient, rate)
        return loss


def memory_needed(head: str, s: Settings) -> int:
    """Return about how many bytes a model takes: embeddings with Adam's, and its head."""
    return 12 * s.vocabulary * s.dim + HEADS[head].memory(s.vocabulary, s.hidden + 1, s.batch)


def rows_summed(index: Ids, rows: Floats) -> tuple[Ids, Floats]:
    """Return the different values of `index` and the sum of the rows of each, in a fixed order."""
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[first], np.add.reduceat(rows[order], first, axis=0)


# ---------------------------------------------------------------------------------- measuring

#: So many scores are computed to measure a head: half a minute on two cores.
MOST_SCORES = 4_000_000_000


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text: perplexity is NaN for what gives no probabilities."""

    perplexity: float
    top1: float
    top5: float
    top10: float


def places_to_measure(text: Ids, vocabulary: int) -> Ids:
    """Return evenly spaced places of a text, no more than `MOST_SCORES` allows."""
    count = min(text.size, max(1, MOST_SCORES // vocabulary))
    return np.arange(count) * text.size // count


def score(model: NextWord, text: Ids, places: Ids, bar: Progress) -> Score:
    """Return perplexity and accuracies of `model` at places of a text, telling `bar` those done."""
    s = model.settings
    loss = 0.0
    hits = np.zeros(3)
    for start in range(0, places.size, s.batch):
        before, targets = contexts(text, places[start : start + s.batch], s.context)
        part, better = model.head.measure(model.hidden(before), targets)
        loss += part
        hits += [np.count_nonzero(better < k) for k in (1, 5, DEPTH)]
        bar.advance(targets.size)
    return Score(float(np.exp(loss / places.size)), *(float(h) / places.size for h in hits))


def unigram_score(counts: Ids, targets: Ids) -> Score:
    """Return the same for the baseline that knows only how frequent words are."""
    logits = np.log(counts + 0.5)
    loss = -float(lm.log_softmax(logits)[targets].mean())
    order = np.argsort(-counts, kind="stable")
    hits = [float(np.isin(targets, order[:k]).mean()) for k in (1, 5, DEPTH)]
    return Score(float(np.exp(loss)), *hits)


def batches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[Ids]:
    """Yield `steps` batches of indices below `count`: shuffled passes over the whole text."""
    needed = steps * batch
    if count > 50 * needed:  # of a text this long no more is shuffled than is read
        order = rng.choice(count, needed, replace=False)
        yield from np.split(order, steps)
        return
    order = np.empty(0, np.int32)
    for _ in range(steps):
        while order.size < batch:
            another = np.arange(count, dtype=np.int32)
            rng.shuffle(another)
            order = np.concatenate([order, another])
        yield order[:batch]
        order = order[batch:]
