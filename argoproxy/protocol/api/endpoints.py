"""The endpoints of OpenAI's API: parse requests, send answers as a stream or a document, and errors.

A client that asked for a stream gets events, any other client a document, whatever the upstream sent.
A failure after the head was sent becomes one last `data: {"error": …}` event without `[DONE]`, on which official
clients raise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import (
    BadRequest,
    ClientGone,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    to_openai,
)
from argoproxy.protocol.access.header_rules import response_headers_for_new_body
from argoproxy.protocol.api.stream_end import StreamEnd
from argoproxy.protocol.api.stream_writer import ResponseContext, write_stream
from argoproxy.protocol.content import CHAT_IMAGES, ImageParts
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
from argoproxy.protocol.stream.chunk_fields import UsageMeter
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.output_meter import TEXTS
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import DONE, HEARTBEAT, QUIET_HEARTBEAT, Batch, Document, Event, check_reply_size

#: Bytes that the body of a request may have, where no other limit is set.
BODY_LIMIT = 32 * 1024 * 1024
JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"

_CONTENT_TYPE = frozenset(("content-type",))
_UNBUFFERED = (("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"))
#: The headers of a stream that begins before the upstream's reply.
STREAM_HEAD = (("Content-Type", STREAM_TYPE), *_UNBUFFERED)
_STREAM_HEADERS = frozenset(("content-type", "cache-control", "x-accel-buffering"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the proxy's own that takes a model, and the API that its clients speak: how requests are parsed, and
    the form of answers, errors and heartbeats. This one is OpenAI's of chats, completions and embeddings.

    An endpoint of another API parses its requests to a chat that has an `origin` (Call), and makes its answers of the
    chunks of a chat.
    """

    path: str
    #: What is sent in a stream when there is nothing else to send.
    heartbeat: bytes = HEARTBEAT

    def parse(self, request: ClientRequest, limit: int = BODY_LIMIT) -> Call:
        """Parse a request with a body of at most `limit` bytes. Raises BadRequest, PayloadTooLarge."""
        if get_header(request.headers, "content-encoding", "identity").lower() != "identity":
            raise BadRequest(
                "The request body is compressed; send it without Content-Encoding.", code="unsupported_content_encoding"
            )
        return parse_call(request, request.body.read(limit), self.path)

    def answer(self, batches: Iterable[Batch], call: Call, context: ResponseContext) -> ClientResponse:
        """Return the response with a completion in the form that its client asked for. Raises ProxyError for a
        document."""
        return answer(batches, call, context)

    def answer_error(self, error: ProxyError, request_id: str) -> ClientResponse:
        """Return the response with an error."""
        return answer_error(error)

    def error_event(self, error: ProxyError, request_id: str) -> bytes:
        """Return an error as the last event of a stream."""
        return error_event(error)

    def check(self, call: Call) -> None:
        """Check that what a client asked for can be asked of an upstream that does not speak this API. Raises
        BadRequest."""

    def hand_over(self, call: Call) -> Call:
        """Return the origin of a call for an upstream that speaks its API, with what rules have changed in the call."""
        return call.origin or call

    @property
    def image_parts(self) -> ImageParts:
        """Where requests of this API hold images."""
        return CHAT_IMAGES

    def usage_meter(self, record: Callable[[Json], None]) -> Filter:
        """Return a filter that changes nothing and passes each usage to `record`, in the terms of chats."""
        return UsageMeter(record)

    @property
    def answer_texts(self) -> re.Pattern[bytes]:
        """What finds the texts in the bytes of an answer, to estimate its tokens."""
        return TEXTS

    def stream_end(self) -> StreamEnd:
        """Return what finds the last event of a stream of this API."""
        return StreamEnd(b"data", (b"[DONE]",))


CHAT = Endpoint("/v1/chat/completions")
COMPLETIONS = Endpoint("/v1/completions")
EMBEDDINGS = Endpoint("/v1/embeddings")
#: The Argo gateway's own API, passed through unchanged.
RAW = Endpoint("/v1/chat")


def answer(batches: Iterable[Batch], call: Call, context: ResponseContext) -> ClientResponse:
    """Return the response with a completion in the form that its client asked for. Raises ProxyError for a document."""
    if not call.stream:
        return answer_document(assemble_reply(batches), context)
    kept = without(response_headers_for_new_body(context.reply_headers), _STREAM_HEADERS)
    sent = get_header(context.reply_headers, "content-type")
    content_type = sent if sent.startswith("text/event-stream") else STREAM_TYPE
    headers = (
        *kept,
        ("Content-Type", content_type),
        *_UNBUFFERED,
    )
    return ClientResponse(context.reply_status, headers, write_stream(batches, ChatStreamWriter(call), context))


