"""Error answers of any server, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from argoproxy.errors import UpstreamStatus, type_by_status
from argoproxy.protocol.http_messages import Headers, downward_with_new_body, without
from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.protocol.stream.sse import written
from argoproxy.upstreams.plain_words import plain_words

_CONTENT_TYPE = frozenset(("content-type",))


def refusal(status: int, headers: Headers, body: bytes) -> UpstreamStatus:
    """Pass on an error in OpenAI's shape as it is, any other one in that shape, a redirect untouched."""
    told = downward_with_new_body(headers)
    if status < 400:
        return UpstreamStatus(status, told, body)
    document = loaded(body)
    if not _is_openai_error(document):
        said = document if document is not None else plain_words(body)
        body = written({"error": _as_openai_error(status, said)})
    return UpstreamStatus(status, (*without(told, _CONTENT_TYPE), ("Content-Type", "application/json")), body)


def told_inside(status: int, error: Json) -> UpstreamStatus:
    """Make an error of what an upstream told under a status of success; `error` may leave anything out."""
    told = _completed(error, "The upstream failed.", "upstream_error")
    return UpstreamStatus(status, (("Content-Type", "application/json"),), written({"error": told}))


def loaded(body: bytes) -> Any:
    """Parse JSON; None when it is none."""
    try:
        return loads(body)
    except JsonError:
        return None


def _is_openai_error(document: Any) -> bool:
    error = document.get("error") if isinstance(document, dict) else None
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _as_openai_error(status: int, document: Any) -> Json:
    """Find the words in what servers send instead: FastAPI's detail, flat errors, Gemini's array, plain
    words."""
    kind = type_by_status.get(status, "server_error" if status >= 500 else "invalid_request_error")
    usual = f"The upstream answered with status {status}."
    if isinstance(document, list) and document and _is_openai_error(document[0]):
        return _completed(document[0]["error"], usual, kind)
    if isinstance(document, str):
        return _completed({"message": document}, usual, kind)
    return _completed(flat_error(document if isinstance(document, dict) else {}), usual, kind)


def flat_error(fields: Json) -> Json:
    """Find message, code and param where they stand alone; None where there is none."""
    said = next((fields[key] for key in ("message", "detail", "error") if fields.get(key)), None)
    code, param = fields.get("code"), fields.get("param")
    return {
        "message": said,
        "code": code if isinstance(code, str | int) else None,
        "param": param if isinstance(param, str) else None,
    }


def _completed(error: Json, usual: str, kind: str) -> Json:
    """Give an error every field of OpenAI's, its message as words: the usual ones where it has none."""
    said = error.get("message")
    text = said if isinstance(said, str) else written(said).decode() if said else ""
    return {"type": kind, "param": None, "code": None, **error, "message": text or usual}
