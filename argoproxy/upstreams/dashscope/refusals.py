"""DashScope's errors, `{"code", "message", "request_id"}`, in OpenAI's shape.

They come as an answer with an error status, as JSON or as an event; as an event of a stream, with `event:error` and a
comment that holds the status; and under status 200. Sources: "Error messages", Alibaba Cloud Model Studio, September
2026; texts of refused modes: the same, and issues cited in the field.
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

#: The status of an error that tells none and has no code that we know.
UNKNOWN = 502

_STATUS = re.compile(rb"(?m)^:[ \t]*HTTP_STATUS/(\d{3})")
#: Ids of requests, and codes.
_WORD = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_ERROR_EVENT = re.compile(rb"(?m)^event:[ \t]*error[ \t\r]*$")
#: No code of DashScope's is as long; of a longer one each beginning would be looked up.
_LONGEST_CODE = 200
#: DashScope answers with these where others would tell more.
_CATCH_ALL = (400, 500)


@dataclass(frozen=True, slots=True)
class _Known:
    """A code of DashScope's: its status, and OpenAI's code and type where they tell more."""

    status: int
    code: str | None = None
    type: str | None = None


_QUOTA = "insufficient_quota"
#: In lower case, without underscores; what stands behind a dot narrows a code.
_CODES: Mapping[str, _Known] = {
    "invalidparameter": _Known(400),
    "invalidurl": _Known(400),
    "badrequest": _Known(400),
    "unsupportedoperation": _Known(400),
    "datainspectionfailed": _Known(400, "content_filter"),
    "arrearage": _Known(400, _QUOTA, _QUOTA),
    "invalidapikey": _Known(401, "invalid_api_key"),
    "accessdenied": _Known(403),
    "modelnotfound": _Known(404, "model_not_found"),
    "model.notexist": _Known(404, "model_not_found"),
    "notfound": _Known(404, "model_not_found"),
    "requesttoolarge": _Known(413),
    "throttling": _Known(429, "rate_limit_exceeded"),
    "throttling.allocationquota": _Known(429, _QUOTA, _QUOTA),
    "limitrequests": _Known(429, "rate_limit_exceeded"),
    "internalerror": _Known(500),
    "systemerror": _Known(500),
    "requesttimeout": _Known(500),
    "serviceunavailable": _Known(503),
    "modelservingerror": _Known(503),
    "modelunavailable": _Known(503),
}
_TOO_LONG = "Range of input length should be"


def answered(status: int, headers: Headers, body: bytes) -> ProxyError:
    """Read an error answer, JSON or an event."""
    if status < 400:
        return error_from_reply(status, headers, body)
    told = _told_in(body)
    if not _is_ours(told):
        return error_from_reply(status, headers, body if told is None else encode_json(told))
    known = _known(told["code"])
    if known and known.status < 500 and status in _CATCH_ALL:
        status = known.status
    request_id = _request_id(told)
    if request_id and not get_header(headers, "x-request-id"):
        headers = (*headers, ("X-Request-Id", request_id))
    return error_from_reply(status, headers, encode_json({"error": _error(told, status)}))


def check(told: Json, status: int = 0) -> None:
    """See that a reply under status 200, or an event, tells of no error; `status` is what the event said. Raises
    ProxyError."""
    if _is_ours(told):
        raise _inside(told, status)
    if error := told.get("error"):
        raise error_in_success(_error_status(status, None), error if isinstance(error, dict) else {"message": error})


def check_event(event: Event) -> None:
    """See that an event of a stream tells of no error. Raises ProxyError."""
    raw = event.raw
    found = _STATUS.search(raw)
    status = int(found.group(1)) if found else 0
    if event.chunk is not None:
        check(event.chunk, status)
    if _ERROR_EVENT.search(raw):
        words = (event_data(raw) or b"").decode("utf-8", "replace")
        raise _inside(event.chunk or {"message": words}, status)


def _is_ours(told: Any) -> bool:
    """Whether a reply is an error of DashScope's: its code is no empty string."""
    return isinstance(told, dict) and isinstance(told.get("code"), str) and bool(told["code"])


def _inside(told: Json, status: int) -> UpstreamStatus:
    status = _error_status(status, _known(told.get("code")))
    request_id = _request_id(told)
    named = (("X-Request-Id", request_id),) if request_id else ()
    headers = (("Content-Type", "application/json"), *named)
    return UpstreamStatus(status, headers, encode_json({"error": _error(told, status)}))


def _error_status(status: int, known: _Known | None) -> int:
    if 400 <= status < 600:
        return status
    return known.status if known else UNKNOWN


def _error(told: Json, status: int) -> Json:
    """Give OpenAI's error; a code that OpenAI has no word for stays. The message also says the id of the request, and
    the code where it was mapped: several become one."""
    code, said, request_id = told.get("code"), told.get("message"), _request_id(told)
    known = _known(code) or _Known(status)
    message = said if isinstance(said, str) and said else f"DashScope answered with status {status}."
    usual = type_by_status.get(status, "server_error" if status >= 500 else "invalid_request_error")
    mapped = "context_length_exceeded" if _TOO_LONG in message else known.code or code
    own = code if mapped != code and isinstance(code, str) and _WORD.fullmatch(code) else ""
    named = [f"{name}: {value}" for name, value in (("code", own), ("request id", request_id)) if value]
    return {
        "message": f"{message} ({', '.join(named)})" if named else message,
        "type": known.type or usual,
        "param": None,
        "code": mapped,
    }


def _known(code: Any) -> _Known | None:
    """Find a code: itself, what stands behind its last dot (`InternalError.Algo.InvalidParameter`), its beginnings."""
    if not isinstance(code, str) or len(code) > _LONGEST_CODE:
        return None
    return next((_CODES[name] for name in _names(code.replace("_", "").lower()) if name in _CODES), None)


def _names(code: str) -> Iterator[str]:
    words = code.split(".")
    yield code
    yield words[-1]
    yield from (".".join(words[:count]) for count in range(len(words) - 1, 0, -1))


def _request_id(told: Json) -> str:
    request_id = told.get("request_id")
    return request_id if isinstance(request_id, str) and _WORD.fullmatch(request_id) else ""


def _told_in(body: bytes) -> Any:
    """Parse an answer that is JSON, or the data of an event; None when it is neither."""
    told = loads_or_none(body)
    if told is not None or len(body) > EVENT_LIMIT:
        return told
    decoder = EventDecoder()
    datas = (event_data(event.raw) for event in [*decoder.feed(body), *decoder.finish()])
    return next((told for data in datas if data and (told := loads_or_none(data)) is not None), None)
