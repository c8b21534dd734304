# SPDX-License-Identifier: Apache-2.0
"""What several test files share: element types, bits, tiers, kinds of input, layouts."""

from __future__ import annotations

import contextlib
import platform

import lanemax as lm
import numpy as np

try:
    import ml_dtypes

    BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
except ImportError:  # the tests of bfloat16 are then skipped, and the summary says so
    BFLOAT16 = None

F16, F32, F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
DTYPES = [F32, F64, F16] + ([BFLOAT16] if BFLOAT16 is not None else [])
NARROW = [d for d in DTYPES if d.itemsize == 2]

CHUNK = 16384  # elements that are summed as one piece, whatever the threads
BLOCKS = (256, 512, 1024)  # where a kernel may change its ways

_BY_MACHINE = {
    "x86_64": ("portable", "avx2", "avx512"),
    "amd64": ("portable", "avx2", "avx512"),
    "aarch64": ("portable", "neon"),
    "arm64": ("portable", "neon"),
}
#: every tier that this kind of machine can have, and those that it does have
ALL_TIERS = _BY_MACHINE.get(platform.machine().lower(), ("portable",))
TIERS = tuple(t for t in ALL_TIERS if t in lm.available_isas())


@contextlib.contextmanager
def running(tier: str | None = None, threads: int | None = None):
    """Compute with this tier and thread count inside the block, and be sure of it."""
    with contextlib.ExitStack() as stack:
        if tier is not None:
            stack.enter_context(lm._core.context.using_isa(tier))
        if threads is not None:
            stack.enter_context(lm.num_threads(threads))
        assert tier is None or lm.isa() == tier
        assert threads is None or lm.get_num_threads() == threads
        yield


# ------------------------------------------------------------------ bits ---


def bits(result) -> np.ndarray:
    """The bits of an array, a scalar or an ExpSum, as unsigned integers."""
    if isinstance(result, lm.ExpSum):
        parts = [np.asarray(p).ravel() for p in (result.mantissa, result.exponent, result.log())]
        return np.concatenate([p.view(np.uint64) for p in parts])
    a = np.ascontiguousarray(result)
    return a.reshape(np.shape(result)).view(np.dtype(f"u{a.dtype.itemsize}"))


def same_bits(a, b) -> bool:
    """memcmp: the same dtype, shape and bits; -0 is not 0 and one NaN is not another."""
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_bits, a, b))
    x, y = bits(a), bits(b)
    return x.dtype == y.dtype and x.shape == y.shape and bool((x == y).all())


def assert_same_bits(got, want, what="") -> None:
    if same_bits(got, want):
        return
    x, y = bits(got), bits(want)
    assert x.shape == y.shape and x.dtype == y.dtype, (
        f"{what}: {x.dtype}{x.shape}, not {y.dtype}{y.shape}"
    )
    at = np.argwhere(x != y)
    i = tuple(int(v) for v in at[0])
    shown = (
        ""
        if isinstance(got, lm.ExpSum)
        else f": {np.asarray(got)[i]!r}, not {np.asarray(want)[i]!r}"
    )
    raise AssertionError(
        f"{what}: {len(at)} of {x.size} differ, first at {i}{shown}"
        f" ({int(x[i]):#x}, not {int(y[i]):#x})"
    )


#: the only NaN that lanemax makes of a row, per dtype
CANONICAL_NAN = {F32: 0x7FC00000, F64: 0x7FF8000000000000, F16: 0x7E00}
if BFLOAT16 is not None:
    CANONICAL_NAN[BFLOAT16] = 0x7FC0


def is_nan(a) -> np.ndarray:
    """np.isnan for every element type."""
    return np.isnan(np.asarray(a).astype(np.float64))


def rounded(a, dtype):
    """float32 (or float64) rounded once to dtype, without NumPy's warning about overflow."""
    with np.errstate(all="ignore"):
        return np.asarray(a).astype(dtype)


# ------------------------------------------------------------------ input ---

#: how far a dtype's logits may fall below the largest before the result is 0 in its compute type
_DEPTH = {F64: (708.0, 745.0)}


def _constant_and_peak(rng, shape, dtype):
    x = np.full(shape, rng.uniform(-3, 3))
    x[np.arange(len(x)), rng.integers(0, shape[1], len(x))] += rng.uniform(5, 40, len(x))
    return x


def _two_valued(rng, shape, dtype):
    return np.where(rng.random(shape) < 0.5, rng.normal(), rng.normal(0, 10))


def _mostly_masked(rng, shape, dtype):
    x = rng.normal(0, 3, shape)
    keep = rng.random(shape) < 0.01
    keep[np.arange(len(x)), rng.integers(0, shape[1], len(x))] = True
    return np.where(keep, x, -np.inf)


def _subnormal(rng, shape, dtype):
    tiny = float(np.finfo(np.float64 if dtype == F64 else np.float32).smallest_subnormal)
    return rng.integers(-(2**20), 2**20, shape) * tiny


def _any_finite(rng, shape, dtype):
    top = 1023 if dtype == F64 else 127
    return np.ldexp(rng.uniform(-1, 1, shape), rng.integers(-top, top, shape))


