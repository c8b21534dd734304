# SPDX-License-Identifier: Apache-2.0
"""Activations and their gradients: two functions for each activation of the registry."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _channels, _operands
from ._arrays import convert
from ._core import calls, registry, scalars, signatures
from ._core.context import state
from ._core.registry import unary_ops

_ndarray = np.ndarray
_empty_like = np.empty_like
_NONE = id(None)
_FLOAT_MAX = float(np.finfo(np.float32).max)


def _row_bias(bias: Any, shape: tuple[int, ...]) -> Any:
    """The bias of a row."""
    array = convert.reals("bias", bias)
    if isinstance(bias, np.ndarray) and bias.dtype.kind in "iu":
        raise TypeError(f"bias: expected a float dtype, got {bias.dtype}")
    if not shape:
        raise ValueError(f"bias: x is 0-d and takes none, got one of shape {array.shape}")
    if array.shape != shape[-1:]:
        raise ValueError(
            f"bias: expected shape {shape[-1:]}, that of the last axis of x, got {array.shape}"
        )
    return array


class _Activation:
    """What the two functions of an activation share."""

    arrays = ("x",)

    def __init__(self, code: int, op: dict[str, Any], variants: dict[str, int]) -> None:
        self.code = code
        self.name: str = op["name"]
        self.formula: str = op["formula"]
        self.bound: float = op["bound"]
        self.learned: bool = op["learned"]
        self.variants = variants
        self.described: list[registry.Parameter] = op["described"]
        self.polynomial = op["parameters"] == ["weight", "bias"]
        self.row_bias = not self.polynomial
        self.arguments = signatures.of_unary(op)
        self.names = self.arguments.names
        #: whether it can be called without parameters
        self.plain = len(self.arguments.defaults) == len(self.names)

    def take(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Any], Any]:
        """Parameters, and the row's bias."""
        values, options = self.arguments.take(given, named)
        return values, options[0] if options else None

    def numbers(self, values: list[Any]) -> tuple[int, Any, list[Any]]:
        """Operation, parameters as the library takes them, arrays like their gradients."""
        if self.variants:
            return _operands.chosen("approximate", values[0], self.variants), [], []
        if self.polynomial:
            numbers, arrays = _operands.polynomial(values)
            return self.code, numbers, [*arrays]
        if not values:
            return self.code, [], []
        name = self.names[0]
        number, array = _operands.one_number(name, values[0])
        if not math.isfinite(number):
            raise ValueError(f"{name}: must be finite, got {number}")
        scalars.fitting(self.described[0], number, number)
        return self.code, [number], [array]

    # ----------------------------------------------------------------- runs

    def value(self, x: Any, given: tuple[Any, ...], named: dict[str, Any], out: Any) -> Any:
        if not given and not named and self.plain and type(x) is _ndarray:
            y = _empty_like(x) if out is None else out
            if not calls.unary(state.ctx, self.code, _NONE, id(x), id(y)):
                return y
        values, bias = self.take(given, named)
        code, numbers, _ = self.numbers(values)
        return self._run(code, (), x, numbers, None, bias, out)

    def gradient(
        self, dy: Any, x: Any, given: tuple[Any, ...], named: dict[str, Any], out: Any
    ) -> Any:
        values, bias = self.take(given, named)
        code, numbers, arrays = self.numbers(values)
        return self._run(code, (dy,), x, numbers, arrays, bias, out)

    def _in_float(self, numbers: Any) -> bool:
        """Whether the parameters are finite in float32, too; a polynomial's need not be finite."""
        return self.polynomial or not numbers or abs(numbers[0]) <= _FLOAT_MAX

    def _together(self, dx: Any, grads: Any, bias_grad: Any, arrays: Any, bias: Any) -> Any:
        """What a VJP returns: sums get shape and dtype of what they are gradients of."""
        found = [dx]
        if grads is not None:
            found += _operands.parts_like(grads, arrays)
        if bias_grad is not None:
            found.append(_operands.like(bias_grad, bias))
        return tuple(found) if len(found) > 1 else dx

    def _run(
        self,
        code: int,
        dy: tuple[Any, ...],
        x: Any,
        numbers: Any,
        arrays: list[Any] | None,
        bias: Any,
        out: Any,
    ) -> Any:
        """With dy a gradient, in a tuple if there are others beside it."""
        count = len(numbers)
        grads = np.zeros(count) if dy and self.learned else None
        passed = count, numbers[0] if count == 1 else 0.0
        many = numbers if self.polynomial else None

        def call(inputs: Sequence[Any], outs: Sequence[Any]) -> int:
            *before, x = inputs
            rate = before[0] if before else None
            return int(
                calls.unary_with(state.ctx, code, id(rate), id(x), id(outs[0]), *passed, id(many),
                                 id(row_bias), id(grads), id(bias_grad))
            )  # fmt: skip

        row_bias = bias
        bias_grad = None
        if type(x) is _ndarray and (not dy or dy[0] is not None) and self._in_float(numbers):
            if dy and bias is not None and x.ndim:
                bias_grad = np.zeros(x.shape[-1])
            result = _empty_like(x) if out is None else out
            if not call((*dy, x), (result,)):
                return self._together(result, grads, bias_grad, arrays, bias)
        inputs = _operands.operands(("dy", "x")[1 - len(dy) :], (*dy, x), len(dy))
        x = inputs[-1]
        real = calls.REALS[x.dtype]
        if real.itemsize == 4 and not self._in_float(numbers):
            raise ValueError(
                f"{self.names[0]}: must be finite in float32, in which {x.dtype} is computed, "
                f"got {numbers[0]}"
            )
        if bias is not None:
            bias = row_bias = _row_bias(bias, x.shape)
        result = _operands.result_like(x, out)
        bias_grad = np.zeros(x.shape[-1]) if dy and row_bias is not None else None
        if x.size:
            _operands.fill(call, inputs, [result])
        dx = out if out is not None else result[()]
        return self._together(dx, grads, bias_grad, arrays, bias)


