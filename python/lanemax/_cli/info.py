# SPDX-License-Identifier: Apache-2.0
"""``info``: version, CPU, tier, threads and where each of them comes from."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, available_isas, get_include, get_num_threads, isa
from .._core import context
from . import machine
from .text import size

SUMMARY = "show version, CPU, instruction set tier and threads"
DESCRIPTION = """\
Show what is installed and what it uses on this machine. Put it into bug reports."""
EXAMPLES = """\
examples:
  python -m lanemax info
  LANEMAX_ISA=avx2 LANEMAX_NUM_THREADS=1 python -m lanemax info --json"""

#: Best first, as the library tries them.
TIERS = ("avx512", "avx2", "neon", "portable")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def numerics_version() -> int | None:
    """Return the number that changes when any result changes any bit, or None if unknown."""
    try:
        header = (Path(get_include()) / "lanemax" / "version.h").read_text(encoding="utf-8")
    except (OSError, RuntimeError):
        return None
    found = re.search(r"#define\s+LMX_NUMERICS_VERSION\s+(\d+)", header)
    return int(found.group(1)) if found else None


def thread_origin() -> str:
    """Return in words what decided the number of threads."""
    affinity, quota = machine.affinity(), machine.cgroup_cpus()
    facts = [f"{os.cpu_count()} CPUs in the machine"]
    if affinity is not None:
        facts.append(f"{affinity} allowed to this process")
    facts.append("no cgroup limit" if quota is None else f"cgroup limit {quota:g}")
    return f"{context.state.source} ({', '.join(facts)})"


def distribution(name: str) -> str | None:
    """Return the installed version of the package `name`, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def gather() -> dict[str, Any]:
    """Return everything the command shows, ready for JSON."""
    available = tuple(available_isas())
    wanted = os.environ.get("LANEMAX_ISA", "").strip()
    tiers = {
        tier: {"available": tier in available, "reason": machine.why_not(tier, available)}
        for tier in TIERS
    }
    return {
        "lanemax": __version__,
        "numerics_version": numerics_version(),
        "cpu": machine.cpu_name(),
        "architecture": machine.architecture(),
        "system": machine.system(),
        "isa": isa(),
        "available_isas": list(available),
        "tiers": tiers,
        "LANEMAX_ISA": wanted or None,
        "LANEMAX_ISA_ignored": context.isa_ignored(),
        "threads": get_num_threads(),
        "threads_from": thread_origin(),
        "cpus": {
            "machine": os.cpu_count(),
            "affinity": machine.affinity(),
            "cgroup": machine.cgroup_cpus(),
        },
        "caches": dict(machine.caches()),
        "python": platform.python_version(),
        "packages": {
            "numpy": np.__version__,
            **{n: distribution(n) for n in ("cffi", "ml_dtypes", "scipy", "rich", "matplotlib")},
        },
        "location": str(Path(__file__).resolve().parent.parent),
    }


def run(args: argparse.Namespace) -> int:
    """Print the facts as text or JSON."""
    facts = gather()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    numerics = facts["numerics_version"]
    lines = [
        ("lanemax", facts["lanemax"] + (f" (numerics version {numerics})" if numerics else "")),
        ("location", facts["location"]),
        ("CPU", facts["cpu"]),
        ("caches", ", ".join(f"{n} {size(b)}" for n, b in facts["caches"].items()) or "unknown"),
        ("system", facts["system"]),
    ]
    chosen = "best available"
    if facts["LANEMAX_ISA"]:
        chosen = f"LANEMAX_ISA={facts['LANEMAX_ISA']}"
        if facts["LANEMAX_ISA_ignored"]:
            chosen += " was ignored: no such tier here"
    lines.append(("tier", f"{facts['isa']} ({chosen})"))
    for tier, state in facts["tiers"].items():
        lines.append((f"  {tier}", "available" if state["available"] else f"no: {state['reason']}"))
    lines.append(("threads", f"{facts['threads']}, from {facts['threads_from']}"))
    lines.append(("Python", f"{facts['python']} ({platform.python_implementation()})"))
    for name, version in facts["packages"].items():
        lines.append((name, version or "not installed (optional)"))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name.ljust(width)}  {value}")
    return 0
