# SPDX-License-Identifier: Apache-2.0
"""Classification losses and their gradients: two functions for each loss of the registry."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from . import _call, _check, _registry

_IGNORED = -100  # the default, by identity

#: options that are numbers, in the order of signatures
_NUMBERS = ("label_smoothing", "logz_penalty", "softcap", "temperature")


def _as_labels(target: Any) -> Any:
    """An array of targets; an empty list, whose dtype would be float, is one of integers."""
    _check._refuse_masked("target", target, "plain targets")
    labels: Any = np.asarray(target)
    if labels.size == 0 and isinstance(target, (list, tuple)):
        labels = labels.astype(np.int64)
    return labels


def _native_integers(target: Any) -> Any:
    """Class indices as a contiguous array of a native integer type."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target: expected integers, got dtype {target.dtype}")
    native = target.astype(target.dtype.newbyteorder("="), copy=False)
    return np.require(native, requirements=["C", "A"])


def _integers(target: Any, shape: tuple[int, ...], of: str) -> Any:
    """Class indices of the rows, one after the other."""
    native = _native_integers(target)
    if native.shape != shape:
        raise ValueError(
            f"target: expected shape {shape}, that of {of} without the last axis, "
            f"got {native.shape}"
        )
    return native.reshape(-1)


def _reduction_code(reduction: Any) -> int:
    if not isinstance(reduction, str) or reduction not in _call.REDUCTIONS:
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
    return _call.REDUCTIONS[reduction]


def _ignored_index(ignore_index: Any) -> int:
    return _check.int64("ignore_index", ignore_index)


def _weights(weight: Any, classes: int) -> Any:
    if weight is None:
        return None
    _check._refuse_masked("weight", weight, "plain numbers")
    array = np.asarray(weight)
    if array.dtype.kind not in "fiu" and _check.dtype_code(array.dtype) is None:
        raise TypeError(f"weight: expected real numbers, got dtype {array.dtype}")
    if array.shape != (classes,):
        raise ValueError(f"weight: expected shape ({classes},), one per class, got {array.shape}")
    return np.require(array.astype(np.float64, copy=False), requirements=["C", "A"])


def _bad_label(target: Any, classes: int, ignore_index: int) -> IndexError:
    """What to say of the first target, or of several in a row, that is out of range."""
    bad = (target != ignore_index) & ((target < 0) | (target >= classes))
    first = tuple(int(i[0]) for i in np.nonzero(bad))
    return IndexError(
        f"target: row {first[0]} holds {int(target[first])}; expected 0 to {classes - 1} "
        f"or ignore_index ({ignore_index})"
    )


def _same_kind(name: str, x: Any, logits: Any) -> Any:
    if x.dtype != logits.dtype:
        raise TypeError(f"{name}: expected the dtype of logits, {logits.dtype}, got {x.dtype}")
    if x.shape != logits.shape:
        raise ValueError(f"{name}: expected the shape of logits, {logits.shape}, got {x.shape}")
    return x


def _gradients_given(grad_out: Any, count: int, shape: tuple[int, ...], dtype: Any) -> list[Any]:
    """What `grad_out` offers for each gradient, None for nothing."""
    if grad_out is None:
        return [None] * count
    if count == 1:
        return [_check.output(grad_out, shape, dtype, "grad_out")]
    if not isinstance(grad_out, (tuple, list)) or len(grad_out) != count:
        raise TypeError(f"grad_out: expected {count} arrays, got {type(grad_out).__name__}")
    arrays = [
        None if g is None else _check.output(g, shape, dtype, f"grad_out[{i}]")
        for i, g in enumerate(grad_out)
    ]
    if all(a is not None for a in arrays) and np.may_share_memory(arrays[0], arrays[1]):
        raise ValueError("grad_out: the two arrays share memory")
    return arrays


