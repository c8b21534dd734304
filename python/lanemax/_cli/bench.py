# SPDX-License-Identifier: Apache-2.0
"""``bench``: lanemax against the peers that are installed, and against a copy of the same array."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from timeit import Timer
from typing import Any

import numpy as np

import lanemax as lm

from .. import _activations
from .._core import context, registry
from . import goals, info, machine, peers, plot
from .arguments import positive, positive_real, rows_and_columns
from .goals import EXPERIMENTS, Goal
from .oracle import Array
from .peers import Case, Unavailable
from .text import (
    EXTRA_HINT,
    Progress,
    Table,
    UsageError,
    note,
    note_missing_rich,
    optional,
    progress,
    seconds,
    shape_name,
)  # fmt: skip
from .timing import Clock, Contender, Row, Spread, Times, clock, race

SUMMARY = "time lanemax against the peers that are installed"
DESCRIPTION = """\
Time lanemax against SciPy, PyTorch, ONNX Runtime, JAX and NumPy, as far as they are installed,
and against a copy of the same array. Everyone works on the same values with the same number
of threads, warmed up, in rounds of shuffled order; ratios are taken within a round, and the
median is printed. Beside them stand the goals that the project has set itself, and whether
this machine meets them. Without options: the softmax family, what a call costs, 16-bit types,
strided axes, threads and losses, in a few minutes."""
EXAMPLES = """\
examples:
  python -m lanemax bench
  python -m lanemax bench --op softmax --shape 4096x1024 1x1e6 --peers torch scipy
  python -m lanemax bench --op logsumexp --dtype float64 --isa avx2 avx512
  python -m lanemax bench --op call
  python -m lanemax bench --op activations --peers torch --plot activations.png
  python -m lanemax bench --op linear spherical fourier
  python -m lanemax bench --full --threads 2 --json bench.json --plot bench.png"""

DTYPES = ("float32", "float64", "float16", "bfloat16")
#: All but output layers and heads, which take minutes and gigabytes.
DEFAULT = ("softmax", "log_softmax", "logsumexp", *EXPERIMENTS[:-3])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--op",
        nargs="+",
        metavar="NAME",
        default=list(DEFAULT),
        choices=[*peers.OPERATIONS, *EXPERIMENTS],
        help=f"of {' '.join(peers.OPERATIONS)}, and the experiments {' '.join(EXPERIMENTS)} "
        "(default: all but the gradients, linear, spherical and fourier)",
    )
    parser.add_argument(
        "--shape",
        nargs="+",
        metavar="RxC",
        type=rows_and_columns,
        default=[],
        help="rows x columns, such as 4096x1024 or 1x1e6 (default: the shapes of the goals)",
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        metavar="TYPE",
        default=["float32"],
        choices=DTYPES,
        help=f"of {' '.join(DTYPES)} (default: float32)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="NAME",
        default=list(peers.NAMES),
        choices=[*peers.NAMES, "none"],
        help=f"of {' '.join(peers.NAMES)}, or none (default: all that are installed)",
    )
    parser.add_argument(
        "--isa",
        nargs="+",
        metavar="TIER",
        default=[],
        help="tiers of lanemax to time, one after the other (default: the one in use)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", default=1, help="threads for everyone (default: 1)"
    )
    parser.add_argument(
        "--seconds",
        type=positive_real,
        metavar="S",
        default=1.5,
        help="time for each row of the table (default: 1.5)",
    )
    parser.add_argument("--full", action="store_true", help="also rows of 1e8 elements")
    parser.add_argument("--json", metavar="FILE", help="also write every figure to FILE")
    parser.add_argument("--plot", metavar="FILE", help="also draw the figures (PNG, SVG or PDF)")


# ---------------------------------------------------------------------------------- results


@dataclass
class Report:
    """All that was measured, and what could not be."""

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, what: str, why: str) -> None:
        """Say once that something is left out."""
        if what not in self.skipped:
            self.skipped[what] = why
            note(f"note: {what} is left out: {why}")


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured; `measured` is None where it could not be."""

    goal: Goal
    tier: str
    limit: float | None
    measured: Spread | None
    why: str = ""

    @property
    def word(self) -> str:
        """Return met, MISSED, or why neither."""
        if self.measured is None:
            return f"not measured: {self.why}" if self.why else "not measured"
        if self.limit is None:
            return "no goal for this tier"
        return "met" if self.measured.median <= self.limit else "MISSED"


