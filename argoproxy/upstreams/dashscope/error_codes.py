"""DashScope's errors, `{"code", "message", "request_id"}`, in OpenAI's shape.

They come as a reply with an error status, whose body is JSON or an event; as an event of a stream, `event:error` with
the status in a comment (`:HTTP_STATUS/400`); and as a reply with status 200 and a code.
Source: "Error messages", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import ProxyError, UpstreamStatus, type_by_status
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import EVENT_LIMIT, Event, EventDecoder, encode_json, event_data
from argoproxy.upstreams.error_replies import error_from_reply, error_in_success, loads_or_none

#: The status of an error that has none and whose code is unknown.
UNKNOWN_STATUS = 502

_STATUS = re.compile(rb"(?m)^:[ \t]*HTTP_STATUS/(\d{3})")
#: What ids of requests and codes look like; anything else is not quoted in a message.
_IDENTIFIER = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_ERROR_EVENT = re.compile(rb"(?m)^event:[ \t]*error[ \t\r]*$")
#: Longer than any code of DashScope; every beginning of a code is looked up, which a huge one would make slow.
_LONGEST_CODE = 200
#: DashScope also uses these for errors whose code belongs to a more exact status.
_VAGUE_STATUSES = (400, 500)


@dataclass(frozen=True, slots=True)
class _Mapping:
    """The status of a code, and OpenAI's code and type if they are more exact."""

    status: int
    code: str | None = None
    type: str | None = None


_QUOTA = "insufficient_quota"
#: In lower case, without underscores; what follows a dot makes a code more exact.
_CODES: Mapping[str, _Mapping] = {
    "invalidparameter": _Mapping(400),
    "invalidurl": _Mapping(400),
    "badrequest": _Mapping(400),
    "unsupportedoperation": _Mapping(400),
    "datainspectionfailed": _Mapping(400, "content_filter"),
    "arrearage": _Mapping(400, _QUOTA, _QUOTA),
    "invalidapikey": _Mapping(401, "invalid_api_key"),
    "accessdenied": _Mapping(403),
    "modelnotfound": _Mapping(404, "model_not_found"),
    "model.notexist": _Mapping(404, "model_not_found"),
    "notfound": _Mapping(404, "model_not_found"),
    "requesttoolarge": _Mapping(413),
    "throttling": _Mapping(429, "rate_limit_exceeded"),
    "throttling.allocationquota": _Mapping(429, _QUOTA, _QUOTA),
    "limitrequests": _Mapping(429, "rate_limit_exceeded"),
    "internalerror": _Mapping(500),
    "systemerror": _Mapping(500),
    "requesttimeout": _Mapping(500),
    "serviceunavailable": _Mapping(503),
    "modelservingerror": _Mapping(503),
    "modelunavailable": _Mapping(503),
}
_TOO_LONG = "Range of input length should be"


def error_from_dashscope_reply(status: int, headers: Headers, body: bytes) -> ProxyError:
    """Return a reply with an error status, JSON or an event, as an error."""
    if status < 400:
        return error_from_reply(status, headers, body)
    reply = _parse_body(body)
    if not _is_error(reply):
        return error_from_reply(status, headers, body if reply is None else encode_json(reply))
    known = _look_up(reply["code"])
    if known and known.status < 500 and status in _VAGUE_STATUSES:
        status = known.status
    request_id = _request_id(reply)
    if request_id and not get_header(headers, "x-request-id"):
        headers = (*headers, ("X-Request-Id", request_id))
    return error_from_reply(status, headers, encode_json({"error": _to_openai(reply, status)}))


def check_reply(reply: Json, status: int = 0) -> None:
    """Check a reply with status 200, or an event. `status` is the one in the event's comment, 0 if it has none. Raises
    ProxyError if it reports an error."""
    if _is_error(reply):
        raise _error_in_success(reply, status)
    if error := reply.get("error"):
        raise error_in_success(_error_status(status, None), error if isinstance(error, dict) else {"message": error})


def check_event(event: Event) -> None:
    """Check an event of a stream. Raises ProxyError if it reports an error."""
    raw = event.raw
    comment = _STATUS.search(raw)
    status = int(comment.group(1)) if comment else 0
    if event.chunk is not None:
        check_reply(event.chunk, status)
    if _ERROR_EVENT.search(raw):
        text = (event_data(raw) or b"").decode("utf-8", "replace")
        raise _error_in_success(event.chunk or {"message": text}, status)


def _is_error(reply: Any) -> bool:
    """Tell whether a reply is an error of DashScope: successful ones may have a code too, an empty one."""
    return isinstance(reply, dict) and isinstance(reply.get("code"), str) and bool(reply["code"])


def _error_in_success(reply: Json, status: int) -> UpstreamStatus:
    status = _error_status(status, _look_up(reply.get("code")))
    request_id = _request_id(reply)
    id_header = (("X-Request-Id", request_id),) if request_id else ()
    headers = (("Content-Type", "application/json"), *id_header)
    return UpstreamStatus(status, headers, encode_json({"error": _to_openai(reply, status)}))


def _error_status(status: int, known: _Mapping | None) -> int:
    if 400 <= status < 600:
        return status
    return known.status if known else UNKNOWN_STATUS


def _to_openai(reply: Json, status: int) -> Json:
    """Return OpenAI's error. A code without a counterpart stays. The message also has DashScope's request id and, since
    several codes become one, DashScope's code if it was replaced."""
    code, text, request_id = reply.get("code"), reply.get("message"), _request_id(reply)
    known = _look_up(code) or _Mapping(status)
    message = text if isinstance(text, str) and text else f"DashScope answered with status {status}."
    default_type = type_by_status.get(status, "server_error" if status >= 500 else "invalid_request_error")
    mapped = "context_length_exceeded" if _TOO_LONG in message else known.code or code
    own = code if mapped != code and isinstance(code, str) and _IDENTIFIER.fullmatch(code) else ""
    details = [f"{name}: {value}" for name, value in (("code", own), ("request id", request_id)) if value]
    return {
        "message": f"{message} ({', '.join(details)})" if details else message,
        "type": known.type or default_type,
        "param": None,
        "code": mapped,
    }


def _look_up(code: Any) -> _Mapping | None:
    """Look up a code: itself, what follows its last dot (`InternalError.Algo.InvalidParameter`), its beginnings."""
    if not isinstance(code, str) or len(code) > _LONGEST_CODE:
        return None
    return next((_CODES[name] for name in _names(code.replace("_", "").lower()) if name in _CODES), None)


def _names(code: str) -> Iterator[str]:
    words = code.split(".")
    yield code
    yield words[-1]
    yield from (".".join(words[:count]) for count in range(len(words) - 1, 0, -1))


def _request_id(reply: Json) -> str:
    request_id = reply.get("request_id")
    return request_id if isinstance(request_id, str) and _IDENTIFIER.fullmatch(request_id) else ""


def _parse_body(body: bytes) -> Any:
    """Parse a body that is JSON or an event with JSON data; None if it is neither."""
    reply = loads_or_none(body)
    if reply is not None or len(body) > EVENT_LIMIT:
        return reply
    decoder = EventDecoder()
    texts = (event_data(event.raw) for event in [*decoder.feed(body), *decoder.finish()])
    return next((reply for text in texts if text and (reply := loads_or_none(text)) is not None), None)
