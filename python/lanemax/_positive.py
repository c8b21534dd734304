# SPDX-License-Identifier: Apache-2.0
"""Softmax with another function than the exponential: spherical, Taylor, stablemax."""

from __future__ import annotations

from typing import Any

from ._arrays.types import Array, ArrayLike, Axis
from ._core import scalars
from ._core.registry import ROW_OPS
from ._rows import Op, run

_STANDARD = {op["name"]: op["described"][0].standard for op in ROW_OPS if op["described"]}
_FORWARD = {
    name: Op(name, "x")
    for name in ("spherical_softmax", "taylor_softmax", "stablemax", "log_stablemax")
}
_BACKWARD = {name: Op(name + "_vjp", "dy", "x") for name in _FORWARD}


def _forward(name: str, x: Any, axis: Any, out: Any, parameter: float | None = None) -> Any:
    return run(_FORWARD[name], x, None, axis, out, _given(name, parameter))


def _backward(
    name: str, dy: Any, x: Any, axis: Any, out: Any, parameter: float | None = None
) -> Any:
    return run(_BACKWARD[name], dy, x, axis, out, _given(name, parameter))


def _given(name: str, parameter: float | None) -> dict[str, Any] | None:
    """Options; none for the parameter that the operation has without them."""
    if parameter is None or parameter == _STANDARD[name]:
        return None
    return {"parameter": parameter}


def spherical_softmax(x: Any, axis: Any = -1, *, eps: Any = 1e-4, out: Any = None) -> Any:
    r"""Spherical softmax: squares that sum to 1.

    .. math:: y_i = \frac{x_i^2 + \epsilon}{\sum_k (x_k^2 + \epsilon)}

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What sums to 1; None means all elements.
    eps : float
        0 or more, in the unit of the squares; keeps the probability of a logit 0 above 0.
    out : numpy.ndarray, optional
        Takes the result; may be x itself.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of x; `out` if given; a scalar for 0-d input.

    Raises
    ------
    TypeError, numpy.exceptions.AxisError
        As for `softmax`.
    ValueError
        Shapes that do not fit, an eps that is negative or not finite.

    Notes
    -----
    A row holding NaN, +inf or -inf is NaN: there are no masked logits.  So is a row of zeros with
    eps = 0.  An empty axis gives an empty result.

    Error at most 4 ULP, 2 quanta where the result is subnormal, at any length and range: squares
    neither overflow nor underflow inside.  The bits do not depend on instruction set, threads or
    strides.  Vincent, de Brebisson and Bouthillier 2015, arXiv:1412.7091.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.spherical_softmax(np.array([1.0, -2.0, 3.0])).round(4)
    array([0.0714, 0.2857, 0.6429])
    """
    return _forward("spherical_softmax", x, axis, out, scalars.in_range("eps", eps))


def taylor_softmax(
    x: ArrayLike, axis: Axis = -1, *, order: int = 2, out: Array | None = None
) -> Any:
    r"""Taylor softmax: the exponential's Taylor polynomial of even order, which is positive.

    .. math:: y_i = \frac{f(x_i)}{\sum_k f(x_k)}, \quad f(x) = \sum_{j=0}^{order} \frac{x^j}{j!}

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What sums to 1; None means all elements.
    order : int
        Even, from 2 to 32.
    out : numpy.ndarray, optional
        Takes the result; may be x itself.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of x; `out` if given; a scalar for 0-d input.

    Raises
    ------
    TypeError, numpy.exceptions.AxisError
        As for `softmax`.
    ValueError
        Shapes that do not fit, an order that is odd or out of range.

    Notes
    -----
    A row holding NaN, +inf or -inf is NaN: there are no masked logits.  An empty axis gives an
    empty result.  The polynomial falls, and rises again, below about -order / 4: it orders logits
    as softmax does only above.

    Error at most 4 ULP, 2 quanta where the result is subnormal, at any length and range.  The bits
    do not depend on instruction set, threads or strides.  Vincent, de Brebisson and Bouthillier
    2015, arXiv:1412.7091; orders above 2: Banerjee and others 2020, arXiv:2011.11538.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.taylor_softmax(np.array([0.0, 1.0, 2.0])).round(4)
    array([0.1176, 0.2941, 0.5882])
    """
    return _forward("taylor_softmax", x, axis, out, scalars.in_range("order", order))