def judge(goal: Goal, row: Row | None, tier: str, report: Report) -> Verdict:
    """Return whether `row` reaches `goal`."""
    limit = goal.for_tier(tier)
    needed = (goal.ours, *goal.against)
    if row is None:
        return Verdict(goal, tier, limit, None)
    missing = [n for n in needed if n not in row.times]
    if missing:
        why = report.skipped.get(missing[0].split()[0], f"no {missing[0]}")
        return Verdict(goal, tier, limit, None, why)
    if goal.against:
        return Verdict(goal, tier, limit, row.times.ratio(goal.ours, *goal.against))
    return Verdict(goal, tier, limit, row.times.seconds(goal.ours))


# ------------------------------------------------------------------------------ measurements


@dataclass(frozen=True)
class Bench:
    """What all measurements share."""

    tier: str
    threads: int
    budget: float
    peers: tuple[Any, ...]
    report: Report
    bar: Progress

    def race(self, contenders: Sequence[Contender], label: str) -> Times:
        """Time `contenders`, saying what is going on."""
        times = race(contenders, self.budget, lambda name: self.bar.advance(0, f"{label} {name}"))
        peers.trim()
        return times


@contextmanager
def tier_and_threads(tier: str, threads: int) -> Iterator[None]:
    """Let lanemax use `tier` and `threads` in the body."""
    with context.using_isa(tier), lm.num_threads(threads):
        yield


def time_family(bench: Bench, operation: str, dtype: np.dtype[Any], shape: tuple[int, int]) -> Row:
    """Time one function of the softmax family on one shape against all peers."""
    case = peers.make_case(operation, dtype, shape, bench.threads)
    contenders = [Contender(v, clock(call)) for v, call in peers.ours(case)]
    contenders += peers.anchors(case)
    for peer in bench.peers:
        contenders += peer_contenders(peer, case, bench.report)
    label = f"{operation} {shape_name(shape)} {dtype.name}"
    times = bench.race(contenders, label)
    return Row(
        operation, shape, dtype.name, bench.tier, bench.threads, times, case.traffic, case.elements
    )


def peer_contenders(peer: Any, case: Case, report: Report) -> list[Contender]:
    """Return what `peer` offers for `case`, tried once; a peer that fails is left out."""
    found: list[Contender] = []
    try:
        for variant, call in peer.offers(case):
            call()
            found.append(Contender(f"{peer.name} {variant}", clock(call)))
    except Exception as error:  # whatever a peer raises, the others are still worth timing
        what = f"{peer.name} {case.operation} {case.dtype.name}"
        report.skip(what, f"{type(error).__name__}: {str(error).splitlines()[0][:80]}")
    return found


def time_call(bench: Bench) -> Row:
    """Time calls on ten elements, written as a user writes them."""
    x = np.linspace(-1, 1, 10, dtype=np.float32)
    names: dict[str, Any] = {"x": x, "out": np.empty_like(x), "lm": lm, "np": np}
    ours = {
        "softmax out": "softmax(x, out=out)",
        "softmax new": "softmax(x)",
        "log_softmax out": "log_softmax(x, out=out)",
        "log_softmax new": "log_softmax(x)",
        "logsumexp new": "logsumexp(x)",
    }
    theirs = {"numpy exp out": "exp(x, out=out)", "numpy exp new": "exp(x)"}
    loaded = {p.name for p in bench.peers}
    if "scipy" in loaded:
        names["special"] = peers.optional_module("scipy.special")
        theirs["scipy softmax new"] = "special.softmax(x)"
        theirs["scipy logsumexp new"] = "special.logsumexp(x)"
    if "torch" in loaded:
        torch = peers.optional_module("torch")
        names |= {"torch": torch, "tx": torch.from_numpy(x), "to": torch.empty(10)}
        theirs["torch softmax out"] = "torch.softmax(tx, -1, out=to)"
        theirs["torch softmax new"] = "torch.softmax(tx, -1)"

    def statement(code: str, prefix: str) -> Clock:
        # The function is looked up once, as in a loop that was written with care.
        head, _, tail = (prefix + code).partition("(")
        return Timer(f"f({tail}", f"f = {head}", globals=names).timeit

    contenders = [Contender(n, statement(c, "lm.")) for n, c in ours.items()]
    for name, code in theirs.items():
        contenders.append(Contender(name, statement(code, "np." if "numpy" in name else "")))
    times = bench.race(contenders, "call on 10 elements")
    return Row("call", (10,), "float32", bench.tier, bench.threads, times, elements=10)


