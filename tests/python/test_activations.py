# SPDX-License-Identifier: Apache-2.0
"""Activations, against tables and 50 digits, and their promises; walks the registry."""

from __future__ import annotations

import inspect
import math
import pathlib
from dataclasses import dataclass

import lanemax as lm
import mpmath
import numpy as np
import oracle
import pytest
import support

EXACT = mpmath.mp.clone()
EXACT.dps = 50
mpf = EXACT.mpf
NAN, INF = np.nan, np.inf

# ------------------------------------------------------------------ what is exact ---


@dataclass(frozen=True)
class Point:
    """Value, derivative and partial derivatives at one point, and sums of absolute terms."""

    value: mpmath.mpf
    slope: mpmath.mpf
    terms: mpmath.mpf  # of the derivative's formula
    partials: tuple = ()
    value_terms: mpmath.mpf | None = None


def _exp(u):
    """exp, but nothing below a number that is 0 in every format."""
    return EXACT.exp(u) if u > -(10**5) else mpf(2) ** -(10**5)


def _logistic(u):
    e = _exp(-abs(u))
    return 1 / (1 + e) if u >= 0 else e / (1 + e)


def _phi(x):
    return _exp(-x * x / 2) / EXACT.sqrt(2 * EXACT.pi)


def _power(x, k):
    k = int(k)
    r = max(x, mpf(0))
    slope = k * r ** (k - 1) if x > 0 else mpf(0)
    return Point(r**k, slope, slope)


def _sigmoid(x):
    s, t = _logistic(x), _logistic(-x)
    return Point(s, s * t, s * t)


def _tanh(x):
    e = _exp(-2 * abs(x))
    slope = 4 * e / (1 + e) ** 2
    value = -EXACT.expm1(-2 * abs(x)) / (1 + e) if abs(x) < 10**4 else mpf(1)
    return Point(value if x >= 0 else -value, slope, slope)


def _softplus(x, beta):
    u, s = beta * x, _logistic(beta * x)
    value = (max(u, mpf(0)) + EXACT.log1p(_exp(-abs(u)))) / beta
    return Point(value, s, s)


def _swish(x, beta):
    s, t = _logistic(beta * x), _logistic(-beta * x)
    more = beta * x * s * t
    return Point(x * s, s + more, s + abs(more), (x * x * s * t,))


def _gelu(x):
    # beyond 1000 it is x or nothing
    below = EXACT.erfc(-x / EXACT.sqrt(2)) / 2 if abs(x) < 1000 else mpf(x > 0) + _exp(-abs(x))
    more = x * _phi(x)
    return Point(x * below, below + more, below + abs(more))


def _gelu_tanh(x):
    c = EXACT.sqrt(2 / EXACT.pi)
    u = c * (x + mpf("0.044715") * x**3)
    s, t = _logistic(2 * u), _logistic(-2 * u)
    more = 2 * x * s * t * c * (1 + 3 * mpf("0.044715") * x**2)
    return Point(x * s, s + more, s + abs(more))


def _mish(x):
    e = _exp(-abs(x))
    n, m = (mpf(1), e) if x >= 0 else (e, mpf(1))
    d = n * n + 2 * n * m + 2 * m * m
    t = (n * n + 2 * n * m) / d
    more = x * _logistic(x) * 4 * m * m * (n + m) ** 2 / d**2
    return Point(x * t, t + more, t + abs(more))


def _crrelu(x, eps):
    e = _exp(-x * x / 2)
    step, more = mpf(x > 0), eps * (1 - x * x) * e
    return Point(max(x, mpf(0)) + eps * x * e, step + more, step + abs(more), (x * e,))


def _fatrelu(x, threshold):
    return Point(x if x > threshold else mpf(0), mpf(x > threshold), mpf(x > threshold))


def _poly_relu(x, *p):
    r, m = max(x, mpf(0)), len(p) - 1
    terms = [w * r ** (m - i) for i, w in enumerate(p)]
    slopes = [w * (m - i) * r ** (m - i - 1) for i, w in enumerate(p[:-1])] if x > 0 else [mpf(0)]
    return Point(
        EXACT.fsum(terms),
        EXACT.fsum(slopes),
        EXACT.fsum(map(abs, slopes)),
        tuple(r ** (m - i) for i in range(m + 1)),
        EXACT.fsum(map(abs, terms)),
    )


#: name in the registry -> formula of an exact x and exact parameters
FORMULAS = {
    "relu": lambda x: _power(x, 1),
    "squared_relu": lambda x: _power(x, 2),
    "relu_power": _power,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
    "silu": lambda x: _swish(x, 1),
    "swish": _swish,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
    "crrelu": _crrelu,
    "fatrelu": _fatrelu,
    "poly_relu": _poly_relu,
}

THIRDS = [1 / 3, 1 / 3, 1 / 3]

#: parameters to test with, the first of them everywhere
VALUES = {
    "relu_power": ((3,), (1,), (2,), (7,), (16,)),
    "softplus": ((1.0,), (0.3,), (25.0,)),
    "swish": ((1.5,), (1.0,), (-0.7,), (0.0,), (30.0,)),
    "crrelu": ((0.01,), (-0.3,), (4.0,), (-4.0,)),
    "fatrelu": ((0.5,), (0.0,), (-1.0,)),
    "poly_relu": (
        (THIRDS, 0.0),
        ([0.7, -0.3, 0.2], 0.05),
        ([1.0], -0.5),
        ([0.3, -1.7], 2.5),
        ([0.1, -0.5, 1.0, 0.0, -2.0, 0.7, 0.3, -1.0], 0.25),
    ),
}

