"""Admits requests that have limits, or that are written into the ledger, before anything is sent.

All limits that apply are asked in one step: those of everyone, of the caller's key and team, of the model, of the first
upstream. An upstream whose own limit does not allow the request now is left out where there is another route.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from argoproxy.errors import BadRequest
from argoproxy.pipeline.accounting.account import Books, RequestAccount
from argoproxy.pipeline.accounting.demand import NO_TOKENS, AskedTokens, ask_tokens
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.limits.claims import ClaimMaker
from argoproxy.protocol.limits.limit_refusals import UnpricedModel, is_of_upstream, make_refusal
from argoproxy.protocol.limits.limits import Claim, LimitedSubject, LimitKind, Reserve, Unpriced
from argoproxy.protocol.prices.price import Price
from argoproxy.protocol.prices.price_table import price_names
from argoproxy.protocol.routing.frozen_copies import copy_with
from argoproxy.protocol.routing.modes import with_usage
from argoproxy.protocol.routing.route import Route
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.upstreams import Upstream

_BY_SIZE = (LimitKind.TPM, LimitKind.BUDGET)
_OF_HITS = (LimitKind.RPM, LimitKind.CONCURRENT)
#: Paths whose streams tell their usage only if they are asked to.
_COMPLETIONS = ("/v1/chat/completions", "/v1/completions")


class AccountHolder(Protocol):
    """A request, as far as its account needs it."""

    id: str
    caller: Principal
    account: RequestAccount | None

    @property
    def model_name(self) -> str:
        """The model that the client asked for, as it may be written down."""


@dataclass(frozen=True, slots=True)
class Accountant:
    """Opens the accounts of requests."""

    books: Books
    claims: ClaimMaker

    def admit(self, routes: Sequence[Route[Upstream]], holder: AccountHolder) -> Sequence[Route[Upstream]]:
        """Open an account for a request, and return its routes from the first one whose upstream allows it. Raises
        LimitExceeded, LimitsUnavailable, UnpricedModel, BadRequest."""
        for index, route in enumerate(routes):
            account = self._open(route, holder)
            if account is None:
                return routes
            holder.account = account
            refused = account.admit()
            if refused is None:
                return [ask_usage(one) for one in routes[index:]] if account.counts_tokens else routes[index:]
            if not is_of_upstream(refused.subject) or index + 1 == len(routes):
                raise make_refusal(refused, account.retry_after_s)
        return routes

    def admit_hit(self, route: Route[Upstream], holder: AccountHolder) -> None:
        """Open an account for a request that a cache answers: it counts as a request, and costs nothing. Raises
        LimitExceeded, LimitsUnavailable."""
        subjects, now = self._subjects(route, holder), self.books.clock()
        asked = self.claims.make(subjects, 0, 0, now)
        claims = [one for one in asked if one.kind in _OF_HITS and not is_of_upstream(one.subject)]
        if not claims and not self.books.keeps_ledger:
            return
        entry = _begin_entry(holder, now, "", NO_TOKENS, 0)
        account = holder.account = RequestAccount(self.books, Reservation(claims, entry, 0))
        account.is_hit = True
        if refused := account.admit():
            raise make_refusal(refused, account.retry_after_s)

    def extend(self, route: Route[Upstream], account: RequestAccount) -> bool:
        """Ask the limits of another upstream that a request would be sent to; return whether they allow it. Raises
        LimitsUnavailable."""
        if not route.subjects:
            return True
        subjects = [one for one in route.subjects if is_of_upstream(one.name) and not account.covers(one.name)]
        if not subjects:
            return True
        asked, cost = self._estimate(route, Reserve.EXPECTED)
        return account.extend(self.claims.make(subjects, asked.total, cost, self.books.clock())) is None

    def _open(self, route: Route[Upstream], holder: AccountHolder) -> RequestAccount | None:
        """Return the account of a request that would go along a route first, None if it needs none. Raises
        UnpricedModel, BadRequest."""
        subjects = self._subjects(route, holder)
        if not subjects and not self.books.keeps_ledger:
            return None
        asked, cost = self._estimate(route, _reserve_of(holder.caller) or self.books.settings.reserve)
        now = self.books.clock()
        claims = self.claims.make(subjects, asked.total, cost, now) if subjects else ()
        if not claims and not self.books.keeps_ledger:
            return None
        if asked.output is None or cost is None:
            self._check(claims, asked, cost, route.call.requested_model)
        entry = _begin_entry(holder, now, route.upstream.name, asked, cost)
        return RequestAccount(self.books, Reservation(claims, entry, asked.prompt))

    def _estimate(self, route: Route[Upstream], reserve: Reserve) -> tuple[AskedTokens, int | None]:
        """Return what a request asks for, and what that costs at most, in billionths (None: the price is not known)."""
        price = self._price_of(route)
        max_output = price.max_output if price else None
        asked = ask_tokens(route.call, reserve, self.books.settings.expect_output, max_output)
        if asked is NO_TOKENS:
            return asked, 0
        return asked, price.reserve(asked.reserved_prompt, asked.output or 0) if price else None

    def _check(self, claims: Sequence[Claim], asked: AskedTokens, cost: int | None, model: str) -> None:
        """Raise UnpricedModel, BadRequest for a request of which it is not known what to reserve."""
        is_unpriced = cost is None and any(one.kind is LimitKind.BUDGET for one in claims)
        if is_unpriced and self.books.settings.unpriced is Unpriced.REFUSE:
            raise UnpricedModel(f"A budget holds, and the price of the model {model!r} is not known.", param="model")
        if asked.output is None and any(one.kind in _BY_SIZE for one in claims):
            message = "The limits need `max_tokens`: how much this model answers with at most is not known."
            raise BadRequest(message, param="max_tokens")

    def _price_of(self, route: Route[Upstream]) -> Price | None:
        call = route.call
        if self.books.prices is None:
            return None
        price = self.books.prices.price_of(price_names(route.upstream.name, call.model, call.requested_model))
        return price.for_service(call.body["service_tier"]) if price and "service_tier" in call.body else price

    def _subjects(self, route: Route[Upstream], holder: AccountHolder) -> Sequence[LimitedSubject]:
        everyone = self.books.settings.everyone
        own = holder.caller.subjects
        if any(subject.limits.models for subject in own):
            names = names_of(route)
            own = tuple(part for subject in own for part in _parts_for_model(subject, names))
        return (*((everyone,) if everyone else ()), *own, *route.subjects)


def _parts_for_model(subject: LimitedSubject, names: Sequence[str]) -> Iterator[LimitedSubject]:
    """Yield a subject, and what it is limited to in models with one of these names."""
    yield subject
    for pattern, limits in subject.limits.models:
        if any(fnmatchcase(name, pattern) for name in names):
            yield LimitedSubject(f"{subject.name}/model:{pattern}", limits)


def names_of(route: Route[Upstream]) -> Sequence[str]:
    """Return the names of a route's model by which patterns of limits find it: no alias leads around a limit."""
    asked, sent = route.call.requested_model, route.call.model
    return tuple(dict.fromkeys((asked, *route.upstream.aliases(asked), sent)))


def ask_usage(route: Route[Upstream]) -> Route[Upstream]:
    """Return a route whose stream is asked for its usage."""
    call = route.call
    if not call.stream or call.path not in _COMPLETIONS:
        return route
    asking = with_usage(call)
    return route if asking is call else copy_with(route, call=asking)


def _reserve_of(caller: Principal) -> Reserve | None:
    for one in caller.subjects:
        if one.limits.reserve:
            return one.limits.reserve
    return None


def _begin_entry(holder: AccountHolder, now: float, upstream: str, asked: AskedTokens, cost: int | None) -> LedgerEntry:
    """Return what is written down of a request whose worker is killed."""
    caller = holder.caller
    return LedgerEntry(
        request_id=holder.id,
        at=now,
        key_id=caller.key_id,
        key_name=caller.name,
        team=caller.team,
        model=holder.model_name,
        upstream=upstream,
        prompt_tokens=asked.prompt,
        cost_nanos=cost,
        is_estimated=asked.prompt > 0,
    )
