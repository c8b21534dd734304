# SPDX-License-Identifier: Apache-2.0
"""Activations of channels, which see more than one element: gates, norms, rationals, sorts."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import _operands
from ._arrays import convert
from ._core import calls, scalars, signatures
from ._core.context import state
from ._core.registry import channel_ops

_PARAMETERS = {p.name: p for op in channel_ops() for p in op["described"]}
_ANGLE_MAX = _PARAMETERS["theta"].greatest


# ------------------------------------------------------------------------ parameters


class _Taken(NamedTuple):
    """Parameters of one call: fields of `lmx_channel_options`, and arrays like their gradients."""

    fields: dict[str, Any] | None = None
    like: tuple[Any, ...] = ()

    def sums(self) -> Any:
        """Where their gradients go."""
        assert self.fields is not None
        return np.zeros(self.fields["parameters"] + self.fields.get("denominators", 0))


_NOTHING = _Taken()


def _copied(numbers: Any) -> Any:
    """Numbers in float64 that outputs cannot overwrite."""
    return np.array(numbers, np.float64, order="C", ndmin=1)


def _in_groups(channels: int, size: int, name: str, shape: tuple[int, ...]) -> None:
    if channels % size:
        raise ValueError(
            f"{name}: expected a last axis that is a multiple of {size}, got shape {shape}"
        )


def _nothing(name: str, shape: tuple[int, ...], values: list[Any], options: list[Any]) -> _Taken:
    return _NOTHING


def _pairs(name: str, shape: tuple[int, ...], values: list[Any], options: list[Any]) -> _Taken:
    _in_groups(_channels(shape), 2, name, shape)
    return _NOTHING


def _polynomial(name: str, shape: tuple[int, ...], values: list[Any], options: list[Any]) -> _Taken:
    numbers, like = _operands.polynomial(values)
    fields = {
        "parameter": calls.doubles(numbers),
        "parameters": len(numbers),
        "eps": scalars.in_range("eps", options[0]),
    }
    return _Taken(fields, like)


def _coefficients(name: str, value: Any, least: int) -> tuple[Any, int]:
    """Coefficients of a polynomial or of one for each group, and the number of groups."""
    array = convert.reals(name, value)
    most = _operands.ORDER_MAX + least
    if array.ndim not in (1, 2) or not least <= array.shape[-1] <= most or array.shape[0] < least:
        raise ValueError(
            f"{name}: expected shape (n,) or (groups, n), n from {least} to {most}, "
            f"got {array.shape}"
        )
    return array, array.shape[0] if array.ndim == 2 else 1


def _rational(name: str, shape: tuple[int, ...], values: list[Any], options: list[Any]) -> _Taken:
    numerator, sets = _coefficients("numerator", values[0], 1)
    denominator, denominator_sets = _coefficients("denominator", values[1], 0)
    form = _operands.chosen("form", options[0], {"A": b"A", "B": b"B"})
    groups = max(sets, denominator_sets)
    if denominator.ndim == 2 and not denominator_sets:
        raise ValueError(f"denominator: expected at least one group, got {denominator.shape}")
    if min(sets, denominator_sets) not in (1, groups):
        raise ValueError(
            f"denominator: expected one group or as many as numerator has, {sets}, "
            f"got {denominator_sets}"
        )
    _in_groups(_channels(shape), groups, name, shape)
    return _Taken(
        {
            "parameter": calls.doubles(_copied(numerator)),
            "parameters": numerator.size,
            "parameter_sets": sets,
            "denominator": calls.doubles(_copied(denominator)),
            "denominators": denominator.size,
            "denominator_sets": denominator_sets,
            "form": form,
        },
        (numerator, denominator),
    )


def _group_size(name: str, shape: tuple[int, ...], values: list[Any], options: list[Any]) -> _Taken:
    given = values[0]
    try:
        if isinstance(given, (bool, np.bool_)):
            raise TypeError
        size = operator.index(given)
    except TypeError:
        raise TypeError(f"group_size: expected an integer, got {type(given).__name__}") from None
    channels = _channels(shape)
    if not _PARAMETERS["group_size"].fits(size) or channels % size:
        raise ValueError(f"group_size: expected a divisor of the last axis, {channels}, got {size}")
    return _Taken({"group_size": size})


def _angles(name: str, shape: tuple[int, ...], values: list[Any], options: list[Any]) -> _Taken:
    like = None if type(values[0]) is float else convert.reals("theta", values[0])
    pairs, got = _channels(shape) // 2, () if like is None else like.shape
    _in_groups(_channels(shape), 2, name, shape)
    if got not in ((), (1,), (pairs,)):
        raise ValueError(f"theta: expected one number, or shape {(pairs,)}, got {got}")
    numbers = _copied(values[0] if like is None else like)
    # Python's float is compared by itself: that costs a call less than NumPy's comparison.
    fits = abs(values[0]) <= _ANGLE_MAX if like is None else (np.abs(numbers) <= _ANGLE_MAX).all()
    if not fits:
        bad = numbers[~(np.abs(numbers) <= _ANGLE_MAX)][0]
        most = f"2**{int(math.log2(_ANGLE_MAX))}"
        raise ValueError(f"theta: must be finite, at most {most}, got {bad}")
    fields = {"parameter": calls.doubles(numbers), "parameters": numbers.size}
    return _Taken(fields, (like,))


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1


#: parameters in the registry, or a function's name -> how they are taken
_TAKE: dict[str, Callable[[str, tuple[int, ...], list[Any], list[Any]], _Taken]] = {
    "": _nothing,
    "max_min": _pairs,
    "weight bias": _polynomial,
    "numerator denominator": _rational,
    "group_size": _group_size,
    "theta": _angles,
}


# ------------------------------------------------------------------------------ runs


class _Channel:
    """What the two functions of an activation share."""

    def __init__(self, code: int, op: dict[str, Any], variants: dict[str, int]) -> None:
        self.code = code
        self.name: str = op["name"]
        self.bound: float = op["bound"]
        self.learned: bool = op["learned"]
        self.parameters: tuple[str, ...] = tuple(op["parameters"])
        self.variants = variants
        self.two = op["inputs"] == 2
        self.arrays = signatures.channel_arrays(op)
        self._names = self.arrays, ("dy", *self.arrays)
        self._take = _TAKE.get(self.name) or _TAKE[" ".join(self.parameters)]
        self.arguments = signatures.of_channel(op)

    def run(self, gradient: int, arrays: tuple[Any, ...], given: Any, named: Any, out: Any) -> Any:
        """Any layout; `gradient` is 1 if the arrays start with dy, else 0."""
        values, options = self.arguments.take(given, named)
        code = self.code
        if self.variants:
            code = _operands.chosen("approximate", values[0], self.variants)
        x = arrays[gradient]
        if type(x) is not np.ndarray:
            x = convert.array(self.arrays[0], x)
            arrays = (*arrays[:gradient], x, *arrays[gradient + 1 :])
        try:
            taken = self._take(self.arrays[0], x.shape, values, options)
        except (TypeError, ValueError):
            _operands.operands(self._names[gradient], arrays, gradient)  # arrays are named first
            raise
        sums = taken.sums() if gradient and self.learned else None
        passed = calls.channel_options(taken.fields, sums)
        outs = self._call(code, gradient, arrays, passed, out)
        if sums is not None:
            outs = (*outs, *_operands.parts_like(sums, taken.like))
        return outs if len(outs) > 1 else outs[0]

    def _call(
        self, code: int, gradient: int, arrays: tuple[Any, ...], options: Any, out: Any
    ) -> tuple[Any, ...]:
        """The results, of which the first is `out` if that is given."""
        two = self.two

        def call(inputs: Sequence[Any], outs: Sequence[Any]) -> int:
            dy = inputs[0] if gradient else None
            up = inputs[-1] if two else None
            dup = outs[1] if len(outs) > 1 else None
            return int(
                calls.channel(state.ctx, code, id(dy), id(inputs[gradient]), id(up), id(outs[0]),
                              id(dup), options)
            )  # fmt: skip

        x = arrays[gradient]
        if not (two and arrays[-1] is None) and not (gradient and arrays[0] is None):
            results = [np.empty_like(x, subok=False) if out is None else out]
            if gradient and two:
                results.append(np.empty_like(x, subok=False))
            if not call(arrays, results):
                return tuple(results)
        inputs = _operands.operands(self._names[gradient], arrays, gradient)
        results = [_operands.result_like(inputs[gradient], out)]
        results += [_operands.result_like(a) for a in inputs[gradient + 1 :] if gradient]
        if results[0].size:
            _operands.fill(call, inputs, results)
        return tuple(r if i == 0 and out is not None else r[()] for i, r in enumerate(results))


# ------------------------------------------------------------------------ documentation


@dataclass(frozen=True)
class _About:
    """What the docstrings say beyond the registry; formulas in LaTeX, u is the unit roundoff."""

    summary: str
    value: str
    gradient: str
    notes: str
    bound: str
    gradient_bound: str
    source: str
    parameters: tuple[str, ...] = ()  # a text for each, options behind
    reduced: tuple[str, ...] = ()  # what its gradient is, for each parameter
    example: str = ""  # arguments behind the arrays
    results: tuple[str, str] = ("", "")  # value, and dx for dy = 1


_GATE_NOTES = """
gate and up are two arrays, of which one may be a part of the other's memory: halves of one
projection are passed as two slices.  -inf, +inf and NaN in either act as in the product of the two.
"""
_GATE_BOUND = """
The bits are those of {f} times up, two roundings: at most 4 ULP in float32
and 8 in float64.  16-bit results are those of float32, rounded once.
"""
_GATE_GRADIENT_BOUND = """
Both gradients come from one exponential and are within 8 u times the sum of their absolute
terms, u = 2**-24 (float64: 2**-53)."""

_NORM_PARAMETERS = (
    "weight : array_like, shape (m,)\n"
    f"    w, highest power first, m from 1 to {_operands.ORDER_MAX}; any float dtype.",
    "bias : float or array_like\n    b, one number.",
    "eps : float, optional\n    At least 0; added to each mean.",
)
_NORM_REDUCED = ("dy x^{m-i} r_{m-i}", "dy")
_NORM_NOTES = """
Rows are the last axis; each power is divided by the root of its mean square in the row (not an L2
norm).  The weights have the order of the published code: for m = 3 cubic, square, linear.  eps is
not negligible: it reaches the mean of x^6 at abs(x) = 0.1.  A row of any size is right: its powers
neither overflow nor underflow.

