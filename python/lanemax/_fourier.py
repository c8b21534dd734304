# SPDX-License-Identifier: Apache-2.0
"""The Fourier head: densities on [-1, 1] from coefficients, their bins, losses and samples."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from . import _linear, _losses
from ._arrays import convert
from ._arrays.types import ArrayLike, Reduction
from ._core import fourier, scalars
from ._core.errors import check, is_label_error
from ._core.registry import REDUCTIONS

#: More bins, or terms, the library does not take.
_MOST = 2**31


class _Head:
    """Rows of coefficients: 2 (N + 1) numbers each, the real parts first."""

    def __init__(self, coef: Any) -> None:
        self.coef = convert.array("coef", coef)
        if self.coef.ndim == 0:
            raise ValueError("coef: expected an axis of coefficients, got a 0-d array")
        self.lead = self.coef.shape[:-1]
        self.width = self.coef.shape[-1]
        if self.width == 0 or self.width % 2:
            raise ValueError(
                "coef: the last axis holds the real parts of N + 1 coefficients, then the "
                f"imaginary parts; its length must be even and positive, got {self.width}"
            )
        self.dtype = self.coef.dtype
        self.real = np.dtype(np.float64 if self.dtype == np.float64 else np.float32)
        self.rows = _linear._matrix(self.coef)


@functools.lru_cache(maxsize=256)
def _order(lead: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Of points that broadcast against rows: their shape, its axes in the order of rows and points,
    the extents in that order, how many are rows and how many points of each; None if they do not.
    """
    try:
        full = np.broadcast_shapes(lead, shape)
    except ValueError:
        return (None,)
    padded = (1,) * (len(full) - len(lead)) + lead
    own = [i for i, n in enumerate(full) if padded[i] == n]
    order = (*own, *(i for i, n in enumerate(full) if padded[i] != n))
    extents = tuple(full[i] for i in order)
    counts = math.prod(extents[: len(own)]), math.prod(extents[len(own) :])
    return full, order, extents, counts, tuple(np.argsort(order).tolist())


class _Points:
    """A head and points that broadcast against its rows, as so many points for each row."""

    def __init__(self, name: str, head: _Head, x: Any) -> None:
        self.shape, *rest = _order(head.lead, x.shape)
        if self.shape is None:
            raise ValueError(
                f"{name}: shape {x.shape} does not broadcast against the shape of coef without "
                f"its last axis, {head.lead}"
            )
        self.order, self.extents, counts, self.back = rest
        self.x = np.empty(counts)
        full = x.reshape((1,) * (len(self.shape) - x.ndim) + x.shape)
        self.x.reshape(self.extents)[...] = full.transpose(self.order)

    def result(self, flat: Any) -> Any:
        back = flat.reshape(self.extents).transpose(self.back)
        return np.require(back, requirements=["C"])[()]


def _between(name: str, x: Any, low: float, high: float) -> Any:
    """Real numbers in [low, high], as an array."""
    given = convert.array(name, x)
    if given.itemsize == 2:  # NumPy's reductions of bfloat16 are not its own
        given = given.astype(np.float32)
    if given.size and not (low <= given.min() and given.max() <= high):  # NaN is in neither
        wide = given.astype(np.float64)
        bad = ~((wide >= low) & (wide <= high))
        raise ValueError(f"{name}: must be from {low:g} to {high:g}, got {wide[bad].flat[0]}")
    return given


def _bin_count(bins: Any) -> int:
    count = scalars.int64("bins", bins)
    if not 1 <= count <= _MOST:
        raise ValueError(f"bins: must be from 1 to 2**31, got {count}")
    return count


def _at_points(name: str, coef: Any, x: Any) -> Any:
    head = _Head(coef)
    points = _Points("x", head, _between("x", x, -1, 1))
    out = np.empty(points.x.shape, head.dtype)
    fourier.points(name, head.rows, points.x, out)
    return points.result(out)


def fourier_density(coef: ArrayLike, x: ArrayLike) -> Any:
    r"""Density of a Fourier head at points.

    .. math::
        p(x) = \frac{|\sum_{n=0}^N a_n e^{i \pi n x}|^2}{2 \sum_n |a_n|^2}, \qquad -1 \le x \le 1

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        The real parts of a, then the imaginary parts, as a linear layer gives them; float16,
        bfloat16, float32 or float64.
    x : array_like
        Points from -1 to 1; broadcasts against the shape of coef without its last axis.

    Returns
    -------
    numpy.ndarray, or scalar
        Of coef's dtype and the broadcast shape; never negative.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Computed in float64 and rounded once; the error beside that is at most 2e-6 (float64: 4e-15)
    times the largest density of the row, up to 256 frequencies, and near a zero much less.  a and
    any complex multiple of it are the same density.  Coefficients that are all 0 are the uniform
    density; NaN or inf among them makes the row NaN.
    Gillman and others 2024, arXiv:2410.22269.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.fourier_density([1.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.5])
    array([0. , 1. , 0.5])
    """
    return _at_points("density", coef, x)


