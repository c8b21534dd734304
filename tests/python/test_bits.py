# SPDX-License-Identifier: Apache-2.0
"""The same bits for every tier, thread count, layout, alignment and batch (P1-P5, P8)."""

import itertools

import lanemax as lm
import numpy as np
import pytest
import support
from registry import ALL, FUNCTIONS, ROWWISE, TAKING_OUT, with_option
from support import (
    BFLOAT16,
    CHUNK,
    DTYPES,
    F16,
    F32,
    F64,
    LAYOUTS,
    TIERS,
    assert_same_bits,
    running,
    same_bits,
)

LENGTHS = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100)


def draw(function, rng, shape, dtype, kind="normal10"):
    """Inputs of any shape."""
    n = shape[-1] if shape else 1
    rows = int(np.prod(shape[:-1], dtype=np.int64)) if shape else 1
    return tuple(a.reshape(shape) for a in function.sample(kind, rng, (rows, n), dtype))


def put(layout, array):
    """The array in a layout; the layouts of few-dimensional arrays are those of one more axis."""
    moved = LAYOUTS[layout](array)
    assert moved.shape == array.shape
    return moved


# ------------------------------------------------------------------ tiers and threads ---


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_tiers_agree_at_every_length(function, dtype):
    """Lengths 0..259 and every edge of blocks and chunks, all kinds of input."""
    rng = np.random.default_rng(0)
    kinds = list(support.KINDS)
    edges = [511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097]
    edges += [
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK - 1,
        2 * CHUNK,
        2 * CHUNK + 1,
        65535,
        65536,
        65537,
    ]
    for n in [*range(260), *edges]:
        for kind in kinds[n % 4 :: 4] if n < 1100 else kinds[n % 8 :: 8]:
            arrays = function.sample(kind, rng, (2, n), dtype)
            results = {}
            for tier in TIERS:
                with running(tier):
                    results[tier] = function(*arrays)
            for tier in TIERS[1:]:
                assert_same_bits(
                    results[tier],
                    results[TIERS[0]],
                    f"{function} {dtype} n={n} {kind}: {tier}, {TIERS[0]}",
                )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_tiers_and_threads_agree_on_large_arrays(function, dtype):
    """Large enough to be shared out: many rows, a long row, columns; with options too."""
    rng = np.random.default_rng(1)
    for shape, axis in (
        ((200, 5003), -1),
        ((1, 300_007), -1),
        ((3, 150_001), -1),
        ((1501, 301), 0),
        ((60, 70, 80), (0, 2)),
    ):
        arrays = draw(function, rng, shape, dtype)
        options = [{}]
        if "where" in function.options:
            options.append({"where": rng.random(shape) < 0.7})
        if "temperature" in function.options and axis == -1:
            options.append({"temperature": rng.uniform(0.5, 2, (*shape[:-1], 1))})
        for option in options if shape[0] != 60 else options[:1]:
            want = None
            for tier, threads in itertools.product(TIERS, (1, 2, 7)):
                if tier != TIERS[0] and threads == 7:
                    continue
                with running(tier, threads):
                    got = function(*arrays, axis=axis, **option)
                want = got if want is None else want
                assert_same_bits(
                    got,
                    want,
                    f"{function} {dtype} {shape} {axis} {list(option)} {tier} {threads} threads",
                )


@pytest.mark.parametrize("function", with_option("total"), ids=repr)
def test_tiers_and_threads_agree_with_a_total(function):
    rng = np.random.default_rng(2)
    for dtype in DTYPES:
        x = support.logits("normal10", rng, (5, 40_000), dtype)
        results = []
        for tier, threads in itertools.product(TIERS, (1, 2)):
            with running(tier, threads):
                results.append(function(x, total=lm.exp_sum(x) + lm.exp_sum(x[:, :77])))
        for r in results[1:]:
            assert_same_bits(r, results[0], f"{function} {dtype}")


