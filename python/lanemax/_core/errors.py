# SPDX-License-Identifier: Apache-2.0
"""Statuses of the C library as exceptions."""

from __future__ import annotations

from .._lanemax import ffi, lib

_EXCEPTIONS: dict[int, type[Exception]] = {
    lib.LMX_ERR_NOMEM: MemoryError,
    lib.LMX_ERR_LABEL: IndexError,
    lib.LMX_ERR_DTYPE: TypeError,
    lib.LMX_ERR_OVERFLOW: OverflowError,
    lib.LMX_ERR_NUMERIC: FloatingPointError,
}


def check(status: int) -> None:
    """Raise what a status means."""
    if status:
        text = ffi.string(lib.lmx_status_string(status)).decode()
        raise _EXCEPTIONS.get(status, ValueError)(text)


def is_label_error(status: int) -> bool:
    return bool(status == lib.LMX_ERR_LABEL)


def needs_own_output(status: int) -> bool:
    """The output shares memory with an input, or interleaves, in a way that the library refuses."""
    return bool(status in (lib.LMX_ERR_OVERLAP, lib.LMX_ERR_STRIDE))
