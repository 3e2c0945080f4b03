from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.chunks import is_completion, split_completion
from tests.support.growth import assert_linear

Json = dict[str, Any]

TOKEN = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CUSTOM = {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "x"}, "extra": {"signature": "s"}}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "total_tokens": 11,
    "completion_tokens_details": {"reasoning_tokens": 1},
    "cost": None,
}


def chat(message: Json, **choice: Any) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **choice}],
    }


DOCUMENTS = {
    "content": chat({"content": "Hi.", "refusal": None, "annotations": []}, logprobs=None),
    "empty content": chat({"content": ""}),
    "no content": chat({"content": None}, finish_reason=None),
    "refusal": chat({"content": None, "refusal": "No."}, logprobs={"content": None, "refusal": [TOKEN]}),
    "reasoning": chat(
        {"content": "x", "reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [{"index": 0}]}
    ),
    "tool calls": chat({"content": None, "tool_calls": [CALL, CUSTOM]}, finish_reason="tool_calls"),
    "no tool calls": chat({"content": "x", "tool_calls": []}),
    "null tool calls": chat({"content": "x", "tool_calls": None}),
    "text and tool calls": chat({"content": "x", "tool_calls": [CALL]}),
    "function call": chat({"content": None, "function_call": {"name": "f", "arguments": "{}"}}),
    "audio": chat({"content": None, "audio": {"id": "a", "data": "xx", "transcript": "hi", "expires_at": 5}}),
    "logprobs": chat({"content": "HiHi"}, logprobs={"content": [TOKEN, TOKEN], "refusal": None}),
    "logprobs without text": chat({"content": ""}, logprobs={"content": [], "refusal": None}),
    "annotations": chat({"content": "x", "annotations": [{"type": "url_citation"}, {"type": "url_citation"}]}),
    "content as parts": chat({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "x"}]}),
    "unknown fields everywhere": {
        **chat(
            {"content": "x", "new": {"a": [1]}, "name": "bot", "flag": True, "none": None}, stop_reason=7, seen=[1, 2]
        ),
        "provider": "p",
        "timings": {"ms": 1.5},
        "nothing": None,
    },
    "usage": {**chat({"content": "x"}), "usage": USAGE, "service_tier": "default", "system_fingerprint": None},
    "null usage": {**chat({"content": "x"}), "usage": None},
    "two choices": {
        **chat({}),
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "a"}, "logprobs": None, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": "b"}, "logprobs": None, "finish_reason": "length"},
        ],
    },
    "no choices": {**chat({}), "choices": [], "prompt_filter_results": [1]},
    "text beside the message": chat({"content": "x"}, text="x"),
    "legacy": {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"text": "one", "index": 0, "logprobs": None, "finish_reason": "stop"},
            {"text": "", "index": 1, "logprobs": None, "finish_reason": None, "stop_reason": None},
            {
                "text": "two",
                "index": 2,
                "logprobs": {
                    "tokens": ["t", "wo"],
                    "token_logprobs": [-1, -2],
                    "top_logprobs": None,
                    "text_offset": [0, 1],
                },
                "finish_reason": "length",
            },
        ],
        "usage": USAGE,
    },
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_comes_back_from_its_chunks(document: Json) -> None:
    kept = copy.deepcopy(document)
    assert assemble_completion(split_completion(document)) == document
    assert document == kept


ALPHABET = 'ab<>"\\ \n\u2028é\U0001f600'
strings = st.text(ALPHABET, max_size=5)
names = st.text(ALPHABET, min_size=1, max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | strings,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(strings, inner, max_size=2),
    max_leaves=4,
)
calls = st.fixed_dictionaries(
    {
        "id": names,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": names, "arguments": strings}),
    },
    optional={"extra_content": values},
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | strings},
    optional={
        "refusal": st.none() | strings,
        "reasoning_content": st.none() | strings,
        "tool_calls": st.none() | st.lists(calls, max_size=3),
        "function_call": st.none() | calls.map(lambda call: call["function"]),
        "annotations": st.lists(values, max_size=2),
        "unknown": values,
    },
)
logprobs = st.fixed_dictionaries({"content": st.none() | st.lists(st.just(TOKEN), max_size=2), "refusal": st.none()})
finish_reasons = st.sampled_from([None, "stop", "length", "tool_calls"])
chat_choices = st.fixed_dictionaries(
    {"message": messages, "finish_reason": finish_reasons}, optional={"logprobs": st.none() | logprobs, "other": values}
)
legacy_choices = st.fixed_dictionaries(
    {"text": strings, "finish_reason": finish_reasons}, optional={"logprobs": st.none(), "other": values}
)


