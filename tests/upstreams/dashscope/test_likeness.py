"""The adapter and the scripted DashScope of the wire tests, face to face: what one sends the other takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.api.endpoints import assemble_reply
from argoproxy.protocol.json_text import Json, dumps, loads
from argoproxy.protocol.routing.call import Call
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream, DashScopeUrls
from tests.support.dashscope_calls import COMPLETIONS, EMBEDDINGS, call
from tests.support.doubles import FakeReply
from tests.support.providers import dashscope

UPSTREAM = DashScopeUpstream(DashScopeUrls.parse("http://up/api/v1"), "Bearer sk-1")
SPOKEN = "Hello 世界 \U0001f30d, you said: "
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/i.png"}}
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]


class Wire:
    """Holds what the scripted upstream answers: its status, and its body in the pieces that were sent."""

    def __init__(self) -> None:
        self.status = 0
        self.pieces: list[bytes] = []

    def send(self, data: bytes) -> None:
        if not self.status:
            self.status = int(data.split(b" ")[1])
        elif piece := data.partition(b"\r\n")[2].removesuffix(b"\r\n"):
            self.pieces.append(piece)

    def json(self, document: Any, status: str = "200 OK") -> None:
        self.status = int(status[:3])
        self.pieces = [dumps(document)]


def asked(request: UpstreamRequest) -> Wire:
    """Have the scripted upstream answer. Raises what the adapter makes of a refusal."""
    wire, body = Wire(), request.body if isinstance(request.body, bytes) else b""
    target = "/" + request.url.split("/", 3)[3]
    headers = [list(pair) for pair in request.headers]
    seen = {"method": request.method, "target": target, "headers": headers, "body": body.decode("latin-1")}
    dashscope.answer(wire, seen)
    if wire.status >= 400:
        raise UPSTREAM.read_error(wire.status, (), b"".join(wire.pieces))
    return wire


def completed(made: Call) -> Json:
    wire = asked(UPSTREAM.completion_request(made))
    return assemble_reply(UPSTREAM.read_completion(FakeReply(wire.pieces), made)).chunk


def said(*words: Any, **body: Any) -> Call:
    content = list(words) if len(words) > 1 else words[0]
    return call(messages=[{"role": "user", "content": content}], **body)


BOTH = pytest.mark.parametrize("stream", [False, True])


@BOTH
@pytest.mark.parametrize("words", ["Hi", "cumulative", "as json", "as events"])
@pytest.mark.parametrize("body", [{}, {"result_format": "text"}, {"incremental_output": False}])
def test_chats(stream: bool, words: str, body: Any) -> None:
    made = completed(said(words, stream=stream, stream_options={"include_usage": True}, **body))
    (choice,) = made["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (SPOKEN + words, "stop")
    assert made["id"] == "chatcmpl-8f2e-77"
    assert made["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}


@BOTH
def test_legacy_completions(stream: bool) -> None:
    made = completed(call(COMPLETIONS, prompt="Hi", stream=stream))
    assert (made["choices"][0]["text"], made["object"]) == (SPOKEN + "Hi", "text_completion")


@BOTH
@pytest.mark.parametrize("model", ["qwen-vl-max", "qwen3.7-plus"])
def test_images(stream: bool, model: str) -> None:
    made = completed(said("Hi", IMAGE, model=model, stream=stream))
    assert made["choices"][0]["message"]["content"] == SPOKEN + "Hi <image>"


@BOTH
@pytest.mark.parametrize("words", ["Hi", "cumulative"])
def test_tools_and_their_results(stream: bool, words: str) -> None:
    made = said(words, tools=TOOLS, stream=stream)
    (choice,) = completed(made)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    names = [(one["id"], one["function"]["name"]) for one in choice["message"]["tool_calls"]]
    assert names == [("call_0", "f"), ("call_1", "g")]
    assert loads(choice["message"]["tool_calls"][1]["function"]["arguments"].encode()) == {"city": "City 1"}
    result = {"role": "tool", "tool_call_id": "call_0", "content": [{"type": "text", "text": "42"}]}
    history = [*made.body["messages"], choice["message"], result]
    assert completed(call(messages=history, tools=TOOLS, stream=stream))["choices"][0]["finish_reason"] == "stop"


def test_thoughts() -> None:
    made = completed(said("Hi", reasoning_effort="high", stream=True))
    assert made["choices"][0]["message"]["reasoning_content"] == "hm 世"
    assert made["choices"][0]["message"]["content"] == SPOKEN + "Hi"


@BOTH
def test_several_choices_searches_and_log_probabilities(stream: bool) -> None:
    options = {"include_usage": True}
    made = completed(said("Hi", n=2, enable_search=True, logprobs=True, stream=stream, stream_options=options))
    assert [choice["message"]["content"] for choice in made["choices"]] == [SPOKEN + "Hi"] * 2
    assert made["search_info"] == dashscope.SEARCHED
    tokens = "".join(item["token"] for item in made["choices"][1]["logprobs"]["content"])
    assert tokens == SPOKEN + "Hi"
    assert made["usage"]["completion_tokens"] > 0


@BOTH
@pytest.mark.parametrize("count", [1, 10, 23])
def test_embeddings(stream: bool, count: int) -> None:
    made = call(EMBEDDINGS, model="text-embedding-v4", input=["x" * size for size in range(count)], dimensions=4)
    replies = [b"".join(asked(request).pieces) for request in UPSTREAM.embedding_requests(made)]
    document = UPSTREAM.read_embeddings(replies, made).chunk
    assert [entry["embedding"] for entry in document["data"]] == [[size, 1, 2, 3] for size in range(count)]
    assert document["usage"]["total_tokens"] == count


def failure(made: Call) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        completed(made)
    return caught.value


@BOTH
@pytest.mark.parametrize(
    ("words", "status"),
    [("fail:Throttling.RateQuota:429", 429), ("fail:Arrearage:400", 400), ("fail:Throttling:200", 429)],
)
def test_errors(stream: bool, words: str, status: int) -> None:
    assert failure(said(words, stream=stream)).status == status


@pytest.mark.parametrize(("words", "code"), [("break:InternalError", None), ("cut", "upstream_stream_cut_short")])
def test_streams_that_end_badly(words: str, code: str | None) -> None:
    assert failure(said(words, stream=True)).code == code


def test_what_was_rewritten() -> None:
    made = said("rewrite", stream=True, incremental_output=False)
    assert failure(made).code == "upstream_text_rewritten"
    plain = said("rewrite", incremental_output=False)
    turned = plain.with_body({**plain.body, "stream": True})
    assert completed(turned)["choices"][0]["message"]["content"] == "No: " + SPOKEN + "rewrite"


REFUSALS: list[tuple[Callable[[], Call], int, bool]] = [
    (lambda: said("Hi", enable_thinking=True), 400, True),
    (lambda: said("Hi", model="qwq-plus"), 400, True),
    (lambda: said("Hi", enable_thinking=True, incremental_output=False, stream=True), 400, True),
    (lambda: said("Hi", enable_thinking=True, tools=TOOLS, tool_choice="required", stream=True), 400, False),
    (lambda: said("Hi", n=5), 400, False),
    (lambda: said("Hi", n=2, tools=TOOLS), 400, False),
    (lambda: said("Hi", result_format="text", tools=TOOLS), 400, False),
    (lambda: said("Hi", model="none-such"), 404, False),
]


@pytest.mark.parametrize(("made", "status", "refuses"), REFUSALS)
def test_refusals(made: Callable[[], Call], status: int, refuses: bool) -> None:
    error = failure(made())
    assert isinstance(error, UpstreamStatus)
    assert (error.status, UPSTREAM.refuses_mode(error)) == (status, refuses)


def test_the_wrong_path_and_the_wrong_key() -> None:
    named = DashScopeUpstream(DashScopeUrls.parse("http://up" + dashscope.MULTIMODAL), "Bearer sk-1")
    with pytest.raises(UpstreamStatus) as caught:
        asked(named.completion_request(said("Hi")))
    assert b"url error, please check url" in caught.value.body
    with pytest.raises(UpstreamStatus) as caught:
        asked(DashScopeUpstream(named.urls, "Bearer bad").completion_request(said("Hi")))
    assert (caught.value.status, loads(caught.value.body)["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(UpstreamStatus) as caught:
        asked(UPSTREAM.probe_request())
    assert caught.value.status == 405
