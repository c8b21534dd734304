# SPDX-License-Identifier: Apache-2.0
"""Classification losses and their gradients: two functions for each loss of the registry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._arrays import layout
from ._arrays.convert import array, doubles, is_float, ndarray
from ._arrays.outputs import fill
from ._arrays.types import Array, ArrayLike, Reduction
from ._core import calls, scalars, signatures
from ._core.context import state
from ._core.errors import check, is_label_error
from ._core.registry import REDUCTIONS, losses

_ndarray = np.ndarray
_empty = np.empty

_IGNORED = -100  # the default, by identity


def _as_labels(target: Any) -> Any:
    """An array of targets; an empty list, whose dtype would be float, is one of integers."""
    labels: Any = ndarray("target", target, "plain targets")
    if labels.size == 0 and isinstance(target, (list, tuple)):
        labels = labels.astype(np.int64)
    return labels


def _native(target: Any) -> Any:
    """Class indices as an array of a native integer type."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target: expected integers, got dtype {target.dtype}")
    return target.astype(target.dtype.newbyteorder("="), copy=False)


def _native_integers(target: Any) -> Any:
    """The same as an array whose elements follow each other."""
    return np.require(_native(target), requirements=["C", "A"])


def _of_rows(target: Any, shape: tuple[int, ...], of: str) -> Any:
    """Class indices of the rows, in their shape."""
    native = _native(target)
    if native.shape != shape:
        raise ValueError(
            f"target: expected shape {shape}, that of {of} without the last axis, "
            f"got {native.shape}"
        )
    return native


def _integers(target: Any, shape: tuple[int, ...], of: str) -> Any:
    """Class indices of the rows, one after the other."""
    return np.require(_of_rows(target, shape, of), requirements=["C", "A"]).reshape(-1)


def _reduction_code(reduction: Any) -> int:
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
    return REDUCTIONS[reduction]


def _ignored_index(ignore_index: Any) -> int:
    return scalars.int64("ignore_index", ignore_index)


def _weights(weight: Any, classes: int) -> Any:
    if weight is None:
        return None
    found = doubles("weight", weight)
    if found.shape != (classes,):
        raise ValueError(f"weight: expected shape ({classes},), one per class, got {found.shape}")
    return found


def _bad_label(target: Any, classes: int, ignore_index: int) -> IndexError:
    """The exception for the first target, or of several in a row, that is out of range."""
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
    """The array of `grad_out` for each gradient, None for nothing."""
    if grad_out is None:
        return [None] * count
    if count == 1:
        return [layout.output(grad_out, shape, dtype, "grad_out")]
    if not isinstance(grad_out, (tuple, list)) or len(grad_out) != count:
        raise TypeError(f"grad_out: expected {count} arrays, got {type(grad_out).__name__}")
    arrays = [
        None if g is None else layout.output(g, shape, dtype, f"grad_out[{i}]")
        for i, g in enumerate(grad_out)
    ]
    if all(a is not None for a in arrays) and np.may_share_memory(arrays[0], arrays[1]):
        raise ValueError("grad_out: the two arrays share memory")
    return arrays


#: where the glue expects each number that is not a parameter of the loss
_SLOTS = {"label_smoothing": 2, "logz_penalty": 3, "softcap": 4, "rho": 5, "nu": 6}
_DEFAULTS = (0.0, 0.0, 0.0, 1.0, 1.0)


