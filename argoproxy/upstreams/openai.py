"""OpenAI's own dialect, as OpenAI and the many servers compatible with it speak it.

Sources: OpenAI API reference (chat, completions, embeddings, models, errors); what real servers send besides is
accepted: JSON where a stream was asked for and the other way round, blank lines before a document, errors under a
status of success (`error_in_success.py`), streams without `[DONE]`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, get_header, read_up_to, without
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import is_completion, iterate_choices
from argoproxy.protocol.stream.sse import (
    DONE,
    LONGEST_DONE,
    Batch,
    Document,
    Event,
    EventDecoder,
    event_data,
    is_done,
    is_plain,
)
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.base import BaseUpstream, make_headers
from argoproxy.upstreams.base_url import BaseUrl, validate_path
from argoproxy.upstreams.detect import Form, detect_form, read_document, read_start
from argoproxy.upstreams.error_replies import error_in_document, error_in_event

#: Of a single choice, only the last few events tell how it ended.
LAST_ONES = 8

NO_COMPLETION = "The upstream's reply holds no completion."

_CHOICES = b'"choices"'
_OF_OUR_BODY = frozenset(("content-type", "content-encoding"))


@dataclass(frozen=True, slots=True)
class OpenAIUpstream(BaseUpstream):
    """An upstream at a base URL; `authorization` replaces the client's credentials where it is set."""

    base: BaseUrl
    authorization: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    name: str = "openai"
    served_paths: Mapping[str, str] = field(default_factory=dict)
    is_passthrough: bool = False

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Ask for a completion."""
        headers = (
            *without(make_headers(call.headers, self.authorization), _OF_OUR_BODY),
            ("Content-Type", "application/json"),
            ("Accept-Encoding", "identity"),
        )
        body = call.payload()
        return UpstreamRequest("POST", self.base.url(call.path, call.query), headers, body, len(body), self.secret)

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion in whatever form it came."""
        pieces = reply.iter_bytes()
        start = yield from read_start(pieces)
        form = detect_form(start, reply.headers)
        if form is Form.DOCUMENT:
            yield from _document(chain((start,), pieces))
        else:
            yield from _stream(chain((start,) if start else (), pieces), Ends(call))

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Ask for all embeddings at once."""
        return (self.completion_request(call),)

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Give the reply as it came."""
        document = Document(bodies[0])
        if not isinstance(document.chunk.get("data"), list):
            raise UpstreamProtocolError("The upstream's reply holds no embeddings.")
        return document

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Ask for the list of models, or for one, as the client did."""
        headers = (*make_headers(request.headers, self.authorization), ("Accept-Encoding", "identity"))
        path = validate_path(request.path).rstrip("/")
        url = self.base.url(path if path.startswith("/v1/") else "/v1" + path, request.query)
        return UpstreamRequest("GET", url, headers, secret=self.secret)

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Give the reply as it came, if it is an object."""
        document = Document(listed)
        _ = document.chunk
        return document

    def probe_request(self) -> UpstreamRequest:
        """Ask for the list of models, with the configured key only."""
        headers = (*make_headers((), self.authorization), ("Accept-Encoding", "identity"))
        return UpstreamRequest("GET", self.base.url("/v1/models", ""), headers, secret=self.secret)

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        """Pass a request on; the reply may be compressed as the client wishes unless it could hide our key."""
        wished = get_header(request.headers, "accept-encoding", "identity")
        coding = "identity" if self.secret else wished
        headers = (*make_headers(request.headers, self.authorization), ("Accept-Encoding", coding))
        body = request.body if request.body.length is None else read_up_to(request.body, HELD_BODY)
        return UpstreamRequest(
            method=request.method,
            url=self.base.url(request.path, request.query),
            headers=headers,
            body=(body.text or None) if isinstance(body, BytesBody) else body.iter_bytes(),
            length=request.body.length,
            secret=self.secret,
            has_client_body=True,
        )


#: An event that has an empty line of data and nothing else is not longer; official clients can't read it.
EMPTY = len(b"data: \r\n\r\n")


#: A body that is passed on and is no longer is held, so that it can be sent again on a fresh connection.
HELD_BODY = 1024 * 1024


