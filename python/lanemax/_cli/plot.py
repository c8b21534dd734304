# SPDX-License-Identifier: Apache-2.0
"""Plots of the demo and the benchmark, drawn to files without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .goals import ACTIVATIONS, AXIS, CALL, EXPERIMENTS, FAMILY, HALVES, LOSSES, THREADS, Goal
from .text import UsageError, optional, require_matplotlib, shape_name
from .timing import Row

#: Colours that differ in lightness as well, for colour-blind readers and grey prints.
OURS, PLAIN = "#0b6e4f", "#8a8a8a"
OTHERS = ("#d1495b", "#edae49", "#30638e", "#7b4b94", "#00798c", "#a39171", "#222222")


def require(option: str, path: str) -> None:
    """Refuse a plot that could not be drawn or saved, before the work that it is to show."""
    require_matplotlib(option)
    pyplot = pyplot_without_display()
    known = pyplot.figure().canvas.get_supported_filetypes()
    pyplot.close("all")
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in known:
        raise UsageError(f"cannot plot to {path}: end the name in .png, .svg or .pdf")
    if not Path(path).resolve().parent.is_dir():
        raise UsageError(f"cannot write {path}: no such directory")


def pyplot_without_display() -> Any:
    """Return matplotlib.pyplot, set to draw to files."""
    matplotlib = optional("matplotlib")
    matplotlib.use("Agg")
    return optional("matplotlib.pyplot")


def save(figure: Any, path: str) -> None:
    """Write `figure` to `path`."""
    try:
        figure.savefig(path, dpi=144, facecolor="white")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def quiet(axes: Any) -> None:
    """Leave of the frame what helps reading."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def learning_curve(
    path: str,
    words: Sequence[int],
    value: Sequence[float],
    loss: str,
    perplexity: tuple[float, float] | None,
    title: str,
) -> None:
    """Draw the loss against words read; or perplexity, with that of the baseline and of the trained
    model on held-out text, if there is such a thing.
    """
    pyplot = pyplot_without_display()
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(words, value, color=OURS, linewidth=1.8, label="on the words being read")
    if perplexity is not None:
        baseline, held_out = perplexity
        axes.axhline(
            baseline,
            color=OTHERS[0],
            linestyle="--",
            linewidth=1.4,
            label=f"word frequencies alone, held out ({baseline:.0f})",
        )
        axes.plot(
            words[-1:],
            [held_out],
            "o",
            color=OURS,
            markersize=8,
            label=f"the trained model, held out ({held_out:.0f})",
        )
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.yaxis.set_minor_formatter(lambda v, _: f"{v:g}")
    axes.xaxis.set_major_formatter(lambda v, _: f"{v / 1000:g}k")
    axes.set_xlim(left=0)
    axes.set_xlabel("words read")
    axes.set_ylabel("perplexity" if perplexity is not None else f"mean {loss}")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False)
    quiet(axes)
    save(figure, path)
    pyplot.close(figure)


# --------------------------------------------------------------------------------- benchmark

#: Contenders in the order of the legend: colour by name, filled where they write into `out`.
COLOURS = {
    "torch": OTHERS[0], "onnxruntime": OTHERS[1], "scipy": OTHERS[2], "jax": OTHERS[3],
    "numpy": OTHERS[4], "copy": PLAIN, "read": "#bbbbbb",
}  # fmt: skip
TIER_MARKERS = ("o", "D", "s", "^")


def benchmark(path: str, rows: Sequence[Row], machine_line: str) -> None:
    """Draw time per element by shape, and the experiments, with the goals marked.

    Activations and losses are drawn beside a copy of the array, and so are their gradients.

    Parameters
    ----------
    path : str
        File to write.
    rows : sequence of Row
        What the benchmark has measured.
    machine_line : str
        Printed under the title.
    """
    pyplot = pyplot_without_display()
    families: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.operation not in EXPERIMENTS:
            families.setdefault((row.operation, row.dtype), []).append(row)
    pairs = [r for r in rows if r.operation in GRADIENTS and "copy" in r.times]
    calls = [r for r in rows if r.operation == "call"]
    rest = [r for r in rows if r.operation in ("bytes", "axis", "threads")]
    heights = [3.4] * len(families)
    heights += [1.2 + 0.2 * len(_with_gradient(r)) for r in pairs]
    heights += [3.0] * bool(calls or rest)
    widest = max((len({r.shape for r in f}) for f in families.values()), default=4)
    figure = pyplot.figure(
        figsize=(max(11.0, 3.2 + 1.05 * widest), 0.9 + sum(heights)), layout="constrained"
    )
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, ((operation, dtype), family) in zip(parts, families.items(), strict=False):
        _family_panel(part.subplots(), operation, dtype, family)
    for part, row in zip(parts[len(families) :], pairs, strict=False):
        _gradient_panels(part, row)
    if calls or rest:
        axes = parts[-1].subplots(1, bool(calls) + bool(rest), squeeze=False)[0]
        if calls:
            _call_panel(axes[0], calls)
        if rest:
            _ratio_panel(axes[-1], rest)
    figure.suptitle(f"lanemax against its peers\n{machine_line}", fontsize=9)
    save(figure, path)
    pyplot.close(figure)


