# SPDX-License-Identifier: Apache-2.0
"""The Fourier head: against extended precision and quadrature, identities, gradients, bad input."""

import itertools
import subprocess
import sys

import lanemax as lm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BFLOAT16, DTYPES, F16, F32, F64, TIERS, assert_same_bits, running

EPS = 1e-5

#: unit roundoff of the elements, and of what a dtype's losses are returned in
ROUND = {F64: 2.0**-53, F32: 2.0**-24, F16: 2.0**-11}
if BFLOAT16 is not None:
    ROUND[BFLOAT16] = 2.0**-8
UNIT = {d: 2.0**-53 if d == F64 else 2.0**-24 for d in DTYPES}


def a11(dtype, frequencies):
    """Error of a density or a bin over the largest of the row; once more rounded where narrow."""
    bound = 2e-6 * (2.0**-29 if dtype == F64 else 1) * (1 if frequencies <= 256 else 4)
    return bound + (ROUND[dtype] if dtype.itemsize == 2 else 0)


def draw(rows, frequencies, dtype=F64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 2 * (frequencies + 1))).astype(dtype)


# ------------------------------------------------------------------------ extended precision

PI = 4 * np.arctan(np.longdouble(1))


def series(coef, x):
    """A(x) of each row at its points."""
    wide = np.asarray(coef, np.float64).astype(np.longdouble)
    terms = wide.shape[-1] // 2
    a = wide[..., :terms] + 1j * wide[..., terms:]
    t = np.fmod(np.arange(terms) * np.asarray(x, np.longdouble)[..., None], 2)
    return (a[..., None, :] * np.exp(1j * PI * t)).sum(-1)


def centres(bins):
    return -1 + (2 * np.arange(bins, dtype=np.longdouble) + 1) / bins


def exact_bins(coef, bins):
    p = abs(series(coef, centres(bins))) ** 2
    return p / p.sum(-1, keepdims=True)


def exact_density(coef, x):
    power = (np.asarray(coef, np.float64).astype(np.longdouble) ** 2).sum(-1)
    return abs(series(coef, x)) ** 2 / (2 * power[..., None])


SHAPES = [(0, 1), (0, 6), (1, 1), (3, 8), (12, 50), (42, 18), (64, 17), (32, 65), (64, 128)]
LARGE = [(100, 513), (256, 600), (260, 256), (550, 1024)]


