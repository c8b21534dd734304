# SPDX-License-Identifier: Apache-2.0
"""The fixed set of calls whose results are hashed into golden.json.

Inputs come from raw PCG64 words by integer arithmetic and exact scaling, with no libm and no
Generator method, so that they are the same with every NumPy and on every machine.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator

import channels
import lanemax as lm
import numpy as np
import support
import test_activations
from registry import ALL, Function

LENGTHS = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    12,
    15,
    16,
    17,
    23,
    31,
    32,
    33,
    47,
    48,
    49,
    63,
    64,
    65,
    95,
    96,
    97,
    100,
    127,
    128,
    129,
    160,
    191,
    192,
    193,
    200,
    224,
    255,
    256,
    257,
    258,
    259,
    287,
    288,
    300,
    383,
    384,
    385,
    511,
    512,
    513,
    515,
    767,
    768,
    769,
    1000,
    1023,
    1024,
    1025,
    1537,
    2047,
    2048,
    2049,
    4095,
    4096,
    4097,
    8191,
    8192,
    8193,
    10007,
    16383,
    16384,
    16385,
    16415,
    16416,
    32767,
    32768,
    32769,
    50257,
    65535,
    65536,
    65537,
    131071,
    300007,
)


class Words:
    """A stream of 64-bit words."""

    def __init__(self, seed: int):
        self._stream = np.random.PCG64(seed)

    def integers(self, shape, below: int) -> np.ndarray:
        """Integers 0 <= i < below from the upper halves of the words."""
        n = int(np.prod(shape, dtype=np.int64))
        raw = self._stream.random_raw(n) if n else np.empty(0, np.uint64)
        return ((raw >> np.uint64(32)).astype(np.int64) * below >> 32).reshape(shape)

    def uniform(self, shape, magnitude: int) -> np.ndarray:
        """Multiples of magnitude * 2**-30 in [-magnitude, magnitude), exact in float64."""
        return (self.integers(shape, 2**31) - 2**30) * (magnitude * 2.0**-30)


def to(dtype, a) -> np.ndarray:
    """Rounded to nearest even by NumPy (ml_dtypes), which needs no libm.

    bfloat16 by way of float32, as ml_dtypes before 0.7 did by itself.
    """
    with np.errstate(all="ignore"):
        exact = np.asarray(a, dtype=np.float64)
        return (exact.astype(np.float32) if dtype.name == "bfloat16" else exact).astype(dtype)


def logits(words: Words, rows: int, n: int, dtype) -> np.ndarray:
    """Rows of logits of six kinds in turn."""
    x = words.uniform((rows, n), 1)
    kinds = words.integers((rows, n), 100)
    for r in range(rows):
        x[r] *= (1, 16, 100, 2**13, 3, 30)[r % 6]
        if r % 6 == 4:
            x[r][kinds[r] < 40] = -np.inf
        if r % 6 == 5 and n:
            x[r][n // 2] += 60
    return to(dtype, x)


def special(words: Words, n: int, dtype) -> np.ndarray:
    """Rows that hold NaN, infinities, huge and subnormal values, each at its own place."""
    big = {2: 6e4, 4: 3e38, 8: 1e308}[np.dtype(dtype).itemsize]
    put = (
        np.nan,
        np.inf,
        -np.inf,
        big,
        -big,
        300000.0,
        -800000.0,
        1e7,
        2.0**-140,
        -(2.0**-1070),
        -0.0,
    )
    x = words.uniform((len(put), n), 4)
    places = words.integers(len(put), max(n, 1))
    if n:
        x[np.arange(len(put)), places] = put
    return to(
        dtype,
        np.concatenate([x, np.full((1, n), -np.inf), np.full((1, n), big), np.full((1, n), -big)]),
    )


def probabilities(words: Words, rows: int, n: int, dtype) -> np.ndarray:
    """Numbers in [0, 1) of many magnitudes, some 0; gradients do not need a sum of 1."""
    y = np.abs(words.uniform((rows, n), 1))
    scale = words.integers((rows, n), 40)
    return to(dtype, np.where(scale == 0, 0.0, np.ldexp(y, -scale)))


def log_probabilities(words: Words, rows: int, n: int, dtype) -> np.ndarray:
    y = -np.abs(words.uniform((rows, n), 1))
    scale = words.integers((rows, n), 14)
    return to(dtype, np.where(scale == 0, -np.inf, np.ldexp(y, scale - 6)))


def inputs(function: Function, words: Words, rows: int, n: int, dtype) -> tuple[np.ndarray, ...]:
    if function.inputs == ("x",):
        return (logits(words, rows, n, dtype),)
    dy = to(dtype, words.uniform((rows, n), 4))
    draw = log_probabilities if function.name.startswith("log_") else probabilities
    return dy, draw(words, rows, n, dtype)


def results(function: Function, dtype):
    """(description, result) for every call that is hashed."""
    dtype = np.dtype(dtype)
    words = Words(20200109)
    for n in LENGTHS:
        arrays = inputs(function, words, 6 if n < 20000 else 1, n, dtype)
        yield f"n={n}", function(*arrays)
        if n < 600 and n % 3 == 0:
            columns = tuple(np.ascontiguousarray(a.T) for a in arrays)
            yield f"n={n} axis=0", function(*columns, axis=0)
    for n in (1, 5, 33, 300, 1025, 16390):
        if function.inputs == ("x",):
            yield f"special n={n}", function(special(words, n, dtype))
        arrays = inputs(function, words, 4, n, dtype)
        if "temperature" in function.options:
            yield f"temperature n={n}", function(*arrays, temperature=0.7)
            per_row = np.array([[0.5], [1.0], [1.3], [10.0]])
            yield f"temperatures n={n}", function(*arrays, temperature=per_row)
        if "where" in function.options:
            keep = words.integers((4, n), 10) < np.array([[0], [3], [9], [10]])
            yield f"where n={n}", function(*arrays, where=keep)
            yield (
                f"where axis=0 n={n}",
                function(
                    *(np.ascontiguousarray(a.T) for a in arrays),
                    axis=0,
                    where=np.ascontiguousarray(keep.T),
                ),
            )
        if "total" in function.options:
            other = logits(words, 4, 50, dtype)
            yield f"total n={n}", function(*arrays, total=lm.exp_sum(*arrays) + lm.exp_sum(other))
    arrays = inputs(function, words, 60, 84, dtype)
    cube = tuple(a.reshape(5, 12, 84) for a in arrays)
    for axis in (0, 1, 2, (0, 2), (1, 2), None):
        yield f"cube axis={axis}", function(*cube, axis=axis)
    arrays = inputs(function, words, 3000, 70, dtype)
    yield "many columns", function(*arrays, axis=0)


# ------------------------------------------------------------------ activations ---

CHANNELS = (1, 2, 7, 16, 33, 100, 257, 1030)
#: for the first parameters of each: the end of a chunk, and a row that is cut into chunks
LONG_CHANNELS = (16384, 20011)


def _arguments(case, words: Words, n: int) -> tuple:
    """Parameters of a case; in place of arrays that a Generator has drawn, words."""
    values = case.values(n) if isinstance(case, channels.Case) else case.values
    return tuple(words.uniform(v.shape, 4) if isinstance(v, np.ndarray) else v for v in values)


def activation_results(name: str, gradient: bool, dtype) -> Iterator[tuple[str, object]]:
    """(description, result) for every call of an activation, or of its gradient, that is hashed."""
    dtype = np.dtype(dtype)
    words = Words(20240611)
    cases = [c for c in (*test_activations.ALL, *channels.ALL) if c.name == name]
    for case in cases:
        function = getattr(lm, f"{case.python}_vjp" if gradient else case.python)
        of_channels = isinstance(case, channels.Case)
        inputs = len(case.arrays) if of_channels else 1
        options = case.options if of_channels else {}
        for least in CHANNELS + LONG_CHANNELS * (case is cases[0]):
            n = case.channels(least) if of_channels else least
            rows = 6 if n < 2000 else 1
            given = _arguments(case, words, n)
            up, dy = (to(dtype, words.uniform((rows, n), 4)) for _ in range(2))
            arrays = (dy,) * gradient + (logits(words, rows, n, dtype), up)[:inputs]
            yield f"{case!r} n={n}", function(*arrays, *given, **options)
        n = case.channels(33) if of_channels else 33
        given = _arguments(case, words, n)
        x = special(words, n, dtype)
        up, dy = (to(dtype, words.uniform(x.shape, 4)) for _ in range(2))
        arrays = (dy,) * gradient + (x, up)[:inputs]
        yield f"{case!r} special", function(*arrays, *given, **options)
        if not of_channels and case.takes_bias:
            bias = words.uniform(n, 2)
            yield f"{case!r} bias", function(*arrays, *given, bias=bias)


# ------------------------------------------------------------------ hashes ---


def _update(sha, result) -> None:
    """Shape and little-endian bytes of a result."""
    sha.update(str(result.shape).encode())
    sha.update(support.bits(result).astype(f"<u{result.dtype.itemsize}").tobytes())


def digest_activation(name: str, gradient: bool, dtype) -> str:
    """SHA-256 of all results in order, of which NaN may have any sign and payload."""
    sha = hashlib.sha256()
    for what, result in activation_results(name, gradient, dtype):
        sha.update(what.encode())
        for part in result if isinstance(result, tuple) else (result,):
            a = np.asarray(part)
            _update(sha, np.where(support.is_nan(a), np.zeros((), a.dtype), a))
            _update(sha, support.is_nan(a).astype(np.uint8))
    return sha.hexdigest()


def digest(function: Function, dtype) -> str:
    """SHA-256 of the little-endian bytes of all results in order."""
    sha = hashlib.sha256()
    for what, result in results(function, dtype):
        sha.update(what.encode())
        if isinstance(result, lm.ExpSum):
            parts = [
                np.asarray(result.mantissa),
                np.asarray(result.exponent),
                np.asarray(result.log()),
            ]
        else:
            parts = [np.asarray(result)]
        for part in parts:
            _update(sha, part)
    return sha.hexdigest()


#: name of a function, of the activations that in the registry -> its hash for a dtype
DIGESTS: dict[str, Callable[..., str]] = {f.name: functools.partial(digest, f) for f in ALL} | {
    f"{op['name']}{suffix}": functools.partial(digest_activation, op["name"], bool(suffix))
    for op in lm.activations()
    for suffix in ("", "_vjp")
}
