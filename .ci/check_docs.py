# SPDX-License-Identifier: Apache-2.0
"""Run the examples of README.md and docs/ against the installed package.

Python blocks are run; C blocks are built with the flags that ``python -m lanemax config`` prints
and run.  The README's C block must be the text of examples/softmax.c, and every path that
docs/source-map.md names must exist.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror"]


def blocks(page: Path, language: str, heading: str = "") -> list[str]:
    """Code blocks of a page, or of the section under a heading, without their indentation."""
    text = page.read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


def run(command: list[str]) -> None:
    subprocess.run(command, check=True)


def missing_paths(page: Path) -> list[str]:
    """Paths from the root, between backticks, that the tree does not have."""
    folders = r"include|lib|python|tests|bench|tools|docs|\.ci"
    named = re.findall(rf"`((?:{folders})/[^`\s]*)`", page.read_text(encoding="utf-8"))
    return sorted({path for path in named if not (ROOT / path).exists()})


def main() -> None:
    missing = missing_paths(ROOT / "docs" / "source-map.md")
    if missing:
        sys.exit(f"docs/source-map.md names what is not there: {', '.join(missing)}")
    config = [sys.executable, "-m", "lanemax", "config", "--cflags", "--libs"]
    flags = shlex.split(subprocess.check_output(config, text=True))
    readme = ROOT / "README.md"
    if blocks(readme, "c") != [(ROOT / "examples" / "softmax.c").read_text(encoding="utf-8")]:
        sys.exit("the C example of README.md is not examples/softmax.c")
    if not blocks(readme, "python"):
        sys.exit("README.md has lost its Python example")

    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "example.c"), Path(folder, "example")
        for page in [readme, *sorted(ROOT.glob("docs/*.md"))]:
            for code in blocks(page, "python"):
                print(f"-- {page.relative_to(ROOT)}, Python", flush=True)
                run([sys.executable, "-c", code])
            for code in blocks(page, "c"):
                print(f"-- {page.relative_to(ROOT)}, C", flush=True)
                source.write_text(code, encoding="utf-8")
                run([*BUILD, str(source), "-o", str(program), *flags])
                run([str(program)])


if __name__ == "__main__":
    main()
