# SPDX-License-Identifier: Apache-2.0
"""``check``: every function on this machine, against exact results and across tiers and threads."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lanemax as lm

from .._core import context
from . import functions, heads, info, layers, machine, oracle, specials
from .functions import Arguments, Function, Limit
from .oracle import Array
from .text import Progress, Table, UsageError, note, optional, progress

SUMMARY = "verify every function on this machine"
DESCRIPTION = """\
Verify every function on this machine, in under a minute: results against exact arithmetic in
units in the last place (ULP), the same bits from every instruction set tier, any number of
threads and any memory layout, and the promised results for infinities, NaN, masks, empty
arrays and bad arguments. The exit status is 1 if anything fails."""
EXAMPLES = """\
examples:
  python -m lanemax check
  python -m lanemax check --quick --json check.json
  python -m lanemax check --only logsumexp --dtype float64"""

#: Row lengths around every vector width, unroll and block boundary that a kernel may have.
LENGTHS = (
    1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 257,
    511, 513, 1000, 1023, 1025, 2049, 4097,
)  # fmt: skip

#: Rows x columns that are large enough for threads, streaming stores and chunk merging.
LARGE = ((64, 3001), (3, 16385), (1, 100_003))
VERY_LARGE = ((129, 1024), (1, 1_200_007))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--quick", action="store_true", help="a tenth of the inputs, in seconds")
    parser.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        default=[],
        help="check only functions whose name contains one of these",
    )
    parser.add_argument(
        "--dtype",
        metavar="TYPE",
        nargs="+",
        default=[],
        choices=sorted(oracle.FORMATS),
        help="check only these of float32 float64 float16 bfloat16",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the report to FILE as JSON")


# ----------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class Sample:
    """Logits of one kind and shape."""

    kind: str
    x: Array


def _kinds(dtype: np.dtype[Any]) -> dict[str, Callable[[np.random.Generator, int, int], Array]]:
    """Return generators of logits, (rows, columns) in float64, that go for different weak spots."""
    big = 6e4 if dtype == np.float16 else float(np.finfo(np.float32).max) ** 0.9
    deepest, edge = (-745.0, -708.0) if dtype == np.float64 else (-103.9, -87.0)
    if dtype == np.float64:
        big = float(np.finfo(np.float64).max) ** 0.9

    def peak(rng: np.random.Generator, x: Array, height: float) -> Array:
        x[np.arange(len(x)), rng.integers(0, x.shape[1], len(x))] = height
        return x

    def masked(rng: np.random.Generator, x: Array) -> Array:
        lost = rng.random(x.shape) < 0.5
        lost[np.arange(len(x)), rng.integers(0, x.shape[1], len(x))] = False
        x[lost] = -np.inf
        return x

    return {
        "N(0,1)": lambda rng, r, c: rng.standard_normal((r, c)),
        "N(0,10)": lambda rng, r, c: rng.standard_normal((r, c)) * 10,
        "U(-88,0)": lambda rng, r, c: rng.uniform(-88, 0, (r, c)),
        "1000+U(-110,0)": lambda rng, r, c: 1000 + rng.uniform(-110, 0, (r, c)),
        "constant": lambda rng, r, c: np.repeat(rng.uniform(-20, 20, (r, 1)), c, axis=1),
        "one 30 above": lambda rng, r, c: peak(rng, rng.standard_normal((r, c)), 30),
        "half -inf": lambda rng, r, c: masked(rng, rng.standard_normal((r, c)) * 3),
        "subnormal results": lambda rng, r, c: peak(rng, rng.uniform(deepest, edge, (r, c)), 0),
        "huge": lambda rng, r, c: rng.uniform(-big, big, (r, c)),
        "tiny": lambda rng, r, c: rng.uniform(-1e-30, 1e-30, (r, c)),
    }


def samples(dtype: np.dtype[Any], quick: bool) -> list[Sample]:
    """Return the logits that every function is checked on, the same in every run."""
    rng = np.random.default_rng(20200114)
    found = []
    kinds = _kinds(dtype)
    for k, (kind, make) in enumerate(kinds.items()):
        # Each kind takes every fifth length, so that each length meets several kinds.
        lengths = LENGTHS[k % 5 :: 10 if quick else 5]
        shapes = [(max(3, 2000 // n), n) for n in lengths]
        if not quick:
            shapes += LARGE if k in (1, 4, 6) else LARGE[k % 3 :: 3]
            shapes += VERY_LARGE if k == 1 and dtype == np.float32 else ()
        elif k == 1:
            shapes += LARGE
        for rows, cols in shapes:
            found.append(Sample(kind, make(rng, rows, cols).astype(dtype)))
    return found


# ----------------------------------------------------------------------------------- report


@dataclass
class Finding:
    """One row of the table."""

    function: str
    dtype: str
    bound: str
    worst: float = 0.0
    unit: str = ""
    where: str = ""
    elements: int = 0
    counted: bool = True  # False for a second bound on the same results
    ok: bool = True
    problems: list[str] = field(default_factory=list)

    def fail(self, problem: str) -> None:
        """Record what went wrong; the first few are shown."""
        self.ok = False
        self.problems.append(problem)


def element_types(names: Sequence[str]) -> list[np.dtype[Any]]:
    """Return the element types to check; bfloat16 only where ml_dtypes is installed."""
    found = [np.dtype(t) for t in (np.float32, np.float64, np.float16)]
    ml_dtypes = optional("ml_dtypes")
    if ml_dtypes is not None:
        found.append(np.dtype(ml_dtypes.bfloat16))
    chosen = [d for d in found if not names or d.name in names]
    if not chosen:
        raise UsageError("bfloat16 needs ml_dtypes, which is not installed")
    return chosen


def thread_counts() -> list[int]:
    """Return one, two, and what the library uses by default."""
    return sorted({1, 2, lm.get_num_threads()})


def describe(sample: Sample, result: Array, index: int) -> str:
    """Say where in a sample the flat element `index` of the result stands."""
    rows, cols = sample.x.shape
    at = np.unravel_index(index, result.shape)
    place = f"[{', '.join(str(int(i)) for i in at)}]"
    return f"{sample.kind}, {rows} x {cols} {place}"


def widened(arguments: Arguments, dtype: np.dtype[Any], to: type[np.generic]) -> dict[str, Array]:
    """Return the arguments with arrays of the element type under test converted to `to`."""
    return {k: v.astype(to) if v.dtype == dtype else v for k, v in arguments.items()}


def layouts(function: Function, arguments: Arguments) -> dict[str, Callable[[], Array]]:
    """Return calls that must give the bits of the plain call, by name."""

    def columns() -> Array:
        turned = {k: np.ascontiguousarray(v.T) for k, v in arguments.items()}
        result = function.call(turned, 0, None)
        return np.ascontiguousarray(result.T)

    def strided() -> Array:
        wide = {k: np.repeat(v, 2, axis=-1)[:, ::2] for k, v in arguments.items()}
        return function.call(wide, -1, None)

    def offset() -> Array:
        moved = {}
        for k, v in arguments.items():
            room = np.empty(v.size + 1, v.dtype)
            moved[k] = room[1:].reshape(v.shape)
            moved[k][...] = v
        return function.call(moved, -1, None)

    def in_place() -> Array:
        target = arguments[function.in_place].copy()
        result = function.call({**arguments, function.in_place: target}, -1, target)
        if result is not target:
            raise AssertionError("out= was not returned")
        return target

    calls = {"axis 0": columns, "strided": strided, "unaligned": offset}
    if function.in_place:
        calls["in place"] = in_place
    return calls


def check_bits(
    function: Function,
    cases: Sequence[Sample],
    arguments: Sequence[Arguments],
    results: Sequence[Array],
    finding: Finding,
) -> None:
    """Compare the bits of every tier, thread count and layout with `results`."""
    for tier in lm.available_isas():
        for threads in thread_counts():
            with context.using_isa(tier), lm.num_threads(threads):
                for sample, a, want in zip(cases, arguments, results, strict=True):
                    got = function.call(a, -1, None)
                    if got.tobytes() != want.tobytes():
                        where = describe(sample, want, first_difference(got, want))
                        finding.fail(f"{tier} with {threads} threads differs in bits at {where}")
                        break
    for sample, a, want in zip(cases, arguments, results, strict=True):
        for name, call in layouts(function, a).items():
            got = call()
            if got.tobytes() != want.tobytes():
                where = describe(sample, want, first_difference(got, want))
                finding.fail(f"{name} differs in bits at {where}")


def first_difference(a: Array, b: Array) -> int:
    """Return the flat index of the first element whose bits differ."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return 0
    raw = f"u{a.dtype.itemsize}"
    differ = a.reshape(-1).view(raw) != b.reshape(-1).view(raw)
    return int(differ.argmax())


