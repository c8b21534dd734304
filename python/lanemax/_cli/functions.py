# SPDX-License-Identifier: Apache-2.0
"""What ``check`` verifies: one entry of `FUNCTIONS` per public function and option.

A new function needs an oracle and one entry here; tiers, threads, layouts, element types, the
table and the report follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

import lanemax as lm

from .. import _activations
from .._core import registry
from . import activation_oracle, channel_oracle, loss_oracle, oracle
from .oracle import Array, Exact, Format

#: Arrays by the name of the argument they are passed as.
Arguments: TypeAlias = Mapping[str, Array]

#: An error per element, in the unit of its limit; 0 where the limit does not apply.
Errors: TypeAlias = Array

#: x, in the element type under test -> the arguments of the call.
Prepare: TypeAlias = Callable[[Array, np.random.Generator], Arguments]


@dataclass(frozen=True)
class Expected:
    """The exact results of one call, and what the limits need to know beside them."""

    value: Exact
    #: Errors are counted in multiples of this, where a bound is not relative to the result.
    scale: Array | None = None
    #: Forgiven, in absolute terms: what rounding x / temperature does to the result.
    forgiven: Array | None = None
    #: Forgiven where results are subnormal: multiples of the smallest number of the type.
    quanta: Array | float = 1.0


#: (float64 arguments, arithmetic) -> the exact results; None where there is no formula.
Expectation: TypeAlias = Callable[[Arguments, oracle.Arithmetic], Expected | None]


@dataclass(frozen=True)
class Limit:
    """One bound of a function: its text, the largest error allowed, and how an error is counted.

    The text may hold ``{near}``, the absolute error allowed to results near 0.
    """

    text: str
    most: float
    unit: str
    errors: Callable[[Array, Expected, Format], Errors]


@dataclass(frozen=True)
class Function:
    """One row of the check.

    Attributes
    ----------
    name : str
        As the table shows it.
    prepare : callable
        Makes the arguments from logits.
    call : callable
        Calls the library: ``call(arguments, axis, out)``.
    expected : callable
        Computes the exact results from float64 arguments; None where there is no formula.
    limits : tuple of Limit
        The bounds; each is a row of the table.
    in_place : str
        The argument whose array may serve as `out`; empty for reductions and sums.
    every : int
        It is checked on each so-manieth sample.
    """

    name: str
    prepare: Prepare
    call: Callable[[Arguments, int, Array | None], Array]
    expected: Expectation
    limits: tuple[Limit, ...]
    in_place: str = "x"
    every: int = 1


# ----------------------------------------------------------------------------------- limits

#: The exponent of the unit 1, for errors that are absolute.
ONES = np.zeros((), np.int32)


def _ulps(got: Array, e: Expected, form: Format) -> tuple[Errors, Array]:
    """Return errors in units of the last place, and where the exact result is normal."""
    unit = oracle.unit_exponent(e.value, form)
    error = oracle.absolute_error(got, e.value, unit)
    if e.forgiven is not None:
        error = np.maximum(0.0, error - np.ldexp(e.forgiven, -unit))
    normal = oracle.exponent_of(e.value) >= form.least
    return error, normal | (e.value.hi == 0.0) | np.isinf(e.value.hi)


def _normal(got: Array, e: Expected, form: Format) -> Errors:
    error, normal = _ulps(got, e, form)
    return np.where(normal, error, 0.0)


def _subnormal(got: Array, e: Expected, form: Format) -> Errors:
    error, normal = _ulps(got, e, form)
    return np.where(normal, 0.0, error)


def _every(got: Array, e: Expected, form: Format) -> Errors:
    return _ulps(got, e, form)[0]


def near_zero(form: Format) -> float:
    """Return 2.5e-7, which belongs to float32, for the precision of `form`."""
    return float(np.ldexp(2.5e-7, 24 - form.bits))


def _ulp_or_absolute(got: Array, e: Expected, form: Format) -> Errors:
    error, _ = _ulps(got, e, form)
    absolute = oracle.absolute_error(got, e.value, ONES)
    return np.minimum(error, absolute / near_zero(form))


def _magnitude(e: Expected) -> Array:
    return np.abs(np.ldexp(e.value.hi, e.value.shift))


def _ulp_away_from_zero(got: Array, e: Expected, form: Format) -> Errors:
    return np.where(_magnitude(e) >= 0.1, _every(got, e, form), 0.0)


def _absolute_at_zero(got: Array, e: Expected, form: Format) -> Errors:
    absolute = oracle.absolute_error(got, e.value, ONES)
    return np.where(_magnitude(e) < 0.1, absolute / near_zero(form), 0.0)


def _scaled(got: Array, e: Expected, form: Format) -> Errors:
    """Return errors in multiples of 2^-bits of the sum of absolute terms."""
    assert e.scale is not None
    # In units of 2^-bits throughout: scaled down, a subnormal sum of terms would vanish.
    error = oracle.absolute_error(got, e.value, ONES - np.int32(form.bits))
    over = np.maximum(0.0, error - np.ldexp(e.quanta, form.least + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(over == 0.0, 0.0, over / e.scale)


SOFTMAX_LIMITS = (
    Limit("4 ULP", 4.0, "ULP", _normal),
    Limit("2 quanta (subnormal)", 2.0, "quanta", _subnormal),
)
LOG_SOFTMAX_LIMITS = (Limit("3 ULP", 3.0, "ULP", _normal),)
LOGSUMEXP_LIMITS = (Limit("1 ULP or {near:.2g}", 1.0, "of it", _ulp_or_absolute),)
VJP_LIMITS = (Limit("6 u * terms", 6.0, "u", _scaled),)


# ------------------------------------------------------------------------------- arguments


def _logits(x: Array, rng: np.random.Generator) -> Arguments:
    return {"x": x}


def _with_temperature(x: Array, rng: np.random.Generator) -> Arguments:
    return {"x": x, "temperature": rng.uniform(0.1, 10.0, (x.shape[0], 1))}


def _with_where(x: Array, rng: np.random.Generator) -> Arguments:
    keep = rng.random(x.shape) < 0.7
    keep[rng.random(x.shape[0]) < 0.1] = False
    # A row of which something is kept must keep a finite element: others are special values.
    rows = np.flatnonzero(keep.any(axis=-1))
    keep[rows, np.isfinite(x.astype(np.float64)).argmax(axis=-1)[rows]] = True
    x = x.copy()
    # What is masked takes no part, whatever it is.
    x[~keep & (rng.random(x.shape) < 0.2)] = np.nan
    return {"x": x, "where": keep}


def _gradient(result: Callable[[Array], Array]) -> Prepare:
    def prepare(x: Array, rng: np.random.Generator) -> Arguments:
        return {"dy": rng.standard_normal(x.shape).astype(x.dtype), "y": result(x)}

    return prepare


def _gradient_with_temperature(result: Callable[[Array], Array]) -> Prepare:
    def prepare(x: Array, rng: np.random.Generator) -> Arguments:
        both = _gradient(result)(x, rng)
        return {**both, "temperature": rng.uniform(0.1, 10.0, (x.shape[0], 1))}

    return prepare


# ---------------------------------------------------------------------------------- oracles


def _masked_logits(a: Arguments) -> tuple[Array, Array]:
    """Return logits with -inf where masked, and which rows keep nothing (they are set to 0)."""
    x = np.where(a["where"], a["x"], -np.inf)
    nothing: Array = ~np.asarray(a["where"].any(axis=-1, keepdims=True))
    return np.where(nothing, 0.0, x), nothing


def _forgiven(r: oracle.Rows, a: Arguments, log: bool, bits: int) -> Array:
    """Return by how much one rounding of x / temperature may move each result."""
    z = np.where(r.masked, 0.0, np.abs(a["x"] / a["temperature"]))
    half = np.where(z > 0.0, np.exp2(np.floor(np.log2(np.maximum(z, 1e-300))) - bits), 0.0)
    p = oracle.softmax(r)
    p_value = np.ldexp(p.hi, p.shift)
    moved: Array = half + (p_value * half).sum(axis=-1, keepdims=True)
    return moved if log else moved * p_value


def _bits_of(arithmetic: oracle.Arithmetic) -> int:
    return 53 if isinstance(arithmetic, oracle.DoubleDouble) else 24


def _expect_row(formula: Callable[[oracle.Rows], Exact], log: bool) -> Any:
    def expected(a: Arguments, arithmetic: oracle.Arithmetic) -> Expected:
        if "where" in a:
            x, nothing = _masked_logits(a)
            value = formula(oracle.rows_of(x, arithmetic))
            empty = -np.inf if log else 0.0
            hi, lo = np.where(nothing, empty, value.hi), np.where(nothing, 0.0, value.lo)
            return Expected(oracle.exact(hi, lo, value.shift))
        r = oracle.rows_of(a["x"], arithmetic, a.get("temperature"))
        forgiven = _forgiven(r, a, log, _bits_of(arithmetic)) if "temperature" in a else None
        return Expected(formula(r), forgiven=forgiven)

    return expected


def _expect_logsumexp(a: Arguments, arithmetic: oracle.Arithmetic) -> Expected:
    if "where" not in a:
        return Expected(oracle.logsumexp(oracle.rows_of(a["x"], arithmetic)))
    x, nothing = _masked_logits(a)
    value = oracle.logsumexp(oracle.rows_of(x, arithmetic))
    gone = nothing[..., 0]
    hi, lo = np.where(gone, -np.inf, value.hi), np.where(gone, 0.0, value.lo)
    return Expected(oracle.exact(hi, lo))


def _expect_vjp(formula: Any) -> Any:
    def expected(a: Arguments, arithmetic: oracle.Arithmetic) -> Expected:
        temperature = a.get("temperature")
        value, scale = formula(a["dy"], a["y"], arithmetic, temperature)
        # A product that underflows before it is divided has lost that much.
        quanta = 1.0 if temperature is None else 1.0 + 1.0 / temperature
        return Expected(value, scale=scale, quanta=quanta)

    return expected


# ------------------------------------------------------------------------------------ calls


def _forward(function: Any) -> Any:
    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        options = {k: v for k, v in a.items() if k != "x"}
        return np.asarray(function(a["x"], axis=axis, out=out, **options))

    return call


def _backward(function: Any) -> Any:
    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        options = {k: v for k, v in a.items() if k not in ("dy", "y")}
        return np.asarray(function(a["dy"], a["y"], axis=axis, out=out, **options))

    return call


def _forward_total(function: Any) -> Any:
    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        total = lm.exp_sum(a["x"], axis=axis)
        return np.asarray(function(a["x"], axis=axis, total=total, out=out))

    return call


def _sum_log(a: Arguments, axis: int, out: Array | None) -> Array:
    """Return the logarithm of the row's sum of exponentials, in float64."""
    return np.asarray(lm.exp_sum(a["x"], axis=axis).log())


