# SPDX-License-Identifier: Apache-2.0
"""`SphericalOutput` against dense gradient descent in float64, over sequences of steps."""

import copy
import io
import itertools
import pickle
import threading

import hypothesis
import hypothesis.strategies as st
import lanemax as lm
import numpy as np
import pytest
from dense_layer import DenseLayer
from support import BFLOAT16, F16, F32, F64, TIERS, assert_same_bits, running

LOSSES = ("z", "spherical", "taylor", "mse")
#: relative to the norm of what is compared, as documented
BOUND = {"z": 1e-10, "spherical": 3e-10, "taylor": 1e-10, "mse": 1e-10}
RATE = {"z": 0.1, "spherical": 0.02, "taylor": 0.1, "mse": 0.01}


def error(got, want):
    """Relative to the norm of what is wanted."""
    difference = np.linalg.norm(np.asarray(got, np.float64) - want)
    return float(difference / np.linalg.norm(want)) if difference else 0.0


def weights(rng, classes, d, dtype=F64):
    return (rng.normal(size=(classes, d)) / 2).astype(dtype)


def assert_equal_layers(layer, dense, bound, what=""):
    """The weights, and what the layer knows of them."""
    state = layer.state_dict()
    centred = dense.w - dense.w.mean(axis=0)
    assert error(layer.weight(), dense.w) <= bound, what
    assert error(state["u"].T @ state["u_it"], np.eye(layer.shape[1])) <= bound, what
    # of norms that a step may have made small: relative to those of the weights
    norm = np.linalg.norm(dense.w)
    assert np.linalg.norm(state["gram"] - centred.T @ centred) <= bound * norm**2, what
    total = dense.w.sum(axis=0)
    assert np.linalg.norm(state["sum"] - total) <= bound * norm * len(dense.w) ** 0.5, what


def assert_same_steps(layer, dense, batches, bound):
    """Both take the same steps: losses and gradients on the way, the weights at the end."""
    for i, (hidden, target, options) in enumerate(batches):
        loss, dhidden = layer.step(hidden, target, **options)
        want, dwant = dense.step(hidden, target, **options)
        assert error(loss, want) <= bound, i
        assert error(dhidden, dwant) <= bound, i
    assert_equal_layers(layer, dense, bound)


def assert_same_states(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, np.ndarray):
            assert_same_bits(value, b[name], name)
        else:
            assert value == b[name], name


# ------------------------------------------------------------ equality with dense steps ---


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("rows", [1, 2, 7, 64, 257])
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_are_those_of_dense_gradient_descent(loss, rows, decay, rng):
    """Few classes, so that rows share them; more rows than inputs, and fewer."""
    for classes, d, few in ((40, 6, 9), (12, 70, 12), (300, 5, 3)):
        w = weights(rng, classes, d)
        layer, dense = lm.SphericalOutput(w, loss=loss), DenseLayer(w, loss)
        assert_equal_layers(layer, dense, 1e-14)
        steps = max(4, 200 // rows if classes < 100 else 40 // rows)
        batches = [
            (
                rng.normal(size=(rows, d)),
                rng.integers(few, size=rows),
                {"lr": RATE[loss] * rng.uniform(0, 2), "weight_decay": decay},
            )
            for _ in range(steps)
        ]
        assert_same_steps(layer, dense, batches, BOUND[loss])


@pytest.mark.parametrize(
    ("loss", "parameters"),
    [("z", {"a": 0.7, "b": 2.5}), ("z", {"b": -3}), ("spherical", {"eps": 0.5}),
     ("taylor", {"order": 2}), ("mse", {"label_smoothing": 0.1})],
)  # fmt: skip
def test_parameters_of_the_losses(loss, parameters, rng):
    w = weights(rng, 30, 8)
    layer, dense = lm.SphericalOutput(w, loss=loss, **parameters), DenseLayer(w, loss, **parameters)
    batches = [(rng.normal(size=(5, 8)), rng.integers(30, size=5), {"lr": 0.3}) for _ in range(100)]
    assert_same_steps(layer, dense, batches, BOUND[loss])


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [3, 20])
def test_several_targets_with_values(rows, smoothing, rng):
    """The same class twice in a row adds up; what is ignored is left out; rows of nothing else."""
    w = weights(rng, 30, 8)
    layer = lm.SphericalOutput(w, loss="mse", label_smoothing=smoothing)
    dense = DenseLayer(w, "mse", label_smoothing=smoothing)
    batches = []
    for _ in range(60):
        target = rng.integers(5, size=(rows, 4))
        target[rng.random(target.shape) < 0.2] = -7
        target[rng.integers(rows)] = -7
        options = {"values": rng.normal(size=target.shape), "ignore_index": -7, "lr": 0.02}
        batches.append((rng.normal(size=(rows, 8)), target, options))
    assert_same_steps(layer, dense, batches, BOUND["mse"])


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("smoothing", [0.05, 0.5, 1.0])
def test_smoothed_steps_are_those_of_dense_gradient_descent(smoothing, rows, decay, rng):
    """More rows than inputs, and fewer; few classes; a rate that makes a step singular."""
    for classes, d in ((40, 6), (12, 70), (300, 5)):
        w = weights(rng, classes, d)
        layer = lm.SphericalOutput(w, loss="mse", label_smoothing=smoothing)
        dense = DenseLayer(w, "mse", label_smoothing=smoothing)
        batches = [
            (
                rng.normal(size=(rows, d)),
                rng.integers(9, size=rows),
                {"lr": RATE["mse"] * rng.uniform(0, 2), "weight_decay": decay},
            )
            for _ in range(30)
        ]
        one = rng.normal(size=d)
        alone = {"lr": 1 / (2 * float(one @ one) + decay), "weight_decay": decay}
        batches.append((np.tile(one, (rows, 1)), rng.integers(9, size=rows), alone))
        assert_same_steps(layer, dense, batches, BOUND["mse"])
        assert layer.counts["dense_steps"] > 0


