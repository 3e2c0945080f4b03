"""Kinds of failures of an attempt, and what follows from each.

| kind | the same upstream once more | another upstream |
| --- | --- | --- |
| connect | at once, if there is no other | as `fallback_on` says |
| timeout, broken, overloaded, server_error | no | as `fallback_on` says |
| rate_limited | after the delay that it asks for, up to `retry_wait`, if there is no other | as `fallback_on` says |
| credentials, content_policy | no | as `fallback_on` says; not by default |
| context_length | no | `context_fallback` only |
| refused | no | an upstream's own status as `fallback_on` says, not by default; a refusal of the proxy never |

All this holds before the first content of a reply only; after that nothing is tried again. Source of what is safe to
repeat: gRPC proposal A6 (retries); what the OpenAI SDKs repeat by themselves: `_base_client.py` of openai-python 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from argoproxy.errors import (
    ConnectTimeout,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, loads
from argoproxy.protocol.resilience.overflow_words import says_prompt_is_too_long


class FailureKind(StrEnum):
    """What became of an attempt that failed."""

    CONNECT = "connect"  # name, connect, TLS failed or timed out: nothing of the request was sent
    TIMEOUT = "timeout"  # no first byte, or silence before any content
    BROKEN = "broken"  # the reply broke off or is not valid, before any content
    RATE_LIMITED = "rate_limited"  # 429
    OVERLOADED = "overloaded"  # 503, 529
    SERVER_ERROR = "server_error"  # other 5xx
    CREDENTIALS = "credentials"  # 401, 402, 403
    CONTEXT_LENGTH = "context_length"  # the prompt is too long for the model
    CONTENT_POLICY = "content_policy"  # the provider's policy refused the prompt
    REFUSED = "refused"  # any other status, and refusals of the proxy itself


#: The kinds for which an upstream is left alone, in words.
FAILURES_IN_WORDS: Mapping[str, str] = {
    FailureKind.CONNECT: "no connection",
    FailureKind.TIMEOUT: "no answer in time",
    FailureKind.BROKEN: "broken replies",
    FailureKind.RATE_LIMITED: "asked to wait (429)",
    FailureKind.OVERLOADED: "overloaded (503, 529)",
    FailureKind.SERVER_ERROR: "server errors (5xx)",
}


class Again(Enum):
    """When the same upstream is tried once more."""

    NEVER = "never"
    IF_ALONE = "at once, if there is no other upstream"
    AFTER_DELAY = "after the delay that it asks for, if there is no other upstream"


class Elsewhere(Enum):
    """Which other upstream is tried."""

    AS_LISTED = "the next one, if `fallback_on` lists the failure"
    LARGER_CONTEXT = "those of the model that `context_fallback` names"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What may follow a failure."""

    again: Again
    elsewhere: Elsewhere


#: The table above.
CONSEQUENCES: Mapping[FailureKind, Consequence] = {
    FailureKind.CONNECT: Consequence(Again.IF_ALONE, Elsewhere.AS_LISTED),
    FailureKind.TIMEOUT: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
    FailureKind.BROKEN: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
    FailureKind.RATE_LIMITED: Consequence(Again.AFTER_DELAY, Elsewhere.AS_LISTED),
    FailureKind.OVERLOADED: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
    FailureKind.SERVER_ERROR: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
    FailureKind.CREDENTIALS: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
    FailureKind.CONTEXT_LENGTH: Consequence(Again.NEVER, Elsewhere.LARGER_CONTEXT),
    FailureKind.CONTENT_POLICY: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
    FailureKind.REFUSED: Consequence(Again.NEVER, Elsewhere.AS_LISTED),
}
#: Kinds that `fallback_on` lists by their name; the others have a status.
LISTED_BY_NAME = (FailureKind.CONNECT, FailureKind.TIMEOUT, FailureKind.BROKEN, FailureKind.CONTENT_POLICY)
#: `fallback_on` where it is not set. A time-out or a server error can cost a second bill, and still is not an answer.
DEFAULT_FALLBACK_ON = ("connect", "timeout", "broken", "429", "500", "502", "503", "504", "529")

_RATE_LIMIT, _SERVER_ERROR = 429, 500
_OVERLOAD = (503, 529)
_CREDENTIALS = (401, 402, 403)
#: Statuses with which servers report a prompt that is too long; llama.cpp used 500 until September 2025.
_MAY_BE_TOO_LONG = frozenset((400, 413, 422, 500, 502))
#: OpenAI and Azure: content_filter, content_policy_violation; OpenAI for prompts: moderation_blocked. DashScope's
#: data_inspection_failed is content_filter here already.
_POLICY_CODES = frozenset(("content_filter", "content_policy_violation", "moderation_blocked"))
#: Failures that a second attempt does not change, or that cost the whole time-out once more.
_LASTING_CODES = frozenset(("tls_verification_failed", "connect_timeout"))
#: The time for all attempts is over.
_TOTAL_TIMEOUT = "total_timeout"


def classify(error: ProxyError) -> FailureKind:
    """Return what kind of failure an error is."""
    if isinstance(error, UpstreamUnreachable | ConnectTimeout):
        return FailureKind.CONNECT
    if isinstance(error, UpstreamTimeout):
        return FailureKind.TIMEOUT
    if isinstance(error, UpstreamProtocolError):
        return FailureKind.BROKEN
    return _classify_status(error) if isinstance(error, UpstreamStatus) else FailureKind.REFUSED


def falls_back(error: ProxyError, kind: FailureKind, fallback_on: tuple[str, ...]) -> bool:
    """Return whether the next upstream is tried after a failure."""
    if kind is FailureKind.CONTEXT_LENGTH or error.code == _TOTAL_TIMEOUT:
        return False
    if kind in LISTED_BY_NAME:
        return kind in fallback_on
    return isinstance(error, UpstreamStatus) and str(error.status) in fallback_on


def is_worth_repeating(error: ProxyError) -> bool:
    """Return whether a connection that failed may succeed a moment later."""
    return isinstance(error, UpstreamUnreachable) and error.code not in _LASTING_CODES


def _classify_status(error: UpstreamStatus) -> FailureKind:
    status = error.status
    if status == _RATE_LIMIT:
        return FailureKind.RATE_LIMITED
    if status in _CREDENTIALS:
        return FailureKind.CREDENTIALS
    if status in _OVERLOAD:
        return FailureKind.OVERLOADED
    fields = _error_fields(error.body)
    if status in _MAY_BE_TOO_LONG and says_prompt_is_too_long(fields):
        return FailureKind.CONTEXT_LENGTH
    if status >= _SERVER_ERROR:
        return FailureKind.SERVER_ERROR
    return FailureKind.CONTENT_POLICY if _is_policy(fields) else FailureKind.REFUSED


def _is_policy(fields: Json) -> bool:
    return as_text(fields.get("code")) in _POLICY_CODES


def _error_fields(body: bytes) -> Json:
    """Return the error object of a body: under `error` (OpenAI, Anthropic), or the body itself (vLLM)."""
    try:
        document = as_dict(loads(body))
    except JsonError:
        return {"message": body.decode("utf-8", "replace")}
    error = document.get("error") or document
    return error if isinstance(error, dict) else {"message": error}