class Ends:
    """Tells whether a stream that stops without `[DONE]` is whole: every choice it began has a finish reason."""

    def __init__(self, call: Call) -> None:
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._has_read = False
        self._reads_all = call.choices > 1
        self._unread: deque[Event] = deque(maxlen=None if self._reads_all else LAST_ONES)

    def pass_by(self, batch: Batch) -> None:
        """Take note of events that tell of choices; of a single one only the last few can tell."""
        self._unread.extend(event for event in batch if _CHOICES in event.raw)
        if self._reads_all:
            self._read()

    def whole(self) -> bool:
        self._read()
        return bool(self._finished) and self._begun <= self._finished

    def check_done(self) -> None:
        """Check at `[DONE]` that there was a completion before it. Raises UpstreamProtocolError: no document could be
        made of such a stream, and a client of a stream is told the same."""
        if not (self._unread or self._has_read):
            raise UpstreamProtocolError(NO_COMPLETION)

    def _read(self) -> None:
        while self._unread:
            self._has_read = True
            chunk = self._unread.popleft().chunk or {}
            for index, choice in iterate_choices(chunk.get("choices")):
                self._begun.add(index)
                if choice.get("finish_reason"):
                    self._finished.add(index)


def _document(pieces: Iterator[bytes]) -> Iterator[Batch]:
    document = Document((yield from read_document(pieces)))
    is_one = is_completion(document.chunk)
    if not (is_one and document.chunk["choices"]) and (told := error_in_document(document.chunk)):
        raise told
    if not is_one:
        raise UpstreamProtocolError(NO_COMPLETION)
    yield [document]


def _stream(pieces: Iterator[bytes], ends: Ends) -> Iterator[Batch]:
    decoder, size = EventDecoder(), 0
    for piece in _as_far_as_needed(pieces, ends):
        size += len(piece)
        batch = [event for event in decoder.feed(piece) if len(event.raw) > EMPTY or event_data(event.raw) != b""]
        for place, event in enumerate(batch):
            if len(event.raw) < LONGEST_DONE and is_done(event):
                ends.pass_by(batch[:place])
                ends.check_done()
                yield [*batch[:place], DONE if event_data(event.raw) != b"[DONE]" else event]
                return
            if fault := _fault_of(event):
                yield from _spoken(batch[:place])
                raise fault
        ends.pass_by(batch)
        yield batch
    yield _last(decoder.finish(), ends, size)


def _as_far_as_needed(pieces: Iterator[bytes], ends: Ends) -> Iterator[bytes]:
    """Give the pieces; a connection that breaks when every choice has its finish reason is one that ends. Raises
    ProxyError."""
    try:
        yield from pieces
    except ProxyError:
        if not ends.whole():
            raise


def _last(rest: Batch, ends: Ends, size: int) -> Batch:
    """Give the end of a stream of so many bytes: what stands behind the last blank line, if it is whole, and `[DONE]`.
    Raises ProxyError."""
    torn = any(_is_torn(event) for event in rest)
    last = [] if torn else rest
    for event in last:
        if fault := error_in_event(event):
            raise fault
    ends.pass_by(last)
    if last and is_done(last[-1]):
        ends.check_done()
        return last
    if not ends.whole():
        raise UpstreamProtocolError(
            f"The upstream's stream broke off, after {size} bytes of its body.", code="upstream_stream_cut_short"
        )
    return [*last, DONE]


def _is_torn(event: Event) -> bool:
    """Tell whether an event is a part of one."""
    return isinstance(_fault_of(event), UpstreamProtocolError)


def _fault_of(event: Event) -> ProxyError | None:
    """Give what an event tells of a failure, or that official clients can't read it; None where it is well."""
    if is_plain(event):
        return None
    try:
        if event.chunk is not None and b"error" not in event.raw:
            return None
        return error_in_event(event) or _nonsense_in(event)
    except UpstreamProtocolError as broken:
        return broken


def _nonsense_in(event: Event) -> ProxyError | None:
    data = event_data(event.raw)
    if event.chunk is not None or data is None or data.strip() == b"[DONE]":
        return None
    return UpstreamProtocolError("The upstream sent an event that is no JSON object.")


def _spoken(batch: Batch) -> Iterator[Batch]:
    """Give what came together with an error, before it, if there is anything for the client in it."""
    if any(event_data(event.raw) is not None for event in batch):
        yield batch
