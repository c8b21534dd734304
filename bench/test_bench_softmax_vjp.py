# SPDX-License-Identifier: Apache-2.0
"""softmax_vjp from the forward output: two arrays read, one written."""

import lanemax as lm
import numpy as np
import pytest


def test_softmax_vjp(case, x, dy, measure):
    y, out = lm.softmax(x), np.empty_like(x)
    measure(lambda: lm.softmax_vjp(dy, y, out=out), moved=3)


@pytest.mark.peer
def test_numpy(case, x, dy, measure):
    y, out = lm.softmax(x), np.empty_like(x)

    def call():
        np.multiply(y, dy, out=out)
        np.subtract(dy, out.sum(axis=-1, keepdims=True), out=out)
        np.multiply(out, y, out=out)

    measure(call, moved=3)
