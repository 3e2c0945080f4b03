"""Thoughts that clients of Messages and of Responses carry from turn to turn go back to the upstream that made them,
and to no other of the same model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.client import ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import reply

Json = dict[str, Any]
DETAIL = {"type": "reasoning.text", "signature": "sig-1", "format": "some-v1", "index": 0}
EXTRA = {"google": {"thought_signature": "sig-2"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}, "extra_content": EXTRA}
TURN = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "reasoning_details": [{**DETAIL, "text": "hm"}],
                "tool_calls": [CALL],
            },
        }
    ],
}


@pytest.fixture(scope="module")
def proxies(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> list[Proxy]:
    """Two proxies with the same upstreams for a model, the first of one is the second of the other."""
    served = []
    for order in (["one", "two"], ["two", "one"]):
        folder = tmp_path_factory.mktemp("order")
        server = {"base_url": f"{upstream.url}/v1", "api_key": "k", "responses": "convert"}
        config = {"upstreams": {"one": server, "two": server}, "models": {"m": {"upstream": order}}}
        (folder / "config.yaml").write_text(json.dumps(config))
        served.append(serve(CONFIG_PATH=str(folder / "config.yaml"), LOG_LEVEL="debug"))
    return served


def next_turn(path: str, answer: Json) -> Json:
    """Return the request of the turn after an answer."""
    if path == "/v1/messages":
        result = {"type": "tool_result", "tool_use_id": "c1", "content": "42"}
        turns = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]
        return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}, *turns]}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    return {"model": "m", "input": [{"role": "user", "content": "Hi"}, *answer["output"], output]}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_thoughts_go_back_to_their_upstream_alone(proxies: list[Proxy], upstream: Upstream, path: str) -> None:
    script = upstream.script(reply(body=json.dumps(TURN).encode(), Content_Type="application/json"))
    asked: Json = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"}
    asked["include"] = ["reasoning.encrypted_content"]
    answer = ask(proxies[0].port, "POST", path, json.dumps(asked).encode(), X_Script=script).json
    assert "argoproxy_upstream" not in json.dumps(answer)
    for proxy, is_own in zip(proxies, (True, False), strict=True):
        again = ask(proxy.port, "POST", path, json.dumps(next_turn(path, answer)).encode(), X_Script=script)
        assert again.status == 200
        sent = upstream.last(script)["body"]
        assert ("sig-1" in sent) == is_own
        assert ("sig-2" in sent) == (is_own and path == "/v1/responses")
        assert "argoproxy_upstream" not in sent
        message = json.loads(sent)["messages"][1]
        assert (message["reasoning_content"], message["tool_calls"][0]["id"]) == ("hm", "c1")
        left_out = [line for line in proxy.coded("left_out") if line["id"] == again.id]
        assert bool([line for line in left_out if "reasoning_details" in line["places"]]) == (not is_own)