@pytest.mark.parametrize("name", ["softmax_vjp", "log_softmax_vjp"])
def test_tiers_agree_on_special_gradients(name):
    """NaN and infinities in dy and y: memcmp-equal, NaN included."""
    function = FUNCTIONS[name]
    for dtype in DTYPES:
        dy, y = function.sample("normal", np.random.default_rng(3), (8, 77), dtype)
        for value, (i, a) in itertools.product(
            (np.nan, -np.nan, np.inf, -np.inf), enumerate((dy, y))
        ):
            for position in (0, 31, 32, 76):
                b = a.copy()
                b[:, position] = value
                arrays = (b, y) if i == 0 else (dy, b)
                results = []
                for tier in TIERS:
                    with running(tier):
                        results.append(function(*arrays))
                for tier, r in zip(TIERS, results, strict=True):
                    assert_same_bits(
                        r,
                        results[0],
                        f"{name} {dtype} {value} in {'dy' if i == 0 else 'y'}: {tier}",
                    )


def test_repeated_calls_agree(tier, dtype):
    rng = np.random.default_rng(4)
    for function in ALL:
        arrays = function.sample("normal10", rng, (37, 3001), dtype)
        want = function(*arrays)
        for _ in range(5):
            assert_same_bits(function(*arrays), want, function)


# ---------------------------------------- rows do not see each other ---


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_row_does_not_depend_on_the_batch(function, dtype, tier):
    rng = np.random.default_rng(5)
    for n in (1, 5, 33, 300, CHUNK + 3):
        arrays = function.sample("normal10", rng, (19, n), dtype)
        whole = function(*arrays)
        for part in (
            slice(3, 4),
            slice(0, 8),
            slice(5, 19),
            slice(None, None, -1),
            slice(1, None, 3),
        ):
            got = function(*(np.ascontiguousarray(a[part]) for a in arrays))
            if function.result == "sum":
                np.testing.assert_array_equal(got.mantissa, whole.mantissa[part])
                np.testing.assert_array_equal(got.exponent, whole.exponent[part])
                np.testing.assert_array_equal(got.log(), whole.log()[part])
            else:
                assert_same_bits(got, whole[part], f"{function} n={n} {part}")
        one = function(*(a[7] for a in arrays))
        if function.result == "sum":
            assert (one.mantissa, one.exponent) == (whole.mantissa[7], whole.exponent[7])
        else:
            assert_same_bits(one, whole[7], f"{function} n={n} 1-d")


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_column_does_not_depend_on_its_neighbours(function, dtype, tier):
    """Columns, which are served many at a time, have the bits of contiguous rows."""
    rng = np.random.default_rng(6)
    for n in (1, 2, 33, 257, 600):
        for columns in (1, 2, 15, 16, 17, 70):
            arrays = function.sample("normal10", rng, (columns, n), dtype)
            want = function(*arrays)
            got = function(*(np.ascontiguousarray(a.T) for a in arrays), axis=0)
            if function.result == "row":
                got = np.ascontiguousarray(got.T)
            assert_same_bits(got, want, f"{function} n={n} columns={columns}")


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_long_columns(function, tier):
    rng = np.random.default_rng(7)
    for dtype in DTYPES:
        for n, columns in ((CHUNK + 1, 3), (2 * CHUNK + 77, 33), (60_001, 2)):
            arrays = function.sample("normal10", rng, (columns, n), dtype)
            got = function(*(np.ascontiguousarray(a.T) for a in arrays), axis=0)
            if function.result == "row":
                got = np.ascontiguousarray(got.T)
            assert_same_bits(got, function(*arrays), f"{function} {dtype} n={n} columns={columns}")


