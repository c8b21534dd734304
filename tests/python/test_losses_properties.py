# SPDX-License-Identifier: Apache-2.0
"""Relations between losses that hold whatever the right answer is, over logits drawn by Hypothesis.

Where a relation is exact, the bits are compared.  Elsewhere each side may be wrong by what API.md
allows: a loss by 4 ULP, an entry of the gradient by 6 roundoffs of the sum of the absolute terms of
its formula, which the 50-digit oracle knows; so two of them may be 8 and 12 apart.

The profile "fast" is the default and draws the same examples each time; LANEMAX_HYPOTHESIS=nightly
draws eighty times as many, and others.
"""

from __future__ import annotations

import functools
import itertools
import math

import hypothesis
import lanemax as lm
import loss_oracle
import mpmath as mp
import numpy as np
import pytest
import support
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lanemax._core import registry
from support import CHUNK, F16, F32, F64, assert_same_bits

LOSSES = [op["name"] for op in registry.losses()]
#: of the others the gradient of a row sums to 0, for a shift of all logits changes nothing
NOT_SHIFT_INVARIANT = (
    "spherical_softmax_loss",
    "taylor_softmax_loss",
    "one_hot_mse_loss",
    "stablemax_cross_entropy",
)
SHIFT_INVARIANT = [name for name in LOSSES if name not in NOT_SHIFT_INVARIANT]
#: functions of the target's softmax
EXPONENTIAL = ("cross_entropy", "comp_sum_loss", "generalized_cross_entropy", "mae_loss")


def of_each(names):
    """A test of each loss, with fewer examples: they share most of the code."""
    examples = max(1, hypothesis.settings().max_examples * 2 // 5)

    def decorate(test):
        test = hypothesis.settings(max_examples=examples)(test)
        return pytest.mark.parametrize("name", names)(test)

    return decorate


every_loss = of_each(LOSSES)
shift_invariant = of_each(SHIFT_INVARIANT)

REDUCTIONS = st.sampled_from(["mean", "sum", "none"])
WIDE = st.sampled_from([F32, F64])
SHARE = st.floats(0, 1)
#: what becomes a factor in the compute type is normal there
SMOOTHING = st.one_of(st.just(0.0), st.floats(2.0**-100, 1))
TAU = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), st.floats(0, 4))
PARAMETERS = {
    "z_loss": {"a": st.floats(0.1, 10), "b": st.floats(-5, 5)},
    "spherical_softmax_loss": {"eps": st.one_of(st.just(0.0), st.floats(1e-12, 1))},
    "taylor_softmax_loss": {"order": st.sampled_from([2, 4, 6, 8, 16, 32])},
    "one_hot_mse_loss": {"label_smoothing": SMOOTHING},
    "comp_sum_loss": {"tau": TAU},
    "generalized_cross_entropy": {"q": SHARE},
}
OPTIONS = {
    "label_smoothing": SMOOTHING,
    "logz_penalty": st.floats(0, 10),
    "softcap": st.floats(0.1, 100),
    "temperature": st.floats(0.1, 10),
}


def value(name, *args, **kw):
    return getattr(lm, name)(*args, **kw)


def value_and_grad(name, *args, **kw):
    return getattr(lm, name + "_and_grad")(*args, **kw)


# ------------------------------------------------------------------ drawing ---
#
# Strategies are made once: making them takes longer than drawing from them.


@functools.cache
def settings(name):
    return st.fixed_dictionaries(PARAMETERS.get(name, {}))


@functools.cache
def numbers(dtype, special=()):
    """From the whole range of the type, subnormal and huge, and more often ordinary logits."""
    width = {F16: 16, F64: 64}.get(dtype, 32)
    top = {16: 65504.0, 32: 3.3895313892515355e38, 64: np.finfo(F64).max}[width]  # and bfloat16's
    tiny = {16: 2.0**-24, 32: 2.0**-133, 64: 5e-324}[width]
    often = st.floats(-30, 30, width=width)
    return st.one_of(
        often,
        often,
        st.floats(-top, top, width=width),
        st.sampled_from([0.0, -0.0, 1.0, tiny, *special]),
    )