def test_smoothed_loss_is_that_of_the_function(rng):
    w, hidden, target = weights(rng, 50, 6), rng.normal(size=(9, 6)), rng.integers(50, size=9)
    for smoothing in (0.0, 0.1, 1.0):
        want, dlogits = lm.one_hot_mse_loss_and_grad(
            hidden @ w.T, target, label_smoothing=smoothing
        )
        layer = lm.SphericalOutput(w, loss="mse", label_smoothing=smoothing)
        got, dhidden = layer.loss_and_grad(hidden, target)
        assert error(got, want) < 1e-13
        assert error(dhidden, dlogits @ w) < 1e-13


def test_smoothing_is_part_of_the_state(rng):
    layer = lm.SphericalOutput(weights(rng, 30, 8, F32), loss="mse", label_smoothing=0.25)
    assert layer.state_dict()["label_smoothing"] == 0.25
    assert "label_smoothing=0.25" in repr(layer)
    file = io.BytesIO()
    np.savez(file, **layer.state_dict())
    file.seek(0)
    again = lm.SphericalOutput.from_state_dict(np.load(file))
    for one in (layer, again):
        one.step(np.ones((2, 8), F32), [3, 4], 0.1)
    assert_same_states(layer.state_dict(), again.state_dict())
    plain = lm.SphericalOutput.from_state_dict({**layer.state_dict(), "label_smoothing": 0.0})
    assert plain.loss(np.ones(8), 3) != layer.loss(np.ones(8), 3)


def test_targets_of_one_class_add_up(rng):
    w, hidden = weights(rng, 9, 3), rng.normal(size=(1, 3))
    a, b = (lm.SphericalOutput(w, loss="mse") for _ in range(2))
    got = a.step(hidden, [[4, 4]], 0.1, values=[[0.5, 0.25]])
    want = b.step(hidden, [[4]], 0.1, values=[[0.75]])
    assert got[0] == want[0]
    assert_same_bits(got[1], want[1])
    assert_same_states(a.state_dict(), b.state_dict())


def test_values_of_the_papers_example():
    """V, U and omega by hand, from the formulas of docs/spherical-output.md."""
    v = np.array([[1.0, 0], [0, 1], [1, 1], [-1, 2]])
    u, omega = np.array([[1, 0.5], [0, 1]]), np.array([0.1, -0.2])
    w = v @ u + omega
    centred = w - w.mean(axis=0)
    state = lm.SphericalOutput(w, loss="mse").state_dict()
    state |= {"v": v, "u": u, "omega": omega, "u_it": np.linalg.inv(u).T.copy()}
    state |= {"gram": centred.T @ centred, "sum": w.sum(axis=0)}
    layer = lm.SphericalOutput.from_state_dict(state)
    loss, dhidden = layer.step([0.5, -1.0], 2, 0.1)
    assert error(loss, 6.75) < 1e-14
    assert error(dhidden, [-0.3, -10.15]) < 1e-14
    after = layer.state_dict()
    want = [[1.075, 0.35], [0.175, 0.65], [1.275, 0.95], [-0.725, 0.95]]
    assert error(layer.weight(), want) < 1e-14
    assert error(after["u"], [[1, 0.5], [0.1, 0.8]]) < 1e-14
    assert error(after["u_it"], [[16 / 15, -2 / 15], [-2 / 3, 4 / 3]]) < 1e-14
    assert error(after["omega"], [0.075, -0.15]) < 1e-14
    assert error(after["v"][2], [17 / 15, 2 / 3]) < 1e-14
    assert error(after["sum"], [1.8, 2.9]) < 1e-14
    mean = after["sum"] / 4
    gram = after["gram"] + 4 * np.outer(mean, mean)
    assert error(gram, [[3.3375, 1.0125], [1.0125, 2.35]]) < 1e-14


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_those_of_the_functions(loss, rng):
    w, hidden, target = weights(rng, 50, 6), rng.normal(size=(9, 6)), rng.integers(50, size=9)
    function = {
        "z": lm.z_loss_and_grad,
        "spherical": lm.spherical_softmax_loss_and_grad,
        "taylor": lm.taylor_softmax_loss_and_grad,
        "mse": lm.one_hot_mse_loss_and_grad,
    }
    want, dlogits = function[loss](hidden @ w.T, target)
    layer = lm.SphericalOutput(w, loss=loss)
    before = layer.state_dict()
    got, dhidden = layer.loss_and_grad(hidden, target)
    assert error(got, want) < 1e-13
    assert error(dhidden, dlogits @ w) < 1e-13
    assert layer.loss(hidden, target) == got
    assert_same_states(layer.state_dict(), before)
    loss_of_step, gradient_of_step = layer.step(hidden, target, 0.5)
    assert loss_of_step == got
    assert_same_bits(gradient_of_step, dhidden)


