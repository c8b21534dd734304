# SPDX-License-Identifier: Apache-2.0
"""Every array argument of every public function takes every kind of array, or names itself.

The calls are made from the signatures: an argument is an array if `VALUES` says so, of the function
or of any.  A function that is new is walked, or fails the test that counts them.
"""

from __future__ import annotations

import inspect
import sys
import types

import lanemax as lm
import numpy as np
import pytest
import support
from test_api_arrays import DLPack, Interface, Method, OldDLPack, Subclass

RNG = np.random.default_rng(0)

X = RNG.normal(size=(3, 4))
POSITIVE = RNG.uniform(0.5, 1.5, (3, 4))
POINTS = RNG.uniform(-1, 1, 3)
LABELS = np.array([1, 0, 3])

#: argument -> what it is given: an array is walked, anything else only passed
VALUES = {
    "x": X,
    "y": POSITIVE / POSITIVE.sum(-1, keepdims=True),
    "dy": RNG.normal(size=(3, 4)),
    "gate": X,
    "up": RNG.normal(size=(3, 4)),
    "logits": X,
    "adversarial_logits": RNG.normal(size=(3, 4)),
    "target": LABELS,
    "temperature": RNG.uniform(0.5, 2, (3, 1)),
    "where": np.array([[True, False, True, True]] * 3),
    "weight": RNG.uniform(0.5, 2, 4),
    "bias": RNG.normal(size=4),
    "beta": np.array(1.5),
    "theta": RNG.normal(size=2),
    "numerator": RNG.normal(size=3),
    "denominator": RNG.normal(size=2),
    "hidden": X,
    "coef": X,
    "bins": 4,
    "k": 2,
    "power": 2,
    "threshold": 0.5,
    "group_size": 2,
}

#: the same for one function or the functions that begin so
OF_FUNCTION = {
    "poly_": {"weight": RNG.normal(size=3), "bias": np.array(0.5)},
    "crrelu": {"eps": np.array(0.01)},
    "softplus": {"beta": np.array(1.5)},
    "linear_": {"weight": RNG.normal(size=(5, 4)), "bias": RNG.normal(size=5)},
    "fourier_": {"x": POINTS},
}

#: functions without an array
OTHERS = {
    "activations", "available_isas", "get_include", "get_library_dir", "get_num_threads", "isa",
    "num_threads", "set_num_threads", "show_config",
}  # fmt: skip

FUNCTIONS = [
    name for name in lm.__all__ if inspect.isfunction(getattr(lm, name)) and name not in OTHERS
]


def arguments(name):
    """The call of a function: argument -> value."""
    values = dict(VALUES)
    for start, more in OF_FUNCTION.items():
        if name.startswith(start):
            values |= more
    found = {}
    for p in inspect.signature(getattr(lm, name)).parameters.values():
        if p.name in values:
            found[p.name] = values[p.name]
    return found


def arrays(name):
    return [n for n, v in arguments(name).items() if isinstance(v, np.ndarray)]


WALK = [(name, argument) for name in FUNCTIONS for argument in arrays(name)]


def run(name, **replaced):
    """The results of a call, always in a tuple."""
    options = {"rng": 0} if name == "fourier_sample" else {}
    found = getattr(lm, name)(**{**arguments(name), **replaced}, **options)
    return found if type(found) is tuple else (found,)


def assert_same(got, want, what):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        if b is None:
            assert a is None
        else:
            support.assert_same_bits(a, b, what)


def foreign(a):
    return a.astype(a.dtype.newbyteorder())


KINDS = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()) if a.ndim else a.tolist(),
    "interface": Interface,
    "array method": Method,
    "dlpack": DLPack,
    "old dlpack": OldDLPack,
    "foreign byte order": foreign,
    "subclass": lambda a: a.view(Subclass),
    "read-only": lambda a: read_only(a.copy()),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "backwards": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "one byte off": lambda a: support._misaligned(a, 1),
}


def read_only(a):
    a.flags.writeable = False
    return a


