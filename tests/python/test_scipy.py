# SPDX-License-Identifier: Apache-2.0
"""SciPy's own tests of softmax, log_softmax and logsumexp, run on lanemax's functions.

A child pytest runs the installed SciPy's test module; a plugin puts the replacements into it.  What
is not run is listed with its reason, and a listed test that does not exist any more is an error.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

MODULE = "scipy.special.tests.test_logsumexp"

#: start of a test's name within the module -> why lanemax does not promise it
NOT_RUN = {
    "test_wrap_radians": "a private function of SciPy",
    "TestLogSumExp::test_logsumexp_b[": "b= is not offered",
    "TestLogSumExp::test_logsumexp_b_zero": "b= is not offered",
    "TestLogSumExp::test_logsumexp_b_shape": "b= is not offered",
    "TestLogSumExp::test_logsumexp_sign": "b= and return_sign= are not offered",
    "TestLogSumExp::test_logsumexp_complex_sign": "complex input and return_sign= are not offered",
    "TestLogSumExp::test_logsumexp_shape": "b= is not offered",
    "TestLogSumExp::test_dtypes_ab": "b= is not offered",
    "TestLogSumExp::test_dtypes_a[numpy-complex": "complex input is not offered",
    "TestLogSumExp::test_gh21610": "complex input is not offered",
    "TestLogSumExp::test_gh21709_small_imaginary": "complex input is not offered",
    "TestLogSumExp::test_no_writeback": "b= is not offered",
    "TestLogSumExp::test_device": "complex input and b= are not offered",
    "TestLogSumExp::test_gh22903": "b= is not offered",
    "TestLogSumExp::test_gh23548": "return_sign= is not offered",
}
PLUGIN = '''
import json, os
import lanemax

def no_axis(function):
    """SciPy's default axis is None, which lanemax takes as an argument."""
    def replaced(a, axis=None, **options):
        return function(a, axis=axis, **options)
    return replaced

not_run = json.loads(os.environ["LANEMAX_SCIPY_NOT_RUN"])
unused = set(not_run)

def pytest_collection_modifyitems(config, items):
    kept, dropped = [], []
    for item in items:
        name = item.nodeid.split("::", 1)[1]
        names = [n for n in not_run if name.startswith(n)]
        unused.difference_update(names)
        # of test_gh22601_infinite_elements only the real infinities: complex input is not offered
        complex_infinity = "infinite_elements" in name and any(
            isinstance(v, complex) for v in item.callspec.params.values())
        (dropped if names or complex_infinity else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)
    for module in {item.module for item in kept}:
        for name in ("softmax", "log_softmax", "logsumexp"):
            assert hasattr(module, name)
            setattr(module, name, no_axis(getattr(lanemax, name)))

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("UNUSED " + json.dumps(sorted(unused)))
'''


def test_scipys_own_tests_pass(tmp_path):
    scipy = pytest.importorskip(
        "scipy", reason="SciPy is not installed: its own tests were NOT run on lanemax"
    )
    file = pathlib.Path(scipy.__file__).parent / "special" / "tests" / "test_logsumexp.py"
    if not file.exists():
        pytest.skip(f"this SciPy {scipy.__version__} ships no tests: they were NOT run on lanemax")
    (tmp_path / "lanemax_in_scipy.py").write_text(PLUGIN)
    environment = dict(os.environ, LANEMAX_SCIPY_NOT_RUN=json.dumps(list(NOT_RUN)))
    environment.pop("SCIPY_ARRAY_API", None)  # its default is NumPy alone
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "lanemax_in_scipy",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::DeprecationWarning",
        "-rs",
        "--pyargs",
        MODULE,
    ]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout.splitlines()
    unused = next(
        json.loads(line.removeprefix("UNUSED ")) for line in summary if line.startswith("UNUSED ")
    )
    passed = next(
        int(line.split(" passed")[0].split()[-1]) for line in reversed(summary) if " passed" in line
    )
    assert passed >= 30, run.stdout
    assert " failed" not in summary[-1]
    # names change between releases of SciPy; in the one this was written for all are used
    if scipy.__version__.startswith("1.17."):
        assert unused == [], f"not in SciPy {scipy.__version__}: {unused}"
