# SPDX-License-Identifier: Apache-2.0
"""The losses: exactness against 50 digits, PyTorch's reductions, options, bits, bad input."""

from __future__ import annotations

import inspect

import lanemax as lm
import loss_oracle
import mpmath as mp
import numpy as np
import pytest
import support
from lanemax import _losses
from lanemax._core import context, registry

LOSSES = [op["name"] for op in registry.losses()]
EXPONENTIAL = ("cross_entropy", "comp_sum_loss", "generalized_cross_entropy", "mae_loss")
SETTINGS = {
    "z_loss": [{}, {"a": 0.5, "b": 3.0}, {"a": 2.0, "b": -1.0}],
    "spherical_softmax_loss": [{}, {"eps": 0.0}, {"eps": 0.01}],
    "taylor_softmax_loss": [{}, {"order": 4}, {"order": 8}],
    "comp_sum_loss": [{}, {"tau": 0.0}, {"tau": 0.5}, {"tau": 1.7}, {"tau": 3.0}],
    "generalized_cross_entropy": [{}, {"q": 0.0}, {"q": 1.0}],
    "one_hot_mse_loss": [{}, {"label_smoothing": 0.1}],
}
CASES = [(name, s) for name in LOSSES for s in SETTINGS.get(name, [{}])]


def value(name, *args, **kw):
    return getattr(lm, name)(*args, **kw)


def value_and_grad(name, *args, **kw):
    return getattr(lm, name + "_and_grad")(*args, **kw)


def exact(name, row, target, settings):
    """The oracle's Row for one row of logits."""
    defaults = {
        k: v.default
        for k, v in inspect.signature(getattr(lm, name)).parameters.items()
        if k in ("a", "b", "eps", "order", "tau", "q")
    }
    arguments = {**defaults, **settings}
    if "label_smoothing" in arguments:
        arguments["smoothing"] = arguments.pop("label_smoothing")
    with mp.workdps(loss_oracle.DIGITS):
        return getattr(loss_oracle, name)([mp.mpf(float(v)) for v in row], target, **arguments)


def ulp_error(got, want: mp.mpf, dtype) -> float:
    info = np.finfo(dtype)
    if not np.isfinite(got):
        return 0.0 if mp.mpf(float(got)) == want or abs(want) > info.max else np.inf
    if want == 0:
        return 0.0 if got == 0 else np.inf
    exponent = max(int(mp.floor(mp.log(abs(want), 2))), info.minexp)
    return float(abs(mp.mpf(float(got)) - want) / mp.mpf(2) ** (exponent - info.nmant))


KINDS = ("normal", "wide", "confident", "sure", "offset", "small", "equal", "two")


def logits_of(kind, rng, shape, dtype):
    x = rng.normal(size=shape)
    if kind == "wide":
        x *= 20
    elif kind == "confident":
        x[..., 0] += 25
    elif kind == "sure":  # losses of 1e-17 in float, 1e-87 in double
        x = 1e-3 * x + 7
        x[1:] = np.round(x[1:])
        x[..., 0] += 80 if dtype == np.float32 else 400
    elif kind == "offset":
        x = x * 0.5 + 1000
    elif kind == "small":
        x *= 1e-6
    elif kind == "equal":
        x[:] = 0.75
    elif kind == "two":
        x = np.where(x > 0, 3.0, -4.0)
    return x.astype(dtype)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_accuracy(name, settings, dtype):
    """A5, A6, and 4 ULP and 6 u of the absolute terms for the others."""
    rng = np.random.default_rng(len(name))
    u = 2.0**-24 if dtype == np.float32 else 2.0**-53
    allowed = 3 if name == "cross_entropy" else 4
    for kind in KINDS:
        for n in (2, 5, 33, 130):
            x = logits_of(kind, rng, (3, n), dtype)
            t = rng.integers(0, n, 3)
            t[0] = 0
            if kind == "offset" and name == "taylor_softmax_loss" and settings:
                x /= 100
            loss, grad = value_and_grad(name, x, t, reduction="none", **settings)
            assert loss.dtype == dtype
            assert grad.dtype == dtype
            np.testing.assert_array_equal(value(name, x, t, reduction="none", **settings), loss)
            for i in range(3):
                want = exact(name, x[i], int(t[i]), settings)
                where = f"{name}{settings} {kind} n={n} row {i}"
                assert ulp_error(loss[i], want.loss, dtype) <= allowed, (
                    where, loss[i], mp.nstr(want.loss, 20))  # fmt: skip
                for k in range(n):
                    if name == "cross_entropy":
                        assert ulp_error(grad[i, k], want.grad[k], dtype) <= 5, (where, k)
                        continue
                    error = abs(mp.mpf(float(grad[i, k])) - want.grad[k])
                    tiny = mp.mpf(float(np.finfo(dtype).smallest_subnormal))
                    assert error <= 6 * u * want.terms[k] + tiny, (
                        where, k, grad[i, k], mp.nstr(want.grad[k], 20))  # fmt: skip


GOLDEN_X = [0.5, -1.25, 2.0, 0.0, -3.5]


