# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library for the Fourier head, on contiguous rows."""

from __future__ import annotations

from typing import Any

from .._lanemax import ffi, lib
from .calls import DTYPES, INTS
from .context import state
from .errors import check
from .memory import pointer, row_stride


def _rows(coef: Any) -> tuple[Any, ...]:
    """The arguments that every function begins with; coef has contiguous rows."""
    rows, width = coef.shape
    return (state.ctx, DTYPES[coef.dtype], rows, width // 2 - 1)


def _options(values: dict[str, Any]) -> Any:
    options = ffi.new("lmx_fourier_options *")
    check(lib.lmx_fourier_options_init(options))
    for name, value in values.items():
        setattr(options, name, value)
    return options


def points(name: str, coef: Any, x: Any, out: Any) -> None:
    """`lmx_fourier_density`, cdf or sample, as named; x: float64, so many points for each row."""
    points = x.shape[1]
    check(
        getattr(lib, "lmx_fourier_" + name)(
            *_rows(coef), pointer(coef), row_stride(coef),
            points, ffi.cast("double *", pointer(x)), points, pointer(out), points,
        )
    )  # fmt: skip


def moment(name: str, coef: Any, out: Any) -> None:
    """`lmx_fourier_mean` or variance, as named, one real for each row."""
    call = getattr(lib, "lmx_fourier_" + name)
    check(call(*_rows(coef), pointer(coef), row_stride(coef), pointer(out), 1))


def bins(name: str, coef: Any, bins: int, dy: Any, values: dict[str, Any], out: Any) -> None:
    """`lmx_fourier_bins` or log_bins, as named; with dy the gradient through it."""
    given = [coef] if dy is None else [dy, coef]
    call = getattr(lib, "lmx_fourier_" + name + ("" if dy is None else "_vjp"))
    check(
        call(
            *_rows(coef), bins,
            *(part for a in given for part in (pointer(a), row_stride(a))),
            _options(values), pointer(out), out.shape[1],
        )
    )  # fmt: skip


def cross_entropy(
    coef: Any, target: Any, bins: int, values: dict[str, Any], loss: Any, grad: Any
) -> int:
    """`lmx_fourier_cross_entropy`; its status."""
    return int(
        lib.lmx_fourier_cross_entropy(
            *_rows(coef), bins, pointer(coef), row_stride(coef),
            pointer(target), INTS[target.dtype], 1, _options(values), pointer(loss), 1,
            ffi.NULL if grad is None else pointer(grad), coef.shape[1],
        )
    )  # fmt: skip


def nll(coef: Any, x: Any, values: dict[str, Any], loss: Any, grad: Any) -> None:
    """`lmx_fourier_nll` of points in float64, so many for each row."""
    points = x.shape[1]
    check(
        lib.lmx_fourier_nll(
            *_rows(coef), pointer(coef), row_stride(coef),
            points, ffi.cast("double *", pointer(x)), points,
            _options(values), pointer(loss), points,
            ffi.NULL if grad is None else pointer(grad), coef.shape[1],
        )
    )  # fmt: skip
