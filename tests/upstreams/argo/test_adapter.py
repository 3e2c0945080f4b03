from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import (
    MethodNotAllowed,
    NotFound,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamUnreachable,
)
from argoproxy.protocol.http_messages import ClientRequest, get_header
from argoproxy.protocol.json_text import dumps, loads
from argoproxy.protocol.routing.call import Call, Identity
from argoproxy.protocol.stream.sse import DONE, Document
from argoproxy.upstreams.argo.adapter import ArgoUpstream, ArgoUrls
from tests.support.doubles import FakeReply, WholeBody
from tests.support.providers.argo import DENIAL, LISTED

Json = dict[str, Any]
ROOT = "http://gateway/argoapi"
GATEWAY = ArgoUpstream(ArgoUrls.below(ROOT + "/"), Identity("me"))
CHAT, COMPLETIONS, RAW = "/v1/chat/completions", "/v1/completions", "/v1/chat"
CLIENT = (
    ("Authorization", "Bearer k"),
    ("X-API-Key", "k"),
    ("Cookie", "c"),
    ("X-Request-Id", "r"),
    ("User-Agent", "u"),
)
HI = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def call(path: str = CHAT, **body: Any) -> Call:
    body = {"model": "gpt-4o", **body}
    return Call("id1", 7, path, "q=1", CLIENT, body, None, requested_model=str(body["model"]))


def request(path: str, method: str = "GET") -> ClientRequest:
    return ClientRequest("id1", 7, method, path, "", (), WholeBody(b""))


def events(path: str, *pieces: bytes, **body: Any) -> list[Any]:
    found = list(GATEWAY.read_completion(FakeReply(list(pieces)), call(path, **body)))
    return [event.chunk for batch in found for event in batch if event.chunk is not None]


@pytest.mark.parametrize(
    ("asked", "url", "accept"),
    [
        (call(messages=HI), "chat", "application/json"),
        (call(messages=HI, stream=True), "streamchat", "text/plain"),
        (call(messages=HI, stream=True, tools=TOOLS), "chat", "application/json"),
        (call(messages=HI, stream=True, tools=[]), "streamchat", "text/plain"),
        (call(COMPLETIONS, prompt="Hi", stream=True), "streamchat", "text/plain"),
        (call(COMPLETIONS, prompt="Hi", stream=True, tools=TOOLS), "streamchat", "text/plain"),
        (call(RAW, prompt="Hi"), "chat", "application/json"),
        (call(RAW, messages=HI, stream=True, tools=TOOLS), "streamchat", "text/plain"),
    ],
)
def test_where_it_goes_and_what_goes_along(asked: Call, url: str, accept: str) -> None:
    sent = GATEWAY.completion_request(asked)
    assert (sent.method, sent.url) == ("POST", f"{ROOT}/api/v1/resource/{url}/")
    assert dict(sent.headers) == {
        "User-Agent": "u",
        "X-Request-Id": "r",
        "Accept": accept,
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }
    assert isinstance(sent.body, bytes)
    body = loads(sent.body)
    assert (body["model"], body["user"], sent.length) == ("gpt4o", "me", len(sent.body))


@pytest.mark.parametrize("user", ["client", None, 5])
def test_the_user_is_always_the_configured_one(user: Any) -> None:
    sent = GATEWAY.completion_request(call(messages=HI, user=user))
    assert isinstance(sent.body, bytes)
    assert loads(sent.body)["user"] == "me"


def test_an_unknown_name_goes_up_as_it_is() -> None:
    sent = GATEWAY.completion_request(call(messages=HI, model="Some-Model"))
    assert isinstance(sent.body, bytes)
    assert loads(sent.body)["model"] == "Some-Model"


TOP = {"id": "chatcmpl-id1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-4o"}


def part(delta: Json, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**TOP, "choices": [choice]}


def test_a_streamed_chat() -> None:
    assert events(CHAT, b"Hel", b"", b"lo", stream=True) == [
        part({"role": "assistant", "content": "", "refusal": None}),
        part({"content": "Hel"}),
        part({"content": "lo"}),
        part({}, "stop"),
    ]


def test_silence_and_the_end() -> None:
    found = list(GATEWAY.read_completion(FakeReply([b"", b"a"]), call(stream=True)))
    assert [len(batch) for batch in found] == [0, 2, 2]
    assert found[-1][-1] is DONE


def test_usage_where_it_was_asked_for() -> None:
    chunks = events(CHAT, b"Hello", stream=True, messages=HI, stream_options={"include_usage": True})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    assert chunks[-1] == {**TOP, "choices": [], "usage": usage}


def test_a_streamed_legacy_completion() -> None:
    top = {"id": "cmpl-id1", "object": "text_completion", "created": 7, "model": "gpt-4o"}
    choice = {"index": 0, "text": "Hi", "logprobs": None, "finish_reason": None}
    assert events(COMPLETIONS, b"Hi", stream=True, prompt="x") == [
        {**top, "choices": [choice]},
        {**top, "choices": [{**choice, "text": "", "finish_reason": "stop"}]},
    ]