@functools.cache
def rows(dtype, special=()):
    """One row of few logits."""
    return st.lists(numbers(dtype, special), min_size=1, max_size=8).map(
        lambda values: np.array(values, dtype)
    )


@functools.cache
def tables(dtype, special):
    """Several rows of few logits."""
    wide = F64 if dtype == F64 else F32
    shapes = st.tuples(st.integers(1, 6), st.integers(1, 8))
    return shapes.flatmap(
        lambda shape: hnp.arrays(wide, shape, elements=numbers(dtype, special))
    ).map(lambda x: x.astype(dtype))


LONG = st.tuples(
    st.sampled_from(sorted(support.KINDS)),
    st.sampled_from([1, 7, 16, 17, 33, 70, 256, 1025, CHUNK + 1]),
)
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from(support.DTYPES)
IGNORED = st.tuples(st.sampled_from([-100, -1]), st.sampled_from([0, 0.3, 1]))
SOME_OPTIONS = st.fixed_dictionaries({}, optional=OPTIONS)
LAYOUTS = st.sampled_from(sorted(support.LAYOUTS))


@st.composite
def problems(draw, name, special=()):
    """One row of few logits, its target, and parameters."""
    x, given = draw(rows(draw(WIDE), special)), draw(settings(name))
    if given.get("eps") == 0:  # else every share is 0 / 0
        assume(x.any())
    return x, draw(st.integers(0, len(x) - 1)), given


