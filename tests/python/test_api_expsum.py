# SPDX-License-Identifier: Apache-2.0
"""ExpSum: what it shows, how it merges, that it survives pickling and copying."""

import contextlib
import copy
import pickle

import lanemax as lm
import mpmath
import numpy as np
import pytest
import support
from support import CHUNK, F32, F64, assert_same_bits


@pytest.fixture
def total(rng):
    return lm.exp_sum(rng.normal(0, 20, (3, 4, 500)))


def test_mantissa_and_exponent_are_those_of_frexp(dtype):
    rng = np.random.default_rng(0)
    for kind in support.KINDS:
        if kind == "any_finite":
            continue
        s = lm.exp_sum(support.logits(kind, rng, (7, 100), dtype))
        assert s.shape == (7,)
        assert s.mantissa.dtype == np.float64 and s.exponent.dtype == np.int64
        assert s.mantissa.shape == s.exponent.shape == s.log().shape == (7,)
        assert s.log().dtype == np.float64
        assert ((s.mantissa >= 0.5) & (s.mantissa < 1)).all()


@pytest.mark.parametrize(
    "row,mantissa,exponent",
    [
        ([0.0], 0.5, 1),
        ([0.0, 0.0], 0.5, 2),
        ([0.0] * 3, 0.75, 2),
        ([0.0] * 1000, 1000 / 1024, 10),
        ([-np.inf, 0.0], 0.5, 1),
        ([-np.inf], 0.0, 0),
        ([], 0.0, 0),
    ],
)
def test_sums_that_are_exact(row, mantissa, exponent, dtype):
    s = lm.exp_sum(np.array(row, dtype))
    assert (s.mantissa, s.exponent) == (mantissa, exponent)


def test_the_test_vector_of_the_specification():
    """x = [0.5, -1.25 | 2, 0, -3.5]: merged 1.2943099437391609 * 2**3."""
    a, b = lm.exp_sum(np.array([0.5, -1.25])), lm.exp_sum(np.array([2.0, 0.0, -3.5]))
    s = a + b
    assert s.exponent == 4
    assert abs(float(s.mantissa) - 1.2943099437391609 / 2) <= 2.0**-52


@pytest.mark.parametrize("x", [-1e6, -745.0, -1.0, 1.0, 709.0, 88.0, 1e6, 1e9, 1e12])
def test_range_of_the_exponent(x):
    s = lm.exp_sum(np.array([x, x - 1.0]))
    exact = mpmath.mpf(x) + mpmath.log(1 + mpmath.exp(-1))
    shown = mpmath.log(mpmath.mpf(float(s.mantissa))) + int(s.exponent) * mpmath.log(2)
    # the mantissa is rounded to a double, no more: the exponent carries all of the range
    assert abs(shown - exact) <= mpmath.mpf(2) ** -50 + abs(exact) * mpmath.mpf(2) ** -52
    assert abs(float(s.log()) - float(exact)) <= np.spacing(abs(float(exact)))


def test_shape_follows_the_axis():
    x = np.zeros((2, 3, 4))
    for axis, shape in ((-1, (2, 3)), (0, (3, 4)), ((0, 2), (3,)), (None, ()), ((), (2, 3, 4))):
        s = lm.exp_sum(x, axis=axis)
        assert (
            s.shape == shape
            and np.shape(s.mantissa) == np.shape(s.exponent) == np.shape(s.log()) == shape
        )
    assert lm.exp_sum(x, 0).shape == (3, 4)


def test_empty():
    for shape, want in (
        ((), ()),
        (3, (3,)),
        ((2, 3), (2, 3)),
        ((0,), (0,)),
        ([2, 2], (2, 2)),
        (np.int64(4), (4,)),
    ):
        s = lm.ExpSum.empty(shape)
        assert isinstance(s, lm.ExpSum) and s.shape == want
        assert (np.asarray(s.mantissa) == 0).all() and (np.asarray(s.exponent) == 0).all()
        assert (np.asarray(s.log()) == -np.inf).all()


def test_empty_is_the_identity(total):
    nothing = lm.ExpSum.empty(total.shape)
    assert_same_bits(nothing + total, total)
    assert_same_bits(total + nothing, total)
    assert_same_bits(nothing + nothing, nothing)
    assert_same_bits(sum([total, total], nothing), total + total)


def test_merging_commutes(total, rng):
    other = lm.exp_sum(rng.normal(0, 20, (3, 4, 500)))
    assert_same_bits(total + other, other + total)


def test_merging_adds_the_sums(dtype):
    x = support.logits("normal", np.random.default_rng(1), (5, 400), dtype)
    s = lm.exp_sum(x[:, :150]) + lm.exp_sum(x[:, 150:])
    np.testing.assert_allclose(
        s.log(), lm.logsumexp(x.astype(np.float64)), rtol=1e-6 if dtype != F64 else 1e-14
    )
    # doubling a sum adds one to the exponent, exactly
    twice = s + s
    assert (twice.mantissa == s.mantissa).all() and (twice.exponent == s.exponent + 1).all()


