# SPDX-License-Identifier: Apache-2.0
"""Threads and tier: the context that calls use."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._lanemax import ffi, lib
from .cgroup import granted_cpus
from .errors import check

THREADS_MAX = 1024

_NULL = ffi.NULL


def _omp_threads() -> int | None:
    """OMP_NUM_THREADS at the outermost level, None where it says nothing valid."""
    try:
        n = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    except ValueError:
        return None
    return min(n, THREADS_MAX) if n >= 1 else None


def default_threads(root: str = "/") -> tuple[int, str]:
    """The number of threads to start with, and where it comes from."""
    text = os.environ.get("LANEMAX_NUM_THREADS", "")
    if text.strip():
        try:
            n = int(text)
        except ValueError:
            n = 0
        if 1 <= n <= THREADS_MAX:
            return n, "LANEMAX_NUM_THREADS"
        warnings.warn(
            f"LANEMAX_NUM_THREADS={text!r} is ignored: "
            f"it must be an integer from 1 to {THREADS_MAX}",
            RuntimeWarning,
            stacklevel=2,
        )
    wanted = _omp_threads()
    if wanted is not None:
        return wanted, "OMP_NUM_THREADS"
    if hasattr(os, "sched_getaffinity"):
        n, source = len(os.sched_getaffinity(0)), "CPU affinity"
    else:
        n, source = os.cpu_count() or 1, "CPU count"
    granted = granted_cpus(root)
    if granted < n:
        n, source = max(1, math.ceil(granted)), "cgroup quota"
    return min(n, THREADS_MAX), source


class _Block:
    """A ``with`` block that asks for a number of threads or a tier; None leaves it as it was."""

    __slots__ = ("isa", "threads")

    def __init__(self, threads: int | None, isa: str | None) -> None:
        self.threads, self.isa = threads, isa


class _State:
    """The context that calls use, and what it was made from.

    Blocks of several Python threads may overlap, so that the first to begin need not be the last
    to end: the newest that has not ended counts, and each takes away itself alone.
    """

    __slots__ = ("_base", "_blocks", "_lock", "ctx", "isa", "source", "threads")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: list[_Block] = []
        self.threads, self.source = default_threads()
        self.isa: str | None = None
        self._base = _Block(self.threads, None)
        self.ctx: Any = None
        self._renew(self.threads, None)

    def _renew(self, threads: int, isa: str | None) -> None:
        options = ffi.new("lmx_options *")
        name = _NULL if isa is None else ffi.new("char[]", isa.encode())
        check(lib.lmx_options_init(options))
        options.threads = threads
        options.isa = name
        pointer = ffi.new("lmx_ctx **")
        check(lib.lmx_ctx_create(pointer, options))
        self.threads, self.isa = threads, isa
        self.ctx = ffi.gc(pointer[0], lib.lmx_ctx_free)

    def _settle(self) -> None:
        """Make the context that the blocks ask for, if it is another one."""
        asked = [self._base, *self._blocks]
        threads = next(b.threads for b in reversed(asked) if b.threads is not None)
        isa = next((b.isa for b in reversed(asked) if b.isa is not None), None)
        if (threads, isa) != (self.threads, self.isa):
            self._renew(threads, isa)

    def set_threads(self, n: int) -> None:
        """For good, or inside a block until it ends."""
        with self._lock:
            holder = next((b for b in reversed(self._blocks) if b.threads is not None), self._base)
            holder.threads = n
            if holder is self._base:
                self.source = "set_num_threads"
            self._settle()

    @contextlib.contextmanager
    def block(self, threads: int | None = None, isa: str | None = None) -> Iterator[None]:
        mine = _Block(threads, isa)
        with self._lock:
            self._blocks.append(mine)
            try:
                self._settle()
            except BaseException:
                self._blocks.remove(mine)
                raise
        try:
            yield
        finally:
            with self._lock:
                self._blocks.remove(mine)
                self._settle()


state = _State()

if lib.lmx_isa_ignored():
    warnings.warn(
        f"LANEMAX_ISA={os.environ.get('LANEMAX_ISA', '')!r} is ignored: this CPU and build offer "
        + ", ".join(ffi.string(lib.lmx_isa_available(i)).decode() for i in range(8)
                    if lib.lmx_isa_available(i) != _NULL),
        RuntimeWarning,
        stacklevel=3,
    )  # fmt: skip


def thread_count(n: object) -> int:
    """A valid number of threads, or the exception that says why not."""
    if isinstance(n, (bool, np.bool_)):
        raise TypeError("n: expected an integer, got a bool")
    try:
        count = operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"n: expected an integer, got {type(n).__name__}") from None
    if not 1 <= count <= THREADS_MAX:
        raise ValueError(f"n: expected 1 to {THREADS_MAX} threads, got {count}")
    return count


def using_isa(isa: str) -> contextlib.AbstractContextManager[None]:
    """Run on one tier, for tests and comparisons; affects every thread of the process."""
    return state.block(isa=isa)


def isa_name() -> str:
    return str(ffi.string(lib.lmx_isa_name(state.ctx)).decode())


def isa_names() -> tuple[str, ...]:
    names: list[str] = []
    while (name := lib.lmx_isa_available(len(names))) != _NULL:
        names.append(ffi.string(name).decode())
    return tuple(names)


def isa_ignored() -> bool:
    return bool(lib.lmx_isa_ignored())


def version() -> str:
    return str(ffi.string(lib.lmx_version()).decode())


def function_address(name: str) -> int:
    """Address of a C function of the library, for ctypes, Numba or JAX."""
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