ROWS: tuple[Function, ...] = (
    Function(
        "softmax",
        _logits,
        _forward(lm.softmax),
        _expect_row(oracle.softmax, log=False),
        SOFTMAX_LIMITS,
    ),
    Function(
        "softmax(temperature=)",
        _with_temperature,
        _forward(lm.softmax),
        _expect_row(oracle.softmax, log=False),
        SOFTMAX_LIMITS,
    ),
    Function(
        "softmax(where=)",
        _with_where,
        _forward(lm.softmax),
        _expect_row(oracle.softmax, log=False),
        SOFTMAX_LIMITS,
    ),
    Function(
        "softmax(total=)",
        _logits,
        _forward_total(lm.softmax),
        _expect_row(oracle.softmax, log=False),
        SOFTMAX_LIMITS,
    ),
    Function(
        "log_softmax",
        _logits,
        _forward(lm.log_softmax),
        _expect_row(oracle.log_softmax, log=True),
        LOG_SOFTMAX_LIMITS,
    ),
    Function(
        "log_softmax(temperature=)",
        _with_temperature,
        _forward(lm.log_softmax),
        _expect_row(oracle.log_softmax, log=True),
        LOG_SOFTMAX_LIMITS,
    ),
    Function(
        "log_softmax(where=)",
        _with_where,
        _forward(lm.log_softmax),
        _expect_row(oracle.log_softmax, log=True),
        LOG_SOFTMAX_LIMITS,
    ),
    Function(
        "log_softmax(total=)",
        _logits,
        _forward_total(lm.log_softmax),
        _expect_row(oracle.log_softmax, log=True),
        (
            Limit("3 ULP (|y| >= 0.1)", 3.0, "ULP", _ulp_away_from_zero),
            Limit("{near:.2g} (|y| < 0.1)", 1.0, "of it", _absolute_at_zero),
        ),
    ),
    Function(
        "logsumexp",
        _logits,
        _forward(lm.logsumexp),
        _expect_logsumexp,
        LOGSUMEXP_LIMITS,
        in_place="",
    ),
    Function(
        "logsumexp(where=)",
        _with_where,
        _forward(lm.logsumexp),
        _expect_logsumexp,
        LOGSUMEXP_LIMITS,
        in_place="",
    ),
    Function(
        "exp_sum().log()",
        _logits,
        _sum_log,
        _expect_logsumexp,
        LOGSUMEXP_LIMITS,
        in_place="",
    ),
    Function(
        "softmax_vjp",
        _gradient(lm.softmax),
        _backward(lm.softmax_vjp),
        _expect_vjp(oracle.softmax_vjp),
        VJP_LIMITS,
        in_place="dy",
    ),
    Function(
        "softmax_vjp(temperature=)",
        _gradient_with_temperature(lm.softmax),
        _backward(lm.softmax_vjp),
        _expect_vjp(oracle.softmax_vjp),
        VJP_LIMITS,
        in_place="dy",
    ),
    Function(
        "log_softmax_vjp",
        _gradient(lm.log_softmax),
        _backward(lm.log_softmax_vjp),
        _expect_vjp(oracle.log_softmax_vjp),
        VJP_LIMITS,
        in_place="dy",
    ),
    Function(
        "log_softmax_vjp(temperature=)",
        _gradient_with_temperature(lm.log_softmax),
        _backward(lm.log_softmax_vjp),
        _expect_vjp(oracle.log_softmax_vjp),
        VJP_LIMITS,
        in_place="dy",
    ),
)


