"""Extract the new text from the events of a DashScope stream, incremental or cumulative.

Incremental events hold only what is new, cumulative ones everything so far. The texts alone do not tell which: "1",
"10", "100" is "110100" in one mode and "100" in the other. So:

- A stream that was requested as cumulative (`incremental_output: false`) is read so. A text that does not begin with
  the previous one was rewritten: the client already has wrong text, so the stream ends with an error. A client that
  gets one document has been sent nothing yet, and gets the last text.
- Any other stream was requested as incremental, but a server may ignore that. While each text begins with the whole
  previous one, both modes are possible, and where they differ the text is held back; the first text is the same in
  both. The first text that does not decides: incremental. If all of them do, the last event of the choice included, the
  stream was cumulative: the last event of an incremental stream has an empty text, or a new one, which would have to
  begin with everything before it. So a text that repeats itself loses nothing, an honest server is recognised at its
  second event nearly always, and the text of a server that is cumulative against the request comes in one piece at the
  end.

Whatever else grows like a text is read like one: arguments of tool calls, lists of log probabilities.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from argoproxy.errors import UpstreamProtocolError

#: The texts of one event by name; each a string or a list.
TextsByName = Mapping[Hashable, Any]


class TextMode(Enum):
    """How the texts of a stream are read."""

    UNDECIDED = auto()
    INCREMENTAL = auto()
    CUMULATIVE = auto()
    #: Cumulative, and nothing is returned before the end.
    FINAL_ONLY = auto()


@dataclass(slots=True)
class _GrowingText:
    """All of one text so far, how much of it was returned, and the lengths of the beginnings held back."""

    text: Any
    returned: int
    held: list[int] = field(default_factory=list)
    #: Whether `text` is a list that this object created, so that it may be extended in place.
    is_own_list: bool = False

    def is_begin_of(self, value: Any) -> bool:
        return bool(value[: len(self.text)] == self.text)

    def extend(self, value: list[Any]) -> list[Any]:
        """Append to a list and return it. It is copied once, not at each event: that would be quadratic."""
        if not self.is_own_list:
            self.text, self.is_own_list = list(self.text), True
        self.text.extend(value)
        text: list[Any] = self.text
        return text

    def join_held(self) -> Any:
        """Return what was held back, each beginning as a piece of its own."""
        pieces = [self.text[:length] for length in self.held]
        return "".join(pieces) if isinstance(self.text, str) else [item for piece in pieces for item in piece]


class DeltaExtractor:
    """Extracts the new part of each text of one choice."""

    def __init__(self, mode: TextMode) -> None:
        self._mode = mode
        self._texts: dict[Hashable, _GrowingText] = {}

    def feed(self, texts: TextsByName) -> dict[Hashable, Any]:
        """Take the texts of an event and return what is new. Raises UpstreamProtocolError for a rewritten text."""
        new: dict[Hashable, Any] = {}
        if self._mode is TextMode.UNDECIDED and any(self._is_new_text(name, value) for name, value in texts.items()):
            self._mode = TextMode.INCREMENTAL
            new = {name: text.join_held() for name, text in self._texts.items()}
        for name, value in texts.items():
            new[name] = new.get(name, value[:0]) + self._delta(name, value)
        return {name: value for name, value in new.items() if value}

    def finish(self) -> dict[Hashable, Any]:
        """Return what was still held back at the end of the choice."""
        if self._mode is TextMode.INCREMENTAL:
            return {}
        rest = {name: text.text[text.returned :] for name, text in self._texts.items()}
        return {name: value for name, value in rest.items() if value}

    def _is_new_text(self, name: Hashable, value: Any) -> bool:
        text = self._texts.get(name)
        return text is not None and not text.is_begin_of(value)

    def _delta(self, name: Hashable, value: Any) -> Any:
        if self._mode is TextMode.INCREMENTAL or not value:
            return value
        text = self._texts.get(name)
        if text is None:
            returned = 0 if self._mode is TextMode.FINAL_ONLY else len(value)
            self._texts[name] = _GrowingText(value, returned)
            return value[:returned]
        return self._continue(text, value)

    def _continue(self, text: _GrowingText, value: Any) -> Any:
        if not text.is_begin_of(value):
            value = self._rewrite(text, value)
        if value is not text.text:
            text.text, text.is_own_list = value, False
        if self._mode is TextMode.UNDECIDED:
            text.held.append(len(value))
        if self._mode is not TextMode.CUMULATIVE:
            return value[:0]
        new, text.returned = value[text.returned :], len(value)
        return new

    def _rewrite(self, text: _GrowingText, value: Any) -> Any:
        """Return the whole of a text that does not begin with the previous one. Lists may hold only what is new even in
        cumulative streams. Raises UpstreamProtocolError if the client has the previous text already."""
        if isinstance(value, list):
            return text.extend(value)
        if self._mode is TextMode.FINAL_ONLY:
            return value
        raise UpstreamProtocolError(
            "The upstream changed text that it had already sent.", code="upstream_text_rewritten"
        )
