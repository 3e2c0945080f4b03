"""Tells when a JSON object that arrives in pieces is complete. Linear in its length; nothing is kept of it."""

from __future__ import annotations

import re

#: Brackets, and strings: whole ones, and those that a piece begins or ends in.
_TOKEN = re.compile(r'[\[{]|[\]}]|"')
_STRING_REST = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)


class ObjectProgress:
    """Follows the brackets of one JSON object."""

    __slots__ = ("_depth", "_in_string", "_is_escaped", "_tokens")

    def __init__(self) -> None:
        self._depth = 0
        self._tokens = 0
        self._in_string = False
        self._is_escaped = False

    @property
    def is_complete(self) -> bool:
        """Whether the object has ended. An empty one has not: some servers send `{}` first, and the arguments after
        it."""
        return self._tokens > 2 and self._depth == 0 and not self._in_string

    def feed(self, piece: str) -> None:
        """Take the next piece."""
        place = 1 if self._is_escaped and piece else 0
        self._is_escaped = self._is_escaped and not piece
        while place < len(piece):
            place = self._skip_string(piece, place) if self._in_string else self._skip_token(piece, place)

    def _skip_string(self, piece: str, place: int) -> int:
        """Return where the string, or the piece, ends."""
        rest = _STRING_REST.match(piece, place)
        end = rest.end() if rest else place
        if end == len(piece):
            return end
        self._in_string = piece[end] != '"'
        self._is_escaped = self._in_string
        return end + 1

    def _skip_token(self, piece: str, place: int) -> int:
        """Return where the next token, or the piece, ends."""
        token = _TOKEN.search(piece, place)
        if token is None:
            return len(piece)
        self._tokens += 1
        self._in_string = token.group() == '"'
        self._depth += {"[": 1, "{": 1, '"': 0}.get(token.group(), -1)
        return token.end()