def test_a_large_mean_costs_no_digits_of_the_variance(rng):
    """Logits around 1e6, of deviation 1: the sum of their squares would lose 12 digits of it."""
    w = weights(rng, 200, 8) + 1e6
    hidden, target = rng.uniform(0.5, 1.5, size=(4, 8)), rng.integers(200, size=4)
    layer, dense = lm.SphericalOutput(w), DenseLayer(w)
    # the logits themselves have an error of 1e6 units in the last place of their differences
    assert error(layer.loss(hidden, target), dense.loss_and_grad(hidden, target)[0]) < 1e-8
    state = layer.state_dict()
    centred = w - w.mean(axis=0)
    assert error(state["gram"], centred.T @ centred) < 1e-8


# ------------------------------------------------------------------- ill-conditioned steps ---


@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("off", [0.0, 1e-12, 1e-6, 1e-4, -1e-4, 1e-2])
def test_a_singular_step_is_made_on_the_weights(off, rows, rng):
    """1 - 2 lr |h|^2 = off: one direction of U would vanish."""
    w = weights(rng, 30, 8)
    layer, dense = lm.SphericalOutput(w, loss="mse"), DenseLayer(w, "mse")
    direction = rng.normal(size=8)
    hidden = np.tile(direction, (rows, 1))
    batches = [(hidden, rng.integers(30, size=rows),
                {"lr": (1 - off) / (2 * float(direction @ direction))})]  # fmt: skip
    batches += [
        (rng.normal(size=(4, 8)), rng.integers(30, size=4), {"lr": 0.02}) for _ in range(30)
    ]
    assert_same_steps(layer, dense, batches, BOUND["mse"])
    assert layer.counts["dense_steps"] == (abs(off) < 1e-3)
    assert layer.counts["steps"] == 31


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("classes", "d"), [(5, 1), (4, 15), (6, 40), (30, 2), (60, 20)])
def test_long_steps(loss, classes, d, rng):
    """Rates near where steps are singular or all is forgotten, on inputs with a mean; few classes,
    whose logits some inputs hardly tell apart; many rows and few in turn.
    """
    w = weights(rng, classes, d)
    parameters = {"eps": 1.0} if loss == "spherical" else {}
    layer = lm.SphericalOutput(w, loss=loss, **parameters)
    dense = DenseLayer(w, loss, **parameters)
    for i in range(40):
        hidden = rng.normal(size=(1 + i % 3 * (i % 7) ** 2, d)) + 0.5
        target = rng.integers(min(classes, 4), size=len(hidden))
        lr = rng.uniform(0.1, 0.9) / max(d / 4, float(np.mean(np.sum(hidden**2, axis=1))))
        if i % 5 == 4 and loss == "mse":
            lr = (1 - 10.0 ** -(3 * (i % 4))) / (2 * float(np.sum(hidden[0] ** 2)))
        decay = (0, 0, 0.25, 0, 0.75, 1.5, 0)[i % 7] / max(lr, 1e-3)
        layer.step(hidden, target, lr, weight_decay=decay)
        dense.step(hidden, target, lr, weight_decay=decay)
        assert layer.condition <= 256 * (1 + 1e-3), i
        state = layer.state_dict()
        assert np.linalg.norm(state["u"] @ state["u_it"].T - np.eye(d)) <= 1e-10, i
        assert error(layer.weight(), dense.w) <= 1e-9, i


def test_all_of_the_weights_can_decay(rng):
    w = weights(rng, 30, 8)
    layer, dense = lm.SphericalOutput(w, loss="z"), DenseLayer(w, "z")
    batches = [
        (rng.normal(size=(4, 8)), rng.integers(30, size=4), {"lr": lr, "weight_decay": decay})
        for lr, decay in ((0.5, 2.0), (0.1, 0.0), (0.5, 3.0), (0.1, 0.1))
    ]
    assert_same_steps(layer, dense, batches, BOUND["z"])


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("rows", [1, 16])
def test_factors_stay_well_conditioned(rows, dtype, rng):
    """Inputs with a mean: one direction of U shrinks by a third at each step."""
    w = weights(rng, 200, 12, dtype)
    layer, dense = lm.SphericalOutput(w, loss="mse"), DenseLayer(w, "mse")
    bound = BOUND["mse"] if dtype == F64 else 5e-7
    for _ in range(150):
        hidden = rng.normal(size=(rows, 12)) / 4 + 1
        target = rng.integers(200, size=rows)
        loss, _dhidden = layer.step(hidden, target, 0.012)
        assert error(loss, dense.step(hidden, target, 0.012)[0]) <= bound
        assert layer.condition <= 256 * (1 + 1e-3)
    assert_equal_layers(layer, dense, bound)
    counts = layer.counts
    assert counts["directions"] > 5
    assert counts["dense_steps"] == 0


