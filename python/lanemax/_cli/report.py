# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: the text, results that any machine repeats, and timings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import lanemax as lm

from . import machine
from .corpus import Corpus
from .model import HiddenLayer, NextWord, Score, Settings
from .objective import Floats, Objective
from .step_time import StepTime
from .text import Table, seconds, size


@dataclass(frozen=True)
class Curve:
    """Mean loss on the words just trained on, or perplexity, against words read."""

    words: list[int]
    value: list[float]


@dataclass(frozen=True)
class Trial:
    """What came of training with one head.

    Attributes
    ----------
    head, story, drawn : str
        Its name, what it did, and which scores lines are drawn from.
    objective : Objective
        What it minimised.
    settings : Settings
        The sizes of the model.
    steps : int
        How many it learned from.
    took : float
        Seconds of training.
    curve : Curve
        How it went.
    score : Score
        How well the model predicts.
    memory : int or None
        The peak of resident memory in bytes, as far as the system tells.
    second, learned : str
        What the second hidden layer did, and what its activation has learned, if there is one.
    lines : list of str
        Sampled.
    """

    head: str
    story: str
    drawn: str
    objective: Objective
    settings: Settings
    steps: int
    took: float
    curve: Curve
    score: Score
    memory: int | None
    second: str
    learned: str
    lines: list[str]

    @property
    def step(self) -> float:
        """Seconds of a training step."""
        return self.took / self.steps


def _paragraph(text: str) -> None:
    """Print `text` in lines that fit any terminal."""
    print(textwrap.fill(" ".join(text.split()), width=92))


def tell_text(text: Corpus, model: NextWord) -> None:
    """Say what is learned from and what learns."""
    s = model.settings
    more = "".join(
        f", {s.hidden} more behind them with {layer.activation.call}," for layer in model.layers[1:]
    )
    print("\nThe text")
    _paragraph(
        f"{text.origin}: {text.train.size:,} words to learn from, {text.held_out.size:,} held "
        f"out. Of {text.distinct:,} different words the vocabulary takes the "
        f"{len(text.words) - 3:,} most frequent, and 3 marks; {text.rare:.1%} of the held-out text "
        "is rarer than that."
    )
    _paragraph(
        f"The model has {model.size:,} parameters: it reads the last {s.context} words as vectors "
        f"of {s.dim}, has {s.hidden} hidden units{more or ','} and gives a probability to each of "
        f"the {s.vocabulary:,} entries."
    )


# ------------------------------------------------------------------------------------ results


def tell_results(text: Corpus, measured: int, baseline: Score, trials: Sequence[Trial]) -> None:
    """Print the result table and what it means."""
    all_of = "" if measured == text.held_out.size else f" of the {text.held_out.size:,}"
    rows = [
        ("word frequencies alone", baseline),
        *((_row_name(t, trials), t.score) for t in trials),
    ]
    likely = any(t.objective.is_likelihood for t in trials)
    table = Table(
        f"Results on {measured:,}{all_of} words that the model has never seen",
        ["", *[">perplexity"] * likely, ">right at once", ">among its first 5", ">first 10"],
    )
    for name, s in rows:
        perplexity = ["-" if np.isnan(s.perplexity) else f"{s.perplexity:.1f}"] * likely
        table.add(name, *perplexity, f"{s.top1:.1%}", f"{s.top5:.1%}", f"{s.top10:.1%}")
    print()
    table.print()
    _tell_what_happened(text, trials)
    for i, t in enumerate(trials):
        if t.objective not in [other.objective for other in trials[:i]]:
            _tell_what_it_means(t, baseline)
    for t in trials:
        if t.learned:
            _paragraph(t.learned)


def _row_name(trial: Trial, trials: Sequence[Trial]) -> str:
    if len(trials) == 1:
        return "the trained model"
    return f"{trial.head} head, {trial.objective.function}"


def _tell_what_happened(text: Corpus, trials: Sequence[Trial]) -> None:
    t = trials[0]
    batch = t.settings.batch
    read = t.steps * batch
    each = len(trials) > 1
    stories = [f"with the {t.head} head {t.story}" if each else t.story for t in trials]
    story = "; ".join(stories)
    _paragraph(
        f"What happened: {'each' if each else 'the'} model read {read:,} words "
        f"({read / text.train.size:.1f} times the text) in {t.steps:,} steps. At each it guessed "
        f"the next word after {batch} places in the text, and its parameters were moved a little "
        f"towards the word that was really there. {story[0].upper() if each else story[0]}"
        f"{story[1:]}; lanemax.softmax and softmax_vjp chose which of the words before "
        f"matter{t.second}."
    )


