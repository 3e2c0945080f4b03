"""Settings that cannot be used: the exceptions, the exit statuses of a refused start, and its message."""

from __future__ import annotations

from collections.abc import Sequence

from argoproxy.protocol.access.printable import printable_lines

USAGE_EXIT = 2
PORT_TAKEN_EXIT = 3
CANT_START = "argoproxy can't start"


class ConfigError(Exception):
    """The settings cannot be used; `mistakes` holds a line for each mistake. It never reaches a client."""

    exit_status = USAGE_EXIT

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class PortTaken(ConfigError):
    """Another process listens at the port."""

    exit_status = PORT_TAKEN_EXIT


def explain_refusal(error: ConfigError, heading: str = CANT_START) -> str:
    """Return the message for settings that cannot be used, with a line for each mistake; of a taken port, a single
    line."""
    if isinstance(error, PortTaken):
        return f"{heading}: {printable_lines(error.mistakes[0])}\n"
    return f"{heading}:\n" + "".join(f"  - {printable_lines(mistake)}\n" for mistake in error.mistakes)