def time_bytes(bench: Bench, shape: tuple[int, int]) -> Row:
    """Time softmax of 16-bit types beside float32 on the same number of elements."""
    contenders = []
    for name in ("float32", "float16", "bfloat16"):
        try:
            dtype = peers.element_type(name)
        except Unavailable as error:
            bench.report.skip(name, str(error))
            continue
        case = peers.make_case("softmax", dtype, shape, bench.threads)
        contenders.append(Contender(name, clock(dict(peers.ours(case))["out"])))
    times = bench.race(contenders, f"16-bit {shape_name(shape)}")
    return Row("bytes", shape, "", bench.tier, bench.threads, times, elements=math.prod(shape))


def time_axis(bench: Bench, shape: tuple[int, int]) -> Row:
    """Time softmax over axis 0 beside the same rows laid out contiguously."""
    case = peers.make_case("softmax", np.dtype(np.float32), (shape[1], shape[0]), bench.threads)
    turned = np.ascontiguousarray(case.x.T)
    out = np.zeros_like(turned)
    contenders = [
        Contender("contiguous", clock(dict(peers.ours(case))["out"])),
        Contender("axis 0", clock(lambda: lm.softmax(turned, axis=0, out=out))),
    ]
    if any(p.name == "torch" for p in bench.peers):
        torch = peers.optional_module("torch")
        tx, to = torch.from_numpy(turned), torch.from_numpy(out)
        contenders.append(Contender("torch axis 0", clock(lambda: torch.softmax(tx, 0, out=to))))
    times = bench.race(contenders, f"axis 0 of {shape_name(shape)}")
    return Row(
        "axis", shape, "float32", bench.tier, bench.threads, times, case.traffic, case.elements
    )


def time_losses(bench: Bench, shape: tuple[int, int]) -> Row:
    """Time every loss, alone and with its gradient, beside the peers' cross-entropy."""
    case = peers.make_case("log_softmax", np.dtype(np.float32), shape, bench.threads)
    x, out = case.x, case.out
    target = np.random.default_rng(1).integers(0, shape[1], shape[0])
    contenders = []
    for name in (op["name"] for op in registry.losses()):
        alone, both = getattr(lm, name), getattr(lm, f"{name}_and_grad")
        contenders.append(Contender(name, clock(partial(alone, x, target))))
        call = partial(both, x, target, grad_out=out)
        contenders.append(Contender(f"{name}_and_grad", clock(call)))
    contenders += peers.anchors(case)
    for peer in bench.peers:
        if not hasattr(peer, "cross_entropy"):
            continue
        for variant, call in peer.cross_entropy(x, target):
            contenders.append(Contender(f"{peer.name}{variant}", clock(call)))
    times = bench.race(contenders, f"losses {shape_name(shape)}")
    return Row("losses", shape, "float32", bench.tier, bench.threads, times, 0, case.elements)


#: What the activations without a default are timed with.
ACTIVATION_PARAMETERS: dict[str, tuple[Any, ...]] = {
    "relu_power": (3,),
    "swish": (1.5,),
    "fatrelu": (0.01,),
    "poly_relu": (np.full(3, 1 / 3, np.float32), 0.0),
    "poly_norm": (np.full(3, 1 / 3, np.float32), 0.0),
    "poly_norm_glu": (np.full(3, 1 / 3, np.float32), 0.0),
    # KAT's swish: one numerator, a denominator for each of 8 groups
    "rational": (
        np.array(
            [3.054879741161051e-07, 0.5000007853744493, 0.24999783422824703,
             0.05326628273219478, 0.005803034571292244, 0.0002751961022402342], np.float32,
        ),
        np.tile(
            np.array(
                [-4.111554955950634e-06, 0.10652899335007572, -1.2690007399796238e-06,
                 0.0005502331264140556], np.float32,
            ),
            (8, 1),
        ),
    ),
    "group_sort": (8,),
    "householder": (np.pi / 2,),
}  # fmt: skip


