# SPDX-License-Identifier: Apache-2.0
"""The losses in float64 against PyTorch in float64, over thousands of combinations of arguments.

`torch.nn.functional.cross_entropy` itself where it has the argument, so that weights, ignored rows
and reductions are PyTorch's; elsewhere the definition as a plain formula that it differentiates.

Both sides round, so the comparison is to 1e-12 of PyTorch's result or, where PyTorch's own formula
subtracts, of what it subtracts: it knows log(sum exp(o)) - o[t] to some roundoffs of these two and
no better, be the difference 1e-17, and p - 1 to some of p and 1.  No tolerance is absolute: the
scale that comes with a result is made of the terms of that result, and is 0 where nothing cancels.
"""

from __future__ import annotations

import contextlib
import math

import lanemax as lm
import numpy as np
import pytest
import support

torch = pytest.importorskip("torch")
functional = torch.nn.functional

RTOL = 1e-12
INF = math.inf


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For small arrays PyTorch's threads only wait for each other, long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_close(got, want, scale, what):
    """|got - want| <= RTOL max(|want|, scale); what is not finite is the same."""
    got, want = np.asarray(got), want.detach().numpy()
    scale = np.broadcast_to(scale if isinstance(scale, float) else scale.numpy(), want.shape)
    assert (got.dtype, got.shape) == (want.dtype, want.shape), what
    finite = np.isfinite(want)
    assert np.isfinite(scale[finite]).all(), f"no scale to compare the {what} at"
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(invalid="ignore", over="ignore"):
        close = abs(got - want) <= RTOL * np.maximum(abs(want), scale)
    wrong = ~np.where(finite, close, same)
    if wrong.any():
        i = tuple(int(v) for v in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} differ, first at {i}:"
            f" {got[i]!r}, not {want[i]!r}, at a scale of {scale[i]!r}"
        )


# ------------------------------------------------------------------- cases ---


def transposed_tensor(a):
    """Strided as a Fortran array is; PyTorch knows no foreign byte order."""
    return torch.tensor(a.T.astype(a.dtype.newbyteorder("="), "C")).permute(*range(a.ndim)[::-1])


#: memory orders: those of the other tests, PyTorch's (N, D, ...), and a tensor itself
LAYOUTS = {
    **support.LAYOUTS,
    "contiguous": np.copy,
    "classes_second": lambda a: np.moveaxis(np.moveaxis(a, -1, a.ndim > 1).copy(), a.ndim > 1, -1),
    "tensor": transposed_tensor,
}
INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4")
FLOATS = (np.float64, np.float32, np.float16)


