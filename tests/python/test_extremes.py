# SPDX-License-Identifier: Apache-2.0
"""Temperatures whose quotients leave the type; confident soft targets; against 400 digits."""

from __future__ import annotations

import itertools

import lanemax as lm
import mpmath
import numpy as np
import pytest
import support

EXACT = mpmath.mp.clone()
EXACT.dps = 400
mpf = EXACT.mpf
NAN, INF = np.nan, np.inf
LOG_SUM = lm.log_softmax, lm.softmax

wide = pytest.mark.parametrize("dtype", [support.F32, support.F64], ids=str)


def real_of(dtype):
    return support.F64 if dtype == support.F64 else support.F32


def exact_log_softmax(x, t):
    """Of x / t in exact numbers; -inf is masked."""
    z = [mpf(float(v)) / mpf(t) if v > -INF else None for v in x]
    top = max(v for v in z if v is not None)
    total = sum(EXACT.exp(v - top) for v in z if v is not None and v - top > -(10**6))
    log = EXACT.log(total)
    return [mpf("-inf") if v is None else v - top - log for v in z]


def _close(got, want, dtype, ulps=6):
    """Within ulps of want, or of the smallest number; what leaves the type is infinite."""
    info = np.finfo(np.float64 if dtype == support.F64 else np.float32)
    u, most, tiny = float(info.eps), mpf(float(info.max)), mpf(float(info.smallest_subnormal))
    for g, w in zip(np.asarray(got, np.float64).tolist(), want, strict=True):
        if abs(w) > most * (1 + mpf(u)):
            assert g == (INF if w > 0 else -INF)
        else:
            assert abs(mpf(g) - w) <= ulps * (u * abs(w) + tiny), (g, w)


def _extreme_rows(dtype):
    most = float(np.finfo(dtype).max)
    yield [1, 2, 3], (1e-40 if dtype == support.F32 else 1e-320)
    yield [3, 1, 3], (1e-42 if dtype == support.F32 else 1e-322)
    yield [-3, -2, -2.5, -INF], (1e-40 if dtype == support.F32 else 1e-320)
    yield [most, -most, most / 2], 0.5
    yield [-most, -most], 0.5
    yield [-most, -most * (1 - 2.0**-20), -most / 2], 0.75
    yield [most, most * (1 - 2.0**-20)], 0.25
    yield [0, -0.0, 0], (1e-40 if dtype == support.F32 else 1e-320)
    yield [1, 2, 3], (1e40 if dtype == support.F32 else 1e300)
    yield [most, -most, 0], most
    yield [most, -most, 0, -INF], (1e40 if dtype == support.F32 else 1e300)
    yield [1, 2, 3, 2.5], 0.7
    yield [5], (1e-40 if dtype == support.F32 else 1e-320)


@wide
def test_quotients_beyond_the_type(dtype, tier):
    for row, t in _extreme_rows(dtype):
        x = np.array(row, dtype)
        want = exact_log_softmax(x, t)
        _close(lm.log_softmax(x, temperature=t), want, dtype)
        _close(
            lm.softmax(x, temperature=t), [EXACT.exp(max(v, mpf(-(10**6)))) for v in want], dtype
        )


@wide
def test_quotients_beyond_the_type_in_any_layout(dtype, rng, tier):
    t = 1e-40 if dtype == support.F32 else 1e-320
    x = rng.integers(-4, 5, size=(3, 40_000, 2)).astype(dtype)
    top = x == x.max(axis=1, keepdims=True)
    want = (top / top.sum(axis=1, keepdims=True)).astype(dtype)
    assert np.allclose(lm.softmax(x, axis=1, temperature=t), want, rtol=1e-6, atol=0)
    column = np.full((3, 1, 2), t)
    column[1] = 1
    got = lm.softmax(x, axis=1, temperature=column)
    support.assert_same_bits(got[1], lm.softmax(x[1], axis=0))
    assert np.allclose(got[[0, 2]], want[[0, 2]], rtol=1e-6, atol=0)
    where = ~top
    got = lm.softmax(x, axis=1, temperature=t, where=where)
    assert (got[top] == 0).all() and np.allclose(
        got.sum(axis=1, dtype=np.float64), 1, rtol=1e-6, atol=0
    )


def test_special_logits_keep_their_meaning_at_small_temperatures(dtype, tier):
    t = 1e-320 if dtype == support.F64 else 1e-40
    x = support.rounded([[1, NAN, 2], [INF, 1, 0], [-INF, -INF, -INF], [-INF, 1, 1]], dtype)
    for f in LOG_SUM:
        y = f(x, temperature=t)
        assert support.is_nan(y[:3]).all(), f
    assert y[3].tolist() == [0, 0.5, 0.5]
    loss, grad = lm.cross_entropy_and_grad(x, [0, 0, 0, 1], temperature=t, reduction="none")
    assert np.isnan(loss[:3]).all() and support.is_nan(grad[:3]).all()
    assert abs(loss[3] - np.log(2)) < 1e-6


