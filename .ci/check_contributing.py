# SPDX-License-Identifier: Apache-2.0
"""Do in a copy of the tree what CONTRIBUTING.md says of adding an activation.

    python check_contributing.py SOURCE COPY

The file and the registry's line are the page's own C blocks, the commands its shell block.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from check_docs import blocks


def main() -> None:
    source, copy = map(Path, sys.argv[1:])
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build*", ".venv", ".git"))
    page = copy / "CONTRIBUTING.md"
    kernel, line = blocks(page, "c", "Adding an activation")
    (commands,) = blocks(page, "sh", "Adding an activation")

    match = re.fullmatch(r"OP\((\d+), (\w+), .*\)\n", line)
    if match is None:
        sys.exit(f"CONTRIBUTING.md: not a line of the registry: {line!r}")
    number, name = match.groups()
    (copy / "lib" / "kernels" / "unary" / f"{name}.c").write_text(kernel, encoding="utf-8")
    header = copy / "include" / "lanemax" / "ops.h"
    text = header.read_text(encoding="utf-8")
    head, rest = text.split("#define LMX_UNARY_LIST(OP)", 1)
    entries, behind = rest.split("\n\n", 1)
    if f"OP({int(number) - 1}," not in entries or f"OP({number}," in entries:
        sys.exit(f"CONTRIBUTING.md: {number} is not the next number of LMX_UNARY_LIST")
    header.write_text(
        f"{head}#define LMX_UNARY_LIST(OP){entries} \\\n    {line}\n{behind}", encoding="utf-8"
    )
    for command in commands.splitlines():
        print("+", command, flush=True)
        done = subprocess.run(command, shell=True, cwd=copy, capture_output=True, text=True)
        print(done.stdout[-2000:], done.stderr[-2000:], flush=True)
        if done.returncode != 0:
            sys.exit(f"CONTRIBUTING.md: {command} failed")
    if not re.search(rf"^{name}: ", done.stdout, re.MULTILINE):
        sys.exit(f"CONTRIBUTING.md: the test knows nothing of {name}")


if __name__ == "__main__":
    main()