def test_many_directions_at_once(rng):
    """Steps that shrink all directions at random rates: U becomes W anew."""
    w = weights(rng, 100, 16)
    layer, dense = lm.SphericalOutput(w, loss="mse"), DenseLayer(w, "mse")
    batches = [(rng.normal(size=(1, 16)), rng.integers(100, size=1), {"lr": 0.02})
               for _ in range(400)]  # fmt: skip
    assert_same_steps(layer, dense, batches, BOUND["mse"])
    assert layer.counts["refreshes"] > 0
    assert layer.condition <= 256 * (1 + 1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_shrinking_weights_keep_their_digits(loss, rng):
    """By 2^-60 in all: what is known of the weights must not remember how large they were."""
    w = weights(rng, 60, 6)
    layer, dense = lm.SphericalOutput(w, loss=loss), DenseLayer(w, loss)
    hidden, target = rng.normal(size=(3, 6)), rng.integers(60, size=3)
    for _ in range(60):
        layer.step(hidden, [-100] * 3, 0.5, weight_decay=1)
    dense.w *= 2.0**-60
    assert error(layer.weight(), dense.w) < 1e-14
    assert_equal_layers(layer, dense, 1e-13)
    assert error(layer.loss(hidden, target), dense.loss_and_grad(hidden, target)[0]) < 1e-12


@pytest.mark.parametrize("d", [1, 2, 20, 300])
def test_condition_is_that_of_numpy(d, rng):
    layer = lm.SphericalOutput(weights(rng, 40, d), loss="mse")
    assert layer.condition == 1
    for _ in range(20):
        layer.step(rng.normal(size=(2, d)), rng.integers(40, size=2), 0.2 / d)
        want = np.linalg.cond(layer.state_dict()["u"])
        assert error(layer.condition, want) < 1e-3


# -------------------------------------------------------------------------- drift (A10) ---


def dense_gradient(loss, o, target, eps=0.01):
    """Gradient by the logits of the mean loss, all rows at once."""
    rows, classes = o.shape
    at = np.arange(rows), target
    if loss == "z":
        centred = o - o.mean(axis=1, keepdims=True)
        std = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))
        z = centred / std
        own = z[at][:, None]
        r = 1 / (1 + np.exp(own))
        g = r / (classes * std) * (1 + own * z)
        g[at] -= (r / std)[:, 0]
    elif loss == "spherical":
        g = 2 * o / (np.sum(o**2, axis=1, keepdims=True) + classes * eps)
        g[at] -= 2 * o[at] / (o[at] ** 2 + eps)
    elif loss == "taylor":
        f = ((o + 1) ** 2 + 1) / 2
        g = (1 + o) / f.sum(axis=1, keepdims=True)
        g[at] -= (1 + o[at]) / f[at]
    else:
        g = 2 * o
        g[at] -= 2
    return g / rows


#: for |h|^2 = 64; spherical: such that lr |h|^2 / eps, by which a step multiplies an error
#: of a target's logit near 0, is small
DRIFT_RATE = {"z": 0.02, "spherical": 1e-4, "taylor": 0.02, "mse": 1e-3}


def drift(loss, rows, steps, rng):
    """A float32 layer beside float64 weights, targets drawn as words are."""
    lr, parameters = DRIFT_RATE[loss], {"eps": 0.01} if loss == "spherical" else {}
    classes, d = 2000, 64
    w = (rng.normal(size=(classes, d)) / 8).astype(F32)
    layer, dense = lm.SphericalOutput(w, loss=loss, **parameters), w.astype(F64)
    odds = 1 / np.arange(1, classes + 1)
    odds /= odds.sum()
    for _ in range(steps):
        hidden = rng.normal(size=(rows, d)).astype(F32)
        target = rng.choice(classes, size=rows, p=odds)
        layer.step(hidden, target, lr, weight_decay=1e-3)
        h = hidden.astype(F64)
        g = dense_gradient(loss, h @ dense.T, target)
        dense = (1 - lr * 1e-3) * dense - lr * (g.T @ h)
    state = layer.state_dict()
    v = state["v"] + np.spacing(np.abs(state["v"])).astype(F64) * 2.0**-8 * state["v_low"]
    own = v @ state["u"] + state["omega"]
    assert error(own, dense) <= 5e-7
    assert error(layer.weight(), dense) <= 5e-7
    gram = state["gram"] + np.outer(state["sum"], state["sum"]) / classes
    assert error(gram, own.T @ own) <= 1e-7
    assert np.linalg.norm(state["u"] @ state["u_it"].T - np.eye(d)) <= 1e-10
    hidden = rng.normal(size=(50, d))
    assert error(layer.logits(hidden), hidden @ dense.T) <= 5e-7


