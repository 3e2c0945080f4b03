"""What real servers send, and what clients see of it: the cases in `quirks/`, through everything that is pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from argoproxy.errors import ProxyError
from argoproxy.protocol.api.endpoints import answer, answer_error, error_event
from argoproxy.protocol.http_messages import ClientResponse
from argoproxy.protocol.reasoning.policy import ReasoningSettings
from argoproxy.protocol.reasoning.reasoning_filters import reasoning_filters
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.chunk_fields import UsageMeter
from argoproxy.protocol.stream.filters import Filter, apply_filters
from argoproxy.protocol.stream.sse import DONE, EventDecoder, event_data
from argoproxy.protocol.stream.tool_calls import ToolCallFilter
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.openai import OpenAIUpstream
from tests.support.cuts import cut_at
from tests.support.doubles import FakeProgress, FakeReply

Json = dict[str, Any]

UPSTREAM = OpenAIUpstream(BaseUrl.parse("http://up/v1"))
RANDOM_CUTS = 8


def cases() -> Iterator[Any]:
    for file in sorted(Path(__file__).with_name("quirks").glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            yield pytest.param(case, id=f"{file.stem}: {case['name']}")


CASES = list(cases())


def having(*keys: str, without: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Play the cases that have all of these keys and none of those."""
    chosen = [
        case for case in CASES if all(key in case.values[0] for key in keys) and not set(without) & set(case.values[0])
    ]
    return pytest.mark.parametrize("case", chosen)


def cuts(text: bytes) -> Iterator[list[bytes]]:
    """Give the text whole, byte by byte, and cut anywhere with silence in between."""
    chance = Random(len(text))
    yield [text]
    yield [text[at : at + 1] for at in range(len(text))]
    for _ in range(RANDOM_CUTS):
        pieces = cut_at(text, [chance.randrange(len(text) + 1) for _ in range(chance.randrange(1, 12))])
        yield [part for piece in pieces for part in (piece, b"")]


def call(case: Json, **body: Any) -> Call:
    body = {"model": "m", **case.get("call", {}), **body}
    return Call("id", 1, case.get("path", "/v1/chat/completions"), "", (), body, None)


def filters(case: Json, usages: list[Json]) -> list[Filter]:
    strip = reasoning_filters(ReasoningSettings()) if case.get("tags") else ()
    return [UsageMeter(usages.append), ToolCallFilter(), *strip]


def answered(case: Json, pieces: list[bytes], **body: Any) -> ClientResponse:
    """Answer a client, as a journey does."""
    asked = call(case, **body)
    batches = UPSTREAM.read_completion(FakeReply(pieces), asked)
    return answer(apply_filters(batches, lambda: filters(case, [])), asked, FakeProgress())


def plain(case: Json, pieces: list[bytes]) -> bytes:
    body = answered(case, pieces).body
    assert isinstance(body, bytes)
    return body


def streamed(case: Json, pieces: list[bytes], **body: Any) -> bytes:
    response = answered(case, pieces, stream=True, **body)
    assert not isinstance(response.body, bytes)
    return b"".join(response.body)


def chunks(stream: bytes) -> list[Json]:
    return [event.chunk for event in EventDecoder().feed(stream) if event.chunk is not None]


def spoken(stream: bytes) -> bytes:
    """Leave out what clients pass over."""
    return b"".join(event.raw for event in EventDecoder().feed(stream) if event_data(event.raw) is not None)


def seen(case: Json) -> bytes:
    return str(case.get("seen", case["stream"])).encode()


def of_whole(case: Json) -> Json:
    """What a whole reply must say to the client, by whichever way it comes."""
    document: Json = case.get("told") or json.loads(case["whole"])
    return document


def calls_in(document: Json) -> list[Json]:
    """Give the functions that a document calls, of all its choices."""
    calls = [choice.get("message", {}).get("tool_calls") or [] for choice in document["choices"]]
    return [call for one in calls for call in one if "function" in call]


def check_error(error: ProxyError, expected: Json) -> Json:
    """See that an error has a status and the fields that a case names; give it."""
    body = answer_error(error).body
    assert isinstance(body, bytes)
    told: Json = json.loads(body)["error"]
    assert error.status == expected["status"]
    assert told == {**told, **{key: value for key, value in expected.items() if key != "status"}}
    return told


@having("stream", without=["error"])
def test_a_stream_for_a_streaming_client(case: Json) -> None:
    for pieces in cuts(case["stream"].encode()):
        assert streamed(case, pieces) == seen(case)


@having("stream", without=["error"])
def test_a_stream_for_a_plain_client(case: Json) -> None:
    for pieces in cuts(case["stream"].encode()):
        assert json.loads(plain(case, pieces)) == case["document"]


@having("stream", without=["error"])
def test_what_a_streaming_client_sees_is_what_a_plain_one_does(case: Json) -> None:
    assert assemble_completion(chunks(seen(case))) == case["document"]


