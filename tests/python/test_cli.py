# SPDX-License-Identifier: Apache-2.0
"""python -m lanemax: what each command prints, and that mistakes get one clear line."""

import os
import random
import subprocess
import sys

import lanemax as lm
import numpy as np
import pytest
from lanemax.__main__ import main
from lanemax._cli import activation as demo_activation


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


SMALL = ("--vocab", 60, "--dim", 8, "--steps", 4, "--samples", 1)
ACTIVATIONS = [op["name"] for op in lm.activations()]


@pytest.fixture
def novel(tmp_path):
    rng = random.Random(1)
    words = [a + b for a in "abcdefghi" for b in "klmnopqrs"]
    path = tmp_path / "novel.txt"
    path.write_text("\n\n".join(" ".join(rng.choices(words, k=12)) + "." for _ in range(300)))
    return path


@pytest.mark.parametrize("op", lm.activations(), ids=ACTIVATIONS)
def test_demo_with_every_activation(op, novel, capsys):
    options = ("demo", "--text", novel, *SMALL, "--activation", op["name"])
    assert main([str(option) for option in options]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"behind them with lanemax.{op['call'].partition('(')[0]}(" in text
    assert ("has learned" in text) == op["learned"]
    for name in op["parameters"] if op["learned"] else ():
        assert f"{name} from " in text


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_demo_activation_gradients_are_slopes(name):
    """In float64 along a random direction, through gates and learned parameters alike."""
    activation = demo_activation.activations()[name]
    rng = np.random.default_rng(2)
    shape, step = (3, 8), 1e-7  # smaller than any coefficient, whose sign may be a kink
    start = [rng.normal(size=(3, 8 * activation.inputs))]
    start += [v.astype(np.float64) for v in activation.learned.values()]
    direction = [rng.normal(size=v.shape) for v in start]
    dy, y = rng.normal(size=shape), np.empty(shape)

    def value(distance):
        sums, *learned = (a + distance * d for a, d in zip(start, direction, strict=True))
        activation.forward(sums, learned, y)
        return (dy * y).sum()

    slope = (value(step) - value(-step)) / (2 * step)
    by_sums, by_learned = activation.backward(dy, start[0], start[1:])
    found = [by_sums, *by_learned]
    assert [v.shape for v in found] == [v.shape for v in start]
    terms = [(a * d).ravel() for a, d in zip(found, direction, strict=True)]
    terms = np.concatenate(terms)
    assert abs(slope - terms.sum()) <= 1e-6 * np.abs(terms).sum()


def test_demo_with_an_activation_prints_the_same_results_everywhere(novel):
    options = ("demo", "--text", novel, *SMALL, "--activation", "swish")
    found = {
        ok(*options, LANEMAX_ISA=tier, LANEMAX_NUM_THREADS=threads).partition("\nTimings")[0]
        for tier, threads in zip(lm.available_isas(), "1231", strict=False)
    }
    assert len(found) == 1


def test_demo_with_an_unknown_activation():
    line = one_line(refused("demo", "--activation", "nonsense"))
    assert "nonsense" in line and "swish" in line


# --------------------------------------------------------------------------- heads of the demo


def results(text):
    """What must not differ from run to run."""
    return text.partition("\nTimings")[0]


def test_demo_puts_heads_side_by_side(novel, capsys):
    options = ("demo", "--text", novel, *SMALL, "--head", "dense", "linear", "spherical")
    assert main([str(option) for option in options]) == 0
    text = capsys.readouterr().out
    rows, timings = results(text), text.partition("\nTimings")[2]
    for name, function in (("dense", "cross_entropy"), ("linear", "cross_entropy")):
        assert f"{name} head, {function}" in rows and name in timings
    assert "spherical head, z_loss" in rows and "SphericalOutput" in rows
    assert "time of an epoch" in timings and "peak resident memory" in timings


def test_demo_without_and_with_the_dense_head_learn_the_same(novel):
    options = ("demo", "--text", novel, *SMALL)
    assert results(ok(*options)) == results(ok(*options, "--head", "dense"))


def test_demo_with_heads_prints_the_same_results_everywhere(novel):
    options = ("demo", "--text", novel, *SMALL, "--head", "linear", "spherical")
    found = {
        results(ok(*options, LANEMAX_ISA=tier, LANEMAX_NUM_THREADS=threads))
        for tier, threads in zip(lm.available_isas(), "1231", strict=False)
    }
    assert len(found) == 1


def test_demo_says_what_the_z_loss_gains(novel):
    text = ok("demo", "--text", novel, *SMALL, "--head", "spherical", "--loss", "z_loss")
    (line,) = [line for line in text.splitlines() if "speed-up over dense log-softmax" in line]
    assert float(line.partition("softmax: ")[2].partition(" x ")[0]) > 0
    assert "V = 60;" in line and "40 x end to end at V = 793,471" in line
    assert "perplexity" not in results(text).partition("What happened")[0]


@pytest.mark.parametrize("loss", ["spherical", "taylor"])
def test_demo_with_the_other_losses_of_the_spherical_head(loss, novel):
    text = ok("demo", "--text", novel, *SMALL, "--head", "spherical", "--loss", loss)
    assert f'SphericalOutput(weights, loss="{loss}")' in " ".join(text.split())
    assert "speed-up" not in text


@pytest.mark.parametrize(
    ("head", "loss", "fits"),
    [("linear", "z_loss", "cross_entropy"), ("spherical", "cross_entropy", "z_loss")],
)
def test_demo_with_a_loss_that_a_head_cannot_minimise(head, loss, fits):
    line = one_line(refused("demo", "--head", "dense", head, "--loss", loss))
    assert head in line and loss in line and fits in line


def test_demo_with_an_unknown_head():
    assert "nonsense" in one_line(refused("demo", "--head", "nonsense"))


def test_demo_draws_the_curve_of_one_head(novel, tmp_path):
    pytest.importorskip("matplotlib")
    plot = tmp_path / "plot.png"
    options = ("demo", "--text", novel, *SMALL, "--plot", plot)
    assert "one head" in one_line(refused(*options, "--head", "dense", "linear"))
    ok(*options, "--head", "linear")
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_demo_with_all_words_of_the_text(novel):
    rest = ("demo", "--text", novel, *SMALL[2:])
    text = results(ok(*rest, "--vocabulary", "max"))
    assert "each of the 85 entries" in " ".join(text.split())  # 81 words, the full stop, 3 marks
    assert results(ok(*rest, "--vocabulary", 0)) == text


def test_demo_knows_the_vocabulary_by_its_old_name_too(novel):
    rest = ("demo", "--text", novel, *SMALL[2:])
    assert results(ok(*rest, "--vocabulary", 60)) == results(ok(*rest, "--vocab", 60))


@pytest.mark.parametrize("size", [49, -1, "most"])
def test_demo_with_a_vocabulary_that_is_none(size):
    assert str(size) in one_line(refused("demo", "--vocabulary", size))


@pytest.mark.parametrize(
    ("experiment", "suffix"), [("activations", "_vjp"), ("losses", "_and_grad")]
)
def test_bench_plot_of_functions_with_gradients(experiment, suffix, tmp_path):
    """Drawn from made-up times; a peer beyond the axis among them, and every goal."""
    pytest.importorskip("matplotlib")
    from lanemax._cli import goals, plot
    from lanemax._cli.timing import Row, Times

    aims = getattr(goals, experiment.upper())
    names = [*{g.ours.removesuffix(suffix): None for g in aims}, "another"]
    times = {n + ending: [2.0, 2.5] for n in names for ending in ("", suffix)}
    times |= {n: [1.0, 1.25] for g in aims for n in g.against} | {f"torch {names[0]}": [9.0, 9.0]}
    rows = [
        Row(experiment, shape, dtype, "avx2", 1, Times(times))
        for shape, dtype in {(g.shape, g.dtype): None for g in aims}
    ]
    path = tmp_path / "plot.png"
    plot.benchmark(str(path), rows, "a machine")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_bench_judges_16_bit_activations_by_rows_of_their_own():
    pytest.importorskip("ml_dtypes")
    from lanemax._cli import bench, goals

    jobs = bench.experiment("activations", 1, bench.Report())
    by_type = {job.goals[0].dtype: {g.ours for g in job.goals} for job in jobs}
    halved = {n + ending for n in goals.HALVED for ending in ("", "_vjp")}
    assert by_type["float16"] == by_type["bfloat16"] == halved < by_type["float32"]
    assert sum(len(job.goals) for job in jobs) == len(goals.ACTIVATIONS)


def test_commands_write_nothing_to_the_working_directory(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "lanemax", "info"], cwd=tmp_path, check=True, capture_output=True
    )
    assert list(tmp_path.iterdir()) == []