# ------------------------------------------------------------------ layouts ---


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", ALL, ids=repr)
def test_layout_of_the_input_does_not_matter(function, layout, dtype, tier):
    """Rows {0, 1, 2, 3, 5, 17} times lengths, both axes; all inputs and each alone."""
    rng = np.random.default_rng(8)
    for rows, n in itertools.product((0, 1, 2, 3, 5, 17), LENGTHS):
        if (rows + n) % 2 if rows < 3 else (rows + n) % 3:
            continue
        arrays = draw(function, rng, (rows, n), dtype)
        moved = tuple(put(layout, a) for a in arrays)
        for axis in (-1, 0):
            want = function(*(np.array(a, order="C") for a in arrays), axis=axis)
            assert_same_bits(
                function(*moved, axis=axis), want, f"{function} {layout} {(rows, n)} axis={axis}"
            )
            if len(arrays) == 2:
                assert_same_bits(
                    function(moved[0], arrays[1], axis=axis), want, f"{function} {layout} dy"
                )
                assert_same_bits(
                    function(arrays[0], moved[1], axis=axis), want, f"{function} {layout} y"
                )


@pytest.mark.parametrize("layout", [k for k in LAYOUTS if k != "swapped_bytes"])
@pytest.mark.parametrize("function", TAKING_OUT, ids=repr)
def test_layout_of_the_output_does_not_matter(function, layout, dtype, tier):
    rng = np.random.default_rng(9)
    for rows, n in ((1, 1), (3, 7), (5, 32), (2, 100), (17, 33), (0, 4), (4, 0)):
        arrays = draw(function, rng, (rows, n), dtype)
        for axis in (-1, 0):
            want = function(*arrays, axis=axis)
            out = put(layout, np.full(want.shape, 7, want.dtype))
            assert function(*arrays, axis=axis, out=out) is out
            assert_same_bits(
                np.array(out, order="C"), want, f"{function} {layout} {(rows, n)} axis={axis}"
            )


@pytest.mark.parametrize("function", ROWWISE, ids=repr)
def test_rows_of_out_that_interleave_do_not_overlap(function):
    """Strides that only an exact solution shows to be free of overlap."""
    arrays = draw(function, np.random.default_rng(9), (3, 4), F32)
    for strides in ((20, 8), (8, 28), (-20, 8), (12, 40)):
        memory = np.zeros(200, np.float32)
        out = np.lib.stride_tricks.as_strided(memory[60:], (3, 4), strides)
        assert function(*arrays, out=out) is out
        assert_same_bits(np.array(out, order="C"), function(*arrays), f"{function} {strides}")
        assert np.count_nonzero(memory) <= 12


