# SPDX-License-Identifier: Apache-2.0
"""What is installed, and how it runs."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ._core import context


def set_num_threads(n: int) -> None:
    """Set the number of threads that calls may use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024.  The default is ``LANEMAX_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the
        number of CPUs that this process may use.  Results do not depend on it.

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
    context.state.set_threads(context.thread_count(n))


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
    return context.state.threads


def num_threads(n: int) -> contextlib.AbstractContextManager[None]:
    """Set the number of threads for the time of a ``with`` block, for the whole process.

    Blocks of several Python threads may overlap: the newest that has not ended counts, and each
    takes back itself alone.  `set_num_threads` inside a block holds until its end.

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
    return context.state.block(threads=context.thread_count(n))


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
    return context.isa_name()


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
    return context.isa_names()


def config() -> dict[str, Any]:
    """What `show_config` prints, as a dictionary."""
    import cffi  # type: ignore[import-untyped, unused-ignore]

    return {
        "lanemax": context.version(),
        "isa": isa(),
        "available_isas": list(available_isas()),
        "isa_override_ignored": context.isa_ignored(),
        "threads": get_num_threads(),
        "threads_from": context.state.source,
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