@having("whole", without=["error"])
def test_a_whole_reply_for_a_plain_client(case: Json) -> None:
    for pieces in cuts(case["whole"].encode()):
        body = plain(case, pieces)
        assert json.loads(body) == of_whole(case)
        assert "told" in case or body == case["whole"].encode()


@having("whole", without=["error"])
def test_a_whole_reply_for_a_streaming_client(case: Json) -> None:
    for pieces in cuts(case["whole"].encode()):
        stream = streamed(case, pieces, stream_options={"include_usage": True})
        assert stream.endswith(DONE.raw)
        assert stream.count(DONE.raw) == 1
        assert assemble_completion(chunks(stream)) == as_chunks_have_it(of_whole(case))
    check_manners(chunks(stream), of_whole(case))


@having("whole", without=["error"])
def test_usage_by_itself_comes_to_who_asked(case: Json) -> None:
    asked = chunks(streamed(case, [case["whole"].encode()], stream_options={"include_usage": True}))
    not_asked = chunks(streamed(case, [case["whole"].encode()]))
    by_itself = [chunk for chunk in asked if not chunk["choices"]]
    assert [chunk["usage"] for chunk in by_itself] == [usage for usage in [of_whole(case).get("usage")] if usage]
    assert not_asked == [chunk for chunk in asked if chunk["choices"]]


@having("error", without=["whole", "refusal"])
def test_a_stream_that_ends_in_an_error(case: Json) -> None:
    for pieces in cuts(case["stream"].encode()):
        with pytest.raises(ProxyError) as caught:
            plain(case, pieces)
        assert set(check_error(caught.value, case["error"])) >= {"message", "type", "param", "code"}
        assert spoken(streamed(case, pieces)) == seen(case) + error_event(caught.value)


@having("error", "whole")
def test_a_whole_reply_that_is_an_error(case: Json) -> None:
    for pieces in cuts(case["whole"].encode()):
        with pytest.raises(ProxyError) as caught:
            plain(case, pieces)
        assert set(check_error(caught.value, case["error"])) >= {"message", "type", "param", "code"}
        assert streamed(case, pieces) == error_event(caught.value)


@having("error", "refusal")
def test_an_error_answer(case: Json) -> None:
    refusal = case["refusal"]
    headers = tuple(refusal.get("headers", {}).items())
    check_error(UPSTREAM.read_error(refusal["status"], headers, refusal["body"].encode()), case["error"])


@having("document")
def test_the_last_usage_counts(case: Json) -> None:
    noted: list[Json] = []
    batches = UPSTREAM.read_completion(FakeReply([case["stream"].encode()]), call(case))
    assert list(apply_filters(batches, lambda: filters(case, noted)))
    last = [{name: count for name, count in usage.items() if name != "service_tier"} for usage in noted[-1:]]
    assert last == [usage for usage in [case["document"].get("usage")] if usage]


WITH_TOOLS = [case for case in CASES if any(calls_in(case.values[0].get("document", {"choices": []})))]


@pytest.mark.parametrize("case", WITH_TOOLS)
def test_the_official_client_puts_tool_calls_together(case: Json) -> None:
    state = ChatCompletionStreamState()
    for chunk in chunks(seen(case)):
        state.handle_chunk(ChatCompletionChunk.construct(**chunk))
    snapshot = state.current_completion_snapshot.model_dump(exclude_unset=True)
    assert [known(one) for one in calls_in(snapshot)] == [known(one) for one in calls_in(case["document"])]


def known(tool_call: Json) -> tuple[str, str, str]:
    """Give what the official client has a place for."""
    return tool_call["id"], tool_call["function"]["name"], tool_call["function"]["arguments"]


def as_chunks_have_it(document: Json) -> Json:
    """Leave out the indexes of whole calls, which chunks have anew; content that was left out comes back as null."""
    copy: Json = json.loads(json.dumps(document))
    for choice in copy["choices"]:
        choice["message"] = {"content": None, **choice["message"]}
        for one in choice["message"].get("tool_calls") or []:
            one.pop("index", None)
    return copy


def check_manners(told: list[Json], document: Json) -> None:
    """See that chunks are as OpenAI sends them."""
    for key in ("id", "created", "model"):
        assert {chunk.get(key) for chunk in told} == {document.get(key)}
    for place, choice in enumerate(document["choices"]):
        mine = [part for chunk in told for part in chunk["choices"] if part["index"] == choice.get("index", place)]
        assert "role" in mine[0]["delta"]
        assert sum("role" in part["delta"] for part in mine) == 1
        assert [part["finish_reason"] for part in mine if part["finish_reason"]] == [choice["finish_reason"]]
        indexes = [part["index"] for one in mine for part in one["delta"].get("tool_calls") or []]
        assert indexes == list(range(len(choice["message"].get("tool_calls") or [])))