@pytest.mark.parametrize("shape", SHAPES + LARGE, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bins_are_those_of_the_formula(dtype, shape):
    frequencies, bins = shape
    coef = draw(3, frequencies, dtype)
    q = exact_bins(coef, bins)
    most = q.max(-1, keepdims=True)
    got = lm.fourier_bins(coef, bins)
    assert got.dtype == dtype and got.shape == (3, bins)
    least = 2.0**-25 if dtype == F16 else 0  # half its smallest number
    room = a11(dtype, frequencies) * most
    assert np.all(abs(got.astype(np.longdouble) - q) <= room + least)
    assert np.all(got.astype(np.float64) >= 0)
    if dtype.itemsize > 2:
        assert np.all(abs(got.astype(np.float64).sum(-1) - 1) <= 8 * UNIT[dtype])
    logits = lm.fourier_log_bins(coef, bins)
    want = np.log(q + EPS)
    error = abs(logits.astype(np.longdouble) - want)
    assert np.all(error <= room / (q + EPS) + 2 * ROUND[dtype] * abs(want))


@pytest.mark.parametrize("frequencies", [0, 1, 5, 31, 32, 64, 256, 1000])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_density_is_that_of_the_formula(dtype, frequencies):
    coef = draw(2, frequencies, dtype)
    x = np.concatenate([[-1, 1, 0], np.random.default_rng(1).uniform(-1, 1, 40)])
    p = exact_density(coef, x)
    got = lm.fourier_density(coef[:, None], x)
    assert got.dtype == dtype and got.shape == (2, 43)
    most = exact_density(coef, np.linspace(-1, 1, 4 * frequencies + 3)).max(-1, keepdims=True)
    room = a11(dtype, frequencies) * np.maximum(most, p.max(-1, keepdims=True))
    assert np.all(abs(got.astype(np.longdouble) - p) <= room + (2.0**-25 if dtype == F16 else 0))


def test_density_keeps_its_digits_near_a_zero():
    """|1 + e^(i pi x)|^2 / 4 = cos^2(pi x / 2): 1e-14 of the result at 1 - 1e-4."""
    x = 0.9999
    want = float(np.cos(PI * np.longdouble(x) / 2) ** 2)
    assert abs(lm.fourier_density([1.0, 1.0, 0.0, 0.0], x) - want) <= 1e-11 * want


# ------------------------------------------------------------------------ losses


@pytest.mark.parametrize("shape", SHAPES + LARGE, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cross_entropy_is_that_of_the_logits(dtype, shape):
    frequencies, bins = shape
    coef = draw(5, frequencies, dtype, seed=2)
    target = np.random.default_rng(3).integers(0, bins, 5)
    q = exact_bins(coef, bins)
    hit = q[np.arange(5), target] + EPS
    want = np.log((1 + bins * np.longdouble(EPS)) / hit)
    got = lm.fourier_cross_entropy(coef, target, bins, reduction="none")
    assert got.dtype == (F64 if dtype == F64 else F32)
    slope = 2e-6 * (2.0**-29 if dtype == F64 else 1) * 4 * q.max(-1) / hit
    error = abs(got.astype(np.longdouble) - want)
    assert np.all(error <= slope + 8 * UNIT[dtype] * abs(want) + 1e-18)
    for reduction, total in (("mean", want.mean()), ("sum", want.sum())):
        loss = lm.fourier_cross_entropy(coef, target, bins, reduction=reduction)
        assert abs(loss - total) <= slope.sum() + 8 * UNIT[dtype] * abs(total) + 1e-18


@pytest.mark.parametrize("bins", [1, 7, 50, 300])
@pytest.mark.parametrize("frequencies", [0, 3, 40])
def test_cross_entropy_equals_the_unfused_chain(bins, frequencies):
    coef = draw(6, frequencies)
    target = np.arange(6) % bins
    loss, grad = lm.fourier_cross_entropy_and_grad(coef, target, bins)
    logits = lm.fourier_log_bins(coef, bins)
    chain, dlogits = lm.cross_entropy_and_grad(logits, target)
    dcoef = lm.fourier_log_bins_vjp(dlogits, coef, bins)
    assert abs(loss - chain) <= 2e-14 * (1 + chain)
    whole = (abs(series(coef, centres(bins))) ** 2).sum(-1)
    q = exact_bins(coef, bins)[np.arange(6), target]
    # the absolute terms: those of the target, and at most sqrt(bins) of all bins together
    size = 2 / np.sqrt(whole) * (np.sqrt(q) / (q + EPS) + 2 * np.sqrt(bins)) / 6
    assert np.all(abs(grad - dcoef) <= 64 * 2.0**-53 * size[:, None])


@pytest.mark.parametrize("dtype", [F64, F32])
def test_nll_is_minus_the_log_of_the_density(dtype):
    coef = draw(4, 9, dtype)
    x = np.random.default_rng(5).uniform(-1, 1, 4)
    p = exact_density(coef, x[:, None])[:, 0]
    got = lm.fourier_nll(coef, x, reduction="none")
    assert np.all(abs(got + np.log(p)) <= 8 * UNIT[dtype] * (abs(np.log(p)) + 5 / p))
    assert lm.fourier_nll(coef, x) == pytest.approx(got.mean(), rel=8 * UNIT[dtype], abs=0)


@pytest.mark.parametrize("frequencies", [7, 300])  # by sums and by transforms
@pytest.mark.parametrize("normalized", [False, True])
def test_penalty_is_the_roughness_of_the_squared_series(normalized, frequencies):
    """gamma times the integral of (d|A|^2/dx)^2, exact on a grid of 4 N + 1 points or more."""
    gamma = 0.3
    coef = draw(3, frequencies)
    n = np.arange(frequencies + 1)
    grid = centres(1500).astype(np.float64)
    a = coef[:, : frequencies + 1] + 1j * coef[:, frequencies + 1 :]
    wave = np.exp(1j * np.pi * n * grid[:, None])
    value, slope = a @ wave.T, (1j * np.pi * n * a) @ wave.T
    rough = 2 * ((2 * (value.conj() * slope).real) ** 2).mean(-1)
    if normalized:
        rough /= (abs(a) ** 2).sum(-1) ** 2
    x = np.zeros(3)
    args = {"gamma": gamma, "normalized_penalty": normalized, "reduction": "none"}
    got = lm.fourier_nll(coef, x, **args) - lm.fourier_nll(coef, x, reduction="none")
    assert np.all(abs(got - gamma * rough) <= 1e-12 * gamma * rough)
    binned = lm.fourier_cross_entropy(coef, [0, 1, 2], 9, **args)
    binned -= lm.fourier_cross_entropy(coef, [0, 1, 2], 9, reduction="none")
    assert np.all(abs(binned - gamma * rough) <= 1e-12 * gamma * rough)
    ignored = lm.fourier_cross_entropy(coef, [0, -100, 2], 9, gamma=gamma, reduction="none")
    assert ignored[1] == 0


# ------------------------------------------------------------------------ gradients


def slope_of(f, coef, direction, step=1e-3):
    """Central differences, extrapolated twice (Richardson)."""
    d = [
        (f(coef + h * direction) - f(coef - h * direction)) / (2 * h)
        for h in (step, step / 2, step / 4)
    ]
    once = [(4 * b - a) / 3 for a, b in itertools.pairwise(d)]
    return (16 * once[1] - once[0]) / 15


def gradients(frequencies, bins, rng):
    """name -> (function of coefficients, its gradient) for one row."""
    dy = rng.normal(size=bins)
    t, x = int(rng.integers(bins)), rng.uniform(-1, 1, 3)
    rough = {"gamma": 1e-3}
    scaled = rough | {"normalized_penalty": True}
    found = {
        "bins": (
            lambda c: dy @ lm.fourier_bins(c, bins),
            lambda c: lm.fourier_bins_vjp(dy, c, bins),
        ),
        "masses": (
            lambda c: dy @ lm.fourier_bins(c, bins, exact=True),
            lambda c: lm.fourier_bins_vjp(dy, c, bins, exact=True),
        ),
        "log_bins": (
            lambda c: dy @ lm.fourier_log_bins(c, bins, eps=0.1),
            lambda c: lm.fourier_log_bins_vjp(dy, c, bins, eps=0.1),
        ),
    }
    for name, options in (("plain", {}), ("rough", rough), ("scaled", scaled)):
        found["cross_entropy " + name] = (
            lambda c, o=options: lm.fourier_cross_entropy(c, t, bins, eps=0.1, **o),
            lambda c, o=options: lm.fourier_cross_entropy_and_grad(c, t, bins, eps=0.1, **o)[1],
        )
        found["nll " + name] = (
            lambda c, o=options: lm.fourier_nll(c, x, **o),
            lambda c, o=options: lm.fourier_nll_and_grad(c, x, **o)[1],
        )
    return found


#: Then thousands of shapes are drawn.
AT_NIGHT = settings().max_examples > 60


@settings(max_examples=max(60, settings().max_examples), deadline=None)
@given(st.integers(0, 40), st.integers(1, 90), st.integers(0, 2**32))
def test_gradients_are_those_of_differences(frequencies, bins, seed):
    rng = np.random.default_rng(seed)
    coef = rng.normal(size=2 * (frequencies + 1))
    x_is_safe = rng.bit_generator.state
    # what gradients cancel from, for all depends on the direction of the coefficients alone, and
    # what rounding does to differences
    least = 1e-11 * np.sqrt(bins) / np.sqrt(coef @ coef)
    for name, (f, gradient) in gradients(frequencies, bins, rng).items():
        if name.startswith("nll"):  # a density of nearly 0 has differences that say nothing
            rng_again = np.random.default_rng(0)
            rng_again.bit_generator.state = x_is_safe
            rng_again.normal(size=bins)
            rng_again.integers(bins)
            if lm.fourier_density(coef, rng_again.uniform(-1, 1, 3)).min() < 0.05:
                continue
        got = gradient(coef)
        for _ in range(32 if AT_NIGHT else 8):
            direction = rng.normal(size=coef.shape)
            direction /= np.sqrt((direction**2).sum())
            want = slope_of(f, coef, direction)
            size = abs(got) @ abs(direction) + abs(f(coef))
            assert abs(got @ direction - want) <= 1e-8 * size + least, name


@pytest.mark.parametrize("shape", [(12, 50), (70, 64), (90, 300), (60, 1024), (250, 40)], ids=str)
def test_gradients_by_transforms_are_those_of_differences(shape):
    frequencies, bins = shape
    rng = np.random.default_rng(8)
    coef = rng.normal(size=2 * (frequencies + 1))
    for name, (f, gradient) in gradients(frequencies, bins, rng).items():
        if name.startswith("nll"):
            continue
        got = gradient(coef)
        for _ in range(4):
            direction = rng.normal(size=coef.shape)
            want = slope_of(f, coef, direction)
            size = abs(got) @ abs(direction) + abs(f(coef))
            assert abs(got @ direction - want) <= 1e-8 * size, name


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != F64], ids=str)
def test_gradients_of_narrow_types_are_those_of_float64_rounded(dtype):
    coef = draw(3, 30, dtype)
    wide = coef.astype(F64)
    dy = np.random.default_rng(1).normal(size=(3, 70)).astype(dtype)
    pairs = [
        (lm.fourier_bins_vjp(dy, coef, 70), lm.fourier_bins_vjp(dy.astype(F64), wide, 70)),
        (lm.fourier_cross_entropy_and_grad(coef, [1, 2, 3], 70)[1],
         lm.fourier_cross_entropy_and_grad(wide, [1, 2, 3], 70)[1]),
    ]  # fmt: skip
    for got, want in pairs:
        assert got.dtype == dtype
        least = 2.0**-25 if dtype == F16 else 0
        room = (ROUND[dtype] + 2.0**-24) * abs(want) + least
        assert np.all(abs(got.astype(F64) - want) <= room)


