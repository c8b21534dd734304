# SPDX-License-Identifier: Apache-2.0
"""Shared by the benchmarks: the cases, their data, and the clock.

A test that takes ``case`` runs for every shape, element type, tier and number of threads; one
marked ``peer`` runs for every shape and element type.  Both time through ``measure``, which also
times a copy of the same array, so that a table from any machine says how far from the memory a
function is.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lanemax as lm
import numpy as np
import pytest
from lanemax._core import context

SHAPES = {
    "64x10": (64, 10),
    "64x1000": (64, 1000),
    "64x32000": (64, 32000),
    "8x128256": (8, 128256),
    "1x1e6": (1, 1_000_000),
}
DTYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": None}
THREADS = (1, 2)


@dataclass(frozen=True)
class Case:
    shape: str
    dtype: str
    isa: str | None = None  # None: a peer
    threads: int = 1

    def __str__(self) -> str:
        name = f"{self.dtype}-{self.shape}"
        return name if self.isa is None else f"{name}-{self.isa}-{self.threads}"

    def normal(self, seed: int) -> np.ndarray:
        """Logits of standard deviation 3 in the shape and element type of the case."""
        dtype = DTYPES[self.dtype]
        if dtype is None:
            dtype = pytest.importorskip("ml_dtypes").bfloat16
        rng = np.random.default_rng(seed)
        return (3 * rng.standard_normal(SHAPES[self.shape], dtype=np.float32)).astype(dtype)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peer: times something else than lanemax")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    inputs = [Case(shape, dtype) for dtype in DTYPES for shape in SHAPES]
    if metafunc.definition.get_closest_marker("peer"):
        cases = inputs
    else:
        cases = [
            Case(c.shape, c.dtype, isa, threads)
            for c in inputs
            for isa in lm.available_isas()
            for threads in THREADS
        ]
    metafunc.parametrize("case", cases, ids=str)


@pytest.fixture
def x(case: Case) -> np.ndarray:
    return case.normal(seed=1)


@pytest.fixture
def dy(case: Case) -> np.ndarray:
    return case.normal(seed=2)


def seconds(call: Callable[[], object]) -> float:
    """Median time of a call, over batches of at least a millisecond."""
    batch, samples = 1, []
    while len(samples) < 15:
        began = time.perf_counter()
        for _ in range(batch):
            call()
        elapsed = time.perf_counter() - began
        if elapsed < 1e-3 and batch < 1_000_000:
            batch *= 2
        else:
            samples.append(elapsed / batch)
    return statistics.median(samples)


@pytest.fixture
def measure(
    request: pytest.FixtureRequest, benchmark: Any, case: Case, x: np.ndarray
) -> Iterator[Callable[..., None]]:
    """``measure(call, moved=ARRAYS)`` times the call and says what it moved, in arrays like x."""
    if case.threads > (os.cpu_count() or 1):
        pytest.skip(f"{case.threads} threads want as many CPUs")
    function = request.module.__name__.removeprefix("test_bench_")
    benchmark.group = f"{function} {case.dtype} {case.shape}"

    def run(call: Callable[[], object], *, moved: float) -> None:
        copy = np.empty_like(x)

        def copy_once() -> None:
            np.copyto(copy, x)

        before = seconds(copy_once)
        if case.isa is None:
            with np.errstate(all="ignore"):
                benchmark(call)
        else:
            with context.using_isa(case.isa), lm.num_threads(case.threads):
                benchmark(call)
        if benchmark.stats is None:  # --benchmark-disable
            return
        copied = statistics.mean([before, seconds(copy_once)])
        median = benchmark.stats["median"]
        benchmark.extra_info.update(
            isa=case.isa or "peer",
            threads=case.threads,
            dtype=case.dtype,
            shape=list(x.shape),
            gb_per_s=round(moved * x.nbytes / median / 1e9, 2),
            ns_per_element=round(median / x.size * 1e9, 4),
            time_over_copy=round(median / copied, 3),
        )

    yield run
