# SPDX-License-Identifier: Apache-2.0
"""Draw what a training step of an output layer costs against the number of its classes.

One step of stochastic gradient descent on a batch of hidden states, for a dense layer with softmax
and all logits, for `linear_cross_entropy_and_grad`, and for `SphericalOutput` with the Z-loss,
whose cost does not depend on the classes (Vincent, de Brebisson and Bouthillier 2015,
arXiv:1412.7091):

    python bench/vocabulary_figure.py --out figure.png

Everyone has the same values and the same number of threads, in rounds of shuffled order, as in
`python -m lanemax bench`; medians are printed.  The figure, whose bands are quartiles, needs
matplotlib, and the largest layers 8 GB of memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import lanemax as lm
import numpy as np
from lanemax._cli import bench, machine, plot
from lanemax._cli.arguments import positive, positive_real
from lanemax._cli.text import Table, UsageError, progress, seconds
from lanemax._cli.timing import Contender, Row, clock

#: Half decades from 1e3 to 1e6.
CLASSES = tuple(round(10 ** (n / 2)) for n in range(6, 13))

STYLES: dict[str, dict[str, Any]] = {
    "dense, cross-entropy": {"color": plot.OTHERS[0], "marker": "s"},
    "linear_cross_entropy": {"color": plot.OTHERS[2], "marker": "^"},
    "SphericalOutput, Z-loss": {"color": plot.OURS, "marker": "o"},
}


class LinearLayer:
    """An output layer trained by gradient descent on softmax, without its logits."""

    def __init__(self, weight: Any) -> None:
        self.weight = weight

    def step(self, hidden: Any, target: Any, lr: float) -> tuple[float, Any]:
        """Return the loss and its gradient by `hidden`, and move the weights."""
        loss, dhidden, gradient, _ = lm.linear_cross_entropy_and_grad(hidden, self.weight, target)
        gradient *= np.float32(lr)
        self.weight -= gradient
        return float(loss), dhidden


def contenders(rows: int, depth: int, classes: int) -> Iterator[Contender]:
    rng = np.random.default_rng(2)
    hidden = rng.standard_normal((rows, depth), np.float32)
    target = rng.integers(0, classes, rows)
    layers = (
        bench.DenseLayer(bench.output_weights(classes, depth), rows),
        LinearLayer(bench.output_weights(classes, depth)),
        lm.SphericalOutput(bench.output_weights(classes, depth), loss="z"),
    )
    for name, layer in zip(STYLES, layers, strict=True):
        yield Contender(name, clock(partial(layer.step, hidden, target, 1e-3)))


def measure(args: argparse.Namespace) -> list[Row]:
    """Time every number of classes."""
    found, report, tier = [], bench.Report(), lm.isa()
    with (
        machine.pinned(args.threads),
        bench.tier_and_threads(tier, args.threads),
        progress("measuring", len(set(args.classes))) as bar,
    ):
        for classes in sorted(set(args.classes)):
            run = bench.Bench(tier, args.threads, args.seconds, (), report, bar)
            timed = list(contenders(args.rows, args.depth, classes))
            times = run.race(timed, f"{classes:,} classes")
            shape = (args.rows, args.depth, classes)
            found.append(Row("vocabulary", shape, "float32", tier, args.threads, times))
            bar.advance(1)
    return found


def show(rows: Sequence[Row]) -> None:
    """Print the figure as a table."""
    shape = rows[0].shape
    table = Table(
        f"A training step, batch {shape[0]}, d = {shape[1]}",
        [">classes", *(f">{n}" for n in STYLES), ">dense / spherical"],
    )
    first, *_, last = STYLES
    for row in rows:
        cells = [seconds(row.times.seconds(n).median) for n in STYLES]
        table.add(f"{row.shape[2]:,}", *cells, bench.ratio_text(row.times.ratio(first, last)))
    table.print()


def draw(path: str, rows: Sequence[Row], subtitle: str) -> None:
    pyplot = plot.pyplot_without_display()
    figure, axes = pyplot.subplots(figsize=(7.2, 4.8), layout="constrained")
    classes = [row.shape[2] for row in rows]
    for name, style in STYLES.items():
        found = [row.times.seconds(name) for row in rows]
        axes.plot(classes, [s.median * 1e3 for s in found], label=name, linewidth=2, **style)
        low, high = [s.low * 1e3 for s in found], [s.high * 1e3 for s in found]
        axes.fill_between(classes, low, high, color=style["color"], alpha=0.15, lw=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.set_xlabel("classes")
    axes.set_ylabel("milliseconds for a step")
    plot.quiet(axes)
    axes.legend(frameon=False, fontsize=9)
    shape, threads = rows[0].shape, rows[0].threads
    title = f"Output layers of float32, batch {shape[0]}, d = {shape[1]}, {rows[0].tier}"
    title += f", {threads} thread{'s' * (threads != 1)}"
    figure.suptitle(f"{title}\n{subtitle}", fontsize=7, wrap=True)
    plot.save(figure, path)


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, draw."""
    bench.require_cpus(args.threads)
    if args.out:
        plot.require("--out", args.out)
    rows = measure(args)
    show(rows)
    where = bench.machine_line(args)
    print(f"machine: {where}")
    if args.out:
        draw(args.out, rows, where)
        print(f"wrote {args.out}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="V", type=positive, default=CLASSES,
        help="numbers of classes (default: half decades from 1e3 to 1e6)",
    )  # fmt: skip
    parser.add_argument("--rows", type=positive, default=128, help="batch (default: 128)")
    parser.add_argument("--depth", type=positive, default=256, help="d (default: 256)")
    parser.add_argument("--threads", type=positive, default=1, help="for everyone (default: 1)")
    parser.add_argument(
        "--seconds", type=positive_real, default=3.0, help="for each number of classes (default: 3)"
    )
    parser.add_argument("--out", metavar="FILE", help="the figure: .png, .svg or .pdf")
    try:
        run(parser.parse_args())
    except (UsageError, OSError) as error:
        sys.exit(f"vocabulary_figure.py: error: {error}")


if __name__ == "__main__":
    main()
