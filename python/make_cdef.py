# SPDX-License-Identifier: Apache-2.0
"""Write the C source of the extension module from the public header and the glue's.

usage: make_cdef.py PREPROCESSED GLUE OUTPUT

PREPROCESSED is include/lanemax/lanemax.h after the C preprocessor, so that the registry is
expanded; what it includes (the standard headers) is dropped by its line markers.  GLUE is
python/glue/glue.h.  The compiler checks every declaration against the real headers: cffi's API
mode.
"""

import re
import sys

from cffi import FFI


def declarations(preprocessed: str) -> str:
    """The lines that come from lanemax's own headers, without attributes."""
    kept: list[str] = []
    ours = False
    for line in preprocessed.splitlines():
        marker = re.match(r'#\s*(?:line\s+)?\d+\s+"(.*?)"', line)
        if marker:
            ours = "lanemax" in re.split(r"[\\/]+", marker.group(1))[-2:-1]
        elif ours and not line.startswith("#"):
            kept.append(line)
    text = "\n".join(kept)
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|__declspec\([^()]*\)", "", text)
    return re.sub(r"\n\s*\n+", "\n", text)


def plain(header: str) -> str:
    """The declarations of a header that has no preprocessor beyond its guard and includes."""
    return "\n".join(line for line in header.splitlines() if not line.startswith("#"))


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as f:
        cdef = declarations(f.read())
    with open(sys.argv[2], encoding="utf-8") as f:
        cdef += plain(f.read())
    builder = FFI()
    builder.cdef(cdef)
    builder.set_source("lanemax._lanemax", '#include "glue.h"')
    builder.emit_c_code(sys.argv[3])


if __name__ == "__main__":
    main()