def _family_panel(axes: Any, operation: str, dtype: str, rows: Sequence[Row]) -> None:
    """Draw nanoseconds per element of one function, a column of dots per shape."""
    shapes = list(dict.fromkeys(r.shape for r in rows))
    tiers = list(dict.fromkeys(r.tier for r in rows))
    found = dict.fromkeys(n for r in rows for n in r.times.rounds if n not in ("out", "new"))
    order = {name: i for i, name in enumerate(COLOURS)}
    others = sorted(found, key=lambda n: (order.get(n.split()[0], 9), n.endswith("new")))
    slots = len(others) + 2 * len(tiers)

    def place(shape: tuple[int, ...], slot: int) -> float:
        return shapes.index(shape) + (slot - (slots - 1) / 2) * 0.8 / slots

    def per_element(row: Row, name: str) -> float:
        return row.times.seconds(name).median / row.elements * 1e9

    for t, tier in enumerate(tiers):
        mine = [r for r in rows if r.tier == tier]
        suffix = f" {tier}" if len(tiers) > 1 else ""
        for v, (variant, label) in enumerate((("out", "lanemax, out="), ("new", "lanemax, new"))):
            axes.plot(
                [place(r.shape, 2 * t + v) for r in mine], [per_element(r, variant) for r in mine],
                TIER_MARKERS[t % 4], color=OURS, markersize=8, zorder=4, label=label + suffix,
                markerfacecolor=OURS if variant == "out" else "white", markeredgewidth=1.6,
            )  # fmt: skip
        for r in mine if dtype == "float32" else ():
            for v, variant in enumerate(("out", "new")):
                own = r.times.seconds(variant).median
                aims = [
                    limit * own / r.times.ratio(variant, *g.against).median
                    for g in FAMILY
                    if (g.operation, g.shape, g.ours) == (operation, r.shape, variant)
                    and (limit := g.for_tier(tier)) is not None
                    and all(n in r.times for n in g.against)
                ]
                if aims:
                    # Of several goals only the hardest matters to the eye.
                    x, y = place(r.shape, 2 * t + v), min(aims) / r.elements * 1e9
                    half = 0.5 / slots
                    axes.plot([x - half, x + half], [y, y], color="black", linewidth=1.8, zorder=5)
    for i, name in enumerate(others):
        # Peers were timed again beside every tier; one tier's figures stand for all.
        mine = [r for r in rows if r.tier == tiers[0] and name in r.times]
        colour = COLOURS.get(name.split()[0], PLAIN)
        hollow = name.endswith(" new")
        axes.plot(
            [place(r.shape, 2 * len(tiers) + i) for r in mine],
            [per_element(r, name) for r in mine], "o", color=colour, markersize=6,
            markerfacecolor="white" if hollow else colour, label=name.replace(" out", ", out=")
            .replace(" new", ", new"),
        )  # fmt: skip
    axes.plot([], [], color="black", linewidth=1.6, label="goal for the dot above or below")
    for edge in range(1, len(shapes)):
        axes.axvline(edge - 0.5, color="#eeeeee", linewidth=1)
    axes.set_xlim(-0.5, len(shapes) - 0.5)
    axes.set_xticks(range(len(shapes)), [shape_name(s) for s in shapes])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.yaxis.set_minor_formatter(lambda v, _: "")
    axes.set_ylabel("ns per element")
    threads = rows[0].threads
    axes.set_title(
        f"{operation} of {dtype}, {', '.join(tiers)}, {threads} thread{'s' * (threads != 1)} "
        "(lower is faster)",
        fontsize=10, loc="left",
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    quiet(axes)


def _bars(
    axes: Any,
    names: Sequence[str],
    values: Sequence[float],
    ours: Sequence[bool],
    limits: Sequence[float | None],
) -> float:
    """Draw horizontal bars, first on top, with marks at the goals; return where the axis ends."""
    most = 2.5 * max([limit for limit in limits if limit is not None], default=max(values))
    most = min(most, 1.08 * max([*values, *(limit or 0.0 for limit in limits)]))
    colours = [OURS if o else PLAIN for o in ours]
    axes.barh(range(len(names)), values, color=colours, height=0.66)
    for i, limit in enumerate(limits):
        if limit is not None:
            axes.plot([limit, limit], [i - 0.42, i + 0.42], color="black", linewidth=1.8)
    for i, value in enumerate(values):
        # A bar that would push all others into the corner is cut, and says how long it is.
        over = value > most
        number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        axes.text(
            most if over else value, i, f" {number}{' >' * over} ", fontsize=7,
            ha="right" if over or value > 0.8 * most else "left", va="center",
            color="white" if over or value > 0.8 * most else "black",
        )  # fmt: skip
    axes.set_xlim(0, most)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return most


#: Experiments in which a function and its gradient were timed: what the gradient's name ends in,
#: and the goals.
GRADIENTS: dict[str, tuple[str, tuple[Goal, ...]]] = {
    "activations": ("_vjp", ACTIVATIONS),
    "losses": ("_and_grad", LOSSES),
}


def _with_gradient(row: Row) -> list[str]:
    """Return the functions that were timed with their gradients."""
    suffix, _ = GRADIENTS[row.operation]
    return [n for n in row.times.rounds if n + suffix in row.times]


def _gradient_panels(part: Any, row: Row) -> None:
    """Draw the times of functions, and of their gradients, as multiples of a copy's."""
    suffix, goals = GRADIENTS[row.operation]
    names = _with_gradient(row)
    threads = f"{row.threads} thread{'s' * (row.threads != 1)}"
    part.suptitle(
        f"{row.operation} of {row.dtype}, {shape_name(row.shape)}, {row.tier}, {threads}: time as "
        "a multiple of that of NumPy's copy (black: goal)",
        fontsize=10, x=0.01, ha="left",
    )  # fmt: skip
    shown: dict[str, Any] = {}
    for axes, ending in zip(part.subplots(1, 2), ("", suffix), strict=True):
        contenders = [n + ending for n in names]
        values = [_in_copies(row, n) for n in contenders]
        limits = [_limit_in_copies(row, goals, n) for n in contenders]
        most = _bars(axes, contenders, values, [True] * len(names), limits)
        for anchor in (n for n in row.times.rounds if "copy" in n):
            style = "-" if anchor == "copy" else "--"
            x = _in_copies(row, anchor)
            shown[anchor] = axes.axvline(x, color=PLAIN, linewidth=1.4, linestyle=style)
        for peer, colour in COLOURS.items():
            theirs = [(f"{peer} {n}", i) for i, n in enumerate(contenders)]
            for contender, i in theirs:
                if contender in row.times:
                    # Below the number at the end of the bar; an arrow where the axis ends before.
                    x = _in_copies(row, contender)
                    (dot,) = axes.plot(
                        min(x, most), i + 0.3, "o" if x <= most else ">", color=colour,
                        markersize=6, markeredgecolor="white", clip_on=False, zorder=4,
                    )  # fmt: skip
                    if x <= most:
                        shown[peer] = dot
    part.legend(
        shown.values(), shown, frameon=False, fontsize=8, loc="outside lower center", ncols=6
    )


def _in_copies(row: Row, name: str) -> float:
    """Return the time of `name` as a multiple of the copy's."""
    return row.times.ratio(name, "copy").median


def _limit_in_copies(row: Row, goals: Sequence[Goal], name: str) -> float | None:
    """Return the hardest goal of `name` as a multiple of the copy's time."""
    return min(
        (
            limit * _in_copies(row, name) / row.times.ratio(name, *g.against).median
            for g in goals
            if (g.shape, g.dtype, g.ours) == (row.shape, row.dtype, name)
            and (limit := g.for_tier(row.tier)) is not None
            and all(n in row.times for n in g.against)
        ),
        default=None,
    )


def _call_panel(axes: Any, rows: Sequence[Row]) -> None:
    """Draw what a call on ten elements costs."""
    times = rows[0].times
    aims = {g.ours: g.ratio * 1e9 for g in CALL}
    names = list(times.rounds)
    values = [times.seconds(n).median * 1e9 for n in names]
    ours = [not n.startswith(("numpy", "scipy", "torch")) for n in names]
    labels = [n.replace(" out", ", out=").replace(" new", ", new") for n in names]
    _bars(axes, labels, values, ours, [aims.get(n) for n in names])
    axes.set_xlabel("ns per call")
    axes.set_title("a call on 10 elements (line: goal)", fontsize=10, loc="left")


def _ratio_panel(axes: Any, rows: Sequence[Row]) -> None:
    """Draw the ratios of the experiments that have goals."""
    names: list[str] = []
    values: list[float] = []
    limits: list[float | None] = []
    for row in rows:
        for goal in (*HALVES, *AXIS, *THREADS):
            wanted = (goal.operation, goal.shape) == (row.operation, row.shape)
            if wanted and all(n in row.times for n in (goal.ours, *goal.against)):
                base = " + ".join(n.replace(" by 2 threads", "*") for n in goal.against)
                names.append(f"{goal.ours} / {base}, {shape_name(row.shape)}")
                values.append(row.times.ratio(goal.ours, *goal.against).median)
                limits.append(goal.for_tier(row.tier))
    if not names:
        axes.set_axis_off()
        return
    _bars(axes, names, values, [True] * len(names), limits)
    axes.set_xlabel("ratio of times (*: by 2 threads)")
    axes.set_title("16-bit types, axis 0, threads (line: goal)", fontsize=10, loc="left")
