# SPDX-License-Identifier: Apache-2.0
"""Operations on rows: arrays as they are in one call; what does not fit is looked at and fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._arrays import layout
from ._arrays.convert import array
from ._core import calls
from ._core.context import state
from ._core.errors import check, needs_own_output
from ._core.registry import CODES, ROW_OPS
from ._expsum import ExpSum

_row, _row_with = calls.row, calls.row_with
_REALS = calls.REALS
_ndarray = np.ndarray
_empty = np.empty
_empty_like = np.empty_like


def _standard(op: dict[str, Any]) -> float:
    """The default of the operation's parameter, 0 without one."""
    return op["described"][0].standard if op["described"] else 0.0


#: the defaults, which calls are compared with by identity
ONE = 1.0
LAST = -1


#: the functions that take `where`
_MASKING = ("softmax", "log_softmax", "logsumexp")


class Op:
    """An operation of the registry and the names of its arrays."""

    __slots__ = ("code", "is_row", "is_value", "name", "names", "result", "standard", "two")

    def __init__(self, name: str, *names: str) -> None:
        self.name, self.names = name, names
        self.code = CODES[name]
        self.standard: float = _standard(ROW_OPS[self.code])
        self.result: str = ROW_OPS[self.code]["result"]
        self.is_row, self.is_value = self.result == "row", self.result == "value"
        self.two = len(names) == 2

    def result_dtype(self, dtype: Any) -> Any:
        if self.is_row:
            return dtype
        return _REALS.get(dtype) if self.result == "value" else calls.SUM


def options(
    temperature: Any = ONE,
    where: Any = None,
    total: Any = None,
    parameter: float = 0.0,
    keepdims: bool = False,
    axes: int = 0,
) -> tuple[Any, ...]:
    """The last arguments of the glue; arrays, which the caller keeps alive, as they are."""
    rate, rates = calls.temperature_arguments(temperature)
    sums = None if total is None else total._sums
    return axes, keepdims, rate, id(rates), id(where), id(sums), parameter


def run(
    op: Op, x: Any, second: Any, axis: Any, out: Any, given: dict[str, Any] | None = None
) -> Any:
    """The operation on arrays and axis as given; `given`: what `options` takes, axes apart."""
    if type(x) is _ndarray and type(axis) is int:
        y = out
        if out is None:
            y = _empty_like(x) if op.is_row else _reduced(op, x, axis, given)
        try:
            if given is None:
                status = _row(state.ctx, op.code, axis, id(x), id(second), id(y))
            else:
                arrays = id(x), id(second), id(y)
                status = _row_with(state.ctx, op.code, axis, *arrays, *options(**given))
        except (OverflowError, AttributeError):  # an axis of many digits; a total that is none
            status = calls.UNUSUAL
        if not status:
            return y[()] if op.is_value and out is None and not y.ndim else y
    return _Careful(op, x, second, axis, given or {}).run(out)


def _reduced(op: Op, x: Any, axis: int, given: dict[str, Any] | None) -> Any:
    """A new array for a value of each row; its dtype is that of x where the library has none."""
    shape = x.shape
    if axis != -1 or (given is not None and given["keepdims"]):
        keep = (1,) if given is not None and given["keepdims"] else ()
        at = axis + len(shape) if axis < 0 else axis
        shape = shape[:at] + keep + shape[at + 1 :]
    else:
        shape = shape[:-1]
    return _empty(shape, op.result_dtype(x.dtype) or x.dtype)


class _Careful:
    """One call whose arguments are looked at one by one; every error names the argument."""

    def __init__(self, op: Op, x: Any, second: Any, axis: Any, given: dict[str, Any]) -> None:
        self.op = op
        self.x = x = array(op.names[0], x, op.name in _MASKING)
        self.second = self._second(second)
        self.over = layout.axes(axis, x.ndim)
        self.shape = x.shape
        self.keepdims: bool = bool(given.get("keepdims", False))
        self.parameter = given.get("parameter", self.op.standard)
        temperature, where = given.get("temperature", ONE), given.get("where")
        self.total = self._total(given.get("total"), temperature, where)
        self.temperature = (
            None if temperature is ONE else layout.temperatures(temperature, x.shape, self.over)
        )
        self.where = None if where is None else layout.mask(where, x.shape)

    def _second(self, second: Any) -> Any:
        if not self.op.two:
            return None
        (name, of), x = self.op.names, self.x
        if second is None:
            raise TypeError(f"{of}: expected an array, got None")
        second = array(of, second)
        if x.dtype != second.dtype:
            raise TypeError(f"{name}: expected the dtype of {of}, {second.dtype}, got {x.dtype}")
        if x.shape != second.shape:
            raise ValueError(f"{name}: expected the shape of {of}, {second.shape}, got {x.shape}")
        return second

    def _total(self, total: Any, temperature: Any, where: Any) -> Any:
        """The sums of `total`, one for each row."""
        if total is None:
            return None
        if where is not None or not (isinstance(temperature, float) and temperature == 1.0):
            raise ValueError("total: excludes where and temperature, which it cannot know of")
        if not isinstance(total, ExpSum):
            raise TypeError(f"total: expected an ExpSum, got {type(total).__name__}")
        shapes = [layout.reduced_shape(self.shape, self.over, keep) for keep in (False, True)]
        if total.shape not in shapes:
            raise ValueError(f"total: expected shape {shapes[0]}, got {total.shape}")
        return total

    # ------------------------------------------------------------------ runs

    def run(self, given: Any) -> Any:
        """With the output that is given, None for a new one."""
        op, x = self.op, self.x
        shape = x.shape if op.is_row else layout.reduced_shape(x.shape, self.over, self.keepdims)
        dtype = op.result_dtype(x.dtype)
        out = None
        if given is not None:
            out = np.asarray(layout.output(given, shape, dtype))
            given = given[0] if isinstance(given, tuple) else given
        if math.prod(shape) == 0:
            return _empty(shape, dtype) if given is None else given
        result = self._onto(out, shape, dtype)
        if out is not None and result is not out:
            out[...] = result
        if given is not None:
            return given
        return result if op.result == "sum" else result[()]

    def _onto(self, out: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """The result: in `out`, or if that is impossible or not given in a new array."""
        is_row = self.op.is_row
        target = out if is_row else None
        status = 0 if target is None else self._call(target)
        if target is None or needs_own_output(status):
            target = _empty_like(self.x, subok=False) if is_row else _empty(shape, dtype)
            status = self._call(target)
        check(status)
        return target

    def _call(self, out: Any) -> int:
        arrays = [self.x, self.second, out]
        where, rates = self.where, self.temperature
        axes = sum(1 << i for i in self.over)
        keepdims = self.keepdims
        if not axes:  # each element is a row: one more axis, of extent 1, is reduced
            axes, keepdims = 1 << self.x.ndim, False
            where, rates = (None if a is None else a[..., None] for a in (where, rates))
            arrays = [None if a is None else a[..., None] for a in arrays]
            arrays[2] = arrays[2] if self.op.is_row else out
        passed = options(
            ONE if rates is None else rates, where, self.total, self.parameter, keepdims, axes
        )
        return int(_row_with(state.ctx, self.op.code, 0, *map(id, arrays), *passed))
