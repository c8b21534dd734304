# SPDX-License-Identifier: Apache-2.0
"""Random strides of every operand: the results have the bits of copies in C order.

What is written is compared with the whole memory around it, so that nothing else changes.
"""

from __future__ import annotations

import tracemalloc

import lanemax as lm
import numpy as np
import numpy.ma  # loaded here, not while memory is counted
import pytest
import support
from lanemax._core import calls

CASES = 150


def view_of(rng, a):
    """The values of a behind random strides: axes permuted, spaced, reversed or misaligned."""
    order = rng.permutation(a.ndim)
    moved = a.transpose(order)
    steps = rng.choice([1, 1, 1, 2, 3, -1, -2], a.ndim)
    big = np.zeros([n * abs(int(s)) for n, s in zip(moved.shape, steps, strict=True)], a.dtype)
    if rng.random() < 0.15:
        big = support._misaligned(big, int(rng.integers(1, 4)))
    spaced = big[(*(slice(None, None, int(s)) for s in steps), ...)]
    view = spaced.transpose(np.argsort(order))
    assert view.shape == a.shape
    view[...] = a
    return view, big


def shape_of(rng):
    return tuple(int(n) for n in rng.choice([1, 2, 3, 5, 17], rng.integers(1, 5)))


def draws():
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        yield rng, shape_of(rng), support.DTYPES[seed % len(support.DTYPES)]


def normal(rng, shape, dtype):
    return rng.normal(size=shape).astype(dtype)


def check(function, rng, arrays, options, out_shape, what):
    """With views of all arrays, and an output that is one, as with copies of them."""
    want = function(*arrays, **options)
    first = want[0] if type(want) is tuple else want
    views = [view_of(rng, a)[0] for a in arrays]
    seen = {
        k: view_of(rng, v)[0] if isinstance(v, np.ndarray) and v.ndim else v
        for k, v in options.items()
    }
    support.assert_same_bits(function(*views, **seen), want, what)
    if out_shape is None:
        return
    out, memory = view_of(rng, np.zeros(out_shape, np.asarray(first).dtype))
    before = memory.copy()
    got = function(*views, **seen, out=out)
    assert (got[0] if type(got) is tuple else got) is out
    support.assert_same_bits(np.asarray(out), np.asarray(first), what)
    out[...] = 0
    support.assert_same_bits(memory, before, f"{what}: written outside of out")


def axes_of(rng, ndim):
    choice = rng.integers(4)
    if choice == 0:
        return None
    if choice == 1:
        return int(rng.integers(-ndim, ndim))
    return tuple(int(i) for i in rng.permutation(ndim)[: rng.integers(1, ndim + 1)])


def test_the_glue_sees_what_numpy_says():
    """Shapes, strides, flags and types are read out of NumPy's objects in place."""
    for rng, shape, dtype in draws():
        assert calls.dtype_code(dtype) is not None
        view = view_of(rng, normal(rng, shape, dtype))[0]
        assert calls._sees(view)
        view.flags.writeable = False
        assert calls._sees(view)
    for other in (None, 1.0, [1.0], np.float32(1), np.ma.masked_array([1.0])):
        assert calls.lib.lmxpy_see(id(other), calls.ffi.new("lmxpy_image *")) == calls.UNUSUAL


def test_row_operations():
    for rng, shape, dtype in draws():
        axis = axes_of(rng, len(shape))
        over = lm._arrays.layout.axes(axis, len(shape))
        kept = tuple(1 if i in over else n for i, n in enumerate(shape))
        some = tuple(n if rng.random() < 0.7 else 1 for n in kept)
        x, dy = normal(rng, shape, dtype), normal(rng, shape, dtype)
        options = {"axis": axis}
        if rng.random() < 0.4:
            options["temperature"] = rng.uniform(0.5, 2, some).astype(rng.choice(["f4", "f8"]))
        check(lm.softmax_vjp, rng, [dy, x], dict(options), shape, f"vjp {shape} {options}")
        if rng.random() < 0.4:
            options["where"] = (
                rng.random(tuple(n if rng.random() < 0.7 else 1 for n in shape)) < 0.6
            )
        check(lm.softmax, rng, [x], dict(options), shape, f"softmax {shape} {options}")
        options.pop("temperature", None)
        options["keepdims"] = bool(rng.integers(2))
        reduced = kept if options["keepdims"] else tuple(
            n for i, n in enumerate(shape) if i not in over
        )  # fmt: skip
        check(lm.logsumexp, rng, [x], options, reduced, f"logsumexp {shape} {options}")