# ------------------------------------------------------------------------ documentation


@dataclass(frozen=True)
class _About:
    """What the docstrings say beyond the registry; formulas in LaTeX, u is the unit roundoff."""

    summary: str
    value: str
    slope: str  # d value / d x
    notes: str
    source: str
    parameters: tuple[str, ...] = ()  # a line for each
    partials: tuple[str, ...] = ()  # d value / d parameter
    example: str = ""  # arguments behind x
    results: tuple[str, str] = ("", "")  # at x = -1, 0.5, 2, and the gradient for dy = 1


_LEARNED = "A finite number, or an array of one number of any float dtype"

_ABOUT = {
    "relu": _About(
        "Rectified linear unit.",
        r"y = \max(x, 0)",
        r"[x > 0]",
        "-inf gives 0, +inf stays.  The derivative at 0 is 0.",
        "Nair and Hinton 2010, ICML.",
        results=("array([0. , 0.5, 2. ])", "array([0., 1., 1.])"),
    ),
    "squared_relu": _About(
        "Squared rectified linear unit.",
        r"y = \max(x, 0)^2",
        r"2 \max(x, 0)",
        "-inf gives 0, +inf stays.  float16 overflows from 256 on.",
        "So and others 2021, arXiv:2109.08668 (Primer).",
        results=("array([0.  , 0.25, 4.  ])", "array([0., 1., 4.])"),
    ),
    "relu_power": _About(
        "Power of the rectified linear unit.",
        r"y = \max(x, 0)^{power}",
        r"power \cdot \max(x, 0)^{power - 1}",
        "-inf gives 0, +inf stays.  With power = 1 the derivative at 0 is 0.",
        "power = 2 is `squared_relu`: So and others 2021, arXiv:2109.08668.",
        parameters=("power : int\n    From 1 to 16.",),
        example=", 3",
        results=("array([0.   , 0.125, 8.   ])", "array([ 0.  ,  0.75, 12.  ])"),
    ),
    "sigmoid": _About(
        "Logistic sigmoid.",
        r"y = \frac{1}{1 + \exp(-x)}",
        r"y (1 - y)",
        "-inf gives 0, +inf gives 1.  Small results keep their digits down to the subnormal ones.",
        "Verhulst 1845.",
        results=("array([0.2689, 0.6225, 0.8808])", "array([0.1966, 0.235 , 0.105 ])"),
    ),
    "tanh": _About(
        "Hyperbolic tangent.",
        r"y = \tanh x",
        r"1 - y^2",
        "-inf gives -1, +inf gives 1.  The derivative does not cancel where y is near 1.",
        "",
        results=("array([-0.7616,  0.4621,  0.964 ])", "array([0.42  , 0.7864, 0.0707])"),
    ),
    "softplus": _About(
        "Smooth rectified linear unit: the integral of the sigmoid.",
        r"y = \frac{1}{\beta} \log(1 + \exp(\beta x))",
        r"\frac{1}{1 + \exp(-\beta x)}",
        "-inf gives 0, +inf stays.  There is no threshold above which y is x by decree.",
        "Dugas and others 2001, NIPS 13.",
        parameters=("beta : float\n    Sharpness, from 1e-30 to 1e30; a large one gives `relu`.",),
        results=("array([0.3133, 0.9741, 2.1269])", "array([0.2689, 0.6225, 0.8808])"),
    ),
    "silu": _About(
        "Sigmoid linear unit, which is `swish` with beta = 1.",
        r"y = x\, s(x), \quad s(x) = \frac{1}{1 + \exp(-x)}",
        r"s(x) + x\, s(x)\, s(-x)",
        "-inf gives 0, +inf stays.  The minimum is -0.278 at x = -1.278.",
        "Elfwing, Uchibe and Doya 2017, arXiv:1702.03118.",
        results=("array([-0.2689,  0.3112,  1.7616])", "array([0.0723, 0.74  , 1.0908])"),
    ),
    "swish": _About(
        "Swish: x times the sigmoid of beta x, for a learned beta.",
        r"y = x\, s(\beta x), \quad s(u) = \frac{1}{1 + \exp(-u)}",
        r"s(\beta x) + \beta x\, s(\beta x)\, s(-\beta x)",
        "For beta > 0, -inf gives 0 and +inf stays; beta < 0 turns that round; beta = 0 is x / 2.",
        "Ramachandran, Zoph and Le 2017, arXiv:1710.05941.",
        parameters=(f"beta : float or array_like\n    {_LEARNED}.",),
        partials=(r"x^2 s(\beta x)\, s(-\beta x)",),
        example=", 1.5",
        results=(
            "array([-0.1824,  0.3396,  1.9051])",
            "array([-0.0413,  0.8426,  1.0881])",
        ),
    ),
    "gelu": _About(
        "Gaussian error linear unit.",
        r"y = x\, \Phi(x), \quad \Phi(x) = \frac{1}{2} \mathrm{erfc}(-x / \sqrt 2)",
        r"\Phi(x) + x\, \frac{\exp(-x^2 / 2)}{\sqrt{2 \pi}}",
        """
With ``approximate="tanh"``, y = x s(2 sqrt(2 / pi) (x + 0.044715 x^3)), s the sigmoid: another
function, as much as 4.7e-4 away, which many models were trained with; computed exactly too.

-inf gives 0, +inf stays.  The negative tail keeps its digits, where 1 + erf would cancel.
""",
        "Hendrycks and Gimpel 2016, arXiv:1606.08415.",
        parameters=('approximate : {"none", "tanh"}\n    Which of the two functions.',),
        results=("array([-0.1587,  0.3457,  1.9545])", "array([-0.0833,  0.8675,  1.0852])"),
    ),
    "mish": _About(
        "Mish: x times the hyperbolic tangent of its softplus.",
        r"y = x \tanh(\log(1 + \exp x))",
        r"t + x\, s(x) (1 - t^2), \quad t = \tanh(\log(1 + \exp x)), \; s(x) = 1 / (1 + \exp(-x))",
        "-inf gives 0, +inf stays.  The minimum is -0.309 at x = -1.192.",
        "Misra 2019, arXiv:1908.08681.",
        results=("array([-0.3034,  0.3752,  1.944 ])", "array([0.0592, 0.8864, 1.0693])"),
    ),
    "crrelu": _About(
        "Correction regularized ReLU: a rectified linear unit with a learned bend at 0.",
        r"y = \max(x, 0) + \epsilon\, x \exp(-x^2 / 2)",
        r"[x > 0] + \epsilon\, (1 - x^2) \exp(-x^2 / 2)",
        "-inf gives 0, +inf stays.  The derivative at 0 is eps.",
        "Sun and others 2024, arXiv:2405.12954.",
        parameters=(f"eps : float or array_like\n    {_LEARNED}.",),
        partials=(r"x \exp(-x^2 / 2)",),
        results=("array([-0.0061,  0.5044,  2.0027])", "array([0.    , 1.0066, 0.9959])"),
    ),
    "fatrelu": _About(
        "Rectified linear unit with a threshold of its own, for sparse activations.",
        r"y = x \; [x > threshold]",
        r"[x > threshold]",
        "x = threshold gives 0; so does -inf.  A negative threshold keeps negative x above it.",
        "Kurtz and others 2020, ICML; Song and others 2024, arXiv:2402.13516 (ProSparse).",
        parameters=("threshold : float\n    Finite.",),
        example=", 1.0",
        results=("array([0., 0., 2.])", "array([0., 0., 1.])"),
    ),
    "poly_relu": _About(
        "Polynomial of the rectified linear unit (PolyCom, type I).",
        r"y = \sum_{i=1}^{m} w_{m-i}\, r^i + b, \quad r = \max(x, 0)",
        r"[x > 0] \sum_{i=1}^{m} i\, w_{m-i}\, r^{i-1}",
        """
The weights have the order of the published code: for m = 3 cubic, square, linear.  Where r = 0,
y is the bias.  +inf gives the limit: an infinity with the sign of the first weight that is not 0.
NaN and inf among weights act as they do in arithmetic.
""",
        "Zhuo and others 2024, arXiv:2411.03884.",
        parameters=(
            "weight : array_like, shape (m,)\n"
            f"    w, highest power first, m from 1 to {_operands.ORDER_MAX}; any float dtype.",
            "bias : float or array_like\n    b, one number.",
        ),
        partials=(r"r^{m-i}", r"1"),
        example=", [0.5, 0.25, 1.0], 0.0",
        results=("array([0.   , 0.625, 7.   ])", "array([0.   , 1.625, 8.   ])"),
    ),
}  # fmt: skip

