# SPDX-License-Identifier: Apache-2.0
"""softmax over axis 0 of a C-contiguous array: the reduced elements are a row apart.

The shapes are transposed, so a case does the work of the case of the same name over the last axis.
"""

import lanemax as lm
import numpy as np
import pytest


def test_softmax_axis0(case, x, measure):
    x = np.ascontiguousarray(x.T)
    out = np.empty_like(x)
    measure(lambda: lm.softmax(x, axis=0, out=out), moved=2)


@pytest.mark.peer
def test_scipy(case, x, measure):
    special = pytest.importorskip("scipy.special")
    x = np.ascontiguousarray(x.T)
    measure(lambda: special.softmax(x, axis=0), moved=2)
