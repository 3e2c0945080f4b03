"""Errors in Anthropic's shape: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

Source: Anthropic API reference, errors; the types are those of the SDKs. Messages stay word for word: agents recover
from some refusals by their wording. Only that of a full context gets a beginning, by which agents know that they have
to shorten the conversation.
"""

from __future__ import annotations

import re
from typing import Any

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.http_messages import ClientResponse, without
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, dumps, loads
from argoproxy.protocol.messages.answers.frames import encode_frame

_CONTENT_HEADERS = frozenset(("content-type", "request-id"))
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OVERLOADED = frozenset(("overloaded", "overloaded_error", "server_is_overloaded", "slow_down"))
_STATUS_BY_CODE = {"context_length_exceeded": 400, "content_filter": 400, "insufficient_quota": 402}
_TOO_LONG = "prompt is too long"
_CONTEXT_FULL = re.compile(r"maximum context length|context[ _](?:length|window|size).{0,40}exceed", re.IGNORECASE)
_MOST_TOKENS = re.compile(r"maximum context length (?:is|of) (\d+)|> (\d+) maximum")
_SENT_TOKENS = re.compile(r"(?:resulted in|requested(?: about)?|contains(?: at least)?|of) (\d+) (?:input )?tokens")


def answer_error(error: ProxyError, request_id: str) -> ClientResponse:
    """Return the response with an error. One of an upstream that has this shape already is sent as it is."""
    if isinstance(error, UpstreamStatus) and _own_document(error):
        return ClientResponse(error.status, _with_id(error.headers, request_id), error.body)
    status, document = describe_error(error, request_id)
    kept = without(error.headers, _CONTENT_HEADERS)
    headers = (*kept, ("Content-Type", "application/json"), ("request-id", request_id))
    return ClientResponse(status, headers, dumps(document))


def error_event(error: ProxyError, request_id: str) -> bytes:
    """Return an error as the last event of a stream."""
    own = _own_document(error) if isinstance(error, UpstreamStatus) else None
    return encode_frame(own or describe_error(error, request_id)[1])


def describe_error(error: ProxyError, request_id: str) -> tuple[int, Json]:
    """Return the status and the document of an error."""
    said: Json = {"message": _name_field(error), "code": error.code, "type": error.type}
    if isinstance(error, UpstreamStatus):
        said = {**said, **{key: value for key, value in _find_error(error.body).items() if value}}
    message, code = as_text(said["message"]) or error.message, said["code"]
    status = _status(error.status, code, said["type"], message)
    if status == 400 and (code == "context_length_exceeded" or _CONTEXT_FULL.search(message)):
        message = _begin_with_too_long(message)
    kind = _TYPES.get(status) or ("api_error" if status >= 500 or status < 400 else "invalid_request_error")
    return status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _name_field(error: ProxyError) -> str:
    """Return the message of an error with the field that is wrong: this shape has no other place for it."""
    field = error.param or ""
    return error.message if field in error.message else f"{field}: {error.message}"


def _status(status: int, code: Any, kind: Any, message: str) -> int:
    if status in (400, 403, 429) and code == "insufficient_quota":
        return 402
    if status in (500, 503) and not _OVERLOADED.isdisjoint(map(as_text, (code, kind))):
        return 529
    if status == 422 or (400 <= status < 500 and _STATUS_BY_CODE.get(as_text(code)) == 400):
        return 400
    return 400 if status == 413 and _CONTEXT_FULL.search(message) else status


def _begin_with_too_long(message: str) -> str:
    """Return a message that begins as Anthropic's own about a full context, with the numbers if it names them."""
    if message.startswith(_TOO_LONG):
        return message
    most, sent = _MOST_TOKENS.search(message), _SENT_TOKENS.search(message)
    if most and sent:
        return f"{_TOO_LONG}: {sent.group(1)} tokens > {most.group(1) or most.group(2)} maximum. {message}"
    return f"{_TOO_LONG}: {message}"


def _own_document(error: UpstreamStatus) -> Json | None:
    """Return the body of an error that is in Anthropic's shape, else None."""
    document = _load(error.body)
    is_own = document.get("type") == "error" and isinstance(document.get("error"), dict)
    return document if is_own and isinstance(document["error"].get("type"), str) else None


def _find_error(body: bytes) -> Json:
    found = _load(body).get("error")
    return {"message": found} if isinstance(found, str) else as_dict(found)


def _load(body: bytes) -> Json:
    try:
        return as_dict(loads(body))
    except JsonError:
        return {}


def _with_id(headers: tuple[tuple[str, str], ...], request_id: str) -> tuple[tuple[str, str], ...]:
    has_id = any(name.lower() == "request-id" for name, _ in headers)
    return headers if has_id else (*headers, ("request-id", request_id))
