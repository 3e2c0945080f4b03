"""Modes: whether an upstream is asked for a stream, for a whole document, or for what its client asked for."""

from __future__ import annotations

from enum import StrEnum

from argoproxy.errors import BadRequest, ProxyError, UpstreamStatus
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import as_dict
from argoproxy.protocol.routing.call import Call, change_body

HEADER = "x-upstream-mode"
_REFUSALS = (400, 422)


class Mode(StrEnum):
    """`off` asks for what the client asked for."""

    OFF = "off"
    STREAM = "stream"
    NON_STREAM = "non_stream"


class Usage(StrEnum):
    """Whether a stream is asked for its usage if the client did not ask."""

    AS_ASKED = "as_asked"
    ALWAYS = "always"


def requested_mode(headers: Headers) -> Mode | None:
    """Return the mode in the header of a request, None without one. Raises BadRequest."""
    value = get_header(headers, HEADER).strip().lower()
    if not value:
        return None
    try:
        return Mode(value)
    except ValueError:
        modes = ", ".join(Mode)
        raise BadRequest(f"The header X-Upstream-Mode must be one of {modes}.", code="invalid_upstream_mode") from None


def opposite_mode(call: Call) -> Mode:
    """Return the mode that a call is not in."""
    return Mode.NON_STREAM if call.stream else Mode.STREAM


def apply_mode(call: Call, mode: Mode, usage: Usage) -> Call:
    """Return a call in a mode. A stream that becomes a document is asked for its usage; where the client's choice is
    kept, `usage` decides."""
    if mode is Mode.NON_STREAM:
        return _whole(call) if call.stream else call
    if mode is Mode.STREAM and not call.stream:
        return with_usage(call.with_body({**call.body, "stream": True}))
    is_wanted = usage is Usage.ALWAYS or call.wants_document
    return with_usage(call) if call.stream and is_wanted else call


def _whole(call: Call) -> Call:
    body = {key: value for key, value in call.body.items() if key != "stream_options"}
    return call.with_body({**body, "stream": False})


def with_usage(call: Call) -> Call:
    """Return a call that asks a stream for its usage."""
    if call.include_usage:
        return call
    options = as_dict(call.body.get("stream_options"))
    return change_body(call, {**call.body, "stream_options": {**options, "include_usage": True}})


def without_usage(call: Call) -> Call:
    """Return a call without the option that asks a stream for its usage."""
    return call.with_body({key: value for key, value in call.body.items() if key != "stream_options"})


def refuses_usage(error: ProxyError) -> bool:
    """Return whether a server says that it does not know `stream_options` (older Mistral: 422, `extra_forbidden`)."""
    is_refusal = isinstance(error, UpstreamStatus) and error.status in _REFUSALS
    return is_refusal and b"stream_options" in getattr(error, "body", b"")
