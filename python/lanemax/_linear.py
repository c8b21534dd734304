# SPDX-License-Identifier: Apache-2.0
"""Large output layers whose logits never exist: cross-entropy, logsumexp, the largest logits."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from . import _losses
from ._arrays import convert, layout
from ._core import calls, errors, linear, registry, scalars


def _matrix(x: Any) -> Any:
    """The rows of x along its last axis, each contiguous and aligned."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    stride = rows.strides[0]
    fits = rows.flags.aligned and (rows.shape[1] < 2 or rows.strides[1] == x.itemsize)
    apart = rows.shape[0] < 2 or (stride >= 0 and stride % x.itemsize == 0)
    return rows if fits and apart else np.require(rows.copy(), requirements=["C", "A"])


class _Layer:
    """hidden and weight in the dtype that they are computed in, and the bias in its own."""

    def __init__(self, hidden: Any, weight: Any, bias: Any) -> None:
        self.hidden = convert.array("hidden", hidden)
        self.weight = convert.array("weight", weight)
        self.bias = None if bias is None else convert.array("bias", bias)
        if self.hidden.ndim == 0:
            raise ValueError("hidden: expected an axis of features, got a 0-d array")
        if self.weight.ndim != 2:
            raise ValueError(f"weight: expected shape (V, d), got {self.weight.shape}")
        depth = self.hidden.shape[-1]
        if self.weight.shape[1] != depth:
            raise ValueError(
                f"weight: expected shape (V, {depth}), for hidden has shape {self.hidden.shape}, "
                f"got {self.weight.shape}"
            )
        self.classes = self.weight.shape[0]
        self.lead = self.hidden.shape[:-1]
        if self.bias is not None and self.bias.shape != (self.classes,):
            raise ValueError(
                f"bias: expected shape ({self.classes},), one for each row of weight, "
                f"got {self.bias.shape}"
            )
        given = {self.hidden.dtype, self.weight.dtype}
        if len(given) == 1:
            (self.dtype,) = given
        else:
            wide = calls.F64 in given
            self.dtype = np.dtype(np.float64 if wide else np.float32)
        self.real = np.dtype(np.float64 if self.dtype == np.float64 else np.float32)
        self.rows = _matrix(self.hidden.astype(self.dtype, copy=False))
        self.columns = _matrix(self.weight.astype(self.dtype, copy=False))
        self.added = None if self.bias is None else np.require(self.bias, requirements=["C", "A"])

    def labels(self, target: Any) -> Any:
        """Classes of the rows; that they are in range is checked by the library."""
        found = _losses._integers(_losses._as_labels(target), self.lead, "hidden")
        self.need_classes()
        return found

    def need_classes(self) -> None:
        if self.rows.shape[0] and self.classes == 0:
            raise ValueError("weight: there are no classes: it has no rows")


def _row_weights(row_weight: Any, lead: tuple[int, ...]) -> Any:
    """Weights of the rows, one after the other, as float64; None for 1."""
    if row_weight is None:
        return None
    given = convert.array("row_weight", row_weight)
    if given.shape != lead:
        raise ValueError(
            f"row_weight: expected shape {lead}, that of hidden without the last axis, "
            f"got {given.shape}"
        )
    wide = np.require(given.astype(np.float64, copy=False), requirements=["C", "A"]).reshape(-1)
    bad = ~((wide >= 0) & np.isfinite(wide))
    if bad.any():
        raise ValueError(
            f"row_weight: must be finite and 0 or more, got {float(wide[bad.argmax()])} "
            f"in row {int(bad.argmax())}"
        )
    return wide


class _Gradient:
    """An array that takes a gradient, and the matrix that the library writes for it."""

    def __init__(self, given: Any, like: Any, dtype: Any, accumulate: bool) -> None:
        new = np.zeros if accumulate else np.empty
        self.result = new(like.shape, like.dtype) if given is None else given
        same = self.result.dtype == dtype
        # what is not added to is not converted either: it may hold anything
        kept = self.result.astype(dtype, copy=False) if accumulate or same else None
        self.matrix = _matrix(np.empty(like.shape, dtype) if kept is None else kept)

    def detach(self) -> None:
        """The matrix has memory of its own, for layouts that the library refuses."""
        self.matrix = self.matrix.copy()

    def store(self) -> None:
        if not np.may_share_memory(self.matrix, self.result):
            with np.errstate(all="ignore"):  # beyond the range of a dtype is inf
                self.result[...] = self.matrix.reshape(self.result.shape)


def _overlap(a: Any, b: Any) -> bool:
    """Whether two arrays have an element in common, or as good as, where that is hard to tell."""
    return bool(np.may_share_memory(a, b, max_work=10_000))  # type: ignore[arg-type, unused-ignore]


