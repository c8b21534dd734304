# SPDX-License-Identifier: Apache-2.0
"""Draw what the Z-loss (de Brebisson and Vincent 2016, arXiv:1604.08859) costs beside log-softmax.

Nanoseconds per logit against the number of classes, for the losses alone and with their gradients
and for log_softmax, with a read and a copy of the logits as the floors, and for PyTorch's functions
where it is installed:

    python bench/z_loss_figure.py --out figure.png

The logits are given: this is the loss's own share of a step, before the output layer is factored.
Everyone works on the same values with the same number of threads, in rounds of shuffled order, as
in `python -m lanemax bench`; medians are printed, and ratios are taken within a round.  The figure,
whose bands are quartiles, needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import lanemax as lm
import numpy as np
from lanemax._cli import bench, machine, peers, plot
from lanemax._cli.arguments import positive, positive_real
from lanemax._cli.text import Table, UsageError, progress
from lanemax._cli.timing import Contender, Row, Spread, clock

#: Half decades from 1e2 to 1e6.
CLASSES = tuple(round(10 ** (n / 2)) for n in range(4, 13))

Z, XENT, LOG_SOFTMAX = plot.OURS, plot.OTHERS[0], plot.OTHERS[2]
LANEMAX = {"linewidth": 2.0, "zorder": 4}
TORCH = {"linestyle": ":", "markerfacecolor": "white", "zorder": 3}
FLOOR = {"color": "#555555", "linestyle": "--", "zorder": 2}

#: The two panels and tables: contender -> how its line is drawn.
PANELS: dict[str, dict[str, dict[str, Any]]] = {
    "The loss alone": {
        "z_loss": {"color": Z, "marker": "o", **LANEMAX},
        "cross_entropy": {"color": XENT, "marker": "s", **LANEMAX},
        "torch cross_entropy": {"color": XENT, "marker": "s", **TORCH},
        "read": FLOOR,
    },
    "With its gradient; log_softmax without": {
        "z_loss_and_grad": {"color": Z, "marker": "o", **LANEMAX},
        "cross_entropy_and_grad": {"color": XENT, "marker": "s", **LANEMAX},
        "log_softmax": {"color": LOG_SOFTMAX, "marker": "^", **LANEMAX},
        "torch cross_entropy and grad": {"color": XENT, "marker": "s", **TORCH},
        "torch log_softmax": {"color": LOG_SOFTMAX, "marker": "^", **TORCH},
        "copy": FLOOR,
    },
}

#: One contender's time over the sum of others'.
RATIOS = (
    ("z_loss", ("cross_entropy",)),
    ("z_loss", ("torch cross_entropy",)),
    ("z_loss", ("read",)),
    ("z_loss_and_grad", ("cross_entropy_and_grad",)),
    ("z_loss_and_grad", ("log_softmax",)),
    ("z_loss_and_grad", ("torch cross_entropy and grad",)),
    ("z_loss_and_grad", ("read", "copy")),
)


def contenders(shape: tuple[int, int], threads: int, others: Sequence[Any]) -> Iterator[Contender]:
    """The functions to time on one batch, with results in existing memory wherever possible."""
    case = peers.make_case("log_softmax", np.dtype(np.float32), shape, threads)
    target = np.random.default_rng(1).integers(0, shape[1], shape[0])
    for name in ("z_loss", "cross_entropy"):
        alone, both = getattr(lm, name), getattr(lm, f"{name}_and_grad")
        yield Contender(name, clock(partial(alone, case.x, target)))
        yield Contender(f"{name}_and_grad", clock(partial(both, case.x, target, grad_out=case.out)))
    yield Contender("log_softmax", clock(dict(peers.ours(case))["out"]))
    yield from peers.anchors(case)
    for peer in others:
        yield Contender(f"{peer.name} log_softmax", clock(dict(peer.offers(case))["out"]))
        for variant, call in peer.cross_entropy(case.x, target):
            yield Contender(f"{peer.name} cross_entropy{variant}", clock(call))


def measure(args: argparse.Namespace, report: bench.Report) -> None:
    """Time every number of classes."""
    tier = lm.isa()
    with machine.pinned(args.threads), bench.tier_and_threads(tier, args.threads):
        others = bench.load_peers(["torch"], args.threads, report)
        with progress("measuring", len(set(args.classes))) as bar:
            for classes in sorted(set(args.classes)):
                shape = (max(1, round(args.elements / classes)), classes)
                run = bench.Bench(tier, args.threads, args.seconds, others, report, bar)
                found = list(contenders(shape, args.threads, others))
                times = run.race(found, f"{shape[0]} x {classes}")
                size = shape[0] * shape[1]
                row = Row("losses", shape, "float32", tier, args.threads, times, elements=size)
                report.rows.append(row)
                bar.advance(1)


def per_element(row: Row, name: str) -> Spread:
    """Nanoseconds per logit."""
    s, scale = row.times.seconds(name), 1e9 / row.elements
    return Spread(s.median * scale, s.low * scale, s.high * scale)


def show(rows: Sequence[Row]) -> None:
    """Print the figure as tables."""
    timed = rows[0].times
    for title, lines in PANELS.items():
        names = [n for n in lines if n in timed]
        table = Table(f"{title}: ns per logit", [">classes", ">rows", *(f">{n}" for n in names)])
        for row in rows:
            cells = [f"{per_element(row, n).median:.3g}" for n in names]
            table.add(f"{row.shape[1]:,}", f"{row.shape[0]:,}", *cells)
        table.print()
    pairs = [(ours, theirs) for ours, theirs in RATIOS if all(t in timed for t in theirs)]
    for name in dict.fromkeys(ours for ours, _ in pairs):
        against = [theirs for ours, theirs in pairs if ours == name]
        table = Table(
            f"{name}: its time as a multiple of another's, median [quartiles]",
            [">classes", *(f">{' + '.join(theirs)}" for theirs in against)],
        )
        for row in rows:
            cells = [bench.ratio_text(row.times.ratio(name, *theirs)) for theirs in against]
            table.add(f"{row.shape[1]:,}", *cells)
        table.print()


def draw(path: str, rows: Sequence[Row], subtitle: str) -> None:
    pyplot = plot.pyplot_without_display()
    figure, grid = pyplot.subplots(1, 2, figsize=(10.4, 5.0), sharey=True, layout="constrained")
    classes = [row.shape[1] for row in rows]
    for axes, (title, lines) in zip(grid, PANELS.items(), strict=True):
        for name, style in lines.items():
            if name in rows[0].times:
                found = [per_element(row, name) for row in rows]
                axes.plot(classes, [s.median for s in found], label=name, markersize=5, **style)
                low, high = [s.low for s in found], [s.high for s in found]
                axes.fill_between(classes, low, high, color=style["color"], alpha=0.15, lw=0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        axes.yaxis.set_minor_formatter(lambda v, _: f"{v:g}" if f"{v:e}"[0] in "25" else "")
        axes.tick_params(axis="y", which="both", labelleft=True)
        axes.set_xlabel("classes")
        axes.set_ylabel("ns per logit")
        axes.set_title(title, loc="left", fontsize=10)
        plot.quiet(axes)
        axes.legend(
            frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2
        )
    threads = rows[0].threads
    title = f"Losses of float32 rows, {rows[0].tier}, {threads} thread{'s' * (threads != 1)}"
    figure.suptitle(f"{title}\n{subtitle}", fontsize=9, wrap=True)
    plot.save(figure, path)


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables, write JSON and the figure."""
    bench.require_cpus(args.threads)
    if args.out:
        plot.require("--out", args.out)
    if args.json and not os.path.isdir(os.path.dirname(os.path.abspath(args.json))):
        raise UsageError(f"cannot write {args.json}: no such directory")
    before = machine.load()
    report = bench.Report()
    measure(args, report)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(bench.as_json(args, report, []), file, indent=1)
            file.write("\n")
    show(report.rows)
    where = bench.machine_line(args)
    print(f"machine: {where}")
    if before is not None and before > 0.5:
        print(f"disturbed: {before:.1f} processes were running on average in the minute before")
    if args.out:
        draw(args.out, report.rows, where)
        print(f"wrote {args.out}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="D",
        type=positive,
        default=CLASSES,
        help="numbers of classes (default: half decades from 1e2 to 1e6)",
    )
    parser.add_argument(
        "--elements",
        metavar="N",
        type=positive,
        default=4_000_000,
        help="logits in a batch, about; a row at least (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", default=1, help="for everyone (default: 1)"
    )
    parser.add_argument(
        "--seconds",
        type=positive_real,
        metavar="S",
        default=4.0,
        help="for each number of classes (default: %(default)g)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write every round to FILE")
    parser.add_argument("--out", metavar="FILE", help="the figure: .png, .svg or .pdf")
    try:
        run(parser.parse_args())
    except (UsageError, OSError) as error:
        sys.exit(f"z_loss_figure.py: error: {error}")


if __name__ == "__main__":
    main()
