# SPDX-License-Identifier: Apache-2.0
"""``demo --task density``: fit a Fourier head to numbers, and draw it beside the histogram."""

from __future__ import annotations

import argparse
import csv
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lanemax as lm

from .text import Table, UsageError, note, note_missing_rich, optional, progress, require_matplotlib

Floats = np.ndarray[Any, np.dtype[np.float64]]

STEPS, QUICK_STEPS, RATE = 400, 80, 0.02

#: Numbers that are learned from, at most: more change the fit little.
MOST = 20_000

#: Of the histogram, and what a bar of it can be long.
BARS, WIDTH = 40, 46


@dataclass(frozen=True)
class Data:
    """Numbers, where they come from, and the range that becomes [-1, 1]."""

    train: Floats
    held_out: Floats
    low: float
    high: float
    origin: str

    def scaled(self, values: Floats) -> Floats:
        """Return them as points from -1 to 1."""
        scaled: Floats = np.clip(2 * (values - self.low) / (self.high - self.low) - 1, -1, 1)
        return scaled


def line_lengths() -> tuple[Floats, str]:
    """Return the lengths of the lines of this Python's standard library, without empty ones."""
    root = Path(sysconfig.get_path("stdlib"))
    lengths = []
    for path in sorted(root.glob("*.py")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        lengths += [len(line) for line in lines if 0 < len(line) <= 100]
    return np.array(lengths, np.float64), f"lengths of the lines of the modules in {root}"


def column(path: str, name: str | None) -> tuple[Floats, str]:
    """Return the numbers of a column of a CSV file: that of the name, or the first with numbers."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: {error}") from None
    if not rows:
        raise UsageError(f"{path}: the file is empty")
    head, body = rows[0], rows[1:]
    if name is not None and name not in head:
        raise UsageError(f"{path}: no column {name!r}; there are {', '.join(head)}")
    for i, title in enumerate(head):
        if name not in (None, title):
            continue
        values = []
        for row in body:
            try:
                value = float(row[i])
            except (IndexError, ValueError):
                continue
            if np.isfinite(value):
                values.append(value)
        if len(values) >= 20:
            return np.array(values), f"column {title!r} of {path}"
    what = "no column holds" if name is None else f"column {name!r} does not hold"
    raise UsageError(f"{path}: {what} 20 numbers or more")


def split(values: Floats, origin: str, rng: np.random.Generator) -> Data:
    """Shuffle, keep a fifth for the test, and put a twentieth of the range at either end."""
    if values.min() == values.max():
        raise UsageError(f"{origin}: all numbers are {values[0]:g}")
    margin = (values.max() - values.min()) / 20
    drawn = rng.permutation(values)[:MOST]
    test = len(drawn) // 5
    low, high = float(values.min() - margin), float(values.max() + margin)
    return Data(drawn[test:], drawn[:test], low, high, origin)


def fit(data: Data, frequencies: int, steps: int, rng: np.random.Generator) -> Floats:
    """Maximise the likelihood by Adam, from a density that is nearly uniform."""
    coef: Floats = 0.01 * rng.standard_normal(2 * (frequencies + 1))
    coef[0] = 1
    x = data.scaled(data.train)
    m, v = np.zeros_like(coef), np.zeros_like(coef)
    with progress("fitting", steps) as bar:
        for step in range(1, steps + 1):
            loss, grad = lm.fourier_nll_and_grad(coef, x, gamma=1e-6, normalized_penalty=True)
            m += 0.1 * (grad - m)
            v += 0.01 * (grad * grad - v)
            coef -= RATE * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-12)
            bar.advance(1, f"{loss:.4f}")
    return coef


def tell(data: Data, coef: Floats, seed: int) -> None:
    """Print likelihoods, moments, samples, and the density beside the histogram."""
    half = (data.high - data.low) / 2
    width = 2 * half / BARS
    edges = np.linspace(data.low, data.high, BARS + 1)
    counts = np.histogram(data.train, edges)[0]
    place = np.clip(((data.held_out - data.low) / width).astype(int), 0, BARS - 1)
    bars = (counts + 1) / (counts.sum() + BARS)
    mean, deviation = data.train.mean(), data.train.std()
    z = (data.held_out - mean) / deviation
    nats = {
        "uniform": np.log(2 * half),
        "normal": float((z * z / 2).mean() + np.log(deviation * np.sqrt(2 * np.pi))),
        f"histogram, {BARS} bars": float(-np.log(bars[place] / width).mean()),
        f"Fourier head, {coef.size // 2 - 1} frequencies": float(
            lm.fourier_nll(coef, data.scaled(data.held_out)) + np.log(half)
        ),
    }
    table = Table(
        f"-log density of {len(data.held_out):,} numbers that were not learned from",
        ["density", ">nats"],
    )
    for name, value in nats.items():
        table.add(name, f"{value:.4f}")
    table.print()
    center = (data.high + data.low) / 2
    print(
        f"mean {center + half * lm.fourier_mean(coef):.4g} (of the numbers: {mean:.4g}), "
        f"deviation {half * np.sqrt(lm.fourier_variance(coef)):.4g} ({deviation:.4g})"
    )
    drawn = center + half * lm.fourier_sample(coef, 8, rng=seed)
    print("drawn from it: " + ", ".join(f"{v:.4g}" for v in drawn))
    masses = lm.fourier_bins(coef, BARS, exact=True)
    share = counts / counts.sum()
    unit = WIDTH / max(share.max(), masses.max())
    print("\nhistogram (#) and density (|)")
    for i in range(BARS):
        bar = list(("#" * round(share[i] * unit)).ljust(WIDTH + 1))
        bar[round(masses[i] * unit)] = "|"
        print(f"{(edges[i] + edges[i + 1]) / 2:10.4g} {''.join(bar).rstrip()}")


def draw(path: str, data: Data, coef: Floats) -> None:
    """Draw the density over the histogram."""
    optional("matplotlib").use("Agg")
    plt: Any = optional("matplotlib.pyplot")
    half = (data.high - data.low) / 2
    x = np.linspace(data.low, data.high, 1001)
    figure, axis = plt.subplots(figsize=(8, 4.5))
    axis.hist(data.train, BARS, (data.low, data.high), density=True, alpha=0.5, label="histogram")
    axis.plot(x, lm.fourier_density(coef, data.scaled(x)) / half, label="Fourier head")
    axis.set_title(data.origin, fontsize=9)
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def run(args: argparse.Namespace) -> int:
    """Read, fit, and say so."""
    if args.plot:
        require_matplotlib("--plot")
    rng = np.random.default_rng(args.seed)
    values, origin = column(args.csv, args.column) if args.csv else line_lengths()
    data = split(values, origin, rng)
    note_missing_rich()
    print(f"{origin}: {len(values):,} numbers from {values.min():g} to {values.max():g}")
    steps = args.steps or (QUICK_STEPS if args.quick else STEPS)
    coef = fit(data, args.frequencies, steps, rng)
    tell(data, coef, args.seed)
    if args.plot:
        draw(args.plot, data, coef)
        note(f"wrote {args.plot}")
    return 0


def add_arguments(parser: argparse.ArgumentParser, count: Any) -> None:
    """Declare the options of this task; `count` reads a positive number."""
    group = parser.add_argument_group("--task density")
    group.add_argument("--csv", metavar="FILE", help="numbers (default: lengths of lines of code)")
    group.add_argument("--column", metavar="NAME", help="of the CSV file (default: the first)")
    group.add_argument(
        "--frequencies", type=count, metavar="N", default=16, help="of the head (default: 16)"
    )