# ----------------------------------------------------------------- other functions than exp


def _moderate(x: Array) -> Array:
    """Return finite logits that no square takes out of the range of the oracle."""
    finite = np.where(np.isfinite(x.astype(np.float64)), x, 0).astype(np.float64)
    clipped: Array = np.clip(finite, -1e4, 1e4).astype(x.dtype)
    return clipped


def _moderate_logits(x: Array, rng: np.random.Generator) -> Arguments:
    return {"x": _moderate(x)}


def _moderate_gradient(x: Array, rng: np.random.Generator) -> Arguments:
    return {"dy": rng.standard_normal(x.shape).astype(x.dtype), "x": _moderate(x)}


def _backward_of_input(function: Any) -> Any:
    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        return np.asarray(function(a["dy"], a["x"], axis=axis, out=out))

    return call


def _positive(name: str, f: Any, log: bool = False) -> tuple[Function, Function]:
    """Two entries for a function that normalises the values of `f`."""
    value = loss_oracle.log_shares if log else loss_oracle.shares
    gradient = loss_oracle.log_shares_vjp if log else loss_oracle.shares_vjp

    def expected(a: Arguments, m: oracle.Arithmetic) -> Expected:
        return Expected(value(f(a["x"], m), m))

    def expected_vjp(a: Arguments, m: oracle.Arithmetic) -> Expected:
        exact, terms = gradient(a["dy"], f(a["x"], m), m)
        return Expected(exact, scale=terms, quanta=2.0)

    return (
        Function(
            name,
            _moderate_logits,
            _forward(getattr(lm, name)),
            expected,
            (Limit("4 ULP", 4.0, "ULP", _normal),),
            every=4,
        ),
        Function(
            f"{name}_vjp",
            _moderate_gradient,
            _backward_of_input(getattr(lm, f"{name}_vjp")),
            expected_vjp,
            VJP_LIMITS,
            in_place="dy",
            every=4,
        ),
    )


