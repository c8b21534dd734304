# SPDX-License-Identifier: Apache-2.0
"""Real text for the demo: read it, cut it into words, number the words, keep a part unseen."""

from __future__ import annotations

import ast
import codecs
import io
import os
import re
import sysconfig
import tokenize
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .text import Progress, UsageError, progress

Ids: TypeAlias = NDArray[Any]

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


#: A text without blank lines is one paragraph; this many words keep the pieces even.
LONGEST_DOCUMENT = 200


class _Numbers(dict[str, int]):
    """The number of each word, in the order in which they are first asked for."""

    def __missing__(self, word: str) -> int:
        if word[0].isdigit():
            return NUMBER
        self[word] = number = len(MARKS) + len(self)
        return number


class Numbered:
    """A text as it is read: numbers instead of words, four bytes each.

    Attributes
    ----------
    numbers : dict
        Of all words so far.
    ids : array.array of int
        The words, each document followed by the end mark.
    ends : array.array of int
        Where documents end in `ids`, behind their mark.
    pieces : list of int
        Where pieces end: documents that are kept or held out together, those of one file or of
        one stretch of a text.
    origin : str
        Where the text comes from, for the reader of the result.
    """

    def __init__(self) -> None:
        self.numbers = _Numbers()
        self.ids, self.ends = array("i"), array("q", [0])
        self.pieces: list[int] = []
        self.origin = ""

    @property
    def documents(self) -> int:
        """How many have ended."""
        return len(self.ends) - 1

    @property
    def words(self) -> int:
        """How many words the documents have, marks not counted."""
        return self.ends[-1] - self.documents

    def numbers_of(self, text: str) -> Iterable[int]:
        """Return the words of `text` as numbers; punctuation counts, numbers become one mark."""
        return map(self.numbers.__getitem__, WORD.findall(text.lower()))

    def add(self, document: Iterable[int]) -> None:
        """Append a document."""
        self.ids.extend(document)
        self.end()

    def end(self) -> None:
        """End the document that the last words belong to."""
        self.ids.append(END)
        self.ends.append(len(self.ids))

    def end_piece(self) -> None:
        """End a piece after the last document, unless there is nothing in it."""
        if self.ends[-1] > (self.pieces[-1] if self.pieces else 0):
            self.pieces.append(self.ends[-1])


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


def _texts_of(path: Path) -> list[str]:
    """Return the docstrings and comments of a Python file, those before a fault in it."""
    texts: list[str] = []
    # Some files are there to be broken: another encoding, another Python's grammar.
    try:
        with tokenize.open(path) as file:
            source = file.read()
        texts += _docstrings(source)
        texts += _comments(source)
    except (OSError, SyntaxError, ValueError, tokenize.TokenError, RecursionError):
        pass
    return texts