def test_totals():
    for rng, shape, dtype in draws():
        axis = axes_of(rng, len(shape))
        x = normal(rng, shape, dtype)
        total = lm.exp_sum(x, axis=axis)
        view = view_of(rng, x)[0]
        support.assert_same_bits(lm.exp_sum(view, axis=axis), total, f"{shape} {axis}")
        check(lm.log_softmax, rng, [x], {"axis": axis, "total": total}, shape, f"{shape} {axis}")


def test_losses():
    for rng, shape, dtype in draws():
        x = normal(rng, shape, dtype)
        labels = rng.integers(0, shape[-1], shape[:-1]).astype(rng.choice(["i1", "i4", "i8", "u2"]))
        options = {"reduction": ("mean", "sum", "none")[rng.integers(3)]}
        if rng.random() < 0.5:
            options["weight"] = rng.uniform(0.5, 2, shape[-1]).astype(rng.choice(["f4", "f8"]))
        if rng.random() < 0.5:
            lead = tuple(n if rng.random() < 0.7 else 1 for n in shape[:-1])
            options["temperature"] = rng.uniform(0.5, 2, (*lead, 1))
        if rng.random() < 0.5:
            options["label_smoothing"] = 0.25
        soft = normal(rng, shape, support.F64) ** 2
        out = shape[:-1] if options["reduction"] == "none" else None
        for target in (labels, soft):
            what = f"{shape} {dtype} {options} {target.dtype}"
            check(lm.cross_entropy, rng, [x, target], options, out, what)
            check(lm.cross_entropy_and_grad, rng, [x, target], options, out, what)
        other = normal(rng, shape, dtype)
        plain = {k: v for k, v in options.items() if k in ("reduction", "weight")}
        check(lm.smooth_adversarial_comp_sum_loss_and_grad, rng, [x, other, labels], plain, out,
              f"{shape} {plain}")  # fmt: skip


@pytest.mark.parametrize("name", ["silu", "crrelu", "max_min", "swiglu", "poly_relu"])
def test_activations(name):
    value, gradient = getattr(lm, name), getattr(lm, f"{name}_vjp")
    for rng, shape, dtype in draws():
        if name == "max_min":
            shape = (*shape[:-1], 2 * shape[-1])
        arrays = [normal(rng, shape, dtype) for _ in range(2 if name == "swiglu" else 1)]
        dy = normal(rng, shape, dtype)
        options = {"weight": rng.normal(size=3), "bias": 0.5} if name == "poly_relu" else {}
        if name in ("silu", "crrelu") and rng.random() < 0.5:
            options["bias"] = normal(rng, shape[-1:], rng.choice([support.F32, support.F64]))
        what = f"{shape} {dtype} {options}"
        check(value, rng, arrays, options, shape, what)
        check(gradient, rng, [dy, *arrays], options, shape, what)


# --------------------------------------------------------------------------- no copies


