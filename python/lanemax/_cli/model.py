# SPDX-License-Identifier: Apache-2.0
"""The demo's next-word model: embeddings, attention over the context, hidden layers, softmax.

    e_j = E[word j]                          the context, nearest word first, j = 0 ... length - 1
    a   = softmax_j(e_j . q + p_j)           which of the context words matter
    h   = tanh([e_0, e_1, e_2, sum_j a_j e_j] W + b)
    h   = f(h V + c)                         only with an activation f, which may learn as well
    [h, 1] O^T                               scores of the whole vocabulary, for the loss

The softmax of the attention, the loss and their gradients come from an `Engine`, so that the same
step can be timed with lanemax and with what one would write without it. The activation is always
the library's; everything else is NumPy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import lanemax as lm

from .activation import NUMPY_TANH, Activation
from .corpus import Ids
from .objective import Floats, Objective
from .text import Progress, optional

# ------------------------------------------------------------------------------------ engines


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


# ------------------------------------------------------------------------------------ workers


class Workers:
    """Matrix products and element-wise work on all CPUs, with results that no thread count changes.

    A BLAS may add in another order with another number of threads. So each product is cut into
    the same blocks always, each block is computed by a BLAS that is held to one thread, and the
    threads that run the blocks are ours.
    """

    BLOCKS = 16

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        #: False where the BLAS cannot be held to one thread: the last digits may then vary.
        self.reproducible = False

    def __enter__(self) -> Workers:
        control = optional("threadpoolctl")
        if control is not None:
            self._stack.enter_context(control.threadpool_limits(limits=1, user_api="blas"))
            self.reproducible = True
            count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            self._pool = self._stack.enter_context(
                ThreadPoolExecutor(min(self.BLOCKS, count or os.cpu_count() or 1))
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def each(self, length: int, work: Callable[[slice], object]) -> None:
        """Call `work` for sixteen slices of range(length), on all threads."""
        edges = [length * i // self.BLOCKS for i in range(self.BLOCKS + 1)]
        slices = [slice(a, b) for a, b in pairwise(edges) if b > a]
        if self._pool is None:
            for s in slices:
                work(s)
        else:
            for _ in self._pool.map(work, slices):
                pass

    def product(self, a: Floats, b: Floats, out: Floats) -> Floats:
        """Return a @ b in `out`, cut along the longer of the rows of a and the columns of b."""
        if a.shape[0] >= b.shape[1]:
            self.each(a.shape[0], lambda s: np.matmul(a[s], b, out=out[s]))
        else:
            self.each(b.shape[1], lambda s: np.matmul(a, b[:, s], out=out[:, s]))
        return out


# -------------------------------------------------------------------------------------- model


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


class Adam:
    """Adam (Kingma and Ba 2015) for one parameter, on all of it or on some of its rows."""

    BETA1, BETA2, EPS = 0.9, 0.98, 1e-8

    def __init__(self, value: Floats, workers: Workers) -> None:
        self.value = value
        self._m, self._v = np.zeros_like(value), np.zeros_like(value)
        self._workers = workers
        self._steps = 0

    def _correction(self, rate: float) -> Any:
        self._steps += 1
        scale = np.sqrt(1.0 - self.BETA2**self._steps) / (1.0 - self.BETA1**self._steps)
        return np.float32(rate * scale)

    def dense(self, gradient: Floats, rate: float) -> None:
        """Update everything, block by block while it is in cache."""
        step = self._correction(rate)

        def block(s: slice) -> None:
            self._update(self.value[s], self._m[s], self._v[s], gradient[s], step)

        if self.value.size > 100_000:
            self._workers.each(self.value.shape[0], block)
        else:
            block(slice(None))

    def rows(self, index: Ids, gradient: Floats, rate: float) -> None:
        """Update only the rows `index`, which are all different."""
        step = self._correction(rate)
        value, m, v = self.value[index], self._m[index], self._v[index]
        self._update(value, m, v, gradient, step)
        self.value[index], self._m[index], self._v[index] = value, m, v

    def _update(self, value: Floats, m: Floats, v: Floats, g: Floats, step: np.float32) -> None:
        m *= np.float32(self.BETA1)
        m += np.float32(1.0 - self.BETA1) * g
        v *= np.float32(self.BETA2)
        g = g * g
        g *= np.float32(1.0 - self.BETA2)
        v += g
        np.sqrt(v, out=g)
        g += np.float32(self.EPS)
        np.divide(m, g, out=g)
        g *= step
        value -= g


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
        How often each word occurs: the output starts as this unigram model.
    workers : Workers
        Runs the products.
    engine : Engine
        Supplies softmax, log-softmax and their gradients.
    rng : numpy.random.Generator
        Draws the initial weights.
    activation : Activation, optional
        Of a second hidden layer; without it there is one.
    """

    def __init__(
        self,
        settings: Settings,
        counts: Ids,
        workers: Workers,
        engine: Engine,
        rng: np.random.Generator,
        activation: Activation | None = None,
    ) -> None:
        self.settings, self.workers, self.engine = settings, workers, engine
        s = settings

        def normal(rows: int, cols: int, deviation: float) -> Any:
            return rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(deviation)

        features = (s.near + 1) * s.dim
        start = np.log((counts + 0.5) / (counts + 0.5).sum()).astype(np.float32)
        self.embedding = Adam(normal(s.vocabulary, s.dim, 0.3), workers)
        self.query = Adam(normal(1, s.dim, 0.1), workers)
        self.position = Adam(np.zeros((1, s.context), np.float32), workers)
        self.layers = [HiddenLayer(NUMPY_TANH, normal(features, s.hidden, features**-0.5), workers)]
        # The last column meets the 1 behind the hidden units: it is each word's offset.
        output = normal(s.vocabulary, s.hidden + 1, 0.02)
        output[:, -1] = start
        self.output = Adam(output, workers)
        if activation is not None:  # drawn last: all else starts as it does without
            weight = normal(s.hidden, activation.inputs * s.hidden, s.hidden**-0.5)
            self.layers.append(HiddenLayer(activation, weight, workers))
        self._logits = np.empty((s.batch, s.vocabulary), np.float32)
        self._gradient = np.empty_like(self._logits)
        self._output_gradient = np.empty_like(self.output.value)

    @property
    def size(self) -> int:
        """The number of parameters."""
        parts = [self.embedding, self.query, self.position, self.output]
        parts += [part for layer in self.layers for part in layer.parts]
        return sum(part.value.size for part in parts)

    def _hidden(self, before: Ids) -> tuple[Floats, Floats, Floats]:
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

    def logits(self, before: Ids) -> Floats:
        """Return logits of the next word, (rows, vocabulary), after contexts (rows, context)."""
        h = self._hidden(before)[2]
        rows = len(before)
        z = self._logits[:rows] if rows <= len(self._logits) else None
        if z is None:
            z = np.empty((rows, self.settings.vocabulary), np.float32)
        return self.workers.product(h, self.output.value.T, z)

    def step(self, before: Ids, targets: Ids, rate: float) -> float:
        """Train on one batch and return its mean loss in nats per word."""
        s, rows = self.settings, len(before)
        e, attention, h = self._hidden(before)
        z, dz = self._logits[:rows], self._gradient[:rows]
        self.workers.product(h, self.output.value.T, z)
        loss = self.engine.loss_and_grad(z, targets, dz)

        # dz is the gradient of the sum; dividing the narrow factors makes it that of the mean.
        share = np.float32(1.0 / rows)
        d_output = self.workers.product(dz.T, h * share, self._output_gradient)
        dx = self.workers.product(dz, self.output.value, np.empty_like(h))[:, :-1]
        dx *= share
        for layer in reversed(self.layers):
            dx = layer.backward(dx)

        d_pooled = dx[:, None, s.near * s.dim :]
        d_attention = (e * d_pooled).sum(axis=2)
        d_scores = self.engine.attention_vjp(d_attention, attention)
        de = attention[:, :, None] * d_pooled + d_scores[:, :, None] * self.query.value[0]
        de[:, : s.near] += dx[:, : s.near * s.dim].reshape(rows, s.near, s.dim)
        d_query = (d_scores[:, :, None] * e).sum(axis=(0, 1))[None, :]

        self.output.dense(d_output, rate)
        for layer in self.layers:
            layer.update(rate)
        self.query.dense(d_query, rate)
        self.position.dense(d_scores.sum(axis=0, keepdims=True), rate)
        index, gradient = rows_summed(before.reshape(-1), de.reshape(-1, s.dim))
        self.embedding.rows(index, gradient, rate)
        return loss


