# SPDX-License-Identifier: Apache-2.0
"""Plots of the demo and the benchmark, drawn to files without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .text import UsageError, optional

#: Colours that differ in lightness as well, for colour-blind readers and grey prints.
OURS, PLAIN = "#0b6e4f", "#8a8a8a"
OTHERS = ("#d1495b", "#edae49", "#30638e", "#7b4b94", "#00798c", "#a39171", "#222222")


def check_writable(path: str) -> None:
    """Refuse a plot that could not be saved, before the work that it is to show."""
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
    path: str, words: Sequence[int], perplexity: Sequence[float], baseline: float, held_out: float,
    origin: str,
) -> None:
    """Draw perplexity against words read, with the baseline and the held-out result."""
    pyplot = pyplot_without_display()
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(words, perplexity, color=OURS, linewidth=1.8, label="on the words being read")
    axes.axhline(baseline, color=OTHERS[0], linestyle="--", linewidth=1.4,
                 label=f"word frequencies alone, held out ({baseline:.0f})")
    axes.plot(words[-1:], [held_out], "o", color=OURS, markersize=8,
              label=f"the trained model, held out ({held_out:.0f})")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.yaxis.set_minor_formatter(lambda v, _: f"{v:g}")
    axes.xaxis.set_major_formatter(lambda v, _: f"{v / 1000:g}k")
    axes.set_xlim(left=0)
    axes.set_xlabel("words read")
    axes.set_ylabel("perplexity")
    axes.set_title(f"Next-word model on {origin}", fontsize=10)
    axes.legend(frameon=False)
    quiet(axes)
    save(figure, path)
    pyplot.close(figure)