# ------------------------------------------------------------------------ identities


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(1, 200), st.integers(0, 2**32))
def test_scale_and_phase_change_nothing_and_gradients_are_orthogonal(frequencies, bins, seed):
    rng = np.random.default_rng(seed)
    terms = frequencies + 1
    coef = rng.normal(size=2 * terms)
    a = coef[:terms] + 1j * coef[terms:]
    factor = rng.normal() + 1j * rng.normal()
    turned = np.concatenate([(a * factor).real, (a * factor).imag])
    q = lm.fourier_bins(coef, bins)
    size = q.max() * 4e-15 * 4
    assert np.all(abs(lm.fourier_bins(turned, bins) - q) <= size)
    loss, grad = lm.fourier_cross_entropy_and_grad(coef, seed % bins, bins)
    terms_size = abs(grad) @ abs(coef) + 2
    assert abs(grad @ coef) <= 1e-12 * terms_size
    orthogonal = np.concatenate([-coef[terms:], coef[:terms]])
    assert abs(grad @ orthogonal) <= 1e-12 * terms_size
    assert loss >= 0


@pytest.mark.parametrize(
    "shape", [(0, 1), (3, 8), (12, 50), (42, 18), (30, 1000), (220, 90)], ids=str
)
def test_masses_are_differences_of_the_cdf_and_integrals_of_the_density(shape):
    frequencies, bins = shape
    coef = draw(2, frequencies)
    masses = lm.fourier_bins(coef, bins, exact=True)
    edges = np.linspace(-1, 1, bins + 1)
    assert np.all(abs(masses - np.diff(lm.fourier_cdf(coef[:, None], edges))) <= 4e-15)
    node, weight = np.polynomial.legendre.leggauss(frequencies + 30)
    x = (edges[:-1, None] + (node + 1) / bins).clip(-1, 1)
    integral = (lm.fourier_density(coef[:, None, None], x) * weight).sum(-1) / bins
    assert np.all(abs(masses - integral) <= 1e-13)
    assert np.all(abs(masses.sum(-1) - 1) <= 4e-15 * np.sqrt(bins))