#: name -> function(rng, (rows, n), dtype) -> float64 logits, to be rounded to the dtype
KINDS = {
    "normal": lambda r, s, d: r.normal(size=s),
    "normal10": lambda r, s, d: r.normal(0, 10, s),
    "to_normal_end": lambda r, s, d: r.uniform(-_DEPTH.get(d, (88, 0))[0], 0, s),
    "to_subnormal_end": lambda r, s, d: r.uniform(-_DEPTH.get(d, (0, 110.0))[1], 0, s),
    "1e4": lambda r, s, d: r.uniform(-1e4, 1e4, s),
    "1e6": lambda r, s, d: r.uniform(-1e6, 1e6, s),
    "near_1e6": lambda r, s, d: 1e6 + r.uniform(-30, 0, s),
    "peak": _constant_and_peak,
    "ramp": lambda r, s, d: np.linspace(-60, 20, s[1]) + r.normal(size=(s[0], 1)),
    "two_valued": _two_valued,
    "cauchy": lambda r, s, d: r.standard_cauchy(s),
    "lognormal": lambda r, s, d: r.lognormal(0, 2, s),
    "masked": _mostly_masked,
    "subnormal": _subnormal,
    "any_finite": _any_finite,
    "constant": lambda r, s, d: np.full(s, r.normal(0, 5)),
}


def logits(kind: str, rng: np.random.Generator, shape: tuple[int, int], dtype) -> np.ndarray:
    """Rows of logits of a kind, in dtype; values that do not fit become the largest that do."""
    dtype = np.dtype(dtype)
    x = np.broadcast_to(KINDS[kind](rng, shape, dtype), shape) if min(shape) else np.empty(shape)
    top = {F16: 65504.0, F32: 3.4028234663852886e38, BFLOAT16: 3.3895313892515355e38}.get(
        dtype, np.inf
    )
    with np.errstate(under="ignore"):
        return np.where(x == -np.inf, x, np.clip(x, -top, top)).astype(dtype)


# ------------------------------------------------------------------ layouts ---


def _misaligned(a: np.ndarray, offset: int) -> np.ndarray:
    buffer = np.zeros(a.nbytes + 64, np.uint8)
    view = np.ndarray(a.shape, a.dtype, buffer, offset)
    view[...] = a
    return view


def _in_structure(a: np.ndarray, pad: int) -> np.ndarray:
    """Elements a.itemsize + pad bytes apart, the first at an odd address."""
    step = a.itemsize + pad
    buffer = np.zeros(a.size * step + 8, np.uint8)
    strides, s = [], step
    for n in reversed(a.shape):
        strides.insert(0, s)
        s *= max(n, 1)
    view = np.ndarray(a.shape, a.dtype, buffer, pad, strides)
    view[...] = a
    return view


def _spaced(a: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Every |step|-th element of something larger; backwards where the step is negative."""
    steps = (1,) * (a.ndim - len(steps)) + steps[max(0, len(steps) - a.ndim) :]
    # filled with ones: what lies between must not be read, and is no trap by itself
    big = np.ones([max(n * abs(s), 1) for n, s in zip(a.shape, steps, strict=True)], a.dtype)
    view = big[tuple(slice(None, None, abs(s)) for s in steps)]
    view = view[tuple(slice(0, n) for n in a.shape)][
        tuple(slice(None, None, 1 if s > 0 else -1) for s in steps)
    ]
    view[...] = a
    return view


def _padded_rows(a: np.ndarray, extra: int) -> np.ndarray:
    big = np.ones((*a.shape[:-1], a.shape[-1] + extra), a.dtype)
    view = big[..., : a.shape[-1]]
    view[...] = a
    return view


#: name -> function(array of at least one axis) -> the same values somewhere else
LAYOUTS = {
    "fortran": lambda a: np.asfortranarray(a),
    "row_plus_1": lambda a: _padded_rows(a, 1),
    "row_plus_16": lambda a: _padded_rows(a, 16),
    "rows_2": lambda a: _spaced(a, (2, 1)),
    "rows_backwards": lambda a: _spaced(a, (-1, 1)),
    "columns_2": lambda a: _spaced(a, (1, 2)),
    "columns_3": lambda a: _spaced(a, (1, 3)),
    "columns_7": lambda a: _spaced(a, (2, 7)),
    "columns_backwards": lambda a: _spaced(a, (1, -1)),
    "columns_backwards_2": lambda a: _spaced(a, (-3, -2)),
    "offset_1_element": lambda a: _misaligned(a, a.itemsize),
    "offset_5_elements": lambda a: _misaligned(a, 5 * a.itemsize),
    "offset_1_byte": lambda a: _misaligned(a, 1),
    "offset_3_bytes": lambda a: _misaligned(a, 3),
    "stride_plus_1_byte": lambda a: _in_structure(a, 1),
    "stride_plus_3_bytes": lambda a: _in_structure(a, 3),
    "swapped_bytes": lambda a: (
        a.astype(a.dtype.newbyteorder()) if a.dtype.kind == "f" else a.copy()
    ),
}