def stablemax(x: ArrayLike, axis: Axis = -1, *, out: Array | None = None) -> Any:
    r"""Stablemax: softmax with a function that grows linearly.

    .. math:: y_i = \frac{s(x_i)}{\sum_k s(x_k)}, \quad
        s(x) = \begin{cases} x + 1 & x \ge 0 \\ 1 / (1 - x) & x < 0 \end{cases}

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What sums to 1; None means all elements.
    out : numpy.ndarray, optional
        Takes the result; may be x itself.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of x; `out` if given; a scalar for 0-d input.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As for `softmax`.

    Notes
    -----
    -inf gets exactly 0.  A row holding NaN or +inf, or nothing but -inf, is NaN.  An empty axis
    gives an empty result.

    Error at most 4 ULP, 2 quanta where the result is subnormal, at any length and range.  The bits
    do not depend on instruction set, threads or strides.  Prieto and others 2025,
    arXiv:2501.04697.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.stablemax(np.array([-1.0, 0.0, 2.0])).round(4)
    array([0.1111, 0.2222, 0.6667])
    """
    return _forward("stablemax", x, axis, out)


def log_stablemax(x: ArrayLike, axis: Axis = -1, *, out: Array | None = None) -> Any:
    r"""Logarithm of stablemax, accurate also for the most probable element.

    .. math:: y_i = \log s(x_i) - \log \sum_k s(x_k)

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What the probabilities sum to 1 over; None means all elements.
    out : numpy.ndarray, optional
        Takes the result; may be x itself.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of x; `out` if given; a scalar for 0-d input.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As for `softmax`.

    Notes
    -----
    s is that of `stablemax`.  -inf stays -inf.  A row holding NaN or +inf, or nothing but -inf, is
    NaN.  An empty axis gives an empty result.

    Error at most 4 ULP for every element: one with more than half of the sum is left out of it and
    comes back through log1p.  Prieto and others 2025, arXiv:2501.04697.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.log_stablemax(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-2.1972, -1.5041, -0.4055])
    """
    return _forward("log_stablemax", x, axis, out)


def spherical_softmax_vjp(
    dy: ArrayLike, x: ArrayLike, axis: Axis = -1, *, eps: float = 1e-4, out: Array | None = None
) -> Any:
    r"""Vector-Jacobian product of spherical softmax, from its input.

    .. math:: dx_i = \frac{2 x_i}{S} \left(dy_i - \sum_k y_k\, dy_k\right), \quad
        S = \sum_k (x_k^2 + \epsilon)

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to the output; shape and dtype of x.
    x : array_like
        What was given to `spherical_softmax`.
    axis, eps
        As they were given to `spherical_softmax`.
    out : numpy.ndarray, optional
        Takes the result; may be dy or x itself.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x: its shape and dtype.

    Raises
    ------
    TypeError
        dy and x differ in dtype, or it is not supported.
    ValueError
        dy and x differ in shape, and as for `spherical_softmax`.

    Notes
    -----
    Rows that `spherical_softmax` makes NaN, and rows with NaN in dy, are NaN.
    Error at most ``6 u |2 x| / S (|dy| + sum y |dy|)``, u = 2**-24 (float64: 2**-53).

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.spherical_softmax_vjp(np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])).round(4)
    array([ 0.1326, -0.0204, -0.0306])
    """
    return _backward("spherical_softmax", dy, x, axis, out, scalars.in_range("eps", eps))