@pytest.mark.parametrize("layout", [k for k in LAYOUTS if k != "swapped_bytes"])
@pytest.mark.parametrize("function", TAKING_OUT, ids=repr)
def test_nothing_between_the_elements_of_out_is_written(function, layout):
    for dtype in (F32, F16):
        shape = (5, 33)
        arrays = draw(function, np.random.default_rng(10), shape, dtype)
        result = function(*arrays)
        out = put(layout, np.ones(result.shape, result.dtype))
        base = out
        while isinstance(base.base, np.ndarray):
            base = base.base
        # memory as bytes, before and after, with the elements of out put back
        memory = (
            np.frombuffer(base.data, np.uint8)
            if base.flags.c_contiguous
            else np.frombuffer(base.T.data, np.uint8)
        )
        before = memory.copy()
        function(*arrays, out=out)
        out[...] = 1
        assert (memory == before).all()


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_broadcast_input(function, dtype, tier):
    """Inputs with stride 0 along any axis."""
    rng = np.random.default_rng(11)
    for shape, base in (
        ((4, 33), (1, 33)),
        ((4, 33), (4, 1)),
        ((4, 33), (1, 1)),
        ((3, 4, 5), (3, 1, 5)),
        ((300, 2), (1, 2)),
    ):
        arrays = tuple(np.broadcast_to(a, shape) for a in draw(function, rng, base, dtype))
        for axis in range(len(shape)):
            want = function(*(np.array(a, order="C") for a in arrays), axis=axis)
            assert_same_bits(
                function(*arrays, axis=axis), want, f"{function} {base} to {shape} axis={axis}"
            )


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_every_axis_of_1_to_4_dimensions(function, dtype, tier):
    """Single axes, tuples of axes and None, against the reduced axes moved to the end by hand."""
    rng = np.random.default_rng(12)
    for shape in ((5,), (4, 7), (3, 4, 5), (2, 3, 4, 5), (1, 6, 1, 3), (2, 0, 3), (3, 1)):
        arrays = draw(function, rng, shape, dtype)
        nd = len(shape)
        axes = [*range(-nd, nd), None]
        axes += [c for r in range(1, nd + 1) for c in itertools.permutations(range(nd), r)]
        axes.append(())
        for axis in axes:
            reduced = (
                tuple(range(nd)) if axis is None else (axis,) if isinstance(axis, int) else axis
            )
            reduced = sorted(a % nd for a in reduced)
            kept = [i for i in range(nd) if i not in reduced]
            order = kept + reduced
            outer = tuple(shape[i] for i in kept)
            n = int(np.prod([shape[i] for i in reduced]))
            flat = (np.ascontiguousarray(a.transpose(order)).reshape(*outer, n) for a in arrays)
            want = function(*flat)
            got = function(*arrays, axis=axis)
            what = f"{function} {shape} axis={axis}"
            if function.result == "sum":
                assert got.shape == outer, what
            elif function.result == "row":
                assert got.shape == shape, what
                got = np.ascontiguousarray(got.transpose(order)).reshape(*outer, n)
            assert_same_bits(got, want, what)


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_axes_of_layouts(function, tier):
    """Tuples of axes in transposed, sliced and reversed arrays."""
    rng = np.random.default_rng(13)
    views = (
        lambda a: a.transpose(2, 0, 1),
        lambda a: a[::-1, ::2, 1:],
        lambda a: a[:, ::-1].T,
        lambda a: a[:, 1:2, ::-2],
    )
    for dtype in (F32, F16):
        arrays = draw(function, rng, (6, 8, 10), dtype)
        for view, axis in itertools.product(
            views, (0, 1, 2, (0, 1), (1, 2), (2, 0), (0, 1, 2), None)
        ):
            moved = tuple(view(a) for a in arrays)
            want = function(*(np.array(a, order="C") for a in moved), axis=axis)
            assert_same_bits(function(*moved, axis=axis), want, f"{function} axis={axis}")


@pytest.mark.parametrize("function", TAKING_OUT, ids=repr)
def test_alignment_of_input_and_output(function, tier):
    """Every pair of offsets 0..15 elements, lengths about one to three vectors."""
    rng = np.random.default_rng(14)
    for n in (1, 15, 16, 17, 33, 48, 63):
        arrays = function.sample("normal10", rng, (2, n), F32)
        want = function(*arrays)
        buffers = [np.zeros(2 * n + 16, np.float32) for _ in arrays]
        out_buffer = np.zeros(np.size(want) + 16, np.float32)
        for i in range(16):
            moved = []
            for a, buffer in zip(arrays, buffers, strict=True):
                view = buffer[i : i + 2 * n].reshape(2, n)
                view[...] = a
                moved.append(view)
            for o in range(16):
                out = out_buffer[o : o + np.size(want)].reshape(want.shape)
                out_buffer[:] = 3
                function(*moved, out=out)
                assert same_bits(out, want), f"{function} n={n} in +{i} out +{o}"
                out[...] = 3
                assert (out_buffer == 3).all(), (
                    f"{function} n={n} in +{i} out +{o}: written beside out"
                )


# ------------------------------------------------------------------ in place and overlapping ---


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("function", ROWWISE, ids=repr)
def test_in_place_is_out_of_place(function, which, dtype, tier):
    rng = np.random.default_rng(15)
    if which >= len(function.inputs):
        return
    for shape in ((1,), (7,), (3, 33), (5, 300), (2, CHUNK + 9), (3, 4, 5)):
        for axis in {-1, 0, None, len(shape) - 1}:
            arrays = list(draw(function, rng, shape, dtype))
            want = function(*arrays, axis=axis)
            got = function(*arrays, axis=axis, out=arrays[which])
            assert got is arrays[which]
            assert_same_bits(got, want, f"{function} {shape} axis={axis}")


