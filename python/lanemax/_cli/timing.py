# SPDX-License-Identifier: Apache-2.0
"""Time several ways of doing the same against each other, fairly on a machine that is not quiet.

All contenders are warmed up, then run in rounds, each once per round in an order shuffled anew.
Ratios are taken within a round, so that what disturbs the machine for a while disturbs both
sides; the median over the rounds is reported with its quartiles.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Seconds of `n` calls.
Clock: TypeAlias = Callable[[int], float]

#: In place of a contender's name: the fastest of the peers that return a new array.
FASTEST = "any peer new"

#: The same among the libraries' matrix products.
PRODUCT = "any product"
_GROUPS = {FASTEST: " new", PRODUCT: " product"}

MOST_ROUNDS = 31
LEAST_ROUNDS = 5

#: A sample shorter than this would measure the clock and the scheduler.
SAMPLE_SECONDS = 0.004

#: A run that takes longer does not feel what was in the caches before, nor that threads start.
LONG_SECONDS = 0.1


def clock(call: Callable[[], object]) -> Clock:
    """Return a clock for calls without arguments."""

    def run(n: int) -> float:
        repeats = range(n)
        start = time.perf_counter()
        for _ in repeats:
            call()
        return time.perf_counter() - start

    return run


@dataclass(frozen=True)
class Contender:
    """One way of doing it.

    Attributes
    ----------
    name : str
        Who, and into what: ``"torch out"`` writes into an array that is kept, ``"torch new"``
        returns a new one.
    clock : callable
        Times a number of calls.
    inside : callable
        Makes a context that each sample runs in, untimed: a tier or a number of threads.
    """

    name: str
    clock: Clock
    inside: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of `values`."""
    ordered = sorted(values)
    n = len(ordered)
    return Spread(statistics.median(ordered), ordered[n // 4], ordered[n - 1 - n // 4])


@dataclass(frozen=True)
class Times:
    """Seconds per call, by contender and round."""

    rounds: dict[str, list[float]]

    def __contains__(self, name: str) -> bool:
        return bool(self.group(name)) if name in _GROUPS else name in self.rounds

    def seconds(self, name: str) -> Spread:
        """Return how long a call takes."""
        return spread(self.rounds[name])

    def ratio(self, ours: str, *theirs: str) -> Spread:
        """Return our time over the sum of theirs, compared round by round.

        `FASTEST` stands for whichever peer that allocates its result is fastest in the round,
        `PRODUCT` for the fastest matrix product.
        """
        columns = [self.fastest(t) if t in _GROUPS else self.rounds[t] for t in theirs]
        sums = map(sum, zip(*columns, strict=True))
        return spread([a / b for a, b in zip(self.rounds[ours], sums, strict=True)])

    def group(self, name: str) -> list[str]:
        """Return the contenders that `FASTEST` or `PRODUCT` chooses from."""
        return [n for n in self.rounds if n.endswith(_GROUPS[name])]

    def fastest(self, name: str) -> list[float]:
        """Return the shortest time of those, by round."""
        return [min(r) for r in zip(*(self.rounds[n] for n in self.group(name)), strict=True)]


@dataclass(frozen=True)
class Row:
    """The times of one operation on one shape."""

    operation: str
    shape: tuple[int, ...]
    dtype: str
    tier: str
    threads: int
    times: Times
    traffic: int = 0
    elements: int = 0


def race(
    contenders: Sequence[Contender], budget: float, told: Callable[[str], None] = lambda name: None
) -> Times:
    """Time `contenders` against each other for about `budget` seconds.

    Parameters
    ----------
    contenders : sequence of Contender
        With different names.
    budget : float
        Seconds; exceeded where `LEAST_ROUNDS` rounds take longer.
    told : callable
        Called with a contender's name before it is first run, then before every round.
    """
    repeats: dict[str, int] = {}
    long: set[str] = set()
    for c in contenders:
        told(c.name)
        with c.inside():
            c.clock(1)  # touches memory, starts threads, compiles
            once = max(c.clock(1), 1e-8)
            if once < SAMPLE_SECONDS / 10:
                few = int(SAMPLE_SECONDS / 5 / once)
                once = max(c.clock(few) / few, 1e-9)
        repeats[c.name] = max(1, int(SAMPLE_SECONDS / once))
        if once > LONG_SECONDS:
            long.add(c.name)
    rounds: dict[str, list[float]] = {c.name: [] for c in contenders}
    start = time.perf_counter()
    for turn in range(MOST_ROUNDS):
        if turn >= LEAST_ROUNDS and time.perf_counter() - start > budget:
            break
        told(f"round {turn + 1}")
        order = list(contenders)
        random.Random(turn).shuffle(order)
        for c in order:
            n = repeats[c.name]
            with c.inside():
                if n > 1 or (c.inside is not nullcontext and c.name not in long):
                    # Brings back what the one before has evicted, and starts fresh threads.
                    c.clock(1)
                rounds[c.name].append(c.clock(n) / n)
    return Times(rounds)