def time_activations(bench: Bench, shape: tuple[int, int], dtype: str) -> Row:
    """Time activations and their gradients beside a copy, and the peers' own.

    In float32 all of them; in 16-bit types those with a goal.
    """
    kind = peers.element_type(dtype)
    case = peers.make_case("softmax", kind, shape, bench.threads)
    x, out = case.x, case.out
    normal = (np.random.default_rng(i).standard_normal(shape, np.float32) for i in (1, 2))
    dy, up = (a.astype(kind, copy=False) for a in normal)
    contenders = []
    for op in lm.activations():
        name = op["name"]
        if dtype != "float32" and name not in goals.HALVED:
            continue
        parameters = ACTIVATION_PARAMETERS.get(name, ())
        arrays = (x, up)[: len(op["arrays"])]
        value, gradient = _activations.of_registry(name)
        call = partial(value, *arrays, *parameters, out=out)
        contenders.append(Contender(name, clock(call)))
        call = partial(gradient, dy, *arrays, *parameters, out=out)
        contenders.append(Contender(f"{name}_vjp", clock(call)))
    contenders += peers.anchors(case)
    for peer in bench.peers:
        if dtype != "float32" or not hasattr(peer, "activations"):
            continue
        for variant, offered in peer.activations(x, up, out):
            contenders.append(Contender(f"{peer.name} {variant}", clock(offered)))
    times = bench.race(contenders, f"activations {shape_name(shape)} {dtype}")
    return Row(
        "activations", shape, dtype, bench.tier, bench.threads, times, case.traffic,
        case.elements,
    )  # fmt: skip


def time_linear(bench: Bench, shape: tuple[int, int, int]) -> Row:
    """Time the loss of an output layer, with and without gradients, beside its product alone."""
    rows, depth, classes = shape
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((rows, depth), np.float32)
    weight = rng.standard_normal((classes, depth), np.float32) * np.float32(depth**-0.5)
    target = rng.integers(0, classes, rows)
    calls = {
        "linear_cross_entropy": partial(lm.linear_cross_entropy, hidden, weight, target),
        "linear_cross_entropy_and_grad": partial(
            lm.linear_cross_entropy_and_grad, hidden, weight, target
        ),
        "linear_logsumexp": partial(lm.linear_logsumexp, hidden, weight),
        "linear_topk, k = 10": partial(lm.linear_topk, hidden, weight, 10),
        "linear_topk of one row": partial(lm.linear_topk, hidden[:1], weight, 10),
    }
    contenders = [Contender(name, clock(call)) for name, call in calls.items()]
    for peer in bench.peers:
        if not hasattr(peer, "linear"):
            continue
        for variant, call in peer.linear(hidden, weight, target):
            contenders.append(Contender(f"{peer.name}{variant}", clock(call)))
    times = bench.race(contenders, f"linear {shape_name(shape)}")
    return Row("linear", shape, "float32", bench.tier, bench.threads, times)


class DenseLayer:
    """An output layer trained by gradient descent on softmax, with all logits."""

    def __init__(self, weight: Array, rows: int) -> None:
        self.weight = weight
        self._logits = np.empty((rows, len(weight)), weight.dtype)
        self._gradient = np.empty_like(weight)

    def step(self, hidden: Array, target: Array, lr: float) -> tuple[float, Array]:
        """Return the loss and its gradient by `hidden`, and move the weights."""
        z = np.matmul(hidden, self.weight.T, out=self._logits)
        loss, dz = lm.cross_entropy_and_grad(z, target, grad_out=z)
        dhidden: Array = dz @ self.weight
        gradient = np.matmul(dz.T, hidden, out=self._gradient)
        gradient *= np.float32(lr)
        self.weight -= gradient
        return float(loss), dhidden


def output_weights(classes: int, depth: int) -> Array:
    """Return weights of an output layer: a few random numbers for each class, repeated."""
    drawn = np.random.default_rng(0).standard_normal((classes, 16), np.float32)
    return np.resize(drawn * np.float32(depth**-0.5), (classes, depth))


