# SPDX-License-Identifier: Apache-2.0
"""The softmax family: arguments in, one call of the library, results out."""

from __future__ import annotations

from typing import Any

from ._arrays.types import Array, ArrayLike, Axis
from ._expsum import ExpSum
from ._rows import ONE as _ONE
from ._rows import Op, run

_SOFTMAX = Op("softmax", "x")
_LOG_SOFTMAX = Op("log_softmax", "x")
_LOGSUMEXP = Op("logsumexp", "x")
_EXP_SUM = Op("exp_sum", "x")
_SOFTMAX_VJP = Op("softmax_vjp", "dy", "y")
_LOG_SOFTMAX_VJP = Op("log_softmax_vjp", "dy", "y")


def softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = _ONE,
    where: ArrayLike | None = None,
    total: ExpSum | None = None,
    out: Array | None = None,
) -> Any:
    r"""Softmax: exponentials that sum to 1.

    .. math:: y_i = \frac{\exp(x_i / T)}{\sum_k \exp(x_k / T)}

    Unlike `scipy.special.softmax`, the default is the last axis, not all elements.

    Parameters
    ----------
    x : array_like
        Logits, dimensionless.  float16, bfloat16, float32 and float64 are computed as they are
        (16-bit in float32, rounded once); bool and integers become
        ``np.result_type(dtype, np.float32)``.
    axis : int, tuple of int or None
        What sums to 1; None means all elements.
    temperature : float or array_like
        T > 0; an array is shaped like a ``keepdims=True`` result.
    where : array_like of bool, optional
        Elements to take part; broadcasts to x.  Others get 0, whatever they hold.
    total : ExpSum, optional
        Normalise by this sum, gathered over many chunks with `exp_sum`, in place of the sum of
        x itself.  It should contain x: beyond it, results exceed 1 and saturate.  Excludes
        `where` and `temperature`.
    out : numpy.ndarray, optional
        Takes the result; may be x itself.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of x; `out` if given; a scalar for 0-d input.

    Raises
    ------
    TypeError
        A dtype that is not supported, a masked array.
    ValueError
        Shapes that do not fit, a temperature that is not positive and finite.
    numpy.exceptions.AxisError
        An axis that x does not have.

    Notes
    -----
    -inf gets exactly 0.  A row holding NaN or +inf, or nothing but -inf, is NaN; a row masked out
    by `where` altogether is 0.  An empty axis gives an empty result.

    Error at most 4 ULP at any length and range, 2 quanta where the result is subnormal; never
    above 1.  With a temperature, plus what one rounding of x / T does; quotients beyond the
    range of the type still give the softmax of the real numbers x / T.  The bits do not depend on
    instruction set, threads, strides or the other rows.  Two-pass algorithm: Dukhan and Ablavatski
    2020, arXiv:2001.04438.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.softmax(np.array([1.0, 2.0, 3.0])).round(4)
    array([0.09  , 0.2447, 0.6652])
    >>> lm.softmax(np.array([1.0, np.nan, 3.0]), where=[True, False, True]).round(4)
    array([0.1192, 0.    , 0.8808])
    """
    if temperature is _ONE and where is None and total is None:
        return run(_SOFTMAX, x, None, axis, out)
    given = {"temperature": temperature, "where": where, "total": total}
    return run(_SOFTMAX, x, None, axis, out, given)


def log_softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = _ONE,
    where: ArrayLike | None = None,
    total: ExpSum | None = None,
    out: Array | None = None,
) -> Any:
    r"""Logarithm of softmax, accurate also for the most probable element.

    .. math:: y_i = x_i / T - \log \sum_k \exp(x_k / T)

    Unlike `scipy.special.log_softmax`, the default is the last axis, not all elements.

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What the probabilities sum to 1 over; None means all elements.
    temperature : float or array_like
        T > 0; an array is shaped like a ``keepdims=True`` result.
    where : array_like of bool, optional
        Elements to take part; broadcasts to x.  Others get -inf, whatever they hold.
    total : ExpSum, optional
        Normalise by this sum in place of the sum of x itself; see `softmax`.
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
    -inf stays -inf.  A row holding NaN or +inf, or nothing but -inf, is NaN; a row masked out by
    `where` altogether is -inf.  An empty axis gives an empty result.

    Error at most 3 ULP for every element: the largest logit is left out of the sum and comes back
    through log1p, so that nothing cancels for a confident row.  With `total`, 3 ULP where
    ``|y| >= 0.1``, else 2.5e-7 absolute (float64: times 2**-29).

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> lm.log_softmax(np.array([40.0, 0.0, -3.0]))
    array([-4.45986736e-18, -4.00000000e+01, -4.30000000e+01])
    """
    if temperature is _ONE and where is None and total is None:
        return run(_LOG_SOFTMAX, x, None, axis, out)
    given = {"temperature": temperature, "where": where, "total": total}
    return run(_LOG_SOFTMAX, x, None, axis, out, given)


