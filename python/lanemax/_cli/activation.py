# SPDX-License-Identifier: Apache-2.0
"""What the demo's hidden layers can bend their sums with: the activations of the registry."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lanemax as lm

from .. import _activations
from .objective import Floats

#: A rational function close to SiLU on [-3, 3], degrees 5 and 4: published with KAT (Yang and Wang
#: 2024, arXiv:2409.10594) for the denominator 1 + sum_j abs(b[j]) abs(x)^j, which is form A.
RATIONAL_SILU = {
    "numerator": (
        3.054879741161051e-07,
        0.5000007853744493,
        0.24999783422824703,
        0.05326628273219478,
        0.005803034571292244,
        0.0002751961022402342,
    ),
    "denominator": (
        -4.111554955950634e-06,
        0.10652899335007572,
        -1.2690007399796238e-06,
        0.0005502331264140556,
    ),
    "form": "A",
}

#: As published with PolyCom (Zhuo and others 2024, arXiv:2411.03884), cubic, square, linear.
THIRDS = {"weight": (1 / 3, 1 / 3, 1 / 3), "bias": 0.0}

#: Where training starts, or what it keeps, for the parameters that have no default in the library.
STARTS: dict[str, dict[str, Any]] = {
    "relu_power": {"power": 3},
    "swish": {"beta": 1.0},
    "fatrelu": {"threshold": 0.01},
    "poly_relu": THIRDS,
    "poly_norm": THIRDS,
    "poly_norm_glu": THIRDS,
    "rational": RATIONAL_SILU,
    "group_sort": {"group_size": 2},  # divides every width that the demo has
    "householder": {"theta": math.pi / 2},
}


@dataclass(frozen=True)
class Activation:
    """An activation with its gradient.

    Attributes
    ----------
    call : str
        How it is called.
    value, gradient : callable
        ``value(*inputs, *learned, **kept, out=y)``; ``gradient(dy, *inputs, *learned, **kept)``
        returns the gradients by inputs and learned parameters in this order.
    inputs : int
        Arrays that it reads: 2 for a gate, whose layer has two sums for each unit.
    learned : dict
        Parameters that are trained, and where they start.
    kept : dict
        Arguments that are not.
    """

    call: str
    value: Callable[..., Any]
    gradient: Callable[..., Any]
    inputs: int = 1
    learned: dict[str, Floats] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def forward(self, sums: Floats, learned: Sequence[Floats], y: Floats) -> None:
        """Write the activation of `sums`, (rows, inputs * units), into y, (rows, units)."""
        self.value(*np.split(sums, self.inputs, axis=1), *learned, **self.kept, out=y)

    def backward(
        self, dy: Floats, sums: Floats, learned: Sequence[Floats]
    ) -> tuple[Floats, list[Floats]]:
        """Return the gradients by the sums and by each learned parameter."""
        inputs = np.split(sums, self.inputs, axis=1)
        found = self.gradient(dy, *inputs, *learned, **self.kept)
        by_input, by_parameter = found[: self.inputs], found[self.inputs :]
        if len(inputs) == 1:
            return by_input[0], list(by_parameter)
        return np.concatenate(by_input, axis=1), list(by_parameter)


def _numpy_tanh_vjp(dy: Floats, x: Floats) -> tuple[Floats]:
    y = np.tanh(x)
    dy *= 1.0 - y * y
    return (dy,)


#: What the demo has always had between its sums and its output.
NUMPY_TANH = Activation("numpy.tanh(x)", np.tanh, _numpy_tanh_vjp)


def _tuple(gradient: Callable[..., Any]) -> Callable[..., Any]:
    """Return `gradient` with a tuple as its result also where there is one array in it."""

    def run(*arguments: Any, **options: Any) -> Any:
        found = gradient(*arguments, **options)
        return found if isinstance(found, tuple) else (found,)

    return run


def _spelling(
    function: str, signature: Mapping[str, inspect.Parameter], learned: Any, kept: dict[str, Any]
) -> str:
    """Return a call of `function` with the values of what is not learned."""
    arguments = []
    for name, parameter in signature.items():
        value = kept.get(name, parameter.default)
        if name in learned or value is inspect.Parameter.empty:
            arguments.append(name)
        elif value is not None:
            arguments.append(f"{name}={value!r}")
    return f"lanemax.{function}({', '.join(arguments)})"


def activations() -> dict[str, Activation]:
    """Return what `--activation` offers: the registry, as far as it is known where to start."""
    found = {}
    for op in lm.activations():
        name = op["name"]
        value, gradient = _activations.of_registry(name)
        signature = inspect.signature(value).parameters
        start = {n: signature[n].default for n in op["parameters"]} | STARTS.get(name, {})
        if any(v is inspect.Parameter.empty for v in start.values()):
            continue
        learned = {n: start.pop(n) for n in op["parameters"]} if op["learned"] else {}
        found[name] = Activation(
            _spelling(op["call"].partition("(")[0], signature, learned, start),
            value,
            _tuple(gradient),
            inputs=2 if "gate" in signature else 1,
            learned={n: np.array(v, np.float32, ndmin=1) for n, v in learned.items()},
            kept=start,
        )
    return found


NAMES = tuple(activations())
