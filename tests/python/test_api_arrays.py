# SPDX-License-Identifier: Apache-2.0
"""What goes in and what comes out: element types, array-likes, shapes, axes, out=, no copies."""

import array
import ctypes
import gc
import itertools
import sys
import tracemalloc

import lanemax as lm
import numpy as np
import pytest
import support
from registry import ALL, FUNCTIONS, ROWWISE, TAKING_OUT
from support import BFLOAT16, DTYPES, F32, F64, assert_same_bits


def sample(function, shape, dtype=F32, seed=0):
    n = shape[-1] if shape else 1
    rows = int(np.prod(shape[:-1], dtype=np.int64)) if shape else 1
    return tuple(
        a.reshape(shape)
        for a in function.sample("normal", np.random.default_rng(seed), (rows, n), dtype)
    )


def shape_and_dtype(result):
    """Of an array, a scalar or an ExpSum (whose dtype is that of its mantissa)."""
    if isinstance(result, lm.ExpSum):
        assert np.asarray(result.exponent).dtype == np.int64
        return tuple(result.shape), np.asarray(result.mantissa).dtype
    return np.shape(result), result.dtype


# ------------------------------------------------------------------ element types ---


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_result_has_the_dtype_of_the_input(function, dtype):
    arrays = sample(function, (3, 5), dtype)
    shape, got = shape_and_dtype(function(*arrays))
    assert shape == function.result_shape((3, 5))
    assert got == (np.float64 if function.result == "sum" else function.result_dtype(dtype))
    if function.result != "sum":
        assert type(function(*arrays)) is np.ndarray


