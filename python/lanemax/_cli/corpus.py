# SPDX-License-Identifier: Apache-2.0
"""Real text for the demo: read it, cut it into words, number the words, keep a part unseen."""

from __future__ import annotations

import ast
import io
import os
import re
import sysconfig
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .text import UsageError, progress

Ids: TypeAlias = NDArray[Any]

#: A docstring, a block of comments or a paragraph, as its words.
Document: TypeAlias = list[str]

#: Documents that are kept or held out together: those of one file, or of one stretch of a text.
Piece: TypeAlias = list[Document]

#: Every tenth piece is never trained on.
HELD_OUT_EVERY = 10

#: Below this there is nothing to learn from and nothing to measure with.
LEAST_WORDS = 2000

#: Marks in the vocabulary that are not words: a rare word, the end of a document, a number.
UNKNOWN, END, NUMBER = 0, 1, 2
MARKS = ("<rare>", "<end>", "<number>")

#: Folders of the library without prose about it; encodings holds tables of character names.
SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "encodings"}
)

WORD = re.compile(r"[^\W\d]\w*(?:['\u2019][^\W\d]+)?|\d+|[.,;:!?()]")


def words_of(text: str) -> Document:
    """Return the words of `text` in lower case; punctuation counts, numbers become one mark."""
    found = WORD.findall(text.lower())
    return [MARKS[NUMBER] if w[0].isdigit() else w for w in found]


# ---------------------------------------------------------------- the Python standard library


def _prose(text: str) -> str:
    """Return `text` without interactive sessions, which are code."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith((">>>", "...")))
    return "\n".join(lines)


def _docstrings(source: str) -> Iterable[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds):
            text = ast.get_docstring(node)
            if text:
                yield _prose(text)


def _comments(source: str) -> Iterable[str]:
    """Yield blocks of comments on consecutive lines."""
    block: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                yield "\n".join(block)
                block = []
            block.append(token.string.lstrip("#!: "))
            last = token.start[0]
    if block:
        yield "\n".join(block)


def _python_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(s for s in subfolders if s not in SKIPPED_FOLDERS)
        found += [Path(folder) / n for n in sorted(names) if n.endswith(".py")]
    return found


def read_standard_library() -> tuple[list[Piece], str]:
    """Return the docstrings and comments of the running Python's library, a piece per file.

    Returns
    -------
    pieces : list of Piece
        In the order of the file names. A document that occurs twice (a licence) is kept once.
    origin : str
        Where they come from, for the reader of the result.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = _python_files(root)
    pieces: list[Piece] = []
    seen: set[tuple[str, ...]] = set()
    with progress("reading", max(1, len(files))) as bar:
        for path in files:
            bar.advance(1, path.name)
            texts: list[str] = []
            # Some files are there to be broken: another encoding, another Python's grammar.
            try:
                with tokenize.open(path) as file:
                    source = file.read()
                texts += _docstrings(source)
                texts += _comments(source)
            except (OSError, SyntaxError, ValueError, tokenize.TokenError, RecursionError):
                pass
            piece = []
            for document in map(words_of, texts):
                key = tuple(document)
                if len(document) > 2 and key not in seen:
                    seen.add(key)
                    piece.append(document)
            if piece:
                pieces.append(piece)
    count = sum(len(p) for p in pieces)
    if sum(len(d) for p in pieces for d in p) < LEAST_WORDS:
        raise UsageError(
            f"found no readable standard library under {root}: give a text with --text FILE"
        )
    return pieces, f"{count:,} docstrings and comments of {len(pieces):,} files of this Python"


# ----------------------------------------------------------------------------- a user's files


