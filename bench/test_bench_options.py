# SPDX-License-Identifier: Apache-2.0
"""The price of an option: (32, 10) float32 on one thread, beside np.exp of ten elements.

Each row says how many times np.exp's it takes as ``times_exp``; the yardstick is timed with it.
"""

from __future__ import annotations

import lanemax as lm
import numpy as np
import pytest
from conftest import seconds

rng = np.random.default_rng(0)
x = rng.normal(size=(32, 10)).astype(np.float32)
strided = rng.normal(size=(32, 20)).astype(np.float32)[:, ::2]
out = np.empty_like(x)
ten = x[0].copy()
labels = rng.integers(0, 10, 32)
soft = np.full((32, 10), 0.1, np.float32)
rates = rng.uniform(1, 2, (32, 1))
mask = rng.random((32, 10)) < 0.5
weights = rng.uniform(1, 2, 10).astype(np.float32)
total = lm.exp_sum(x)
polynomial = np.array([0.5, 0.25, 1.0])
numerator, denominator = np.array([0.0, 1.0, 0.5]), np.array([0.25, 0.5])

CALLS = {
    "np.exp of ten": lambda: np.exp(ten),
    "softmax out": lambda: lm.softmax(x, out=out),
    "softmax": lambda: lm.softmax(x),
    "softmax axis=0": lambda: lm.softmax(x, axis=0),
    "softmax axis=(0, 1)": lambda: lm.softmax(x, axis=(0, 1)),
    "softmax temperature": lambda: lm.softmax(x, temperature=2.0),
    "softmax temperatures": lambda: lm.softmax(x, temperature=rates),
    "softmax where": lambda: lm.softmax(x, where=mask),
    "softmax total": lambda: lm.softmax(x, total=total),
    "softmax strided": lambda: lm.softmax(strided),
    "log_softmax": lambda: lm.log_softmax(x),
    "logsumexp": lambda: lm.logsumexp(x),
    "logsumexp keepdims": lambda: lm.logsumexp(x, keepdims=True),
    "exp_sum": lambda: lm.exp_sum(x),
    "softmax_vjp": lambda: lm.softmax_vjp(x, x),
    "softmax_vjp temperature": lambda: lm.softmax_vjp(x, x, temperature=2.0),
    "spherical_softmax eps": lambda: lm.spherical_softmax(x, eps=1e-3),
    "taylor_softmax order": lambda: lm.taylor_softmax(x, order=4),
    "cross_entropy": lambda: lm.cross_entropy(x, labels),
    "cross_entropy none": lambda: lm.cross_entropy(x, labels, reduction="none"),
    "cross_entropy weight": lambda: lm.cross_entropy(x, labels, weight=weights),
    "cross_entropy label_smoothing": lambda: lm.cross_entropy(x, labels, label_smoothing=0.1),
    "cross_entropy temperature": lambda: lm.cross_entropy(x, labels, temperature=2.0),
    "cross_entropy ignore_index": lambda: lm.cross_entropy(x, labels, ignore_index=0),
    "cross_entropy soft": lambda: lm.cross_entropy(x, soft),
    "cross_entropy strided": lambda: lm.cross_entropy(strided, labels),
    "cross_entropy_and_grad": lambda: lm.cross_entropy_and_grad(x, labels, grad_out=out),
    "comp_sum_loss tau": lambda: lm.comp_sum_loss(x, labels, tau=0.5),
    "silu": lambda: lm.silu(x),
    "silu strided": lambda: lm.silu(strided),
    "silu bias": lambda: lm.silu(x, bias=weights),
    "silu_vjp": lambda: lm.silu_vjp(x, x),
    "silu_vjp bias": lambda: lm.silu_vjp(x, x, bias=weights),
    "gelu tanh": lambda: lm.gelu(x, approximate="tanh"),
    "swish": lambda: lm.swish(x, 1.5),
    "swish_vjp": lambda: lm.swish_vjp(x, x, 1.5),
    "poly_relu": lambda: lm.poly_relu(x, polynomial, 0.0),
    "swiglu": lambda: lm.swiglu(x, x),
    "swiglu strided": lambda: lm.swiglu(strided, strided),
    "swiglu_vjp": lambda: lm.swiglu_vjp(x, x, x),
    "poly_norm": lambda: lm.poly_norm(x, polynomial, 0.0),
    "rational": lambda: lm.rational(x, numerator, denominator),
    "group_sort": lambda: lm.group_sort(x, 2),
    "householder": lambda: lm.householder(x, 0.5),
    "fourier_bins": lambda: lm.fourier_bins(x, 16),
    "fourier_density": lambda: lm.fourier_density(x, 0.5),
    "fourier_cross_entropy": lambda: lm.fourier_cross_entropy(x, labels, 16),
}


@pytest.mark.parametrize("name", CALLS)
def test_call(benchmark, name):
    benchmark.group = "options of calls on (32, 10)"
    call = CALLS[name]
    with lm.num_threads(1):
        benchmark(call)
        if benchmark.stats is not None:
            yardstick = seconds(CALLS["np.exp of ten"])
            benchmark.extra_info["times_exp"] = round(benchmark.stats["median"] / yardstick, 2)
