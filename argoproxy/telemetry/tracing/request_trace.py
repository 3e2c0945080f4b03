"""What is remembered of one request for its spans: which trace it is part of, when each attempt began and failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import getrandbits

from argoproxy.errors import ProxyError
from argoproxy.protocol.resilience.failures import classify
from argoproxy.telemetry.journal.record import UPSTREAM_FAILURES
from argoproxy.telemetry.tracing.trace_parent import TraceParent, with_trace_parent
from argoproxy.upstreams import UpstreamRequest

#: Characters of a model's name. That of a forwarded body may be as long as the body, and many spans may wait.
LONGEST_NAME = 200


@dataclass(slots=True)
class AttemptTrace:
    """One request that was sent upstream; seconds count from the client's request."""

    span_id: str
    upstream: str
    model: str
    url: str
    is_stream: bool
    begun_s: float
    failed_s: float | None = None
    status: int | None = None
    failure: str = ""
    code: str = ""


class RequestTrace:
    """The trace of one request; `parent` is what its client said of it, `is_sampled` whether spans are made."""

    def __init__(self, parent: TraceParent | None, *, is_sampled: bool) -> None:
        self.parent, self.is_sampled = parent, is_sampled
        ids = f"{getrandbits(192):048x}"
        self.trace_id = parent.trace_id if parent else ids[:32]
        self.span_id = ids[32:]
        self.attempts: list[AttemptTrace] = []
        self.begun_ns = time.time_ns()

    def begin_attempt(self, attempt: AttemptTrace, request: UpstreamRequest) -> UpstreamRequest:
        """Note an attempt, and return its request as part of the trace. The headers of one that is not recorded stay
        as its client sent them."""
        if not self.is_sampled:
            return request
        attempt.model = attempt.model[:LONGEST_NAME]
        self.attempts.append(attempt)
        sent = TraceParent(self.trace_id, attempt.span_id, is_sampled=True)
        headers = with_trace_parent(request.headers, sent)
        return UpstreamRequest(
            request.method,
            request.url,
            headers,
            request.body,
            request.length,
            request.secret,
            request.is_streamed,
            request.has_client_body,
        )

    def set_status(self, status: int) -> None:
        """Note the status of the reply to the latest attempt."""
        if self.attempts:
            self.attempts[-1].status = status

    def fail_attempt(self, error: ProxyError, now_s: float) -> None:
        """Note that the latest attempt failed; its first error counts, and none that says nothing of the upstream."""
        if self.attempts and self.attempts[-1].failed_s is None and error.ending in UPSTREAM_FAILURES:
            last = self.attempts[-1]
            last.failed_s, last.failure, last.code = now_s, str(classify(error)), error.code or ""


def new_id(bits: int) -> str:
    """Return a random id in hexadecimal; never 0, which is no id."""
    return f"{getrandbits(bits) or 1:x}".rjust(bits // 4, "0")