class _Loss:
    """The two functions of a loss, and what they share."""

    def __init__(self, code: int, op: dict[str, Any]) -> None:
        self.code = code
        self.name: str = op["name"]
        self.formula: str = op["formula"]
        self.takes: frozenset[str] = op["takes"]
        self.parameters = signatures.loss_parameters(op)
        self.options = signatures.loss_options(op)
        self.signatures = [signatures.of_loss(op, gradient) for gradient in (False, True)]
        self.known = {*self.parameters, *self.options}
        self.slots = {name: i for i, name in enumerate(self.parameters)} | _SLOTS
        self.standard = [*([*self.parameters.values(), 0.0, 0.0][:2]), *_DEFAULTS]

    def numbers(self, given: dict[str, Any]) -> Any:
        """All numbers of the options as the glue takes them, None if all have their defaults."""
        values = None
        for name, value in given.items():
            if name == "temperature" or (name == "softcap" and value is None):
                continue
            if value is None:
                raise TypeError(f"{name}: expected a number, got None")
            values = values or [*self.standard]
            values[self.slots[name]] = scalars.in_range(name, value)
        return None if values is None else np.array(values)

    def refuse_unknown(self, given: dict[str, Any], gradient: bool) -> None:
        for name in given:
            if name not in self.known:
                taken = [*self.parameters, *self.options, "weight", "ignore_index", "reduction"]
                taken += ["out", "grad_out"] if gradient else ["out"]
                raise TypeError(
                    f"{self.name + '_and_grad' * gradient}: unexpected argument {name!r}; "
                    f"it takes {', '.join(taken)}"
                )

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
    ) -> Any:
        """The loss, or (loss, gradient, ...); with adversarial logits there are two gradients."""
        how = REDUCTIONS.get(reduction) if type(reduction) is str else None
        if type(logits) is _ndarray and how is not None and out is None:
            shape, real = logits.shape, calls.REALS.get(logits.dtype)
            two = adversarial is not None
            if shape and real is not None and not (two and grad_out is not None):
                loss = _empty(shape[:-1] if how == 2 else (), real)
                grad = grad_out
                if gradient and grad is None:
                    grad = _empty(shape, logits.dtype)
                other = _empty(shape, logits.dtype) if gradient and two else None
                arrays = logits, target, loss, grad
                if given or two or weight is not None or ignore_index is not _IGNORED:
                    self.refuse_unknown(given, gradient)
                    status = self._with(how, arrays, given, weight, ignore_index,
                                        adversarial, other)  # fmt: skip
                else:
                    status = calls.loss(state.ctx, self.code, how, *map(id, arrays))
                if not status:
                    found = loss if how == 2 and loss.ndim else loss[()]
                    return found if not gradient else (found, grad, other) if two else (found, grad)
        return _Careful(self, logits, target, gradient, given, weight, ignore_index, reduction,
                        adversarial).run(out, grad_out)  # fmt: skip

    def _with(
        self,
        how: int,
        arrays: tuple[Any, Any, Any, Any],
        given: dict[str, Any],
        weight: Any,
        ignore_index: Any,
        adversarial: Any,
        other: Any,
    ) -> int:
        """The glue's call with options; its status."""
        numbers = self.numbers(given) if given else None
        rate, rates = calls.temperature_arguments(given.get("temperature", 1.0))
        if type(ignore_index) is not int:
            return calls.UNUSUAL
        try:
            status = calls.loss_with(
                state.ctx, self.code, how, *map(id, arrays), id(numbers), rate, ignore_index,
                id(rates), id(weight), id(adversarial), id(other),
            )  # fmt: skip
        except OverflowError:
            return calls.UNUSUAL
        return int(status)