def test_whole_answers() -> None:
    (chat,) = events(CHAT, b'{"response": "Hello"}', messages=HI)
    assert chat == {
        **TOP,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    (legacy,) = events(COMPLETIONS, b'{"response": "Hello"}', prompt="x")
    assert legacy["choices"] == [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}]


def test_tool_calls() -> None:
    reply = dumps({"response": {"content": "", "tool_calls": [{"name": "f", "args": {"a": 1}}]}})
    (document,) = events(CHAT, reply, messages=HI, tools=TOOLS, stream=True)
    (choice,) = document["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    ("stream", "pieces"),
    [
        (True, [b"Hello", b"", b" \xff\xe4"]),
        (True, [b'data: {"a": 1}\n\n']),
        (False, [b' {"response": null,\n"more": 1} ']),
        (False, [b"<html>"]),
    ],
)
def test_raw_answers_are_passed_on_byte_for_byte(stream: bool, pieces: list[bytes]) -> None:
    found = list(GATEWAY.read_completion(FakeReply(pieces), call(RAW, prompt="x", stream=stream)))
    assert b"".join(event.raw for batch in found for event in batch) == b"".join(pieces)


@pytest.mark.parametrize(("stream", "reply"), [(True, DENIAL.encode()), (False, dumps({"response": DENIAL}))])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RAW])
def test_who_is_refused_hears_of_it(path: str, stream: bool, reply: bytes) -> None:
    with pytest.raises(UpstreamStatus) as caught:
        list(GATEWAY.read_completion(FakeReply([reply]), call(path, stream=stream)))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail": "Model x is invalid"}', "Model x is invalid"),
        (b"<html>502</html>", "The upstream answered with status 502."),
        (b'{"detail": [{"loc": ["body", "user"]}]}', '[{"loc":["body","user"]}]'),
    ],
)
def test_error_answers(body: bytes, message: str) -> None:
    error = GATEWAY.read_error(502, (("Content-Type", "text/html"),), body)
    assert isinstance(error, UpstreamStatus)
    assert (error.status, loads(error.body)["error"]["message"]) == (502, message)


def test_embeddings() -> None:
    asked = call("/v1/embeddings", model="argo:text-embedding-3-small", input=["a"] * 17, user="other")
    sent = GATEWAY.embedding_requests(asked)
    assert [one.url for one in sent] == [f"{ROOT}/api/v1/resource/embed/"] * 2
    assert isinstance(sent[1].body, bytes)
    assert loads(sent[1].body) == {"user": "me", "model": "v3small", "prompt": ["a"]}
    replies = [dumps({"embedding": [[1.0]] * 16}), dumps({"embedding": [[2.0]]})]
    document = GATEWAY.read_embeddings(replies, asked)
    assert document.chunk["data"][16] == {"object": "embedding", "index": 16, "embedding": [2.0]}
    assert document.chunk["model"] == "argo:text-embedding-3-small"


LIST = dumps({"data": LISTED})


def test_the_gateways_list() -> None:
    asked = GATEWAY.shared_model_list_request()
    assert asked
    assert (asked.method, asked.url) == ("GET", f"{ROOT}/api/v1/models/")
    assert not get_header(asked.headers, "authorization")
    ids = [entry["id"] for entry in GATEWAY.read_model_list(LIST, "", 7).chunk["data"]]
    assert {"argo:gpt-4o", "argo:gpt-9-ultra", "argo:text-embedding-3-large"} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["gpt9ultra", "argo:gpt-9-ultra", "GPT-9 Ultra"])
def test_one_model(name: str) -> None:
    assert GATEWAY.read_model_list(LIST, name, 7).chunk["id"] == "argo:gpt-9-ultra"
    assert not GATEWAY.resolves(name)
    assert GATEWAY.with_model_list(LIST).resolves(name)
    assert GATEWAY.resolves("gpt-4o")


def test_no_model() -> None:
    with pytest.raises(NotFound) as caught:
        GATEWAY.read_model_list(LIST, "none", 7)
    assert caught.value.code == "model_not_found"
    with pytest.raises(UpstreamProtocolError):
        GATEWAY.read_model_list(b"<html>", "", 7)


def test_without_a_known_root_there_is_no_list() -> None:
    elsewhere = ArgoUpstream(ArgoUrls(chat="http://gateway/ask"), Identity("me"))
    assert elsewhere.shared_model_list_request() is None
    with pytest.raises(UpstreamUnreachable):
        elsewhere.model_list_request(request("/v1/models"))
    assert elsewhere.static_models(7)


def test_the_probe_asks_for_nothing_that_costs() -> None:
    probe = GATEWAY.probe_request()
    assert (probe.method, probe.url, probe.body) == ("GET", f"{ROOT}/api/v1/resource/chat/", None)


def test_nothing_is_passed_on() -> None:
    with pytest.raises(NotFound, match="/v1/status"):
        GATEWAY.forward_request(request("/v1/files"))
    with pytest.raises(MethodNotAllowed) as caught:
        GATEWAY.forward_request(request("/v1/chat"))
    assert caught.value.allowed == ("POST",)


def test_documents_are_documents() -> None:
    (batch,) = GATEWAY.read_completion(FakeReply([b'{"response": "x"}']), call(messages=HI))
    assert isinstance(batch[0], Document)
