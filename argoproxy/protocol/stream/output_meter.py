"""How much text an answer holds, measured as it passes: what is charged of an answer without usage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.chunk_fields import UsageMeter
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event

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
    """Counts bytes of text, escaped as in JSON."""

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

    def add(self, event: Event) -> None:
        """Count the text of an event."""
        if type(event) is TextRun:
            self._size += len(event.escaped_text())
        elif type(event) is Document:
            self._document = event.raw
        else:
            self._size += _count_in_event(event.raw)

    def count_whole(self, batch: Batch) -> Batch:
        """Count events that hold nothing but text, and return them."""
        self._size += sum(len(event.raw) for event in batch)
        return batch

    def measure(self, pieces: Iterable[bytes], texts: re.Pattern[bytes]) -> Iterator[bytes]:
        """Yield the pieces of an answer that is passed on as it is, and count what matches `texts`."""
        for piece in pieces:
            if piece:
                self._size += sum(map(len, texts.findall(piece)))
            yield piece


class AnswerMeter(UsageMeter):
    """A Filter that changes nothing: a UsageMeter that counts the text of events without a usage."""

    def __init__(self, record: Callable[[Json], None], output: OutputMeter) -> None:
        super().__init__(record)
        self._output = output

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            if type(event) is TextRun or b'"usage"' not in event.raw or not self.read(event):
                self._output.add(event)
        return batch


def _count_in_event(raw: bytes) -> int:
    """Return the size of the texts in an event; without a search in an ordinary chunk, or in one with no text."""
    start = raw.find(_CONTENT) + len(_CONTENT)
    end = raw.find(b'"', start)
    if start >= len(_CONTENT) and raw.find(b"\\", start, end) < 0 and end > start:
        return end - start
    return _count_text(raw)


def _count_text(raw: bytes) -> int:
    return sum(map(len, TEXTS.findall(raw)))