INTEGERS = [np.dtype(t) for t in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("integer", INTEGERS, ids=str)
def test_booleans_and_integers_are_converted_as_numpy_does(function, integer):
    arrays = tuple(np.array([[0, 1, 1], [1, 0, 1]]).astype(integer) for _ in function.inputs)
    real = np.result_type(integer, np.float32)
    assert_same_bits(function(*arrays), function(*(a.astype(real) for a in arrays)), integer)
    if function.result != "sum":
        assert function(*arrays).dtype == real


def test_large_integers_keep_the_digits_of_float64():
    x = np.array([2**52 + 1, 2**52], np.int64)
    np.testing.assert_allclose(lm.softmax(x), lm.softmax(np.array([1.0, 0.0])), rtol=1e-15)
    x = np.array([2**63 + 2**40, 2**63], np.uint64)
    assert (lm.softmax(x) == [1.0, 0.0]).all()


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("code", ["f2", "f4", "f8", "i2", "i4", "u8"])
def test_foreign_byte_order_is_converted(function, code):
    native = tuple((a * 4).astype(code) for a in sample(function, (3, 5), F64))
    swapped = tuple(a.astype(a.dtype.newbyteorder()) for a in native)
    assert not swapped[0].dtype.isnative
    got = function(*swapped)
    assert_same_bits(got, function(*native), code)
    if function.result != "sum":
        assert got.dtype.isnative


def test_mixed_byte_orders_of_one_dtype_are_one_dtype():
    dy, y = sample(FUNCTIONS["softmax_vjp"], (2, 5), F64)
    assert_same_bits(lm.softmax_vjp(dy.astype(">f8"), y.astype("<f8")), lm.softmax_vjp(dy, y))
    assert_same_bits(
        lm.softmax_vjp([[1, 2]], [[0.25, 0.75]]),
        lm.softmax_vjp(np.array([[1.0, 2]]), np.array([[0.25, 0.75]])),
    )


# ------------------------------------------------------------------ array-likes ---


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_lists_tuples_and_scalars(function):
    values = [[0.25, 0.5, 0.25], [0.125, 0.75, 0.125]]
    want = function(*(np.array(values) for _ in function.inputs))
    assert_same_bits(function(*(values for _ in function.inputs)), want)
    assert_same_bits(function(*(tuple(map(tuple, values)) for _ in function.inputs)), want)
    for scalar, dtype in (
        (0.5, F64),
        (1, F64),
        (True, F32),
        (np.float32(0.5), F32),
        (np.float16(0.5), support.F16),
        (np.int8(1), F32),
    ):
        got = function(*(scalar for _ in function.inputs))
        shape, found = shape_and_dtype(got)
        assert shape == ()
        if function.result != "sum":
            assert found == function.result_dtype(dtype)
            assert type(got) is found.type


def test_values_of_scalars():
    assert lm.softmax(3.0) == 1 and lm.log_softmax(3.0) == 0 and lm.logsumexp(3.0) == 3
    assert lm.softmax_vjp(2.0, 1.0) == 0 and lm.log_softmax_vjp(2.0, 0.0) == 0
    assert lm.exp_sum(0.0).log() == 0


class Interface:
    """An object that shows its memory through __array_interface__ and nothing else."""

    def __init__(self, a):
        self._a = a

    @property
    def __array_interface__(self):
        return self._a.__array_interface__


class Struct:
    def __init__(self, a):
        self._a = a

    @property
    def __array_struct__(self):
        return self._a.__array_struct__


class DLPack:
    """An object that shows its memory through the DLPack protocol and nothing else."""

    def __init__(self, a):
        self._a = a

    def __dlpack__(self, **options):
        return self._a.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._a.__dlpack_device__()


class OldDLPack(DLPack):
    """As before version 1.0 of the protocol: __dlpack__ takes a stream alone."""

    def __dlpack__(self, stream=None):
        return self._a.__dlpack__()


class OnCuda(DLPack):
    """Says that its memory is on the first CUDA device, in the capsule as well."""

    def __dlpack__(self, **options):
        capsule = self._a.__dlpack__()
        address = ctypes.pythonapi.PyCapsule_GetPointer
        address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        # struct DLTensor begins with void *data and the device type
        ctypes.c_int32.from_address(address(capsule, b"dltensor") + 8).value = 2
        return capsule

    def __dlpack_device__(self):
        return (2, 0)


class Method:
    def __init__(self, a):
        self._a = a

    def __array__(self, dtype=None, copy=None):
        return self._a if dtype is None else self._a.astype(dtype)


@pytest.mark.parametrize(
    "wrap", [Interface, Struct, DLPack, OldDLPack, Method], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_objects_that_show_their_memory(function, wrap):
    for dtype in (F32, F64, support.F16, np.dtype(np.int32)):
        if dtype.kind == "i":
            arrays = tuple(np.arange(12, dtype=dtype).reshape(3, 4) for _ in function.inputs)
        else:
            arrays = sample(function, (3, 4), dtype)
        want = function(*arrays)
        assert_same_bits(function(*(wrap(a) for a in arrays)), want, wrap.__name__)
        strided = tuple(np.asfortranarray(a) for a in arrays)
        assert_same_bits(function(*(wrap(a) for a in strided)), want, wrap.__name__)


def test_objects_with_a_buffer():
    want = lm.softmax(np.array([1, 2, 3], np.float32))
    assert_same_bits(lm.softmax(array.array("f", [1, 2, 3])), want)
    assert_same_bits(lm.softmax(memoryview(np.array([1, 2, 3], np.float32))), want)


@pytest.mark.parametrize(
    "wrap", [lambda a: a, Interface, DLPack], ids=["ndarray", "Interface", "DLPack"]
)
@pytest.mark.parametrize("function", TAKING_OUT, ids=repr)
def test_input_is_not_copied(function, wrap):
    """With out= given, Python and NumPy allocate next to nothing, whatever the size."""
    for axis in (-1, 0):
        arrays = tuple(wrap(a) for a in sample(function, (500, 1000), F32))
        shape = function.result_shape((500, 1000), axis)
        out = np.empty(shape, np.float32)
        function(*arrays, axis=axis, out=out)  # what is set up once
        gc.collect()
        tracemalloc.start()
        try:
            function(*arrays, axis=axis, out=out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 100_000, f"{peak} bytes for an input of 2,000,000"


def test_dlpack_of_another_device_is_refused():
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError)):
        lm.softmax(OnCuda(np.zeros(3, np.float32)))


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64, torch.float16):
        t = torch.linspace(-3, 3, 20, dtype=dtype).reshape(4, 5)
        support.assert_same_bits(lm.softmax(t), lm.softmax(t.numpy()))
        support.assert_same_bits(lm.softmax(t.T, axis=0), lm.softmax(t.numpy().T, axis=0))
    if BFLOAT16 is None:
        pytest.skip("ml_dtypes is not installed: torch.bfloat16 is not tested")
    t = torch.linspace(-3, 3, 20).to(torch.bfloat16).reshape(4, 5)
    want = lm.softmax(t.view(torch.int16).numpy().view(BFLOAT16))
    support.assert_same_bits(lm.softmax(t), want)


# ------------------------------------------------------------------ subclasses ---


class Subclass(np.ndarray):
    def __array_finalize__(self, parent):
        self.note = getattr(parent, "note", None)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_subclasses_give_plain_arrays(function, tmp_path):
    arrays = sample(function, (3, 4))
    want = function(*arrays)
    for view in (np.matrix, Subclass, np.recarray):
        got = function(*(a.view(view) for a in arrays))
        if function.result != "sum":
            assert type(got) is np.ndarray
        assert_same_bits(got, want, view)
    mapped = tuple(
        np.memmap(tmp_path / f"{i}", np.float32, "w+", shape=(3, 4)) for i in range(len(arrays))
    )
    for m, a in zip(mapped, arrays, strict=True):
        m[...] = a
    got = function(*mapped)
    assert function.result == "sum" or type(got) is np.ndarray
    assert_same_bits(got, want)