#: values that are refused, with the exception and what its message names
BAD = {
    "relu_power": [((v,), ValueError, "power") for v in (0, 17, -1, 2.5, NAN, INF)],
    "softplus": [((v,), ValueError, "beta") for v in (0, -1.0, 9e-31, 1.1e30, NAN, INF)],
    "swish": [((v,), ValueError, "beta") for v in (NAN, INF, -INF, [1.0, 2.0], [[1.0]])],
    "gelu": [((v,), ValueError, "approximate") for v in ("erf", None, 1, True, b"tanh")],
    "crrelu": [((v,), ValueError, "eps") for v in (NAN, -INF, np.ones((1, 1)), np.ones(0))],
    "fatrelu": [((v,), ValueError, "threshold") for v in (NAN, INF, (1.0, 2.0))],
    "poly_relu": [
        (([], 0.0), ValueError, "weight"),
        (([1.0] * 9, 0.0), ValueError, "weight"),
        ((1.0, 0.0), ValueError, "weight"),
        (([[1.0, 2.0]], 0.0), ValueError, "weight"),
        ((["a"], 0.0), TypeError, "weight"),
        (([1.0], [0.0, 1.0]), ValueError, "bias"),
        (([1.0], None), TypeError, "bias"),
    ],
}


@dataclass(frozen=True)
class Case:
    """An activation of the registry with parameters as Python takes them."""

    name: str
    values: tuple
    python: str
    learned: bool
    bound: float | None

    def __call__(self, x, **options):
        return getattr(lm, self.python)(x, *self.values, **options)

    def vjp(self, dy, x, **options):
        return getattr(lm, f"{self.python}_vjp")(dy, x, *self.values, **options)

    def gradients(self, dy, x, **options):
        """The VJP as a tuple, whatever it returns."""
        found = self.vjp(dy, x, **options)
        return found if isinstance(found, tuple) else (found,)

    @property
    def takes_bias(self) -> bool:
        return self.name != "poly_relu"

    @property
    def kinks(self) -> tuple:
        if self.name == "fatrelu":
            return self.values
        return (0.0,) if self.name in ("relu", "relu_power", "crrelu", "poly_relu") else ()

    def points(self, x) -> list[Point]:
        real = np.float64 if x.dtype == np.float64 else np.float32
        flat = (
            [] if self.python == "gelu" else np.ravel([v for w in self.values for v in np.ravel(w)])
        )
        numbers = [mpf(float(real(v))) for v in flat]
        return [FORMULAS[self.name](mpf(float(v)), *numbers) for v in x]

    def __repr__(self) -> str:
        shown = [f"{len(v)}" if isinstance(v, list) else f"{v}" for v in self.values]
        return "-".join([self.name, *(shown if self.python != "gelu" else [])])


def _cases(op) -> list[Case]:
    python, _, rest = op["call"].partition("(")
    values = VALUES.get(op["name"], ((),))
    if "approximate=" in rest:
        values = ((rest.split("'")[1],),)
    return [Case(op["name"], v, python, op["learned"], op["bound"]) for v in values]


#: the registry of functions of one element; test_channels.py has the others
UNARY = {op["name"] for op in lm._core.registry.unary_ops()}
OPS = [op for op in lm.activations() if op["name"] in UNARY]
ALL = [c for op in OPS for c in _cases(op)]
FIRST = [_cases(op)[0] for op in OPS]
LEARNED = [c for c in ALL if c.learned]

every = pytest.mark.parametrize("case", ALL, ids=repr)
each = pytest.mark.parametrize("case", FIRST, ids=repr)
wide = pytest.mark.parametrize("dtype", [support.F32, support.F64], ids=str)


def test_every_activation_of_the_registry_has_a_formula():
    missing = {op["name"] for op in OPS} - FORMULAS.keys()
    assert not missing, f"add formulas to tests/python/test_activations.py for {sorted(missing)}"


# ------------------------------------------------------------------ tables ---

#: x, then a column for each function; float64, 17 digits; the tables are within 3e-15 themselves
TABLES = """
x softplus sigmoid silu silu' mish mish'
-6 0.0024756851377304495 0.0024726231566347748 -0.014835738939808649 -0.012326432591525514 \
-0.014854080479424995 -0.01235996793178131
-3 0.048587351573742062 0.047425873177566788 -0.14227761953270035 -0.088104106015169631 \
-0.14564746127562458 -0.093393114532320826
-1 0.31326168751822286 0.2689414213699951 -0.2689414213699951 0.072329488128513253 \
-0.30340146137410889 0.059216755877394917
-0.5 0.47407698418010669 0.37754066879814546 -0.18877033439907273 0.26003881269734824 \
-0.22074377465173001 0.28951067791351215
-0.001 0.69264730555994014 0.49975000002083336 -0.00049975000002083336 0.49950000008333334 \
-0.00059967998404586637 0.59935995218346483
0 0.69314718055994529 0.5 0 0.5 0 0.59999999999999998
0.001 0.69364730555994014 0.50024999997916664 0.00050024999997916667 0.5004999999166666 \
0.000600319983954133 0.60063995181653151
0.5 0.97407698418010669 0.62245933120185459 0.3112296656009273 0.73996118730265192 \
0.37524521130489508 0.88642437535772722
1 1.3132616875182228 0.7310585786300049 0.7310585786300049 0.92767051187148686 \
0.86509838826731023 1.049036220099792
2 2.1269280110429727 0.88079707797788231 1.7615941559557646 1.0907842487848955 \
1.9439589595339943 1.0693179342794896
3 3.0485873515737421 0.95257412682243336 2.8577223804673002 1.0881041060151693 \
2.9865350049679571 1.0211069109294437
6 6.0024756851377301 0.99752737684336534 5.9851642610601923 1.0123264325915249 \
5.9999266340652531 1.0001341405062099

x gelu gelu' gelu_tanh gelu_tanh' squared_relu
-6 -5.9195258702262067e-09 -3.5468709453902015e-08 -8.4396467007623112e-11 \
-7.7099739309537073e-10 0
-3 -0.004049694094890287 -0.011945647204183927 -0.0036373920817730195 -0.011584166630969728 0
-1 -0.15865525393145707 -0.083315470587686291 -0.15880800939172326 -0.082964083845782549 0
-0.5 -0.15426876936299344 0.13250487534383715 -0.15428599017485609 0.1326300964653577 0
-0.001 -0.00049960105778608897 0.4992021157051586 -0.00049960105778641803 0.49920211570647494 0
0 0 0.5 0 0.5 0
0.001 0.00050039894221391105 0.5007978842948414 0.00050039894221358199 0.50079788429352501 \
9.9999999999999995e-07
0.5 0.34573123063700656 0.86749512465616285 0.34571400982514394 0.86736990353464238 0.25
1 0.84134474606854293 1.0833154705876864 0.84119199060827676 1.0829640838457826 1
2 1.9544997361036416 1.0852318010781969 1.9545976940877752 1.0860992566236185 4
3 2.9959503059051098 1.0119456472041839 2.9963626079182273 1.0115841666309697 9
6 5.9999999940804738 1.0000000354687093 5.9999999999156035 1.0000000007709975 36

x crrelu crrelu' crrelu'eps poly_relu
-6 -9.1379878468275768e-10 -5.3304929106494205e-09 -9.1379878468275782e-08 0
-3 -0.00033326989614726915 -0.00088871972305938456 -0.033326989614726917 0
-1 -0.006065306597126334 0 -0.60653065971263342 0
-0.5 -0.004412484512922977 0.0066187267693844651 -0.44124845129229767 0
-0.001 -9.9999950000012507e-06 0.0099999850000062496 -0.00099999950000012497 0
0 0 0.01 0 0
0.001 0.0010099999950000014 1.0099999850000063 0.00099999950000012497 0.000333667
0.5 0.50441248451292298 1.0066187267693845 0.44124845129229767 0.29166666666666663
1 1.0060653065971263 1 0.60653065971263342 1
2 2.0027067056647323 0.99593994150290166 0.2706705664732254 4.666666666666667
3 3.0003332698961471 0.99911128027694063 0.033326989614726917 13
6 6.0000000009137988 0.99999999466950706 9.1379878468275782e-08 86
"""


