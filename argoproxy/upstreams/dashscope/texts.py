"""The texts of a choice, streamed: told apart is what is new from what was said before.

DashScope streams in two ways. Incremental events hold what is new, cumulative ones all that was said so far. The
texts alone can't tell which: "1", "10", "100" is "110100" in one and "100" in the other. So:

- A stream that was asked to be cumulative is read so (`incremental_output: false`). A text that does not begin with
  the one before was rewritten: what the client holds is wrong, and it is told. A client that gets one document has
  been sent nothing yet, and gets the last text.
- Any other stream was asked to be incremental, and a server may not care. As long as each text begins with the whole
  one before, both readings are open, and what they differ in is held back; the first text is the same in both. The
  first one that does not settles it: incremental. Where none did, the one of the choice's last event included, it was
  cumulative: the last event of an incremental stream has an empty text (or a new one, which would have to begin with
  all of the one before it, as each before did). So nothing is taken away from a text that repeats itself, with honest
  servers the second event settles it nearly always, and one that is cumulative although asked not to be is
  understood, but told in one piece at its end. Asked with `incremental_output: false`, it is told as it is written.

Whatever else grows like a text is read like one: arguments of calls, lists of log probabilities.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from argoproxy.errors import UpstreamProtocolError

#: Which text it is; a string or a list.
Said = Mapping[Hashable, Any]


class Reading(Enum):
    """How the events of a stream are to be read."""

    UNDECIDED = auto()
    INCREMENTAL = auto()
    CUMULATIVE = auto()
    #: Cumulative, and nothing is told before the end.
    LAST = auto()


@dataclass(slots=True)
class _Growing:
    """One text: all that is known of it, how much of that was told, and the lengths of the beginnings held back."""

    known: Any
    told: int
    held: list[int] = field(default_factory=list)
    #: Whether `known` is a list of ours, which may be lengthened in place.
    is_ours: bool = False

    def begins(self, value: Any) -> bool:
        """Tell whether a value goes on from all that is known."""
        return bool(value[: len(self.known)] == self.known)

    def lengthened(self, value: list[Any]) -> list[Any]:
        """Return what is known, a list, with a value behind it; copied once, not for each value."""
        if not self.is_ours:
            self.known, self.is_ours = list(self.known), True
        self.known.extend(value)
        known: list[Any] = self.known
        return known

    def held_back(self) -> Any:
        """Give what was held back, each beginning being a piece of its own."""
        pieces = [self.known[:length] for length in self.held]
        return "".join(pieces) if isinstance(self.known, str) else [item for piece in pieces for item in piece]


class Texts:
    """The texts of one choice, each with a name."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._texts: dict[Hashable, _Growing] = {}

    def feed(self, said: Said) -> dict[Hashable, Any]:
        """Take what an event says, give what can be told. Raises UpstreamProtocolError for text that was rewritten."""
        released: dict[Hashable, Any] = {}
        if self._reading is Reading.UNDECIDED and any(self._breaks(name, value) for name, value in said.items()):
            self._reading = Reading.INCREMENTAL
            released = {name: text.held_back() for name, text in self._texts.items()}
        for name, value in said.items():
            released[name] = released.get(name, value[:0]) + self._new(name, value)
        return {name: value for name, value in released.items() if value}

    def finish(self) -> dict[Hashable, Any]:
        """Take the end, give what was still held back."""
        if self._reading is Reading.INCREMENTAL:
            return {}
        rest = {name: text.known[text.told :] for name, text in self._texts.items()}
        return {name: value for name, value in rest.items() if value}

    def _breaks(self, name: Hashable, value: Any) -> bool:
        text = self._texts.get(name)
        return text is not None and not text.begins(value)

    def _new(self, name: Hashable, value: Any) -> Any:
        if self._reading is Reading.INCREMENTAL or not value:
            return value
        text = self._texts.get(name)
        if text is None:
            told = 0 if self._reading is Reading.LAST else len(value)
            self._texts[name] = _Growing(value, told)
            return value[:told]
        return self._goes_on(text, value)

    def _goes_on(self, text: _Growing, value: Any) -> Any:
        if not text.begins(value):
            value = self._anew(text, value)
        if value is not text.known:
            text.known, text.is_ours = value, False
        if self._reading is Reading.UNDECIDED:
            text.held.append(len(value))
        if self._reading is not Reading.CUMULATIVE:
            return value[:0]
        new, text.told = value[text.told :], len(value)
        return new

    def _anew(self, text: _Growing, value: Any) -> Any:
        """Give all of a text that does not begin with what was said: of lists only what is new may be told."""
        if isinstance(value, list):
            return text.lengthened(value)
        if self._reading is Reading.LAST:
            return value
        raise UpstreamProtocolError("The upstream rewrote what it had said.", code="upstream_text_rewritten")