@st.composite
def calls(draw, name, special=(math.inf, -math.inf, math.nan)):
    """Logits, targets and every argument but reduction: few logits of any value, or long rows."""
    dtype = draw(DTYPES)
    rng = np.random.default_rng(draw(SEEDS))
    if draw(st.booleans()):
        x = draw(tables(dtype, special))
    else:
        kind, n = draw(LONG)
        x = support.logits(kind, rng, (max(1, min(70, 3000 // n)), n), dtype)
    shape, kw = x.shape, dict(draw(settings(name)))
    kw["ignore_index"], share = draw(IGNORED)
    t = rng.integers(0, shape[1], shape[0])
    t[rng.random(shape[0]) < share] = kw["ignore_index"]
    if rng.random() < 0.5:
        kw["weight"] = rng.uniform(0, 2, shape[1]) * (rng.random(shape[1]) < 0.8)
    if name == "cross_entropy":
        kw.update(draw(SOME_OPTIONS))
        if rng.random() < 0.5:
            t = rng.random(shape) * (rng.random(shape) < 0.8)
    return x, t, kw


def placed(data, a):
    """The same values somewhere in memory."""
    return support.LAYOUTS[data.draw(LAYOUTS)](a)


# ---------------------------------------------------------------- comparing ---


def roundoff(dtype):
    return 2.0**-53 if dtype == F64 else 2.0**-24


def quantum_of(dtype):
    return float(np.finfo(dtype).smallest_subnormal)


def terms_of(name, x, t, given):
    """The sums of the absolute terms of a row's gradient."""
    named = {"smoothing" if k == "label_smoothing" else k: v for k, v in given.items()}
    with mp.workdps(loss_oracle.DIGITS):
        return getattr(loss_oracle, name)([mp.mpf(float(v)) for v in x], t, **named).terms


def assert_losses_close(a, b, ulps=8):
    a, b = np.asarray(a), np.asarray(b)
    largest = np.maximum(abs(a), abs(b))
    with np.errstate(invalid="ignore", over="ignore"):
        close = abs(a - b) <= ulps * np.spacing(largest)
    assert ((a == b) | (np.isnan(a) & np.isnan(b)) | (np.isfinite(largest) & close)).all(), (a, b)


def assert_gradients_close(a, b, terms, factor=1):
    """To 12 roundoffs of the terms, and 2 quanta where the type ends; a = factor b."""
    u, top = roundoff(a.dtype), mp.mpf(float(np.finfo(a.dtype).max))
    for k, size in enumerate(terms):
        if np.isfinite(a[k]) and np.isfinite(b[k]):
            error = abs(mp.mpf(float(a[k])) - mp.mpf(float(b[k])) * factor)
            quantum = mp.mpf(quantum_of(a.dtype)) * (1 + factor)
            assert error <= 12 * u * size * factor + quantum, (k, a, b)
        else:
            beyond = size * (1 + 12 * u) * max(factor, 1) >= top
            assert np.isnan([a[k], b[k]]).all() or beyond, (k, a, b)


# ---------------------------------------------------------------- same bits ---


@every_loss
@given(data=st.data(), reduction=REDUCTIONS)
def test_loss_with_and_without_gradient(name, data, reduction):
    x, t, kw = data.draw(calls(name))
    loss, grad = value_and_grad(name, x, t, **kw, reduction=reduction)
    assert_same_bits(value(name, x, t, **kw, reduction=reduction), loss)
    own, out = x.copy(), np.empty_like(loss)
    got = value_and_grad(name, own, t, **kw, reduction=reduction, grad_out=own, out=out)
    assert got[0] is out
    assert got[1] is own
    assert_same_bits(out, np.asarray(loss))
    assert_same_bits(own, grad)


@every_loss
@given(data=st.data(), reduction=REDUCTIONS)
def test_place_in_memory(name, data, reduction):
    x, t, kw = data.draw(calls(name))
    loss, grad = value_and_grad(name, x, t, **kw, reduction=reduction)
    logits, target = placed(data, x), placed(data, t)
    if "weight" in kw:
        kw["weight"] = placed(data, kw["weight"])
    got = value_and_grad(name, logits, target, **kw, reduction=reduction)
    assert_same_bits(got[0], loss)
    assert_same_bits(got[1], grad)
    where = placed(data, np.zeros_like(x))
    if where.dtype == x.dtype:
        got = value_and_grad(name, logits, target, **kw, reduction=reduction, grad_out=where)
        assert_same_bits(where, grad)


@every_loss
@given(data=st.data(), reduction=REDUCTIONS)
def test_every_tier(name, data, reduction):
    x, t, kw = data.draw(calls(name))
    want = value_and_grad(name, x, t, **kw, reduction=reduction)
    for tier in support.TIERS:
        with support.running(tier, threads=2):
            assert_same_bits(value_and_grad(name, x, t, **kw, reduction=reduction), want, tier)


@every_loss
@given(data=st.data())
def test_parts_of_a_batch(name, data):
    x, t, kw = data.draw(calls(name))
    loss, grad = value_and_grad(name, x, t, **kw, reduction="none")
    cut = data.draw(st.integers(0, len(x)))
    for part in (slice(cut), slice(cut, None), slice(None, None, -1)):
        if len(x[part]) == 0:
            continue
        got = value_and_grad(name, x[part], t[part], **kw, reduction="none")
        assert_same_bits(got[0], loss[part])
        assert_same_bits(got[1], grad[part])


@every_loss
@given(data=st.data(), junk=st.sampled_from([0.0, math.nan, math.inf, -math.inf]))
def test_ignored_rows_might_as_well_be_deleted(name, data, junk):
    x, t, kw = data.draw(calls(name))
    assume(t.ndim == 1)
    kept = t != kw["ignore_index"]
    x[~kept] = junk
    for reduction in ("none", "sum", "mean"):
        loss, grad = value_and_grad(name, x, t, **kw, reduction=reduction)
        assert (support.bits(grad[~kept]) == 0).all()
        if not kept.any():
            assert np.isnan(loss) if reduction == "mean" else (loss == 0).all()
            continue
        want, want_grad = value_and_grad(name, x[kept], t[kept], **kw, reduction=reduction)
        assert_same_bits(grad[kept], want_grad, reduction)
        if reduction == "none":
            assert (support.bits(loss[~kept]) == 0).all()
            assert_same_bits(loss[kept], want)
        else:  # the rows are added in other groups
            assert_losses_close(loss, want, 1)


# --------------------------------------------------------------- reductions ---


def denominator(t, kw):
    if t.ndim == 2:
        return len(t)
    kept = t[t != kw["ignore_index"]]
    return math.fsum(kw["weight"][kept]) if "weight" in kw else len(kept)


@every_loss
@given(data=st.data())
def test_reductions(name, data):
    """To what the rounding of each row's loss does."""
    x, t, kw = data.draw(calls(name, ()))
    each, grad = value_and_grad(name, x, t, **kw, reduction="none")
    total, grad_sum = value_and_grad(name, x, t, **kw, reduction="sum")
    mean = value(name, x, t, **kw)
    assert_same_bits(grad_sum, grad)
    if not np.isfinite(each).all():
        assert np.isnan(total) == np.isnan(each).any()
        return
    exact = mp.fsum(mp.mpf(float(v)) for v in each)
    below = denominator(t, kw)
    for got, want in ((total, exact), (mean, exact / below if below else None)):
        if want is None:
            assert np.isnan(got)
        elif np.isfinite(got):
            assert abs(mp.mpf(float(got)) - want) <= 3 * roundoff(each.dtype) * want
        else:
            assert want * (1 + 3 * roundoff(each.dtype)) >= np.finfo(each.dtype).max


@every_loss
@given(data=st.data(), count=st.integers(1, 7))
def test_mean_of_equal_rows(name, data, count):
    """Each row's gradient is the count-th part of what it is alone."""
    x, t, given = data.draw(problems(name))
    alone, grad = value_and_grad(name, x, t, **given)
    loss, grads = value_and_grad(name, np.tile(x, (count, 1)), np.full(count, t), **given)
    assert_losses_close(loss, alone, 1)
    terms = terms_of(name, x, t, given)
    for row in grads:
        assert_gradients_close(row, grad, terms, mp.mpf(1) / count)


# --------------------------------------------------------------- invariance ---


@every_loss
@given(data=st.data())
def test_permutation_of_the_classes(name, data):
    x, t, given = data.draw(problems(name))
    order = data.draw(st.permutations(range(len(x))))
    loss, grad = value_and_grad(name, x, t, **given)
    got, got_grad = value_and_grad(name, x[order], order.index(t), **given)
    assert_losses_close(got, loss)
    terms = terms_of(name, x, t, given)
    assert_gradients_close(got_grad, grad[order], [terms[k] for k in order])


@shift_invariant
@given(data=st.data())
def test_gradient_of_a_row_sums_to_zero(name, data):
    x, t, given = data.draw(problems(name))
    grad = value_and_grad(name, x, t, **given)[1]
    assume(np.isfinite(grad).all())
    total = mp.fsum(mp.mpf(float(g)) for g in grad)
    quantum = mp.mpf(quantum_of(x.dtype))
    allowed = 12 * roundoff(x.dtype) * mp.fsum(terms_of(name, x, t, given)) + len(x) * quantum
    assert abs(total) <= allowed


@shift_invariant
@given(data=st.data(), dtype=WIDE, shift=st.integers(-(2**15), 2**15))
def test_shift_of_all_logits(name, data, dtype, shift):
    """Multiples of 1/64, so that the shifted logits are exact."""
    units = data.draw(st.lists(st.integers(-2000, 2000), min_size=1, max_size=8))
    x, given = np.array(units, dtype) / dtype.type(64), data.draw(settings(name))
    if name == "z_loss":  # a variance that small is taken for none
        center = np.mean(x + shift, dtype=F64) ** 2
        assume(np.ptp(x) == 0 or np.var(x.astype(F64)) > 1e-10 * center)
    t = data.draw(st.integers(0, len(x) - 1))
    loss, grad = value_and_grad(name, x, t, **given)
    got, got_grad = value_and_grad(name, x + dtype.type(shift), t, **given)
    assert_losses_close(got, loss)
    assert_gradients_close(got_grad, grad, terms_of(name, x, t, given))


EXPONENTS = st.integers(-1000, 1000)


def scaled(x, k):
    """x 2^k, if that is exact, and k, less for float32."""
    k = k if x.dtype == F64 else k // 8
    with np.errstate(over="ignore", under="ignore"):
        y = np.ldexp(x, k)
        assume(np.isfinite(y).all() and (np.ldexp(y, -k) == x).all())
    return y, k


@given(problems("z_loss"), EXPONENTS)
def test_scale_of_z_loss(problem, k):
    x, t, given = problem
    y, k = scaled(x, k)
    loss, grad = lm.z_loss_and_grad(x, t, **given)
    got, got_grad = lm.z_loss_and_grad(y, t, **given)
    assert_losses_close(got, loss)
    assert_gradients_close(got_grad, grad, terms_of("z_loss", x, t, given), mp.mpf(2) ** -k)


@given(problems("z_loss"))
def test_gradient_of_z_loss_is_orthogonal_to_the_logits(problem):
    """sum o g = 0: no positive scale changes the loss.  About the mean less cancels."""
    x, t, given = problem
    grad = lm.z_loss_and_grad(x, t, **given)[1]
    assume(np.isfinite(grad).all())
    with mp.workdps(loss_oracle.DIGITS):
        o = [mp.mpf(float(v)) for v in x]
        mean = mp.fsum(o) / len(o)
        quantum = mp.mpf(quantum_of(x.dtype))
        terms = terms_of("z_loss", x, t, given)
        for from_ in (mean, 0):
            total = mp.fsum((v - from_) * mp.mpf(float(g)) for v, g in zip(o, grad, strict=True))
            allowed = mp.fsum(
                abs(v - from_) * (12 * roundoff(x.dtype) * size + quantum)
                for v, size in zip(o, terms, strict=True)
            )
            assert abs(total) <= allowed, from_


@given(problems("spherical_softmax_loss"), EXPONENTS)
def test_spherical_softmax_has_no_sign_and_without_eps_no_scale(problem, k):
    x, t, given = problem
    loss, grad = lm.spherical_softmax_loss_and_grad(x, t, **given)
    got, got_grad = lm.spherical_softmax_loss_and_grad(-x, t, **given)
    assert_same_bits(got, loss)
    np.testing.assert_array_equal(got_grad, -grad)
    assume(x.any())
    one, other = (lm.spherical_softmax_loss(v, t, eps=0) for v in (x, scaled(x, k)[0]))
    assert_losses_close(one, other)


@given(
    data=st.data(),
    dtype=WIDE,
    units=st.lists(st.integers(-6400, 6400), min_size=1, max_size=8),
)
def test_taylor_softmax_is_even_about_minus_one(data, dtype, units):
    """1 + x + x^2/2 is ((x + 1)^2 + 1) / 2."""
    x = np.array(units, dtype) / dtype.type(64)
    t = data.draw(st.integers(0, len(x) - 1))
    loss, grad = lm.taylor_softmax_loss_and_grad(x, t)
    got, got_grad = lm.taylor_softmax_loss_and_grad(-2 - x, t)
    assert_losses_close(got, loss)
    terms = [
        max(pair)
        for pair in zip(
            terms_of("taylor_softmax_loss", x, t, {"order": 2}),
            terms_of("taylor_softmax_loss", -2 - x, t, {"order": 2}),
            strict=True,
        )
    ]
    assert_gradients_close(-got_grad, grad, terms)


# --------------------------------------------------------- order and kinship ---


@every_loss
@given(data=st.data())
def test_no_loss_is_negative(name, data):
    special = (-math.inf,) if name in EXPONENTIAL else ()
    x, t, kw = data.draw(calls(name, special))
    loss = value(name, x, t, **kw, reduction="none")
    assert ((loss >= 0) | np.isnan(loss)).all()


@every_loss
@given(data=st.data())
def test_finite_logits_never_give_nan(name, data):
    """One logit may be far from the others, even so far that their squares overflow."""
    x, t, given = data.draw(problems(name))
    x = x.copy()
    k = data.draw(st.integers(-1070, 1023) if x.dtype == F64 else st.integers(-148, 127))
    x[data.draw(st.integers(0, len(x) - 1))] = data.draw(st.sampled_from([-1, 1])) * 2.0**k
    loss, grad = value_and_grad(name, x, t, **given)
    assert not np.isnan(loss)
    assert not np.isnan(grad).any()


@of_each([name for name in LOSSES if name not in ("z_loss", "one_hot_mse_loss")])
@given(data=st.data(), k=st.integers(0, 120))
def test_one_class_is_certain(name, data, k):
    """Its weight makes what is not quite 0 visible."""
    x, _, given = data.draw(problems(name))
    assume(x[0] != 0)
    loss, grad = value_and_grad(name, x[:1], 0, weight=[2.0**k], reduction="sum", **given)
    assert loss == 0
    assert grad[0] == 0


@of_each((*EXPONENTIAL, "stablemax_cross_entropy"))
@given(data=st.data())
def test_gradient_pulls_at_the_target_alone(name, data):
    x, t, given = data.draw(problems(name, (-math.inf,)))
    assume((x > -np.inf).any())
    grad = value_and_grad(name, x, t, **given)[1]
    assert grad[t] <= 0
    assert (np.delete(grad, t) >= 0).all()


@given(problem=problems("cross_entropy"), tau=st.tuples(TAU, TAU), q=st.tuples(SHARE, SHARE))
@example(problem=(np.array([224, 0, 0], F32), 0, {}), tau=(1.0, 1.0), q=(0.0, 0.0))
@example(problem=(np.array([170.1, 0.3], F32), 0, {}), tau=(1.0, 1.0), q=(0.0, 0.0))
def test_order_of_the_comp_sum_losses(problem, tau, q):
    """They fall as tau rises, to at most 1 / (tau - 1); Bouchard's is a bound from above."""
    x, t, _ = problem
    u = roundoff(x.dtype)

    def falls(*losses):
        for a, b in itertools.pairwise(losses):
            assert b <= a * (1 + 16 * u) or np.isclose(a, b, rtol=0, atol=np.spacing(a) * 8)

    with np.errstate(over="ignore"):
        falls(*(lm.comp_sum_loss(x, t, tau=v) for v in sorted(tau)))
        lowest, highest = sorted(q)
        falls(
            lm.bouchard_loss(x, t),
            lm.cross_entropy(x, t),
            lm.generalized_cross_entropy(x, t, q=lowest),
            lm.generalized_cross_entropy(x, t, q=highest),
            lm.mae_loss(x, t),
        )
        for v in tau:
            if v > 1:
                assert lm.comp_sum_loss(x, t, tau=v) * (v - 1) <= 1 + 8 * u


@given(problems("cross_entropy"), st.one_of(SHARE, st.floats(0, 1e-300)))
def test_generalized_cross_entropy_nears_cross_entropy(problem, q):
    """(1 - exp(-q L)) / q is between L - q L^2 / 2 and L, for any q."""
    x, t, _ = problem
    u = roundoff(x.dtype)
    L = mp.mpf(float(lm.cross_entropy(x, t)))
    got = mp.mpf(float(lm.generalized_cross_entropy(x, t, q=q)))
    blur = 12 * u * L + 2 * quantum_of(x.dtype)
    assert L - mp.mpf(q) * L**2 / 2 * (1 + 12 * u) - blur <= got <= L + blur


@of_each(["cross_entropy", "mae_loss", "generalized_cross_entropy"])
@given(data=st.data())
def test_members_of_the_comp_sum_family(name, data):
    x, t, given = data.draw(problems(name))
    tau = {"cross_entropy": 1.0, "mae_loss": 2.0}.get(name, 1 + given.get("q", 0.0))
    if "q" in given:
        given["q"] = tau - 1  # exact
    loss, grad = value_and_grad(name, x, t, **given)
    got, got_grad = lm.comp_sum_loss_and_grad(x, t, tau=tau)
    assert_losses_close(got, loss)
    assert_gradients_close(got_grad, grad, terms_of(name, x, t, given))


@given(st.data(), problems("cross_entropy"), SMOOTHING)
def test_smoothed_targets_are_the_mean_of_targets(data, problem, s):
    """Of cross_entropy: (1 - s) L[t] + s / D sum L[k], and probabilities are weights of L[k]."""
    x, t, _ = problem
    D, u = len(x), roundoff(x.dtype)
    y = data.draw(hnp.arrays(x.dtype, D, elements=st.floats(0, 1, width=32)))
    each = [mp.mpf(float(lm.cross_entropy(x, k))) for k in range(D)]
    smoothed = [(1 - mp.mpf(s)) * (k == t) + mp.mpf(s) / D for k in range(D)]
    given = [mp.mpf(float(v)) for v in y]
    for weights, got in (
        (smoothed, lm.cross_entropy(x, t, label_smoothing=s)),
        (given, lm.cross_entropy(x, y)),
    ):
        want = mp.fsum(w * v for w, v in zip(weights, each, strict=True) if w)
        if mp.isfinite(want) and np.isfinite(got):
            quantum = mp.mpf(quantum_of(x.dtype)) * (2 * D)
            assert abs(mp.mpf(float(got)) - want) <= 12 * u * want + quantum
        else:
            assert want * (1 + 12 * u) >= np.finfo(x.dtype).max
    for target, options in ((t, {"label_smoothing": s}), (y, {})):
        grad = lm.cross_entropy_and_grad(x, target, **options)[1]
        mass = 1 if target is t else math.fsum(y)
        assert abs(math.fsum(grad)) <= 24 * u * mass + D * quantum_of(x.dtype)


@given(problems("cross_entropy"), st.floats(0, 10))
def test_penalty_is_added(problem, penalty):
    """L + c log(Z)^2, and its gradient 2 c log(Z) softmax."""
    x, t, _ = problem
    u, quantum = roundoff(x.dtype), mp.mpf(quantum_of(x.dtype))
    x = np.clip(x, -1e15, 1e15)  # the square does not overflow
    loss, grad = lm.cross_entropy_and_grad(x, t)
    got, got_grad = lm.cross_entropy_and_grad(x, t, logz_penalty=penalty)
    # A3 and A7: near 0 the logarithm is known to that much
    blur = mp.mpf(2.5e-7 if x.dtype == F32 else 2.5e-7 * 2.0**-29)
    c, lse = mp.mpf(penalty), mp.mpf(float(lm.logsumexp(x)))
    lost = 8 * u * abs(lse) + blur
    want = mp.mpf(float(loss)) + c * lse**2
    error = abs(mp.mpf(float(got)) - want)
    assert error <= 12 * u * want + 2 * c * lost * (abs(lse) + lost) + 2 * quantum
    p = lm.softmax(x)
    for k in range(len(x)):
        pulled = 2 * c * lse * mp.mpf(float(p[k]))
        error = abs(mp.mpf(float(got_grad[k])) - mp.mpf(float(grad[k])) - pulled)
        allowed = 24 * u * (abs(pulled) + p[k] + (k == t)) + 2 * c * lost * mp.mpf(float(p[k]))
        assert error <= allowed + quantum * (2 * c * abs(lse) + 2)


@given(problems("cross_entropy"), EXPONENTS)
def test_temperature_that_is_a_power_of_two(problem, k):
    x, t, _ = problem
    y, k = scaled(x, k)
    want, want_grad = lm.cross_entropy_and_grad(x, t)
    loss, grad = lm.cross_entropy_and_grad(y, t, temperature=2.0**k)
    assert_same_bits(loss, want)
    assert_gradients_close(grad, want_grad, terms_of("cross_entropy", x, t, {}), mp.mpf(2) ** -k)


@given(problems("cross_entropy"), st.floats(2.0**60, np.finfo(F64).max))
def test_cap_far_above_the_logits(problem, cap):
    """cap tanh(o / cap) is then o, be the cap beyond what the type holds."""
    x, t, _ = problem
    assume(float(abs(x).max()) < cap * 2.0**-30)
    loss, grad = lm.cross_entropy_and_grad(x, t)
    got, got_grad = lm.cross_entropy_and_grad(x, t, softcap=cap)
    # o is known to some roundoffs of its own then
    size = mp.mpf(float(abs(x).max()))
    u = roundoff(x.dtype)
    assert abs(mp.mpf(float(got)) - mp.mpf(float(loss))) <= 8 * u * (2 * size + loss)
    for k, p in enumerate(lm.softmax(x)):
        error = abs(mp.mpf(float(got_grad[k])) - mp.mpf(float(grad[k])))
        assert error <= 12 * u * (2 * size + 1) * (p + (k == t)) + quantum_of(x.dtype)


# ---------------------------------------------------------- adversarial form ---

ADVERSARIAL = st.fixed_dictionaries(
    {"tau": TAU, "rho": st.floats(0.25, 4), "nu": st.one_of(st.just(0.0), st.floats(2.0**-20, 10))}
)


@given(data=st.data(), reduction=REDUCTIONS)
def test_adversarial_bits(data, reduction):
    o, t, kw = data.draw(calls("comp_sum_loss"))
    kw.update(data.draw(ADVERSARIAL), reduction=reduction)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a = support.rounded(o.astype(F64) + rng.normal(size=o.shape), o.dtype)
    function = lm.smooth_adversarial_comp_sum_loss_and_grad
    want = function(o, a, t, **kw)
    assert_same_bits(lm.smooth_adversarial_comp_sum_loss(o, a, t, **kw), want[0])
    assert_same_bits(function(*(placed(data, v) for v in (o, a, t)), **kw), want)
    for tier in support.TIERS:
        with support.running(tier, threads=2):
            assert_same_bits(function(o, a, t, **kw), want, tier)
    own = o.copy(), a.copy()
    got = function(*own, t, **kw, grad_out=own)
    assert_same_bits((got[0], *own), want)
    if reduction == "none":
        cut = data.draw(st.integers(0, len(o)))
        for part in (slice(cut), slice(cut, None)):
            if len(o[part]):
                got = function(o[part], a[part], t[part], **kw)
                assert_same_bits(got, tuple(v[part] for v in want))


@given(data=st.data(), dtype=WIDE)
def test_adversarial_gradients(data, dtype):
    """Both sum to 0, for a shift changes nothing; with nu = 0 it is a comp-sum loss."""
    n = data.draw(st.integers(1, 8))
    values = st.lists(numbers(dtype), min_size=n, max_size=n)
    o, a = (np.array(data.draw(values), dtype) for _ in "oa")
    t = data.draw(st.integers(0, n - 1))
    given = data.draw(ADVERSARIAL)
    loss, do, da = lm.smooth_adversarial_comp_sum_loss_and_grad(o, a, t, **given)
    assume(np.isfinite([*do, *da]).all())
    assert loss >= 0
    u, quantum = roundoff(dtype), quantum_of(dtype)
    # of the distance: nu e / |e|, e[k] = d[t] - d[k] of d = a - o, at the target the sum of these
    d = [mp.mpf(float(v)) - mp.mpf(float(w)) for v, w in zip(a, o, strict=True)]
    norm = mp.sqrt(mp.fsum((d[t] - v) ** 2 for v in d))
    terms = mp.fsum(abs(d[t] - v) for v in d) / norm * mp.mpf(given["nu"]) if norm else mp.mpf(0)
    assert abs(math.fsum(da)) <= 12 * u * 2 * terms + 2 * n * quantum
    divided = [float(v) / given["rho"] for v in o]
    assume(np.isfinite(divided).all())
    own = mp.fsum(terms_of("comp_sum_loss", divided, t, {"tau": given["tau"]}))
    assert abs(math.fsum(do)) <= 12 * u * 2 * (terms + own / given["rho"]) + 2 * n * quantum
    plain, grad = lm.comp_sum_loss_and_grad(o, t, tau=given["tau"])
    got = lm.smooth_adversarial_comp_sum_loss_and_grad(o, a, t, tau=given["tau"], nu=0)
    assert_same_bits(got[0], plain)
    np.testing.assert_array_equal(got[1], grad)
    assert (got[2] == 0).all()
