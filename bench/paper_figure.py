# SPDX-License-Identifier: Apache-2.0
"""Draw the figure of the two-pass softmax paper (Dukhan and Ablavatski 2020, arXiv:2001.04438).

Nanoseconds per element against the length of one row, for the two-pass form and both three-pass
forms in every tier, with a copy of the row as the floor:

    meson setup build && meson compile -C build
    python bench/paper_figure.py --out figure.png

or, from figures that were measured before:

    build/bench/c/bench --paper --json >paper.jsonl
    python bench/paper_figure.py --lines paper.jsonl --out figure.png

Input lines are JSON objects with op, isa, n and ns_per_element; of several for one point the median
counts.  Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

STYLES = {
    "two_pass": ("two-pass", {"color": "#0b5fa5", "linewidth": 2.2, "marker": "o", "zorder": 4}),
    "three_pass_reload": ("three-pass, reload", {"color": "#d1670a", "marker": "s", "zorder": 3}),
    "three_pass_recompute": (
        "three-pass, recompute",
        {"color": "#8a4fa3", "marker": "^", "zorder": 3},
    ),
    "copy": ("copy of the row", {"color": "#555555", "linestyle": "--", "zorder": 2}),
}
TIERS = ("avx512", "avx2", "neon", "portable")
LONG_ROWS = 10_000_000  # from here on nothing stays in a cache

Curves = dict[str, dict[str, dict[int, float]]]  # isa -> op -> n -> ns per element


def read(lines: Iterable[str]) -> Curves:
    points: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if row["op"] in STYLES:
                points[row["isa"], row["op"], int(row["n"])].append(float(row["ns_per_element"]))
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"line {number} is not a measurement ({error!r}): {line.strip()[:80]}")
    curves: Curves = {}
    for (isa, op, n), values in sorted(points.items()):
        curves.setdefault(isa, {}).setdefault(op, {})[n] = statistics.median(values)
    if not curves:
        sys.exit("no measurements: is this the output of bench --paper --json?")
    # The copy is the same whatever tier it is reported under, if at all.
    copy = next((ops["copy"] for ops in curves.values() if "copy" in ops), None)
    tiers = {isa: ops for isa, ops in curves.items() if "two_pass" in ops}
    for ops in tiers.values():
        if copy is not None:
            ops.setdefault("copy", copy)
    return tiers


def ratios(tiers: Curves) -> Iterator[str]:
    """One line per tier and long row: how much slower the three-pass forms are."""
    for isa, ops in tiers.items():
        for n, two in ops["two_pass"].items():
            if n < LONG_ROWS:
                continue
            parts = [
                f"{STYLES[op][0]} / two-pass = {ops[op][n] / two:.2f}"
                for op in ("three_pass_reload", "three_pass_recompute")
                if n in ops.get(op, {})
            ]
            if n in ops.get("copy", {}):
                parts.append(f"two-pass / copy = {two / ops['copy'][n]:.2f}")
            yield f"{isa:9} n = {n:<11,} " + ", ".join(parts)


def cache_bytes() -> list[tuple[str, int]]:
    """This machine's data caches, where Linux lists them: (name, bytes)."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text(encoding="ascii").strip()
                for name in ("level", "type", "size")
            )
            if kind != "Instruction":
                found[f"L{level}"] = int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return sorted(found.items())


def machine() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def draw(tiers: Curves, out: Path, subtitle: str, caches: list[tuple[str, int]]) -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("the figure needs matplotlib: pip install matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    order = [isa for isa in TIERS if isa in tiers] + sorted(set(tiers) - set(TIERS))
    figure, grid = plt.subplots(
        1, len(order), figsize=(1.2 + 4.6 * len(order), 4.4), squeeze=False, layout="constrained"
    )
    for axes, isa in zip(grid[0], order, strict=True):
        for op, (label, style) in STYLES.items():
            curve = tiers[isa].get(op)
            if curve:
                axes.plot(list(curve), list(curve.values()), label=label, markersize=4, **style)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(isa, loc="left", fontweight="bold")
        dotted = " (dotted: row and result fill a cache)" if caches else ""
        axes.set_xlabel(f"elements of the row, n{dotted}")
        axes.grid(True, color="#e3e3e3", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        low, high = axes.get_xlim()
        for name, size in caches:
            n = size / 8  # input and output, four bytes each
            if low < n < high:
                axes.axvline(n, color="#b0b0b0", linewidth=0.8, linestyle=":", zorder=1)
                axes.annotate(
                    name, (n, 1), xycoords=("data", "axes fraction"), xytext=(2, -2), va="top",
                    textcoords="offset points", fontsize=8, color="#777777",
                )  # fmt: skip
    grid[0][0].set_ylabel("ns per element")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    title = "Softmax of one float32 row, one thread"
    figure.suptitle(f"{title}\n{subtitle}" if subtitle else title, fontsize=11, wrap=True)
    figure.savefig(out, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bench", default="build/bench/c/bench", help="the program to run (%(default)s)"
    )
    parser.add_argument(
        "--lines", help="read this file of JSON lines instead; - for standard input"
    )
    parser.add_argument(
        "--machine", help="the subtitle; default: this machine's CPU, nothing with --lines"
    )
    parser.add_argument("--out", required=True, type=Path, help="the figure: .png, .svg or .pdf")
    arguments = parser.parse_args()

    if arguments.lines == "-":
        tiers = read(sys.stdin)
    elif arguments.lines is not None:
        with open(arguments.lines, encoding="utf-8") as lines:
            tiers = read(lines)
    else:
        try:
            command = [arguments.bench, "--paper", "--json"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            tiers = read(done.stdout.splitlines())
        except FileNotFoundError:
            sys.exit(
                f"{arguments.bench} is not there: build it with meson, or name it with --bench"
            )

    here = arguments.lines is None
    subtitle = arguments.machine if arguments.machine is not None else machine() if here else ""
    draw(tiers, arguments.out, subtitle, cache_bytes() if here else [])
    print("\n".join(ratios(tiers)))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
