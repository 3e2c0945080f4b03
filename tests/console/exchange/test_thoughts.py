"""What became of thoughts: stripped, moved, or kept."""

from __future__ import annotations

import pytest

from argoproxy.console.exchange.conversation import read_answer
from argoproxy.console.exchange.thoughts import mark_fates, settings_of_client, split_thoughts
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.reasoning.policy import Opening, ReasoningSettings, TagPair

SETTINGS = ReasoningSettings()


def chat(content: str, **fields: str) -> Json:
    return {"choices": [{"message": {"role": "assistant", "content": content, **fields}}]}


def shown(upstream: Json, client: Json, settings: ReasoningSettings = SETTINGS) -> list[tuple[str, str, str]]:
    above, below = read_answer(upstream), read_answer(client)
    clients = split_thoughts(below, settings_of_client(below, above, settings))
    marked = mark_fates(split_thoughts(above, settings), clients)
    return [(part["kind"], part["text"], part["fate"]) for turn in marked for part in turn["parts"]]


def test_a_thought_that_was_removed_is_stripped() -> None:
    assert shown(chat("<think>hm</think>\n\nHello!"), chat("Hello!")) == [
        ("thought", "hm", "stripped"),
        ("text", "Hello!", ""),
    ]


def test_a_thought_between_texts_stands_where_it_was() -> None:
    upstream = chat("One.<think>hm</think> Two.")
    assert shown(upstream, chat("One. Two.")) == [
        ("text", "One.", ""),
        ("thought", "hm", "stripped"),
        ("text", " Two.", ""),
    ]


def test_a_thought_that_was_left_is_kept() -> None:
    same = chat("<think>hm</think>Hello!")
    assert shown(same, same) == [("thought", "hm", "kept"), ("text", "Hello!", "")]


def test_a_thought_between_tags_is_moved_to_a_field() -> None:
    client = chat("Hello!", reasoning_content="hm")
    assert shown(chat("<think>hm</think>Hello!"), client)[0] == ("thought", "hm", "moved")


def test_a_field_is_moved_between_tags() -> None:
    client = chat("<think>hm</think>\n\nHello!")
    assert shown(chat("Hello!", reasoning_content="hm"), client)[0] == ("thought", "hm", "moved")


@pytest.mark.parametrize("opening", [Opening.OPEN, Opening.AUTO])
def test_an_answer_that_starts_inside_a_thought(opening: Opening) -> None:
    settings = ReasoningSettings(opening=opening)
    assert shown(chat("hm</think>Hello!"), chat("Hello!"), settings) == [
        ("thought", "hm", "stripped"),
        ("text", "Hello!", ""),
    ]


def test_other_tags_are_those_of_the_settings() -> None:
    settings = ReasoningSettings(tags=(TagPair("[", "]"),))
    assert shown(chat("[hm]Hello!"), chat("Hello!"), settings)[0] == ("thought", "hm", "stripped")


def test_a_thought_that_never_ended_is_one() -> None:
    assert shown(chat("<think>hm"), chat("")) == [("thought", "hm", "stripped")]
