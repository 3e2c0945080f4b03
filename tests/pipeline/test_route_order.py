"""Which route of a request is tried first, by the settings of its rule and by what is known of the upstreams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from argoproxy.pipeline.route_order import RouteOrder, choose_order
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.resilience.balance import Balance
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.route import Provider, Route
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.shared_state.upstream_state import UpstreamStates
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import DemoUpstream

NAMES = ("a", "b", "c")
RULES = (
    Rule("as-listed", upstreams=NAMES),
    Rule("ordered", upstreams=NAMES, balance=Balance.ORDERED),
    Rule("weighted", upstreams=NAMES, balance=Balance.WEIGHTED, weights={"a": 8}),
    Rule("least", upstreams=NAMES, balance=Balance.LEAST_OPEN, weights={"a": 4}),
    Rule("sticky", upstreams=NAMES, balance=Balance.STICKY),
    Rule("renamed", upstreams=NAMES, balance=Balance.LEAST_OPEN, upstream_model_name="large"),
    Rule("alone", upstreams=("a",), balance=Balance.STICKY),
    Rule("default", upstreams=NAMES, balance=Balance.WEIGHTED),
)
SESSION = (("X-Session-Id", "s-1"), ("X-Other", "kept"))


@dataclass
class State:
    """What is known of one upstream: its streams, and the model that it is not asked for at the moment."""

    streams: int = 0
    closed_for: str = ""

    def open_streams(self) -> int:
        return self.streams

    def reopens_in_s(self, model: str) -> float:
        return 3.0 if model == self.closed_for else 0.0


class States:
    def __init__(self, **states: State) -> None:
        self.states, self.questions = states, 0

    def of(self, name: str) -> State:
        self.questions += 1
        return self.states.get(name, State())


def models() -> Models[Upstream]:
    providers: list[Provider[Upstream]] = [Provider(DemoUpstream(name)) for name in NAMES]
    return Models(providers, Rules((RuleSet("models", RULES),)), default_model="weighted")


def call(model: str, headers: Headers = (), **body: Any) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", headers, {"model": model, "messages": [], **body}, None)


def arrange(call: Call, states: States | None = None) -> Sequence[Route[Upstream]]:
    routes = models().resolve(call)
    return choose_order(routes, models(), call, cast(UpstreamStates, states or States())).arrange(routes)


def names_of(routes: Sequence[Route[Upstream]]) -> str:
    return "".join(route.upstream.name for route in routes)


@pytest.mark.parametrize(("model", "expected"), [("as-listed", "abc"), ("ordered", "abc"), ("alone", "a")])
def test_without_a_balance_nothing_is_asked(model: str, expected: str) -> None:
    states = States(a=State(9), b=State(5))
    assert names_of(arrange(call(model), states)) == expected
    assert states.questions == 0


@pytest.mark.parametrize("model", ["weighted", ""])
def test_weights_decide_at_random(model: str) -> None:
    first = Counter(names_of(arrange(call(model)))[0] for _ in range(300))
    assert first["a"] > 150 > first["b"] + first["c"] > 0


def test_the_default_rule_balances_too() -> None:
    assert len({names_of(arrange(call("any"))) for _ in range(300)}) == 6


def test_the_least_loaded_is_first_by_its_weight() -> None:
    states = States(a=State(8), b=State(3), c=State(1, closed_for="least"))
    assert {names_of(arrange(call("least"), states)) for _ in range(50)} == {"abc"}


def test_circuits_are_those_of_the_name_that_is_sent() -> None:
    asked, sent = States(a=State(closed_for="renamed")), States(a=State(closed_for="large"))
    assert {names_of(arrange(call("renamed"), asked))[0] for _ in range(100)} == set("abc")
    assert {names_of(arrange(call("renamed"), sent))[2] for _ in range(20)} == {"a"}


def sticky(number: int, states: States | None = None) -> str:
    return names_of(arrange(call("sticky", (("X-Session-Id", f"s-{number}"),)), states))


def test_sessions_move_only_with_their_upstream() -> None:
    before = [sticky(number) for number in range(50)]
    assert {order[0] for order in before} == set("abc")
    during = [sticky(number, States(b=State(closed_for="sticky"))) for number in range(50)]
    assert during == [order.replace("b", "") + "b" for order in before]
    assert [sticky(number) for number in range(50)] == before


def test_a_session_moves_on_where_its_upstream_has_too_much() -> None:
    home = sticky(1)
    assert sticky(1, States(**{home[0]: State(9)})) == home[1:] + home[0]


def test_the_header_of_a_session_goes_no_further_where_it_was_read() -> None:
    origin = replace(call("sticky", SESSION), path="/v1/messages")
    for route in arrange(replace(call("sticky", SESSION), origin=origin)):
        assert route.call.origin
        assert route.call.headers == route.call.origin.headers == (("X-Other", "kept"),)
    for model in ("as-listed", "weighted", "least", "alone"):
        assert {route.call.headers for route in arrange(call(model, SESSION))} == {SESSION}


def test_the_session_is_read_in_the_request_as_it_was_made() -> None:
    homes = set()
    for number in range(20):
        origin = Call("id", 1, "/v1/responses", "", (), {"model": "sticky", "prompt_cache_key": f"k-{number}"}, None)
        (order, again) = (names_of(arrange(replace(call("sticky", n=n), origin=origin))) for n in (1, 2))
        assert order == again
        homes.add(order)
    assert len(homes) > 1


def test_routes_that_are_found_anew_keep_their_order() -> None:
    order = RouteOrder(["c", "a"])
    assert names_of(order.arrange(models().resolve(call("sticky")))) == "cab"
