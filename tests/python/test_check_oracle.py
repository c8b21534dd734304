# SPDX-License-Identifier: Apache-2.0
"""What `check` compares activations with, against 50 digits."""

import numpy as np
import pytest
import support
from lanemax._cli import activation_oracle, oracle
from test_activations import FORMULAS, mpf

ARITHMETIC = {
    support.F32: (oracle.Double(), 2.0**-24),
    support.F64: (oracle.DoubleDouble(), 2.0**-53),
}

#: of a unit in the last place, or of u times the sum of absolute terms
ALLOWED = 2.0**-10

#: below, float64 itself is subnormal and the second word of a value is lost
LEAST = mpf(2) ** -1000


def _points():
    """Where formulas change, both tails, and in between."""
    rng = np.random.default_rng(0)
    far = activation_oracle.NORMAL_FAR
    near = [s * v for s in (-1.0, 1.0) for v in (far, far * (1 - 2.0**-20), far * (1 + 2.0**-20))]
    some = [-6.0, 6.0, -20.0, -37.0, 37.0, 100.0, -350.0, -680.0, 700.0, 1e4, -1e4, 0.0, 1e-30]
    return np.concatenate([rng.normal(0, 3, 60), rng.normal(0, 20, 40), near, some])


def _exactly(found):
    parts = (np.broadcast_to(v, found.hi.shape).tolist() for v in (found.hi, found.lo, found.shift))
    return [(mpf(hi) + mpf(lo)) * mpf(2) ** shift for hi, lo, shift in zip(*parts, strict=True)]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", ARITHMETIC, ids=str)
def test_activation_is_right_to_more_digits_than_its_type_has(name, dtype):
    arithmetic, u = ARITHMETIC[dtype]
    x = _points().astype(dtype).astype(np.float64)
    dy = np.random.default_rng(1).normal(size=x.shape).astype(dtype).astype(np.float64)
    parameters = activation_oracle.PARAMETERS.get(name, ())
    numbers = [mpf(float(v)) for p in parameters for v in np.ravel(p)]
    points = [FORMULAS[name](mpf(v), *numbers) for v in x.tolist()]
    with np.errstate(all="ignore"):
        if name in activation_oracle.WITH_TERMS:
            value, terms = activation_oracle.WITH_TERMS[name][0](x, arithmetic)
        else:
            value, terms = activation_oracle.FORMULAS[name](x, arithmetic), None
        pair = activation_oracle.pair(dy)
        dx, dx_terms = activation_oracle.pulled_back(name, pair, x, arithmetic)
    for i, (got, p) in enumerate(zip(_exactly(value), points, strict=True)):
        scale = abs(p.value) if terms is None else p.value_terms
        assert abs(got - p.value) <= ALLOWED * u * scale + LEAST, (x[i], got, p.value)
    for i, (got, p) in enumerate(zip(_exactly(dx), points, strict=True)):
        scale = abs(mpf(dy[i])) * p.terms
        assert abs(got - mpf(dy[i]) * p.slope) <= ALLOWED * u * scale + LEAST, (x[i], got)
        assert abs(mpf(float(dx_terms[i])) - scale) <= ALLOWED * scale + LEAST, x[i]