def test_every_function_is_walked():
    assert len(FUNCTIONS) > 90
    for name in FUNCTIONS:
        assert arrays(name), name


@pytest.mark.parametrize("name,argument", WALK, ids=lambda v: v)
def test_kinds_of_arrays_are_taken(name, argument):
    value = arguments(name)[argument]
    want = run(name)
    for kind, wrap in KINDS.items():
        assert_same(run(name, **{argument: wrap(value)}), want, f"{argument}: {kind}")


class OnGPU:
    """As CuPy's arrays, which also have __dlpack__."""

    @property
    def __cuda_array_interface__(self):
        return {"shape": (3,), "typestr": "<f4", "data": (0, False), "version": 3}


class OnDevice:
    def __dlpack__(self, **options):
        raise BufferError("this memory is not the CPU's")

    def __dlpack_device__(self):
        return (2, 0)


REFUSED = {
    "masked": (TypeError, lambda a: np.ma.masked_array(a)),
    "list of masked": (TypeError, lambda a: [np.ma.masked_array(a)]),
    "masked in a list in a list": (TypeError, lambda a: [[1.0], (np.ma.masked, 2.0)]),
    "ragged": (ValueError, lambda a: [[1.0, 2.0], [3.0]]),
    "on a GPU": (TypeError, lambda a: OnGPU()),
    "on a device": (TypeError, lambda a: OnDevice()),
    "complex": (TypeError, lambda a: a.astype(complex)),
    "text": (TypeError, lambda a: np.full(a.shape, "1")),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name,argument", WALK, ids=lambda v: v)
def test_what_cannot_be_taken_names_the_argument(name, argument, kind):
    error, wrap = REFUSED[kind]
    bad = wrap(arguments(name)[argument])
    with pytest.raises(error, match=f"^{argument}: ") as caught:
        run(name, **{argument: bad})
    assert type(caught.value) is error


# ------------------------------------------------------------------------ tensors


class Tensor:
    """As much of a PyTorch tensor as NumPy and lanemax look at; one with a graph says so."""

    def __init__(self, a, dtype="float32", requires_grad=False):
        self._a, self.dtype, self.requires_grad = a, dtype, requires_grad

    def detach(self):
        return Tensor(self._a, self.dtype)

    def view(self, dtype):
        return Tensor(self._a.view(dtype), "int16")

    def numpy(self):
        return self.__array__()

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.dtype == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._a

    def __dlpack__(self, **options):
        raise BufferError("Can't export tensors that require gradient")

    def __dlpack_device__(self):
        return (1, 0)


@pytest.fixture
def torch(monkeypatch):
    stand_in = types.SimpleNamespace(Tensor=Tensor, bfloat16="bfloat16", int16=np.int16)
    monkeypatch.setitem(sys.modules, "torch", stand_in)


FLOATS = [(n, a) for n, a in WALK if arguments(n)[a].dtype.kind == "f"]


@pytest.mark.parametrize("name,argument", FLOATS, ids=lambda v: v)
def test_tensors_are_data(name, argument, torch):
    value = arguments(name)[argument]
    got = run(name, **{argument: Tensor(value, requires_grad=True)})
    assert_same(got, run(name), argument)


@pytest.mark.skipif(support.BFLOAT16 is None, reason="ml_dtypes is not installed")
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bfloat16_tensors_are_those_of_ml_dtypes(name, grad, torch):
    """All arrays of a call at once, for some must have the same dtype."""
    floats = [a for n, a in FLOATS if n == name]
    narrow = {a: arguments(name)[a].astype(support.BFLOAT16) for a in floats}
    tensors = {a: Tensor(v, "bfloat16", grad) for a, v in narrow.items()}
    assert_same(run(name, **tensors), run(name, **narrow), name)


def test_real_tensors_are_data():
    torch = pytest.importorskip("torch")
    for name, argument in FLOATS:
        value = torch.tensor(arguments(name)[argument], requires_grad=True)
        assert_same(run(name, **{argument: value}), run(name), f"{name}: {argument}")