class _Loss:
    """What the two functions of a loss share."""

    def __init__(self, code: int, op: dict[str, Any]) -> None:
        self.code = code
        self.name: str = op["name"]
        self.formula: str = op["formula"]
        self.takes: frozenset[str] = op["takes"]
        self.parameters = {p.name: p.default for p in op["described"]}
        self.options = {n: _registry.OPTIONS[n].default for n in _NUMBERS if n in self.takes}

    def run(
        self,
        logits: Any,
        target: Any,
        gradient: bool,
        given: dict[str, Any],
        weight: Any,
        ignore_index: Any,
        reduction: Any,
        out: Any,
        grad_out: Any,
        adversarial: Any = None,
        settings: dict[str, Any] | None = None,
    ) -> Any:
        """The loss, or (loss, gradient, ...); with adversarial logits there are two gradients."""
        if not given and weight is None and ignore_index is _IGNORED and out is None:
            found = _call.fast_loss(self.code, logits, target, reduction, gradient, grad_out)
            if found is not None:
                return found
        for name in given:
            if name not in self.parameters and name not in self.options:
                known = ", ".join([*self.parameters, *self.options]) or "none"
                raise TypeError(
                    f"{self.name}: unexpected argument {name!r}; its parameters: {known}"
                )
        logits = _check.array("logits", logits)
        if logits.ndim == 0:
            raise ValueError("logits: expected an axis of classes, got a 0-d array")
        shape, dtype = logits.shape, logits.dtype
        classes, lead = shape[-1], shape[:-1]
        real = np.dtype(np.float64 if dtype == np.float64 else np.float32)

        values: dict[str, Any] = dict(settings or {})
        values["reduction"] = _reduction_code(reduction)
        values["ignore_index"] = ignored = _ignored_index(ignore_index)
        values["parameter"] = [
            _check.in_range(name, given.get(name, default))
            for name, default in self.parameters.items()
        ]
        for name in ("label_smoothing", "logz_penalty", "softcap"):
            if given.get(name) is not None:
                values[name] = _check.in_range(name, given[name])
            elif name in given and name != "softcap":
                raise TypeError(f"{name}: expected a number, got None")

        labels = _as_labels(target)
        soft: Any = None
        if "probabilities" in self.takes and (
            labels.dtype.kind == "f" or _check.dtype_code(labels.dtype) is not None
        ):
            soft = _check.array("target", labels)
            if soft.shape != shape:
                raise ValueError(
                    f"target: probabilities need the shape of the logits, {shape}, got {soft.shape}"
                )
            labels = None
        else:
            labels = _integers(labels, lead, "the logits")
        weights = _weights(weight, classes)
        rates = _check.temperatures(given.get("temperature", 1.0), shape, (logits.ndim - 1,))
        if rates is not None:
            rates = np.ascontiguousarray(np.broadcast_to(rates[..., 0], lead)).reshape(-1)

        inputs = [logits]
        if adversarial is not None:
            inputs.append(
                _same_kind(
                    "adversarial_logits", _check.array("adversarial_logits", adversarial), logits
                )
            )
        loss_shape = lead if reduction == "none" else ()
        if out is not None:
            out = _check.output(out, loss_shape, real)
        given_grads = _gradients_given(grad_out, len(inputs), shape, dtype)
        for grad in given_grads:
            if out is not None and grad is not None and np.may_share_memory(out, grad):
                raise ValueError("grad_out: shares memory with out")
        if math.prod(lead) and classes == 0:
            raise ValueError("logits: there are no classes: the last axis is empty")

        loss = np.empty(loss_shape, real)
        grads: list[Any] = []
        if gradient:
            grads = [np.empty(shape, dtype) if g is None else g for g in given_grads]
            if any(
                np.may_share_memory(g, a) for g in grads for a in (weights, rates) if a is not None
            ):
                weights = None if weights is None else weights.copy()
                rates = None if rates is None else rates.copy()
        status = self._call(inputs, labels, soft, weights, rates, values, loss, grads)
        if _call.needs_own_output(status):
            # as if nothing were shared: into memory of its own first
            fresh = [np.empty(shape, dtype) for _ in grads]
            status = self._call(inputs, labels, soft, weights, rates, values, loss, fresh)
            if not status:
                for grad, values_of in zip(grads, fresh, strict=True):
                    grad[...] = values_of
        if _call.is_label_error(status):
            raise _bad_label(labels, classes, ignored)
        _call.check(status)
        if out is not None:
            out[...] = loss
            loss = out
        else:
            loss = loss[()]
        return (loss, *grads) if gradient else loss

    def _call(
        self,
        inputs: list[Any],
        labels: Any,
        soft: Any,
        weights: Any,
        rates: Any,
        values: dict[str, Any],
        loss: Any,
        grads: list[Any],
    ) -> int:
        logits = inputs[0]
        arrays = inputs if soft is None else [*inputs, soft]
        layout = _check.Layout(logits.shape, (logits.ndim - 1,), [*arrays, *grads[1:]],
                               grads[0] if grads else None)  # fmt: skip
        results: list[Any] = []
        strides: list[Any] = []
        for grad in grads:
            if layout.copied:
                results.append(np.empty(layout.shape[:2], grad.dtype))
                strides.append((layout.shape[1], 1, 0))
            else:
                results.append(grad)
                strides.append(layout.input(grad)[1])
        status = _call.loss(
            self.code,
            layout.shape,
            [layout.input(a) for a in inputs],
            labels,
            None if soft is None else layout.input(soft),
            weights,
            rates,
            values,
            loss,
            list(zip(results, strides, strict=True)),
        )
        if not status and layout.copied:
            for grad, result in zip(grads, results, strict=True):
                grad[...] = result.reshape(grad.shape)
        return status


