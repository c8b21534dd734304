# SPDX-License-Identifier: Apache-2.0
"""The table of softmaxes with another function than the exponential: names, parameters, formulas.

A formula takes an exact number and returns f and f', both exact; mpmath's 60 digits and unlimited
exponents keep them so for every input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lanemax as lm
import mpmath
import numpy as np
import oracle

EXACT = mpmath.mp.clone()
EXACT.dps = 60


def _spherical(x, eps):
    return x * x + EXACT.mpf(eps), 2 * x


def _taylor(x, order):
    term, value = EXACT.mpf(1), EXACT.mpf(1)
    for i in range(1, order + 1):
        slope = value
        term = term * x / i
        value = value + term
    return value, slope


def _stable(x, _):
    if x >= 0:
        return x + 1, EXACT.mpf(1)
    return 1 / (1 - x), 1 / (1 - x) ** 2


@dataclass(frozen=True)
class Positive:
    """One function and its vector-Jacobian product."""

    name: str
    f: Callable
    parameter: str | None = None
    standard: float | None = None
    values: tuple = (None,)  # to test with
    bad: tuple = ()  # values that are refused
    masks: bool = False  # -inf is a masked logit
    log: bool = False

    def options(self, value) -> dict:
        return {} if self.parameter is None else {self.parameter: value}

    def __call__(self, x, **options):
        return getattr(lm, self.name)(x, **options)

    def vjp(self, dy, x, **options):
        return getattr(lm, f"{self.name}_vjp")(dy, x, **options)

    def __repr__(self) -> str:
        return self.name

    def exact(self, x, dy, value):
        """One row: results, gradient, and the sum of the gradient's absolute terms, as mpf."""
        pairs = [self.f(EXACT.mpf(float(v)), value) for v in x]
        d = [EXACT.mpf(float(v)) for v in dy]
        total = EXACT.fsum(p[0] for p in pairs)
        share = [p[0] / total for p in pairs]
        if not self.log:
            mean = EXACT.fsum(s * g for s, g in zip(share, d, strict=True))
            size = EXACT.fsum(s * abs(g) for s, g in zip(share, d, strict=True))
            outer = [p[1] / total for p in pairs]
            dx = [o * (g - mean) for o, g in zip(outer, d, strict=True)]
            terms = [abs(o) * (abs(g) + size) for o, g in zip(outer, d, strict=True)]
            return share, dx, terms
        # a sum of the others: 60 digits of a difference may be none
        rests = [EXACT.fsum(p[0] for p in pairs[:i] + pairs[i + 1 :]) for i in range(len(pairs))]
        y = [-EXACT.log1p(r / p[0]) for r, p in zip(rests, pairs, strict=True)]
        outer = [p[1] / p[0] for p in pairs]
        whole, size = EXACT.fsum(d), EXACT.fsum(map(abs, d))
        dx = [o * (g - s * whole) for o, g, s in zip(outer, d, share, strict=True)]
        terms = [abs(o) * (abs(g) + s * size) for o, g, s in zip(outer, d, share, strict=True)]
        return y, dx, terms


TABLE = (
    Positive(
        "spherical_softmax",
        _spherical,
        "eps",
        1e-4,
        (1e-4, 0.0, 3.0, 1e20),
        (-1, -1e-300, np.nan, np.inf),
    ),
    Positive("taylor_softmax", _taylor, "order", 2, (2, 4, 8, 32), (0, 1, 3, -2, 34, 2.5, np.nan)),
    Positive("stablemax", _stable, masks=True),
    Positive("log_stablemax", _stable, masks=True, log=True),
)
NAMES = frozenset(n for p in TABLE for n in (p.name, f"{p.name}_vjp"))


def ulp_error(got: float, exact, fmt: oracle.Format) -> float:
    """|got - exact| in ULP of the exact value, or in quanta where that is subnormal."""
    if exact == 0:
        return 0.0 if got == 0 else np.inf
    exponent = max(int(EXACT.floor(EXACT.log(abs(exact), 2))), fmt.emin)
    unit = EXACT.mpf(2) ** (exponent - fmt.bits + 1)
    return float(abs(EXACT.mpf(float(got)) - exact) / unit)