POSITIVE: tuple[Function, ...] = (
    *_positive("spherical_softmax", loss_oracle.spherical),
    *_positive("taylor_softmax", loss_oracle.taylor),
    *_positive("stablemax", loss_oracle.stable),
    *_positive("log_stablemax", loss_oracle.stable, log=True),
)


# ------------------------------------------------------------------------------------ losses


def _labelled(x: Array, rng: np.random.Generator) -> Arguments:
    """Finite logits, and a target for each row, as a column."""
    return {
        "x": _moderate(x),
        "target": rng.integers(0, x.shape[1], (x.shape[0], 1)),
    }


def _loss_call(name: str, gradient: bool) -> Any:
    function = getattr(lm, name + "_and_grad" if gradient else name)

    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        turned = axis == 0
        logits, target = a["x"].T if turned else a["x"], a["target"].reshape(-1)
        if not gradient:
            return np.asarray(function(logits, target, reduction="none", out=out))
        grad = function(logits, target, reduction="none", grad_out=out)[1]
        return np.asarray(grad.T if turned else grad)

    return call


def _expect_loss(name: str, gradient: bool) -> Any:
    formula = loss_oracle.FORMULAS.get(name)

    def expected(a: Arguments, arithmetic: oracle.Arithmetic) -> Expected | None:
        if formula is None:
            return None
        found = formula(a["x"], a["target"].reshape(-1), arithmetic)
        if gradient:
            return Expected(found.gradient, scale=found.terms)
        return Expected(found.value)

    return expected