# ------------------------------------------------------------------ shapes and axes ---


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_zero_dimensions_are_one_element(function, dtype):
    arrays = sample(function, (), dtype)
    want = function(*(a.reshape(1) for a in arrays))
    for axis in (-1, 0, None, (0,), (-1,)):
        got = function(*arrays, axis=axis)
        if function.result == "sum":
            assert got.shape == ()
            assert (got.mantissa, got.exponent) == (
                np.ravel(want.mantissa)[0],
                np.ravel(want.exponent)[0],
            )
        else:
            assert np.shape(got) == () and type(got) is function.result_dtype(dtype).type
            assert_same_bits(got, want[0] if np.ndim(want) else want)
    if function.takes_out:
        out = np.empty((), function.result_dtype(dtype))
        assert function(*arrays, out=out) is out
        assert_same_bits(out, np.asarray(function(*arrays)))


def test_zero_dimensions_take_every_option():
    x = np.array(2.5)
    assert lm.softmax(x, temperature=np.array(2.0), where=np.array(True)) == 1
    assert lm.softmax(x, where=False) == 0 and lm.log_softmax(x, where=False) == -np.inf
    assert lm.logsumexp(x, keepdims=True) == 2.5 and np.shape(lm.logsumexp(x, keepdims=True)) == ()
    assert lm.softmax(x, total=lm.exp_sum(x)) == 1


EMPTY = [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 2, 3), (2, 3, 0)]


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_empty_shapes(function, shape, dtype):
    arrays = tuple(np.empty(shape, dtype) for _ in function.inputs)
    axes = [*range(len(shape)), None, *([(0, 1)] if len(shape) > 1 else [])]
    for axis in axes:
        got = function(*arrays, axis=axis)
        found, kind = shape_and_dtype(got)
        assert found == function.result_shape(shape, axis)
        if function.result == "row":
            assert kind == dtype
        elif function.result == "value":
            assert kind == function.result_dtype(dtype)
            assert (np.asarray(got) == -np.inf).all()
        else:
            assert (np.asarray(got.mantissa) == 0).all() and (np.asarray(got.exponent) == 0).all()
            assert (np.asarray(got.log()) == -np.inf).all()
        if function.takes_out:
            out = np.empty(found, kind)
            assert function(*arrays, axis=axis, out=out) is out


def test_empty_arrays_with_options():
    for shape in ((0, 3), (3, 0)):
        x = np.empty(shape)
        for name in ("softmax", "log_softmax"):
            f = FUNCTIONS[name]
            assert (
                f(x, temperature=np.ones((shape[0], 1)), where=np.ones(shape, bool)).shape == shape
            )
            assert f(x, total=lm.exp_sum(x)).shape == shape
        assert lm.logsumexp(x, where=np.ones(shape, bool)).shape == shape[:1]
    assert lm.logsumexp([]) == -np.inf
    assert lm.softmax([]).shape == (0,)


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_axis_may_be_any_integer_type(function):
    arrays = sample(function, (3, 4))

    class Index:
        def __index__(self):
            return 0

    want = function(*arrays, axis=0)
    for axis in (np.int64(0), np.uint8(0), Index(), np.array(0), (0,), (np.int32(0),), -2):
        assert_same_bits(function(*arrays, axis=axis), want, type(axis))


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_empty_tuple_of_axes_reduces_nothing(function):
    arrays = sample(function, (3, 4))
    got = function(*arrays, axis=())
    want = function(*(a[..., None] for a in arrays))
    if function.result == "row":
        want = want[..., 0]
    assert_same_bits(got, want)


