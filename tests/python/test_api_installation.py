# SPDX-License-Identifier: Apache-2.0
"""What lanemax says about itself; threads; the environment variables."""

import math
import os
import pathlib
import re
import subprocess
import sys
import threading

import lanemax as lm
import numpy as np
import pytest
import support
from lanemax._core.cgroup import granted_cpus

NAMES = ("portable", "avx2", "avx512", "neon")


def python(code, **environment):
    """Run code in a fresh interpreter; (standard output, standard error)."""
    full = dict(os.environ, **environment)
    for name, value in environment.items():
        if value is None:
            full.pop(name, None)
    run = subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip(), run.stderr


# ------------------------------------------------------------------ information ---


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\S*)?", lm.__version__)


def test_isa_names():
    available = lm.available_isas()
    assert len(available) >= 1 and len(set(available)) == len(available)
    assert set(available) <= set(NAMES)
    assert "portable" in available
    assert isinstance(lm.isa(), str) and lm.isa() in available


def test_tiers_are_listed_best_first():
    order = [t for t in ("avx512", "avx2", "neon", "portable") if t in lm.available_isas()]
    assert list(lm.available_isas()) == order
    out, _ = python("import lanemax; print(lanemax.isa())", LANEMAX_ISA="")
    assert out == order[0]


def test_show_config(capsys):
    returned = lm.show_config()
    text = capsys.readouterr().out
    assert returned is None
    for part in (lm.__version__, lm.isa(), "numpy"):
        assert part.lower() in text.lower()


def test_include_directory_holds_the_header():
    include = pathlib.Path(lm.get_include())
    for name in ("lanemax.h", "ops.h", "version.h"):
        assert (include / "lanemax" / name).is_file()


def test_library_directory_exists():
    assert pathlib.Path(lm.get_library_dir()).is_dir()


def test_all_lists_what_exists_and_is_documented():
    for name in lm.__all__:
        assert hasattr(lm, name), name
        if name != "__version__":
            assert getattr(lm, name).__doc__, name
    public = {
        "softmax",
        "log_softmax",
        "logsumexp",
        "softmax_vjp",
        "log_softmax_vjp",
        "exp_sum",
        "ExpSum",
        "set_num_threads",
        "get_num_threads",
        "num_threads",
        "isa",
        "available_isas",
        "show_config",
        "get_include",
        "get_library_dir",
    }
    assert public <= set(lm.__all__)
    assert public <= set(dir(lm))


def test_typed_package():
    package = pathlib.Path(lm.__file__).parent
    assert (package / "py.typed").exists()


def test_import_is_quiet_and_light():
    """No warning, no output, and none of the optional packages."""
    out, err = python(
        "import sys, lanemax\n"
        "heavy = {'scipy', 'torch', 'matplotlib', 'mpmath', 'hypothesis', 'pytest', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))",
        PYTHONWARNINGS="error",
    )
    assert (out, err) == ("[]", "")


# ------------------------------------------------------------------ LANEMAX_ISA ---


@pytest.mark.parametrize("name", NAMES)
def test_tier_from_the_environment(name):
    if name not in lm.available_isas():
        pytest.skip(f"this CPU or build lacks {name}")
    out, err = python(
        "import lanemax; print(lanemax.isa())", LANEMAX_ISA=name, PYTHONWARNINGS="error"
    )
    assert (out, err) == (name, "")


@pytest.mark.parametrize(
    "name",
    [
        "nonsense",
        "avx1024",
        "AVX 2",
        "sse",
        "x" * 5000,
        *(n for n in NAMES if n not in lm.available_isas()),
    ],
    ids=lambda n: n[:12],
)
def test_unknown_tier_is_one_warning_and_the_best_tier(name):
    code = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import lanemax as lm
    for _ in range(3):
        lm.softmax([1.0, 2.0])
        with lm.num_threads(1):
            lm.logsumexp([1.0, 2.0])
