# SPDX-License-Identifier: Apache-2.0
"""The price of a call: ten elements, where nothing but checks and dispatch takes time."""

import lanemax as lm
import numpy as np
import pytest

x = np.linspace(-1, 1, 10, dtype=np.float32)
out = np.empty_like(x)


@pytest.fixture(autouse=True)
def group(benchmark):
    benchmark.group = "call with 10 elements"


def test_softmax_out(benchmark):
    benchmark(lm.softmax, x, out=out)


@pytest.mark.parametrize("function", [lm.softmax, lm.log_softmax, lm.logsumexp, lm.exp_sum])
def test_new_output(benchmark, function):
    benchmark(function, x)


@pytest.mark.parametrize("function", [lm.softmax_vjp, lm.log_softmax_vjp])
def test_vjp_out(benchmark, function):
    benchmark(function, x, x, out=out)


def test_numpy_exp(benchmark):
    benchmark(np.exp, x, out=out)


def test_scipy_softmax(benchmark):
    benchmark(pytest.importorskip("scipy.special").softmax, x)


def test_scipy_logsumexp(benchmark):
    benchmark(pytest.importorskip("scipy.special").logsumexp, x)