_BOUND = """At most {ulp} ULP in float32 and {wide} ULP in float64, also in the tails; 2 quanta
where the result is subnormal."""
_EXACT = "The result is exact but for one rounding."
_POLYNOMIAL = (
    "Error at most (m + 2) u times the sum of the absolute terms, u = 2**-24 (float64: 2**-53)."
)

_VALUE_DOC = """{summary}

.. math:: {value}

Parameters
----------
x : array_like
    Any shape.  float16, bfloat16, float32 and float64 are computed as they are (16-bit in float32,
    rounded once); bool and integers become ``np.result_type(dtype, np.float32)``.
{parameters}{bias}out : numpy.ndarray, optional
    Takes the result; may be x itself.

Returns
-------
numpy.ndarray
    Shape and dtype of x; `out` if given; a scalar for 0-d input.

Raises
------
TypeError
    A dtype that is not supported.
ValueError
    A shape that does not fit{range}.  Nothing has been written.

Notes
-----
{notes}

NaN gives NaN.  An empty array gives an empty one.

{bound}
The bits do not depend on instruction set, threads or strides.{source}

Examples
--------
>>> import numpy as np
>>> import lanemax as lm
>>> lm.{name}(np.array([-1.0, 0.5, 2.0]){arguments}).round(4)
{result}
"""