def fourier_cdf(coef: ArrayLike, x: ArrayLike) -> Any:
    r"""Distribution function of a Fourier head: the integral of `fourier_density` from -1 to x.

    .. math::
        F(x) = \frac{x + 1}{2} + \mathrm{Re} \sum_{k=1}^N \frac{c_k}{c_0}
               \frac{e^{i \pi k x} - (-1)^k}{i \pi k}, \qquad c_k = \sum_n a_{n+k} \bar a_n

    Parameters
    ----------
    coef, x
        As for `fourier_density`.

    Returns
    -------
    numpy.ndarray, or scalar
        Of coef's dtype and the broadcast shape, from 0 to 1; exactly 0 at -1 and 1 at 1.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Within 1e-14 (float64), rounded once to other dtypes.  O(N log N) for each row and O(N) for each
    point.  Special values as for `fourier_density`.
    Gillman and others 2024, arXiv:2410.22269.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.fourier_cdf([1.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 1.0])
    array([0. , 0.5, 1. ])
    """
    return _at_points("cdf", coef, x)


def _moment(name: str, coef: Any) -> Any:
    head = _Head(coef)
    out = np.empty(head.lead, head.real)
    fourier.moment(name, head.rows, out)
    return out[()]


def fourier_mean(coef: ArrayLike) -> Any:
    r"""Mean of the density of a Fourier head.

    .. math::
        E[x] = \sum_{k=1}^N \frac{2 (-1)^k}{\pi k} \mathrm{Im} \frac{c_k}{c_0}

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        As for `fourier_density`.

    Returns
    -------
    numpy.ndarray of shape (...), or scalar
        float32; float64 for float64 coefficients.

    Raises
    ------
    TypeError, ValueError
        The argument has the wrong type or shape.

    Notes
    -----
    Within 1e-14 (float64), rounded once to float32.  Special values as for `fourier_density`.

    Examples
    --------
    >>> import lanemax as lm
    >>> round(float(lm.fourier_mean([1.0, 0.0, 0.0, 1.0])), 6)
    -0.31831
    """
    return _moment("mean", coef)


def fourier_variance(coef: ArrayLike) -> Any:
    r"""Variance of the density of a Fourier head.

    .. math::
        E[x^2] - E[x]^2, \qquad E[x^2] = \frac{1}{3}
        + \sum_{k=1}^N \frac{4 (-1)^k}{\pi^2 k^2} \mathrm{Re} \frac{c_k}{c_0}

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        As for `fourier_density`.

    Returns
    -------
    numpy.ndarray of shape (...), or scalar
        float32; float64 for float64 coefficients.

    Raises
    ------
    TypeError, ValueError
        The argument has the wrong type or shape.

    Notes
    -----
    Within 1e-14 (float64), rounded once to float32.  Special values as for `fourier_density`.

    Examples
    --------
    >>> import lanemax as lm
    >>> round(float(lm.fourier_variance([0.0, 0.0])), 6)
    0.333333
    """
    return _moment("variance", coef)


def fourier_sample(coef: ArrayLike, size: Any = None, *, rng: Any = None) -> Any:
    """Samples of the density of a Fourier head: the points where `fourier_cdf` is a random number.

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        As for `fourier_density`.
    size : int or tuple of ints, optional
        Shape of the result, against which the shape of coef without its last axis broadcasts;
        None: that shape.
    rng : numpy.random.Generator, int or None
        Gives ``rng.random(size)``, once; an int or None go to `numpy.random.default_rng`.

    Returns
    -------
    numpy.ndarray, or scalar
        Of coef's dtype, from -1 to 1.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or shape.

    Notes
    -----
    Newton's steps in a bracket, to 2**-52: the same numbers on every instruction set for the same
    seed.  Special values as for `fourier_density`.

    Examples
    --------
    >>> import lanemax as lm
    >>> x = lm.fourier_sample([1.0, 1.0, 0.0, 0.0], 1000, rng=0)
    >>> x.shape, bool(abs(x.mean()) < 0.1)
    ((1000,), True)
    """
    head = _Head(coef)
    generator = np.random.default_rng(rng)
    if size is None:
        shape = head.lead
    else:
        try:
            shape = tuple(map(operator.index, size if isinstance(size, (tuple, list)) else (size,)))
        except TypeError:
            raise TypeError(f"size: expected an int or a tuple of ints, got {size!r}") from None
    if any(n < 0 for n in shape):
        raise ValueError(f"size: negative extents in {shape}")
    try:
        fits = np.broadcast_shapes(head.lead, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"size: the shape of coef without its last axis, {head.lead}, does not broadcast to "
            f"{shape}"
        )
    points = _Points("size", head, np.asarray(generator.random(shape)))
    out = np.empty(points.x.shape, head.dtype)
    fourier.points("sample", head.rows, points.x, out)
    return points.result(out)