def read_standard_library() -> Numbered:
    """Return the docstrings and comments of the running Python's library, a piece per file.

    They are in the order of the file names. A document that occurs twice (a licence) is kept once.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = _python_files(root)
    text = Numbered()
    seen: set[tuple[int, ...]] = set()
    with progress("reading", max(1, len(files))) as bar:
        for path in files:
            bar.advance(1, path.name)
            for document in map(tuple, map(text.numbers_of, _texts_of(path))):
                if len(document) > 2 and document not in seen:
                    seen.add(document)
                    text.add(document)
            text.end_piece()
    if text.words < LEAST_WORDS:
        raise UsageError(
            f"found no readable standard library under {root}: give a text with --text FILE"
        )
    text.origin = (
        f"{text.documents:,} docstrings and comments of {len(text.pieces):,} files of this Python"
    )
    return text


# ----------------------------------------------------------------------------- a user's files


#: Bytes, or characters, that are read at once.
BLOCK = 1 << 20

PARAGRAPH = re.compile(r"\n\s*\n")


def _open(path: Path) -> BinaryIO:
    """Return a file that can be read twice, or say in one line why there is none."""
    try:
        file = path.open("rb")
        if file.seekable():
            return file
        with file:  # a pipe
            return io.BytesIO(file.read())
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory: name text files") from None
    except OSError as error:
        # Windows says "permission denied" of a directory.
        reason = "is a directory" if path.is_dir() else error.strerror or str(error)
        raise UsageError(f"cannot read {path}: {reason}") from None


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    return iter(partial(file.read, BLOCK), b"")


def _decodes(file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in _blocks(file):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(file: BinaryIO, path: Path) -> str:
    """Return how the text in a file is encoded, or say in one line why it cannot serve."""
    if not any(block.strip() for block in _blocks(file)):
        raise UsageError(f"{path} is empty")
    file.seek(0)
    utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if not utf16 and any(b"\0" in block for block in _blocks(file)):
        raise UsageError(f"{path} is not text: it holds NUL bytes")
    encoding = "utf-16" if utf16 else "utf-8-sig"
    return encoding if _decodes(file, encoding) else "latin-1"


def _refuse_controls(head: str, path: Path) -> None:
    """Old encodings decode anything; control characters give a binary file away."""
    odd = sum(unicodedata.category(c) in ("Cc", "Cn") and c not in "\t\n\r\f\v" for c in head)
    if odd > len(head) // 100:
        raise UsageError(f"{path} is not text: it holds {odd:,} control characters")


class _Paragraphs:
    """Cuts a text that comes in blocks into paragraphs, and long ones into documents."""

    def __init__(self, text: Numbered) -> None:
        self._text = text
        self._rest = ""

    def read(self, block: str) -> None:
        """Take in what follows; the last word and white space wait for what may belong to them."""
        *whole, last = PARAGRAPH.split(self._rest + block)
        for paragraph in whole:
            self._add(paragraph)
            self._end()
        before = "".join(last.rsplit(None, 1)[:-1])
        self._add(before)
        self._rest = last[len(before) :]

    def close(self) -> None:
        """Take in what is left."""
        self._add(self._rest)
        self._end()
        self._rest = ""

    def _add(self, part: str) -> None:
        text = self._text
        words = iter(text.numbers_of(part))
        while True:
            text.ids.extend(islice(words, LONGEST_DOCUMENT - self._length()))
            if self._length() < LONGEST_DOCUMENT:
                return
            text.end()

    def _length(self) -> int:
        return len(self._text.ids) - self._text.ends[-1]

    def _end(self) -> None:
        if self._length():
            self._text.end()


def _read_file(file: BinaryIO, path: Path, text: Numbered, bar: Progress) -> None:
    """Append the paragraphs of a file to `text`."""
    encoding = _encoding(file, path)
    file.seek(0)
    # No newline is translated: a carriage return is white space like any other.
    with io.TextIOWrapper(file, encoding, newline="") as reader:
        _refuse_controls(reader.read(100_000), path)
        reader.seek(0)
        paragraphs, done = _Paragraphs(text), 0
        for block in iter(partial(reader.read, BLOCK), ""):
            paragraphs.read(block)
            bar.advance(file.tell() - done, f"{path.name}, {len(text.numbers):,} different words")
            done = file.tell()
        paragraphs.close()


def _end_stretches(text: Numbered, count: int) -> None:
    """Cut a text into `count` pieces of about equal length, between documents."""
    ends = np.frombuffer(text.ends, np.int64)
    words = ends - np.arange(ends.size)
    reached, last = 0, ends.size - 1
    while reached < last:
        # A piece ends with the document in which its share of the words is reached.
        share = (len(text.pieces) + 1) * int(words[-1]) / count
        reached = max(reached + 1, int(np.searchsorted(words, share)))
        text.pieces.append(int(ends[reached]))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_files(paths: Sequence[str]) -> Numbered:
    """Return the paragraphs of text files, in fifty stretches of about equal length.

    They are read block by block: a text needs four bytes for each of its words, and what a
    dictionary of its different words takes.

    Parameters
    ----------
    paths : sequence of str
        UTF-8, UTF-16 with a byte order mark, or Latin-1.
    """
    text = Numbered()
    files = [Path(p) for p in paths]
    with progress("reading", sum(map(_size, files))) as bar:
        for path in files:
            with _open(path) as file:
                _read_file(file, path, text, bar)
    names = ", ".join(path.name for path in files)
    if text.words < LEAST_WORDS:
        raise UsageError(
            f"{names}: {text.words:,} words are too few to learn from; "
            f"it takes {LEAST_WORDS:,} or more"
        )
    _end_stretches(text, 50)
    text.origin = f"{text.documents:,} paragraphs of {names}"
    return text


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
    counts : array of int64, shape (len(words),)
        How often each occurs in the training text.
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
    counts: Ids
    rare: float
    distinct: int
    origin: str

    def number(self, word: str) -> int:
        """Return the number of `word`, `UNKNOWN` if the vocabulary lacks it."""
        try:
            return self.words.index(word)
        except ValueError:
            return UNKNOWN


def _by_frequency(words: Sequence[str], counts: Ids) -> Ids:
    """Return the numbers of the words that occur: the most frequent first, then by the alphabet."""
    found = np.flatnonzero(counts[len(MARKS) :]) + len(MARKS)
    order = np.array(sorted(found.tolist(), key=words.__getitem__), np.int64)
    result: Ids = order[np.argsort(-counts[order], kind="stable")]
    return result


def build(text: Numbered, vocabulary: int | None) -> Corpus:
    """Split a text into a training and a held-out part and number its words by frequency.

    Parameters
    ----------
    text : Numbered
        Every tenth piece is held out. It is used up: the training text takes its place in memory.
    vocabulary : int or None
        The largest number of entries, the three marks included; None: all words. The words are
        those of the training text alone.
    """
    names = [*MARKS, *text.numbers]
    ids = np.frombuffer(text.ids, np.int32)
    pieces = list(pairwise([0, *text.pieces]))
    held = pieces[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    kept = [p for p in pieces if p not in set(held)]
    counts = np.zeros(len(names), np.int64)
    for a, b in kept:
        counts += np.bincount(ids[a:b], minlength=len(names))
    order = _by_frequency(names, counts)
    chosen = np.concatenate([np.arange(len(MARKS)), order])[:vocabulary]
    number = np.full(len(names), UNKNOWN, np.int32)
    number[chosen] = np.arange(chosen.size)

    held_out = np.concatenate([number[ids[a:b]] for a, b in held] or [ids[:0]])
    length = 0
    for a, b in kept:
        ids[length : length + b - a] = number[ids[a:b]]
        length += b - a
    train = ids[:length]
    if min(train.size, held_out.size) < LEAST_WORDS // 20:
        raise UsageError("the text is too short to hold a part of it out")
    totals = np.zeros(chosen.size, np.int64)
    np.add.at(totals, number, counts)
    rare = float(np.count_nonzero(held_out == UNKNOWN)) / held_out.size
    words = [names[i] for i in chosen]
    return Corpus(words, train, held_out, totals, rare, order.size, text.origin)


def contexts(ids: Ids, places: Ids, length: int) -> tuple[Ids, Ids]:
    """Return the `length` words before each of some words, nearest first, and the words.

    Parameters
    ----------
    ids : array of int32, shape (n,)
        A text with end marks.
    places : array of int, shape (m,)
        Which words of it.
    length : int
        Words of context. Positions before the start of a document hold the end mark.

    Returns
    -------
    before : array of int32, shape (m, length)
    targets : array of int32, shape (m,)
    """
    source = places[:, None] - np.arange(1, length + 1)
    before = ids[np.maximum(source, 0)]
    before[source < 0] = END
    # From the nearest end mark on, everything further back belongs to another document.
    before[np.logical_or.accumulate(before == END, axis=1)] = END
    return before, ids[places]
