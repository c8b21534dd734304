# SPDX-License-Identifier: Apache-2.0
"""Activations of channels: values and gradients against tables, 50 digits and differences."""

from __future__ import annotations

import math

import channels
import lanemax as lm
import numpy as np
import oracle
import pytest
import support
import test_activations
from channels import ALL, EXACT, GATES, KAT_GELU, KAT_SWISH, LEARNED, THIRDS, mpf
from test_activations import FORMULAS, ulp

INF, NAN = np.inf, np.nan

every = pytest.mark.parametrize("case", ALL, ids=repr)
wide = pytest.mark.parametrize("dtype", [support.F32, support.F64], ids=str)


def test_every_activation_of_the_registry_is_tested():
    missing = set(channels.NAMES) - channels.SETTINGS.keys()
    assert not missing, f"add settings to tests/python/channels.py for {sorted(missing)}"


# ------------------------------------------------------------------ tables ---


def assert_near(got, want, digits=4e-15):
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == np.float64 and got.shape == want.shape
    assert (np.abs(got - want) <= digits * np.abs(want)).all(), (got, want)


def test_published_poly_norm():
    x = np.array([1.0, -2.0, 0.5, 3.0])
    want = [0.26758520887209114, -0.27319148366168067, 0.10809001435878501, 1.7745010162422785]
    assert_near(lm.poly_norm(x, THIRDS, 0.0), want)
    small = [0.20656244264341836, -0.23589164753349792, 0.095688190423065728, 0.80691957331180242]
    assert_near(lm.poly_norm(x * 0.01, THIRDS, 0.0), small)  # eps matters
    large = [0.26758523509129278, -0.27319152821938114, 0.1080900271027776, 1.7745011045683756]
    assert_near(lm.poly_norm(x * 1e5, THIRDS, 0.0), large)
    assert lm.poly_norm(np.zeros(4), THIRDS, 0.25).tolist() == [0.25] * 4
    dy = np.array([1, 0.5, -1, 2])
    dx, dweight, dbias = lm.poly_norm_vjp(dy, x, THIRDS, 0.0)
    assert_near(
        dx, [0.28102362946162157, 0.60538872332740401, -0.29945545505118759, 0.35982731650810074]
    )
    assert_near(dweight, [3.6109368425775741, 4.1907968363587242, 2.9139707765647707])
    assert dbias == 2.5


def test_weights_are_cubic_square_linear():
    x = np.array([1.0, -2.0, 0.5, 3.0])
    for i, power in enumerate((3, 2, 1)):
        weight = np.zeros(3)
        weight[i] = 1
        r = 1 / np.sqrt(np.mean(x ** (2 * power)) + 1e-6)
        assert_near(lm.poly_norm(x, weight, 0.0), x**power * r)


def test_published_rational():
    x = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    zero = 3.0548797411610511e-07
    for coefficients, form, want in (
        (KAT_SWISH, "A", [-0.14227881786047736, -0.26894158588252753, zero, 0.731058343107166,
                          2.8577211932451574]),
        (KAT_SWISH, "B", [-0.14227881786047736, -0.26894158588252753, zero, 0.73106544922776773,
                          2.8578541381925668]),
        (KAT_GELU, "A", [-0.0017869757950920923, -0.14244229167095421, -0.00153969,
                         0.82350597227809386, 1.5310519046213928]),
        (KAT_GELU, "B", [-0.0024633170610941879, -0.15872155302789875, -0.00153969,
                         0.84058295433718078, 2.9989046543287072]),
    ):  # fmt: skip
        assert_near(lm.rational(x, *coefficients, form=form), want, 4e-14)  # at a zero
    support.assert_same_bits(lm.rational(x, *KAT_GELU), lm.rational(x, *KAT_GELU, form="B"))
    identity = lm.rational(x, [0.0, 1, 0, 0, 0, 0], np.zeros((1, 4)), form="A")
    support.assert_same_bits(identity, x)


def test_published_householder():
    for pair in ([3.0, 1.0], [1.0, 3.0]):
        assert_near(lm.householder(np.array(pair), np.pi / 2), [1.0, 3.0])
    got = lm.householder(np.array([2.0, -1.0]), np.pi / 3)
    assert_near(got, [0.13397459621556163, 2.232050807568877], 1e-15)


# ------------------------------------------------------------------ accuracy ---


