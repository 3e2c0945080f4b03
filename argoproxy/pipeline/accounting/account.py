"""The account of one request: what is reserved for it, what becomes of it, what it is charged in the end.

| a request that | is charged tokens | and as a request |
| --- | --- | --- |
| ended well and its usage is known | its usage | yes |
| ended well, without usage | an estimate | yes |
| failed before anything of an answer came, or was refused upstream | none | yes |
| was cut within its answer, by its client or its upstream | its prompt and what had come, estimated | yes |
| was answered from a cache | none | yes |
| was never sent | none | no |

An attempt that failed is charged nothing if another one answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from argoproxy.errors import Ending, ProxyError, StateUnavailable
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limit_refusals import LimitsUnavailable, is_of_upstream
from argoproxy.protocol.limits.limits import Claim, LimitKind, LimitSettings, StoreFailure
from argoproxy.protocol.limits.rate_headers import make_rate_headers
from argoproxy.protocol.prices.price_table import PriceTable, price_names
from argoproxy.protocol.prices.token_counts import TokenCounts, read_token_counts
from argoproxy.protocol.stream.output_meter import OutputMeter
from argoproxy.stores.limit_store import LedgerEntry, LimitStore, Reservation
from argoproxy.telemetry.outcome import Outcome

#: What a client waits that was refused because the counters can't be used.
TROUBLE_RETRY_S = 2.0
_ERROR = 400
_NO_TOKENS = TokenCounts(0, 0)
#: Endings of answers that had begun.
_CUT = frozenset((Ending.CLIENT_GONE, Ending.UPSTREAM_BROKEN, Ending.UPSTREAM_TIMEOUT, Ending.INTERNAL))


@dataclass(frozen=True, slots=True)
class Books:
    """Where accounts are kept, and at what prices."""

    store: LimitStore
    settings: LimitSettings
    prices: PriceTable
    #: Whether all requests are written down, also those without limits.
    keeps_ledger: bool
    clock: Callable[[], float]


class RequestAccount:
    """Admitted once, settled once, whatever happens between."""

    #: Whether a cache answers.
    is_hit = False
    #: Of a refusal: when to try again, None if that can't help.
    retry_after_s: float | None = None
    #: Headers of the response about the limits.
    headers: Headers = ()
    _is_open = _has_head = False
    #: The upstream to which the request is being sent, as long as it is not known whether it was reached.
    _sending = ""

    def __init__(self, books: Books, reservation: Reservation) -> None:
        self.meter = OutputMeter()
        self._books = books
        self._reservation = reservation
        self._claims = tuple(reservation.claims)
        self._sent_to: tuple[str, ...] = ()

    @property
    def counts_tokens(self) -> bool:
        """Whether the usage of the answer matters."""
        return self._books.keeps_ledger or any(one.kind in (LimitKind.TPM, LimitKind.BUDGET) for one in self._claims)

    def admit(self) -> Claim | None:
        """Reserve what the request may need; return the claim that was refused, None if all are granted. Raises
        LimitsUnavailable."""
        entry = self._reservation.if_abandoned
        try:
            admission = self._books.store.admit(self._reservation, entry.at)
        except StateUnavailable:
            self._refuse_in_trouble(self._claims)
            self._is_open = True
            return None
        self._is_open = admission.refused is None
        self.retry_after_s = admission.retry_after_s
        self.headers = make_rate_headers(self._claims, admission.levels)
        return admission.refused

    def covers(self, subject: str) -> bool:
        """Return whether the limits of a subject have been asked."""
        return any(one.subject == subject for one in self._claims)

    def extend(self, claims: Sequence[Claim]) -> Claim | None:
        """Reserve more, for another upstream; return the claim that was refused, None if all are granted. Raises
        LimitsUnavailable."""
        try:
            admission = self._books.store.extend(self._reservation.if_abandoned.request_id, claims, self._books.clock())
        except StateUnavailable:
            self._refuse_in_trouble(claims)
            return None
        if admission.refused is None:
            self._claims = (*self._claims, *claims)
        self.retry_after_s = admission.retry_after_s
        return admission.refused

    def begin_sending(self, upstream: str) -> None:
        """Note that the request is sent to an upstream."""
        self._sending = upstream

    def receive_head(self, status: int) -> None:
        """Note that a reply has begun."""
        self._note_sent()
        self._has_head = status < _ERROR

    def fail(self, error: ProxyError) -> None:
        """Note a failure, which may be one of sending."""
        if error.reached:
            self._note_sent()
        self._sending = ""

    def discard(self, error: ProxyError) -> None:
        """Note a failure after which something else is tried."""
        self.fail(error)
        self._has_head = False

    def settle(self, outcome: Outcome, usage: Json) -> None:
        """Charge what the request came to, and write it down; further calls do nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._note_sent()
        store, request_id, now = self._books.store, self._reservation.if_abandoned.request_id, self._books.clock()
        if not (self._sent_to or self.is_hit):
            store.settle(request_id, {}, None, now)
            return
        counts, is_estimated = self._count(outcome, usage)
        cost = self._cost(counts, outcome)
        charges = {one.row: self._charge(one, counts.total, cost) for one in self._claims}
        entry = self._make_entry(outcome, counts, cost) if self._books.keeps_ledger else None
        store.settle(request_id, charges, entry and replace(entry, is_estimated=is_estimated), now)

    def _refuse_in_trouble(self, claims: Sequence[Claim]) -> None:
        """Raise LimitsUnavailable, unless requests go on without limits."""
        if claims and self._books.settings.on_store_failure is StoreFailure.REFUSE:
            message = "The counters of this proxy's limits can't be used now; try again later."
            raise LimitsUnavailable(message, TROUBLE_RETRY_S) from None

    def _note_sent(self) -> None:
        if self._sending:
            self._sent_to = (*self._sent_to, self._sending)
        self._sending = ""

    def _count(self, outcome: Outcome, usage: Json) -> tuple[TokenCounts, bool]:
        """Return the tokens that are charged, and whether they are estimated."""
        if self.is_hit:
            return _NO_TOKENS, False
        counted, is_whole = read_token_counts(usage), outcome.ending is Ending.COMPLETE and outcome.status < _ERROR
        if counted and is_whole:
            return counted, False
        seen = self.meter.tokens
        if not (is_whole or counted or seen or (self._has_head and outcome.ending in _CUT)):
            return _NO_TOKENS, False
        counts = counted or TokenCounts(self._reservation.abandoned_tokens, 0)
        return replace(counts, completion=counts.completion + seen), counted is None or seen > 0

    def _cost(self, counts: TokenCounts, outcome: Outcome) -> int | None:
        """Return what tokens cost, in billionths; None if the price is not known."""
        if not counts.total:
            return 0
        names = price_names(outcome.upstream, outcome.upstream_model or outcome.model, outcome.model)
        price = self._books.prices.price_of(names)
        return price.cost(counts) if price else None

    def _charge(self, claim: Claim, tokens: int, cost: int | None) -> int:
        """Return what a limit is charged. That of an upstream counts the requests that were sent there, and tokens only
        if the answer is its own."""
        upstream = claim.subject.partition(":")[2] if is_of_upstream(claim.subject) else ""
        if upstream and upstream not in self._sent_to:
            return 0
        if claim.kind is LimitKind.RPM:
            return 1
        if claim.kind is LimitKind.CONCURRENT or (upstream and upstream != self._sent_to[-1]):
            return 0
        if claim.kind is LimitKind.TPM:
            return tokens
        # Without a price what was reserved stays: nothing, if such requests are let through.
        return claim.amount if cost is None else cost

    def _make_entry(self, outcome: Outcome, counts: TokenCounts, cost: int | None) -> LedgerEntry:
        return replace(
            self._reservation.if_abandoned,
            model=outcome.model,
            upstream=self._sent_to[-1] if self._sent_to else "",
            ending=str(outcome.ending),
            status=outcome.status,
            prompt_tokens=counts.prompt,
            cached_tokens=counts.cached,
            completion_tokens=counts.completion,
            reasoning_tokens=counts.reasoning,
            cost_nanos=cost,
        )
