# SPDX-License-Identifier: Apache-2.0
"""``demo --task density``: what it prints, from a CSV file and by itself, and bad files."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from support import TIERS


def demo(*arguments, **environment):
    command = [sys.executable, "-m", "lanemax", "demo", "--task", "density", "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.fixture
def heights(tmp_path):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(165, 6, 700), rng.normal(195, 4, 300)])
    lines = [f"p{i},{v:.2f}" for i, v in enumerate(rng.permutation(values))]
    path = tmp_path / "heights.csv"
    path.write_text("\n".join(["name,height", *lines, "nobody,?"]) + "\n")
    return str(path)


def nats(text):
    return {k.strip(): float(v) for k, v in re.findall(r"^ *(\w[\w ,]*?) +(\d\.\d{4})", text, re.M)}


def test_the_density_of_a_column_is_learned(heights, tmp_path):
    done = demo("--csv", heights, "--column", "height", "--frequencies", "12")
    assert done.returncode == 0, done.stderr
    assert "column 'height'" in done.stdout and "1,000 numbers" in done.stdout
    found = nats(done.stdout)
    assert found["Fourier head, 12 frequencies"] < found["normal"] < found["uniform"]
    assert done.stdout.count("|") >= 40
    assert demo("--csv", heights).stdout.split("\n")[0] == done.stdout.split("\n")[0]


def test_output_does_not_depend_on_the_instruction_set(heights):
    shown = {demo("--csv", heights, LANEMAX_ISA=tier).stdout for tier in TIERS}
    assert len(shown) == 1


def test_lines_of_code_are_what_it_learns_by_default():
    done = demo()
    assert done.returncode == 0 and "lengths of the lines" in done.stdout


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("a,b\n" + "1,x\n" * 30, ["--column", "c"], "no column 'c'; there are a, b"),
        ("a,b\n" + "1,x\n" * 30, ["--column", "b"], "does not hold 20 numbers"),
        ("a\n" + "1\n" * 30, [], "all numbers are 1"),
        ("", [], "empty"),
    ],
)
def test_bad_files_are_explained(tmp_path, content, arguments, words):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    done = demo("--csv", str(path), *arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_a_missing_file_is_explained(tmp_path):
    done = demo("--csv", str(tmp_path / "none.csv"))
    assert done.returncode == 2 and "none.csv" in done.stderr