def _columns():
    for table in TABLES.replace("\\\n", "").strip().split("\n\n"):
        head, *lines = (line.split() for line in table.splitlines())
        numbers = np.array(lines, np.float64)
        for i, column in enumerate(head[1:], 1):
            yield pytest.param(column, numbers[:, 0], numbers[:, i], id=column)


@pytest.mark.parametrize(("column", "x", "want"), list(_columns()))
def test_published_table(column, x, want):
    name, quote, parameter = column.partition("'")
    case = next(c for c in FIRST if c.name == name)
    if parameter:
        got = np.array([case.vjp(np.ones(1), x[i : i + 1])[1] for i in range(len(x))])
    else:
        got = case.gradients(np.ones_like(x), x)[0] if quote else case(x)
    assert got.dtype == np.float64
    assert (np.abs(got - want) <= 4e-15 * np.abs(want)).all(), np.stack([x, got, want])


def test_published_gradients_of_poly_relu():
    x = np.array([-1.0, 0.5, 2.0])
    dx, dweight, dbias = lm.poly_relu_vjp(np.ones(3), x, np.array(THIRDS), 0.0)
    np.testing.assert_allclose(dx, [0, 0.91666666666666663, 5.666666666666667], rtol=4e-16)
    assert dweight.tolist() == [8.125, 4.25, 2.5] and dbias == 3
    support.assert_same_bits(lm.poly_relu(x, [0, 0, 1.0], 0.0), lm.relu(x))
    support.assert_same_bits(lm.poly_relu(x, [0, 1.0, 0], 0.0), lm.squared_relu(x))


# ------------------------------------------------------------------ accuracy ---


def inputs(dtype, rng, scale=1.0):
    """About 300 points: near 0, moderate, in the tails, everywhere."""
    fmt = oracle.format_of(dtype)
    reach = math.log(2) * (fmt.bits - fmt.emin)  # beyond which exp(-x) is 0
    tails = np.concatenate([np.linspace(0.8, 1.02, 12) * reach, np.linspace(20, reach, 10)])
    bell = np.concatenate(
        [np.linspace(0.8, 1.02, 12) * math.sqrt(2 * reach), np.linspace(5, math.sqrt(2 * reach), 8)]
    )
    tiny = np.ldexp(rng.uniform(1, 2, 14), np.linspace(fmt.emin - fmt.bits + 2, -2, 14).astype(int))
    huge = np.ldexp(rng.uniform(1, 2, 8), np.linspace(4, -fmt.emin, 8).astype(int))
    powers = np.ldexp(
        rng.uniform(1, 2, 16), np.linspace(fmt.emin / 15, -fmt.emin / 15, 16).astype(int)
    )
    either = np.concatenate([tails / scale, bell, tiny, huge, powers, [np.finfo(dtype).max]])
    x = np.concatenate(
        [either, -either, np.linspace(-12, 12, 49), rng.normal(0, 2, 90), [0.0, -0.0]]
    )
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
    return x[np.isfinite(x)]


def ulp(exact, fmt):
    """The unit in the last place of an exact number; the quantum where that is subnormal."""
    exponent = max(EXACT.frexp(exact)[1] - 1, fmt.emin) if exact else fmt.emin
    return EXACT.ldexp(mpf(1), exponent - fmt.bits + 1)


def assert_within(what, got, want, allowed, top, places):
    """|got - want| <= allowed, infinity where that is out of range, or the worst in one message."""
    wrong = []
    for place, g, w, a in zip(places, got, want, allowed, strict=True):
        if abs(g) == INF:
            near = abs(w) + a >= top and (w > 0) == (g > 0)
            excess = 0 if near else INF
        elif g != g:
            excess = INF
        else:
            error = abs(mpf(g) - w)
            excess = float(error / a) if a else 0.0 if not error else INF
        if excess > 1:
            wrong.append((excess, f"{place}: got {g!r}, want {EXACT.nstr(w, 20)}"))
    wrong.sort(reverse=True)
    shown = "\n".join(f"  {e:.3g} of what is allowed at {text}" for e, text in wrong[:8])
    assert not wrong, f"{what} [{lm.isa()}]: {len(wrong)} of {len(want)} wrong\n{shown}"


def assert_close(case, dtype, x, got, want, allowed):
    """The same for results at x."""
    places = [f"x={float(xi)!r}" for xi in x]
    top = float(np.finfo(dtype).max)
    assert_within(f"{case!r} {dtype}", got.tolist(), want, allowed, top, places)


def scale_of(case) -> float:
    return abs(case.values[0]) or 1.0 if case.name in ("softplus", "swish") else 1.0


