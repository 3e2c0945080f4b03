"""Errors that upstreams tell under a status of success, in a document or inside a stream.

Forms: `{"error": …}` with or without choices (OpenAI, vLLM, SGLang, OpenRouter), flat `{"object": "error", …}` (older
vLLM), an `error:` line (llama.cpp before 2025-09), `event: error` with a flat error or with words, and whatever says
`message` or `detail` where a completion should stand.
"""

from __future__ import annotations

import re
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError, type_by_status
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.chunks import is_completion
from argoproxy.protocol.stream.sse import Event, data_of
from argoproxy.upstreams.errors import flat_error, loaded, told_inside

_NAMED_ERROR = re.compile(rb"(?:^|[\r\n])event: ?error[ \t]*[\r\n]")
_STATUS_BY_TYPE = {kind: status for status, kind in type_by_status.items()}


def error_in_event(event: Event) -> ProxyError | None:
    """Read what an event tells of a failure, if it does; broken JSON is one too."""
    try:
        chunk = event.chunk
    except UpstreamProtocolError as broken:
        return broken
    if chunk is None and event.raw.startswith(b"error:"):
        return _error_inside({"error": loaded(event.raw[6:]) or "The upstream failed."})
    if chunk and (error := _error_inside(chunk)):
        return error
    return _error_named(event) if _NAMED_ERROR.search(event.raw) else None


def error_in_document(document: Json) -> ProxyError | None:
    """Read what a document that is no completion tells of a failure, if it does."""
    if error := _error_inside(document):
        return error
    flat = flat_error(document)
    return _told(flat) if flat["message"] else None


def _error_named(event: Event) -> ProxyError | None:
    """Read an event that is called an error; a chunk of a completion is none, whatever it is called."""
    if event.chunk is None:
        return _told({"message": (data_of(event.raw) or b"").decode("utf-8", "replace")})
    return None if is_completion(event.chunk) else error_in_document(event.chunk) or _told({})


def _error_inside(document: Json) -> ProxyError | None:
    error = document.get("error")
    if not error and document.get("object") == "error":
        error = {key: value for key, value in document.items() if key != "object"}
    if not error:
        return None
    if isinstance(error, dict) and set(error) == {"error"}:
        error = error["error"]
    return _told(error if isinstance(error, dict) else {"message": error})


def _told(error: Json) -> ProxyError:
    """Tell an error with the status that its code names, else with the one its type belongs to, else 502."""
    return told_inside(_status(error.get("code")) or _status_of_type(error.get("type")) or 502, error)


def _status(code: Any) -> int | None:
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _status_of_type(kind: Any) -> int | None:
    return _STATUS_BY_TYPE.get(kind) if isinstance(kind, str) else None