@pytest.mark.parametrize("frequencies", [0, 1, 4, 25, 250])
def test_cdf_and_moments_are_integrals(frequencies):
    coef = draw(3, frequencies, seed=4)
    node, weight = np.polynomial.legendre.leggauss(2 * frequencies + 60)
    p = lm.fourier_density(coef[:, None], node)
    mean = (p * node * weight).sum(-1)
    variance = (p * (node - mean[:, None]) ** 2 * weight).sum(-1)
    # some 10^-14 of its own that the quadrature has, of nodes that are rounded
    assert np.all(abs(lm.fourier_mean(coef) - mean) <= 1e-13)
    assert np.all(abs(lm.fourier_variance(coef) - variance) <= 1e-13)
    wide = coef.astype(np.longdouble)
    a = wide[:, : frequencies + 1] + 1j * wide[:, frequencies + 1 :]
    k = np.arange(1, frequencies + 1)
    c = np.array(
        [(a[:, j:] * a[:, : frequencies + 1 - j].conj()).sum(-1) for j in range(len(k) + 1)]
    )
    part = (-1.0) ** k[:, None] * c[1:] / c[0].real / (PI * k[:, None])
    first = 2 * part.imag.sum(0)
    second = np.longdouble(1) / 3 + (4 * part.real / (PI * k[:, None])).sum(0)
    assert np.all(abs(lm.fourier_mean(coef) - first) <= 1e-14)
    assert np.all(abs(lm.fourier_variance(coef) - (second - first**2)) <= 1e-14)
    assert np.all(lm.fourier_cdf(coef, -1) == 0) and np.all(lm.fourier_cdf(coef, 1) == 1)
    steps = lm.fourier_cdf(coef[:, None], np.linspace(-1, 1, 400))
    assert np.all(np.diff(steps) >= -1e-15)


