"""Sends spans to a collector, in the background: a request only puts what makes its spans into a queue.

The thread that sends spans writes them, many in a row. What runs once between two waits of a request takes two to four
times the CPU: its code and data are out of the processor's caches by the next request.

What does not fit into the queue is dropped and counted, so a collector that is slow or away costs a request nothing.
The thread is started by the first span, which comes after the fork of the worker.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import requests

from argoproxy.telemetry.tracing.otlp import Value, encode_attributes, encode_request, read_rejected

logger = logging.getLogger("argoproxy")

#: Requests whose spans wait to be sent, and whose spans go into one message; how long the first of them waits.
MOST_QUEUED, BATCH = 2048, 512
#: After the spans of so many, other threads get their turn: requests are served meanwhile.
AT_A_TIME = 64
SEND_EVERY_S = 1.0
#: How long the collector may take, and how long what is left may take when the worker ends.
TIMEOUT_S, LAST_S = 5.0, 2.0
#: After a failure that may pass, the same spans are sent again, after a longer wait each time.
SHORTEST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
#: Answers that may be better next time (OTLP, "Retryable Response Codes").
_PASSING = frozenset((429, 502, 503, 504))

#: Called with `sent` or `dropped`, and how many spans were.
Count = Callable[[str, int], None]


class SpanSource(Protocol):
    """The spans of a request, which are written in the thread that sends them. It waits for that, so it holds nothing
    of any size."""

    def count(self) -> int:
        """Return how many there are."""

    def write(self) -> list[str]:
        """Return them as JSON."""


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
        self._queue: deque[SpanSource] = deque()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = self._is_failing = self._is_waiting = False

    def put(self, source: SpanSource) -> None:
        """Have the spans of a request sent; drop them if those of too many wait."""
        if self._is_closed or len(self._queue) >= MOST_QUEUED:
            self._count("dropped", source.count())
            return
        self._queue.append(source)
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
            if spans := self._take_batch():
                self._send(spans)
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
        """Return the spans of the next requests, written."""
        spans = list[str]()
        for number in range(1, min(BATCH, len(self._queue)) + 1):
            spans += self._write_spans(self._queue.popleft())
            if number % AT_A_TIME == 0:
                time.sleep(0)
        return spans

    def _write_spans(self, source: SpanSource) -> list[str]:
        """Return the spans of a request; none if they can't be made: those of others must not wait for them."""
        try:
            return source.write()
        except Exception:
            logger.exception("code=spans_not_written")
            self._count("dropped", source.count())
            return []

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