class _Careful:
    """One call whose arguments are looked at one by one; every error names the argument."""

    def __init__(
        self,
        loss: _Loss,
        logits: Any,
        target: Any,
        gradient: bool,
        given: dict[str, Any],
        weight: Any,
        ignore_index: Any,
        reduction: Any,
        adversarial: Any,
    ) -> None:
        loss.refuse_unknown(given, gradient)
        self.loss, self.gradient = loss, gradient
        self.logits = logits = array("logits", logits)
        if logits.ndim == 0:
            raise ValueError("logits: expected an axis of classes, got a 0-d array")
        self.classes, self.lead = logits.shape[-1], logits.shape[:-1]
        self.how = _reduction_code(reduction)
        self.ignored = _ignored_index(ignore_index)
        loss.numbers(given)
        self.given = dict(given)
        self.target = self._target(target)
        self.weight = _weights(weight, self.classes)
        rates = layout.temperatures(given.get("temperature", 1.0), logits.shape, (logits.ndim - 1,))
        self.given["temperature"] = 1.0 if rates is None else rates
        self.adversarial = None
        if adversarial is not None:
            name = "adversarial_logits"
            self.adversarial = _same_kind(name, array(name, adversarial), logits)

    def _target(self, target: Any) -> Any:
        labels = _as_labels(target)
        if "probabilities" not in self.loss.takes or not is_float(labels.dtype):
            return _of_rows(labels, self.lead, "the logits")
        shape = self.logits.shape
        if labels.shape != shape:
            raise ValueError(
                f"target: expected integers of shape {self.lead}, which are class indices, or "
                f"probabilities of the shape of the logits, {shape}, got {labels.dtype} of shape "
                f"{labels.shape}"
            )
        return array("target", labels)

    def run(self, out: Any, grad_out: Any) -> Any:
        logits, lead = self.logits, self.lead
        shape, dtype = logits.shape, logits.dtype
        loss_shape = lead if self.how == REDUCTIONS["none"] else ()
        real = calls.REALS[dtype]
        if out is not None:
            out = layout.output(out, loss_shape, real)
        grads = _gradients_given(grad_out, 1 if self.adversarial is None else 2, shape, dtype)
        for grad in grads:
            if out is not None and grad is not None and np.may_share_memory(out, grad):
                raise ValueError("grad_out: shares memory with out")
        if math.prod(lead) and self.classes == 0:
            raise ValueError("logits: there are no classes: the last axis is empty")
        loss = _empty(loss_shape, real)
        grads = [_empty(shape, dtype) if g is None else g for g in grads] if self.gradient else []
        if math.prod(lead) == 0 and self.classes == 0:
            loss[...] = 0.0 if self.how == REDUCTIONS["sum"] else np.nan
        else:
            self._onto(loss, grads)
        if out is not None:
            out[...] = loss
        found = loss[()] if out is None else out
        return (found, *grads) if self.gradient else found

    def _onto(self, loss: Any, grads: list[Any]) -> None:
        """The loss, and the gradients as if they shared no memory with what is given."""

        def call(outs: list[Any]) -> int:
            first, second = [*outs, None, None][:2]
            return self.loss._with(self.how, (self.logits, self.target, loss, first), self.given,
                                   self.weight, self.ignored, self.adversarial, second)  # fmt: skip

        status = fill(call, grads)
        if is_label_error(status):
            raise _bad_label(self.target.reshape(-1), self.classes, self.ignored)
        check(status)


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
    "softcap": "The logits become softcap * tanh(logits / softcap); None: they do not."
    "  A logit of\n    -inf becomes -softcap: a masked class takes part again.",
    "temperature": "A number or an array of shape (..., 1), > 0; divides the logits next,"
    " as real\n    numbers: quotients may leave the range of the type.",
}

#: summary and notes
_ABOUT = {
    "cross_entropy": (
        "Cross-entropy of softmax.",
        """
At most 3 ULP, also for confident rows; the target's gradient, minus 1 - p, is within 4 ULP.  So is
that of a class given as probabilities, (1, 0, 0): where most of the mass is on the likeliest class,
its gradient p - y is computed from 1 - p and the mass of the others.
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
        function.__signature__ = loss.signatures[gradient]  # type: ignore[attr-defined]
        found[function.__name__] = function
    return found


#: name -> function, for every loss of the registry and its gradient
FUNCTIONS: dict[str, Any] = {
    name: function
    for code, op in enumerate(losses())
    for name, function in _functions(_Loss(code, op)).items()
}

# ------------------------------------------------------------------------ the adversarial form


def smooth_adversarial_comp_sum_loss(
    logits: ArrayLike,
    adversarial_logits: ArrayLike,
    target: ArrayLike,
    *,
    tau: float = 1.0,
    rho: float = 1.0,
    nu: float = 1.0,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    out: Array | None = None,
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
    logits: ArrayLike,
    adversarial_logits: ArrayLike,
    target: ArrayLike,
    *,
    tau: float = 1.0,
    rho: float = 1.0,
    nu: float = 1.0,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    out: Array | None = None,
    grad_out: tuple[Array | None, Array | None] | None = None,
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
    given = {"tau": tau, "rho": rho, "nu": nu}
    return _ADVERSARIAL.run(
        logits, target, gradient, given, weight, ignore_index, reduction, out, grad_out,
        adversarial_logits,
    )  # fmt: skip


_ADVERSARIAL = next(
    _Loss(code, op) for code, op in enumerate(losses()) if op["name"] == "comp_sum_loss"
)
_ADVERSARIAL.known |= {"rho", "nu"}
for _f in (smooth_adversarial_comp_sum_loss, smooth_adversarial_comp_sum_loss_and_grad):
    _f.__module__ = "lanemax"
    FUNCTIONS[_f.__name__] = _f
