# SPDX-License-Identifier: Apache-2.0
"""The registries of the C library: operations on rows, losses, activations."""

from __future__ import annotations

from typing import Any

from .._lanemax import ffi, lib

_NULL = ffi.NULL


def row_ops() -> list[dict[str, Any]]:
    """The registry of operations on rows, as the C library has it."""
    ops: list[dict[str, Any]] = []
    while (info := lib.lmx_row_op_info(len(ops))) != _NULL:
        ops.append(
            {
                "name": ffi.string(info.name).decode(),
                "inputs": info.inputs,
                "result": ("row", "value", "sum")[info.result],
                "options": ffi.string(info.options).decode(),
                "formula": ffi.string(info.formula).decode(),
                "parameter": ffi.string(info.parameter).decode(),
                "standard": info.standard,
            }
        )
    return ops


ROW_OPS = row_ops()
CODES = {op["name"]: code for code, op in enumerate(ROW_OPS)}


def losses() -> list[dict[str, Any]]:
    """The registry of losses, as the C library has it."""
    ops: list[dict[str, Any]] = []
    while (info := lib.lmx_loss_info(len(ops))) != _NULL:
        names = ffi.string(info.parameters).decode().split()
        ops.append(
            {
                "name": ffi.string(info.name).decode(),
                "parameters": names,
                "defaults": list(info.defaults)[: len(names)],
                "options": ffi.string(info.options).decode(),
                "formula": ffi.string(info.formula).decode(),
            }
        )
    return ops


def unary_ops() -> list[dict[str, Any]]:
    """The registry of activations, as the C library has it."""
    ops: list[dict[str, Any]] = []
    while (info := lib.lmx_unary_info(len(ops))) != _NULL:
        ops.append(
            {
                "name": ffi.string(info.name).decode(),
                "parameters": ffi.string(info.parameters).decode().split(),
                "standard": info.standard,
                "learned": bool(info.learned),
                "bound": info.ulp,
                "formula": ffi.string(info.formula).decode(),
            }
        )
    return ops


def channel_ops() -> list[dict[str, Any]]:
    """The registry of activations of channels, as the C library has it."""
    ops: list[dict[str, Any]] = []
    while (info := lib.lmx_channel_info(len(ops))) != _NULL:
        ops.append(
            {
                "name": ffi.string(info.name).decode(),
                "inputs": info.inputs,
                "parameters": ffi.string(info.parameters).decode().split(),
                "learned": bool(info.learned),
                "bound": info.ulp,
                "formula": ffi.string(info.formula).decode(),
            }
        )
    return ops


#: the library's limit on the order of the Taylor functions
TAYLOR_ORDER_MAX = 32

REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}