def _binned(name: str, coef: Any, bins: Any, dy: Any, values: dict[str, Any]) -> Any:
    head = _Head(coef)
    count = _bin_count(bins)
    shape = (*head.lead, count)
    rows = None
    if dy is not None:
        grad = convert.array("dy", dy)
        if grad.dtype != head.dtype:
            raise TypeError(f"dy: expected the dtype of coef, {head.dtype}, got {grad.dtype}")
        if grad.shape != shape:
            raise ValueError(f"dy: expected shape {shape}, got {grad.shape}")
        rows, shape = _linear._matrix(grad), head.coef.shape
    out = np.empty(shape, head.dtype)
    flat = out.reshape(head.rows.shape[0], shape[-1])
    fourier.bins(name, head.rows, count, rows, values, flat)
    return out


def fourier_bins(coef: ArrayLike, bins: int, *, exact: bool = False) -> Any:
    r"""Probabilities of equal bins of [-1, 1] under a Fourier head.

    .. math::
        q_j = \frac{p(x_j)}{\sum_i p(x_i)}, \quad x_j = -1 + \frac{2 j + 1}{m}
        \qquad \text{or} \quad q_j = \int_{x_j - 1/m}^{x_j + 1/m} p(x) \, dx

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        As for `fourier_density`.
    bins : int
        m, from 1.
    exact : bool
        Whether to integrate over the bins (the second formula) instead of sampling their centres.

    Returns
    -------
    numpy.ndarray, shape (..., bins)
        Of coef's dtype.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Right for any number of frequencies, also for more than bins, where the samples alias.
    Computed in float64 and rounded once; error at most 2e-6 (float64: 4e-15) times the largest,
    up to 256 frequencies.  Few frequencies by products with a small matrix for each block of bins,
    many by a fast Fourier transform.  Where the density is 0 at every centre all are the same.
    Special values as for `fourier_density`.
    Gillman and others 2024, arXiv:2410.22269.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.fourier_bins([1.0, 1.0, 0.0, 0.0], 2)
    array([0.5, 0.5])
    """
    return _binned("bins", coef, bins, None, {"exact": bool(exact)})


def fourier_bins_vjp(dy: ArrayLike, coef: ArrayLike, bins: int, *, exact: bool = False) -> Any:
    """Gradient through `fourier_bins`.

    Parameters
    ----------
    dy : array_like, shape (..., bins)
        Gradient by the probabilities, of coef's dtype.
    coef, bins, exact
        As for `fourier_bins`.

    Returns
    -------
    numpy.ndarray, shape (..., 2 * (N + 1))
        Gradient by the coefficients, of their dtype; 0 where they are all 0.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Orthogonal to the coefficients, whose size does not matter.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> dcoef = lm.fourier_bins_vjp(np.ones(4), np.array([1.0, 1.0, 0.0, 0.0]), 4)
    >>> bool((abs(dcoef) < 1e-15).all())  # their sum is 1 whatever the coefficients
    True
    """
    return _binned("bins", coef, bins, dy, {"exact": bool(exact)})


def fourier_log_bins(coef: ArrayLike, bins: int, *, eps: float = 1e-5) -> Any:
    r"""Logits of the Fourier head.

    .. math::
        y_j = \log(q_j + \epsilon)

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        As for `fourier_density`.
    bins : int
        m, from 1.
    eps : float
        0 or more.

    Returns
    -------
    numpy.ndarray, shape (..., bins)
        Of coef's dtype; softmax of it is (q + eps) / (1 + m eps).

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Of the probabilities q as `fourier_bins` computes them in float64, without exact; -inf for q = 0
    without eps.
    Gillman and others 2024, arXiv:2410.22269.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> np.exp(lm.fourier_log_bins([1.0, 1.0, 0.0, 0.0], 2, eps=0)).round(12)
    array([0.5, 0.5])
    """
    return _binned("log_bins", coef, bins, None, {"eps": scalars.in_range("eps", eps)})


