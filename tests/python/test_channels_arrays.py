# SPDX-License-Identifier: Apache-2.0
"""Activations of channels: bits over tiers, threads and layouts, outputs, errors, names."""

from __future__ import annotations

import inspect

import channels
import lanemax as lm
import numpy as np
import pytest
import support
from channels import ALL, GATES, LEARNED

INF, NAN = np.inf, np.nan

every = pytest.mark.parametrize("case", ALL, ids=repr)
FIRST = [channels.of(name)[0] for name in channels.NAMES] + [channels.of("group_sort")[-1]]
each = pytest.mark.parametrize("case", FIRST, ids=repr)


def assert_same(got, want, what):
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        support.assert_same_bits(np.ascontiguousarray(a), np.ascontiguousarray(b), f"{what}, {i}")


# ------------------------------------------------------------------ bits ---


@every
def test_tiers_and_threads_give_the_same_bits(case, rng):
    for rows, least in ((7, 333), (60, 700), (2, 34_000), (3000, 1)):
        for dtype in (support.F32, support.F64):
            arrays = case.draw(rng, (rows, case.channels(least)), dtype)
            want = case.everything(*arrays)
            for tier in support.TIERS:
                for threads in (1, 2):
                    with support.running(tier, threads):
                        got = case.everything(*arrays)
                    assert_same(got, want, f"{rows} x {least} {dtype} {tier} {threads} threads")


@pytest.mark.parametrize(
    "name", ["swiglu", "poly_norm", "rational", "max_min", "group_sort", "householder"]
)
def test_arrays_beyond_the_caches_have_the_bits_of_their_parts(name, rng):
    case = channels.of(name)[-1]
    n = case.channels(1000)
    _, *part = case.draw(rng, (103, n), support.F32)
    arrays = [np.resize(a, (9000, n)) for a in part]
    y = case(*arrays)
    dx = case.vjp(arrays[0], *arrays)[: len(part)]
    for i in range(0, 9000, 600):
        rows = slice(i, i + 600)
        some = [a[rows] for a in arrays]
        assert_same([y[rows]], [case(*some)], f"from row {i}")
        found = case.vjp(some[0], *some)[: len(part)]
        assert_same([a[rows] for a in dx], found, f"gradient from row {i}")


@each
def test_rows_are_by_themselves(case, dtype, rng):
    arrays = case.draw(rng, (9, case.channels(50)), dtype)
    whole = case.everything(*arrays)[: 1 + len(case.arrays)]
    for i in range(9):
        row = case.everything(*(a[i] for a in arrays))[: len(whole)]
        assert_same([a[i] for a in whole], row, f"row {i}")
    deep = [a.reshape(3, 1, 3, -1) for a in arrays]
    assert_same(
        [a.reshape(9, -1) for a in case.everything(*deep)[: len(whole)]], whole, "more axes"
    )


@each
def test_sums_do_not_depend_on_how_rows_are_arranged(case, dtype, rng):
    arrays = case.draw(rng, (12, case.channels(50)), dtype)
    deep = [a.reshape(3, 1, 4, -1) for a in arrays]
    skip = 1 + len(case.arrays)
    assert_same(case.everything(*deep)[skip:], case.everything(*arrays)[skip:], "more axes")


@each
def test_layouts_give_the_same_bits(case, dtype, rng):
    arrays = case.draw(rng, (40, case.channels(211)), dtype)
    want = case.everything(*arrays)
    for name, layout in support.LAYOUTS.items():
        for moved in range(1, 2 ** len(arrays)):
            given = [layout(a) if moved >> i & 1 else a for i, a in enumerate(arrays)]
            assert_same(case.everything(*given), want, f"{name}, arrays {moved:b}")


