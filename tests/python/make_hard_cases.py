# SPDX-License-Identifier: Apache-2.0
"""Search for the rows on which lanemax is least accurate and write hard_cases.json.

    python tests/python/make_hard_cases.py [--rows N]

Seeded.  The file holds the worst rows per function of the search, together with rows on which other
libraries were wrong, as hexadecimal floats.  It is meant to grow: rows of the file that is there
are kept, and the worst new ones are added.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import lanemax as lm  # noqa: F401
import numpy as np
import support
from registry import ALL

FILE = pathlib.Path(__file__).parent / "hard_cases.json"
LENGTHS = (2, 3, 5, 8)


def hexed(row) -> str:
    """The row as hexadecimal floats without trailing zeros."""
    words = []
    for v in row.tolist():
        mantissa, p, exponent = float(v).hex().partition("p")
        words.append(
            (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + p + exponent
        )
    return " ".join(words)


def known_rows(dtype) -> list[list[float]]:
    """Rows on which peers lose digits: coarse x - max, confident rows, ties, masks."""
    rows = [
        [40.0, 0.0, -3.0],
        [0.0, 60.0, 59.0],
        [1e8, 1e8 + 8],
        [-1e30, -1e30],
        [30000.0, 30000.5, 29990.0],
    ]
    rows += [[peak] + [0.0] * n for peak in (10, 15, 20, 25, 30, 60) for n in (1, 2, 7)]
    rows += [[0.0, -d - 1 / 3] for d in range(0, 104, 4)]
    rows += [[1e6, 1e6 - d, 1e6 - 2 * d] for d in (0.0625, 1.0, 44.0)]
    rows += [
        [-(2.0**18), -(2.0**18) - 1],
        [2.0**18, 2.0**18 - 3.5],
        [-726817.5, -726816.0],
        [2.9e6, 2.9e6 - 1],
    ]
    rows += [[x, -np.inf, x - 0.5] for x in (-90.0, 0.1, 88.7, 1e5)]
    if dtype == support.F64:
        rows += [[0.0, -d - 1 / 3] for d in range(0, 745, 31)] + [
            [1e15 + 1, 1e15, 1e15 + 0.5],
            [300.0, 0.0],
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000, help="rows searched per kind and length")
    rows_searched = parser.parse_args().rows
    try:
        found = json.loads(FILE.read_text())
    except FileNotFoundError:
        found = {}
    for function in ALL:
        key = function.inputs[0] if len(function.inputs) == 1 else function.name
        for dtype in (support.F32, support.F64):
            old = found.setdefault(key, {}).setdefault(str(dtype), [])
            new = []
            if len(function.inputs) == 1:
                new += [hexed(np.array(r).astype(dtype)) for r in known_rows(dtype)]
            wanted = (8 if dtype == support.F32 else 4) if len(function.inputs) == 2 else 2
            for kind in support.KINDS:
                for n in LENGTHS:
                    rng = np.random.default_rng(
                        list(f"{function.name}/{dtype}/{kind}/{n}".encode())
                    )
                    count = rows_searched if dtype == support.F32 else rows_searched // 10
                    arrays = function.sample(kind, rng, (count, n), dtype)
                    ratio = function.excess(arrays, function(*arrays))
                    ratio = ratio.max(axis=1) if ratio.ndim == 2 else ratio
                    for i in np.argsort(ratio)[::-1][:wanted]:
                        texts = [hexed(a[i]) for a in arrays]
                        new.append(texts[0] if len(texts) == 1 else texts)
            old += [row for row in new if row not in old]
            print(f"{key:16} {dtype}: {len(old)} rows")
    FILE.write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