def fourier_log_bins_vjp(dy: ArrayLike, coef: ArrayLike, bins: int, *, eps: float = 1e-5) -> Any:
    """Gradient through `fourier_log_bins`.

    Parameters
    ----------
    dy : array_like, shape (..., bins)
        Gradient by the logits, of coef's dtype.
    coef, bins, eps
        As for `fourier_log_bins`.

    Returns
    -------
    numpy.ndarray, shape (..., 2 * (N + 1))
        Gradient by the coefficients, of their dtype; 0 where they are all 0.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Without eps a bin of probability 0 takes no part.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.fourier_log_bins_vjp(np.eye(4)[0], np.array([1.0, 1.0, 0.0, 0.0]), 4).round(4) + 0.0
    array([ 0.    ,  0.    , -2.4139,  2.4139])
    """
    return _binned("log_bins", coef, bins, dy, {"eps": scalars.in_range("eps", eps)})


def _penalty(gamma: Any, normalized_penalty: Any, reduction: Any) -> dict[str, Any]:
    return {
        "gamma": scalars.in_range("gamma", gamma),
        "normalized_penalty": bool(normalized_penalty),
        "reduction": _losses._reduction_code(reduction),
    }


def _cross_entropy(
    gradient: bool,
    coef: Any,
    target: Any,
    bins: Any,
    eps: Any,
    ignore_index: Any,
    values: dict[str, Any],
) -> Any:
    head = _Head(coef)
    count = _bin_count(bins)
    values["eps"] = scalars.in_range("eps", eps)
    values["ignore_index"] = ignored = _losses._ignored_index(ignore_index)
    labels = _losses._integers(_losses._as_labels(target), head.lead, "coef")
    each = values["reduction"] == REDUCTIONS["none"]
    loss = np.empty(head.lead if each else (), head.real)
    grad = np.empty(head.coef.shape, head.dtype) if gradient else None
    status = fourier.cross_entropy(head.rows, labels, count, values, loss, grad)
    if is_label_error(status):
        raise _losses._bad_label(labels, count, ignored)
    check(status)
    return (loss[()], grad) if gradient else loss[()]


