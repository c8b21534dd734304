# SPDX-License-Identifier: Apache-2.0
"""Softmax with another function than exp, and its gradient: read twice, written once."""

import lanemax as lm
import numpy as np
import pytest

NAMES = ("spherical_softmax", "taylor_softmax", "stablemax", "log_stablemax")


@pytest.mark.parametrize("name", NAMES)
def test_forward(name, case, x, measure):
    function, out = getattr(lm, name), np.empty_like(x)
    measure(lambda: function(x, out=out), moved=2)


@pytest.mark.parametrize("name", NAMES)
def test_vjp(name, case, x, dy, measure):
    function, out = getattr(lm, f"{name}_vjp"), np.empty_like(x)
    measure(lambda: function(dy, x, out=out), moved=3)


@pytest.mark.peer
def test_numpy_spherical_softmax(case, x, measure):
    out = np.empty_like(x)

    def call():
        np.multiply(x, x, out=out)
        np.add(out, x.dtype.type(1e-4), out=out)
        np.divide(out, out.sum(axis=-1, keepdims=True), out=out)

    measure(call, moved=2)
