# SPDX-License-Identifier: Apache-2.0
"""Write typed signatures of the functions that Python makes from the registries.

usage: make_stubs.py PACKAGE EXTENSION OUTPUT

PACKAGE is the folder python/lanemax, EXTENSION the extension module as it was built.  NumPy, which
a build does not have, is not needed: of the package only what lists the registries is imported.
"""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path

HEAD = '''# SPDX-License-Identifier: Apache-2.0
"""Losses and activations of the registries; written by tools/make_stubs.py."""

from typing import Any, Literal

from ._arrays.types import Array, ArrayLike, Reduction
'''


def definition(name: str, signature: inspect.Signature) -> str:
    """The function's head as a stub has it."""
    parts: list[str] = []
    named = False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not named:
            parts.append("*")
            named = True
        default = "" if p.default is p.empty else f" = {p.default!r}"
        parts.append(f"{p.name}: {p.annotation}{default}")
    return f"def {name}(\n    {', '.join(parts)}\n) -> {signature.return_annotation}: ..."


def stub(functions: list[tuple[str, inspect.Signature]]) -> str:
    listed = "".join(f"    {name!r},\n" for name, _ in functions)
    defined = "\n".join(definition(*f) for f in functions)
    return f"{HEAD}\n__all__ = [\n{listed}]\n\n{defined}\n"


def main() -> None:
    package, extension, output = sys.argv[1:]
    bare = types.ModuleType("lanemax")  # without __init__.py, which needs NumPy
    bare.__path__ = [package, str(Path(extension).parent)]
    sys.modules["lanemax"] = bare
    sys.dont_write_bytecode = True
    from lanemax._core import signatures

    Path(output).write_text(stub(list(signatures.generated())), encoding="utf-8")


if __name__ == "__main__":
    main()
