# SPDX-License-Identifier: Apache-2.0
"""The computer as this process sees it: CPU, caches, the CPUs it may use, memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

X86 = ("x86_64", "amd64", "i686", "i386", "x86")
ARM64 = ("aarch64", "arm64")

#: CPU features that each tier's code uses, by the names of /proc/cpuinfo.
TIER_FEATURES: dict[str, tuple[str, ...]] = {
    "avx512": ("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx2", "fma", "f16c"),
    "avx2": ("avx2", "fma", "f16c"),
    "neon": (),
    "portable": (),
}


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpuinfo(*keys: str) -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys and value.strip():
            return value.strip()
    return ""


def architecture() -> str:
    """Return ``"x86-64"``, ``"aarch64"`` or what the platform calls itself."""
    machine = platform.machine().lower()
    if machine in X86:
        return "x86-64" if sys.maxsize > 2**32 else "x86"
    return "aarch64" if machine in ARM64 else machine or "unknown"


def cpu_name() -> str:
    """Return the CPU's own name, or the architecture where it has none."""
    name = ""
    if sys.platform == "linux":
        name = _cpuinfo("model name", "Model", "cpu model", "cpu") or _read(
            "/proc/device-tree/model"
        ).strip("\0")
    elif sys.platform == "darwin":
        try:
            name = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            name = ""
    elif sys.platform == "win32":
        import winreg

        try:
            path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
                name = str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        except OSError:
            name = ""
    return name or platform.processor() or f"unnamed {architecture()} CPU"


def cpu_features() -> frozenset[str] | None:
    """Return the feature names of the CPU, or None where the system does not list them."""
    flags = _cpuinfo("flags", "Features")
    return frozenset(flags.split()) if flags else None


def why_not(tier: str, available: tuple[str, ...]) -> str:
    """Return why `tier` cannot be used here, or an empty string if it can.

    Parameters
    ----------
    tier : str
        A name such as ``"avx512"``.
    available : tuple of str
        What ``lanemax.available_isas()`` returns.
    """
    if tier in available:
        return ""
    arch = architecture()
    if tier.startswith("avx") and not arch.startswith("x86"):
        return f"for x86-64; this is {arch}"
    if tier == "neon" and arch != "aarch64":
        return f"for AArch64; this is {arch}"
    features = cpu_features()
    if features is not None:
        missing = [f for f in TIER_FEATURES.get(tier, ()) if f not in features]
        if missing:
            return "this CPU lacks " + " ".join(missing)
    return "not built into this copy, or the CPU or operating system does not offer it"


def caches() -> list[tuple[str, int]]:
    """Return (name, bytes) of the caches that one core sees, smallest first; empty if unknown."""
    found: list[tuple[str, int]] = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, text = (_read(index / f) for f in ("level", "type", "size"))
        scale = {"K": 1024, "M": 1024**2, "G": 1024**3}.get(text[-1:], 1)
        digits = text.rstrip("KMG")
        if not digits.isdigit() or kind == "Instruction":
            continue
        found.append((f"L{level}{'d' if kind == 'Data' else ''}", int(digits) * scale))
    if not found and sys.platform == "darwin":
        for name, key in (("L1d", "l1dcachesize"), ("L2", "l2cachesize"), ("L3", "l3cachesize")):
            try:
                text = subprocess.run(
                    ["/usr/sbin/sysctl", "-n", f"hw.{key}"],
                    capture_output=True,
                    text=True,
                    timeout=5,
                    check=False,
                ).stdout.strip()
            except (OSError, subprocess.SubprocessError):
                break
            if text.isdigit() and int(text):
                found.append((name, int(text)))
    return found


def affinity() -> int | None:
    """Return how many CPUs this process is allowed to run on, or None if unknown."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return None


def cgroup_cpus() -> float | None:
    """Return the CPU time limit of the control group in CPUs, or None without a limit."""
    limits: list[float] = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            base, node = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup" + path)
            # A limit on any ancestor binds; inside a container the path may lie outside the mount.
            for folder in [node, *node.parents]:
                if folder != base and base not in folder.parents:
                    break
                quota, _, period = _read(folder / "cpu.max").partition(" ")
                if quota.isdigit() and period.isdigit() and int(period):
                    limits.append(int(quota) / int(period))
        elif "cpu" in controllers.split(","):
            for folder in (Path("/sys/fs/cgroup/cpu" + path), Path("/sys/fs/cgroup/cpu")):
                quota = _read(folder / "cpu.cfs_quota_us")
                period = _read(folder / "cpu.cfs_period_us")
                if quota.isdigit() and period.isdigit() and int(period):
                    limits.append(int(quota) / int(period))
    return min(limits) if limits else None


def free_memory() -> int | None:
    """Return the bytes of memory that are free for a program, or None if unknown."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def reset_peak_memory() -> bool:
    """Let `peak_memory` begin anew; False where it goes back to the start of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory() -> int | None:
    """Return the bytes of memory that this process had at most, or None if unknown."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def load() -> float | None:
    """Return the mean number of running processes over the last minute, or None if unknown."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def system() -> str:
    """Return operating system, C library where known, and architecture in a few words."""
    libc = "".join(platform.libc_ver()) if sys.platform == "linux" else ""
    words = [platform.system(), platform.release(), libc, architecture()]
    return " ".join(w for w in words if w)


@contextmanager
def pinned(cpus: int) -> Iterator[bool]:
    """Let the body use only the first `cpus` of this process's CPUs; tell whether that worked.

    Peers size their thread pools by it, so that all contenders see the same cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(allowed)[:cpus])
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setaffinity(0, allowed)
