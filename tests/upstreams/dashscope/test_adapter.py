from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest, MethodNotAllowed, NotFound
from argoproxy.protocol.http_messages import ClientRequest, get_header
from argoproxy.protocol.json_text import dumps, loads
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import Document
from argoproxy.upstreams import Upstream, UpstreamRequest
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream, DashScopeUrls
from tests.support.dashscope_calls import CHAT, COMPLETIONS, EMBEDDINGS, call
from tests.support.doubles import FakeReply, WholeBody

Json = dict[str, Any]
BASE = "https://up/api/v1"
TEXT = f"{BASE}/services/aigc/text-generation/generation"
MULTIMODAL = f"{BASE}/services/aigc/multimodal-generation/generation"
UPSTREAM = DashScopeUpstream(DashScopeUrls.parse(BASE), model_map={"gpt-4": "qwen-max", "gpt-5": "qwen3.7-plus"})
KEYED = DashScopeUpstream(DashScopeUrls.parse(BASE), "Bearer sk-ours", b"sk-ours")
HI = [{"role": "user", "content": "Hello"}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/i.png"}}]}]


def sent(asked: UpstreamRequest) -> Any:
    assert isinstance(asked.body, bytes)
    assert asked.length == len(asked.body)
    return loads(asked.body)


def request(path: str, method: str = "GET") -> ClientRequest:
    return ClientRequest("id1", 7, method, path, "", (), WholeBody(b""))


def test_it_is_an_upstream() -> None:
    upstream: Upstream = UPSTREAM
    assert (upstream.name, upstream.is_passthrough) == ("dashscope", False)
    assert upstream.served_paths["/v1/models"] == "GET"
    assert upstream.resolves("anything")
    assert upstream.aliases("m") == ("m",)
    assert upstream.with_model_list(b"") is UPSTREAM


def test_openais_request_becomes_dashscopes() -> None:
    asked = UPSTREAM.completion_request(call(model="gpt-4", messages=HI, temperature=0.7))
    assert (asked.method, asked.url) == ("POST", TEXT)
    assert sent(asked) == {
        "model": "qwen-max",
        "input": {"messages": [{"role": "user", "content": "Hello"}]},
        "parameters": {"temperature": 0.7, "result_format": "message"},
    }
    asked = UPSTREAM.completion_request(call(model="gpt-4", messages=HI, temperature=0.7, stream=True))
    assert sent(asked)["parameters"] == {"temperature": 0.7, "result_format": "message", "incremental_output": True}


def test_what_goes_along() -> None:
    kept = {
        "Authorization": "Bearer theirs",
        "X-API-Key": "k",
        "Cookie": "c",
        "X-DashScope-WorkSpace": "w",
        "X-Request-Id": "r",
        "User-Agent": "argoproxy",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    assert dict(UPSTREAM.completion_request(call(messages=HI)).headers) == {**kept, "Accept": "application/json"}
    streamed = {**kept, "Accept": "text/event-stream", "X-DashScope-SSE": "enable"}
    assert dict(UPSTREAM.completion_request(call(messages=HI, stream=True)).headers) == streamed


def test_a_configured_key_takes_the_place_of_the_clients() -> None:
    for asked in (KEYED.completion_request(call(messages=HI)), *KEYED.embedding_requests(call(EMBEDDINGS, input="a"))):
        assert get_header(asked.headers, "authorization") == "Bearer sk-ours"
        assert not get_header(asked.headers, "x-api-key")
        assert asked.secret == b"sk-ours"
    assert "sk-ours" not in repr(KEYED)


@pytest.mark.parametrize(
    ("asked", "url", "said"),
    [
        (call(messages=HI), TEXT, {"messages": HI}),
        (call(messages=IMAGE), MULTIMODAL, {"messages": [{"role": "user", "content": [{"image": "https://x/i.png"}]}]}),
        (call(messages=HI, model="qwen3-vl-plus"), MULTIMODAL, None),
        (call(messages=HI, model="gpt-5"), MULTIMODAL, None),
        (call(COMPLETIONS, prompt="Hello"), TEXT, {"prompt": "Hello"}),
        (call(COMPLETIONS, prompt="Hello", model="qwen3.5-plus"), MULTIMODAL, None),
    ],
)
def test_where_it_goes(asked: Call, url: str, said: Json | None) -> None:
    found = UPSTREAM.completion_request(asked)
    assert found.url == url
    assert sent(found)["input"] == (said or {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]})


def test_an_endpoint_that_was_named_gets_every_chat() -> None:
    multimodal = DashScopeUpstream(DashScopeUrls.parse(MULTIMODAL))
    assert multimodal.completion_request(call(messages=HI)).url == MULTIMODAL
    assert sent(multimodal.completion_request(call(messages=HI)))["input"]["messages"][0]["content"] == [
        {"text": "Hello"}
    ]
    text = DashScopeUpstream(DashScopeUrls.parse(TEXT))
    assert text.completion_request(call(messages=HI, model="qwen-vl-max")).url == TEXT
    with pytest.raises(BadRequest, match="text only"):
        text.completion_request(call(messages=IMAGE))


def test_embeddings() -> None:
    asked = call(EMBEDDINGS, model="text-embedding-v4", input=["a"] * 11, dimensions=64)
    found = UPSTREAM.embedding_requests(asked)
    assert [one.url for one in found] == [f"{BASE}/services/embeddings/text-embedding/text-embedding"] * 2
    assert sent(found[1]) == {
        "model": "text-embedding-v4",
        "input": {"texts": ["a"]},
        "parameters": {"dimension": 64},
    }
    replies = [
        dumps({"output": {"embeddings": [{"text_index": at, "embedding": [at]} for at in range(count)]}})
        for count in (10, 1)
    ]
    document = UPSTREAM.read_embeddings(replies, asked)
    assert document.chunk["data"][10] == {"object": "embedding", "index": 10, "embedding": [0]}
    assert document.chunk["model"] == "text-embedding-v4"


def test_errors_are_read_and_modes_told() -> None:
    body = dumps({"code": "InvalidParameter", "message": "This model only support stream mode, …"})
    error = UPSTREAM.read_error(400, (), body)
    assert error.status == 400
    assert UPSTREAM.refuses_mode(error)


def test_a_document_with_silence_before_it() -> None:
    (silence, batch) = UPSTREAM.read_completion(
        FakeReply([b"{", b"", b'"output":{"text":"Hi"}}']), call(stream=True, messages=HI)
    )
    assert silence == []
    assert isinstance(batch[0], Document)
    assert batch[0].chunk["model"] == "qwen-plus"


def test_the_models_are_those_that_were_named() -> None:
    assert UPSTREAM.shared_model_list_request() is None
    entry = {"id": "gpt-4", "object": "model", "created": 7, "owned_by": "dashscope"}
    assert UPSTREAM.static_models(7) == [entry, {**entry, "id": "gpt-5"}]
    assert UPSTREAM.read_model_list(b"", "", 7).chunk == {"object": "list", "data": UPSTREAM.static_models(7)}
    assert UPSTREAM.read_model_list(b"", "gpt-4", 7).chunk == entry
    with pytest.raises(NotFound) as caught:
        UPSTREAM.read_model_list(b"", "none", 7)
    assert caught.value.code == "model_not_found"
    with pytest.raises(NotFound):
        UPSTREAM.model_list_request(request("/v1/models"))


def test_the_probe_asks_for_nothing_that_costs() -> None:
    probe = KEYED.probe_request()
    assert (probe.method, probe.url, probe.body) == ("GET", TEXT, None)
    assert not get_header(probe.headers, "authorization")


def test_nothing_is_passed_on() -> None:
    with pytest.raises(NotFound, match="/v1/embeddings"):
        UPSTREAM.forward_request(request("/v1/files"))
    with pytest.raises(MethodNotAllowed):
        UPSTREAM.forward_request(request(CHAT))