@pytest.mark.parametrize("function", with_option("where"), ids=repr)
def test_in_place_with_options(function, dtype, tier):
    if function.result != "row":
        return
    rng = np.random.default_rng(16)
    for shape, axis in (((4, 33), -1), ((33, 4), 0), ((3, CHUNK + 9), -1)):
        x = draw(function, rng, shape, dtype)[0]
        options = {"where": rng.random(shape) < 0.7, "temperature": 1.25}
        want = function(x, axis=axis, **options)
        assert_same_bits(function(x, axis=axis, out=x, **options), want, function)


def overlapping_pairs():
    """(name, function of 600 elements -> (input view, output view)) that overlap in part."""
    yield "shifted by one", lambda b: (b[0:300].reshape(10, 30), b[1:301].reshape(10, 30))
    yield "shifted back by one", lambda b: (b[1:301].reshape(10, 30), b[0:300].reshape(10, 30))
    yield "shifted by a row", lambda b: (b[0:300].reshape(10, 30), b[30:330].reshape(10, 30))
    yield "shifted back by a row", lambda b: (b[30:330].reshape(10, 30), b[0:300].reshape(10, 30))
    yield "reversed rows", lambda b: (b[:300].reshape(10, 30), b[:300].reshape(10, 30)[::-1])
    yield "reversed columns", lambda b: (b[:300].reshape(10, 30), b[:300].reshape(10, 30)[:, ::-1])
    yield "transposed", lambda b: (b[:400].reshape(20, 20), b[:400].reshape(20, 20).T)
    yield "interleaved", lambda b: (b[:600:2].reshape(10, 30), b[1:600:2].reshape(10, 30))
    yield "step 1 into step 2", lambda b: (b[:300].reshape(10, 30), b[:600:2].reshape(10, 30))
    yield "step 2 into step 1", lambda b: (b[:600:2].reshape(10, 30), b[:300].reshape(10, 30))
    yield "broadcast", lambda b: (np.broadcast_to(b[:30], (10, 30)), b[:300].reshape(10, 30))
    yield (
        "broadcast behind",
        lambda b: (np.broadcast_to(b[270:300], (10, 30)), b[:300].reshape(10, 30)),
    )


@pytest.mark.parametrize(
    "name,views", list(overlapping_pairs()), ids=lambda v: v if isinstance(v, str) else ""
)
@pytest.mark.parametrize("function", ROWWISE, ids=repr)
def test_partial_overlap_gives_the_values_without_overlap(function, name, views, dtype):
    rng = np.random.default_rng(17)
    buffer = draw(function, rng, (20, 30), dtype)[-1].reshape(-1)
    for axis in (-1, 0, None):
        for which in range(len(function.inputs)):
            memory = buffer.copy()
            inner, out = views(memory)
            others = [np.array(inner, order="C") for _ in function.inputs]
            want = function(*others, axis=axis)
            arrays = list(others)
            arrays[which] = inner
            assert function(*arrays, axis=axis, out=out) is out
            assert_same_bits(
                np.array(out, order="C"), want, f"{function} {name} axis={axis} argument {which}"
            )


def test_reduction_into_its_own_input(dtype):
    """logsumexp(x, out=x[..., 0]) as without overlap."""
    if dtype.itemsize == 2:
        return  # the result is float32: an array of the input's dtype is refused
    x = draw(FUNCTIONS["logsumexp"], np.random.default_rng(18), (40, 30), dtype)[0]
    want = lm.logsumexp(x)
    for column in (0, 29):
        y = x.copy()
        out = y[:, column]
        assert lm.logsumexp(y, out=out) is out
        assert_same_bits(np.ascontiguousarray(out), want)
    y = np.ascontiguousarray(x.reshape(-1)[: 30 * 30].reshape(30, 30))
    want = lm.logsumexp(y, axis=0)
    lm.logsumexp(y, axis=0, out=y[4])
    assert_same_bits(y[4], want)


