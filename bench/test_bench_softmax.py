# SPDX-License-Identifier: Apache-2.0
"""softmax over the last axis into a given output: one array read, one written."""

import lanemax as lm
import numpy as np
import pytest


def test_softmax(case, x, measure):
    out = np.empty_like(x)
    measure(lambda: lm.softmax(x, out=out), moved=2)


def test_softmax_new_output(case, x, measure):
    measure(lambda: lm.softmax(x), moved=2)


@pytest.mark.peer
def test_numpy(case, x, measure):
    out = np.empty_like(x)

    def call():
        np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(axis=-1, keepdims=True), out=out)

    measure(call, moved=2)


@pytest.mark.peer
def test_scipy(case, x, measure):
    special = pytest.importorskip("scipy.special")
    measure(lambda: special.softmax(x, axis=-1), moved=2)