_DOC = """{summary}

.. math-like formula, of the logits o and the target t of a row::

    {formula}

Parameters
----------
logits : array_like, shape (..., D)
    Rows of D classes; float16, bfloat16, float32 and float64 are computed as they are, bool and
    integers become ``np.result_type(dtype, np.float32)``.
target : array_like of int, shape (...)
    Class indices in [0, D).{probabilities}
{parameters}weight : array_like, shape (D,), optional
    Weights of the classes.
ignore_index : int
    Rows with this target have loss 0 and gradient 0, whatever they hold.
reduction : {{"mean", "sum", "none"}}
    "mean" divides by the sum of the weights of the rows that are not ignored; without such a row
    it is NaN.  "none" gives one loss for each row{each}.
out : numpy.ndarray, optional
    Takes the loss.{grad_out}

Returns
-------
loss : scalar, or numpy.ndarray of shape (...)
    float32; float64 for float64 logits.{grad}

Raises
------
IndexError
    A target is out of range; names the row and the value.
TypeError, ValueError
    An argument has the wrong type, shape or range.  Nothing has been written.

Notes
-----
{notes}

Examples
--------
>>> import numpy as np
>>> import lanemax as lm
>>> logits = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
>>> {example}
"""

_PARAMETERS = {
    "a": "Sharpness, positive.",
    "b": "Location: the target's standardised logit should exceed it.",
    "eps": "Added to every square, 0 or more.",
    "order": "Of the polynomial: even, from 2 to 32.",
    "tau": "0 or more: 0 sum of exponentials, 1 cross-entropy, 2 `mae_loss`.",
    "q": "From 0 (cross-entropy) to 1 (`mae_loss`).",
    "label_smoothing": "Share, from 0 to 1, of the target's mass that goes to all classes alike.",
    "logz_penalty": "0 or more: adds logz_penalty * log(sum exp(o))**2 to each row, unweighted.",
    "softcap": "The logits become softcap * tanh(logits / softcap); None: they do not.",
    "temperature": "A number or an array of shape (..., 1), > 0; divides the logits next.",
}

#: summary and notes
_ABOUT = {
    "cross_entropy": (
        "Cross-entropy of softmax.",
        """
At most 3 ULP, also for confident rows; the target's gradient, minus 1 - p, is within 4 ULP.
A row with NaN or +inf, or only -inf, is NaN; a masked (-inf) target has loss +inf.
""",
    ),
    "z_loss": (
        "Z-loss: a loss of the standardised logits; not the log(Z)**2 penalty (`logz_penalty`).",
        """
Invariant to shift and positive scale of a row; for ranking, not a likelihood.  A row of variance 0
(at most 2**-40 of its mean square) has z = 0 and gradient 0; NaN and inf give NaN.
At most 4 ULP.  de Brebisson and Vincent 2016, arXiv:1604.08859.
""",
    ),
    "spherical_softmax_loss": (
        "Negative log of the spherical softmax.",
        """
The sign of a logit does not matter.  eps = 0 and a target logit of 0: loss +inf, gradient 0 there.
NaN and inf give NaN.  At most 4 ULP.
Vincent, de Brebisson and Bouthillier 2015, arXiv:1412.7091.
""",
    ),
    "taylor_softmax_loss": (
        "Negative log of the Taylor softmax.",
        """
NaN and inf give NaN.  At most 4 ULP.
Vincent, de Brebisson and Bouthillier 2015, arXiv:1412.7091; orders above 2: Banerjee and others
2020, arXiv:2011.11538.
""",
    ),
    "one_hot_mse_loss": (
        "Squared distance of the logits from the one-hot target, summed over the classes.",
        """
At most 4 ULP.  An infinite logit gives +inf.
Vincent, de Brebisson and Bouthillier 2015, arXiv:1412.7091.
""",
    ),
    "bouchard_loss": (
        "Bouchard's quadratic upper bound of cross-entropy, at its best parameter.",
        """
Never below `cross_entropy`.  NaN and inf give NaN.  At most 4 ULP.  Bouchard 2007.
""",
    ),
    "stablemax_cross_entropy": (
        "Negative log of StableMax.",
        """
Not invariant to a shift of the logits.  -inf is a masked logit; NaN and +inf give NaN.
At most 4 ULP.  Prieto and others 2025, arXiv:2501.04697.
""",
    ),
    "comp_sum_loss": (
        "Comp-sum loss, from the sum of exponentials over cross-entropy to the absolute error.",
        """
At most 4 ULP.  Special values as for `cross_entropy`.
Mao, Mohri and Zhong 2023, arXiv:2304.07288.
""",
    ),
    "generalized_cross_entropy": (
        "Generalised cross-entropy.",
        """
At most 4 ULP.  Special values as for `cross_entropy`.
Zhang and Sabuncu 2018, arXiv:1805.07836.
""",
    ),
    "mae_loss": (
        "One minus the target's softmax: half the absolute distance from the one-hot target.",
        """
At most 4 ULP.  Special values as for `cross_entropy`.  Comp-sum loss with tau = 2.
""",
    ),
}


