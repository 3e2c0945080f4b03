"""What a request costs, where it is told: in the log, the journal, metrics, and to clients that may see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.protocol.prices.money import format_amount
from argoproxy.stores.local.sqlite_ledger import Grouping, LedgerFilter, read_usage
from tests.support.client import Answer, Client, ask
from tests.support.fixtures import Serve
from tests.support.journal_reader import JournalReader
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, chunked, completion, event, reply, stream

Json = dict[str, Any]

PRICES = {
    "m1": {"input": 2, "cached_input": 0.5, "output": 8, "service_tiers": {"flex": {"output": 4}}},
    "claude-x": {"input": 1, "cache_write_1h": 2, "output": 5},
}
CHAT = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 800}}
RESPONSE = {"input_tokens": 1000, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 800}}
MESSAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 100,
    "cache_creation": {"ephemeral_1h_input_tokens": 100},
    "output_tokens": 10,
}
#: 200 x 2 + 800 x 0.5 + 10 x 8, and 200 x 1 + 100 x 2 + 10 x 5 millionths
CHAT_COST, MESSAGE_COST = "0.00088", "0.00045"
HELLO = [{"role": "user", "content": "Hi"}]


def start_priced(serve: Serve, upstream: Upstream, folder: Any, **settings: Any) -> Proxy:
    server = {"base_url": f"{upstream.url}/v1", "api_key": "sk-up"}
    upstreams = {
        "chats": {**server, "responses": "convert"},
        "responses": {**server, "responses": "forward"},
        "messages": {"kind": "anthropic", "base_url": upstream.url, "api_key": "sk-up"},
    }
    models = {"claude-x": {"upstream": "messages"}, "r1": {"upstream": "responses", "upstream_model_name": "m1"}}
    file = folder / "config.yaml"
    file.write_text(
        json.dumps({"upstreams": upstreams, "models": {**models, **settings.pop("models", {})}, **settings})
    )
    return serve(CONFIG_PATH=str(file), OUTPUT_PATH=str(folder / "journal"), METRICS_OPEN="true")


@pytest.fixture(scope="module")
def priced(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> JournalReader:
    folder = tmp_path_factory.mktemp("priced")
    return JournalReader(start_priced(serve, upstream, folder, prices=PRICES), folder / "journal")


@pytest.fixture(scope="module")
def telling(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    return start_priced(serve, upstream, tmp_path_factory.mktemp("telling"), prices=PRICES, usage_cost=True)


def post(proxy: Proxy, path: str, body: Json, script: str) -> Answer:
    return ask(proxy.port, "POST", path, json.dumps(body).encode(), X_Script=script)


def whole(**fields: Any) -> Any:
    return reply(body=json.dumps(fields).encode(), Content_Type="application/json")


def usage_chunk(usage: Json) -> str:
    return f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"


CHAT_DOCUMENT = {**json.loads(completion("ok")), "usage": CHAT}
CASES: list[tuple[str, Json, Json, str]] = [
    ("/v1/chat/completions", {"model": "m1", "messages": HELLO}, CHAT_DOCUMENT, CHAT_COST),
    ("/v1/responses", {"model": "m1", "input": "Hi"}, CHAT_DOCUMENT, CHAT_COST),
    ("/v1/messages", {"model": "m1", "max_tokens": 9, "messages": HELLO}, CHAT_DOCUMENT, CHAT_COST),
    (
        "/v1/responses",
        {"model": "r1", "input": "Hi"},
        {"object": "response", "status": "completed", "output": [], "usage": RESPONSE},
        CHAT_COST,
    ),
    (
        "/v1/messages",
        {"model": "claude-x", "max_tokens": 9, "messages": HELLO},
        {"type": "message", "content": [], "usage": MESSAGE},
        MESSAGE_COST,
    ),
    (
        "/v1/chat/completions",
        {"model": "claude-x", "max_tokens": 9, "messages": HELLO},
        {"type": "message", "content": [], "stop_reason": "end_turn", "usage": MESSAGE},
        MESSAGE_COST,
    ),
    (
        "/v1/embeddings",
        {"model": "m1", "input": "Hi"},
        {
            "object": "list",
            "data": [{"index": 0, "embedding": [0.1]}],
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        },
        "0.00001",
    ),
]


@pytest.mark.parametrize(("path", "body", "answered", "cost"), CASES)
def test_each_api_costs_what_its_usage_says(
    priced: JournalReader, upstream: Upstream, path: str, body: Json, answered: Json, cost: str
) -> None:
    answer = post(priced.proxy, path, body, upstream.script(whole(**answered)))
    assert answer.status == 200
    assert priced.proxy.line(answer.id)["cost"] == cost
    assert priced.of(answer)[0]["cost"] == float(cost)
    assert '"cost"' not in answer.body.decode()


def test_cached_tokens_price(priced: JournalReader, upstream: Upstream) -> None:
    """A stream that tells how much of its prompt was cached costs less, also where the client asked for no usage."""
    script = upstream.script(*stream(event("ok", "stop"), usage_chunk(CHAT), DONE))
    for options in ({}, {"stream_options": {"include_usage": True}}):
        answer = post(priced.proxy, "/v1/chat/completions", {**CASES[0][1], "stream": True, **options}, script)
        assert priced.proxy.line(answer.id)["cost"] == CHAT_COST


def test_unknown_price_is_zero(priced: JournalReader, upstream: Upstream) -> None:
    """What is not known is not 0: it is null in the journal, missing in the log, and counted."""
    script = upstream.script(whole(**CHAT_DOCUMENT))
    answer = post(priced.proxy, "/v1/chat/completions", {"model": "unmapped", "messages": HELLO}, script)
    line = priced.proxy.line(answer.id)
    assert (line["unpriced"], line.get("cost")) == ("model", None)
    assert priced.of(answer)[0]["cost"] is None
    untold = upstream.script(*stream(event("ok", "stop"), DONE))
    answer = post(priced.proxy, "/v1/chat/completions", {**CASES[0][1], "stream": True}, untold)
    assert priced.proxy.line(answer.id)["unpriced"] == "usage"
    post(priced.proxy, "/v1/chat/completions", CASES[0][1], upstream.script(whole(**CHAT_DOCUMENT)))
    scraped = ask(priced.proxy.port, "GET", "/metrics").body.decode()
    assert 'argoproxy_unpriced_requests_total{key="",model="unmapped",upstream="chats"} 1.0' in scraped
    assert 'argoproxy_cost_total{key="",model="m1",upstream="chats"}' in scraped


def test_what_failed_costs_nothing_unknown(priced: JournalReader, upstream: Upstream) -> None:
    script = upstream.script(reply("500 Oops"))
    line = priced.proxy.line(post(priced.proxy, "/v1/chat/completions", CASES[0][1], script).id)
    assert not {"cost", "unpriced"} & line.keys()


def test_the_usage_of_an_answer_says_what_it_costs(telling: Proxy, upstream: Upstream) -> None:
    document = post(telling, "/v1/chat/completions", CASES[0][1], upstream.script(whole(**CHAT_DOCUMENT)))
    assert document.json["usage"] == {**CHAT, "cost": float(CHAT_COST)}
    script = upstream.script(*stream(event("ok", "stop"), usage_chunk(CHAT), DONE))
    asked = {**CASES[0][1], "stream": True, "stream_options": {"include_usage": True}}
    assert post(telling, "/v1/chat/completions", asked, script).chunks[-1]["usage"]["cost"] == float(CHAT_COST)
    flex = post(
        telling, "/v1/chat/completions", CASES[0][1], upstream.script(whole(**CHAT_DOCUMENT, service_tier="flex"))
    )
    assert flex.json["usage"]["cost"] == 0.00084
    assert telling.line(flex.id)["cost"] == "0.00084"
    embedded = post(telling, CASES[-1][0], CASES[-1][1], upstream.script(whole(**CASES[-1][2])))
    assert embedded.json["usage"]["cost"] == 0.00001


def test_a_kept_answer_costs_nothing(start: Serve, upstream: Upstream, tmp_path: Any) -> None:
    models = {"m1": {"cache": {"ttl": "1h"}}}
    proxy = start_priced(start, upstream, tmp_path, state_path="state", prices=PRICES, models=models)
    script = upstream.script(whole(**CHAT_DOCUMENT))
    asked = {**CASES[0][1], "temperature": 0}
    first, second = (post(proxy, "/v1/chat/completions", asked, script) for _ in range(2))
    assert upstream.count(script) == 1
    assert proxy.line(first.id)["cost"] == CHAT_COST
    assert proxy.line(second.id)["cost"] == "0"


def test_the_log_and_the_ledger_agree_on_an_answer_that_was_cut(
    start: Serve, upstream: Upstream, tmp_path: Any
) -> None:
    proxy = start_priced(start, upstream, tmp_path, state_path="state", prices=PRICES)
    script = upstream.script(["send", CHUNKED], ["send", chunked(event("some words of an answer"))], ["await"])
    with Client(proxy.port) as client:
        asked = {**CASES[0][1], "stream": True}
        client.send("POST", "/v1/chat/completions", json.dumps(asked).encode(), X_Script=script)
        client.until(b"an answer")
    line = eventually(lambda: next((line for line in proxy.lines() if line["ending"] == "client_gone"), None))
    everything = LedgerFilter(0, float("inf"))
    rows = eventually(lambda: read_usage(tmp_path / "state", Grouping.MODEL, everything, lambda _: ""))
    assert [(row.name, row.requests, row.estimated) for row in rows] == [("m1", 1, 1)]
    assert format_amount(rows[0].cost_nanos or 0) == line["cost"] != "0"


def test_without_prices_nothing_is_told(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(whole(**{**CHAT_DOCUMENT, "model": "gpt-4o"}))
    answer = post(proxy, "/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO}, script)
    assert not {"cost", "unpriced"} & proxy.line(answer.id).keys()
