# SPDX-License-Identifier: Apache-2.0
"""Numbers that are given: their types and ranges.

Every error is raised before anything is written, and names the argument, what was got and what is
accepted.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _call
from ._arrays.convert import array, doubles, ndarray, reals
from ._arrays.layout import output
from ._core.calls import dtype_code

__all__ = [
    "array",
    "doubles",
    "dtype_code",
    "in_range",
    "int64",
    "ndarray",
    "number",
    "output",
    "reals",
]


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


#: parameter or option -> (what it accepts, in words, and the test)
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "a": ("must be positive", lambda v: v > 0),
    "eps": ("must be 0 or more", lambda v: v >= 0),
    "order": (
        f"must be even, from 2 to {_call.TAYLOR_ORDER_MAX}",
        lambda v: 2 <= v <= _call.TAYLOR_ORDER_MAX and v % 2 == 0,
    ),
    "tau": ("must be 0 or more", lambda v: v >= 0),
    "q": ("must be from 0 to 1", lambda v: 0 <= v <= 1),
    "label_smoothing": ("must be from 0 to 1", lambda v: 0 <= v <= 1),
    "logz_penalty": ("must be 0 or more", lambda v: v >= 0),
    "softcap": ("must be positive, or None", lambda v: v > 0),
    "rho": ("must be positive", lambda v: v > 0),
    "nu": ("must be 0 or more", lambda v: v >= 0),
    "gamma": ("must be 0 or more", lambda v: v >= 0),
    "filter_eps": ("must be from 0 to 1, or None", lambda v: 0 <= v <= 1),
}


def in_range(name: str, value: Any) -> float:
    accepted = number(name, value)
    if name in _RANGES:
        words, fits = _RANGES[name]
        if not fits(accepted):
            raise ValueError(f"{name}: {words}, got {value!r}")
    return accepted