def logsumexp(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: Array | None = None,
) -> Any:
    r"""Logarithm of the sum of exponentials, without overflow.

    .. math:: \log \sum_k \exp(x_k)

    Unlike `scipy.special.logsumexp`, the default is the last axis, not all elements.

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What is summed over; None means all elements.
    keepdims : bool
        Keep the reduced axes with extent 1.
    where : array_like of bool, optional
        Elements to take part; broadcasts to x.
    out : numpy.ndarray, optional
        Takes the result.

    Returns
    -------
    numpy.ndarray or scalar
        The shape of x without the reduced axes; float32 for 16-bit and float32 input, else
        float64.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As for `softmax`.

    Notes
    -----
    -inf for a sum of nothing: an empty axis, everything masked, or only -inf.  +inf for a row with
    +inf and no NaN; NaN with NaN.

    Error at most 1 ULP, or 2.5e-7 absolute (float64: times 2**-29) where the result is near 0.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> float(lm.logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    if where is None and not keepdims:
        return run(_LOGSUMEXP, x, None, axis, out)
    return run(_LOGSUMEXP, x, None, axis, out, {"where": where, "keepdims": bool(keepdims)})


def softmax_vjp(
    dy: ArrayLike,
    y: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = _ONE,
    out: Array | None = None,
) -> Any:
    r"""Vector-Jacobian product of softmax, from its output.

    .. math:: dx_i = y_i \left(dy_i - \sum_k y_k\, dy_k\right) / T

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to y; shape and dtype of y.
    y : array_like
        What `softmax` returned.
    axis, temperature
        As they were given to `softmax`.
    out : numpy.ndarray, optional
        Takes the result; may be dy or y itself.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x: shape and dtype of y.

    Raises
    ------
    TypeError
        dy and y differ in dtype, or it is not supported.
    ValueError
        dy and y differ in shape, and as for `softmax`.

    Notes
    -----
    A masked element (y = 0) gets 0.  NaN or inf in a row makes the row NaN.
    Error at most ``6 u y (|dy| + sum y |dy|)``, u = 2**-24 (float64: 2**-53), over T.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> y = lm.softmax(np.array([1.0, 2.0, 3.0]))
    >>> lm.softmax_vjp(np.array([1.0, 0.0, 0.0]), y).round(4)
    array([ 0.0819, -0.022 , -0.0599])
    """
    given = None if temperature is _ONE else {"temperature": temperature}
    return run(_SOFTMAX_VJP, dy, y, axis, out, given)


def log_softmax_vjp(
    dy: ArrayLike,
    y: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = _ONE,
    out: Array | None = None,
) -> Any:
    r"""Vector-Jacobian product of log-softmax, from its output.

    .. math:: dx_i = \left(dy_i - \exp(y_i) \sum_k dy_k\right) / T

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to y; shape and dtype of y.
    y : array_like
        What `log_softmax` returned.
    axis, temperature
        As they were given to `log_softmax`.
    out : numpy.ndarray, optional
        Takes the result; may be dy or y itself.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x: shape and dtype of y.

    Raises
    ------
    TypeError, ValueError
        As for `softmax_vjp`.

    Notes
    -----
    A masked element (y = -inf) gets dy / T.
    Error at most ``6 u (|dy| + exp(y) sum |dy|)``, u = 2**-24 (float64: 2**-53), over T.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> y = lm.log_softmax(np.array([1.0, 2.0, 3.0]))
    >>> lm.log_softmax_vjp(np.array([-1.0, 0.0, 0.0]), y).round(4)
    array([-0.91  ,  0.2447,  0.6652])
    """
    given = None if temperature is _ONE else {"temperature": temperature}
    return run(_LOG_SOFTMAX_VJP, dy, y, axis, out, given)


def exp_sum(x: ArrayLike, axis: Axis = -1) -> ExpSum:
    r"""Sum of exponentials as (mantissa, exponent), to be merged with others.

    .. math:: \sum_k \exp(x_k) = m \cdot 2^e

    Parameters
    ----------
    x : array_like
        Logits, dimensionless; dtypes as for `softmax`.
    axis : int, tuple of int or None
        What is summed over; None means all elements.

    Returns
    -------
    ExpSum
        Arrays of the shape of x without the reduced axes.

    Raises
    ------
    TypeError, numpy.exceptions.AxisError
        As for `softmax`.

    Notes
    -----
    -inf adds nothing; +inf and NaN stand in the mantissa.  An empty axis gives an empty sum.

    Examples
    --------
    A softmax over data that arrives in pieces:

    >>> import numpy as np
    >>> import lanemax as lm
    >>> pieces = [np.array([1.0, 2.0]), np.array([3.0])]
    >>> total = lm.ExpSum.empty()
    >>> for piece in pieces:
    ...     total = total + lm.exp_sum(piece)
    >>> [lm.softmax(piece, total=total).round(4).tolist() for piece in pieces]
    [[0.09, 0.2447], [0.6652]]
    """
    return ExpSum._of(run(_EXP_SUM, x, None, axis, None))