def _read_text(path: Path) -> str:
    """Return the text of a file, or say in one line why it cannot serve."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory: name text files") from None
    except OSError as error:
        # Windows says "permission denied" of a directory.
        reason = "is a directory" if path.is_dir() else error.strerror or str(error)
        raise UsageError(f"cannot read {path}: {reason}") from None
    if not data.strip():
        raise UsageError(f"{path} is empty")
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\0" in data and not utf16:
        raise UsageError(f"{path} is not text: it holds NUL bytes")
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # Old encodings decode anything; control characters give a binary file away.
    head = text[:100_000]
    odd = sum(unicodedata.category(c) in ("Cc", "Cn") and c not in "\t\n\r\f\v" for c in head)
    if odd > len(head) // 100:
        raise UsageError(f"{path} is not text: it holds {odd:,} control characters")
    return text


def read_files(paths: Sequence[str]) -> tuple[list[Piece], str]:
    """Return the paragraphs of text files, in fifty stretches of about equal length.

    Parameters
    ----------
    paths : sequence of str
        UTF-8, UTF-16 with a byte order mark, or Latin-1.
    """
    documents: Piece = []
    for path in paths:
        for paragraph in re.split(r"\n\s*\n", _read_text(Path(path)).replace("\r\n", "\n")):
            words = words_of(paragraph)
            # A text without blank lines is one paragraph; 200 words keep the pieces even.
            documents += [words[i : i + 200] for i in range(0, len(words), 200)]
    total = sum(map(len, documents))
    names = ", ".join(Path(p).name for p in paths)
    if total < LEAST_WORDS:
        raise UsageError(
            f"{names}: {total:,} words are too few to learn from; it takes {LEAST_WORDS:,} or more"
        )
    pieces: list[Piece] = [[]]
    length = 0
    for document in documents:
        if length >= len(pieces) * total / 50:
            pieces.append([])
        pieces[-1].append(document)
        length += len(document)
    return pieces, f"{len(documents):,} paragraphs of {names}"


# --------------------------------------------------------------------------------- vocabulary


@dataclass(frozen=True)
class Corpus:
    """A text as numbers.

    Attributes
    ----------
    words : list of str
        The vocabulary: the three marks, then words from the most frequent down.
    train, held_out : array of int32
        Word numbers, each document followed by the end mark.
    rare : float
        The share of the held-out text that is not in the vocabulary.
    distinct : int
        Different words in the training text.
    origin : str
        Where the text comes from.
    """

    words: list[str]
    train: Ids
    held_out: Ids
    rare: float
    distinct: int
    origin: str

    def number(self, word: str) -> int:
        """Return the number of `word`, `UNKNOWN` if the vocabulary lacks it."""
        try:
            return self.words.index(word)
        except ValueError:
            return UNKNOWN


def build(pieces: Sequence[Piece], origin: str, vocabulary: int) -> Corpus:
    """Split pieces into a training and a held-out text and number their words.

    Parameters
    ----------
    pieces : sequence of Piece
        Every tenth is held out.
    origin : str
        Passed on to the result.
    vocabulary : int
        The largest number of entries, the three marks included. The words are those of the
        training text alone.
    """
    held = [p for i, p in enumerate(pieces) if i % HELD_OUT_EVERY == HELD_OUT_EVERY // 2]
    kept = [p for i, p in enumerate(pieces) if i % HELD_OUT_EVERY != HELD_OUT_EVERY // 2]
    counts = Counter(w for piece in kept for document in piece for w in document)
    counts.pop(MARKS[NUMBER], None)
    distinct = len(counts)
    order = sorted(counts, key=lambda w: (-counts[w], w))
    words = [*MARKS, *order[: vocabulary - len(MARKS)]]
    numbers = {w: i for i, w in enumerate(words)}

    def ids(part: Sequence[Piece]) -> Ids:
        flat: list[int] = []
        for piece in part:
            for document in piece:
                flat += [numbers.get(w, UNKNOWN) for w in document]
                flat.append(END)
        return np.array(flat, np.int32)

    train, held_out = ids(kept), ids(held)
    if min(train.size, held_out.size) < LEAST_WORDS // 20:
        raise UsageError("the text is too short to hold a part of it out")
    rare = float(np.count_nonzero(held_out == UNKNOWN)) / held_out.size
    return Corpus(words, train, held_out, rare, distinct, origin)


def contexts(ids: Ids, length: int) -> tuple[Ids, Ids]:
    """Return the `length` words before each word, nearest first, and the word itself.

    Parameters
    ----------
    ids : array of int32, shape (n,)
        A text with end marks.
    length : int
        Words of context. Positions before the start of a document hold the end mark.

    Returns
    -------
    before : array of int32, shape (n, length)
    targets : array of int32, shape (n,)
    """
    padded = np.concatenate([np.full(length, END, np.int32), ids])
    views = [padded[length - j - 1 : length - j - 1 + ids.size] for j in range(length)]
    before = np.stack(views, axis=1)
    # From the nearest end mark on, everything further back belongs to another document.
    before[np.logical_or.accumulate(before == END, axis=1)] = END
    return before, ids