def _document(loss: _Loss, gradient: bool) -> str:
    summary, notes = _ABOUT.get(loss.name, (f"The loss {loss.name}.", "At most 4 ULP."))
    name = loss.name
    if gradient:
        example = (
            f"loss, grad = lm.{name}_and_grad(logits, [0, 1])\n"
            ">>> bool(loss > 0), grad.shape\n(True, (2, 3))"
        )
        summary = f"{summary[:-1]}, with its gradient."
    else:
        example = f'bool((lm.{name}(logits, [0, 1], reduction="none") > 0).all())\nTrue'
    return _DOC.format(
        summary=summary,
        formula=loss.formula,
        probabilities=(
            "\n    Or probabilities of any float dtype, shape (..., D)."
            if "probabilities" in loss.takes
            else ""
        ),
        parameters="".join(
            f"{p} : float\n    {_PARAMETERS.get(p, 'See the formula.')}\n"
            for p in (*loss.parameters, *loss.options)
        ),
        each="; the gradient is that of their sum" if gradient else "",
        grad_out=(
            "\ngrad_out : numpy.ndarray, optional\n    Takes the gradient; may be logits itself."
            if gradient
            else ""
        ),
        grad=(
            "\ngrad : numpy.ndarray\n    With respect to logits: shape and dtype of them."
            if gradient
            else ""
        ),
        notes=notes.strip(),
        example=example,
    )


def _signature(loss: _Loss, gradient: bool) -> inspect.Signature:
    kinds = inspect.Parameter
    given = [kinds(n, kinds.POSITIONAL_OR_KEYWORD) for n in ("logits", "target")]
    defaults = {
        **loss.parameters,
        **loss.options,
        "weight": None,
        "ignore_index": -100,
        "reduction": "mean",
        "out": None,
    }
    if gradient:
        defaults["grad_out"] = None
    given += [kinds(n, kinds.KEYWORD_ONLY, default=v) for n, v in defaults.items()]
    return inspect.Signature(given)


def _functions(loss: _Loss) -> dict[str, Any]:
    def value(
        logits: Any,
        target: Any,
        *,
        weight: Any = None,
        ignore_index: Any = _IGNORED,
        reduction: Any = "mean",
        out: Any = None,
        **parameters: Any,
    ) -> Any:
        return loss.run(
            logits, target, False, parameters, weight, ignore_index, reduction, out, None
        )

    def value_and_grad(
        logits: Any,
        target: Any,
        *,
        weight: Any = None,
        ignore_index: Any = _IGNORED,
        reduction: Any = "mean",
        out: Any = None,
        grad_out: Any = None,
        **parameters: Any,
    ) -> Any:
        return loss.run(
            logits, target, True, parameters, weight, ignore_index, reduction, out, grad_out
        )

    found: dict[str, Any] = {}
    for function, gradient in ((value, False), (value_and_grad, True)):
        function.__name__ = function.__qualname__ = loss.name + "_and_grad" * gradient
        function.__module__ = "lanemax"
        function.__doc__ = _document(loss, gradient)
        function.__signature__ = _signature(loss, gradient)  # type: ignore[attr-defined]
        found[function.__name__] = function
    return found


#: name -> function, for every loss of the registry and its gradient
FUNCTIONS: dict[str, Any] = {
    name: function
    for code, op in enumerate(_call.losses())
    for name, function in _functions(_Loss(code, op)).items()
}

