"""Errors for clients that read them only under a status of success: 200 with the error, for a stream as an event."""

from __future__ import annotations

from argoproxy.errors import BadRequest, ClientGone, ProxyError
from argoproxy.protocol.api.endpoints import STREAM_TYPE, answer_error, error_event
from argoproxy.protocol.http_messages import Body, ClientResponse, Headers, ReadBody, header, read_up_to, without
from argoproxy.protocol.json_text import JsonError, loads
from argoproxy.protocol.routing.llm_params import BOOLEANS

HEADER = "x-compatible"
#: Of a request that was refused before it was parsed, this much is read to learn whether it wants a stream.
LONGEST_LOOK = 1024 * 1024

_CONTENT_TYPE = frozenset(("content-type",))


def is_compatible(headers: Headers, otherwise: bool) -> bool:  # noqa: FBT001 a setting
    """Tell whether a request wants its errors so: by a header of its own, else as is set. Raises BadRequest."""
    wished = header(headers, HEADER).strip().lower()
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
        value = loads(begun_body.text) if isinstance(begun_body, ReadBody) else None
    except (ProxyError, ClientGone, JsonError):
        return False
    return isinstance(value, dict) and value.get("stream") is True