@st.composite
def documents(draw: st.DrawFn) -> Json:
    kind, choices = draw(st.sampled_from([("chat.completion", chat_choices), ("text_completion", legacy_choices)]))
    listed = [{"index": index, **choice} for index, choice in enumerate(draw(st.lists(choices, max_size=3)))]
    extra = draw(st.fixed_dictionaries({}, optional={"usage": st.none() | st.just(USAGE), "unknown": values}))
    return {"id": "x", "object": kind, "created": 1, "model": "m", "choices": listed, **extra}


@given(documents())
def test_any_document_comes_back_from_its_chunks(document: Json) -> None:
    assert assemble_completion(split_completion(document)) == document


@given(documents())
def test_what_was_assembled_once_stays_the_same(document: Json) -> None:
    again = assemble_completion(split_completion(assemble_completion(split_completion(document))))
    assert again == document


def test_the_chunks_are_a_stream_as_openai_sends_it() -> None:
    chunks = list(split_completion({**DOCUMENTS["text and tool calls"], "usage": USAGE}))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {("chatcmpl-1", 1, "m")}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "x"},
        {"tool_calls": [{**CALL, "index": 0}]},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == USAGE


def delta(value: Json, index: int = 0, finish_reason: str | None = None, **top: Any) -> Json:
    return {"choices": [{"index": index, "delta": value, "finish_reason": finish_reason}], **top}


def fragment(index: int | None, **fields: Any) -> Json:
    place = {} if index is None else {"index": index}
    return delta({"tool_calls": [{**place, **fields}]})


def test_interleaved_tool_calls_are_distinguished_by_index() -> None:
    chunks = [
        fragment(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        fragment(1, id="b", type="function", function={"name": "g", "arguments": ""}),
        fragment(0, function={"arguments": '{"x"'}),
        fragment(1, function={"arguments": "{}"}),
        fragment(0, function={"arguments": ": 1}"}),
    ]
    message = assemble_completion(chunks)["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


@pytest.mark.parametrize(
    ("fragments", "made"),
    [
        ([{"id": "a", "function": {"name": "f"}}, {"function": {"arguments": "1"}}], [("a", "f", "1")]),
        ([{"id": "a", "function": {"name": "f"}}, {"id": "a", "function": {"arguments": "1"}}], [("a", "f", "1")]),
        ([{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": {"name": "g"}}], [("a", "f"), ("b", "g")]),
        ([{"index": None, "id": "a", "function": {"name": "f"}}], [("a", "f")]),
        ([{"index": 0, "id": "a", "function": {"name": "f"}}] * 2, [("a", "f")]),
        ([{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}], [("a", "f", '{"x":1}')]),
        ([{"index": 0, "id": "a", "function": None}, {"index": 0, "function": {"name": "f"}}], [("a", "f")]),
        (["odd"], []),
    ],
)
def test_fragments_as_odd_servers_send_them(fragments: list[Any], made: list[tuple[str, ...]]) -> None:
    message = assemble_completion(delta({"tool_calls": [part]}) for part in fragments)["choices"][0]["message"]
    calls = [(call["id"], *call["function"].values()) for call in message["tool_calls"]]
    assert calls == made


def test_many_tool_calls_without_an_index_take_no_longer_than_one() -> None:
    def work(size: int) -> None:
        calls = [{"id": f"call_{number}", "function": {"name": "f"}} for number in range(size)]
        made = assemble_completion(delta({"tool_calls": [call]}) for call in calls)["choices"][0]["message"][
            "tool_calls"
        ]
        assert [call["id"] for call in made] == [call["id"] for call in calls]

    assert_linear(work, 1_000)


def test_repeated_strings_are_kept_once() -> None:
    chunks = [
        delta({"role": "assistant", "content": None}, id="", model=""),
        delta({"role": "assistant", "content": "a", "name": "n"}, id="x", model="m", usage={"n": 1}),
        delta({"role": "assistant", "content": "b", "name": "n"}, id="y", usage={"n": 2}),
        delta({"role": "assistant"}, finish_reason="stop", usage=None),
        delta({}, finish_reason=""),
        {"choices": None},
        {"choices": ["odd"]},
    ]
    assert assemble_completion(chunks) == {
        "id": "x",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "name": "n"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"n": 2},
    }


def test_who_speaks_is_the_assistant_unless_someone_else_is_named() -> None:
    assert (
        assemble_completion([delta({"role": None, "content": "a"})] * 2)["choices"][0]["message"]["role"] == "assistant"
    )
    assert (
        assemble_completion([delta({"role": None}), delta({"role": "tool"})])["choices"][0]["message"]["role"] == "tool"
    )


def test_content_in_parts_and_in_strings_goes_together() -> None:
    chunks = [
        delta({"content": "a"}),
        delta({"content": [{"type": "x"}]}),
        delta({"content": "b"}),
        delta({"content": ""}),
    ]
    message = assemble_completion(chunks)["choices"][0]["message"]
    assert message["content"] == [{"type": "text", "text": "a"}, {"type": "x"}, {"type": "text", "text": "b"}]
    parts = assemble_completion([delta({"content": ""}), delta({"content": [{"type": "x"}]})])
    assert parts["choices"][0]["message"]["content"] == [{"type": "x"}]


def test_parts_that_go_on_become_one() -> None:
    chunks = [
        delta({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}]}),
        delta({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "m"}], "closed": True}]}),
        delta({"content": "He"}),
        delta({"content": [{"type": "text", "text": "ll"}]}),
        delta({"content": "o"}),
    ]
    assert assemble_completion(chunks)["choices"][0]["message"]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True},
        {"type": "text", "text": "Hello"},
    ]


