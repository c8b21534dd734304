# SPDX-License-Identifier: Apache-2.0
"""The factored output layer: exact gradient descent on many classes at a cost without them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _losses
from ._arrays import convert
from ._core import errors, registry, scalars, spherical

_F32 = np.dtype(np.float32)
_F64 = np.dtype(np.float64)
_LOSSES = {op["name"]: (code, op) for code, op in enumerate(registry.losses())}
_FORMAT = 1  # of state_dict


def _loss_called(loss: Any) -> tuple[int, dict[str, float]]:
    """Number and parameters, with their defaults, of a loss of the layer."""
    if not isinstance(loss, str) or loss not in spherical.LOSSES:
        known = ", ".join(map(repr, spherical.LOSSES))
        raise ValueError(f"loss: expected one of {known}, got {loss!r}")
    code, op = _LOSSES[spherical.LOSSES[loss]]
    if loss == "mse":  # an option of the function, a parameter of the layer
        return code, {"label_smoothing": 0.0}
    return code, {p.name: p.standard for p in op["described"]}


class SphericalOutput:
    """An output layer of many classes that learns exactly, at a cost that does not depend on them.

    The logits are ``o = W @ h``, W of shape (D, d).  For a loss that depends on them only through
    their sum, the sum of their squares and the logit of the target, one step of gradient descent
    ::

        W <- (1 - lr * weight_decay) * W - lr * dW

    takes O(d**2) operations for an example, whatever D: W is kept as ``V @ U + omega``, of which a
    step changes U (d, d), omega (d,) and the rows of V (D, d) that are targets.  Loss and
    gradients are the mean over the batch.

    Parameters
    ----------
    weight : array_like, shape (D, d)
        The weights to begin with; copied.  float64 makes a float64 layer, all else float32.
    loss : {"z", "spherical", "taylor", "mse"}
        ``z_loss``, ``spherical_softmax_loss``, ``taylor_softmax_loss`` of order 2, or the squared
        distance from the target, summed over the classes (``one_hot_mse_loss``).
    **loss_parameters
        As of those functions: ``a`` and ``b`` for "z", ``eps`` for "spherical",
        ``label_smoothing`` for "mse": a share s from 0 to 1, with which the target of a class
        becomes (1 - s) y + s / D, y being 1 (or its value) at targets and 0 elsewhere.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.
    FloatingPointError
        A weight is not finite.

    See Also
    --------
    z_loss, spherical_softmax_loss, taylor_softmax_loss, one_hot_mse_loss : on logits

    Notes
    -----
    Equal to dense gradient descent in float64 within 1e-10 (3e-10 for "spherical") relative to the
    weights, while steps do not themselves multiply errors: "spherical" does where the logit of a
    target is near 0, by lr * |h|**2 / eps.  A float32 layer stores V in 40 bits a number and
    everything of size d**2 in float64: its weights stay within 5e-7 of those of float64 over
    10,000 steps.

    U is kept well conditioned by itself: its inverse is renewed when it is no longer one, and
    directions that have shrunk or grown too far are moved into V, at O(D * d) each.  A step that
    would make U singular, or nearly so, is made on W itself, at O(D * d**2).

    Methods may be called from several threads; they wait for each other.  The bits of every result
    and of the state do not depend on the instruction set or the number of threads.  Instances can
    be copied and pickled.

    Vincent, de Brebisson and Bouthillier 2015, arXiv:1412.7091; de Brebisson and Vincent 2016,
    arXiv:1604.08859.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> rng = np.random.default_rng(0)
    >>> layer = lm.SphericalOutput(rng.normal(size=(10000, 16)).astype(np.float32), loss="z")
    >>> hidden = rng.normal(size=(8, 16)).astype(np.float32)
    >>> target = rng.integers(10000, size=8)
    >>> before = layer.loss(hidden, target)
    >>> loss, dhidden = layer.step(hidden, target, lr=0.1)
    >>> bool(loss == before), dhidden.shape, bool(layer.loss(hidden, target) < before)
    (True, (8, 16), True)
    """

    __slots__ = ("_code", "_dtype", "_layer", "_lock", "_loss", "_parameters", "_shape")

    _layer: spherical.Spherical

    def __init__(self, weight: Any, *, loss: str = "z", **loss_parameters: Any) -> None:
        self._set_loss(loss, loss_parameters)
        given = convert.array("weight", weight)
        if given.ndim != 2 or given.size == 0:
            raise ValueError(
                f"weight: expected shape (D, d), D and d at least 1, got {given.shape}"
            )
        dtype = _F64 if given.dtype == _F64 else _F32
        with np.errstate(all="ignore"):
            given = np.require(given.astype(dtype, copy=False), requirements=["C", "A"])
        try:
            self._open(dtype, given.shape, given)
        except FloatingPointError:
            raise FloatingPointError(
                "weight: must be finite, and the sum of its squares too"
            ) from None

    def _set_loss(self, loss: Any, given: Mapping[str, Any]) -> None:
        self._code, self._parameters = _loss_called(loss)
        self._loss = loss
        for name, value in given.items():
            if name not in self._parameters:
                known = ", ".join(self._parameters) or "none"
                raise TypeError(
                    f"SphericalOutput: unexpected argument {name!r}; "
                    f"parameters of loss={loss!r}: {known}"
                )
            self._parameters[name] = scalars.in_range(name, value)
        if loss == "taylor" and self._parameters["order"] != 2:
            raise ValueError(f"order: must be 2 for this layer, got {given['order']!r}")

    def _open(self, dtype: Any, shape: tuple[int, int], weight: Any) -> None:
        parameters = [*self._parameters.values(), 0.0, 0.0][:2]
        self._layer = spherical.Spherical(self._code, parameters, dtype, *shape, weight)
        self._shape, self._dtype = shape, dtype
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, int]:
        """(D, d), the shape of the weights."""
        return self._shape

    @property
    def dtype(self) -> Any:
        """float32 or float64."""
        return self._dtype

    @property
    def condition(self) -> float:
        """The 2-norm condition number of U, to three digits or more; at most 256 after a step."""
        with self._lock:
            return self._layer.condition()

    @property
    def counts(self) -> dict[str, int]:
        """How often what was done.

        ``steps``, of them ``dense_steps`` on W itself, ``inversions`` of U, ``directions`` of U
        moved into V, ``refreshes``: all of U moved into V.
        """
        with self._lock:
            return self._layer.counts()

    def __repr__(self) -> str:
        parameters = "".join(f", {n}={v!r}" for n, v in self._parameters.items())
        return (
            f"SphericalOutput(<{self._shape[0]} x {self._shape[1]} {self._dtype}>, "
            f"loss={self._loss!r}{parameters})"
        )

    # ------------------------------------------------------------------- arguments

    def _rows(self, hidden: Any) -> tuple[Any, tuple[int, ...]]:
        """Contiguous rows of inputs, and the shape they came in."""
        given = convert.array("hidden", hidden)
        d = self._shape[1]
        if given.ndim == 0 or given.shape[-1] != d:
            raise ValueError(f"hidden: expected shape (..., {d}), got {given.shape}")
        return np.require(given.reshape(-1, d), requirements=["C", "A"]), given.shape

    def _targets(self, target: Any, lead: tuple[int, ...]) -> Any:
        """Classes as rows of a native integer type."""
        given = _losses._native_integers(_losses._as_labels(target))
        several = self._loss == "mse" and given.ndim > 0 and given.shape[:-1] == lead
        if given.shape != lead and not (several and given.shape[-1] > 0):
            shapes = f"{lead}" if self._loss != "mse" else f"{lead} or {(*lead, 'K')}, K > 0"
            raise ValueError(f"target: expected shape {shapes}, got {given.shape}")
        return given.reshape(-1, 1 if given.shape == lead else given.shape[-1])

    def _values(self, values: Any, target: Any, shape: tuple[int, ...]) -> Any:
        if values is None:
            return None
        if self._loss != "mse":
            raise TypeError(f"values: only loss='mse' takes them, not {self._loss!r}")
        given = convert.reals("values", values)
        if given.shape != shape:
            raise ValueError(f"values: expected the shape of target, {shape}, got {given.shape}")
        wide = np.require(given.astype(np.float64, copy=False), requirements=["C", "A"])
        return wide.reshape(target.shape)

    def _run(
        self,
        hidden: Any,
        target: Any,
        values: Any,
        ignore_index: Any,
        gradient: bool,
        step: tuple[float, float] | None = None,
    ) -> tuple[Any, Any]:
        rows, shape = self._rows(hidden)
        classes = self._targets(target, shape[:-1])
        wide = self._values(values, classes, np.shape(target))
        ignored = scalars.int64("ignore_index", ignore_index)
        loss = np.empty((), np.float64)
        dhidden = np.empty(rows.shape, rows.dtype) if gradient else None
        with self._lock:
            status = self._layer.batch(rows, classes, wide, ignored, loss, dhidden, step)
        if errors.is_label_error(status):
            raise _losses._bad_label(classes, self._shape[0], ignored)
        try:
            errors.check(status)
        except FloatingPointError:
            raise FloatingPointError(
                "step: hidden, values or a result is not finite; the layer is as it was"
            ) from None
        real = np.float64 if rows.dtype == _F64 else np.float32
        with np.errstate(all="ignore"):
            found = real(loss)
        return found, None if dhidden is None else dhidden.reshape(shape)

    # --------------------------------------------------------------------- methods

    def step(
        self,
        hidden: Any,
        target: Any,
        lr: float,
        *,
        weight_decay: float = 0.0,
        values: Any = None,
        ignore_index: int = -100,
    ) -> tuple[Any, Any]:
        """Loss and gradient of a batch, and one step of gradient descent on the weights.

        ``W <- (1 - lr * weight_decay) * W - lr * dW``; dW and dhidden are those of the mean loss at
        the weights before.

        Parameters
        ----------
        hidden : array_like, shape (..., d)
            Any dtype of the library, whatever that of the layer.
        target : array_like of int, shape (...)
            Classes in [0, D).  With loss="mse" also (..., K): K classes of each row, of which those
            that are equal add up and those equal to `ignore_index` are left out.
        lr : float
            The learning rate, 0 or more.
        weight_decay : float
            0 or more.
        values : array_like, the shape of target, optional
            Only with loss="mse": the targets at those classes, in place of 1; elsewhere they are 0.
            Label smoothing comes after.
        ignore_index : int
            Rows with this target (with K of them: with nothing else) do not count: no loss, and
            gradient 0, whatever they hold.

        Returns
        -------
        loss : scalar
            The mean over the rows that count: float32, for float64 input float64.  NaN without
            such a row, and then dW is 0.
        dhidden : numpy.ndarray, the shape and dtype of hidden

        Raises
        ------
        IndexError
            A target is out of range; names the flattened row and the value.
        FloatingPointError
            hidden or a result is not finite.
        TypeError, ValueError
            An argument has the wrong type, shape or range.

        The layer is as it was after any of these.

        Examples
        --------
        >>> import numpy as np
        >>> import lanemax as lm
        >>> layer = lm.SphericalOutput([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], loss="mse")
        >>> loss, dhidden = layer.step([[0.5, -1.0]], [2], lr=0.1)
        >>> float(loss), dhidden
        (3.5, array([[-2., -5.]]))
        >>> layer.weight()
        array([[0.95, 0.1 ],
               [0.1 , 0.8 ],
               [1.15, 0.7 ]])
        """
        rate, decay = scalars.in_range("lr", lr), scalars.in_range("weight_decay", weight_decay)
        if not np.isfinite(rate * decay):
            raise ValueError(
                f"weight_decay: lr * weight_decay must be finite, got {lr!r} * {decay}"
            )
        return self._run(hidden, target, values, ignore_index, True, (rate, decay))

    def loss(
        self, hidden: Any, target: Any, *, values: Any = None, ignore_index: int = -100
    ) -> Any:
        """The mean loss of a batch; arguments, result and errors as in `step`.

        NaN and inf in hidden give NaN or inf.

        Examples
        --------
        >>> import lanemax as lm
        >>> layer = lm.SphericalOutput([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], loss="taylor")
        >>> print(f"{layer.loss([[0.5, -1.0]], [2]):.6f}")
        1.481605
        """
        return self._run(hidden, target, values, ignore_index, False)[0]

    def loss_and_grad(
        self, hidden: Any, target: Any, *, values: Any = None, ignore_index: int = -100
    ) -> tuple[Any, Any]:
        """The mean loss of a batch and its gradient by hidden, without a step.

        Arguments, results and errors as in `step`; NaN and inf in a row of hidden make the loss and
        that row's gradient NaN, or inf.

        Examples
        --------
        >>> import lanemax as lm
        >>> layer = lm.SphericalOutput([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], loss="mse")
        >>> loss, dhidden = layer.loss_and_grad([[0.5, -1.0]], [2])
        >>> float(loss), dhidden
        (3.5, array([[-2., -5.]]))
        """
        return self._run(hidden, target, values, ignore_index, True)

    def logits(self, hidden: Any) -> Any:
        """The logits ``hidden @ W.T``, of shape (..., D) and hidden's dtype: O(D * d) for each row.

        A row that holds NaN or inf has logits that are not finite.

        Examples
        --------
        >>> import lanemax as lm
        >>> lm.SphericalOutput([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).logits([0.5, -1.0])
        array([ 0.5, -1. , -0.5])
        """
        rows, shape = self._rows(hidden)
        out = np.empty((rows.shape[0], self._shape[0]), rows.dtype)
        with self._lock:
            self._layer.logits(rows, out)
        return out.reshape(*shape[:-1], self._shape[0])

    def topk(self, hidden: Any, k: int) -> tuple[Any, Any]:
        """The k largest logits, largest first, and their classes: arrays of shape (..., k).

        Of equal logits the lower class comes first; NaN counts as larger than any number.  The
        classes are int64.

        Raises
        ------
        ValueError
            k is negative or more than there are classes.

        Examples
        --------
        >>> import lanemax as lm
        >>> lm.SphericalOutput([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).topk([0.5, -1.0], 2)
        (array([ 0.5, -0.5]), array([0, 2]))
        """
        rows, shape = self._rows(hidden)
        count = scalars.int64("k", k)
        if not 0 <= count <= self._shape[0]:
            raise ValueError(f"k: expected 0 to {self._shape[0]}, the number of classes, got {k}")
        values = np.empty((rows.shape[0], count), rows.dtype)
        classes = np.empty((rows.shape[0], count), np.int64)
        with self._lock:
            self._layer.topk(rows, values, classes)
        lead = (*shape[:-1], count)
        return values.reshape(lead), classes.reshape(lead)

    def weight(self) -> Any:
        """W, as a new array of shape (D, d) and the layer's dtype.

        Examples
        --------
        >>> import lanemax as lm
        >>> lm.SphericalOutput([[1.0, 2.0]]).weight()
        array([[1., 2.]])
        """
        out = np.empty(self._shape, self._dtype)
        with self._lock:
            self._layer.weight(out)
        return out

    # ----------------------------------------------------------------------- state

    def _arrays(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Shape and dtype of the arrays of a state."""
        rows, d = self._shape
        low = {"v_low": ((rows, d), np.dtype(np.int8))} if self._dtype == _F32 else {}
        square = ((d, d), _F64)
        return {
            "v": ((rows, d), self._dtype),
            **low,
            "u": square,
            "u_it": square,
            "gram": square,
            "sum": ((d,), _F64),
            "omega": ((d,), _F64),
        }

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that the layer knows: one made from it goes on with the same bits.

        Returns
        -------
        dict of str to numpy.ndarray, number or str
            ``numpy.savez(file, **layer.state_dict())`` saves it, and what ``numpy.load`` returns is
            taken by `from_state_dict`.  With the arrays ``v`` (float32: and ``v_low``, in units of
            2**-8 of its last place), ``u`` and ``omega`` W is ``v @ u + omega``; ``u_it``
            is the inverse of u, transposed, ``sum`` that of the rows of W, ``gram`` the Gram matrix
            of W without the mean of its rows.

        Examples
        --------
        >>> import lanemax as lm
        >>> layer = lm.SphericalOutput([[1.0, 2.0], [3.0, 4.0]])
        >>> again = lm.SphericalOutput.from_state_dict(layer.state_dict())
        >>> bool((again.weight() == layer.weight()).all())
        True
        """
        arrays = {name: np.empty(shape, dtype) for name, (shape, dtype) in self._arrays().items()}
        with self._lock:
            rest = self._layer.state(arrays)
        return {"format": _FORMAT, "loss": self._loss, **self._parameters, **arrays, **rest}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> SphericalOutput:
        """The layer that `state_dict` was called on, as it was then.

        Raises
        ------
        KeyError
            Something is missing.
        TypeError, ValueError
            Something has the wrong dtype, shape or value.
        FloatingPointError
            Something is not finite.
        """
        if int(state["format"]) != _FORMAT:
            raise ValueError(f"format: expected {_FORMAT}, got {state['format']}")
        layer = cls.__new__(cls)
        loss = str(state["loss"])
        layer._set_loss(loss, {name: state[name] for name in _loss_called(loss)[1]})
        v = np.asarray(state["v"])
        if v.dtype not in (_F32, _F64):
            raise TypeError(f"v: expected float32 or float64, got dtype {v.dtype}")
        if v.ndim != 2 or v.size == 0:
            raise ValueError(f"v: expected shape (D, d), D and d at least 1, got {v.shape}")
        layer._open(v.dtype.newbyteorder("="), v.shape, None)
        arrays = {}
        for name, (shape, dtype) in layer._arrays().items():
            given = np.asarray(state[name])
            if given.dtype != dtype:
                raise TypeError(f"{name}: expected dtype {dtype}, got {given.dtype}")
            if given.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {given.shape}")
            arrays[name] = np.require(given, dtype, requirements=["C", "A"])
        rest: dict[str, Any] = {name: float(state[name]) for name in ("watched", "peak")}
        rest |= {name: int(state[name]) for name in spherical.COUNTS}
        layer._layer.state(arrays, rest)
        return layer

    def __reduce__(self) -> Any:
        return type(self).from_state_dict, (self.state_dict(),)
