"""Strings that make a regular expression work hard, derived from its own syntax tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

#: A repeat that may go on for so long is worth pumping.
LONG = 50
#: What follows a run, so that a match fails behind it; and what stands alone.
ENDINGS = ("", "\0", "a", "\n")
PLAIN = (" ", "\n", "a", "0", "\\", '"', "a ", " \n", "a.", "\r\n", "/", "%", "=", "\0", "\u4e16", "-")

Make = Callable[[int], str]


def hard_inputs(pattern: re.Pattern[Any]) -> Iterator[Make]:
    """Return functions that make an input of about so many characters: each long repeat of the pattern pumped, behind
    what leads to it, alone and again and again; and runs that have nothing to do with it."""
    text = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    tree = parser.parse(text, pattern.flags & ~re.DEBUG)
    for before, pump in {pair for pair in _repeats(list(tree), "") if pair[1]}:
        for ending in ENDINGS:
            yield lambda size, a=before, b=pump, c=ending: a + b * (size // len(b)) + c  # type: ignore[misc]
            yield lambda size, a=before, b=pump, c=ending: (a + b + c) * (size // len(a + b + c))  # type: ignore[misc]
    for run in PLAIN:
        yield lambda size, a=run: a * (size // len(a))  # type: ignore[misc]


def _repeats(nodes: list[Any], before: str) -> Iterator[tuple[str, str]]:
    """Find the long repeats: what leads to each, and what is repeated."""
    for place, (op, value) in enumerate(nodes):
        lead = before + "".join(_example(node) for node in nodes[:place])
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            _, most, body = value
            if most is sre.MAXREPEAT or most > LONG:
                yield from ((lead, pump) for pump in {_example_of(body), *_examples(body)})
            yield from _repeats(list(body), lead)
        elif op is sre.SUBPATTERN:
            yield from _repeats(list(value[3]), lead)
        elif op is sre.BRANCH:
            for branch in value[1]:
                yield from _repeats(list(branch), lead)
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _repeats(list(value[1]), lead)
        elif op is sre.ATOMIC_GROUP:
            yield from _repeats(list(value), lead)


def _example_of(body: Any) -> str:
    return "".join(_example(node) for node in body)


def _examples(body: Any) -> list[str]:
    """Return several texts for a repeated set of characters: which one is worst depends on what follows."""
    return [text for text in PLAIN if len(text) == 1 and len(body) == 1 and _fits(body[0], text)]


def _fits(node: Any, character: str) -> bool:
    op, value = node
    if op is sre.IN:
        is_in = any(_covers(item, ord(character)) for item in value)
        return is_in != (value[0][0] is sre.NEGATE)
    return op is sre.ANY or (op is sre.NOT_LITERAL and value != ord(character))


def _covers(item: Any, code: int) -> bool:
    op, value = item
    if op is sre.LITERAL:
        return bool(value == code)
    if op is sre.RANGE:
        return bool(value[0] <= code <= value[1])
    return op is sre.CATEGORY and bool(re.match(_CATEGORIES[value], chr(code)))


def _example(node: Any) -> str:
    """Return a short text that a node matches; "" for what matches no characters."""
    op, value = node
    if op is sre.LITERAL:
        return chr(int(value))
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return str(_example_of(value[2]) * max(value[0], min(value[1], 1)))
    if op is sre.SUBPATTERN:
        return _example_of(value[3])
    if op is sre.BRANCH:
        return _example_of(value[1][0])
    if op is sre.ATOMIC_GROUP:
        return _example_of(value)
    if op in (sre.IN, sre.ANY, sre.NOT_LITERAL):
        return next(
            (text for text in ("a", "0", " ", "-", "\n", "\x7f", "\\", *map(chr, range(0x2100))) if _fits(node, text)),
            "",
        )
    return ""


_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}