A row of zeros gives {zeros}.  A row that holds inf or NaN is NaN throughout.
With eps = 0 so is a row of zeros.  NaN and inf among weights act as they do in arithmetic.
"""

_ABOUT = {
    "swiglu": _About(
        "Gated linear unit with SiLU: silu(gate) times up.",
        r"y = gate \; s(gate) \; up, \quad s(u) = \frac{1}{1 + \exp(-u)}",
        r"dgate = dy \; up \; \mathrm{silu}'(gate), \quad dup = dy \; \mathrm{silu}(gate)",
        _GATE_NOTES,
        _GATE_BOUND.format(f="silu(gate)"),
        _GATE_GRADIENT_BOUND.format(f="silu(gate)"),
        "Shazeer 2020, arXiv:2002.05202.",
        results=(
            "array([ 0.7311, -0.4768,  1.2449, -2.8577])",
            "array([ 0.9277, -0.3631,  8.8795, -4.3524])",
        ),
    ),
    "geglu": _About(
        "Gated linear unit with GELU: gelu(gate, approximate) times up.",
        r"y = gate \; \Phi(gate) \; up, \quad \Phi(x) = \frac{1}{2} \mathrm{erfc}(-x / \sqrt 2)",
        r"dgate = dy \; up \; \mathrm{gelu}'(gate), \quad dup = dy \; \mathrm{gelu}(gate)",
        _GATE_NOTES,
        _GATE_BOUND.format(f="gelu(gate, approximate)"),
        _GATE_GRADIENT_BOUND.format(f="gelu(gate, approximate)"),
        "Shazeer 2020, arXiv:2002.05202.",
        parameters=('approximate : {"none", "tanh"}\n    Which GELU, as in `gelu`.',),
        results=(
            "array([ 0.8413, -0.091 ,  1.3829, -2.996 ])",
            "array([ 1.0833, -0.3409, 10.4099, -4.0478])",
        ),
    ),
    "reglu": _About(
        "Gated linear unit with ReLU: relu(gate) times up.",
        r"y = \max(gate, 0) \; up",
        r"dgate = dy \; up \; [gate > 0], \quad dup = dy \; \max(gate, 0)",
        _GATE_NOTES,
        "\nThe result is exact but for one rounding.\n",
        "\ndgate and dup are exact but for the roundings of their products.",
        "Shazeer 2020, arXiv:2002.05202; Dauphin and others 2016, arXiv:1612.08083 (gates).",
        results=(
            "array([ 1.,  0.,  2., -3.])",
            "array([ 1.,  0., 12., -4.])",
        ),
    ),
    "poly_norm": _About(
        "Polynomial of powers that are normalised over the row (PolyCom, type II).",
        r"y = \sum_{k=1}^{m} w_{m-k}\, x^k r_k + b, "
        r"\quad r_k = \frac{1}{\sqrt{\mathrm{mean}(x^{2k}) + \epsilon}}",
        r"dx = dy \sum_k k\, c_k x^{k-1} - x \sum_k k\, c_k r_k\, \mathrm{mean}(dy\, x^k r_k)"
        r"\, x^{2k-2}, \quad c_k = w_{m-k} r_k",
        _NORM_NOTES.format(zeros="the bias"),
        "\nError at most (m + 2) u times the sum of the absolute terms, u = 2**-24 "
        "(float64: 2**-53).",
        """
