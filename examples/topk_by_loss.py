# SPDX-License-Identifier: Apache-2.0
"""Which loss ranks best?  The same model trained with each, judged by its first k guesses.

    python examples/topk_by_loss.py [--plot topk.png] [--seed N] [--text FILE ...]

De Brebisson and Vincent (2016, arXiv:1604.08859) train language models with the Z-loss, which
standardises the logits and is no likelihood, and find that it can put the right word among the
first k more often than log-softmax does.  This is that experiment in the small: the next word from
the three before it, learned from the docstrings of Python's standard library.  Embeddings, one
hidden layer, Adam; every loss with its gradient is one call of lanemax.

Parameters are not guessed.  Every loss is trained with every setting of GRID and every rate of
RATES; for each k the setting that does best on validation text is judged on test text, by which
nothing was chosen.  Cross-entropy has a rate to choose; the Z-loss has a and b too, so it has more
attempts, which favours it.

Expect two to three minutes on two cores, and the paper's finding in kind, not in its figures:
cross-entropy is far ahead of the Z-loss in the first guesses, the Z-loss passes it between k of 20
and 50, and a lower b serves a larger k; Taylor softmax, of the same family, stays behind.  The lead
at large k is not the Z-loss's alone: comp-sum with tau below 1, a softmax loss, has it too.  Nor is
the k where it starts a constant: it lay between 20 and 200 for the models that were tried.  The
same seed gives the same figures on the same machine, with any number of jobs; another Python has
other docstrings.  Needs numpy; matplotlib for the plot.
"""

from __future__ import annotations

import argparse
import ast
import collections
import importlib.util
import itertools
import math
import multiprocessing
import os
import pathlib
import re
import sys
import sysconfig
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed

import lanemax as lm
import numpy as np

CONTEXT, WIDTH, HIDDEN, BATCH = 3, 48, 64, 512
KS = (1, 2, 5, 10, 20, 50, 100, 200)

RATES = (0.012, 0.024)
#: loss -> (function, the values of its parameters to try, each with every learning rate)
GRID = {
    "cross-entropy": (lm.cross_entropy_and_grad, {}),
    "Z-loss": (lm.z_loss_and_grad, {"a": (0.3, 1.0), "b": (3.0, 6.0, 15.0)}),
    "comp-sum": (lm.comp_sum_loss_and_grad, {"tau": (0.7, 1.3)}),
    "Taylor softmax": (lm.taylor_softmax_loss_and_grad, {}),
}


# ------------------------------------------------------------------------------------ the text


def read_text(files: list[str]) -> list[str]:
    """The paragraphs of the files, or the docstrings of the standard library, each once."""
    found = []
    for name in files:
        found += re.split(r"\n\s*\n", pathlib.Path(name).read_text(encoding="utf-8"))
    if not files:
        for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    found.append(ast.get_docstring(node) or "")
    return list(dict.fromkeys(found))


def examples(texts: list[str], vocabulary: int) -> tuple[list[tuple], int]:
    """Contexts and next words to learn from, to choose by and to test on; the number of words.

    Whole texts are divided, because windows that overlap would be learned here and tested there.
    """
    words = [re.findall(r"[a-z]+|[.,:;()]", text.lower()) for text in texts]
    order = np.random.default_rng(1).permutation(len(words))
    tenth = len(words) // 10
    parts = (order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])
    counts = collections.Counter(w for i in parts[0] for w in words[i])
    frequent = counts.most_common(vocabulary - 1)
    number = {w: i + 1 for i, (w, _) in enumerate(frequent)}  # 0: a rare word, or before the text
    found = []
    for part in parts:
        ids = [[0] * CONTEXT + [number.get(w, 0) for w in words[i]] for i in part]
        rows = [t[i : i + CONTEXT + 1] for t in ids for i in range(len(t) - CONTEXT)]
        windows = np.array(rows, np.int64).reshape(-1, CONTEXT + 1)
        windows = windows[windows[:, -1] != 0]  # rare words are not guessed
        found.append((windows[:, :-1], windows[:, -1]))
    return found, len(number) + 1


# ----------------------------------------------------------------------------------- the model


class Adam:
    """Adam (Kingma and Ba 2015), for one array."""

    def __init__(self, value: np.ndarray) -> None:
        self.value, self.t = value, 0
        self.m, self.v, self.work = (np.zeros_like(value) for _ in range(3))

    def step(self, gradient: np.ndarray, rate: float) -> None:
        self.t += 1
        work = self.work
        np.multiply(gradient, 0.1, out=work)
        self.m *= 0.9
        self.m += work
        np.multiply(gradient, gradient, out=work)
        work *= 0.01
        self.v *= 0.99
        self.v += work
        np.sqrt(self.v, out=work)
        work += 1e-8
        np.divide(self.m, work, out=work)
        work *= rate * math.sqrt(1 - 0.99**self.t) / (1 - 0.9**self.t)
        self.value -= work


