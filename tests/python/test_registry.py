# SPDX-License-Identifier: Apache-2.0
"""No operation without its row, no row that says something else than the library."""

import inspect
import math

import lanemax as lm
import numpy as np
import pytest
from lanemax._core import registry as _registry
from positive import NAMES
from registry import ALL, FUNCTIONS

OPTIONS = {"temperature", "where", "total"}


def test_every_operation_of_the_c_registry_has_a_row():
    missing = {op["name"] for op in lm._core.registry.row_ops()} - FUNCTIONS.keys() - NAMES
    assert not missing, f"add rows to tests/python/registry.py or positive.py for {sorted(missing)}"


OF_EXPONENTIALS = [op for op in lm._core.registry.row_ops() if op["name"] not in NAMES]


@pytest.mark.parametrize("op", OF_EXPONENTIALS, ids=lambda op: op["name"])
def test_row_says_what_the_c_registry_says(op):
    function = FUNCTIONS[op["name"]]
    assert len(function.inputs) == op["inputs"]
    assert function.result == op["result"]
    assert function.options & OPTIONS <= op["takes"] <= OPTIONS
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


# -------------------------------------------------------------------------- ranges

X = np.array([[0.5, -1.0, 2.0, 1.0]])


def _row(name, parameter):
    arrays = (X, X) if name.endswith("_vjp") else (X,)
    return lambda value: getattr(lm, name)(*arrays, **{parameter: value})


def _loss(name, parameter):
    return lambda value: getattr(lm, name)(X, [2], **{parameter: value})


def _activation(name, parameter):
    function = lm._activations.of_registry(name)[0]
    return lambda value: function(X, **{parameter: value})


def _linear(name):
    weight = np.ones((3, 4))
    return lambda value: lm.linear_cross_entropy_and_grad(X, weight, [2], **{name: value})


def _step(name):
    def step(value):
        layer = lm.SphericalOutput(np.ones((3, 4)), loss="mse")
        try:
            return layer.step(X, [2], **{"lr": 0.0, name: value})
        except FloatingPointError:  # accepted, but the result is too large
            return None

    return step


def _adversarial(name):
    return lambda value: lm.smooth_adversarial_comp_sum_loss(X, X, [2], **{name: value})


def _fourier(name):
    return lambda value: lm.fourier_cross_entropy(X, [2], 8, **{name: value})


OF_OPTIONS = {
    "temperature": (_row("softmax", "temperature"), _loss("cross_entropy", "temperature")),
    "label_smoothing": (_loss("cross_entropy", "label_smoothing"), _linear("label_smoothing")),
    "logz_penalty": (_loss("cross_entropy", "logz_penalty"), _linear("logz_penalty")),
    "softcap": (_loss("cross_entropy", "softcap"), _linear("softcap")),
    "rho": (_adversarial("rho"),),
    "nu": (_adversarial("nu"),),
    "filter_eps": (_linear("filter_eps"),),
    "gamma": (_fourier("gamma"),),
    "eps": (_fourier("eps"), lambda value: lm.poly_norm(X, [1.0], 0.0, eps=value)),
    "lr": (_step("lr"),),
    "weight_decay": (_step("weight_decay"),),
}


def _ranges():
    families = (
        (_row, [op for op in lm._core.registry.row_ops() if hasattr(lm, op["name"])]),
        (_loss, lm._core.registry.losses()),
        (_activation, [*lm._core.registry.unary_ops(), *lm._core.registry.channel_ops()]),
    )
    for family, ops in families:
        for op in ops:
            for p in op["described"]:
                if not p.flags & lm._core.calls.lib.LMX_UNCHECKED:
                    yield pytest.param(p, family(op["name"], p.name), id=f"{op['name']}-{p.name}")
    for name, functions in OF_OPTIONS.items():
        for i, function in enumerate(functions):
            yield pytest.param(_registry.OPTIONS[name], function, id=f"{name}-{i}")


def _values(p):
    """Values of the parameter, and whether each is accepted; written apart from `fits`."""
    lib = lm._core.calls.lib
    unit = 2 if p.flags & lib.LMX_EVEN else 1 if p.flags & lib.LMX_INTEGER else 0
    yield p.least, not p.flags & lib.LMX_ABOVE
    yield math.nextafter(p.least, -math.inf), False
    if unit:
        yield p.least + unit, True
        yield p.least - unit, False
        yield p.least + 0.5, False
        if unit == 2:
            yield p.least + 1, False
    else:
        yield math.nextafter(p.least, math.inf), True
    if p.greatest < np.finfo(float).max:
        yield p.greatest, True
        yield p.greatest + unit if unit else math.nextafter(p.greatest, math.inf), False
    yield from ((v, False) for v in (np.nan, np.inf, -np.inf))


@pytest.mark.parametrize(("parameter", "function"), [*_ranges()])
def test_every_range_is_the_registrys(parameter, function):
    for value, accepted in _values(parameter):
        if parameter.name == "group_size":
            if value != value or value in (np.inf, -np.inf) or value % 1:
                continue  # no integer: a TypeError, as any float
            value = int(value)
        if accepted:
            function(value)
            continue
        with pytest.raises(ValueError, match=rf"^{parameter.name}: (must|expected) .*got"):
            function(value)


def test_options_are_all_tried():
    assert OF_OPTIONS.keys() == _registry.OPTIONS.keys()


def test_one_name_is_one_range():
    for op in (*lm._core.registry.row_ops(), *lm._core.registry.losses()):
        for p in op["described"]:
            same = _registry.RANGES[p.name]
            assert (p.least, p.greatest, p.flags) == (same.least, same.greatest, same.flags)


def test_signatures_have_the_registrys_defaults():
    for op in lm._core.registry.losses():
        shown = inspect.signature(getattr(lm, op["name"])).parameters
        for p in op["described"]:
            assert shown[p.name].default == p.standard
    eps = inspect.signature(lm.poly_norm).parameters["eps"].default
    assert eps == _registry.OPTIONS["eps"].standard
