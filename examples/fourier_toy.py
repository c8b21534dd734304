# SPDX-License-Identifier: Apache-2.0
"""Fourier head or linear head?  Learning densities that are known: the paper's first experiment.

    python examples/fourier_toy.py [--plot fourier_toy.png] [--seeds N] [--frequencies N ...]

Gillman and others (2024, arXiv:2410.22269) let a small network learn the distribution of z given x
and y, cut into 50 bins, for three of which the truth is known:

    gaussian  y about x, z about y, each normal with variance 0.01
    gmm2      x and y uniform, z about either of them
    beta      y about x, z of either sign, its size from Beta(100 |x|, 100 |y|)

x is uniform on (-0.8, 0.8).  2 - 64 - 32 units with ReLU and a head: 50 logits, or the 2 (N + 1)
coefficients of a Fourier head; Adam, batches of 32, 20 epochs over 4,000 samples, penalty 1e-6, as
in the paper's code.  That feeds the network the numbers of the bins of x and y, 0 to 49; here these
are the centres of the bins, for with the former neither head learns much in 20 epochs (in PyTorch
neither).  1,000 others are judged by the Kullback-Leibler divergence of the prediction from the
truth, and by the paper's smoothness: the weighted distances of a prediction from what Gaussian
filters of widths 1 to 100 make of it, less being smoother.

Everything but the products with the network's weights is lanemax: activations, losses, gradients,
predictions.  Expect one to two minutes, and the paper's finding in part: for gmm2 and beta the
Fourier head is nearer to the truth from some 8 frequencies on, for the gaussian as near as the
linear head.  It is smoother with few frequencies and less so with each more: from 12 (beta), 18
(gmm2) on no smoother than the linear head.
Needs numpy and scipy; matplotlib for the plot.
"""

from __future__ import annotations

import argparse
import time

import lanemax as lm
import numpy as np
from scipy import stats

BINS, VARIANCE, SAMPLES, TESTED, EPOCHS, BATCH, GAMMA = 50, 0.01, 5000, 1000, 20, 32, 1e-6
CENTRES = -1 + (2 * np.arange(BINS) + 1) / BINS
SPREAD = np.sqrt(VARIANCE)

#: published means of four seeds: KL of the linear head and of 12 frequencies, then their smoothness
PAPER = {
    "gaussian": (0.170, 0.116, 0.116, 0.057),
    "gmm2": (0.238, 0.146, 0.068, 0.038),
    "beta": (0.234, 0.191, 0.127, 0.077),
}


# ------------------------------------------------------------------------------------ the data


