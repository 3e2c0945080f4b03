from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream
from tests.support.scripts import completion, reply

PARAMS = (
    "model=gemma,temperature=0.5,top_k=40;"
    "model=llama2,max_tokens=200;"
    "model=qwen*, top_p = 0.8, top_k=20 ;"
    "model=Qwen3-Normal,upstream_model_name=Qwen3-32B,temperature=0.7,append_to_last_user_message=\\n\\n/no_think;"
    'model=quoted,stop="a,b;c",user=123,chat_template_kwargs={"enable_thinking": false};'
    "model=odd,n=1,broken,=x,temperature=;"
    "model=emb-*,dimensions=64;"
    "seed=7,temperature=0.1"
)
USER = {"role": "user", "content": "Hi"}
PARTS = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
NO_THINK = {"type": "text", "text": "\n\n/no_think"}

SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the seed's first group": ({"model": "gemma"}, {"model": "gemma", "temperature": 0.5, "top_k": 40}),
    "a client's value is replaced": (
        {"model": "gemma", "temperature": 1, "x": [1]},
        {"model": "gemma", "temperature": 0.5, "top_k": 40, "x": [1]},
    ),
    "the seed's second group": ({"model": "llama2"}, {"model": "llama2", "max_tokens": 200}),
    "a pattern": ({"model": "qwen-max"}, {"model": "qwen-max", "top_p": 0.8, "top_k": 20}),
    "default": ({"model": "other"}, {"model": "other", "seed": 7, "temperature": 0.1}),
    "quoted, string and JSON": (
        {"model": "quoted"},
        {"model": "quoted", "stop": "a,b;c", "user": "123", "chat_template_kwargs": {"enable_thinking": False}},
    ),
    "malformed": ({"model": "odd"}, {"model": "odd", "n": 1}),
    "renamed, appended to a string": (
        {"model": "Qwen3-Normal", "messages": [USER, {"role": "assistant", "content": "x"}]},
        {
            "model": "Qwen3-32B",
            "temperature": 0.7,
            "messages": [{"role": "user", "content": "Hi\n\n/no_think"}, {"role": "assistant", "content": "x"}],
        },
    ),
    "appended to parts": (
        {"model": "Qwen3-Normal", "messages": [{"role": "user", "content": PARTS}]},
        {"model": "Qwen3-32B", "temperature": 0.7, "messages": [{"role": "user", "content": [*PARTS, NO_THINK]}]},
    ),
    "appended to nothing": (
        {"model": "Qwen3-Normal", "messages": [{"role": "system", "content": "s"}]},
        {
            "model": "Qwen3-32B",
            "temperature": 0.7,
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "\n\n/no_think"}],
        },
    ),
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(("asked", "sent"), SENT.values(), ids=SENT.keys())
def test_what_the_upstream_sees(
    serve: Serve, upstream: Upstream, path: str, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS)
    script = upstream.script(reply(body=completion("Hi")))
    answer = ask(proxy.port, "POST", path, json.dumps({"messages": [USER], **asked}).encode(), X_Script=script)
    assert answer.status == 200
    assert json.loads(upstream.last(script)["body"]) == {"messages": [USER], **sent}
    assert proxy.line(answer.id).get("model", "") == asked.get("model", "")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [({"model": "emb-1"}, {"model": "emb-1", "dimensions": 64}), ({"model": "other"}, {"model": "other"})],
)
def test_embeddings_know_no_default(
    serve: Serve, upstream: Upstream, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS)
    script = upstream.script(reply(body=b'{"data": []}'))
    body = json.dumps({"input": "x", **asked}).encode()
    assert ask(proxy.port, "POST", "/v1/embeddings", body, X_Script=script).status == 200
    assert json.loads(upstream.last(script)["body"]) == {"input": "x", **sent}


def test_malformed_pieces_are_told_once_at_the_start(serve: Serve, upstream: Upstream) -> None:
    log = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS).log()
    assert log.count("LLM_PARAMS, group 6 (model=odd): ignored 'broken', which is not key=value") == 1
    assert log.count("LLM_PARAMS, group 6 (model=odd): ignored 'temperature=', which has no usable value") == 1


def models(document: Any) -> list[str]:
    return [model["id"] for model in document["data"]]


def test_pseudo_models_join_the_upstreams_list(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS + ";model=m1,upstream_model_name=m2")
    for path in ("/v1/models", "/models", "/v1/models/"):
        answer = ask(proxy.port, "GET", path)
        assert (answer.status, models(answer.json)) == (200, ["m1", "m2", "Qwen3-Normal"])
    entry = answer.json["data"][-1]
    assert (entry["object"], entry["owned_by"]) == ("model", "argoproxy")
    assert answer.json["x"] == 1


def test_without_pseudo_models_the_list_passes_untouched(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    body = b'{"data":  [{"id": "a"}], "more": 1.50}'
    script = upstream.script(reply(body=body))
    assert ask(proxy.port, "GET", "/v1/models?x=1", X_Script=script).body == body
    assert upstream.last(script)["target"] == "/v1/models?x=1"


BROKEN_LISTS = {
    "an error": reply("500 Oops", b'{"error": {"message": "theirs"}}'),
    "no such path": reply("404 Not Found", b"nope"),
    "no JSON": reply(body=b"<html>"),
    "no list": reply(body=b'{"hello": 1}'),
    "closed": ["close"],
}


@pytest.mark.parametrize("step", BROKEN_LISTS.values(), ids=BROKEN_LISTS.keys())
def test_ours_alone_where_the_upstream_has_no_list(serve: Serve, upstream: Upstream, step: list[Any]) -> None:
    script = upstream.script(step)
    ours = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS)
    answer = ask(ours.port, "GET", "/v1/models", X_Script=script)
    assert (answer.status, models(answer.json)) == (200, ["Qwen3-Normal"])
    assert ours.line(answer.id)["ending"] == "complete"
    none = serve(TARGET_BASE_URL=upstream.url)
    assert ask(none.port, "GET", "/v1/models", X_Script=script).status in (404, 500, 502)


def test_one_model(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS + ";model=org/mine,upstream_model_name=x")
    there = upstream.script(reply(body=b'{"id":  "org/theirs"}'))
    answer = ask(proxy.port, "GET", "/v1/models/org%2Ftheirs", X_Script=there)
    assert answer.body == b'{"id":  "org/theirs"}'
    assert upstream.last(there)["target"] == "/v1/models/org%2Ftheirs"
    error = {"message": "none", "type": "t", "param": None, "code": None}
    missing = upstream.script(reply("404 Not Found", json.dumps({"error": error}).encode()))
    assert ask(proxy.port, "GET", "/v1/models/org%2Fmine", X_Script=missing).json["id"] == "org/mine"
    assert ask(proxy.port, "GET", "/models/Qwen3-Normal/", X_Script=missing).json["id"] == "Qwen3-Normal"
    answer = ask(proxy.port, "GET", "/v1/models/other", X_Script=missing)
    assert (answer.status, answer.error) == (404, error)


def test_a_pseudo_model_is_served_end_to_end(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=PARAMS)
    answer = chat(proxy.port, model="Qwen3-Normal", stream=True)
    assert answer.text == "Hello there!"
    assert answer.chunks[0]["model"] == "Qwen3-32B"
