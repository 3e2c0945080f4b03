"""Secrets: shown to nobody by accident, and starred out of what an upstream sends back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SHORTEST_STARRED = 6


@dataclass(frozen=True, slots=True)
class Secret:
    """A string that shows itself only when asked for its `text`."""

    text: str

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Stars:
    """Replaces one secret by as many stars, wherever it appears, so that no length changes. A secret of a few
    characters would be found in ordinary text, and is left."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret if len(secret) >= SHORTEST_STARRED else b""
        self._stars = b"*" * len(self._secret)

    def text(self, text: str) -> str:
        """Star a header's value."""
        return text.replace(self._secret.decode("latin-1"), self._stars.decode()) if self._secret else text

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Star a body; held back is only what could still become the secret."""
        return self._starred(pieces) if self._secret else iter(pieces)

    def _starred(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        held = b""
        for piece in pieces:
            data = (held + piece).replace(self._secret, self._stars)
            longest = min(len(self._secret) - 1, len(data))
            keep = next((size for size in range(longest, 0, -1) if data.endswith(self._secret[:size])), 0)
            held = data[len(data) - keep :]
            yield data[: len(data) - keep]
        if held:
            yield held
