# SPDX-License-Identifier: Apache-2.0
"""Vector-Jacobian products against central differences, and float32 against float64."""

import itertools

import lanemax as lm
import numpy as np
import pytest
import support
from registry import ALL, FUNCTIONS
from support import F32, F64

FORWARD = [f for f in ALL if f.vjp]
DIRECTIONS = 32


def shapes():
    """Two hundred shapes with an axis."""
    for n in [
        *range(1, 41),
        47,
        63,
        64,
        65,
        100,
        127,
        128,
        129,
        200,
        255,
        256,
        257,
        300,
        400,
        513,
        700,
        1000,
    ]:
        yield (n,), -1
        yield (n, 3), 0
        yield (2, n), 1
    for a, b, c in itertools.product((1, 2, 5), (1, 3), (2, 4)):
        for axis in (0, 1, (0, 2), (1, 2), None):
            yield (a, b, c), axis


CASES = list(shapes())


def directional(function, x, v, axis, **options):
    """d/dh f(x + h v) at 0: central differences, extrapolated twice (error h**6)."""

    def central(h):
        return (
            function(x + h * v, axis=axis, **options) - function(x - h * v, axis=axis, **options)
        ) / (2 * h)

    h = 1 / 64
    d1, d2, d4 = central(h), central(h / 2), central(h / 4)
    e1, e2 = (4 * d2 - d1) / 3, (4 * d4 - d2) / 3
    return (16 * e2 - e1) / 15


def shifted(axis, ndim):
    """The axis in an array with one more axis in front."""
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, tuple):
        return tuple(a % ndim + 1 for a in axis)
    return axis % ndim + 1


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
@pytest.mark.parametrize("forward", FORWARD, ids=repr)
def test_gradient_is_the_derivative(forward, temperature):
    """<dy, J v> by differences equals <J^T dy, v>, to 1e-8 of the size of its terms."""
    assert len(CASES) >= 200
    rng = np.random.default_rng(1)
    vjp = FUNCTIONS[forward.vjp]
    for shape, axis in CASES:
        x = rng.normal(size=shape)
        v = rng.normal(size=(DIRECTIONS, *shape))
        dy = rng.normal(size=(DIRECTIONS, *shape))
        y = forward(x, axis=axis, temperature=temperature)
        many = shifted(axis, len(shape))
        jv = directional(forward, np.broadcast_to(x, v.shape), v, many, temperature=temperature)
        dx = vjp(dy, np.broadcast_to(y, dy.shape), axis=many, temperature=temperature)
        inner = tuple(range(1, len(shape) + 1))
        left, right = (dy * jv).sum(axis=inner), (dx * v).sum(axis=inner)
        size = np.abs(dx * v).sum(axis=inner) + np.abs(dy * jv).sum(axis=inner)
        assert (np.abs(left - right) <= 1e-8 * size + 1e-12).all(), f"{shape} axis={axis}"


@pytest.mark.parametrize("forward", FORWARD, ids=repr)
def test_gradient_with_a_temperature_per_row(forward):
    rng = np.random.default_rng(2)
    vjp = FUNCTIONS[forward.vjp]
    for shape, axis, small in (
        ((5, 7), -1, (5, 1)),
        ((7, 5), 0, (1, 5)),
        ((2, 3, 4), (0, 2), (1, 3, 1)),
        ((2, 3), None, (1, 1)),
    ):
        t = rng.uniform(0.5, 2, small)
        x, v, dy = rng.normal(size=(3, *shape))
        jv = directional(forward, x, v, axis, temperature=t)
        dx = vjp(dy, forward(x, axis=axis, temperature=t), axis=axis, temperature=t)
        assert abs((dy * jv).sum() - (dx * v).sum()) <= 1e-8 * np.abs(dx * v).sum() + 1e-12