@wide
def test_losses_at_temperatures_whose_quotients_leave_the_type(dtype, tier):
    for row, t in _extreme_rows(dtype):
        x = np.array(row, dtype)
        want = exact_log_softmax(x, t)
        n = len(row)
        for k in range(n):
            if want[k] == mpf("-inf"):
                continue
            y = np.zeros((1, n), dtype)
            y[0, k] = 1
            for target in ([k], y):
                loss, grad = lm.cross_entropy_and_grad(
                    x[None], target, temperature=t, reduction="none"
                )
                _close(loss, [-want[k]], dtype)
                p = [EXACT.exp(max(v, mpf(-(10**6)))) for v in want]
                sure = [(p[i] - (i == k)) / mpf(t) for i in range(n)]
                got = grad[0].astype(np.float64).tolist()
                for i, (g, w) in enumerate(zip(got, sure, strict=True)):
                    if abs(p[i] - (i == k)) < mpf(10) ** -1000:
                        # a probability is within its smallest number of 0
                        smallest = float(np.finfo(dtype).smallest_subnormal)
                        assert abs(mpf(g)) <= mpf(smallest) / mpf(t), (row, t, k, got)
                    else:
                        _close([g], [w], dtype, 16)


@wide
def test_vjps_at_temperatures_whose_rate_leaves_the_type(dtype, tier):
    t = 1e-40 if dtype == support.F32 else 1e-310
    y = np.array([[0, 0, 1], [0.25, 0.25, 0.5]], dtype)
    dy = np.array([[3, 4, 5], [2.0**-60, 0, 0]], dtype)
    dx = lm.softmax_vjp(dy, y, temperature=t)
    assert dx[0].tolist() == [0, 0, 0]
    _close(
        dx[1],
        [mpf(2) ** -60 * c / mpf(t) for c in (mpf("0.1875"), mpf("-0.0625"), mpf("-0.125"))],
        dtype,
    )
    t = 1e40 if dtype == support.F32 else 1e308
    dx = lm.softmax_vjp(dy * dtype.type(2.0**90), y, temperature=t)
    _close(
        dx[1],
        [mpf(2) ** 30 * c / mpf(t) for c in (mpf("0.1875"), mpf("-0.0625"), mpf("-0.125"))],
        dtype,
    )
    dx = lm.log_softmax_vjp(
        dy * dtype.type(0), np.log(y[1:] + y[1:] * 0).repeat(2, axis=0), temperature=t
    )
    assert (dx == 0).all()


# ------------------------------------------------------------------ confident targets ---


def _exact_gradient(x, y):
    p = [EXACT.exp(v) for v in exact_log_softmax(x, 1)]
    mass = sum(mpf(float(v)) for v in y)
    return [mass * a - mpf(float(b)) for a, b in zip(p, y, strict=True)], p, mass


def test_a_confident_row_has_the_gradient_of_its_class_index():
    x, y = np.array([[np.log(2.0**54 - 1), 0]]), np.array([[1.0, 0.0]])
    _, grad = lm.cross_entropy_and_grad(x, y, reduction="sum")
    _, want = lm.cross_entropy_and_grad(x, [0], reduction="sum")
    support.assert_same_bits(grad, want)
    assert grad[0, 0] < 0 and abs(grad.sum()) < 2.0**-52 * grad[0, 1]


@wide
@pytest.mark.parametrize("n", [1, 2, 17, 300, 40_000])
def test_one_hot_rows_have_the_gradient_of_their_index(dtype, n, rng, tier):
    for gap in (0, 3, 12, 20, 40, 80):
        x = rng.normal(size=(3, n)).astype(dtype)
        k = rng.integers(n, size=3)
        x[range(3), k] += gap
        y = np.zeros((3, n), dtype)
        y[range(3), k] = 1
        loss, grad = lm.cross_entropy_and_grad(x, y, reduction="none")
        loss_index, want = lm.cross_entropy_and_grad(x, k, reduction="none")
        largest = x.argmax(axis=1) == k
        if gap >= 12:
            assert largest.all()
            certain = -want[range(3), k] < 0.5  # p > 1/2: computed as at the index
            support.assert_same_bits(grad[certain], want[certain])
            np.testing.assert_allclose(loss, loss_index, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(grad, want, rtol=32 * np.finfo(dtype).eps)


@wide
def test_soft_targets_lose_no_digits_at_the_largest_logit(dtype, rng, tier):
    u = float(np.finfo(dtype).eps)
    for gap, rest, scale in itertools.product((2, 10, 25, 60), (0, 1e-30, 1e-9, 0.1), (1, 3)):
        x = np.array([0, gap, -1, 0.5], dtype)
        y = (scale * np.array([rest, 1 - rest, 0, rest / 4])).astype(dtype)
        _, grad = lm.cross_entropy_and_grad(x[None], y[None], reduction="sum")
        want, p, mass = _exact_gradient(x, y)
        others = mass - mpf(float(y[1]))
        # the mass of float32 targets is known to the last place of a double
        lost = mpf(2) ** -52 / mpf(u) if dtype == support.F32 else 0
        terms = others + mass * (1 - p[1] + lost)
        assert abs(mpf(float(grad[0, 1])) - want[1]) <= 4 * mpf(u) * terms
        assert abs(sum(mpf(float(g)) for g in grad[0])) <= 16 * mpf(u) * terms
        weight = np.array([2, 0.5, 3, 1.25])
        _, grad = lm.cross_entropy_and_grad(x[None], y[None], weight=weight, reduction="sum")
        want, p, mass = _exact_gradient(x, y * weight.astype(dtype))
        terms = mass - mpf(float(y[1])) / 2 + mass * (1 - p[1] + lost)
        assert abs(mpf(float(grad[0, 1])) - want[1]) <= 8 * mpf(u) * terms
