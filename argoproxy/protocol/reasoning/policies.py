"""What becomes of the thoughts of one choice, by each policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.reasoning.choice import Choice, Cutter, place_of_text
from argoproxy.protocol.reasoning.fields import FIELDS, Source, in_field, without_fields
from argoproxy.protocol.reasoning.tag_scanner import Notes, Scanner
from argoproxy.protocol.reasoning.tag_stripper import Stripped, without_first
from argoproxy.protocol.reasoning.tag_writer import AnyTokens, Tagger

Take = Callable[[str], Stripped]


class Listener(Cutter, Protocol):
    """A Cutter that is told what else the choice says."""

    def answers(self) -> None:
        """Know that a thought was told elsewhere, so that the text does not start inside one."""

    def close(self) -> None:
        """Know that something else was said than text, which ends a thought."""


class Untagged(Choice):
    """A choice that loses its tagged thoughts and nothing else."""

    def __init__(self, scanner: Scanner) -> None:
        super().__init__(scanner)
        self._scanner = scanner
        self._source = Source()

    def _strip(self, part: Json, take: Take) -> Json:
        if self._source.thought_in(as_dict(part.get(place_of_text(part)))):
            self._scanner.answers()
        return super()._strip(part, take)


class _Ruled(Choice):
    """A choice with a policy of its own: thoughts in fields count too, and a tool call ends a thought."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self._listener = listener
        self._source = Source()

    def _strip(self, part: Json, take: Take) -> Json:
        place = place_of_text(part)
        holder = as_dict(part.get(place))
        thought = self._source.thought_in(holder)
        if thought:
            self._listener.answers()
        calls = holder.get("tool_calls") or holder.get("function_call")
        bare = self._without_thought(holder, thought)
        part = part if bare is holder else self._bare(part, bare, thought)
        new = super()._strip(part, self._listener.feed_last if calls else take)
        if calls:
            self._listener.close()
        return new

    def _without_thought(self, holder: Json, thought: str) -> Json:
        """Give a message or delta as its text is to be looked at; the very same one when it is so already."""
        return without_fields(holder)

    def _bare(self, part: Json, bare: Json, thought: str) -> Json:
        """Give the part with another message or delta."""
        return {**part, place_of_text(part): bare}


class Thoughtless(_Ruled):
    """A choice that loses its thoughts, wherever they are told, with their logprobs."""

    def _bare(self, part: Json, bare: Json, thought: str) -> Json:
        new = super()._bare(part, bare, thought)
        told = part.get("logprobs")
        if not isinstance(told, dict):
            return new
        text = bare.get("content")
        spoken = {key: value for key, value in told.items() if key not in FIELDS}
        return {**new, "logprobs": without_first(spoken, len(thought), len(text) if isinstance(text, str) else 0)}


class InField(_Ruled):
    """A choice that tells its thoughts in a field, behind those that it told there itself."""

    def __init__(self, scanner: Scanner, notes: Notes, field: str) -> None:
        super().__init__(scanner)
        self._notes = notes
        self._field = field

    def said_in(self, text: str) -> Json:
        said = super().said_in(text)
        thought = self._notes.taken()
        return {**said, self._field: thought} if thought else said

    def rest(self, index: int) -> Json | None:
        part = super().rest(index)
        told = self._told(part or {"index": index, "delta": {}, "finish_reason": None})
        return told if part or told["delta"] else None

    def _strip(self, part: Json, take: Take) -> Json:
        return self._told(super()._strip(part, take))

    def _without_thought(self, holder: Json, thought: str) -> Json:
        if thought:
            self._notes.follow()
        return in_field(holder, self._field, thought)

    def _told(self, part: Json) -> Json:
        """Give the part with what was thought in it; a legacy choice has no field for that."""
        thought, place = self._notes.taken(), place_of_text(part)
        if not thought or not place:
            return part
        holder = as_dict(part.get(place))
        told = holder.get(self._field)
        said = {} if place == "delta" and holder == {"content": ""} else holder
        return {**part, place: {**said, self._field: (as_text(told)) + thought}}


class InTags(_Ruled):
    """A choice that tells its thoughts in its text."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__(tagger)
        self._tagger = tagger
        self._tokens = AnyTokens()

    def _without_thought(self, holder: Json, thought: str) -> Json:
        if thought:
            self._tagger.think(thought)
        return without_fields(holder)