Error of dx at most 8 u, for m > 3 (2 m + 2) u, times the sum of the absolute terms, u = 2**-24
(float64: 2**-53).""",
        "Zhuo and others 2024, arXiv:2411.03884.",
        parameters=_NORM_PARAMETERS,
        reduced=_NORM_REDUCED,
        example=", [0.5, 0.25, 1.0], 0.0",
        results=(
            "array([ 0.6158, -1.1416,  0.282 ,  3.002 ])",
            "array([0.2872, 3.0657, 1.6193, 1.6782])",
        ),
    ),
    "poly_norm_glu": _About(
        "Gated linear unit with `poly_norm`: poly_norm(gate, weight, bias) times up.",
        r"y = \Big(\sum_{k=1}^{m} w_{m-k}\, gate^k r_k + b\Big) up, "
        r"\quad r_k = \frac{1}{\sqrt{\mathrm{mean}(gate^{2k}) + \epsilon}}",
        r"dgate = \mathrm{dx\ of\ poly\_norm\ for\ } dy \cdot up, "
        r"\quad dup = dy \cdot \mathrm{poly\_norm}(gate)",
        _NORM_NOTES.format(zeros="the bias times up"),
        """
Error at most (m + 3) u times the sum of the absolute terms, u = 2**-24 (float64: 2**-53).
""",
        """
