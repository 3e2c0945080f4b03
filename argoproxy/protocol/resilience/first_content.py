"""Where the content of a reply begins: up to there another upstream can still answer in its place.

Content is text, a thought, a tool call, a refusal or a finish reason; neither a role, nor usage, nor a comment, nor
what announces a message that is still empty. Replies come as batches of chunks, or as the bytes of any of the APIs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_list, as_text, dumps, loads
from argoproxy.protocol.stream.chunks import iterate_choices
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event, EventDecoder

#: Bytes that are held back at most while there is no content; a single event may have as many.
LONGEST_HELD = 8 * 1024 * 1024

#: Events of the Messages and Responses APIs before any content.
_ANNOUNCEMENTS = frozenset(
    "message_start ping response.created response.queued response.in_progress keepalive"
    " response.content_part.added response.reasoning_summary_part.added".split()
)
#: What begins empty and is filled by later events; a tool call is content as soon as it begins.
_FILLED_LATER = frozenset(("text", "thinking", "message", "reasoning"))
_FAILURES = frozenset(("error", "response.failed"))
_FIELDS = ("message", "code", "param")
#: Statuses of errors inside a stream, by their code or type: OpenAI API reference, Responses; Anthropic API reference,
#: errors.
_STATUSES = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 503,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "timeout_error": 504,
}
_UNKNOWN_STATUS = 502


class ContentFinder(Protocol):
    """Looks at a reply for its first content."""

    def feed(self, step: Any) -> bool:
        """Return whether there is content up to and with this part of the reply. Raises UpstreamStatus for an error in
        its place."""

    def finish(self) -> None:
        """Take the end of the reply. Raises UpstreamStatus if it is an error."""


class ChunkFinder:
    """Looks at batches of events."""

    def __init__(self) -> None:
        self._size = 0

    def feed(self, step: Batch) -> bool:
        if any(has_content(event) for event in step):
            return True
        self._size += sum(len(event.raw) for event in step)
        return self._size > LONGEST_HELD

    def finish(self) -> None:
        """Do nothing: an error is raised by the adapter."""


class EventFinder:
    """Looks at the bytes of a stream of events, of whatever API."""

    def __init__(self) -> None:
        self._decoder = EventDecoder(LONGEST_HELD)
        self._size = 0

    def feed(self, step: bytes) -> bool:
        self._size += len(step)
        try:
            return self._size > LONGEST_HELD or any(_event_has_content(event) for event in self._decoder.feed(step))
        except UpstreamStatus:
            raise
        except ProxyError:  # not JSON, or too long: its client may know what to do with it
            return True

    def finish(self) -> None:
        """Do nothing: a stream without content is passed on."""


class DocumentFinder:
    """Looks at the bytes of a whole reply, which is content once it is complete."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, step: bytes) -> bool:
        self._received += step
        return len(self._received) > LONGEST_HELD

    def finish(self) -> None:
        try:
            document = as_dict(loads(bytes(self._received)))
        except JsonError:
            return
        if error := _error_in(document):
            raise error


def make_finder(step: object, headers: Headers) -> ContentFinder | None:
    """Return what looks for content in a reply with these headers that begins with this part; None if that is content
    already: a compressed stream, or what is whole."""
    if isinstance(step, list):
        return ChunkFinder()
    if not isinstance(step, bytes) or get_header(headers, "content-encoding", "identity") != "identity":
        return None
    is_stream = get_header(headers, "content-type").startswith("text/event-stream")
    return EventFinder() if is_stream else DocumentFinder()


def has_content(event: Event) -> bool:
    """Return whether an event of a chat or a completion has content. Raises UpstreamProtocolError if it is no JSON."""
    if isinstance(event, TextRun | Document):
        return True
    return event.chunk is not None and _chunk_has_content(event.chunk)


def _chunk_has_content(chunk: Json) -> bool:
    return any(_choice_has_content(choice) for _, choice in iterate_choices(chunk.get("choices")))


def _choice_has_content(choice: Json) -> bool:
    if choice.get("finish_reason") or choice.get("text") or choice.get("message"):
        return True
    return any(value for name, value in as_dict(choice.get("delta")).items() if name != "role")


def _event_has_content(event: Event) -> bool:
    chunk = event.chunk
    if chunk is None:
        return False
    if error := _error_in(chunk):
        raise error
    kind = as_text(chunk.get("type"))
    if "choices" in chunk or not kind:
        return _chunk_has_content(chunk)
    begun = as_dict(chunk.get("content_block") or chunk.get("item"))
    return kind not in _ANNOUNCEMENTS and not (begun and _is_empty(begun))


def _is_empty(begun: Json) -> bool:
    """Return whether a block (Messages) or an item (Responses) that has begun has nothing in it yet."""
    filled: Sequence[Any] = [begun.get("text"), begun.get("thinking"), *as_list(begun.get("content"))]
    return begun.get("type") in _FILLED_LATER and not any(filled)


def _error_in(document: Json) -> UpstreamStatus | None:
    """Return the error that an event, or a document in its place, reports: under `error`, under that of the `response`
    (Responses), or in its own fields (Responses, vLLM)."""
    kind = document.get("type")
    error = document.get("error") or as_dict(document.get("response")).get("error")
    if not error and (kind in _FAILURES or document.get("object") == "error"):
        error = {name: document[name] for name in _FIELDS if name in document}
    if not error and kind not in _FAILURES:
        return None
    fields = {"message": "The upstream failed.", **(error if isinstance(error, dict) else {"message": error})}
    # The first form is Anthropic's own: its clients get it as it is.
    body = {"type": "error", "error": fields} if kind == "error" and document.get("error") else {"error": fields}
    return UpstreamStatus(_status_of(fields), (("Content-Type", "application/json"),), dumps(body))


def _status_of(error: Json) -> int:
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return _STATUSES.get(as_text(code)) or _STATUSES.get(as_text(error.get("type"))) or _UNKNOWN_STATUS