def train(loss, settings, rate, x, y, classes, steps, seed):
    """The trained arrays: embedding, hidden layer, output layer and its bias."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale):
        return Adam((rng.standard_normal(shape) * scale).astype(np.float32))

    embedding = normal(classes, WIDTH, scale=0.3)
    hidden = normal(CONTEXT * WIDTH, HIDDEN, scale=(CONTEXT * WIDTH) ** -0.5)
    output = normal(HIDDEN, classes, scale=0.1)
    bias = normal(classes, scale=0.0)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(steps * BATCH // len(x) + 1)])
    logits = np.empty((BATCH, classes), np.float32)
    for step in range(steps):
        pick = order[step * BATCH : (step + 1) * BATCH]
        e = embedding.value[x[pick]].reshape(BATCH, -1)
        h = np.tanh(e @ hidden.value)
        np.matmul(h, output.value, out=logits)
        logits += bias.value
        _, dz = loss(logits, y[pick], grad_out=logits, **settings)  # the gradient in their place
        dh = (dz @ output.value.T) * (1 - h * h)
        de = np.zeros_like(embedding.value)
        np.add.at(de, x[pick], (dh @ hidden.value.T).reshape(BATCH, CONTEXT, WIDTH))
        now = rate * (1 - step / steps)
        output.step(h.T @ dz, now)
        bias.step(dz.sum(axis=0), now)
        hidden.step(e.T @ dh, now)
        embedding.step(de, now)
    return embedding.value, hidden.value, output.value, bias.value


def ranks(model, x, y) -> np.ndarray:
    """How many words the model does not put below the right one; NaN is never right."""
    embedding, hidden, output, bias = model
    found = []
    for i in range(0, len(x), BATCH):
        h = np.tanh(embedding[x[i : i + BATCH]].reshape(-1, CONTEXT * WIDTH) @ hidden)
        z = h @ output + bias
        right = z[np.arange(len(z)), y[i : i + BATCH]]
        found.append(z.shape[1] - 1 - (z < right[:, None]).sum(axis=1))
    return np.concatenate(found)


# ------------------------------------------------------------------------------- the experiment


def candidates() -> list[tuple[str, dict[str, float], float]]:
    """Every loss with each of its settings and each learning rate."""
    found = []
    for name, (_, tried) in GRID.items():
        for values in itertools.product(*tried.values()):
            found += [(name, dict(zip(tried, values, strict=True)), rate) for rate in RATES]
    return found


def describe(settings: dict[str, float], rate: float) -> str:
    return ", ".join([*(f"{k} = {v:g}" for k, v in settings.items()), f"rate {rate:g}"])


def run(candidate, parts, classes, steps, seed) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the right words, in validation and in test text.  Runs in a process of its own."""
    name, settings, rate = candidate
    learned, chosen_by, tested = parts
    model = train(GRID[name][0], settings, rate, *learned, classes, steps, seed)
    return ranks(model, *chosen_by), ranks(model, *tested)


def run_all(todo, jobs, *arguments) -> list[tuple[np.ndarray, np.ndarray]]:
    """Train all candidates, `jobs` at a time.

    Each on one thread: the matrices are small, several trainings at once use the cores better than
    threads inside one, and the sums do not depend on how many cores there are.
    """
    for library in ("OPENBLAS_NUM", "OMP_NUM", "MKL_NUM", "VECLIB_MAXIMUM", "LANEMAX_NUM"):
        os.environ[f"{library}_THREADS"] = "1"  # read by the new processes when they import NumPy
    spawn = multiprocessing.get_context("spawn")  # a fork would keep the threads that NumPy has
    results, began = [None] * len(todo), time.monotonic()
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        running = {pool.submit(run, c, *arguments): i for i, c in enumerate(todo)}
        for done, future in enumerate(as_completed(running), 1):
            i = running[future]
            results[i] = future.result()
            name, settings, rate = todo[i]
            print(
                f"trained {done}/{len(todo)}, {time.monotonic() - began:.0f} s: "
                f"{name}, {describe(settings, rate)}",
                file=sys.stderr,
                flush=True,
            )
    return results


