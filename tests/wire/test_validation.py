"""Requests that hold what no upstream takes, at the real door."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.support.client import ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import completion, reply

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
USER = {"role": "user", "content": "Hi"}
BAD: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [USER, USER, {"role": ""}]}, "messages[2].role"),
    (CHAT, {"messages": [USER, {"role": "user", "content": 5}]}, "messages[1].content"),
    (CHAT, {"messages": [USER], "stream": True, "temperature": "hot"}, "temperature"),
    (CHAT, {"messages": [USER], "tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ("/chat/completions/", {"messages": [USER], "n": 0}, "n"),
    (COMPLETIONS, {"prompt": []}, "prompt"),
    (EMBEDDINGS, {"input": ["a", None]}, "input[1]"),
]


def said(body: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m1", **body}).encode()


@pytest.mark.parametrize(("path", "body", "param"), BAD)
def test_a_wrong_field_is_named_and_nothing_is_sent(
    proxy: Proxy, upstream: Upstream, path: str, body: dict[str, Any], param: str
) -> None:
    script = upstream.script(reply(body=completion("Hi")))
    answer = ask(proxy.port, "POST", path, said(body), X_Script=script)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["param"] == param
    assert answer.json["detail"] == answer.error["message"]
    assert upstream.seen(script) == []
    assert proxy.line(answer.id)["ending"] == "refused"


@pytest.mark.parametrize(("path", "body", "param"), BAD)
def test_not_even_the_gateways_list_is_asked_for(
    serve: Serve, upstream: Upstream, path: str, body: dict[str, Any], param: str
) -> None:
    gateway = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="nobody-yet")
    before = upstream.count("")
    answer = ask(gateway.port, "POST", path, said({**body, "model": "unheard-of"}))
    assert (answer.status, answer.error["param"]) == (400, param)
    assert upstream.count("") == before


@pytest.mark.parametrize(("path", "body", "param"), BAD)
def test_native_mode_leaves_it_to_the_endpoint(
    serve: Serve, upstream: Upstream, path: str, body: dict[str, Any], param: str
) -> None:
    native = serve(USE_NATIVE_OPENAI="true", NATIVE_OPENAI_BASE_URL=f"{upstream.url}/v1")
    script = upstream.script(reply(body=completion("Hi")))
    assert ask(native.port, "POST", path, said(body), X_Script=script).status == 200
    assert upstream.last(script)["body"].encode() == said(body)


def test_what_a_rule_adds_is_not_the_clients_mistake(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS="model=odd,temperature=-1,n=1000")
    script = upstream.script(reply(body=completion("Hi")))
    assert ask(door.port, "POST", CHAT, said({"model": "odd", "messages": [USER]}), X_Script=script).status == 200
    assert json.loads(upstream.last(script)["body"])["temperature"] == -1


def test_the_official_client_is_told_the_place(proxy: Proxy) -> None:
    wrong: Any = [USER, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="any", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="m1", messages=wrong)
        assert caught.value.param == "messages[1].content[0].image_url.url"
        assert caught.value.code == "missing_required_parameter"
