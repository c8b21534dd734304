# SPDX-License-Identifier: Apache-2.0
"""Numbers that are given: their types and ranges.

Every error is raised before anything is written, and names the argument, what was got and what is
accepted.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from . import registry


def number(name: str, value: Any) -> float:
    """A finite Python or NumPy number as a float."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a number, got a bool")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}: must be finite, got {number}")
    return number


_INT64 = np.iinfo(np.int64)


def int64(name: str, value: Any) -> int:
    """A Python or NumPy integer that fits in 64 bits."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got a bool")
    try:
        accepted = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if not _INT64.min <= accepted <= _INT64.max:
        raise ValueError(f"{name}: {accepted} does not fit in 64 bits")
    return accepted


def fitting(parameter: registry.Parameter, value: float, given: Any) -> float:
    """The number, if the registry accepts it; `given` is how it was spelt."""
    if not parameter.fits(value):
        raise ValueError(f"{parameter.name}: {parameter.words}, got {given!r}")
    return value


def in_range(name: str, value: Any) -> float:
    """A number in the range that the registry has for an option or a parameter of this name."""
    return fitting(registry.RANGES[name], number(name, value), value)
