"""A kept answer: what came from the upstream's adapter, before any filter of this proxy.

The filters run again each time it is given: so each request gets its own form, stream or document, whatever the first
one wanted, and a setting about thoughts or names of models holds for kept answers as soon as it is changed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from argoproxy.protocol.stream.runs import RunDecoder, TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event

#: Bytes of the longest answer that is kept; the longest texts of models have a hundredth of that, as a stream a half.
LONGEST_KEPT = 8 * 1024 * 1024
#: Little is gained by more effort: the events of a stream repeat nearly all of their bytes.
_EFFORT = 1
#: With more, most events stand alone, and are found as fast.
MOST_CUTS = 100
_LONGEST_CUTS = 16 * MOST_CUTS
#: Between the cuts and the text.
_MARK = b"\n"


class AnswerForm(StrEnum):
    """How the upstream sent it."""

    DOCUMENT = "document"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The bytes of a document, or of all events of a stream. `cuts` are the lengths of its runs of plain events, and of
    the other events as negative numbers, which saves the work of finding them again; empty if that would not."""

    form: AnswerForm
    text: bytes
    cuts: tuple[int, ...] = ()

    def to_batch(self) -> Batch:
        """Return it as one batch, as if all of it had arrived at once."""
        if self.form is AnswerForm.DOCUMENT:
            return [Document(self.text)]
        if not self.cuts:
            decoder = RunDecoder()
            return [*decoder.feed(self.text), *decoder.finish()]
        ends = [*accumulate(map(abs, self.cuts))]
        pieces = (self.text[end - abs(cut) : end] for cut, end in zip(self.cuts, ends, strict=True))
        return [(TextRun if cut > 0 else Event)(piece) for cut, piece in zip(self.cuts, pieces, strict=True)]

    def compress(self) -> bytes:
        """Return it compressed, without its form."""
        return zlib.compress(b",".join(b"%d" % cut for cut in self.cuts) + _MARK + self.text, _EFFORT)


def decompress_answer(form: str, blob: bytes) -> KeptAnswer:
    """Return the answer that was compressed to these bytes. Raises ValueError if they are none."""
    reader = zlib.decompressobj()
    try:
        whole = reader.decompress(blob, LONGEST_KEPT + _LONGEST_CUTS)
    except zlib.error:
        raise ValueError("not compressed by zlib") from None
    if not reader.eof:
        raise ValueError("cut, or longer than any answer that is kept")
    listed, _, text = whole.partition(_MARK)
    cuts = tuple(map(int, listed.split(b","))) if listed else ()
    if cuts and sum(map(abs, cuts)) != len(text):
        raise ValueError("not cut where its events end")
    return KeptAnswer(AnswerForm(form), text, cuts)


class CutList:
    """The cuts of a stream that is recorded. Its events are not held: parsed ones take many times their bytes."""

    def __init__(self) -> None:
        self._cuts: list[int] = []

    def add(self, event: Event) -> None:
        """Add the next event or run."""
        cuts, size = self._cuts, len(event.raw)
        if type(event) is not TextRun:
            cuts.append(-size)
        elif cuts and cuts[-1] > 0:
            cuts[-1] += size
        else:
            cuts.append(size)

    def cuts(self) -> tuple[int, ...]:
        """Return the cuts; none if there are too many of them."""
        return tuple(self._cuts) if len(self._cuts) <= MOST_CUTS else ()
