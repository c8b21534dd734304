# SPDX-License-Identifier: Apache-2.0
"""Calls of the C glue on arrays as they are.

The glue reads shapes, strides and types out of NumPy's array objects, whose addresses it gets, and
passes them on as views.  An array is passed as its ``id()``, and so is None; the caller keeps it
alive.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from .._lanemax import ffi, lib
from .errors import check

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)
F16 = np.dtype(np.float16)

# dtype -> lmx_dtype; bfloat16 joins when one is first seen, for ml_dtypes is never imported here
DTYPES: dict[Any, int] = {F32: 0, F64: 1, F16: 2}

#: dtype of the library's values for each of its element types: losses, sums
REALS: dict[Any, Any] = {F32: F32, F64: F64, F16: F32}

#: dtype -> lmx_int
INTS = {
    np.dtype(name): code
    for code, name in enumerate(
        ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), lib.LMX_I8
    )
}

SUM = np.dtype(
    [
        ("mantissa", "f8"),
        ("tail", "f8"),
        ("exponent", "i8"),
        ("base", "f8"),
        ("rounded", "f8"),
        ("rounded_tail", "f8"),
    ]
)

UNUSUAL: int = lib.LMXPY_UNUSUAL
NULL = ffi.NULL

row = lib.lmxpy_row
row_with = lib.lmxpy_row_with
loss = lib.lmxpy_loss
loss_with = lib.lmxpy_loss_with
unary = lib.lmxpy_unary
unary_with = lib.lmxpy_unary_with
channel = lib.lmxpy_channel


_CHANNEL_OPTIONS = ffi.typeof("lmx_channel_options *")
_INITIAL = ffi.new(_CHANNEL_OPTIONS)
check(lib.lmx_channel_options_init(_INITIAL))
_DOUBLES = ffi.typeof("double[]")


def doubles(numbers: Any) -> Any:
    """Address of float64 numbers that follow each other; it keeps them alive."""
    return ffi.from_buffer(_DOUBLES, numbers)


def channel_options(fields: dict[str, Any] | None, sums: Any = None) -> Any:
    """`lmx_channel_options` with these fields, which the caller keeps alive, like sums.

    sums: float64, to be filled; those of a denominator follow those of the other parameters.
    """
    if fields is None:
        return ffi.NULL
    options = ffi.new(_CHANNEL_OPTIONS, _INITIAL[0])
    for name, value in fields.items():
        setattr(options, name, value)
    if sums is not None:
        options.parameter_grad = first = ffi.from_buffer(_DOUBLES, sums, True)
        if options.denominators:
            options.denominator_grad = first + options.parameters
    return options


_NUMBERS = (int, float, np.floating, np.integer)


def temperature_arguments(temperature: Any) -> tuple[float, Any]:
    """One temperature for all rows, and an array of them or None.

    For what is neither a number nor an array the first is 0, which the library refuses.
    """
    if type(temperature) is float:
        return temperature, None
    if type(temperature) is np.ndarray:
        return 1.0, temperature
    number = isinstance(temperature, _NUMBERS) and not isinstance(temperature, bool)
    return (float(temperature) if number else 0.0), None


def dtype_code(dtype: Any) -> int | None:
    """The library's number of an element type, None if it has none."""
    code = DTYPES.get(dtype)
    if code is None and dtype.name == "bfloat16" and dtype.itemsize == 2 and dtype.isnative:
        if lib.lmxpy_set_type(dtype.num, lib.LMX_BF16):
            return None
        REALS[dtype] = F32
        code = DTYPES[dtype] = lib.LMX_BF16
    return code


# ----------------------------------------------------------------------- array objects


def _integer_types() -> dict[int, int]:
    """NumPy's type numbers of integers and bool -> dtype of a view; some share a width."""
    numbers = {np.dtype(c).num: np.dtype(c) for c in "bhilqBHILQ"}
    found: dict[int, int] = {n: INTS[dtype] for n, dtype in numbers.items()}
    found[np.dtype(np.bool_).num] = lib.LMX_BOOL
    return found


def _sees(a: Any) -> bool:
    """Whether the glue sees of an array what NumPy says of it."""
    image = ffi.new("lmxpy_image *")
    if lib.lmxpy_see(id(a), image):
        return False
    n = a.ndim
    return bool(
        (image.data, image.ndim, image.flags) == (a.ctypes.data, n, a.flags.num)
        and (tuple(image.shape[0:n]), tuple(image.strides[0:n])) == (a.shape, a.strides)
        and image.dtype == DTYPES[a.dtype]
    )


def _begin() -> None:
    """Tell the glue what array objects are like, and be sure of it."""
    if platform.python_implementation() != "CPython":
        raise ImportError("lanemax needs CPython: it reads NumPy's array objects in place")
    lib.lmxpy_set_objects(object.__basicsize__, id(np.ndarray), id(None))
    for number, code in _integer_types().items():
        lib.lmxpy_set_type(number, code)
    for dtype, code in DTYPES.items():
        lib.lmxpy_set_type(dtype.num, code)
    base = np.zeros((3, 4, 5), F64)
    probes = [base, base[::-1, 1:, ::2].T, base[1, 2, 3:4], np.zeros((), F32), np.zeros(3, F16)]
    probes[0].flags.writeable = False
    if not all(map(_sees, probes)):
        raise ImportError(f"lanemax does not know how NumPy {np.__version__} lays out its arrays")


_begin()
