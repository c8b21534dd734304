# SPDX-License-Identifier: Apache-2.0
"""Special values at every place where a kernel may treat an element differently, on every tier."""

import lanemax as lm
import numpy as np
import oracle
import pytest
import support
from registry import FUNCTIONS, OF_LOGITS, SPECIAL_ROWS
from support import BFLOAT16, CANONICAL_NAN, CHUNK, DTYPES, F16, F32, F64

TOP = {
    F32: 3.4028234663852886e38,
    F64: 1.7976931348623157e308,
    F16: 65504.0,
    BFLOAT16: 3.3895313892515355e38,
}
SMALLEST = {F32: 2.0**-149, F64: 5e-324, F16: 2.0**-24, BFLOAT16: 2.0**-133}
NORMAL = {F32: 2.0**-126, F64: 2.0**-1022, F16: 2.0**-14, BFLOAT16: 2.0**-126}


def values(dtype):
    """What is put into a row: beside the IEEE specials the edges of the range reductions."""
    x = {
        "nan": np.nan,
        "inf": np.inf,
        "-inf": -np.inf,
        "max": TOP[dtype],
        "-max": -TOP[dtype],
        "-0": -0.0,
        "smallest": SMALLEST[dtype],
        "-smallest": -SMALLEST[dtype],
        "below_normal": NORMAL[dtype] - SMALLEST[dtype],
        "2^18": 2.0**18,
        "-2^18-": -(2.0**18) - 0.25,
        "-726817.5": -726817.5,
        "2.9e6": 2.9e6,
        "-1e7": -1e7,
        "1e30": 1e30,
        "-104": -104.0,
        "88.8": 88.8,
        "-745.2": -745.2,
        "710": 710.0,
        "-1e9": -1e9,
    }
    return {k: v for k, v in x.items() if not np.isfinite(v) or abs(v) <= TOP[dtype]}


def backgrounds(rng, n, dtype):
    """What stands around it."""
    half = np.where(np.arange(n) % 2, -np.inf, rng.normal(size=n))
    return {
        "normal": rng.normal(size=n),
        "zeros": np.zeros(n),
        "masked": np.full(n, -np.inf),
        "half_masked": half,
        "large": np.full(n, min(1e8, TOP[dtype])),
        "lowest": np.full(n, -TOP[dtype]),
    }


def cells(dtype, n, positions, rng):
    """(name, rows): every value at every position in front of every background."""
    for around, row in backgrounds(rng, n, dtype).items():
        for name, value in values(dtype).items():
            x = np.repeat(row[None], len(positions), axis=0)
            x[np.arange(len(positions)), positions] = value
            yield f"{name} in {around}", x.astype(dtype)


N = 600
POSITIONS = [
    *range(33),
    *range(63, 66),
    *range(127, 130),
    *range(255, 258),
    *range(511, 514),
    *range(567, N),
]


def check(function, x, what):
    """The value, and the bits of what special rows become."""
    got = function(x)
    function.check((x,), got, what)
    if function.result == "sum":
        return
    result = np.asarray(got)
    if support.is_nan(result).any():
        nan = support.bits(result)[support.is_nan(result)]
        assert (nan == CANONICAL_NAN[result.dtype]).all(), f"{function} {what}: NaN {nan[0]:#x}"
    if function.name == "softmax":
        assert not np.signbit(result.astype(np.float64)).any(), f"{what}: -0"
    if function.name in ("softmax", "log_softmax"):
        wide = x.astype(np.float64)
        bad = np.isnan(wide).any(1) | (wide == np.inf).any(1) | (wide == -np.inf).all(1)
        assert support.is_nan(result[bad]).all(), what
        assert not support.is_nan(result[~bad]).any(), what


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", OF_LOGITS, ids=repr)
def test_special_value_at_any_position(function, dtype, tier):
    rng = np.random.default_rng(1)
    wanted = POSITIONS if dtype == F32 else POSITIONS[::5]
    count = 0
    for what, x in cells(dtype, N, wanted, rng):
        if dtype == F64 and what.split()[2] not in ("normal", "masked", "lowest"):
            continue
        check(function, x, what)
        count += len(x)
    assert dtype != F32 or count >= 60 * 70


