"""Sends spans to a collector, in the background: a request only puts their text into a queue.

Spans are written when their request ends, so what waits is text of bounded size and keeps no request alive.

What does not fit into the queue is dropped and counted, so a collector that is slow or away costs a request nothing.
The thread is started by the first span, which comes after the fork of the worker.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import requests

from argoproxy.telemetry.tracing.otlp import Span, Value, encode_attributes, encode_request, encode_span, read_rejected

logger = logging.getLogger("argoproxy")

#: Spans that wait to be sent, and that go into one message; how long the first of them waits.
MOST_QUEUED, BATCH = 4096, 1024
SEND_EVERY_S = 1.0
#: How long the collector may take, and how long what is left may take when the worker ends.
TIMEOUT_S, LAST_S = 5.0, 2.0
#: After a failure that may pass, the same spans are sent again, after a longer wait each time.
SHORTEST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
#: Answers that may be better next time (OTLP, "Retryable Response Codes").
_PASSING = frozenset((429, 502, 503, 504))

#: Called with `sent` or `dropped`, and how many spans were.
Count = Callable[[str, int], None]


class SpanSource(NamedTuple):
    """The spans of a request: how many there are, and what makes them if there is room."""

    spans: int
    make_spans: Callable[[], Iterable[Span]]


class _Delivery(NamedTuple):
    """Why a collector did not take spans: a status, or the kind of an error; "" if it did, but for those `rejected`."""

    failure: str
    rejected: int = 0


class SpanExporter:
    """The queue and the thread of one worker."""

    def __init__(
        self, url: str, headers: Mapping[str, str], resource: Mapping[str, Value], count: Count, ca_bundle: str
    ) -> None:
        """`url` takes the spans; `resource` says whose they are."""
        self._url, self._resource, self._count = url, encode_attributes(resource), count
        self._session = requests.Session()
        self._session.trust_env, self._session.verify = False, ca_bundle
        self._session.headers.update({**headers, "Content-Type": "application/json"})
        self._queue: deque[str] = deque()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = self._is_failing = self._is_waiting = False

    def put(self, source: SpanSource) -> None:
        """Have the spans of a request sent; drop them if too many wait."""
        if self._is_closed or len(self._queue) >= MOST_QUEUED:
            self._count("dropped", source.spans)
            return
        for span in source.make_spans():
            self._queue.append(encode_span(span))
        if self._thread is None:
            self._start()
        if self._is_waiting and len(self._queue) >= BATCH:
            self._wake.set()

    def close(self) -> None:
        """Send what is left and end the thread, without waiting for that."""
        self._is_closed = True
        self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
                self._thread.start()
                atexit.register(self._finish)

    def _finish(self) -> None:
        """Give the rest a short time when the worker ends."""
        self.close()
        if self._thread:
            self._thread.join(LAST_S)

    def _run(self) -> None:
        while not self._is_closed or self._queue:
            self._await_batch()
            if self._queue:
                self._send(self._take_batch())
        self._session.close()
        atexit.unregister(self._finish)

    def _await_batch(self) -> None:
        """Wait until a message is full: many small ones would cost more than all spans in them."""
        self._is_waiting = True
        until = time.monotonic() + SEND_EVERY_S
        while len(self._queue) < BATCH and not self._is_closed and (left_s := until - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._wake.clear()
        self._is_waiting = False

    def _take_batch(self) -> list[str]:
        """Return the next spans."""
        return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _send(self, spans: list[str]) -> None:
        """Send spans until they are taken, or refused for good; once only where the worker ends."""
        body, wait_s = encode_request(spans, self._resource), SHORTEST_WAIT_S
        while (said := self._post(body)).failure:
            failure = said.failure
            self._report(failure)
            if self._is_closed or (failure.isdigit() and int(failure) not in _PASSING):
                self._count("dropped", len(spans))
                return
            self._pause(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        self._report("")
        rejected = min(said.rejected, len(spans))
        self._count("sent", len(spans) - rejected)
        if rejected:
            self._count("dropped", rejected)

    def _post(self, body: bytes) -> _Delivery:
        """Send spans once."""
        try:
            answer = self._session.post(self._url, data=body, timeout=TIMEOUT_S, allow_redirects=False)
        except (requests.RequestException, OSError) as error:
            return _Delivery(type(error).__name__)
        return _Delivery("", read_rejected(answer.content)) if answer.ok else _Delivery(str(answer.status_code))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_closed and (left_s := until - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._wake.clear()

    def _report(self, failure: str) -> None:
        """Log each change once."""
        if bool(failure) == self._is_failing:
            return
        self._is_failing = bool(failure)
        if failure:
            logger.warning("code=spans_not_sent: the collector does not take spans: %s", failure)
        else:
            logger.warning("code=spans_sent: the collector takes spans again")