@each
def test_axes_in_any_order_give_the_same_bits(case, rng):
    arrays = case.draw(rng, (6, 5, 4, case.channels(48)), support.F32)
    want = case.everything(*arrays)
    for order in ((3, 2, 1, 0), (1, 0, 2, 3), (0, 3, 1, 2), (2, 1, 3, 0), (3, 0, 1, 2)):
        back = np.argsort(order)
        turned = [np.ascontiguousarray(a.transpose(order)).transpose(back) for a in arrays]
        assert_same(case.everything(*turned), want, f"{order}")
    dy, *others = arrays
    broadcast = [np.broadcast_to(a[0, 0, 0], a.shape) for a in others]
    copied = [a.copy() for a in broadcast]
    assert_same(case.everything(dy, *broadcast), case.everything(dy, *copied), "broadcast rows")
    broadcast = [np.broadcast_to(a[..., :1], a.shape) for a in others]
    copied = [a.copy() for a in broadcast]
    assert_same(case.everything(dy, *broadcast), case.everything(dy, *copied), "broadcast columns")
    windows = [np.lib.stride_tricks.sliding_window_view(a.ravel()[:200], 48) for a in arrays]
    windows = [w[:, : case.channels(1)] for w in windows]
    copied = [a.copy() for a in windows]
    assert_same(case.everything(*windows), case.everything(*copied), "overlapping rows")


# ------------------------------------------------------------------ outputs ---


@each
def test_out_may_be_an_input_or_overlap_it(case, dtype, rng):
    arrays = case.draw(rng, (5, case.channels(60)), dtype)
    dy, *others = arrays
    y, found = case(*others), case.vjp(*arrays)
    for i in range(len(others)):
        mine = [a.copy() for a in others]
        assert case(*mine, out=mine[i]) is mine[i]
        assert_same([mine[i]], [y], f"in place of array {i}")
    for i in range(len(arrays)):
        mine = [a.copy() for a in arrays]
        got = case.vjp(*mine, out=mine[i])
        assert got[0] is mine[i]
        assert_same(got, found, f"gradient in place of array {i}")
    for shift in (1, -1):
        room = np.zeros((7, dy.shape[1]), dtype)
        for i in range(len(others)):
            mine = list(others)
            room[1:6] = others[i]
            mine[i] = room[1:6]
            out = room[1 + shift : 6 + shift]
            assert case(*mine, out=out) is out
            assert_same([out], [y], f"shifted by {shift}")
        for i in range(len(arrays)):
            mine = list(arrays)
            room[1:6] = arrays[i]
            mine[i] = room[1:6]
            got = case.vjp(*mine, out=room[1 + shift : 6 + shift])
            assert_same(got, found, f"gradient shifted by {shift}")
    turned = [a.copy() for a in others]
    assert_same([case(*turned, out=turned[0][::-1])], [y], "onto itself, backwards")
    turned = [a.copy() for a in arrays]
    assert_same(case.vjp(*turned, out=turned[1][:, ::-1]), found, "backwards")
    for name, layout in support.LAYOUTS.items():
        if name != "swapped_bytes":
            place = layout(np.zeros_like(dy))
            assert case(*others, out=place) is place
            assert_same([place], [y], name)
            got = case.vjp(*arrays, out=place)
            assert got[0] is place
            assert_same(got, found, name)


@pytest.mark.parametrize("case", GATES + channels.of("poly_norm_glu"), ids=repr)
def test_halves_of_one_projection(case, dtype, rng):
    both = rng.normal(size=(6, 128)).astype(dtype)
    dy = rng.normal(size=(6, 64)).astype(dtype)
    gate, up = both[:, :64], both[:, 64:]
    want = case.everything(dy, gate.copy(), up.copy())
    assert_same(case.everything(dy, gate, up), want, "halves")
    interleaved = np.stack([gate, up], axis=-1)
    got = case.everything(dy, interleaved[..., 0], interleaved[..., 1])
    assert_same(got, want, "interleaved")
    same = case.everything(dy, gate, gate)
    assert_same(same, case.everything(dy, gate.copy(), gate.copy()), "one array twice")
    assert case(gate, up, out=gate) is gate
    assert_same([both[:, :64]], want[:1], "into the first half")


@pytest.mark.parametrize("case", LEARNED, ids=repr)
def test_parameters_may_lie_in_the_memory_of_out(case, rng):
    _, *arrays = case.draw(rng, (8, case.channels(48)), support.F64)
    for i, value in enumerate(case.values(arrays[0].shape[-1])):
        size = np.size(value)
        if not size or size > arrays[0].size:
            continue
        memory = arrays[0].copy()
        memory.reshape(-1)[:size] = np.ravel(value)
        values = list(case.values(arrays[0].shape[-1]))
        want = getattr(lm, case.python)(memory.copy(), *arrays[1:], *values, **case.options)
        values[i] = memory.reshape(-1)[:size].reshape(np.shape(value))
        got = getattr(lm, case.python)(memory, *arrays[1:], *values, **case.options, out=memory)
        assert got is memory
        assert_same([got], [want], f"parameter {i}")