def _gradient_arrays(grad_out: Any, layer: _Layer, others: dict[str, Any]) -> list[Any]:
    """The arrays of `grad_out` for dhidden, dweight and dbias, None for nothing; checked."""
    operands = {"hidden": layer.hidden, "weight": layer.weight, "bias": layer.bias}
    if grad_out is None:
        return [None] * 3
    if not isinstance(grad_out, (tuple, list)) or len(grad_out) not in (2, 3):
        got = f"{len(grad_out)} of them" if isinstance(grad_out, (tuple, list)) else "one object"
        raise TypeError(
            "grad_out: expected a tuple of arrays or None, (dhidden, dweight) or "
            f"(dhidden, dweight, dbias), got {got}, {type(grad_out).__name__}"
        )
    found: list[Any] = [*grad_out, None][:3]
    if layer.bias is None and found[2] is not None:
        raise ValueError("grad_out[2]: expected None, for there is no bias")
    inputs = {name: x for name, x in {**operands, **others}.items() if x is not None}
    for i, operand in enumerate(operands.values()):
        if found[i] is None:
            continue
        name = f"grad_out[{i}]"
        found[i] = layout.output(found[i], operand.shape, operand.dtype, name)
        before = {f"grad_out[{k}]": found[k] for k in range(i) if found[k] is not None}
        for other, x in {**inputs, **before}.items():
            if _overlap(found[i], x):
                raise ValueError(f"{name}: shares memory with {other}")
    return found


def _option_values(options: dict[str, Any]) -> dict[str, Any]:
    """Fields of `lmx_linear_options`."""
    values: dict[str, Any] = {
        "reduction": _losses._reduction_code(options.pop("reduction")),
        "ignore_index": _losses._ignored_index(options.pop("ignore_index")),
    }
    for name, value in options.items():
        if value is not None:
            values[name] = scalars.in_range(name, value)
        elif name not in ("softcap", "filter_eps"):
            raise TypeError(f"{name}: expected a number, got None")
    return values


def _run(
    layer: _Layer,
    labels: Any,
    values: dict[str, Any],
    grads: list[_Gradient | None],
    row_weight: Any,
    dropped: Any,
) -> Any:
    """The loss, with the gradients stored."""
    each = values["reduction"] == registry.REDUCTIONS["none"]
    loss = np.empty(layer.lead if each else (), layer.real)

    def call() -> int:
        matrices = [None if g is None else g.matrix for g in grads]
        return linear.cross_entropy(
            layer.rows, layer.columns, labels, layer.added, values, loss, matrices, row_weight,
            dropped,
        )  # fmt: skip

    wanted = [g for g in grads if g is not None]
    status = call()
    if wanted and errors.needs_own_output(status):
        for g in wanted:
            g.detach()
        status = call()
    if errors.is_label_error(status):
        raise _losses._bad_label(labels, layer.classes, values["ignore_index"])
    errors.check(status)
    for g in wanted:
        g.store()
    return loss[()]


def linear_cross_entropy(
    hidden: Any,
    weight: Any,
    target: Any,
    *,
    bias: Any = None,
    softcap: Any = None,
    logz_penalty: Any = 0.0,
    label_smoothing: Any = 0.0,
    ignore_index: Any = -100,
    reduction: Any = "mean",
    row_weight: Any = None,
) -> Any:
    r"""Cross-entropy of ``hidden @ weight.T + bias``, without those logits ever in memory.

    .. math::
        \log \sum_k e^{o_k} - o_t, \qquad o = W h + b

    Parameters
    ----------
    hidden : array_like, shape (..., d)
        Hidden states; float16, bfloat16, float32 or float64.
    weight : array_like, shape (V, d)
        The output layer; with another dtype than hidden's both are computed in float32, or in
        float64 if either has it.
    target : array_like of int, shape (...)
        Class indices in [0, V).
    bias : array_like, shape (V,), optional
        Added to the logits, in the type that they are computed in; of any dtype of the library,
        whatever that of hidden.
    softcap : float, optional
        The logits become softcap * tanh(logits / softcap).  A class that a bias of -inf masks then
        has the logit -softcap and takes part.
    logz_penalty : float
        0 or more: adds logz_penalty * log(sum exp(o))**2 to each row.
    label_smoothing : float
        Share, from 0 to 1, of the target's mass that goes to all classes alike.
    ignore_index : int
        Rows with this target have loss 0 and gradient 0, whatever they hold.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of rows that are not ignored, with `row_weight` by the sum of
        their weights; without such a row it is NaN.
    row_weight : array_like, shape (...), optional
        Finite numbers of 0 or more by which the rows' losses are multiplied; 0 times a loss of inf
        or NaN is NaN.

    Returns
    -------
    loss : scalar, or numpy.ndarray of shape (...)
        float32; float64 for float64 hidden or weight.

    Raises
    ------
    IndexError
        A target is out of range; names the row and the value.
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Memory beside the operands: a few MiB for each thread, whatever V.  Logits are summed in
    float32 (float64), as a chain of FMAs over blocks of at most 256 features; from those the loss
    is within 3 ULP, also for confident rows.  A row with NaN or +inf logits, or only -inf, is NaN.
    Wijmans and others 2024 (Cut Cross-Entropy), arXiv:2411.09009.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> rng = np.random.default_rng(0)
    >>> h, w = rng.normal(size=(4, 8)), rng.normal(size=(1000, 8))
    >>> full = lm.cross_entropy(h @ w.T, [3, 1, 4, 1])
    >>> bool(abs(lm.linear_cross_entropy(h, w, [3, 1, 4, 1]) - full) < 1e-12 * full)
    True
    """
    layer = _Layer(hidden, weight, bias)
    values = _option_values({
        "softcap": softcap,
        "logz_penalty": logz_penalty,
        "label_smoothing": label_smoothing,
        "ignore_index": ignore_index,
        "reduction": reduction,
    })  # fmt: skip
    labels = layer.labels(target)
    return _run(layer, labels, values, [], _row_weights(row_weight, layer.lead), None)


