"""DashScope's streams as OpenAI's chunks.

Events have an id, a name and a comment with the status besides their data; there is no `[DONE]`, the stream ends with
the body, and is whole when every choice it began has a finish reason. With several choices each event carries one,
and the tokens of that one. Source: "DashScope API reference", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import DONE, Batch, Event, EventDecoder
from argoproxy.upstreams.dashscope.choices import Choice
from argoproxy.upstreams.dashscope.refusals import check_event
from argoproxy.upstreams.dashscope.replies import Reply, read, top_of
from argoproxy.upstreams.dashscope.tokens import joined


def chunked(pieces: Iterable[bytes], call: Call) -> Iterator[Batch]:
    """Read a stream. Raises ProxyError for an error it tells of, for text that was rewritten, and when it breaks off;
    what came before is given first."""
    decoder, stream = EventDecoder(), Stream(call)
    for piece in pieces:
        yield from _told(decoder.feed(piece), stream)
    yield from _told(decoder.finish(), stream)
    yield stream.finish()


def _told(events: Batch, stream: Stream) -> Iterator[Batch]:
    batch: Batch = []
    try:
        for event in events:
            check_event(event)
            if event.chunk is not None:
                batch += stream.feed(read(event.chunk))
    except ProxyError:
        if batch:
            yield batch
        raise
    yield batch


class Stream:
    """One answer on its way."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._top: Json = {}
        self._extras: Json = {}
        self._told_extras: Json = {}
        self._usages: dict[int, Json] = {}
        self._choices: dict[int, Choice] = {}

    def feed(self, reply: Reply) -> Batch:
        """Take an event, give the chunks it makes. Raises UpstreamProtocolError for text that was rewritten."""
        self._top = self._top or top_of(reply, self._call, "chat.completion.chunk")
        self._extras |= reply.extras
        if reply.usage:
            self._usages[reply.choices[0].index if len(reply.choices) == 1 else 0] = reply.usage
        return [self._chunk([part]) for said in reply.choices for part in self._choice(said.index).feed(said)]

    def finish(self) -> Batch:
        """Take the end, give the usage where it was asked for. Raises UpstreamProtocolError when it came too soon."""
        if not self._choices or not all(choice.is_finished for choice in self._choices.values()):
            raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
        if not (self._usages and self._call.include_usage):
            return [DONE]
        last = self._chunk([], {"usage": joined(self._usages.values())})
        return [last, DONE]

    def _choice(self, index: int) -> Choice:
        if index not in self._choices:
            self._choices[index] = Choice(index, self._call)
        return self._choices[index]

    def _chunk(self, parts: list[Json], more: Json | None = None) -> Event:
        """Make a chunk; what an output holds besides its choices goes with the next one when it changed."""
        new = {key: value for key, value in self._extras.items() if self._is_news(key, value)}
        self._told_extras |= new
        return Event.of({**new, **self._top, "choices": parts, **(more or {})})

    def _is_news(self, key: str, value: Any) -> bool:
        """Tell whether an extra says something else than before; the very same value is not compared."""
        told = self._told_extras.get(key)
        return told is not value and told != value