@every
@wide
def test_error_is_within_the_bound(case, dtype, rng):
    fmt = oracle.format_of(dtype)
    x = inputs(dtype, rng, scale_of(case))
    points = case.points(x)
    want = [p.value for p in points]
    if case.bound is None:
        order = len(case.values[0])
        allowed = [(order + 2) * fmt.u * p.value_terms + ulp(mpf(0), fmt) for p in points]
    elif case.bound <= 0.5:
        allowed = [case.bound * ulp(v, fmt) for v in want]
    else:
        normal = case.bound * (1 if dtype == support.F32 else 2)
        least = mpf(2) ** fmt.emin
        allowed = [(normal if abs(v) >= least else 2) * ulp(v, fmt) for v in want]
    with np.errstate(all="ignore"):
        assert_close(case, dtype, x, case(x), want, allowed)


@every
@wide
def test_gradient_is_within_the_bound(case, dtype, rng):
    fmt = oracle.format_of(dtype)
    x = inputs(dtype, rng, scale_of(case))
    dy = rng.normal(size=x.shape).astype(dtype)
    points = case.points(x)
    d = [mpf(float(v)) for v in dy]
    want = [p.slope * g for p, g in zip(points, d, strict=True)]
    quantum = ulp(mpf(0), fmt)
    allowed = [
        6 * fmt.u * p.terms * abs(g) + 2 * quantum * (1 + abs(g)) * (p.terms != 0)
        for p, g in zip(points, d, strict=True)
    ]
    assert_close(case, dtype, x, case.gradients(dy, x)[0], want, allowed)


@pytest.mark.parametrize("case", LEARNED, ids=repr)
@wide
def test_parameter_gradient_is_within_the_bound(case, dtype, rng):
    fmt = oracle.format_of(dtype)
    factor = len(case.values[0]) + 2 if case.name == "poly_relu" else 6
    for n, spread in ((1, 1), (7, 2), (300, 3), (300, 20)):
        x = rng.normal(0, spread, n).astype(dtype)
        dy = rng.normal(size=n).astype(dtype)
        points = case.points(x)
        _, *grads = case.vjp(dy, x)
        flat = np.concatenate([np.ravel(g) for g in grads])
        assert flat.dtype == np.float64 and len(flat) == len(points[0].partials)
        for i, got in enumerate(flat.tolist()):
            products = [p.partials[i] * mpf(float(g)) for p, g in zip(points, dy, strict=True)]
            error = abs(mpf(got) - EXACT.fsum(products))
            allowed = factor * fmt.u * EXACT.fsum(map(abs, products)) + n * ulp(mpf(0), fmt)
            assert error <= allowed, (case, i, n, spread, got, float(error / allowed))


@every
def test_gradient_is_the_slope(case, rng):
    x, dy = rng.normal(0, 2, 400), rng.normal(size=400)
    x = x[np.all([abs(x - k) > 1e-2 for k in (*case.kinks, INF)], axis=0)]
    dy = dy[: len(x)]
    h = 2.0**-17
    slope = (case(x + h) - case(x - h)) / (2 * h)
    dx, *grads = case.gradients(dy, x)
    curve = np.abs(case(x + 1) - 2 * case(x) + case(x - 1)) + np.abs(case(x)) + 1
    if case.name != "fatrelu":
        assert (np.abs(slope * dy - dx) <= 1e-8 * scale_of(case) ** 2 * curve * np.abs(dy)).all()
    if not case.learned:
        return
    flat = np.concatenate([np.ravel(v) for v in case.values]).astype(np.float64)
    for i, grad in enumerate(np.concatenate([np.ravel(g) for g in grads])):
        up, down = flat.copy(), flat.copy()
        up[i] += h
        down[i] -= h
        ends = []
        for moved in (up, down):
            values = (moved[:-1], moved[-1]) if case.name == "poly_relu" else (moved[0],)
            ends.append(getattr(lm, case.python)(x, *values))
        terms = (ends[0] - ends[1]) / (2 * h) * dy
        assert (
            abs(terms.sum() - grad) <= 1e-6 * np.abs(x**2 * dy).sum() + 1e-9 * np.abs(terms).sum()
        )


# ------------------------------------------------------------------ special values ---

#: value and derivative at -inf and +inf
LIMITS = {
    "relu": ((0, 0), (INF, 1)),
    "squared_relu": ((0, 0), (INF, INF)),
    "relu_power": ((0, 0), (INF, INF)),
    "sigmoid": ((0, 0), (1, 0)),
    "tanh": ((-1, 0), (1, 0)),
    "softplus": ((0, 0), (INF, 1)),
    "silu": ((0, 0), (INF, 1)),
    "swish": ((0, 0), (INF, 1)),
    "gelu": ((0, 0), (INF, 1)),
    "gelu_tanh": ((0, 0), (INF, 1)),
    "mish": ((0, 0), (INF, 1)),
    "crrelu": ((0, 0), (INF, 1)),
    "fatrelu": ((0, 0), (INF, 1)),
    "poly_relu": ((0, 0), (INF, INF)),
}
AT_ZERO = {"sigmoid": 0.5, "softplus": math.log(2)}


@each
def test_limits_and_nan(case, dtype, tier):
    def row(*values):
        return np.array(values, np.float64).astype(dtype)

    one = row(1, 1)
    (below, slope_below), (above, slope_above) = LIMITS[case.name]
    y = case(row(-INF, INF)).astype(np.float64)
    assert y.tolist() == [below, above]
    dx = case.gradients(one, row(-INF, INF))[0].astype(np.float64)
    assert dx.tolist() == [slope_below, slope_above]

    y = case(row(0.0, -0.0)).astype(np.float64)
    assert (y == support.rounded(AT_ZERO.get(case.name, 0.0), dtype).astype(np.float64)).all()

    nan = support.CANONICAL_NAN[dtype]
    assert (support.bits(case(row(NAN, NAN))) == nan).all()
    assert support.bits(case(row(1, NAN)))[1] == nan
    support.assert_same_bits(case(row(1, NAN))[:1], case(row(1)), "beside NaN")
    for dy, x in ((row(1, 1), row(2, NAN)), (row(1, NAN), row(2, 2))):
        dx, *grads = case.gradients(dy, x)
        assert support.bits(dx)[1] == nan
        support.assert_same_bits(dx[:1], case.gradients(dy[:1], x[:1])[0], "beside NaN")
        for grad in grads:
            # the bias of poly_relu does not see x
            assert np.isnan(grad).all() or (case.name == "poly_relu" and np.ndim(grad) == 0)


