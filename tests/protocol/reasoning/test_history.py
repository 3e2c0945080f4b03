from __future__ import annotations

import copy
from typing import Any

import pytest

from argoproxy.protocol.reasoning.history import strip_history
from argoproxy.protocol.reasoning.policy import TagPair
from tests.support.growth import assert_linear

Json = dict[str, Any]

PAIRS = (TagPair(), TagPair("[T]", "[/T]"))
CALL = {"id": "c", "function": {"name": "f", "arguments": "<think>"}, "extra_content": {"thought_signature": "s"}}
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def assistant(content: Any, **fields: Any) -> Json:
    return {"role": "assistant", "content": content, **fields}


CLEANED = {
    "a block": (assistant("<think>hm</think>\n\nHi"), assistant("Hi")),
    "attributes": (assistant('<think internal="a b" signature="x=">hm</think>\n\nHi <think\nx>y'), assistant("Hi ")),
    "attributes in parts": (assistant([text('<think internal="">a'), text("b</think>Hi")]), assistant([text("Hi")])),
    "attributes within a thought": (assistant('[T]a<think b="">[/T]Hi'), assistant("Hi")),
    "another spelling": (assistant("Hi [T]hm[/T]there"), assistant("Hi there")),
    "several blocks": (assistant("<think>a</think>x[T]b[/T]y"), assistant("xy")),
    "never closed": (assistant("Hi <think>hm"), assistant("Hi ")),
    "nothing else": (assistant("<think>hm</think>"), assistant("")),
    "fields": (
        assistant("Hi", reasoning_content="hm", reasoning="hm", reasoning_details=[{"data": "x"}], name="n", new=1),
        assistant("Hi", name="n", new=1),
    ),
    "fields that say nothing": (assistant(None, reasoning_content=""), assistant(None)),
    "calls": (
        assistant("<think>hm</think>", tool_calls=[CALL], reasoning_content="hm"),
        assistant("", tool_calls=[CALL]),
    ),
    "parts": (
        assistant([text("<think>a", cache_control={}), text("b"), text("c</think>\nHi", cache_control={}), "odd"]),
        assistant([text("Hi", cache_control={}), "odd"]),
    ),
    "parts of another kind": (
        assistant([THINKING, text("Hi <th"), {"type": "refusal", "refusal": "<think>"}]),
        assistant([text("Hi <th"), {"type": "refusal", "refusal": "<think>"}]),
    ),
    "no part left": (assistant([THINKING, text("<think>x")]), assistant("")),
}
LEFT_ALONE: list[Any] = [
    assistant('Hi <think internal="'),
    assistant('a <thinking internal="">b <think-x y> <think'),
    assistant('a </think internal="">b [T internal=""]c'),
    assistant("Hi <think"),
    assistant("a</think>b"),
    assistant(None, tool_calls=[CALL]),
    assistant([]),
    assistant([text(""), text("Hi <th"), text("ink>")]),
    assistant(5),
    {"role": "user", "content": "<think>x</think>", "reasoning_content": "x"},
    {"role": "tool", "content": "<think>x</think>", "tool_call_id": "c"},
    {"content": "<think>x</think>"},
    "odd",
]


@pytest.mark.parametrize(("message", "expected"), CLEANED.values(), ids=CLEANED.keys())
def test_an_assistants_message_loses_what_was_thought(message: Json, expected: Json) -> None:
    kept = copy.deepcopy(message)
    cleaned = strip_history([*LEFT_ALONE, message], PAIRS)
    assert cleaned == [*LEFT_ALONE, expected]
    assert all(new is old for new, old in zip(cleaned, LEFT_ALONE, strict=False))
    assert message == kept


def test_messages_without_a_thought_are_the_very_same() -> None:
    assert strip_history(LEFT_ALONE, PAIRS) is LEFT_ALONE


def test_without_tags_only_fields_go() -> None:
    messages = [assistant("<think>x</think>", reasoning="hm")]
    assert strip_history(messages, ()) == [assistant("<think>x</think>")]


@pytest.mark.parametrize("piece", ["<think ", "<think a", "<", "<think a>", "</think>"])
def test_tags_with_attributes_take_linear_time(piece: str) -> None:
    assert_linear(lambda size: strip_history([assistant(piece * size)], PAIRS), 20_000)
