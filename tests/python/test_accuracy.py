# SPDX-License-Identifier: Apache-2.0
"""Error in ULP over lengths, kinds of input and element types, without absolute tolerances.

All tiers have the same bits (test_bits.py), so the sweep runs on the best one.
"""

import json
import math
import pathlib

import lanemax as lm
import mpmath
import numpy as np
import oracle
import pytest
import support
from registry import ALL, FUNCTIONS, OF_LOGITS, ROWWISE
from support import BFLOAT16, CHUNK, F16, F32, F64, KINDS

LENGTHS = (1, 2, 3, 5, 10, 32, 33, 100, 257, 1000, 4097, 32000, 50257, 128256, 10**6)
#: lengths and outputs per length of float64, whose reference costs a hundred times more
LENGTHS_F64 = (1, 2, 3, 5, 10, 32, 33, 100, 257, 1000, 4097, 32000)


def seed(*what):
    return np.random.default_rng(list("/".join(map(str, what)).encode()))


def batches(kind, dtype, function):
    """Arrays (rows, n) of one kind for every length: two million float32 outputs in all."""
    vjp = len(function.inputs) == 2
    if dtype == F64:
        budget, lengths = (4000 if vjp else 8000), LENGTHS_F64
    else:
        budget, lengths = (20_000 if vjp else 100_000), LENGTHS if not vjp else LENGTHS[:-2]
    for n in lengths:
        rows = min(max(1, budget // n), 2000 if dtype != F64 else 400)
        yield function.sample(kind, seed(kind, dtype, n), (rows, n), dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_error_is_within_the_bound(function, dtype, kind):
    for arrays in batches(kind, dtype, function):
        function.check(arrays, function(*arrays), kind)


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("dtype", support.NARROW, ids=str)
def test_16_bit_results_are_the_float32_results_rounded_once(function, dtype):
    for kind in KINDS:
        for n in (1, 2, 3, 7, 33, 100, 1000, 16384 + 7):
            arrays = function.sample(kind, seed(kind, n), (max(1, 300 // n), n), dtype)
            function.check(arrays, function(*arrays), kind)


def every_value(dtype):
    """All 65,536 bit patterns."""
    return np.arange(65536, dtype=np.uint16).view(dtype)


@pytest.mark.parametrize("dtype", support.NARROW, ids=str)
@pytest.mark.parametrize("function", OF_LOGITS, ids=repr)
def test_exhaustive_16_bit_logits(function, dtype, tier):
    values = every_value(dtype)
    for others in ([], [0.0], [1.0, -2.0], [-np.inf, -3.0, 10.0]):
        x = np.empty((65536, len(others) + 1), dtype)
        x[:, 0] = values
        x[:, 1:] = others
        function.check((x,), function(x), f"next to {others}")
    finite = values[np.isfinite(values.astype(np.float32))]
    x = np.concatenate([finite, np.full(3, -np.inf, dtype)])[None]
    function.check((x,), function(x), "all finite values in one row")


@pytest.mark.parametrize("dtype", support.NARROW, ids=str)
@pytest.mark.parametrize("name", ["softmax_vjp", "log_softmax_vjp"])
def test_exhaustive_16_bit_gradients(name, dtype, tier):
    function, values = FUNCTIONS[name], every_value(dtype)
    finite = values[np.isfinite(values.astype(np.float32))]
    allowed = (
        finite[(finite >= 0) & (finite <= 1)] if name == "softmax_vjp" else finite[finite <= 0]
    )
    for y_first, y_rest in (
        ((0.25, 0.5), (0.0, 1.0)) if name == "softmax_vjp" else ((-1.5, -0.25), (-20.0, 0.0))
    ):
        dy = np.empty((len(finite), 3), dtype)
        dy[:, 0], dy[:, 1:] = finite, [1.0, -2.0]
        y = np.empty_like(dy)
        y[:, 0], y[:, 1:] = y_first, y_rest
        function.check((dy, y), function(dy, y), "every dy")
    y = np.empty((len(allowed), 3), dtype)
    y[:, 0], y[:, 1:] = allowed, [0.25, 0.5] if name == "softmax_vjp" else [-1.0, -2.0]
    dy = np.empty_like(y)
    dy[:] = [1.0, -0.75, 3.0]
    function.check((dy, y), function(dy, y), "every y")


def test_16_bit_rows_as_long_as_the_type_has_values():
    for dtype in support.NARROW:
        x = seed(dtype).permutation(every_value(dtype))
        x = x[np.isfinite(x.astype(np.float32))]
        want = support.rounded(lm.softmax(x.astype(np.float32)), dtype)
        support.assert_same_bits(lm.softmax(x), want, dtype)


# ---------------------------------------- A2: what else holds of probabilities ---


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_mean_error_of_softmax_is_small(dtype):
    total = count = 0.0
    for kind in ("normal", "normal10", "to_normal_end", "ramp", "lognormal"):
        for (x,) in batches(kind, dtype, FUNCTIONS["softmax"]):
            ref = oracle.softmax(x)
            error = oracle.ulp_error(lm.softmax(x), ref, oracle.format_of(dtype))
            normal = oracle.is_normal(ref, oracle.format_of(dtype))
            total += error[normal].sum()
            count += normal.sum()
    assert count > 50_000
    assert total / count <= 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_row_sums_are_1(kind):
    """|sum - 1| <= 4 eps always, <= 2 eps on the random kinds."""
    limit = 2 if kind.startswith(("normal", "to_", "cauchy", "lognormal", "masked")) else 4
    for (x,) in batches(kind, F32, FUNCTIONS["softmax"]):
        p = lm.softmax(x)
        assert p.max(initial=0) <= 1
        sums = np.array([math.fsum(row) for row in p.astype(np.float64).tolist()])
        worst = np.abs(sums - 1).max() / 2.0**-23
        assert worst <= limit, f"{kind} n={x.shape[1]}: {worst:.3f} eps"


@pytest.mark.parametrize("n", [2, 10, 1000, 50257, 10**6])
def test_constant_rows_of_any_length(n):
    """The case in which sequential float32 sums lose thousands of ULP."""
    for value in (0.0, 1 / 3, -2.7, 88.0, -87.5):
        x = np.full((1, n), value, np.float32)
        for function in OF_LOGITS:
            function.check((x,), function(x), f"constant {value}")


def test_probability_underflows_gradually():
    """Every result from 1 down to below the smallest subnormal, in steps of a tenth."""
    for dtype, depth in ((F32, 110), (F64, 750)):
        x = np.zeros((depth * 10, 2), dtype)
        x[:, 1] = -np.arange(depth * 10) / 10
        FUNCTIONS["softmax"].check((x,), lm.softmax(x), "descent")
        p = lm.softmax(x)[:, 1]
        fmt = oracle.format_of(dtype)
        subnormal = (p > 0) & (p < 2.0**fmt.emin)
        assert subnormal.sum() > 100
        assert (np.diff(p) <= 0).all()


# ---------------------------------------- A3, A5's ground: confident rows ---


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("n", [2, 10, 1000, 32000])
def test_confident_log_softmax_keeps_its_digits(n, dtype):
    """The largest logit stands so far out that 1 - p is lost when it is summed with the rest."""
    fmt = oracle.format_of(dtype)
    peaks = np.concatenate(
        [np.linspace(0.5, 40, 40), [80.0, 85.0, 86.5]] + ([[300.0, 700.0]] if dtype == F64 else [])
    )
    x = np.zeros((len(peaks), n), dtype)
    x[:, n // 2] = peaks
    got = lm.log_softmax(x)
    FUNCTIONS["log_softmax"].check((x,), got, "confident")
    ref = oracle.log_softmax(x)
    assert (got[:, n // 2] < 0)[oracle.is_normal(ref, fmt)[:, n // 2]].all()


# ---------------------------------------- temperature, where, total ---


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
@pytest.mark.parametrize("function", [FUNCTIONS["softmax"], FUNCTIONS["log_softmax"]], ids=repr)
def test_error_with_temperature(function, dtype):
    for kind in ("normal", "normal10", "to_normal_end", "peak", "masked", "ramp"):
        for n in (1, 2, 5, 33, 257, 4097):
            x = support.logits(kind, seed(kind, n), (6, n), dtype)
            for t in (0.7, 1.5, 10.0, 1e-2, np.array([[0.1], [0.5], [1.0], [3.0], [17.3], [1e3]])):
                function.check(
                    (x,), function(x, temperature=t), f"{kind} T={np.ravel(t)}", temperature=t
                )


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
@pytest.mark.parametrize("name", ["softmax_vjp", "log_softmax_vjp"])
def test_gradient_error_with_temperature(name, dtype):
    function = FUNCTIONS[name]
    for n in (1, 2, 5, 33, 257, 4097):
        arrays = function.sample("normal10", seed(n), (6, n), dtype)
        for t in (0.7, 2.0, 1e-2, np.array([[0.1], [0.5], [1.0], [3.0], [17.3], [1e3]])):
            function.check(
                arrays, function(*arrays, temperature=t), f"T={np.ravel(t)}", temperature=t
            )


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_error_with_where(name, dtype):
    function = FUNCTIONS[name]
    for kind in ("normal", "to_normal_end", "peak", "masked"):
        for n in (1, 2, 5, 33, 257, 4097, CHUNK + 5):
            r = seed(kind, n)
            x = support.logits(kind, r, (6, n), dtype)
            where = r.random((6, n)) < np.array([[0.5], [0.9], [0.1], [0.99], [0.0], [1.0]])
            function.check((x,), function(x, where=where), kind, where=where)


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
def test_error_with_where_and_temperature(dtype):
    for function in (FUNCTIONS["softmax"], FUNCTIONS["log_softmax"]):
        r = seed(dtype)
        x = support.logits("normal10", r, (6, 300), dtype)
        options = {"where": r.random((6, 300)) < 0.5, "temperature": r.uniform(0.5, 2, (6, 1))}
        function.check((x,), function(x, **options), **options)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("kind", ["normal", "normal10", "to_normal_end", "1e4", "peak", "ramp"])
def test_error_with_a_total_gathered_elsewhere(kind, dtype):
    """One part of every row is normalised by the sum over all parts."""
    for n, rows in ((2, 200), (10, 100), (40, 50), (1000, 10), (20000, 3)):
        x = support.logits(kind, seed(kind, n), (rows, n), dtype)
        cut = n // 3 + 1
        total = lm.exp_sum(x[:, :cut]) + lm.exp_sum(x[:, cut:])
        log_total = oracle.logsumexp(x)
        for part in (x[:, :cut], x[:, cut:]):
            part = np.ascontiguousarray(part)
            for name, reference in (
                ("softmax", oracle.softmax_total),
                ("log_softmax", oracle.log_softmax_total),
            ):
                FUNCTIONS[name].check(
                    (part,),
                    FUNCTIONS[name](part, total=total),
                    kind,
                    reference=reference(part, log_total),
                    total=total,
                )


# ------------------------------------------------------------------ ExpSum ---


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
def test_mantissa_and_exponent_are_the_sum(dtype):
    """mantissa * 2**exponent is the sum, and log() its logarithm."""
    for kind in ("normal", "normal10", "1e4", "ramp", "constant"):
        x = support.logits(kind, seed(kind), (5, 321), dtype)
        s = lm.exp_sum(x)
        for m, e, ln in zip(s.mantissa, s.exponent, s.log(), strict=True):
            exact = mpmath.log(mpmath.mpf(float(m))) + int(e) * mpmath.log(2)
            # the mantissa is one rounding away from the sum
            assert abs(mpmath.mpf(float(ln)) - exact) <= float(np.spacing(abs(ln))) + 2.5e-16


def test_logarithm_of_a_sum_near_1():
    """log(1 + small): within 1 ULP of double or 1.2e-16 absolute."""
    for small in np.concatenate([np.linspace(-0.6, 0.6, 41), 10.0 ** np.arange(-18, 0)]):
        x = np.array([small])
        got, want = float(lm.exp_sum(x).log()), float(small)
        assert abs(got - want) <= max(np.spacing(abs(want)), 2.5e-7 * 2.0**-29)


# ---------------------------------------- T6: the worst rows ever seen ---

HARD = json.loads((pathlib.Path(__file__).parent / "hard_cases.json").read_text())


def hard_rows(function, dtype) -> list[tuple[np.ndarray, ...]]:
    """The stored rows, those of one length together as (rows, n) arrays."""
    rows = HARD[function.inputs[0] if len(function.inputs) == 1 else function.name][str(dtype)]
    assert len(rows) >= (500 if dtype == F32 else 200)
    by_length: dict[int, list] = {}
    for row in rows:
        values = [
            [float.fromhex(v) for v in text.split()]
            for text in (row if isinstance(row, list) else [row])
        ]
        by_length.setdefault(len(values[0]), []).append(values)
    return [
        tuple(np.array(v, dtype=np.float64).astype(dtype).swapaxes(0, 1))
        for v in by_length.values()
    ]


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_hard_cases(function, dtype, tier):
    for arrays in hard_rows(function, dtype):
        arrays = tuple(np.ascontiguousarray(a) for a in arrays)
        function.check(arrays, function(*arrays), "hard case")


@pytest.mark.parametrize("function", ROWWISE, ids=repr)
def test_hard_cases_by_mpmath_at_50_digits(function):
    """The references of the sweep are not taken on trust for the hard rows of float64."""
    for arrays in (
        tuple(a[i : i + 1] for a in group)
        for group in hard_rows(function, F64)
        for i in range(0, 40, 4)
    ):
        if not len(arrays[0]):
            continue
        ref = function.reference(*arrays)
        v = [[mpmath.mpf(float(t)) for t in a[0]] for a in arrays]
        if function.name == "softmax_vjp":
            dot = mpmath.fsum(a * b for a, b in zip(*v, strict=True))
            want = [b * (a - dot) for a, b in zip(*v, strict=True)]
            terms = mpmath.fsum(abs(a * b) for a, b in zip(*v, strict=True))
            scale = [b * (abs(a) + terms) for a, b in zip(*v, strict=True)]
        elif function.name == "log_softmax_vjp":
            want = [a - mpmath.exp(b) * mpmath.fsum(v[0]) for a, b in zip(*v, strict=True)]
            terms = mpmath.fsum(map(abs, v[0]))
            scale = [abs(a) + mpmath.exp(b) * terms for a, b in zip(*v, strict=True)]
        else:
            top = max(v[0])
            e = [mpmath.exp(t - top) for t in v[0]]
            at = v[0].index(top)
            ln = mpmath.log1p(mpmath.fsum(e[:at] + e[at + 1 :]))
            want = [
                (t - top) - ln if function.name == "log_softmax" else mpmath.exp((t - top) - ln)
                for t in v[0]
            ]
            scale = [abs(w) for w in want]
        for i, w in enumerate(want):
            if not mpmath.isfinite(w) or abs(w) < mpmath.mpf(2) ** -900:
                continue
            k = int(np.broadcast_to(ref.k, ref.hi.shape)[0, i])
            lo = float(np.broadcast_to(ref.lo, ref.hi.shape)[0, i])
            value = (mpmath.mpf(float(ref.hi[0, i])) + mpmath.mpf(lo)) * mpmath.mpf(2) ** k
            assert abs(value - w) <= mpmath.mpf(2) ** -75 * scale[i]


def test_narrow_types_exist_in_the_table():
    assert F16 in support.NARROW
    if BFLOAT16 is None:
        pytest.skip("ml_dtypes is not installed: bfloat16 is not tested")
    assert BFLOAT16 in support.NARROW