Errors of dgate at most 8 u, for m > 3 (2 m + 2) u, and of dup at most (m + 3) u times the sums of
their absolute terms, u = 2**-24 (float64: 2**-53).""",
        "Zhuo and others 2024, arXiv:2411.03884; Shazeer 2020, arXiv:2002.05202 (gates).",
        parameters=_NORM_PARAMETERS,
        reduced=("dy up x^{m-i} r_{m-i}", "dy up"),
        example=", [0.5, 0.25, 1.0], 0.0",
        results=(
            "array([ 0.6158, -2.2831,  1.1279, -3.002 ])",
            "array([ 1.2555,  1.3264,  7.5274, -0.7888])",
        ),
    ),
    "rational": _About(
        "Rational function with learned coefficients, in groups of channels.",
        r"y = \frac{P}{Q}, \quad P = \sum_{i=0}^{p} a_i x^i, \quad Q = 1 + \Big|\sum_{j=1}^{q} "
        r"b_j x^j\Big| \;\mathrm{(B)\ or\ }\; 1 + \sum_{j=1}^{q} |b_j|\, |x|^j \;\mathrm{(A)}",
        r"dx = dy\, \Big(\frac{P'}{Q} - \frac{P}{Q} \frac{Q'}{Q}\Big)",
        """
