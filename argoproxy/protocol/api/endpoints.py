"""Chat, legacy completions and embeddings as clients know them: parse what comes in, answer in the form asked for.

The exit is one: a client that asked for a stream gets events, any other a document, whatever the upstream sent.
A failure after the head was sent becomes one last `data: {"error": …}` event without `[DONE]`, on which official
clients raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from argoproxy.errors import (
    BadRequest,
    ClientGone,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    to_openai,
)
from argoproxy.protocol.access.header_rules import response_headers_for_new_body
from argoproxy.protocol.http_messages import (
    Body,
    BytesBody,
    ClientRequest,
    ClientResponse,
    Headers,
    get_header,
    read_up_to,
    without,
)
from argoproxy.protocol.json_text import Json, JsonError, dumps, loads
from argoproxy.protocol.routing.call import Call, parse_call
from argoproxy.protocol.routing.llm_params import BOOLEANS
from argoproxy.protocol.stream.assembly import CompletionAssembler
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.sse import DONE, HEARTBEAT, QUIET_HEARTBEAT, Batch, Document, Event, check_reply_size

#: Bytes that the body of a request may have, where no other limit is set.
BODY_LIMIT = 32 * 1024 * 1024
JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"

_CONTENT_TYPE = frozenset(("content-type",))
_UNBUFFERED = (("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"))
#: The head of a stream that nobody else has said anything of.
STREAM_HEAD = (("Content-Type", STREAM_TYPE), *_UNBUFFERED)
_STREAM_HEADERS = frozenset(("content-type", "cache-control", "x-accel-buffering"))


class Progress(Protocol):
    """What an answer on its way asks, and tells of itself."""

    @property
    def reply_status(self) -> int:
        """The status of the upstream's reply."""

    @property
    def reply_headers(self) -> Headers:
        """The headers of the upstream's reply."""

    def is_heartbeat_due(self) -> bool:
        """Whether the client was sent nothing for too long."""

    def record_failure(self, error: ProxyError) -> None:
        """Take note of how the answer ended."""

    def record_crash(self, error: Exception) -> ProxyError:
        """Take note of a fault of ours; gives what the client may be told of it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route of ours that takes a model."""

    path: str

    def parse(self, request: ClientRequest, limit: int = BODY_LIMIT) -> Call:
        """Read a call of at most `limit` bytes. Raises BadRequest, PayloadTooLarge."""
        if get_header(request.headers, "content-encoding", "identity").lower() != "identity":
            raise BadRequest(
                "The request body is compressed; send it without Content-Encoding.", code="unsupported_content_encoding"
            )
        return parse_call(request, request.body.read(limit), self.path)


CHAT = Endpoint("/v1/chat/completions")
COMPLETIONS = Endpoint("/v1/completions")
EMBEDDINGS = Endpoint("/v1/embeddings")
#: The Argo gateway's own words, passed on as they are.
RAW = Endpoint("/v1/chat")


def answer(batches: Iterable[Batch], call: Call, progress: Progress) -> ClientResponse:
    """Answer a completion in the form its client asked for. Raises ProxyError for a plain one."""
    if not call.stream:
        return answer_document(whole(batches), progress)
    kept = without(response_headers_for_new_body(progress.reply_headers), _STREAM_HEADERS)
    said = get_header(progress.reply_headers, "content-type")
    content_type = said if said.startswith("text/event-stream") else STREAM_TYPE
    headers = (
        *kept,
        ("Content-Type", content_type),
        *_UNBUFFERED,
    )
    return ClientResponse(progress.reply_status, headers, event_stream(batches, call, progress))


def answer_raw(batches: Iterable[Batch], call: Call, progress: Progress) -> ClientResponse:
    """Answer with the upstream's own bytes, as they come when a stream was asked for. Raises ProxyError, also while
    a stream goes out."""
    headers = response_headers_for_new_body(progress.reply_headers)
    pieces = (b"".join(event.raw for event in batch) for batch in batches)
    if not call.stream:
        return ClientResponse(progress.reply_status, headers, b"".join(pieces))
    return ClientResponse(progress.reply_status, (*headers, *_UNBUFFERED), pieces)


def answer_document(document: Document, progress: Progress) -> ClientResponse:
    """Answer with a whole document."""
    kept = without(response_headers_for_new_body(progress.reply_headers), _CONTENT_TYPE)
    said = get_header(progress.reply_headers, "content-type")
    content_type = said if "json" in said else JSON_TYPE
    return ClientResponse(progress.reply_status, (*kept, ("Content-Type", content_type)), document.raw)


