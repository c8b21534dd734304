# SPDX-License-Identifier: Apache-2.0
"""What is given to what the library takes: dtypes, axes, layouts, outputs.

Every error is raised here, before anything is written, and names the argument, what was got and
what is accepted.
"""

from __future__ import annotations

import importlib
import itertools
import math
import operator
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    from numpy.exceptions import AxisError
except ImportError:  # numpy 1.25
    from numpy import AxisError  # type: ignore[attr-defined, no-redef, unused-ignore]

from . import _call, _registry

ACCEPTED = "float16, bfloat16, float32, float64, integers and bool"


def dtype_code(dtype: Any) -> int | None:
    """The library's number of an element type, None if it has none."""
    code = _call.DTYPES.get(dtype)
    if code is None and dtype.name == "bfloat16" and dtype.itemsize == 2:
        code = _call.DTYPES[dtype] = 3
    return code


def _refuse_masked(name: str, x: Any, instead: str) -> None:
    """A mask must not be dropped silently."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: a MaskedArray's mask would be lost; pass {instead}")


def _with_numpy_dtype(name: str, x: Any) -> Any:
    """PyTorch's bfloat16 tensors, which NumPy cannot take, as ml_dtypes' view of their memory."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor) or x.dtype is not torch.bfloat16:
        return x
    try:
        bfloat16 = importlib.import_module("ml_dtypes").bfloat16
    except ImportError:
        raise TypeError(
            f"{name}: a bfloat16 tensor needs ml_dtypes, which is not installed"
        ) from None
    return x.view(torch.int16).numpy().view(bfloat16)


def _is_computed(x: Any) -> bool:
    """Whether it is an ndarray of a dtype that the library computes; their order is native."""
    return type(x) is np.ndarray and x.dtype in _call.DTYPES


def array(name: str, x: Any) -> Any:
    """An ndarray of a dtype that the library computes, without a copy where possible."""
    if _is_computed(x):
        return x
    if not isinstance(x, np.ndarray):
        if (
            hasattr(x, "__dlpack__")
            and not hasattr(x, "__array_interface__")
            and not hasattr(x, "__array__")
        ):
            x = np.from_dlpack(x)
        else:
            x = np.asarray(_with_numpy_dtype(name, x))
    _refuse_masked(name, x, f"the data and where=~{name}.mask")
    x = np.asarray(x)
    dtype = x.dtype
    if dtype_code(dtype) is not None and dtype.isnative:
        return x
    if dtype.kind in "biu":
        return x.astype(np.result_type(dtype, np.float32))
    if dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
        return x.astype(dtype.newbyteorder("="))
    raise TypeError(f"{name}: dtype {dtype} is not supported; accepted are {ACCEPTED}")


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
    _refuse_masked(name, out, f"{name}.data")
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
    """Temperatures as float64, shaped like a keepdims result or 1s; None for 1."""
    _refuse_masked("temperature", t, "plain numbers")
    array = np.asarray(t)
    if array.dtype.kind not in "fiu" and dtype_code(array.dtype) is None:
        raise TypeError(f"temperature: expected real numbers, got dtype {array.dtype}")
    array = array.astype(np.float64)
    if array.ndim == 0 and array == 1:
        return None
    described = _registry.OPTIONS["temperature"]
    bad = ~((array > described.least) & (array <= described.greatest))
    if bad.any():
        raise ValueError(
            f"temperature: {described.words} and finite, got {float(array[bad].flat[0])}"
        )
    if array.ndim > len(shape):
        raise ValueError(
            f"temperature: shape {array.shape} does not broadcast against x of shape {shape}"
        )
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    got: int
    for i, (got, n) in enumerate(zip(array.shape, shape, strict=True)):
        if i in over and got != 1:
            raise ValueError(
                f"temperature: shape {np.shape(t)} varies along reduced axis {i} of x, "
                f"whose shape is {shape}; one per row is temperature[..., None]"
            )
        if got not in (1, n):
            raise ValueError(
                f"temperature: shape {np.shape(t)} does not broadcast against x of shape {shape}"
            )
    return array


def mask(where: Any, shape: tuple[int, ...]) -> Any:
    """`where` as booleans, broadcast to shape without copying."""
    _refuse_masked("where", where, "plain booleans")
    array = np.asarray(where)
    if array.dtype != np.bool_:
        raise TypeError(f"where: expected dtype bool, got {array.dtype}")
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"where: shape {array.shape} does not broadcast to the shape of x, {shape}"
        ) from None