The form belongs to the coefficients: KAT's published ``gelu`` is one of form B, and in form A off
by as much as 1.47; its ``swish`` fits both.  Q >= 1, so that there are no poles.

-inf and +inf give the limit, and every finite x its value, also where powers overflow.  NaN gives
NaN, and so does a coefficient that is not finite.
""",
        """
Error at most (p + q + 4) u times the sum of the absolute terms of P / Q plus that of Q times
abs(P) / Q**2, u = 2**-24 (float64: 2**-53).
""",
        """
Error of dx at most 8 u times the sum of the absolute terms of P' / Q and twice those of
P Q' / Q**2, that times the sum of the absolute terms of Q over Q, u = 2**-24 (float64: 2**-53).

The derivative of an absolute value at 0 is 0; by a coefficient of form A that is 0 it is that of
the side above.""",
        "Yang and Wang 2024, arXiv:2409.10594 (KAT); Molina, Schramowski and Kersting 2019, "
        "arXiv:1907.06732.",
        parameters=(
            "numerator : array_like, shape (p + 1,) or (groups, p + 1)\n"
            "    a, from the constant term up, p from 0 to 8; any float dtype.  Groups are equal "
            "parts of the\n    last axis; one row serves all.",
            "denominator : array_like, shape (q,) or (groups, q)\n"
            "    b, from the linear term up, q from 0 to 8; any float dtype.",
            'form : {"B", "A"}, optional\n    Absolute values of the sum (B) or of its terms.',
        ),
        reduced=(r"dy\, x^i / Q", r"-dy\, P / Q^2 \cdot \partial Q / \partial b_j"),
        example=", [0.0, 1.0, 0.5], [0.25, 0.5]",
        results=(
            "array([0.8571, 0.    , 0.5   , 1.2   ])",
            "array([ 0.5306, -0.8   ,  2.7   ,  0.064 ])",
        ),
    ),
    "max_min": _About(
        "The larger and the smaller of each two channels.",
        r"(y_{2i}, y_{2i+1}) = (\max, \min)(x_{2i}, x_{2i+1})",
        r"dx = dy, \mathrm{\ where\ the\ value\ came\ from}",
        """
Channels are the last axis, an even number.  Equal values stay where they are; 0 and -0 are equal.
A pair that holds NaN is NaN; infinities are sorted as numbers.
""",
        "\nThe results are inputs: exact.\n",
        "\nThe results are elements of dy: exact.  A pair of x that holds NaN gives NaN.",
        "Anil, Lucas and Grosse 2019, arXiv:1811.05381.",
        results=(
            "array([ 1. , -2. ,  3. ,  0.5])",
            "array([1., 2., 4., 3.])",
        ),
    ),
    "group_sort": _About(
        "Each group of channels in ascending order.",
        r"(y_{ni}, \ldots, y_{ni+n-1}) = \mathrm{sort}(x_{ni}, \ldots, x_{ni+n-1})",
        r"dx = dy, \mathrm{\ where\ the\ value\ came\ from}",
        """
