"""Writes the spans of a request that has ended: one for the request, one for each attempt."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from argoproxy.errors import Ending
from argoproxy.protocol.prices.money import to_number
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.tracing import conventions as names
from argoproxy.telemetry.tracing.otlp import (
    CLOSE,
    SpanFrame,
    SpanKind,
    encode_attributes,
    encode_span,
    encode_text,
    make_frame,
    open_attribute,
)
from argoproxy.telemetry.tracing.request_trace import LONGEST_NAME, AttemptTrace, RequestTrace

#: From this status on a span of a server counts as failed (conventions for HTTP spans); of a client, from 400 on.
_SERVER_ERROR = 500

_OF_REQUESTS = (
    names.HTTP_METHOD,
    names.HTTP_ROUTE,
    names.HTTP_STATUS,
    names.ENDING,
    names.ERROR_TYPE,
    names.REQUEST_MODEL,
    names.KEY,
    names.CACHE,
)
_OF_ATTEMPTS = (
    names.OPERATION,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
    names.IS_STREAM,
    names.REQUEST_MODEL,
    names.PROVIDER,
    names.HTTP_STATUS,
    names.ERROR_TYPE,
    names.ERROR_CODE,
)
_REQUEST_ID = open_attribute(names.REQUEST_ID, "stringValue")
_QUEUE_S = open_attribute(names.QUEUE_S, "doubleValue")
_FIRST_CHUNK_S = open_attribute(names.FIRST_CHUNK_S, "doubleValue")
_COST = open_attribute(names.COST, "doubleValue")


class Told(NamedTuple):
    """What spans tell of an outcome. It waits to be sent, so it has nothing of any size, such as a path."""

    method: str
    route: str
    status: int
    ending: Ending
    code: str | None
    model: str
    key: str
    cache: str
    id: str
    return_mode: str
    total_s: float
    first_byte_s: float | None
    queue_s: float | None
    cost_nanos: int | None
    prompt_tokens: int | None
    completion_tokens: int | None


_read_told = attrgetter(*Told._fields)
#: The fields whose values come again and again, together, are the first ones.
_ALIKE = Told._fields.index("id")


class RequestSpans:
    """The spans of a request, before they are written; a SpanSource."""

    __slots__ = ("_told", "_trace")

    def __init__(self, trace: RequestTrace, outcome: Outcome) -> None:
        self._trace = trace
        # What waits is made in a request's way: a Told itself would take longer.
        self._told: tuple[Any, ...] = _read_told(outcome)
        if len(outcome.model) > LONGEST_NAME:
            self._told = self.told._replace(model=outcome.model[:LONGEST_NAME])

    @property
    def told(self) -> Told:
        """What is known of the request."""
        return Told._make(self._told)

    def count(self) -> int:
        """Return how many spans there are."""
        return 1 + len(self._trace.attempts)

    def write(self) -> list[str]:
        """Return the span of the request, then those of its attempts, as JSON."""
        told, trace = self.told, self._trace
        begun_ns, request_id = trace.begun_ns, trace.span_id
        ended_ns, parent_id = begun_ns + int(told.total_s * 1e9), trace.parent.span_id if trace.parent else ""
        ids, frame = (trace.trace_id, request_id, parent_id), _frame_request(*self._told[:_ALIKE])
        spans, following_s = list[str](), None
        for attempt in reversed(trace.attempts):
            end_s = following_s if attempt.failed_s is None else attempt.failed_s
            own = _describe_tokens(told) if following_s is None and not attempt.failure else ""
            until_ns = ended_ns if end_s is None else begun_ns + int(end_s * 1e9)
            times_ns = (begun_ns + int(attempt.begun_s * 1e9), until_ns)
            spans.append(
                encode_span(_frame(attempt, told), (trace.trace_id, attempt.span_id, request_id), times_ns, own)
            )
            following_s = attempt.begun_s
        spans.append(encode_span(frame, ids, (begun_ns, ended_ns), _describe_request(told)))
        spans.reverse()
        return spans


def _frame(attempt: AttemptTrace, told: Told) -> SpanFrame:
    said = (told.method, told.route, attempt.server, attempt.is_stream, attempt.model, attempt.upstream)
    return _frame_attempt(*said, attempt.status, attempt.failure, attempt.code)


def _describe_request(told: Told) -> str:
    """Return the attributes of this request alone."""
    own = f"{_REQUEST_ID}{encode_text(told.id)}{CLOSE}"
    if told.queue_s is not None:
        own += f",{_QUEUE_S}{told.queue_s:.6f}{CLOSE}"
    if told.return_mode == "stream" and told.first_byte_s is not None:
        own += f",{_FIRST_CHUNK_S}{told.first_byte_s:.6f}{CLOSE}"
    if told.cost_nanos is not None:
        own += f",{_COST}{to_number(told.cost_nanos)}{CLOSE}"
    return own


def _describe_tokens(told: Told) -> str:
    return "" if told.completion_tokens is None else _encode_tokens(told.prompt_tokens, told.completion_tokens)


@lru_cache(maxsize=512)
def _encode_tokens(prompt: int | None, completion: int) -> str:
    return encode_attributes({names.INPUT_TOKENS: prompt, names.OUTPUT_TOKENS: completion})


@lru_cache(maxsize=512)
def _frame_request(*said: Any) -> SpanFrame:
    """Return what requests have in common that are alike: it is encoded once."""
    method, route, status, ending, code, model, key, cache = said
    code = code or ("" if ending is Ending.COMPLETE else str(ending))
    is_failed = status >= _SERVER_ERROR or (bool(code) and status < 400)
    values = (method, route, status, str(ending), code, model, key, cache)
    attributes = dict(zip(_OF_REQUESTS, values, strict=True))
    return make_frame(f"{method} {route}", SpanKind.SERVER, code if is_failed else "", attributes)


@lru_cache(maxsize=512)
def _frame_attempt(*said: Any) -> SpanFrame:
    """Return what attempts have in common that are alike."""
    method, route, address, is_stream, model, upstream, status, failure, code = said
    operation = names.operation_of(route)
    values = (operation, *address, is_stream, model, upstream, status, failure, code)
    name = f"{operation} {model}".strip() or f"{method} {upstream}"
    return make_frame(name, SpanKind.CLIENT, failure, dict(zip(_OF_ATTEMPTS, values, strict=True)))
