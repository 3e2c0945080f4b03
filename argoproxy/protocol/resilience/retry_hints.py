"""What headers say about trying again.

From upstreams: `retry-after-ms`, `Retry-After` (seconds, also fractions, or a date: RFC 9110 section 10.2.3) and
`x-should-retry`, in the order in which the OpenAI SDKs read them. From clients: `x-stainless-retry-count` and
`x-stainless-read-timeout`, which those SDKs send, and `X-No-Fallback` of this proxy.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from argoproxy.errors import BadRequest, UpstreamStatus
from argoproxy.protocol.http_messages import Headers, get_header, without

NO_FALLBACK = "x-no-fallback"

_RETRY_AFTER = frozenset(("retry-after", "retry-after-ms"))
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{0,9})?")
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def retry_after_s(headers: Headers, now: float) -> float | None:
    """Return after how many seconds an upstream wants to be asked again, None if it does not say. `now` is Unix time,
    for dates; one that has passed is 0."""
    milliseconds = _number(get_header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = get_header(headers, "retry-after").strip()
    seconds = _number(value)
    return seconds if seconds is not None or not value else _seconds_until(value, now)


def forbids_retry(headers: Headers) -> bool:
    """Return whether an upstream says that a retry is of no use."""
    return get_header(headers, "x-should-retry").strip().lower() == "false"


def is_retried_by_client(headers: Headers) -> bool:
    """Return whether a client's SDK counts its retries: it makes its own, so none is added to them here. Together they
    would multiply."""
    return bool(get_header(headers, "x-stainless-retry-count"))


def patience_s(headers: Headers) -> float:
    """Return for how many seconds a client's SDK waits for an answer; infinity if it does not say."""
    seconds = _number(get_header(headers, "x-stainless-read-timeout"))
    return seconds or math.inf


def forbids_fallback(headers: Headers) -> bool:
    """Return whether a client wants the answer of the first upstream only, or its error. Raises BadRequest."""
    word = get_header(headers, NO_FALLBACK).strip().lower()
    if word and word not in _BOOLEANS:
        raise BadRequest("The header X-No-Fallback must be true or false.", code="invalid_no_fallback")
    return _BOOLEANS.get(word, False)


def _number(value: str) -> float | None:
    text = value.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, OverflowError):
        return None


class LimitedRoute(NamedTuple):
    """An upstream that only asked to wait: its error, when it may be asked again (in seconds of the request; infinity
    if it did not say), and the number of the attempt."""

    error: UpstreamStatus
    due_s: float
    attempt: int

    def error_at(self, now_s: float) -> UpstreamStatus:
        """Return the error with the time that is left."""
        if self.due_s == math.inf:
            return self.error
        left_s = math.ceil(max(0.0, self.due_s - now_s))
        headers = (*without(self.error.headers, _RETRY_AFTER), ("Retry-After", str(left_s)))
        return type(self.error)(self.error.status, headers, self.error.body)
