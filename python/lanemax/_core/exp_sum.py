# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library for sums of exponentials."""

from __future__ import annotations

from typing import Any

from .._lanemax import ffi, lib
from .errors import check
from .memory import pointer


def merge(a: Any, b: Any, out: Any) -> None:
    check(
        lib.lmx_expsum_merge(
            out.size,
            ffi.cast("lmx_expsum *", pointer(a)),
            ffi.cast("lmx_expsum *", pointer(b)),
            ffi.cast("lmx_expsum *", pointer(out)),
        )
    )


def log(a: Any, out: Any) -> None:
    check(
        lib.lmx_expsum_log(
            out.size, ffi.cast("lmx_expsum *", pointer(a)), ffi.cast("double *", pointer(out))
        )
    )
