# SPDX-License-Identifier: Apache-2.0
"""Results that go where they are wanted, as if no memory were shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core.errors import needs_own_output


def fill(call: Callable[[list[Any]], int], outs: list[Any]) -> int:
    """Let ``call(outs)``, which returns a status, write to arrays; the last status.

    Outputs that share memory with an input in a way that the library refuses are copied to from new
    arrays.
    """
    own = [np.asarray(out) for out in outs]
    status = call(own)
    if not needs_own_output(status):
        return status
    fresh = [np.empty(out.shape, out.dtype) for out in outs]
    status = call(fresh)
    if not status:
        for out, result in zip(own, fresh, strict=True):
            out[...] = result
    return status