def taylor_softmax_vjp(
    dy: ArrayLike, x: ArrayLike, axis: Axis = -1, *, order: int = 2, out: Array | None = None
) -> Any:
    r"""Vector-Jacobian product of Taylor softmax, from its input.

    .. math:: dx_i = \frac{f'(x_i)}{\sum_k f(x_k)} \left(dy_i - \sum_k y_k\, dy_k\right)

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to the output; shape and dtype of x.
    x : array_like
        What was given to `taylor_softmax`.
    axis, order
        As they were given to `taylor_softmax`.
    out : numpy.ndarray, optional
        Takes the result; may be dy or x itself.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x: its shape and dtype.

    Raises
    ------
    TypeError
        dy and x differ in dtype, or it is not supported.
    ValueError
        dy and x differ in shape, and as for `taylor_softmax`.

    Notes
    -----
    f' is the polynomial of one order less.  Rows that `taylor_softmax` makes NaN, and rows with NaN
    in dy, are NaN.
    Error at most ``6 u |f'(x)| / S (|dy| + sum y |dy|)``, u = 2**-24 (float64: 2**-53), S the sum
    of f.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.taylor_softmax_vjp(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 2.0])).round(4)
    array([ 0.1038, -0.0277, -0.0415])
    """
    return _backward("taylor_softmax", dy, x, axis, out, scalars.in_range("order", order))


def stablemax_vjp(dy: ArrayLike, x: ArrayLike, axis: Axis = -1, *, out: Array | None = None) -> Any:
    r"""Vector-Jacobian product of stablemax, from its input.

    .. math:: dx_i = \frac{s'(x_i)}{\sum_k s(x_k)} \left(dy_i - \sum_k y_k\, dy_k\right)

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to the output; shape and dtype of x.
    x : array_like
        What was given to `stablemax`.
    axis
        As it was given to `stablemax`.
    out : numpy.ndarray, optional
        Takes the result; may be dy or x itself.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x: its shape and dtype.

    Raises
    ------
    TypeError
        dy and x differ in dtype, or it is not supported.
    ValueError
        dy and x differ in shape, and as for `stablemax`.

    Notes
    -----
    s' is 1 for x >= 0 and s(x)^2 below.  A masked element (-inf) gets 0.  Rows that `stablemax`
    makes NaN, and rows with NaN in dy, are NaN.
    Error at most ``6 u s'(x) / S (|dy| + sum y |dy|)``, u = 2**-24 (float64: 2**-53).

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.stablemax_vjp(np.array([1.0, 0.0, 0.0]), np.array([-1.0, 0.0, 2.0])).round(4)
    array([ 0.0494, -0.0247, -0.0247])
    """
    return _backward("stablemax", dy, x, axis, out)


def log_stablemax_vjp(
    dy: ArrayLike, x: ArrayLike, axis: Axis = -1, *, out: Array | None = None
) -> Any:
    r"""Vector-Jacobian product of log-stablemax, from its input.

    .. math:: dx_i = \frac{dy_i - y_i \sum_k dy_k}{1 + |x_i|}, \quad y = \mathrm{stablemax}(x)

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to the output; shape and dtype of x.
    x : array_like
        What was given to `log_stablemax`.
    axis
        As it was given to `log_stablemax`.
    out : numpy.ndarray, optional
        Takes the result; may be dy or x itself.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x: its shape and dtype.

    Raises
    ------
    TypeError
        dy and x differ in dtype, or it is not supported.
    ValueError
        dy and x differ in shape, and as for `log_stablemax`.

    Notes
    -----
    A masked element (-inf) gets 0.  Rows that `log_stablemax` makes NaN, and rows with NaN in dy,
    are NaN.
    Error at most ``6 u (|dy| + y sum |dy|) / (1 + |x|)``, u = 2**-24 (float64: 2**-53).

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.log_stablemax_vjp(np.array([1.0, 0.0, 0.0]), np.array([-1.0, 0.0, 2.0])).round(4)
    array([ 0.4444, -0.2222, -0.2222])
    """
    return _backward("log_stablemax", dy, x, axis, out)
