# SPDX-License-Identifier: Apache-2.0
"""python -m lanemax: what each command prints, and that mistakes get one clear line."""

import os
import subprocess
import sys

import lanemax as lm
import pytest


def run(*arguments, timeout=200, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lanemax", *map(str, arguments)],
        env=dict(os.environ, **environment),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def ok(*arguments, **environment):
    result = run(*arguments, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def refused(*arguments):
    """Exit status 2, nothing on standard output, a short message and no traceback."""
    result = run(*arguments)
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    assert "Traceback" not in result.stderr and result.stderr.strip()
    return result.stderr.strip()


def test_info():
    text = ok("info")
    for part in (lm.__version__, *lm.available_isas(), "numpy", "thread"):
        assert part.lower() in text.lower()


@pytest.mark.parametrize("tier", lm.available_isas())
def test_info_names_the_forced_tier(tier):
    assert tier in ok("info", LANEMAX_ISA=tier)


def test_check_quick():
    text = ok("check", "--quick")
    for name in (
        "softmax",
        "log_softmax",
        "logsumexp",
        "softmax_vjp",
        "log_softmax_vjp",
        "exp_sum",
        *lm.available_isas(),
    ):
        assert name in text


def test_config_prints_flags():
    cflags = ok("config", "--cflags")
    assert f"-I{lm.get_include()}" in cflags.replace('"', "").replace("'", "")
    libs = ok("config", "--libs")
    assert "-llanemax" in libs or "lanemax" in libs
    both = ok("config", "--cflags", "--libs")
    assert "-I" in both and "lanemax" in both
    assert "\n" not in cflags.strip()


@pytest.mark.parametrize("command", ["", "info", "check", "bench", "demo", "config"])
def test_help(command):
    text = ok(*filter(None, [command]), "--help")
    assert text.startswith("usage:") and len(text) > 40


def test_unknown_command():
    assert "nonsense" in refused("nonsense")


def test_unknown_option():
    refused("info", "--nonsense")


def one_line(message):
    """The last line says what is wrong; argparse may print the usage above it."""
    lines = [line for line in message.splitlines() if line.strip()]
    assert len(lines) == 1 or lines[0].startswith("usage:"), message
    return lines[-1]


def test_demo_with_a_missing_file(tmp_path):
    missing = tmp_path / "missing.txt"
    assert str(missing) in one_line(refused("demo", "--text", missing))


def test_demo_with_an_empty_file(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    line = one_line(refused("demo", "--text", empty))
    assert "empty" in line


def test_demo_with_a_binary_file(tmp_path):
    binary = tmp_path / "binary.dat"
    binary.write_bytes(bytes(range(256)) * 1000)
    line = one_line(refused("demo", "--text", binary))
    assert str(binary) in line


def test_demo_with_a_directory(tmp_path):
    assert str(tmp_path) in one_line(refused("demo", "--text", tmp_path))


def test_commands_write_nothing_to_the_working_directory(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "lanemax", "info"], cwd=tmp_path, check=True, capture_output=True
    )
    assert list(tmp_path.iterdir()) == []