def _losses_of_registry() -> tuple[Function, ...]:
    """Two entries for every loss: those without a formula here are compared in bits alone."""
    found = []
    for name in (op["name"] for op in registry.losses()):
        known = name in loss_oracle.FORMULAS
        most = 3.0 if name == "cross_entropy" else 4.0
        value = Limit(f"{most:.0f} ULP", most, "ULP", _normal)
        gradient = (
            Limit("4 ULP", 4.0, "ULP", _normal)
            if name == "cross_entropy"
            else Limit("6 u * terms", 6.0, "u", _scaled)
        )
        bits = Limit("the same bits", 0.0, "ULP", _normal)
        found += [
            Function(
                name,
                _labelled,
                _loss_call(name, False),
                _expect_loss(name, False),
                (value if known else bits,),
                in_place="",
                every=20,
            ),
            Function(
                f"{name} gradient",
                _labelled,
                _loss_call(name, True),
                _expect_loss(name, True),
                (gradient if known else bits,),
                every=20,
            ),
        ]
    return tuple(found)


def _attacked(x: Array, rng: np.random.Generator) -> Arguments:
    """Logits, targets, and logits of an input that was changed a little."""
    arguments = _labelled(x, rng)
    moved = arguments["x"].astype(np.float64) + rng.normal(0, 0.1, x.shape)
    return {**arguments, "adversarial": np.clip(moved, -1e4, 1e4).astype(x.dtype)}


def _adversarial(gradient: bool) -> Function:
    name = "smooth_adversarial_comp_sum_loss"
    function = getattr(lm, name + "_and_grad" if gradient else name)

    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        turned = axis == 0
        logits, attacked = (a[k].T if turned else a[k] for k in ("x", "adversarial"))
        found = function(logits, attacked, a["target"].reshape(-1), reduction="none")
        if not gradient:
            return np.asarray(found)
        both = np.concatenate(found[1:], axis=-1)
        return np.ascontiguousarray(both.T) if turned else both

    def expected(a: Arguments, m: oracle.Arithmetic) -> Expected | None:
        if gradient:
            return None
        exact = loss_oracle.smooth_adversarial(a["x"], a["adversarial"], a["target"].reshape(-1), m)
        return Expected(exact)

    limit = (
        Limit("the same bits", 0.0, "ULP", _normal)
        if gradient
        else Limit("4 ULP", 4.0, "ULP", _normal)
    )
    return Function(
        f"{name} gradient" if gradient else name,
        _attacked,
        call,
        expected,
        (limit,),
        in_place="",
        every=20,
    )


# ------------------------------------------------------------------------------ activations


def _unary_call(name: str, gradient: bool) -> Any:
    function = _activations.of_registry(name)[gradient]
    parameters = activation_oracle.PARAMETERS.get(name, ())

    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        arrays = (a["dy"], a["x"]) if gradient else (a["x"],)
        found = function(*arrays, *parameters, out=out)
        return np.asarray(found[0] if isinstance(found, tuple) else found)

    return call


def _expect_activation(name: str) -> tuple[Expectation, Limit]:
    """Exact values, and how far from them the library may be."""
    if name in activation_oracle.WITH_TERMS:
        formula, factor = activation_oracle.WITH_TERMS[name]

        def with_terms(a: Arguments, m: oracle.Arithmetic) -> Expected:
            value, terms = formula(a["x"], m)
            return Expected(value, scale=terms)

        return with_terms, _of_terms(factor)
    if name not in activation_oracle.FORMULAS:
        return _no_formula, SAME_BITS
    plain = activation_oracle.FORMULAS[name]
    most = max(_BOUNDS[name], 1.0)
    return (lambda a, m: Expected(plain(a["x"], m))), Limit(f"{most:.0f} ULP", most, "ULP", _normal)


def _expect_slope(name: str) -> tuple[Expectation, Limit]:
    if name not in activation_oracle.SLOPES:
        return _no_formula, SAME_BITS

    def expected(a: Arguments, m: oracle.Arithmetic) -> Expected:
        dx, terms = activation_oracle.pulled_back(name, activation_oracle.pair(a["dy"]), a["x"], m)
        return Expected(dx, scale=terms, quanta=_lost(a["dy"]))

    return expected, VJP_LIMITS[0]