best = lm.isa() == lm.available_isas()[0]
print([w.category.__name__ for w in caught], best, [str(w.message)[:2000] for w in caught])
"""
    out, _ = python(code, LANEMAX_ISA=name)
    assert out.startswith("['RuntimeWarning'] True"), out
    assert "LANEMAX_ISA" in out and name[:12] in out


def test_empty_tier_in_the_environment_is_none():
    out, err = python(
        "import lanemax; print(lanemax.isa() == lanemax.available_isas()[0])",
        LANEMAX_ISA="",
        PYTHONWARNINGS="error",
    )
    assert (out, err) == ("True", "")


# ------------------------------------------------------------------ threads ---


def test_thread_count_of_a_new_process():
    code = "import lanemax; print(lanemax.get_num_threads())"
    out, _ = python(code, LANEMAX_NUM_THREADS=None, OMP_NUM_THREADS=None)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= int(out) <= usable


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1024])
def test_thread_count_from_the_environment(n):
    out, err = python(
        "import lanemax; print(lanemax.get_num_threads())",
        LANEMAX_NUM_THREADS=str(n),
        PYTHONWARNINGS="error",
    )
    assert (out, err) == (str(n), "")


@pytest.mark.parametrize(
    "text", ["0", "-3", "many", "1.5", "1025", "99999999999999999999", " ", "2x"]
)
def test_useless_thread_count_in_the_environment_harms_nothing(text):
    out, _ = python(
        "import lanemax as lm; lm.softmax([1.0]); print(1 <= lm.get_num_threads() <= 1024)",
        LANEMAX_NUM_THREADS=text,
    )
    assert out == "True"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_affinity_limits_the_default():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "import lanemax; print(lanemax.get_num_threads())"
    )
    assert python(code, LANEMAX_NUM_THREADS=None, OMP_NUM_THREADS=None)[0] == "1"


def test_set_and_get():
    before = lm.get_num_threads()
    try:
        for n in (1, 2, 5, np.int64(3), 1024):
            assert lm.set_num_threads(n) is None
            assert lm.get_num_threads() == n
            assert type(lm.get_num_threads()) is int
            np.testing.assert_allclose(lm.softmax([0.0, 0.0]), 0.5)
    finally:
        lm.set_num_threads(before)


def test_context_manager_restores_also_after_an_error():
    before = lm.get_num_threads()
    with lm.num_threads(3):
        assert lm.get_num_threads() == 3
        with lm.num_threads(1):
            assert lm.get_num_threads() == 1
        assert lm.get_num_threads() == 3
    assert lm.get_num_threads() == before
    with pytest.raises(KeyError), lm.num_threads(2):
        raise KeyError
    assert lm.get_num_threads() == before
    with lm.num_threads(2):
        lm.set_num_threads(4)
    assert lm.get_num_threads() == before


@pytest.mark.parametrize(
    "n,error",
    [
        (0, ValueError),
        (-1, ValueError),
        (1025, ValueError),
        (2**40, ValueError),
        (2**70, ValueError),
        (1.5, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
        (None, TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        ([1], TypeError),
    ],
    ids=repr,
)
def test_thread_counts_that_are_refused(n, error):
    before = lm.get_num_threads()
    with pytest.raises(error) as caught:
        lm.set_num_threads(n)
    assert type(caught.value) is error
    if error is ValueError:
        assert str(n) in str(caught.value)
    with pytest.raises(error), lm.num_threads(n):
        pass
    assert lm.get_num_threads() == before


def test_more_threads_than_rows_or_elements():
    x = np.random.default_rng(0).normal(size=(3, 70_000)).astype(np.float32)
    want = {}
    for n in (1, 2, 16, 200):
        with lm.num_threads(n):
            for axis in (-1, 0, None):
                got = lm.softmax(x, axis=axis)
                support.assert_same_bits(
                    got, want.setdefault(axis, got), f"{n} threads, axis {axis}"
                )


def test_thread_count_may_be_changed_while_others_compute():
    x = np.random.default_rng(1).normal(size=(200, 3000)).astype(np.float32)
    want = lm.softmax(x)
    stop, wrong = threading.Event(), []

    def compute():
        while not stop.is_set():
            if not support.same_bits(lm.softmax(x), want):
                wrong.append(1)

    workers = [threading.Thread(target=compute) for _ in range(3)]
    before = lm.get_num_threads()
    try:
        for w in workers:
            w.start()
        for i in range(100):
            lm.set_num_threads(1 + i % 4)
    finally:
        stop.set()
        for w in workers:
            w.join()
        lm.set_num_threads(before)
    assert not wrong


def test_blocks_that_overlap_in_two_threads_restore_their_own():
    """The first to begin ends first: neither may leave its number behind."""
    before = lm.get_num_threads()
    began, ended = threading.Event(), threading.Event()
    seen = []

    def other():
        with lm.num_threads(3):
            seen.append(lm.get_num_threads())
            began.set()
            assert ended.wait(60)
            seen.append(lm.get_num_threads())

    worker = threading.Thread(target=other)
    with lm.num_threads(1):
        worker.start()
        assert began.wait(60)
    ended.set()
    worker.join()
    assert seen == [3, 3]
    assert lm.get_num_threads() == before


def test_blocks_of_threads_and_tiers_may_end_in_any_order():
    before, tier = lm.get_num_threads(), lm.isa()
    a, b = lm.num_threads(2), lm._core.context.using_isa("portable")
    a.__enter__()
    b.__enter__()
    assert (lm.get_num_threads(), lm.isa()) == (2, "portable")
    a.__exit__(None, None, None)
    assert (lm.get_num_threads(), lm.isa()) == (before, "portable")
    b.__exit__(None, None, None)
    assert (lm.get_num_threads(), lm.isa()) == (before, tier)
    with pytest.raises(ValueError), lm._core.context.using_isa("none"):
        pass
    assert (lm.get_num_threads(), lm.isa()) == (before, tier)


@pytest.mark.parametrize(
    "ours,theirs,want",
    [(None, "1", 1), (None, "3,2", 3), ("2", "1", 2), (None, "99999", 1024)],
)
def test_thread_count_of_openmp_counts_below_our_own(ours, theirs, want):
    out, err = python(
        "import lanemax as lm; print(lm.get_num_threads(), lm._core.context.state.source)",
        LANEMAX_NUM_THREADS=ours,
        OMP_NUM_THREADS=theirs,
        PYTHONWARNINGS="error",
    )
    assert (out, err) == (f"{want} {'LANEMAX' if ours else 'OMP'}_NUM_THREADS", "")


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1.5"])
def test_useless_thread_count_of_openmp_is_passed_over(text):
    code = "import lanemax as lm; print(lm._core.context.state.source)"
    out, err = python(code, LANEMAX_NUM_THREADS=None, OMP_NUM_THREADS=text, PYTHONWARNINGS="error")
    assert (out in ("CPU affinity", "CPU count", "cgroup quota"), err) == (True, "")


def fake_root(folder, groups, files):
    """A file system root with /proc/self/cgroup and files below /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = folder / (name if name.startswith("proc") else f"sys/fs/cgroup/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


V1 = "4:memory:/m\n3:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize(
    "groups,files,want",
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        # nested: the least along the path, whichever level it stands at
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1.0),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b\n", {"a/c/cpu.max": "10000 100000", "a/b/cpu.max": "200000 100000"}, 2.0),
        # a container that shows the host's path, of which nothing is mounted
        ("0::/../x\n", {"cpu.max": "200000 100000"}, 2.0),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "300000",
              "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 3.0),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "50000",
              "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 0.5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        (V1, {"cpu/docker/cpu.cfs_quota_us": "100000", "cpu/docker/cpu.cfs_period_us": "100000",
              "cpu/docker/abc/cpu.cfs_quota_us": "-1",
              "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 1.0),
        ("1:name=systemd:/\n0::/u\n", {"unified/u/cpu.max": "100000 50000"}, 2.0),
        ("nonsense\n", {"cpu.max": "nonsense"}, math.inf),
    ],
)  # fmt: skip
def test_quota_of_control_groups(tmp_path, groups, files, want):
    assert granted_cpus(fake_root(tmp_path, groups, files)) == want


def test_quota_limits_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("LANEMAX_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    root = fake_root(tmp_path, "0::/a\n", {"a/cpu.max": "10000 100000"})
    assert lm._core.context.default_threads(root) == (1, "cgroup quota")
