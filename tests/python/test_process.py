# SPDX-License-Identifier: Apache-2.0
"""lanemax among processes, threads and other people's floating-point settings; doctests."""

import ctypes
import ctypes.util
import doctest
import importlib
import multiprocessing
import os
import pkgutil
import platform
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import lanemax as lm
import numpy as np
import pytest
import support
from registry import ALL

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def rows(seed=0, shape=(64, 5003)):
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def digest(x):
    """Bits of every kind of result, as one integer that travels between processes."""
    parts = [
        lm.softmax(x),
        lm.log_softmax(x),
        lm.logsumexp(x),
        lm.softmax_vjp(x, lm.softmax(x)),
        lm.softmax(x.T, axis=0),
    ]
    return hash(
        b"".join(np.ascontiguousarray(p).tobytes() for p in parts)
        + lm.exp_sum(x).mantissa.tobytes()
    )


# ------------------------------------------------------------------ fork ---


def in_child(function, seconds=60):
    """Fork, run function in the child, and say whether it returned true in time."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of fork beside threads, which is the point
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(seconds)  # a hang becomes a failure
            code = 0 if function() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


@needs_fork
@pytest.mark.parametrize("n", [1, 2, 4])
def test_child_of_fork_computes_the_same_bits(n):
    with lm.num_threads(n):
        x = rows()
        want = digest(x)  # the pool is running now
        for _ in range(10):
            assert in_child(lambda: digest(x) == want)
        assert digest(x) == want


@needs_fork
def test_child_may_change_threads_and_fork_again():
    x = rows()
    with lm.num_threads(2):
        want = digest(x)

        def child():
            with lm.num_threads(3):
                if digest(x) != want:
                    return False
            return in_child(lambda: digest(x) == want) and digest(x) == want

        assert in_child(child)
        assert digest(x) == want


@needs_fork
def test_fork_while_another_thread_computes():
    x = rows(1, (200, 5003))
    with lm.num_threads(2):
        want = digest(x)
        stop = threading.Event()

        def compute():
            while not stop.is_set():
                lm.softmax(x)

        worker = threading.Thread(target=compute)
        worker.start()
        try:
            results = [in_child(lambda: digest(x) == want) for _ in range(25)]
        finally:
            stop.set()
            worker.join()
        assert all(results)
        assert digest(x) == want


@needs_fork
@pytest.mark.nightly
def test_a_thousand_forks():
    x = rows(2, (64, 3001))
    with lm.num_threads(2):
        want = digest(x)
        assert all(in_child(lambda: digest(x) == want, seconds=5) for _ in range(1000))


def pool_worker(seed):
    return lm.softmax(rows(seed)).tobytes()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing(method):
    lm.softmax(rows())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            got = pool.map_async(pool_worker, range(4)).get(timeout=120)
    assert got == [pool_worker(seed) for seed in range(4)]


# ------------------------------------------------------------------ Python threads ---


def test_sixteen_threads_share_the_pool_and_inputs():
    """Random functions and sizes; every result is the serial one."""
    rng = np.random.default_rng(3)
    work = []
    for i in range(60):
        function = ALL[i % len(ALL)]
        shape = [(7, 33), (50, 1001), (3, 70_001), (300, 70)][i % 4]
        arrays = function.sample("normal10", rng, shape, support.DTYPES[i % len(support.DTYPES)])
        axis = -1 if i % 3 else 0
        work.append((function, arrays, axis, function(*arrays, axis=axis)))
    wrong, start = [], threading.Barrier(16)

    def run(seed):
        start.wait()
        for i in np.random.default_rng(seed).permutation(len(work)):
            function, arrays, axis, want = work[i]
            if not support.same_bits(function(*arrays, axis=axis), want):
                wrong.append(function.name)

    with lm.num_threads(2):
        workers = [threading.Thread(target=run, args=(seed,)) for seed in range(16)]
        for w in workers:
            w.start()
        for w in workers:
            w.join(timeout=300)
        assert not any(w.is_alive() for w in workers)
    assert not wrong


def test_tiers_may_be_forced_while_others_compute():
    """The context of one block does not leak broken state into other threads."""
    x = rows(4, (50, 400))
    want = lm.softmax(x)
    wrong, stop = [], threading.Event()

    def compute():
        while not stop.is_set():
            if not support.same_bits(lm.softmax(x), want):
                wrong.append(1)

    worker = threading.Thread(target=compute)
    worker.start()
    try:
        for i in range(30):
            with lm._core.context.using_isa(support.TIERS[i % len(support.TIERS)]):
                assert support.same_bits(lm.softmax(x), want)
    finally:
        stop.set()
        worker.join()
    assert not wrong


def test_other_python_threads_run_during_a_call():
    """The GIL is released: a counter advances while one long call is inside the library."""
    x = np.zeros((1, 30_000_000), np.float32)
    out = np.empty_like(x)
    old = sys.getswitchinterval()
    beats, stop = [0], threading.Event()

    def beat():
        while not stop.is_set():
            beats[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=beat)
    sys.setswitchinterval(1e6)  # whoever has the GIL keeps it until it gives it up
    try:
        thread.start()
        with lm.num_threads(1):
            advanced = False
            for _ in range(50):  # no timing: one call in which the counter moved is proof enough
                before = beats[0]
                lm.softmax(x, out=out)
                advanced = beats[0] > before
                if advanced:
                    break
    finally:
        sys.setswitchinterval(old)
        stop.set()
        thread.join()
    assert advanced


def test_first_call_may_come_from_many_threads_at_once():
    """In a fresh process: choosing the tier and starting the pool race with each other."""
    code = """
