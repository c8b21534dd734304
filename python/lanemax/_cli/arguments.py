# SPDX-License-Identifier: Apache-2.0
"""Types of command-line arguments, with errors that a person can read."""

from __future__ import annotations

import argparse
import math


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return value


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    return _at_least(1, text)


def whole(text: str) -> int:
    """Return a whole number of at least 0."""
    return _at_least(0, text)


def vocabulary(text: str) -> int:
    """Return a whole number of at least 0; 0, as `max` is understood, means all."""
    return 0 if text == "max" else _at_least(0, text)


def positive_real(text: str) -> float:
    """Return a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """Return a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def rows_and_columns(text: str) -> tuple[int, int]:
    """Return rows and columns from 4096x1024, 1x1e6 or 1e6."""
    try:
        extents = [float(part) for part in text.lower().split("x")]
    except ValueError:
        extents = []
    sound = 1 <= len(extents) <= 2 and all(1 <= e < 2**53 and e == int(e) for e in extents)
    if not sound:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROWSxCOLUMNS, such as 1x1e6")
    rows, cols = (1.0, *extents)[-2:]
    return int(rows), int(cols)
