"""How much text an answer holds, measured as it passes: what is charged of an answer without usage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document

BYTES_A_TOKEN = 4
_CONTENT = b'"content":"'
_STRING = rb'\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
#: The texts of an answer, in the APIs of chats, completions and Messages.
TEXTS = re.compile(
    rb'"(?:content|text|reasoning(?:_content)?|thinking|refusal|arguments|partial_json)"' + _STRING, re.DOTALL
)
#: Those of a streamed response of the Responses API, whose later events repeat them.
DELTAS = re.compile(rb'"delta"' + _STRING, re.DOTALL)


class OutputMeter:
    """A Filter that changes nothing and counts bytes of text, escaped as in JSON."""

    takes_runs = True
    _size = 0
    _document = b""

    @property
    def tokens(self) -> int:
        """About how many tokens have passed, since the last `reset`."""
        if self._document:  # searched only if it is needed
            self._size, self._document = self._size + _count_text(self._document), b""
        return -(-self._size // BYTES_A_TOKEN)

    def peek(self) -> int:
        """Return about how many tokens of a stream have passed; may be called from another thread."""
        return -(-self._size // BYTES_A_TOKEN)

    def reset(self) -> None:
        """Count from here: the usage of what has passed is known."""
        self._size, self._document = 0, b""

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            raw = event.raw
            if isinstance(event, TextRun):
                self._size += len(event.escaped_text())
            elif isinstance(event, Document):
                self._document = raw
            else:
                self._size += _count_plain(raw) or _count_text(raw)
        return batch

    def count_whole(self, batch: Batch) -> Batch:
        """Count events that hold nothing but text, and return them."""
        self._size += sum(len(event.raw) for event in batch)
        return batch

    def finish(self) -> Batch:
        return []

    def measure(self, pieces: Iterable[bytes], texts: re.Pattern[bytes]) -> Iterator[bytes]:
        """Yield the pieces of an answer that is passed on as it is, and count what matches `texts`."""
        for piece in pieces:
            if piece:
                self._size += sum(map(len, texts.findall(piece)))
            yield piece


def _count_plain(raw: bytes) -> int:
    """Return the size of the content of an ordinary chunk, 0 if it is not certain."""
    start = raw.find(_CONTENT) + len(_CONTENT)
    end = raw.find(b'"', start)
    return end - start if start >= len(_CONTENT) and raw.find(b"\\", start, end) < 0 else 0


def _count_text(raw: bytes) -> int:
    return sum(map(len, TEXTS.findall(raw)))
