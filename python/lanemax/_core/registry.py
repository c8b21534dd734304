# SPDX-License-Identifier: Apache-2.0
"""The registry of the C library (include/lanemax/ops.h): operations, parameters, ranges."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._lanemax import ffi, lib

#: flag of an operation -> the argument that it takes
_TAKES = {
    lib.LMX_TAKES_TEMPERATURE: "temperature",
    lib.LMX_TAKES_WHERE: "where",
    lib.LMX_TAKES_TOTAL: "total",
    lib.LMX_TAKES_PROBABILITIES: "probabilities",
    lib.LMX_TAKES_LABEL_SMOOTHING: "label_smoothing",
    lib.LMX_TAKES_LOGZ_PENALTY: "logz_penalty",
    lib.LMX_TAKES_SOFTCAP: "softcap",
    lib.LMX_TAKES_ADVERSARIAL: "adversarial",
}

RESULTS = {
    lib.LMX_RESULT_ROW: "row",
    lib.LMX_RESULT_VALUE: "value",
    lib.LMX_RESULT_SUM: "sum",
}


def _text(chars: Any) -> str:
    return str(ffi.string(chars).decode())


def _shown(bound: float) -> str:
    return f"{bound:g}".replace("e+", "e")


@dataclass(frozen=True)
class Parameter:
    """The registry's description of one parameter or option."""

    name: str
    standard: float
    least: float
    greatest: float
    flags: int

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    @property
    def learned(self) -> bool:
        return self.has(lib.LMX_LEARNED)

    @property
    def default(self) -> Any:
        """That of Python's signature: None where 0 means that it is not wanted."""
        if self.has(lib.LMX_OPTIONAL):
            return None
        return int(self.standard) if self.has(lib.LMX_EVEN | lib.LMX_INTEGER) else self.standard

    @property
    def required(self) -> bool:
        return self.has(lib.LMX_REQUIRED)

    @property
    def words(self) -> str:
        """The accepted numbers, in words."""
        bounded = self.greatest < sys.float_info.max
        span = f"from {_shown(self.least)} to {_shown(self.greatest)}"
        if self.has(lib.LMX_EVEN):
            words = f"must be even, {span}" if bounded else "must be even"
        elif self.has(lib.LMX_INTEGER):
            words = f"must be an integer {span if bounded else f'from {_shown(self.least)}'}"
        elif bounded:
            words = f"must be {span}"
        elif self.least == -sys.float_info.max:
            words = "must be finite"
        elif self.has(lib.LMX_ABOVE):
            words = "must be positive" if self.least == 0 else f"must be above {self.least:g}"
        else:
            words = f"must be {_shown(self.least)} or more"
        return words + (", or None" if self.has(lib.LMX_OPTIONAL) else "")

    def fits(self, value: float) -> bool:
        """Whether Python accepts the number; None, not 0, says that it is not wanted."""
        above = value > self.least if self.has(lib.LMX_ABOVE) else value >= self.least
        if not (above and value <= self.greatest and math.isfinite(value)):
            return False
        unit = 2 if self.has(lib.LMX_EVEN) else 1 if self.has(lib.LMX_INTEGER) else 0
        return not unit or value % unit == 0


def _parameter(info: Any) -> Parameter:
    return Parameter(_text(info.name), info.standard, info.least, info.greatest, info.flags)


def _entries(function: Callable[[int], Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The C library's descriptions, and what all families say alike."""
    code = 0
    while (info := function(code)) != ffi.NULL:
        described = [_parameter(p) for p in info.parameter if p.name != ffi.NULL]
        yield (
            info,
            {
                "name": _text(info.name),
                "formula": _text(info.formula),
                "described": described,
                "parameters": [p.name for p in described],
                "learned": any(p.learned for p in described),
            },
        )
        code += 1


def _takes(flags: int) -> frozenset[str]:
    return frozenset(name for flag, name in _TAKES.items() if flags & flag)


def row_ops() -> list[dict[str, Any]]:
    """The registry of operations on rows."""
    return [
        {
            **op,
            "inputs": info.inputs,
            "result": RESULTS[info.result],
            "takes": _takes(info.takes),
        }
        for info, op in _entries(lib.lmx_row_op_info)
    ]


def losses() -> list[dict[str, Any]]:
    """The registry of losses."""
    return [{**op, "takes": _takes(info.takes)} for info, op in _entries(lib.lmx_loss_info)]


def unary_ops() -> list[dict[str, Any]]:
    """The registry of activations."""
    return [{**op, "bound": info.ulp} for info, op in _entries(lib.lmx_unary_info)]


def channel_ops() -> list[dict[str, Any]]:
    """The registry of activations of channels."""
    return [
        {**op, "inputs": info.inputs, "bound": info.ulp}
        for info, op in _entries(lib.lmx_channel_info)
    ]


def _options() -> dict[str, Parameter]:
    found = (_parameter(lib.lmx_option_info(i)) for i in range(lib.LMX_OPTION_COUNT))
    return {p.name: p for p in found}


ROW_OPS = row_ops()
CODES = {op["name"]: code for code, op in enumerate(ROW_OPS)}

REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}

OPTIONS = _options()

#: name -> range, of the options and the parameters of losses and operations on rows
RANGES = {p.name: p for op in (*row_ops(), *losses()) for p in op["described"]} | OPTIONS

#: the highest degree of a polynomial among the activations
ORDER_MAX: int = lib.LMX_CHANNEL_ORDER