class Case:
    """Random logits, labels and the options that all losses have, from a seed of its own."""

    def __init__(self, seed, most=30.0, masked=False):
        self.seed, self.places = seed, ""
        self.rng = rng = np.random.default_rng(seed)
        self.classes = D = int(3000 ** rng.random())
        lead = tuple(int(n) for n in rng.integers(1, 6, rng.integers(0, 4)))
        while math.prod(lead) * D > 8000:
            lead = lead[1:]
        if rng.random() < 0.02:
            lead = (*lead, 0)
        self.lead = lead
        self.scale = float(0.1 * (most / 0.1) ** rng.random())
        self.labels, self.ignored = self.some_labels()
        self.kept = self.labels != self.ignored
        self.own = np.arange(D) == np.where(self.kept, self.labels, 0)[..., None]
        self.logits = self.some_logits()
        if masked and rng.random() < 0.15:
            away = rng.random((*lead, D)) < rng.choice([0.1, 0.9])
            self.logits[away & ~self.own] = -INF
        self.arguments = {"reduction": str(rng.choice(["mean", "sum", "none"]))}
        self.weight = None
        if rng.random() < 0.5:
            self.weight = rng.uniform(0.2, 2, D).astype(rng.choice(FLOATS))
            if rng.random() < 0.3:
                self.weight[rng.random(D) < 0.3] = 0
            self.arguments["weight"] = self.weight
        if self.ignored != -100 or rng.random() < 0.5:
            self.arguments["ignore_index"] = self.ignored

    def some_labels(self):
        """Class indices, some or all of them ignored; ignore_index may be a class."""
        rng, D = self.rng, self.classes
        ignored = int(rng.choice([-100, -100, -1, D // 2, 255]))
        gone = rng.random(self.lead) < rng.choice([0, 0.2, 1], p=[0.5, 0.45, 0.05])
        return np.where(gone, ignored, rng.integers(0, D, self.lead)), ignored

    def some_logits(self):
        shape = (*self.lead, self.classes)
        x = self.rng.normal(size=shape) * self.scale
        if self.rng.random() < 0.2:
            x += self.scale * self.rng.normal()
        return x

    def placed(self, a):
        """The same values somewhere in memory."""
        if a.ndim == 0:
            return a
        name = str(self.rng.choice(sorted(LAYOUTS)))
        self.places = f"{self.places} {name}"
        return LAYOUTS[name](a)

    def given(self, logits):
        """What lanemax gets: rows that are ignored hold what must not leak."""
        junk = self.rng.choice([0, np.nan, INF])
        return self.placed(np.where(self.kept[..., None], logits, junk))

    def given_labels(self):
        fits = [k for k in INTEGERS if (self.labels.astype(k) == self.labels).all()]
        kind = str(self.rng.choice(fits))
        labels = self.placed(self.labels.astype(kind))
        self.places += f" {kind}"
        return labels

    def class_weight(self):
        return torch.tensor(
            np.ones(self.classes) if self.weight is None else self.weight.astype(np.float64)
        )

    def reduced(self, each, denominator):
        """As PyTorch reduces; indexed, so that ignored rows have no part in the gradient either."""
        kept = torch.tensor(self.kept)
        if self.arguments["reduction"] == "none":
            return torch.where(kept, each, 0.0)
        total = each[kept].sum()
        return total / denominator if self.arguments["reduction"] == "mean" else total

    @contextlib.contextmanager
    def named(self):
        """Whatever fails inside names the case."""
        try:
            yield
        except Exception as error:
            with np.printoptions(threshold=8, precision=17):
                raise AssertionError(
                    f"seed {self.seed}: logits {self.logits.shape} times {self.scale:.3g}, placed"
                    f"{self.places}, labels {self.labels!r}, {self.arguments}: {error!r}"
                ) from error


# ----------------------------------------------------------- cross-entropy ---


def cross_entropy_options(case):
    rng = case.rng
    kw = case.arguments
    if rng.random() < 0.4:
        kw["softcap"] = float(rng.uniform(1, 50))
    # the largest spread, 30 * 9 / 0.5, leaves every probability far from the subnormal numbers
    if rng.random() < 0.5:
        kw["temperature"] = float(rng.uniform(0.5, 3))
        if rng.random() < 0.6:
            shape = [n if rng.random() < 0.8 else 1 for n in case.lead]
            kw["temperature"] = rng.uniform(0.5, 3, (*shape, 1)).astype(rng.choice(FLOATS[:2]))
    if rng.random() < 0.4:
        kw["logz_penalty"] = float(rng.choice([1e-4, 0.01, 1]))
    if rng.random() < 0.5 and np.isfinite(case.logits).all():
        kw["label_smoothing"] = float(rng.choice([0.1, rng.random(), 1]))
    if rng.random() < 0.35 and np.isfinite(case.logits).all():
        return some_probabilities(case)
    return None


def some_probabilities(case):
    """Not all of them sum to 1, and some classes have none."""
    rng, shape = case.rng, (*case.lead, case.classes)
    y = rng.random(shape) ** rng.choice([1, 4, 30])
    if rng.random() < 0.3:
        y[rng.random(shape) < 0.5] = 0
    if rng.random() < 0.8:
        y /= np.maximum(y.sum(-1, keepdims=True), 1e-3)
    case.kept = np.ones(case.lead, bool)  # ignore_index has no effect
    return y.astype(rng.choice(FLOATS))


def torch_cross_entropy(case, probabilities):
    """Loss, gradient, and the scale of each."""
    kw = case.arguments
    cap, smoothing = kw.get("softcap"), kw.get("label_smoothing", 0.0)
    penalty, weight = kw.get("logz_penalty", 0.0), case.class_weight()
    temperature = torch.as_tensor(np.asarray(kw.get("temperature", 1.0), np.float64))
    x = torch.tensor(case.logits)
    o = (x if cap is None else cap * torch.tanh(x / cap)) / temperature
    # PyTorch's derivative 1 - tanh^2 is nothing but cancellation in the tails: 1 / cosh^2 is not
    slope = (1.0 if cap is None else torch.cosh(x / cap) ** -2) / temperature
    o.requires_grad_()
    at = 1 if o.ndim > 1 else 0
    if probabilities is None:
        target, options = torch.tensor(case.labels), {"ignore_index": case.ignored}
        own = torch.tensor(case.own)
        mass = torch.where(own, (1 - smoothing) * weight, 0.0) + smoothing / case.classes * weight
        denominator = weight.expand_as(o)[own & torch.tensor(case.kept)[..., None]].sum()
    else:
        y = torch.tensor(probabilities.astype(np.float64))
        target, options = y.movedim(-1, at), {}
        mass = ((1 - smoothing) * y + smoothing / case.classes) * weight
        denominator = torch.tensor(float(math.prod(case.lead)))
    loss = functional.cross_entropy(
        o.movedim(-1, at), target, reduction=kw["reduction"], label_smoothing=smoothing, **options,
        weight=None if case.weight is None else weight,
    )  # fmt: skip
    lse = torch.logsumexp(o, -1)
    if penalty:
        loss = loss + case.reduced(penalty * lse**2, denominator)
    (grad,) = torch.autograd.grad(loss.sum(), o)

    with torch.no_grad():
        # sum mass (lse - o): the two of each difference; p times the mass, less the mass itself
        size = torch.where(mass == 0, 0.0, mass * (lse.abs()[..., None] + o.abs())).sum(-1)
        pulled = mass.sum(-1) + 2 * penalty * lse.abs()
        terms = pulled[..., None] * torch.softmax(o, -1) + mass
        if kw["reduction"] == "mean":
            terms = terms / denominator
        terms = torch.where(torch.tensor(case.kept)[..., None], terms * slope, 0.0)
        size = case.reduced(size + penalty * lse**2, denominator)
    return loss, grad * slope, size, terms


@pytest.mark.parametrize("seed", range(20))
def test_cross_entropy(seed):
    for number in range(110):
        case = Case((1, seed, number), masked=True)
        probabilities = cross_entropy_options(case)
        with case.named():
            loss, grad, size, terms = torch_cross_entropy(case, probabilities)
            logits = case.given(case.logits)
            target = case.given_labels() if probabilities is None else case.placed(probabilities)
            got = lm.cross_entropy_and_grad(logits, target, **case.arguments)
            support.assert_same_bits(lm.cross_entropy(logits, target, **case.arguments), got[0])
            assert_close(got[0], loss, size, "loss")
            assert_close(got[1], grad, terms, "gradient")


# ------------------------------------------------------- the other losses ---
#
# Each takes logits (..., D), whether a class is the target, and parameters.  It returns the losses,
# their scale, and the scale of the gradients; 0 for a formula in which nothing cancels.


def target_of(a, own):
    return torch.where(own, a, 0.0).sum(-1)


def share(f, own):
    """-log(f[t] / sum f) as log(1 + rest / f[t]): right for confident rows as well."""
    return torch.log1p(f.masked_fill(own, 0).sum(-1) / target_of(f, own))


def spherical_softmax_loss(o, own, eps):
    return share(o * o + eps, own), 0.0, 0.0


def stablemax_cross_entropy(o, own):
    # the branch that is not taken must not divide by 0, for its derivative counts 0 times inf
    small = 1 / (1 - torch.clamp(o, max=0))
    return share(torch.where(o >= 0, o + 1, small), own), 0.0, 0.0


def taylor_softmax_loss(o, own, order):
    def poly(x, n):
        return sum(x**k / math.factorial(k) for k in range(n + 1))

    f = poly(o, order)
    with torch.no_grad():  # of negative logits the powers cancel
        size, slope, total = poly(o.abs(), order), poly(o.abs(), order - 1), f.sum(-1)
        at_target = target_of(f, own)
        rest = target_of(size, own) * (f.masked_fill(own, 0).sum(-1) / at_target)
        loss_size = (size.masked_fill(own, 0).sum(-1) + rest) / total
        terms = slope / total[..., None] + torch.where(own, slope / at_target[..., None], 0.0)
    return share(f, own), loss_size, terms


def z_loss(o, own, a, b):
    D = o.shape[-1]
    if D == 1:  # no variance
        return o[..., 0] * 0 + math.log1p(math.exp(a * b)) / a, 0.0, 0.0
    mean = o.mean(-1, keepdim=True)
    std = ((o - mean) ** 2).mean(-1, keepdim=True).sqrt()
    z = (o - mean) / std
    own_z = target_of(z, own)
    u = a * (b - own_z)
    with torch.no_grad():
        r = torch.sigmoid(u)
        size = r * (abs(b) + own_z.abs())
        f = r[..., None] / (D * std)
        terms = f * (1 + (own_z[..., None] * z).abs() + D * own)
    return -functional.logsigmoid(-u) / a, size, terms


def one_hot_mse_loss(o, own, label_smoothing=0.0):
    s = label_smoothing
    y = (1 - s) * own.to(o) + s / o.shape[-1]
    with torch.no_grad():
        terms = 2 * (o.abs() + y)
        size = ((o - y).abs() * terms).sum(-1)
    return ((o - y) ** 2).sum(-1), size, terms


def best_xi(variance, D):
    """Where xi^2 (1 - ((D - 2) / (D t))^2) = var, t = tanh(xi / 2) = 1 - delta, by bisection."""
    low = np.full_like(variance, math.log(D - 1))
    high = low + D * np.sqrt(variance) + 1
    with np.errstate(over="ignore"):
        for _ in range(70):
            xi = (low + high) / 2
            delta, t = 2 / (1 + np.exp(xi)), np.tanh(xi / 2)
            # the factors 1 - (D - 2) / (D t) and 1 + (D - 2) / (D t)
            found = xi**2 * (2 - D * delta) * (2 * D - 2 - D * delta) / (D * t) ** 2
            low, high = np.where(found < variance, xi, low), np.where(found < variance, high, xi)
    return torch.tensor(high)


def bouchard_loss(o, own):
    """The bound at the best xi, held fixed: there it is flat in xi.  Its terms in xi alone:

    -(D - 2)^2 / (16 D lambda) - D xi / 2 - D lambda xi^2 + D log(1 + exp(xi))
    = xi (4 - 4/D - D delta^2) / (4 t) + D log(1 + exp(-xi)),  lambda = t / (4 xi), delta = 1 - t
    """
    D = o.shape[-1]
    if D == 1:  # the bound is exact
        return o[..., 0] * 0, 0.0, 0.0
    mean = o.mean(-1, keepdim=True)
    own_o = target_of(o, own)
    squares = ((o - mean) ** 2).sum(-1)
    with torch.no_grad():
        xi = best_xi((squares / D).numpy(), D)
        t, delta = torch.tanh(xi / 2), 2 / (1 + torch.exp(xi))
        rest = D * torch.log1p(torch.exp(-xi))
        parts = xi / (4 * t) * (4 + 4 / D + D * delta**2) + rest
        rest = xi / (4 * t) * (4 - 4 / D - D * delta**2) + rest
        slope = t / (2 * xi)
        size = parts + slope / 2 * squares + mean[..., 0].abs() + own_o.abs()
        terms = 1 / D + slope[..., None] * (o - mean).abs() + own.to(o)
    return rest + slope / 2 * squares + mean[..., 0] - own_o, size, terms


def comp_sum_loss(o, own, tau):
    """From -log p = log(1 + exp(v - o[t])), v of the other classes, so that nothing cancels."""
    # filled, a masked class has derivative 0 where all others are masked: not that of -inf - (-inf)
    others = torch.logsumexp(o.masked_fill(own | (o == -INF), -INF), -1)
    ell = -functional.logsigmoid(target_of(o, own) - others)
    theta = tau - 1
    if theta == 0:
        return ell, 0.0, 0.0
    # (1 - p^theta) / theta; PyTorch's derivative of expm1 adds 1 to it, hence that of exp
    power = -torch.exp(-theta * ell) / theta
    with torch.no_grad():
        value = -torch.expm1(-theta * ell) / theta
    return value + (power - power.detach()), 0.0, 0.0


def cross_entropy(o, own):
    return comp_sum_loss(o, own, 1.0)


def generalized_cross_entropy(o, own, q):
    return comp_sum_loss(o, own, 1 + q)


def mae_loss(o, own):
    return comp_sum_loss(o, own, 2.0)


#: name -> (formula, largest logits, whether they may be masked, parameters)
FORMULAS = {
    "cross_entropy": (cross_entropy, 30, True, lambda r: {}),
    "z_loss": (z_loss, 30, False, lambda r: {"a": r.uniform(0.3, 3), "b": r.uniform(-2, 3)}),
    "spherical_softmax_loss": (
        spherical_softmax_loss, 30, False, lambda r: {"eps": r.choice([0, 1e-4, 0.01, 1])}),
    "taylor_softmax_loss": (
        taylor_softmax_loss, 30, False, lambda r: {"order": int(r.choice([2, 4, 8]))}),
    "one_hot_mse_loss": (
        one_hot_mse_loss, 30, False,
        lambda r: {"label_smoothing": r.choice([0.1, r.random(), 1])} if r.random() < 0.6 else {}),
    "bouchard_loss": (bouchard_loss, 30, False, lambda r: {}),
    "stablemax_cross_entropy": (stablemax_cross_entropy, 30, True, lambda r: {}),
    # 10: the gradients, p^tau at the least, stay far from the subnormal numbers
    "comp_sum_loss": (
        comp_sum_loss, 10, True, lambda r: {"tau": r.choice([0, 0.5, 1, 1.01, 1.5, 2, 3])}),
    "generalized_cross_entropy": (
        generalized_cross_entropy, 30, True, lambda r: {"q": r.choice([0, 1e-3, 0.3, 0.7, 1])}),
    "mae_loss": (mae_loss, 30, True, lambda r: {}),
}  # fmt: skip


def scaled_as_the_losses(case, size, terms):
    """A row's scales as its loss and gradient are weighted and reduced."""
    own_weight = target_of(case.class_weight().expand(case.own.shape), torch.tensor(case.own))
    kept = torch.tensor(case.kept)
    denominator = own_weight[kept].sum()
    if not isinstance(size, float):
        size = case.reduced(size * own_weight, denominator)
    terms = terms * own_weight[..., None]
    if case.arguments["reduction"] == "mean":
        terms = terms / denominator
    return own_weight, denominator, size, torch.where(kept[..., None], terms, 0.0)


def gradients(case, loss, denominator, *logits):
    """Of a mean over weights of sum 0 NaN, as that of PyTorch's cross-entropy, in every class."""
    grads = torch.autograd.grad(loss.sum(), logits)
    if case.arguments["reduction"] == "mean" and denominator == 0:
        kept = torch.tensor(case.kept)[..., None]
        grads = [torch.where(kept, math.nan, g) for g in grads]
    return grads


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name, seed):
    formula, most, masked, parameters = FORMULAS[name]
    for number in range(50):
        case = Case((2, *name.encode(), seed, number), most, masked)
        given = parameters(case.rng)
        case.arguments.update(given)
        with case.named():
            o = torch.tensor(case.logits, requires_grad=True)
            each, size, terms = formula(o, torch.tensor(case.own), **given)
            weight, denominator, size, terms = scaled_as_the_losses(case, size, terms)
            loss = case.reduced(each * weight, denominator)
            (grad,) = gradients(case, loss, denominator, o)

            logits, labels = case.given(case.logits), case.given_labels()
            got = getattr(lm, name + "_and_grad")(logits, labels, **case.arguments)
            only = getattr(lm, name)(logits, labels, **case.arguments)
            support.assert_same_bits(only, got[0])
            assert_close(got[0], loss, size, "loss")
            assert_close(got[1], grad, terms, "gradient")


@pytest.mark.parametrize("seed", range(4))
def test_adversarial(seed):
    for number in range(50):
        case = Case((3, seed, number), 10, masked=True)
        rng = case.rng
        apart = float(rng.choice([0.01, 1])) * case.scale
        adversarial = case.logits + apart * rng.normal(size=case.logits.shape)
        tau, rho, nu = rng.choice([0, 0.5, 1, 1.5, 2]), rng.uniform(0.5, 2), rng.choice([0, 0.5, 3])
        case.arguments.update(tau=tau, rho=rho, nu=nu)
        with case.named():
            o = torch.tensor(case.logits, requires_grad=True)
            a = torch.tensor(adversarial, requires_grad=True)
            own = torch.tensor(case.own)
            each, *_ = comp_sum_loss(o / rho, own, tau)
            nowhere = own | (o == -INF)  # the target, and what is masked in both
            d = (a - o).masked_fill(o == -INF, 0)
            e = (target_of(d, own)[..., None] - d).masked_fill(nowhere, 0)
            norm = torch.linalg.vector_norm(e, dim=-1)
            with torch.no_grad():
                both = (target_of(d, own).abs()[..., None] + d.abs()).masked_fill(nowhere, 0)
                size = nu * torch.linalg.vector_norm(both, dim=-1)
                # of the distance's gradient: at the target the sum of all others
                pull = torch.where(own, both.sum(-1, keepdim=True), both)
                pull = torch.where(norm[..., None] > 0, nu * pull / norm[..., None], 0.0)
            weight, denominator, size, pull = scaled_as_the_losses(case, size, pull)
            comp = case.reduced(each * weight, denominator)
            distance = case.reduced(nu * norm * weight, denominator)
            (of_comp,) = gradients(case, comp, denominator, o)
            of_distance = gradients(case, distance, denominator, o, a)

            logits, others = case.given(case.logits), case.placed(adversarial)
            arguments = logits, others, case.given_labels()
            got = lm.smooth_adversarial_comp_sum_loss_and_grad(*arguments, **case.arguments)
            only = lm.smooth_adversarial_comp_sum_loss(*arguments, **case.arguments)
            support.assert_same_bits(only, got[0])
            assert_close(got[0], comp + distance, size, "loss")
            assert_close(got[1], of_comp + of_distance[0], of_comp.abs() + pull, "gradient")
            assert_close(got[2], of_distance[1], pull, "adversarial gradient")


def test_every_loss_is_compared():
    assert set(FORMULAS) == {op["name"] for op in lm._core.registry.losses()}