# ------------------------------------------------------------------ element types, shapes ---


@each
def test_types_shapes_and_scalars(case, dtype):
    unit = case.unit
    for shape in ((0,), (3, 0), (0, unit), (2, 0, 4 * unit)):
        empty = np.empty(shape, dtype)
        y, *found = case.everything(*[empty] * (1 + len(case.arrays)))
        for a in (y, *found[: len(case.arrays)]):
            assert a.shape == shape and a.dtype == dtype
        for g in found[len(case.arrays) :]:
            assert (np.asarray(g) == 0).all()
    row = np.linspace(-1, 2, 2 * unit)
    for kind, to in ((np.int8, np.float32), (np.bool_, np.float32), (np.int64, np.float64),
                     (np.uint64, np.float64), (np.uint16, np.float32)):  # fmt: skip
        whole = np.abs(row).astype(kind)
        arrays = [whole] * len(case.arrays)
        assert case(*arrays).dtype == to
        assert_same([case(*arrays)], [case(*(a.astype(to) for a in arrays))], f"{kind}")
    listed = case(*[row.tolist()] * len(case.arrays))
    assert_same([listed], [case(*[row] * len(case.arrays))], "list")

    class Mine(np.ndarray):
        pass

    y = case(*[row.view(Mine)] * len(case.arrays))
    assert type(y) is np.ndarray
    assert_same([y], [listed], "subclass")
    big = row.astype(dtype)
    if dtype.kind == "f":
        swapped = [big.astype(dtype.newbyteorder())] * len(case.arrays)
        assert_same([case(*swapped)], [case(*[big] * len(case.arrays))], "byte order")
    read_only = big.copy()
    read_only.flags.writeable = False
    assert_same([case(*[read_only] * len(case.arrays))], [case(*[big] * len(case.arrays))], "")


@pytest.mark.parametrize("case", [c for c in ALL if c.unit == 1], ids=repr)
def test_arrays_without_axes_are_one_element(case, dtype):
    x = np.array(0.75, dtype)
    arrays = [x] * len(case.arrays)
    y, *found = case.everything(x, *arrays)
    assert type(y) is dtype.type and all(type(a) is dtype.type for a in found[: len(arrays)])
    row = case.everything(x.reshape(1), *(a.reshape(1) for a in arrays))
    n = 1 + len(arrays)
    assert_same((y, *found), (*(a[0] for a in row[:n]), *row[n:]), "0-d")
    out = np.zeros((), dtype)
    assert case(*arrays, out=out) is out and out == y
    assert case.vjp(x, *arrays, out=out)[0] is out


def test_a_pair_needs_an_axis():
    for call in (lm.max_min, lambda x: lm.householder(x, 1.0), lambda x: lm.group_sort(x, 2)):
        with pytest.raises(ValueError, match=r"last axis"):
            call(1.0)
    assert lm.group_sort(1.5, 1) == 1.5


@pytest.mark.parametrize("case", LEARNED, ids=repr)
def test_parameter_gradients_have_their_parameters_shape_and_dtype(case, rng):
    arrays = case.draw(rng, (3, case.channels(12)), support.F64)
    skip = len(case.arrays)
    values = case.values(arrays[0].shape[-1])
    plain = case.vjp(*arrays)[skip:]
    for g, v in zip(plain, values, strict=True):
        assert g.dtype == np.float64 and np.shape(g) == np.shape(v)
    vjp = getattr(lm, f"{case.python}_vjp")
    for of in support.DTYPES:
        given = [np.asarray(v).astype(of) for v in values]
        got = vjp(*arrays, *given, **case.options)[skip:]
        same = [v.astype(np.float64) for v in given]
        exact = vjp(*arrays, *same, **case.options)[skip:]
        for g, e, v in zip(got, exact, given, strict=True):
            assert g.dtype == of and g.shape == v.shape
            support.assert_same_bits(g, support.rounded(e, of))
        value = getattr(lm, case.python)
        assert_same(
            [value(*arrays[1:], *given, **case.options)],
            [value(*arrays[1:], *same, **case.options)],
            f"{of}",
        )
        if case.name != "rational":
            ones = [v.reshape(1) if v.ndim == 0 else v for v in given]
            got = vjp(*arrays, *ones, **case.options)[skip:]
            assert all(g.shape == v.shape for g, v in zip(got, ones, strict=True))


