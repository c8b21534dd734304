# SPDX-License-Identifier: Apache-2.0
"""``python -m lanemax``: what is installed, whether it is right, how fast it is, what it is for."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Sequence

from . import __version__
from ._cli import bench, check, config, demo, info
from ._cli.text import UsageError

COMMANDS = (info, check, bench, demo, config)

#: What a shell reports for a program that Ctrl-C ended, and for one whose reader went away.
INTERRUPTED = 130
READER_GONE = 141


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, in the order in which a new user needs them."""
    parser = argparse.ArgumentParser(
        prog="python -m lanemax",
        description="Softmax and its relatives on CPUs: information, self-test, benchmark, demo.",
        epilog="Each command has its own --help. Start with: python -m lanemax demo",
    )
    parser.add_argument("--version", action="version", version=f"lanemax {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail as well."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after ``python -m lanemax``; those of the process by default.

    Returns
    -------
    int
        0 for success, 1 for a failed check, 2 for bad input, 130 after Ctrl-C.
    """
    args = build_parser().parse_args(argv)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except UsageError as error:
        print(f"lanemax {args.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nlanemax {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        abandon_stdout()
        return READER_GONE
    except OSError as error:
        # Windows reports a reader that has gone away as an invalid argument.
        if os.name == "nt" and error.errno == errno.EINVAL:
            abandon_stdout()
            return READER_GONE
        if error.errno == errno.ENOSPC:
            print(f"lanemax {args.command}: error: {error}", file=sys.stderr)
            return 2
        raise
    return status


if __name__ == "__main__":
    raise SystemExit(main())