@pytest.mark.parametrize("function", OF_LOGITS, ids=repr)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_special_value_at_a_chunk_edge(function, dtype, tier):
    """Long rows are cut into chunks; a special value may be alone in its chunk."""
    n = 2 * CHUNK + 40
    positions = [CHUNK - 1, CHUNK, 2 * CHUNK, n - 1] if dtype == F32 else [CHUNK, n - 1]
    rng = np.random.default_rng(2)
    for what, x in cells(dtype, n, positions, rng):
        if what.split()[2] in ("normal", "masked") and (
            dtype == F32 or what.split()[0] in ("nan", "inf", "-inf", "1e30")
        ):
            check(function, x, what)


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 40])
def test_special_value_in_short_rows(n, tier):
    """Every position in the best tier; the C tests have them all in every tier."""
    rng = np.random.default_rng(n)
    positions = range(n) if tier == support.TIERS[-1] else range(n % 3 if n > 3 else 0, n, 3)
    for dtype in DTYPES:
        for what, x in cells(dtype, n, list(positions), rng):
            for function in OF_LOGITS:
                check(function, x, f"{what} n={n}")


@pytest.mark.parametrize("row", SPECIAL_ROWS, ids=lambda row: str(row[0]))
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("function", OF_LOGITS, ids=repr)
def test_table_of_special_rows(function, dtype, row, tier):
    """The expected values here are written down, not computed by the oracle."""
    with np.errstate(under="ignore"):
        x = np.array([row[0]], dtype=dtype)
    want = row[function.special]
    if want is None:
        return
    if function.result != "row":
        want = [want]
        got = function(x) if function.result == "value" else function(x).log()
    else:
        want, got = [want], function(x)
    want = np.array(want).astype(np.float64)
    np.testing.assert_allclose(
        np.asarray(got, dtype=np.float64), want, rtol=3e-7 if dtype == F32 else 1e-15, atol=0
    )


def test_signalling_and_negative_nan_become_the_canonical_one(tier):
    patterns = np.array(
        [0x7F800001, 0xFF800001, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00001], np.uint32
    )
    for position in (0, 5, 39):
        x = np.zeros((len(patterns), 40), np.float32)
        x.view(np.uint32)[:, position] = patterns
        for function in (lm.softmax, lm.log_softmax, lm.logsumexp):
            assert (support.bits(function(x)) == CANONICAL_NAN[F32]).all()


def test_prototype_failures_stay_fixed(tier):
    """[inf, 0] once gave [inf, inf], [nan, 0] gave [nan, 1]."""
    for row in ([np.inf, 0.0], [np.nan, 0.0]):
        assert np.isnan(lm.softmax(np.float32(row))).all()


