# SPDX-License-Identifier: Apache-2.0
"""What moves the demo's parameters: Adam, and matrix products on all CPUs."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np

from .corpus import Ids
from .objective import Floats
from .text import optional


class Workers:
    """Matrix products and element-wise work on all CPUs, with results that no thread count changes.

    A BLAS may add in another order with another number of threads. So each product is cut into
    the same blocks always, each block is computed by a BLAS that is held to one thread, and the
    threads that run the blocks are ours.
    """

    BLOCKS = 16

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        #: False where the BLAS cannot be held to one thread: the last digits may then vary.
        self.reproducible = False

    def __enter__(self) -> Workers:
        control = optional("threadpoolctl")
        if control is not None:
            self._stack.enter_context(control.threadpool_limits(limits=1, user_api="blas"))
            self.reproducible = True
            count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            self._pool = self._stack.enter_context(
                ThreadPoolExecutor(min(self.BLOCKS, count or os.cpu_count() or 1))
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def each(self, length: int, work: Callable[[slice], object]) -> None:
        """Call `work` for sixteen slices of range(length), on all threads."""
        edges = [length * i // self.BLOCKS for i in range(self.BLOCKS + 1)]
        slices = [slice(a, b) for a, b in pairwise(edges) if b > a]
        if self._pool is None:
            for s in slices:
                work(s)
        else:
            for _ in self._pool.map(work, slices):
                pass

    def product(self, a: Floats, b: Floats, out: Floats) -> Floats:
        """Return a @ b in `out`, cut along the longer of the rows of a and the columns of b."""
        if a.shape[0] >= b.shape[1]:
            self.each(a.shape[0], lambda s: np.matmul(a[s], b, out=out[s]))
        else:
            self.each(b.shape[1], lambda s: np.matmul(a, b[:, s], out=out[:, s]))
        return out


class Adam:
    """Adam (Kingma and Ba 2015) for one parameter, on all of it or on some of its rows."""

    BETA1, BETA2, EPS = 0.9, 0.98, 1e-8

    def __init__(self, value: Floats, workers: Workers) -> None:
        self.value = value
        self._m, self._v = np.zeros_like(value), np.zeros_like(value)
        self._workers = workers
        self._steps = 0

    def _correction(self, rate: float) -> Any:
        self._steps += 1
        scale = np.sqrt(1.0 - self.BETA2**self._steps) / (1.0 - self.BETA1**self._steps)
        return np.float32(rate * scale)

    def dense(self, gradient: Floats, rate: float) -> None:
        """Update everything, block by block while it is in cache."""
        step = self._correction(rate)

        def block(s: slice) -> None:
            self._update(self.value[s], self._m[s], self._v[s], gradient[s], step)

        if self.value.size > 100_000:
            self._workers.each(self.value.shape[0], block)
        else:
            block(slice(None))

    def rows(self, index: Ids, gradient: Floats, rate: float) -> None:
        """Update only the rows `index`, which are all different."""
        step = self._correction(rate)
        value, m, v = self.value[index], self._m[index], self._v[index]
        self._update(value, m, v, gradient, step)
        self.value[index], self._m[index], self._v[index] = value, m, v

    def _update(self, value: Floats, m: Floats, v: Floats, g: Floats, step: np.float32) -> None:
        m *= np.float32(self.BETA1)
        m += np.float32(1.0 - self.BETA1) * g
        v *= np.float32(self.BETA2)
        g = g * g
        g *= np.float32(1.0 - self.BETA2)
        v += g
        np.sqrt(v, out=g)
        g += np.float32(self.EPS)
        np.divide(m, g, out=g)
        g *= step
        value -= g
