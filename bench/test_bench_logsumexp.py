# SPDX-License-Identifier: Apache-2.0
"""logsumexp over the last axis: one array read."""

import lanemax as lm
import numpy as np
import pytest


def test_logsumexp(case, x, measure):
    measure(lambda: lm.logsumexp(x), moved=1)


@pytest.mark.peer
def test_numpy(case, x, measure):
    scratch = np.empty_like(x)

    def call():
        largest = x.max(axis=-1, keepdims=True)
        np.subtract(x, largest, out=scratch)
        np.exp(scratch, out=scratch)
        return np.log(scratch.sum(axis=-1)) + largest[..., 0]

    measure(call, moved=1)


@pytest.mark.peer
def test_scipy(case, x, measure):
    special = pytest.importorskip("scipy.special")
    measure(lambda: special.logsumexp(x, axis=-1), moved=1)
