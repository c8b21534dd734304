# SPDX-License-Identifier: Apache-2.0
"""log_softmax over the last axis into a given output: one array read, one written."""

import lanemax as lm
import numpy as np
import pytest


def test_log_softmax(case, x, measure):
    out = np.empty_like(x)
    measure(lambda: lm.log_softmax(x, out=out), moved=2)


@pytest.mark.peer
def test_numpy(case, x, measure):
    out, scratch = np.empty_like(x), np.empty_like(x)

    def call():
        np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
        np.exp(out, out=scratch)
        np.subtract(out, np.log(scratch.sum(axis=-1, keepdims=True)), out=out)

    measure(call, moved=2)


@pytest.mark.peer
def test_scipy(case, x, measure):
    special = pytest.importorskip("scipy.special")
    measure(lambda: special.log_softmax(x, axis=-1), moved=2)
