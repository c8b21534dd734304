# SPDX-License-Identifier: Apache-2.0
"""The one table of public functions that drives the tests.

A row says how a function is called, what it takes, what the right answer is, how close the answer
has to be and what special values become.  Accuracy, bits, golden hashes, layouts, special values,
gradients and bad input are tested for every row; a new function gets all that by adding one.
`test_registry.py` fails while an operation of the C registry has no row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lanemax as lm
import numpy as np
import oracle
import support
from oracle import Ref

# ------------------------------------------------------------------ bounds ---
# Each returns |error| / allowed, so that 1 is the limit.  `arrays` are the inputs in their dtype.


def _rounding_of_quotient(ref_p: Ref, x, temperature, where) -> np.ndarray:
    """What one rounding of x / temperature may do to log p, in units of the unit roundoff."""
    with np.errstate(all="ignore"):
        t = np.abs(np.asarray(x).astype(np.float64) / np.asarray(temperature, dtype=np.float64))
        t = np.where(np.isfinite(t), t, 0.0)
        if where is not None:
            t = np.where(where, t, 0.0)
        p = np.nan_to_num(ref_p.value)
        return t + np.sum(p * t, axis=-1, keepdims=True)


def softmax_bound(got, ref, arrays, fmt, options) -> np.ndarray:
    """A2: 4 ULP, 2 quanta where subnormal, 0 only below half a quantum, never above 1, never -0."""
    total = options.get("total") is not None
    normal = oracle.is_normal(ref, fmt)
    allowed = np.where(normal, 4.0, 2.0)
    if options.get("temperature") is not None:
        # relative u * slack is at most 2 * u * slack / (2 u) = slack ULP
        slack = _rounding_of_quotient(ref, arrays[0], options["temperature"], options.get("where"))
        allowed = allowed + np.where(normal, 1.01 * slack, 1.01 * slack + 1)
    ratio = oracle.ulp_error(got, ref, fmt) / allowed
    g = np.asarray(got)
    quantum = 2.0 ** (fmt.emin - fmt.bits + 1)
    if options.get("temperature") is None:
        ratio = np.where((g == 0) & (ref.value > quantum / 2), np.inf, ratio)
    if not total:
        ratio = np.where(g > 1, np.inf, ratio)
    return np.where(np.signbit(g), np.inf, ratio)


def log_softmax_bound(got, ref, arrays, fmt, options) -> np.ndarray:
    """A3: 3 ULP for every element; with `total`, 2.5e-7 absolute where |result| < 0.1."""
    q = oracle.quantum_exponent(ref, fmt)
    allowed = np.full(np.shape(ref.hi), 3.0)
    if options.get("total") is not None:
        with np.errstate(over="ignore"):
            allowed = np.where(np.abs(ref.hi) >= 0.1, allowed, np.ldexp(_absolute(fmt), -q))
    elif options.get("temperature") is not None:
        p = oracle.softmax(
            arrays[0], temperature=options["temperature"], where=options.get("where")
        )
        slack = _rounding_of_quotient(p, arrays[0], options["temperature"], options.get("where"))
        with np.errstate(over="ignore"):
            allowed = allowed + np.ldexp(1.01 * fmt.u * slack, -q)
    return oracle.difference(got, ref, q) / allowed


def _absolute(fmt) -> float:
    return 2.5e-7 if fmt is oracle.F32 else 2.5e-7 * 2.0**-29


def logsumexp_bound(got, ref, arrays, fmt, options) -> np.ndarray:
    """A4: 1 ULP, or 2.5e-7 absolute (float64: times 2^-29)."""
    q = oracle.quantum_exponent(ref, fmt)
    with np.errstate(over="ignore"):
        return oracle.difference(got, ref, q) / np.maximum(1.0, np.ldexp(_absolute(fmt), -q))


def _vjp_ratio(got, ref, allowed, fmt) -> np.ndarray:
    """|error| / allowed with one quantum of the subnormals granted."""
    quantum = fmt.emin - fmt.bits + 1
    q = np.maximum(np.frexp(allowed)[1], quantum)
    with np.errstate(under="ignore"):
        return oracle.difference(got, ref, q) / (np.ldexp(allowed, -q) + np.ldexp(1.0, quantum - q))


def softmax_vjp_bound(got, ref, arrays, fmt, options) -> np.ndarray:
    """A9: 6 u y (|dy| + sum y |dy|); a temperature adds one ULP."""
    dy, y = (np.asarray(a).astype(np.float64) for a in arrays)
    t = options.get("temperature")
    with np.errstate(under="ignore"):
        scale = y * (np.abs(dy) + np.sum(y * np.abs(dy), axis=-1, keepdims=True))
        allowed = 6.0 * fmt.u * scale if t is None else 8.0 * fmt.u * scale / t
    return _vjp_ratio(got, ref, allowed, fmt)


def log_softmax_vjp_bound(got, ref, arrays, fmt, options) -> np.ndarray:
    """6 u (|dy| + exp(y) sum |dy|); a temperature adds one ULP."""
    dy, y = (np.asarray(a).astype(np.float64) for a in arrays)
    t = options.get("temperature")
    with np.errstate(under="ignore"):
        scale = np.abs(dy) + np.exp(y) * np.sum(np.abs(dy), axis=-1, keepdims=True)
        allowed = 6.0 * fmt.u * scale if t is None else 8.0 * fmt.u * scale / t
    return _vjp_ratio(got, ref, allowed, fmt)


def exp_sum_bound(got, ref, arrays, fmt, options) -> np.ndarray:
    """Its logarithm is a log-sum-exp in double: 1 ULP of the compute type, or 2.5e-7 absolute."""
    return logsumexp_bound(got.log(), ref, arrays, fmt, options)


# ------------------------------------------------------------------ samples ---


def _logits_only(kind, rng, shape, dtype):
    return (support.logits(kind, rng, shape, dtype),)


def _log_probabilities(kind, rng, shape):
    """In float64 and by the book: inputs of gradients need to be likely, not exact."""
    x = support.logits(kind, rng, shape, np.float64)
    if not x.size:
        return x
    with np.errstate(all="ignore"):
        x = x - x.max(axis=1, keepdims=True)
        return np.nan_to_num(
            x - np.log(np.exp(x).sum(axis=1, keepdims=True)), nan=-1.0, neginf=-np.inf
        )


def _with_probabilities(kind, rng, shape, dtype):
    with np.errstate(under="ignore"):
        y = np.exp(_log_probabilities(kind, rng, shape))
    return support.logits("normal", rng, shape, dtype), support.rounded(y, dtype)


def _with_log_probabilities(kind, rng, shape, dtype):
    y = _log_probabilities(kind, rng, shape)
    # a log-probability beyond the range of float16 would round to -inf, which means masked
    y = support.rounded(np.where(y == -np.inf, y, np.maximum(y, -6e4)), dtype)
    return support.logits("normal", rng, shape, dtype), y


# ------------------------------------------------------------------ special values ---

NAN, INF = np.nan, np.inf
HUGE = 3.4028234663852886e38  # FLT_MAX

#: (row of logits, its softmax, its log-softmax, its log-sum-exp) where special values decide
SPECIAL_ROWS = [
    ([NAN, 0.0], [NAN, NAN], [NAN, NAN], NAN),
    ([0.0, NAN], [NAN, NAN], [NAN, NAN], NAN),
    ([INF, 0.0], [NAN, NAN], [NAN, NAN], INF),
    ([INF, INF], [NAN, NAN], [NAN, NAN], INF),
    ([INF, -INF], [NAN, NAN], [NAN, NAN], INF),
    ([INF, NAN], [NAN, NAN], [NAN, NAN], NAN),
    ([NAN, -INF], [NAN, NAN], [NAN, NAN], NAN),
    ([-INF, -INF], [NAN, NAN], [NAN, NAN], -INF),
    ([-INF], [NAN], [NAN], -INF),
    ([NAN], [NAN], [NAN], NAN),
    ([INF], [NAN], [NAN], INF),
    ([0.0], [1.0], [0.0], 0.0),
    ([HUGE], [1.0], [0.0], HUGE),
    ([-HUGE], [1.0], [0.0], -HUGE),
    ([7.5], [1.0], [0.0], 7.5),
    ([-INF, 3.0], [0.0, 1.0], [-INF, 0.0], 3.0),
    ([3.0, -INF], [1.0, 0.0], [0.0, -INF], 3.0),
    ([-INF, -HUGE, -INF], [0.0, 1.0, 0.0], [-INF, 0.0, -INF], -HUGE),
    ([HUGE, -HUGE, 0.0], [1.0, 0.0, 0.0], None, HUGE),
    ([-HUGE, -HUGE], [0.5, 0.5], [-np.log(2), -np.log(2)], -HUGE),
    ([HUGE, HUGE], [0.5, 0.5], [-np.log(2), -np.log(2)], HUGE),
    ([1e8, 1e8], [0.5, 0.5], [-np.log(2), -np.log(2)], 1e8 + np.log(2)),
    ([-1e30, -1e30, -1e30, -1e30], [0.25] * 4, [-np.log(4)] * 4, -1e30),
    ([0.0, -0.0], [0.5, 0.5], [-np.log(2), -np.log(2)], np.log(2)),
    ([-1e9, 0.0, -1e9], [0.0, 1.0, 0.0], [-1e9, 0.0, -1e9], 0.0),
    ([1e-45, -1e-45], [0.5, 0.5], [-np.log(2), -np.log(2)], np.log(2)),
]


# ------------------------------------------------------------------ the table ---


@dataclass(frozen=True)
class Function:
    """One public function."""

    name: str
    inputs: tuple[str, ...]
    result: str  # "row": an array like the input; "value": one real per row; "sum": an ExpSum
    options: frozenset[str]
    reference: Callable[..., Ref]  # of 2-D input, along the rows
    bound: Callable[..., np.ndarray]  # (got, ref, arrays, format, options) -> error / allowed
    sample: Callable[..., tuple]  # (kind, rng, (rows, n), dtype) -> input arrays
    #: column of SPECIAL_ROWS that says what special rows give, for functions of logits
    special: int | None = None
    #: the function whose vector-Jacobian product this is, and whether it is given that one's output
    vjp_of: str | None = None
    #: the name of the vector-Jacobian product, for differentiable functions that have one
    vjp: str | None = None

    def __call__(self, *arrays, **options):
        return getattr(lm, self.name)(*arrays, **options)

    def __repr__(self) -> str:
        return self.name

    @property
    def takes_out(self) -> bool:
        return "out" in self.options

    def result_dtype(self, dtype) -> np.dtype:
        """Row reductions of 16-bit input come back as float32."""
        dtype = np.dtype(dtype)
        return support.F32 if self.result != "row" and dtype.itemsize == 2 else dtype

    def result_shape(self, shape, axis=-1, keepdims=False) -> tuple[int, ...]:
        if self.result == "row":
            return tuple(shape)
        axes = range(len(shape)) if axis is None else [axis] if isinstance(axis, int) else axis
        axes = {a % len(shape) for a in axes} if shape else set()
        if keepdims:
            return tuple(1 if i in axes else n for i, n in enumerate(shape))
        return tuple(n for i, n in enumerate(shape) if i not in axes)

    def excess(self, arrays, got, reference: Ref | None = None, **options) -> np.ndarray:
        """|error| / allowed for every element of the result of 2-D input along the rows.

        16-bit input is right if it gives the bits of float32 input, rounded once.  `reference` is
        needed with `total`, which the oracle cannot see through.
        """
        dtype = arrays[-1].dtype
        if dtype.itemsize == 2:
            wide = self(*(a.astype(np.float32) for a in arrays), **options)
            if self.result == "row":
                wide = support.rounded(wide, dtype)
            return np.where(support.bits(got) == support.bits(wide), 0.0, np.inf)
        fmt = oracle.format_of(dtype)
        ref = self._reference(arrays, options) if reference is None else reference
        return self.bound(got, oracle.overflowed(ref, fmt), arrays, fmt, options)

    def _reference(self, arrays, options) -> Ref:
        wide = (a.astype(np.float32) if a.dtype.itemsize == 2 else a for a in arrays)
        return self.reference(
            *wide, **{k: v for k, v in options.items() if k in ("temperature", "where")}
        )

    def check(self, arrays, got, what="", reference: Ref | None = None, **options) -> np.ndarray:
        """Fail, with everything needed to reproduce, where the result is not within its bound."""
        ratio = np.asarray(self.excess(arrays, got, reference, **options))
        wrong = ~(ratio <= 1)
        if wrong.any():
            dtype = arrays[-1].dtype
            at = np.unravel_index(int(np.argmax(np.nan_to_num(ratio, nan=np.inf))), ratio.shape)
            at = tuple(int(i) for i in at)
            values = got.log() if self.result == "sum" else got
            want = (self._reference(arrays, options) if reference is None else reference).value
            raise AssertionError(
                f"{self.name} [{lm.isa()}] {what}: {dtype} n={arrays[-1].shape[-1]} at {at}: "
                f"got {np.asarray(values)[at]!r}, want {np.asarray(want)[at]!r}, "
                f"{ratio[at]:.4g} of what is allowed; {wrong.sum()} of {ratio.size} wrong"
            )
        return ratio


FUNCTIONS = {
    f.name: f
    for f in (
        Function(
            "softmax",
            ("x",),
            "row",
            frozenset({"temperature", "where", "total", "out"}),
            oracle.softmax,
            softmax_bound,
            _logits_only,
            special=1,
            vjp="softmax_vjp",
        ),
        Function(
            "log_softmax",
            ("x",),
            "row",
            frozenset({"temperature", "where", "total", "out"}),
            oracle.log_softmax,
            log_softmax_bound,
            _logits_only,
            special=2,
            vjp="log_softmax_vjp",
        ),
        Function(
            "logsumexp",
            ("x",),
            "value",
            frozenset({"keepdims", "where", "out"}),
            oracle.logsumexp,
            logsumexp_bound,
            _logits_only,
            special=3,
        ),
        Function(
            "softmax_vjp",
            ("dy", "y"),
            "row",
            frozenset({"temperature", "out"}),
            oracle.softmax_vjp,
            softmax_vjp_bound,
            _with_probabilities,
            vjp_of="softmax",
        ),
        Function(
            "log_softmax_vjp",
            ("dy", "y"),
            "row",
            frozenset({"temperature", "out"}),
            oracle.log_softmax_vjp,
            log_softmax_vjp_bound,
            _with_log_probabilities,
            vjp_of="log_softmax",
        ),
        Function(
            "exp_sum",
            ("x",),
            "sum",
            frozenset(),
            oracle.logsumexp,
            exp_sum_bound,
            _logits_only,
            special=3,
        ),
    )
}

ALL = list(FUNCTIONS.values())
TAKING_OUT = [f for f in ALL if f.takes_out]
OF_LOGITS = [f for f in ALL if f.inputs == ("x",)]
ROWWISE = [f for f in ALL if f.result == "row"]


def with_option(option: str) -> list[Function]:
    """The functions that take an option."""
    return [f for f in ALL if option in f.options]