def test_merging_very_different_sums():
    large, small = lm.exp_sum(np.array([1e6])), lm.exp_sum(np.array([-1e6]))
    assert_same_bits(large + small, large)
    assert_same_bits(small + large, large)


def test_merging_makes_a_new_object(total):
    before = copy.deepcopy(total)
    merged = total + total
    assert merged is not total
    assert_same_bits(total, before)
    alias = total
    alias += total
    assert_same_bits(total, before)
    assert_same_bits(alias, merged)


def test_what_is_shown_cannot_change_the_sum(total):
    before = total.log().copy()
    for part in (total.mantissa, total.exponent, total.log()):
        with contextlib.suppress(ValueError):  # read-only is as good as a copy
            part[...] = 7
    assert_same_bits(total.log(), before)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(total, protocol, rng):
    if protocol < 2:
        pytest.skip("cffi-free objects need protocol 2; 4 is the default")
    loaded = pickle.loads(pickle.dumps(total, protocol))
    assert isinstance(loaded, lm.ExpSum) and loaded.shape == total.shape
    assert_same_bits(loaded, total)
    other = lm.exp_sum(rng.normal(size=(3, 4, 9)))
    assert_same_bits(loaded + other, total + other)


def test_a_pickled_total_normalises_to_the_same_bits(dtype):
    """What is hidden below the 53 bits of the mantissa travels too."""
    x = support.logits("normal10", np.random.default_rng(2), (4, 2 * CHUNK + 5), dtype)
    total = lm.ExpSum.empty(4)
    for start in range(0, x.shape[1], CHUNK):
        total = total + pickle.loads(pickle.dumps(lm.exp_sum(x[:, start : start + CHUNK])))
    total = copy.deepcopy(copy.copy(total))
    assert_same_bits(lm.softmax(x, total=total), lm.softmax(x))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 1e300, -1e300])
def test_pickle_of_special_sums(special):
    s = lm.exp_sum(np.array([[special, 0.0], [special, special]]))
    assert_same_bits(pickle.loads(pickle.dumps(s)), s)
    assert_same_bits(copy.deepcopy(s), s)


def test_copy(total):
    for copied in (copy.copy(total), copy.deepcopy(total)):
        assert isinstance(copied, lm.ExpSum)
        assert_same_bits(copied, total)


def test_repr_tells_what_it_is():
    assert repr(lm.exp_sum(np.zeros(3))).startswith("ExpSum(")
    for shape in ((), (2,), (1000, 30), (0,)):
        text = repr(lm.ExpSum.empty(shape))
        assert text.startswith("ExpSum(") and len(text) < 2000
    assert str(lm.ExpSum.empty(2))


@pytest.mark.parametrize("other", [1, 1.0, None, "a", np.float64(1), [1]], ids=repr)
def test_only_sums_can_be_merged(total, other):
    with pytest.raises(TypeError):
        total + other
    with pytest.raises(TypeError):
        other + total


def test_shapes_broadcast_as_those_of_arrays(total, rng):
    one = lm.exp_sum(rng.normal(size=50))
    row = lm.exp_sum(rng.normal(size=(4, 50)))
    assert_same_bits((total + one).log()[1, 2], (lm.ExpSum.empty() + one + total).log()[1, 2])
    assert (total + row).shape == (row + total).shape == (3, 4)
    assert_same_bits(total + row, row + total)
    for shape in ((4, 3), (5, 4), (3, 5)):
        with pytest.raises(ValueError, match="shape"):
            total + lm.ExpSum.empty(shape)


def test_shape_that_is_none_is_refused():
    for bad, error in (
        (-1, ValueError),
        ((2, -3), ValueError),
        (1.5, TypeError),
        ("a", (TypeError, ValueError)),
        (None, TypeError),
    ):
        with pytest.raises(error):
            lm.ExpSum.empty(bad)


def test_sum_of_integers_and_booleans():
    assert lm.exp_sum([0, 0]).exponent == 2
    assert lm.exp_sum(np.array([False, False])).exponent == 2
    np.testing.assert_allclose(lm.exp_sum([1, 2, 3]).log(), lm.logsumexp([1, 2, 3]), rtol=1e-15)


def test_logarithm_is_that_of_logsumexp_in_float64():
    for kind in ("normal", "1e4", "ramp"):
        x = support.logits(kind, np.random.default_rng(3), (5, 3000), F64)
        got, want = lm.exp_sum(x).log(), lm.logsumexp(x)
        assert (np.abs(got - want) <= 2 * np.spacing(np.abs(want)) + 2.5e-16).all()
    assert F32 in support.DTYPES


def test_sum_adds_what_it_is_given(rng):
    parts = [lm.exp_sum(rng.normal(0, 20, (3, 50))) for _ in range(4)]
    want = parts[0] + parts[1] + parts[2] + parts[3]
    assert_same_bits(sum(parts), want)
    assert_same_bits(sum(parts[1:], parts[0]), want)
    assert_same_bits(0 + parts[0], parts[0])
    for other in (1, 0.0, True, np.float64(0), None, [0]):
        with pytest.raises(TypeError):
            other + parts[0]