def test_density_of_the_coefficients_comes_back_from_the_bins():
    """c_k is the mean of |A|^2 e^(-i pi k x) over 2 N + 1 centres."""
    coef = draw(1, 6)[0]
    q = lm.fourier_bins(coef, 13)
    a = coef[:7] + 1j * coef[7:]
    wave = np.exp(-1j * np.pi * np.arange(7)[:, None] * centres(13).astype(np.float64))
    c = np.array([(a[k:] * a[: 7 - k].conj()).sum() for k in range(7)])
    assert np.all(abs(wave @ q - c / c[0]) <= 1e-14)


# ------------------------------------------------------------------------ samples


def test_samples_have_the_distribution():
    coef = draw(1, 5, seed=3)[0]
    rng = np.random.default_rng(11)
    x = lm.fourier_sample(coef, 20000, rng=rng)
    level = np.sort(lm.fourier_cdf(coef, x))
    distance = abs(level - (np.arange(20000) + 0.5) / 20000).max()
    assert distance <= 1.63 / np.sqrt(20000)  # Kolmogorov and Smirnov at 1 %
    assert rng.random() == np.random.default_rng(11).random(20001)[-1]


def test_samples_solve_for_the_random_numbers():
    coef = draw(4, 20)
    u = np.random.default_rng(7).random((50, 4))
    x = lm.fourier_sample(coef, (50, 4), rng=7)
    assert np.all(abs(lm.fourier_cdf(coef, x) - u) <= 1e-14)
    assert_same_bits(lm.fourier_sample(coef, (50, 4), rng=np.random.default_rng(7)), x)
    assert lm.fourier_sample(coef).shape == (4,)
    assert np.ndim(lm.fourier_sample(coef[0], rng=1)) == 0
    assert lm.fourier_sample(coef, (0, 4)).shape == (0, 4)


# ------------------------------------------------------------------------ arrays