def answer_error(error: ProxyError) -> ClientResponse:
    """Answer with a failure, in the one shape."""
    if isinstance(error, UpstreamStatus):
        return ClientResponse(error.status, error.headers, error.body)
    return ClientResponse(error.status, (*error.headers, ("Content-Type", JSON_TYPE)), dumps(to_openai(error)))


def whole(batches: Iterable[Batch]) -> Document:
    """Take all of a reply, assembled when it came in chunks. Raises ProxyError."""
    assembly, found, size = CompletionAssembler(), None, 0
    for batch in batches:
        for event in batch:
            if isinstance(event, Document):
                return event
            if event.chunk is not None:
                found = event if "choices" in event.chunk else found
                size += len(event.raw)
                check_reply_size(size)
                assembly.add(event.chunk)
    if found is None:
        raise UpstreamProtocolError("The upstream's reply contains no completion.")
    return Document.of(assembly.document())


def event_stream(batches: Iterable[Batch], call: Call, progress: Progress) -> Iterator[bytes]:
    """Give one piece for each batch, a heartbeat when there has been none for long. Raises ClientGone."""
    heartbeat = HEARTBEAT
    try:
        for batch in batches:
            if piece := b"".join([event.raw for event in _as_events(batch, call)]):
                if b"id:" in piece:
                    heartbeat = QUIET_HEARTBEAT
                yield piece
            elif progress.is_heartbeat_due():
                yield heartbeat
    except ClientGone:
        raise
    except ProxyError as error:
        progress.record_failure(error)
        yield error_event(error)
    except Exception as error:  # noqa: BLE001 the head is out: this is the errorhandler of what follows
        yield error_event(progress.record_crash(error))


def error_event(error: ProxyError) -> bytes:
    """Write a failure as the last event of a stream."""
    told = _told(error.body) if isinstance(error, UpstreamStatus) else None
    return Event.of({"error": told or to_openai(error)["error"]}).raw


def _told(body: bytes) -> Any:
    """Find the error in a body that should be in OpenAI's shape; None where it isn't."""
    try:
        document = loads(body)
    except JsonError:
        return None
    return document.get("error") if isinstance(document, dict) else None


def _as_events(batch: Batch, call: Call) -> Batch:
    if not batch or not isinstance(batch[0], Document):
        return batch
    chunks = split_completion(batch[0].chunk)
    return [*(Event.of(chunk) for chunk in chunks if call.include_usage or not _is_usage_alone(chunk)), DONE]


def _is_usage_alone(chunk: Json) -> bool:
    return not chunk["choices"] and chunk.get("usage") is not None


HEADER = "x-compatible"
#: Of a request that was refused before it was parsed, this much is read to learn whether it wants a stream.
LONGEST_LOOK = 1024 * 1024


def is_compatible(headers: Headers, otherwise: bool) -> bool:  # noqa: FBT001 a setting
    """Tell whether a request wants its errors so: by a header of its own, else as is set. Raises BadRequest."""
    wished = get_header(headers, HEADER).strip().lower()
    if wished and wished not in BOOLEANS:
        raise BadRequest("The header X-Compatible must be true or false.", code="invalid_compatible")
    return BOOLEANS.get(wished, otherwise)


def answer_error_as_success(error: ProxyError, wants_stream: bool) -> ClientResponse:  # noqa: FBT001 what the client asked
    """Answer with a failure that has the status of a success."""
    told = answer_error(error)
    if told.status < 400:
        return told
    if not wants_stream:
        return ClientResponse(200, told.headers, told.body)
    headers = (*without(told.headers, _CONTENT_TYPE), ("Content-Type", STREAM_TYPE), ("Cache-Control", "no-cache"))
    return ClientResponse(200, headers, error_event(error))


def wants_a_stream(body: Body) -> bool:
    """Tell whether the JSON of a request asks for a stream, as far as it is short enough to be looked at."""
    try:
        begun_body = read_up_to(body, LONGEST_LOOK)
        value = loads(begun_body.text) if isinstance(begun_body, BytesBody) else None
    except (ProxyError, ClientGone, JsonError):
        return False
    return isinstance(value, dict) and value.get("stream") is True
