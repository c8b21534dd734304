# SPDX-License-Identifier: Apache-2.0
"""Which activation trains fastest?  The same small network with each, on handwritten digits.

    python examples/digits_activations.py [--plot digits.png] [--seeds N] [--steps N]

PolyCom (Zhuo and others 2024, arXiv:2411.03884) trains language models with polynomials of ReLU
(PolyReLU) and of normalised powers (PolyNorm), whose coefficients are learned, and finds that they
converge faster than ReLU, GELU and SwiGLU.  This is that comparison on a toy: scikit-learn's
digits, 8 x 8 pixels, two hidden layers of 64 units, Adam.  Activations, loss and all gradients but
those of the matrix products are calls of lanemax.

Everyone has the same start, order of examples and number of weights: SwiGLU has two thirds of the
units, because it has two products for each.  Settings are not guessed: every activation is trained
with every rate of RATES and every width of the first weights of SCALES, for a few seeds.  The
setting that reaches a training loss of REACHED first is judged by its speed, the one with the least
loss on validation digits by its accuracy on test digits; both on other seeds, by which nothing was
chosen.  A seed draws the weights, the order, and which digits are for what; differences from ReLU
are taken within a seed.

Expect one to two minutes on two cores.  The same seeds give the same figures on the same machine,
with any number of jobs.  Needs numpy and scikit-learn, which has the digits; matplotlib for the
plot.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import lanemax as lm
import numpy as np

HIDDEN, LAYERS, BATCH = 64, 2, 64
RATES = (0.004, 0.008, 0.016, 0.032)
SCALES = (0.7, 1.0, 1.4)  # standard deviation of the first weights, times sqrt(inputs)
TUNING_SEEDS = 8
REACHED = 0.03  # nats per digit
EVERY = 5  # steps between two points of a curve


class Activation(NamedTuple):
    """Value and gradient, where the learned parameters start, and how many inputs it has."""

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    learned: tuple[Any, ...] = ()
    inputs: int = 1


THIRDS = np.full(3, 1 / 3)  # as published
#: KAT's start (arXiv:2409.10594), close to SiLU on [-3, 3]
NUMERATOR = (3.0548797e-07, 0.50000079, 0.24999783, 0.053266283, 0.0058030346, 0.00027519610)
DENOMINATOR = (-4.1115550e-06, 0.10652899, -1.2690007e-06, 0.00055023313)


def form_a(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments, form="A")


ACTIVATIONS = {
    "ReLU": Activation(lm.relu, lm.relu_vjp),
    "squared ReLU": Activation(lm.squared_relu, lm.squared_relu_vjp),
    "GELU": Activation(lm.gelu, lm.gelu_vjp),
    "SiLU": Activation(lm.silu, lm.silu_vjp),
    "Swish": Activation(lm.swish, lm.swish_vjp, (1.0,)),
    "CRReLU": Activation(lm.crrelu, lm.crrelu_vjp, (0.01,)),
    "SwiGLU": Activation(lm.swiglu, lm.swiglu_vjp, inputs=2),
    "PolyReLU": Activation(lm.poly_relu, lm.poly_relu_vjp, (THIRDS, 0.0)),
    "PolyNorm": Activation(lm.poly_norm, lm.poly_norm_vjp, (THIRDS, 0.0)),
    "rational": Activation(form_a(lm.rational), form_a(lm.rational_vjp), (NUMERATOR, DENOMINATOR)),
}
#: the activations that the paper compares
CLAIM = ("ReLU", "GELU", "SwiGLU", "PolyReLU", "PolyNorm")


# --------------------------------------------------------------------------------- the network


class Network:
    """Hidden layers y = f(x W + b) and an output layer; all parameters lie in one array."""

    def __init__(
        self, activation: Activation, scale: float, pixels: int, rng: np.random.Generator
    ) -> None:
        def normal(rows: int, cols: int) -> np.ndarray:
            return rng.standard_normal((rows, cols)) * scale / math.sqrt(rows)

        self.activation = activation
        units = HIDDEN if activation.inputs == 1 else HIDDEN * 2 // 3
        sums = activation.inputs * units
        start = [
            (normal(rows, sums), np.zeros(sums), *map(np.atleast_1d, activation.learned))
            for rows in (pixels, *[units] * (LAYERS - 1))
        ]
        start.append((normal(units, 10), np.zeros(10)))
        self.flat = np.concatenate([a.ravel() for a in itertools.chain(*start)]).astype(np.float32)
        self.gradient, self.m, self.v = (np.zeros_like(self.flat) for _ in range(3))
        self.layers, self.gradients = views(self.flat, start), views(self.gradient, start)
        self.t = 0

    def logits(self, x: np.ndarray) -> tuple[np.ndarray, list]:
        """Logits, and for each hidden layer its inputs and sums."""
        passed = []
        for w, b, *learned in self.layers[:-1]:
            sums = np.split(x @ w + b, self.activation.inputs, axis=1)
            passed.append((x, sums))
            x = self.activation.value(*sums, *learned)
        w, b = self.layers[-1]
        return x @ w + b, [*passed, (x, [])]

    def step(self, x: np.ndarray, target: np.ndarray, rate: float) -> None:
        """One step of Adam (Kingma and Ba 2015)."""
        z, passed = self.logits(x)
        _, dz = lm.cross_entropy_and_grad(z, target, grad_out=z)
        dlearned: tuple = ()
        for i in reversed(range(len(self.layers))):
            x, _ = passed[i]
            found = (x.T @ dz, dz.sum(axis=0), *dlearned)
            for into, value in zip(self.gradients[i], found, strict=True):
                into[...] = value
            if i:
                dy, (_, sums) = dz @ self.layers[i][0].T, passed[i - 1]
                back = self.activation.gradient(dy, *sums, *self.layers[i - 1][2:])
                back = back if isinstance(back, tuple) else (back,)
                dz, dlearned = np.concatenate(back[: len(sums)], axis=1), back[len(sums) :]
        self.t += 1
        self.m += 0.1 * (self.gradient - self.m)
        self.v += 0.01 * (self.gradient * self.gradient - self.v)
        rate *= math.sqrt(1 - 0.99**self.t) / (1 - 0.9**self.t)
        self.flat -= rate * self.m / (np.sqrt(self.v) + 1e-8)


def views(flat: np.ndarray, like: list[tuple]) -> list[list[np.ndarray]]:
    """Views of `flat` with the shapes of `like`."""
    edges = np.cumsum([a.size for a in itertools.chain(*like)])[:-1]
    pieces = iter(np.split(flat, edges))
    return [[next(pieces).reshape(a.shape) for a in layer] for layer in like]


class Run(NamedTuple):
    """One training: the activation's name, its setting, and the seed."""

    name: str
    rate: float
    scale: float
    seed: int


