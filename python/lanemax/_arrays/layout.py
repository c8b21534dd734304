# SPDX-License-Identifier: Apache-2.0
"""Shapes of a call: axes, broadcasting, outputs."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    from numpy.exceptions import AxisError
except ImportError:  # numpy 1.25
    from numpy import AxisError  # type: ignore[attr-defined, no-redef, unused-ignore]

from .._core.registry import OPTIONS
from .convert import doubles, refuse_masked, truths


def axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The reduced axes, sorted, each in range(ndim); a 0-d array counts as one element."""
    if axis is None:
        return tuple(range(ndim))
    given: Sequence[Any] = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = []
    for a in given:
        if isinstance(a, (bool, np.bool_)):
            raise TypeError("axis: expected an int, a tuple of ints or None, got a bool")
        try:
            i = operator.index(a)
        except TypeError:
            raise TypeError(
                f"axis: expected an int, a tuple of ints or None, got {type(a).__name__}"
            ) from None
        extent = max(ndim, 1)
        if not -extent <= i < extent:
            raise AxisError(i, ndim)
        found.append(i % extent)
    if len(set(found)) != len(found):
        raise ValueError(f"axis: {axis!r} names an axis twice")
    return tuple(sorted(found)) if ndim else ()


def reduced_shape(shape: Sequence[int], over: Sequence[int], keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if i in over else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in over)


def output(out: Any, shape: tuple[int, ...], dtype: Any, name: str = "out") -> Any:
    """`out` if it can take the result."""
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: expected a numpy.ndarray, got {type(out).__name__}")
    refuse_masked(name, out, f"{name}.data")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{name}: expected dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name}: the array is read-only")
    if not _distinct(out):
        raise ValueError(f"{name}: its elements overlap each other (strides {out.strides})")
    return out


def _distinct(x: Any) -> bool:
    """Whether every element has its own memory."""
    axes = sorted((abs(s), n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1)
    span, nested = x.itemsize, True
    for stride, n in axes:
        nested = nested and stride >= span  # each stride reaches past all inside it
        span += (n - 1) * stride
    if nested or x.size == 0:
        return True
    # Interleaved: the offsets themselves decide.
    offsets = np.zeros(1, np.int64)
    for stride, n in axes:
        offsets = np.add.outer(offsets, stride * np.arange(n)).ravel()
    offsets.sort()
    return bool((np.diff(offsets) >= x.itemsize).all())


def temperatures(t: Any, shape: tuple[int, ...], over: tuple[int, ...]) -> Any:
    """Temperatures as float64, with as many axes as x; None for 1."""
    array = doubles("temperature", t)
    if array.ndim == 0 and array == 1:
        return None
    described = OPTIONS["temperature"]
    bad = ~((array > described.least) & (array <= described.greatest))
    if bad.any():
        raise ValueError(
            f"temperature: {described.words} and finite, got {float(array[bad].flat[0])}"
        )
    if array.ndim > len(shape):
        raise ValueError(
            f"temperature: shape {array.shape} does not broadcast against x of shape {shape}"
        )
    given = array.shape
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    got: int
    for i, (got, n) in enumerate(zip(array.shape, shape, strict=True)):
        if i in over and got != 1:
            raise ValueError(
                f"temperature: shape {given} varies along reduced axis {i} of x, "
                f"whose shape is {shape}; one per row is temperature[..., None]"
            )
        if got not in (1, n):
            raise ValueError(
                f"temperature: shape {given} does not broadcast against x of shape {shape}"
            )
    return array


def mask(where: Any, shape: tuple[int, ...]) -> Any:
    """`where` as booleans, broadcast to shape without copying."""
    array = truths("where", where)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"where: shape {array.shape} does not broadcast to the shape of x, {shape}"
        ) from None
