from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import dumps
from argoproxy.upstreams.dashscope.completions import make_document
from argoproxy.upstreams.dashscope.replies import add_usages, convert_usage
from tests.support.dashscope_calls import COMPLETIONS, call, said

Json = dict[str, Any]
TOP = {"id": "chatcmpl-r1", "object": "chat.completion", "created": 7, "model": "qwen-plus"}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def completed(told: Json, **body: Any) -> Json:
    return make_document(dumps(told), call(**body)).chunk


def message(told: Json) -> Any:
    return completed(told)["choices"][0]["message"]


def test_a_whole_reply() -> None:
    told = said("Hello.", "stop", reasoning_content="")
    told["usage"] = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
    assert completed(told) == {
        **TOP,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }


def test_a_reply_in_the_text_format() -> None:
    told = {"output": {"text": "Hello.", "finish_reason": "length"}, "usage": {}, "request_id": "r1"}
    (choice,) = completed(told)["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello.", "length")
    assert "usage" not in completed(told)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (said([{"text": "a"}, {"text": "b"}]), {"content": "ab"}),
        (said([]), {"content": ""}),
        (said([{"text": None}, "x", {"image": "u"}]), {"content": "", "parts": [{"text": None}, {"image": "u"}][1:]}),
        (said([{"text": "a", "ocr_result": {}}]), {"content": "a", "parts": [{"text": "a", "ocr_result": {}}]}),
        (said("x", reasoning_content="hm"), {"content": "x", "reasoning_content": "hm"}),
        (said("x", annotations=[1], name=None), {"content": "x", "annotations": [1]}),
        (said(None), {"content": ""}),
    ],
)
def test_what_a_message_holds(told: Json, expected: Json) -> None:
    assert message(told) == {"role": "assistant", "refusal": None, **expected}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (CALL, {}),
        ({**CALL, "id": "", "type": None}, {"id": "call_id1_0"}),
        ({**CALL, "extra": 1}, {"extra": 1}),
        (
            {**CALL, "function": {"name": "f", "arguments": {"a": 1}}},
            {"function": {"name": "f", "arguments": '{"a":1}'}},
        ),
        ("x", {"id": "call_id1_0", "function": {}}),
    ],
)
def test_calls_of_tools(item: Any, expected: Json) -> None:
    found = message(said("", "tool_calls", tool_calls=[item]))
    kept = {"id": "call_1", "type": "function", "function": CALL["function"]}
    assert found["tool_calls"] == [{**kept, **expected}]
    assert found["content"] is None


def test_no_calls_are_no_calls() -> None:
    assert "tool_calls" not in message(said("x", tool_calls=[]))
    assert "tool_calls" not in message(said("x", tool_calls="y"))


def test_several_choices_log_probabilities_and_what_was_searched() -> None:
    choices = [
        {"index": 1, "finish_reason": None, "message": {"content": "b"}, "logprobs": {"content": [{"token": "b"}]}},
        {"index": 0, "finish_reason": "null", "message": {"content": "a"}, "logprobs": {"content": None}},
        {"index": 2, "finish_reason": "stop", "message": None},
    ]
    found = completed({"output": {"choices": choices, "search_info": {"x": 1}, "text": None}})
    assert found["search_info"] == {"x": 1}
    assert found["id"] == "chatcmpl-id1"
    assert [choice["index"] for choice in found["choices"]] == [1, 0, 2]
    assert [choice["finish_reason"] for choice in found["choices"]] == [None, None, "stop"]
    assert found["choices"][0]["logprobs"] == {"content": [{"token": "b"}], "refusal": None}
    assert found["choices"][1]["logprobs"] is None


def test_a_legacy_completion() -> None:
    assert completed(said("Hello", "stop"), path=COMPLETIONS) == {
        **TOP,
        "id": "cmpl-r1",
        "object": "text_completion",
        "choices": [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}],
    }


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"output": 3}', b'{"output": {"choices": []}}', b'{"output": {"text": null}}', b"<p>"]
)
def test_what_is_no_completion(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        make_document(body, call())


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (None, {}),
        ({}, {}),
        ({"input_tokens": "3", "output_tokens": True}, {}),
        ({"input_tokens": 3}, {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}),
        (
            {
                "input_tokens": 3,
                "output_tokens": 4,
                "total_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 2},
                "plugins": {"search": {"count": 1}},
            },
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "total_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 2},
                "plugins": {"search": {"count": 1}},
            },
        ),
        (
            {"input_tokens": 3, "image_tokens": 2, "input_tokens_details": {"text_tokens": 1}, "audio_tokens": None},
            {
                "prompt_tokens": 3,
                "completion_tokens": 0,
                "total_tokens": 3,
                "prompt_tokens_details": {"image_tokens": 2, "text_tokens": 1},
                "audio_tokens": None,
            },
        ),
    ],
)
def test_tokens(told: Any, usage: Json) -> None:
    assert convert_usage(told) == usage


def test_tokens_of_several_choices_share_their_prompt() -> None:
    details = {"output_tokens_details": {"reasoning_tokens": 2}}
    one = convert_usage({"input_tokens": 3, "output_tokens": 4})
    two = convert_usage({"input_tokens": 3, "output_tokens": 5, **details})
    whole = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
    assert add_usages([one]) == one
    assert add_usages([one, convert_usage({"input_tokens": 3, "output_tokens": 5})]) == whole
    assert add_usages([one, two]) == {**whole, "completion_tokens_details": {"reasoning_tokens": 2}}
    assert add_usages([two, one, two])["completion_tokens_details"] == {"reasoning_tokens": 4}