_GRADIENT_DOC = """Vector-Jacobian product of `{name}`: dy pulled back to its input{learned}.

.. math:: dx = dy \\cdot \\big({slope}\\big){sums}

Parameters
----------
dy : array_like
    Gradient of a loss with respect to the output; shape and dtype of x.
x : array_like
    What was given to `{name}`.
{as_given}out : numpy.ndarray, optional
    Takes dx; may be dy or x itself.

Returns
-------
dx : numpy.ndarray
    Shape and dtype of x; a scalar for 0-d input.
{returns}
Raises
------
TypeError
    dy and x differ in dtype, or it is not supported.
ValueError
    dy and x differ in shape, and as for `{name}`.  Nothing has been written.

Notes
-----
At +-inf the limit of the derivative{kink}.  dx is the product of IEEE arithmetic:
NaN in x or dy gives NaN, also where the derivative is 0, and there an infinite dy too.  Of an
empty array the sums are 0.

Error at most 6 u times the sum of the absolute terms of the formula, u = 2**-24 (float64:
2**-53); 16-bit gradients are those of float32 rounded once.{precision}
The bits do not depend on instruction set, threads or strides.{source}

Examples
--------
>>> import numpy as np
>>> import lanemax as lm
>>> x = np.array([-1.0, 0.5, 2.0])
>>> {targets} = lm.{name}_vjp(np.ones(3), x{arguments})
>>> dx.round(4)
{result}
"""

_BIAS_DOC = """bias : array_like, shape (x.shape[-1],), optional
    Added to x first, in float32 (float64: in float64); any float dtype.
"""