def linear_cross_entropy_and_grad(
    hidden: Any,
    weight: Any,
    target: Any,
    *,
    bias: Any = None,
    softcap: Any = None,
    logz_penalty: Any = 0.0,
    label_smoothing: Any = 0.0,
    ignore_index: Any = -100,
    reduction: Any = "mean",
    filter_eps: Any = None,
    return_dropped: bool = False,
    grad_out: Any = None,
    accumulate: bool = False,
    row_weight: Any = None,
) -> Any:
    r"""`linear_cross_entropy` with its gradients, without logits or their gradient in memory.

    With :math:`g = p - e_t` for the probabilities p of a row, scaled as `reduction` says, they are

    .. math::
        dh = W^T g, \qquad dW = \sum_{rows} g h^T, \qquad db = \sum_{rows} g

    Parameters
    ----------
    hidden, weight, target, bias, softcap, logz_penalty, label_smoothing, ignore_index
        As for `linear_cross_entropy`.
    reduction : {"mean", "sum", "none"}
        Of the losses; with "none" the gradients are those of their sum.
    filter_eps : float, optional
        Tiles of 32 rows (ignored ones not counted) by 256 classes in which no probability is as
        large as this, and no target, are left out of the gradients.  None, and 0: nothing is.
    return_dropped : bool
        Whether to return the probability that each row lost to `filter_eps`.
    grad_out : tuple of numpy.ndarray or None, optional
        (dhidden, dweight) or (dhidden, dweight, dbias), which take the gradients and are returned:
        of the shape and dtype of their operands, sharing no memory with them or each other.  For
        None in a place a new array is made.
    accumulate : bool
        Whether to add the gradients to what the arrays of `grad_out` hold: one addition in float32
        (float64), rounded once to the array's dtype.  The logits cannot wait in the memory of
        dweight then and are all computed twice.
    row_weight : array_like, shape (...), optional
        As for `linear_cross_entropy`; multiplies the gradients of the rows too.

    Returns
    -------
    loss : scalar, or numpy.ndarray of shape (...)
        float32; float64 for float64 hidden or weight; `filter_eps` does not change it.
    dhidden, dweight, dbias : numpy.ndarray
        Shape and dtype of their operands, those of `grad_out` where given; dbias is None without
        bias.
    dropped : numpy.ndarray of float64, shape (...)
        Only with `return_dropped`.  An entry of a gradient is off by no more than what these
        probabilities would have contributed to it.

    Raises
    ------
    IndexError, TypeError, ValueError
        As for `linear_cross_entropy`.

    Notes
    -----
    Sums are taken in float32 (float64) in a fixed order: the same bits for any number of threads
    and on every instruction set.  The logits of the first d rows (16-bit operands: d / 2) wait for
    the second pass in the memory of dweight; those of more rows are computed twice.
    Wijmans and others 2024 (Cut Cross-Entropy), arXiv:2411.09009.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> rng = np.random.default_rng(0)
    >>> h, w = rng.normal(size=(4, 8)), rng.normal(size=(1000, 8))
    >>> loss, dh, dw, db = lm.linear_cross_entropy_and_grad(h, w, [3, 1, 4, 1])
    >>> dh.shape, dw.shape, db is None
    ((4, 8), (1000, 8), True)

    Gradients of two batches, added up in the same memory:

    >>> for batch in (h[:2], [3, 1]), (h[2:], [4, 1]):
    ...     found = lm.linear_cross_entropy_and_grad(
    ...         batch[0], w, batch[1], reduction="sum", grad_out=(None, dw), accumulate=True)
    >>> found[2] is dw
    True
    """
    layer = _Layer(hidden, weight, bias)
    values = _option_values({
        "softcap": softcap,
        "logz_penalty": logz_penalty,
        "label_smoothing": label_smoothing,
        "filter_eps": filter_eps,
        "ignore_index": ignore_index,
        "reduction": reduction,
    })  # fmt: skip
    labels = layer.labels(target)
    weights = _row_weights(row_weight, layer.lead)
    if accumulate and grad_out is None:
        raise ValueError("accumulate: needs grad_out, the arrays to add to, got None")
    values["accumulate"] = bool(accumulate)
    given = _gradient_arrays(grad_out, layer, {"target": labels, "row_weight": weights})
    grads = [
        None if like is None else _Gradient(array, like, dtype, bool(accumulate))
        for array, like, dtype in (
            (given[0], layer.hidden, layer.dtype),
            (given[1], layer.weight, layer.dtype),
            (given[2], layer.bias, None if layer.bias is None else layer.bias.dtype),
        )
    ]
    dropped = np.zeros(layer.lead) if return_dropped else None
    loss = _run(layer, labels, values, grads, weights, dropped)
    found = [None if g is None else g.result for g in grads]
    return (loss, *found, dropped) if return_dropped else (loss, *found)


