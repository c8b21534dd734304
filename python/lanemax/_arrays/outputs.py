# SPDX-License-Identifier: Apache-2.0
"""Results that go where they are wanted, as if no memory were shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core.errors import needs_copies, needs_own_output


def fill(call: Callable[[list[Any], list[Any]], int], inputs: list[Any], outs: list[Any]) -> int:
    """Let ``call(inputs, outs)``, which returns a status, write to outs; the last status.

    Inputs that cannot be passed as they are become copies in C order.  Outputs that share memory
    with an input in a way that the library refuses, or that cannot be passed either, are copied to
    from new arrays.  Inputs may be None.
    """
    own = [np.asarray(out) for out in outs]
    status = call(inputs, own)
    if needs_copies(status):
        inputs = [a if a is None else np.require(a, requirements=["C", "A"]) for a in inputs]
    elif not needs_own_output(status):
        return status
    fresh = [np.empty(out.shape, out.dtype) for out in outs]
    status = call(inputs, fresh)
    if not status:
        for out, result in zip(own, fresh, strict=True):
            out[...] = result
    return status
