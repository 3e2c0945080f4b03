"""The answers that all workers keep, and what the cache does for one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from argoproxy.errors import Ending
from argoproxy.pipeline.caching.flights import Flights
from argoproxy.pipeline.shared.waker import Waker
from argoproxy.protocol.access.header_rules import request_headers_for_upstream
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS
from argoproxy.protocol.cache.answer_recorder import AnswerRecorder, ContentDetector
from argoproxy.protocol.cache.cache_control import NotCached, read_directives
from argoproxy.protocol.cache.cache_headers import CacheReport, CacheResult
from argoproxy.protocol.cache.cache_key import Asker, Question, make_key
from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.cache.cacheable import find_obstacle
from argoproxy.protocol.http_messages import Headers, without
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import Batch
from argoproxy.stores.answers.answer_store import AnswerStore
from argoproxy.telemetry.outcome import Outcome
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream

_MISS = CacheReport(CacheResult.MISS, "miss")
_OK = 200


@dataclass(frozen=True, slots=True)
class UpstreamIdentity:
    """What tells the answers of an upstream from others: a text made of all that is set for it, and whether it gets
    credentials of the proxy in place of the clients'."""

    text: str
    is_keyed: bool


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """What all requests of a worker share; all but the store is replaced when settings are reloaded. Answers of another
    `version` of this program are not used: it might have asked otherwise."""

    store: AnswerStore
    upstreams: Mapping[str, UpstreamIdentity]
    flights: Flights
    version: str

    def key_of(self, route: Route[Upstream], policy: CachePolicy, asker: Asker) -> bytes | None:
        """Return the key of the answer along a route; None if there can't be one."""
        upstream = self.upstreams[route.upstream.name]
        call = route.call if route.call.origin is None else route.call.for_upstream(route.upstream.name)
        headers = request_headers_for_upstream(call.headers)
        if upstream.is_keyed:
            headers = without(headers, CREDENTIAL_HEADERS)
        question = Question(upstream.text, call.path, call.query, headers, call.body)
        return make_key(question, asker.within(policy.scope), self.version)


class CachedRequest:
    """What the cache does for one request: look for its answer, or keep the one that the upstream gives."""

    def __init__(
        self, cache: AnswerCache, routes: Sequence[Route[Upstream]], policy: CachePolicy, asker: Asker
    ) -> None:
        """`routes` are those whose answers serve the request, the preferred one first."""
        #: The route whose kept answer is given, or else the preferred one.
        self.route = routes[0]
        self._cache, self._routes, self._policy, self._asker = cache, routes, policy, asker
        self._report = _MISS
        self._key: bytes | None = None
        self._flight: bytes | None = None
        self._recording: _Recording | None = None

    @property
    def is_hit(self) -> bool:
        """Whether the answer is a kept one."""
        return self._report.result is CacheResult.HIT

    @property
    def result(self) -> CacheResult:
        """What the cache did."""
        return self._report.result

    @property
    def headers(self) -> Headers:
        """The fields of the response."""
        return self._report.headers()

    def find(self, watch: Watch) -> Batch | None:
        """Return the kept answer; None if the upstream is to be asked. Waits while another request of this worker asks
        the same. Raises NotCached, ClientGone."""
        call = self._routes[0].call
        directives = read_directives(call.headers)
        obstacle = "no-store" if directives.no_store else find_obstacle(call.body, self._policy)
        if not obstacle:
            self._key = self._cache.key_of(self._routes[0], self._policy, self._asker)
        found: Batch | None = None
        if obstacle or self._key is None:
            self._report = CacheReport(CacheResult.BYPASS, "bypass", obstacle or "depth")
        elif directives.no_cache:
            self._report = CacheReport(CacheResult.MISS, "request")
        else:
            found = self._find(self._key, watch, directives.max_age_s, may_ask=not directives.only_if_cached)
        if found is None and directives.only_if_cached:
            raise NotCached("The request wants an answer from the cache only, which has none.")
        return found

    def withdraw(self) -> None:
        """Give no kept answer after all: a limit refuses the request."""
        self._report = CacheReport(CacheResult.BYPASS, "bypass", "limits")

    def add_recorders(self, filters: Sequence[Filter], route: Route[Upstream]) -> Sequence[Filter]:
        """Return the filters of the answer along a route with those that record it, if it is to be kept."""
        policy = route.cache
        if self._report.result is not CacheResult.MISS or policy is None:
            return filters
        key = self._key
        if route.target != self._routes[0].target:
            is_fit = not find_obstacle(route.call.body, policy)
            key = self._cache.key_of(route, policy, self._asker) if is_fit else None
        if key is None:
            return filters
        recorder = AnswerRecorder(policy, route.call.max_choices, self._land)
        self._recording = _Recording(key, policy, recorder, ContentDetector())
        return [recorder, *filters, self._recording.detector]

    def finish(self, outcome: Outcome) -> None:
        """Store the answer if it was given whole. To be called once, when the client has its last byte."""
        recording, self._recording = self._recording, None
        try:
            if recording and outcome.ending is Ending.COMPLETE and outcome.status == _OK:
                recording.store_in(self._cache.store)
        finally:
            self._land()

    def _find(self, key: bytes, watch: Watch, max_age_s: float, *, may_ask: bool) -> Batch | None:
        found = self._read(key, max_age_s)
        if found is None and may_ask and not self._take_off(key):
            self._wait(key, watch)
            found = self._read(key, max_age_s)
            if found is None:
                # It does not wait again: what could not be kept once will hardly be kept the next time.
                self._take_off(key)
        return found

    def _take_off(self, key: bytes) -> bool:
        """Let others wait for this request's answer, unless another one asks the same."""
        if self._cache.flights.begin(key):
            self._flight = key
        return self._flight is not None

    def _read(self, key: bytes, max_age_s: float) -> Batch | None:
        self._report = _MISS
        for route in self._routes:
            one = key if route is self._routes[0] else self._cache.key_of(route, self._policy, self._asker)
            stored = self._cache.store.read(one) if one else None
            if stored is None:
                continue
            if stored.age_s >= self._policy.ttl_s:
                self._report = CacheReport(CacheResult.MISS, "stale")
            elif stored.age_s > max_age_s:
                self._report = CacheReport(CacheResult.MISS, "request")
            else:
                left_s = self._policy.ttl_s - stored.age_s
                self.route = route
                self._report = CacheReport(CacheResult.HIT, age_s=stored.age_s, ttl_s=left_s)
                return stored.answer.to_batch()
        return None

    def _wait(self, key: bytes, watch: Watch) -> None:
        """Wait until the question is not asked any more, as long as the rule allows. Raises ClientGone."""
        if self._policy.wait_s <= 0:
            return
        waker = Waker()
        if not self._cache.flights.join(key, waker.wake):
            waker.close()
            return
        try:
            watch.wait(waker, self._policy.wait_s)
        finally:
            self._cache.flights.leave(key, waker.wake)
            watch.unregister()
            waker.close()

    def _land(self) -> None:
        """Wake those that wait for this answer."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._cache.flights.end(flight)


@dataclass(frozen=True, slots=True)
class _Recording:
    """An answer that is being recorded, and where it is to be kept."""

    key: bytes
    policy: CachePolicy
    recorder: AnswerRecorder
    detector: ContentDetector

    def store_in(self, store: AnswerStore) -> None:
        answer = self.recorder.answer() if self.detector.has_content else None
        if answer is not None:
            store.write(self.key, answer, self.policy.ttl_s)