def assert_within(case, what, got, want, allowed, top):
    """As for activations, by index."""
    got = np.ravel(got).astype(np.float64).tolist()
    test_activations.assert_within(f"{case!r} {what}", got, want, allowed, top, range(len(got)))


def assert_exact(case, dtype, dy, *arrays, what="", sums=True, underflow=False):
    """Rows, of value and gradients; with `underflow` a gradient may lose what P / Q has lost."""
    fmt = oracle.format_of(dtype)
    quantum, top = ulp(mpf(0), fmt), float(np.finfo(dtype).max)
    y, *found = case.everything(dy, *arrays)
    dx, dup = found[0], found[1] if len(arrays) > 1 else None
    rows = [channels.exact_row(case, dtype, *row) for row in zip(dy, *arrays, strict=True)]
    of_value, of_dx, of_dup, of_sums = channels.factors(case, dy.shape[-1])
    for r, exact in enumerate(rows):
        # where a kink is near, the gradient may be either
        sure = [not v for v in exact.unsure] if exact.unsure else [True] * dy.shape[-1]
        if exact.at is not None:
            sure = [True] * len(exact.at)
        if exact.slope is not None:  # promised where f' is in range
            sure = [v and abs(d) < top for v, d in zip(sure, exact.slope, strict=True)]
        for name, got, want, terms, factor in (
            ("value", y, exact.value, exact.value_terms, of_value),
            ("dx", dx, exact.dx, exact.dx_terms, of_dx),
            ("dup", dup, exact.dup, exact.dup_terms, of_dup),
        ):
            if want is None:
                continue
            keep = sure if name == "dx" else [True] * len(want)
            here = got[r] if exact.at is None else got[r][exact.at]
            # what is lost below the smallest number, of the polynomial and then of the product
            lost = [mpf(2)] * len(want)
            if len(arrays) > 1 and name != "dx":
                by = (arrays[1] if name == "value" else dy)[r]
                lost = [2 + 2 * abs(mpf(float(v))) for v in np.ravel(by)]
                lost = lost if exact.at is None else [lost[i] for i in exact.at]
            if underflow and name == "dx":
                lost = [2 + 2 * v for v in exact.slope_lost]
            allowed = [factor * fmt.u * t + n * quantum for t, n in zip(terms, lost, strict=True)]
            picked = [
                [v for v, k in zip(part, keep, strict=True) if k]
                for part in (here.tolist(), want, allowed)
            ]
            assert_within(case, f"{dtype} {what} row {r} {name}", *picked, top)
    if sums and case.learned:
        got = np.concatenate([np.ravel(g) for g in found[len(arrays) :]])
        want = [EXACT.fsum(v) for v in zip(*(e.sums for e in rows), strict=True)]
        terms = [EXACT.fsum(v) for v in zip(*(e.sum_terms for e in rows), strict=True)]
        allowed = [of_sums * fmt.u * t + dy.size * quantum for t in terms]
        assert_within(case, f"{dtype} {what} sums", got, want, allowed, float(np.finfo(float).max))


@pytest.mark.parametrize("case", LEARNED, ids=repr)
@wide
def test_errors_are_within_the_bounds(case, dtype, rng):
    sizes = (1, 2, 3, 7, 8, 15, 16, 17, 33, 100)
    if case is channels.of(case.name)[0]:
        sizes = (*sizes, *((1536,) if case.name != "rational" else ()))
    elif case.name == "rational":
        sizes = (1, 17, 33)
    for n in sizes:
        n = case.channels(n)
        rows = 2 if n < 200 else 1
        assert_exact(case, dtype, *case.draw(rng, (rows, n), dtype), what=f"n={n}")


def test_errors_of_long_rows_are_within_the_bounds(rng):
    for name in ("poly_norm", "poly_norm_glu"):
        case = channels.of(name)[0]
        for dtype in (support.F32, support.F64):
            assert_exact(case, dtype, *case.draw(rng, (1, 16384), dtype), what="n=16384")


@pytest.mark.parametrize("order", range(1, 9))
@wide
def test_every_order_of_poly_norm(order, dtype, rng):
    for name in ("poly_norm", "poly_norm_glu"):
        like = channels.of(name)[0]
        for weight in (rng.normal(size=order), np.eye(order)[0], -np.eye(order)[-1]):
            case = channels.Case(
                name, f"order {order}", (weight, 0.25), {}, 1, name, like.arrays, True, None
            )
            for n in (7, 100):
                assert_exact(case, dtype, *case.draw(rng, (2, n), dtype), what=f"n={n}")


