"""The state of one request: what is known of it so far, which replies are open, how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from argoproxy.errors import Ending, InternalError, ProxyError
from argoproxy.pipeline.accounting.request_notes import RequestNotes
from argoproxy.pipeline.caching.answer_cache import CachedRequest
from argoproxy.pipeline.early_start import EarlyStart
from argoproxy.pipeline.request_resources import AttemptReport, HeldPlace, OpenReply, call_listeners, release_replies
from argoproxy.pipeline.shared.request_pricing import RequestPricing
from argoproxy.pipeline.shared.response_meter import ResponseMeter
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.access.printable import log_value
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limit_refusals import LimitExceeded
from argoproxy.protocol.prices.price_table import NO_COST
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.route import Route
from argoproxy.telemetry.journal.record import Attempt, JournalRecord
from argoproxy.telemetry.outcome import Listener, Outcome, RequestInfo, read_count
from argoproxy.telemetry.tracing.request_trace import AttemptTrace, RequestTrace, address_of
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream, UpstreamRequest

logger = logging.getLogger("argoproxy")
#: Statuses whose responses have no body (RFC 9110 section 6.4.1).
BODILESS = frozenset((204, 304))


class RequestContext(RequestNotes):
    """Everything about one request that changes while it is served. Closed once, whatever happened; the outcome then
    goes to the listeners.

    The defaults are class attributes, so that a request sets only what becomes known of it.
    """

    #: What the client asks for; unset before it is parsed.
    call: Call
    #: The route taken last; unset before one was taken.
    route: Route[Upstream]
    #: What is remembered for the journal, if there is one.
    record: JournalRecord | None = None
    #: The trace that it belongs to, where that is of use.
    trace: RequestTrace | None = None
    #: The attempts to have it answered, if any was made.
    attempts: AttemptReport | None = None
    #: Keeps its place at an upstream that gets only so many requests at once.
    place: HeldPlace | None = None
    #: Starts the response before there is an answer, where that is allowed.
    early: EarlyStart | None = None
    #: Whether errors are sent with status 200.
    is_compatible = False
    #: Whether the client wants its answer as a stream.
    wants_stream = False
    #: What the cache does for it, if its rule has one.
    cache: CachedRequest | None = None
    #: The name of the caller's key.
    key_name = ""
    #: Calculates what it costs, where anything needs that.
    pricing: RequestPricing | None = None
    #: The caller; one without a name where no keys are required.
    caller = Principal("")
    reply_status = 200
    reply_headers: Headers = ()

    _is_closed = False

    def __init__(
        self,
        info: RequestInfo,
        watch: Watch,
        meter: ResponseMeter,
        listeners: Iterable[Listener],
        redact: Callable[[str], str] = str,
    ) -> None:
        """`redact` stars the proxy's keys and the request's own in a name that will be logged."""
        self.id = info.id
        self.watch = watch
        self.meter = meter
        self.redact = redact
        self._info = info
        self._listeners = listeners
        self._replies: list[OpenReply] = []

    def add_listener(self, listener: Listener) -> None:
        """Send the outcome to one more listener."""
        self._listeners = (*self._listeners, listener)

    def set_call(self, call: Call) -> None:
        """Set what the client wants."""
        self.call = call
        self._model = self.redact(call.model)
        self.wants_stream = not call.wants_document
        self._return_mode = "stream" if self.wants_stream else "non_stream"
        if self.record:
            self.record.call = call

    def set_route(self, route: Route[Upstream]) -> None:
        """Set the route that is tried now."""
        self.route = route
        self._upstream = route.upstream.name
        self._model = self._model or self.redact(route.call.requested_model)
        self._sent_model = self.redact(route.call.model)
        self._send_mode = "stream" if route.call.stream else "non_stream"
        if self.pricing:
            self.pricing.set_route(route, self.call.requested_model)
        if logger.isEnabledFor(logging.DEBUG):
            model = log_value(self._sent_model)
            logger.debug("id=%s upstream=%s model=%s stream=%s", self.id, self._upstream, model, route.call.stream)

    def set_cache(self, cache: CachedRequest) -> None:
        """Set what the cache does for this request; the outcome goes there."""
        self.cache = cache
        # First: an answer is kept by the time that the log tells of it.
        self._listeners = (cache.finish, *self._listeners)

    def set_kept_route(self, route: Route[Upstream]) -> None:
        """Set the route whose kept answer is given: nothing is sent upstream."""
        self.route = route
        self._upstream = route.upstream.name

    def record_attempt(self, upstream: Upstream, request: UpstreamRequest) -> Headers:
        """Note a request that is sent upstream, and return the headers that make it part of a recorded trace."""
        if self.account:
            self.account.begin_sending(upstream.name)
        if request.is_streamed is not None:
            self._send_mode = "stream" if request.is_streamed else "non_stream"
        if self.record:
            attempt = Attempt(upstream.name, self._sent_model, self._send_mode, request, sent_s=self.meter.elapsed_s())
            self.record.attempts.append(attempt)
        return self._trace_attempt(self.trace, upstream, request.url) if self.trace and self.trace.is_sampled else ()

    def _trace_attempt(self, trace: RequestTrace, upstream: Upstream, url: str) -> Headers:
        is_stream, begun_s = self._send_mode == "stream", self.meter.elapsed_s()
        said = (upstream.name, self._sent_model, address_of(url), is_stream)
        return trace.begin_attempt(AttemptTrace(trace.next_id(), *said, begun_s))

    def add_reply(self, reply: OpenReply) -> None:
        """Take charge of an open reply: it is released when the context is closed."""
        self._replies.append(reply)
        if self.account:
            self.account.receive_head(reply.status)
        if self.record:
            self.record.set_reply_status(reply.status)
        if self.trace:
            self.trace.set_status(reply.status)
        self.reply_status, self.reply_headers = reply.status, reply.headers
        if logger.isEnabledFor(logging.DEBUG):
            elapsed_ms = 1000 * self.meter.elapsed_s()
            logger.debug("id=%s reply_status=%s after_ms=%.1f", self.id, reply.status, elapsed_ms)

    def discard_attempt(self, error: ProxyError) -> None:
        """Close the replies of an attempt that failed, when something else is tried and the client sees no error."""
        while self._replies:
            self._replies.pop().close()
        self._ending = None
        if self.account:
            self.account.discard(error)
        self._fail_attempt(error)

    def _fail_attempt(self, error: ProxyError) -> None:
        """Note why the latest attempt failed, wherever attempts are remembered."""
        if self.record:
            self.record.fail_attempt(error, self.meter.elapsed_s())
        if self.trace:
            self.trace.fail_attempt(error, self.meter.elapsed_s())

    def clear_reply_head(self) -> None:
        """Forget status and headers of the reply: the answer is the proxy's own."""
        self.reply_status, self.reply_headers = 200, ()

    def record_usage(self, usage: Json) -> None:
        """Set the tokens that the upstream counted; the last report wins."""
        self._usage = usage
        if self.account:
            self.account.meter.reset()

    def set_status(self, status: int) -> None:
        """Set the status of the response, which begins now."""
        if self.early:
            self.early.disable()
        self._status = status

    @property
    def sent_model(self) -> str:
        """The model's name upstream, as it may be logged."""
        return self._sent_model

    @property
    def has_reply(self) -> bool:
        """Whether an upstream's reply has begun."""
        return bool(self._replies)

    @property
    def has_started_early(self) -> bool:
        """Whether the client was sent a status before there was an answer."""
        return self.early is not None and self.early.has_started

    def is_heartbeat_due(self) -> bool:
        """Return whether the client has been sent nothing for too long."""
        return self.meter.is_heartbeat_due()

    def record_failure(self, error: ProxyError) -> None:
        """Note the error that the client gets."""
        self.set_ending(error.ending)
        self._code = self._code or error.code
        if isinstance(error, LimitExceeded):
            self._limit = error.param or ""
        if self.account:
            self.account.fail(error)
        self._reason, self._address = error.reason, error.address
        self._fail_attempt(error)
        if self.record:
            self.record.error = self.record.error or error

    def record_crash(self, error: Exception) -> ProxyError:
        """Log a bug of the proxy with its traceback; return the error that the client may see."""
        logger.error("id=%s internal error", self.id, exc_info=error)
        visible = InternalError(f"The proxy failed on this request; its log has the details under the id {self.id}.")
        self.record_failure(visible)
        return visible

    def settle(self) -> None:
        """Charge a request whose answer is complete, before its client knows that and sends the next one."""
        if self.account:
            self._settle(self.account, self._ending or Ending.COMPLETE)

    def close(self) -> None:
        """Release all replies and send the outcome to the listeners; further calls do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.early:
            self.early.disable()
        outcome = self._outcome()
        # The client has all it gets and may leave; that must not count while `release_when_done` waits.
        self.watch.ignore_client()
        try:
            release_replies(self._replies, outcome.ending)
        finally:
            # Others may take the place of this request only after its connection is closed.
            if self.attempts:
                self.attempts.close()
            if self.place:
                self.place.close()
            # They refer to this context: without this a request's memory would wait for the garbage collector.
            self.attempts = self.place = None
            if self.account and self.account.cost is None and (cost := self._settle(self.account, outcome.ending)):
                outcome = replace(outcome, cost_nanos=cost.nanos, unpriced=cost.unknown)
        self.watch.close()
        call_listeners(self._listeners, outcome)

    def _outcome(self) -> Outcome:
        info, meter, usage = self._info, self.meter, self._usage or {}
        cost = self.account.cost if self.account else None
        if cost is None:
            cost = self.pricing.charge(self._usage, self._ending, self._status) if self.pricing else NO_COST
        has_no_body = info.method == "HEAD" or self._status in BODILESS
        return Outcome(
            id=info.id,
            client_request_id=info.client_request_id,
            method=info.method,
            route=info.route,
            path=info.path,
            model=self._model,
            upstream="" if self.cache and self.cache.is_hit else self._upstream,
            key=self.key_name,
            send_mode=self._send_mode,
            return_mode=self._return_mode,
            status=self._status,
            # Without an ending the body was not read to its end, so the client left, unless there was no body to read.
            ending=self._ending or (Ending.COMPLETE if has_no_body else Ending.CLIENT_GONE),
            code=self._code,
            upstream_model=self._sent_model if self._sent_model != self._model else "",
            reason=self._reason,
            address=self._address,
            first_byte_s=meter.first_byte_s,
            overhead_s=meter.overhead_s,
            total_s=meter.elapsed_s(),
            bytes_sent=meter.bytes_sent,
            prompt_tokens=read_count(usage, "prompt_tokens"),
            completion_tokens=read_count(usage, "completion_tokens"),
            attempts=self.attempts.summarize() if self.attempts else (),
            queue_s=self.queue_s,
            cache=str(self.cache.result) if self.cache else "",
            cost_nanos=cost.nanos,
            unpriced=cost.unknown,
            limit=self._limit,
            trace_id=self.trace.trace_id if self.trace else "",
        )