def linear_logsumexp(hidden: Any, weight: Any, *, bias: Any = None) -> Any:
    r"""Logsumexp of ``hidden @ weight.T + bias``, without those logits ever in memory.

    .. math::
        \log \sum_k e^{o_k}, \qquad o = W h + b

    Parameters
    ----------
    hidden : array_like, shape (..., d)
        Hidden states; float16, bfloat16, float32 or float64.
    weight : array_like, shape (V, d)
        The output layer, as for `linear_cross_entropy`.
    bias : array_like, shape (V,), optional
        Added to the logits, in the type that they are computed in.

    Returns
    -------
    numpy.ndarray of shape (...), or scalar
        float32; float64 for float64 operands.  -inf without classes or for -inf logits alone, +inf
        for a +inf logit, NaN for NaN; within 1 ULP or 2.5e-7 of that of the computed logits.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or shape.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> float(lm.linear_logsumexp(np.zeros(3), np.ones((1000, 3))))
    6.907755278982137
    """
    layer = _Layer(hidden, weight, bias)
    out = np.empty(layer.lead, layer.real)
    linear.logsumexp(layer.rows, layer.columns, layer.added, out)
    return out[()]


def linear_topk(hidden: Any, weight: Any, k: Any, *, bias: Any = None) -> tuple[Any, Any]:
    """The k largest of ``hidden @ weight.T + bias`` and their classes, without the others.

    Parameters
    ----------
    hidden : array_like, shape (..., d)
        Hidden states; float16, bfloat16, float32 or float64.
    weight : array_like, shape (V, d)
        The output layer, as for `linear_cross_entropy`.
    k : int
        How many, from 0 to V.
    bias : array_like, shape (V,), optional
        Added to the logits, in the type that they are computed in.

    Returns
    -------
    values : numpy.ndarray, shape (..., k)
        In falling order, of hidden's dtype; NaN counts as the largest.
    indices : numpy.ndarray of int64, shape (..., k)
        Their classes; of equal logits the lowest class comes first.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Probabilities of the k: ``np.exp(values - lm.linear_logsumexp(...)[..., None])``; among
    themselves: ``lm.softmax(values)``.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.linear_topk(np.array([1.0, 0.5]), np.eye(2), 1)
    (array([1.]), array([0]))
    """
    layer = _Layer(hidden, weight, bias)
    if isinstance(k, (bool, np.bool_)):
        raise TypeError("k: expected an integer, got a bool")
    try:
        count = operator.index(k)
    except TypeError:
        raise TypeError(f"k: expected an integer, got {type(k).__name__}") from None
    if not 0 <= count <= layer.classes:
        raise ValueError(f"k: must be from 0 to the number of classes, {layer.classes}, got {k!r}")
    values = np.empty((*layer.lead, count), layer.dtype)
    indices = np.empty(values.shape, np.int64)
    linear.topk(layer.rows, layer.columns, count, layer.added, values, indices)
    return values.astype(layer.hidden.dtype, copy=False), indices
