"""Read the errors of any server and write them in OpenAI's shape.

An upstream reports an error in one of three ways:

- with an error status and a body of its own: OpenAI's object, FastAPI's `{"detail": …}`, a flat `{"message", "code"}`,
  Gemini's array, plain text, an HTML page (`error_from_reply`);
- with status 200, in the document or in an event of the stream (`error_in_document`, `error_in_event`): `{"error": …}`
  with or without choices (OpenAI, vLLM, SGLang, OpenRouter), `{"object": "error", …}` (older vLLM), an `error:` line
  (llama.cpp before 2025-09, pull request 16109), `event: error` with a flat error or plain text, or any object with a
  `message` or a `detail` in place of a completion;
- with words that say that the model can't be streamed, or can only be streamed (`refuses_mode`).
"""

from __future__ import annotations

import re
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError, UpstreamStatus, type_by_status
from argoproxy.protocol.access.header_rules import response_headers_for_new_body
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.http_messages import Headers, without
from argoproxy.protocol.json_text import Json, JsonError, as_dict, loads
from argoproxy.protocol.stream.chunks import is_completion
from argoproxy.protocol.stream.sse import Event, encode_json, event_data

#: A longer body is a page, a dump or a stack trace rather than a message.
LONGEST_TEXT_BODY = 4096
LONGEST_MESSAGE = 300
_MESSAGE_LINES = 2

#: Statuses of servers for paths that they do not have.
_NO_PATH = frozenset((404, 405, 501))
#: What a 404 is about that is not about the path.
_NAMES_A_THING = re.compile(r"\bmodel\b|\bwith id\b")
_CONTENT_TYPE = frozenset(("content-type",))
_JSON_TYPE = ("Content-Type", "application/json")
_STATUS_BY_TYPE = {kind: status for status, kind in type_by_status.items()}
_ERROR_EVENT = re.compile(rb"(?:^|[\r\n])event: ?error[ \t]*[\r\n]")

