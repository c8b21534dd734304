# SPDX-License-Identifier: Apache-2.0
"""Bad input: the exact exception, a message that says what was wrong, and nothing written.

Each row is a call.  All arrays that take part, out= among them, are compared byte for byte before
and after.  A row is named by what is bad about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import lanemax as lm
import numpy as np
import pytest
from numpy.exceptions import AxisError
from numpy.lib.stride_tricks import as_strided
from registry import ALL, FUNCTIONS
from support import BFLOAT16

SHAPE = (3, 4)


def good(shape=SHAPE, dtype=np.float32):
    return np.linspace(0.01, 0.99, int(np.prod(shape))).reshape(shape).astype(dtype)


@dataclass
class Row:
    name: str
    function: str
    arguments: Callable[[], tuple]
    options: Callable[[], dict]
    error: type | tuple[type, ...]
    message: str = ""  # regular expression, looked for anywhere
    exact: bool = field(default=True)  # the very type, not a subclass


ROWS: list[Row] = []


def add(name, error, message="", *, of=None, arguments=None, exact=True, options=dict):
    """One row per function `of` (all if None); `arguments` maps a function to its arguments."""
    for f in ALL:
        if of is not None and f.name not in of:
            continue
        make = arguments or (lambda f: tuple(good() for _ in f.inputs))
        ROWS.append(
            Row(name, f.name, lambda f=f, make=make: make(f), options, error, message, exact)
        )


def replacing(value):
    """Every array argument replaced by what value() gives."""
    return lambda f: tuple(value() for _ in f.inputs)


# ---- element types: TypeError that names the dtype

STRUCTURE = np.dtype([("a", np.float32), ("b", np.float32)])
for bad in (
    np.dtype(np.complex64),
    np.dtype(np.complex128),
    np.dtype(object),
    np.dtype("U3"),
    np.dtype("S3"),
    np.dtype("M8[s]"),
    np.dtype("m8[ms]"),
    STRUCTURE,
    np.dtype("V4"),
):
    shown = (
        re.escape(str(bad))
        if bad.names is None and bad.kind not in "US"
        else r"\[|void|U3|S3|str|bytes"
    )
    add(f"dtype {bad}", TypeError, shown, arguments=replacing(lambda bad=bad: np.zeros(SHAPE, bad)))
if np.dtype(np.longdouble).itemsize > 8:
    add(
        "dtype longdouble",
        TypeError,
        "longdouble|float128",
        arguments=replacing(lambda: np.zeros(SHAPE, np.longdouble)),
    )
    add(
        "dtype clongdouble",
        TypeError,
        "complex",
        arguments=replacing(lambda: np.zeros(SHAPE, np.clongdouble)),
    )
add("list of strings", TypeError, "U1|str", arguments=replacing(lambda: ["a", "b"]))
add("list of complex", TypeError, "complex128", arguments=replacing(lambda: [1j, 2]))
add("None", TypeError, "object|None", arguments=replacing(lambda: None))
add("a string", TypeError, "U3|str", arguments=replacing(lambda: "abc"))
add("bytes", TypeError, "S3|bytes", arguments=replacing(lambda: b"abc"))
add("a set", TypeError, "object|set", arguments=replacing(lambda: {1, 2}))
add("a dict", TypeError, "object|dict", arguments=replacing(lambda: {"a": 1}))
add("an object", TypeError, "object", arguments=replacing(object))
add(
    "a generator", TypeError, "object|generator", arguments=replacing(lambda: (i for i in range(3)))
)
add(
    "a ragged list",
    (TypeError, ValueError),
    "",
    arguments=replacing(lambda: [[1.0, 2.0], [3.0]]),
    exact=False,
)
add("a huge Python integer", TypeError, "object", arguments=replacing(lambda: [2**100, 1]))
add(
    "a masked array",
    TypeError,
    r"(?i)mask",
    arguments=replacing(lambda: np.ma.masked_array(good(), good() > 0.5)),
)
add(
    "a masked array with nothing masked",
    TypeError,
    r"(?i)mask",
    arguments=replacing(lambda: np.ma.masked_array(good())),
)
add(
    "a masked array where where= would do",
    TypeError,
    r"where=~x\.mask",
    of=("softmax", "log_softmax", "logsumexp"),
    arguments=replacing(lambda: np.ma.masked_array(good(), good() > 0.5)),
)
if BFLOAT16 is not None:
    import ml_dtypes

    for name in ("float8_e4m3fn", "int4"):
        bad = np.dtype(getattr(ml_dtypes, name))
        add(
            f"dtype {name}",
            TypeError,
            name,
            arguments=replacing(lambda bad=bad: good().astype(bad)),
        )

# ---- axis

for axis, shape in (
    (2, SHAPE),
    (-3, SHAPE),
    (100, SHAPE),
    (-(2**40), SHAPE),
    ((0, 2), SHAPE),
    ((-3,), SHAPE),
    (1, (4,)),
    (1, ()),
    (-2, ()),
    ((0, 1), ()),
):
    add(
        f"axis {axis} of {len(shape)} dimensions",
        AxisError,
        r"axis .*-?\d+ is out of bounds.*dimension",
        options=lambda axis=axis: {"axis": axis},
        arguments=replacing(lambda shape=shape: good(shape)),
    )
for axis in (
    True,
    False,
    np.True_,
    1.0,
    -1.0,
    np.float64(0),
    "0",
    b"0",
    {0},
    object(),
    (0, True),
    (0, 1.0),
    ("0",),
    ((0,),),
    (None,),
    0j,
):
    add(f"axis {axis!r:.20}", TypeError, "axis", options=lambda axis=axis: {"axis": axis})
for axis in ((0, 0), (0, -2), (1, 0, 1), (-1, 1)):
    add(
        f"axis {axis} twice",
        ValueError,
        r"(?i)axis|axes|duplicate",
        options=lambda axis=axis: {"axis": axis},
    )

# ---- out

OUT = tuple(f.name for f in ALL if f.takes_out)
ROW_OUT = tuple(f.name for f in ALL if f.takes_out and f.result == "row")
for what, make in {
    "a list": lambda: [0.0] * 4,
    "a tuple": lambda: (np.zeros(SHAPE, np.float32), None),
    "a scalar": lambda: np.float32(0),
    "a memoryview": lambda: memoryview(np.zeros(SHAPE, np.float32)),
    "a string": lambda: "out",
    "an integer": lambda: 0,
    "a bytearray": lambda: bytearray(48),
    "a class": lambda: np.ndarray,
}.items():
    add(f"out is {what}", TypeError, r"out\b", of=OUT, options=lambda make=make: {"out": make()})
add(
    "out is a masked array",
    TypeError,
    r"out|mask",
    of=ROW_OUT,
    options=lambda: {"out": np.ma.masked_array(good())},
)
for bad in (
    "f8",
    "f2",
    "i4",
    "u4",
    "?",
    "c8",
    "O",
    ">f4" if np.dtype("f4").str[0] == "<" else "<f4",
):
    add(
        f"out of dtype {bad}",
        TypeError,
        re.escape(str(np.dtype(bad))),
        of=ROW_OUT,
        options=lambda bad=bad: {"out": np.zeros(SHAPE, bad)},
    )
for bad in ("f8", "f2", "i8"):
    add(
        f"out of dtype {bad}",
        TypeError,
        str(np.dtype(bad)),
        of=("logsumexp",),
        options=lambda bad=bad: {"out": np.zeros(3, bad)},
    )
add(
    "out of the input's 16 bits where the result is float32",
    TypeError,
    "float16",
    of=("logsumexp",),
    arguments=replacing(lambda: good(dtype=np.float16)),
    options=lambda: {"out": np.zeros(3, np.float16)},
)
for shape in (
    (4, 3),
    (3,),
    (4,),
    (12,),
    (1, 3, 4),
    (3, 4, 1),
    (1, 4),
    (3, 1),
    (3, 5),
    (2, 4),
    (),
    (0,),
    (0, 4),
):
    add(
        f"out of shape {shape}",
        ValueError,
        re.escape(str(shape)),
        of=ROW_OUT,
        options=lambda shape=shape: {"out": np.zeros(shape, np.float32)},
    )
for shape in ((3, 1), (1, 3), (4,), (3, 4), (), (1,)):
    add(
        f"out of shape {shape}",
        ValueError,
        re.escape(str(shape)),
        of=("logsumexp",),
        options=lambda shape=shape: {"out": np.zeros(shape, np.float32)},
    )
add(
    "out of shape (3,) with keepdims",
    ValueError,
    r"\(3,\)",
    of=("logsumexp",),
    options=lambda: {"out": np.zeros(3, np.float32), "keepdims": True},
)


def read_only(a):
    a.flags.writeable = False
    return a


add(
    "out is read-only",
    ValueError,
    "read-only|writ",
    of=ROW_OUT,
    options=lambda: {"out": read_only(np.zeros(SHAPE, np.float32))},
)
add(
    "out is read-only",
    ValueError,
    "read-only|writ",
    of=("logsumexp",),
    options=lambda: {"out": read_only(np.zeros(3, np.float32))},
)
add(
    "out lies in bytes",
    ValueError,
    "read-only|writ",
    of=ROW_OUT,
    options=lambda: {"out": np.frombuffer(bytes(48), np.float32).reshape(SHAPE)},
)
add(
    "out is broadcast",
    ValueError,
    "read-only|writ|overlap",
    of=ROW_OUT,
    options=lambda: {"out": np.broadcast_to(np.zeros(4, np.float32), SHAPE)},
)
for what, strides in (
    ("rows on top of each other", (0, 4)),
    ("columns on top of each other", (16, 0)),
    ("rows that overlap", (4, 4)),
    ("rows that overlap in bytes", (14, 4)),
    ("columns closer than an element", (16, 2)),
    ("crossing strides", (8, 8)),
    ("one element", (0, 0)),
    ("rows that overlap backwards", (-4, 4)),
):
    add(
        f"out has {what}",
        ValueError,
        "overlap",
        of=ROW_OUT,
        options=lambda strides=strides: {
            "out": as_strided(np.zeros(100, np.float32)[40:], SHAPE, strides)
        },
    )
add(
    "out of a reduction has stride 0",
    ValueError,
    "overlap",
    of=("logsumexp",),
    options=lambda: {"out": as_strided(np.zeros(1, np.float32), (3,), (0,))},
)

# ---- temperature

TEMPERATURE = tuple(f.name for f in ALL if "temperature" in f.options)
for t in (0, 0.0, -0.0, -1.0, np.nan, np.inf, -np.inf, -5e-324, np.float32(0), np.array(0.0)):
    add(
        f"temperature {t!r}",
        ValueError,
        r"temperature",
        of=TEMPERATURE,
        options=lambda t=t: {"temperature": t},
    )
for bad in (0.0, -1.0, np.nan, np.inf):
    add(
        f"one temperature of many is {bad}",
        ValueError,
        "temperature",
        of=TEMPERATURE,
        options=lambda bad=bad: {"temperature": np.array([[1.0], [bad], [2.0]])},
    )
for t in ("1", None, 1j, object(), b"1", np.array([["1"]]), np.datetime64("2020-01-01")):
    add(
        f"temperature {t!r:.20}",
        TypeError,
        "temperature",
        of=TEMPERATURE,
        options=lambda t=t: {"temperature": t},
    )
add(
    "temperature is a masked array",
    TypeError,
    "temperature|mask",
    of=TEMPERATURE,
    options=lambda: {"temperature": np.ma.masked_array(np.ones((3, 1)))},
)
for shape in ((3,), (3, 4), (1, 4), (4,), (2, 1), (1, 3, 1), (5, 3, 1), (0, 1)):
    add(
        f"temperature of shape {shape}",
        ValueError,
        r"temperature.*" + re.escape(str(shape)),
        of=TEMPERATURE,
        options=lambda shape=shape: {"temperature": np.ones(shape)},
    )
add(
    "temperature per row without its last axis",
    ValueError,
    r"temperature\[\.\.\., None\]",
    of=TEMPERATURE,
    options=lambda: {"temperature": np.ones(3)},
)

# ---- where

WHERE = tuple(f.name for f in ALL if "where" in f.options)
for what, make in {
    "integers": lambda: np.ones(SHAPE, int),
    "floats": lambda: np.ones(SHAPE),
    "bytes": lambda: np.ones(SHAPE, np.uint8),
    "an integer": lambda: 1,
    "a float": lambda: 0.5,
    "a string": lambda: "yes",
    "objects": lambda: np.ones(SHAPE, object),
    "a list of integers": lambda: [1, 0, 1, 1],
    "a masked array": lambda: np.ma.masked_array(np.ones(SHAPE, bool)),
}.items():
    add(
        f"where is {what}",
        TypeError,
        "where",
        of=WHERE,
        options=lambda make=make: {"where": make()},
    )
for shape in ((3,), (4, 3), (1, 3, 4), (2, 3, 4), (3, 4, 1), (5,), (0,), (2, 4)):
    add(
        f"where of shape {shape}",
        ValueError,
        r"where.*" + re.escape(str(shape)),
        of=WHERE,
        options=lambda shape=shape: {"where": np.ones(shape, bool)},
    )

# ---- total

TOTAL = tuple(f.name for f in ALL if "total" in f.options)
for what, make in {
    "a float": lambda: 1.0,
    "an array": lambda: np.ones(3),
    "a tuple": lambda: (0.5, 1),
    "True": lambda: True,
    "the class": lambda: lm.ExpSum,
}.items():
    add(
        f"total is {what}",
        TypeError,
        "total",
        of=TOTAL,
        options=lambda make=make: {"total": make()},
    )
for shape in ((), (4,), (3, 4), (1, 3), (0,)):
    add(
        f"total of shape {shape}",
        ValueError,
        r"total.*" + re.escape(str(shape)),
        of=TOTAL,
        options=lambda shape=shape: {"total": lm.ExpSum.empty(shape)},
    )
add(
    "total with where",
    ValueError,
    "total.*where|where.*total",
    of=TOTAL,
    options=lambda: {"total": lm.ExpSum.empty(3), "where": np.ones(SHAPE, bool)},
)
add(
    "total with temperature",
    ValueError,
    "total.*temperature|temperature.*total",
    of=TOTAL,
    options=lambda: {"total": lm.ExpSum.empty(3), "temperature": 2.0},
)

# ---- two inputs

TWO = tuple(f.name for f in ALL if len(f.inputs) == 2)
for shape in ((4,), (1, 4), (3, 1), (4, 3), (3, 5), (1, 3, 4), (), (0, 4)):
    for which in (0, 1):
        add(
            f"{('dy', 'y')[which]} of shape {shape}",
            ValueError,
            re.escape(str(shape))
            + r".*"
            + re.escape(str(SHAPE))
            + "|"
            + re.escape(str(SHAPE))
            + r".*"
            + re.escape(str(shape)),
            of=TWO,
            arguments=lambda f, shape=shape, which=which: (
                (good(shape), good()) if which == 0 else (good(), good(shape))
            ),
        )
for a, b in (
    ("f8", "f4"),
    ("f4", "f8"),
    ("f2", "f4"),
    ("i8", "f4"),
    ("f4", "i8"),
    ("i1", "f8"),
    ("f4", "f2"),
    (">f8", "f4"),
):
    add(
        f"dy is {a}, y is {b}",
        TypeError,
        f"{np.dtype(a).newbyteorder('='):}|{np.dtype(b)}",
        of=TWO,
        arguments=lambda f, a=a, b=b: (good(dtype=a), good(dtype=b)),
    )
for which in (0, 1):
    for bad in ("c8", "O", "U1"):
        add(
            f"{('dy', 'y')[which]} alone is {bad}",
            TypeError,
            "complex64|object|U1|str",
            of=TWO,
            arguments=lambda f, bad=bad, which=which: tuple(
                np.zeros(SHAPE, bad) if i == which else good() for i in (0, 1)
            ),
        )
    add(
        f"{('dy', 'y')[which]} alone is a masked array",
        TypeError,
        "(?i)mask",
        of=TWO,
        arguments=lambda f, which=which: tuple(
            np.ma.masked_array(good()) if i == which else good() for i in (0, 1)
        ),
    )
if BFLOAT16 is not None:
    add(
        "dy is float16, y is bfloat16",
        TypeError,
        "float16",
        of=TWO,
        arguments=lambda f: (good(dtype="f2"), good(dtype=BFLOAT16)),
    )

# ---- the call itself

add("no argument", TypeError, "", arguments=lambda f: ())
add(
    "an argument too many",
    TypeError,
    "",
    arguments=lambda f: (*(good() for _ in f.inputs), -1, 1.0),
)
add("an unknown option", TypeError, "dim", options=lambda: {"dim": 0})
add(
    "more memory than there is",
    (MemoryError, OverflowError, ValueError),
    "",
    of=ROW_OUT,
    exact=False,
    arguments=replacing(lambda: np.broadcast_to(np.float32(0.5), (2**59,))),
)


def arrays_in(*values):
    """All arrays that take part in a call, as far as they can be compared by bytes."""
    for v in values:
        if isinstance(v, np.ndarray) and v.dtype != object and v.size < 10**6:
            yield v
        elif isinstance(v, (tuple, list)):
            yield from arrays_in(*v)


def snapshot(a):
    return np.ma.getdata(a).tobytes(), a.strides, a.shape, a.dtype


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.function}: {row.name}")
def test_bad_input(row):
    arguments, options = row.arguments(), row.options()
    out = options.get("out")
    if isinstance(out, np.ndarray) and out.flags.writeable and out.dtype != object:
        np.ma.getdata(out)[...] = 1
    known = list(arrays_in(*arguments, *options.values()))
    before = [snapshot(a) for a in known]
    with pytest.raises(row.error) as caught:
        getattr(lm, row.function)(*arguments, **options)
    if row.exact:
        assert type(caught.value) is row.error, f"{type(caught.value).__name__}: {caught.value}"
    assert re.search(row.message, str(caught.value), re.DOTALL), (
        f"{str(caught.value)!r} does not match {row.message!r}"
    )
    assert [snapshot(a) for a in known] == before, "something was written"
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if "out" not in r.options() and r.function in OUT and r.name != "no argument"][
        ::3
    ],
    ids=lambda row: f"{row.function}: {row.name}",
)
def test_good_out_is_untouched_when_something_else_is_bad(row):
    shape = (3,) if FUNCTIONS[row.function].result == "value" else SHAPE
    out = np.full(shape, 7, np.float32)
    with pytest.raises(Exception) as caught:  # whichever is looked at first
        getattr(lm, row.function)(*row.arguments(), **{**row.options(), "out": out})
    assert isinstance(caught.value, (TypeError, ValueError, MemoryError, OverflowError))
    assert (out == 7).all()


def test_catalogue_is_large_and_without_repetition():
    assert len(ROWS) >= 150
    names = [(r.function, r.name) for r in ROWS]
    assert len(set(names)) == len(names)


def test_errors_leave_the_library_working():
    x = good()
    want = lm.softmax(x)
    for row in ROWS[::7]:
        with pytest.raises(Exception):  # noqa: B017
            getattr(lm, row.function)(*row.arguments(), **row.options())
    assert (lm.softmax(x) == want).all()
