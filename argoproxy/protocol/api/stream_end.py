"""Find the last event of a stream that is passed on byte for byte."""

from __future__ import annotations

from collections.abc import Sequence

#: The longest line break, field name and space in front of a value.
_BEFORE_VALUE = len("\nevent: ")
_BLANK_LINES = (b"\n\n", b"\r\n\r\n")


class StreamEnd:
    """Watches the pieces of a stream for a line that only its last event has: a field, and one of these values. With
    one of `failures` as its value, the event is an error.

    Nothing that a model says looks like that: within JSON there are no line breaks.
    """

    def __init__(self, field: bytes, values: Sequence[bytes], failures: Sequence[bytes] = ()) -> None:
        self._failure_marks = _make_marks(field, failures)
        self._marks = [*_make_marks(field, values), *self._failure_marks]
        self._kept = _BEFORE_VALUE + max(map(len, (*values, *failures)))
        self._has_begun = self._is_error = False
        self._rest = b"\n"

    def feed(self, piece: bytes) -> None:
        """Look at the next piece, however the stream is cut."""
        searched = self._rest + piece
        if not self._has_begun and any(mark in searched for mark in self._marks):
            self._has_begun = True
            self._is_error = any(mark in searched for mark in self._failure_marks)
        self._rest = searched[-self._kept :]

    @property
    def is_complete(self) -> bool:
        """Whether the last event has arrived."""
        return self._has_begun

    @property
    def is_error(self) -> bool:
        """Whether the last event, of which the beginning is enough, is an error."""
        return self._is_error

    @property
    def is_missing(self) -> bool:
        """Whether a stream that ends now is broken, although its connection ended well."""
        return False

    @property
    def is_between_events(self) -> bool:
        """Whether another event can follow at once."""
        return self._rest == b"\n" or self._rest.endswith(_BLANK_LINES)


class NamedStreamEnd(StreamEnd):
    """Watches the pieces of a stream whose events have names, and whose last event is never missing."""

    def __init__(self, names: Sequence[bytes], failures: Sequence[bytes]) -> None:
        super().__init__(b"event", names, failures)
        self._has_names = False

    def feed(self, piece: bytes) -> None:
        self._has_names = self._has_names or b"\nevent:" in self._rest + piece
        super().feed(piece)

    @property
    def is_complete(self) -> bool:
        return self._has_begun and self.is_between_events

    @property
    def is_missing(self) -> bool:
        """Whether the last event has not arrived; some servers leave out all names, then nothing is known."""
        return not self.is_complete and (self._has_names or self._rest == b"\n")


def _make_marks(field: bytes, values: Sequence[bytes]) -> list[bytes]:
    return [b"\n" + field + gap + value for value in values for gap in (b": ", b":")]