def _misaligned(a):
    """The same array one byte behind a multiple of everything."""
    memory = np.empty(a.nbytes + 1, np.uint8)
    b = memory[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


#: name -> a view, with the axes to reduce, of an array of shape (6, 20, 110, 100)
LAYOUTS = {
    "four strides": lambda b: (b[:, :18, :100, :90], -1),
    "split axes": lambda b: (b, (0, 2)),
    "all but one axis": lambda b: (b[::2, :, ::-1], (0, 1, 3)),
    "permuted": lambda b: (b.transpose(2, 0, 3, 1), 1),
    "steps and signs": lambda b: (b[::-1, ::3, ::-2, ::2], 2),
    "misaligned": lambda b: (_misaligned(b), -1),
    "misaligned, columns": lambda b: (_misaligned(b), 0),
    "repeated": lambda b: (np.broadcast_to(b[:, :1], b.shape), 1),
}

#: name -> function of an array and axes; those of the last axis move theirs there
CALLS = {
    "softmax": lambda x, axis: lm.softmax(x, axis),
    "softmax, temperature": lambda x, axis: lm.softmax(x, axis, temperature=0.5),
    "softmax, where": lambda x, axis: lm.softmax(x, axis, where=np.broadcast_to(True, x.shape)),
    "log_softmax": lambda x, axis: lm.log_softmax(x, axis),
    "logsumexp": lambda x, axis: lm.logsumexp(x, axis),
    "exp_sum": lambda x, axis: lm.exp_sum(x, axis),
    "softmax_vjp": lambda x, axis: lm.softmax_vjp(x, x, axis),
    "stablemax": lambda x, axis: lm.stablemax(x, axis),
    "silu": lambda x, axis: lm.silu(x),
    "silu_vjp": lambda x, axis: lm.silu_vjp(x, x),
    "swiglu": lambda x, axis: lm.swiglu(x, x),
    "poly_norm": lambda x, axis: lm.poly_norm(x, [0.5, 0.25, 1.0], 0.0),
    "cross_entropy": lambda x, axis: lm.cross_entropy(x, _classes(x)),
    "cross_entropy, probabilities": lambda x, axis: lm.cross_entropy(x, x, label_smoothing=0.1),
    "cross_entropy_and_grad": lambda x, axis: lm.cross_entropy_and_grad(x, _classes(x)),
    "z_loss_and_grad": lambda x, axis: lm.z_loss_and_grad(x, _classes(x)),
}


def _classes(x):
    """One class for all rows, in no memory."""
    return np.broadcast_to(np.int8(1), x.shape[:-1])


def _parts(result):
    parts = result if isinstance(result, tuple) else (result,)
    sums = [p._sums if isinstance(p, lm.ExpSum) else p for p in parts]
    return [np.asarray(p).view(np.uint8) if np.asarray(p).dtype.names else p for p in sums]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("call", CALLS)
def test_no_layout_is_copied(call, layout):
    b = np.random.default_rng(5).normal(size=(6, 20, 110, 100)).astype(np.float32)
    x, axis = LAYOUTS[layout](b)
    tracemalloc.start()
    try:
        got = _parts(CALLS[call](x, axis))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    own = sum(np.asarray(p).nbytes for p in got)
    assert peak < own + 200_000, f"{peak - own} bytes beside a result of {own}, input {x.nbytes}"
    for result, want in zip(got, _parts(CALLS[call](x.copy("C"), axis)), strict=True):
        support.assert_same_bits(result, want, call)


@pytest.mark.parametrize("layout", ["four strides", "split axes", "permuted", "misaligned"])
@pytest.mark.parametrize("call", ["softmax", "log_softmax", "softmax, temperature", "silu"])
def test_no_layout_of_an_output_is_copied(call, layout):
    x = np.random.default_rng(6).normal(size=(6, 20, 110, 100)).astype(np.float32)
    out, axis = LAYOUTS[layout](np.empty_like(x))
    x = LAYOUTS[layout](x)[0].copy("C")
    function = {
        "softmax": lambda: lm.softmax(x, axis, out=out),
        "log_softmax": lambda: lm.log_softmax(x, axis, out=out),
        "softmax, temperature": lambda: lm.softmax(x, axis, temperature=0.5, out=out),
        "silu": lambda: lm.silu(x, out=out),
    }[call]
    tracemalloc.start()
    try:
        assert function() is out
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000, f"{peak} bytes for an output of {out.nbytes}"
    support.assert_same_bits(out, CALLS[call](x, axis), call)
