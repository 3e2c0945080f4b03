from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from enterprise_redaction import REDACTED, Redaction, RedactionFilter, Text
from hypothesis import given, settings
from hypothesis import strategies as st

from argoproxy.api import DONE, Batch, Document, Event, Json, UpstreamStatus, apply_filters, assemble_completion
from tests.support.cuts import cut_at, cuts, places

EMAIL, CARD = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", r"\b(?:\d[ -]?){12,18}\d\b"
USUAL = Redaction.parse([EMAIL, CARD], 64)

TEXTS = {
    "nothing to redact": ("Hello @ all, 4111.", "Hello @ all, 4111."),
    "an address": ("Ask ann@example.com now", f"Ask {REDACTED} now"),
    "only an address": ("ann.lee+x@mail.example.com", REDACTED),
    "two, side by side": ("a@b.de,c@d.fr", f"{REDACTED},{REDACTED}"),
    "an address at the end of a sentence": ("To ann@example.com.", f"To {REDACTED}."),
    "a card number with blanks": ("It is 4111 1111 1111 1111, due", f"It is {REDACTED}, due"),
    "too long for a card number": ("4" * 20, "4" * 20),
    "other letters": ("世界🌍 ann@example.com 🎉", f"世界🌍 {REDACTED} 🎉"),
    "far behind": ("word " * 40 + "ann@example.com", "word " * 40 + REDACTED),
    "nothing": ("", ""),
}


def said(text: str, index: int = 0, name: str = "content", **more: Any) -> Event:
    return chunk({"index": index, "delta": {name: text}, "finish_reason": None, **more})


def ended(index: int = 0) -> Event:
    return chunk({"index": index, "delta": {}, "finish_reason": "stop"})