def every(coef, bins, dtype):
    """name -> a call of every function, for rows of coefficients."""
    lead = coef.shape[:-1]
    rng = np.random.default_rng(0)
    dy = rng.normal(size=(*lead, bins)).astype(dtype)
    x, target = rng.uniform(-1, 1, lead), rng.integers(0, bins, lead)
    return {
        "density": lambda c: lm.fourier_density(c, x),
        "cdf": lambda c: lm.fourier_cdf(c, x),
        "mean": lm.fourier_mean,
        "variance": lm.fourier_variance,
        "sample": lambda c: lm.fourier_sample(c, rng=3),
        "bins": lambda c: lm.fourier_bins(c, bins),
        "masses": lambda c: lm.fourier_bins(c, bins, exact=True),
        "log_bins": lambda c: lm.fourier_log_bins(c, bins),
        "bins_vjp": lambda c: lm.fourier_bins_vjp(dy, c, bins),
        "masses_vjp": lambda c: lm.fourier_bins_vjp(dy, c, bins, exact=True),
        "log_bins_vjp": lambda c: lm.fourier_log_bins_vjp(dy, c, bins),
        "cross_entropy": lambda c: lm.fourier_cross_entropy_and_grad(
            c, target, bins, gamma=1e-6, reduction="none"
        ),
        "nll": lambda c: lm.fourier_nll_and_grad(c, x, gamma=1e-6, reduction="none"),
    }


NAMES = list(every(np.zeros((1, 2)), 1, F64))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(12, 50), (60, 130), (70, 64)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bits_do_not_depend_on_tier_threads_or_layout(dtype, shape, name):
    frequencies, bins = shape
    coef = draw(40, frequencies, dtype).reshape(5, 8, -1)
    call = every(coef, bins, dtype)[name]
    want = call(coef)
    for tier in TIERS:
        for threads in (1, 3):
            with running(tier, threads):
                assert_same_bits(call(coef), want, f"{tier}, {threads} threads")
    wide = np.zeros((5, 8, 4 * (frequencies + 1)), dtype)
    wide[..., ::2] = coef
    assert_same_bits(call(wide[..., ::2]), want, "every second element")
    assert_same_bits(call(np.asfortranarray(coef)), want, "columns first")
    assert_same_bits(call(coef[::-1][::-1]), want, "negative strides twice")
    frozen = coef.copy()
    frozen.flags.writeable = False
    assert_same_bits(call(frozen), want, "read-only")
    assert np.array_equal(frozen, coef)


def test_a_row_does_not_depend_on_those_around_it():
    coef = draw(9, 20)
    for name in ("bins", "log_bins", "masses", "mean", "variance"):
        call = every(coef, 33, F64)[name]
        assert_same_bits(call(coef)[4], call(coef[4]), name)


def test_points_broadcast_against_rows():
    coef = draw(6, 4).reshape(2, 3, -1)
    x = np.random.default_rng(2).uniform(-1, 1, (5, 1, 3))
    got = lm.fourier_density(coef, x)
    assert got.shape == (5, 2, 3) and got.flags.c_contiguous
    for i, j, k in np.ndindex(5, 2, 3):
        assert got[i, j, k] == lm.fourier_density(coef[j, k], x[i, 0, k])
    loss, grad = lm.fourier_nll_and_grad(coef[:, :1], x[:, :, :2].reshape(5, 2)[:, None, :, None],
                                         reduction="none")  # fmt: skip
    assert loss.shape == (5, 1, 2, 1) and grad.shape == (2, 1, 10)
    each = sum(lm.fourier_nll_and_grad(coef[:, :1], x[i, :, :2].reshape(2, 1), reduction="sum")[1]
               for i in range(5))  # fmt: skip
    assert np.all(abs(grad - each) <= 1e-13 * abs(each).max())


def test_what_numpy_takes():
    plain = [1, 0, -1, 2]
    want = lm.fourier_bins(np.array(plain, np.float64), 5)
    assert_same_bits(lm.fourier_bins(plain, 5), want)
    assert_same_bits(lm.fourier_bins(np.array(plain, ">f8"), 5), want)
    assert lm.fourier_bins(np.array(plain, np.int8), 5).dtype == F32
    assert lm.fourier_mean(np.array(plain, np.float16)).dtype == F32
    assert lm.fourier_bins(np.zeros((0, 4)), 5).shape == (0, 5)
    assert lm.fourier_density(np.zeros((2, 0, 4)), np.zeros((2, 0))).shape == (2, 0)
    assert np.isnan(lm.fourier_cross_entropy(np.zeros((0, 4)), np.zeros(0, int), 5))
    assert lm.fourier_cross_entropy(np.zeros((0, 4)), [], 5, reduction="sum") == 0
    assert np.ndim(lm.fourier_nll([1.0, 1.0], 0.5)) == 0
    for kind in ("i1", "u1", "i2", "u4", "u8"):
        assert lm.fourier_cross_entropy(np.ones((1, 4)), np.array([2], kind), 5) > 0


