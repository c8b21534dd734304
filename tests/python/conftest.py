# SPDX-License-Identifier: Apache-2.0
"""Fixtures, and checks that hold around every test."""

from __future__ import annotations

import os

import hypothesis
import lanemax as lm
import numpy as np
import pytest
import support

hypothesis.settings.register_profile(
    "fast", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("LANEMAX_HYPOTHESIS", "fast"))


def pytest_configure(config):
    # numerics never warn: what warns, fails
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("markers", "nightly: needs minutes; runs with LANEMAX_NIGHTLY=1")


def pytest_collection_modifyitems(items):
    if os.environ.get("LANEMAX_NIGHTLY"):
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="nightly test: set LANEMAX_NIGHTLY=1"))


def pytest_report_header():
    missing = [t for t in support.ALL_TIERS if t not in support.TIERS]
    lines = [
        f"lanemax {lm.__version__} in {os.path.dirname(lm.__file__)}",
        f"lanemax tiers tested: {', '.join(support.TIERS)}",
    ]
    if missing:
        lines.append(f"lanemax: NOT TESTED, for this CPU or build lacks them: {', '.join(missing)}")
    return lines


def pytest_terminal_summary(terminalreporter):
    missing = [t for t in support.ALL_TIERS if t not in support.TIERS]
    for tier in missing:
        terminalreporter.write_line(
            f"WARNING: tier {tier} was not tested: this CPU or build lacks it", yellow=True
        )
    if support.BFLOAT16 is None:
        terminalreporter.write_line(
            "WARNING: bfloat16 was not tested: ml_dtypes is not installed", yellow=True
        )


@pytest.fixture(params=support.ALL_TIERS)
def tier(request):
    """Each tier of this kind of machine in turn, forced in this process."""
    if request.param not in support.TIERS:
        pytest.skip(f"this CPU or build lacks the tier {request.param}")
    with support.running(request.param):
        yield request.param


@pytest.fixture(params=[1, 2], ids=["1thread", "2threads"])
def threads(request):
    with support.running(threads=request.param):
        yield request.param


@pytest.fixture(params=support.DTYPES, ids=str)
def dtype(request):
    return request.param


@pytest.fixture
def rng(request):
    """Random numbers that depend on the test's name alone."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def _arithmetic():
    """What rounding mode and flush-to-zero would change."""
    tiny, one, ulp = np.float64(5e-324), np.float64(1), np.float64(2.0**-53)
    return (
        float(tiny * one),
        float(one + ulp),
        float(-one - ulp),
        float(one - ulp / 2),
        float(np.float32(1e-45) * one),
    )


@pytest.fixture(autouse=True)
def unchanged_world():
    """Threads, tier, NumPy's error state and the FPU are left as they were."""
    before = lm.get_num_threads(), lm.isa(), np.geterr(), _arithmetic()
    yield
    assert (lm.get_num_threads(), lm.isa(), np.geterr(), _arithmetic()) == before
