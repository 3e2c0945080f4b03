"""The adapter for OpenAI and the many servers compatible with it.

Source: OpenAI API reference (chat, completions, embeddings, models, errors). What other servers do differently is
accepted: a document for a stream request or the other way round, blank lines before a document, errors with status 200
(`error_replies.py`), streams without `[DONE]`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, repeat

from argoproxy.errors import ProxyError, UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.http_messages import ClientRequest, get_header, without
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import is_completion, iterate_choices
from argoproxy.protocol.stream.runs import RunDecoder, TextRun, cut_runs
from argoproxy.protocol.stream.sse import (
    DONE,
    LONGEST_DONE,
    Batch,
    Document,
    Event,
    event_data,
    is_done,
    is_plain,
)
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.base import BaseUpstream, forwarded_request, make_headers
from argoproxy.upstreams.base_url import BaseUrl, validate_path
from argoproxy.upstreams.detect import Form, detect_form, read_document, read_start
from argoproxy.upstreams.error_replies import error_in_document, error_in_event, is_missing_path

#: The finish reason of a single choice is in one of so many last events.
LAST_EVENTS = 8
#: The length of an event that has an empty line of data and nothing else; official clients fail on it.
EMPTY = len(b"data: \r\n\r\n")

NO_COMPLETION = "The upstream's reply contains no completion."

_CHOICES = b'"choices"'
_BODY_HEADERS = frozenset(("content-type", "content-encoding"))
RESPONSES_PATH = "/v1/responses"


class ResponsesApi(StrEnum):
    """Whether a server has OpenAI's Responses API: requests for it are forwarded, or converted to chats; `auto`
    forwards them until the server says that it has no such path."""

    AUTO = "auto"
    FORWARD = "forward"
    CONVERT = "convert"


@dataclass(frozen=True, slots=True)
class OpenAIUpstream(BaseUpstream):
    """A server at a base URL. `authorization` replaces the client's credentials unless it is ""."""

    base: BaseUrl
    authorization: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    name: str = "openai"
    served_paths: Mapping[str, str] = field(default_factory=dict)
    is_passthrough: bool = False
    responses: ResponsesApi = ResponsesApi.CONVERT

    def speaks(self, path: str) -> bool:
        """Tell whether requests for another API go up as they are: in native mode, like everything else."""
        return self.is_passthrough or (path == RESPONSES_PATH and self.responses is not ResponsesApi.CONVERT)

    def lacks(self, path: str, error: UpstreamStatus) -> bool:
        """Tell whether an error says that the server has no Responses API, if that is not known."""
        return path == RESPONSES_PATH and self.responses is ResponsesApi.AUTO and is_missing_path(error)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a completion."""
        headers = (
            *without(make_headers(call.headers, self.authorization), _BODY_HEADERS),
            ("Content-Type", "application/json"),
            ("Accept-Encoding", "identity"),
        )
        body = call.payload()
        return UpstreamRequest("POST", self.base.url(call.path, call.query), headers, body, len(body), self.secret)

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion, whether it is a document or a stream. Raises ProxyError."""
        return map(cut_runs, self.read_runs(reply, call))

    def read_runs(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion, with plain events in runs. Raises ProxyError."""
        return _read_reply(reply, call)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Build one request for all embeddings."""
        return (self.completion_request(call),)

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Return the reply byte for byte. Raises UpstreamProtocolError if it contains no embeddings."""
        document = Document(bodies[0])
        if not isinstance(document.chunk.get("data"), list):
            raise UpstreamProtocolError("The upstream's reply contains no embeddings.")
        return document

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the client's request for the list of models or for one model. Raises NotFound."""
        headers = (*make_headers(request.headers, self.authorization), ("Accept-Encoding", "identity"))
        path = validate_path(request.path).rstrip("/")
        url = self.base.url(path if path.startswith("/v1/") else "/v1" + path, request.query)
        return UpstreamRequest("GET", url, headers, secret=self.secret)

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Return the reply byte for byte. Raises UpstreamProtocolError if it is not a JSON object."""
        document = Document(body)
        _ = document.chunk
        return document

    def probe_request(self) -> UpstreamRequest:
        """Build a request for the list of models, with the configured key only."""
        headers = (*make_headers((), self.authorization), ("Accept-Encoding", "identity"))
        return UpstreamRequest("GET", self.base.url("/v1/models", ""), headers, secret=self.secret)

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the client's request. With a configured key the reply must not be compressed: it could contain the key,
        which has to be found to be replaced."""
        accepted = get_header(request.headers, "accept-encoding", "identity")
        coding = "identity" if self.secret else accepted
        headers = (*make_headers(request.headers, self.authorization), ("Accept-Encoding", coding))
        return forwarded_request(request, self.base.url(request.path, request.query), headers, self.secret)


class CompletionTracker:
    """Tells whether a stream that ends without `[DONE]` is complete: every choice that began has a finish reason.

    Events are kept and parsed only if that matters, at the end: most streams pass through without being parsed.
    """

    def __init__(self, call: Call) -> None:
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._has_read = False
        self._reads_all = call.max_choices > 1
        #: None stands for a plain event: its choice is number 0, and goes on.
        self._unread: deque[Event | None] = deque(maxlen=None if self._reads_all else LAST_EVENTS)

    def add(self, batch: Batch) -> None:
        """Note the events that have choices; of a single choice only the last few events can have the finish reason."""
        for event in batch:
            if type(event) is TextRun:
                # As many as it has, up to LAST_EVENTS: counting all would search the whole run.
                self._unread.extend(repeat(None, len(event.raw.rsplit(b"\n\n", LAST_EVENTS)) - 1))
            elif _CHOICES in event.raw:
                self._unread.append(event)
        if self._reads_all:
            self._read()

    def is_complete(self) -> bool:
        self._read()
        return bool(self._finished) and self._begun <= self._finished

    def check_done(self) -> None:
        """Raise UpstreamProtocolError at a `[DONE]` without a completion before it: no document could be made of such a
        stream, and streamed and whole replies must have the same outcome."""
        if not (self._unread or self._has_read):
            raise UpstreamProtocolError(NO_COMPLETION)

    def _read(self) -> None:
        while self._unread:
            self._has_read = True
            event = self._unread.popleft()
            if event is None:
                self._begun.add(0)
                continue
            chunk = event.chunk or {}
            for index, choice in iterate_choices(chunk.get("choices")):
                self._begun.add(index)
                if choice.get("finish_reason"):
                    self._finished.add(index)


def _read_reply(reply: Reply, call: Call) -> Iterator[Batch]:
    pieces = reply.iter_bytes()
    start = yield from read_start(pieces)
    if detect_form(start, reply.headers) is Form.DOCUMENT:
        yield from _read_document(chain((start,), pieces))
    else:
        yield from _read_stream(chain((start,) if start else (), pieces), CompletionTracker(call))


def _read_document(pieces: Iterator[bytes]) -> Iterator[Batch]:
    document = Document((yield from read_document(pieces)))
    has_completion = is_completion(document.chunk)
    if not (has_completion and document.chunk["choices"]) and (error := error_in_document(document.chunk)):
        raise error
    if not has_completion:
        raise UpstreamProtocolError(NO_COMPLETION)
    yield [document]


def _read_stream(pieces: Iterator[bytes], tracker: CompletionTracker) -> Iterator[Batch]:
    decoder, size = RunDecoder(), 0
    for piece in _ignore_late_break(pieces, tracker):
        size += len(piece)
        batch = decoder.feed(piece)
        if len(batch) == 1 and type(batch[0]) is TextRun:
            tracker.add(batch)
            yield batch
            continue
        batch = [event for event in batch if len(event.raw) > EMPTY or event_data(event.raw) != b""]
        for place, event in enumerate(batch):
            if type(event) is TextRun:
                continue
            if len(event.raw) < LONGEST_DONE and is_done(event):
                tracker.add(batch[:place])
                tracker.check_done()
                yield [*batch[:place], DONE if event_data(event.raw) != b"[DONE]" else event]
                return
            if error := _error_of(event):
                yield from _drop_without_data(batch[:place])
                raise error
        tracker.add(batch)
        yield batch
    yield _end_stream(decoder.finish(), tracker, size)


def _ignore_late_break(pieces: Iterator[bytes], tracker: CompletionTracker) -> Iterator[bytes]:
    """Yield the pieces. A connection that breaks after the stream is complete counts as its end: nothing is missing."""
    try:
        yield from pieces
    except ProxyError:
        if not tracker.is_complete():
            raise


def _end_stream(rest: Batch, tracker: CompletionTracker, size: int) -> Batch:
    """Return the end of a stream without `[DONE]`: what follows its last blank line, if that is a whole event, and
    `[DONE]`. `size` is the stream's length in bytes. Raises ProxyError if the stream is not complete."""
    is_torn = any(isinstance(_error_of(event), UpstreamProtocolError) for event in rest)
    last = [] if is_torn else rest
    for event in last:
        if error := error_in_event(event):
            raise error
    tracker.add(last)
    if last and is_done(last[-1]):
        tracker.check_done()
        return last
    if not tracker.is_complete():
        raise UpstreamProtocolError(
            f"The upstream's stream broke off after {size} bytes.", code="upstream_stream_cut_short"
        )
    return [*last, DONE]


def _error_of(event: Event) -> ProxyError | None:
    """Return the error that an event reports, or one for data that official clients can't parse; else None."""
    if is_plain(event):
        return None
    try:
        if event.chunk is not None and b"error" not in event.raw:
            return None
        return error_in_event(event) or _check_data(event)
    except UpstreamProtocolError as broken:
        return broken


def _check_data(event: Event) -> ProxyError | None:
    data = event_data(event.raw)
    if event.chunk is not None or data is None or data.strip() == b"[DONE]":
        return None
    return UpstreamProtocolError("The upstream sent an event that is not a JSON object.")


def _drop_without_data(batch: Batch) -> Iterator[Batch]:
    """Yield a batch that came together with an error, unless it has nothing for the client."""
    if any(event_data(event.raw) is not None for event in batch):
        yield batch
