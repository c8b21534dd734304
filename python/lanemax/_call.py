# SPDX-License-Identifier: Apache-2.0
"""The only file that touches the C library: contexts, calls, status to exception."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._lanemax import ffi, lib
from ._registry import channel_ops as channel_ops
from ._registry import losses as losses
from ._registry import row_ops as row_ops
from ._registry import unary_ops as unary_ops

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)
F16 = np.dtype(np.float16)

# dtype -> lmx_dtype; bfloat16 joins when one is first seen, for ml_dtypes is never imported here
DTYPES: dict[Any, int] = {F32: 0, F64: 1, F16: 2}

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

THREADS_MAX = 1024

_CHARS = ffi.typeof("char[]")
_from_buffer = ffi.from_buffer
_ndarray = np.ndarray
_empty = np.empty
_NULL = ffi.NULL


ROW_OPS = row_ops()
CODES = {op["name"]: code for code, op in enumerate(ROW_OPS)}


# ------------------------------------------------------------------ contexts ---


def _cgroup_cpus() -> float:
    """CPUs' worth of time that the control group grants, inf without a limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as f:
            quota, period = f.read().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def default_threads() -> tuple[int, str]:
    """The number of threads to start with, and where it comes from."""
    text = os.environ.get("LANEMAX_NUM_THREADS", "")
    if text.strip():
        try:
            n = int(text)
        except ValueError:
            n = 0
        if 1 <= n <= THREADS_MAX:
            return n, "LANEMAX_NUM_THREADS"
        warnings.warn(
            f"LANEMAX_NUM_THREADS={text!r} is ignored: "
            f"it must be an integer from 1 to {THREADS_MAX}",
            RuntimeWarning,
            stacklevel=2,
        )
    if hasattr(os, "sched_getaffinity"):
        n, source = len(os.sched_getaffinity(0)), "CPU affinity"
    else:
        n, source = os.cpu_count() or 1, "CPU count"
    granted = _cgroup_cpus()
    if granted < n:
        n, source = max(1, math.ceil(granted)), "cgroup quota"
    return min(n, THREADS_MAX), source


class _State:
    """The context that calls use, and what it was made from."""

    __slots__ = ("ctx", "isa", "lock", "source", "threads")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.isa: str | None = None
        self.threads, self.source = default_threads()
        self.ctx: Any = None

    def renew(self, threads: int, isa: str | None) -> None:
        options = ffi.new("lmx_options *")
        name = _NULL if isa is None else ffi.new("char[]", isa.encode())
        check(lib.lmx_options_init(options))
        options.threads = threads
        options.isa = name
        pointer = ffi.new("lmx_ctx **")
        check(lib.lmx_ctx_create(pointer, options))
        self.threads, self.isa = threads, isa
        self.ctx = ffi.gc(pointer[0], lib.lmx_ctx_free)


# ----------------------------------------------------------------- exceptions ---

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


state = _State()
state.renew(state.threads, None)

if lib.lmx_isa_ignored():
    warnings.warn(
        f"LANEMAX_ISA={os.environ.get('LANEMAX_ISA', '')!r} is ignored: this CPU and build offer "
        + ", ".join(ffi.string(lib.lmx_isa_available(i)).decode() for i in range(8)
                    if lib.lmx_isa_available(i) != _NULL),
        RuntimeWarning,
        stacklevel=3,
    )  # fmt: skip


def set_threads(n: int) -> None:
    with state.lock:
        state.renew(n, state.isa)
        state.source = "set_num_threads"


def thread_count(n: object) -> int:
    """A valid number of threads, or the exception that says why not."""
    if isinstance(n, (bool, np.bool_)):
        raise TypeError("n: expected an integer, got a bool")
    try:
        count = operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"n: expected an integer, got {type(n).__name__}") from None
    if not 1 <= count <= THREADS_MAX:
        raise ValueError(f"n: expected 1 to {THREADS_MAX} threads, got {count}")
    return count


@contextlib.contextmanager
def using_isa(isa: str) -> Iterator[None]:
    """Run on one tier, for tests and comparisons; affects every thread of the process."""
    with state.lock:
        before = state.isa
        state.renew(state.threads, isa)
    try:
        yield
    finally:
        with state.lock:
            state.renew(state.threads, before)