# ------------------------------------------------------------------------ special values


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zero_coefficients_are_the_uniform_density(dtype):
    coef = np.zeros((2, 6), dtype)
    assert np.all(lm.fourier_density(coef, 0.3) == 0.5)
    assert np.all(lm.fourier_cdf(coef, [-0.5, 0.5]) == [0.25, 0.75])
    assert np.all(lm.fourier_mean(coef) == 0)
    assert np.all(lm.fourier_bins(coef, 4) == 0.25)
    assert np.all(lm.fourier_bins(coef, 4, exact=True) == 0.25)
    assert np.all(lm.fourier_bins_vjp(np.ones((2, 4), dtype), coef, 4) == 0)
    loss, grad = lm.fourier_cross_entropy_and_grad(coef, [0, 1], 4, gamma=1.0)
    assert loss == (np.float64 if dtype == F64 else np.float32)(np.log(4)) and np.all(grad == 0)
    loss, grad = lm.fourier_nll_and_grad(coef, [0.1, 0.2], gamma=1.0, normalized_penalty=True)
    assert loss == (np.float64 if dtype == F64 else np.float32)(np.log(2)) and np.all(grad == 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_rows_with_nan_or_inf_are_nan_and_no_others(name, bad):
    coef = draw(3, 4)
    broken = coef.copy()
    broken[1, 7] = bad
    call = every(coef, 7, F64)[name]
    got, want = call(broken), call(coef)
    if not isinstance(got, tuple):
        got, want = (got,), (want,)
    for g, w in zip(got, want, strict=True):
        assert np.all(np.isnan(g[1]))
        assert_same_bits(g[[0, 2]], w[[0, 2]])


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200, 1.7e308])
def test_the_size_of_the_coefficients_does_not_matter(size):
    coef = draw(2, 5)
    scaled = coef / abs(coef).max() * size
    assert np.all(abs(lm.fourier_bins(scaled, 9) - lm.fourier_bins(coef, 9)) <= 1e-12)
    assert np.all(abs(lm.fourier_mean(scaled) - lm.fourier_mean(coef)) <= 1e-12)


def test_no_probability_at_all():
    """Two terms cancel at every centre; a density is 0 at a point; eps = 0."""
    coef = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert np.all(lm.fourier_bins(coef, 2) == 0.5)
    assert lm.fourier_cross_entropy(coef, 1, 2) == np.log(2)
    assert np.all(lm.fourier_bins_vjp(np.array([1.0, 2.0]), coef, 2) == 0)
    loss, grad = lm.fourier_nll_and_grad([1.0, 1.0, 0.0, 0.0], -1.0)
    assert loss == np.inf and np.all(np.isfinite(grad))
    spike = np.array([1.0, -1.0, 0.0, 0.0])  # 0 at 0, the centre of bin 1 of 3
    assert lm.fourier_log_bins(spike, 3, eps=0)[1] == -np.inf
    loss, grad = lm.fourier_cross_entropy_and_grad(spike, 1, 3, eps=0)
    assert loss == np.inf and np.all(grad == 0)


def test_ignored_rows_hold_anything():
    coef = draw(3, 4)
    coef[1] = np.nan
    loss, grad = lm.fourier_cross_entropy_and_grad(coef, [2, -100, 3], 7)
    want, want_grad = lm.fourier_cross_entropy_and_grad(coef[[0, 2]], [2, 3], 7)
    assert loss == want and np.all(grad[1] == 0)
    assert_same_bits(grad[[0, 2]], want_grad)
    loss, grad = lm.fourier_cross_entropy_and_grad(coef, [-1, -1, -1], 7, ignore_index=-1)
    assert np.isnan(loss) and np.all(grad == 0)