def time_spherical(bench: Bench, shape: tuple[int, int]) -> Row:
    """Time a step of the factored layer for few and many classes, and a dense one."""
    rows, depth = shape
    rng = np.random.default_rng(1)
    hidden = rng.standard_normal((rows, depth), np.float32)
    contenders = []
    for name, classes in ((goals.FEW, 10**4), (goals.MANY, 10**6), (goals.PAPERS, 793_471)):
        layer = lm.SphericalOutput(output_weights(classes, depth), loss="z")
        target = rng.integers(0, 10**4, rows)
        contenders.append(Contender(name, clock(partial(layer.step, hidden, target, 1e-3))))
    dense = DenseLayer(output_weights(793_471, depth), rows)
    contenders.append(Contender(goals.DENSE, clock(partial(dense.step, hidden, target, 1e-3))))
    times = bench.race(contenders, f"factored layer {shape_name(shape)}")
    return Row("spherical", shape, "float32", bench.tier, bench.threads, times)


def time_fourier(bench: Bench, shape: tuple[int, int]) -> Row:
    """Time the loss and the logits of a Fourier head, a linear head, and the reference's way."""
    rows, frequencies = shape
    rng = np.random.default_rng(0)
    coef = rng.standard_normal((rows, 2 * (frequencies + 1)), np.float32)
    target = rng.integers(0, 4096, rows)
    hidden = rng.standard_normal((rows, 384), np.float32)
    weight = rng.standard_normal((4096, 384), np.float32)
    logits = np.empty((rows, 4096), np.float32)
    loss = lm.fourier_cross_entropy_and_grad
    calls: dict[str, Callable[[], object]] = {
        goals.BINNED: partial(loss, coef, target, 4096),
        goals.FINE: partial(loss, coef, target, 65_536),
        "the same with gamma": partial(loss, coef, target, 4096, gamma=1e-6),
        goals.LOGITS: partial(lm.fourier_log_bins, coef, 4096),
        "gradient through them": partial(lm.fourier_log_bins_vjp, logits, coef, 4096),
        goals.DENSE_HEAD: partial(np.matmul, hidden, weight.T, out=logits),
    }
    logits[...] = rng.standard_normal(logits.shape)
    contenders = [Contender(name, clock(call)) for name, call in calls.items()]
    for peer in bench.peers:
        if not hasattr(peer, "fourier"):
            continue
        for variant, call in peer.fourier(coef, target, 4096):
            contenders.append(Contender(f"{peer.name}{variant}", clock(call)))
    times = bench.race(contenders, f"Fourier head {shape_name(shape)}")
    return Row("fourier", shape, "float32", bench.tier, bench.threads, times)


def in_halves(
    pool: ThreadPoolExecutor, work: Callable[[Array, Array], object], x: Array, out: Array
) -> Callable[[], object]:
    """Return a call that does `work` on the two halves of flat arrays in two threads."""
    x, out = x.reshape(-1), out.reshape(-1)
    middle = x.size // 2
    parts = [(x[:middle], out[:middle]), (x[middle:], out[middle:])]

    def run() -> None:
        other = pool.submit(work, *parts[1])
        work(*parts[0])
        other.result()

    return run


def time_threads(bench: Bench, shape: tuple[int, int]) -> Row:
    """Time softmax with one and with two threads, and reading and copying with two."""
    case = peers.make_case("softmax", np.dtype(np.float32), shape, 2)
    call = dict(peers.ours(case))["out"]
    with ThreadPoolExecutor(1) as pool:
        contenders = [
            Contender("1 thread", clock(call), lambda: tier_and_threads(bench.tier, 1)),
            Contender("2 threads", clock(call), lambda: tier_and_threads(bench.tier, 2)),
            Contender(
                "read by 2 threads",
                clock(in_halves(pool, lambda x, out: x.max(), case.x, case.out)),
            ),
            Contender(
                "copy by 2 threads",
                clock(in_halves(pool, lambda x, out: np.copyto(out, x), case.x, case.out)),
            ),
        ]
        times = bench.race(contenders, f"threads {shape_name(shape)}")
    return Row("threads", shape, "float32", bench.tier, 2, times, case.traffic, case.elements)


# ------------------------------------------------------------------------------------- plan


@dataclass(frozen=True)
class Job:
    """One row to measure."""

    goals: tuple[Goal, ...]
    run: Callable[[Bench], Row]
    cpus: int