def draw(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x, y, and z of SAMPLES samples."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.8, 0.8, SAMPLES)
    y = rng.uniform(-0.8, 0.8, SAMPLES) if kind == "gmm2" else rng.normal(x, SPREAD)
    if kind == "gaussian":
        z = rng.normal(y, SPREAD)
    elif kind == "gmm2":
        z = rng.normal(np.where(rng.random(SAMPLES) < 0.5, x, y), SPREAD)
    else:
        z = rng.choice([-1, 1], SAMPLES) * rng.beta(abs(100 * x), abs(100 * y))
    return np.stack([x, y], axis=1), z


def truth(kind: str, given: np.ndarray) -> np.ndarray:
    """Probabilities of the bins for each x and y, by the density at their centres."""
    x, y = given[:, :1], given[:, 1:]

    def normal(mean: np.ndarray) -> np.ndarray:
        p = np.exp(-((CENTRES - mean) ** 2) / (2 * VARIANCE))
        return p / p.sum(axis=1, keepdims=True)

    if kind == "gaussian":
        return normal(y)
    if kind == "gmm2":
        return (normal(x) + normal(y)) / 2
    p = stats.beta.pdf(abs(CENTRES), abs(100 * x), abs(100 * y))
    return p / p.sum(axis=1, keepdims=True)


def binned(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor((values + 1) * (BINS / 2)).astype(np.int64), 0, BINS - 1)


# ----------------------------------------------------------------------------------- the metrics


def divergence(q: np.ndarray, p: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of q from the truth p."""
    terms = np.where(p > 0, p * (np.log(np.where(p > 0, p, 1)) - np.log(q + 1e-10)), 0)
    return float(terms.sum(axis=1).mean())


def filters(bins: int) -> np.ndarray:
    """q - (Gaussian filter of width s) * q as matrices, s = 1 ... 100, with cyclic boundaries."""
    away = np.arange(1 - bins, bins)
    place = (np.arange(bins)[:, None] + away) % bins
    found = []
    for width in range(1, 101):
        weight = np.exp(-0.5 * (away / width) ** 2)
        matrix = np.eye(bins)
        for i in range(bins):
            np.subtract.at(matrix[i], place[i], weight / weight.sum())
        found.append(6 / (np.pi * width) ** 2 * matrix)
    return np.stack(found)


def roughness(q: np.ndarray, matrices: np.ndarray) -> float:
    return float(np.mean([np.linalg.norm(q @ m.T, axis=1) for m in matrices], axis=1).sum())


# ------------------------------------------------------------------------------------ the network


class Network:
    """Weights in one vector, so that Adam is a few operations."""

    def __init__(self, frequencies: int, rng: np.random.Generator) -> None:
        self.frequencies = frequencies  # 0: a linear head
        outputs = 2 * (frequencies + 1) if frequencies else BINS
        shapes = [(64, 2), (64,), (32, 64), (32,), (outputs, 32), (outputs,)]
        ends = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
        self.weights = np.empty(ends[-1], np.float32)
        self.slopes = np.zeros_like(self.weights)
        pairs = list(zip(shapes, ends[:-1], ends[1:], strict=True))
        self.parts = [self.weights[a:b].reshape(s) for s, a, b in pairs]
        self.grads = [self.slopes[a:b].reshape(s) for s, a, b in pairs]
        for i, (part, inputs) in enumerate(zip(self.parts, (2, 2, 64, 64, 32, 32), strict=True)):
            part[...] = rng.uniform(-1, 1, part.shape) / np.sqrt(inputs)
            if frequencies and i >= 4:
                part /= 100
        self.m, self.v, self.step = np.zeros_like(self.weights), np.zeros_like(self.weights), 0

    def outputs(self, x: np.ndarray) -> list[np.ndarray]:
        """The output of each layer."""
        w1, b1, w2, b2, w3, b3 = self.parts
        before1 = x @ w1.T + b1
        hidden1 = lm.relu(before1)
        before2 = hidden1 @ w2.T + b2
        hidden2 = lm.relu(before2)
        return [x, before1, hidden1, before2, hidden2, hidden2 @ w3.T + b3]

    def train(self, x: np.ndarray, target: np.ndarray) -> None:
        x, before1, hidden1, before2, hidden2, out = self.outputs(x)
        if self.frequencies:
            _, d = lm.fourier_cross_entropy_and_grad(out, target, BINS, gamma=GAMMA)
        else:
            _, d = lm.cross_entropy_and_grad(out, target)
        _, _, w2, _, w3, _ = self.parts
        g1, c1, g2, c2, g3, c3 = self.grads
        g3[...], c3[...] = d.T @ hidden2, d.sum(axis=0)
        d = lm.relu_vjp(d @ w3, before2)
        g2[...], c2[...] = d.T @ hidden1, d.sum(axis=0)
        d = lm.relu_vjp(d @ w2, before1)
        g1[...], c1[...] = d.T @ x, d.sum(axis=0)
        self.step += 1
        self.m += np.float32(0.1) * (self.slopes - self.m)
        self.v += np.float32(0.001) * (self.slopes**2 - self.v)
        rate = np.float32(1e-3 * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step))
        self.weights -= rate * self.m / (np.sqrt(self.v) + np.float32(1e-8))

    def predict(self, x: np.ndarray) -> np.ndarray:
        out = self.outputs(x)[-1]
        return lm.softmax(lm.fourier_log_bins(out, BINS) if self.frequencies else out)


def learn(kind: str, frequencies: int, seed: int, matrices: np.ndarray) -> tuple[float, float]:
    """Divergence and smoothness of one trained network."""
    given, z = draw(kind, seed)
    rng = np.random.default_rng([seed, frequencies])
    order = rng.permutation(SAMPLES)
    train, test = order[TESTED:], order[:TESTED]
    x, target = CENTRES[binned(given)].astype(np.float32), binned(z)
    network = Network(frequencies, rng)
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(train), len(train) // BATCH):
            network.train(x[batch], target[batch])
    q = network.predict(x[test]).astype(np.float64)
    return divergence(q, truth(kind, given[test])), roughness(q, matrices)


# ------------------------------------------------------------------------------------ the report


def plot(path: str, found: dict[str, dict[int, np.ndarray]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(found), figsize=(4 * len(found), 6), sharex=True)
    for column, (kind, results) in zip(axes.T, found.items(), strict=True):
        counts = [n for n in results if n]
        for axis, which, name in zip(column, (0, 1), ("KL divergence", "smoothness"), strict=True):
            values = np.array([results[n][:, which] for n in counts])
            axis.errorbar(counts, values.mean(axis=1), values.std(axis=1), label="Fourier head")
            line = results[0][:, which]
            axis.axhline(line.mean(), color="tab:orange", label="linear head")
            axis.set_ylabel(name)
            axis.set_ylim(bottom=0)
        column[0].set_title(kind)
        column[1].set_xlabel("frequencies")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--frequencies", type=int, nargs="+", default=list(range(2, 21, 2)))
    args = parser.parse_args()
    matrices, found, start = filters(BINS), {}, time.perf_counter()
    for kind, (kl, kl_12, rough, rough_12) in PAPER.items():
        print(f"\n{kind}: mean and deviation over {args.seeds} seeds")
        print(f"{'head':>14} {'KL divergence':>18} {'smoothness':>18}   paper")
        found[kind] = {}
        for n in [0, *args.frequencies]:
            each = np.array([learn(kind, n, 1 + s, matrices) for s in range(args.seeds)])
            found[kind][n] = each
            cells = [f"{m:.3f} +- {d:.3f}" for m, d in zip(each.mean(0), each.std(0), strict=True)]
            paper = {0: f"{kl} {rough}", 12: f"{kl_12} {rough_12}"}.get(n, "")
            name = f"{n} frequencies" if n else "linear"
            print(f"{name:>14} {cells[0]:>18} {cells[1]:>18}   {paper}", flush=True)
    if args.plot:
        plot(args.plot, found)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