def test_integer_parameters_are_float64():
    x = np.arange(8.0)
    assert_same(
        lm.poly_norm_vjp(x, x, [1, 2], 3)[1:], lm.poly_norm_vjp(x, x, [1.0, 2.0], 3.0)[1:], ""
    )
    assert lm.rational_vjp(x, x, [1, 2], [3])[1].dtype == np.float64
    _, dtheta = lm.householder_vjp(x, x, 1)
    assert type(dtheta) is np.float64


def test_coefficients_of_float32_are_used_in_float32(rng):
    x = rng.normal(size=(3, 8)).astype(np.float32)
    for call in (
        lambda real: lm.poly_norm(x, real([0.1, 0.3]), real(0.7)),
        lambda real: lm.rational(x, real([0.1, 0.3]), real([0.7])),
    ):
        assert_same([call(lambda v: np.asarray(v))], [call(lambda v: np.float32(v))], "")


# ------------------------------------------------------------------ what is refused ---

#: parameters that are refused: values, options, exception, what its message names
BAD: dict[str, list[tuple]] = {
    "geglu": [((v,), {}, ValueError, "approximate") for v in ("erf", None, 1, True)],
    "poly_norm": [
        (([], 0.0), {}, ValueError, r"weight.*\(0,\)"),
        (([1.0] * 9, 0.0), {}, ValueError, r"weight.*\(9,\)"),
        ((1.0, 0.0), {}, ValueError, "weight"),
        (([[1.0, 2.0]], 0.0), {}, ValueError, "weight"),
        ((["a"], 0.0), {}, TypeError, "weight"),
        (([True], 0.0), {}, TypeError, "weight.*bool"),
        (([1j], 0.0), {}, TypeError, "weight.*complex"),
        ((np.ma.ones(1), 0.0), {}, TypeError, "weight"),
        (([1.0], [0.0, 1.0]), {}, ValueError, r"bias.*\(2,\)"),
        (([1.0], None), {}, TypeError, "bias"),
        (([1.0], 0.0), {"eps": -1.0}, ValueError, "eps.*-1"),
        (([1.0], 0.0), {"eps": NAN}, ValueError, "eps"),
        (([1.0], 0.0), {"eps": INF}, ValueError, "eps"),
        (([1.0], 0.0), {"eps": None}, TypeError, "eps"),
        (([1.0], 0.0), {"eps": True}, TypeError, "eps"),
    ],
    "rational": [
        (([], [1.0]), {}, ValueError, r"numerator.*\(0,\)"),
        (([1.0] * 10, [1.0]), {}, ValueError, r"numerator.*\(10,\)"),
        (([1.0], [1.0] * 9), {}, ValueError, r"denominator.*\(9,\)"),
        ((1.0, [1.0]), {}, ValueError, "numerator"),
        (([1.0], 1.0), {}, ValueError, "denominator"),
        ((np.ones((2, 3, 1)), [1.0]), {}, ValueError, "numerator"),
        ((np.ones((0, 3)), [1.0]), {}, ValueError, r"numerator.*\(0, 3\)"),
        (([1.0], np.ones((0, 3))), {}, ValueError, r"denominator.*\(0, 3\)"),
        ((np.ones((2, 3)), np.ones((3, 3))), {}, ValueError, "denominator.*2.*3"),
        ((np.ones((5, 3)), [1.0]), {}, ValueError, r"x.*multiple of 5.*\(2, 6\)"),
        (([1.0], np.ones((4, 3))), {}, ValueError, r"x.*multiple of 4.*\(2, 6\)"),
        (([1.0], None), {}, TypeError, "denominator"),
        ((["a"], [1.0]), {}, TypeError, "numerator"),
        (([1.0], [1.0]), {"form": "C"}, ValueError, "form.*'A'.*'C'|form.*'C'"),
        (([1.0], [1.0]), {"form": "a"}, ValueError, "form"),
        (([1.0], [1.0]), {"form": None}, ValueError, "form"),
    ],
    "group_sort": [
        ((0,), {}, ValueError, "group_size.*0"),
        ((-2,), {}, ValueError, "group_size.*-2"),
        ((4,), {}, ValueError, "group_size.*6.*4"),
        ((7,), {}, ValueError, "group_size.*6.*7"),
        ((2.0,), {}, TypeError, "group_size.*float"),
        ((None,), {}, TypeError, "group_size"),
        ((True,), {}, TypeError, "group_size.*bool"),
        (("2",), {}, TypeError, "group_size"),
        ((2**70,), {}, ValueError, "group_size"),
    ],
    "householder": [
        ((NAN,), {}, ValueError, "theta.*nan"),
        ((INF,), {}, ValueError, "theta.*inf"),
        ((1.1e9,), {}, ValueError, "theta"),
        ((1e200,), {}, ValueError, r"theta.*1e\+200"),
        (([1.0, 2.0, NAN],), {}, ValueError, "theta"),
        (([1.0, 2.0],), {}, ValueError, r"theta.*\(3,\).*\(2,\)"),
        (([1.0] * 6,), {}, ValueError, r"theta.*\(3,\).*\(6,\)"),
        (([[1.0, 2.0, 3.0]],), {}, ValueError, r"theta.*\(1, 3\)"),
        ((None,), {}, TypeError, "theta"),
        (("1",), {}, TypeError, "theta"),
        ((True,), {}, TypeError, "theta.*bool"),
        ((1j,), {}, TypeError, "theta.*complex"),
    ],
}
BAD["poly_norm_glu"] = BAD["poly_norm"]