@pytest.mark.parametrize(
    ("name", "target", "settings", "want"),
    [
        ("cross_entropy", 2, {}, 0.33741923283245742),
        ("cross_entropy", 1, {}, 3.5874192328324574),
        ("cross_entropy", 2, {"logz_penalty": 1e-4}, 0.33796558569945892),
        ("z_loss", 2, {}, 0.23533957571094644),
        ("z_loss", 1, {}, 0.93303853525489512),
        ("z_loss", 2, {"a": 0.5, "b": 3.0}, 2.3930279885567183),
        ("z_loss", 1, {"a": 0.5, "b": 3.0}, 3.7637002537007065),
        ("z_loss", 2, {"a": 2.0, "b": -1.0}, 0.004741549743474279),
        ("spherical_softmax_loss", 2, {"eps": 0.01}, 1.5078110663283229),
        ("spherical_softmax_loss", 2, {"eps": 0.0}, 1.5075436047527603),
        ("taylor_softmax_loss", 2, {}, 0.85707137221418384),
        ("taylor_softmax_loss", 1, {}, 3.0990318433917947),
        ("one_hot_mse_loss", 2, {}, 15.0625),
        ("one_hot_mse_loss", 2, {"label_smoothing": 0.1}, 15.4005),
        ("bouchard_loss", 2, {}, 1.6625366784550146),
        ("comp_sum_loss", 2, {"tau": 0.0}, 0.4013264226552286),
        ("comp_sum_loss", 2, {"tau": 1.7}, 0.30053157801871134),
        ("comp_sum_loss", 1, {"tau": 0.0}, 35.140684775222498),
        ("generalized_cross_entropy", 1, {}, 1.3126124193428068),
        ("mae_loss", 1, {}, 0.9723303527252039),
        ("mae_loss", 2, {}, 0.28639039139417399),
    ],
)
def test_golden(name, target, settings, want):
    got = value(name, np.array(GOLDEN_X), target, **settings)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_golden_stablemax():
    z = np.array([2.0, -1.0, 0.0, 5.0, -3.0])
    np.testing.assert_allclose(lm.stablemax_cross_entropy(z, 3), 0.583146285345617, rtol=1e-14)
    loss, grad = lm.stablemax_cross_entropy_and_grad(z, 4)
    np.testing.assert_allclose(loss, 3.761200115693562, rtol=1e-14)
    want = [0.093023255814, 0.023255813953, 0.093023255814, 0.093023255814, -0.244186046512]
    np.testing.assert_allclose(grad, want, rtol=1e-10)


def test_saturated():
    """Spec 8: nothing is lost at either end."""
    x = np.array([40.0, 0.0, -3.0])
    for name in ("cross_entropy", "mae_loss"):
        np.testing.assert_allclose(value(name, x, 0), 4.459867359050697e-18, rtol=1e-15)
    x = np.array([0.0, 60.0, 59.0])
    np.testing.assert_allclose(lm.comp_sum_loss(x, 0, tau=0.0), 1.5621284301947357e26, rtol=1e-14)
    np.testing.assert_allclose(lm.generalized_cross_entropy(x, 0), 1.4285714285714286, rtol=1e-15)
    masked = np.array([0.0, 60.0, -np.inf], np.float32)
    grad = lm.comp_sum_loss_and_grad(masked, 0, tau=0.0)[1]
    assert grad[2] == 0
    np.testing.assert_allclose(grad[1], np.exp(60.0), rtol=3e-7)


# -------------------------------------------------------------- reductions ---