@pytest.mark.parametrize(("classes", "d", "rows"), [(1000, 300, 257), (900, 260, 600)])
@pytest.mark.parametrize("loss", LOSSES)
def test_more_than_a_block_of_everything(loss, classes, d, rows, rng):
    parameters = {"eps": 0.01} if loss == "spherical" else {}
    dense, lr = weights(rng, classes, d) / 8, {"mse": 2e-3}.get(loss, 0.1)
    layer = lm.SphericalOutput(dense, loss=loss, **parameters)
    for _ in range(3):
        hidden, target = rng.normal(size=(rows, d)), rng.integers(100, size=rows)
        dhidden = layer.step(hidden, target, lr)[1]
        g = dense_gradient(loss, hidden @ dense.T, target)
        assert error(dhidden, g @ dense) <= BOUND[loss]
        dense = dense - lr * (g.T @ hidden)
    assert error(layer.weight(), dense) <= BOUND[loss]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", [1, 16])
def test_drift_of_float32(loss, rows, rng):
    drift(loss, rows, 400, rng)


@pytest.mark.nightly
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", [1, 16, 128])
def test_drift_of_float32_over_10000_steps(loss, rows, rng):
    drift(loss, rows, 10_000, rng)


# ------------------------------------------------------------------------ any sequence ---


@st.composite
def histories(draw):
    loss = draw(st.sampled_from(LOSSES))
    classes, d = draw(st.integers(1, 30)), draw(st.integers(1, 9))
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["step", "save", "ignored", "look"]),
                st.integers(1, 12),  # rows
                st.floats(0, 1.5),  # of the usual rate
                st.sampled_from([0.0, 0.01, 0.5]),
                st.integers(0, 2**32 - 1),
            ),
            max_size=25,
        )
    )
    return loss, classes, d, draw(st.integers(0, 2**32 - 1)), steps


@hypothesis.given(histories())
def test_any_sequence_equals_dense_steps(history):
    loss, classes, d, seed, steps = history
    w = weights(np.random.default_rng(seed), classes, d)
    layer, dense = lm.SphericalOutput(w, loss=loss), DenseLayer(w, loss)
    for what, rows, share, decay, step_seed in steps:
        rng = np.random.default_rng(step_seed)
        hidden = rng.normal(size=(rows, d))
        target = rng.integers(classes, size=rows)
        if what == "ignored":
            target[rng.random(rows) < 0.5] = -100
        if what == "save":
            layer = pickle.loads(pickle.dumps(layer))
        if what == "look":
            layer.topk(hidden, 1)
            layer.loss_and_grad(hidden, target)
        lr = share * RATE[loss] / d
        layer.step(hidden, target, lr, weight_decay=decay)
        dense.step(hidden, target, lr, weight_decay=decay)
    assert error(layer.weight(), dense.w) <= BOUND[loss]


# ---------------------------------------------------------------------------- bits, state ---


def one_life(loss, dtype):
    """A layer after steps of every kind, and what came of them."""
    rng = np.random.default_rng(5)
    layer = lm.SphericalOutput(weights(rng, 700, 40, dtype), loss=loss)
    results = []
    for rows in (1, 3, 130, 30):
        for _ in range(6):
            hidden = rng.normal(size=(rows, 40)).astype(dtype)
            target = rng.integers(20, size=rows)
            results += layer.step(hidden, target, 0.02, weight_decay=0.1)
    results += [layer.logits(hidden), *layer.topk(hidden, 7), layer.weight(), layer.condition]
    return results, layer.state_dict()


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_tiers_and_threads_agree(loss, dtype):
    want = None
    for tier, threads in itertools.product(TIERS, (1, 2, 5)):
        if tier != TIERS[0] and threads == 5:
            continue
        with running(tier, threads):
            got = one_life(loss, dtype)
        want = got if want is None else want
        for a, b in zip(got[0], want[0], strict=True):
            assert_same_bits(a, b, f"{loss} {tier} {threads}")
        assert_same_states(got[1], want[1])


def through_savez(layer):
    file = io.BytesIO()
    np.savez(file, **layer.state_dict())
    file.seek(0)
    return lm.SphericalOutput.from_state_dict(np.load(file))


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("again", [copy.deepcopy, through_savez,
                                   lambda a: pickle.loads(pickle.dumps(a))],
                         ids=["deepcopy", "savez", "pickle"])  # fmt: skip
def test_a_saved_layer_goes_on_with_the_same_bits(again, loss, dtype, rng):
    layer = lm.SphericalOutput(weights(rng, 50, 8, dtype), loss=loss)

    def step(one, seed):
        draw = np.random.default_rng(seed)
        hidden = draw.normal(size=(9, 8)) + 0.5
        return one.step(hidden, draw.integers(50, size=9), 0.04, weight_decay=0.1)

    for seed in range(30):
        step(layer, seed)
    other = again(layer)
    assert repr(other) == repr(layer)
    assert_same_states(other.state_dict(), layer.state_dict())
    for seed in range(30, 60):
        a, b = step(layer, seed), step(other, seed)
        assert a[0] == b[0]
        assert_same_bits(a[1], b[1])
    assert_same_states(other.state_dict(), layer.state_dict())


