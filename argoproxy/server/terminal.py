"""What is written for people at a terminal, in colours if they want some."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO

#: How wide the names of rows are.
NAME_WIDTH = 10


class Color(StrEnum):
    """Parameters of SGR (ECMA-48): how a text is shown."""

    STRONG = "1"
    BAD = "1;31"
    GOOD = "32"
    DOUBTFUL = "33"


def takes_colors(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether colours may be used: at a terminal that has some, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "") not in ("", "dumb")


class Painter:
    """Colours texts, or leaves them as they are."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._is_colored = takes_colors(stream, environ)

    def paint(self, text: str, color: Color) -> str:
        """Return the text, in a colour if the stream takes some."""
        return f"\x1b[{color}m{text}\x1b[0m" if self._is_colored else text

    def row(self, name: str, text: str, color: Color = Color.STRONG) -> str:
        """Return a line of a name and a text."""
        return f"  {self.paint(f'{name:<{NAME_WIDTH}}', color)}{text}"