def test_options_that_share_memory_with_out():
    """A mask or temperature that lies in the memory of out counts with the values it had."""
    rng = np.random.default_rng(19)
    memory = rng.uniform(0.5, 2, (8, 16))
    x = rng.normal(size=(8, 16))
    temperature = memory[:, 3:4]
    want = lm.softmax(x, temperature=temperature.copy())
    assert_same_bits(lm.softmax(x, temperature=temperature, out=memory), want)
    memory = rng.normal(size=(8, 16)).astype(np.float32)
    x = rng.normal(size=(8, 16)).astype(np.float32)
    mask = memory.view(np.bool_)[:, 0:16]
    mask[...] = rng.random((8, 16)) < 0.6
    want = lm.softmax(x, where=mask.copy())
    assert_same_bits(lm.softmax(x, where=mask, out=memory), want)


# ---------------------------------------- options against their definition ---


@pytest.mark.parametrize("function", with_option("where"), ids=repr)
def test_layout_and_broadcast_of_where(function, dtype, tier):
    rng = np.random.default_rng(20)
    for shape in ((5, 33), (3, 4, 5), (1, 7), (2, 300)):
        x = draw(function, rng, shape, dtype)[0]
        for small in {shape, shape[-1:], (1,) * len(shape), (*shape[:-1], 1), (1, *shape[1:]), ()}:
            mask = rng.random(small) < 0.7
            full = np.array(np.broadcast_to(mask, shape), order="C")
            for axis in (-1, 0, None):
                want = function(x, axis=axis, where=full)
                assert_same_bits(function(x, axis=axis, where=mask), want, f"{function} {small}")
                assert_same_bits(
                    function(x, axis=axis, where=np.asfortranarray(full)),
                    want,
                    f"{function} {small}",
                )
                view = np.repeat(full, 2, axis=-1)[..., ::2]
                assert_same_bits(function(x, axis=axis, where=view), want, f"{function} {small}")
                assert_same_bits(
                    function(np.asfortranarray(x), axis=axis, where=mask),
                    want,
                    f"{function} {small}",
                )


