"""The endpoint of OpenAI's Responses API: requests become chats, the chunks of a chat become a response.

Nothing is stored: a request contains its whole conversation. A failure after the head was sent becomes
`response.failed`, the only form of an error in a stream that all clients understand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from argoproxy.errors import BadRequest, ProxyError
from argoproxy.protocol.access.header_rules import response_headers_for_new_body
from argoproxy.protocol.api.endpoints import (
    BODY_LIMIT,
    CHAT,
    JSON_TYPE,
    STREAM_HEAD,
    Endpoint,
)
from argoproxy.protocol.api.stream_end import NamedStreamEnd, StreamEnd
from argoproxy.protocol.api.stream_writer import ResponseContext, write_stream
from argoproxy.protocol.content import ImageParts
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse, without
from argoproxy.protocol.json_text import Json, as_dict
from argoproxy.protocol.reasoning.makers import mark_of
from argoproxy.protocol.responses.event_log import encode_events
from argoproxy.protocol.responses.request_conversion import (
    FIELD_NAMES,
    ResponsesRequest,
    convert_request,
    describe_request,
)
from argoproxy.protocol.responses.request_edits import RESPONSES_IMAGES, edit_origin
from argoproxy.protocol.responses.response_object import ResponseHead, check_echo
from argoproxy.protocol.responses.response_writer import ResponseWriter
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunk_fields import with_service
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.output_meter import DELTAS
from argoproxy.protocol.stream.sse import HEARTBEAT, Batch, encode_json

#: The messages of a request that was not converted.
_NO_MESSAGES = [{"role": "user", "content": ""}]
_LAST_EVENTS = (b"response.completed", b"response.incomplete")
_FAILURES = (b"response.failed", b"error")
#: In the first event of a stream, the id of the response; servers write it first.
_RESPONSE_ID = re.compile(rb'"response": ?\{\s*"id": ?"(resp_[A-Za-z0-9_-]{1,200})"')
_ID_PREFIX = "resp_"
_LONGEST_BEGINNING = 2048
_BODY_HEADERS = frozenset(("content-type", "cache-control", "x-accel-buffering"))


@dataclass(frozen=True, slots=True)
class ResponsesEndpoint(Endpoint):
    """The path of the Responses API."""

    def parse(self, request: ClientRequest, limit: int = BODY_LIMIT) -> Call:
        """Parse a request to a chat; one that can't be converted gets an empty chat, because its upstream may take it
        as it is. Raises BadRequest, PayloadTooLarge."""
        origin = Endpoint.parse(self, request, limit)
        try:
            converted = convert_request(origin.body)
        except BadRequest:
            converted = ResponsesRequest(origin.body, _make_empty_chat(origin.body))
        call = replace(origin, path=CHAT.path, body=converted.chat, raw=None, original_body=None, origin=origin)
        return replace(call, left_out=converted.left_out, field_names=FIELD_NAMES)

    def check(self, call: Call) -> None:
        """Raise BadRequest for a request that can't be converted."""
        asked = call.origin or call
        check_echo(asked.body)
        if call.body["messages"] is _NO_MESSAGES:
            convert_request(asked.body)

    def answer(self, batches: Iterable[Batch], call: Call, context: ResponseContext) -> ClientResponse:
        """Return the response in the form that the client asked for. Raises ProxyError for a document."""
        writer = _make_writer(call, lambda: mark_of(context.upstream_name))
        headers = without(response_headers_for_new_body(context.reply_headers), _BODY_HEADERS)
        if call.stream:
            pieces = write_stream(batches, ResponseStreamWriter(writer), context)
            return ClientResponse(context.reply_status, (*headers, *STREAM_HEAD), pieces)
        for batch in batches:
            writer.feed(batch)
        writer.finish()
        return ClientResponse(
            context.reply_status, (*headers, ("Content-Type", JSON_TYPE)), encode_json(writer.response)
        )

    def error_event(self, error: ProxyError, request_id: str) -> bytes:
        """Return an error as the only event of a stream, or the last one of a stream of the upstream's."""
        head = ResponseHead(request_id.removeprefix(_ID_PREFIX), 0, "")
        writer = ResponseWriter(ResponsesRequest({}, {}), head)
        return encode_events(writer.fail(error)[-1:])

    def hand_over(self, call: Call) -> Call:
        """Return the request as the client made it, with what rules have changed in the chat."""
        return edit_origin(call.origin, call) if call.origin else call

    @property
    def image_parts(self) -> ImageParts:
        """Where requests hold images."""
        return RESPONSES_IMAGES

    def usage_meter(self, record: Callable[[Json], None]) -> Filter:
        """Return a filter that changes nothing and passes each usage to `record`, in the terms of chats."""
        return ResponseUsageMeter(record)

    @property
    def answer_texts(self) -> re.Pattern[bytes]:
        """What finds the texts in the bytes of an answer: in a stream, later events repeat those of the deltas."""
        return DELTAS

    def stream_end(self) -> StreamEnd:
        """Return what finds the last event of a stream; it is one of these, whatever the response came to."""
        return _ResponseStreamEnd()