GOOD = {
    "poly_norm": ([1.0], 0.0),
    "poly_norm_glu": ([1.0], 0.0),
    "rational": ([1.0], [1.0]),
    "group_sort": (2,),
    "householder": (1.0,),
}


@pytest.mark.parametrize("name", sorted({c.python for c in ALL}))
def test_bad_arguments_are_refused_and_nothing_is_written(name):
    function, vjp = getattr(lm, name), getattr(lm, f"{name}_vjp")
    op = next(op for op in channels.OPS if op["name"] == name)
    of, *more = op["arrays"]
    x, good = np.ones((2, 6), np.float32), GOOD.get(name, ())
    out = np.full((2, 6), 7, np.float32)
    read_only = out.copy()
    read_only.flags.writeable = False

    def refused(error, names, first, *, others=None, dy=None, values=good, **options):
        options = {"out": out, **options}
        others = [first] * len(more) if others is None else others
        if dy is None:
            with pytest.raises(error, match=names):
                function(first, *others, *values, **options)
        with pytest.raises(error, match=names):
            vjp(first if dy is None else dy[0], first, *others, *values, **options)

    for values, options, error, names in BAD.get(name, []):
        refused(error, names, x, values=values, **options)
        refused(error, names, x[::-1, ::-1], values=values, **options)
        if error is TypeError or "multiple" not in names:
            empty = x[:0]
            refused(error, names, empty, values=values, out=out[:0], **options)
    for first in (x, x[::-1]):
        if name in ("max_min", "householder"):
            refused(ValueError, rf"{of}.*multiple of 2.*\(2, 5\)", first[:, :5], out=None)
        refused(TypeError, f"{of}.*complex", first.astype(complex))
        refused(TypeError, "out.*float32.*float64", first, out=np.ones((2, 6), np.float64))
        refused(TypeError, "out.*list", first, out=[1, 2])
        refused(ValueError, r"out.*\(2, 6\).*\(6, 2\)", first, out=np.ones((6, 2), np.float32))
        refused(ValueError, "read-only", first, out=read_only)
        refused(TypeError, "out", first, out=np.ma.ones((2, 6), np.float32))
        refused(
            ValueError, "overlap", first, out=np.lib.stride_tricks.as_strided(out, (2, 6), (4, 4))
        )
        refused(TypeError, f"dy.*{of}, float32.*float64", first, dy=(x.astype(np.float64),))
        refused(ValueError, rf"dy.*{of}, \(2, 6\).*\(1, 6\)", first, dy=(x[:1],))
        refused(ValueError, "dy", first, dy=(x[0],))
        refused(TypeError, "dy", first, dy=(None,))
        for up in more:
            refused(TypeError, f"{up}.*{of}, float32.*float16", first, others=[x.astype("f2")])
            refused(ValueError, rf"{up}.*{of}, \(2, 6\).*\(6,\)", first, others=[x[0]])
            refused(TypeError, up, first, others=[None])
            refused(TypeError, up, first, others=[np.ma.ones((2, 6), np.float32)])
    refused(TypeError, of, None)
    refused(TypeError, of, np.ma.ones((2, 6)))
    refused(TypeError, of, np.array(["a"]))
    refused(TypeError, of, np.ones((2, 6), np.longdouble))
    arrays = [x] * (1 + len(more))
    with pytest.raises(TypeError, match=f"{name}.*nothing_of_this_name"):
        function(*arrays, *good, nothing_of_this_name=1)
    with pytest.raises(TypeError, match=name):
        function(*arrays, *good, 1.0, 2.0, 3.0)
    with pytest.raises(TypeError):
        function(*arrays, *good, bias=None, weight=None)
    with pytest.raises(TypeError):
        function()
    if good:
        with pytest.raises(TypeError, match=f"{name}.*{op['parameters'][0]}"):
            function(*arrays)
    assert (out == 7).all() and (x == 1).all() and (read_only == 7).all()


