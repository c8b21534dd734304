# SPDX-License-Identifier: Apache-2.0
"""Fourier heads: loss with gradient, and all logits, of the paper's sizes."""

import lanemax as lm
import numpy as np
import pytest

#: frequencies and bins: the toy experiment, Atari, Chronos
HEADS = [(12, 50), (14, 18), (550, 4096)]


@pytest.fixture(params=HEADS, ids=lambda s: f"{s[0]}x{s[1]}")
def head(request):
    frequencies, bins = request.param
    rng = np.random.default_rng(0)
    coef = rng.standard_normal((64, 2 * (frequencies + 1)), np.float32)
    return coef, rng.integers(0, bins, 64), bins


def test_cross_entropy_and_grad(head, benchmark):
    benchmark(lm.fourier_cross_entropy_and_grad, *head)


def test_log_bins(head, benchmark):
    coef, _, bins = head
    benchmark(lm.fourier_log_bins, coef, bins)


def test_log_bins_vjp(head, benchmark):
    coef, _, bins = head
    dy = np.random.default_rng(1).standard_normal((64, bins), np.float32)
    benchmark(lm.fourier_log_bins_vjp, dy, coef, bins)


def test_density(head, benchmark):
    coef, _, _ = head
    benchmark(lm.fourier_density, coef, np.linspace(-1, 1, 64))