def _document(a: _Activation, gradient: bool) -> str:
    about = _ABOUT.get(
        a.name, _About(f"The activation {a.name}: {a.formula}.", "y = f(x)", "f'(x)", "", "")
    )
    source = f"\n{about.source}" if about.source else ""
    if not gradient:
        bound = _BOUND.format(ulp=f"{a.bound:g}", wide=f"{2 * a.bound:g}")
        return _VALUE_DOC.format(
            summary=about.summary,
            value=about.value,
            parameters="".join(line + "\n" for line in about.parameters),
            bias=_BIAS_DOC if a.row_bias else "",
            range=", a parameter out of range" if a.names else "",
            notes=about.notes.strip(),
            bound=_POLYNOMIAL if not a.bound else _EXACT if a.bound <= 0.5 else bound,
            source=source,
            name=a.name,
            arguments=about.example,
            result=about.results[0],
        )
    learned = a.names if a.learned else ()
    sums = "".join(
        rf", \quad d\mathrm{{{name}}} = \sum dy \cdot {partial}"
        for name, partial in zip(learned, about.partials, strict=False)
    )
    returns = "".join(
        f"d{name} : scalar or numpy.ndarray\n    Sum over all elements; shape and dtype of {name}, "
        "float64 for a Python number.\n"
        for name in learned
    )
    as_given = [*a.names, *["bias"] * a.row_bias]
    if a.row_bias:
        returns += (
            "dbias : numpy.ndarray\n    Only with a bias: sums of dx over the rows, before 16-bit "
            "rounding; shape and dtype of\n    bias.\n"
        )
    return _GRADIENT_DOC.format(
        name=a.name,
        learned=" and to the parameters" if learned else "",
        slope=about.slope,
        sums=sums,
        as_given=f"{', '.join(as_given)}\n    As they were given to `{a.name}`.\n",
        returns=returns,
        kink="; at a kink that of the side below" if "[x >" in about.slope else "",
        precision="" if not learned else "  Sums are taken in float64.",
        source=source,
        targets=", ".join(["dx", *(f"d{name}" for name in learned)]),
        arguments=about.example,
        result=about.results[1],
    )


# ---------------------------------------------------------------------------- functions


def _functions(a: _Activation) -> dict[str, Any]:
    def value(x: Any, *parameters: Any, out: Any = None, **named: Any) -> Any:
        return a.value(x, parameters, named, out)

    def gradient(dy: Any, x: Any, *parameters: Any, out: Any = None, **named: Any) -> Any:
        return a.gradient(dy, x, parameters, named, out)

    functions: tuple[Any, Any] = (value, gradient)
    for function, suffix, arrays in zip(
        functions, ("", "_vjp"), (("x",), ("dy", "x")), strict=True
    ):
        _operands.present(function, a.name + suffix, a.arguments, arrays)
        function.__doc__ = _document(a, bool(suffix))
    return {function.__name__: function for function in functions}


_OPS = {op["name"]: {**op, "code": code} for code, op in enumerate(unary_ops())}
_CHOICES = signatures.spelt()
_ACTIVATIONS = {
    name: _Activation(
        op["code"],
        op,
        {choice: _OPS[of]["code"] for choice, of in signatures.VARIANTS.get(name, {}).items()},
    )
    for name, op in _OPS.items()
    if _CHOICES.get(name, (name, ""))[0] == name
}

#: name -> function, for every activation of the registries and its gradient
FUNCTIONS: dict[str, Any] = {
    name: function for a in _ACTIVATIONS.values() for name, function in _functions(a).items()
}
FUNCTIONS |= _channels.FUNCTIONS


def of_registry(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Value and gradient of an entry of the registries, its variant chosen."""
    python, choice = _CHOICES.get(name, (name, None))
    options = {} if choice is None else {"approximate": choice}
    value, gradient = FUNCTIONS[python], FUNCTIONS[f"{python}_vjp"]
    return functools.partial(value, **options), functools.partial(gradient, **options)


def activations() -> list[dict[str, Any]]:
    """The registries of activations: those of one element, then those of channels.

    Returns
    -------
    list of dict
        One for each activation of the C library, in the order of their numbers:

        name : str
            In C; in Python also, but for ``gelu_tanh`` and ``geglu_tanh``, see ``call``.
        call : str
            How Python spells it, for example ``gelu(x, approximate='tanh')``.
        arrays : list of str
            Names of the arrays that come before the parameters.
        parameters : list of str
            Names of the parameters; `bias` of a row is none of them.
        learned : bool
            Whether the function's ``_vjp`` returns gradients of the parameters.
        formula : str
            y as a function of x, which of gates is `gate`.
        bound : float or None
            Largest error in ULP of float32, in float64 twice that; 0.5 is exact rounding.  None:
            relative to the sum of the terms, see the function.

    Examples
    --------
    >>> import lanemax as lm
    >>> next(a["formula"] for a in lm.activations() if a["name"] == "silu")
    'x s(x)'
    """
    listed = []
    for name, op in {**_OPS, **_channels.OPS}.items():
        python, choice = _CHOICES.get(name, (name, None))
        a = _ACTIVATIONS.get(python) or _channels.CHANNELS[python]
        listed.append(
            {
                "name": name,
                "call": a.arguments.call(a.arrays, choice),
                "arrays": list(a.arrays),
                "parameters": list(op["parameters"]),
                "learned": op["learned"],
                "formula": op["formula"],
                "bound": op["bound"] or None,
            }
        )
    return listed


activations.__module__ = "lanemax"
FUNCTIONS["activations"] = activations