def jobs_of(args: argparse.Namespace, report: Report) -> list[Job]:
    """Return what the options ask for, in the order of the report."""
    found: list[Job] = []
    shapes = args.shape or [s for s in goals.SHAPES if args.full or s != goals.VERY_LONG]
    for operation in args.op:
        if operation in EXPERIMENTS:
            found += experiment(operation, args.threads, report)
            continue
        for name in args.dtype:
            try:
                dtype = peers.element_type(name)
            except Unavailable as error:
                report.skip(name, str(error))
                continue
            for shape in shapes:
                if too_large(operation, dtype, shape, report):
                    continue
                aims = (
                    ()
                    if name != "float32"
                    else tuple(
                        g for g in goals.FAMILY if (g.operation, g.shape) == (operation, shape)
                    )
                )

                def run(bench: Bench, o: str = operation, d: Any = dtype, s: Any = shape) -> Row:
                    return time_family(bench, o, d, s)

                found.append(Job(aims, run, args.threads))
    return found


def experiment(name: str, threads: int, report: Report) -> list[Job]:
    """Return the jobs of one experiment, a row per shape."""
    if name == "call":
        return [Job(goals.CALL, time_call, threads)]
    table: dict[str, tuple[tuple[Goal, ...], Callable[..., Row]]] = {
        "bytes": (goals.HALVES, time_bytes),
        "axis": (goals.AXIS, time_axis),
        "threads": (goals.THREADS, time_threads),
        "losses": (goals.LOSSES, time_losses),
        "activations": (goals.ACTIVATIONS, time_activations),
        "linear": (goals.LINEAR, time_linear),
        "spherical": (goals.SPHERICAL_STEPS, time_spherical),
        "fourier": (goals.FOURIER, time_fourier),
    }
    aims, measure = table[name]
    cpus = threads
    if name == "threads":
        cpus = 2
        if (machine.affinity() or os.cpu_count() or 1) < 2:
            report.skip("threads", "this process may use only one CPU")
            return []
    found = []
    for shape, dtype in dict.fromkeys((g.shape, g.dtype) for g in aims):
        run = partial(measure, shape=shape)
        if name == "activations":
            try:
                peers.element_type(dtype)
            except Unavailable as error:
                report.skip(dtype, str(error))
                continue
            run = partial(run, dtype=dtype)
        mine = tuple(g for g in aims if (g.shape, g.dtype) == (shape, dtype))
        found.append(Job(mine, run, cpus))
    return found


def too_large(operation: str, dtype: np.dtype[Any], shape: tuple[int, int], report: Report) -> bool:
    """Tell whether the arrays of a row would not fit into memory, peers' copies included."""
    free = machine.free_memory()
    need = 6 * math.prod(shape) * dtype.itemsize
    if free is None or need < free:
        return False
    report.skip(f"{operation} {shape_name(shape)} {dtype.name}", "not enough free memory")
    return True


# ------------------------------------------------------------------------------------- show


def ratio_text(s: Spread) -> str:
    """Return a median ratio with its quartiles."""
    return f"{s.median:.3g} [{s.low:.3g}, {s.high:.3g}]"


def show_family(rows: Sequence[Row], operation: str, tier: str) -> None:
    """Print the times of one function, and ours as a multiple of everyone's."""
    mine = [r for r in rows if (r.operation, r.tier) == (operation, tier)]
    if not mine:
        return
    others = [
        n for n in dict.fromkeys(n for r in mine for n in r.times.rounds) if n not in ("out", "new")
    ]
    # One column per contender; "out" stands against "out" and "new" against "new".
    heads = list(dict.fromkeys(n.removesuffix(" out").removesuffix(" new") for n in others))
    threads = mine[0].threads
    table = Table(
        f"{operation}, {tier}, {threads} thread{'s' * (threads != 1)}: our time, and as a multiple "
        "of the others' (below 1: lanemax is faster)",
        ["shape", "type", "into", ">time", ">ns/element", ">GB/s", *(f">/{h}" for h in heads)],
    )
    for row in mine:
        for variant in ("out", "new"):
            t = row.times.seconds(variant).median
            cells = []
            for head in heads:
                name = head if head in ("read", "copy") else f"{head} {variant}"
                cells.append(
                    f"{row.times.ratio(variant, name).median:.3g}" if name in row.times else ""
                )
            into = "out=" if variant == "out" else "a new array"
            table.add(
                shape_name(row.shape), row.dtype, into, seconds(t), f"{t / row.elements * 1e9:.3g}",
                f"{row.traffic / t * 1e-9:.3g}", *cells,
            )  # fmt: skip
    table.print()


