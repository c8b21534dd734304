# SPDX-License-Identifier: Apache-2.0
"""No operation without its row, no row that says something else than the library."""

import inspect

import lanemax as lm
import pytest
from positive import NAMES
from registry import ALL, FUNCTIONS

LETTERS = {"T": "temperature", "W": "where", "S": "total"}


def test_every_operation_of_the_c_registry_has_a_row():
    missing = {op["name"] for op in lm._call.row_ops()} - FUNCTIONS.keys() - NAMES
    assert not missing, f"add rows to tests/python/registry.py or positive.py for {sorted(missing)}"


OF_EXPONENTIALS = [op for op in lm._call.row_ops() if op["name"] not in NAMES]


@pytest.mark.parametrize("op", OF_EXPONENTIALS, ids=lambda op: op["name"])
def test_row_says_what_the_c_registry_says(op):
    function = FUNCTIONS[op["name"]]
    assert len(function.inputs) == op["inputs"]
    assert function.result == op["result"]
    offered = {LETTERS[letter] for letter in op["options"]}
    assert function.options & set(LETTERS.values()) <= offered
    assert op["formula"].strip() == op["formula"]


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_signature_is_the_documented_one(function):
    parameters = inspect.signature(getattr(lm, function.name)).parameters
    positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    keyword = {p.name: p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert positional == [*function.inputs, "axis"]
    assert parameters["axis"].default == -1
    assert keyword.keys() == function.options
    defaults = {"temperature": 1.0, "where": None, "total": None, "keepdims": False, "out": None}
    for name, default in keyword.items():
        assert default == defaults[name] and type(default) is type(defaults[name])


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_public_function_is_exported_and_documented(function):
    assert function.name in lm.__all__
    doc = inspect.getdoc(getattr(lm, function.name))
    for section in ("Parameters", "Returns", "Examples"):
        assert f"\n{section}\n---" in doc, f"{function.name} has no section {section}"


def test_functions_that_name_a_gradient_have_it():
    for function in ALL:
        if function.vjp:
            assert FUNCTIONS[function.vjp].vjp_of == function.name
