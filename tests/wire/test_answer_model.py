"""Which model answers name, for every kind of upstream, on real Gunicorn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually
from tests.support.scripts import DONE, chunked, completion, event, reply, stream

RULES = "model=mine,upstream_model_name=theirs"
EMBEDDED = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"up-model"}'
ASKED = {"ANSWER_MODEL": "asked"}


def models_of(answer: Answer) -> set[str]:
    documents = answer.chunks or [answer.json]
    return {document["model"] for document in documents}


def replies(upstream: Upstream) -> dict[str, str]:
    """Return the scripts of a whole answer and of a stream, by whether one was asked for."""
    events = [event("Hel"), event("lo", "stop"), DONE]
    return {"whole": upstream.script(reply(body=completion("Hello"))), "stream": upstream.script(*stream(*events))}


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("sends", ["whole", "stream"])
@pytest.mark.parametrize(("settings", "named"), [({}, "m1"), (ASKED, "mine")])
def test_answers_name_what_the_setting_says(
    serve: Serve, upstream: Upstream, settings: dict[str, str], named: str, sends: str, *, asks: bool
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=RULES, **settings)
    headers = {"X-Script": replies(upstream)[sends]}
    answer = chat(proxy.port, model="mine", stream=asks, headers=headers)
    assert (answer.status, models_of(answer)) == (200, {named})
    assert (answer.text if asks else answer.json["choices"][0]["message"]["content"]) == "Hello"
    line = proxy.line(answer.id)
    assert (line["model"], line["upstream_model"]) == ("mine", "theirs")


@pytest.mark.parametrize(("settings", "named"), [({}, "up-model"), (ASKED, "e")])
def test_embeddings_follow_the_same_rule(
    serve: Serve, upstream: Upstream, settings: dict[str, str], named: str
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=RULES, **settings)
    script = upstream.script(reply(body=EMBEDDED))
    answer = ask(proxy.port, "POST", "/v1/embeddings", b'{"model": "e", "input": "x"}', X_Script=script)
    assert answer.body == EMBEDDED.replace(b"up-model", named.encode())
    assert "upstream_model" not in proxy.line(answer.id)


def test_what_needs_no_other_name_passes_byte_for_byte(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, **ASKED)
    odd = b'{"id" : "x",  "model":"m1","choices":[ {"index":0,"message":{"role":"assistant","content":"\\u0041"}} ] }'
    assert chat(proxy.port, headers={"X-Script": upstream.script(reply(body=odd))}).body == odd


def test_native_answers_are_not_touched(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(USE_NATIVE_OPENAI="true", NATIVE_OPENAI_BASE_URL=f"{upstream.url}/v1", **ASKED)
    body = completion("Hello")
    assert chat(proxy.port, model="mine", headers={"X-Script": upstream.script(reply(body=body))}).body == body


def test_a_rule_says_it_for_its_models(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    settings: dict[str, Any] = {
        "upstreams": {"a": {"base_url": upstream.url}},
        "models": {
            "mine": {"upstream_model_name": "theirs", "answer_model": "asked"},
            "x": {"answer_model": "upstream"},
        },
        "output_path": str(folder),
    }
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    proxy = start(CONFIG_PATH=str(tmp_path / "config.yaml"))
    mine, other = (
        chat(proxy.port, model=name, headers={"X-Script": replies(upstream)["whole"]}) for name in ("mine", "x")
    )
    assert (mine.json["model"], other.json["model"]) == ("mine", "m1")
    journal = folder / "client_interaction.jsonl"
    eventually(lambda: journal.exists() and journal.read_text().count("\n") == 2)
    lines = {line["logging_id"]: line for line in map(json.loads, journal.read_text().splitlines())}
    assert (lines[mine.id]["model"], lines[mine.id]["upstream_model"]) == ("mine", "theirs")
    assert lines[mine.id]["output"]["model"] == "mine"
    assert "upstream_model" not in lines[other.id]
    sent = map(json.loads, (folder / "server_interaction.jsonl").read_text().splitlines())
    (server,) = [line for line in sent if line["logging_id"] == mine.id]
    assert (server["model"], server["output"]["model"]) == ("theirs", "m1")


@pytest.mark.parametrize("asks", [False, True])
def test_upstreams_that_name_no_model_name_the_one_asked_for(serve: Serve, upstream: Upstream, *, asks: bool) -> None:
    text = "Hello"
    argo = upstream.script(
        ["send", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked(text)}0\r\n\r\n"]
        if asks
        else reply(body=b'{"response": "Hello"}')
    )
    proxy = serve(
        ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me", LLM_PARAMS="model=mine,upstream_model_name=gpt4o"
    )
    answer = chat(proxy.port, model="mine", stream=asks, headers={"X-Script": argo})
    assert (answer.status, models_of(answer)) == (200, {"mine"})
