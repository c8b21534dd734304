# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library for sums, output layers and the Fourier head, on contiguous arrays.

The names of `_core` that the command line, the benchmarks and the tests use are here too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._core.calls import DTYPES, F16, F32, F64, INTS, SUM
from ._core.context import (
    default_threads,
    function_address,
    isa_ignored,
    isa_name,
    isa_names,
    state,
    thread_count,
    using_isa,
    version,
)
from ._core.errors import check, is_label_error, needs_own_output
from ._core.registry import (
    CODES,
    REDUCTIONS,
    ROW_OPS,
    channel_ops,
    losses,
    row_ops,
    unary_ops,
)
from ._lanemax import ffi, lib

__all__ = [
    "CODES",
    "DTYPES",
    "F16",
    "F32",
    "F64",
    "REDUCTIONS",
    "ROW_OPS",
    "SUM",
    "channel_ops",
    "check",
    "default_threads",
    "function_address",
    "is_label_error",
    "isa_ignored",
    "isa_name",
    "isa_names",
    "losses",
    "needs_own_output",
    "row_ops",
    "state",
    "thread_count",
    "unary_ops",
    "using_isa",
    "version",
]

_NULL = ffi.NULL
_INTS = INTS


_data = lib.lmxpy_data


def _pointer(array: Any) -> Any:
    """Address of an array's first element; the caller keeps the array alive."""
    plain = np.asarray(array)
    return _data(id(plain))


def _linear_options(
    values: dict[str, Any], bias: Any, row_weight: Any = None, dropped: Any = None
) -> Any:
    """Options of an output layer; bias has a dtype of its own, the other arrays are float64."""
    options = ffi.new("lmx_linear_options *")
    check(lib.lmx_linear_options_init(options))
    for name, value in values.items():
        setattr(options, name, value)
    if bias is not None:
        options.bias = _pointer(bias)
        options.bias_dtype = DTYPES[bias.dtype]
    for name, array in (("row_weight", row_weight), ("dropped", dropped)):
        if array is not None:
            setattr(options, name, ffi.cast("double *", _pointer(array)))
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
    row_weight: Any,
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
            _linear_options(values, bias, row_weight, dropped),
            _pointer(loss),
            1,
            _NULL if dhidden is None else _pointer(dhidden),
            0 if dhidden is None else _row_stride(dhidden),
            _NULL if dweight is None else _pointer(dweight),
            0 if dweight is None else _row_stride(dweight),
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