class Result(NamedTuple):
    """Losses on all training digits, one every EVERY steps; then of the trained network."""

    curve: np.ndarray
    validation: float  # loss
    accuracy: float  # on test digits, percent

    @property
    def steps(self) -> float:
        """Steps to a loss of REACHED, or all steps if it was not reached."""
        below = np.flatnonzero(self.curve <= REACHED)
        return EVERY * float(below[0] if below.size else len(self.curve) - 1)


def train(run: Run, x: np.ndarray, y: np.ndarray, steps: int) -> Result:
    rng = np.random.default_rng(run.seed)
    learned, chosen_by, tested = np.split(rng.permutation(len(x)), [len(x) * 3 // 5, -len(x) // 5])
    network = Network(ACTIVATIONS[run.name], run.scale, x.shape[1], rng)

    def loss(part: np.ndarray) -> float:
        return float(lm.cross_entropy(network.logits(x[part])[0], y[part]))

    passes = steps * BATCH // len(learned) + 1
    order = np.concatenate([rng.permutation(learned) for _ in range(passes)])
    curve = [loss(learned)]
    for step in range(steps):
        pick = order[step * BATCH : (step + 1) * BATCH]
        network.step(x[pick], y[pick], run.rate * (1 - step / steps))
        if (step + 1) % EVERY == 0:
            curve.append(loss(learned))
    right = network.logits(x[tested])[0].argmax(axis=1) == y[tested]
    return Result(np.array(curve), loss(chosen_by), 100 * right.mean())


# ------------------------------------------------------------------------------- the experiment


def train_all(todo: Iterable[Run], jobs: int, *arguments: Any) -> dict[Run, Result]:
    """Train everything in `todo`, `jobs` at a time, each on one thread."""
    todo = list(dict.fromkeys(todo))
    for library in ("OPENBLAS_NUM", "OMP_NUM", "MKL_NUM", "VECLIB_MAXIMUM", "LANEMAX_NUM"):
        os.environ[f"{library}_THREADS"] = "1"  # read by the new processes when they import NumPy
    spawn = multiprocessing.get_context("spawn")  # a fork would keep the threads that NumPy has
    found = {}
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        results = pool.map(train, todo, *map(itertools.repeat, arguments), chunksize=4)
        for run, result in zip(todo, results, strict=True):
            found[run] = result
            if len(found) % 40 == 0:
                print(f"trained {len(found)}/{len(todo)}", file=sys.stderr, flush=True)
    return found


def spread(values: Iterable[float], digits: int) -> str:
    """Mean and standard deviation."""
    values = list(values)
    return f"{statistics.fmean(values):.{digits}f} +- {statistics.stdev(values):.{digits}f}"


def setting(run: Run) -> str:
    return f"{run.rate:g}, {run.scale:g}"


def draw(path: str, results: dict[str, list[Result]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 4.6), width_ratios=(3, 2), layout="constrained"
    )
    colours = dict(zip(CLAIM, ("#555555", "#0b5fa5", "#d1670a", "#8a4fa3", "#0b6e4f"), strict=True))
    for name, colour in colours.items():
        curves = np.log([r.curve for r in results[name]])
        mean, deviation = curves.mean(axis=0), curves.std(axis=0)
        steps = EVERY * np.arange(mean.size)
        left.plot(steps, np.exp(mean), color=colour, label=name)
        band = np.exp(mean - deviation), np.exp(mean + deviation)
        left.fill_between(steps, *band, color=colour, alpha=0.15, lw=0)
    left.axhline(REACHED, color="black", linewidth=0.8, linestyle=":")
    left.set_yscale("log")
    left.set_xlabel("steps")
    left.set_ylabel("loss on the training digits")
    left.set_title("Geometric mean over seeds; band: one standard deviation", fontsize=10)
    left.legend(frameon=False)

    order = sorted(results, key=lambda n: -statistics.fmean(r.steps for r in results[n]))
    for i, name in enumerate(order):
        steps = [r.steps for r in results[name]]
        colour = colours.get(name, "#a0a0a0")
        right.plot(steps, [i] * len(steps), "o", color=colour, alpha=0.3, markersize=4, mew=0)
        right.plot(statistics.fmean(steps), i, "D", color=colour, markersize=7)
    right.set_yticks(range(len(order)), order)
    right.set_xlim(left=0)
    right.set_xlabel("steps")
    right.set_title(f"Steps to a loss of {REACHED:g}, by seed", fontsize=10)
    for axes in (left, right):
        axes.grid(True, color="#e3e3e3", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150, help="of each training (%(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="to judge by (%(default)s)")
    parser.add_argument("--jobs", type=int, metavar="N", help="trainings at once (default: CPUs)")
    parser.add_argument("--plot", metavar="FILE", help="draw the result (needs matplotlib)")
    args = parser.parse_args()
    if args.steps < EVERY or args.seeds < 2:
        parser.error(f"at least {EVERY} steps and 2 seeds, got {args.steps} and {args.seeds}")
    if importlib.util.find_spec("sklearn") is None:
        parser.error(
            "the digits are scikit-learn's, which is not installed: pip install scikit-learn"
        )
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib, which is not installed")
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    x = ((pixels - pixels.mean()) / pixels.std()).astype(np.float32)
    shared = (args.jobs or os.cpu_count() or 1, x, digits, args.steps)

    settings = [Run(*s, 0) for s in itertools.product(ACTIVATIONS, RATES, SCALES)]
    tuning = range(args.seeds, args.seeds + TUNING_SEEDS)
    tuned = train_all((s._replace(seed=k) for s in settings for k in tuning), *shared)

    def best(name: str, key: Callable[[Result], float]) -> Run:
        """The setting with the least mean of `key`."""

        def mean(s: Run) -> float:
            found = statistics.fmean(key(tuned[s._replace(seed=k)]) for k in tuning)
            return found if math.isfinite(found) else math.inf

        return min((s for s in settings if s.name == name), key=mean)

    fastest = {n: best(n, lambda r: r.steps) for n in ACTIVATIONS}
    surest = {n: best(n, lambda r: r.validation) for n in ACTIVATIONS}
    chosen = (*fastest.values(), *surest.values())
    judged = train_all((s._replace(seed=k) for s in chosen for k in range(args.seeds)), *shared)

    def over_seeds(s: Run) -> list[Result]:
        return [judged[s._replace(seed=k)] for k in range(args.seeds)]

    fast = {n: over_seeds(s) for n, s in fastest.items()}
    print(
        f"{len(x) * 3 // 5} training digits, {args.steps} steps of {BATCH}; mean and standard "
        f"deviation over {args.seeds} seeds,\nof the difference its standard error; settings are "
        "the rate and the scale of the first weights\n"
    )
    columns = "{:13}{:>14}{:>14}{:>16}{:>20}{:>14}{:>16}"
    print(columns.format("", "setting", "steps to", "less ReLU's", "loss at", "setting", "test"))
    print(
        columns.format("", "for speed", f"{REACHED:g}", "", "the end", "to be right", "accuracy, %")
    )
    for name in ACTIVATIONS:
        less = [a.steps - b.steps for a, b in zip(fast[name], fast["ReLU"], strict=True)]
        error = statistics.stdev(less) / math.sqrt(len(less))
        print(
            columns.format(
                name,
                setting(fastest[name]),
                spread((r.steps for r in fast[name]), 0),
                "" if name == "ReLU" else f"{statistics.fmean(less):+.0f} +- {error:.0f}",
                spread((r.curve[-1] for r in fast[name]), 5),
                setting(surest[name]),
                spread((r.accuracy for r in over_seeds(surest[name])), 1),
            )
        )
    if args.plot:
        draw(args.plot, fast)


if __name__ == "__main__":
    main()
