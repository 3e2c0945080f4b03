"""Find the last event of a stream that is passed on byte for byte, and where it can be ended."""

from __future__ import annotations

import re
from functools import lru_cache

#: The longest line break, field name and space in front of a value.
_BEFORE_VALUE = len("\nevent: ")
_BLANK_LINES = (b"\n\n", b"\r\n\r\n")


#: Fields without which an event has no content, and how many of them are looked for before a line of content.
_NAMES = (b"event:", b"id:", b"retry:")
_MOST_NAMES = 4
#: Longer lines are passed on in pieces.
LONGEST_LINE = 8 * 1024 * 1024


class LineBuffer:
    """Holds back a line that has not ended, and the names of the event right before it: clients would fail on half an
    event in words of their own, in place of reading the error that follows it."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> bytes:
        """What was held back."""
        return bytes(self._held)

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; return what can be passed on."""
        if not self._held and piece.endswith(b"\n\n"):
            return piece
        begins_at = len(self._held)
        self._held += piece
        if b"\n" not in piece and b"\r" not in piece:
            end = len(self._held) if begins_at > LONGEST_LINE else 0
        else:
            end = _find_end(self._held)
        passed = bytes(self._held[:end])
        del self._held[:end]
        return passed


def _find_end(text: bytearray) -> int:
    """Return where the last whole line ends that is no name of an event whose content is missing."""
    end = _end_of_lines(text, len(text))
    for _ in range(_MOST_NAMES):
        start = _end_of_lines(text, end - (2 if text.endswith(b"\r\n", 0, end) else 1))
        if not text.startswith(_NAMES, start, end):
            break
        end = start
    return end


def _end_of_lines(text: bytearray, before: int) -> int:
    return max(text.rfind(b"\n", 0, before), text.rfind(b"\r", 0, before)) + 1


class StreamEnd:
    """Watches the pieces of a stream for a line that only its last event has: a field, and one of these values. With
    one of `failures` as its value, the event is an error.

    Nothing that a model says looks like that: within JSON there are no line breaks.
    """

    def __init__(self, field: bytes, values: tuple[bytes, ...], failures: tuple[bytes, ...] = ()) -> None:
        self._last_line = _compile_last_line(field, values, failures)
        self._kept = _BEFORE_VALUE + max(map(len, (*values, *failures)))
        self._has_begun = self._is_error = False
        self._rest = b"\n"

    @property
    def stream_id(self) -> str:
        """The id that the stream gave itself, where an event about its end has to repeat it; "" if there is none."""
        return ""

    def feed(self, piece: bytes) -> None:
        """Look at the next piece, however the stream is cut."""
        searched = self._rest + piece
        if not self._has_begun and (found := self._last_line.search(searched)):
            self._has_begun, self._is_error = True, found[1] is not None
        self._rest = searched[-self._kept :]

    def is_complete_after(self, held: bytes) -> bool:
        """Return whether the last event has arrived, with what was not fed."""
        return self._has_begun or self._last_line.search(self._rest + held) is not None

    @property
    def is_error(self) -> bool:
        """Whether the last event, of which the beginning is enough, is an error."""
        return self._is_error

    def is_missing_after(self, held: bytes) -> bool:
        """Return whether a stream that ends with what was not fed is broken, although its connection ended well."""
        return False

    @property
    def lacks_blank_line(self) -> bool:
        """Whether the last event has arrived but for its blank line, which clients wait for."""
        return False

    @property
    def is_between_events(self) -> bool:
        """Whether another event can follow at once."""
        return self._rest == b"\n" or self._rest.endswith(_BLANK_LINES)


class NamedStreamEnd(StreamEnd):
    """Watches the pieces of a stream whose events have names, and whose last event is never missing."""

    def __init__(self, names: tuple[bytes, ...], failures: tuple[bytes, ...]) -> None:
        super().__init__(b"event", names, failures)
        self._has_names = False

    def feed(self, piece: bytes) -> None:
        self._has_names = self._has_names or b"\nevent:" in self._rest + piece
        super().feed(piece)

    def is_complete_after(self, held: bytes) -> bool:
        return self._has_begun and (self.is_between_events or self.lacks_blank_line)

    def is_missing_after(self, held: bytes) -> bool:
        """Return whether the last event has not arrived; some servers leave out all names, then nothing is known."""
        has_names = self._has_names or b"\nevent:" in self._rest + held
        return not self.is_complete_after(held) and (has_names or self._rest + held == b"\n")

    @property
    def lacks_blank_line(self) -> bool:
        return self._has_begun and not self.is_between_events and self._rest.endswith((b"\n", b"\r"))


@lru_cache(maxsize=16)
def _compile_last_line(field: bytes, values: tuple[bytes, ...], failures: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Return a pattern of the line; its group is what says that it failed. One search for all values takes a fifth of
    the time of one for each."""
    failed, ended = (b"|".join(map(re.escape, words)) for words in (failures, values))
    return re.compile(rb"\n%b: ?(?:(%b)|%b)" % (field, failed or rb"(?!)", ended))
