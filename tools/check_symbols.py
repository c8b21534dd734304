#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check what the symbol tables of the built objects must and must not show; run by meson test.

A kernel library compiled with vector flags may define names of its own tier and element type
only: a shared name (an inline function with external linkage, a helper of a header) could be the
copy that the linker keeps for everybody, and then crashes older CPUs.  The rest must hold no
vector instruction at all.  Nothing may run when the library is loaded, no function may be an
IFUNC, and there is next to no writable memory.

  check_symbols.py exports LIB LIST HEADER     the shared library exports exactly the listed names,
                                               and those are what the public header declares
  check_symbols.py shared LIB                  no IFUNC, at most 4 KiB of .data and .bss
  check_symbols.py tier TIER DTYPE ARCHIVE     every defined global ends in _DTYPE_TIER, and there
                                               are no constructors
  check_symbols.py baseline ARCHIVE [--skip PREFIX]
                                               members whose names do not start with PREFIX, as
                                               those of kernels do: no VEX or EVEX instruction, no
                                               constructors, globals start with lmx_

Exit status: 0 if all is well, 1 with one line per offence, 2 for a usage error.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

MAX_WRITABLE = 4096

# Sections whose content runs before main or at load time.
CONSTRUCTORS = re.compile(r"\s(\.(?:pre)?init_array|\.fini_array|\.ctors|\.dtors)(?:\.\d+)?\s")

# AT&T mnemonics: everything VEX- or EVEX-encoded starts with v, but for the BMI and mask
# instructions.  Others that start with v (verr, vmcall) are never compiled from C.
VECTOR = re.compile(
    r"^\s*[0-9a-f]+:\t(?:[0-9a-f]{2} )+\s*\t(?:\{\w+\} )?"
    r"(v[a-z]\w+|k(?:mov|and|or|test|shift|unpck|add)\w*)\s"
)
YMM = re.compile(r"%[yz]mm\d")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"check_symbols.py: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def symbols(nm: str, path: str, *options: str) -> list[tuple[str, str, str]]:
    """(member, type letter, name) of every symbol."""
    found = []
    for line in run(nm, "--print-file-name", *options, path).splitlines():
        where, _, rest = line.rpartition(":")
        fields = rest.split()
        if len(fields) >= 2:
            member = Path(where.rpartition(":")[2]).name
            found.append((member, fields[-2], fields[-1].split("@")[0]))
    return found


def sizes(objdump: str, path: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for line in run(objdump, "-h", path).splitlines():
        fields = line.split()
        if len(fields) >= 7 and fields[0].isdigit():
            total[fields[1]] = total.get(fields[1], 0) + int(fields[2], 16)
    return total


def constructors(objdump: str, path: str) -> list[str]:
    offences = []
    member = path
    for line in run(objdump, "-h", path).splitlines():
        if "file format" in line:
            member = Path(line.split(":")[0]).name
        elif (found := CONSTRUCTORS.search(line)) and int(line.split()[2], 16) > 0:
            offences.append(f"{member}: section {found[1]} runs at load time")
    return offences


def declared(header: str) -> list[str]:
    text = re.sub(r"/\*.*?\*/", "", Path(header).read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"LMX_API[^;]*?\b(lmx_\w+)\s*\(", text)


def check_exports(args: argparse.Namespace) -> list[str]:
    dynamic = symbols(args.nm, args.library, "-D", "--defined-only")
    exported = {name for _, kind, name in dynamic if kind != "A"}
    listed = Path(args.list).read_text(encoding="utf-8").split()
    public, wanted = set(declared(args.header)), set(listed)
    offences = [f"{args.list}: not sorted"] if listed != sorted(listed) else []
    for names, text in (
        (exported - wanted, f"{args.library}: exports {{}}, which is not listed"),
        (wanted - exported, f"{args.library}: does not export {{}}"),
        (public - wanted, f"{args.header}: declares {{}}, which is not listed"),
        (wanted - public, f"{args.header}: does not declare {{}}"),
    ):
        offences += [text.format(name) for name in sorted(names)]
    return offences


def check_shared(args: argparse.Namespace) -> list[str]:
    library = args.library
    everything = symbols(args.nm, library) or symbols(args.nm, library, "-D")
    offences = [f"{library}: {name} is an IFUNC" for _, kind, name in everything if kind == "i"]
    size = sizes(args.objdump, library)
    writable = size.get(".data", 0) + size.get(".bss", 0)
    if writable > MAX_WRITABLE:
        offences.append(f"{library}: {writable} bytes of .data and .bss, not {MAX_WRITABLE}")
    return offences


def check_tier(args: argparse.Namespace) -> list[str]:
    ending = f"_{args.dtype}_{args.tier}"
    offences = []
    seen = 0
    for member, kind, name in symbols(args.nm, args.archive, "--defined-only"):
        if kind == "i":
            offences.append(f"{member}: {name} is an IFUNC")
        if kind in "VWvwu" or (kind.isupper() and kind != "U"):
            seen += 1
            if not (name.startswith("lmx_") and name.endswith(ending)):
                offences.append(f"{member}: defines {name} ({kind}), not ending in {ending}")
    if seen == 0:
        offences.append(f"{args.archive}: defines nothing")
    return offences + constructors(args.objdump, args.archive)


def check_baseline(args: argparse.Namespace) -> list[str]:
    offences = []
    names = [Path(member).name for member in run(args.ar, "t", args.archive).split()]
    members = [m for m in names if args.skip is None or not m.startswith(args.skip)]
    for member, kind, name in symbols(args.nm, args.archive, "--defined-only"):
        if member in members and kind.isupper() and not name.startswith("lmx_"):
            offences.append(f"{member}: defines {name}, which does not start with lmx_")
        if member in members and kind == "i":
            offences.append(f"{member}: {name} is an IFUNC")
    if not members:
        offences.append(f"{args.archive}: has no member whose name does not start with {args.skip}")
    offences += [o for o in constructors(args.objdump, args.archive) if o.split(":")[0] in members]

    member, first = "", {}
    for line in run(args.objdump, "-d", args.archive).splitlines():
        if "file format" in line:
            member = Path(line.split(":")[0]).name
        elif member in members and (VECTOR.match(line) or YMM.search(line)):
            first.setdefault(member, line.strip())
    offences += [f"{m}: vector code outside the tiers: {text}" for m, text in first.items()]
    return offences


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--objdump", default="objdump")
    parser.add_argument("--ar", default="ar")
    which = parser.add_subparsers(required=True)

    exports = which.add_parser("exports")
    exports.add_argument("library")
    exports.add_argument("list")
    exports.add_argument("header")
    exports.set_defaults(check=check_exports)

    shared = which.add_parser("shared")
    shared.add_argument("library")
    shared.set_defaults(check=check_shared)

    tier = which.add_parser("tier")
    tier.add_argument("tier")
    tier.add_argument("dtype")
    tier.add_argument("archive")
    tier.set_defaults(check=check_tier)

    baseline = which.add_parser("baseline")
    baseline.add_argument("archive")
    baseline.add_argument("--skip")
    baseline.set_defaults(check=check_baseline)

    args = parser.parse_args()
    offences = args.check(args)
    for offence in offences:
        print(offence)
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
