# SPDX-License-Identifier: Apache-2.0
"""What is installed, and how it runs."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import _call


def set_num_threads(n: int) -> None:
    """Set the number of threads that calls may use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024.  The default is the number of CPUs this process may use, or
        ``LANEMAX_NUM_THREADS``.  Results do not depend on it.

    Raises
    ------
    TypeError, ValueError
        n is not an integer, or out of range.

    Examples
    --------
    >>> import lanemax as lm
    >>> before = lm.get_num_threads()
    >>> lm.set_num_threads(1)
    >>> lm.get_num_threads()
    1
    >>> lm.set_num_threads(before)
    """
    _call.set_threads(_call.thread_count(n))


def get_num_threads() -> int:
    """Return the number of threads that calls may use.

    Returns
    -------
    int

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.get_num_threads() >= 1
    True
    """
    return _call.state.threads


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Set the number of threads for the time of a ``with`` block, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    TypeError, ValueError
        n is not an integer, or out of range.

    Examples
    --------
    >>> import lanemax as lm
    >>> with lm.num_threads(1):
    ...     lm.get_num_threads()
    1
    """
    count = _call.thread_count(n)
    before = _call.state.threads
    _call.set_threads(count)
    try:
        yield
    finally:
        _call.set_threads(before)


def isa() -> str:
    """Return the instruction set that calls use: portable, avx2, avx512 or neon.

    Returns
    -------
    str
        The best that CPU and build offer, or what ``LANEMAX_ISA`` names.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.isa() in lm.available_isas()
    True
    """
    return _call.isa_name()


def available_isas() -> tuple[str, ...]:
    """Return the instruction sets that this CPU and build offer, best first.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.available_isas()[-1]
    'portable'
    """
    return _call.isa_names()


def config() -> dict[str, Any]:
    """What `show_config` prints, as a dictionary."""
    import cffi  # type: ignore[import-untyped, unused-ignore]

    return {
        "lanemax": _call.version(),
        "isa": isa(),
        "available_isas": list(available_isas()),
        "isa_override_ignored": _call.isa_ignored(),
        "threads": get_num_threads(),
        "threads_from": _call.state.source,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cffi": cffi.__version__ if hasattr(cffi, "__version__") else "",
        "machine": platform.machine(),
        "system": platform.platform(),
    }


def show_config() -> None:
    """Print versions, instruction sets and threads.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.show_config()  # doctest: +ELLIPSIS
    lanemax ...
    """
    for key, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{key:<22}{text}")


def _inside(part: str) -> str:
    directory = Path(__file__).parent / part
    if not directory.is_dir() or not any(directory.glob("**/*.[ah]")):
        raise RuntimeError(
            f"no C files in {directory}: an editable install has none; use `meson install`"
        )
    return str(directory)


def get_include() -> str:
    """Return the directory with the C headers, for the compiler's ``-I``.

    Returns
    -------
    str

    Raises
    ------
    RuntimeError
        This is an editable install, which has none.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.get_include().endswith("include")
    True
    """
    return _inside("include")


def get_library_dir() -> str:
    """Return the directory with the static C library, for the linker's ``-L``.

    Returns
    -------
    str

    Raises
    ------
    RuntimeError
        This is an editable install, which has none.

    Examples
    --------
    >>> import lanemax as lm
    >>> lm.get_library_dir().endswith("lib")
    True
    """
    return _inside("lib")
