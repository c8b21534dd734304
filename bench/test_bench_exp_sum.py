# SPDX-License-Identifier: Apache-2.0
"""exp_sum over the last axis: one array read.  The peer keeps (maximum, sum), which merges too."""

import lanemax as lm
import numpy as np
import pytest


def test_exp_sum(case, x, measure):
    measure(lambda: lm.exp_sum(x), moved=1)


@pytest.mark.peer
def test_numpy(case, x, measure):
    scratch = np.empty_like(x)

    def call():
        largest = x.max(axis=-1, keepdims=True)
        np.subtract(x, largest, out=scratch)
        np.exp(scratch, out=scratch)
        return largest, scratch.sum(axis=-1)

    measure(call, moved=1)
