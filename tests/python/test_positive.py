# SPDX-License-Identifier: Apache-2.0
"""Softmax with another function than the exponential, against 60 digits, and its promises."""

import inspect
import math

import lanemax as lm
import numpy as np
import oracle
import pytest
import support
from positive import EXACT, TABLE, Positive, ulp_error

each = pytest.mark.parametrize("p", TABLE, ids=repr)
wide = pytest.mark.parametrize("dtype", [support.F32, support.F64], ids=str)
CASES = [(p, v) for p in TABLE for v in p.values]
cases = pytest.mark.parametrize(
    ("p", "value"), CASES, ids=[f"{p}-{v}" if v is not None else str(p) for p, v in CASES]
)


def rows(dtype, n, rng):
    """Rows of every kind that has a way of going wrong."""
    top = 127 if dtype == support.F32 else 1023
    peak = rng.normal(size=n)
    peak[0] = 1e9
    yield "normal", rng.normal(size=n)
    yield "wide", rng.normal(0, 30, n)
    yield "falling", rng.uniform(-100, 10, n)
    yield "small", rng.normal(0, 1e-3, n)
    yield "one dominates", peak
    yield "largest", rng.uniform(-1, 1, n) * float(np.finfo(dtype).max)
    yield "any", np.ldexp(rng.choice([-1.0, 1.0], n), rng.integers(1 - top, top, n))
    yield "tiny", np.ldexp(rng.uniform(1, 2, n), rng.integers(-top - 20, 8 - top, n))
    yield "all negative", -np.ldexp(rng.uniform(1, 2, n), rng.integers(0, top, n))
    yield "most negative", np.full(n, -float(np.finfo(dtype).max))


@cases
@wide
def test_error_is_within_the_bound(p: Positive, value, dtype, rng):
    fmt = oracle.format_of(dtype)
    quantum = EXACT.mpf(2) ** (fmt.emin - fmt.bits + 1)
    for n in (1, 2, 3, 40):
        for kind, x in rows(dtype, n, rng):
            x = support.rounded(x, dtype)
            dy = rng.normal(size=n).astype(dtype)
            if p.name == "spherical_softmax" and value == 0 and not x.any():
                continue  # 0 / 0: a special value
            y, dx, terms = p.exact(x, dy, value)
            got, grad = p(x, **p.options(value)), p.vjp(dy, x, **p.options(value))
            for i in range(n):
                what = f"{kind}, n={n}, i={i}, x={x[i]!r}"
                normal = abs(y[i]) >= EXACT.mpf(2) ** fmt.emin
                error = ulp_error(got[i], y[i], fmt)
                assert error <= (4 if normal else 2), (what, float(got[i]), EXACT.nstr(y[i], 17))
                over = abs(EXACT.mpf(float(grad[i])) - dx[i]) - 2 * quantum
                if np.isinf(grad[i]):
                    assert abs(dx[i]) > float(np.finfo(dtype).max), what
                else:
                    assert over <= 6 * fmt.u * terms[i], (what, float(grad[i]), EXACT.nstr(dx[i]))


@cases
@pytest.mark.parametrize("dtype", support.NARROW, ids=str)
def test_16_bits_are_float32_rounded_once(p: Positive, value, dtype, rng):
    for kind in ("normal10", "any_finite", "subnormal"):
        x = support.logits(kind, rng, (3, 200), dtype)
        dy = support.logits("normal", rng, (3, 200), dtype)
        options = p.options(value)
        want = p(x.astype(np.float32), **options)
        support.assert_same_bits(p(x, **options), support.rounded(want, dtype), kind)
        want = p.vjp(dy.astype(np.float32), x.astype(np.float32), **options)
        support.assert_same_bits(p.vjp(dy, x, **options), support.rounded(want, dtype), kind)


@each
@wide
def test_long_rows_keep_their_digits(p: Positive, dtype, rng):
    n = 1_000_003
    x = rng.normal(size=n).astype(dtype)
    y = p(x).astype(np.float64)
    if p.log:
        y = np.exp(y)
    # the sum of n results with independent roundings of u each
    assert abs(math.fsum(y) - 1) <= 4 * oracle.format_of(dtype).u


