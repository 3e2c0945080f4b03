"""The thoughts in an upstream's answer, and what became of them on the way to the client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from argoproxy.console.exchange.exchange_shapes import Fate, ShownPart, ShownTurn
from argoproxy.console.exchange.parts import make_part
from argoproxy.protocol.reasoning.policy import Opening, ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.tags import AutoDetect, StartDetector, StartsInside, TagSet
from argoproxy.protocol.reasoning.text_filters import TagScanner


def split_thoughts(turns: Sequence[ShownTurn], settings: ReasoningSettings) -> list[ShownTurn]:
    """Return the choices of an answer with the thoughts between tags as pieces of their own."""
    return [{**turn, "parts": list(_split_parts(turn["parts"], settings))} for turn in turns]


def mark_fates(upstream: Sequence[ShownTurn], client: Sequence[ShownTurn]) -> list[ShownTurn]:
    """Return the choices of an upstream's answer with what became of each thought. Both have their thoughts split."""
    marked: list[ShownTurn] = []
    for index, turn in enumerate(upstream):
        parts = client[index]["parts"] if index < len(client) else []
        marked.append({**turn, "parts": [_mark(part, parts) for part in turn["parts"]]})
    return marked


def settings_of_client(
    client: Sequence[ShownTurn], upstream: Sequence[ShownTurn], settings: ReasoningSettings
) -> ReasoningSettings:
    """Return the settings by which thoughts are found in the client's answer: only one that is the upstream's own
    starts inside a thought where that does."""
    is_same = [_text_of(turn) for turn in client] == [_text_of(turn) for turn in upstream]
    return settings if is_same else replace(settings, opening=Opening.CLOSED)


def _text_of(turn: ShownTurn) -> str:
    return "".join(part["text"] for part in turn["parts"] if part["kind"] == "text")


def _split_parts(parts: Iterable[ShownPart], settings: ReasoningSettings) -> Iterator[ShownPart]:
    is_first = True
    for part in parts:
        if part["kind"] != "text":
            yield part
            continue
        yield from _split_text(part, settings, settings.opening if is_first else Opening.CLOSED)
        is_first = False


def _split_text(part: ShownPart, settings: ReasoningSettings, opening: Opening) -> Iterator[ShownPart]:
    text, tags = part["text"], TagSet(settings.tags)
    scanner = TagScanner(tags, _detector(tags, opening))
    end = 0
    for start, stop in scanner.feed_last(text).spans:
        yield from _thought_between(text[end:start], settings.tags)
        yield {**part, "text": text[start:stop], "cut": 0}
        end = stop
    yield from _thought_between(text[end:], settings.tags)
    if part["cut"]:
        yield {**part, "text": ""}


def _detector(tags: TagSet, opening: Opening) -> StartDetector | None:
    if opening is Opening.CLOSED:
        return None
    return StartsInside(tags) if opening is Opening.OPEN else AutoDetect(tags)


def _thought_between(text: str, pairs: Sequence[TagPair]) -> Iterator[ShownPart]:
    """Yield a thought with its tags as a piece without them; nothing for white space that was only trimmed."""
    bare, place = text.strip(), ""
    for pair in pairs:
        if bare.startswith(pair.start) or bare.endswith(pair.end):
            bare, place = bare.removeprefix(pair.start).removesuffix(pair.end).strip(), pair.start
            break
    if bare or place:
        yield make_part("thought", bare, place)


def _mark(part: ShownPart, parts: Sequence[ShownPart]) -> ShownPart:
    if part["kind"] != "thought":
        return part
    return {**part, "fate": _find_fate(part, parts)}


def _find_fate(thought: ShownPart, parts: Sequence[ShownPart]) -> Fate:
    """Return whether the client has a thought where it was, elsewhere, or not at all."""
    text = thought["text"].strip()
    holders = [part for part in parts if part["kind"] == "thought" and text in part["text"]]
    if not text or not holders:
        return "stripped"
    return "kept" if any(part["place"] == thought["place"] for part in holders) else "moved"
