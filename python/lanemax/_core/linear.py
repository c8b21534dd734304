# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library for output layers, on matrices whose rows are contiguous."""

from __future__ import annotations

from typing import Any

from .._lanemax import ffi, lib
from .calls import DTYPES, INTS
from .context import state
from .errors import check
from .memory import pointer, row_stride


def _options(values: dict[str, Any], bias: Any, row_weight: Any = None, dropped: Any = None) -> Any:
    """Options of an output layer; bias has a dtype of its own, the other arrays are float64."""
    options = ffi.new("lmx_linear_options *")
    check(lib.lmx_linear_options_init(options))
    for name, value in values.items():
        setattr(options, name, value)
    if bias is not None:
        options.bias = pointer(bias)
        options.bias_dtype = DTYPES[bias.dtype]
    for name, array in (("row_weight", row_weight), ("dropped", dropped)):
        if array is not None:
            setattr(options, name, ffi.cast("double *", pointer(array)))
    return options


def _operands(hidden: Any, weight: Any) -> tuple[Any, ...]:
    """Matrices whose rows are contiguous, with what the library asks of every output layer."""
    rows, depth = hidden.shape
    shape = (DTYPES[hidden.dtype], rows, depth, weight.shape[0])
    return (*shape, *(part for x in (hidden, weight) for part in (pointer(x), row_stride(x))))


def cross_entropy(
    hidden: Any,
    weight: Any,
    target: Any,
    bias: Any,
    values: dict[str, Any],
    loss: Any,
    grads: list[Any],
    row_weight: Any,
    dropped: Any,
) -> int:
    """`lmx_linear_cross_entropy` on matrices; grads is empty, or dhidden, dweight and dbias."""
    rows = hidden.shape[0]
    dhidden, dweight, dbias = grads or (None, None, None)
    return int(
        lib.lmx_linear_cross_entropy(
            state.ctx,
            *_operands(hidden, weight),
            pointer(target) if rows else ffi.NULL,
            INTS[target.dtype],
            1,
            _options(values, bias, row_weight, dropped),
            pointer(loss),
            1,
            ffi.NULL if dhidden is None else pointer(dhidden),
            0 if dhidden is None else row_stride(dhidden),
            ffi.NULL if dweight is None else pointer(dweight),
            0 if dweight is None else row_stride(dweight),
            ffi.NULL if dbias is None else pointer(dbias),
        )
    )


def logsumexp(hidden: Any, weight: Any, bias: Any, out: Any) -> None:
    options = _options({}, bias)
    operands = _operands(hidden, weight)
    check(lib.lmx_linear_logsumexp(state.ctx, *operands, options, pointer(out), 1))


def topk(hidden: Any, weight: Any, k: int, bias: Any, values: Any, indices: Any) -> None:
    dtype, rows, depth, classes, *operands = _operands(hidden, weight)
    check(
        lib.lmx_linear_topk(
            state.ctx, dtype, rows, depth, classes, k, *operands, _options({}, bias),
            pointer(values), k, ffi.cast("int64_t *", pointer(indices)), k,
        )
    )  # fmt: skip