def test_one_huge_element_does_not_change_its_neighbours_rows(tier):
    """A row that needs the careful path leaves the rows beside it alone."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 70)).astype(np.float32)
    want = lm.softmax(x)
    y = x.copy()
    y[::2, 11] = 1e30
    support.assert_same_bits(lm.softmax(y)[1::2], want[1::2])


@pytest.mark.parametrize("n", [1, 5, 33, 1000, CHUNK + 3])
def test_minus_inf_appended_changes_no_bit(n, tier):
    """Appending masked logits leaves all bits unchanged."""
    rng = np.random.default_rng(n)
    for dtype in DTYPES:
        x = support.logits("normal", rng, (3, n), dtype)
        longer = np.concatenate([x, np.full((3, 40), -np.inf, dtype)], axis=1)
        for name in ("softmax", "log_softmax"):
            p = FUNCTIONS[name](longer)
            support.assert_same_bits(np.ascontiguousarray(p[:, :n]), FUNCTIONS[name](x), name)
            masked = np.zeros((), dtype) if name == "softmax" else np.array(-np.inf, dtype)
            assert (support.bits(p[:, n:]) == support.bits(masked)).all()
        support.assert_same_bits(lm.logsumexp(longer), lm.logsumexp(x))
        support.assert_same_bits(lm.exp_sum(longer), lm.exp_sum(x))


def test_gradients_of_masked_elements(tier):
    """A masked element has gradient exactly 0 (softmax) or its own dy (log-softmax)."""
    for dtype in DTYPES:
        x = np.zeros((2, 50), dtype)
        x[:, ::3] = -np.inf
        dy = np.linspace(-2, 3, 100).reshape(2, 50).astype(dtype)
        dx = lm.softmax_vjp(dy, lm.softmax(x))
        assert (dx[:, ::3] == 0).all()
        dx = lm.log_softmax_vjp(dy, lm.log_softmax(x))
        support.assert_same_bits(np.ascontiguousarray(dx[:, ::3]), np.ascontiguousarray(dy[:, ::3]))


@pytest.mark.parametrize("name", ["softmax_vjp", "log_softmax_vjp"])
def test_nan_in_a_gradient_spreads_along_its_row_alone(name, tier):
    function = FUNCTIONS[name]
    for dtype in DTYPES:
        dy, y = function.sample("normal", np.random.default_rng(4), (3, 50), dtype)
        want = function(dy, y)
        for position in (0, 31, 32, 49):
            bad = dy.copy()
            bad[1, position] = np.nan
            got = function(bad, y)
            assert support.is_nan(got[1]).all()
            support.assert_same_bits(got[::2].copy(), want[::2].copy())
            bad = y.copy()
            bad[1, position] = np.nan
            got = function(dy, bad)
            # of y only sum y dy reaches the others, and log_softmax_vjp has no such sum
            assert support.is_nan(got[1] if name == "softmax_vjp" else got[1, position]).all()
            support.assert_same_bits(got[::2].copy(), want[::2].copy())


# ------------------------------------------------------------------ where ---


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_lies_under_the_mask_takes_no_part(dtype, tier):
    rng = np.random.default_rng(5)
    for n in (2, 33, 600):
        x = support.logits("normal", rng, (len(values(dtype)), n), dtype)
        keep = rng.random(x.shape) < 0.5
        keep[:, 0], keep[:, 1] = True, False
        y = x.copy()
        for i, v in enumerate(values(dtype).values()):
            y[i][~keep[i]] = v
        for name in ("softmax", "log_softmax", "logsumexp"):
            function = FUNCTIONS[name]
            got = function(y, where=keep)
            support.assert_same_bits(got, function(x, where=keep), name)
            function.check((x,), got, name, where=keep)
        assert (support.bits(lm.softmax(y, where=keep))[~keep] == 0).all()
        assert (lm.log_softmax(y, where=keep)[~keep] == -np.inf).all()


def test_rows_with_nothing_left(tier):
    for dtype in DTYPES:
        x = np.array(
            [
                [1.0, 2.0, -np.inf],
                [-np.inf, 2.0, -np.inf],
                [np.nan, np.inf, 0.0],
                [-np.inf, np.nan, 3.0],
            ],
            dtype,
        )
        keep = np.array([[False] * 3, [True, False, True], [False] * 3, [True, False, False]])
        nan, inf = np.nan, np.inf
        p = lm.softmax(x, where=keep).astype(np.float64)
        np.testing.assert_array_equal(p, [[0, 0, 0], [nan, 0, nan], [0, 0, 0], [nan, 0, 0]])
        assert not np.signbit(p[~np.isnan(p)]).any()
        np.testing.assert_array_equal(
            lm.log_softmax(x, where=keep).astype(np.float64),
            [[-inf] * 3, [nan, -inf, nan], [-inf] * 3, [nan, -inf, -inf]],
        )
        np.testing.assert_array_equal(lm.logsumexp(x, where=keep).astype(np.float64), [-inf] * 4)
        for result in (lm.softmax(x, where=keep), lm.log_softmax(x, where=keep)):
            nans = support.bits(result)[support.is_nan(result)]
            assert (nans == CANONICAL_NAN[dtype]).all()


def test_where_that_keeps_all_or_masks_what_is_minus_inf_changes_nothing(tier):
    rng = np.random.default_rng(6)
    for dtype in DTYPES:
        x = support.logits("masked", rng, (5, 300), dtype)
        for name in ("softmax", "log_softmax", "logsumexp"):
            function = FUNCTIONS[name]
            support.assert_same_bits(function(x, where=True), function(x), name)
            support.assert_same_bits(function(x, where=np.ones_like(x, bool)), function(x), name)
            support.assert_same_bits(function(x, where=x != -np.inf), function(x), name)


# ------------------------------------------------------------------ ExpSum ---


def test_special_partial_sums():
    nan, inf = np.nan, np.inf
    rows = np.array([[-inf, -inf], [inf, 0], [nan, 0], [inf, nan], [0, -inf], [inf, -inf]])
    for dtype in DTYPES:
        s = lm.exp_sum(rows.astype(dtype))
        np.testing.assert_array_equal(s.mantissa, [0, inf, nan, nan, 0.5, inf])
        np.testing.assert_array_equal(s.exponent, [0, 0, 0, 0, 1, 0])
        np.testing.assert_array_equal(s.log(), [-inf, inf, nan, nan, 0, inf])
        assert not np.signbit(s.mantissa[0])
    empty = lm.exp_sum(np.empty((2, 0), np.float32))
    np.testing.assert_array_equal(empty.mantissa, [0, 0])
    np.testing.assert_array_equal(empty.exponent, [0, 0])


def test_merging_special_partial_sums():
    nan, inf = np.nan, np.inf
    x = np.array([-inf, inf, nan, 0.0, 1000.0, -1000.0])
    a, b = np.broadcast_arrays(x[:, None], x[None, :])
    merged = lm.exp_sum(a[..., None].copy()) + lm.exp_sum(b[..., None].copy())
    want = lm.logsumexp(np.stack([a, b], axis=-1))
    np.testing.assert_allclose(merged.log(), want, rtol=1e-15, atol=0)
    special = ~np.isfinite(want)
    np.testing.assert_array_equal(merged.exponent[special], 0)
    np.testing.assert_array_equal(merged.mantissa[want == -inf], 0)
    np.testing.assert_array_equal(merged.mantissa[want == inf], inf)


def test_total_that_is_special():
    """Dividing by a sum of nothing, or by one with inf or NaN, is NaN as in the row itself."""
    x = np.array([[-np.inf, -np.inf], [np.inf, 0.0], [np.nan, 0.0]], np.float32)
    for name in ("softmax", "log_softmax"):
        function = FUNCTIONS[name]
        support.assert_same_bits(function(x, total=lm.exp_sum(x)), lm.softmax(x))


def test_huge_logits_have_a_finite_logarithm_of_the_sum():
    for dtype in (F32, F64, BFLOAT16):
        if dtype is None:
            continue
        for v in (TOP[dtype], -TOP[dtype], 1e30, -1e30):
            x = np.full((1, 3), v, dtype)
            s = lm.exp_sum(x)
            assert (
                oracle.ulp_error(s.log(), oracle.logsumexp(x.astype(np.float64)), oracle.F64) <= 1
            )
            merged = s + lm.exp_sum(x)
            assert (
                oracle.ulp_error(
                    merged.log(),
                    oracle.logsumexp(np.repeat(x, 2, 1).astype(np.float64)),
                    oracle.F64,
                )
                <= 1
            )
            p = lm.softmax(x, total=merged)
            np.testing.assert_allclose(
                p.astype(np.float64), 1 / 6, rtol=1e-2 if dtype == BFLOAT16 else 3e-7, atol=0
            )
