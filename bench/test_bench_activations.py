# SPDX-License-Identifier: Apache-2.0
"""Activations: read once, written once; with their gradients, read twice."""

import lanemax as lm
import numpy as np
import pytest

PARAMETERS = {
    "relu_power": (3,),
    "swish": (1.5,),
    "fatrelu": (0.01,),
    "poly_relu": (np.full(3, 1 / 3, np.float32), 0.0),
}
CALLS = [a["name"] for a in lm.activations()]


def of(name, suffix=""):
    options = {"approximate": "tanh"} if name == "gelu_tanh" else {}
    function = getattr(lm, ("gelu" if options else name) + suffix)
    return function, PARAMETERS.get(name, ()), options


@pytest.mark.parametrize("name", CALLS)
def test_forward(name, case, x, measure):
    out = np.empty_like(x)
    function, parameters, options = of(name)
    measure(lambda: function(x, *parameters, out=out, **options), moved=2)


@pytest.mark.parametrize("name", CALLS)
def test_vjp(name, case, x, dy, measure):
    out = np.empty_like(x)
    function, parameters, options = of(name, "_vjp")
    measure(lambda: function(dy, x, *parameters, out=out, **options), moved=3)


@pytest.mark.peer
def test_numpy_silu(case, x, measure):
    out = np.empty_like(x)

    def call():
        np.exp(np.negative(x, out=out), out=out)
        np.divide(x, np.add(out, 1, out=out), out=out)

    measure(call, moved=2)