class _ResponseStreamEnd(NamedStreamEnd):
    """Also finds the id of the response in its first event: clients fail in words of their own if the last event has
    another one."""

    def __init__(self) -> None:
        super().__init__(_LAST_EVENTS, _FAILURES)
        self._beginning = b""
        self._id = ""

    @property
    def stream_id(self) -> str:
        return self._id

    def feed(self, piece: bytes) -> None:
        if len(self._beginning) < _LONGEST_BEGINNING:
            self._beginning += piece[:_LONGEST_BEGINNING]
            found = _RESPONSE_ID.search(self._beginning)
            self._id = found[1].decode() if found else ""
        super().feed(piece)


RESPONSES = ResponsesEndpoint("/v1/responses")


class ResponseUsageMeter:
    """A Filter over the events and documents of an upstream that serves the Responses API: it changes nothing, and
    passes each usage to `record` in the terms of chats."""

    def __init__(self, record: Callable[[Json], None]) -> None:
        self._record = record

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            if b'"input_tokens"' in event.raw:
                document = event.chunk or {}
                response = as_dict(document.get("response") or document)
                usage = as_dict(response.get("usage"))
                if "input_tokens" in usage:
                    self._record(with_service(_as_chat_usage(usage), response))
        return batch

    def finish(self) -> Batch:
        return []


def _as_chat_usage(usage: Json) -> Json:
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "prompt_tokens_details": as_dict(usage.get("input_tokens_details")),
        "completion_tokens_details": as_dict(usage.get("output_tokens_details")),
    }


def _make_empty_chat(body: Json) -> Json:
    """Return a chat without messages, with those fields of a request that have another name there: defaults of rules
    must not replace them."""
    chat = {key: value for key, value in body.items() if key in ("model", "stream")}
    limit, effort = body.get("max_output_tokens"), as_dict(body.get("reasoning")).get("effort")
    if type(limit) is int:
        chat["max_tokens"] = limit
    if isinstance(effort, str):
        chat["reasoning_effort"] = effort
    return {**chat, "messages": _NO_MESSAGES}


def _make_writer(call: Call, maker: Callable[[], str]) -> ResponseWriter:
    origin = call.origin or call
    head = ResponseHead(call.id, call.created, call.requested_model, maker)
    return ResponseWriter(describe_request(origin.body), head)


class ResponseStreamWriter:
    """Writes the events of a response as bytes, batch by batch."""

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer

    def feed(self, batch: Batch) -> bytes:
        return encode_events(self._writer.feed(batch))

    def heartbeat(self) -> bytes:
        return encode_events(self._writer.keep_alive()) or HEARTBEAT

    def finish(self) -> bytes:
        return encode_events(self._writer.finish())

    def fail(self, error: ProxyError) -> bytes:
        return encode_events(self._writer.fail(error))