#: dy is multiplied by the factors of the derivative one by one: right up to 2^60, float64 2^500
FACTORS_FIRST = ("gelu", "crrelu", "mish")


@every
def test_gradient_is_a_product_of_arithmetic(case, dtype, tier):
    """NaN, inf and -inf in dy, on both sides of every kink and at it."""
    kinks = [0.0, -0.0, *(v for v in case.values if isinstance(v, float))]
    points = [v + d for v in kinks for d in (-(2.0**-6), 0, 2.0**-6)]
    x = support.rounded([-INF, -20, -2, -1, *points, 0.75, 1, 2, 20, INF, NAN], dtype)
    real = support.F64 if dtype == support.F64 else support.F32
    one = np.ones(x.shape, real)
    slope = case.gradients(one, x.astype(real))[0]
    assert np.isfinite(slope).any()
    slope[np.abs(slope) < 2.0**-100] = 0
    # docs/activations.md: of these an infinite dy need not give the product
    for dy in (NAN,) if case.name in FACTORS_FIRST else (NAN, INF, -INF):
        with np.errstate(all="ignore"):
            want = support.rounded(dy * slope, dtype)
        dx = case.gradients(np.full(x.shape, dy, dtype), x)[0]
        unsure = (slope == 0) & (x == -20)  # the derivative may have underflowed
        nan = support.is_nan(want)
        assert (support.bits(dx)[nan & ~unsure] == support.CANONICAL_NAN[dtype]).all(), dy
        support.assert_same_bits(dx[~nan], want[~nan], f"dy = {dy}")
    zeros = case.gradients(-one.astype(dtype), x)[0]
    flat = slope[:-1] == 0
    assert (np.abs(zeros[:-1][flat].astype(np.float64)) < 2.0**-100).all()


@every
@wide
def test_the_largest_gradients_do_not_overflow_on_the_way(case, dtype, tier):
    x = np.concatenate([np.linspace(-12, -2, 64), np.linspace(0.75, 1, 8)]).astype(dtype)
    # x s(u) is a product of which one factor, 1 + x s(-u) du/dx, may be 2^7
    top = 7 if case.name in ("silu", "swish", "gelu_tanh") else 0
    limited = case.name in FACTORS_FIRST
    scale, u = (2.0**125, 2.0**-24) if dtype == support.F32 else (2.0**1021, 2.0**-53)
    scale = (2.0**60 if dtype == support.F32 else 2.0**500) if limited else scale / 2.0**top
    one = np.ones(x.shape, dtype)
    slope = case.gradients(one, x)[0].astype(np.float64)
    ordinary = (np.abs(slope) < 4) & (np.abs(slope) > 2.0**-100)
    dx = case.gradients(one * dtype.type(scale), x)[0].astype(np.float64)[ordinary] / scale
    assert ordinary.any()
    assert (np.abs(dx - slope[ordinary]) <= 16 * u * np.abs(slope[ordinary])).all()


def test_limits_follow_the_sign_of_the_parameters(dtype):
    x = np.array([-INF, INF], np.float64).astype(dtype)
    one = np.ones(2, np.float64).astype(dtype)

    def both(function, *values):
        found = getattr(lm, f"{function}_vjp")(one, x, *values)
        dx = found[0] if isinstance(found, tuple) else found
        y = getattr(lm, function)(x, *values)
        return y.astype(np.float64).tolist(), dx.astype(np.float64).tolist()

    assert both("swish", -1.5) == ([-INF, 0], [1, 0])
    assert both("swish", 0.0) == ([-INF, INF], [0.5, 0.5])
    assert both("crrelu", -4.0) == ([0, INF], [0, 1])
    assert both("relu_power", 1) == ([0, INF], [0, 1])
    assert both("fatrelu", -1.0) == ([0, INF], [0, 1])
    assert both("poly_relu", [-1.0, 5.0], 2.0) == ([2, -INF], [0, -INF])
    assert both("poly_relu", [0.0, 5.0], 2.0) == ([2, INF], [0, 5])
    assert both("poly_relu", [0.0, 0.0], 2.0) == ([2, 2], [0, 0])


def test_derivative_at_a_kink_is_that_of_the_side_below(dtype):
    zero, one = np.zeros(2, dtype), np.ones(2, dtype)
    zero[1] = -0.0
    assert (lm.relu_vjp(one, zero) == 0).all()
    assert (lm.relu_power_vjp(one, zero, 1) == 0).all()
    assert (lm.poly_relu_vjp(one, zero, [2.0], 1.0)[0] == 0).all()
    assert (lm.crrelu_vjp(one, zero, 0.25)[0] == 0.25).all()
    assert (lm.fatrelu(one, 1.0) == 0).all() and (lm.fatrelu_vjp(one, one, 1.0) == 0).all()
    assert (lm.fatrelu(one, 0.5) == 1).all() and (lm.fatrelu_vjp(one, one, 0.5) == 1).all()


def test_weights_of_poly_relu_act_as_in_arithmetic(dtype):
    x = np.array([-1.0, 2.0]).astype(dtype)
    y = lm.poly_relu(x, [INF, 1.0], 0.5).astype(np.float64)
    assert y[1] == INF
    assert support.is_nan(lm.poly_relu(x, [NAN, 1.0], 0.5)).all()
    assert (lm.poly_relu(x, [1.0], INF) == INF).all()


# ------------------------------------------------------------------ element types ---