LOGITS = np.array([[1, 2, 0.5], [-1, 0.25, 3], [5, 5, 5], [0, -2, 1]])
TARGETS = np.array([2, 0, -100, 1])


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"reduction": "none"}, [1.9643687841079448, 4.0790362014040996, 0, 3.3490122167681864]),
        ({}, 3.1308057340934103),
        ({"weight": [1, 2, 0.5]}, 3.3597842934269842),
        ({"label_smoothing": 0.1}, 2.9946946229822992),
        ({"label_smoothing": 0.1, "weight": [1, 2, 0.5]}, 3.2273626279698173),
    ],
)
def test_reductions(options, want):
    np.testing.assert_allclose(lm.cross_entropy(LOGITS, TARGETS, **options), want, rtol=2e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_agree(name):
    """256 rows count, each with weight 1/2: every factor is a power of two, so exact."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(320, 17)).astype(np.float32)
    t = rng.integers(0, 17, 320)
    t[::5] = -100
    w = np.full(17, 0.5)
    each, grad = value_and_grad(name, x, t, weight=w, reduction="none")
    total, grad_sum = value_and_grad(name, x, t, weight=w, reduction="sum")
    mean, grad_mean = value_and_grad(name, x, t, weight=w)
    kept = t >= 0
    assert (each[~kept] == 0).all()
    assert (grad[~kept] == 0).all()
    np.testing.assert_allclose(total, each.astype(np.float64).sum(), rtol=2e-7)
    assert mean == total / 128
    np.testing.assert_array_equal(grad_sum, grad)
    np.testing.assert_array_equal(grad_mean, grad / 128)
    plain = value(name, x, t, reduction="none")
    np.testing.assert_array_equal(each[kept], plain[kept] / 2)
    assert value(name, np.zeros((2, 3)), [0, 1], weight=[0, 0, 1], reduction="sum") == 0


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_counts(name):
    x = np.full((3, 4), np.nan, np.float32)
    t = np.full(3, -100)
    loss, grad = value_and_grad(name, x, t)
    assert np.isnan(loss)
    assert (grad == 0).all()
    assert value(name, x, t, reduction="sum") == 0
    assert (value(name, x, t, reduction="none") == 0).all()
    empty = np.empty((0, 4), np.float32)
    assert np.isnan(value(name, empty, []))
    assert value(name, empty, [], reduction="sum") == 0
    assert value(name, empty, [], reduction="none").shape == (0,)


# ------------------------------------------------------------------ options ---


def reference_ce(x, t, *, weight=None, label_smoothing=0.0, logz_penalty=0.0, softcap=None,
                 temperature=1.0, reduction="mean"):  # fmt: skip
    """PyTorch's formula in float64; t: indices or probabilities; -100 is ignored."""
    x = np.asarray(x, np.float64)
    D = x.shape[-1]
    if softcap is not None:
        x = softcap * np.tanh(x / softcap)
    x = x / temperature
    w = np.ones(D) if weight is None else np.asarray(weight, np.float64)
    top = x.max(-1, keepdims=True)
    lse = top + np.log(np.exp(x - top).sum(-1, keepdims=True))
    logp = x - lse
    t = np.asarray(t)
    if t.dtype.kind == "f":
        y, kept = t.astype(np.float64), np.ones(len(t), bool)
        y = y * (1 - label_smoothing) + label_smoothing / D
        each = -(w * y * logp).sum(-1)
        denominator = len(t)
    else:
        kept = t != -100
        rows = np.arange(len(t))
        index = np.where(kept, t, 0)
        each = -(1 - label_smoothing) * w[index] * logp[rows, index]
        each -= label_smoothing / D * (w * logp).sum(-1)
        denominator = w[index][kept].sum()
    each = np.where(kept, each + logz_penalty * lse[..., 0] ** 2, 0)
    return each if reduction == "none" else each.sum() / (denominator if reduction == "mean" else 1)


def numeric_gradient(f, x, h=1e-4):
    """Central differences with one Richardson step."""
    grad = np.empty_like(x)
    for i in np.ndindex(x.shape):
        d = []
        for step in (h, h / 2):
            up, down = x.copy(), x.copy()
            up[i] += step
            down[i] -= step
            d.append((f(up) - f(down)) / (2 * step))
        grad[i] = (4 * d[1] - d[0]) / 3
    return grad


OPTIONS = [
    {"label_smoothing": 0.2},
    {"label_smoothing": 1.0},
    {"logz_penalty": 0.1},
    {"softcap": 3.0},
    {"temperature": 0.7},
    {"label_smoothing": 0.1, "logz_penalty": 1e-2, "softcap": 5.0, "temperature": 1.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_options(options, soft, weighted, reduction):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 6)) * 2
    if soft:
        t = rng.dirichlet(np.ones(6), 4)
        t[0, 2] = 0
    else:
        t = np.array([1, 5, -100, 0])
    kw = {**options, "reduction": reduction}
    if weighted:
        kw["weight"] = rng.uniform(0.5, 2, 6)
    loss, grad = lm.cross_entropy_and_grad(x, t, **kw)
    np.testing.assert_allclose(loss, reference_ce(x, t, **kw), rtol=1e-13)
    np.testing.assert_array_equal(lm.cross_entropy(x, t, **kw), loss)
    want = numeric_gradient(lambda v: np.sum(reference_ce(v, t, **kw)), x)
    np.testing.assert_allclose(grad, want, rtol=1e-8, atol=1e-10)


def test_options_random():
    """Random combinations of every argument against the formula in float64."""
    rng = np.random.default_rng(11)
    for _ in range(400):
        n, D = rng.integers(1, 9), rng.integers(2, 40)
        x = rng.normal(size=(n, D)) * rng.choice([0.1, 1, 8])
        soft = rng.random() < 0.4
        t = rng.dirichlet(np.ones(D), n) if soft else rng.integers(0, D, n)
        if not soft and n > 1:
            t[rng.integers(n)] = -100
        kw = {"reduction": str(rng.choice(["mean", "sum", "none"]))}
        if rng.random() < 0.5:
            kw["weight"] = rng.uniform(0.2, 2, D)
        if rng.random() < 0.5:
            kw["label_smoothing"] = rng.random()
        if rng.random() < 0.4:
            kw["logz_penalty"] = rng.random()
        if rng.random() < 0.4:
            kw["softcap"] = rng.uniform(1, 30)
        if rng.random() < 0.4:
            kw["temperature"] = rng.uniform(0.3, 3, (n, 1))
        np.testing.assert_allclose(
            lm.cross_entropy(x, t, **kw), reference_ce(x, t, **kw), rtol=1e-12, err_msg=str(kw)
        )


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_gradient(name, settings):
    """Against differences of the loss itself, in float64."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 7)) * 1.5
    t = [0, 3, 6]
    _, grad = value_and_grad(name, x, t, reduction="sum", **settings)
    want = numeric_gradient(lambda v: value(name, v, t, reduction="sum", **settings), x)
    np.testing.assert_allclose(grad, want, rtol=1e-7, atol=1e-8)


def test_invariants():
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(5, 50)), rng.integers(0, 50, 5)
    _, g = lm.z_loss_and_grad(x, t, reduction="none")
    np.testing.assert_allclose(g.sum(-1), 0, atol=1e-15)
    np.testing.assert_allclose((g * x).sum(-1), 0, atol=1e-15)
    np.testing.assert_allclose(lm.z_loss(3 * x + 7, t), lm.z_loss(x, t), rtol=1e-13)
    _, g = lm.cross_entropy_and_grad(x, t, reduction="none")
    np.testing.assert_allclose(g.sum(-1), 0, atol=1e-15)
    bound = lm.bouchard_loss(x, t, reduction="none")
    assert (bound >= lm.cross_entropy(x, t, reduction="none")).all()
    log_p = lm.log_softmax(x.astype(np.float32))
    ce = lm.cross_entropy(x.astype(np.float32), t, reduction="none")
    np.testing.assert_array_equal(ce, -log_p[np.arange(5), t])


def test_large_and_small_logits():
    """No overflow or underflow on the way to a finite result."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 40))
    for dtype, powers in ((np.float64, (500, 1000, -500, -1000)), (np.float32, (120, -120))):
        base = x.astype(dtype)
        for p in powers:
            y = np.ldexp(base, p)
            for name, kw in (("z_loss", {}), ("spherical_softmax_loss", {"eps": 0.0})):
                got, grad = value_and_grad(name, y, [1, 2], **kw)
                want, want_grad = value_and_grad(name, base, [1, 2], **kw)
                np.testing.assert_allclose(got, want, rtol=3e-7 if dtype == np.float32 else 1e-15)
                with np.errstate(over="ignore"):
                    scaled = np.ldexp(want_grad, -p)
                if np.isfinite(scaled).all() and (abs(scaled) > np.finfo(dtype).tiny).all():
                    np.testing.assert_allclose(grad, scaled, rtol=1e-5, atol=0)
    big = np.array([3e38, -2e38, 1.0], np.float32)
    assert np.isfinite(lm.taylor_softmax_loss(big, 0, order=8))
    assert np.isfinite(lm.taylor_softmax_loss(big.astype(np.float64) * 1e250, 0))
    assert np.isfinite(lm.stablemax_cross_entropy(np.full(9, 1.7e308), 0))


# ---------------------------------------------------------- special values ---


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
def test_nan(name, dtype):
    for n in (1, 5, 40, 200):
        for at in {0, n // 2, n - 1}:
            x = np.zeros((2, n), np.float32)
            x[0, at] = np.nan
            x = support.rounded(x.astype(np.float64), dtype)
            loss, grad = value_and_grad(name, x, [0, 0], reduction="none")
            assert np.isnan(loss[0])
            assert not np.isnan(loss[1])
            bad = np.isnan(grad[0].astype(np.float32))
            assert bad.all() if name != "one_hot_mse_loss" else bad[at]
            assert not np.isnan(grad[1].astype(np.float32)).any()


@pytest.mark.parametrize("name", (*EXPONENTIAL, "stablemax_cross_entropy"))
def test_masked(name):
    x = np.array([[1.0, -np.inf, 2.0], [1.0, -np.inf, 2.0], [-np.inf] * 3], np.float32)
    loss, grad = value_and_grad(name, x, [0, 1, 0], reduction="none")
    without = value(name, x[0, [0, 2]], 0)
    assert loss[0] == without
    assert grad[0, 1] == 0
    if name in ("cross_entropy", "comp_sum_loss", "stablemax_cross_entropy"):
        assert loss[1] == np.inf
    assert np.isnan(loss[2])
    assert np.isnan(grad[2]).all()


@pytest.mark.parametrize("name", LOSSES)
def test_one_class(name):
    loss, grad = value_and_grad(name, np.array([[3.0], [-2.0]]), [0, 0], reduction="none")
    if name == "z_loss":
        np.testing.assert_allclose(loss, np.log(2))
    elif name != "one_hot_mse_loss":
        assert (loss == 0).all()
        assert (grad == 0).all()


def test_spherical_corner():
    loss, grad = lm.spherical_softmax_loss_and_grad(np.array([0.0, 1.0]), 0, eps=0.0)
    assert loss == np.inf
    np.testing.assert_array_equal(grad, [0, 2])


# --------------------------------------------------------------------- bits ---


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
def test_bits(name, settings, dtype):
    """The same on every tier and for any threads, strides, in place, and in any batch."""
    rng = np.random.default_rng(9)
    for rows, n in ((40, 70), (3, 20000), (1, 70000)):
        x = support.rounded(rng.normal(size=(rows, n)) * 3, dtype)
        t = rng.integers(0, n, rows)
        if rows > 2:
            t[2] = -100
        w = rng.uniform(0.5, 2, n)

        def run(logits, **kw):
            return value_and_grad(name, logits, t, weight=w, **settings, **kw)  # noqa: B023

        loss, grad = run(x)
        for isa in lm.available_isas():
            with context.using_isa(isa):
                for threads in (1, 3):
                    with lm.num_threads(threads):
                        got, got_grad = run(x)
                assert support.bits(got).tobytes() == support.bits(loss).tobytes(), isa
                assert got_grad.tobytes() == grad.tobytes(), isa
        wide = np.zeros((rows, n, 2), dtype)
        wide[..., 1] = x
        got, got_grad = run(wide[..., 1])
        assert got == loss
        assert got_grad.tobytes() == grad.tobytes()
        got, got_grad = run(np.asfortranarray(x))
        assert got == loss
        assert got_grad.tobytes() == grad.tobytes()
        own = x.copy()
        got, got_grad = run(own, grad_out=own)
        assert got == loss
        assert got_grad is own
        assert own.tobytes() == grad.tobytes()
        each, each_grad = run(x, reduction="none")
        for i in range(0, rows, 7):
            alone = value_and_grad(name, x[i], t[i], weight=w, reduction="none", **settings)
            assert alone[0] == each[i]
            assert alone[1].tobytes() == each_grad[i].tobytes()


def test_stream_and_overlap():
    """Gradients past the caches, and arrays that overlap in part."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(600, 33001)).astype(np.float32)
    t = rng.integers(0, 33001, 600)
    grad = lm.cross_entropy_and_grad(x, t, reduction="none")[1]
    for i in (0, 1, 299, 599):
        np.testing.assert_array_equal(
            lm.cross_entropy_and_grad(x[i], t[i], reduction="none")[1], grad[i]
        )
    buffer = np.zeros(50 * 80 + 7, np.float32)
    y = buffer[: 50 * 80].reshape(50, 80)
    y[:] = x[:50, :80]
    labels = t[:50] % 80
    want = lm.z_loss_and_grad(y.copy(), labels)
    out = buffer[7:].reshape(50, 80)
    got = lm.z_loss_and_grad(y, labels, grad_out=out)
    assert got[0] == want[0]
    np.testing.assert_array_equal(out, want[1])


def test_types_of_targets():
    x = np.random.default_rng(0).normal(size=(4, 100))
    want = lm.cross_entropy(x, [1, 2, 3, 99])
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"):
        assert lm.cross_entropy(x, np.array([1, 2, 3, 99], kind)) == want
    t = np.array([[1, 0], [2, 0], [3, 0], [99, 0]])[:, 0]
    assert lm.cross_entropy(x, t) == want
    p = np.eye(100, dtype=np.float32)[[1, 2, 3, 99]]
    np.testing.assert_allclose(lm.cross_entropy(x, p), want, rtol=1e-15)
    np.testing.assert_allclose(lm.cross_entropy(x.astype(np.float32), p.astype(float)), want, 1e-6)
    confident = np.array([[40.0, 0.0, -3.0]])
    np.testing.assert_allclose(
        lm.cross_entropy(confident, np.array([[1.0, 0.0, 0.0]])), 4.459867359050697e-18, 1e-15
    )
    shaped = lm.cross_entropy(x.reshape(2, 2, 100), [[1, 2], [3, 99]], reduction="none")
    assert shaped.shape == (2, 2)


# ---------------------------------------------------------------- bad input ---

X = np.zeros((2, 3), np.float32)
BAD = [
    ("cross_entropy", (X, [0, 3]), {}, IndexError, "row 1 holds 3"),
    ("cross_entropy", (X, [-1, 0]), {}, IndexError, "row 0 holds -1"),
    ("z_loss", (X, np.array([0, 2**64 - 1], np.uint64)), {}, IndexError, "row 1"),
    ("cross_entropy", (X, [0]), {}, ValueError, "target: expected shape"),
    ("cross_entropy", (X, [True, False]), {}, TypeError, "target"),
    ("z_loss", (X, [0.0, 1.0]), {}, TypeError, "target"),
    ("cross_entropy", (X, [0.0, 1.0]), {}, ValueError, "target"),
    ("cross_entropy", (X, [0, 1]), {"reduction": "avg"}, ValueError, "reduction"),
    ("cross_entropy", (X, [0, 1]), {"weight": [1, 2]}, ValueError, "weight"),
    ("cross_entropy", (X, [0, 1]), {"weight": ["a", "b", "c"]}, TypeError, "weight"),
    ("cross_entropy", (X, [0, 1]), {"label_smoothing": 1.5}, ValueError, "label_smoothing"),
    ("cross_entropy", (X, [0, 1]), {"label_smoothing": None}, TypeError, "label_smoothing"),
    ("cross_entropy", (X, [0, 1]), {"logz_penalty": -1}, ValueError, "logz_penalty"),
    ("cross_entropy", (X, [0, 1]), {"softcap": 0}, ValueError, "softcap"),
    ("cross_entropy", (X, [0, 1]), {"temperature": 0}, ValueError, "temperature"),
    ("cross_entropy", (X, [0, 1]), {"temperature": np.ones(2)}, ValueError, "temperature"),
    ("cross_entropy", (X, [0, 1]), {"ignore_index": 1.5}, TypeError, "ignore_index"),
    ("cross_entropy", (X, [0, 1]), {"tau": 1}, TypeError, "tau"),
    ("z_loss", (X, [0, 1]), {"a": 0}, ValueError, "a: must be positive"),
    ("z_loss", (X, [0, 1]), {"b": np.nan}, ValueError, "b: must be finite"),
    ("z_loss", (X, [0, 1]), {"label_smoothing": 0.1}, TypeError, "label_smoothing"),
    ("taylor_softmax_loss", (X, [0, 1]), {"order": 3}, ValueError, "order"),
    ("spherical_softmax_loss", (X, [0, 1]), {"eps": -1}, ValueError, "eps"),
    ("comp_sum_loss", (X, [0, 1]), {"tau": -1}, ValueError, "tau"),
    ("generalized_cross_entropy", (X, [0, 1]), {"q": 2}, ValueError, "q: "),
    ("cross_entropy", (np.zeros((2, 0)), [0, 0]), {}, ValueError, "no classes"),
    ("cross_entropy", (np.float32(1), 0), {}, ValueError, "0-d"),
    ("cross_entropy", (X.astype(complex), [0, 1]), {}, TypeError, "logits"),
    ("cross_entropy", (np.ma.array(X), [0, 1]), {}, TypeError, "mask"),
    ("cross_entropy", (X, [0, 1]), {"out": np.zeros(2, np.float32)}, ValueError, "out"),
    ("cross_entropy", (X, [0, 1]), {"out": np.zeros(())}, TypeError, "out"),
    ("cross_entropy_and_grad", (X, [0, 1]), {"grad_out": np.zeros((2, 4), np.float32)},
     ValueError, "grad_out"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kw", "error", "message"), BAD)
def test_bad_input(name, args, kw, error, message):
    name = name if name.endswith("_and_grad") else name + "_and_grad"
    mine = np.full((2, 3), 7, np.float32)
    if np.shape(args[0]) == (2, 3) and "grad_out" not in kw:
        kw = {**kw, "grad_out": mine}
    with pytest.raises(error, match=message):
        getattr(lm, name)(*args, **kw)
    assert (mine == 7).all()


def test_out():
    out = np.zeros((), np.float32)
    assert lm.cross_entropy(X, [0, 1], out=out) is out
    np.testing.assert_allclose(out, np.log(3), rtol=1e-6)
    each = np.zeros((2, 2), np.float32)[:, 0]
    assert lm.cross_entropy(X, [0, 1], reduction="none", out=each) is each
    assert isinstance(lm.cross_entropy(X, [0, 1]), np.float32)


def test_16_bit_losses_are_float32():
    for dtype in support.DTYPES:
        if np.dtype(dtype).itemsize != 2:
            continue
        x = support.rounded(np.random.default_rng(3).normal(size=(9, 33)) * 4, dtype)
        for name, settings in CASES:
            loss, grad = value_and_grad(name, x, [3] * 9, reduction="none", **settings)
            assert loss.dtype == np.float32
            wide, wide_grad = value_and_grad(
                name, x.astype(np.float32), [3] * 9, reduction="none", **settings
            )
            np.testing.assert_array_equal(loss, wide)
            want = support.rounded(wide_grad, dtype)
            np.testing.assert_array_equal(support.bits(grad), support.bits(want))


@pytest.mark.parametrize(
    ("tau", "rho", "nu", "want"),
    [
        (1, 1, 1, 1.9576044074344225),
        (0.4, 1, 1, 1.9941864226952093),
        (1.5, 2, 0.5, 1.4303180385218407),
    ],
)
def test_adversarial(tau, rho, nu, want):
    a = np.array([0.25, -1.0, 1.5, 0.5, -3.0])
    kw = {"tau": tau, "rho": rho, "nu": nu}
    o = np.array(GOLDEN_X)
    loss = lm.smooth_adversarial_comp_sum_loss(o, a, 2, **kw)
    np.testing.assert_allclose(loss, want, rtol=1e-14)
    same, do, da = lm.smooth_adversarial_comp_sum_loss_and_grad(o, a, 2, **kw)
    assert same == loss
    for got, x, f in (
        (do, o, lambda v: lm.smooth_adversarial_comp_sum_loss(v, a, 2, **kw)),
        (da, a, lambda v: lm.smooth_adversarial_comp_sum_loss(o, v, 2, **kw)),
    ):
        np.testing.assert_allclose(got, numeric_gradient(f, x), rtol=1e-8, atol=1e-9)


def test_adversarial_rows():
    """Bits in place, strided, and for any threads and tiers; ignored rows; NaN; no distance."""
    rng = np.random.default_rng(8)
    for dtype in support.DTYPES:
        for rows, n in ((30, 50), (2, 40000)):
            o = support.rounded(rng.normal(size=(rows, n)) * 2, dtype)
            a = support.rounded(o.astype(np.float64) + rng.normal(size=(rows, n)) * 0.1, dtype)
            t = rng.integers(0, n, rows)
            t[1] = -100
            function = lm.smooth_adversarial_comp_sum_loss_and_grad
            want = function(o, a, t, tau=1.5, rho=0.7, nu=2.0)
            assert (want[1][1] == 0).all()
            assert (want[2][1] == 0).all()
            for isa in lm.available_isas():
                for threads in (1, 2):
                    with context.using_isa(isa), lm.num_threads(threads):
                        got = function(np.asfortranarray(o), a, t, tau=1.5, rho=0.7, nu=2.0)
                    for g, w in zip(got, want, strict=True):
                        assert support.bits(g).tobytes() == support.bits(w).tobytes()
            own = o.copy(), a.copy()
            got = function(*own, t, tau=1.5, rho=0.7, nu=2.0, grad_out=own)
            assert got[1] is own[0]
            assert got[0] == want[0]
            assert own[0].tobytes() == want[1].tobytes()
            assert own[1].tobytes() == want[2].tobytes()
    loss, do, da = function(o, o, t)
    assert loss == lm.comp_sum_loss(o, t)
    assert (da.astype(np.float64) == 0).all()
    x = np.array([[0.0, -np.inf, 1.0]])
    loss, do, da = function(x, np.array([[0.5, -np.inf, 1.0]]), [2])
    assert np.isfinite(loss)
    assert do[0, 1] == da[0, 1] == 0
    assert np.isnan(function(x, np.array([[0.5, 0.0, 1.0]]), [2])[0])
    for bad in ({"rho": 0}, {"nu": -1}, {"tau": -1}, {"adversarial_logits": np.zeros((1, 2))}):
        arguments = {"logits": x, "adversarial_logits": x, "target": [2], **bad}
        with pytest.raises(ValueError, match=next(iter(bad))):
            function(**arguments)
    with pytest.raises(TypeError, match="grad_out"):
        function(x, x, [2], grad_out=x.copy())


@pytest.mark.parametrize("name", sorted(_losses.FUNCTIONS))
def test_documented(name):
    function = getattr(lm, name)
    assert name in lm.__all__
    assert function.__name__ == name
    for parameter in inspect.signature(function).parameters:
        assert parameter in function.__doc__


def test_extreme_rows():
    """Neither the sign of a NaN nor a scale of the logits is left to the machine."""
    big = np.array([-5e27, -1e-34, 3e20], np.float32)
    loss, grad = lm.taylor_softmax_loss_and_grad(big, 1, order=8)
    with mp.workdps(loss_oracle.DIGITS):
        want = loss_oracle.taylor_softmax_loss([mp.mpf(float(v)) for v in big], 1, 8)
    assert ulp_error(loss, want.loss, np.float32) <= 4
    assert np.isfinite(grad).all()
    huge = np.array([3.6e252, 1e200, -1e-3])
    assert np.isfinite(lm.taylor_softmax_loss(huge, 0, order=6))
    assert np.isfinite(lm.taylor_softmax_loss_and_grad(np.full(5, 1e300), 0, order=32)[1]).all()
    far = np.array([9000.0, -3000.0, -np.inf], np.float32)
    loss, grad = lm.comp_sum_loss_and_grad(far, 1, tau=0.0)
    assert loss == np.inf
    np.testing.assert_array_equal(grad, [np.inf, -np.inf, 0])
    x = np.full(7, 1e200)
    np.testing.assert_allclose(lm.bouchard_loss(x, 0), lm.bouchard_loss(np.zeros(7), 0))
    x[1] = -1e300
    loss, grad = lm.bouchard_loss_and_grad(x, 0)
    assert np.isfinite(loss)
    assert np.isfinite(grad).all()
    tiny = np.ldexp(np.random.default_rng(0).normal(size=9), -141).astype(np.float32)
    loss, grad = lm.z_loss_and_grad(tiny, 2)
    scaled, other = lm.z_loss_and_grad(np.ldexp(tiny.astype(np.float64), 141), 2)
    np.testing.assert_allclose(loss, scaled, rtol=2e-7)
    assert (grad[abs(other) > 1e-2] == np.copysign(np.inf, other[abs(other) > 1e-2])).all()
    for name in LOSSES:
        loss, grad = value_and_grad(name, np.zeros((2, 3)), [0, 1], weight=[0.0, 0.0, 1.0])
        assert np.isnan(loss)
        assert (support.bits(grad) == 0x7FF8000000000000).all()
        x = np.array([[1.0, np.inf, 2.0], [1.0, -np.inf, 2.0]])
        with_inf = value_and_grad(name, x, [0, 0], weight=[0.0, 1.0, 1.0], reduction="none")[1]
        bits = support.bits(with_inf)[np.isnan(with_inf)]
        assert (bits == 0x7FF8000000000000).all()


def test_rows_at_the_ends_of_the_range():
    """What a comparison with PyTorch and random properties found, with the right results."""
    f = np.float32
    grad = lm.cross_entropy_and_grad(f([0, 838861]), 0, logz_penalty=10.0)[1]
    assert grad[1] == f(2 * 10 * 838861 + 1)
    grad = lm.cross_entropy_and_grad(f([0, 65553]), 0, temperature=2.0**-24)[1]
    assert grad.tolist() == [-(2.0**24), 2.0**24]
    x = np.array([2.0**50, 2.0**50 + 25])
    grad = lm.comp_sum_loss_and_grad(x, 0, tau=0.0, weight=[0.3, 1.0], reduction="sum")[1]
    assert abs(grad[1] / (0.3 * np.exp(25.0)) - 1) <= 2.0**-50
    assert lm.spherical_softmax_loss([2.0, 0.0, 0.0], 0, eps=0) == 0
    assert lm.spherical_softmax_loss([2.41], 0, eps=0) == 0
    assert abs(lm.spherical_softmax_loss([1.0, 1e200], 0) / (400 * np.log(10)) - 1) <= 1e-6
    assert lm.spherical_softmax_loss([0.0, 2.0**512], 0, eps=0) == np.inf
    loss, grad = lm.taylor_softmax_loss_and_grad([0.0, 1e200], 0)
    assert abs(loss - (400 * np.log(10) - np.log(2))) <= 1e-12
    assert grad[0] == -1 and abs(grad[1] / 2e-200 - 1) <= 2.0**-51
    assert abs(lm.spherical_softmax_loss([1e-160, 1.0], 0, eps=0) / (320 * np.log(10)) - 1) < 1e-15
    want = 400 * np.log(10) - np.log(40320)
    assert abs(lm.taylor_softmax_loss([0.0, 1e50], 0, order=8) - want) <= 1e-12
    loss, grad = lm.taylor_softmax_loss_and_grad(f([0, 1e12]), 0, order=32)
    assert np.isfinite(loss) and grad[0] == -1
    assert np.isfinite(loss) and abs(lm.taylor_softmax_loss([2.0**267, 1e300], 0) - 1011.4) < 1
    assert lm.one_hot_mse_loss([0.0, 1.5e154], 0) == np.inf
    assert lm.cross_entropy([1.4e154, 0.0], np.array([1.0, 0.0])) == 0
    three = f([1, 2, 3])
    assert lm.cross_entropy(three, 0, softcap=4e38) == lm.cross_entropy(three, 0)
    hot = lm.softmax(f([0, 2.0**-127]), temperature=2.0**-131)
    assert hot.tolist() == lm.softmax(f([0, 16])).tolist()
    assert np.isfinite(lm.cross_entropy_and_grad(np.zeros(3), 0, temperature=4.4e307)[1]).all()
    assert abs(lm.bouchard_loss(f([160, 0, 0]), 0) / (3 * np.exp(-80.0)) - 1) <= 1e-6
    assert lm.bouchard_loss([1480.0, 0, 0, 0], 0) == 1.675e-321  # 4 exp(-740), a subnormal
    assert lm.bouchard_loss(f([-1.1e8, -3e16]), 0) >= 0
    far, grad = lm.bouchard_loss_and_grad([-1e300, 1e300, 0.0], 0)
    np.testing.assert_allclose(far, 1e300 * (1 + 2 / np.sqrt(3)), rtol=1e-15)
    np.testing.assert_allclose(grad.sum(), 0, atol=1e-15)
    confident = float(lm.bouchard_loss(f([170.1, 0.3]), 0))
    assert abs(confident / (2 * np.exp(-(float(f(170.1)) - float(f(0.3))) / 2)) - 1) <= 1e-6
    for extra in ({"label_smoothing": 0.1}, {"logz_penalty": 0.1}):
        assert np.isnan(lm.cross_entropy(np.zeros((1, 3)), [0], weight=[0.0, 1, 1], **extra))
    loss = lm.generalized_cross_entropy([0.0, 3.1, 1.0, 0.0], 0, q=5e-324)
    assert loss == lm.cross_entropy([0.0, 3.1, 1.0, 0.0], 0)
    grad = lm.cross_entropy_and_grad(f([0]), 0, weight=[1e30], reduction="sum")[1]
    assert grad.tolist() == [0]


def test_arguments_anywhere_in_memory():
    room = np.zeros(2 * 8 + 3 * 8 + 2, np.uint8)
    target, weight = np.ndarray(2, np.int64, room, 1), np.ndarray(3, np.float64, room, 17)
    target[:], weight[:] = [0, 1], [0.5, 1, 2]
    x = np.arange(6.0).reshape(2, 3)
    want = lm.cross_entropy(x, [0, 1], weight=[0.5, 1, 2])
    assert lm.cross_entropy(x, target, weight=weight) == want
    loss, grad = lm.cross_entropy_and_grad(np.empty((0, 4)), np.empty(0, int))
    assert np.isnan(loss) and grad.shape == (0, 4)


def test_an_unknown_argument_lists_all_that_are_taken():
    x = np.zeros((2, 3))
    with pytest.raises(TypeError) as caught:
        lm.cross_entropy(x, [0, 1], weights=np.ones(3))
    assert str(caught.value) == (
        "cross_entropy: unexpected argument 'weights'; it takes label_smoothing, logz_penalty, "
        "softcap, temperature, weight, ignore_index, reduction, out"
    )
    with pytest.raises(TypeError) as caught:
        lm.taylor_softmax_loss_and_grad(x, [0, 1], tau=1.0)
    assert str(caught.value) == (
        "taylor_softmax_loss_and_grad: unexpected argument 'tau'; it takes order, weight, "
        "ignore_index, reduction, out, grad_out"
    )


def test_what_is_wrong_with_a_target_is_said():
    x = np.zeros((2, 3), np.float32)
    accepted = r"^target: expected integers of shape \(2,\).* or probabilities .*\(2, 3\), "
    with pytest.raises(ValueError, match=accepted + r"got float64 of shape \(2,\)"):
        lm.cross_entropy(x, [0.0, 1.0])
    with pytest.raises(TypeError, match=r"^target: expected integers, got dtype float64"):
        lm.z_loss(x, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"^target: expected a rectangular array, got a ragged"):
        lm.cross_entropy(x, [[0], [1, 2]])