@pytest.mark.parametrize("function", with_option("where"), ids=repr)
def test_where_is_minus_inf_put_there(function, dtype, tier):
    """A masked element takes no part: the bits are those of -inf in its place."""
    rng = np.random.default_rng(21)
    for n in (2, 33, 300, CHUNK + 100):
        x = draw(function, rng, (6, n), dtype)[0]
        mask = rng.random((6, n)) < 0.6
        mask[:, n // 2] = True
        replaced = np.where(mask, x, np.array(-np.inf, dtype))
        assert_same_bits(function(x, where=mask), function(replaced), f"{function} n={n}")


@pytest.mark.parametrize("function", with_option("temperature"), ids=repr)
def test_shape_of_temperature(function, dtype, tier):
    """One temperature per row in any broadcastable shape equals rows done one by one."""
    rng = np.random.default_rng(22)
    shape = (3, 4, 21)
    arrays = draw(function, rng, shape, dtype)
    for small in ((3, 4, 1), (1, 4, 1), (3, 1, 1), (1, 1, 1), (1,), (4, 1), ()):
        t = rng.uniform(0.5, 3, small)
        full = np.broadcast_to(t, (3, 4, 1))
        got = function(*arrays, temperature=t)
        for i, j in itertools.product(range(3), range(4)):
            want = function(*(a[i, j] for a in arrays), temperature=float(full[i, j, 0]))
            assert_same_bits(np.ascontiguousarray(got[i, j]), want, f"{function} {small}")
    for axis, small in (
        (0, (1, 4, 21)),
        (1, (3, 1, 21)),
        ((0, 1), (1, 1, 21)),
        ((1, 2), (3, 1, 1)),
        (None, (1, 1, 1)),
    ):
        t = rng.uniform(0.5, 3, small)
        got = function(*arrays, axis=axis, temperature=t)
        full = np.broadcast_to(t, shape)
        assert got.shape == shape
        first = tuple(0 for _ in shape)
        same = function(*arrays, axis=axis, temperature=float(full[first]))
        rows = full == full[first]
        assert (support.bits(got)[rows] == support.bits(same)[rows]).all(), (
            f"{function} axis={axis}"
        )


@pytest.mark.parametrize("function", with_option("temperature"), ids=repr)
def test_temperature_of_any_real_dtype_is_its_value(function):
    rng = np.random.default_rng(23)
    arrays = draw(function, rng, (4, 21), F32)
    kinds = [np.float16, np.float32, np.float64, np.int8, np.uint64] + (
        [BFLOAT16] if BFLOAT16 is not None else []
    )
    for kind in kinds:
        t = np.array([[1], [2], [3], [5]]).astype(kind)
        assert_same_bits(
            function(*arrays, temperature=t),
            function(*arrays, temperature=t.astype(np.float64)),
            kind,
        )
        assert_same_bits(
            function(*arrays, temperature=t[1, 0]), function(*arrays, temperature=2.0), kind
        )
    assert_same_bits(
        function(*arrays, temperature=[[1], [2], [3], [5]]),
        function(*arrays, temperature=np.array([[1.0], [2], [3], [5]])),
    )
    assert_same_bits(function(*arrays, temperature=3), function(*arrays, temperature=3.0))


def test_temperature_1_and_powers_of_two_are_exact(dtype, tier):
    rng = np.random.default_rng(24)
    for n in (1, 7, 33, 300, CHUNK + 5):
        x = rounded_logits(rng, (3, n), dtype)
        for function in (FUNCTIONS["softmax"], FUNCTIONS["log_softmax"]):
            assert_same_bits(function(x, temperature=1.0), function(x), function)
            assert_same_bits(function(x, temperature=np.ones((3, 1))), function(x), function)
            for t in (0.5, 2.0, 0.25, 8.0):
                scaled = (x.astype(np.float64) / t).astype(dtype)
                assert_same_bits(function(x, temperature=t), function(scaled), f"{function} T={t}")


def rounded_logits(rng, shape, dtype):
    """Logits whose product with a small power of two is exact in every dtype."""
    return (rng.integers(-100, 101, shape) / 8).astype(dtype)


# ------------------------------------------------------------------ partial sums (P8) ---


def assert_same_sum(a, b, what=""):
    np.testing.assert_array_equal(a.mantissa, b.mantissa, err_msg=str(what))
    np.testing.assert_array_equal(a.exponent, b.exponent, err_msg=str(what))
    assert_same_bits(a.log(), b.log(), what)


@pytest.mark.parametrize(
    "n", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 123, 10**6 + 7]
)
def test_folding_chunks_from_the_left_gives_the_bits_of_one_call(n, dtype):
    for kind in ("normal10", "ramp", "to_normal_end", "constant", "masked", "1e4"):
        x = support.logits(kind, np.random.default_rng(n), (2, n), dtype)
        whole = lm.exp_sum(x)
        total = lm.ExpSum.empty((2,))
        for start in range(0, n, CHUNK):
            total = total + lm.exp_sum(x[:, start : start + CHUNK])
        assert_same_sum(total, whole, f"{dtype} n={n} {kind}")
        p = lm.softmax(x, total=total)
        assert_same_bits(p, lm.softmax(x), f"{dtype} n={n} {kind}")
        # and each chunk by itself, as on machines that hold one chunk each
        parts = [lm.softmax(x[:, s : s + CHUNK], total=total) for s in range(0, n, CHUNK)]
        assert_same_bits(np.concatenate(parts, axis=1), p, f"{dtype} n={n} {kind} by chunks")


