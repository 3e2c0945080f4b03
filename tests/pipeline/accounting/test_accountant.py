"""Accounts of single requests, in a file of counters of their own."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argoproxy.errors import BadRequest, Ending, UpstreamStatus, UpstreamUnreachable
from argoproxy.pipeline.accounting.account import AnswerFacts, Books, RequestAccount
from argoproxy.pipeline.accounting.accountant import Accountant
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.limits.claims import ClaimMaker
from argoproxy.protocol.limits.limit_fields import parse_limits
from argoproxy.protocol.limits.limit_refusals import LimitExceeded, LimitsUnavailable, UnpricedModel
from argoproxy.protocol.limits.limits import LimitedSubject, LimitSettings, Reserve, StoreFailure, Unpriced
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.protocol.prices.price_fields import parse_price
from argoproxy.protocol.prices.price_table import Cost, PriceTable
from argoproxy.protocol.routing.route import Route
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.upstreams import Upstream
from tests.support.routes import routes_to

PRICES = PriceTable({"m": parse_price({"input": 1000, "output": 1000}), "bounded": parse_price({"input": 1})})
CALENDAR = BudgetCalendar(lambda moment: time.gmtime(moment)[:3])
NOW = 1_800_000_000.0
USAGE = {"prompt_tokens": 30, "completion_tokens": 70, "total_tokens": 100}
COMPLETE = AnswerFacts(Ending.COMPLETE, 200, "m", "a", "m")


class Holder:
    """As much of a request as an account needs."""

    model_name = "m"

    def __init__(self, name: str, caller: Principal) -> None:
        self.id = name
        self.caller = caller
        self.account: RequestAccount | None = None


class Bench:
    """An accountant, and requests to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.store = LocalLimits(folder)
        books = Books(self.store, LimitSettings(**settings), PRICES, keeps_ledger=True, clock=lambda: NOW)
        self.accountant = Accountant(books, ClaimMaker(CALENDAR))
        self.count = 0

    def admit(self, routes: Sequence[Route[Upstream]], **limits: Any) -> tuple[RequestAccount, list[Route[Upstream]]]:
        """Admit a request of a key with these limits."""
        self.count += 1
        subjects = (LimitedSubject("key:k", parse_limits(limits)),) if limits else ()
        holder = Holder(f"r{self.count}", Principal("ann", (), "k", "", subjects))
        admitted = list(self.accountant.admit(routes, holder))
        assert holder.account
        return holder.account, admitted

    def used(self) -> dict[str, int]:
        """Return the counters that are not 0, by row; those of buckets in whole units."""
        self.store.flush()
        with closing(sqlite3.connect(self.folder / "usage.sqlite3")) as base:
            rows = base.execute("SELECT row, used FROM counters WHERE used > 0").fetchall()
        return {row: used if "budget" in row or "concurrent" in row else used // 60_000_000 for row, used in rows}

    def ledger(self) -> list[tuple[Any, ...]]:
        self.store.flush()
        with closing(sqlite3.connect(self.folder / "usage.sqlite3")) as base:
            return base.execute("SELECT upstream, ending, prompt_tokens, completion_tokens FROM ledger").fetchall()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def limit(route: Route[Upstream], **limits: Any) -> Route[Upstream]:
    """Return a route to an upstream with limits of its own."""
    return replace(route, subjects=(LimitedSubject(f"upstream:{route.upstream.name}", parse_limits(limits)),))


def replace_ending(ending: Ending, status: int = 200) -> AnswerFacts:
    return COMPLETE._replace(ending=ending, status=status)


def test_what_was_never_sent_comes_back(bench: Bench) -> None:
    account, _ = bench.admit(routes_to("a"), rpm=5, tpm=9000, concurrent=2)
    assert bench.used()["key:k/rpm"] == 1
    account.begin_sending("a")
    account.fail(UpstreamUnreachable("x"))
    account.settle(replace_ending(Ending.UPSTREAM_ERROR, 502), {})
    assert (bench.used(), bench.ledger()) == ({}, [])


def test_it_is_settled_once(bench: Bench) -> None:
    account, _ = bench.admit(routes_to("a"), rpm=5, tpm=9000, concurrent=2, budget="5/total")
    account.begin_sending("a")
    account.receive_head(200)
    account.settle(COMPLETE, USAGE)
    account.settle(replace_ending(Ending.CLIENT_GONE), {})
    assert bench.used() == {"key:k/rpm": 1, "key:k/tpm": 100, "key:k/budget/total": 100_000_000}
    assert bench.ledger() == [("a", "complete", 30, 70)]
    assert account.cost == Cost(100_000_000)


def test_the_upstream_that_answers_is_charged_the_tokens(bench: Bench) -> None:
    first, second = routes_to("a", "b")
    first, second = limit(first, rpm=9, tpm=9000), limit(second, rpm=9, tpm=9000)
    account, _ = bench.admit([first, second], rpm=5)
    account.begin_sending("a")
    account.receive_head(503)
    account.discard(UpstreamStatus(503, (), b""))
    assert bench.accountant.extend(second, account)
    account.begin_sending("b")
    account.receive_head(200)
    account.settle(COMPLETE._replace(upstream="b"), USAGE)
    assert bench.used() == {"key:k/rpm": 1, "upstream:a/rpm": 1, "upstream:b/rpm": 1, "upstream:b/tpm": 100}
    assert bench.ledger() == [("b", "complete", 30, 70)]


def test_an_upstream_that_is_not_tried_is_charged_nothing(bench: Bench) -> None:
    first, second = routes_to("a", "b")
    account, _ = bench.admit([limit(first, rpm=9, tpm=9000), second])
    account.begin_sending("b")
    account.receive_head(200)
    account.settle(COMPLETE._replace(upstream="b"), USAGE)
    assert bench.used() == {}


def test_an_upstream_whose_limit_is_reached_is_passed_over(bench: Bench) -> None:
    first, second = routes_to("a", "b")
    full = limit(first, rpm=0)
    _, routes = bench.admit([full, second], rpm=5)
    assert [route.upstream.name for route in routes] == ["b"]
    account, _ = bench.admit([second], rpm=5)
    assert not bench.accountant.extend(full, account)
    with pytest.raises(LimitExceeded) as caught:
        bench.admit([full], rpm=5)
    assert caught.value.param == "upstream.rpm"
    with pytest.raises(LimitExceeded) as caught:
        bench.admit([full, second], rpm=2)
    assert caught.value.param == "key.rpm"


@pytest.mark.parametrize("name", ["gpt-5", "m"])
def test_limits_for_models_hold_for_each_name_of_a_model(bench: Bench, name: str) -> None:
    (route,) = routes_to("a")
    asked = replace(route, call=replace(route.call, requested_model=name))
    limits = {"model_limits": {"gpt-*": {"rpm": 1}, "m": {"rpm": 1}, "other": {"rpm": 0}}}
    bench.admit([asked], **limits)
    with pytest.raises(LimitExceeded) as caught:
        bench.admit([asked], **limits)
    assert caught.value.param == "key.model.rpm"


def test_what_comes_after_the_usage_is_estimated(bench: Bench) -> None:
    """A stream that tells the usage of its prompt first, and is cut."""
    account, _ = bench.admit(routes_to("a", stream=True), tpm=9000)
    account.begin_sending("a")
    account.receive_head(200)
    list(account.meter.measure([b'{"text": "' + b"word " * 80 + b'"}'], re.compile(b"word ")))
    account.settle(replace_ending(Ending.CLIENT_GONE), {"prompt_tokens": 30, "completion_tokens": 1})
    assert bench.ledger() == [("a", "client_gone", 30, 101)]


@pytest.mark.parametrize("choice", StoreFailure)
def test_counters_in_trouble(tmp_path: Path, choice: StoreFailure) -> None:
    bench = Bench(tmp_path / "missing", on_store_failure=choice)
    account, _ = bench.admit(routes_to("a"))
    account.begin_sending("a")
    account.settle(COMPLETE, USAGE)
    if choice is StoreFailure.ALLOW:
        account, _ = bench.admit(routes_to("a"), rpm=1)
        assert bench.accountant.extend(limit(routes_to("b")[0], rpm=1), account)
        return
    with pytest.raises(LimitsUnavailable) as caught:
        bench.admit(routes_to("a"), rpm=1)
    assert (caught.value.status, caught.value.code) == (503, "state_unavailable")
    assert caught.value.headers == (("Retry-After", "2"),)


def test_the_most_is_reserved_if_it_is_known(tmp_path: Path) -> None:
    bench = Bench(tmp_path, reserve=Reserve.MAX)
    with pytest.raises(BadRequest) as caught:
        bench.admit(routes_to("a"), tpm=1000)
    assert caught.value.param == "max_tokens"
    bench.admit(routes_to("a"), rpm=5)
    bench.admit(routes_to("a", max_tokens=9), tpm=1000, reserve="expected")
    with pytest.raises(LimitExceeded):
        bench.admit(routes_to("a", max_completion_tokens=501, n=2), tpm=1000)


def test_a_budget_needs_a_price(tmp_path: Path) -> None:
    (route,) = routes_to("a")
    unknown = replace(route, call=replace(route.call, body={**route.call.body, "model": "x"}, requested_model="x"))
    with pytest.raises(UnpricedModel):
        Bench(tmp_path).admit([unknown], budget="1/total")
    bench = Bench(tmp_path, unpriced=Unpriced.ALLOW)
    account, _ = bench.admit([unknown], budget="1/total")
    account.begin_sending("a")
    account.receive_head(200)
    account.settle(COMPLETE._replace(model="x", sent_model="x"), USAGE)
    assert bench.used() == {}
    assert account.cost == Cost(None, "model")
