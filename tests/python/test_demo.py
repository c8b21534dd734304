# SPDX-License-Identifier: Apache-2.0
"""The demo's parts: a text that is read in blocks, output layers that agree, batches, memory."""

import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from lanemax._cli import corpus, head, machine, model
from lanemax._cli.objective import objectives
from lanemax._cli.text import UsageError
from lanemax._cli.training import Workers

EPS = 2.0**-24

# --------------------------------------------------------------------------------------- text

ALPHABETS = {
    "short lines": "abc'\u2019 .\n",
    "numbers and paragraphs": "abcd e\n\n\n ,12",
    "sigma": "\u0391\u03a3\u03c3\u03c2 \u039f\u0394 \n\r\n'",
    "carriage returns": "ab\u00e9 \u00fc\r\n \x0c\u2028\n 9",
    "long capitals": "ab\u0130 c\n\t\n\u4e2d\u6587 ",
    "no paragraphs": "abc d ef g ",
}


def documents_of(text):
    """What the demo takes from a text, from the whole of it."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        words = corpus.WORD.findall(paragraph.lower())
        words = ["<number>" if w[0].isdigit() else w for w in words]
        found += [words[i : i + 200] for i in range(0, len(words), 200)]
    return found


def split(documents):
    """Training and held-out documents: every tenth of about fifty stretches is held out."""
    total, length, piece, parts = sum(map(len, documents)), 0, 1, ([], [])
    for document in documents:
        if length >= piece * total / 50:
            piece += 1
        parts[piece % 10 == 6].append(document)
        length += len(document)
    return parts


def spelled(text, ids):
    """Documents from a corpus whose vocabulary is complete."""
    words = [text.words[i] for i in ids]
    assert words[-1] == "<end>"
    found = " ".join(words).split("<end>")
    return [document.split() for document in found[:-1]]


@pytest.mark.parametrize("block", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("name", ALPHABETS)
def test_a_text_in_blocks_is_the_text(name, block, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK", block)
    rng = random.Random(f"{name} {block}")
    encoding = rng.choice(["utf-8", "utf-8-sig", "utf-16"])
    text = "".join(rng.choices(ALPHABETS[name], k=20_000))
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    found = corpus.build(corpus.read_files([str(path)]), None)
    kept, held = split(documents_of(text))
    known = {word for document in kept for word in document}
    expected = [[w if w in known else "<rare>" for w in document] for document in held]
    assert spelled(found, found.train) == kept
    assert spelled(found, found.held_out) == expected
    assert found.distinct == len(known - {"<number>"})


def test_files_follow_each_other(tmp_path):
    texts = [" ".join(random.Random(i).choices("abcdefg", k=3000)) for i in range(3)]
    paths = [tmp_path / f"{i}.txt" for i in range(3)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    found = corpus.read_files([str(p) for p in paths])
    assert found.words == 9000 and found.documents == 45
    kept, held = split([d for text in texts for d in documents_of(text)])
    built = corpus.build(found, None)
    assert (spelled(built, built.train), spelled(built, built.held_out)) == (kept, held)


def test_old_encodings_are_seen_far_into_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK", 100)
    path = tmp_path / "old.txt"
    path.write_bytes(b"some words and more of them " * 500 + "d\u00e9j\u00e0".encode("latin-1"))
    assert "d\u00e9j\u00e0" in corpus.read_files([str(path)]).numbers


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs /dev/fd")
def test_a_pipe_is_read_once():
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(b"some words and more of them " * 500)
    try:
        found = corpus.read_files([f"/dev/fd/{reader}"])
    finally:
        os.close(reader)
    assert found.words == 3000


def test_zeros_are_seen_far_into_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK", 100)
    path = tmp_path / "binary.txt"
    path.write_bytes(b"some words and more of them " * 500 + b"\0")
    with pytest.raises(UsageError, match=r"binary\.txt is not text"):
        corpus.read_files([str(path)])


def test_words_by_frequency_then_by_the_alphabet():
    text = corpus.Numbered()
    for word in ["the", "end", "of", "the", "road", "the", "end", "a"] * 200:
        text.add(text.numbers_of(word))
        text.end_piece()
    built = corpus.build(text, None)
    counts = dict(zip(built.words, built.counts.tolist(), strict=True))
    assert built.words[:3] == ["<rare>", "<end>", "<number>"]
    assert built.words[3:] == sorted(built.words[3:], key=lambda w: (-counts[w], w))
    assert np.array_equal(built.counts, np.bincount(built.train, minlength=len(built.words)))


def test_contexts_stop_at_the_start_of_a_document():
    ids = np.array([5, 6, 7, 1, 8, 9, 1], np.int32)
    before, targets = corpus.contexts(ids, np.array([0, 2, 5, 6]), 3)
    assert before.tolist() == [[1, 1, 1], [6, 5, 1], [8, 1, 1], [9, 8, 1]]
    assert targets.tolist() == [5, 7, 9, 1]


READ = """
import sys
from lanemax._cli import corpus, machine
machine.reset_peak_memory()
before = machine.peak_memory()
text = corpus.build(corpus.read_files(sys.argv[1:]), None)
print(text.train.size + text.held_out.size, machine.peak_memory() - before)
"""


@pytest.mark.skipif(not machine.reset_peak_memory(), reason="needs /proc/self/clear_refs")
def test_a_text_takes_four_bytes_for_each_word(tmp_path):
    """In a child: an array that grows has an eighth to spare, and blocks take a few MiB.

    glibc keeps arrays of up to 32 MiB in its heap when large ones were freed before, and there
    growing copies: for a moment old and new stand side by side. With a fixed threshold it moves
    pages, as it does for all larger ones; a text of that length would take this test a minute.
    """
    rng = random.Random(3)
    words = ["".join(rng.choices("abcdefgh", k=4)) for _ in range(1000)]
    paragraphs = [" ".join(rng.choices(words, k=60)) + ".\n\n" for _ in range(500)]
    path = tmp_path / "long.txt"
    with path.open("w") as file:
        for _ in range(80):
            file.writelines(paragraphs)
    command = [sys.executable, "-c", READ, str(path)]
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_=str(2**17))
    size, grown = map(int, subprocess.check_output(command, text=True, env=environment).split())
    assert size == 80 * 500 * 62
    assert 4 * size <= grown <= 4.5 * size + 6 * 2**20


# -------------------------------------------------------------------------------------- heads


def layer(rows=40, words=700, units=24):
    rng = np.random.default_rng(5)
    h = rng.normal(size=(rows, units)).astype(np.float32)
    weight = rng.normal(size=(words, units), scale=0.3).astype(np.float32)
    return h, weight, rng.integers(0, words, rows).astype(np.int32)


PAIRS = [("linear", "cross_entropy"), ("spherical", "z_loss")]
PAIRS += [("spherical", "spherical"), ("spherical", "taylor")]


@pytest.mark.parametrize(("name", "loss"), PAIRS)
def test_heads_have_the_gradient_of_the_dense_one(name, loss):
    """From logits that are exact in any order, so that the sums over words alone are rounded."""
    h, weight, targets = layer()
    h, weight = np.round(2 * h), np.round(16 * weight) / 16
    objective = objectives(1.0)[loss]
    with Workers() as workers:
        heads = [head.HEADS[n](weight.copy(), objective, 64, workers) for n in ("dense", name)]
        (dense_loss, dense_dh), (loss_found, dh) = (x.step(h, targets, 0.0) for x in heads)
    gradient = np.empty((len(h), len(weight)), np.float32)
    objective.loss_and_grad(h @ weight.T, targets, gradient)
    terms = np.abs(gradient) @ np.abs(weight) / len(h)
    # Each of the two: its gradient's bound, and a rounding for each word that is added.
    bound = 2 * (6 + len(weight)) * EPS
    assert loss_found == pytest.approx(dense_loss, rel=8 * EPS, abs=0)
    assert (np.abs(dh - dense_dh) <= bound * terms).all()


@pytest.mark.parametrize(("name", "loss"), PAIRS)
def test_heads_rank_as_the_dense_one_does(name, loss):
    h, weight, targets = layer()
    targets[::2] = (h @ weight.T).argsort(axis=1)[::2, -4]
    objective = objectives(1.0)[loss]
    with Workers() as workers:
        heads = [head.HEADS[n](weight.copy(), objective, 64, workers) for n in ("dense", name)]
        (dense_loss, better), (sum_of_losses, places) = (x.measure(h, targets) for x in heads)
        (scores, words), (largest, chosen) = (x.choices(h) for x in heads)
    assert np.array_equal(np.minimum(better, head.DEPTH), places) and (places[::2] == 3).all()
    if objective.is_likelihood:
        assert sum_of_losses == pytest.approx(dense_loss, rel=1e-5, abs=0)
    else:
        assert np.isnan(sum_of_losses)
    assert words.shape == scores.shape == (len(h), len(weight))
    assert largest.shape == chosen.shape == (len(h), head.CHOICES)
    assert np.array_equal(chosen[:, 0], scores.argmax(axis=1))


@pytest.mark.parametrize("name", head.NAMES)
def test_heads_learn(name):
    h, weight, targets = layer()
    loss = head.HEADS[name].losses[0]
    with Workers() as workers:
        learner = head.HEADS[name](weight, objectives(1.0)[loss], 64, workers)
        losses = [learner.step(h, targets, 0.01)[0] for _ in range(20)]
    assert losses[-1] < losses[0]


# ----------------------------------------------------------------------------- batches, memory


def test_batches_are_shuffled_passes():
    found = list(model.batches(10, 4, 5, np.random.default_rng(0)))
    assert [b.size for b in found] == [4] * 5
    flat = np.concatenate(found)
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))


def test_batches_of_a_long_text_do_not_repeat():
    found = np.concatenate(list(model.batches(10**9, 8, 50, np.random.default_rng(0))))
    assert found.size == np.unique(found).size == 400 and found.min() >= 0
    assert found.max() < 10**9 and found.max() > 9 * 10**8


def test_places_to_measure_are_spread(monkeypatch):
    text = np.zeros(1000, np.int32)
    assert np.array_equal(model.places_to_measure(text, 100), np.arange(1000))
    monkeypatch.setattr(model, "MOST_SCORES", 3000)
    assert model.places_to_measure(text, 300).tolist() == list(range(0, 1000, 100))


@pytest.mark.skipif(not machine.reset_peak_memory(), reason="needs /proc/self/clear_refs")
def test_peak_memory_begins_anew():
    np.ones(8 << 20)  # 64 MiB
    high = machine.peak_memory()
    assert machine.reset_peak_memory()
    assert machine.peak_memory() <= high - (48 << 20)


def test_the_machine_must_have_the_memory(monkeypatch):
    from lanemax._cli import demo

    monkeypatch.setattr(machine, "free_memory", lambda: 10 << 20)
    with pytest.raises(UsageError, match=r"--head dense needs .* another head"):
        demo.require_memory("dense", model.Settings(100_000))
    demo.require_memory("spherical", model.Settings(1000))
