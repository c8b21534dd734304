# SPDX-License-Identifier: Apache-2.0
"""The factored output layer of the C library."""

from __future__ import annotations

from typing import Any

from .._lanemax import ffi, lib
from .calls import DTYPES, INTS
from .context import state
from .errors import check
from .memory import pointer

#: name of a loss of the factored layer -> that in the registry
LOSSES = {
    "z": "z_loss",
    "spherical": "spherical_softmax_loss",
    "taylor": "taylor_softmax_loss",
    "mse": "one_hot_mse_loss",
}

COUNTS = ("steps", "dense_steps", "inversions", "directions", "refreshes")


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
        made = ffi.new("lmx_spherical **")
        given = ffi.new("double[2]", parameters)
        check(
            lib.lmx_spherical_create(
                state.ctx,
                DTYPES[dtype],
                loss,
                given,
                classes,
                d,
                ffi.NULL if weight is None else pointer(weight),
                d,
                made,
            )
        )
        self.layer = ffi.gc(made[0], lib.lmx_spherical_free, classes * d * dtype.itemsize)

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
        b.hidden, b.hidden_stride = pointer(hidden), d
        b.target, b.target_type = pointer(target), INTS[target.dtype]
        b.target_stride = b.targets = target.shape[1]
        b.ignore_index = ignore_index
        if values is not None:
            b.values = ffi.cast("double *", pointer(values))
            b.values_stride = values.shape[1]
        b.loss = ffi.cast("double *", pointer(loss))
        if dhidden is not None:
            b.dhidden, b.dhidden_stride = pointer(dhidden), d
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
                pointer(hidden),
                d,
                pointer(out),
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
                pointer(hidden),
                d,
                k,
                pointer(values),
                k,
                ffi.cast("int64_t *", pointer(classes)),
                k,
            )
        )

    def weight(self, out: Any) -> None:
        check(lib.lmx_spherical_weight(state.ctx, self.layer, pointer(out), out.shape[1]))

    def condition(self) -> float:
        value = ffi.new("double *")
        check(lib.lmx_spherical_condition(self.layer, value))
        return float(value[0])

    def counts(self) -> dict[str, int]:
        """How often the layer has done what."""
        about = ffi.new("lmx_spherical_description *")
        check(lib.lmx_spherical_description_init(about))
        check(lib.lmx_spherical_info(self.layer, about))
        return {name: int(getattr(about, name)) for name in COUNTS}

    def state(self, arrays: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, Any]:
        """The layer's state into arrays, or with the rest `given` out of them; the rest."""
        s = ffi.new("lmx_spherical_state *")
        check(lib.lmx_spherical_state_init(s))
        for name, array in arrays.items():
            setattr(s, name, ffi.cast(ffi.typeof(getattr(s, name)), pointer(array)))
        if given is None:
            check(lib.lmx_spherical_get_state(self.layer, s))
        else:
            s.watched, s.peak = given["watched"], given["peak"]
            s.counts = [given[name] for name in COUNTS]
            check(lib.lmx_spherical_set_state(self.layer, s))
        counts = {name: int(s.counts[i]) for i, name in enumerate(COUNTS)}
        return {"watched": float(s.watched), "peak": float(s.peak), **counts}