def percent(rank: np.ndarray) -> np.ndarray:
    """How often the right word is among the first k, for every k."""
    return np.array([100 * (rank < k).mean() for k in KS])


def lead(ours: np.ndarray, theirs: np.ndarray, k: int) -> tuple[float, float]:
    """Difference of top-k accuracies on the same examples, and its standard error, in points."""
    difference = 100.0 * ((ours < k).astype(int) - (theirs < k).astype(int))
    return difference.mean(), difference.std() / math.sqrt(len(difference))


def line(label: str, cells: Iterable[str]) -> None:
    print(f"{label:38}" + "".join(f"{c:>8}" for c in cells))


def heading(text: str) -> None:
    print()
    line(text, (f"k = {k} " for k in KS))


def marked(values: Iterable[float], marks: Iterable[bool]) -> list[str]:
    return [f"{v:.1f}{'*' if m else ' '}" for v, m in zip(values, marks, strict=True)]


def draw(path: str, leads: dict[str, list[tuple[float, float]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.8), layout="constrained")
    axes.axhline(0, color="#555555", linewidth=1.5, label="cross-entropy")
    styles = zip(("o", "s", "^"), ("#0b5fa5", "#d1670a", "#8a4fa3"), strict=True)
    for (name, points), (marker, color) in zip(leads.items(), styles, strict=True):
        mean, error = np.array(points).T
        axes.plot(KS, mean, marker=marker, color=color, label=name)
        axes.fill_between(KS, mean - 2 * error, mean + 2 * error, color=color, alpha=0.2, lw=0)
    axes.set_xscale("log")
    axes.set_xticks(KS, [str(k) for k in KS])
    axes.minorticks_off()
    axes.grid(True, color="#e3e3e3", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("k")
    axes.set_ylabel("top-k accuracy less cross-entropy's, points")
    axes.set_title("Next word; each loss tuned for each k; band: 2 standard errors", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(leads) + 1, frameon=False)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", default=[], metavar="FILE", help="learn from these")
    parser.add_argument("--steps", type=int, default=1000, help="of each training (%(default)s)")
    parser.add_argument("--vocabulary", type=int, default=3000, help="words (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (%(default)s)")
    parser.add_argument("--jobs", type=int, metavar="N", help="trainings at once (default: CPUs)")
    parser.add_argument("--plot", metavar="FILE", help="draw the result (needs matplotlib)")
    args = parser.parse_args()
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib, which is not installed")

    parts, classes = examples(read_text(args.text), args.vocabulary)
    sizes = [len(y) for _, y in parts]
    if min(sizes) < 1000:
        parser.error(f"too little text: {sizes} examples to learn from, choose by and test on")
    print(
        f"{sizes[0]:,} examples to learn from, {sizes[1]:,} to choose by, {sizes[2]:,} to test on; "
        f"{classes:,} words"
    )
    todo = candidates()
    jobs = min(args.jobs or os.cpu_count() or 1, len(todo))
    print(f"{len(todo)} trainings of {args.steps} steps, {jobs} at a time", file=sys.stderr)
    results = run_all(todo, jobs, parts, classes, args.steps, args.seed)

    heading("validation, all that was tried, %")
    scores = [percent(validation) for validation, _ in results]
    best = {  # for every k the candidate that validation text prefers
        name: [
            max((i for i, c in enumerate(todo) if c[0] == name), key=lambda i: scores[i][j])
            for j in range(len(KS))
        ]
        for name in GRID
    }
    for i, (name, settings, rate) in enumerate(todo):
        label = f"{name}, {describe(settings, rate)}"
        line(label, marked(scores[i], (b == i for b in best[name])))
    print("*: the loss's best for this k, which is what follows")

    heading("test, %")
    tests = [test for _, test in results]
    accuracy = {n: [percent(tests[i])[j] for j, i in enumerate(b)] for n, b in best.items()}
    most = [max(column) for column in zip(*accuracy.values(), strict=True)]
    for name, row in accuracy.items():
        line(name, marked(row, (v == m for v, m in zip(row, most, strict=True))))
    print("*: the best loss for this k")

    heading("less cross-entropy, points")
    base = [tests[i] for i in best.pop("cross-entropy")]
    leads = {
        name: [lead(tests[i], base[j], k) for j, (i, k) in enumerate(zip(b, KS, strict=True))]
        for name, b in best.items()
    }
    for name, points in leads.items():
        line(name, (f"{mean:+.1f} " for mean, _ in points))
        line("  standard error", (f"{error:.1f} " for _, error in points))

    if args.plot:
        draw(args.plot, leads)


if __name__ == "__main__":
    main()