def chunk(*choices: Json) -> Event:
    return Event.of({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": list(choices)})


def legacy(text: str) -> Event:
    return Event.of({"id": "x", "choices": [{"index": 0, "text": text, "finish_reason": None}]})


def redact(events: Iterable[Event], redaction: Redaction = USUAL) -> Batch:
    redacting = RedactionFilter(redaction)
    return [passed for one in events for passed in redacting.feed([one])] + redacting.finish()


def told(events: Sequence[Event]) -> Json:
    return assemble_completion(event.chunk for event in events if event.chunk)


def text_of(events: Sequence[Event]) -> str:
    choices: list[Json] = told(events)["choices"] or [{"text": ""}]
    (choice,) = choices
    text: str = (choice["message"]["content"] or "") if "message" in choice else choice["text"]
    return text


def whole(text: str, redaction: Redaction = USUAL) -> str:
    document = Document.of({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})
    (passed,) = redact([document], redaction)
    content: str = (passed.chunk or {})["choices"][0]["message"]["content"]
    return content


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS.keys())
def test_matches_are_redacted_however_the_text_is_cut(text: str, shown: str) -> None:
    assert whole(text) == shown
    for pieces in cuts(text):
        assert text_of(redact([*map(said, pieces), ended()])) == shown
        assert text_of(redact([*map(said, pieces), DONE])) == shown
        assert text_of(redact(map(said, pieces))) == shown
        assert text_of(redact([*map(legacy, pieces), DONE])) == shown


LETTERS = st.text(alphabet="ab1 @.\n-4", max_size=40)
ODD = [EMAIL, r"\bab\b", r"(?<=a)b", r"a(?=b)", r"^a|b$", r"a.*?b", r"1(?:11)*", r"(?m)^-.*$", r"a|ab"]


@settings(deadline=None)
@given(LETTERS, places, st.lists(st.sampled_from(ODD), min_size=1, max_size=3), st.integers(1, 12))
def test_any_cut_redacts_the_same_for_any_patterns(
    text: str, cut_places: list[int], patterns: list[str], longest: int
) -> None:
    redaction = Redaction.parse(patterns, longest)
    shown = whole(text, redaction)
    for pieces in [*cuts(text), cut_at(text, cut_places)]:
        assert text_of(redact([*map(said, pieces), ended()], redaction)) == shown


@settings(deadline=None)
@given(LETTERS)
def test_short_texts_are_redacted_as_a_plain_substitution_would(text: str) -> None:
    assert whole(text, Redaction.parse([EMAIL], 64)) == re.sub(EMAIL, REDACTED, text)


def test_no_more_is_held_back_than_a_match_may_have() -> None:
    text = Text(Redaction.parse(["x"], 5))
    assert [text.feed(piece) for piece in ("abcd", "e", "fg", "")] == ["", "a", "bc", ""]
    assert (text.finish(), text.finish()) == ("defg", "")


def test_a_match_has_no_more_characters_than_were_said() -> None:
    assert whole("aaaaaaab", Redaction.parse(["a+b"], 4)) == f"aaaa{REDACTED}"


def test_every_choice_has_its_own_text() -> None:
    events = [said("ann@exam", 0), said("bob@exam", 1), said("ple.com", 1), said("ple.com!", 0), ended(1), ended(0)]
    contents = [choice["message"]["content"] for choice in told(redact(events))["choices"]]
    assert contents == [f"{REDACTED}!", REDACTED]


def test_choices_of_a_document_are_redacted() -> None:
    choices = [
        {"index": 0, "message": {"content": "a@b.de", "refusal": "c@d.fr", "tool_calls": [{"id": "a@b.de"}]}},
        {"index": 1, "text": "c@d.fr"},
        "odd",
    ]
    (passed,) = redact([Document.of({"choices": choices})])
    assert isinstance(passed, Document)
    assert passed.chunk["choices"] == [
        {"index": 0, "message": {"content": REDACTED, "refusal": REDACTED, "tool_calls": [{"id": "a@b.de"}]}},
        {"index": 1, "text": REDACTED},
        "odd",
    ]


def test_thoughts_and_refusals_are_texts_of_their_own() -> None:
    events = [said("ann@ex.de", name="reasoning_content"), said("bob@ex"), said("ample.com"), ended()]
    message = told(redact(events))["choices"][0]["message"]
    assert message == {"role": "assistant", "reasoning_content": REDACTED, "content": REDACTED}


def test_what_was_held_back_comes_with_the_finish_reason() -> None:
    passed = redact([said("Hi"), chunk({"index": 0, "delta": None, "finish_reason": "stop"}), DONE])
    assert [(event.chunk or {}).get("choices") for event in passed] == [
        [{"index": 0, "delta": {"content": ""}, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}],
        None,
    ]


def test_what_was_held_back_of_a_stream_that_broke_is_told_first() -> None:
    def broken() -> Iterable[Batch]:
        yield [said("Hi, a@b.de")]
        raise UpstreamStatus(500, (), b"")

    passed = apply_filters(broken(), lambda: [RedactionFilter(USUAL)])
    assert next(passed)
    (rest,) = next(passed)
    assert rest.chunk == {
        "id": "x",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": None, "delta": {"content": f"Hi, {REDACTED}"}}],
    }
    with pytest.raises(UpstreamStatus):
        next(passed)


def test_tokens_tell_no_more_than_the_text() -> None:
    logprobs = {"content": [{"token": "ann@"}]}
    (passed, *_) = redact([said("ann@", logprobs=logprobs)])
    assert (passed.chunk or {})["choices"][0]["logprobs"] is None


def test_a_list_of_parts_is_redacted() -> None:
    image = {"type": "image"}
    parts = [{"type": "text", "text": "ann@"}, image, {"type": "text", "text": "example.com"}]
    (passed,) = redact([chunk({"index": 0, "delta": {"content": parts}, "finish_reason": "stop"})])
    assert (passed.chunk or {})["choices"][0]["delta"]["content"] == [
        {"type": "text", "text": ""},
        image,
        {"type": "text", "text": ""},
        {"type": "text", "text": REDACTED},
    ]


UNCHANGED = [
    chunk({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}),
    chunk({"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "a@b.de"}}]}, "finish_reason": None}),
    chunk({"index": 0, "delta": {"content": None}, "finish_reason": "stop"}),
    chunk(),
    Event.of({"id": "x", "usage": {"total_tokens": 1}}),
    Event(b": a@b.de\n\n"),
    DONE,
]


@pytest.mark.parametrize("event", UNCHANGED)
def test_what_tells_no_text_passes_as_it_came(event: Event) -> None:
    redacting, batch = RedactionFilter(USUAL), [event]
    assert redacting.feed(batch) is batch
    assert redacting.finish() == []


def test_without_patterns_nothing_is_held_back() -> None:
    redacting, batch = RedactionFilter(Redaction.parse([], 64)), [said("a@b.de")]
    assert redacting.feed(batch) is batch


@pytest.mark.parametrize(
    ("patterns", "longest", "mistake"),
    [
        (["("], 64, "not a regular expression"),
        ([5], 64, "not a regular expression"),
        (["a*"], 64, "matches the empty text"),
        ("abc", 64, "`redact`"),
        (["a"], 0, "`longest`"),
        (["a"], True, "`longest`"),
        (["a"], "64", "`longest`"),
    ],
)
def test_mistakes_in_the_file_are_named(patterns: Any, longest: Any, mistake: str) -> None:
    with pytest.raises((ValueError, TypeError), match=mistake):
        Redaction.parse(patterns, longest)