# ------------------------------------------------------------------------ memory


MEMORY = """
import resource, sys
import numpy as np
import lanemax as lm
coef = np.ones((512, 1102), np.float32)
target = np.zeros(512, int)
lm.fourier_cross_entropy_and_grad(coef[:2], target[:2], 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lm.fourier_cross_entropy_and_grad(coef, target, int(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize("bins", [4096, 10**9])
def test_cross_entropy_needs_no_memory_for_bins(bins):
    """The gradient of 512 rows is 2.2 MiB; beside it there are two desks of less than 0.2 MiB."""
    used = subprocess.run([sys.executable, "-c", MEMORY, str(bins)],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert int(used.stdout) * 1024 <= 4 * 2**20


# ------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, r"coef: .*0-d", lambda: lm.fourier_mean(1.0)),
        (ValueError, r"coef: .*even and positive, got 3", lambda: lm.fourier_bins([1.0, 2, 3], 4)),
        (ValueError, r"coef: .*got 0", lambda: lm.fourier_variance(np.zeros((2, 0)))),
        (TypeError, r"coef: dtype complex128", lambda: lm.fourier_mean(np.zeros(4, complex))),
        (ValueError, r"bins: must be from 1", lambda: lm.fourier_bins(np.zeros(4), 0)),
        (TypeError, r"bins: expected an integer", lambda: lm.fourier_bins(np.zeros(4), 2.0)),
        (
            ValueError,
            r"bins: must be from 1 to 2\*\*31",
            lambda: lm.fourier_bins(np.zeros(4), 2**40),
        ),
        (ValueError, r"x: must be from -1 to 1, got 1.5", lambda: lm.fourier_cdf(np.zeros(4), 1.5)),
        (ValueError, r"x: must be .*nan", lambda: lm.fourier_nll(np.zeros(4), np.nan)),
        (
            ValueError,
            r"x: shape \(3,\) does not broadcast .*\(2,\)",
            lambda: lm.fourier_density(np.zeros((2, 4)), np.zeros(3)),
        ),
        (
            ValueError,
            r"eps: must be 0 or more",
            lambda: lm.fourier_log_bins(np.zeros(4), 3, eps=-1),
        ),
        (
            ValueError,
            r"gamma: must be 0 or more",
            lambda: lm.fourier_nll(np.zeros(4), 0.0, gamma=-1),
        ),
        (
            ValueError,
            r"reduction",
            lambda: lm.fourier_cross_entropy(np.zeros((1, 4)), [0], 3, reduction="all"),
        ),
        (
            IndexError,
            r"target: row 1 holds 3; expected 0 to 2",
            lambda: lm.fourier_cross_entropy(np.zeros((2, 4)), [0, 3], 3),
        ),
        (
            TypeError,
            r"target: expected integers",
            lambda: lm.fourier_cross_entropy(np.zeros((2, 4)), [0.0, 1.0], 3),
        ),
        (
            ValueError,
            r"target: expected shape \(2,\), that of coef",
            lambda: lm.fourier_cross_entropy(np.zeros((2, 4)), [0], 3),
        ),
        (
            ValueError,
            r"dy: expected shape \(3,\)",
            lambda: lm.fourier_bins_vjp(np.zeros(4), np.zeros(4), 3),
        ),
        (
            TypeError,
            r"dy: expected the dtype of coef, float64, got float32",
            lambda: lm.fourier_log_bins_vjp(np.zeros(3, F32), np.zeros(4), 3),
        ),
        (ValueError, r"size: .*\(2,\)", lambda: lm.fourier_sample(np.zeros((2, 4)), 3)),
        (TypeError, r"size: expected an int", lambda: lm.fourier_sample(np.zeros(4), 1.5)),
        (ValueError, r"size: negative", lambda: lm.fourier_sample(np.zeros(4), -1)),
    ],
)
def test_errors_name_the_argument(error, words, call):
    with pytest.raises(error, match=words):
        call()