def rows_summed(index: Ids, rows: Floats) -> tuple[Ids, Floats]:
    """Return the different values of `index` and the sum of the rows of each, in a fixed order."""
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[first], np.add.reduceat(rows[order], first, axis=0)


# ---------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text: perplexity is NaN for what gives no probabilities."""

    perplexity: float
    top1: float
    top5: float
    top10: float


def score(model: NextWord, before: Ids, targets: Ids, is_likelihood: bool, bar: Progress) -> Score:
    """Return perplexity and accuracies of `model` on a text, telling `bar` the words done."""
    batch = model.settings.batch
    loss = 0.0
    hits = np.zeros(3)
    for start in range(0, len(targets), batch):
        t = targets[start : start + batch]
        rows = np.arange(t.size)
        z = model.logits(before[start : start + batch])
        better = np.count_nonzero(z > z[rows, t][:, None], axis=1)
        hits += [np.count_nonzero(better < k) for k in (1, 5, 10)]
        if is_likelihood:
            loss += float(lm.cross_entropy(z, t, reduction="sum"))
        bar.advance(t.size)
    n = len(targets)
    perplexity = float(np.exp(loss / n)) if is_likelihood else float("nan")
    return Score(perplexity, *(float(h) / n for h in hits))


def unigram_score(counts: Ids, targets: Ids) -> Score:
    """Return the same for the baseline that knows only how frequent words are."""
    logits = np.log(counts + 0.5)
    loss = -float(lm.log_softmax(logits)[targets].mean())
    order = np.argsort(-counts, kind="stable")
    hits = [float(np.isin(targets, order[:k]).mean()) for k in (1, 5, 10)]
    return Score(float(np.exp(loss)), *hits)


def batches(
    count: int, batch: int, steps: int, rng: np.random.Generator
) -> Sequence[NDArray[np.int64]]:
    """Return `steps` batches of indices below `count`: shuffled passes over the whole text."""
    needed = steps * batch
    passes = [rng.permutation(count) for _ in range(-(-needed // count))]
    flat = np.concatenate(passes)[:needed]
    return [flat[i : i + batch] for i in range(0, needed, batch)]
