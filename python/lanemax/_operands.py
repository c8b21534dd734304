# SPDX-License-Identifier: Apache-2.0
"""What the activations share: arguments, arrays of any layout, outputs, gradients of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._arrays import convert, layout, outputs
from ._core import registry
from ._core.errors import check
from ._core.signatures import Arguments

ORDER_MAX = registry.ORDER_MAX


# -------------------------------------------------------------------------- arguments


def present(function: Any, name: str, arguments: Arguments, arrays: Sequence[str]) -> None:
    """Make a function of any arguments look like the one that is meant; its text comes apart."""
    function.__name__ = function.__qualname__ = name
    function.__module__ = "lanemax"
    function.__signature__ = arguments.signature(arrays)


def chosen(name: str, value: Any, variants: dict[str, Any]) -> Any:
    """The variant of that name."""
    if not isinstance(value, str) or value not in variants:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, variants))}, got {value!r}")
    return variants[value]


def one_number(name: str, value: Any) -> tuple[float, Any]:
    """A number, and the array whose shape and dtype its gradient gets."""
    if type(value) is float:
        return value, None
    array = convert.reals(name, value)
    if array.shape not in ((), (1,)):
        raise ValueError(f"{name}: expected one number, of shape () or (1,), got {array.shape}")
    return float(array.item()), array


def weights(value: Any) -> Any:
    """The weights of a polynomial without its constant term."""
    weight = convert.reals("weight", value)
    if weight.ndim != 1 or not 1 <= weight.size <= ORDER_MAX:
        raise ValueError(
            f"weight: expected shape (order,), order from 1 to {ORDER_MAX}, got {weight.shape}"
        )
    return weight


def polynomial(values: list[Any]) -> tuple[Any, tuple[Any, Any]]:
    """Weights and bias in float64, and the arrays whose shapes and dtypes their gradients get."""
    weight = weights(values[0])
    bias, array = one_number("bias", values[1])
    numbers = np.empty(weight.size + 1)
    numbers[:-1] = weight
    numbers[-1] = bias
    return numbers, (weight, array)


# ----------------------------------------------------------------------------- arrays


def operands(names: Sequence[str], given: Sequence[Any], of: int) -> list[Any]:
    """Arrays of the same shape and dtype, those of the one at index `of`."""
    like = convert.array(names[of], given[of])
    dtype, shape = like.dtype, like.shape
    found = []
    for i, name in enumerate(names):
        a = like if i == of else convert.array(name, given[i])
        if a.dtype != dtype:
            raise TypeError(f"{name}: expected the dtype of {names[of]}, {dtype}, got {a.dtype}")
        if a.shape != shape:
            raise ValueError(f"{name}: expected the shape of {names[of]}, {shape}, got {a.shape}")
        found.append(a)
    return found


def result_like(a: Any, out: Any = None) -> Any:
    """`out` if it can take a result like `a`, else a new array."""
    if out is None:
        return np.empty_like(a, order="K", subok=False)
    return layout.output(out, a.shape, a.dtype)


def fill(call: Callable[[list[Any], list[Any]], int], inputs: list[Any], outs: list[Any]) -> None:
    """Let ``call(inputs, outs)``, which returns a status, write to outs of the inputs' shape.

    Arrays without an axis are passed with one.
    """
    if outs[0].ndim == 0:
        inputs = [a if a is None else a.reshape(1) for a in inputs]
        outs = [out.reshape(1) for out in outs]
    check(outputs.fill(lambda own: call(inputs, own), outs))


# -------------------------------------------------------------------------- gradients


def like(values: Any, array: Any) -> Any:
    """Sums in float64 as a gradient for `array`, None for a Python number."""
    return parts_like(values, (array,))[0]


def parts_like(values: Any, arrays: Sequence[Any]) -> list[Any]:
    """Sums one after the other as gradients for `arrays`, None for a Python number."""
    if all(array is None for array in arrays):
        return [*values]
    found, i = [], 0
    with np.errstate(all="ignore"):  # beyond the range of a dtype is inf
        for array in arrays:
            n = 1 if array is None else array.size
            part, i = values[i : i + n], i + n
            if array is not None:
                part = part.reshape(array.shape).astype(array.dtype, copy=False)
            found.append(part[0] if array is None else part[()])
    return found