def test_a_state_holds_copies(rng):
    layer = lm.SphericalOutput(weights(rng, 5, 3))
    state = layer.state_dict()
    want = layer.weight()
    for value in state.values():
        if isinstance(value, np.ndarray):
            value[...] = 0
    assert_same_bits(layer.weight(), want)
    layer.weight()[...] = 0
    assert_same_bits(layer.weight(), want)


@pytest.mark.parametrize(
    ("change", "exception", "words"),
    [
        ({"format": 2}, ValueError, "format"),
        ({"loss": "x"}, ValueError, "loss"),
        ({"a": -1.0}, ValueError, "a: must be positive"),
        ({"v": np.zeros((4, 3), np.int64)}, TypeError, "v: expected float32 or float64"),
        ({"v": np.zeros(4)}, ValueError, "v: expected shape"),
        ({"u": np.zeros((3, 4))}, ValueError, r"u: expected shape \(3, 3\)"),
        ({"u": np.zeros((3, 3), np.float32)}, TypeError, "u: expected dtype float64"),
        ({"sum": np.full(3, np.nan)}, FloatingPointError, "finite"),
        ({"peak": np.inf}, FloatingPointError, "finite"),
    ],
)
def test_a_state_that_is_none(change, exception, words, rng):
    state = lm.SphericalOutput(weights(rng, 4, 3)).state_dict()
    with pytest.raises(exception, match=words):
        lm.SphericalOutput.from_state_dict(state | change)
    for name in state:
        with pytest.raises(KeyError):
            lm.SphericalOutput.from_state_dict({k: v for k, v in state.items() if k != name})


