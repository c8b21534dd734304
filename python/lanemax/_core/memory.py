# SPDX-License-Identifier: Apache-2.0
"""Where arrays begin, and how far apart their rows are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._lanemax import lib


def pointer(array: Any) -> Any:
    """Address of an array's first element; the caller keeps the array alive."""
    plain = np.asarray(array)
    return lib.lmxpy_data(id(plain))


def row_stride(x: Any) -> int:
    return int(x.strides[0] // x.itemsize) if x.shape[0] > 1 else int(x.shape[1])
