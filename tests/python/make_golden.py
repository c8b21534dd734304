# SPDX-License-Identifier: Apache-2.0
"""Write tests/golden.json: one SHA-256 per function and element type.

    python tests/python/make_golden.py [--check]

The hashes change only with the numerics of the library.  Changing them is a decision: say so in
CHANGELOG.md.  All tiers that this CPU has must agree before anything is written.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import golden_inputs
import support

FILE = pathlib.Path(__file__).parent.parent / "golden.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    hashes: dict[str, dict[str, str]] = {}
    for name, digest in golden_inputs.DIGESTS.items():
        for dtype in support.DTYPES:
            found = {}
            for tier in support.TIERS:
                with support.running(tier):
                    found[tier] = digest(dtype)
            if len(set(found.values())) != 1:
                print(f"{name} {dtype}: the tiers differ: {found}", file=sys.stderr)
                return 1
            hashes.setdefault(name, {})[str(dtype)] = found[support.TIERS[0]]
    if check:
        same = json.loads(FILE.read_text()) == hashes
        print("the same" if same else "different")
        return 0 if same else 1
    FILE.write_text(json.dumps(hashes, indent=2) + "\n")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
