"""A rule shares its requests among upstreams: by the words of each API, and with nothing added on the way up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, shell
from tests.support.scripts import completion, reply

Json = dict[str, Any]

NAMES = ["a", "b", "c", "d"]
CHAT, MESSAGES, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"
ASKED = {"role": "user", "content": "Who are you?"}
LATER = ({"role": "assistant", "content": "I am new."}, {"role": "user", "content": "And now?"})


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    """Four upstreams that are one process under four base URLs, and four that take the Responses API as it comes."""
    file = tmp_path_factory.mktemp("balancing") / "config.yaml"
    plain = {name: {"base_url": f"{upstream.url}/{name}/v1", "responses": "convert"} for name in NAMES}
    forward = {f"own-{name}": {"base_url": f"{upstream.url}/{name}/v1", "responses": "forward"} for name in NAMES}
    native = {f"native-{name}": {"base_url": f"{upstream.url}/{name}/v1", "native": True} for name in NAMES}
    models = {
        "sticky": {"upstream": NAMES, "balance": "sticky"},
        "handed-over": {"upstream": list(forward), "balance": "sticky"},
        "native": {"upstream": list(native), "balance": "sticky"},
        "least": {"upstream": NAMES, "balance": "least_open"},
        "listed": {"upstream": NAMES},
    }
    file.write_text(json.dumps({"upstreams": {**plain, **forward, **native}, "models": models}))
    return serve(CONFIG_PATH=str(file))


def post(proxy: Proxy, path: str, model: str, script: str = "", **fields: Any) -> Answer:
    headers = {"X-Session-Id": fields.pop("session")} if "session" in fields else {}
    body = json.dumps({"model": model, **fields}).encode()
    answer = ask(proxy.port, "POST", path, body, **headers, **({"X-Script": script} if script else {}))
    assert answer.status == 200, answer.body
    return answer


def home(proxy: Proxy, path: str, model: str, **fields: Any) -> str:
    """Return the name of the upstream that served a request."""
    return proxy.line(post(proxy, path, model, **fields).id)["upstream"]


BODIES: dict[str, tuple[str, str, Json]] = {
    "chat": (CHAT, "sticky", {"messages": [ASKED]}),
    "Messages": (MESSAGES, "sticky", {"messages": [ASKED], "max_tokens": 5}),
    "Responses": (RESPONSES, "sticky", {"input": "Hello"}),
    "Responses, handed over": (RESPONSES, "handed-over", {"input": "Hello"}),
    "native chat": (CHAT, "native", {"messages": [ASKED]}),
    "embeddings": (EMBEDDINGS, "sticky", {"input": "Hello"}),
}


@pytest.mark.parametrize(("path", "model", "body"), BODIES.values(), ids=BODIES)
def test_a_session_stays_where_it_is(proxy: Proxy, path: str, model: str, body: Json) -> None:
    first = [home(proxy, path, model, session=f"s-{number}", **body) for number in range(8)]
    again = [home(proxy, path, model, session=f"s-{number}", **body) for number in range(8)]
    assert first == again
    assert len(set(first)) > 1


def test_all_apis_send_a_session_to_the_same_upstream(proxy: Proxy) -> None:
    for number in range(4):
        served = {
            home(proxy, path, "sticky", session=f"s-{number}", **body)
            for path, model, body in BODIES.values()
            if model == "sticky"
        }
        assert len(served) == 1


@pytest.mark.parametrize("model", ["sticky", "handed-over"])
def test_the_key_of_a_prompt_s_cache_names_a_session(proxy: Proxy, model: str) -> None:
    for path, body in ((CHAT, {"messages": [ASKED]}), (RESPONSES, {"input": "Hello"})):
        served = [
            [home(proxy, path, model, prompt_cache_key=f"k-{number}", **body) for number in range(8)] for _ in range(2)
        ]
        assert served[0] == served[1]
        assert len(set(served[0])) > 1


@pytest.mark.parametrize(
    ("path", "field", "more"),
    [(CHAT, "messages", {}), (MESSAGES, "messages", {"max_tokens": 5}), (RESPONSES, "input", {})],
)
def test_a_conversation_without_a_name_stays_too(proxy: Proxy, path: str, field: str, more: Json) -> None:
    homes = set()
    for number in range(8):
        asked = {"role": "user", "content": f"Question {number}"}
        turns = ([asked], [asked, *LATER])
        first, later = (home(proxy, path, "sticky", **{field: said}, **more) for said in turns)
        assert first == later
        homes.add(first)
    assert len(homes) > 1


@pytest.mark.parametrize(("path", "model", "body"), BODIES.values(), ids=BODIES)
def test_the_header_is_not_sent_up_where_it_was_read(
    proxy: Proxy, upstream: Upstream, path: str, model: str, body: Json
) -> None:
    for name, is_sent in ((model, False), ("least", True), ("listed", True)):
        known = upstream.count("")
        post(proxy, path, name, session="s-1", **body)
        (request,) = upstream.seen("", known)
        assert ("x-session-id" in {header.lower() for header, _ in request["headers"]}) is is_sent


def test_a_balanced_request_is_sent_byte_for_byte(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply(body=completion("Hello"), Content_Type="application/json"))
    body = '{ "model":"sticky",  "messages":[{"role":"user","content":"\\u00e9"}], "odd" : 1.50 }'
    answer = ask(proxy.port, "POST", CHAT, body.encode(), **{"X-Script": script, "X-Session-Id": "s-1"})
    assert (answer.status, answer.body) == (200, completion("Hello"))
    assert upstream.last(script)["body"] == body


def test_what_a_rule_does_is_shown(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "upstreams: {a: {base_url: http://a}, b: {base_url: http://b}}\n"
        "models: {m: {upstream: [a, b], balance: weighted, weights: {b: 0.5}}}"
    )
    shown = shell(f"python {ROOT / 'cot_proxy.py'} config show --model m", tmp_path, {}).stdout.decode()
    assert 'balance: "weighted"\nweights: {"a": 1.0, "b": 0.5}\nupstream: "a"' in shown