def test_threads_of_python_wait_for_each_other(rng):
    layer = lm.SphericalOutput(weights(rng, 500, 16))
    hidden, target = rng.normal(size=(8, 16)), rng.integers(500, size=8)

    def work():
        for _ in range(50):
            layer.step(hidden, target, 1e-3)
            layer.logits(hidden)

    crowd = [threading.Thread(target=work) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert layer.counts["steps"] == 200
    alone = lm.SphericalOutput(layer.weight())
    assert error(layer.state_dict()["gram"], alone.state_dict()["gram"]) < 1e-12


# ------------------------------------------------------------------------- logits, topk ---


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_logits_and_topk(dtype, rng):
    layer = lm.SphericalOutput(weights(rng, 9000, 11, dtype))
    for _ in range(5):
        layer.step(rng.normal(size=(4, 11)), rng.integers(9000, size=4), 0.5)
    hidden = rng.normal(size=(2, 150, 11)).astype(dtype)
    logits = layer.logits(hidden)
    assert logits.shape == (2, 150, 9000)
    assert logits.dtype == dtype
    assert error(logits, hidden.astype(F64) @ layer.weight().astype(F64).T) < (
        1e-14 if dtype == F64 else 1e-7
    )
    for k in (0, 1, 5, 300):
        values, classes = layer.topk(hidden, k)
        order = np.argsort(-logits, axis=-1, kind="stable")[..., :k]
        assert classes.dtype == np.int64
        assert_same_bits(classes, order)
        assert_same_bits(values, np.take_along_axis(logits, order, -1))


def test_topk_of_equal_logits_and_nan():
    layer = lm.SphericalOutput([[1.0], [2.0], [1.0], [2.0], [0.0]], loss="mse")
    values, classes = layer.topk([[1.0], [-1.0], [np.nan], [np.inf]], 5)
    assert classes.tolist() == [[1, 3, 0, 2, 4], [4, 0, 2, 1, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert np.isnan(values[2:]).all()  # 0 times inf


# ---------------------------------------------------------------------- arrays and errors ---


@pytest.mark.parametrize("dtype", [F16, BFLOAT16, F32, F64, np.dtype(np.int8)], ids=str)
def test_inputs_of_any_dtype(dtype, rng):
    """As the same numbers in float64, results rounded to the dtype."""
    if dtype is None:
        pytest.skip("ml_dtypes is not installed")
    w = weights(rng, 20, 6)
    hidden = np.rint(4 * rng.normal(size=(5, 6))).astype(dtype)
    target = rng.integers(20, size=5)
    a, b = lm.SphericalOutput(w), lm.SphericalOutput(w)
    given = F32 if dtype.kind == "i" else dtype
    loss, dhidden = a.step(hidden, target, 0.1)
    want, dwant = b.step(hidden.astype(F64), target, 0.1)
    assert loss.dtype == (F64 if dtype == F64 else F32)
    assert dhidden.dtype == given
    assert loss == loss.dtype.type(want)
    assert_same_bits(dhidden, dwant.astype(F32).astype(given) if given != F64 else dwant)
    assert_same_states(a.state_dict(), b.state_dict())
    assert a.logits(hidden).dtype == given
    assert a.topk(hidden, 2)[0].dtype == given


def test_inputs_of_any_shape(rng):
    w = weights(rng, 20, 6, F32)
    hidden, target = rng.normal(size=(2, 3, 6)), rng.integers(20, size=(2, 3))
    layer = lm.SphericalOutput(w)
    loss, dhidden = layer.loss_and_grad(hidden, target)
    flat = layer.loss_and_grad(hidden.reshape(6, 6), target.reshape(6))
    assert loss == flat[0]
    assert_same_bits(dhidden, flat[1].reshape(hidden.shape))
    wide = np.zeros((2, 3, 12))[..., ::2]
    wide[...] = hidden
    for same in (wide, np.asfortranarray(hidden), hidden.astype(">f8"), hidden.tolist()):
        again = layer.loss_and_grad(same, target.astype(">i2"))
        assert again[0] == loss
        assert_same_bits(again[1], dhidden)
    one, gradient = layer.loss_and_grad(hidden[0, 0], target[0, 0])
    assert gradient.shape == (6,)
    assert np.ndim(one) == 0
    assert layer.logits(hidden[0, 0]).shape == (20,)
    assert layer.topk(hidden[0, 0], 3)[1].shape == (3,)
    assert layer.weight().dtype == F32
    assert (layer.shape, layer.dtype) == ((20, 6), F32)
    assert repr(layer) == "SphericalOutput(<20 x 6 float32>, loss='z', a=1.0, b=0.0)"


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_to_learn_from(loss, rng):
    """No rows, or only ignored ones: NaN, gradient 0, and the weights decay."""
    w = weights(rng, 8, 3)
    layer = lm.SphericalOutput(w, loss=loss)
    for hidden, target in ((np.empty((0, 3)), []), (np.full((2, 3), np.nan), [-100, -100])):
        value, gradient = layer.step(hidden, target, 0.5, weight_decay=1)
        assert np.isnan(value)
        assert_same_bits(gradient, np.zeros(hidden.shape))
        assert np.isnan(layer.loss(hidden, target))
    assert_same_bits(layer.weight(), w / 4)


def test_an_ignored_row_may_hold_anything(rng):
    w, hidden = weights(rng, 8, 3), rng.normal(size=(4, 3))
    target = np.array([1, 5, 5, 2])
    a, b = lm.SphericalOutput(w), lm.SphericalOutput(w)
    want = b.step(hidden[[0, 1, 3]], target[[0, 1, 3]], 0.5)
    hidden[2], target[2] = np.inf, 9
    loss, gradient = a.step(hidden, target, 0.5, ignore_index=9)
    assert loss == want[0]
    assert_same_bits(gradient, np.insert(want[1], 2, 0, axis=0))
    assert_same_states(a.state_dict(), b.state_dict())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(loss, bad, rng):
    layer = lm.SphericalOutput(weights(rng, 8, 3), loss=loss)
    hidden = rng.normal(size=(3, 3))
    clean = layer.loss_and_grad(hidden, [0, 1, 2])[1]
    hidden[1, 2] = bad
    value, gradient = layer.loss_and_grad(hidden, [0, 1, 2])
    assert not np.isfinite(value)
    assert not np.isfinite(gradient[1]).any()
    assert_same_bits(gradient[[0, 2]], clean[[0, 2]])
    before = layer.state_dict()
    with pytest.raises(FloatingPointError, match="the layer is as it was"):
        layer.step(hidden, [0, 1, 2], 0.1)
    with pytest.raises(FloatingPointError):
        layer.step(np.full((1, 3), 1e200), [0], 0.1)
    with pytest.raises(FloatingPointError):
        layer.step(rng.normal(size=(1, 3)), [0], 1e300)
    assert_same_states(layer.state_dict(), before)


def test_a_row_of_equal_logits():
    """z_loss of variance 0: z = 0 and gradient 0; spherical of nothing but 0, eps 0: inf."""
    layer = lm.SphericalOutput(np.zeros((5, 3)))
    loss, gradient = layer.step(np.ones((2, 3)), [0, 1], 0.5)
    assert error(loss, np.log(2)) < 1e-15
    assert not gradient.any()
    assert not layer.weight().any()
    layer = lm.SphericalOutput(np.zeros((5, 3)), loss="spherical", eps=0)
    loss, gradient = layer.loss_and_grad(np.ones((2, 3)), [0, 1])
    assert np.isposinf(loss)
    assert not gradient.any()


def test_out_of_range_targets_name_row_and_value(rng):
    layer = lm.SphericalOutput(weights(rng, 8, 3), loss="mse")
    before = layer.state_dict()
    hidden = rng.normal(size=(2, 2, 3))
    for wrong in (8, -1, -101):
        with pytest.raises(IndexError, match=f"row 3 holds {wrong}; expected 0 to 7"):
            layer.step(hidden, [[0, 1], [2, wrong]], 0.1)
    with pytest.raises(IndexError, match="row 1 holds 99"):
        layer.step(hidden[0], [[0, 1], [2, 99]], 0.1)
    assert_same_states(layer.state_dict(), before)


@pytest.mark.parametrize(
    ("call", "exception", "words"),
    [
        (lambda x, h: x.step(h[:, :2], [0, 1], 0.1), ValueError, r"hidden: expected .*\(2, 2\)"),
        (lambda x, h: x.step(1.0, 0, 0.1), ValueError, "hidden: expected shape"),
        (lambda x, h: x.step(h + 0j, [0, 1], 0.1), TypeError, "hidden: dtype complex128"),
        (lambda x, h: x.step(h, [0], 0.1), ValueError, r"target: expected shape \(2,\)"),
        (lambda x, h: x.step(h, [[0], [1]], 0.1), ValueError, r"target: expected shape \(2,\)"),
        (lambda x, h: x.step(h, [0.0, 1.0], 0.1), TypeError, "target: expected integers"),
        (lambda x, h: x.step(h, [True, False], 0.1), TypeError, "target: expected integers"),
        (lambda x, h: x.step(h, [0, 1], -0.1), ValueError, "lr: must be 0 or more"),
        (lambda x, h: x.step(h, [0, 1], np.nan), ValueError, "lr: must be finite"),
        (lambda x, h: x.step(h, [0, 1], "x"), TypeError, "lr: expected a number"),
        (lambda x, h: x.step(h, [0, 1], 1, weight_decay=-1), ValueError, "weight_decay: must be"),
        (lambda x, h: x.step(h, [0, 1], 1e200, weight_decay=1e200), ValueError, "weight_decay: lr"),
        (lambda x, h: x.step(h, [0, 1], 1, values=[1, 1]), TypeError, "values: only loss='mse'"),
        (lambda x, h: x.step(h, [0, 1], 1, ignore_index=1.0), TypeError, "ignore_index: expected"),
        (lambda x, h: x.loss(h, [0, 1], ignore_index=2**64), ValueError, "ignore_index: 1844"),
        (lambda x, h: x.topk(h, 9), ValueError, "k: expected 0 to 8"),
        (lambda x, h: x.topk(h, -1), ValueError, "k: expected 0 to 8"),
        (lambda x, h: x.topk(h, 1.5), TypeError, "k: expected an integer"),
        (lambda x, h: x.logits(h[0, :1]), ValueError, "hidden: expected shape"),
    ],
)
def test_wrong_arguments(call, exception, words, rng):
    layer = lm.SphericalOutput(weights(rng, 8, 3))
    before = layer.state_dict()
    with pytest.raises(exception, match=words):
        call(layer, rng.normal(size=(2, 3)))
    assert_same_states(layer.state_dict(), before)


@pytest.mark.parametrize(
    ("target", "values", "exception", "words"),
    [
        (np.zeros((2, 0), int), None, ValueError, r"target: expected .* K > 0, got \(2, 0\)"),
        ([0, 1], [[1], [1]], ValueError, r"values: expected the shape of target, \(2,\)"),
        ([0, 1], ["a", "b"], TypeError, "values: expected real numbers"),
        (np.zeros((3, 2), int), None, ValueError, "target: expected shape"),
    ],
)
def test_wrong_targets_of_the_squared_error(target, values, exception, words, rng):
    layer = lm.SphericalOutput(weights(rng, 8, 3), loss="mse")
    with pytest.raises(exception, match=words):
        layer.step(rng.normal(size=(2, 3)), target, 0.1, values=values)


@pytest.mark.parametrize(
    ("weight", "options", "exception", "words"),
    [
        (np.zeros(3), {}, ValueError, r"weight: expected shape \(D, d\).*\(3,\)"),
        (np.zeros((0, 3)), {}, ValueError, "weight: expected shape"),
        (np.zeros((3, 0)), {}, ValueError, "weight: expected shape"),
        (np.array([["x"]]), {}, TypeError, "weight: dtype"),
        ([[np.nan]], {}, FloatingPointError, "weight: must be finite"),
        ([[1e200]], {}, FloatingPointError, "weight: must be finite"),
        ([[1.0]], {"loss": "cross_entropy"}, ValueError, "loss: expected one of 'z'"),
        ([[1.0]], {"loss": None}, ValueError, "loss: expected one of"),
        ([[1.0]], {"a": 0}, ValueError, "a: must be positive"),
        ([[1.0]], {"b": np.inf}, ValueError, "b: must be finite"),
        ([[1.0]], {"eps": 1}, TypeError, "unexpected argument 'eps'; parameters of loss='z': a, b"),
        (
            [[1.0]],
            {"label_smoothing": 0.1},
            TypeError,
            "unexpected argument 'label_smoothing'; parameters of loss='z': a, b",
        ),
        ([[1.0]], {"loss": "mse", "eps": 0.1}, TypeError, "loss='mse': label_smoothing"),
        (
            [[1.0]],
            {"loss": "mse", "label_smoothing": 1.5},
            ValueError,
            "label_smoothing: must be from 0 to 1, got 1.5",
        ),
        (
            [[1.0]],
            {"loss": "mse", "label_smoothing": -0.1},
            ValueError,
            "label_smoothing: must be from 0 to 1",
        ),
        (
            [[1.0]],
            {"loss": "mse", "label_smoothing": np.nan},
            ValueError,
            "label_smoothing: must be finite",
        ),
        ([[1.0]], {"loss": "taylor", "order": 4}, ValueError, "order: must be 2"),
        ([[1.0]], {"loss": "spherical", "eps": -1}, ValueError, "eps: must be 0 or more"),
    ],
)
def test_wrong_layers(weight, options, exception, words):
    with pytest.raises(exception, match=words):
        lm.SphericalOutput(weight, **options)
