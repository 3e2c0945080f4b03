from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.responses.carrier import Thought, ThoughtDetails, decode_thought, encode_thought
from argoproxy.protocol.stream.json_progress import ObjectProgress
from tests.protocol.responses.conversation import chunk, convert, finish, request, respond
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


def test_a_thought_goes_back_with_the_items_of_its_turn() -> None:
    chunks = [chunk({"reasoning_content": "hm", "reasoning_details": [DETAIL]}), chunk({"content": "a"}), *finish()]
    output = respond(chunks, request(include=["reasoning.encrypted_content"]))["output"]
    assert convert({"role": "user", "content": "q"}, *output)[1:] == [
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [DETAIL]}
    ]


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