def test_an_empty_object_replaces_nothing() -> None:
    chunks = [
        {**delta({"content": "a"}), "timings": {"ms": 1}},
        {"choices": [{"index": 0, "delta": {}, "content_filter_results": {"hate": {"filtered": False}}}]},
        {"choices": [{"index": 0, "delta": {}, "content_filter_results": {}, "finish_reason": "stop"}], "timings": {}},
    ]
    document = assemble_completion(chunks)
    assert document["timings"] == {"ms": 1}
    assert document["choices"][0]["content_filter_results"] == {"hate": {"filtered": False}}


def test_odd_deltas_are_survived() -> None:
    chunks: list[Json] = [
        {"choices": [{"delta": None}, 5]},
        {"choices": [{"index": [0], "delta": {"content": "a"}}]},
        {"choices": [{"index": "0", "delta": "odd"}]},
        delta({"content": {"odd": 1}}),
    ]
    assert assemble_completion(chunks)["choices"][0]["message"]["content"] == "a"
    odd = {"choices": [{"message": "odd", "finish_reason": "stop"}]}
    assert [chunk["choices"][0]["delta"] for chunk in split_completion(odd)] == [{}, {}]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_unknown_fields_may_be_nested_deeply() -> None:
    assert assemble_completion([delta({"new": nested(5000)})])["choices"][0]["message"]["new"]["a"]


def test_arguments_too_deep_to_be_written_are_the_upstreams_fault() -> None:
    call = {"index": 0, "function": {"arguments": nested(5000)}}
    with pytest.raises(UpstreamProtocolError, match="cannot be encoded"):
        assemble_completion([delta({"tool_calls": [call]})])


def test_a_choice_without_an_index_counts_from_its_place() -> None:
    document = {"choices": [{"text": "a"}, {"text": "b"}]}
    assert [choice["index"] for choice in assemble_completion(split_completion(document))["choices"]] == [0, 1]
    streamed = [{"choices": [{"text": "a"}, {"text": "b", "index": None}]}] * 2
    assert [choice["text"] for choice in assemble_completion(streamed)["choices"]] == ["aa", "bb"]


@pytest.mark.parametrize(
    ("document", "is_one"),
    [
        ({"choices": []}, True),
        ({"choices": [{}]}, True),
        ({"choices": [1]}, False),
        ({"choices": {}}, False),
        ({}, False),
    ],
)
def test_what_a_completion_is(document: Json, is_one: bool) -> None:
    assert is_completion(document) is is_one


@pytest.mark.parametrize("value", ["x" * 1001, ["x"], {"a": 1}])
def test_long_values_are_sent_once(value: Any) -> None:
    document = {"id": "c", "model": value, "choices": [{"index": n, "message": {"content": "a"}} for n in range(3)]}
    chunks = list(split_completion(document))
    assert [chunk["model"] for chunk in chunks if "model" in chunk] == [value]
    assert {chunk["id"] for chunk in chunks} == {"c"}
