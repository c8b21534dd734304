# SPDX-License-Identifier: Apache-2.0
"""``demo``: train a next-word model on real text, with the library under its largest layer."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

import lanemax as lm

from . import corpus as corpus_module
from . import density, machine, plot
from .activation import NAMES as ACTIVATIONS
from .activation import activations
from .arguments import not_negative, positive, positive_real, whole
from .corpus import END, NUMBER, UNKNOWN, Corpus, Ids
from .model import (
    Engine,
    Lanemax,
    NextWord,
    Score,
    Settings,
    Workers,
    batches,
    engines,
    score,
    unigram_score,
)  # fmt: skip
from .objective import NAMES as LOSSES
from .objective import Floats, Objective, objectives
from .text import (
    EXTRA_HINT,
    Table,
    UsageError,
    note,
    note_missing_rich,
    progress,
    require_matplotlib,
    seconds,
)  # fmt: skip

SUMMARY = "train a next-word model on real text (about a minute)"
DESCRIPTION = """\
Train a small neural network to predict the next word of real text, with a softmax over a
vocabulary of more than 10,000 words at every step, and compare it with a baseline. The text
is by default what is documented in this Python's standard library; yours with --text.
Results are printed first; they are the same in every run with the same seed, whatever the
instruction set and the number of threads. Timings come last. Progress goes to standard error."""
EXAMPLES = """\
examples:
  python -m lanemax demo
  python -m lanemax demo --quick
  python -m lanemax demo --loss z_loss
  python -m lanemax demo --activation poly_relu
  python -m lanemax demo --task density --csv heights.csv --column height
  python -m lanemax demo --text novel.txt letters.txt --samples 10 --temperature 0.6
  python -m lanemax demo --epochs 3 --plot curve.png"""

#: Enough to be three times better than guessing by frequency, and half a minute on two cores.
STEPS = 900
QUICK_STEPS = 150

#: A short text is not read more often than this by default: the model would learn it by heart.
MOST_PASSES = 5

#: Steps over which the learning rate rises.
WARM_UP = 50

#: Words of a sample, the prompt included.
SAMPLE_WORDS = 28

ROUNDS = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--task",
        choices=["words", "density"],
        default="words",
        help="the next word, or the density of numbers by a Fourier head (default: words)",
    )
    parser.add_argument(
        "--text",
        nargs="+",
        metavar="FILE",
        default=[],
        help="text files to learn from (default: docstrings and comments of the standard library)",
    )
    parser.add_argument(
        "--vocab",
        type=positive,
        metavar="N",
        default=10240,
        help="entries of the vocabulary, 3 marks included (default: 10240)",
    )
    parser.add_argument(
        "--dim",
        type=positive,
        metavar="D",
        default=64,
        help="width of a word's vector; the hidden layer has twice as many units (default: 64)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=positive_real, metavar="E", help="passes over the training text"
    )
    length.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help=f"training steps of 512 words (default: {STEPS}, fewer for a short text)",
    )
    length.add_argument(
        "--quick", action="store_true", help=f"{QUICK_STEPS} steps: seconds, and a worse model"
    )
    parser.add_argument(
        "--loss",
        choices=LOSSES,
        default="cross_entropy",
        help="what training minimises (default: cross_entropy)",
    )
    parser.add_argument(
        "--tau",
        type=not_negative,
        metavar="TAU",
        default=1.7,
        help="of --loss comp_sum: 0 sum of exponentials, 1 cross-entropy, 2 absolute error "
        "(default: 1.7)",
    )
    parser.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        metavar="NAME",
        help=f"of a second hidden layer, with what it can learn: {', '.join(ACTIVATIONS)} "
        "(default: no such layer)",
    )
    parser.add_argument(
        "--seed", type=whole, metavar="S", default=0, help="seed of everything random (default: 0)"
    )
    parser.add_argument(
        "--temperature",
        type=positive_real,
        metavar="T",
        default=0.7,
        help="of the sampled lines: below 1 safer, above 1 wilder (default: 0.7)",
    )
    parser.add_argument(
        "--samples", type=whole, metavar="K", default=5, help="sampled lines (default: 5)"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the learning curve, or the density (PNG, SVG or PDF)"
    )
    density.add_arguments(parser, positive)


# ----------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Curve:
    """Mean loss on the words just trained on, or perplexity, against words read."""

    words: list[int]
    value: list[float]


def plan(args: argparse.Namespace, words: int, vocabulary: int) -> tuple[Settings, int]:
    """Return the sizes of the model and the number of steps for a text of `words` words."""
    # A short text is read in small batches, so that it still makes for many steps.
    batch = min(512, max(16, words // 100))
    settings = Settings(
        vocabulary,
        dim=args.dim,
        hidden=2 * args.dim,
        batch=batch,
        rate=8e-3 * (batch / 512) ** 0.5,
    )
    if args.steps:
        return settings, args.steps
    if args.epochs:
        return settings, max(1, round(args.epochs * words / batch))
    return settings, min(QUICK_STEPS if args.quick else STEPS, MOST_PASSES * words // batch)


def train(
    model: NextWord, text: Corpus, objective: Objective, steps: int, rng: np.random.Generator
) -> Curve:
    """Train `model` and return how its loss went."""
    before, targets = corpus_module.contexts(text.train, model.settings.context)
    curve = Curve([], [])
    recent: list[float] = []
    smooth = 0.0
    with progress("training", steps) as bar:
        for i, index in enumerate(batches(targets.size, model.settings.batch, steps, rng)):
            # Up for a moment, then down to zero: the usual schedule, without a knob.
            rate = model.settings.rate * min(1.0, (i + 1) / WARM_UP) * (1.0 - i / steps)
            loss = model.step(before[index], targets[index], rate)
            smooth = loss if i == 0 else 0.95 * smooth + 0.05 * loss
            recent.append(loss)
            shown = f", perplexity {np.exp(smooth):.0f}" if objective.is_likelihood else ""
            bar.advance(1, f"loss {smooth:.3f}{shown}")
            if (i + 1) % max(1, steps // 60) == 0:
                curve.words.append((i + 1) * model.settings.batch)
                mean = statistics.fmean(recent)
                curve.value.append(float(np.exp(mean)) if objective.is_likelihood else mean)
                recent.clear()
    return curve


# ------------------------------------------------------------------------------------ samples


def prompts(text: Corpus, count: int) -> list[int]:
    """Return the words that most often begin a document of the training text."""
    starts = text.train[1:][text.train[:-1] == END]
    order = Counter(int(w) for w in starts if w > NUMBER and text.words[w][0].isalpha())
    found = [w for w, _ in sorted(order.items(), key=lambda pair: (-pair[1], pair[0]))]
    found = found or [NUMBER + 1]
    return [found[i % len(found)] for i in range(count)]


def sample(
    model: NextWord, text: Corpus, count: int, temperature: float, rng: np.random.Generator
) -> list[str]:
    """Return `count` lines drawn from the model word by word."""
    if count < 1:
        return []
    lines = [[w] for w in prompts(text, count)]
    before = np.full((count, model.settings.context), END, np.int32)
    before[:, 0] = [line[0] for line in lines]
    alive = np.ones(count, bool)
    for _ in range(SAMPLE_WORDS - 1):
        z = model.logits(before)
        z[:, [UNKNOWN, NUMBER]] = -np.inf  # masked logits: their probability is exactly 0
        p = lm.softmax(z, temperature=temperature)
        ladder = np.cumsum(p, axis=1, dtype=np.float64)
        draws = rng.random(count) * ladder[:, -1]
        chosen = np.minimum((ladder <= draws[:, None]).sum(axis=1), p.shape[1] - 1)
        before[:, 1:] = before[:, :-1].copy()
        before[:, 0] = chosen
        alive &= chosen != END
        for line, word, still in zip(lines, chosen, alive, strict=True):
            if still:
                line.append(int(word))
        if not alive.any():
            break
    return [spoken(text, line) for line in lines]


def spoken(text: Corpus, ids: list[int]) -> str:
    """Return words with the spaces that punctuation wants."""
    out = ""
    for i in ids:
        word = text.words[i]
        tight = not out or word in ".,;:!?)" or out.endswith("(")
        out += word if tight else " " + word
    return out


# ------------------------------------------------------------------------------------ timings


@dataclass(frozen=True)
class StepTime:
    """How long a training step takes with one engine."""

    name: str
    step: float
    part: float
    ratio: float


def time_engines(model: NextWord, text: Corpus, objective: Objective) -> list[StepTime]:
    """Time the same step with every engine, in shuffled rounds; ratios are taken within a round."""
    s = model.settings
    before, targets = corpus_module.contexts(text.train[: 2 * s.batch], s.context)
    before, targets = before[-s.batch :], targets[-s.batch :]
    contenders = engines(objective)
    logits: Floats = model.logits(before).copy()
    scratch, grad = np.empty_like(logits), np.empty_like(logits)
    steps: dict[str, list[float]] = {e.name: [] for e in contenders}
    parts: dict[str, list[float]] = {e.name: [] for e in contenders}
    with progress("timing", ROUNDS + 1) as bar:
        for turn in range(ROUNDS + 1):
            order = list(contenders)
            random.Random(turn).shuffle(order)
            for engine in order:
                step, part = time_step(model, engine, before, targets, logits, scratch, grad)
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


def time_step(
    model: NextWord,
    engine: Engine,
    before: Ids,
    targets: Ids,
    logits: Floats,
    scratch: Floats,
    grad: Floats,
) -> tuple[float, float]:
    """Return the seconds of one step, and of its loss with gradient alone."""
    model.engine = engine
    start = time.perf_counter()
    model.step(before, targets, 0.0)  # a rate of 0 costs the same and changes nothing
    step = time.perf_counter() - start
    np.copyto(scratch, logits)
    start = time.perf_counter()
    engine.loss_and_grad(scratch, targets, grad)
    return step, time.perf_counter() - start


# ------------------------------------------------------------------------------------- report


def paragraph(text: str) -> None:
    """Print `text` in lines that fit any terminal."""
    print(textwrap.fill(" ".join(text.split()), width=92))


def tell_text(text: Corpus, model: NextWord) -> None:
    """Say what is learned from and what learns."""
    s = model.settings
    more = "".join(
        f", {s.hidden} more behind them with {layer.activation.call}," for layer in model.layers[1:]
    )
    print("\nThe text")
    paragraph(
        f"{text.origin}: {text.train.size:,} words to learn from, {text.held_out.size:,} held "
        f"out. Of {text.distinct:,} different words the vocabulary takes the "
        f"{len(text.words) - 3:,} most frequent, and 3 marks; {text.rare:.1%} of the held-out text "
        "is rarer than that."
    )
    paragraph(
        f"The model has {model.size:,} parameters: it reads the last {s.context} words as vectors "
        f"of {s.dim}, has {s.hidden} hidden units{more or ','} and gives a probability to each of "
        f"the {s.vocabulary:,} entries."
    )


def tell_results(
    text: Corpus,
    baseline: Score,
    result: Score,
    steps: int,
    model: NextWord,
    objective: Objective,
) -> None:
    """Print the result table and what it means."""
    likely = objective.is_likelihood
    table = Table(
        f"Results on {text.held_out.size:,} words that the model has never seen",
        ["", *[">perplexity"] * likely, ">right at once", ">among its first 5", ">first 10"],
    )
    for name, s in (("word frequencies alone", baseline), ("the trained model", result)):
        perplexity = [f"{s.perplexity:.1f}"] * likely
        table.add(name, *perplexity, f"{s.top1:.1%}", f"{s.top5:.1%}", f"{s.top10:.1%}")
    print()
    table.print()
    read = steps * model.settings.batch
    settings = "".join(f", {k} = {v:g}" for k, v in objective.parameters.items())
    second = "".join(
        f"; {layer.activation.call} and its gradient gave the second layer its bends"
        for layer in model.layers[1:]
    )
    paragraph(
        f"What happened: the model read {read:,} words ({read / text.train.size:.1f} times the "
        f"text) in {steps:,} steps. At each it guessed the next word after {model.settings.batch} "
        "places in the text, and its parameters were moved a little towards the word that was "
        f"really there. lanemax.{objective.function}_and_grad{settings} turned the scores of the "
        "whole vocabulary into the loss and its gradient in one call; lanemax.softmax and "
        f"softmax_vjp chose which of the words before matter{second}."
    )
    if not likely:
        paragraph(
            f"{objective.function} ranks words and gives them no probabilities, so there is no "
            "perplexity: compare the accuracies with those of --loss cross_entropy."
        )
    elif result.perplexity < baseline.perplexity:
        paragraph(
            f"A perplexity of {result.perplexity:.0f} means that the model is as unsure as if it "
            f"had to choose among {result.perplexity:.0f} equally likely words; knowing only how "
            f"frequent each word is, one would choose among {baseline.perplexity:.0f}."
        )
    else:
        paragraph(
            "The model is no better than word frequencies here: the text is too short for it, or "
            "it was trained too little (--epochs) or for too long."
        )
    tell_learned(model)


def tell_learned(model: NextWord) -> None:
    """Print what the activations have learned, if any can."""

    def numbers(values: Floats) -> str:
        text = ", ".join(f"{v:.3g}" for v in values)
        return text if values.size == 1 else f"[{text}]"

    for layer in model.layers:
        if layer.learned:
            start = layer.activation.learned
            changes = (
                f"{name} from {numbers(start[name])} to {numbers(part.value)}"
                for name, part in layer.learned.items()
            )
            paragraph(f"What {layer.activation.call} has learned: {'; '.join(changes)}.")


def tell_samples(lines: list[str], temperature: float) -> None:
    """Print the sampled lines."""
    if not lines:
        return
    print(f"\nLines drawn from lanemax.softmax(scores, temperature={temperature:g})")
    for line in lines:
        print(textwrap.fill(line, width=92, initial_indent="  * ", subsequent_indent="    "))


def tell_timings(times: list[StepTime], model: NextWord, took: dict[str, float]) -> None:
    """Print what differs from run to run: seconds, and the machine."""
    print("\nTimings (they differ from run to run)")
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
    total = ", ".join(f"{name} {seconds(s)}" for name, s in took.items())
    threads = lm.get_num_threads()
    print(f"time: {total}")
    print(
        f"time: measured with the {lm.isa()} tier and {threads} thread{'s' * (threads != 1)} "
        f"on {machine.cpu_name()}, NumPy {np.__version__}"
    )


def run(args: argparse.Namespace) -> int:
    """Read, train, measure, sample, time, and say so."""
    if args.task == "density":
        return density.run(args)
    if args.vocab < 50:
        raise UsageError(f"--vocab {args.vocab}: a vocabulary needs at least 50 entries")
    if args.plot:
        require_matplotlib("--plot")
        plot.check_writable(args.plot)
    objective = objectives(args.tau)[args.loss]
    activation = activations()[args.activation] if args.activation else None
    start = time.perf_counter()
    took: dict[str, float] = {}

    def lap(name: str) -> None:
        took[name] = time.perf_counter() - start - sum(took.values())

    if args.text:
        pieces, origin = corpus_module.read_files(args.text)
    else:
        pieces, origin = corpus_module.read_standard_library()
    text = corpus_module.build(pieces, origin, args.vocab)
    lap("reading")
    note_missing_rich()
    rng = np.random.default_rng(args.seed)
    counts = np.bincount(text.train, minlength=len(text.words))
    settings, steps = plan(args, text.train.size, len(text.words))
    with Workers() as workers:
        if not workers.reproducible:
            note(
                "note: threadpoolctl is not installed; results may depend on the threads of "
                f"NumPy's matrix products. {EXTRA_HINT} adds it."
            )
        model = NextWord(settings, counts, workers, Lanemax(objective), rng, activation)
        tell_text(text, model)
        sys.stdout.flush()
        curve = train(model, text, objective, steps, rng)
        lap("training")
        held = corpus_module.contexts(text.held_out, settings.context)
        with progress("measuring", held[1].size) as bar:
            result = score(model, *held, objective.is_likelihood, bar)
        baseline = unigram_score(counts, held[1])
        tell_results(text, baseline, result, steps, model, objective)
        tell_samples(sample(model, text, args.samples, args.temperature, rng), args.temperature)
        sys.stdout.flush()
        lap("measuring")
        times = time_engines(model, text, objective)
    lap("timing")
    tell_timings(times, model, took)
    if args.plot:
        ends = (baseline.perplexity, result.perplexity) if objective.is_likelihood else None
        second = f" with {activation.call}" if activation else ""
        title = f"Next-word model{second} on {origin}"
        plot.learning_curve(args.plot, curve.words, curve.value, objective.function, ends, title)
        note(f"wrote {args.plot}")
    return 0