@pytest.mark.parametrize("forward", FORWARD, ids=repr)
def test_gradient_of_masked_rows_is_the_derivative(forward):
    """-inf logits stay masked: their own gradient is 0 for softmax, and the others' is right."""
    rng = np.random.default_rng(3)
    vjp = FUNCTIONS[forward.vjp]
    x = rng.normal(size=(20, 9))
    mask = rng.random(x.shape) < 0.4
    mask[:, 0] = False
    x[mask] = -np.inf
    v = np.where(mask, 0, rng.normal(size=x.shape))
    dy = np.where(mask, 0, rng.normal(size=x.shape))

    def kept(z, axis, **options):
        return np.where(mask, 0.0, forward(z, axis=axis, **options))

    jv = directional(kept, x, v, -1)
    dx = vjp(dy, forward(x), axis=-1)
    assert np.isfinite(dx).all() and (dx[mask] == 0).all()
    np.testing.assert_allclose((dy * jv).sum(axis=1), (dx * v).sum(axis=1), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("forward", FORWARD, ids=repr)
def test_jacobian_of_small_rows(forward):
    """The whole matrix, column by column, by its formula."""
    rng = np.random.default_rng(4)
    for n in (1, 2, 3, 8, 33):
        x = rng.normal(size=n)
        y = forward(x)
        p = lm.softmax(x)
        jacobian = FUNCTIONS[forward.vjp](np.eye(n), np.broadcast_to(y, (n, n)))
        want = np.diag(p) - np.outer(p, p) if forward.name == "softmax" else np.eye(n) - p[None, :]
        np.testing.assert_allclose(jacobian, want, rtol=1e-13, atol=2e-16)


@pytest.mark.parametrize("forward", FORWARD, ids=repr)
def test_float32_gradient_is_the_float64_gradient(forward):
    """A9: the same y and dy given in both types."""
    rng = np.random.default_rng(5)
    vjp = FUNCTIONS[forward.vjp]
    for n in (1, 2, 10, 33, 257, 1000, 4097, 50257):
        for kind in ("normal", "normal10", "peak"):
            dy, y = vjp.sample(kind, rng, (4, n), F32)
            got = vjp(dy, y).astype(np.float64)
            want = vjp(dy.astype(np.float64), y.astype(np.float64))
            g, p = np.abs(dy.astype(np.float64)), np.abs(y.astype(np.float64))
            if forward.name == "softmax":
                allowed = p * (g + (p * g).sum(axis=1, keepdims=True))
            else:
                allowed = g + np.exp(y.astype(np.float64)) * g.sum(axis=1, keepdims=True)
            assert (np.abs(got - want) <= 6 * 2.0**-24 * allowed + 2.0**-149).all(), f"n={n} {kind}"


def test_gradient_through_a_whole_step():
    """One step of gradient descent on cross-entropy by both routes ends in the same place."""
    rng = np.random.default_rng(6)
    x, target = rng.normal(size=(50, 20)), rng.integers(0, 20, 50)
    one_hot = np.eye(20)[target]
    ln, p = lm.log_softmax(x), lm.softmax(x)
    by_log = lm.log_softmax_vjp(-one_hot, ln)
    by_p = lm.softmax_vjp(-one_hot / p, p)
    np.testing.assert_allclose(by_log, p - one_hot, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(by_p, by_log, rtol=1e-11, atol=1e-13)


def test_gradient_in_place_over_dy_or_y_is_the_gradient():
    for name in ("softmax_vjp", "log_softmax_vjp"):
        function = FUNCTIONS[name]
        for dtype in support.DTYPES:
            dy, y = function.sample("normal", np.random.default_rng(7), (5, 40), dtype)
            want = function(dy, y)
            for i in (0, 1):
                arrays = [dy.copy(), y.copy()]
                function(*arrays, out=arrays[i])
                support.assert_same_bits(arrays[i], want)


@pytest.mark.nightly
@pytest.mark.parametrize("forward", FORWARD, ids=repr)
def test_float64_gradient_agrees_with_torch(forward):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    function = {"softmax": torch.softmax, "log_softmax": torch.log_softmax}[forward.name]
    for shape, axis in CASES:
        if not isinstance(axis, int):
            continue
        x = torch.tensor(rng.normal(size=shape), requires_grad=True)
        dy = rng.normal(size=shape)
        y = function(x, axis)
        y.backward(torch.tensor(dy))
        got = FUNCTIONS[forward.vjp](dy, y.detach().numpy(), axis=axis)
        np.testing.assert_allclose(got, x.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_every_differentiable_function_was_tested():
    assert {f.vjp for f in FORWARD} == {f.name for f in ALL if f.vjp_of}
    assert F64 in support.DTYPES
