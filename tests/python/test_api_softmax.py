# SPDX-License-Identifier: Apache-2.0
"""Meaning of temperature, where and total; values that can be checked by hand."""

import warnings

import lanemax as lm
import numpy as np
import pytest
import support
from registry import ALL, FUNCTIONS, with_option
from support import F32, F64, assert_same_bits


def test_values_by_hand():
    np.testing.assert_allclose(lm.softmax([0.0, np.log(3)]), [0.25, 0.75], rtol=1e-15)
    np.testing.assert_allclose(
        lm.log_softmax([0.0, np.log(3)]), [-np.log(4), np.log(0.75)], rtol=1e-15
    )
    np.testing.assert_allclose(lm.logsumexp([0.0, np.log(3)]), np.log(4), rtol=1e-15)
    np.testing.assert_allclose(
        lm.softmax_vjp([1.0, 0.0], [0.25, 0.75]), [0.1875, -0.1875], rtol=1e-15
    )
    np.testing.assert_allclose(
        lm.log_softmax_vjp([1.0, 0.0], np.log([0.25, 0.75])), [0.75, -0.75], rtol=1e-15
    )


#: (logits, softmax, log-sum-exp), computed with mpmath at 50 digits
PUBLISHED = [
    (
        [0.5, -1.25, 2.0, 0.0, -3.5],
        [
            0.15922782625167629,
            0.027669647274796097,
            0.71360960860582601,
            0.09657655850103779,
            0.0029163593666638114,
        ],
        2.3374192328324574,
    ),
    (
        [1000.0, 1001.0, 999.0],
        [0.24472847105479765, 0.66524095577482189, 0.090030573170380458],
        1001.4076059644444,
    ),
    (
        [-10000.0, -9999.0, -10002.0],
        [0.25949646034241912, 0.70538451269824116, 0.035119026959339724],
        -9998.6509877832318,
    ),
    (
        [90.0, 100.0, 95.0],
        [0.000045094041236354881, 0.99326235684217436, 0.0066925491165892871],
        100.00676044354712,
    ),
    (
        [0.0, -100.0, -80.0],
        [1.0, 3.720075976020836e-44, 1.8048513878454152e-35],
        1.8048513915654914e-35,
    ),
    (
        [30000.0, 30000.5, 29990.0],
        [0.37753419774124338, 0.62244866223269623, 0.000017140026060388516],
        30000.974094124353,
    ),
]


@pytest.mark.parametrize("x,p,lse", PUBLISHED)
def test_published_values(x, p, lse):
    np.testing.assert_allclose(lm.softmax(x), p, rtol=1e-15)
    np.testing.assert_allclose(lm.logsumexp(x), lse, rtol=3e-16, atol=2.5e-7 * 2.0**-29)
    p, f = np.array(p), np.float32(x)
    normal = p >= 2.0**-126
    np.testing.assert_allclose(lm.softmax(f)[normal], p[normal], rtol=4 * 2.0**-23)
    np.testing.assert_allclose(lm.logsumexp(f), lse, rtol=2.0**-23, atol=2.5e-7)


def test_published_gradients():
    x, dy = PUBLISHED[0][0], [1.0, -2.0, 0.5, 0.25, 3.0]
    np.testing.assert_allclose(
        lm.softmax_vjp(dy, lm.softmax(x)),
        rtol=1e-14,
        desired=[
            0.08063511223415268,
            -0.068996660390890348,
            0.0045766968823722325,
            -0.023524751056395479,
            0.0073096023307609149,
        ],
    )
    np.testing.assert_allclose(
        lm.log_softmax_vjp(dy, lm.log_softmax(x)),
        rtol=1e-14,
        desired=[
            0.56212347780789021,
            -2.0760915300056893,
            -1.4624264236660215,
            -0.015585535877853921,
            2.9919800117416745,
        ],
    )


