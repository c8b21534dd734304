# SPDX-License-Identifier: Apache-2.0
"""Results that are promised exactly: infinities, NaN, masks, empty arrays, errors, merged sums."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np

import lanemax as lm

from .oracle import Array

#: What is promised, in words, and whether it holds.
Promise: TypeAlias = tuple[str, Callable[[], bool]]

#: The library sums rows in chunks of this many elements; folding them in order changes no bit.
CHUNK = 16384

#: The largest finite numbers; NumPy's finfo does not know bfloat16.
LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895e38,
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
}


def _value_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a row's reduction: float32 stands for the 16-bit types."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def _same(got: Any, want: Any, dtype: np.dtype[Any]) -> bool:
    """Compare shape, type and every bit; NaN is the canonical quiet NaN."""
    g, w = np.asarray(got), np.asarray(want, np.float64).astype(dtype)
    return g.shape == w.shape and g.dtype == w.dtype and g.tobytes() == w.tobytes()


def _gives(
    function: Callable[..., Any], x: Array, want: Any, dtype: np.dtype[Any], **options: Any
) -> Callable[[], bool]:
    """Return a test that `function` of `x` is exactly `want`."""
    return lambda: _same(function(x, **options), want, dtype)


def _raises(error: type[BaseException], call: Callable[[], Any]) -> bool:
    try:
        call()
    except error:
        return True
    except Exception:  # the wrong kind of exception is the failure that is looked for
        return False
    return False


def promises(dtype: np.dtype[Any]) -> Iterator[Promise]:
    """Yield every promise for arrays of `dtype`."""
    inf, nan = np.inf, np.nan
    top = float(np.asarray(LARGEST[dtype.name]).astype(dtype))
    value = _value_dtype(dtype)

    def array(*row: float) -> Array:
        return np.array(row, np.float64).astype(dtype)

    rows: list[tuple[str, tuple[float, ...], Any, Any, float]] = [
        # name, row, softmax, log_softmax (None: not compared), logsumexp
        ("NaN first", (nan, 1, 2), [nan] * 3, [nan] * 3, nan),
        ("NaN last", (1, 2, nan), [nan] * 3, [nan] * 3, nan),
        ("+inf", (0, inf, 1), [nan] * 3, [nan] * 3, inf),
        ("+inf and NaN", (nan, inf), [nan] * 2, [nan] * 2, nan),
        ("all -inf", (-inf, -inf), [nan] * 2, [nan] * 2, -inf),
        ("one -inf", (-inf,), [nan], [nan], -inf),
        ("-inf is a mask", (-inf, 0, -inf), [0, 1, 0], None, 0.0),
        ("largest and smallest number", (top, -top, 0), [1, 0, 0], None, top),
        ("two equal logits", (3, 3), [0.5, 0.5], None, 3 + float(np.log(2.0))),
    ]
    for name, row, soft, log, lse in rows:
        x = array(*row)
        yield f"softmax, {name}", _gives(lm.softmax, x, soft, dtype)
        if log is not None:
            yield f"log_softmax, {name}", _gives(lm.log_softmax, x, log, dtype)
        if name != "two equal logits":
            yield f"logsumexp, {name}", _gives(lm.logsumexp, x, lse, value)

    one = array(-7.5)
    yield "softmax of one element", _gives(lm.softmax, one, [1.0], dtype)
    yield "log_softmax of one element", lambda: bool(np.all(lm.log_softmax(one) == 0))
    yield "logsumexp of one element", _gives(lm.logsumexp, one, -7.5, value)
    yield "softmax of a scalar", lambda: _same(lm.softmax(array(2.0)[0]), 1.0, dtype)
    long = np.full(1000, -inf).astype(dtype)
    long[777] = 1.0
    yield "one kept among 999 masked", _gives(lm.softmax, long, np.arange(1000) == 777, dtype)
    for shape in ((0,), (3, 0), (0, 3)):
        empty = np.empty(shape, dtype)
        less = np.full(shape[:-1], -inf)
        yield f"softmax of shape {shape}", _gives(lm.softmax, empty, empty, dtype)
        yield f"log_softmax of shape {shape}", _gives(lm.log_softmax, empty, empty, dtype)
        yield f"logsumexp of shape {shape}", _gives(lm.logsumexp, empty, less, value)
        yield f"softmax_vjp of shape {shape}", _gives(lm.softmax_vjp, empty, empty, dtype, y=empty)

    x = array(nan, 1, inf, 1)
    keep = np.array([False, True, False, True])
    none = np.zeros(4, bool)
    kept = [0, 0.5, 0, 0.5]
    yield "where hides NaN and inf", _gives(lm.softmax, x, kept, dtype, where=keep)
    yield "where hides everything: 0", _gives(lm.softmax, x, [0] * 4, dtype, where=none)
    yield "where hides everything: -inf", _gives(lm.log_softmax, x, [-inf] * 4, dtype, where=none)
    yield "logsumexp of nothing", _gives(lm.logsumexp, x, -inf, value, where=none)
    gone = array(-inf, 5, -inf, 6)
    first = np.array([True, False, True, False])
    yield (
        "where keeps only -inf: NaN there",
        _gives(lm.softmax, gone, [nan, 0, nan, 0], dtype, where=first),
    )

    y, dy = array(0, 1, 0), array(5, 7, -2)
    yield (
        "softmax_vjp at probability 0 and 1",
        lambda: bool(np.all(np.asarray(lm.softmax_vjp(dy, y), np.float64) == 0.0)),
    )
    logs = array(-inf, 0, -inf)
    yield (
        "log_softmax_vjp at -inf is dy",
        lambda: bool(
            np.all(np.asarray(lm.log_softmax_vjp(dy, logs), np.float64)[[0, 2]] == (5.0, -2.0))
        ),
    )

    yield from _positive(dtype)
    yield from _channels(dtype)
    if dtype.itemsize > 2:
        yield from _sums(dtype)
    yield from _errors(dtype)


def _positive(dtype: np.dtype[Any]) -> Iterator[Promise]:
    """Yield what is promised about softmax with another function than the exponential."""
    inf, nan = np.inf, np.nan
    top = float(np.asarray(LARGEST[dtype.name]).astype(dtype))
    names = ("spherical_softmax", "taylor_softmax", "stablemax")
    rows: list[tuple[str, tuple[float, ...], tuple[Any, Any, Any]]] = [
        # row, results of the three
        ("NaN", (1, nan), ([nan] * 2,) * 3),
        ("+inf", (inf, 1), ([nan] * 2,) * 3),
        ("-inf", (-inf, 1), ([nan] * 2, [nan] * 2, [0, 1])),
        ("all -inf", (-inf, -inf), ([nan] * 2,) * 3),
        ("one element", (-7.5,), ([1],) * 3),
        ("the largest number twice", (top, top), ([0.5] * 2,) * 3),
        ("zeros", (0, 0), ([0.5] * 2,) * 3),
    ]
    for row, values, results in rows:
        x = np.array(values, np.float64).astype(dtype)
        for name, want in zip(names, results, strict=True):
            yield f"{name}, {row}", _gives(getattr(lm, name), x, want, dtype)
    one = np.array([-7.5], np.float64).astype(dtype)
    yield "log_stablemax of one element", lambda: bool(np.all(lm.log_stablemax(one) == 0))
    pair = np.array([-inf, 1.0]).astype(dtype)
    yield (
        "log_stablemax of a masked element",
        lambda: bool(lm.log_stablemax(pair)[0] == -inf and lm.log_stablemax(pair)[1] == 0),
    )
    zeros = np.zeros(2, dtype)
    yield (
        "spherical_softmax of zeros with eps = 0",
        _gives(lm.spherical_softmax, zeros, [nan] * 2, dtype, eps=0),
    )
    yield "an odd order", lambda: _raises(ValueError, lambda: lm.taylor_softmax(zeros, order=3))
    yield "a negative eps", lambda: _raises(ValueError, lambda: lm.spherical_softmax(zeros, eps=-1))


def _channels(dtype: np.dtype[Any]) -> Iterator[Promise]:
    """Yield what is promised about activations of channels."""
    inf, nan = np.inf, np.nan
    calls: dict[str, tuple[Callable[..., Any], tuple[float, ...], Any]] = {
        # name: function, row, result
        "poly_norm of a row with inf": (lambda x: lm.poly_norm(x, [1.0], 0.0), (1, inf), [nan] * 2),
        "poly_norm of zeros": (lambda x: lm.poly_norm(x, [1.0], 0.25), (0, 0, 0), [0.25] * 3),
        "rational, limits": (
            lambda x: lm.rational(x, [1.0, 3.0], [2.0]),
            (-inf, inf, 0, nan),
            [-1.5, 1.5, 1, nan],
        ),
        "max_min of pairs": (lm.max_min, (1, 2, nan, 3, -inf, inf), [2, 1, nan, nan, inf, -inf]),
        "group_sort of threes": (
            lambda x: lm.group_sort(x, 3),
            (3, inf, -inf, 1, nan, 2),
            [-inf, 3, inf, nan, nan, nan],
        ),
        "householder of pairs": (
            lambda x: lm.householder(x, 0.0),
            (1, -2, 3, 4, nan, 0),
            [1, 2, 3, 4, nan, nan],
        ),
        "reglu": (
            lambda x: lm.reglu(x, x[::-1]),
            (-inf, 2, nan, 3),
            [0, nan, nan, -inf],
        ),
    }
    for name, (function, row, want) in calls.items():
        yield name, _gives(function, np.array(row, np.float64).astype(dtype), want, dtype)
    three = np.zeros(3, dtype)
    yield "an odd number of channels", lambda: _raises(ValueError, lambda: lm.max_min(three))
    yield (
        "groups that do not divide",
        lambda: _raises(ValueError, lambda: lm.group_sort(three, 2)),
    )


def _sums(dtype: np.dtype[Any]) -> Iterator[Promise]:
    """Yield what is promised about partial sums of exponentials."""
    x = (np.random.default_rng(5).standard_normal(5 * CHUNK + 777) * 20).astype(dtype)
    whole = lm.exp_sum(x)

    def folded(cut: int) -> Any:
        total = lm.exp_sum(x[:cut])
        for start in range(cut, x.size, cut):
            total = total + lm.exp_sum(x[start : start + cut])
        return total

    def equal(a: Any, b: Any) -> bool:
        return bool(np.all(a.mantissa == b.mantissa) and np.all(a.exponent == b.exponent))

    def close(a: Any, b: Any) -> bool:
        ratio = np.ldexp(a.mantissa, np.asarray(a.exponent - b.exponent, np.int32)) / b.mantissa
        return bool(abs(float(ratio) - 1.0) <= 2 * float(np.finfo(dtype).eps))

    yield "exp_sum: chunks folded in order", lambda: equal(folded(CHUNK), whole)
    yield "exp_sum: any other cut", lambda: close(folded(1000), whole)
    yield (
        "exp_sum: nothing is the identity",
        lambda: (
            equal(lm.ExpSum.empty(()) + whole, whole) and equal(whole + lm.ExpSum.empty(()), whole)
        ),
    )
    yield "exp_sum: pickled", lambda: equal(pickle.loads(pickle.dumps(whole)), whole)
    yield (
        "exp_sum of only -inf",
        lambda: equal(lm.exp_sum(np.full(3, -np.inf, dtype)), lm.ExpSum.empty(())),
    )
    yield (
        "softmax(total=) has the bits of softmax",
        lambda: bool(lm.softmax(x, total=whole).tobytes() == lm.softmax(x).tobytes()),
    )


def _errors(dtype: np.dtype[Any]) -> Iterator[Promise]:
    """Yield what is promised about input that cannot be used."""
    x = np.zeros((2, 3), dtype)
    other = np.dtype(np.float32 if dtype == np.float64 else np.float64)
    axis_error: type[BaseException] = getattr(np, "exceptions", np).AxisError
    yield "axis out of range", lambda: _raises(axis_error, lambda: lm.softmax(x, axis=2))
    for bad in (0.0, -1.0, np.nan):
        yield (
            f"temperature {bad}",
            partial(_raises, ValueError, partial(lm.softmax, x, temperature=bad)),
        )
    yield (
        "out of another shape",
        lambda: _raises(ValueError, lambda: lm.softmax(x, out=np.zeros((3, 2), dtype))),
    )
    yield (
        "out of another type",
        lambda: _raises(TypeError, lambda: lm.softmax(x, out=np.zeros((2, 3), other))),
    )
    yield (
        "dy of another type than y",
        lambda: _raises(TypeError, lambda: lm.softmax_vjp(x.astype(other), x)),
    )
    yield "complex input", lambda: _raises(TypeError, lambda: lm.softmax(np.zeros(3, np.complex64)))