@each
def test_tiers_threads_and_layouts_have_the_same_bits(p: Positive, dtype, rng):
    value = p.values[-1]
    shape = (7, 333)
    x = support.logits("normal10", rng, shape, dtype)
    dy = support.logits("normal", rng, shape, dtype)
    calls = {
        "forward": lambda x, dy, **o: p(x, **o),
        "vjp": lambda x, dy, **o: p.vjp(dy, x, **o),
    }
    for what, call in calls.items():
        for options in ({}, p.options(value)):
            want = call(x, dy, **options)
            for tier in support.TIERS:
                for threads in (1, 2):
                    with support.running(tier, threads):
                        support.assert_same_bits(call(x, dy, **options), want, f"{what} {tier}")
            for name, layout in support.LAYOUTS.items():
                got = call(layout(x), layout(dy), **options)
                support.assert_same_bits(got, want, f"{what} {name}")
            turned = call(x.T.copy(), dy.T.copy(), axis=0, **options)
            support.assert_same_bits(np.ascontiguousarray(turned.T), want, f"{what} axis 0")
            cube, dcube = x.reshape(7, 9, 37), dy.reshape(7, 9, 37)
            both = call(cube, dcube, axis=(1, 2), **options)
            support.assert_same_bits(both.reshape(shape), want, f"{what} axes")
            flat = call(x[0].reshape(9, 37), dy[0].reshape(9, 37), axis=None, **options)
            support.assert_same_bits(flat.ravel(), want[0], f"{what} axis None")