def isa_name() -> str:
    return str(ffi.string(lib.lmx_isa_name(state.ctx)).decode())


def isa_names() -> tuple[str, ...]:
    names: list[str] = []
    while (name := lib.lmx_isa_available(len(names))) != _NULL:
        names.append(ffi.string(name).decode())
    return tuple(names)


def isa_ignored() -> bool:
    return bool(lib.lmx_isa_ignored())


def version() -> str:
    return str(ffi.string(lib.lmx_version()).decode())


def function_address(name: str) -> int:
    """Address of a C function of the library, for ctypes, Numba or JAX."""
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


# ---------------------------------------------------------------------- calls ---


# The common case in the least time: C-contiguous float arrays along their last axis.  None where it
# is not that case; everything else, errors included, is left to the careful path, and the library
# has then written nothing.  `op` is the operation's number times 4, to which the dtype's is added.

_code_of = DTYPES.get
_contiguous = lib.lmx_contiguous
_contiguous1 = lib.lmx_contiguous1


def _result(out: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """What takes a result, a new array if `out` is None, and its address."""
    if out is None:
        out = _empty(shape, dtype)
    elif type(out) is not _ndarray or out.dtype is not dtype or out.shape != shape:
        raise ValueError
    return out, _from_buffer(_CHARS, out, True)


def _is_like(a: Any, dtype: Any, shape: tuple[int, ...]) -> bool:
    return type(a) is _ndarray and a.dtype is dtype and a.shape == shape


def fast_row(op: int, x: Any, out: Any) -> Any:
    """One array in, one like it out."""
    if type(x) is not _ndarray:
        return None
    dtype = x.dtype
    code = _code_of(dtype)
    if code is None:
        return None
    try:
        px = _from_buffer(_CHARS, x)
        shape = x.shape
        if out is None:
            out = _empty(shape, dtype)
        elif type(out) is not _ndarray or out.dtype is not dtype or out.shape != shape:
            return None
        py = _from_buffer(_CHARS, out, True)
        return None if _contiguous1(state.ctx, op + code, x.size, shape[-1], px, py) else out
    except (ValueError, IndexError, BufferError):
        return None


def fast_gradient(op: int, dy: Any, y: Any, out: Any) -> Any:
    """Two arrays in, one like them out."""
    if type(dy) is not _ndarray or type(y) is not _ndarray:
        return None
    dtype = y.dtype
    code = _code_of(dtype)
    if code is None:
        return None
    shape = y.shape
    if dy.dtype is not dtype or dy.shape != shape:
        return None
    try:
        pdy = _from_buffer(_CHARS, dy)
        py = _from_buffer(_CHARS, y)
        if out is None:
            out = _empty(shape, dtype)
        elif type(out) is not _ndarray or out.dtype is not dtype or out.shape != shape:
            return None
        pout = _from_buffer(_CHARS, out, True)
        return None if _contiguous(state.ctx, op + code, y.size, shape[-1], pdy, py, pout) else out
    except (ValueError, IndexError, BufferError):
        return None


def fast_reduction(op: int, x: Any, out: Any, sums: bool) -> Any:
    """One array in, one value or sum for each row out."""
    if type(x) is not _ndarray:
        return None
    code = _code_of(x.dtype)
    if code is None:
        return None
    try:
        px = _from_buffer(_CHARS, x)
        shape = x.shape
        cols = shape[-1]
        if cols == 0:
            return None
        dtype = SUM if sums else F64 if code == 1 else F32
        if out is None:
            out = _empty(shape[:-1], dtype)
        elif type(out) is not _ndarray or out.dtype is not dtype or out.shape != shape[:-1]:
            return None
        py = _from_buffer(_CHARS, out, True)
        return None if _contiguous1(state.ctx, op + code, x.size, cols, px, py) else out
    except (ValueError, IndexError, BufferError):
        return None


@functools.lru_cache(maxsize=512)
def _rows_of(cols: int, rows: int = 1) -> tuple[Any, Any]:
    """Shape and strides of rows that follow each other; the library only reads them."""
    return ffi.new("lmx_shape *", (rows, cols, 1)), ffi.new("lmx_strides *", (cols, 1, 0))


_DOUBLES = ffi.typeof("double[]")
_UNARY_OPTIONS = ffi.typeof("lmx_unary_options *")
_UNARY_TEMPLATE = ffi.new(_UNARY_OPTIONS)
lib.lmx_unary_options_init(_UNARY_TEMPLATE)
_UNARY_TAG = _UNARY_TEMPLATE.tag


def _unary_options(
    parameters: list[float] | None, bias: Any = None, grads: Any = None, bias_grad: Any = None
) -> tuple[Any, Any]:
    """`lmx_unary_options` of contiguous arrays, and what must live as long as they are used."""
    alive = (
        ffi.new(_DOUBLES, parameters) if parameters else _NULL,
        _NULL if bias is None else _from_buffer(_CHARS, bias),
        _NULL if grads is None else _from_buffer(_DOUBLES, grads, True),
        _NULL if bias_grad is None else _from_buffer(_DOUBLES, bias_grad, True),
    )
    count = len(parameters) if parameters else 0
    return ffi.new(_UNARY_OPTIONS, (_UNARY_TAG, alive[0], count, *alive[1:])), alive


@functools.lru_cache(maxsize=64)
def _number_options(number: float, sign: float) -> tuple[Any, Any]:
    """Those of one parameter, which the library only reads; -0 equals 0, hence the sign."""
    return _unary_options([number])


_unary = lib.lmx_unary
_unary_vjp = lib.lmx_unary_vjp


def _is_row_bias(bias: Any, code: int, shape: tuple[int, ...], out: Any) -> bool:
    return (
        type(bias) is _ndarray
        and bias.dtype is (F64 if code == 1 else F32)
        and bias.shape == shape[-1:]
        and bias.flags.c_contiguous
        and bias.flags.aligned
        and (out is None or not np.may_share_memory(out, bias))
    )


def fast_unary(op: int, x: Any, parameters: list[float] | None, out: Any, bias: Any = None) -> Any:
    """An activation; as `fast_row`, None where it is not that case."""
    if type(x) is not _ndarray:
        return None
    dtype = x.dtype
    code = _code_of(dtype)
    shape = x.shape
    if code is None or not shape:
        return None
    size = x.size
    if bias is None:
        rows, step = _rows_of(size)
    elif size and _is_row_bias(bias, code, shape, out):
        cols = shape[-1]
        rows, step = _rows_of(cols, size // cols)
    else:
        return None
    try:
        px = _from_buffer(_CHARS, x)
        out, py = _result(out, shape, dtype)
    except (ValueError, BufferError):
        return None
    if bias is None and not parameters:
        return None if _unary(state.ctx, op, code, rows, px, step, _NULL, py, step) else out
    if bias is None and parameters and len(parameters) == 1:
        options, _alive = _number_options(parameters[0], math.copysign(1.0, parameters[0]))
    else:
        options, _alive = _unary_options(parameters, bias)
    return None if _unary(state.ctx, op, code, rows, px, step, options, py, step) else out


def fast_unary_vjp(
    op: int,
    dy: Any,
    x: Any,
    parameters: list[float] | None,
    out: Any,
    learned: bool = False,
    bias: Any = None,
) -> Any:
    """Its gradient, and if `learned` or with a bias a tuple: that, its parameters', its bias's."""
    if type(x) is not _ndarray:
        return None
    dtype = x.dtype
    code = _code_of(dtype)
    shape = x.shape
    if code is None or not shape or not _is_like(dy, dtype, shape):
        return None
    size = x.size
    summed = learned or bias is not None
    if not summed:
        rows, step = _rows_of(size)
    elif size and (bias is None or _is_row_bias(bias, code, shape, out)):
        cols = shape[-1]  # sums are cut by the shape
        rows, step = _rows_of(cols, size // cols)
    else:
        return None
    try:
        pdy = _from_buffer(_CHARS, dy)
        px = _from_buffer(_CHARS, x)
        out, pout = _result(out, shape, dtype)
    except (ValueError, BufferError):
        return None
    if not summed and not parameters:
        return (
            None
            if _unary_vjp(state.ctx, op, code, rows, pdy, step, px, step, _NULL, pout, step)
            else out
        )
    grads = _empty(len(parameters), F64) if learned and parameters else None
    bias_grad = None if bias is None else _empty(shape[-1], F64)
    options, _alive = _unary_options(parameters, bias, grads, bias_grad)
    if _unary_vjp(state.ctx, op, code, rows, pdy, step, px, step, options, pout, step):
        return None
    return (out, grads, bias_grad) if summed else out


_channel = lib.lmx_channel
_channel_vjp = lib.lmx_channel_vjp
_CHANNEL_OPTIONS = ffi.typeof("lmx_channel_options *")


def doubles(numbers: Any) -> Any:
    """Address of float64 numbers that follow each other; it keeps them alive."""
    return _from_buffer(_DOUBLES, numbers)


def channel_options(fields: dict[str, Any] | None, sums: Any = None) -> Any:
    """`lmx_channel_options` with these fields, which the caller keeps alive, like sums.

    sums: float64, to be filled; those of a denominator follow those of the other parameters.
    """
    if fields is None:
        return _NULL
    options = ffi.new(_CHANNEL_OPTIONS)
    check(lib.lmx_channel_options_init(options))
    for name, value in fields.items():
        setattr(options, name, value)
    if sums is not None:
        options.parameter_grad = first = _from_buffer(_DOUBLES, sums, True)
        if options.denominators:
            options.denominator_grad = first + options.parameters
    return options


def fast_channel(
    op: int, dy: Any, x: Any, up: Any, out: Any, cols: int = 0, options: Any = _NULL
) -> Any:
    """An activation of channels, with dy its gradient, with up too both gradients; as `fast_row`.

    dy and up may be None; cols is 0 where the axes do not matter, as for gates.
    """
    if type(x) is not _ndarray:
        return None
    dtype = x.dtype
    code = _code_of(dtype)
    shape = x.shape
    if code is None or not shape or not (up is None or _is_like(up, dtype, shape)):
        return None
    rows, step = _rows_of(cols, x.size // cols) if cols else _rows_of(x.size)
    try:
        px = _from_buffer(_CHARS, x)
        pup = _NULL if up is None else _from_buffer(_CHARS, up)
        out, pout = _result(out, shape, dtype)
        if dy is None:
            status = _channel(state.ctx, op, code, rows, px, step, pup, step, options, pout, step)
            return None if status else out
        if not _is_like(dy, dtype, shape):
            return None
        pdy = _from_buffer(_CHARS, dy)
        dup, pdup = (None, _NULL) if up is None else _result(None, shape, dtype)
    except (ValueError, BufferError):
        return None
    if _channel_vjp(state.ctx, op, code, rows, pdy, step, px, step, pup, step, options, pout, step,
                    pdup, step):  # fmt: skip
        return None
    return out if up is None else (out, dup)


Strides = tuple[int, int, int]


def _pointer(array: Any) -> Any:
    """Address of an array's first element; the caller keeps the array alive."""
    return ffi.cast("void *", array.__array_interface__["data"][0])


def row_op(
    name: str,
    code: int,
    shape: tuple[int, int, int],
    a: Any,
    a_strides: Strides,
    b: Any,
    b_strides: Strides | None,
    out: Any,
    out_strides: Strides,
    *,
    temperature: tuple[Any, int, int] | None = None,
    where: tuple[Any, Strides] | None = None,
    total: tuple[Any, int, int] | None = None,
    parameter: float | None = None,
) -> int:
    """`lmx_row_op` on arrays whose layout is worked out; returns its status."""
    options = _NULL
    if any(option is not None for option in (temperature, where, total, parameter)):
        options = ffi.new("lmx_row_options *")
        check(lib.lmx_row_options_init(CODES[name], options))
        if parameter is not None:
            options.parameter = parameter
        if temperature is not None:
            array, options.temperature_row, options.temperature_inner = temperature
            options.temperature = ffi.cast("double *", _pointer(array))
        if where is not None:
            array, strides = where
            options.where = ffi.cast("unsigned char *", _pointer(array))
            options.where_strides = strides
        if total is not None:
            array, options.total_row, options.total_inner = total
            options.total = ffi.cast("lmx_expsum *", _pointer(array))
    return int(
        lib.lmx_row_op(
            state.ctx,
            CODES[name],
            code,
            ffi.new("lmx_shape *", shape),
            _pointer(a),
            ffi.new("lmx_strides *", a_strides),
            _NULL if b is None else _pointer(b),
            _NULL if b_strides is None else ffi.new("lmx_strides *", b_strides),
            options,
            _pointer(out),
            ffi.new("lmx_strides *", out_strides),
        )
    )


#: dtype -> lmx_int
_INTS = {
    np.dtype(name): code
    for code, name in enumerate(
        ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    )
}


REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}
_int_of = _INTS.get
_contiguous_loss = lib.lmx_contiguous_loss


def fast_loss(
    op: int, logits: Any, target: Any, reduction: Any, gradient: bool, grad_out: Any
) -> Any:
    """A loss with its defaults, of class indices; as `fast_row`, None where it is not that case."""
    if type(logits) is not _ndarray or type(target) is not _ndarray or type(reduction) is not str:
        return None
    dtype = logits.dtype
    code, integer = _code_of(dtype), _int_of(target.dtype)
    how = REDUCTIONS.get(reduction)
    shape = logits.shape
    if code is None or integer is None or how is None or target.shape != shape[:-1] or not shape:
        return None
    rows = target.size
    if rows == 0:
        return None
    try:
        px = _from_buffer(_CHARS, logits)
        pt = _from_buffer(_CHARS, target)
        value = _empty(shape[:-1] if how == 2 else (), F64 if code == 1 else F32)
        grad, pg = None, _NULL
        if gradient:
            grad = grad_out
            if grad is None:
                grad = _empty(shape, dtype)
            elif type(grad) is not _ndarray or grad.dtype is not dtype or grad.shape != shape:
                return None
            pg = _from_buffer(_CHARS, grad, True)
        if _contiguous_loss(state.ctx, op, code | integer << 2 | how << 5, rows, shape[-1], px, pt,
                            _from_buffer(_CHARS, value, True), pg):  # fmt: skip
            return None
    except (ValueError, BufferError):
        return None
    return (value[()], grad) if gradient else value[()]


def loss(
    op: int,
    shape: tuple[int, int, int],
    logits: list[tuple[Any, Strides]],
    target: Any,
    soft: tuple[Any, Strides] | None,
    weight: Any,
    temperature: Any,
    values: dict[str, Any],
    out: Any,
    grads: list[tuple[Any, Strides]],
) -> int:
    """`lmx_loss` on arrays whose layout is worked out; returns its status."""
    options = ffi.new("lmx_loss_options *")
    check(lib.lmx_loss_options_init(op, options))
    for name in ("label_smoothing", "logz_penalty", "softcap", "ignore_index", "rho", "nu"):
        if name in values:
            setattr(options, name, values[name])
    for i, value in enumerate(values["parameter"]):
        options.parameter[i] = value
    options.reduction = values["reduction"]
    if weight is not None:
        options.weight = ffi.cast("double *", _pointer(weight))
    if temperature is not None:
        options.temperature = ffi.cast("double *", _pointer(temperature))
        options.temperature_stride = 1
    x, x_strides = logits[0]
    grad, grad_strides = grads[0] if grads else (None, None)
    if len(logits) > 1:
        options.adversarial = _pointer(logits[1][0])
        options.adversarial_strides = logits[1][1]
        if grads:
            options.adversarial_grad = _pointer(grads[1][0])
            options.adversarial_grad_strides = grads[1][1]
    if soft is not None:
        options.probabilities = _pointer(soft[0])
        options.probabilities_dtype = DTYPES[soft[0].dtype]
        options.probabilities_strides = soft[1]
    return int(
        lib.lmx_loss(
            state.ctx,
            op,
            DTYPES[x.dtype],
            ffi.new("lmx_shape *", shape),
            _pointer(x),
            ffi.new("lmx_strides *", x_strides),
            _NULL if target is None else _pointer(target),
            lib.LMX_I64 if target is None else _INTS[target.dtype],
            1,
            options,
            _pointer(out),
            1,
            _NULL if grad is None else _pointer(grad),
            _NULL if grad_strides is None else ffi.new("lmx_strides *", grad_strides),
        )
    )


def unary(
    op: int,
    shape: tuple[int, int, int],
    dy: tuple[Any, Strides] | None,
    x: tuple[Any, Strides],
    out: tuple[Any, Strides],
    parameters: list[float],
    bias: Any,
    grads: Any,
    bias_grad: Any,
) -> int:
    """`lmx_unary`, with dy `lmx_unary_vjp`, on arrays whose layout is worked out; its status.

    bias: cols of the compute type; grads and bias_grad: float64, to be filled.
    """
    options, _alive = _unary_options(parameters, bias, grads, bias_grad)
    head = (state.ctx, op, DTYPES[x[0].dtype], ffi.new("lmx_shape *", shape))
    given = [] if dy is None else [dy]
    arrays = [
        part
        for array, strides in (*given, x)
        for part in (_pointer(array), ffi.new("lmx_strides *", strides))
    ]
    call = _unary if dy is None else _unary_vjp
    return int(call(*head, *arrays, options, _pointer(out[0]), ffi.new("lmx_strides *", out[1])))


def channel(
    op: int,
    shape: tuple[int, int, int],
    dy: tuple[Any, Strides] | None,
    inputs: list[tuple[Any, Strides]],
    outs: list[tuple[Any, Strides]],
    options: Any,
) -> int:
    """`lmx_channel`, with dy `lmx_channel_vjp`, on arrays whose layout is known; its status."""

    def passed(arrays: list[tuple[Any, Strides]], count: int) -> list[Any]:
        found = [p for a, s in arrays for p in (_pointer(a), ffi.new("lmx_strides *", s))]
        return found + [_NULL] * (2 * count - len(found))

    head = (state.ctx, op, DTYPES[inputs[0][0].dtype], ffi.new("lmx_shape *", shape))
    if dy is None:
        return int(_channel(*head, *passed(inputs, 2), options, *passed(outs, 1)))
    arrays = passed([dy], 1) + passed(inputs, 2)
    return int(_channel_vjp(*head, *arrays, options, *passed(outs, 2)))


def _linear_options(values: dict[str, Any], bias: Any, dropped: Any = None) -> Any:
    options = ffi.new("lmx_linear_options *")
    check(lib.lmx_linear_options_init(options))
    for name, value in values.items():
        setattr(options, name, value)
    if bias is not None:
        options.bias = _pointer(bias)
    if dropped is not None:
        options.dropped = ffi.cast("double *", _pointer(dropped))
    return options


def _linear_operands(hidden: Any, weight: Any) -> tuple[Any, ...]:
    """Matrices whose rows are contiguous, with what the library asks of every output layer."""
    rows, depth = hidden.shape
    shape = (DTYPES[hidden.dtype], rows, depth, weight.shape[0])
    return (*shape, *(part for x in (hidden, weight) for part in (_pointer(x), _row_stride(x))))


def _row_stride(x: Any) -> int:
    return int(x.strides[0] // x.itemsize) if x.shape[0] > 1 else int(x.shape[1])


def linear_cross_entropy(
    hidden: Any,
    weight: Any,
    target: Any,
    bias: Any,
    values: dict[str, Any],
    loss: Any,
    grads: list[Any],
    dropped: Any,
) -> int:
    """`lmx_linear_cross_entropy` on matrices; grads is empty, or dhidden, dweight and dbias."""
    rows = hidden.shape[0]
    dhidden, dweight, dbias = grads or (None, None, None)
    return int(
        lib.lmx_linear_cross_entropy(
            state.ctx,
            *_linear_operands(hidden, weight),
            _pointer(target) if rows else _NULL,
            _INTS[target.dtype],
            1,
            _linear_options(values, bias, dropped),
            _pointer(loss),
            1,
            _NULL if dhidden is None else _pointer(dhidden),
            hidden.shape[1],
            _NULL if dweight is None else _pointer(dweight),
            hidden.shape[1],
            _NULL if dbias is None else _pointer(dbias),
        )
    )


def linear_logsumexp(hidden: Any, weight: Any, bias: Any, out: Any) -> None:
    options = _linear_options({}, bias)
    operands = _linear_operands(hidden, weight)
    check(lib.lmx_linear_logsumexp(state.ctx, *operands, options, _pointer(out), 1))


def linear_topk(hidden: Any, weight: Any, k: int, bias: Any, values: Any, indices: Any) -> None:
    dtype, rows, depth, classes, *operands = _linear_operands(hidden, weight)
    check(
        lib.lmx_linear_topk(
            state.ctx, dtype, rows, depth, classes, k, *operands, _linear_options({}, bias),
            _pointer(values), k, ffi.cast("int64_t *", _pointer(indices)), k,
        )
    )  # fmt: skip


def is_label_error(status: int) -> bool:
    return bool(status == lib.LMX_ERR_LABEL)


def needs_own_output(status: int) -> bool:
    """The output shares memory with an input, or interleaves, in a way that the library refuses."""
    return bool(status in (lib.LMX_ERR_OVERLAP, lib.LMX_ERR_STRIDE))


def expsum_merge(a: Any, b: Any, out: Any) -> None:
    check(
        lib.lmx_expsum_merge(
            out.size,
            ffi.cast("lmx_expsum *", _pointer(a)),
            ffi.cast("lmx_expsum *", _pointer(b)),
            ffi.cast("lmx_expsum *", _pointer(out)),
        )
    )


def expsum_log(a: Any, out: Any) -> None:
    check(
        lib.lmx_expsum_log(
            out.size, ffi.cast("lmx_expsum *", _pointer(a)), ffi.cast("double *", _pointer(out))
        )
    )


# ------------------------------------------------------- factored output layer ---

#: name of a loss of the factored layer -> that in the registry
SPHERICAL_LOSSES = {
    "z": "z_loss",
    "spherical": "spherical_softmax_loss",
    "taylor": "taylor_softmax_loss",
    "mse": "one_hot_mse_loss",
}

SPHERICAL_COUNTS = ("steps", "dense_steps", "inversions", "directions", "refreshes")


class Spherical:
    """A `lmx_spherical`; arrays that are passed are contiguous and of the right type."""

    __slots__ = ("layer",)

    def __init__(
        self,
        loss: int,
        parameters: list[float],
        dtype: Any,
        classes: int,
        d: int,
        weight: Any = None,
    ) -> None:
        pointer = ffi.new("lmx_spherical **")
        given = ffi.new("double[2]", parameters)
        check(
            lib.lmx_spherical_create(
                state.ctx,
                DTYPES[dtype],
                loss,
                given,
                classes,
                d,
                _NULL if weight is None else _pointer(weight),
                d,
                pointer,
            )
        )
        self.layer = ffi.gc(pointer[0], lib.lmx_spherical_free, classes * d * dtype.itemsize)

    def batch(
        self,
        hidden: Any,
        target: Any,
        values: Any,
        ignore_index: int,
        loss: Any,
        dhidden: Any,
        step: tuple[float, float] | None,
    ) -> int:
        """`lmx_spherical_step` with (lr, weight_decay), else `lmx_spherical_loss`; its status."""
        rows, d = hidden.shape
        b = ffi.new("lmx_spherical_batch *")
        check(lib.lmx_spherical_batch_init(b))
        b.rows, b.dtype = rows, DTYPES[hidden.dtype]
        b.hidden, b.hidden_stride = _pointer(hidden), d
        b.target, b.target_type = _pointer(target), _INTS[target.dtype]
        b.target_stride = b.targets = target.shape[1]
        b.ignore_index = ignore_index
        if values is not None:
            b.values = ffi.cast("double *", _pointer(values))
            b.values_stride = values.shape[1]
        b.loss = ffi.cast("double *", _pointer(loss))
        if dhidden is not None:
            b.dhidden, b.dhidden_stride = _pointer(dhidden), d
        if step is None:
            return int(lib.lmx_spherical_loss(state.ctx, self.layer, b))
        return int(lib.lmx_spherical_step(state.ctx, self.layer, b, *step))

    def logits(self, hidden: Any, out: Any) -> None:
        rows, d = hidden.shape
        check(
            lib.lmx_spherical_logits(
                state.ctx,
                self.layer,
                DTYPES[hidden.dtype],
                rows,
                _pointer(hidden),
                d,
                _pointer(out),
                out.shape[1],
            )
        )

    def topk(self, hidden: Any, values: Any, classes: Any) -> None:
        rows, d = hidden.shape
        k = values.shape[1]
        check(
            lib.lmx_spherical_topk(
                state.ctx,
                self.layer,
                DTYPES[hidden.dtype],
                rows,
                _pointer(hidden),
                d,
                k,
                _pointer(values),
                k,
                ffi.cast("int64_t *", _pointer(classes)),
                k,
            )
        )

    def weight(self, out: Any) -> None:
        check(lib.lmx_spherical_weight(state.ctx, self.layer, _pointer(out), out.shape[1]))

    def condition(self) -> float:
        value = ffi.new("double *")
        check(lib.lmx_spherical_condition(self.layer, value))
        return float(value[0])

    def counts(self) -> dict[str, int]:
        """How often the layer has done what."""
        about = ffi.new("lmx_spherical_description *")
        check(lib.lmx_spherical_description_init(about))
        check(lib.lmx_spherical_info(self.layer, about))
        return {name: int(getattr(about, name)) for name in SPHERICAL_COUNTS}

    def state(self, arrays: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, Any]:
        """The layer's state into arrays, or with the rest `given` out of them; the rest."""
        s = ffi.new("lmx_spherical_state *")
        check(lib.lmx_spherical_state_init(s))
        for name, array in arrays.items():
            setattr(s, name, ffi.cast(ffi.typeof(getattr(s, name)), _pointer(array)))
        if given is None:
            check(lib.lmx_spherical_get_state(self.layer, s))
        else:
            s.watched, s.peak = given["watched"], given["peak"]
            s.counts = [given[name] for name in SPHERICAL_COUNTS]
            check(lib.lmx_spherical_set_state(self.layer, s))
        counts = {name: int(s.counts[i]) for i, name in enumerate(SPHERICAL_COUNTS)}
        return {"watched": float(s.watched), "peak": float(s.peak), **counts}


# --------------------------------------------------------------------- Fourier head ---


def _fourier_rows(coef: Any) -> tuple[Any, ...]:
    """The arguments that every function begins with; coef has contiguous rows."""
    rows, width = coef.shape
    return (state.ctx, DTYPES[coef.dtype], rows, width // 2 - 1)


def _fourier_options(values: dict[str, Any]) -> Any:
    options = ffi.new("lmx_fourier_options *")
    check(lib.lmx_fourier_options_init(options))
    for name, value in values.items():
        setattr(options, name, value)
    return options


def fourier_points(name: str, coef: Any, x: Any, out: Any) -> None:
    """`lmx_fourier_density`, cdf or sample, as named; x: float64, so many points for each row."""
    points = x.shape[1]
    check(
        getattr(lib, "lmx_fourier_" + name)(
            *_fourier_rows(coef), _pointer(coef), _row_stride(coef),
            points, ffi.cast("double *", _pointer(x)), points, _pointer(out), points,
        )
    )  # fmt: skip


def fourier_moment(name: str, coef: Any, out: Any) -> None:
    """`lmx_fourier_mean` or variance, as named, one real for each row."""
    call = getattr(lib, "lmx_fourier_" + name)
    check(call(*_fourier_rows(coef), _pointer(coef), _row_stride(coef), _pointer(out), 1))


def fourier_bins(
    name: str, coef: Any, bins: int, dy: Any, values: dict[str, Any], out: Any
) -> None:
    """`lmx_fourier_bins` or log_bins, as named; with dy the gradient through it."""
    given = [coef] if dy is None else [dy, coef]
    call = getattr(lib, "lmx_fourier_" + name + ("" if dy is None else "_vjp"))
    check(
        call(
            *_fourier_rows(coef), bins,
            *(part for a in given for part in (_pointer(a), _row_stride(a))),
            _fourier_options(values), _pointer(out), out.shape[1],
        )
    )  # fmt: skip


def fourier_cross_entropy(
    coef: Any, target: Any, bins: int, values: dict[str, Any], loss: Any, grad: Any
) -> int:
    """`lmx_fourier_cross_entropy`; its status."""
    return int(
        lib.lmx_fourier_cross_entropy(
            *_fourier_rows(coef), bins, _pointer(coef), _row_stride(coef),
            _pointer(target), _INTS[target.dtype], 1, _fourier_options(values), _pointer(loss), 1,
            _NULL if grad is None else _pointer(grad), coef.shape[1],
        )
    )  # fmt: skip


def fourier_nll(coef: Any, x: Any, values: dict[str, Any], loss: Any, grad: Any) -> None:
    """`lmx_fourier_nll` of points in float64, so many for each row."""
    points = x.shape[1]
    check(
        lib.lmx_fourier_nll(
            *_fourier_rows(coef), _pointer(coef), _row_stride(coef),
            points, ffi.cast("double *", _pointer(x)), points,
            _fourier_options(values), _pointer(loss), points,
            _NULL if grad is None else _pointer(grad), coef.shape[1],
        )
    )  # fmt: skip
