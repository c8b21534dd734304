# SPDX-License-Identifier: Apache-2.0
"""How many CPUs' worth of time the control groups of this process grant it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _ratio(quota: str, period: str) -> float:
    """Quota over period; inf where either is no number, or the quota is -1 or "max"."""
    try:
        given, of = int(quota), int(period)
    except ValueError:
        return math.inf
    return given / of if given > 0 and of > 0 else math.inf


def _along(base: Path, group: str) -> Iterator[Path]:
    """The folders from a group up to the root of its hierarchy."""
    node = PurePosixPath("/", *(p for p in PurePosixPath(group).parts if p not in ("/", "..")))
    for part in (node, *node.parents):
        yield base / str(part).lstrip("/")


def _unified(base: Path, group: str) -> float:
    """The least grant along a path of version 2."""
    limits = [_read(folder / "cpu.max").split() for folder in _along(base, group)]
    return min((_ratio(*found) for found in limits if len(found) == 2), default=math.inf)


def _by_controller(base: Path, group: str) -> float:
    """The least grant along a path of version 1."""
    return min(
        _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
        for folder in _along(base, group)
    )


def granted_cpus(root: str = "/") -> float:
    """The least quota of any control group that this process is in, in CPUs; inf without one.

    A group's limit holds for the groups inside it, so the whole path counts.  Inside a container
    the path may be that of the host, of which only the end or nothing is mounted: its root counts
    all the same.
    """
    mounted = Path(root, "sys/fs/cgroup")
    granted = _unified(mounted, "/")
    for line in _read(Path(root, "proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            granted = min(granted, _unified(mounted, group), _unified(mounted / "unified", group))
        elif "cpu" in controllers.split(","):
            for folder in ("cpu", controllers):
                granted = min(granted, _by_controller(mounted / folder, group))
    return granted
