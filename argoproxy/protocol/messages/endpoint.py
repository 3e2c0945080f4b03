"""The endpoint `/v1/messages`: Anthropic's clients in front of any upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from argoproxy.errors import ProxyError
from argoproxy.protocol.access.header_rules import response_headers_for_new_body
from argoproxy.protocol.api.endpoints import BODY_LIMIT, CHAT, STREAM_HEAD, Endpoint
from argoproxy.protocol.api.schema import check_shape
from argoproxy.protocol.api.stream_end import NamedStreamEnd, StreamEnd
from argoproxy.protocol.api.stream_writer import ResponseContext, write_stream
from argoproxy.protocol.api.types import Object
from argoproxy.protocol.content import ImageParts
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse, Headers, get_header, without
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.protocol.messages import request_shapes
from argoproxy.protocol.messages.answers.error_shape import answer_error, error_event
from argoproxy.protocol.messages.answers.events import MessageHead
from argoproxy.protocol.messages.answers.frames import PING
from argoproxy.protocol.messages.answers.message_writer import MessageWriter, build_message
from argoproxy.protocol.messages.answers.usage import MessagesUsageMeter
from argoproxy.protocol.messages.edits import MESSAGES_IMAGES, hand_over
from argoproxy.protocol.messages.estimate import estimate_tokens
from argoproxy.protocol.messages.omissions import find_omissions
from argoproxy.protocol.messages.refusals import check_convertible
from argoproxy.protocol.messages.request import FIELD_NAMES, to_chat
from argoproxy.protocol.messages.tool_fields import original_names
from argoproxy.protocol.reasoning.makers import mark_of
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Mode, Usage, apply_mode
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import Batch, encode_json

_JSON_TYPE = ("Content-Type", "application/json")
_OWN_HEADERS = frozenset(("content-type", "cache-control", "x-accel-buffering", "request-id"))
#: Headers that are about Anthropic's API.
_OF_THE_API = frozenset(
    ("x-api-key", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access")
)


class MessagesEndpoint(Endpoint):
    """Messages, streamed and whole."""

    def parse(self, request: ClientRequest, limit: int = BODY_LIMIT) -> Call:
        """Parse a request to a chat. Raises BadRequest, PayloadTooLarge."""
        origin = super().parse(request, limit)
        check_shape(origin.body, self._shape)
        chat = Call(
            id=origin.id,
            created=origin.created,
            path=CHAT.path,
            query="",
            headers=chat_headers(origin.headers),
            body=to_chat(origin.body),
            raw=None,
            timeout_s=origin.timeout_s,
            requested_model=origin.requested_model,
            caller=origin.caller,
            origin=origin,
            left_out=find_omissions(origin.body),
            field_names=FIELD_NAMES,
        )
        return apply_mode(chat, Mode.OFF, Usage.ALWAYS)

    @property
    def _shape(self) -> Object:
        return request_shapes.MESSAGES

    def check(self, call: Call) -> None:
        """Raise BadRequest for what the chat of a call can't ask for."""
        if call.origin:
            check_convertible(call.origin.body)

    def answer(self, batches: Iterable[Batch], call: Call, context: ResponseContext) -> ClientResponse:
        """Return the response with a message in the form that its client asked for. Raises ProxyError."""
        origin = call.origin or call
        head = MessageHead(
            request_id=call.id,
            model=call.requested_model or call.model,
            input_tokens=estimate_tokens(origin.body),
            names=original_names(origin.body.get("tools")),
            maker=lambda: mark_of(context.upstream_name),
        )
        kept = without(response_headers_for_new_body(context.reply_headers), _OWN_HEADERS)
        own = ("request-id", context.id)
        if not call.stream:
            body = encode_json(build_message(batches, head))
            return ClientResponse(context.reply_status, (*kept, _JSON_TYPE, own), body)
        pieces = write_stream(batches, MessageWriter(head), context)
        return ClientResponse(context.reply_status, (*kept, *STREAM_HEAD, own), pieces)

    def answer_error(self, error: ProxyError, request_id: str) -> ClientResponse:
        return answer_error(error, request_id)

    def error_event(self, error: ProxyError, request_id: str) -> bytes:
        return error_event(error, request_id)

    def hand_over(self, call: Call) -> Call:
        return hand_over(call)

    @property
    def image_parts(self) -> ImageParts:
        return MESSAGES_IMAGES

    def usage_meter(self, record: Callable[[Json], None]) -> Filter:
        return MessagesUsageMeter(record)

    def stream_end(self) -> StreamEnd:
        return NamedStreamEnd((b"message_stop",), failures=(b"error",))


class CountTokensEndpoint(MessagesEndpoint):
    """The tokens of a request, counted without an answer."""

    @property
    def _shape(self) -> Object:
        return request_shapes.COUNT_TOKENS


MESSAGES = MessagesEndpoint("/v1/messages", PING)
COUNT_TOKENS = CountTokensEndpoint("/v1/messages/count_tokens", PING)


def answer_count(call: Call) -> ClientResponse:
    """Return the response with an estimate of the tokens of a request."""
    counted = dumps({"input_tokens": estimate_tokens((call.origin or call).body)})
    return ClientResponse(200, (_JSON_TYPE, ("request-id", call.id)), counted)


def chat_headers(headers: Headers) -> Headers:
    """Return the headers for a chat: its key is a bearer token."""
    key = get_header(headers, "x-api-key").strip()
    kept = without(headers, _OF_THE_API)
    return (*kept, ("Authorization", f"Bearer {key}")) if key and not get_header(kept, "authorization") else kept