EXPERIMENT_TITLES = {
    "call": "what a call costs, 10 elements",
    "bytes": "softmax of 16-bit types, as many elements",
    "axis": "softmax over axis 0, and over as many contiguous rows",
    "threads": "softmax with two threads",
    "losses": "losses, alone and with their gradients",
    "activations": "activations and their gradients",
    "linear": "output layers: rows x features x classes",
    "spherical": "steps of the factored output layer: rows x features",
    "fourier": "Fourier heads: rows x frequencies",
}


def show_experiment(rows: Sequence[Row], name: str, tier: str) -> None:
    """Print the times of one experiment."""
    mine = [r for r in rows if (r.operation, r.tier) == (name, tier)]
    if not mine:
        return
    table = Table(
        f"{EXPERIMENT_TITLES[name]} ({tier})",
        ["shape", "type", "what", ">time", ">quartiles", ">GB/s"],
    )
    for row in mine:
        for contender in row.times.rounds:
            s = row.times.seconds(contender)
            rate = f"{row.traffic / s.median * 1e-9:.3g}" if row.traffic else ""
            if contender.startswith("read") and row.traffic:
                rate = f"{row.traffic / 2 / s.median * 1e-9:.3g}"
            table.add(
                shape_name(row.shape), row.dtype, contender, seconds(s.median),
                f"{seconds(s.low)} .. {seconds(s.high)}", rate,
            )  # fmt: skip
        table.section()
    table.print()


def show_goals(verdicts: Sequence[Verdict]) -> None:
    """Print every goal beside what was measured."""
    if not verdicts:
        return
    table = Table(
        "goals: our time as a multiple of another's, median [quartiles]",
        ["what", "shape", "tier", "against", ">measured", ">goal", "verdict"],
    )
    for v in verdicts:
        g = v.goal
        against = " + ".join(g.against) or "the clock"
        if g.against:
            measured = ratio_text(v.measured) if v.measured else "-"
            limit = "-" if v.limit is None else f"<= {v.limit:.3g}"
        else:
            measured = seconds(v.measured.median) if v.measured else "-"
            limit = f"<= {seconds(g.ratio)}"
        what = f"{g.operation}, {g.ours}" + f", {g.dtype}" * (g.dtype != "float32")
        style = "red" if v.word == "MISSED" else "dim" if v.measured is None else ""
        table.add(what, shape_name(g.shape), v.tier, against, measured, limit, v.word, style=style)
    table.print()
    for text in dict.fromkeys(v.goal.note for v in verdicts if v.goal.note == goals.COPY_NOTE):
        print(f"read + copy: {text}.")
    for what, limit, where in goals.ELSEWHERE:
        print(f"Not measured here: {what} ({limit}): see {where}.")
    words = [v.word for v in verdicts]
    met, missed = words.count("met"), words.count("MISSED")
    print(f"goals: {met} met, {missed} MISSED, {len(words) - met - missed} not measured")


def machine_line(args: argparse.Namespace) -> str:
    """Return where and with what the figures were taken."""
    caches = ", ".join(f"{n} {b // 1024} KiB" for n, b in machine.caches())
    return (
        f"{machine.cpu_name()} ({caches or 'caches unknown'}), {machine.system()}, "
        f"lanemax {lm.__version__}, NumPy {np.__version__}"
    )


def as_json(args: argparse.Namespace, report: Report, verdicts: Sequence[Verdict]) -> Any:
    """Return all figures for a program to read."""

    def plain(s: Spread | None) -> Any:
        return None if s is None else {"median": s.median, "low": s.low, "high": s.high}

    return {
        "machine": info.gather(),
        "peers": {p.name: info.distribution(p.name) for p in peers.PEERS},
        "threads": args.threads,
        "load": machine.load(),
        "skipped": report.skipped,
        "rows": [
            {
                "operation": r.operation,
                "shape": list(r.shape),
                "dtype": r.dtype,
                "tier": r.tier,
                "threads": r.threads,
                "bytes": r.traffic,
                "seconds": {n: plain(r.times.seconds(n)) for n in r.times.rounds},
                "rounds": r.times.rounds,
            }
            for r in report.rows
        ],
        "goals": [
            {
                "operation": v.goal.operation,
                "shape": list(v.goal.shape),
                "ours": v.goal.ours,
                "against": list(v.goal.against),
                "dtype": v.goal.dtype,
                "tier": v.tier,
                "goal": v.limit,
                "measured": plain(v.measured),
                "verdict": v.word,
            }
            for v in verdicts
        ],
    }


