# SPDX-License-Identifier: Apache-2.0
"""log_softmax_vjp from the forward output: two arrays read, one written."""

import lanemax as lm
import numpy as np
import pytest


def test_log_softmax_vjp(case, x, dy, measure):
    y, out = lm.log_softmax(x), np.empty_like(x)
    measure(lambda: lm.log_softmax_vjp(dy, y, out=out), moved=3)


@pytest.mark.peer
def test_numpy(case, x, dy, measure):
    y, out = lm.log_softmax(x), np.empty_like(x)

    def call():
        np.exp(y, out=out)
        np.multiply(out, dy.sum(axis=-1, keepdims=True), out=out)
        np.subtract(dy, out, out=out)

    measure(call, moved=3)
