# SPDX-License-Identifier: Apache-2.0
"""Activations: read once, written once; with their gradients, read twice."""

import lanemax as lm
import numpy as np
import pytest
from lanemax._activations import of_registry
from lanemax._cli.bench import ACTIVATION_PARAMETERS

CALLS = [a["name"] for a in lm.activations()]


@pytest.mark.parametrize("name", CALLS)
def test_forward(name, case, x, measure):
    out, parameters = np.empty_like(x), ACTIVATION_PARAMETERS.get(name, ())
    function, _ = of_registry(name)
    measure(lambda: function(x, *parameters, out=out), moved=2)


@pytest.mark.parametrize("name", CALLS)
def test_vjp(name, case, x, dy, measure):
    out, parameters = np.empty_like(x), ACTIVATION_PARAMETERS.get(name, ())
    _, function = of_registry(name)
    measure(lambda: function(dy, x, *parameters, out=out), moved=3)


@pytest.mark.peer
def test_numpy_silu(case, x, measure):
    out = np.empty_like(x)

    def call():
        np.exp(np.negative(x, out=out), out=out)
        np.divide(x, np.add(out, 1, out=out), out=out)

    measure(call, moved=2)
