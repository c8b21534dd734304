# SPDX-License-Identifier: Apache-2.0
"""Activations: read once, written once; with their gradients, read twice."""

import lanemax as lm
import numpy as np
import pytest
from lanemax._activations import of_registry
from lanemax._cli.bench import ACTIVATION_PARAMETERS

#: name -> the number of arrays it is a function of
CALLS = {a["name"]: len(a["arrays"]) for a in lm.activations()}


def parameters_of(name, x):
    """The arguments of the activation; skips where its groups do not divide the channels."""
    found = ACTIVATION_PARAMETERS.get(name, ())
    try:
        function, _ = of_registry(name)
        function(*[x[:1]] * CALLS[name], *found)
    except ValueError as error:
        pytest.skip(str(error))
    return found


@pytest.mark.parametrize("name", CALLS)
def test_forward(name, case, x, dy, measure):
    out, parameters, arrays = np.empty_like(x), parameters_of(name, x), (x, dy)[: CALLS[name]]
    function, _ = of_registry(name)
    measure(lambda: function(*arrays, *parameters, out=out), moved=1 + CALLS[name])


@pytest.mark.parametrize("name", CALLS)
def test_vjp(name, case, x, dy, measure):
    out, parameters, arrays = np.empty_like(x), parameters_of(name, x), (x, dy)[: CALLS[name]]
    _, function = of_registry(name)
    measure(lambda: function(dy, *arrays, *parameters, out=out), moved=1 + 2 * CALLS[name])


@pytest.mark.peer
def test_numpy_silu(case, x, measure):
    out = np.empty_like(x)

    def call():
        np.exp(np.negative(x, out=out), out=out)
        np.divide(x, np.add(out, 1, out=out), out=out)

    measure(call, moved=2)
