# SPDX-License-Identifier: Apache-2.0
"""What the activations share: arguments, arrays of any layout, outputs, gradients of parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _call, _check, _registry

#: An array and its strides in elements: rows, columns, inner.
Passed = tuple[Any, _call.Strides]

ORDER_MAX = _registry.ORDER_MAX


# -------------------------------------------------------------------------- arguments


@dataclass(frozen=True)
class Arguments:
    """What a function takes behind its arrays, bound as Python would bind it."""

    function: str
    names: tuple[str, ...]
    defaults: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # by name alone, besides `out`

    def signature(self, arrays: Sequence[str]) -> inspect.Signature:
        kinds = inspect.Parameter
        given = [kinds(n, kinds.POSITIONAL_OR_KEYWORD) for n in arrays]
        given += [
            kinds(n, kinds.POSITIONAL_OR_KEYWORD, default=self.defaults.get(n, kinds.empty))
            for n in self.names
        ]
        given += [
            kinds(n, kinds.KEYWORD_ONLY, default=d)
            for n, d in {**self.options, "out": None}.items()
        ]
        return inspect.Signature(given)

    def take(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        """The parameters, and the options."""
        if not named and len(given) == len(self.names):
            return [*given], [*self.options.values()]
        values = list(given)
        for name in self.names[len(given) :]:
            if name in named:
                values.append(named.pop(name))
            elif name in self.defaults:
                values.append(self.defaults[name])
            else:
                raise TypeError(f"{self.function}: missing the argument {name!r}")
        options = [named.pop(name, default) for name, default in self.options.items()]
        if named or len(given) > len(self.names):
            known = ", ".join([*self.names, *self.options, "out"])
            wrong = f"argument {next(iter(named))!r}" if named else f"{len(given)} parameters"
            raise TypeError(f"{self.function}: unexpected {wrong}; it takes {known}")
        return values, options

    def call(self, arrays: Sequence[str], variant: str | None = None) -> str:
        """How the function is spelt, its variant chosen."""
        shown = [f"{n}={self.defaults[n]}" if n in self.defaults else n for n in self.names]
        if variant is not None:
            shown = [f"{self.names[0]}={variant!r}"]
        shown += [f"{n}={d!r}" for n, d in self.options.items() if d is not None]
        return f"{self.function}({', '.join([*arrays, *shown])})"


def present(function: Any, name: str, arguments: Arguments, arrays: Sequence[str]) -> None:
    """Make a function of any arguments look like the one that is meant; its text comes apart."""
    function.__name__ = function.__qualname__ = name
    function.__module__ = "lanemax"
    function.__signature__ = arguments.signature(arrays)


def spelt(variants: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Name in the registry -> function and value of its `approximate`, of those that have one."""
    return {
        name: (function, choice)
        for function, names in variants.items()
        for choice, name in names.items()
    }


def chosen(name: str, value: Any, variants: dict[str, Any]) -> Any:
    """The variant of that name."""
    if not isinstance(value, str) or value not in variants:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, variants))}, got {value!r}")
    return variants[value]


def one_number(name: str, value: Any) -> tuple[float, Any]:
    """A number, and the array whose shape and dtype its gradient gets."""
    if type(value) is float:
        return value, None
    array = _check.reals(name, value)
    if array.shape not in ((), (1,)):
        raise ValueError(f"{name}: expected one number, of shape () or (1,), got {array.shape}")
    return float(array.item()), array


def weights(value: Any) -> Any:
    """The weights of a polynomial without its constant term."""
    weight = _check.reals("weight", value)
    if weight.ndim != 1 or not 1 <= weight.size <= ORDER_MAX:
        raise ValueError(
            f"weight: expected shape (order,), order from 1 to {ORDER_MAX}, got {weight.shape}"
        )
    return weight


def polynomial(values: list[Any]) -> tuple[list[float], tuple[Any, Any]]:
    """Weights and bias in float64, and the arrays whose shapes and dtypes their gradients get."""
    weight = weights(values[0])
    bias, array = one_number("bias", values[1])
    return [*weight.astype(np.float64).tolist(), bias], (weight, array)


# ----------------------------------------------------------------------------- arrays


def operands(names: Sequence[str], given: Sequence[Any], of: int) -> list[Any]:
    """Arrays of the same shape and dtype, those of the one at index `of`."""
    like = _check.array(names[of], given[of])
    dtype, shape = like.dtype, like.shape
    found = []
    for i, name in enumerate(names):
        a = like if i == of else _check.array(name, given[i])
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
    return _check.output(out, a.shape, a.dtype)


def fill(call: Callable[[list[Any], list[Any]], int], inputs: list[Any], outs: list[Any]) -> None:
    """Let ``call(inputs, outs)``, which returns a status, write as if no memory were shared."""
    status = call(inputs, outs)
    if _call.needs_own_output(status):
        fresh = [np.empty(out.shape, out.dtype) for out in outs]
        status = call(inputs, fresh)
        if not status:
            for out, result in zip(outs, fresh, strict=True):
                out[...] = result
    _call.check(status)


def in_memory_order(arrays: list[Any], out: Any) -> list[Any]:
    """Views with axes in the order that `out` has in memory, for what is done to each element."""
    if out.flags.c_contiguous:
        return arrays
    order = sorted(range(out.ndim), key=lambda i: -abs(out.strides[i]))
    return [a.transpose(order) for a in arrays]


def along_rows(
    call: Callable[[tuple[int, int, int], list[Passed], list[Passed]], int],
    inputs: list[Any],
    outs: list[Any],
    plain: bool = False,
) -> int:
    """Call with arrays seen as rows of their last axis; what cannot be seen so is copied.

    With `plain` the rows have no inner axis.  Returns the status.
    """
    shape = outs[0].shape
    cols = shape[-1] if shape else 1
    if all(a.flags.c_contiguous and a.flags.aligned for a in (*inputs, *outs)):
        step = cols, 1, 0
        extent = outs[0].size // cols, cols, 1
        return call(extent, [(a, step) for a in inputs], [(a, step) for a in outs])
    layout = _check.Layout(shape, _check.axes(-1, len(shape)), [*inputs, *outs[1:]], outs[0])
    rows, _, inner = layout.shape
    if plain and inner > 1 and rows > 1:
        fresh = [np.empty(shape, out.dtype) for out in outs]
        status = along_rows(call, [np.ascontiguousarray(a) for a in inputs], fresh, plain)
        if not status:
            for out, result in zip(outs, fresh, strict=True):
                out[...] = result
        return status
    passed = [layout.input(a) for a in inputs]
    if layout.copied:
        targets: list[Passed] = [(np.empty((rows, cols), o.dtype), (cols, 1, 0)) for o in outs]
    else:
        targets = [layout.input(out) for out in outs]
    extent = rows, cols, inner
    if plain and inner > 1:  # one column of rows
        extent = inner, cols, 1
        passed, targets = (
            [(a, (s[2], s[1], 0)) for a, s in arrays] for arrays in (passed, targets)
        )
    status = call(extent, passed, targets)
    if layout.copied and not status:
        for out, (result, _) in zip(outs, targets, strict=True):
            out.transpose(layout.order)[...] = result.reshape(layout.extent)
    return status


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