def test_keepdims(dtype):
    x = sample(FUNCTIONS["logsumexp"], (3, 4, 5), dtype)[0]
    for axis in (0, 1, 2, -1, (0, 2), (1, 2), (0, 1, 2), None, ()):
        flat = lm.logsumexp(x, axis=axis)
        kept = lm.logsumexp(x, axis=axis, keepdims=True)
        assert kept.shape == FUNCTIONS["logsumexp"].result_shape(x.shape, axis, keepdims=True)
        assert_same_bits(np.reshape(kept, np.shape(flat)), np.asarray(flat))
        out = np.empty(kept.shape, kept.dtype)
        assert lm.logsumexp(x, axis=axis, keepdims=True, out=out) is out
        assert_same_bits(out, kept)
    assert isinstance(lm.logsumexp(x[0, 0]), np.generic)
    assert isinstance(lm.logsumexp(x, axis=None), np.generic)
    assert lm.logsumexp(x[0, 0], keepdims=True).shape == (1,)


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_many_dimensions(function):
    shape = (1, 2) * 8 + (3,)
    arrays = sample(function, shape)
    for axis in (-1, 0, (1, 3, 16), None):
        assert shape_and_dtype(function(*arrays, axis=axis))[0] == function.result_shape(
            shape, axis
        )


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_axis_of_length_one_may_have_any_stride(function):
    for shape in ((1, 5), (5, 1), (1, 1)):
        arrays = sample(function, shape)
        odd = tuple(
            np.lib.stride_tricks.as_strided(
                a, shape, tuple(999 if n == 1 else s for n, s in zip(shape, a.strides, strict=True))
            )
            for a in arrays
        )
        for axis in (0, 1):
            assert_same_bits(
                function(*odd, axis=axis), function(*arrays, axis=axis), f"{shape} axis={axis}"
            )


# ------------------------------------------------------------------ out= ---


@pytest.mark.parametrize("function", TAKING_OUT, ids=repr)
def test_out_is_returned_and_holds_the_result(function, dtype):
    arrays = sample(function, (3, 4, 5), dtype)
    for axis in (-1, 0, (0, 2), None):
        want = function(*arrays, axis=axis)
        out = np.full(np.shape(want), 7, np.asarray(want).dtype)
        assert function(*arrays, axis=axis, out=out) is out
        assert_same_bits(out, np.asarray(want))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("function", ROWWISE, ids=repr)
def test_out_may_be_a_subclass(function, tmp_path):
    arrays = sample(function, (3, 4))
    want = function(*arrays)
    for out in (
        np.zeros((3, 4), np.float32).view(np.matrix),
        np.memmap(tmp_path / "out", np.float32, "w+", shape=(3, 4)),
    ):
        assert function(*arrays, out=out) is out
        assert_same_bits(np.asarray(out), want)


@pytest.mark.parametrize("function", ROWWISE, ids=repr)
def test_out_of_integers_input_has_the_converted_dtype(function):
    arrays = tuple(np.array([[0, 1, 1], [1, 0, 1]], np.int8) for _ in function.inputs)
    out = np.empty((2, 3), np.float32)
    assert function(*arrays, out=out) is out
    assert_same_bits(out, function(*arrays))


# ------------------------------------------------------------------ inputs are left alone ---


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_input_and_options_are_never_modified(function, dtype):
    rng = np.random.default_rng(1)
    arrays = sample(function, (6, 40), dtype)
    options = {}
    if "where" in function.options:
        options["where"] = rng.random((6, 40)) < 0.5
    if "temperature" in function.options:
        options["temperature"] = rng.uniform(0.5, 2, (6, 1))
    everything = [*arrays, *options.values()]
    before = [a.copy() for a in everything]
    for a in everything:
        a.flags.writeable = False
    function(*arrays)
    function(*arrays, **options)
    for a, b in zip(everything, before, strict=True):
        assert_same_bits(a, b)


def test_reference_counts_are_stable():
    gc.collect()
    for function in ALL:
        arrays = sample(function, (3, 5))
        out = np.empty_like(function(*arrays)) if function.takes_out else None
        options = {"out": out} if function.takes_out else {}
        before = [sys.getrefcount(a) for a in arrays]
        for _ in range(200):
            function(*arrays, **options)
            for bad in itertools.islice(({"axis": 9}, {"axis": 1.5}), 2):
                with pytest.raises((TypeError, ValueError)):
                    function(*arrays, **bad)
        gc.collect()
        assert [sys.getrefcount(a) for a in arrays] == before


def test_memory_does_not_grow():
    functions = [(f, sample(f, (3, 50))) for f in ALL]

    def work(n):
        for _ in range(n):
            for f, arrays in functions:
                f(*arrays)

    work(50)
    gc.collect()
    tracemalloc.start()
    try:
        growth = []
        for _ in range(5):
            before = tracemalloc.get_traced_memory()[0]
            work(200)
            gc.collect()
            growth.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    # a leak grows in every round; a table of the interpreter that is enlarged does so once
    assert min(growth) < 2_000, growth


def test_more_than_2_to_the_31_elements():
    """One element broadcast: the size needs 64 bits, the memory does not."""
    n = 2**31 + 37
    x = np.broadcast_to(np.float32(1.0), (n,))
    assert abs(float(lm.logsumexp(x)) - (1 + np.log(n))) <= 2.0**-19
    if len(DTYPES) > 3:
        assert (
            lm.exp_sum(np.broadcast_to(BFLOAT16.type(0), (4, n // 4 + 1))).exponent.tolist()
            == [30] * 4
        )