# ------------------------------------------------------------------------ the adversarial form


def smooth_adversarial_comp_sum_loss(
    logits: Any,
    adversarial_logits: Any,
    target: Any,
    *,
    tau: Any = 1.0,
    rho: Any = 1.0,
    nu: Any = 1.0,
    weight: Any = None,
    ignore_index: Any = -100,
    reduction: Any = "mean",
    out: Any = None,
) -> Any:
    r"""Smooth adversarial comp-sum loss: a comp-sum loss and the distance of the margins.

    .. math::
        \Phi^\tau\Big(\sum_{k \ne t} e^{-(o_t - o_k) / \rho}\Big)
        + \nu \, \big\| (a_t - a_k) - (o_t - o_k) \big\|_2

    Parameters
    ----------
    logits, adversarial_logits : array_like, shape (..., D)
        Scores o of an input and a of its perturbed form; one dtype, as for `comp_sum_loss`.
    target : array_like of int, shape (...)
        Class indices in [0, D).
    tau : float
        Of `comp_sum_loss`, 0 or more.
    rho : float
        Divides the logits, positive.
    nu : float
        Weight of the distance, 0 or more.
    weight, ignore_index, reduction, out
        As for `comp_sum_loss`.

    Returns
    -------
    loss : scalar, or numpy.ndarray of shape (...)
        float32; float64 for float64 logits.

    Raises
    ------
    IndexError, TypeError, ValueError
        As for `comp_sum_loss`.

    Notes
    -----
    A class that is -inf in both takes no part in the distance; -inf in one alone gives NaN.
    At most 4 ULP.  Mao, Mohri and Zhong 2023, arXiv:2304.07288.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> o = np.array([0.5, -1.25, 2.0])
    >>> bool(lm.smooth_adversarial_comp_sum_loss(o, o, 2) == lm.comp_sum_loss(o, 2))
    True
    """
    return _adversarial(False, logits, adversarial_logits, target, tau, rho, nu, weight,
                        ignore_index, reduction, out, None)  # fmt: skip


def smooth_adversarial_comp_sum_loss_and_grad(
    logits: Any,
    adversarial_logits: Any,
    target: Any,
    *,
    tau: Any = 1.0,
    rho: Any = 1.0,
    nu: Any = 1.0,
    weight: Any = None,
    ignore_index: Any = -100,
    reduction: Any = "mean",
    out: Any = None,
    grad_out: Any = None,
) -> Any:
    """`smooth_adversarial_comp_sum_loss` with its gradients.

    Parameters
    ----------
    logits, adversarial_logits, target, tau, rho, nu, weight, ignore_index, reduction, out
        As for `smooth_adversarial_comp_sum_loss`.
    grad_out : pair of numpy.ndarray, optional
        Take the gradients; may be the logits themselves.

    Returns
    -------
    loss, dlogits, dadversarial_logits
        Where the two kinds of logits agree in every margin, the distance has gradient 0.

    Raises
    ------
    IndexError, TypeError, ValueError
        As for `comp_sum_loss`.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> o, a = np.array([0.5, -1.25, 2.0]), np.array([0.25, -1.0, 1.5])
    >>> loss, do, da = lm.smooth_adversarial_comp_sum_loss_and_grad(o, a, 2)
    >>> do.shape, da.shape
    ((3,), (3,))
    """
    return _adversarial(True, logits, adversarial_logits, target, tau, rho, nu, weight,
                        ignore_index, reduction, out, grad_out)  # fmt: skip


def _adversarial(
    gradient: bool,
    logits: Any,
    adversarial_logits: Any,
    target: Any,
    tau: Any,
    rho: Any,
    nu: Any,
    weight: Any,
    ignore_index: Any,
    reduction: Any,
    out: Any,
    grad_out: Any,
) -> Any:
    if adversarial_logits is None:
        raise TypeError("adversarial_logits: expected an array, got None")
    settings = {"rho": _check.in_range("rho", rho), "nu": _check.in_range("nu", nu)}
    return _COMP_SUM.run(
        logits, target, gradient, {"tau": tau}, weight, ignore_index, reduction, out, grad_out,
        adversarial_logits, settings,
    )  # fmt: skip


_COMP_SUM = next(
    _Loss(code, op) for code, op in enumerate(_call.losses()) if op["name"] == "comp_sum_loss"
)
for _f in (smooth_adversarial_comp_sum_loss, smooth_adversarial_comp_sum_loss_and_grad):
    _f.__module__ = "lanemax"
    FUNCTIONS[_f.__name__] = _f
