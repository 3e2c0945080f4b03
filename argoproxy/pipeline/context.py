"""The trip of one request: the one mutable thing there is, closed once, and the outcome it comes to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from argoproxy.errors import Ending, InternalError, ProxyError
from argoproxy.pipeline.early_start import EarlyStart
from argoproxy.protocol.access.printable import log_value
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.router import Route
from argoproxy.protocol.stream.sse import HEARTBEAT, Document
from argoproxy.telemetry.journal.record import Attempt, JournalRecord
from argoproxy.telemetry.outcome import Listener, Outcome, RequestInfo
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Reply, Upstream, UpstreamRequest

logger = logging.getLogger("argoproxy")

BODILESS = frozenset((204, 304))


class OpenReply(Reply, Protocol):
    """A reply whose connection is ours to let go."""

    def release_when_done(self) -> None:
        """Let go of a reply that said all it had to."""

    def close(self) -> None:
        """Let go of a reply that is of no more use."""


class RequestContext:
    """Counts, remembers and lets go, for one request. Nothing else in the house counts anything."""

    def __init__(
        self,
        info: RequestInfo,
        watch: Watch,
        clock: Callable[[], float],
        heartbeat_s: float,
        listeners: Iterable[Listener],
    ) -> None:
        self.watch = watch
        #: The way the request went last; there is none before it took one.
        self.route: Route[Upstream]
        #: Stars the keys of ours and of the request in a text that is written down.
        self.redact: Callable[[str], str] = str
        #: What is remembered for the journal, where there is one.
        self.record: JournalRecord | None = None
        #: How the client can be sent something before there is an answer, where that may be.
        self.early: EarlyStart | None = None
        #: Whether errors are told under a status of success, and whether in a stream.
        self.is_compatible = self.wants_stream = False
        self.reply_status = 200
        self.reply_headers: Headers = ()
        self._info = info
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._listeners = listeners
        self._started = self._last_sent = clock()
        self._first_byte_s: float | None = None
        self._overhead_s: float | None = None
        self._bytes_sent = 0
        self._replies: list[OpenReply] = []
        self._usage: Json = {}
        self._status = 0
        self._model = self._upstream = self._key = self._return_mode = self._send_mode = self._sent_model = ""
        self._code: str | None = None
        self._reason = self._address = ""
        self._ending: Ending | None = None
        self._is_closed = False

    def add_listener(self, listener: Listener) -> None:
        """Have one more listener told the outcome."""
        self._listeners = (*self._listeners, listener)

    @property
    def id(self) -> str:
        return self._info.id

    def set_key_name(self, name: str) -> None:
        """Take note of the name of the caller's key."""
        self._key = name

    def set_model(self, model: str) -> None:
        """Take note of the model the client asked for."""
        self._model = self.redact(model)

    def set_call(self, call: Call) -> None:
        """Take note of what the client asks for."""
        self.set_model(call.model)
        self.wants_stream = not call.answers_whole
        self._return_mode = "stream" if self.wants_stream else "non_stream"
        if self.record:
            self.record.call = call

    def set_route(self, route: Route[Upstream]) -> None:
        """Take note of the way the request goes."""
        self.route = route
        self.set_upstream(route.upstream)
        self._model = self._model or self.redact(route.call.requested_model)
        self._sent_model = self.redact(route.call.model)
        self._send_mode = "stream" if route.call.stream else "non_stream"
        if logger.isEnabledFor(logging.DEBUG):
            model = log_value(self._sent_model)
            logger.debug("id=%s upstream=%s model=%s stream=%s", self.id, self._upstream, model, route.call.stream)

    def set_upstream(self, upstream: Upstream) -> None:
        """Take note of the upstream that is asked."""
        self._upstream = upstream.name

    def record_attempt(self, upstream: Upstream, asked: UpstreamRequest) -> None:
        """Take note of a request that goes upstream."""
        if asked.is_streamed is not None:
            self._send_mode = "stream" if asked.is_streamed else "non_stream"
        if self.record:
            self.record.sends(Attempt(upstream.name, self._sent_model, self._send_mode, asked))

    def discard_attempt(self, error: ProxyError) -> None:
        """Take note of a failure the client is not told about, and let go of what failed."""
        while self._replies:
            self._replies.pop().close()
        if self.record:
            self.record.fails(error)

    def record_reply_body(self, body: bytes) -> None:
        """Take note of a reply that was read to its end."""
        if self.record:
            self.record.reads(body)

    def record_answer(self, document: Document) -> None:
        """Take note of an answer that was made of whole replies."""
        if self.record:
            self.record.answers(document)

    def add_reply(self, reply: OpenReply) -> None:
        """Take a reply into care until the context is closed."""
        self._replies.append(reply)
        if self.record:
            self.record.comes(reply.status)
        self.reply_status, self.reply_headers = reply.status, reply.headers
        logger.debug(
            "id=%s reply_status=%s after_ms=%.1f", self.id, reply.status, 1000 * (self._clock() - self._started)
        )

    def clear_reply_head(self) -> None:
        """Take note that the answer is ours, whatever the upstream said."""
        self.reply_status, self.reply_headers = 200, ()

    def record_usage(self, usage: Json) -> None:
        """Take note of the tokens an upstream counted; the last word counts."""
        self._usage = usage

    def set_status(self, status: int) -> None:
        """Take note of the status the client is told, and that there is an answer."""
        self.watch.pulse = None
        self._status = status

    def record_sent(self, size: int) -> None:
        """Take note of bytes on their way to the client."""
        self._last_sent = self._clock()
        if self._first_byte_s is None:
            self._first_byte_s = self._last_sent - self._started
            self._overhead_s = max(0.0, self._first_byte_s - self.watch.waited_s)
        self._bytes_sent += size

    def is_heartbeat_due(self) -> bool:
        """Whether the client was sent nothing for too long."""
        return 0 < self._heartbeat_s <= self._clock() - self._last_sent + 0.001

    def may_begin_early(self, call: Call) -> None:
        """Have a client that asked for a stream sent heartbeats while its upstream is awaited, until `answers`."""
        if self.early and call.stream:
            self.watch.pulse = self._beat

    def begins_with_its_reply(self) -> None:
        """Have the client sent nothing before the upstream's own head."""
        self.watch.pulse = None

    @property
    def has_started_early(self) -> bool:
        """Whether the client was sent something before there was an answer."""
        return self.early is not None and self.early.has_begun

    def set_ending(self, ending: Ending) -> None:
        """Take note of the ending; the first one stays."""
        self._ending = self._ending or ending

    def record_failure(self, error: ProxyError) -> None:
        """Take note of a failure the client is told about."""
        self.set_ending(error.ending)
        self._code = self._code or error.code
        self._reason, self._address = error.reason, error.address
        if self.record:
            self.record.fails(error)
            self.record.error = self.record.error or error

    def record_crash(self, error: Exception) -> ProxyError:
        """Log a fault of ours with its traceback; gives what the client may be told of it."""
        logger.error("id=%s internal error", self.id, exc_info=error)
        told = InternalError(f"The proxy failed on this request. Its log tells more under the id {self.id}.")
        self.record_failure(told)
        return told

    def close(self) -> None:
        """Let every upstream go and hand the outcome to the listeners; only the first call does anything."""
        if self._is_closed:
            return
        self._is_closed = True
        self.watch.pulse = None
        outcome = self._outcome()
        self.watch.ignore_client()
        for reply in self._replies:
            if outcome.ending is Ending.COMPLETE:
                reply.release_when_done()
            else:
                reply.close()
        self.watch.close()
        for listener in self._listeners:
            try:
                listener(outcome)
            except (Exception, SystemExit):  # one of the operator's own may raise anything
                logger.exception("id=%s listener=%r failed", self.id, listener)

    def _beat(self) -> float:
        """Send a heartbeat if it is time for one: the seconds until the next. Raises ClientGone."""
        if self.early and self.is_heartbeat_due():
            self.early.send(HEARTBEAT)
            self.record_sent(len(HEARTBEAT))
        return max(0.0, self._heartbeat_s - (self._clock() - self._last_sent))

    def _outcome(self) -> Outcome:
        has_no_body = self._info.method == "HEAD" or self._status in BODILESS
        ending = self._ending or (Ending.COMPLETE if has_no_body else Ending.CLIENT_GONE)
        return Outcome(
            **{name: getattr(self._info, name) for name in RequestInfo.__slots__},
            model=self._model,
            upstream=self._upstream,
            key=self._key,
            send_mode=self._send_mode,
            return_mode=self._return_mode,
            status=self._status,
            ending=ending,
            code=self._code,
            upstream_model=self._sent_model if self._sent_model != self._model else "",
            reason=self._reason,
            address=self._address,
            first_byte_s=self._first_byte_s,
            overhead_s=self._overhead_s,
            total_s=self._clock() - self._started,
            bytes_sent=self._bytes_sent,
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            completion_tokens=_count(self._usage.get("completion_tokens")),
        )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