import threading, sys
import numpy as np
import lanemax as lm
x = np.random.default_rng(0).normal(size=(64, 3000)).astype(np.float32)
results, start = [], threading.Barrier(8)
def run():
    start.wait()
    results.append(lm.softmax(x).tobytes())
workers = [threading.Thread(target=run) for _ in range(8)]
[w.start() for w in workers]; [w.join() for w in workers]
sys.exit(len(results) != 8 or len(set(results)) != 1)
"""
    for _ in range(5):
        assert (
            subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
        )


# ---------------------------------------- floating-point environment ---


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_no_flag_reaches_numpy(function, dtype):
    """Calls that overflow, underflow and divide raise nothing where NumPy raises everything."""
    x = np.array([[0.0, -104.0, 88.0, -np.inf], [np.nan, np.inf, 1.0, -1e4]]).astype(dtype)
    arrays = tuple(x for _ in function.inputs)
    with np.errstate(all="raise"):
        function(*arrays)
        assert (np.array([1.0, 2.0]) + np.array([1.0, 2.0])).tolist() == [2.0, 4.0]


ROUNDING_MODES = {
    "x86_64": (0, 0x400, 0x800, 0xC00),
    "aarch64": (0, 0x400000, 0x800000, 0xC00000),
}


class FloatingPointEnvironment:
    """fesetround and, on x86, MXCSR through libm's fegetenv: set around one call."""

    def __init__(self):
        name = ctypes.util.find_library("m")
        self.machine = platform.machine()
        if (
            name is None
            or self.machine not in ROUNDING_MODES
            or not sys.platform.startswith("linux")
        ):
            pytest.skip("needs Linux's libm on x86-64 or aarch64")
        self.libm = ctypes.CDLL(name)
        self.modes = ROUNDING_MODES[self.machine]

    def read(self):
        buffer = (ctypes.c_uint32 * 8)()
        self.libm.fegetenv(buffer)
        return list(buffer)

    def write(self, words):
        buffer = (ctypes.c_uint32 * 8)(*words)
        self.libm.fesetenv(buffer)


def control(words, machine):
    """Rounding, traps and flushing: x87 control word and MXCSR, or FPCR.

    Sticky flags are left to the C tests, for Python's own arithmetic between the calls sets them.
    """
    return (words[0] & 0xFFFF, words[7] & ~0x3F) if machine == "x86_64" else (words[0],)


@pytest.mark.parametrize("n", [1, 2])
def test_results_do_not_depend_on_the_callers_floating_point_environment(n):
    """Rounding modes and flush-to-zero: the same bits, and the environment as before."""
    environment = FloatingPointEnvironment()
    rng = np.random.default_rng(5)
    cases = []
    for dtype in support.DTYPES:
        for function in ALL:
            for kind in ("to_subnormal_end", "subnormal", "normal10"):
                arrays = function.sample(kind, rng, (20, 333), dtype)
                cases.append((function, arrays, function(*arrays)))
    large = support.logits("to_subnormal_end", rng, (300, 5003), support.F32)
    want = lm.softmax(large)
    clean = environment.read()
    out = np.empty_like(large)
    try:
        with lm.num_threads(n):
            lm.softmax(large, out=out)
            extra = (0, 0x8040) if environment.machine == "x86_64" else (0,)
            for mode in environment.modes:
                for flush in extra:
                    with lm.num_threads(n):  # workers may be created under the foreign setting
                        environment.libm.fesetround(mode)
                        foreign = environment.read()
                        if flush:
                            foreign[7] |= flush
                            environment.write(foreign)
                        before = control(environment.read(), environment.machine)
                        got = [function(*arrays) for function, arrays, _ in cases]
                        lm.softmax(large, out=out)
                        after = control(environment.read(), environment.machine)
                        environment.write(clean)
                    assert after == before, f"mode {mode:#x} flush {flush:#x}"
                    for (function, arrays, expected), result in zip(cases, got, strict=True):
                        what = f"{function} {arrays[0].dtype} mode {mode:#x} flush {flush:#x}"
                        support.assert_same_bits(result, expected, what)
                    support.assert_same_bits(out, want, f"large, mode {mode:#x} flush {flush:#x}")
                    lm.softmax(
                        large, out=out
                    )  # a worker made under the foreign setting computes as ever
                    support.assert_same_bits(out, want)
    finally:
        environment.write(clean)