def fourier_cross_entropy(
    coef: ArrayLike,
    target: ArrayLike,
    bins: int,
    *,
    eps: float = 1e-5,
    gamma: float = 0.0,
    normalized_penalty: bool = False,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Any:
    r"""Softmax cross-entropy of the logits of a Fourier head, without computing them.

    .. math::
        -\log \frac{q_t + \epsilon}{1 + m \epsilon} + \gamma \, 4 \pi^2 \sum_k k^2 |c_k|^2

    Parameters
    ----------
    coef : array_like, shape (..., 2 * (N + 1))
        As for `fourier_density`.
    target : array_like of int, shape (...)
        Bins, in [0, bins).
    bins : int
        m, from 1.
    eps : float
        0 or more, as for `fourier_log_bins`.
    gamma : float
        0 or more: how much a row is fined for being rough.
    normalized_penalty : bool
        Whether to divide the penalty by c_0^2.  Without that it can be lowered by making the
        coefficients smaller, which does not change the density; so it is in the paper's code.
    ignore_index : int
        Rows with this target have loss 0 and gradient 0, whatever they hold.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of rows that are not ignored; without such a row it is NaN.

    Returns
    -------
    loss : scalar, or numpy.ndarray of shape (...)
        float32; float64 for float64 coefficients.

    Raises
    ------
    IndexError
        A target is out of range; names the row and the value.
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    O(N) for each row, whatever the number of bins; O(N log N) with gamma.  Within 4 ULP beside
    what the error of q_t, as `fourier_bins` has it, does to the loss.  q_t is at most
    (N + 1) / m.  eps = 0 and q_t = 0: +inf.  Special values as for `fourier_density`.
    Gillman and others 2024, arXiv:2410.22269.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> coef = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]])
    >>> loss = lm.fourier_cross_entropy(coef, [2, 0], 8)
    >>> dense = lm.cross_entropy(lm.fourier_log_bins(coef, 8), [2, 0])
    >>> bool(abs(loss - dense) < 1e-14 * dense)
    True
    """
    values = _penalty(gamma, normalized_penalty, reduction)
    return _cross_entropy(False, coef, target, bins, eps, ignore_index, values)


def fourier_cross_entropy_and_grad(
    coef: ArrayLike,
    target: ArrayLike,
    bins: int,
    *,
    eps: float = 1e-5,
    gamma: float = 0.0,
    normalized_penalty: bool = False,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Any:
    """`fourier_cross_entropy` with its gradient.

    Parameters
    ----------
    coef, target, bins, eps, gamma, normalized_penalty, ignore_index
        As for `fourier_cross_entropy`.
    reduction : {"mean", "sum", "none"}
        Of the losses; with "none" the gradient is that of their sum.

    Returns
    -------
    loss : scalar, or numpy.ndarray of shape (...)
        float32; float64 for float64 coefficients.
    grad : numpy.ndarray, shape (..., 2 * (N + 1))
        By the coefficients, of their dtype.

    Raises
    ------
    IndexError, TypeError, ValueError
        As for `fourier_cross_entropy`.

    Notes
    -----
    Without gamma orthogonal to the coefficients, whose size does not matter.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> coef = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]])
    >>> loss, grad = lm.fourier_cross_entropy_and_grad(coef, [2, 0], 8)
    >>> grad.shape, bool((abs((grad * coef).sum(-1)) < 1e-15).all())
    ((2, 4), True)
    """
    values = _penalty(gamma, normalized_penalty, reduction)
    return _cross_entropy(True, coef, target, bins, eps, ignore_index, values)


def _nll(gradient: bool, coef: Any, x: Any, values: dict[str, Any]) -> Any:
    head = _Head(coef)
    points = _Points("x", head, _between("x", x, -1, 1))
    each = values["reduction"] == REDUCTIONS["none"]
    loss = np.empty(points.x.shape if each else (), head.real)
    grad = np.empty(head.coef.shape, head.dtype) if gradient else None
    fourier.nll(head.rows, points.x, values, loss, grad)
    found = points.result(loss) if each else loss[()]
    return (found, grad) if gradient else found


def fourier_nll(
    coef: ArrayLike,
    x: ArrayLike,
    *,
    gamma: float = 0.0,
    normalized_penalty: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    r"""Negative log of the density of a Fourier head at points: the continuous head's loss.

    .. math::
        -\log p(x) + \gamma \, 4 \pi^2 \sum_k k^2 |c_k|^2

    Parameters
    ----------
    coef, x
        As for `fourier_density`.
    gamma, normalized_penalty
        As for `fourier_cross_entropy`.
    reduction : {"mean", "sum", "none"}
        Over all points of the broadcast shape; "mean" of none is NaN.

    Returns
    -------
    loss : scalar, or numpy.ndarray of the broadcast shape
        float32; float64 for float64 coefficients.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or range.

    Notes
    -----
    Nothing is added to p, unlike in the paper's code: where it is 0 the loss is +inf.  Not less
    than -log((N + 1) / 2).  Special values as for `fourier_density`.
    Gillman and others 2024, arXiv:2410.22269.

    Examples
    --------
    >>> import lanemax as lm
    >>> float(lm.fourier_nll([1.0, 1.0, 0.0, 0.0], [0.0, 0.0]))
    0.0
    """
    return _nll(False, coef, x, _penalty(gamma, normalized_penalty, reduction))


def fourier_nll_and_grad(
    coef: ArrayLike,
    x: ArrayLike,
    *,
    gamma: float = 0.0,
    normalized_penalty: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    """`fourier_nll` with its gradient by the coefficients.

    Parameters
    ----------
    coef, x, gamma, normalized_penalty
        As for `fourier_nll`.
    reduction : {"mean", "sum", "none"}
        Of the losses; with "none" the gradient is that of their sum.

    Returns
    -------
    loss : scalar, or numpy.ndarray of the broadcast shape
        float32; float64 for float64 coefficients.
    grad : numpy.ndarray, shape (..., 2 * (N + 1))
        Of coef's shape and dtype, summed over the points that share a row.

    Raises
    ------
    TypeError, ValueError
        As for `fourier_nll`.

    Notes
    -----
    A point at which p is 0 contributes to the gradient what is finite of it.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> loss, grad = lm.fourier_nll_and_grad(np.array([1.0, 0.5, 0.0, 0.0]), [0.0, 0.25])
    >>> grad.shape
    (4,)
    """
    return _nll(True, coef, x, _penalty(gamma, normalized_penalty, reduction))
