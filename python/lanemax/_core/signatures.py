# SPDX-License-Identifier: Apache-2.0
"""Signatures of the functions that the registries name: arguments, order, defaults and types.

No NumPy here: the stubs are written while the package is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import registry

_FREE = inspect.Parameter.POSITIONAL_OR_KEYWORD
_NAMED = inspect.Parameter.KEYWORD_ONLY
_EMPTY = inspect.Parameter.empty

#: function -> value of its `approximate` -> name in the registry
VARIANTS = {
    "gelu": {"none": "gelu", "tanh": "gelu_tanh"},
    "geglu": {"none": "geglu", "tanh": "geglu_tanh"},
}

#: activation of channels -> its options, by name alone, with their defaults
OPTIONS: dict[str, dict[str, Any]] = {
    "poly_norm": {"eps": registry.OPTIONS["eps"].default},
    "poly_norm_glu": {"eps": registry.OPTIONS["eps"].default},
    "rational": {"form": "B"},
}

#: options of losses that are numbers, in the order of signatures
NUMBERS = ("label_smoothing", "logz_penalty", "softcap", "temperature")

_ARRAYS = (
    *("x", "dy", "gate", "up", "logits", "target", "weight", "bias", "temperature"),
    *("numerator", "denominator", "theta"),
)
_TYPES = {
    **dict.fromkeys(_ARRAYS, "ArrayLike"),
    **dict.fromkeys(("out", "grad_out"), "Array"),
    **dict.fromkeys(("order", "power", "group_size", "ignore_index"), "int"),
    "approximate": 'Literal["none", "tanh"]',
    "form": 'Literal["A", "B"]',
    "reduction": "Reduction",
}


def _parameter(name: str, kind: Any, default: Any = _EMPTY, learned: bool = False) -> Any:
    """With its type; a learned number may be an array."""
    kind_of = _TYPES.get(name, "ArrayLike" if learned else "float")
    annotation = f"{kind_of} | None" if default is None else kind_of
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a function behind its arrays, bound as Python would bind it."""

    function: str
    names: tuple[str, ...]
    defaults: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # by name alone, besides `out`
    learned: bool = False

    def signature(self, arrays: Sequence[str]) -> inspect.Signature:
        given = [_parameter(n, _FREE) for n in arrays]
        given += [
            _parameter(n, _FREE, self.defaults.get(n, _EMPTY), self.learned) for n in self.names
        ]
        given += [_parameter(n, _NAMED, d) for n, d in {**self.options, "out": None}.items()]
        return inspect.Signature(given, return_annotation="Any")

    def take(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        """The parameters, and the options."""
        if not named and len(given) == len(self.names):
            return [*given], [*self.options.values()]
        values = list(given)
        for name in self.names[len(given) :]:
            if name in named:
                values.append(named.pop(name))
            elif name in self.defaults:
                values.append(self.defaults[name])
            else:
                raise TypeError(f"{self.function}: missing the argument {name!r}")
        options = [named.pop(name, default) for name, default in self.options.items()]
        if named or len(given) > len(self.names):
            known = ", ".join([*self.names, *self.options, "out"])
            wrong = f"argument {next(iter(named))!r}" if named else f"{len(given)} parameters"
            raise TypeError(f"{self.function}: unexpected {wrong}; it takes {known}")
        return values, options

    def call(self, arrays: Sequence[str], variant: str | None = None) -> str:
        """How the function is spelt, its variant chosen."""
        shown = [f"{n}={self.defaults[n]}" if n in self.defaults else n for n in self.names]
        if variant is not None:
            shown = [f"{self.names[0]}={variant!r}"]
        shown += [f"{n}={d!r}" for n, d in self.options.items() if d is not None]
        return f"{self.function}({', '.join([*arrays, *shown])})"


def spelt() -> dict[str, tuple[str, str]]:
    """Name in the registry -> function and value of its `approximate`, of those that have one."""
    return {
        name: (function, choice)
        for function, names in VARIANTS.items()
        for choice, name in names.items()
    }


def of_unary(op: dict[str, Any]) -> Arguments:
    name, names = op["name"], tuple(op["parameters"])
    options = {} if names == ("weight", "bias") else {"bias": None}
    if name in VARIANTS:
        return Arguments(name, ("approximate",), {"approximate": "none"}, options)
    defaults = {p.name: p.default for p in op["described"] if not p.required}
    return Arguments(name, names, defaults, options, op["learned"])


def of_channel(op: dict[str, Any]) -> Arguments:
    name, options = op["name"], OPTIONS.get(op["name"], {})
    if name in VARIANTS:
        return Arguments(name, ("approximate",), {"approximate": "none"}, options)
    return Arguments(name, tuple(op["parameters"]), {}, options, op["learned"])


def channel_arrays(op: dict[str, Any]) -> tuple[str, ...]:
    return ("gate", "up") if op["inputs"] == 2 else ("x",)


def loss_parameters(op: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a loss with their defaults."""
    return {p.name: p.default for p in op["described"]}


def loss_options(op: dict[str, Any]) -> dict[str, Any]:
    """Its other numbers with their defaults."""
    return {n: registry.OPTIONS[n].default for n in NUMBERS if n in op["takes"]}


def of_loss(op: dict[str, Any], gradient: bool) -> inspect.Signature:
    defaults = {
        **loss_parameters(op),
        **loss_options(op),
        "weight": None,
        "ignore_index": -100,
        "reduction": "mean",
        "out": None,
    }
    if gradient:
        defaults["grad_out"] = None
    given = [_parameter(n, _FREE) for n in ("logits", "target")]
    given += [_parameter(n, _NAMED, v) for n, v in defaults.items()]
    return inspect.Signature(given, return_annotation="Any")


def generated() -> Iterator[tuple[str, inspect.Signature]]:
    """Name and signature of every function that is made from a registry."""
    for op in registry.losses():
        yield op["name"], of_loss(op, False)
        yield f"{op['name']}_and_grad", of_loss(op, True)
    choices = spelt()
    kinds: list[tuple[Any, Any, Any]] = [
        (registry.unary_ops(), of_unary, lambda op: ("x",)),
        (registry.channel_ops(), of_channel, channel_arrays),
    ]
    for ops, arguments_of, arrays_of in kinds:
        for op in ops:
            name = op["name"]
            if choices.get(name, (name, ""))[0] == name:
                yield name, arguments_of(op).signature(arrays_of(op))
                yield f"{name}_vjp", arguments_of(op).signature(("dy", *arrays_of(op)))
