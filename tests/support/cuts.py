"""Every way to cut an input: the measure of decoders and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

TextT = TypeVar("TextT", bytes, str)


def cuts(text: TextT) -> Iterator[list[TextT]]:
    """Give the text whole, one by one, and cut in two at every place."""
    yield [text]
    yield [text[at : at + 1] for at in range(len(text))]
    yield from ([text[:at], text[at:]] for at in range(len(text) + 1))


def cut_at(text: TextT, places: Sequence[int]) -> list[TextT]:
    """Cut a text at these places."""
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


places = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)
