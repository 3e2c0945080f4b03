"""What is remembered of one request for its spans: which trace it is part of, when each attempt began and failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from random import getrandbits
from typing import NamedTuple
from urllib.parse import urlsplit

from argoproxy.errors import ProxyError
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.resilience.failures import classify
from argoproxy.telemetry.journal.record import UPSTREAM_FAILURES
from argoproxy.telemetry.tracing.trace_parent import TraceParent, write_trace_parent

#: Characters of a model's name. That of a forwarded body may be as long as the body, and many spans may wait.
LONGEST_NAME = 200
PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """Host and port of a server; None where it has none."""

    host: str
    port: int | None


@dataclass(slots=True)
class AttemptTrace:
    """One request that was sent upstream; seconds count from the client's request."""

    span_id: str
    upstream: str
    model: str
    server: Address
    is_stream: bool
    begun_s: float
    failed_s: float | None = None
    status: int | None = None
    failure: str = ""
    code: str = ""


class RequestTrace:
    """The trace of one request; `parent` is what its client said of it, `is_sampled` whether spans are made."""

    __slots__ = ("_request_id", "attempts", "begun_ns", "is_sampled", "parent", "trace_id")

    def __init__(self, request_id: str, parent: TraceParent | None, *, is_sampled: bool) -> None:
        """`request_id` is 128 random bits in hexadecimal. It is the id of a trace that begins here, and its halves are
        those of the first spans: to make others takes longer than all that is remembered."""
        self._request_id, self.parent, self.is_sampled = request_id, parent, is_sampled
        self.trace_id = parent.trace_id if parent else request_id
        self.attempts: list[AttemptTrace] = []
        self.begun_ns = time.time_ns()

    @property
    def span_id(self) -> str:
        """The id of the span of the request itself."""
        return self._request_id[16:]

    def next_id(self) -> str:
        """Return an id for the span of the next attempt."""
        return new_id() if self.attempts else self._request_id[:16]

    def begin_attempt(self, attempt: AttemptTrace) -> Headers:
        """Note an attempt of a trace that is recorded, and return the header that makes its request part of it."""
        attempt.model = attempt.model[:LONGEST_NAME]
        self.attempts.append(attempt)
        return write_trace_parent(self.trace_id, attempt.span_id)

    def set_status(self, status: int) -> None:
        """Note the status of the reply to the latest attempt."""
        if self.attempts:
            self.attempts[-1].status = status

    def fail_attempt(self, error: ProxyError, now_s: float) -> None:
        """Note that the latest attempt failed; its first error counts, and none that says nothing of the upstream."""
        if self.attempts and self.attempts[-1].failed_s is None and error.ending in UPSTREAM_FAILURES:
            last = self.attempts[-1]
            last.failed_s, last.failure, last.code = now_s, str(classify(error)), error.code or ""


@lru_cache(maxsize=64)
def address_of(url: str) -> Address:
    """Return the server that a URL leads to."""
    parts = urlsplit(url)
    return Address(parts.hostname or "", parts.port or PORTS.get(parts.scheme))


def new_id() -> str:
    """Return the random id of a span in hexadecimal; never 0, which is no id."""
    return (getrandbits(64) or 1).to_bytes(8).hex()