def test_axis_none_normalises_over_everything():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(lm.softmax(x, axis=None).sum(), 1, rtol=1e-15)
    assert lm.softmax(x, None).shape == (2, 3)
    assert lm.softmax(x, 0).sum() == pytest.approx(3)


# ------------------------------------------------------------------ temperature ---


def test_temperature_divides_the_logits():
    x = np.array([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]])
    np.testing.assert_allclose(lm.softmax(x, temperature=3.0), lm.softmax(x / 3.0), rtol=1e-14)
    t = np.array([[0.5], [2.0]])
    assert_same_bits(lm.softmax(x, temperature=t), lm.softmax(x / t))
    np.testing.assert_allclose(
        lm.softmax(x, axis=0, temperature=[[1.0, 2.0, 3.0]]),
        lm.softmax(x / [[1.0, 2.0, 3.0]], axis=0),
        rtol=1e-14,
    )


@pytest.mark.parametrize("function", with_option("temperature"), ids=repr)
@pytest.mark.parametrize(
    "shape", [(4,), (4, 3), (1, 3), (3,), (2, 4, 1), (4, 1, 1), (4, 2)], ids=str
)
def test_temperature_of_a_wrong_shape_suggests_the_right_one(function, shape):
    arrays = tuple(np.full((4, 3), 0.25) for _ in function.inputs)
    with pytest.raises(ValueError, match=r"temperature") as error:
        function(*arrays, temperature=np.ones(shape))
    assert str(shape) in str(error.value)
    if shape in ((4,), (3,)):
        assert "temperature[..., None]" in str(error.value)


@pytest.mark.parametrize("function", with_option("temperature"), ids=repr)
def test_temperature_needs_extent_1_along_every_reduced_axis(function):
    arrays = tuple(np.full((2, 3, 4), 0.25) for _ in function.inputs)
    function(*arrays, axis=(0, 2), temperature=np.ones((1, 3, 1)))
    function(*arrays, axis=(0, 2), temperature=np.ones((3, 1)))
    function(*arrays, axis=None, temperature=np.ones((1, 1, 1)))
    for axis, shape in (
        ((0, 2), (2, 3, 1)),
        ((0, 2), (1, 3, 4)),
        (None, (1, 3, 1)),
        (0, (2, 1, 1)),
        (1, (3, 1)),
        (1, (3, 4)),
    ):
        with pytest.raises(ValueError, match="temperature"):
            function(*arrays, axis=axis, temperature=np.ones(shape))
    # a reduced axis of length 1 is extent 1
    function(*(a[:, :1] for a in arrays), axis=1, temperature=np.ones((2, 1, 4)))


def test_extreme_temperatures():
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_allclose(lm.softmax(x, temperature=1e30), np.full((1, 3), 1 / 3), rtol=3e-7)
    np.testing.assert_array_equal(lm.softmax(x, temperature=1e-3), [[0, 0, 1]])
    np.testing.assert_array_equal(lm.softmax(x.astype(F64), temperature=1e-300), [[0, 0, 1]])


# ------------------------------------------------------------------ where ---


def test_where_by_hand():
    x = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(
        lm.softmax(x, where=[True, False, True]),
        [[1 / (1 + np.e**2), 0, 1 / (1 + np.e**-2)]],
        rtol=1e-15,
    )
    np.testing.assert_array_equal(
        lm.log_softmax(x, where=[[True, False, False]]), [[0, -np.inf, -np.inf]]
    )
    np.testing.assert_allclose(
        lm.logsumexp(x, where=[True, True, False]), [np.log(np.e + np.e**2)], rtol=1e-15
    )


@pytest.mark.parametrize("function", with_option("where"), ids=repr)
def test_where_accepts_every_array_like_of_booleans(function):
    x = np.arange(6.0).reshape(2, 3)
    mask = np.array([[True, False, True]])
    want = function(x, where=mask)
    for given in (mask.tolist(), tuple(mask[0].tolist()), mask[0], np.broadcast_to(mask, (2, 3))):
        assert_same_bits(function(x, where=given), want)
    for given in (True, np.True_, np.array(True)):
        assert_same_bits(function(x, where=given), function(x))