Channels are the last axis, groups follow each other.  `max_min` is the descending order of groups
of 2.  0 and -0 are equal, and a group's order of equal values is the same in both directions.  A
group that holds NaN is NaN throughout; infinities are sorted as numbers.
""",
        "\nThe results are inputs: exact.\n",
        "\nThe results are elements of dy: exact.  A group of x that holds NaN gives NaN.",
        "Anil, Lucas and Grosse 2019, arXiv:1811.05381.",
        parameters=("group_size : int\n    A divisor of the number of channels.",),
        example=", 2",
        results=(
            "array([-2. ,  1. ,  0.5,  3. ])",
            "array([2., 1., 3., 4.])",
        ),
    ),
    "householder": _About(
        "Reflection of each two channels at a learned line, if they lie beyond it.",
        r"(a, b) \to (a \cos\theta + b \sin\theta, a \sin\theta - b \cos\theta) "
        r"\mathrm{\ where\ } a \sin(\theta/2) > b \cos(\theta/2)",
        r"(da, db) = \mathrm{the\ same\ reflection\ of\ } dy, \mathrm{\ where\ } (a, b) "
        r"\mathrm{\ was\ reflected}",
        """
Channels are the last axis, an even number.  The norm of each pair is preserved, and that of its
gradient; theta = pi / 2 sorts it.  A pair that holds NaN is NaN.
""",
        """
Error at most 3 u (abs(a) + abs(b)), u = 2**-24 (float64: 2**-53).
""",
        """
Error of dx at most 3 u (abs(dy[2i]) + abs(dy[2i+1])), u = 2**-24 (float64: 2**-53).""",
        "Singla, Singla and Feizi 2022, arXiv:2108.04062.",
        parameters=(
            "theta : float or array_like, shape (channels / 2,)\n"
            "    Angles in radians, at most 2**30 in size; any float dtype.",
        ),
        reduced=(r"[\mathrm{reflected}] (dy_{2i+1} y_{2i} - dy_{2i} y_{2i+1})",),
        example=", np.pi / 3",
        results=(
            "array([-1.2321,  1.866 ,  0.5   ,  3.    ])",
            "array([ 2.2321, -0.134 ,  3.    ,  4.    ])",
        ),
    ),
}  # fmt: skip

_FIRST_DOC = """{x} : array_like
    Any shape.  float16, bfloat16, float32 and float64 are computed as they are (16-bit in float32,
    rounded once); bool and integers become ``np.result_type(dtype, np.float32)``.
"""
_UP_DOC = "up : array_like\n    Shape and dtype of gate.\n"

_VALUE_DOC = """{summary}

.. math:: {value}

Parameters
----------
{arrays}{parameters}out : numpy.ndarray, optional
    Takes the result; may be {of} itself.

Returns
-------
numpy.ndarray
    Shape and dtype of {x}; `out` if given; a scalar for 0-d input.

Raises
------
TypeError
    A dtype that is not supported.
ValueError
    A shape that does not fit, a parameter out of range.  Nothing has been written.

Notes
-----
{notes}
An empty array gives an empty one.
{bound}
The bits do not depend on instruction set, threads or strides.

{source}

Examples
--------
>>> import numpy as np
>>> import lanemax as lm
>>> {data}
>>> lm.{name}({call}).round(4)
{result}
"""

_GRADIENT_DOC = """Vector-Jacobian product of `{name}`: dy pulled back to its input{learned}.

.. math:: {gradient}{sums}

Parameters
----------
dy : array_like
    Gradient of a loss with respect to the output; shape and dtype of {x}.
{arrays}out : numpy.ndarray, optional
    Takes {dx}; may be dy or {of} itself.

Returns
-------
{returns}
Raises
------
TypeError
    Arrays differ in dtype, or it is not supported.
ValueError
    Arrays differ in shape, and as for `{name}`.  Nothing has been written.

Notes
-----
Nothing but the input is needed from the forward pass.  Of an empty array the sums are 0.
{bound}{precision}
The bits do not depend on instruction set, threads or strides.

{source}