@pytest.mark.parametrize("kind", support.KINDS)
def test_softmax_with_its_own_total_has_the_bits_of_softmax(kind, dtype, tier):
    rng = np.random.default_rng(25)
    for shape, axis in (
        ((7, 1), -1),
        ((7, 33), -1),
        ((5, 300), 0),
        ((3, 4, 50), (0, 2)),
        ((2, 3, 5), None),
        ((1, CHUNK + 77), -1),
    ):
        x = support.logits(kind, rng, (shape[0], int(np.prod(shape[1:]))), dtype).reshape(shape)
        for name in ("softmax",):
            total = lm.exp_sum(x, axis=axis)
            got = FUNCTIONS[name](x, axis=axis, total=total)
            assert_same_bits(
                got, FUNCTIONS[name](x, axis=axis), f"{name} {kind} {shape} axis={axis}"
            )
            out = np.empty_like(x)
            assert FUNCTIONS[name](x, axis=axis, total=total, out=out) is out
            assert_same_bits(out, got)


def ulp64(a: float) -> float:
    return float(np.spacing(abs(a)))


def test_any_grouping_of_partial_sums_agrees_to_2_ulp_of_double(dtype):
    rng = np.random.default_rng(26)
    for kind in ("normal", "normal10", "1e4", "ramp", "cauchy"):
        x = support.logits(kind, rng, (1, 3000), dtype)
        for trial in range(30):
            cuts = np.sort(rng.choice(np.arange(1, 3000), size=2 + trial, replace=False))
            parts = [lm.exp_sum(p) for p in np.split(x, cuts, axis=1)]
            left = sum(parts[1:], parts[0])
            order = [parts[i] for i in rng.permutation(len(parts))]
            while len(order) > 1:  # a random tree
                i = int(rng.integers(0, len(order) - 1))
                order[i : i + 2] = [
                    order[i + 1] + order[i] if rng.random() < 0.5 else order[i] + order[i + 1]
                ]
            tree = order[0]
            shift = int(tree.exponent[0] - left.exponent[0])
            assert abs(shift) <= 1
            a, b = float(left.mantissa[0]), float(np.ldexp(tree.mantissa[0], shift))
            assert abs(a - b) <= 2 * ulp64(a), (
                f"{kind} {dtype} {len(parts)} parts: {abs(a - b) / ulp64(a):.2f} ULP"
            )


def test_any_cut_of_a_float64_row_agrees_to_2_ulp():
    """For float32 the sums of pieces cut elsewhere agree to 2 ULP of float32."""
    rng = np.random.default_rng(27)
    for dtype, unit in ((F64, 2.0**-53), (F32, 2.0**-24), (F16, 2.0**-24)):
        for kind in ("normal", "normal10", "ramp"):
            for n in (100, 5000, 3 * CHUNK):
                x = support.logits(kind, rng, (1, n), dtype)
                whole = lm.exp_sum(x)
                for cut in rng.integers(1, n, 10):
                    two = lm.exp_sum(x[:, :cut]) + lm.exp_sum(x[:, cut:])
                    shift = int(two.exponent[0] - whole.exponent[0])
                    a, b = float(whole.mantissa[0]), float(np.ldexp(two.mantissa[0], shift))
                    assert abs(a - b) <= 2 * unit, (
                        f"{dtype} {kind} n={n} cut at {cut}: {abs(a - b) / unit:.2f}"
                    )


def test_partial_sums_agree_over_tiers_and_threads(dtype):
    x = support.logits("normal10", np.random.default_rng(28), (3, 200_003), dtype)
    results = []
    for tier, threads in itertools.product(TIERS, (1, 2)):
        with running(tier, threads):
            results.append(lm.exp_sum(x) + lm.exp_sum(x[:, ::3]))
    for r in results[1:]:
        assert_same_sum(r, results[0])
