"""Settings that can't be used: the exception, its exit status, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from argoproxy.protocol.access.printable import printable_lines

USAGE_EXIT = 2
CANT_START = "argoproxy can't start"


class ConfigError(Exception):
    """The settings can't be used; `mistakes` holds one line for each. Never meets a client."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def refusal(error: ConfigError, heading: str = CANT_START) -> str:
    """Return why settings can't be used, a line for each mistake."""
    return f"{heading}:\n" + "".join(f"  - {printable_lines(mistake)}\n" for mistake in error.mistakes)
