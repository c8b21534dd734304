# SPDX-License-Identifier: Apache-2.0
"""How long the demo's training step takes, beside the same with something else in its place."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .corpus import Corpus, Ids, contexts
from .engine import Engine, engines
from .head import Dense
from .model import NextWord, Settings
from .objective import Floats
from .text import progress

ROUNDS = 9

#: Of steps with a large vocabulary, which may take seconds.
FEW_ROUNDS = 5


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step and of the part compared; the step's ratio to the first's."""

    name: str
    step: float
    part: float
    ratio: float


def _batch(text: Corpus, settings: Settings) -> tuple[Ids, Ids]:
    last = min(text.train.size, 2 * settings.batch)
    places = np.arange(max(0, last - settings.batch), last)
    return contexts(text.train, places, settings.context)


def time_engines(model: NextWord, head: Dense, text: Corpus) -> list[StepTime]:
    """Time the same step with every engine, in shuffled rounds; ratios are taken within a round."""
    before, targets = _batch(text, model.settings)
    contenders = engines(model.objective)
    logits: Floats = head.logits(model.hidden(before)).copy()
    scratch, grad = np.empty_like(logits), np.empty_like(logits)
    steps: dict[str, list[float]] = {e.name: [] for e in contenders}
    parts: dict[str, list[float]] = {e.name: [] for e in contenders}
    with progress("timing", ROUNDS + 1) as bar:
        for turn in range(ROUNDS + 1):
            order = list(contenders)
            random.Random(turn).shuffle(order)
            for engine in order:
                step, part = _time_engine(
                    model, head, engine, before, targets, logits, scratch, grad
                )
                if turn:  # the first round warms up
                    steps[engine.name].append(step)
                    parts[engine.name].append(part)
            bar.advance(1)
    ours = steps[contenders[0].name]
    return [
        StepTime(
            e.name,
            statistics.median(steps[e.name]),
            statistics.median(parts[e.name]),
            statistics.median(a / b for a, b in zip(steps[e.name], ours, strict=True)),
        )
        for e in contenders
    ]


def _time_engine(
    model: NextWord,
    head: Dense,
    engine: Engine,
    before: Ids,
    targets: Ids,
    logits: Floats,
    scratch: Floats,
    grad: Floats,
) -> tuple[float, float]:
    """Return the seconds of one step, and of its loss with gradient alone."""
    model.engine = head.engine = engine
    start = time.perf_counter()
    model.step(before, targets, 0.0)  # a rate of 0 costs the same and changes nothing
    step = time.perf_counter() - start
    np.copyto(scratch, logits)
    start = time.perf_counter()
    engine.loss_and_grad(scratch, targets, grad)
    return step, time.perf_counter() - start


def time_heads(models: Sequence[NextWord], text: Corpus) -> list[StepTime]:
    """Time a step of every model, and that of its head alone, in turns; they learn from it."""
    before, targets = _batch(text, models[0].settings)
    times = np.zeros((FEW_ROUNDS, len(models), 2))
    with progress("timing", len(times) + 1) as bar:
        for turn in range(-1, len(times)):  # the first round warms up and is overwritten
            for i, model in enumerate(models):
                times[turn, i] = _time_head(model, before, targets)
            bar.advance(1)
    ratios = np.median(times[:, :, 0] / times[:, :1, 0], axis=0)
    medians = np.median(times, axis=0)
    return [
        StepTime(model.head.name, float(step), float(part), float(ratio))
        for model, (step, part), ratio in zip(models, medians, ratios, strict=True)
    ]


def _time_head(model: NextWord, before: Ids, targets: Ids) -> tuple[float, float]:
    rate = 1e-4 * model.settings.rate  # with 0 there would be less to do
    start = time.perf_counter()
    model.step(before, targets, rate)
    step = time.perf_counter() - start
    h = model.hidden(before)
    start = time.perf_counter()
    model.head.step(h, targets, rate)
    return step, time.perf_counter() - start
