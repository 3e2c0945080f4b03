"""The command line: find the command, run it, and end with its exit status."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from argoproxy import __version__
from argoproxy.cli.commands import COMMANDS, SERVE, Command, explain_word, help_text, is_path

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Set by run_app.sh: how messages name the program.
PROGRAM_VARIABLE = "ARGOPROXY_PROGRAM"
USAGE_EXIT = 2
#: What a shell reports of a program that SIGINT ended.
INTERRUPTED_EXIT = 130


def run() -> NoReturn:
    """Run the installed command `argoproxy`."""
    main(sys.argv[1:])


def main(arguments: Sequence[str], program: str = "") -> NoReturn:
    """Run a command line, and exit."""
    program = program or os.environ.get(PROGRAM_VARIABLE) or os.path.basename(sys.argv[0])
    try:
        status = _run(arguments, program)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED_EXIT
    except BrokenPipeError:
        # The reader, `head` for instance, has closed the pipe. Python would report it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _run(arguments: Sequence[str], program: str) -> int:
    first = arguments[0] if arguments else ""
    if first in ("--help", "-h"):
        sys.stdout.write(help_text(program))
        return 0
    if first == "--version":
        sys.stdout.write(f"argoproxy {__version__}\n")
        return 0
    command = find_command(first)
    if command is None:
        sys.stderr.write(f"{explain_word(first, program)}\n")
        return USAGE_EXIT
    if command.name == first:
        return command.run(arguments[1:], f"{program} {first}")
    return command.run(arguments, program)


def find_command(first: str) -> Command | None:
    """Return the command that a first argument asks for: its own, or `serve` for a flag, a file, or nothing at all;
    None for a word that is neither."""
    if first in COMMANDS:
        return COMMANDS[first]
    is_argument = not first or first.startswith("-") or is_path(first) or os.path.exists(first)
    return SERVE if is_argument else None