def _scaled(scale):
    return lambda rng, n: rng.normal(size=n) * scale


def _outlier(rng, n):
    x = rng.normal(size=n)
    x[n // 2] = 300
    return x


ROWS = {
    "small": _scaled(1e-3),
    "smaller": _scaled(1e-2),
    "0.1": _scaled(0.1),
    "1e5": _scaled(1e5),
    "1e7": _scaled(1e7),
    "1e30": _scaled(1e30),
    "1e-30": _scaled(1e-30),
    "1e200": _scaled(1e200),
    "1e-200": _scaled(1e-200),
    "outlier": _outlier,
    "constant": lambda rng, n: np.full(n, -1.7),
    "wide": lambda rng, n: np.ldexp(rng.normal(size=n), rng.integers(-60, 60, n)),
    "one": lambda rng, n: np.eye(n)[n // 3] * 1e12,
    "subnormal": lambda rng, n: rng.integers(-9, 10, n) * 2.0**-149,
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("eps", [1e-6, 0.0, 3.0])
@wide
def test_rows_of_any_size(kind, eps, dtype, rng):
    if dtype == support.F32 and "200" in kind:
        return
    for name, weight in (
        ("poly_norm", [0.7, -0.3, 0.2]),
        ("poly_norm", [1.0]),
        ("poly_norm", [0.5, 0, 0, 0, 0, 0, 0.25, 0.1]),
        ("poly_norm_glu", [0.7, -0.3, 0.2]),
    ):
        like = channels.of(name)[0]
        case = channels.Case(
            name, kind, (weight, 0.0), {"eps": eps}, 1, name, like.arrays, True, None
        )
        for n in (5, 64):
            dy, *arrays = case.draw(rng, (1, n), dtype)
            arrays[0] = ROWS[kind](rng, n).astype(dtype).reshape(1, n)
            if eps == 0 and not arrays[0].any():
                continue
            if kind == "subnormal" and eps == 0 and len(weight) == 8:
                continue  # below
            assert_exact(case, dtype, dy, *arrays, what=f"{kind} {len(weight)} n={n}")


def test_rows_of_subnormal_numbers_without_eps(rng):
    """Of float32, whose reciprocal is out of range: from order 7 on they may overflow, lanemax.h
    says; gradients by x are out of range too."""
    x = (np.array([1.0, 2, 3, 9, -4]) * 2.0**-149).astype(np.float32)
    for order in range(1, 7):
        weight = channels.in_real(rng.normal(size=order), support.F32)
        exact = channels.poly_norm(x, weight, mpf(0), mpf(0), np.ones(5, np.float32))
        got = lm.poly_norm(x, [float(w) for w in weight], 0.0, eps=0)
        allowed = [(order + 2) * 2.0**-24 * t for t in exact.value_terms]
        assert_within(f"order {order}", "value", got, exact.value, allowed, INF)


def _huge(dtype, rng, n):
    top = -oracle.format_of(dtype).emin
    x = np.ldexp(rng.uniform(1, 2, n), rng.integers(-top // 2, top, n))
    x[: n // 4] = np.ldexp(rng.uniform(1, 2, n // 4), top)
    return (x * rng.choice([-1, 1], n)).astype(dtype)


@pytest.mark.parametrize("case", channels.of("rational"), ids=repr)
@wide
def test_rational_of_every_finite_number(case, dtype, rng):
    n = case.channels(96)
    dy, _ = case.draw(rng, (1, n), dtype)
    assert_exact(case, dtype, dy, _huge(dtype, rng, n).reshape(1, n), what="huge", sums=False)
    spread = rng.normal(0, 30, (1, n)).astype(dtype)
    assert_exact(case, dtype, dy, spread, what="spread")


@pytest.mark.parametrize("form", ["A", "B"])
@wide
def test_rational_with_coefficients_of_any_size(form, dtype, rng):
    reach = 100 if dtype == support.F32 else 900
    for trial in range(25):
        p, q = int(rng.integers(0, 9)), int(rng.integers(0, 9))
        a = np.ldexp(rng.normal(size=p + 1), rng.integers(-reach, reach, p + 1))
        b = np.ldexp(rng.normal(size=q), rng.integers(-reach, reach, q))
        a, b = (v.astype(dtype) for v in (a, b))
        like = channels.of("rational")[0]
        case = channels.Case(
            "rational", f"{trial}", (a, b), {"form": form}, 1, "rational", like.arrays, True, None
        )
        x = np.concatenate([rng.normal(0, 3, 8), _huge(support.F32, rng, 8)])
        x = x.astype(dtype).reshape(1, 16)
        what = f"a={a} b={b}"
        assert_exact(case, dtype, np.ones_like(x), x, what=what, sums=False, underflow=True)


def test_gradient_of_rational_where_the_value_is_subnormal():
    """P / Q is subnormal, P / Q * Q' / Q is not."""
    like = channels.of("rational")[0]
    for dtype, a, b, x in (
        (support.F32, [6.5e-28], [-0.45, 0, 0, 0, -7e22], -1e-3),
        (support.F64, [2.2e-264], [-6e43, -7e102], -1e-28),
    ):
        a, b = (np.array(v, dtype) for v in (a, b))
        case = channels.Case("rational", "tiny", (a, b), {}, 1, "rational", like.arrays, True, None)
        x = (x * np.ldexp(1.0, np.arange(-24, 24))).astype(dtype).reshape(1, -1)
        assert_exact(case, dtype, np.ones_like(x), x, what="tiny", sums=False)


@wide
def test_gradient_of_rational_whose_slope_overflows(dtype):
    root = 2.0 ** (63 if dtype == support.F32 else 511)
    x, dy = (np.array([3.0, -3.0, 1.0, 2.0]) * root).astype(dtype), np.full(4, 0.125, dtype)
    for form in "AB":
        dx, *_ = lm.rational_vjp(dy, x, [0.5, -2.0, 1.0, 0.25], [], form=form)
        want = np.array([6.75, 6.75, 0.75, 3.0]) * (0.125 * root * root)
        assert ((dx == INF) | (np.abs(dx / want - 1) < 1e-6)).all()
        assert np.isfinite(dx[2:]).all()


def test_rational_near_its_limits(dtype):
    """+-inf gives the limit, and so does the largest number, but for its own size."""
    x = np.array([-INF, INF], np.float64).astype(dtype)
    one = np.ones(2, dtype)

    def both(a, b, form):
        y = lm.rational(x, a, b, form=form)
        dx = lm.rational_vjp(one, x, a, b, form=form)[0]
        return y.astype(np.float64).tolist(), dx.astype(np.float64).tolist()

    for form in "AB":
        assert both([1.0, 2.0], [], form) == ([-INF, INF], [2, 2])
        assert both([1.0], [], form) == ([1, 1], [0, 0])
        assert both([0.0, 0.0, 1.0], [], form) == ([INF, INF], [-INF, INF])
        assert both([1.0, 1.0], [0.0, 2.0], form) == ([0, 0], [0, 0])
        assert both([1.0, 3.0], [2.0], form) == ([-1.5, 1.5], [0, 0])
        assert both([1.0, 0.0, 3.0], [0.0, -2.0], form) == ([1.5, 1.5], [0, 0])
        assert both([0.0, 0.0, 3.0], [-1.5], form) == ([INF, INF], [-2, 2])
        assert both([0.0], [1.0], form) == ([0, 0], [0, 0])


def test_kinks_of_rational(dtype):
    zero, one = np.zeros(2, dtype), np.ones(2, dtype)
    zero[1] = -0.0
    # 0 where an absolute value has its kink, but the side above by a coefficient of A that is 0
    dx, da, db = lm.rational_vjp(one, zero, [1.0, 0.5], [2.0], form="A")
    assert dx.tolist() == [0.5, 0.5]
    assert da.tolist() == [2, 0] and db.tolist() == [0]
    dx, da, db = lm.rational_vjp(one, zero, [1.0, 0.5], [2.0], form="B")
    assert dx.tolist() == [0.5, 0.5] and da.tolist() == [2, 0] and db.tolist() == [0]
    dx, da, db = lm.rational_vjp(one, one, [1.0, 0.5], [0.0, 0.0], form="A")
    assert db.tolist() == [-3, -3]
    dx, da, db = lm.rational_vjp(one, one, [1.0, 0.5], [0.0, 0.0], form="B")
    assert db.tolist() == [0, 0]
    dx, da, db = lm.rational_vjp(one, one, [1.0, 0.5], [1.0, -1.0], form="B")
    assert db.tolist() == [0, 0] and dx.tolist() == [0.5, 0.5]


def test_rational_coefficients_that_are_not_finite(dtype):
    x = np.array([[0.0, 1.0, -2.0, INF]], np.float64).astype(dtype)
    for bad in (NAN, INF, -INF):
        for a, b in (([bad, 1.0], [1.0]), ([1.0, bad], [1.0]), ([1.0], [1.0, bad])):
            assert support.is_nan(lm.rational(x, a, b)).all()
    a = np.array([[1.0, 2.0], [NAN, 1.0]])
    y = lm.rational(x, a, [0.5])
    assert support.is_nan(y).tolist() == [[False, False, True, True]]


# ------------------------------------------------------------------ gates ---

ACTIVATION = {
    "swiglu": ("silu", lm.silu, lm.silu_vjp),
    "geglu": ("gelu", lm.gelu, lm.gelu_vjp),
    "geglu_tanh": (
        "gelu_tanh",
        lambda x: lm.gelu(x, "tanh"),
        lambda dy, x: lm.gelu_vjp(dy, x, "tanh"),
    ),
    "reglu": ("relu", lm.relu, lm.relu_vjp),
}


def _gate_arrays(rng, dtype, n=3000):
    """Of all sizes, and infinities, and zeros of either sign."""
    top = -oracle.format_of(dtype).emin
    found = []
    for _ in range(3):
        x = np.ldexp(rng.normal(size=n), rng.integers(-top, top, n) * (rng.random(n) < 0.3))
        x[rng.random(n) < 0.05] = 0.0
        x[rng.random(n) < 0.03] = -0.0
        x[rng.random(n) < 0.03] = INF
        x[rng.random(n) < 0.03] = -INF
        x[rng.random(n) < 0.02] = NAN
        found.append(support.rounded(x, dtype))
    return found


def assert_same_but_nan(got, want, what):
    nan = support.is_nan(want)
    assert (support.is_nan(got) == nan).all(), what
    assert (support.bits(got)[nan] == support.CANONICAL_NAN[got.dtype]).all(), what
    support.assert_same_bits(got[~nan], want[~nan], what)


@pytest.mark.parametrize("case", GATES, ids=repr)
@wide
def test_a_gate_has_the_bits_of_its_two_steps(case, dtype, rng):
    _, value, gradient = ACTIVATION[case.name]
    dy, gate, up = _gate_arrays(rng, dtype)
    with np.errstate(all="ignore"):
        assert_same_but_nan(case(gate, up), value(gate) * up, "value")
        dgate, dup = case.vjp(dy, gate, up)
        if case.name == "reglu":  # the others take both gradients from one exponential
            assert_same_but_nan(dup, dy * value(gate), "dup")
        want = gradient(dy * up, gate)
        if case.name == "reglu":  # a product that overflows is not infinite where it is not wanted
            want[(gate <= 0) & np.isfinite(dy) & np.isfinite(up)] = 0
        assert_same_but_nan(dgate, want, "dgate")


@pytest.mark.parametrize("case", GATES, ids=repr)
@wide
def test_error_of_a_gate_is_within_the_bound(case, dtype, rng):
    fmt = oracle.format_of(dtype)
    n = 400
    gate = np.concatenate([rng.normal(0, 3, n), np.linspace(-10, 10, 101)]).astype(dtype)
    up, dy = (rng.normal(size=gate.size).astype(dtype) for _ in range(2))
    points = [FORMULAS[ACTIVATION[case.name][0]](mpf(float(v))) for v in gate]
    u, g = [mpf(float(v)) for v in up], [mpf(float(v)) for v in dy]
    bound = case.bound if case.bound < 1 else case.bound * (1 if dtype == support.F32 else 2)
    top = float(np.finfo(dtype).max)
    want = [p.value * v for p, v in zip(points, u, strict=True)]
    allowed = [bound * ulp(v, fmt) for v in want]
    assert_within(case, f"{dtype} value", case(gate, up), want, allowed, top)
    dgate, dup = case.vjp(dy, gate, up)
    want = [p.slope * a * b for p, a, b in zip(points, g, u, strict=True)]
    terms = [p.terms * abs(a * b) for p, a, b in zip(points, g, u, strict=True)]
    allowed = [8 * fmt.u * t + 2 * ulp(mpf(0), fmt) for t in terms]
    assert_within(case, f"{dtype} dgate", dgate, want, allowed, top)
    want = [p.value * a for p, a in zip(points, g, strict=True)]
    allowed = [8 * fmt.u * abs(v) + 2 * ulp(mpf(0), fmt) for v in want]
    assert_within(case, f"{dtype} dup", dup, want, allowed, top)


# ------------------------------------------------------------------ sorts ---

SORTS = [*channels.of("max_min"), *channels.of("group_sort")]


def _size(case):
    return (2, True) if case.name == "max_min" else (case.given[0], False)


@pytest.mark.parametrize("case", SORTS, ids=repr)
def test_groups_are_sorted_and_gradients_go_back(case, dtype, rng, tier):
    size, descending = _size(case)
    for groups in (1, 2, 3, 7, 50):
        shape = 3, groups * size
        for spread in (1e-3, 2.0, 100.0):
            x = rng.normal(0, spread, shape).astype(dtype)
            x[rng.random(shape) < 0.02] = INF
            x[rng.random(shape) < 0.02] = -INF
            dy = rng.normal(size=shape).astype(dtype)
            y, (dx,) = case(x), case.vjp(dy, x)
            want = channels.sorted_groups(x, size, descending)
            assert (y.astype(np.float64) == want).all()
            assert_goes_back(x, y, dy, dx, size)


def assert_goes_back(x, y, dy, dx, size):
    """dx is dy in another order, the one that takes x to y; equal values may change places."""
    for a, b, g, d in zip(*(v.astype(np.float64).reshape(-1, size) for v in (x, y, dy, dx)),
                          strict=True):  # fmt: skip
        # pairs of value and gradient are the same pairs
        assert sorted(zip(a, d, strict=True)) == sorted(zip(b, g, strict=True))


@pytest.mark.parametrize("case", SORTS, ids=repr)
def test_equal_values_and_zeros(case, dtype, rng, tier):
    size, descending = _size(case)
    shape = 4, 60 * size
    x = rng.integers(-1, 2, shape).astype(np.float64)
    x = np.where((x == 0) & (rng.random(shape) < 0.5), -0.0, x).astype(dtype)
    dy = rng.normal(size=shape).astype(dtype)
    y, (dx,) = case(x), case.vjp(dy, x)
    assert (y.astype(np.float64) == channels.sorted_groups(x, size, descending)).all()
    assert_goes_back(x, y, dy, dx, size)
    # zeros keep their signs, and each takes its own gradient with it
    signs = np.signbit(x.astype(np.float64)).reshape(-1, size)
    assert (signs.sum(1) == np.signbit(y.astype(np.float64)).reshape(-1, size).sum(1)).all()
    marks = np.where(np.signbit(y.astype(np.float64)), -1.0, 1.0).astype(dtype)
    (back,) = case.vjp(marks, x)
    assert (np.signbit(back.astype(np.float64)) == np.signbit(x.astype(np.float64))).all()
    if size not in (4, 8, 16):  # networks change the order of equal values, merging does not
        want = channels.unsorted_groups(dy, x, size, descending)
        support.assert_same_bits(dx, want)


@pytest.mark.parametrize("case", [*SORTS, *channels.of("householder")], ids=repr)
def test_a_group_that_holds_nan_is_nan_throughout(case, dtype, rng, tier):
    size = 2 if case.name == "householder" else _size(case)[0]
    shape = 2, 30 * size
    x, dy = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    want = case.everything(dy, x)[:2]
    bad = rng.random(shape) < 0.5 / size
    dirty = x.copy()
    dirty[bad] = NAN
    groups = np.repeat(bad.reshape(2, -1, size).any(axis=-1), size, axis=-1)
    assert groups.any() and not groups.all()
    for got, clean in zip(case.everything(dy, dirty)[:2], want, strict=True):
        assert (support.bits(got)[groups] == support.CANONICAL_NAN[dtype]).all()
        support.assert_same_bits(got[~groups], clean[~groups])
    # NaN in dy goes where it belongs
    dirty = dy.copy()
    dirty[0, 0] = NAN
    dx = case.vjp(dirty, x)[0]
    moved = support.is_nan(dx)
    assert moved[0, :size].any() and not moved[0, size:].any() and not moved[1].any()


@pytest.mark.parametrize("case", GATES, ids=repr)
def test_nan_in_dy_is_nan_on_both_sides_of_a_gate(case, dtype, tier):
    gate = support.rounded([-INF, -2, -1, -0.0, 0.0, 1, 2, INF], dtype)
    up, dy = np.ones_like(gate), np.full_like(gate, NAN)
    for found in case.vjp(dy, gate, up)[:2]:
        assert (support.bits(found) == support.CANONICAL_NAN[dtype]).all()


def test_finite_products_below_the_kink_of_reglu_are_zero(dtype, tier):
    most = np.full(40, np.finfo(np.float32).max if dtype.itemsize != 2 else 2.0**15, dtype)
    dgate, _ = lm.reglu_vjp(most, -np.ones_like(most), -most)
    assert (support.bits(dgate) == 0).all()
    dgate, _ = lm.reglu_vjp(most, -np.ones_like(most), support.rounded(most * INF, dtype))
    assert support.is_nan(dgate).all()


def test_nan_in_dy_reaches_the_angle_of_a_pair_that_stays(dtype, tier):
    x = np.array([-1.0, 1.0] * 20).astype(dtype)  # theta = pi / 2 leaves them
    for value in (NAN, INF, -INF):
        dy = np.ones_like(x)
        dy[6] = value
        dx, dtheta = lm.householder_vjp(dy, x, math.pi / 2)
        support.assert_same_bits(dx, dy)
        assert np.isnan(dtheta)
        _, dtheta = lm.householder_vjp(dy, x, np.full(20, math.pi / 2))
        assert np.flatnonzero(np.isnan(dtheta)).tolist() == [3]


def test_max_min_is_the_larger_and_the_smaller(dtype, rng):
    x = rng.normal(size=(5, 34)).astype(dtype)
    y = lm.max_min(x)
    even, odd = x[:, ::2], x[:, 1::2]
    support.assert_same_bits(np.ascontiguousarray(y[:, ::2]), np.maximum(even, odd))
    support.assert_same_bits(np.ascontiguousarray(y[:, 1::2]), np.minimum(even, odd))
    support.assert_same_bits(lm.group_sort(x, 34), np.sort(x, axis=-1))
    support.assert_same_bits(lm.group_sort(x, 1), x)


# ------------------------------------------------------------------ householder ---


@wide
def test_householder_sorts_and_keeps_norms(dtype, rng):
    u = oracle.format_of(dtype).u
    x = rng.normal(size=(9, 64)).astype(dtype)
    y = lm.householder(x, np.pi / 2)
    want = np.sort(x.reshape(9, 32, 2), axis=-1).reshape(x.shape).astype(np.float64)
    size = np.abs(x.astype(np.float64)).reshape(9, 32, 2).sum(-1).repeat(2, -1).reshape(x.shape)
    assert (np.abs(y - want) <= 3 * u * size).all()

    for theta in (0.0, np.pi / 3, 2.0, -0.7, 5.5, 1e6, rng.uniform(-9, 9, 32)):
        dy = rng.normal(size=x.shape).astype(dtype)
        y, (dx, _) = lm.householder(x, theta), lm.householder_vjp(dy, x, theta)
        for a, b in ((x, y), (dy, dx)):
            before, after = (np.hypot(*v.astype(np.float64).reshape(-1, 2).T) for v in (a, b))
            assert (np.abs(before - after) <= 6 * u * before).all()
        once = lm.householder(y, theta)  # on the near side of the line it stays
        kept = np.abs(once.astype(np.float64) - y) <= 8 * u * size
        assert kept.all()


@wide
def test_householder_of_large_angles(dtype, rng):
    like = channels.of("householder")[0]
    for theta in (-(2.0**30), 2.0**30, 355.0, 22.0, 1e9, 1e-8, 0.0, -0.0):
        case = channels.Case(
            "householder", f"{theta}", (theta,), {}, 2, "householder", like.arrays, True, None
        )
        assert_exact(case, dtype, *case.draw(rng, (2, 20), dtype), what=f"theta={theta}")


# ------------------------------------------------------------------ gradients ---


def away_from_kinks(case, x):
    """The same, moved so far that differences do not reach over a kink."""
    if case.name == "reglu" or (case.name == "rational" and case.options.get("form") == "A"):
        return np.where(np.abs(x) < 0.02, 0.02 + np.abs(x), x)
    if case.name in ("max_min", "group_sort"):
        step = 1 / 64  # distinct multiples, in any order
        rng = np.random.default_rng(1)
        return step * np.apply_along_axis(rng.permutation, -1, np.indices(x.shape)[-1] - 10.0)
    return x


def _moved(case, channels_, by):
    """The parameters moved by `by` in a direction of their own, and that direction."""
    rng = np.random.default_rng(2)
    values, directions = [], []
    for v in case.values(channels_):
        direction = rng.normal(size=np.shape(v))
        if case.options.get("form") == "A":  # whose coefficients have kinks at 0
            direction = np.where(np.abs(v) < 1e-3, 0, direction)
        values.append(np.asarray(v) + by * direction)
        directions.append(direction)
    return values, directions


@every
def test_gradients_are_the_slopes(case, rng):
    shape = 3, case.channels(24)
    h = 2.0**-16
    for _ in range(4):
        dy, *arrays = case.draw(rng, shape, support.F64)
        arrays[0] = away_from_kinks(case, arrays[0])
        found = case.vjp(dy, *arrays)
        for i, gradient in enumerate(found[: len(arrays)]):
            direction = rng.normal(size=shape)
            ends = []
            for side in (h, -h, 2 * h, -2 * h):
                moved = list(arrays)
                moved[i] = moved[i] + side * direction
                ends.append((case(*moved) * dy).sum())
            slope = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
            size = np.abs(gradient * direction).sum() + np.abs(ends[0])
            assert abs((gradient * direction).sum() - slope) <= 1e-8 * size, (i, slope)
        if not case.learned:
            continue
        ends = []
        for side in (h, -h, 2 * h, -2 * h):
            values, directions = _moved(case, shape[-1], side)
            ends.append((getattr(lm, case.python)(*arrays, *values, **case.options) * dy).sum())
        slope = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
        parts = [np.sum(g * d) for g, d in zip(found[len(arrays) :], directions, strict=True)]
        size = np.abs(parts).sum() + np.abs(ends[0])
        assert abs(np.sum(parts) - slope) <= 1e-8 * size, slope


# ------------------------------------------------------------------ special values ---


@pytest.mark.parametrize("case", channels.of("poly_norm") + channels.of("poly_norm_glu"), ids=repr)
def test_a_row_that_holds_inf_or_nan_is_nan(case, dtype, rng, tier):
    dy, *arrays = case.draw(rng, (4, 40), dtype)
    clean = case.everything(dy, *arrays)
    for bad in (INF, -INF, NAN):
        dirty = [a.copy() for a in arrays]
        dirty[0][1, 17] = bad
        y, *found = case.everything(dy, *dirty)
        for got, want in zip((y, *found[: len(arrays)]), clean, strict=False):
            assert (support.bits(got)[1] == support.CANONICAL_NAN[dtype]).all()
            keep = [0, 2, 3]
            support.assert_same_bits(got[keep], want[keep], "other rows")
        weight, bias = found[len(arrays) :]
        assert np.isnan(weight).all() and (np.isfinite(bias) or len(arrays) > 1)


def test_rows_of_zeros(dtype):
    zeros, dy = np.zeros((2, 5), dtype), np.ones((2, 5), dtype)
    zeros[1] = -0.0
    for eps in (1e-6, 1.0):
        assert (lm.poly_norm(zeros, THIRDS, 0.25, eps=eps) == 0.25).all()
        dx, dweight, dbias = lm.poly_norm_vjp(dy, zeros, [0.0, 0.0, 0.5], 0.25, eps=eps)
        want = 0.5 / eps**0.5
        assert (
            abs(dx.astype(np.float64) - want) <= 8 * float(oracle.format_of(dtype).u) * want
        ).all()
        assert (dweight == 0).all() and dbias == 10
    assert support.is_nan(lm.poly_norm(zeros, THIRDS, 0.25, eps=0)).all()
    up = np.full((2, 5), 2, dtype)
    assert (lm.poly_norm_glu(zeros, up, THIRDS, 0.25) == 0.5).all()


def test_infinities_of_gates(dtype):
    def row(*values):
        return np.array(values, np.float64).astype(dtype)

    gate, up = row(INF, -INF, INF, 0, 2, NAN), row(2, 2, 0, INF, -INF, 1)
    for case in GATES:
        y = case(gate, up).astype(np.float64)
        assert y[[0, 1, 4]].tolist() == [INF, 0, -INF] and np.isnan(y[[2, 3, 5]]).all()


# ------------------------------------------------------------------ 16 bits ---


@every
@pytest.mark.parametrize("dtype", support.NARROW, ids=str)
def test_16_bit_results_are_those_of_float32_rounded_once(case, dtype, rng):
    for spread in (0.05, 2.0, 300.0):
        arrays = case.draw(rng, (5, case.channels(97)), dtype, spread)
        wide = [a.astype(np.float32) for a in arrays]
        for i, (got, want) in enumerate(
            zip(case.everything(*arrays), case.everything(*wide), strict=True)
        ):
            if i <= len(case.arrays):
                want = support.rounded(want, dtype)
            support.assert_same_bits(got, want, f"result {i}")