@pytest.mark.parametrize("function", with_option("where"), ids=repr)
def test_where_must_broadcast_to_the_input_and_not_enlarge_it(function):
    x = np.zeros((2, 3))
    for shape in ((2,), (3, 2), (4,), (1, 2, 3), (5, 2, 3), (2, 3, 1), (0,), (2, 2)):
        with pytest.raises(ValueError, match="where"):
            function(x, where=np.ones(shape, bool))
    with pytest.raises(ValueError, match="where"):
        function(np.zeros(()), where=np.ones(1, bool))


# ------------------------------------------------------------------ total ---


@pytest.mark.parametrize("function", with_option("total"), ids=repr)
def test_total_of_many_pieces(function):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 1000))
    total = lm.ExpSum.empty((3,))
    for piece in np.split(x, 10, axis=1):
        total = total + lm.exp_sum(piece)
    parts = np.concatenate(
        [function(piece, total=total) for piece in np.split(x, 10, axis=1)], axis=1
    )
    np.testing.assert_allclose(parts, function(x), rtol=1e-14)


@pytest.mark.parametrize("function", with_option("total"), ids=repr)
def test_total_has_the_shape_of_the_reduced_input(function):
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    for axis in (0, 1, 2, (0, 2), None):
        np.testing.assert_allclose(
            function(x, axis=axis, total=lm.exp_sum(x, axis=axis)),
            function(x, axis=axis),
            rtol=1e-13,
        )
    for wrong in (lm.exp_sum(x, axis=0), lm.exp_sum(x[:1]), lm.exp_sum(x, axis=None)):
        with pytest.raises(ValueError, match="total"):
            function(x, total=wrong)


@pytest.mark.parametrize("function", with_option("total"), ids=repr)
def test_total_excludes_where_and_temperature(function):
    x = np.zeros((2, 3))
    total = lm.exp_sum(x)
    for options in (
        {"where": np.ones((2, 3), bool)},
        {"where": True},
        {"temperature": 2.0},
        {"temperature": np.full((2, 1), 2.0)},
    ):
        with pytest.raises(ValueError, match="total"):
            function(x, total=total, **options)
    function(x, total=total, where=None, temperature=1.0)


def test_total_of_another_dtype():
    """A sum is a sum: one gathered in float64 normalises float32 logits."""
    x = np.random.default_rng(2).normal(size=(3, 50)).astype(np.float32)
    p = lm.softmax(x, total=lm.exp_sum(x.astype(np.float64)))
    np.testing.assert_allclose(p, lm.softmax(x), rtol=1e-6)
    assert p.dtype == F32


# ------------------------------------------------------------------ silence ---


def nasty(dtype):
    top = {2: 6e4, 4: 3e38, 8: 1e308}[dtype.itemsize]
    v = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, top, -top, 1e-45, 88.8, -104.0])
    with np.errstate(all="ignore"):
        return np.stack(
            [
                v,
                v[::-1],
                np.full(10, -np.inf),
                np.full(10, top),
                np.full(10, -top),
                np.linspace(-200, 0, 10),
            ]
        ).astype(dtype)


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_numerics_never_warn(function, dtype):
    x = nasty(dtype)
    arrays = tuple(x for _ in function.inputs)
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        function(*arrays)
        function(*arrays, axis=0)
        function(*arrays, axis=None)
        if "temperature" in function.options:
            function(*arrays, temperature=0.01)
        if "where" in function.options:
            function(x, where=np.arange(60).reshape(6, 10) % 3 > 0)
        if function.result == "sum":
            s = function(x)
            repr((s + s).log())
    with np.errstate(all="raise"):
        function(*arrays)
        if function.result == "sum":
            s = function(x)
            repr((s + s).log())


def test_functions_of_the_table_are_the_public_ones():
    for name in FUNCTIONS:
        assert callable(getattr(lm, name))
    assert support.F32 in support.DTYPES
