# SPDX-License-Identifier: Apache-2.0
"""``config``: compiler and linker flags for C programs, for those who have no pkg-config."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from .. import __version__, get_include, get_library_dir
from .text import UsageError

SUMMARY = "print compiler and linker flags for C and C++ programs"
DESCRIPTION = """\
Print what a C or C++ program needs to be built against this installation.
Several options print on one line, in the order include, library flags."""
EXAMPLES = """\
examples:
  cc -O2 prog.c $(python -m lanemax config --cflags --libs) -o prog
  PKG_CONFIG_PATH=$(python -m lanemax config --pkgconfigdir) pkg-config --cflags lanemax"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--cflags", action="store_true", help="flags for the compiler (-I...)")
    parser.add_argument("--libs", action="store_true", help="flags for the linker (-L... -l...)")
    parser.add_argument("--includedir", action="store_true", help="the directory of the headers")
    parser.add_argument("--libdir", action="store_true", help="the directory of the library")
    parser.add_argument("--pkgconfigdir", action="store_true", help="the directory of lanemax.pc")
    parser.add_argument("--version", action="store_true", help="the version of the library")


def quote(argument: str) -> str:
    """Quote `argument` as the platform's shell wants it."""
    return subprocess.list2cmdline([argument]) if os.name == "nt" else shlex.quote(argument)


def directory(which: str) -> Path:
    """Return the include or library directory, or say in one line why there is none."""
    try:
        return Path(get_include() if which == "include" else get_library_dir())
    except (RuntimeError, OSError) as error:
        raise UsageError(str(error)) from None


def system_libraries() -> list[str]:
    """Return what the static library itself links with, as lanemax.pc lists it."""
    if sys.platform == "win32":
        return []
    return ["-lm"] if sys.platform == "darwin" else ["-lm", "-pthread"]


def run(args: argparse.Namespace) -> int:
    """Print the flags that were asked for."""
    parts: list[str] = []
    if args.version:
        parts.append(__version__)
    if args.includedir:
        parts.append(str(directory("include")))
    if args.libdir:
        parts.append(str(directory("library")))
    if args.pkgconfigdir:
        parts.append(str(directory("library") / "pkgconfig"))
    if args.cflags:
        parts.append(quote(f"-I{directory('include')}"))
    if args.libs:
        parts += [quote(f"-L{directory('library')}"), "-llanemax", *system_libraries()]
    if not parts:
        raise UsageError(
            "nothing asked for: give one or more of --cflags --libs --includedir --libdir "
            "--pkgconfigdir --version"
        )
    print(" ".join(parts))
    return 0