#: How markup, broken JSON, events and stack traces begin.
_NOT_PLAIN_TEXT = re.compile(r"[<{\[]|data:|event:|Traceback \(", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
#: URLs, addresses, a host with a port: a message to a client must not say where the upstream is.
_LOCATION = re.compile(
    r"[a-z][a-z0-9+.-]{0,15}://\S+|\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\]?(?::\d+)?"
    r"|(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\w.])|(?<![\w.-])[a-z0-9][\w.-]{0,252}:\d{2,5}(?!\w)",
    re.IGNORECASE,
)
_HIDDEN = "…"

#: Made from the messages in tests/upstreams/test_mode_refusals.py, which also names the server of each.
_MODE_REFUSAL = re.compile(
    r"only supports? stream"
    r"|only (?:non[-_ ]?)?stream(?:ing)?(?: \w+)? (?:is|are) supported"
    r"|for non-streaming calls"
    r"|(?:enable|remove) (?:the )?['\"`]?stream['\"`]? "
    r"|set (?:the )?['\"`]?stream['\"`]? ?(?:to|=|:) ?(?:true|false)"
    r"|\bstream['\"`]? (?:does not support|must be (?:set to )?(?:true|false))"
    r"|\bstream(?:ing)?['\"`]?(?: \w+)? (?:is|are) (?:not|un)(?: currently| yet)? ?"
    r"(?:support|available|allowed|enabled)"
    r"|(?:does not|doesn't|do not) (?:currently |yet )?support (?:non[-_ ]?)?(?:http call|sse|stream)"
    r"|(?:requires?|must use|should use|please use) (?:non[-_ ]?)?stream(?:ing)?\b"
    r"|stream(?:ing)? (?:mode )?is (?:strongly )?(?:required|mandatory)"
    r"|must be verified to stream"
    r"|incremental_output parameter must be",
    re.IGNORECASE,
)
_TOO_MANY_REQUESTS, _SERVER_ERROR, _NOT_IMPLEMENTED = 429, 500, 501
#: What `error_in_success` gives an error that has neither a status nor a type of its own.
_DEFAULT_STATUS, _DEFAULT_TYPE = 502, "upstream_error"
_HAS_DEFAULT_TYPE = f'"type":"{_DEFAULT_TYPE}"'.encode()


def error_from_reply(status: int, headers: Headers, body: bytes) -> UpstreamStatus:
    """Return a reply with an error status as an error: a body in OpenAI's shape byte for byte, any other one converted.
    A redirect stays as it is."""
    kept = response_headers_for_new_body(headers)
    if status < 400:
        return UpstreamStatus(status, kept, body)
    document = loads_or_none(body)
    if not _is_openai_error(document):
        content = document if document is not None else plain_message(body)
        body = encode_json({"error": _to_openai_error(status, content)})
    return UpstreamStatus(status, (*without(kept, _CONTENT_TYPE), _JSON_TYPE), body)


def error_in_success(status: int, error: Json) -> UpstreamStatus:
    """Return an error that an upstream sent with status 200 as one with `status`; fields missing in `error` are filled
    in."""
    complete = _fill_in(error, "The upstream failed.", _DEFAULT_TYPE)
    return UpstreamStatus(status, (_JSON_TYPE,), encode_json({"error": complete}))


def error_in_event(event: Event) -> ProxyError | None:
    """Return the error that an event reports, None if it reports none. Broken JSON is an error too."""
    try:
        chunk = event.chunk
    except UpstreamProtocolError as broken:
        return broken
    if chunk is None and event.raw.startswith(b"error:"):
        return _error_in({"error": loads_or_none(event.raw[6:]) or "The upstream failed."})
    if chunk and (error := _error_in(chunk)):
        return error
    return _error_named_so(event) if _ERROR_EVENT.search(event.raw) else None


def error_in_document(document: Json) -> ProxyError | None:
    """Return the error that a document without a completion reports, None if it reports none."""
    if error := _error_in(document):
        return error
    flat = flat_error(document)
    return _with_status(flat) if flat["message"] else None


def refuses_mode(error: ProxyError) -> bool:
    """Tell whether an error says that the model can't be asked this way: as a stream, or not as one. Failures (5xx) and
    rate limits say nothing about that."""
    if not isinstance(error, UpstreamStatus) or error.status == _TOO_MANY_REQUESTS:
        return False
    is_failure = error.status >= _SERVER_ERROR and error.status != _NOT_IMPLEMENTED
    # An error with status 200 and no status of its own was given 502 above; it may still be a refusal.
    has_own_status = error.status != _DEFAULT_STATUS or _HAS_DEFAULT_TYPE not in error.body
    if is_failure and has_own_status:
        return False
    return bool(_MODE_REFUSAL.search(error.body.decode("utf-8", "replace")))


def flat_error(fields: Json) -> Json:
    """Collect message, code and param from the top level of an object; None for each that is missing."""
    message = next((fields[key] for key in ("message", "detail", "error") if fields.get(key)), None)
    code, param = fields.get("code"), fields.get("param")
    return {
        "message": message,
        "code": code if isinstance(code, str | int) else None,
        "param": param if isinstance(param, str) else None,
    }


def plain_message(body: bytes) -> str:
    """Return the first lines of a short plain-text body as one printable line, without locations: "CUDA out of memory",
    "model is loading". "" if the body is no such text."""
    if len(body) > LONGEST_TEXT_BODY or b"\0" in body:
        return ""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return ""
    if _NOT_PLAIN_TEXT.match(text):
        return ""
    lines = [" ".join(line.split()) for line in _TAG.sub(" ", text).splitlines()]
    message = " ".join([line for line in lines if line][:_MESSAGE_LINES])
    message = printable(_LOCATION.sub(_HIDDEN, message))
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"


def loads_or_none(body: bytes) -> Any:
    """Parse JSON; return None if it can't be parsed."""
    try:
        return loads(body)
    except JsonError:
        return None


def _is_openai_error(document: Any) -> bool:
    error = document.get("error") if isinstance(document, dict) else None
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _to_openai_error(status: int, document: Any) -> Json:
    kind = type_by_status.get(status, "server_error" if status >= 500 else "invalid_request_error")
    default = f"The upstream answered with status {status}."
    if isinstance(document, list) and document and _is_openai_error(document[0]):
        return _fill_in(document[0]["error"], default, kind)
    if isinstance(document, str):
        return _fill_in({"message": document}, default, kind)
    return _fill_in(flat_error(as_dict(document)), default, kind)


def _fill_in(error: Json, default: str, kind: str) -> Json:
    """Return an error with all four fields of OpenAI's and its message as text: `default` if it has none."""
    message = error.get("message")
    text = message if isinstance(message, str) else encode_json(message).decode() if message else ""
    return {"type": kind, "param": None, "code": None, **error, "message": text or default}


def _error_named_so(event: Event) -> ProxyError | None:
    """Return the error of an `event: error`; a chunk of a completion is none, whatever its event is called."""
    if event.chunk is None:
        return _with_status({"message": (event_data(event.raw) or b"").decode("utf-8", "replace")})
    return None if is_completion(event.chunk) else error_in_document(event.chunk) or _with_status({})


def _error_in(document: Json) -> ProxyError | None:
    error = document.get("error")
    if not error and document.get("object") == "error":
        error = {key: value for key, value in document.items() if key != "object"}
    if not error:
        return None
    if isinstance(error, dict) and set(error) == {"error"}:
        error = error["error"]
    return _with_status(error if isinstance(error, dict) else {"message": error})


def _with_status(error: Json) -> ProxyError:
    """Return an error with the status that its code is, else the one that its type belongs to, else 502."""
    status = _status_of_code(error.get("code")) or _status_of_type(error.get("type")) or _DEFAULT_STATUS
    return error_in_success(status, error)


def _status_of_code(code: Any) -> int | None:
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _status_of_type(kind: Any) -> int | None:
    return _STATUS_BY_TYPE.get(kind) if isinstance(kind, str) else None


def is_missing_path(error: UpstreamStatus) -> bool:
    """Return whether an error says that a server does not have a path. A 404 may also be about the model, or about an
    item or response that a request names (OpenAI: `param` is "input", "Item with id 'rs_1' not found.")."""
    if error.status not in _NO_PATH:
        return False
    try:
        document = as_dict(loads(error.body))
    except JsonError:
        return True
    said = as_dict(document.get("error")) or flat_error(document)
    is_named = said.get("code") == "model_not_found" or bool(said.get("param"))
    return not (is_named or _NAMES_A_THING.search(str(said.get("message"))))