def _lost(*factors: Array) -> Array:
    """Quanta that go where a derivative underflows, and then its product with `factors`."""
    quanta: Array = 2.0 * (1.0 + np.abs(np.prod(factors, axis=0)))
    return quanta


def _no_formula(a: Arguments, m: oracle.Arithmetic) -> None:
    return None


def _of_terms(factor: float) -> Limit:
    return Limit(f"{factor:.0f} u * terms" if factor else "exact", factor, "u", _scaled)


#: Of what has no formula, which a new activation may start without.
SAME_BITS = Limit("the same bits", 0.0, "ULP", _normal)

_BOUNDS = {op["name"]: op["bound"] for op in (*registry.unary_ops(), *registry.channel_ops())}


def _activations_of_registry() -> tuple[Function, ...]:
    """Two entries for every activation."""
    found = []
    for op in registry.unary_ops():
        name = op["name"]
        (value, limit), (gradient, gradient_limit) = _expect_activation(name), _expect_slope(name)
        found += [
            Function(
                name,
                _moderate_logits,
                _unary_call(name, False),
                value,
                (limit,),
                every=40,
            ),
            Function(
                f"{name}_vjp",
                _moderate_gradient,
                _unary_call(name, True),
                gradient,
                (gradient_limit,),
                in_place="dy",
                every=40,
            ),
        ]
    return tuple(found)


def _channel_call(name: str, gradient: bool) -> Any:
    function = _activations.of_registry(name)[gradient]
    parameters = channel_oracle.PARAMETERS.get(name, ())
    options = channel_oracle.OPTIONS.get(name, {})

    def call(a: Arguments, axis: int, out: Array | None) -> Array:
        arrays = [v.T if axis == 0 else v for v in a.values()]
        found = function(*arrays, *parameters, **options, out=out)
        first: Array = found[0] if isinstance(found, tuple) else found
        return first if axis else first.T

    return call


def _channels(name: str, two: bool, gradient: bool) -> Prepare:
    """Whole groups of channels of dy, x and up, as far as they are wanted."""
    unit = channel_oracle.UNITS.get(name, 1)

    def prepare(x: Array, rng: np.random.Generator) -> Arguments:
        x = _moderate(x[:, : x.shape[1] // unit * unit])
        arrays = {"dy": rng.standard_normal(x.shape).astype(x.dtype)} if gradient else {}
        arrays["x"] = x
        if two:
            arrays["up"] = rng.standard_normal(x.shape).astype(x.dtype)
        return arrays

    return prepare


def _expect_channel(
    formulas: Mapping[str, channel_oracle.Formula], factors: Mapping[str, float], name: str
) -> tuple[Expectation, Limit]:
    """Exact values, and how far from them the library may be."""
    if name not in formulas:
        return _no_formula, SAME_BITS
    formula = formulas[name]

    def expected(a: Arguments, m: oracle.Arithmetic) -> Expected:
        value, terms = formula(a, m)
        by = [a[k] for k in ("dy", "up") if k in a]
        return Expected(value, scale=terms, quanta=_lost(*by) if by else 2.0)

    if name in factors:
        return expected, _of_terms(factors[name])
    most = max(_BOUNDS[name], 1.0)
    return expected, Limit(f"{most:.0f} ULP", most, "ULP", _normal)


def _channels_of_registry() -> tuple[Function, ...]:
    """Two entries for every activation of channels."""
    o = channel_oracle
    found = []
    for op in registry.channel_ops():
        name, two = op["name"], op["inputs"] == 2
        value, limit = _expect_channel(o.FORMULAS, o.FACTORS, name)
        gradient, gradient_limit = _expect_channel(o.GRADIENTS, o.GRADIENT_FACTORS, name)
        found += [
            Function(
                name,
                _channels(name, two, False),
                _channel_call(name, False),
                value,
                (limit,),
                every=23,
            ),
            Function(
                f"{name}_vjp",
                _channels(name, two, True),
                _channel_call(name, True),
                gradient,
                (gradient_limit,),
                in_place="dy",
                every=23,
            ),
        ]
    return tuple(found)


#: What an option changes is seen on half of the samples.
FUNCTIONS: tuple[Function, ...] = (
    *(replace(f, every=2) if "=" in f.name else f for f in ROWS),
    *POSITIVE,
    *_losses_of_registry(),
    _adversarial(False),
    _adversarial(True),
    *_activations_of_registry(),
    *_channels_of_registry(),
)