def test_traps_of_the_caller_do_not_fire():
    """With exceptions unmasked a child computes and is not killed by SIGFPE."""
    environment = FloatingPointEnvironment()
    if environment.machine != "x86_64":
        pytest.skip("traps are optional on aarch64")
    x = np.array([[0.0, -104.0, 88.0, -np.inf] * 9, [np.nan, np.inf, 1.0, -1e4] * 9], np.float32)
    double = x.astype(np.float64)
    dy = np.ones_like(x)
    want = (
        lm.softmax(x).tobytes(),
        lm.log_softmax(double).tobytes(),
        lm.softmax_vjp(dy, x).tobytes(),
    )
    outs = np.empty_like(x), np.empty_like(double), np.empty_like(x)
    for traps in (0x01 | 0x04 | 0x08, 0x10, 0x20, 0x3D):

        def child(traps=traps):
            clean = environment.read()
            environment.libm.feclearexcept(0x3F)
            environment.libm.feenableexcept(traps)
            lm.softmax(x, out=outs[0])
            lm.log_softmax(double, out=outs[1])
            lm.softmax_vjp(dy, x, out=outs[2])
            environment.write(clean)
            return tuple(o.tobytes() for o in outs) == want

        assert in_child(child), f"traps {traps:#x}"


def test_subnormal_numbers_survive_in_every_thread():
    """No thread of this process was switched to flush-to-zero by a call."""
    lm.softmax(rows(6, (300, 3000)))
    results = []

    def multiply():
        tiny = np.full(100, 5e-324)
        results.append(bool((tiny * 3 == 1.5e-323).all()))

    for target in (multiply,) * 3:
        t = threading.Thread(target=target)
        t.start()
        t.join()
    multiply()
    assert all(results)


# ------------------------------------------------------------------ documentation that runs ---


def modules():
    yield lm
    for info in pkgutil.walk_packages(lm.__path__, "lanemax."):
        if "__main__" not in info.name and not info.name.rsplit(".", 1)[-1].startswith("_lanemax"):
            yield importlib.import_module(info.name)


def public_functions():
    return [
        name
        for name in lm.__all__
        if callable(getattr(lm, name, None)) and not isinstance(getattr(lm, name), type)
    ]


class NumberChecker(doctest.OutputChecker):
    """Numbers are compared to the digits in the example, as pytest's NUMBER does."""

    def check_output(self, want, got, flags):
        if super().check_output(want, got, flags):
            return True
        number = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
        if " ".join(number.sub("#", want).split()) != " ".join(number.sub("#", got).split()):
            return False
        for w, g in zip(number.findall(want), number.findall(got), strict=True):
            digits = len(w.partition(".")[2].partition("e")[0])
            exponent = int(w.partition("e")[2] or 0)
            if abs(float(w) - float(g)) > 0.51 * 10.0 ** (exponent - digits) + 1e-15 * abs(
                float(w)
            ):
                return False
        return True


@pytest.mark.parametrize("name", [*public_functions(), "ExpSum", "SphericalOutput"])
def test_examples_in_docstrings_run(name):
    target = getattr(lm, name)
    finder = doctest.DocTestFinder(recurse=True)
    runner = doctest.DocTestRunner(
        NumberChecker(), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    report: list[str] = []
    examples = 0
    before = lm.get_num_threads()
    for test in finder.find(target, name, globs={"lm": lm, "lanemax": lm, "np": np, "numpy": np}):
        examples += len(test.examples)
        runner.run(test, out=report.append)
    lm.set_num_threads(before)
    assert runner.failures == 0, "".join(report)
    if name in {f.name for f in ALL} | {"ExpSum"}:
        assert examples > 0, f"{name} has no example"


def test_examples_elsewhere_in_the_package_run():
    for module in modules():
        tests = [t for t in doctest.DocTestFinder().find(module) if t.examples]
        runner = doctest.DocTestRunner(
            NumberChecker(), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        )
        report: list[str] = []
        for test in tests:
            test.globs.setdefault("lm", lm)
            test.globs.setdefault("np", np)
            runner.run(test, out=report.append)
        assert runner.failures == 0, "".join(report)
