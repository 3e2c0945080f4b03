from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tags import AutoDetect, StartDetector, StartsInside, TagMatcher, TagSet
from argoproxy.protocol.reasoning.text_filters import TagScanner
from tests.support.cuts import cut_at, places

PAIRS = (TagPair(), TagPair("<thinking>", "</thinking>"), TagPair("[T]", "[/T]"), TagPair("|", "|"), TagPair("aa", "a"))
tags = st.lists(st.sampled_from([tag for pair in PAIRS for tag in (pair.start, pair.end)]), min_size=1, max_size=4)
texts = st.lists(
    st.sampled_from(["<", "<think", "think>", "[", "T]", "/", "|", "a", " ", "é", *"<think></think>"])
).map("".join)
fragments = st.lists(st.sampled_from([*"<[/a \n", *(tag for pair in PAIRS for tag in (pair.start, pair.end))]))


def first_tag(text: str, tags: Iterable[str]) -> tuple[int, str]:
    """Return the place and the text of the first tag, of several at one place the shortest; or the place of the first
    one that is cut off by the end, and ""."""
    for place in range(len(text)):
        rest = text[place:]
        if matching := [tag for tag in sorted(tags, key=len) if rest.startswith(tag)]:
            return place, matching[0]
        if any(tag.startswith(rest) for tag in tags):
            return place, ""
    return len(text), ""


@given(texts, tags, st.integers(0, 20))
def test_the_matcher_finds_the_first_tag_or_the_beginning_of_one(text: str, tags: list[str], start: int) -> None:
    start = min(start, len(text))
    place, tag = TagMatcher(tags).find(text, start)
    expected, expected_tag = first_tag(text[start:], tags)
    if len(set(tags)) > 1 or expected_tag:
        assert (place, tag) == (start + expected, expected_tag)
    else:
        assert text[place:] == "" or tags[0].startswith(text[place:])


def new_detector(name: str, tags: TagSet) -> StartDetector | None:
    detectors: dict[str, StartDetector] = {"inside": StartsInside(tags), "auto": AutoDetect(tags)}
    return detectors.get(name)


@given(
    fragments.map("".join),
    places,
    st.lists(st.sampled_from(PAIRS), min_size=1, max_size=3, unique=True),
    st.sampled_from(["outside", "inside", "auto"]),
)
def test_a_text_in_pieces_gives_what_the_whole_text_gives(
    text: str, at: list[int], pairs: list[TagPair], start: str
) -> None:
    tags = TagSet(pairs)
    scanner, whole = TagScanner(tags, new_detector(start, tags)), TagScanner(tags, new_detector(start, tags))
    *pieces, last = cut_at(text, at)
    held, visible = "", ""
    for number, piece in enumerate([*pieces, last]):
        result = scanner.feed(piece) if number < len(pieces) else scanner.feed_last(piece)
        both = held + piece
        assert (result.held, result.size) in ((len(held), len(both)), (0, len(piece)))
        assert result.text == "".join(both[start:end] for start, end in result.spans)
        held = both[result.held_from :]
        visible += result.text
    assert held == ""
    assert visible == whole.feed_last(text).text
    assert scanner.has_lone_end == whole.has_lone_end


@pytest.mark.parametrize("tag", ["<think>", "|", "aab"])
def test_no_more_than_a_tag_less_one_character_is_held_back(tag: str) -> None:
    scanner = TagScanner(TagSet([TagPair(tag, "</x>")]))
    for piece in (tag[:-1], "a", "aa", "<", "</x", "aaaa"):
        result = scanner.feed(piece)
        assert result.size - result.held_from < len(tag)
