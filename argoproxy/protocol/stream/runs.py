"""Runs: events with plain text that arrived together, verified by one pattern and not cut into events.

Nearly all events of a stream hold a few characters of one choice and nothing else. Verifying, filtering and sending
such events one by one costs many times what the same bytes cost in one piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from argoproxy.errors import ClientGone, ProxyError
from argoproxy.protocol.json_text import loads
from argoproxy.protocol.stream.sse import EVENT_LIMIT, PLAIN_END, Batch, Event, EventDecoder, is_plain, is_utf8

#: The longest run of plain events of choice 0: what sse.is_plain is sure to be valid. Possessive throughout: no part
#: can match what follows it, so there is nothing to try again.
_RUN = re.compile(
    rb'(?:data: \{(?:"(?:id|object|created|model|system_fingerprint|service_tier|provider)":'
    rb'(?:"[^"\\\x00-\x1f]*+"|[1-9]\d*+|0|null),)*+"choices":\[\{"index":0,"delta":\{"content":'
    rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+' + PLAIN_END + rb")++"
)
#: A string of a plain event can't hold this without a backslash before its quotes.
_CONTENT = b'"content":"'
_TEXT = re.compile(_CONTENT + rb'([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_END = b"\n\n"
#: The end of an event with JSON, padded or not.
_END_OF_OBJECT = (b"}\n\n", b" \n\n")
#: Bytes of runs that are held back to be joined.
JOINED = 64 * 1024


class TextRun(Event):
    """Plain events of choice 0, one after the other: `raw` is the bytes of all. It stands in a batch in place of its
    events, for those that can take it: `cut_runs` gives all others the events. Within an adapter, `raw` may be events
    of its upstream's API."""

    __slots__ = ()

    def _parse(self) -> NoReturn:
        raise TypeError("a run of events has no chunk of its own")

    def cut(self) -> Batch:
        """Return the events."""
        return [Event(raw + _END) for raw in self.raw.split(_END)[:-1]]

    def cut_first(self) -> tuple[Event, TextRun | None]:
        """Return the first event, and the run of the others if there are any."""
        end = self.raw.find(_END) + len(_END)
        return Event(self.raw[:end]), TextRun(self.raw[end:]) if end < len(self.raw) else None

    def escaped_text(self) -> bytes:
        """Return the text of all events, escaped as in their JSON."""
        return b"".join(_TEXT.findall(self.raw))

    def text(self) -> str:
        """Return the text of all events."""
        texts: Sequence[bytes] = _TEXT.findall(self.raw)
        if b"\\" not in self.raw:
            return b"".join(texts).decode()
        # One by one: halves of a surrogate pair in two events do not become one character.
        decoded: list[Any] = loads(b'["' + b'","'.join(texts) + b'"]')
        return "".join(decoded)


@dataclass(frozen=True, slots=True)
class TextFrame:
    """What stands around the text in each chunk of a stream, for adapters that write chunks."""

    head: bytes
    tail: bytes
    is_plain: bool

    @classmethod
    def of(cls, event: Event) -> Self:
        """Return what stands around the empty text of an event."""
        head, mark, tail = event.raw.rpartition(_CONTENT)
        return cls(head + mark, tail, is_plain(Event(event.raw)))

    def make_events(self, texts: Iterable[bytes]) -> Batch:
        """Return the chunks with texts that are escaped as in JSON already, as a run unless they are not plain."""
        run = TextRun(self.head + (self.tail + self.head).join(texts) + self.tail)
        return [run] if self.is_plain else run.cut()


class RunDecoder(EventDecoder):
    """An EventDecoder that leaves events uncut, in runs: the plain ones of a chat, or what another pattern matches."""

    def __init__(self, limit: int = EVENT_LIMIT, pattern: re.Pattern[bytes] = _RUN) -> None:
        super().__init__(limit)
        self._pattern = pattern

    def feed(self, piece: bytes) -> Batch:
        if self._at_start:
            piece = self._skip_bom(piece)
        rest = self._rest
        if (
            not rest
            and piece.endswith(_END_OF_OBJECT)
            and self._pattern.fullmatch(piece)
            and (piece.isascii() or is_utf8(piece))
        ):
            return [TextRun(piece)]
        if b"\r" in piece or b"\r" in rest:
            return super().feed(piece)
        if rest:
            if _END not in rest[-1:] + piece:
                return super().feed(piece)
            piece = bytes(rest) + piece
            rest.clear()
        batch, start = self._find_runs(piece)
        rest += piece[start:]
        self._mark_searched()
        return batch

    def _find_runs(self, piece: bytes) -> tuple[Batch, int]:
        """Return the runs and other events in a piece, and where the first event that is not complete begins."""
        batch: Batch = []
        start = 0
        while True:
            if match := self._pattern.match(piece, start):
                start, run = match.end(), TextRun(match.group())
                batch += (run,) if run.raw.isascii() or is_utf8(run.raw) else run.cut()
            end = piece.find(_END, start)
            if end < 0:
                return batch, start
            batch.append(Event(piece[start : end + 2]))
            start = end + 2


def join_runs(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches with the runs that follow each other joined, up to JOINED bytes, for an answer that is sent whole,
    of which no client awaits a part. Before an error, what is held back is yielded. Raises what the batches raise."""
    held: list[bytes] = []
    size = 0
    try:
        for batch in batches:
            if len(batch) == 1 and type(batch[0]) is TextRun:
                held.append(batch[0].raw)
                size += len(held[-1])
                if size < JOINED:
                    continue
                batch = []
            elif not batch:
                yield batch
                continue
            yield [*_take_joined(held), *batch]
            size = 0
    except (ProxyError, ClientGone):
        if held:
            yield _take_joined(held)
        raise
    if held:
        yield _take_joined(held)


def _take_joined(held: list[bytes]) -> Batch:
    """Return the run of some pieces, which are taken away; nothing if there are none."""
    if not held:
        return []
    run = TextRun(b"".join(held))
    held.clear()
    return [run]


def cut_runs(batch: Batch) -> Batch:
    """Return a batch with all events cut; the same list if there is no run in it."""
    if not any(type(event) is TextRun for event in batch):
        return batch
    return [one for event in batch for one in (event.cut() if isinstance(event, TextRun) else (event,))]
