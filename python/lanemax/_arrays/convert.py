# SPDX-License-Identifier: Apache-2.0
"""Whatever is given for an array argument, as a numpy.ndarray: one routine for all of them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from .._core.calls import DTYPES, dtype_code

ACCEPTED = "float16, bfloat16, float32, float64, integers and bool"

#: DLPack's device types of memory that the CPU reads: itself, and pinned or managed by a driver
_READABLE = (1, 3, 11, 13)

_ndarray = np.ndarray


def refuse_masked(name: str, x: Any, instead: str) -> None:
    """A mask must not be dropped silently, wherever in a list it stands."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: a MaskedArray's mask would be lost; pass {instead}")
    if isinstance(x, (list, tuple)):
        types = set(map(type, x))
        if any(issubclass(t, (np.ma.MaskedArray, list, tuple)) for t in types):
            for part in x:
                refuse_masked(name, part, instead)


def _refuse_device(name: str, x: Any) -> None:
    if hasattr(x, "__cuda_array_interface__"):
        raise TypeError(f"{name}: lies in the memory of a GPU; pass a copy in the CPU's memory")
    if hasattr(x, "__dlpack_device__"):
        try:
            device = int(x.__dlpack_device__()[0])
        except Exception as error:
            raise TypeError(f"{name}: cannot tell where its memory is: {error}") from error
        if device not in _READABLE:
            raise TypeError(
                f"{name}: lies on a device of DLPack's type {device}; "
                "pass a copy in the CPU's memory"
            )


def _detached(name: str, x: Any) -> Any:
    """A PyTorch tensor without its graph; bfloat16, which NumPy lacks, in ml_dtypes' type."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        return x
    x = x.detach()
    if x.dtype is not torch.bfloat16:
        return x
    try:
        bfloat16 = importlib.import_module("ml_dtypes").bfloat16
    except ImportError:
        raise TypeError(
            f"{name}: a bfloat16 tensor needs ml_dtypes, which is not installed"
        ) from None
    return x.view(torch.int16).numpy().view(bfloat16)


def _from_dlpack(name: str, x: Any) -> Any:
    try:
        return np.from_dlpack(x)
    except Exception as error:
        raise TypeError(f"{name}: NumPy cannot read it through DLPack: {error}") from error


def ndarray(name: str, x: Any, instead: str = "plain numbers") -> Any:
    """An ndarray of any dtype that shares the memory of x where possible.

    instead: what to pass for a masked array.
    """
    if type(x) is _ndarray:
        return x
    refuse_masked(name, x, instead)
    if not isinstance(x, np.ndarray):
        _refuse_device(name, x)
        x = _detached(name, x)
        if (
            hasattr(x, "__dlpack__")
            and not hasattr(x, "__array_interface__")
            and not hasattr(x, "__array__")
        ):
            x = _from_dlpack(name, x)
    try:
        return np.asarray(x)
    except ValueError as error:
        if not isinstance(x, (list, tuple)):
            raise
        raise ValueError(
            f"{name}: expected a rectangular array, got a ragged list ({error})"
        ) from None


def is_computed(x: Any) -> bool:
    """Whether it is an ndarray of a dtype that the library computes; their order is native."""
    return type(x) is _ndarray and x.dtype in DTYPES


def is_float(dtype: Any) -> bool:
    return dtype.kind == "f" or dtype_code(dtype) is not None


def array(name: str, x: Any, masks: bool = False) -> Any:
    """An ndarray of a dtype that the library computes, without a copy where possible.

    masks: whether the function takes `where`.
    """
    if is_computed(x):
        return x
    instead = f"the data and where=~{name}.mask" if masks else f"{name}.data or {name}.filled(...)"
    x = ndarray(name, x, instead)
    dtype = x.dtype
    if dtype_code(dtype) is not None and dtype.isnative:
        return x
    if dtype.kind in "biu":
        return x.astype(np.result_type(dtype, np.float32))
    if dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
        return x.astype(dtype.newbyteorder("="))
    raise TypeError(f"{name}: dtype {dtype} is not supported; accepted are {ACCEPTED}")


def reals(name: str, x: Any) -> Any:
    """Numbers that can be learned, as an array of a float dtype; integers become float64."""
    if is_computed(x):
        return x
    found = ndarray(name, x)
    if found.dtype.kind in "iu":
        return found.astype(np.float64)
    if is_float(found.dtype):
        return array(name, found)
    raise TypeError(f"{name}: expected real numbers, got dtype {found.dtype}")


def doubles(name: str, x: Any) -> Any:
    """Real numbers as a native float64 array; one that shares no memory unless it was one."""
    found = ndarray(name, x)
    if found.dtype.kind not in "fiu" and dtype_code(found.dtype) is None:
        raise TypeError(f"{name}: expected real numbers, got dtype {found.dtype}")
    return np.require(found.astype(np.float64, copy=False), requirements=["A"])


def truths(name: str, x: Any) -> Any:
    found = ndarray(name, x, "plain booleans")
    if found.dtype != np.bool_:
        raise TypeError(f"{name}: expected dtype bool, got {found.dtype}")
    return found
