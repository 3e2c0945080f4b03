from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.responses.carrier import Thought, ThoughtDetails, decode_thought, encode_thought
from argoproxy.protocol.stream.json_progress import ObjectProgress
from tests.protocol.responses.conversation import call, chunk, convert, finish, request, respond
from tests.support.cuts import cuts

DETAIL = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}


def test_a_thought_comes_back_as_it_was() -> None:
    thought = Thought("hm é \ud800", [DETAIL])
    content = encode_thought(thought, "m")
    assert decode_thought(content, "m") == thought
    assert decode_thought(content, "other") == Thought(thought.text)


@pytest.mark.parametrize(
    "content", ["gAAAAABk", "argoproxy.1.!", "argoproxy.1.W10=", "argoproxy.1.e30", "argoproxy.1.é"]
)
def test_what_another_server_made_can_not_be_read(content: str) -> None:
    assert decode_thought(content, "m") is None


def test_pieces_of_details_are_joined() -> None:
    details = ThoughtDetails()
    details.add([{"type": "reasoning.text", "text": "h", "index": 0}, {"type": "reasoning.encrypted", "data": "x"}])
    details.add([{"type": "reasoning.text", "text": "m", "index": 0, "id": None}])
    details.add([{"type": "reasoning.text", "signature": "s", "index": 0, "format": "f"}])
    assert details.take() == [
        {"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s", "format": "f"},
        {"type": "reasoning.encrypted", "data": "x"},
    ]
    assert details.take() == []


def test_details_of_an_odd_type_are_kept() -> None:
    details = ThoughtDetails()
    details.add([{"type": ["x"], "index": 0, "data": "d"}, {"type": {}, "index": 1}])
    assert details.take() == [{"type": ["x"], "index": 0, "data": "d"}, {"type": {}, "index": 1}]


def test_a_thought_goes_back_with_the_items_of_its_turn() -> None:
    chunks = [chunk({"reasoning_content": "hm", "reasoning_details": [DETAIL]}), chunk({"content": "a"}), *finish()]
    output = respond(chunks, request(include=["reasoning.encrypted_content"]))["output"]
    assert convert({"role": "user", "content": "q"}, *output)[1:] == [
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [DETAIL]}
    ]


SIGNED = {"google": {"thought_signature": "CiQB"}}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", ["function", "custom"])
def test_a_signed_call_comes_back_signed(kind: str, late: bool) -> None:
    """Gemini signs the first of parallel calls, and refuses it without."""
    first = {"id": "a", "name": "f"}
    begun = [chunk(call(0, "", **first)), chunk(call(0, "{}", extra_content=SIGNED))]
    fragments = [chunk(call(0, "{}", **first, extra_content=SIGNED)), chunk(call(1, "{}", id="b", name="g"))]
    tools = [{"type": kind, "name": "f"}, {"type": "function", "name": "g"}]
    asked = request(tools=tools)
    response = respond([*(begun if late else fragments), *finish("tool_calls")], asked)
    kinds = [item["type"] for item in response["output"]]
    named = "custom_tool_call" if kind == "custom" else "function_call"
    if late:
        assert kinds == [named], "what is sent already can't be signed"
        return
    assert kinds == ["reasoning", named, "function_call"]
    _, message, *_ = convert({"role": "user", "content": "q"}, *response["output"], tools=tools)
    assert [one.get("extra_content") for one in message["tool_calls"]] == [SIGNED, None]
    assert message.keys() == {"role", "content", "tool_calls"}
    _, message, *_ = convert({"role": "user", "content": "q"}, *response["output"], model="other")
    assert "extra_content" not in message["tool_calls"][0], "another model did not sign it"


def test_a_signature_stands_behind_the_thought() -> None:
    chunks = [chunk({"reasoning_content": "hm"}), chunk({"content": "a"})]
    signed = chunk(call(0, "{}", id="c", name="f", extra_content=SIGNED))
    response = respond([*chunks, signed, *finish("tool_calls")], request(include=["reasoning.encrypted_content"]))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "reasoning", "function_call"]
    (message, _) = convert(*response["output"])
    assert (message["reasoning_content"], message["content"]) == ("hm", "a")
    assert message["tool_calls"][0]["extra_content"] == SIGNED


@pytest.mark.parametrize(
    ("item", "thought"),
    [
        ({"summary": [{"type": "summary_text", "text": "s"}]}, "s"),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "t"}]}, "t"),
        ({"summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "gAAAA"}, None),
        ({"summary": []}, None),
        ({"encrypted_content": encode_thought(Thought("", [DETAIL]), "other")}, None),
    ],
)
def test_which_thoughts_go_back(item: dict[str, Any], thought: str | None) -> None:
    (message,) = convert({"type": "reasoning", "id": "rs_1", **item}, {"role": "assistant", "content": "a"})
    assert message.get("reasoning_content") == thought
    assert message["content"] == "a"


@pytest.mark.parametrize("text", ['{"a":1}', '{"a\\"}":[{"b":"\\\\"}]}', ' {"x": "}" } ', '[{}, "\\u005d"]'])
def test_an_object_is_complete_at_its_end_however_it_is_cut(text: str) -> None:
    for pieces in cuts(text):
        progress = ObjectProgress()
        for at, piece in enumerate(pieces):
            assert not progress.is_complete or not "".join(pieces[at:]).strip()
            progress.feed(piece)
        assert progress.is_complete
    for end in range(len(text.rstrip())):
        progress = ObjectProgress()
        progress.feed(text[:end])
        assert not progress.is_complete


def test_an_empty_object_may_go_on() -> None:
    progress = ObjectProgress()
    progress.feed("{}")
    assert not progress.is_complete
