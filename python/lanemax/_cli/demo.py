# SPDX-License-Identifier: Apache-2.0
"""``demo``: train a next-word model on real text, with the library under its largest layer."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

import lanemax as lm

from . import density, machine, plot, report
from .activation import NAMES as ACTIVATIONS
from .activation import Activation, activations
from .arguments import not_negative, positive, positive_real, vocabulary, whole
from .corpus import (
    END,
    NUMBER,
    UNKNOWN,
    Corpus,
    Ids,
    build,
    contexts,
    read_files,
    read_standard_library,
)  # fmt: skip
from .head import HEADS, Dense
from .head import NAMES as HEAD_NAMES
from .model import (
    NextWord,
    Score,
    Settings,
    batches,
    memory_needed,
    places_to_measure,
    score,
    unigram_score,
)  # fmt: skip
from .objective import NAMES as LOSSES
from .objective import Objective, objectives
from .step_time import StepTime, time_engines, time_heads
from .text import (
    EXTRA_HINT,
    UsageError,
    note,
    note_missing_rich,
    progress,
    size,
)  # fmt: skip
from .training import Workers

SUMMARY = "train a next-word model on real text (about a minute)"
DESCRIPTION = """\
Train a small neural network to predict the next word of real text, with a softmax over a
vocabulary of more than 10,000 words at every step, and compare it with a baseline. The text
is by default what is documented in this Python's standard library; yours with --text, which may
be as long as memory has four bytes for each of its words. --head chooses what computes the output
layer: with several names each is trained on the same batches and they are put side by side.
Results are printed first; they are the same in every run with the same seed, whatever the
instruction set and the number of threads. Timings come last. Progress goes to standard error."""
EXAMPLES = """\
examples:
  python -m lanemax demo
  python -m lanemax demo --quick
  python -m lanemax demo --loss z_loss
  python -m lanemax demo --activation poly_relu
  python -m lanemax demo --head dense linear spherical
  python -m lanemax demo --head spherical --loss z_loss --vocabulary max --text wiki.txt
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
        "--vocabulary",
        type=vocabulary,
        metavar="N",
        default=10240,
        help="entries of the vocabulary, 3 marks included; max, or 0: all words of the training "
        "text (default: 10240)",
    )
    parser.add_argument(
        "--vocab",
        dest="vocabulary",
        type=vocabulary,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
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
        "--head",
        nargs="+",
        choices=HEAD_NAMES,
        metavar="NAME",
        help="what computes the output layer, one or more: dense, with all scores in memory; "
        "linear, cross-entropy without them; spherical, at a cost that does not depend on the "
        "vocabulary (default: dense)",
    )
    parser.add_argument(
        "--loss",
        choices=LOSSES,
        help="what training minimises (default: cross_entropy; with the spherical head z_loss)",
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


def train(model: NextWord, text: Corpus, steps: int, rng: np.random.Generator) -> report.Curve:
    """Train `model` and return how its loss went."""
    s, likely = model.settings, model.objective.is_likelihood
    curve = report.Curve([], [])
    recent: list[float] = []
    smooth = 0.0
    with progress("training", steps) as bar:
        for i, places in enumerate(batches(text.train.size, s.batch, steps, rng)):
            # Up for a moment, then down to zero: the usual schedule, without a knob.
            rate = s.rate * min(1.0, (i + 1) / WARM_UP) * (1.0 - i / steps)
            loss = model.step(*contexts(text.train, places, s.context), rate)
            smooth = loss if i == 0 else 0.95 * smooth + 0.05 * loss
            recent.append(loss)
            shown = f", perplexity {np.exp(smooth):.0f}" if likely else ""
            bar.advance(1, f"loss {smooth:.3f}{shown}")
            if (i + 1) % max(1, steps // 60) == 0:
                curve.words.append((i + 1) * s.batch)
                mean = statistics.fmean(recent)
                curve.value.append(float(np.exp(mean)) if likely else mean)
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
        z, words = model.head.choices(model.hidden(before))
        z[(words == UNKNOWN) | (words == NUMBER)] = -np.inf  # masked: their probability is 0
        p = lm.softmax(z, temperature=temperature)
        ladder = np.cumsum(p, axis=1, dtype=np.float64)
        draws = rng.random(count) * ladder[:, -1]
        drawn = np.minimum((ladder <= draws[:, None]).sum(axis=1), p.shape[1] - 1)
        chosen = words[np.arange(count), drawn]
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


# --------------------------------------------------------------------------------------- heads


class Laps:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        """Count the time since the last end as spent on `name`."""
        now = time.perf_counter()
        self.took[name] = self.took.get(name, 0.0) + now - self._last
        self._last = now


def objective_of(head: str, args: argparse.Namespace, known: dict[str, Objective]) -> Objective:
    """Return what `head` minimises, or say in one line that it cannot."""
    offered = HEADS[head].losses
    if args.loss is not None and args.loss not in offered:
        raise UsageError(f"--head {head} cannot minimise {args.loss}; it can {', '.join(offered)}")
    return known[args.loss or offered[0]]


def require_memory(head: str, settings: Settings) -> None:
    """Refuse what the system would end in the midst of it."""
    needed, free = memory_needed(head, settings), machine.free_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"--head {head} needs {size(needed)} for {settings.vocabulary:,} words, and "
            f"{size(free)} are free: a smaller --vocabulary or --dim, or another head, needs less"
        )


@dataclass(frozen=True)
class Demo:
    """What all heads have in common."""

    args: argparse.Namespace
    text: Corpus
    settings: Settings
    steps: int
    activation: Activation | None
    workers: Workers
    laps: Laps

    def model(self, head: str, objective: Objective, rng: np.random.Generator) -> NextWord:
        """Return a model that has learned nothing yet."""
        require_memory(head, self.settings)
        return NextWord(
            self.settings, self.text.counts, self.workers, objective, rng, head, self.activation
        )

    def learn(self, model: NextWord, places: Ids, rng: np.random.Generator) -> report.Trial:
        """Train a model, measure it at places of the held-out text, and draw lines from it."""
        text, args = self.text, self.args
        start = time.perf_counter()
        curve = train(model, text, self.steps, rng)
        took = time.perf_counter() - start
        self.laps.end("training")
        with progress("measuring", places.size) as bar:
            result = score(model, text.held_out, places, bar)
        trial = report.Trial(
            head=model.head.name,
            story=model.head.story,
            drawn=model.head.drawn,
            objective=model.objective,
            settings=self.settings,
            steps=self.steps,
            took=took,
            curve=curve,
            score=result,
            memory=machine.peak_memory(),
            second=report.second_layer(model),
            learned=report.learned(model),
            lines=sample(model, text, args.samples, args.temperature, rng),
        )
        self.laps.end("measuring")
        return trial

    def time_z_loss(self) -> list[StepTime] | None:
        """Time the spherical head's Z-loss and dense log-softmax; None without the memory."""
        known = objectives(1.0)
        pair = {"spherical": known["z_loss"], "dense": known["cross_entropy"]}
        rng = np.random.default_rng(self.args.seed)
        try:
            models = [self.model(head, objective, rng) for head, objective in pair.items()]
        except UsageError:
            return None
        return time_heads(models, self.text)


def read(args: argparse.Namespace) -> Corpus:
    """Return the text that the arguments name."""
    if 0 < args.vocabulary < 50:
        raise UsageError(f"--vocabulary {args.vocabulary}: a vocabulary needs at least 50 entries")
    text = read_files(args.text) if args.text else read_standard_library()
    return build(text, args.vocabulary or None)


def run(args: argparse.Namespace) -> int:
    """Read, train, measure, sample, time, and say so."""
    if args.task == "density":
        return density.run(args)
    heads = list(dict.fromkeys(args.head or ["dense"]))
    if args.plot:
        if len(heads) > 1:
            raise UsageError("--plot draws one learning curve: name one head")
        plot.require("--plot", args.plot)
    known = objectives(args.tau)
    chosen = {head: objective_of(head, args, known) for head in heads}
    activation = activations()[args.activation] if args.activation else None
    laps = Laps()
    text = read(args)
    laps.end("reading")
    note_missing_rich()
    settings, steps = plan(args, text.train.size, len(text.words))
    with Workers() as workers:
        if not workers.reproducible:
            note(
                "note: threadpoolctl is not installed; results may depend on the threads of "
                f"NumPy's matrix products. {EXTRA_HINT} adds it."
            )
        demo = Demo(args, text, settings, steps, activation, workers, laps)
        run_heads(demo, chosen)
    return 0


def run_heads(demo: Demo, chosen: dict[str, Objective]) -> None:
    """Train with each head, and print what came of it."""
    args, text = demo.args, demo.text
    places = places_to_measure(text.held_out, demo.settings.vocabulary)
    trials: list[report.Trial] = []
    apart = True
    for head, objective in chosen.items():
        model = None  # the next one needs the memory, and a peak of its own
        apart = machine.reset_peak_memory() and apart
        rng = np.random.default_rng(args.seed)
        model = demo.model(head, objective, rng)
        if not trials:
            report.tell_text(text, model)
            sys.stdout.flush()
        trials.append(demo.learn(model, places, rng))
    baseline = unigram_score(text.counts, text.held_out[places])
    report.tell_results(text, places.size, baseline, trials)
    for trial in trials:
        report.tell_samples(trial, args.temperature, alone=len(trials) == 1)
    sys.stdout.flush()
    demo.laps.end("measuring")
    print("\nTimings (they differ from run to run)")
    if model and len(trials) == 1 and isinstance(model.head, Dense):
        report.tell_engines(time_engines(model, model.head, text))
    model = None
    if args.head:
        report.tell_heads(text, trials, apart)
    if any(t.head == "spherical" and t.objective.name == "z_loss" for t in trials):
        report.tell_speed_up(demo.time_z_loss(), demo.settings.vocabulary)
    demo.laps.end("timing")
    report.tell_machine(demo.laps.took)
    if args.plot:
        draw(args.plot, trials[0], baseline, demo)


def draw(path: str, trial: report.Trial, baseline: Score, demo: Demo) -> None:
    """Draw a learning curve."""
    likely = trial.objective.is_likelihood
    ends = (baseline.perplexity, trial.score.perplexity) if likely else None
    second = f" with {demo.activation.call}" if demo.activation else ""
    title = f"Next-word model{second} on {demo.text.origin}"
    curve, function = trial.curve, trial.objective.function
    plot.learning_curve(path, curve.words, curve.value, function, ends, title)
    note(f"wrote {path}")
