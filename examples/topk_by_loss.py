# SPDX-License-Identifier: Apache-2.0
"""Which loss ranks best?  The same model trained with each, judged by its first k guesses.

    python examples/topk_by_loss.py [--text FILE ...] [--steps N] [--plot topk.png]

De Brebisson and Vincent (2016, arXiv:1604.08859) train language models with the Z-loss, which
standardises the logits and is no likelihood, and find that it puts the right word among the first
k more often than log-softmax does, for k that its parameters are tuned to.  This is that experiment
in the small: the next word from the three before it, learned from the docstrings of Python's
standard library.  Embeddings, one hidden layer, Adam; every loss with its gradient is one call of
lanemax.  Needs numpy; matplotlib for the plot.
"""

from __future__ import annotations

import argparse
import ast
import collections
import pathlib
import re
import sys
import sysconfig

import lanemax as lm
import numpy as np

CONTEXT, WIDTH, HIDDEN, BATCH = 3, 48, 128, 512
KS = (1, 2, 5, 10, 20, 50, 100)

#: name -> (function, its parameters, learning rate)
LOSSES = {
    "cross-entropy": (lm.cross_entropy_and_grad, {}, 4e-3),
    "Z-loss, a = 0.1, b = 10": (lm.z_loss_and_grad, {"a": 0.1, "b": 10.0}, 4e-3),
    "Z-loss, a = 0.1, b = 28": (lm.z_loss_and_grad, {"a": 0.1, "b": 28.0}, 4e-3),
    "Taylor softmax": (lm.taylor_softmax_loss_and_grad, {}, 4e-3),
    "comp-sum, tau = 1.7": (lm.comp_sum_loss_and_grad, {"tau": 1.7}, 4e-3),
}


def read_text(files: list[str]) -> str:
    """The files, or the docstrings of the standard library."""
    if files:
        return "\n".join(pathlib.Path(f).read_text(encoding="utf-8") for f in files)
    found = []
    for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                found.append(ast.get_docstring(node) or "")
    return "\n".join(found)


def examples(text: str, vocabulary: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Contexts, next words, and the number of different words; word 0 is any rare one."""
    words = re.findall(r"[a-z]+|[.,:;()]", text.lower())
    frequent = collections.Counter(words).most_common(vocabulary - 1)
    number = {w: i + 1 for i, (w, _) in enumerate(frequent)}
    ids = np.array([number.get(w, 0) for w in words])
    windows = np.lib.stride_tricks.sliding_window_view(ids, CONTEXT + 1)
    windows = windows[windows[:, -1] != 0]  # rare words are not guessed
    return windows[:, :-1], windows[:, -1], len(number) + 1


class Adam:
    """Adam (Kingma and Ba 2015), for one array."""

    def __init__(self, value: np.ndarray) -> None:
        self.value, self.m, self.v, self.t = value, np.zeros_like(value), np.zeros_like(value), 0

    def step(self, gradient: np.ndarray, rate: float) -> None:
        self.t += 1
        self.m += 0.1 * (gradient - self.m)
        self.v += 0.01 * (gradient * gradient - self.v)
        scale = rate * np.sqrt(1 - 0.99**self.t) / (1 - 0.9**self.t)
        self.value -= (scale * self.m / (np.sqrt(self.v) + 1e-8)).astype(np.float32)


def train(loss, settings, rate, x, y, classes, steps):
    """The trained arrays: embedding, hidden layer, output layer."""
    rng = np.random.default_rng(0)

    def normal(*shape, scale):
        return Adam((rng.standard_normal(shape) * scale).astype(np.float32))

    embedding = normal(classes, WIDTH, scale=0.3)
    hidden = normal(CONTEXT * WIDTH, HIDDEN, scale=(CONTEXT * WIDTH) ** -0.5)
    output = normal(HIDDEN, classes, scale=0.1)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(steps * BATCH // len(x) + 1)])
    logits = np.empty((BATCH, classes), np.float32)
    for step in range(steps):
        pick = order[step * BATCH : (step + 1) * BATCH]
        e = embedding.value[x[pick]].reshape(BATCH, -1)
        h = np.tanh(e @ hidden.value)
        np.matmul(h, output.value, out=logits)
        _, dz = loss(logits, y[pick], grad_out=logits, **settings)  # the gradient in their place
        dh = (dz @ output.value.T) * (1 - h * h)
        de = np.zeros_like(embedding.value)
        np.add.at(de, x[pick], (dh @ hidden.value.T).reshape(BATCH, CONTEXT, WIDTH))
        now = rate * (1 - step / steps)
        output.step(h.T @ dz, now)
        hidden.step(e.T @ dh, now)
        embedding.step(de, now)
        print(f"\r  step {step + 1}/{steps}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return embedding.value, hidden.value, output.value


def accuracies(model, x, y) -> list[float]:
    """How often the right word is among the first k."""
    embedding, hidden, output = model
    better = []
    for i in range(0, len(x), BATCH):
        h = np.tanh(embedding[x[i : i + BATCH]].reshape(len(x[i : i + BATCH]), -1) @ hidden)
        z = h @ output
        right = z[np.arange(len(z)), y[i : i + BATCH]]
        better.append((z > right[:, None]).sum(axis=1))
    rank = np.concatenate(better)
    return [float((rank < k).mean()) for k in KS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--plot", metavar="FILE")
    args = parser.parse_args()

    x, y, classes = examples(read_text(args.text), args.vocabulary)
    shuffled = np.random.default_rng(1).permutation(len(x))
    held, kept = shuffled[: len(x) // 10], shuffled[len(x) // 10 :]
    print(f"{len(kept):,} examples to learn from, {len(held):,} held out, {classes:,} words")
    table = {}
    for name, (loss, settings, rate) in LOSSES.items():
        print(name, file=sys.stderr)
        model = train(loss, settings, rate, x[kept], y[kept], classes, args.steps)
        table[name] = accuracies(model, x[held], y[held])

    print(f"{'held-out accuracy, k =':28}" + "".join(f"{k:>8}" for k in KS))
    for name, row in table.items():
        print(f"{name:28}" + "".join(f"{100 * v:7.1f}%" for v in row))
    best = [max(table, key=lambda n: table[n][i]) for i in range(len(KS))]
    for k, name in zip(KS, best, strict=True):
        print(f"top {k:>3}: {name}")

    if args.plot:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
        base = np.array(table["cross-entropy"])
        for name, row in table.items():
            axes.plot(KS, 100 * (np.array(row) - base), "o-", label=name)
        axes.set_xscale("log")
        axes.set_xticks(KS, [str(k) for k in KS])
        axes.set_xlabel("k")
        axes.set_ylabel("top-k accuracy less cross-entropy's, points")
        axes.legend(frameon=False)
        figure.savefig(args.plot, dpi=150)
        print(f"wrote {args.plot}")


if __name__ == "__main__":
    main()