@each
def test_large_arrays_have_the_same_bits_on_every_tier(p: Positive, rng):
    for shape in ((3, 40_000), (2000, 65)):
        x, dy = rng.normal(0, 5, shape).astype(np.float32), rng.normal(size=shape)
        dy = dy.astype(np.float32)
        want, grad = p(x), p.vjp(dy, x)
        for tier in support.TIERS:
            for threads in (1, 2):
                with support.running(tier, threads):
                    support.assert_same_bits(p(x), want, tier)
                    support.assert_same_bits(p.vjp(dy, x), grad, tier)
        for row in range(0, shape[0], shape[0] // 3):
            support.assert_same_bits(p(x[row]), want[row], "a row alone")


@each
def test_out_may_be_an_input_or_overlap_it(p: Positive, dtype, rng):
    x = support.logits("normal", rng, (5, 60), dtype)
    dy = support.logits("normal", rng, (5, 60), dtype)
    want, grad = p(x), p.vjp(dy, x)
    a = x.copy()
    assert p(a, out=a) is a
    support.assert_same_bits(a, want)
    for i in range(2):
        pair = [dy.copy(), x.copy()]
        assert p.vjp(*pair, out=pair[i]) is pair[i]
        support.assert_same_bits(pair[i], grad)
    room = np.zeros((6, 60), dtype)
    room[:5] = x
    p(room[:5], out=room[1:])
    support.assert_same_bits(room[1:].copy(), want)


NAN, INF = np.nan, np.inf


@each
def test_special_values(p: Positive, dtype, tier):
    def row(*values):
        return np.array(values, np.float64).astype(dtype)

    nan_of = support.CANONICAL_NAN[dtype]

    def all_nan(a):
        return bool((support.bits(a) == nan_of).all())

    one = row(1, 1)
    for bad in (row(NAN, 1), row(1, NAN), row(INF, 1), row(INF, -INF), row(INF, INF)):
        assert all_nan(p(bad))
        assert all_nan(p.vjp(one, bad))
    assert all_nan(p(row(-INF, -INF))) and all_nan(p.vjp(one, row(-INF, -INF)))
    assert all_nan(p.vjp(row(1, NAN), one)) and all_nan(p.vjp(row(NAN, 1), one))
    masked = row(-INF, 1, 2)
    if p.masks:
        rest = p(masked[1:])
        assert p(masked)[0] == (-INF if p.log else 0)
        support.assert_same_bits(p(masked)[1:], rest)
        dx = p.vjp(row(5, 1, 2), masked)
        assert dx[0] == 0
        if not p.log:
            support.assert_same_bits(dx[1:], p.vjp(row(1, 2), masked[1:]))
    else:
        assert all_nan(p(masked)) and all_nan(p.vjp(row(5, 1, 2), masked))
    for n in (1, 2, 4):
        for v in (0.0, 3.0, -7.5, 60000.0):
            equal = np.full(n, v).astype(dtype)
            y = p(equal).astype(np.float64)
            assert (y == 1 / n).all() or p.log
    assert p(row(-7.5)) == (0 if p.log else 1)
    if p.name == "spherical_softmax":
        assert all_nan(p(row(0, 0), eps=0)) and (p(row(0, 0)) == 0.5).all()
        assert (p(row(0, 2), eps=0) == row(0, 1)).all()


@each
def test_empty_and_0d(p: Positive, dtype):
    for shape in ((0,), (3, 0), (0, 3)):
        empty = np.empty(shape, dtype)
        assert p(empty).shape == shape and p(empty).dtype == dtype
        assert p.vjp(empty, empty).shape == shape
    for axis in (-1, 0, None):
        y = p(np.array(2.5, dtype), axis=axis)
        assert y.shape == () and y == (0 if p.log else 1)
    assert np.asarray(p([1, 2, 3])).dtype == np.float64
    assert np.asarray(p(np.array([1, 2], np.int8))).dtype == np.float32


@each
def test_vjp_is_the_gradient(p: Positive, rng):
    x, dy = rng.normal(0, 2, (4, 9)), rng.normal(size=(4, 9))
    for value in p.values[:3]:
        options = p.options(value)
        h = 2.0**-17
        dx = p.vjp(dy, x, **options)
        for j in range(9):
            up, down = x.copy(), x.copy()
            up[:, j] += h
            down[:, j] -= h
            slope = ((p(up, **options) - p(down, **options)) / (2 * h) * dy).sum(axis=1)
            scale = np.abs(dy).sum(axis=1)
            assert (np.abs(slope - dx[:, j]) <= 1e-8 * scale).all()


def test_order_of_taylor_softmax_approaches_softmax(rng):
    x = rng.normal(size=(3, 20))
    errors = [np.abs(lm.taylor_softmax(x, order=k) - lm.softmax(x)).max() for k in (2, 8, 32)]
    assert errors[0] > errors[1] > errors[2] and errors[2] <= 8 * 2.0**-53


@each
def test_bad_arguments_are_refused_and_nothing_is_written(p: Positive):
    x = np.ones((2, 3), np.float32)
    out = np.full((2, 3), 7, np.float32)
    for value in p.bad:
        for call in (lambda v=value: p(x, out=out, **p.options(v)),
                     lambda v=value: p.vjp(x, x, out=out, **p.options(v))):  # fmt: skip
            with pytest.raises(ValueError, match=p.parameter):
                call()
    if p.parameter is not None:
        for value in ("two", None, True, [2], 2j):
            with pytest.raises(TypeError, match=p.parameter):
                p(x, out=out, **p.options(value))
    for call, error, names in (
        (lambda: p(x.astype(complex), out=out), TypeError, "complex"),
        (lambda: p(x, axis=2, out=out), np.exceptions.AxisError, "axis"),
        (lambda: p(x, out=out.astype(np.float64)), TypeError, "out"),
        (lambda: p(x, out=np.ones((3, 2), np.float32)), ValueError, "out"),
        (lambda: p.vjp(x.astype(np.float64), x, out=out), TypeError, "dy"),
        (lambda: p.vjp(x[:1], x, out=out), ValueError, "dy"),
        (lambda: p.vjp(x, None, out=out), TypeError, "x"),
    ):
        with pytest.raises(error, match=names):
            call()
    assert (out == 7).all() and (x == 1).all()


@each
@pytest.mark.parametrize("suffix", ["", "_vjp"])
def test_signature_and_documentation(p: Positive, suffix):
    function = getattr(lm, p.name + suffix)
    assert p.name + suffix in lm.__all__
    parameters = inspect.signature(function).parameters.values()
    positional = [a.name for a in parameters if a.kind is a.POSITIONAL_OR_KEYWORD]
    keyword = {a.name: a.default for a in parameters if a.kind is a.KEYWORD_ONLY}
    assert positional == [*(["dy"] if suffix else []), "x", "axis"]
    assert keyword == {**({p.parameter: p.standard} if p.parameter else {}), "out": None}
    doc = inspect.getdoc(function)
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert f"\n{section}\n---" in doc


def test_registry_says_the_same():
    ops = {op["name"]: op for op in lm._core.registry.row_ops()}
    for p in TABLE:
        for name in (p.name, f"{p.name}_vjp"):
            assert ops[name]["parameters"] == ([p.parameter] if p.parameter else [])
            standards = [q.standard for q in ops[name]["described"]]
            assert standards == ([p.standard] if p.parameter else [])
            assert ops[name]["inputs"] == (2 if name != p.name else 1)
