from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest

from argoproxy.errors import MethodNotAllowed, NotFound
from argoproxy.protocol.http_messages import ClientRequest
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.sse import DONE, Event
from argoproxy.upstreams.demo import DemoUpstream, make_script
from tests.support.doubles import WholeBody

Json = dict[str, Any]


def relayed(method: str, path: str) -> ClientRequest:
    return ClientRequest("id", 1, method, path, "", (), WholeBody(b""))


def played(path: str, **asked: Any) -> tuple[int, bytes, float]:
    script = make_script(path, json.dumps(asked).encode())
    steps = list(script.steps)
    return script.status, b"".join(piece for _, piece in steps), sum(pause for pause, _ in steps)


def whole(path: str, **asked: Any) -> Json:
    status, body, _ = played(path, **asked)
    assert status == 200
    document: Json = json.loads(body)
    return document


def streamed(path: str, **asked: Any) -> list[Json]:
    status, body, pauses = played(path, stream=True, **asked)
    assert status == 200
    assert body.endswith(DONE.raw)
    assert pauses > 0.5
    return [chunk for part in body.split(b"\n\n") if (chunk := Event(part + b"\n\n").chunk)]


HELLO = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi there"}]


def test_it_thinks_aloud_and_answers_word_by_word() -> None:
    chunks = streamed("/v1/chat/completions", model="demo", messages=HELLO)
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert len(texts) > 20
    assert "".join(texts).startswith("<think>The user wrote 2 words")
    assert "'hi there'" in "".join(texts)
    assert all(len(text.split()) <= 1 for text in texts)


@pytest.mark.parametrize(
    ("path", "asked"), [("/v1/chat/completions", {"messages": HELLO}), ("/v1/completions", {"prompt": "hi there"})]
)
def test_streamed_and_whole_agree(path: str, asked: Json) -> None:
    document = whole(path, n=2, max_tokens=3, **asked)
    assert len(document["choices"]) == 2
    assert document["choices"][0]["finish_reason"] == "length"
    assert (
        assemble_completion(streamed(path, n=2, max_tokens=3, stream_options={"include_usage": True}, **asked))
        == document
    )
    assert all(chunk["choices"] for chunk in streamed(path, **asked))


def test_content_in_parts_is_read() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, "two", 3]
    document = whole("/v1/chat/completions", messages=[{"role": "user", "content": parts}])
    assert "'one two'" in document["choices"][0]["message"]["content"]
    document = whole("/v1/chat/completions", messages=["odd", {"role": "system"}])
    assert "''" in document["choices"][0]["message"]["content"]


def test_embeddings_are_unit_vectors_that_only_the_text_decides() -> None:
    document = whole("/v1/embeddings", input=["a", "b", "a"])
    vectors = [item["embedding"] for item in document["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    assert math.isclose(sum(number**2 for number in vectors[0]), 1)
    assert [item["index"] for item in document["data"]] == [0, 1, 2]
    encoded = whole("/v1/embeddings", input="a", encoding_format="base64", dimensions=5)["data"][0]["embedding"]
    assert len(struct.unpack("<5f", base64.b64decode(encoded))) == 5
    assert len(whole("/v1/embeddings", input=[1, 2])["data"]) == 1


def test_models() -> None:
    assert [model["id"] for model in whole("/v1/models")["data"]] == ["demo"]
    assert whole("/v1/models/demo")["id"] == "demo"
    status, body, _ = played("/v1/models/other")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("messages", [None, [], "x"])
def test_messages_are_needed(messages: Any) -> None:
    status, body, _ = played("/v1/chat/completions", messages=messages)
    assert (status, json.loads(body)["error"]["param"]) == (400, "messages")


def test_a_body_that_is_no_object() -> None:
    assert make_script("/v1/chat/completions", b"{").status == 400
    assert make_script("/v1/chat/completions", b"[]").status == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions//", "/v1/models//", "///v1/models", "/V1/models"])
def test_other_spellings_of_our_paths_are_no_paths_of_ours(path: str) -> None:
    with pytest.raises(NotFound):
        DemoUpstream().forward_request(relayed("POST", path))


def test_nothing_stands_behind_other_paths() -> None:
    with pytest.raises(NotFound, match="POST /v1/chat/completions"):
        DemoUpstream().forward_request(relayed("GET", "/v1/files"))
    for path in ("/v1/chat/completions", "/chat/completions/", "/v1/models/demo", "/models"):
        with pytest.raises(MethodNotAllowed) as caught:
            DemoUpstream().forward_request(relayed("DELETE", path))
        assert caught.value.allowed == (("GET",) if "models" in path else ("POST",))