@each
@pytest.mark.parametrize("dtype", support.NARROW, ids=str)
def test_all_16_bit_values_are_float32_rounded_once(case, dtype, rng):
    x = np.arange(65536, dtype=np.uint16).view(dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    with np.errstate(all="ignore"):
        x32, dy32 = x.astype(np.float32), dy.astype(np.float32)
    support.assert_same_bits(case(x), support.rounded(case(x32), dtype), "value")
    got, *sums = case.gradients(dy, x)
    want, *sums32 = case.gradients(dy32, x32)
    support.assert_same_bits(got, support.rounded(want, dtype), "gradient")
    finite = np.isfinite(x32) & (np.abs(x32) < 100)
    _, *sums = case.gradients(dy[finite], x[finite])
    _, *sums32 = case.gradients(dy32[finite], x32[finite])
    for a, b in zip(sums, sums32, strict=True):
        support.assert_same_bits(a, b, "parameter gradient")


@each
def test_types_shapes_and_scalars(case, dtype):
    for shape in ((0,), (3, 0), (0, 3), (2, 0, 4)):
        empty = np.empty(shape, dtype)
        assert case(empty).shape == shape and case(empty).dtype == dtype
        dx, *grads = case.gradients(empty, empty)
        assert dx.shape == shape and all((np.asarray(g) == 0).all() for g in grads)
        if case.takes_bias:
            bias = np.ones(shape[-1], np.float32)
            assert case(empty, bias=bias).shape == shape
            *_, dbias = case.vjp(empty, empty, bias=bias)
            assert dbias.dtype == np.float32 and dbias.tolist() == [0] * shape[-1]
    x = np.array(0.75, dtype)
    y, (dx, *grads) = case(x), case.gradients(x, x)
    assert type(y) is dtype.type and type(dx) is dtype.type
    support.assert_same_bits(y, case(x.reshape(1))[0])
    support.assert_same_bits((dx, *grads), tuple(g[0] if i == 0 else g for i, g in enumerate(
        case.gradients(x.reshape(1), x.reshape(1)))))  # fmt: skip
    out = np.zeros((), dtype)
    assert case(x, out=out) is out and out == y
    assert np.asarray(case(1)).dtype == np.float64
    assert case([1, 2, 3]).dtype == np.float64
    assert case(np.array([1, 2], np.int8)).dtype == np.float32
    assert case(np.array([True, False])).dtype == np.float32
    assert case(np.array([1, 2], np.int64)).dtype == np.float64
    big = np.array([1.5, -2.0]).astype(dtype)
    if dtype.kind == "f":
        support.assert_same_bits(case(big.astype(dtype.newbyteorder())), case(big))


@pytest.mark.parametrize("case", [c for c in FIRST if c.learned], ids=repr)
def test_parameter_gradients_have_their_parameters_shape_and_dtype(case, rng):
    x, dy = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    _, *want = case.vjp(dy, x)
    for of in support.DTYPES:
        for shape in ((), (1,)):
            given = [np.asarray(v).astype(of) for v in case.values]
            given = [v.reshape(shape) if v.ndim == 0 else v for v in given]
            _, *got = getattr(lm, f"{case.python}_vjp")(dy, x, *given)
            for g, v in zip(got, given, strict=True):
                assert g.dtype == of and g.shape == v.shape
            # the parameter was rounded to its type first
            same = [v.astype(np.float64) for v in given]
            _, *exact = getattr(lm, f"{case.python}_vjp")(dy, x, *same)
            for g, e in zip(got, exact, strict=True):
                support.assert_same_bits(g, support.rounded(e, of))
            support.assert_same_bits(
                getattr(lm, case.python)(x, *given), getattr(lm, case.python)(x, *same)
            )
    for g, v in zip(want, case.values, strict=True):
        assert g.dtype == np.float64 and g.shape == np.shape(v)
    whole = [np.ravel(np.arange(1, 1 + np.size(v))) for v in case.values]
    whole = [w if np.ndim(v) else int(w[0]) for w, v in zip(whole, case.values, strict=True)]
    _, *got = getattr(lm, f"{case.python}_vjp")(dy, x, *whole)
    assert all(g.dtype == np.float64 for g in got)


# ------------------------------------------------------------------ bits ---


def data(rng, shape, dtype):
    x = rng.normal(0, 2, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype), x


def everything(case, dy, x, bias=None):
    """Value and all gradients of one input."""
    options = {} if bias is None else {"bias": bias}
    return (case(x, **options), *case.gradients(dy, x, **options))


@each
@pytest.mark.parametrize("shape", [(7, 333), (60, 700), (3, 40_000), (5000, 9)], ids=str)
def test_tiers_and_threads_give_the_same_bits(case, shape, rng):
    for dtype in (support.F32, support.F64):
        dy, x = data(rng, shape, dtype)
        bias = rng.normal(size=shape[-1]) if case.takes_bias else None
        want = everything(case, dy, x), everything(case, dy, x, bias)
        for tier in support.TIERS:
            for threads in (1, 2):
                with support.running(tier, threads):
                    got = everything(case, dy, x), everything(case, dy, x, bias)
                    for g, w in zip(got, want, strict=True):
                        for i, (a, b) in enumerate(zip(g, w, strict=True)):
                            support.assert_same_bits(a, b, f"{tier}, {threads} threads, result {i}")


@pytest.mark.parametrize("name", ["relu", "gelu", "crrelu"])
def test_arrays_beyond_the_caches_have_the_bits_of_their_parts(name, rng):
    case = next(c for c in FIRST if c.name == name)
    x = np.resize(rng.normal(0, 2, 100_003).astype(np.float32), 12_000_000)
    y = case(x)
    dx = case.gradients(x, x)[0]
    for i in range(0, x.size, 1_000_000):
        part = slice(i, i + 1_000_000)
        support.assert_same_bits(y[part], case(x[part]), f"from {i}")
        support.assert_same_bits(dx[part], case.gradients(x[part], x[part])[0], f"from {i}")


@each
def test_layouts_give_the_same_bits(case, dtype, rng):
    dy, x = data(rng, (40, 611), dtype)
    bias = rng.normal(size=x.shape[-1]).astype(np.float32) if case.takes_bias else None
    want, biased = everything(case, dy, x), everything(case, dy, x, bias)
    for name, layout in support.LAYOUTS.items():
        for arrays in ((layout(dy), layout(x)), (dy, layout(x)), (layout(dy), x)):
            got = everything(case, *arrays)
            for i, (a, b) in enumerate(zip(got, want, strict=True)):
                support.assert_same_bits(a, b, f"{name}, result {i}")
        got = everything(case, layout(dy), layout(x), None if bias is None else layout(bias))
        for i, (a, b) in enumerate(zip(got, biased, strict=True)):
            support.assert_same_bits(a, b, f"{name} with bias, result {i}")


@each
def test_axes_in_any_order_give_the_same_bits(case, rng):
    dy, x = data(rng, (6, 5, 4, 230), support.F32)
    bias = rng.normal(size=x.shape[-1]) if case.takes_bias else None
    want = everything(case, dy, x, bias)
    for order in ((3, 2, 1, 0), (1, 0, 2, 3), (0, 3, 1, 2), (2, 1, 3, 0)):
        back = np.argsort(order)
        turned = [np.ascontiguousarray(a.transpose(order)).transpose(back) for a in (dy, x)]
        for i, (a, b) in enumerate(zip(everything(case, *turned, bias), want, strict=True)):
            support.assert_same_bits(a, b, f"{order}, result {i}")
    broadcast = np.broadcast_to(x[0, 0, 0], x.shape)
    copied = everything(case, dy, broadcast.copy(), bias)
    for a, b in zip(everything(case, dy, broadcast, bias), copied, strict=True):
        support.assert_same_bits(a, b, "broadcast")


@each
def test_each_element_is_by_itself(case, dtype, rng):
    dy, x = data(rng, (70,), dtype)
    y, dx = case(x), case.gradients(dy, x)[0]
    for i in range(70):
        support.assert_same_bits(case(x[i:]), y[i:], f"from {i}")
        support.assert_same_bits(case.gradients(dy[: i + 1], x[: i + 1])[0], dx[: i + 1], f"to {i}")


@each
def test_out_may_be_an_input_or_overlap_it(case, dtype, rng):
    dy, x = data(rng, (5, 60), dtype)
    bias = x[0] if case.takes_bias else None
    for b in (None, bias)[: 2 if case.takes_bias else 1]:
        options = {} if b is None else {"bias": b.copy()}
        y, (dx, *grads) = case(x, **options), case.gradients(dy, x, **options)
        a = x.copy()
        # the bias is a row of what is overwritten
        assert case(a, out=a, **({} if b is None else {"bias": a[0]})) is a
        support.assert_same_bits(a, y)
        for i in range(2):
            pair = [dy.copy(), x.copy()]
            mine = {} if b is None else {"bias": pair[1][0]}
            got, *sums = case.gradients(*pair, out=pair[i], **mine)
            assert got is pair[i]
            support.assert_same_bits((got, *sums), (dx, *grads))
        room = np.zeros((6, 60), dtype)
        room[:5] = x
        got = case(room[:5], out=room[1:], **options)
        assert got.base is room
        support.assert_same_bits(got.copy(), y, "overlap")
        room[:5] = x
        case.gradients(dy, room[:5], out=room[1:], **options)
        support.assert_same_bits(room[1:].copy(), dx, "overlap")
        for name, layout in support.LAYOUTS.items():
            if name != "swapped_bytes":
                place = layout(np.zeros_like(x))
                assert case(x, out=place, **options) is place
                support.assert_same_bits(np.ascontiguousarray(place), y, name)
                got, *sums = case.gradients(dy, x, out=place, **options)
                assert got is place
                support.assert_same_bits((np.ascontiguousarray(place), *sums), (dx, *grads), name)


# ------------------------------------------------------------------ bias ---

BIASED = [c for c in ALL if c.takes_bias]


@pytest.mark.parametrize("case", BIASED, ids=repr)
def test_bias_is_added_first(case, dtype, rng):
    dy, x = data(rng, (9, 50), dtype)
    real = np.float64 if dtype == np.float64 else np.float32
    for of in support.DTYPES:
        bias = rng.normal(size=50).astype(of)
        moved = x.astype(real) + bias.astype(real)
        support.assert_same_bits(case(x, bias=bias), support.rounded(case(moved), dtype))
        dx, *grads, dbias = case.gradients(dy, x, bias=bias)
        whole, *rest = case.gradients(dy.astype(real), moved)
        support.assert_same_bits(dx, support.rounded(whole, dtype))
        support.assert_same_bits(tuple(grads), tuple(rest))
        assert dbias.dtype == of and dbias.shape == (50,)
        sums = [math.fsum(column) for column in whole.astype(np.float64).T]
        if of == support.F64:
            assert (np.abs(dbias - sums) <= 2.0**-52 * np.abs(sums)).all()
        else:
            support.assert_same_bits(dbias, support.rounded(sums, of))


def test_bias_of_one_row_and_of_many(rng):
    for shape in ((50,), (1, 50), (20_000, 3), (2, 3, 4, 50), (3, 20_000)):
        dy, x = data(rng, shape, support.F64)
        bias = rng.normal(size=shape[-1])
        dx, dbias = lm.gelu_vjp(dy, x, bias=bias)
        flat = dx.reshape(-1, shape[-1])
        sums = np.array([math.fsum(column) for column in flat.T])
        assert (np.abs(dbias - sums) <= 2.0**-52 * np.abs(sums)).all()
        support.assert_same_bits(lm.gelu(x, bias=bias), lm.gelu(x + bias))


# ------------------------------------------------------------------ what is refused ---


@each
def test_bad_arguments_are_refused_and_nothing_is_written(case):
    x = np.ones((2, 3), np.float32)
    out = np.full((2, 3), 7, np.float32)
    function, vjp = getattr(lm, case.python), getattr(lm, f"{case.python}_vjp")
    good = case.values
    read_only = out.copy()
    read_only.flags.writeable = False

    def refused(error, names, *arrays, values=good, **options):
        options = {"out": out, **options}
        if len(arrays) == 1:
            with pytest.raises(error, match=names):
                function(*arrays, *values, **options)
            arrays = (x, *arrays)
        with pytest.raises(error, match=names):
            vjp(*arrays, *values, **options)

    for values, error, names in BAD.get(case.python, []):
        refused(error, names, x, values=values)
        refused(error, names, x[::-1, ::-1], values=values)
    if case.python not in ("gelu", "poly_relu"):
        for value in ("two", None, True, 2j, [True], object(), np.ma.ones(1))[: 7 * bool(good)]:
            refused(TypeError, "power|beta|eps|threshold", x, values=(value,))
    refused(TypeError, "complex", x.astype(complex))
    refused(TypeError, "x", None)
    refused(TypeError, "x", np.ma.ones((2, 3)))
    refused(TypeError, "out", x, out=np.ones((2, 3), np.float64))
    refused(TypeError, "out", x, out=[1, 2])
    refused(ValueError, "out", x, out=np.ones((3, 2), np.float32))
    refused(ValueError, "read-only", x, out=read_only)
    refused(ValueError, "out", x, out=np.lib.stride_tricks.as_strided(out, (2, 3), (4, 4)))
    refused(TypeError, "dy", x.astype(np.float64), x)
    refused(ValueError, "dy", x[:1], x)
    refused(ValueError, "dy", x[0], x)
    refused(TypeError, "dy", None, x)
    with pytest.raises(TypeError, match="nothing_of_this_name"):
        function(x, *good, nothing_of_this_name=1)
    with pytest.raises(TypeError):
        vjp(x, x, *good, 1.0, 2.0)
    if good and case.python in ("swish", "relu_power", "fatrelu", "poly_relu"):
        with pytest.raises(TypeError, match=r"beta|power|threshold|weight"):
            function(x)
    if case.takes_bias:
        refused(ValueError, r"bias.*\(3,\).*\(2,\)", x, bias=np.ones(2))
        refused(ValueError, "bias", x, bias=1.0)
        refused(ValueError, "bias", x, bias=np.ones((1, 3)))
        refused(TypeError, "bias.*int64", x, bias=np.ones(3, np.int64))
        refused(TypeError, "bias.*bool", x, bias=np.ones(3, bool))
        refused(TypeError, "bias.*complex", x, bias=np.ones(3, complex))
        zero = np.float32(1)
        refused(ValueError, "bias.*0-d", np.array(zero), np.array(zero), bias=np.ones(1), out=None)
    assert (out == 7).all() and (x == 1).all() and (read_only == 7).all()


def test_parameters_beyond_float32_are_refused_where_that_is_computed():
    x = np.ones(3, np.float32)
    for call in (lambda x: lm.swish(x, 1e39), lambda x: lm.crrelu(x, -1e39)):
        with pytest.raises(ValueError, match="float32"):
            call(x)
        assert np.isfinite(call(x.astype(np.float64))).all()


# ------------------------------------------------------------------ names ---


@each
@pytest.mark.parametrize("suffix", ["", "_vjp"])
def test_signature_and_documentation(case, suffix):
    name = case.python + suffix
    function = getattr(lm, name)
    assert name in lm.__all__ and function.__name__ == name and function.__module__ == "lanemax"
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keyword = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    defaults = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    op = next(op for op in lm.activations() if op["name"] == case.name)
    own = ["approximate"] if case.python == "gelu" else op["parameters"]
    assert positional == [*(["dy"] if suffix else []), "x", *own]
    assert keyword == {**({"bias": None} if case.takes_bias else {}), "out": None}
    optional = {"softplus": ("beta", 1.0), "crrelu": ("eps", 0.01), "gelu": ("approximate", "none")}
    for parameter in own:
        default = dict([optional[case.python]]).get(parameter) if case.python in optional else None
        assert defaults[parameter] == (inspect.Parameter.empty if default is None else default)
    doc = inspect.getdoc(function)
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert f"\n{section}\n---" in doc
    assert max(map(len, doc.splitlines())) <= 200


def test_parameters_may_be_named():
    x = np.array([-1.0, 0.5])
    support.assert_same_bits(lm.swish(x, beta=1.5), lm.swish(x, 1.5))
    support.assert_same_bits(lm.swish_vjp(dy=x, x=x, beta=1.5), lm.swish_vjp(x, x, 1.5))
    support.assert_same_bits(lm.crrelu(x=x, eps=0.01), lm.crrelu(x))
    support.assert_same_bits(lm.softplus(x, beta=1), lm.softplus(x))
    support.assert_same_bits(lm.poly_relu(x, bias=1.0, weight=[2.0]), lm.poly_relu(x, [2.0], 1.0))
    support.assert_same_bits(lm.gelu(x, approximate="none"), lm.gelu(x))
    assert not support.same_bits(lm.gelu(x, "tanh"), lm.gelu(x))


def test_activations_lists_the_registry():
    ops = lm._core.registry.unary_ops()
    listed = lm.activations()[: len(ops)]
    assert [a["name"] for a in listed] == [op["name"] for op in ops]
    for a, op in zip(listed, ops, strict=True):
        assert a["parameters"] == op["parameters"] and a["formula"] == op["formula"]
        assert a["bound"] == (op["bound"] or None)
        assert hasattr(lm, a["call"].partition("(")[0])
    assert {a["name"]: a["call"] for a in listed}["gelu_tanh"] == "gelu(x, approximate='tanh')"
    listed[0]["name"] = "changed"
    assert lm.activations()[0]["name"] == "relu"


def test_documentation_has_a_row_for_every_activation():
    """In the order of the registry, as Python spells the call, with the bound."""
    page = pathlib.Path(__file__).parents[2] / "docs" / "activations.md"
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) == len(lm.activations())
    for (call, _, bound, gradients), op in zip(rows, lm.activations(), strict=True):
        assert call.strip("`").replace("*, ", "").replace('"', "'") == op["call"].replace(
            "-06", "-6"
        )
        if op["bound"] is None:
            assert "terms" in bound or " u " in bound
        else:
            assert bound == ("exact" if op["bound"] <= 0.5 else f"{op['bound']:g}")
        learned = op["parameters"] if op["learned"] else []
        named = [name for name in gradients.split(", ") if name]
        assert [name for name in named if name not in op["arrays"]] == learned


def test_a_masked_array_is_refused_by_name():
    x = np.ma.masked_array(np.ones(3), [True, False, False])
    for f in (lm.gelu, lm.softplus):
        with pytest.raises(
            TypeError, match=r"^x: a MaskedArray's mask would be lost; pass x\.data"
        ):
            f(x)
    with pytest.raises(TypeError, match=r"^dy: a MaskedArray's mask"):
        lm.gelu_vjp(x, np.ones(3))
