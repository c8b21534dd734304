# SPDX-License-Identifier: Apache-2.0
"""Every loss of the registry: one array read; with the gradient, two reads and a write."""

import lanemax as lm
import numpy as np
import pytest
from lanemax._core import registry

LOSSES = [op["name"] for op in registry.losses()]


@pytest.fixture
def target(x):
    return np.random.default_rng(3).integers(0, x.shape[1], x.shape[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_loss(case, x, target, measure, loss):
    function = getattr(lm, loss)
    measure(lambda: function(x, target), moved=1)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_grad(case, x, target, measure, loss):
    function, grad = getattr(lm, loss + "_and_grad"), np.empty_like(x)
    measure(lambda: function(x, target, grad_out=grad), moved=3)


def test_smooth_adversarial_and_grad(case, x, dy, target, measure):
    attacked, grads = x + dy, (np.empty_like(x), np.empty_like(x))
    function = lm.smooth_adversarial_comp_sum_loss_and_grad
    measure(lambda: function(x, attacked, target, grad_out=grads), moved=6)


@pytest.mark.peer
def test_torch(case, x, target, measure):
    torch = pytest.importorskip("torch")
    if case.dtype not in ("f32", "f64"):
        pytest.skip("sums of 16-bit types are another result")
    logits = torch.from_numpy(x).requires_grad_(True)
    labels = torch.from_numpy(target)

    def call():
        logits.grad = None
        torch.nn.functional.cross_entropy(logits, labels).backward()

    measure(call, moved=3)