# ---------------------------------------------------------------------------------- command


def load_peers(names: Sequence[str], threads: int, report: Report) -> tuple[Any, ...]:
    """Return the peers among `names` that are installed."""
    found = []
    for peer in peers.PEERS:
        if peer.name not in names:
            report.skipped[peer.name] = "not asked for"
            continue
        try:
            peer.load(threads)
            found.append(peer)
        except Unavailable as error:
            report.skip(peer.name, str(error))
    return tuple(found)


def measure(args: argparse.Namespace, tiers: Sequence[str], report: Report) -> list[Verdict]:
    """Run everything that was asked for."""
    verdicts: list[Verdict] = []
    with ExitStack() as stack:
        # Peers size their pools when they load, by the CPUs they see then.
        with machine.pinned(args.threads) as worked:
            if not worked:
                note("note: CPUs cannot be assigned on this system; peers choose their threads")
            loaded = load_peers(args.peers, args.threads, report)
        # NumPy's products have sized theirs long ago.
        control = optional("threadpoolctl")
        if control is not None:
            stack.enter_context(control.threadpool_limits(limits=args.threads, user_api="blas"))
        else:
            note(
                "note: threadpoolctl is not installed; NumPy's matrix products may use more "
                f"threads than the others. {EXTRA_HINT} adds it."
            )
        jobs = jobs_of(args, report)
        bar = stack.enter_context(progress("measuring", len(jobs) * len(tiers)))
        for tier in tiers:
            bench = Bench(tier, args.threads, args.seconds, loaded, report, bar)
            for job in jobs:
                with machine.pinned(job.cpus), tier_and_threads(tier, args.threads):
                    row = job.run(bench)
                report.rows.append(row)
                verdicts += [judge(goal, row, tier, report) for goal in job.goals]
                bar.advance(1)
    return verdicts


def chosen_tiers(names: Sequence[str]) -> list[str]:
    """Return the tiers to time, checked."""
    available = lm.available_isas()
    for name in names:
        if name.lower() not in available and name != "all":
            why = machine.why_not(name.lower(), tuple(available))
            raise UsageError(f"--isa {name}: {why}; available: {', '.join(available)}")
    if "all" in names:
        return list(available)
    return [n.lower() for n in names] or [lm.isa()]


def require_cpus(threads: int) -> None:
    """Refuse more threads than would run beside each other."""
    cpus = machine.affinity() or os.cpu_count() or 1
    if not 1 <= threads <= cpus:
        raise UsageError(f"--threads {threads}: this process may use {cpus} CPUs")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write JSON and plot."""
    require_cpus(args.threads)
    tiers = chosen_tiers(args.isa)
    if args.plot:
        plot.require("--plot", args.plot)
    if args.json and not os.path.isdir(os.path.dirname(os.path.abspath(args.json))):
        raise UsageError(f"cannot write {args.json}: no such directory")
    note_missing_rich()
    start, before = time.monotonic(), machine.load()
    report = Report()
    verdicts = measure(args, tiers, report)
    took = time.monotonic() - start
    if args.json:
        try:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump(as_json(args, report, verdicts), file, indent=1)
                file.write("\n")
        except OSError as error:
            raise UsageError(f"cannot write {args.json}: {error.strerror}") from None
    if args.plot:
        plot.benchmark(args.plot, report.rows, machine_line(args))
        note(f"wrote {args.plot}")
    for tier in tiers:
        for operation in dict.fromkeys(args.op):
            if operation in EXPERIMENTS:
                show_experiment(report.rows, operation, tier)
            else:
                show_family(report.rows, operation, tier)
    show_goals(verdicts)
    versions = ", ".join(
        f"{p.name} {info.distribution(p.name)}"
        for p in peers.PEERS
        if p.name not in report.skipped and p.name != "numpy"
    )
    print(f"machine: {machine_line(args)}")
    print(f"peers: {versions or 'none but NumPy'}")
    if before is not None and before > 0.5:
        print(
            f"disturbed: {before:.1f} processes were running on average in the minute before; "
            "ratios suffer less from that than times"
        )
    print(f"measured in {took:.0f} s")
    return 0