def _tell_what_it_means(trial: Trial, baseline: Score) -> None:
    perplexity = trial.score.perplexity
    if not trial.objective.is_likelihood:
        _paragraph(
            f"{trial.objective.function} ranks words and gives them no probabilities, so there is "
            "no perplexity: compare the accuracies with those of --loss cross_entropy."
        )
    elif perplexity < baseline.perplexity:
        _paragraph(
            f"A perplexity of {perplexity:.0f} means that the model is as unsure as if it "
            f"had to choose among {perplexity:.0f} equally likely words; knowing only how "
            f"frequent each word is, one would choose among {baseline.perplexity:.0f}."
        )
    else:
        _paragraph(
            "The model is no better than word frequencies here: the text is too short for it, or "
            "it was trained too little (--epochs) or for too long."
        )


def second_layer(model: NextWord) -> str:
    """Return what the second hidden layer did, if there is one."""
    return "".join(
        f"; {layer.activation.call} and its gradient gave the second layer its bends"
        for layer in model.layers[1:]
    )


def learned(model: NextWord) -> str:
    """Return what the activations have learned, if any can."""

    def numbers(values: Floats) -> str:
        text = ", ".join(f"{v:.3g}" for v in values)
        return text if values.size == 1 else f"[{text}]"

    def changes(layer: HiddenLayer) -> str:
        start = layer.activation.learned
        return "; ".join(
            f"{name} from {numbers(start[name])} to {numbers(part.value)}"
            for name, part in layer.learned.items()
        )

    return " ".join(
        f"What {layer.activation.call} has learned: {changes(layer)}."
        for layer in model.layers
        if layer.learned
    )


def tell_samples(trial: Trial, temperature: float, alone: bool) -> None:
    """Print the sampled lines."""
    if not trial.lines:
        return
    head = "" if alone else f" with the {trial.head} head"
    print(f"\nLines drawn{head} from lanemax.softmax({trial.drawn}, temperature={temperature:g})")
    for line in trial.lines:
        print(textwrap.fill(line, width=92, initial_indent="  * ", subsequent_indent="    "))


# ------------------------------------------------------------------------------------ timings


def tell_engines(times: Sequence[StepTime]) -> None:
    """Print how long a step takes with each engine."""
    table = Table(
        "time of one training step, by what computes softmax, loss and gradient",
        ["with", ">step time", ">time of loss and gradient", ">step time / lanemax's"],
    )
    for t in times:
        table.add(t.name, seconds(t.step), seconds(t.part), f"{t.ratio:.2f} x")
    table.print()
    ours = times[0]
    for t in times[1:]:
        print(
            f"time: {t.name} in lanemax's place needs {t.part / ours.part:.1f} times as long for "
            "loss and gradient"
        )


def tell_heads(text: Corpus, trials: Sequence[Trial], memory_is_apart: bool) -> None:
    """Print what training took with each head."""
    s = trials[0].settings
    table = Table(
        f"time and memory of training, {trials[0].steps:,} steps of {s.batch} words, "
        f"{s.vocabulary:,} entries",
        ["head", "loss", ">step time", ">time of an epoch", ">peak resident memory"],
    )
    for t in trials:
        epoch = seconds(t.step * text.train.size / s.batch)
        memory = "unknown" if t.memory is None else size(t.memory)
        table.add(t.head, t.objective.function, seconds(t.step), epoch, memory)
    table.print()
    print(f"time: an epoch, {text.train.size:,} words, is reckoned from the steps that were made")
    if not memory_is_apart:
        print("memory: this system keeps one peak for the whole process, earlier heads included")


def tell_speed_up(times: Sequence[StepTime] | None, vocabulary: int) -> None:
    """Print what the Z-loss gains over log-softmax, beside what its paper says."""
    paper = "the Z-loss paper reports 40 x end to end at V = 793,471 (arXiv:1604.08859)"
    if times is None:
        print(f"time: no memory for dense log-softmax at V = {vocabulary:,}; {paper}")
        return
    ours, dense = times
    print(
        f"time: dense log-softmax takes {seconds(dense.step)} for a step, the Z-loss with the "
        f"spherical head {seconds(ours.step)}; for the output layer alone {seconds(dense.part)} "
        f"and {seconds(ours.part)}"
    )
    print(
        f"time: speed-up over dense log-softmax: {dense.ratio:.1f} x end to end at "
        f"V = {vocabulary:,}; {paper}"
    )


def tell_machine(took: dict[str, float]) -> None:
    """Print how long each part of the demo took, and where."""
    total = ", ".join(f"{name} {seconds(s)}" for name, s in took.items())
    threads = lm.get_num_threads()
    print(f"time: {total}")
    print(
        f"time: measured with the {lm.isa()} tier and {threads} thread{'s' * (threads != 1)} "
        f"on {machine.cpu_name()}, NumPy {np.__version__}"
    )