# ------------------------------------------------------------------ names ---

SIGNATURES = {
    "poly_norm": "(x, weight, bias, *, eps=1e-06, out=None)",
    "poly_norm_glu": "(gate, up, weight, bias, *, eps=1e-06, out=None)",
    "rational": "(x, numerator, denominator, *, form='B', out=None)",
    "max_min": "(x, *, out=None)",
    "group_sort": "(x, group_size, *, out=None)",
    "householder": "(x, theta, *, out=None)",
    "swiglu": "(gate, up, *, out=None)",
    "geglu": "(gate, up, approximate='none', *, out=None)",
    "reglu": "(gate, up, *, out=None)",
}


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("suffix", ["", "_vjp"])
def test_signature_and_documentation(name, suffix):
    function = getattr(lm, name + suffix)
    assert name + suffix in lm.__all__ and function.__name__ == name + suffix
    assert function.__module__ == "lanemax"
    want = SIGNATURES[name].replace("(", "(dy, ", 1) if suffix else SIGNATURES[name]
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == want
    doc = inspect.getdoc(function)
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert f"\n{section}\n---" in doc
    for parameter in inspect.signature(function).parameters:
        assert parameter in doc
    for line in doc.splitlines():
        assert len(line) <= 100 or line.startswith(".. math"), line


def test_parameters_may_be_named():
    x, up = np.array([-1.0, 0.5]), np.array([2.0, 3.0])
    for name in ("swiglu", "geglu", "reglu"):
        function, vjp = getattr(lm, name), getattr(lm, f"{name}_vjp")
        assert_same([function(up=up, gate=x)], [function(x, up)], name)
        assert_same(vjp(dy=x, up=up, gate=x), vjp(x, x, up), name)
    assert_same([lm.geglu(x, up, approximate="none")], [lm.geglu(x, up)], "geglu")
    assert_same([lm.geglu(x, up, "tanh")], [lm.gelu(x, "tanh") * up], "geglu")
    assert_same([lm.poly_norm(x, bias=1.0, weight=[2.0])], [lm.poly_norm(x, [2.0], 1.0)], "")
    assert_same([lm.group_sort(x=x, group_size=2)], [lm.group_sort(x, 2)], "")
    assert_same([lm.rational(x, denominator=[1.0], numerator=[2.0])],
                [lm.rational(x, [2.0], [1.0])], "")  # fmt: skip
    assert_same(lm.householder_vjp(x, x, theta=1.0), lm.householder_vjp(x, x, 1.0), "")


def test_activations_lists_the_channels_behind_the_others():
    ops = lm._core.registry.channel_ops()
    listed = lm.activations()[-len(ops) :]
    assert [a["name"] for a in listed] == [op["name"] for op in ops]
    for a, op in zip(listed, ops, strict=True):
        assert a["parameters"] == op["parameters"] and a["formula"] == op["formula"]
        assert a["bound"] == (op["bound"] or None) and a["learned"] == op["learned"]
        assert len(a["arrays"]) == op["inputs"]
    calls = {a["name"]: a["call"] for a in listed}
    assert calls["geglu_tanh"] == "geglu(gate, up, approximate='tanh')"
    assert calls["poly_norm"] == "poly_norm(x, weight, bias, eps=1e-06)"
    assert calls["rational"] == "rational(x, numerator, denominator, form='B')"
    assert {c.partition("(")[0] for c in calls.values()} == SIGNATURES.keys()
