"""A kept answer: what came from the upstream's adapter, before any filter of this proxy.

The filters run again each time it is given: so each request gets its own form, stream or document, whatever the first
one wanted, and a setting about thoughts or names of models holds for kept answers as soon as it is changed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum

from argoproxy.protocol.stream.runs import RunDecoder
from argoproxy.protocol.stream.sse import Batch, Document

#: Bytes of the longest answer that is kept; the longest texts of models have a hundredth of that, as a stream a half.
LONGEST_KEPT = 8 * 1024 * 1024
#: Little is gained by more effort: the events of a stream repeat nearly all of their bytes.
_EFFORT = 1


class AnswerForm(StrEnum):
    """How the upstream sent it."""

    DOCUMENT = "document"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The bytes of a document, or of all events of a stream; compressed while it is kept."""

    form: AnswerForm
    text: bytes

    def to_batch(self) -> Batch:
        """Return it as one batch, as if all of it had arrived at once. Raises UpstreamProtocolError, ValueError if its
        bytes are damaged."""
        if self.form is AnswerForm.DOCUMENT:
            return [Document(self.text)]
        decoder = RunDecoder()
        return [*decoder.feed(self.text), *decoder.finish()]

    def compress(self) -> bytes:
        """Return its text compressed."""
        return zlib.compress(self.text, _EFFORT)


def decompress_answer(form: str, blob: bytes) -> KeptAnswer:
    """Return the answer that was compressed to these bytes. Raises ValueError if they are none."""
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(blob, LONGEST_KEPT)
    except zlib.error:
        raise ValueError("not compressed by zlib") from None
    if not reader.eof:
        raise ValueError("cut, or longer than any answer that is kept")
    return KeptAnswer(AnswerForm(form), text)
