"""Anthropic's errors in OpenAI's shape: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

Messages stay word for word: clients match on them. Source: Anthropic API reference, Errors.
"""

from __future__ import annotations

from typing import Any

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json, as_dict
from argoproxy.protocol.stream.sse import encode_json
from argoproxy.upstreams.anthropic.headers import with_openai_limits
from argoproxy.upstreams.error_replies import error_from_reply, error_in_success, loads_or_none

#: The status of an error inside a stream, which has none of its own. 503 in place of Anthropic's 529: OpenAI's clients
#: and monitoring know it.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 503,
}
_OVERLOADED, _UNAVAILABLE = 529, 503
_UNKNOWN_STATUS = 502
#: Beginnings of messages with OpenAI's code `context_length_exceeded`, by which agents shorten a conversation.
_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")


def error_from_anthropic_reply(status: int, headers: Headers, body: bytes) -> UpstreamStatus:
    """Return a reply with an error status as an error."""
    error = _find_error(loads_or_none(body)) if status >= 400 else None
    shown = _UNAVAILABLE if status == _OVERLOADED else status
    return error_from_reply(shown, with_openai_limits(headers), encode_json({"error": error}) if error else body)


def error_in(document: Json) -> ProxyError | None:
    """Return the error in a document or event with a status of success, None if it is none."""
    if document.get("type") != "error" and not document.get("error"):
        return None
    error = _find_error(document) or {"message": document.get("error")}
    return error_in_success(_STATUSES.get(error.get("type", ""), _UNKNOWN_STATUS), error)


def _find_error(document: Any) -> Json | None:
    error = as_dict(as_dict(document).get("error"))
    message, kind = error.get("message"), error.get("type")
    if not isinstance(message, str):
        return None
    code = "context_length_exceeded" if message.startswith(_TOO_LONG) else error.get("code")
    return {
        "message": message,
        "type": kind if isinstance(kind, str) else "upstream_error",
        "param": None,
        "code": code,
    }
