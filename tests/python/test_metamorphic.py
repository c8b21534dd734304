# SPDX-License-Identifier: Apache-2.0
"""Relations between calls that hold whatever the right answer is, over inputs drawn by Hypothesis.

An example is a seed, a kind, a length and an element type, and stands for a batch of rows.  The
profile "fast" is the default; LANEMAX_HYPOTHESIS=nightly draws eighty times as many.
"""

import lanemax as lm
import numpy as np
import oracle
import support
from hypothesis import assume, given
from hypothesis import strategies as st
from registry import FUNCTIONS
from support import CHUNK, F32, F64, KINDS, assert_same_bits

SEEDS = st.integers(0, 2**32 - 1)
LENGTHS = st.one_of(
    st.integers(1, 70), st.sampled_from([100, 255, 256, 257, 511, 513, 1024, 4099, CHUNK + 1])
)
DTYPES = st.sampled_from(support.DTYPES)
WIDE = st.sampled_from([F32, F64])
KIND = st.sampled_from(sorted(KINDS))
TAME = st.sampled_from(
    ["normal", "normal10", "to_normal_end", "to_subnormal_end", "ramp", "peak", "two_valued"]
)


def rows_of(n: int) -> int:
    return max(2, min(64, 8000 // n))


def draw(kind, seed, n, dtype):
    return support.logits(kind, np.random.default_rng(seed), (rows_of(n), n), dtype)


def ulps_apart(a, b, fmt) -> np.ndarray:
    """|a - b| in ULP of b, never below the smallest subnormal."""
    return oracle.ulp_error(a, oracle.Ref(np.asarray(b).astype(np.float64)), fmt)


@given(SEEDS, TAME, LENGTHS, WIDE, st.integers(-40, 40))
def test_shift_of_all_logits_changes_little(seed, kind, n, dtype, c):
    """softmax(x + c) is softmax(x) to twice the bound, where x + c is exact."""
    x = (np.rint(np.clip(draw(kind, seed, n, F64), -200, 200) * 64) / 64).astype(dtype)
    y = (x + dtype.type(c)).astype(dtype)
    assume((y - dtype.type(c) == x).all())
    fmt = oracle.format_of(dtype)
    p, q = lm.softmax(x), lm.softmax(y)
    assert (ulps_apart(p, q, fmt) <= np.where(q >= 2.0**fmt.emin, 8, 4)).all()
    assert (ulps_apart(lm.log_softmax(x), lm.log_softmax(y), fmt) <= 6).all()


@given(SEEDS, KIND, LENGTHS, WIDE)
def test_permutation_of_a_row_changes_little(seed, kind, n, dtype):
    x = draw(kind, seed, n, dtype)
    order = np.random.default_rng(seed).permutation(n)
    fmt = oracle.format_of(dtype)
    p, q = lm.softmax(x)[:, order], lm.softmax(np.ascontiguousarray(x[:, order]))
    assert (ulps_apart(p, q, fmt) <= np.where(q >= 2.0**fmt.emin, 8, 4)).all()


@given(SEEDS, KIND, LENGTHS, DTYPES, st.sampled_from(sorted(FUNCTIONS)))
def test_permutation_of_the_rows_permutes_the_bits(seed, kind, n, dtype, name):
    function = FUNCTIONS[name]
    rng = np.random.default_rng(seed)
    arrays = function.sample(kind, rng, (rows_of(n), n), dtype)
    order = rng.permutation(rows_of(n))
    got = function(*(np.ascontiguousarray(a[order]) for a in arrays))
    want = function(*arrays)
    if function.result == "sum":
        assert (got.mantissa == want.mantissa[order]).all() and (
            got.exponent == want.exponent[order]
        ).all()
    else:
        assert_same_bits(got, np.ascontiguousarray(want[order]), name)


@given(SEEDS, KIND, LENGTHS, WIDE)
def test_larger_logit_never_has_the_smaller_result(seed, kind, n, dtype):
    """Outputs of one row are in the order of its logits, but for an ULP between neighbours."""
    x = draw(kind, seed, n, dtype)
    order = np.argsort(x, axis=1, kind="stable")
    fmt = oracle.format_of(dtype)
    for function in (lm.softmax, lm.log_softmax):
        y = np.take_along_axis(function(x), order, axis=1)
        a, b = y[:, :-1].astype(np.float64), y[:, 1:].astype(np.float64)
        falling = b < a
        with np.errstate(invalid="ignore"):
            assert (ulps_apart(a, b, fmt)[falling] <= 1).all()


@given(SEEDS, KIND, LENGTHS, DTYPES)
def test_equal_logits_have_identical_bits(seed, kind, n, dtype):
    x = draw(kind, seed, n, dtype)
    rng = np.random.default_rng(seed)
    doubled = np.concatenate([x, x], axis=1)[:, rng.permutation(2 * n)]
    for function in (lm.softmax, lm.log_softmax):
        y = function(np.ascontiguousarray(doubled))
        for row, values in zip(support.bits(doubled), support.bits(y), strict=True):
            _, inverse = np.unique(row, return_inverse=True)
            first = np.empty(inverse.max() + 1, values.dtype)
            first[inverse] = values
            assert (first[inverse] == values).all()


@given(SEEDS, KIND, LENGTHS, DTYPES, st.integers(1, 100))
def test_masked_logits_at_the_end_change_no_bit(seed, kind, n, dtype, extra):
    x = draw(kind, seed, n, dtype)
    longer = np.concatenate([x, np.full((len(x), extra), -np.inf, dtype)], axis=1)
    for name in ("softmax", "log_softmax"):
        assert_same_bits(
            np.ascontiguousarray(FUNCTIONS[name](longer)[:, :n]), FUNCTIONS[name](x), name
        )
    assert_same_bits(lm.logsumexp(longer), lm.logsumexp(x))
    assert_same_bits(lm.exp_sum(longer), lm.exp_sum(x))


@given(SEEDS, TAME, LENGTHS, WIDE)
def test_softmax_is_exp_of_log_softmax(seed, kind, n, dtype):
    """To 6 ULP and what rounding the logarithm does: |log p| / 2 units of the roundoff each way."""
    x = draw(kind, seed, n, dtype)
    fmt = oracle.format_of(dtype)
    p, ln = lm.softmax(x), lm.log_softmax(x)
    if dtype == F32:
        back = np.exp(ln.astype(np.float64))
    else:
        s, k = oracle.dd_exp((ln, np.zeros_like(ln)))
        with np.errstate(under="ignore"):
            back = np.ldexp(s[0], k)
    allowed = 6 + 3 * 2 * np.abs(ln.astype(np.float64))
    assert (ulps_apart(p, back, fmt) <= allowed).all()


@given(SEEDS, TAME, LENGTHS, WIDE)
def test_logsumexp_is_the_logarithm_of_the_partial_sum(seed, kind, n, dtype):
    x = draw(kind, seed, n, dtype)
    ln, s = lm.logsumexp(x).astype(np.float64), lm.exp_sum(x).log()
    fmt = oracle.format_of(dtype)
    unit = np.ldexp(1.0, np.maximum(np.frexp(np.abs(ln))[1], fmt.emin) - fmt.bits)
    assert (
        np.abs(ln - s) <= 2 * np.maximum(unit, 2.5e-7 if dtype == F32 else 2.5e-7 * 2.0**-29)
    ).all()


@given(SEEDS, TAME, st.integers(2, 3000), WIDE, st.data())
def test_merging_at_random_cuts(seed, kind, n, dtype, data):
    """Two ULP of the type summed; probabilities by the merged total stay within their bound."""
    x = draw(kind, seed, n, dtype)
    cuts = sorted(set(data.draw(st.lists(st.integers(1, n - 1), min_size=1, max_size=6))))
    total = lm.ExpSum.empty((len(x),))
    for part in np.split(x, cuts, axis=1):
        total = total + lm.exp_sum(part)
    whole = lm.exp_sum(x)
    got = np.ldexp(total.mantissa, (total.exponent - whole.exponent).astype(np.int32))
    assert (np.abs(got - whole.mantissa) <= 2 * (2.0**-24 if dtype == F32 else 2.0**-53)).all()
    FUNCTIONS["softmax"].check(
        (x,),
        lm.softmax(x, total=total),
        f"{kind} cut at {cuts}",
        reference=oracle.softmax(x),
        total=total,
    )


@given(SEEDS, KIND, st.integers(1, 4 * CHUNK), DTYPES)
def test_merging_at_chunks_is_exact(seed, kind, n, dtype):
    x = support.logits(kind, np.random.default_rng(seed), (1, n), dtype)
    total = lm.ExpSum.empty((1,))
    for start in range(0, n, CHUNK):
        total = total + lm.exp_sum(x[:, start : start + CHUNK])
    assert_same_bits(total, lm.exp_sum(x))
    assert_same_bits(lm.softmax(x, total=total), lm.softmax(x))


@given(SEEDS, LENGTHS, DTYPES, st.integers(-4, 4))
def test_temperature_that_is_a_power_of_two_is_exact(seed, n, dtype, k):
    x = (np.random.default_rng(seed).integers(-500, 501, (rows_of(n), n)) / 16).astype(dtype)
    scaled = np.ldexp(x.astype(np.float64), -k).astype(dtype)
    assume((np.ldexp(scaled.astype(np.float64), k) == x.astype(np.float64)).all())
    for function in (lm.softmax, lm.log_softmax):
        assert_same_bits(function(x, temperature=2.0**k), function(scaled))


@given(SEEDS, KIND, LENGTHS, DTYPES)
def test_where_equals_the_row_without_what_is_masked(seed, kind, n, dtype):
    """As one mask for all rows, so that what is left has one length."""
    x = draw(kind, seed, n, dtype)
    keep = np.random.default_rng(seed).random(n) < 0.5
    x = np.ascontiguousarray(x[(x[:, keep] != -np.inf).any(axis=1)])  # rows with something left
    assume(len(x))
    replaced = np.where(keep, x, np.array(-np.inf, dtype))
    for name in ("softmax", "log_softmax", "logsumexp"):
        assert_same_bits(FUNCTIONS[name](x, where=keep), FUNCTIONS[name](replaced), name)
    left = np.ascontiguousarray(x[:, keep]).astype(
        np.result_type(np.float32, lm.logsumexp(x).dtype)
    )
    FUNCTIONS["logsumexp"].check((left,), lm.logsumexp(x, where=keep), kind)


@given(SEEDS, TAME, LENGTHS, WIDE)
def test_gradients_of_a_row_sum_to_zero(seed, kind, n, dtype):
    """sum dx = 0 for both: no logit shift changes the result."""
    rng = np.random.default_rng(seed)
    x = draw(kind, seed, n, dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    u = oracle.format_of(dtype).u
    p, g = lm.softmax(x).astype(np.float64), np.abs(dy).astype(np.float64)
    # what the rounding of y itself contributes to the sum is within its error bound as well
    dot = np.sum(p * g, axis=1)
    dx = lm.softmax_vjp(dy, lm.softmax(x)).astype(np.float64)
    assert (np.abs(dx.sum(axis=1)) <= 20 * u * dot + n * 2.0**-149).all()
    ln = lm.log_softmax(x)
    depth = 1 + np.sum(p * np.abs(ln.astype(np.float64)), axis=1)
    dx = lm.log_softmax_vjp(dy, ln).astype(np.float64)
    assert (np.abs(dx.sum(axis=1)) <= 20 * u * depth * g.sum(axis=1)).all()


@given(SEEDS, TAME, LENGTHS, WIDE)
def test_gradient_is_linear_in_powers_of_two(seed, kind, n, dtype):
    function = FUNCTIONS["softmax_vjp"]
    dy, y = function.sample("normal", np.random.default_rng(seed), (rows_of(n), n), dtype)
    for name in ("softmax_vjp", "log_softmax_vjp"):
        z = y if name == "softmax_vjp" else lm.log_softmax(y)
        once, twice = FUNCTIONS[name](dy, z), FUNCTIONS[name](dy * dtype.type(4), z)
        normal = np.abs(once) >= 2.0 ** (oracle.format_of(dtype).emin + 40)
        assert (support.bits(twice)[normal] == support.bits(once * dtype.type(4))[normal]).all()


@given(SEEDS, KIND, LENGTHS, DTYPES)
def test_input_is_left_alone(seed, kind, n, dtype):
    rng = np.random.default_rng(seed)
    for function in FUNCTIONS.values():
        arrays = function.sample(kind, rng, (3, n), dtype)
        before = tuple(a.copy() for a in arrays)
        for a in arrays:
            a.flags.writeable = False
        function(*arrays)
        function(*arrays, axis=0)
        assert_same_bits(arrays, before)
