# SPDX-License-Identifier: Apache-2.0
"""The references themselves, against mpmath at 50 digits."""

import math

import mpmath
import numpy as np
import oracle
import pytest
from mpmath import mpf

ROWS = {
    "plain": [0.5, -1.25, 2.0, 0.0, -3.5],
    "confident": [40.0, 0.0, -3.0],
    "ties": [1.0, 1.0, 1.0, 1.0],
    "wide": [-700.0, 3.0, 709.0, -745.0, 12.5],
    "shifted": [1e15 + 1, 1e15, 1e15 + 0.5],
    "tiny": [1e-300, -1e-300, 5e-324, 0.0],
    "one": [3.25],
    "thirds": [1 / 3, 0.1, -0.7, 1e-17],
}


def exact(row, temperature=1):
    """softmax, log-softmax and log-sum-exp by the book, at 50 digits."""
    v = [mpf(float(t)) / mpf(temperature) for t in row]
    m = max(v)
    top = v.index(m)
    e = [mpmath.exp(t - m) for t in v]
    rest = mpmath.fsum(e[:top] + e[top + 1 :])
    ln = mpmath.log1p(rest)
    return [t / (1 + rest) for t in e], [(t - m) - ln for t in v], m + ln


def relative(ref, i, want):
    got = (mpf(float(ref.hi[i])) + mpf(float(np.broadcast_to(ref.lo, ref.hi.shape)[i]))) * mpf(
        2
    ) ** int(np.broadcast_to(ref.k, ref.hi.shape)[i])
    return abs(got - want) if want == 0 else abs(got / want - 1)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("temperature", [None, 0.7, 3.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reference_agrees_with_mpmath(name, temperature, dtype):
    with np.errstate(under="ignore"):
        x = np.array([ROWS[name]], dtype=dtype)
    p, log_p, lse = exact(x[0], temperature or 1)
    tolerance = mpf(2) ** (-88 if dtype == np.float64 else -45)
    got_p = oracle.softmax(x, temperature=temperature)
    got_log_p = oracle.log_softmax(x, temperature=temperature)
    for i in range(x.shape[1]):
        if p[i] > mpf(2) ** -1000 or dtype == np.float64:
            assert relative(got_p, (0, i), p[i]) <= tolerance * (1 + abs(log_p[i]))
        if abs(log_p[i]) > mpf(2) ** -950:
            assert relative(got_log_p, (0, i), log_p[i]) <= tolerance
    if temperature is None:
        assert relative(oracle.logsumexp(x), 0, lse) <= tolerance


def test_vjp_references_agree_with_mpmath():
    y = np.array([[0.25, 0.5, 0.125, 1e-310, 1 / 3]])
    dy = np.array([[1.0, -2.0, 0.1, 3.0, -1 / 7]])
    yy, gg = [mpf(float(t)) for t in y[0]], [mpf(float(t)) for t in dy[0]]
    dot = mpmath.fsum(a * b for a, b in zip(yy, gg, strict=True))
    ref = oracle.softmax_vjp(dy, y, temperature=0.7)
    for i in (0, 1, 2, 4):
        assert relative(ref, (0, i), yy[i] * (gg[i] - dot) / mpf(0.7)) <= mpf(2) ** -88
    log_y = np.array([[-0.5, -2.0, -700.0, -np.inf, -1 / 3]])
    total = mpmath.fsum(gg)
    ref = oracle.log_softmax_vjp(dy, log_y)
    for i in (0, 1, 2, 3, 4):
        want = gg[i] - mpmath.exp(mpf(float(log_y[0, i]))) * total
        assert relative(ref, (0, i), want) <= mpf(2) ** -88


def test_special_values():
    inf, nan = np.inf, np.nan
    x = np.array([[0.0, -inf, 0.0], [-inf] * 3, [inf, 0, -inf], [nan, inf, 0], [nan, nan, nan]])
    for dtype in (np.float32, np.float64):
        p = oracle.softmax(x.astype(dtype)).value
        assert np.array_equal(p[0], [0.5, 0.0, 0.5])
        assert np.isnan(p[1:]).all()
        q = oracle.log_softmax(x.astype(dtype)).value
        assert q[0, 1] == -inf and np.isnan(q[1:]).all()
        want = [math.log(2), -inf, inf, nan, nan]
        np.testing.assert_equal(oracle.logsumexp(x.astype(dtype)).value, want)
        keep = np.array(
            [[True, True, True], [False] * 3, [False, True, True], [False, False, True], [True] * 3]
        )
        p = oracle.softmax(x.astype(dtype), where=keep).value
        np.testing.assert_equal(p[1:], [[0, 0, 0], [0, 1, 0], [0, 0, 1], [nan] * 3])


def test_ulp_error_counts_units_in_the_last_place():
    one = oracle.Ref(np.array([1.0, 1.0, 2.0**-149, 2.0**-130, np.nan, np.inf, 3.0]))
    got = np.array([1 + 2.0**-23, 1 - 2.0**-24, 2.0**-148, 2.0**-130, np.nan, np.inf, np.nan])
    np.testing.assert_array_equal(
        oracle.ulp_error(got, one, oracle.F32), [1, 0.5, 1, 0, 0, 0, np.inf]
    )
    assert list(oracle.is_normal(one, oracle.F32)[:4]) == [True, True, False, False]
