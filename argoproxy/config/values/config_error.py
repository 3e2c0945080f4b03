"""Settings that cannot be used: the exception, the exit status of a refused start, and its message."""

from __future__ import annotations

from collections.abc import Sequence

from argoproxy.protocol.access.printable import printable_lines

USAGE_EXIT = 2
CANT_START = "argoproxy can't start"


class ConfigError(Exception):
    """The settings cannot be used; `mistakes` holds a line for each mistake. It never reaches a client."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def explain_refusal(error: ConfigError, heading: str = CANT_START) -> str:
    """Return the message for settings that cannot be used, with a line for each mistake."""
    return f"{heading}:\n" + "".join(f"  - {printable_lines(mistake)}\n" for mistake in error.mistakes)