Examples
--------
>>> import numpy as np
>>> import lanemax as lm
>>> {data}
>>> dy = np.array([1.0, 2.0, 3.0, 4.0])
>>> {targets} = lm.{name}_vjp(dy, {call})
>>> {dx}.round(4)
{result}
"""


def _document(c: _Channel, gradient: bool) -> str:
    about = _ABOUT.get(
        c.name, _About(f"The activation {c.name}.", "y = f(x)", "dx = dy f'(x)", "", "", "", "")
    )
    x, two = c.arrays[0], c.two
    data = f"{x} = np.array([1.0, -2.0, 0.5, 3.0])"
    words = {
        "name": c.name,
        "x": x,
        "of": " or ".join(c.arrays),
        "source": about.source,
        "data": f"{data}; up = np.array([1.0, 2.0, 4.0, -1.0])" if two else data,
        "call": ", ".join(c.arrays) + about.example,
    }
    if not gradient:
        return _VALUE_DOC.format(
            **words,
            summary=about.summary,
            value=about.value,
            arrays=_FIRST_DOC.format(x=x) + (_UP_DOC if two else ""),
            parameters="".join(line + "\n" for line in about.parameters),
            notes=about.notes.strip(),
            bound=about.bound.strip("\n"),
            result=about.results[0],
        )
    learned = c.parameters if c.learned else ()
    sums = "".join(
        rf", \quad d\mathrm{{{name}}} = \sum {term}"
        for name, term in zip(learned, about.reduced, strict=False)
    )
    returns = f"d{x} : numpy.ndarray\n    Shape and dtype of {x}; a scalar for 0-d input.\n"
    if two:
        returns += "dup : numpy.ndarray\n    The same, by up.\n"
    returns += "".join(
        f"d{name} : scalar or numpy.ndarray\n    Sum over all rows; shape and dtype of {name}, "
        "float64 for a Python number.\n"
        for name in learned
    )
    given = ", ".join([*c.arrays, *c.arguments.names, *c.arguments.options])
    return _GRADIENT_DOC.format(
        **words,
        learned=" and to the parameters" if learned else "s" if two else "",
        gradient=about.gradient,
        sums=sums,
        arrays=f"{given}\n    As they were given to `{c.name}`.\n",
        dx=f"d{x}",
        returns=returns,
        bound=about.gradient_bound.strip("\n"),
        precision="\nSums are taken in float64." if learned else "",
        targets=", ".join(f"d{n}" for n in (*c.arrays, *learned)),
        result=about.results[1],
    )


# ---------------------------------------------------------------------------- functions


def _functions(c: _Channel) -> dict[str, Any]:
    def one(x: Any, *parameters: Any, out: Any = None, **named: Any) -> Any:
        return c.run(0, (x,), parameters, named, out)

    def one_vjp(dy: Any, x: Any, *parameters: Any, out: Any = None, **named: Any) -> Any:
        return c.run(1, (dy, x), parameters, named, out)

    def two(gate: Any, up: Any, *parameters: Any, out: Any = None, **named: Any) -> Any:
        return c.run(0, (gate, up), parameters, named, out)

    def two_vjp(
        dy: Any, gate: Any, up: Any, *parameters: Any, out: Any = None, **named: Any
    ) -> Any:
        return c.run(1, (dy, gate, up), parameters, named, out)

    functions: tuple[Any, Any] = (two, two_vjp) if c.two else (one, one_vjp)
    for function, suffix, before in zip(functions, ("", "_vjp"), ((), ("dy",)), strict=True):
        _operands.present(function, c.name + suffix, c.arguments, (*before, *c.arrays))
        function.__doc__ = _document(c, bool(suffix))
    return {function.__name__: function for function in functions}


OPS = {op["name"]: {**op, "code": code} for code, op in enumerate(channel_ops())}
CHANNELS = {
    name: _Channel(
        op["code"],
        op,
        {choice: OPS[of]["code"] for choice, of in signatures.VARIANTS.get(name, {}).items()},
    )
    for name, op in OPS.items()
    if signatures.spelt().get(name, (name, ""))[0] == name
}

#: name -> function, for every activation of the registry and its gradient
FUNCTIONS: dict[str, Any] = {
    name: function for c in CHANNELS.values() for name, function in _functions(c).items()
}
