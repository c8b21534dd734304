# SPDX-License-Identifier: Apache-2.0
"""The softmax family: arguments in, one call of the library, results out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _call, _check
from ._expsum import ExpSum

_ONE = 1.0
_LAST = -1  # the default axis; CPython has one object for it
_SOFTMAX, _LOG_SOFTMAX, _LOGSUMEXP, _SOFTMAX_VJP, _LOG_SOFTMAX_VJP, _EXP_SUM = (
    4 * _call.CODES[name]
    for name in (
        "softmax", "log_softmax", "logsumexp", "softmax_vjp", "log_softmax_vjp", "exp_sum",
    )
)  # fmt: skip


def _empty_like(x: Any) -> Any:
    """A fresh array in the memory order of x, as a ufunc gives."""
    if x.flags.c_contiguous:
        return np.empty(x.shape, x.dtype)
    return np.empty_like(x, order="K", subok=False)


def _run(
    name: str,
    x: Any,
    second: Any,
    axis: Any,
    *,
    out: Any = None,
    temperature: Any = 1.0,
    where: Any = None,
    total: Any = None,
    parameter: float | None = None,
    keepdims: bool = False,
    names: tuple[str, str] = ("x", "y"),
) -> Any:
    """One operation of the registry on any layout."""
    x = _check.array(names[0], x)
    if second is not None:
        second = _check.array(names[1], second)
        if x.dtype != second.dtype:
            raise TypeError(
                f"{names[0]}: expected the dtype of {names[1]}, {second.dtype}, got {x.dtype}"
            )
        if x.shape != second.shape:
            raise ValueError(
                f"{names[0]}: expected the shape of {names[1]}, {second.shape}, got {x.shape}"
            )
    shape, dtype = x.shape, x.dtype
    code = _check.dtype_code(dtype)
    assert code is not None
    over = _check.axes(axis, x.ndim)
    kind = _KINDS[name]
    real = np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)

    if total is not None:
        if where is not None or not (isinstance(temperature, float) and temperature == 1.0):
            raise ValueError("total: excludes where and temperature, which it cannot know of")
        if not isinstance(total, ExpSum):
            raise TypeError(f"total: expected an ExpSum, got {type(total).__name__}")
        total = _total(total, shape, over)
    rates = _check.temperatures(temperature, shape, over) if temperature is not _ONE else None
    mask = _check.mask(where, shape) if where is not None else None

    if kind == "row":
        out_shape, out_dtype = shape, dtype
    else:
        out_shape = _check.reduced_shape(shape, over, keepdims)
        out_dtype = real if kind == "value" else _call.SUM
    given = out
    if given is not None:
        given = _check.output(given, out_shape, out_dtype)
        if mask is not None and np.may_share_memory(given, mask):
            mask = mask.copy()  # it counts with the values it had; temperatures are copies already
    if math.prod(out_shape) == 0:
        return given if given is not None else np.empty(out_shape, out_dtype)

    # A mask with its own strides is one more array over the same index space.
    inputs = [a for a in (x, second, mask) if a is not None]
    if kind == "row":
        out = _empty_like(x) if given is None else given
        layout = _check.Layout(shape, over, inputs, out)
        if layout.copied:
            result, strides = np.empty(layout.shape[:2], dtype), (layout.shape[1], 1, 0)
        else:
            result, strides = layout.input(out)
    else:
        layout = _check.Layout(shape, over, inputs, None)
        result = np.empty((layout.shape[0], layout.shape[2]), out_dtype)
        strides = (layout.shape[2], 0, 1)

    a, a_strides = layout.input(x)
    b, b_strides = (None, None) if second is None else layout.input(second)
    options: dict[str, Any] = {} if parameter is None else {"parameter": parameter}
    if rates is not None:
        options["temperature"] = layout.per_row(rates)
    if mask is not None:
        options["where"] = layout.input(mask)
    if total is not None:
        options["total"] = layout.per_row(total)

    status = _call.row_op(
        name, code, layout.shape, a, a_strides, b, b_strides, result, strides, **options
    )
    if _call.needs_own_output(status) and kind == "row" and not layout.copied:
        # as if nothing were shared: into memory of its own first
        fresh = _empty_like(x)
        _run(name, x, second, axis, out=fresh, temperature=temperature, where=where,
             total=None if total is None else ExpSum._of(total), parameter=parameter,
             names=names)  # fmt: skip
        result[...] = fresh
        status = 0
    _call.check(status)

    if kind == "row":
        if layout.copied:
            out.transpose(layout.order)[...] = result.reshape(layout.extent)
        return given if given is not None else out[()]
    result = result.reshape(out_shape)
    if given is not None:
        given[...] = result
        return given
    return result[()] if kind == "value" else result


_KINDS = {op["name"]: op["result"] for op in _call.ROW_OPS}


def _total(total: ExpSum, shape: tuple[int, ...], over: tuple[int, ...]) -> Any:
    """The sums of `total`, shaped like a keepdims result."""
    keep = _check.reduced_shape(shape, over, True)
    if total.shape not in (keep, _check.reduced_shape(shape, over, False)):
        raise ValueError(
            f"total: expected shape {_check.reduced_shape(shape, over, False)}, got {total.shape}"
        )
    return total._sums.reshape(keep)


def softmax(
    x: Any,
    axis: Any = -1,
    *,
    temperature: Any = _ONE,
    where: Any = None,
    total: ExpSum | None = None,
    out: Any = None,
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
    if axis is _LAST and temperature is _ONE and where is None and total is None:
        y = _call.fast_row(_SOFTMAX, x, out)
        if y is not None:
            return y
    return _run(
        "softmax", x, None, axis, out=out, temperature=temperature, where=where, total=total
    )


def log_softmax(
    x: Any,
    axis: Any = -1,
    *,
    temperature: Any = _ONE,
    where: Any = None,
    total: ExpSum | None = None,
    out: Any = None,
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
    if axis is _LAST and temperature is _ONE and where is None and total is None:
        y = _call.fast_row(_LOG_SOFTMAX, x, out)
        if y is not None:
            return y
    return _run(
        "log_softmax", x, None, axis, out=out, temperature=temperature, where=where, total=total
    )


def logsumexp(
    x: Any, axis: Any = -1, *, keepdims: bool = False, where: Any = None, out: Any = None
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
    if axis is _LAST and keepdims is False and where is None:
        values = _call.fast_reduction(_LOGSUMEXP, x, out, False)
        if values is not None:
            return values[()] if out is None else out
    return _run("logsumexp", x, None, axis, where=where, keepdims=keepdims, out=out)


def softmax_vjp(
    dy: Any, y: Any, axis: Any = -1, *, temperature: Any = _ONE, out: Any = None
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
    if axis is _LAST and temperature is _ONE:
        dx = _call.fast_gradient(_SOFTMAX_VJP, dy, y, out)
        if dx is not None:
            return dx
    return _run("softmax_vjp", dy, _given(y), axis, out=out, temperature=temperature,
                names=("dy", "y"))  # fmt: skip


def log_softmax_vjp(
    dy: Any, y: Any, axis: Any = -1, *, temperature: Any = _ONE, out: Any = None
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
    if axis is _LAST and temperature is _ONE:
        dx = _call.fast_gradient(_LOG_SOFTMAX_VJP, dy, y, out)
        if dx is not None:
            return dx
    return _run("log_softmax_vjp", dy, _given(y), axis, out=out, temperature=temperature,
                names=("dy", "y"))  # fmt: skip


def _given(y: Any, name: str = "y") -> Any:
    """None is an array of nothing to `_run`, but a mistake here."""
    if y is None:
        raise TypeError(f"{name}: expected an array, got None")
    return y


def exp_sum(x: Any, axis: Any = -1) -> ExpSum:
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
    if axis is _LAST:
        sums = _call.fast_reduction(_EXP_SUM, x, None, True)
        if sums is not None:
            return ExpSum._of(sums)
    return ExpSum._of(_run("exp_sum", x, None, axis))
