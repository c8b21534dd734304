# SPDX-License-Identifier: Apache-2.0
"""Do in a copy of the tree what CONTRIBUTING.md says of adding operations.

    python check_contributing.py SOURCE COPY

The files and the registry's lines are the page's own C blocks, the commands its shell blocks.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from check_docs import blocks

#: heading of a recipe with an example -> the list of the registry, the folder of its kernels
RECIPES = {
    "Adding an operation on rows": ("LMX_ROW_LIST", "row"),
    "Adding an activation": ("LMX_UNARY_LIST", "unary"),
}


def add_line(header: Path, of: str, line: str) -> str:
    """Append a line of the page to a list of the registry; the operation's name."""
    match = re.match(r"OP\((\d+), (\w+), ", line)
    if match is None or not line.endswith(")\n"):
        sys.exit(f"CONTRIBUTING.md: not a line of the registry: {line!r}")
    number, name = match.groups()
    text = header.read_text(encoding="utf-8")
    head, rest = text.split(f"#define {of}(OP)", 1)
    entries, behind = rest.split("\n\n", 1)
    if f"OP({int(number) - 1}," not in entries or f"OP({number}," in entries:
        sys.exit(f"CONTRIBUTING.md: {number} is not the next number of {of}")
    added = line.rstrip().replace("\n", " \\\n    ")
    header.write_text(
        f"{head}#define {of}(OP){entries} \\\n    {added}\n\n{behind}", encoding="utf-8"
    )
    return name


def follow(copy: Path, heading: str) -> None:
    """One recipe: its file, its line, its commands, whose last one must name the operation."""
    page = copy / "CONTRIBUTING.md"
    of, folder = RECIPES[heading]
    kernel, line = blocks(page, "c", heading)
    (commands,) = blocks(page, "sh", heading)
    name = add_line(copy / "include" / "lanemax" / "ops.h", of, line)
    (copy / "lib" / "kernels" / folder / f"{name}.c").write_text(kernel, encoding="utf-8")
    for command in commands.splitlines():
        print("+", command, flush=True)
        done = subprocess.run(command, shell=True, cwd=copy, capture_output=True, text=True)
        print(done.stdout[-2000:], done.stderr[-2000:], flush=True)
        if done.returncode != 0:
            sys.exit(f"CONTRIBUTING.md: {command} failed")
    if not re.search(rf"^{name}: ", done.stdout, re.MULTILINE):
        sys.exit(f"CONTRIBUTING.md: the test knows nothing of {name}")


def main() -> None:
    source, copy = map(Path, sys.argv[1:])
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build*", ".venv", ".git"))
    for heading in RECIPES:
        follow(copy, heading)


if __name__ == "__main__":
    main()