def check_function(
    function: Function, dtype: np.dtype[Any], cases: Sequence[Sample]
) -> list[Finding]:
    """Return one finding per bound of `function` for arrays of `dtype`."""
    rng = np.random.default_rng(7)
    best = lm.available_isas()[0]
    with context.using_isa(best), lm.num_threads(1):
        arguments = [function.prepare(s.x, rng) for s in cases]
        results = [function.call(a, -1, None) for a in arguments]
    if dtype.itemsize == 2:
        findings = [check_rounding(function, dtype, cases, arguments, results)]
    else:
        findings = check_limits(function, dtype, cases, arguments, results)
    check_bits(function, cases, arguments, results, findings[0])
    return findings


def check_rounding(
    function: Function,
    dtype: np.dtype[Any],
    cases: Sequence[Sample],
    arguments: Sequence[Arguments],
    results: Sequence[Array],
) -> Finding:
    """Compare 16-bit results with those of float32, rounded to the type."""
    finding = Finding(function.name, dtype.name, "float32, rounded once", unit="differ")
    for sample, a, got in zip(cases, arguments, results, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            want = function.call(widened(a, dtype, np.float32), -1, None).astype(got.dtype)
        finding.elements += got.size
        if got.tobytes() == want.tobytes():
            continue
        raw = f"u{got.dtype.itemsize}"
        differ = np.count_nonzero(got.reshape(-1).view(raw) != want.reshape(-1).view(raw))
        finding.worst += float(differ)
        finding.where = finding.where or describe(sample, got, first_difference(got, want))
        finding.ok = False
    return finding


def check_limits(
    function: Function,
    dtype: np.dtype[Any],
    cases: Sequence[Sample],
    arguments: Sequence[Arguments],
    results: Sequence[Array],
) -> list[Finding]:
    """Compare results with exact ones, in the units of the function's bounds."""
    form = oracle.FORMATS[dtype.name]
    arithmetic: oracle.Arithmetic = (
        oracle.DoubleDouble() if dtype == np.float64 else oracle.Double()
    )
    near = functions.near_zero(form)
    findings = [
        Finding(
            function.name, dtype.name, limit.text.format(near=near), unit=limit.unit, counted=i == 0
        )
        for i, limit in enumerate(function.limits)
    ]
    for sample, a, got in zip(cases, arguments, results, strict=True):
        with np.errstate(all="ignore"):
            expected = function.expected(widened(a, dtype, np.float64), arithmetic)
            if expected is None:
                findings[0].elements += got.size
                continue
            for limit, finding in zip(function.limits, findings, strict=True):
                judge(limit, finding, sample, got, limit.errors(got, expected, form))
    return findings


def judge(limit: Limit, finding: Finding, sample: Sample, got: Array, errors: Array) -> None:
    """Enter the largest of `errors` into `finding`."""
    finding.elements += errors.size
    if not errors.size:
        return
    errors = np.where(np.isnan(errors), np.inf, errors)
    index = int(errors.argmax())
    worst = float(errors.reshape(-1)[index])
    if worst > finding.worst or not finding.where:
        finding.worst = worst
        finding.where = describe(sample, got, index) if worst > 0 else ""
    if not worst <= limit.most:
        finding.ok = False


def check_specials(dtype: np.dtype[Any], wanted: Callable[[str], bool]) -> Finding:
    """Return how many promised special results hold, in every tier."""
    finding = Finding("special values", dtype.name, "exact", unit="wrong")
    for tier in lm.available_isas():
        with context.using_isa(tier):
            for name, holds in specials.promises(dtype):
                if not wanted(name):
                    continue
                finding.elements += 1
                try:
                    fine = holds()
                except Exception as error:  # whatever it is, the promise is broken
                    fine = False
                    name = f"{name}: {type(error).__name__}: {error}"
                if not fine:
                    finding.worst += 1
                    finding.where = finding.where or name
                    finding.fail(f"{tier}: {name}")
    return finding


def check_layer(layer: layers.Layer, dtype: np.dtype[Any]) -> Finding:
    """Compare a layer with its formula, and its bits on every tier and thread count."""
    finding = Finding(layer.name, dtype.name, layer.bound, unit="of it")
    given = layers.operands(dtype)
    with context.using_isa(lm.available_isas()[0]), lm.num_threads(1):
        want = layer.run(given)
    finding.elements = sum(a.size for a in want)
    finding.worst = layer.error(given, want)
    finding.ok = finding.worst <= 1
    for tier in lm.available_isas():
        for threads in thread_counts():
            with context.using_isa(tier), lm.num_threads(threads):
                got = layer.run(given)
            if any(a.tobytes() != b.tobytes() for a, b in zip(got, want, strict=True)):
                finding.fail(f"{tier} with {threads} threads differs in bits")
    return finding


# ---------------------------------------------------------------------------------- command

#: What is checked beside functions of rows.
LAYERS = (*layers.LAYERS, *heads.HEADS)


def verify(
    chosen: Sequence[Function],
    types: Sequence[np.dtype[Any]],
    quick: bool,
    wanted: Callable[[str], bool],
    bar: Progress,
) -> list[Finding]:
    """Check `chosen` for all `types`, telling `bar` after each."""
    findings: list[Finding] = []
    for dtype in types:
        cases = samples(dtype, quick)
        for function in chosen:
            bar.advance(0, f"{function.name} {dtype.name}")
            findings += check_function(function, dtype, cases[:: function.every])
            bar.advance(1)
        for layer in LAYERS:
            if dtype.name in layer.types and wanted(layer.name):
                findings.append(check_layer(layer, dtype))
        special = check_specials(dtype, wanted)
        if special.elements:
            findings.append(special)
    return findings


def show(findings: Sequence[Finding]) -> None:
    """Print the table of findings."""
    title = f"lanemax {lm.__version__} on {machine.cpu_name()}"
    table = Table(title, ["function", "type", "bound", ">worst", "found at", "result"])
    for i, f in enumerate(findings):
        if not math.isfinite(f.worst):
            worst = "not a number"
        elif f.unit in ("differ", "wrong"):
            worst = f"{f.worst:.0f} {f.unit}"
        else:
            worst = f"{f.worst:.2f} {f.unit}" if f.worst < 1e4 else f"{f.worst:.3g} {f.unit}"
        result = "ok" if f.ok else "FAIL"
        table.add(f.function, f.dtype, f.bound, worst, f.where, result, style="" if f.ok else "red")
        if i + 1 < len(findings) and findings[i + 1].dtype != f.dtype:
            table.section()
    table.print()


def run(args: argparse.Namespace) -> int:
    """Check, print the table, and return 1 if anything failed."""
    start = time.monotonic()

    def wanted(name: str) -> bool:
        return not args.only or any(o in name for o in args.only)

    chosen = [f for f in functions.FUNCTIONS if wanted(f.name)]
    if not chosen and not any(wanted(layer.name) for layer in LAYERS):
        names = ", ".join([f.name for f in functions.FUNCTIONS] + [layer.name for layer in LAYERS])
        raise UsageError(f"no function matches {' '.join(args.only)}; there are {names}")
    types = element_types(args.dtype)
    if not args.dtype and len(types) < len(oracle.FORMATS):
        note("note: bfloat16 is not checked: ml_dtypes is not installed")
    report: AbstractContextManager[Any] = nullcontext()
    if args.json:
        try:
            report = open(args.json, "w", encoding="utf-8")  # noqa: SIM115 (entered below)
        except OSError as error:
            raise UsageError(f"cannot write {args.json}: {error.strerror}") from None
    with report as file:
        with progress("checking", max(1, len(chosen) * len(types))) as bar:
            findings = verify(chosen, types, args.quick, wanted, bar)
        show(findings)
        failed = [f for f in findings if not f.ok]
        for f in failed:
            for problem in f.problems[:3]:
                print(f"FAIL {f.function} {f.dtype}: {problem}")
        tiers = ", ".join(lm.available_isas())
        threads = " and ".join(str(n) for n in thread_counts())
        elements = sum(f.elements for f in findings if f.counted)
        differ = any("differs in bits" in problem for f in failed for problem in f.problems)
        bits = "differ in bits (see above)" if differ else "have the same bits"
        print(f"Tiers {tiers}, {threads} threads, and strided, unaligned, transposed and in-place")
        print(f"arrays {bits}. {elements:,} results were compared with exact ones.")
        print(f"{len(findings) - len(failed)} of {len(findings)} rows ok", end="")
        print(f" in {time.monotonic() - start:.0f} s")
        if file is not None:
            rows = [vars(f) for f in findings]
            json.dump({"machine": info.gather(), "ok": not failed, "rows": rows}, file, indent=1)
            file.write("\n")
    return 1 if failed else 0
