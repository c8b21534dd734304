# SPDX-License-Identifier: Apache-2.0
"""Tables, progress bars and messages: drawn by rich where it is installed, else plain text."""

from __future__ import annotations

import importlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

EXTRA_HINT = "python -m pip install 'lanemax[demo]'"

#: Between two progress lines in a log file, where a bar cannot be redrawn.
LOG_SECONDS = 10.0


class UsageError(Exception):
    """The input cannot be used; its text is the one line that the user sees (exit status 2)."""


def optional(name: str) -> Any:
    """Return the module `name`, or None where it is not installed or does not load."""
    try:
        return importlib.import_module(name)
    except Exception:  # a broken peer (missing DLL, wrong NumPy) must not end a benchmark
        return None


def note(message: str) -> None:
    """Say something to a person without touching what a pipe reads."""
    print(message, file=sys.stderr, flush=True)


def note_missing_rich() -> None:
    """Tell once that bars and tables are plain because the extra is missing."""
    if optional("rich") is None:
        note(f"note: rich is not installed; bars and tables are plain text. {EXTRA_HINT} adds it.")


def require_matplotlib(option: str) -> None:
    """Refuse a plot before minutes are spent on what it would show."""
    if optional("matplotlib") is None:
        raise UsageError(f"{option} needs matplotlib, which is not installed: {EXTRA_HINT}")


# ---------------------------------------------------------------------------------- numbers


def seconds(value: float) -> str:
    """Return a duration with a unit that keeps three digits in front of the eye."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1.0:
            return f"{value * scale:.3g} {unit}" if value * scale < 999.5 else f"{value:.0f} s"
    return f"{value * 1e9:.3g} ns"


def size(count: float) -> str:
    """Return a number of bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if count == int(count) else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def shape_name(shape: Sequence[int]) -> str:
    """Return a shape as the option --shape takes it: 4096x1024, 1x1e6."""

    def extent(n: int) -> str:
        digits = str(n)
        zeros = len(digits) - len(digits.rstrip("0"))
        return f"{digits[0]}e{zeros}" if zeros >= 4 and len(digits) == zeros + 1 else digits

    return "x".join(extent(n) for n in shape)


# ----------------------------------------------------------------------------------- tables


class Table:
    """Rows of short texts under a title.

    Parameters
    ----------
    title : str
        Printed above the table.
    columns : sequence of str
        Headings; one that starts with ``>`` is set flush right.
    """

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self.title = title
        self.headings = [c.removeprefix(">") for c in columns]
        self.right = [c.startswith(">") for c in columns]
        self.rows: list[tuple[list[str], str]] = []
        self.sections: set[int] = set()

    def add(self, *cells: str, style: str = "") -> None:
        """Append a row; `style` is a rich style such as ``"bold red"``."""
        self.rows.append(([str(c) for c in cells], style))

    def section(self) -> None:
        """Draw a line under the last row."""
        self.sections.add(len(self.rows) - 1)

    def print(self, file: TextIO | None = None) -> None:
        """Write the table to `file`, standard output by default."""
        out = sys.stdout if file is None else file
        rich_table, rich_console = optional("rich.table"), optional("rich.console")
        if rich_table is None or rich_console is None:
            self._print_plain(out)
            return
        box = optional("rich.box")
        table = rich_table.Table(
            title=self.title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for heading, right in zip(self.headings, self.right, strict=True):
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        for i, (cells, style) in enumerate(self.rows):
            table.add_row(*cells, style=style or None, end_section=i in self.sections)
        # A file or a pipe has no width: programs read there, and rows must not be folded.
        width = None if out.isatty() else 250
        text = rich_console.Console(file=out, width=width, highlight=False, markup=False)
        text.print(table, soft_wrap=False)

    def _print_plain(self, out: TextIO) -> None:
        widths = [
            max([len(h)] + [len(cells[i]) for cells, _ in self.rows])
            for i, h in enumerate(self.headings)
        ]

        def line(cells: Sequence[str]) -> str:
            pairs = zip(cells, widths, self.right, strict=True)
            return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in pairs).rstrip()

        print(f"{self.title}\n{line(self.headings)}", file=out)
        print("  ".join("-" * w for w in widths), file=out)
        for i, (cells, _) in enumerate(self.rows):
            print(line(cells), file=out)
            if i in self.sections:
                print(file=out)
        print(file=out)


# --------------------------------------------------------------------------------- progress


class Progress:
    """Where a long piece of work stands; the base class shows nothing."""

    def advance(self, steps: float = 1, status: str = "") -> None:
        """Count `steps` as done and show `status` beside the bar."""


class _RichProgress(Progress):
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, steps: float = 1, status: str = "") -> None:
        fields = {"status": status} if status else {}
        self._bar.update(self._task, advance=steps, **fields)


class _PlainProgress(Progress):
    """One line that is redrawn on a terminal, or one line every ten seconds in a file."""

    def __init__(self, title: str, total: float) -> None:
        self._title, self._total = title, total
        self._done = 0.0
        self._status = ""
        self._tty = sys.stderr.isatty()
        self._start = self._drawn = time.monotonic()

    def advance(self, steps: float = 1, status: str = "") -> None:
        self._done += steps
        self._status = status or self._status
        now = time.monotonic()
        if now - self._drawn >= (0.1 if self._tty else LOG_SECONDS):
            self._drawn = now
            self.draw()

    def draw(self) -> None:
        share = min(1.0, self._done / self._total) if self._total else 1.0
        line = f"{self._title} {share:4.0%} {self._status}"
        if self._tty:
            filled = round(24 * share)
            bar = "#" * filled + "." * (24 - filled)
            line = f"{self._title} [{bar}] {share:4.0%} {self._status}"
            columns = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r" + line[:columns].ljust(columns))
        else:
            sys.stderr.write(f"{line} ({time.monotonic() - self._start:.0f} s)\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._tty:
            self.draw()
            sys.stderr.write("\n")
            sys.stderr.flush()


@contextmanager
def progress(title: str, total: float) -> Iterator[Progress]:
    """Show on standard error how much of `total` is done while the body runs.

    Parameters
    ----------
    title : str
        What is going on, in a word or three.
    total : float
        The number of steps that `Progress.advance` will count up to.
    """
    rich = optional("rich.progress") if sys.stderr.isatty() else None
    if rich is None:
        plain = _PlainProgress(title, total)
        yield plain
        plain.close()
        return
    bar = rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=32),
        rich.TaskProgressColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.fields[status]}"),
        console=importlib.import_module("rich.console").Console(stderr=True, highlight=False),
    )
    with bar:
        yield _RichProgress(bar, bar.add_task(title, total=total, status=""))