def _merge(shape: Sequence[int], group: Sequence[int], a: Any) -> int | None:
    """The one stride, in elements, of several axes taken as one; None if there is none."""
    live = [i for i in group if shape[i] != 1]
    if not live:
        return 1
    for i, j in itertools.pairwise(live):
        if a.strides[i] != a.strides[j] * shape[j]:
            return None
    stride, rest = divmod(a.strides[live[-1]], a.itemsize)
    return None if rest else int(stride)


class Layout:
    """Several arrays over one index space, seen as (rows, cols, inner).

    The reduced axes are cols; the kept ones before and behind them merge into rows and inner where
    the strides of every array allow it.  Arrays that cannot be seen so are copied into rows of
    their own: `copied` says that this happened.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        over: tuple[int, ...],
        inputs: Sequence[Any],
        out: Any,
    ) -> None:
        kept = [i for i in range(len(shape)) if i not in over]
        self.order = (*kept, *over)
        self.extent = tuple(shape[i] for i in self.order)
        arrays = [*inputs] if out is None else [*inputs, out]
        live = [i for i in kept if shape[i] != 1]
        groups: list[list[int]] = []
        for i in live:
            if groups and all(_merge(shape, (groups[-1][-1], i), a) is not None for a in arrays):
                groups[-1].append(i)
            else:
                groups.append([i])
        fits = len(groups) <= 2 and all(
            a.flags.aligned and _merge(shape, over, a) is not None for a in arrays
        )
        fits = fits and all(_merge(shape, g, a) is not None for g in groups for a in arrays)
        self.copied = not fits
        self.kept = tuple(kept)
        cols = math.prod(shape[i] for i in over)
        if not fits:
            groups = [live]
        rows, inner = groups[0] if groups else [], groups[1] if len(groups) > 1 else []
        if fits and len(groups) == 1 and _across(shape, over, rows, inputs[0]):
            rows, inner = [], rows
        self.groups = (rows, list(over), inner)
        self.shape = (
            math.prod(shape[i] for i in rows),
            cols,
            math.prod(shape[i] for i in inner),
        )
        self.full = shape

    def input(self, a: Any) -> tuple[Any, tuple[int, int, int]]:
        """The array to pass and its strides; a copy if need be."""
        if self.copied:
            # copy=True where reshape would hand back a view that the library cannot read
            moved = a.transpose(self.order).reshape(self.shape[:2])
            moved = np.require(moved, requirements=["C", "A"])
            return moved, (self.shape[1], 1, 0)
        rows, cols, inner = (_merge(self.full, g, a) for g in self.groups)
        return a, (rows or 0, 1 if cols is None else cols, inner or 0)

    def per_row(self, a: Any) -> tuple[Any, int, int]:
        """An array with one value per row, as kept axes of the full rank or broadcast."""
        shape = tuple(self.full[i] for i in self.kept)
        picked = a.reshape(tuple(a.shape[i] for i in self.kept))
        flat = np.ascontiguousarray(np.broadcast_to(picked, shape))
        inner = self.shape[2]
        return flat, inner, 1 if inner > 1 else 0


def _across(shape: Sequence[int], over: Sequence[int], kept: Sequence[int], a: Any) -> bool:
    """Whether neighbours in memory belong to different rows, so that columns are the fast way."""
    return _merge(shape, kept, a) == 1 and _merge(shape, over, a) != 1


def number(name: str, value: Any) -> float:
    """A finite Python or NumPy number as a float."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a number, got a bool")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}: must be finite, got {number}")
    return number


_INT64 = np.iinfo(np.int64)


def int64(name: str, value: Any) -> int:
    """A Python or NumPy integer that fits in 64 bits."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got a bool")
    try:
        accepted = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if not _INT64.min <= accepted <= _INT64.max:
        raise ValueError(f"{name}: {accepted} does not fit in 64 bits")
    return accepted


def fitting(parameter: _registry.Parameter, value: float, given: Any) -> float:
    """The number, if the registry accepts it; `given` is how it was spelt."""
    if not parameter.fits(value):
        raise ValueError(f"{parameter.name}: {parameter.words}, got {given!r}")
    return value


def in_range(name: str, value: Any) -> float:
    """A number in the range that the registry has for an option or a parameter of this name."""
    return fitting(_registry.RANGES[name], number(name, value), value)


def reals(name: str, value: Any) -> Any:
    """Numbers that can be learned, as an array of a float dtype; integers become float64."""
    if _is_computed(value):
        return value
    _refuse_masked(name, value, "plain numbers")
    found = np.asarray(_with_numpy_dtype(name, value))
    if found.dtype.kind in "iu":
        return found.astype(np.float64)
    if found.dtype.kind == "f" or dtype_code(found.dtype) is not None:
        return array(name, found)
    raise TypeError(f"{name}: expected real numbers, got dtype {found.dtype}")