def answer_raw(batches: Iterable[Batch], call: Call, context: ResponseContext) -> ClientResponse:
    """Return the response with the upstream's own bytes, for a stream as they arrive. Raises ProxyError, also while a
    stream is sent."""
    headers = response_headers_for_new_body(context.reply_headers)
    pieces = (b"".join(event.raw for event in batch) for batch in batches)
    if not call.stream:
        return ClientResponse(context.reply_status, headers, b"".join(pieces))
    return ClientResponse(context.reply_status, (*headers, *_UNBUFFERED), pieces)


def answer_document(document: Document, context: ResponseContext) -> ClientResponse:
    """Return the response with a document."""
    kept = without(response_headers_for_new_body(context.reply_headers), _CONTENT_TYPE)
    sent = get_header(context.reply_headers, "content-type")
    content_type = sent if "json" in sent else JSON_TYPE
    return ClientResponse(context.reply_status, (*kept, ("Content-Type", content_type)), document.raw)


def answer_error(error: ProxyError) -> ClientResponse:
    """Return the response with an error."""
    if isinstance(error, UpstreamStatus):
        return ClientResponse(error.status, error.headers, error.body)
    return ClientResponse(error.status, (*error.headers, ("Content-Type", JSON_TYPE)), dumps(to_openai(error)))


def assemble_reply(batches: Iterable[Batch]) -> Document:
    """Return a whole reply as one document, assembled if it came in chunks. Raises ProxyError."""
    assembly, has_choices, size = CompletionAssembler(), False, 0
    for batch in batches:
        for event in batch:
            if isinstance(event, Document):
                return event
            if isinstance(event, TextRun):
                has_choices = True
                size += len(event.raw)
                check_reply_size(size)
                assembly.add_run(event)
            elif event.chunk is not None:
                has_choices = has_choices or "choices" in event.chunk
                size += len(event.raw)
                check_reply_size(size)
                assembly.add(event.chunk)
    if not has_choices:
        raise UpstreamProtocolError("The upstream's reply contains no completion.")
    return Document.of(assembly.document())


class ChatStreamWriter:
    """Writes the chunks of a chat as they are."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._heartbeat = HEARTBEAT

    def feed(self, batch: Batch) -> bytes:
        events = _as_events(batch, self._call)
        piece = b"".join([event.raw for event in events])
        if piece and _may_have_id(events):
            self._heartbeat = QUIET_HEARTBEAT
        return piece

    def heartbeat(self) -> bytes:
        return self._heartbeat

    def finish(self) -> bytes:
        return b""

    def fail(self, error: ProxyError) -> bytes:
        return error_event(error)


def error_event(error: ProxyError) -> bytes:
    """Return an error as the last event of a stream."""
    own = _find_error(error.body) if isinstance(error, UpstreamStatus) else None
    return Event.of({"error": own or to_openai(error)["error"]}).raw


def _find_error(body: bytes) -> Any:
    """Return the error in a body in OpenAI's shape, None if it has another shape."""
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


def _may_have_id(events: Batch) -> bool:
    """Return whether an event may have a field `id`; those in runs have data only."""
    for event in events:  # noqa: SIM110 (a generator takes three times as long, for every batch)
        if type(event) is not TextRun and b"id:" in event.raw:
            return True
    return False


def _is_usage_alone(chunk: Json) -> bool:
    return not chunk["choices"] and chunk.get("usage") is not None


HEADER = "x-compatible"
#: How many bytes of a request that was refused unread are read to find out whether it asks for a stream.
LONGEST_LOOK = 1024 * 1024


def is_compatible(headers: Headers, otherwise: bool) -> bool:  # noqa: FBT001 a setting
    """Return whether a request gets errors with status 200: by its header, else by the setting. Raises BadRequest."""
    value = get_header(headers, HEADER).strip().lower()
    if not value:
        return otherwise
    if value not in BOOLEANS:
        raise BadRequest("The header X-Compatible must be true or false.", code="invalid_compatible")
    return BOOLEANS[value]


def answer_as_success(response: ClientResponse, event: bytes, wants_stream: bool) -> ClientResponse:  # noqa: FBT001 what the client asked
    """Return an error under the status 200, for clients that read errors only so: the response, or as a stream its
    event."""
    if response.status < 400:
        return response
    if not wants_stream:
        return ClientResponse(200, response.headers, response.body)
    headers = (*without(response.headers, _CONTENT_TYPE), ("Content-Type", STREAM_TYPE), ("Cache-Control", "no-cache"))
    return ClientResponse(200, headers, event)


def wants_a_stream(body: Body) -> bool:
    """Return whether the JSON body of a request asks for a stream; False for one too long to read."""
    try:
        begun_body = read_up_to(body, LONGEST_LOOK)
        value = loads(begun_body.text) if isinstance(begun_body, BytesBody) else None
    except (ProxyError, ClientGone, JsonError):
        return False
    return isinstance(value, dict) and value.get("stream") is True
