"""The account of one request: what is reserved for it, what becomes of it, what it is charged in the end.

What is charged depends on how far it came (`protocol/limits/charges.py`). An attempt that failed is charged nothing if
another one answered, but counts as a request at the limits of its upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from argoproxy.errors import Ending, ProxyError, StateUnavailable
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.charges import Progress, UsedTokens, charge_claims, count_used
from argoproxy.protocol.limits.limit_refusals import UPSTREAM, LimitsUnavailable
from argoproxy.protocol.limits.limits import Claim, LimitKind, LimitSettings, StoreFailure
from argoproxy.protocol.limits.rate_headers import make_rate_headers
from argoproxy.protocol.prices.price_table import Cost, PriceTable, price_names
from argoproxy.protocol.prices.token_counts import TokenCounts, read_token_counts
from argoproxy.protocol.stream.output_meter import OutputMeter
from argoproxy.stores.limit_store import LedgerEntry, LimitStore, Reservation

#: What a client waits that was refused because the counters can't be used.
TROUBLE_RETRY_S = 2.0
_ERROR = 400
#: Endings of answers that had begun.
_CUT = frozenset((Ending.CLIENT_GONE, Ending.UPSTREAM_BROKEN, Ending.UPSTREAM_TIMEOUT, Ending.INTERNAL))


@dataclass(frozen=True, slots=True)
class Books:
    """Where accounts are kept, and at what prices."""

    store: LimitStore
    settings: LimitSettings
    prices: PriceTable | None
    #: Whether all requests are written down, also those without limits.
    keeps_ledger: bool
    clock: Callable[[], float]


class AnswerFacts(NamedTuple):
    """What a settlement needs to know of an answer: names of models as they may be written down."""

    ending: Ending
    status: int
    model: str
    upstream: str
    sent_model: str


class RequestAccount:
    """Admitted once, settled once, whatever happens between."""

    #: Whether a cache answers.
    is_hit = False
    #: Of a refusal: when to try again, None if that can't help.
    retry_after_s: float | None = None
    #: Headers of the response about the limits.
    headers: Headers = ()
    #: What was charged; None before that, and where nothing has a price.
    cost: Cost | None = None
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
        if self.is_hit and not self._claims:  # nothing to reserve, and nothing to charge if the worker dies
            self._is_open = True
            return None
        entry = self._reservation.if_abandoned
        try:
            admission = self._books.store.admit(self._reservation, entry.at)
        except StateUnavailable:
            self._refuse_in_trouble(self._claims)
            self._is_open = True
            return None
        self._is_open = admission.refused is None
        self.retry_after_s = admission.retry_after_s
        self.headers = make_rate_headers(admission)
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

    def settle(self, answer: AnswerFacts, usage: Json) -> None:
        """Charge what the request came to, and write it down; further calls do nothing."""
        if not self._is_open:
            return
        self._is_open = False
        if self._sending:
            self._note_sent()
        counted = read_token_counts(usage)
        progress = self._progress(answer, counted)
        estimate = counted or TokenCounts(self._reservation.abandoned_tokens, 0)
        if seen := self.meter.tokens:  # what came after the usage, if there was any
            estimate = estimate._replace(completion=estimate.completion + seen)
        used = count_used(progress, counted, estimate)
        tokens = used.counts.total
        cost = self._cost_of(used.counts, answer, usage) if tokens else 0
        is_sent = progress is not Progress.UNSENT
        entry = self._make_entry(answer, used, cost) if self._books.keeps_ledger and is_sent else None
        charges = self._charges(progress, tokens, cost)
        self._books.store.settle(self._reservation.if_abandoned.request_id, charges, entry, self._books.clock())
        if is_sent and self._books.prices is not None:
            self.cost = Cost(cost, "model" if cost is None else "")

    def _refuse_in_trouble(self, claims: Sequence[Claim]) -> None:
        """Raise LimitsUnavailable, unless requests go on without limits."""
        if claims and self._books.settings.on_store_failure is not StoreFailure.ALLOW:
            message = "The counters of this proxy's limits can't be used now; try again later."
            raise LimitsUnavailable(message, TROUBLE_RETRY_S) from None

    def _note_sent(self) -> None:
        if self._sending:
            self._sent_to = (*self._sent_to, self._sending)
        self._sending = ""

    def _progress(self, answer: AnswerFacts, counted: TokenCounts | None) -> Progress:
        """Return how far the request came."""
        if self.is_hit:
            return Progress.CACHED
        if not self._sent_to:
            return Progress.UNSENT
        if answer.ending is Ending.COMPLETE and answer.status < _ERROR:
            return Progress.COMPLETE
        has_come = counted or self.meter.tokens > 0 or (self._has_head and answer.ending in _CUT)
        return Progress.BROKEN if has_come else Progress.UNANSWERED

    def _cost_of(self, counts: TokenCounts, answer: AnswerFacts, usage: Json) -> int | None:
        """Return what tokens cost, in billionths; None if the price is not known."""
        if self._books.prices is None:
            return None
        price = self._books.prices.price_of(price_names(answer.upstream, answer.sent_model, answer.model))
        if price and "service_tier" in usage:
            price = price.for_service(usage["service_tier"])
        return price.cost(counts) if price else None

    def _charges(self, progress: Progress, tokens: int, cost: int | None) -> dict[str, int]:
        """Return what each limit is charged. Those of upstreams count the requests that were sent there, and tokens
        only if the answer is theirs."""
        answering = f"{UPSTREAM}{self._sent_to[-1]}" if self._sent_to else ""
        own = [one for one in self._claims if one.subject == answering or not one.subject.startswith(UPSTREAM)]
        charges = charge_claims(own, progress, tokens, cost)
        if len(own) < len(self._claims):
            others = {f"{UPSTREAM}{name}" for name in self._sent_to} - {answering}
            failed = [one for one in self._claims if one.subject in others]
            charges |= charge_claims(failed, Progress.UNANSWERED, 0, 0)
        return charges

    def _make_entry(self, answer: AnswerFacts, used: UsedTokens, cost: int | None) -> LedgerEntry:
        begun, counts = self._reservation.if_abandoned, used.counts
        return LedgerEntry(
            request_id=begun.request_id,
            at=begun.at,
            key_id=begun.key_id,
            key_name=begun.key_name,
            team=begun.team,
            model=answer.model,
            upstream=self._sent_to[-1] if self._sent_to else "",
            ending=str(answer.ending),
            status=answer.status,
            prompt_tokens=counts.prompt,
            cached_tokens=counts.cached,
            completion_tokens=counts.completion,
            reasoning_tokens=counts.reasoning,
            cost_nanos=cost,
            is_estimated=used.is_estimated,
        )
