"""One choice of a completion, streamed or whole: its text and logprobs without thoughts, its thoughts where the policy
puts them.

A ChoiceFilter is composed: a TextFilter removes tagged thoughts from its text (or writes them into it), a FieldPolicy
says what becomes of thoughts in fields, a FieldTarget adds tagged thoughts to a field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.reasoning.logprobs import LogprobsFilter, drop_leading
from argoproxy.protocol.reasoning.tags import ScanResult, ThoughtBuffer
from argoproxy.protocol.reasoning.text_filters import TagWriter
from argoproxy.protocol.reasoning.thought_fields import FIELDS, FieldReader, move_thought, remove_thoughts

Feed = Callable[[str], ScanResult]


class TextFilter(Protocol):
    """Takes the text of one choice in pieces: a TagScanner or a TagWriter."""

    @property
    def is_idle(self) -> bool:
        """Whether a piece without the first character of an opening tag would pass unchanged."""

    @property
    def is_discarding(self) -> bool:
        """Whether a piece without the first character of a closing tag would be dropped without a trace."""

    @property
    def is_past_start(self) -> bool:
        """Whether from now on only tags can change the text."""

    @property
    def has_lone_end(self) -> bool:
        """Whether a closing tag was visible before any opening one."""

    def feed(self, piece: str) -> ScanResult:
        """Take a piece of the text."""

    def feed_last(self, piece: str) -> ScanResult:
        """Take the last piece."""

    def start_outside(self) -> None:
        """Note that a thought came in a field, so the text starts outside of one."""

    def end_thought(self) -> None:
        """End a thought that is open: something else than text followed."""


class FieldPolicy(Protocol):
    """What becomes of thoughts in fields and content parts."""

    #: Whether a tool call ends a tagged thought that is still open.
    calls_end_thoughts: bool

    def apply(self, part: Json, holder: Json, thought: str) -> Json:
        """Return a part with its `thought` where the policy puts it. `holder` is the part's message or delta; `thought`
        may be empty. The text of the part is filtered after that."""


class LeaveFields:
    """Thoughts in fields stay."""

    calls_end_thoughts = False

    def apply(self, part: Json, holder: Json, thought: str) -> Json:
        return part


class RemoveFields:
    """Thoughts in fields are removed, with their logprobs."""

    calls_end_thoughts = True

    def apply(self, part: Json, holder: Json, thought: str) -> Json:
        bare = remove_thoughts(holder)
        new = _replace_holder(part, holder, bare)
        logprobs = part.get("logprobs")
        if new is part or not isinstance(logprobs, dict):
            return new
        left = {key: value for key, value in logprobs.items() if key not in FIELDS}
        return {**new, "logprobs": drop_leading(left, len(thought), len(as_text(bare.get("content"))))}


class FieldTarget:
    """Thoughts in fields are moved to one field, and tagged thoughts are added to it."""

    calls_end_thoughts = True

    def __init__(self, name: str, buffer: ThoughtBuffer) -> None:
        self._name = name
        self._buffer = buffer

    def apply(self, part: Json, holder: Json, thought: str) -> Json:
        if thought:
            self._buffer.mark_earlier()
        return _replace_holder(part, holder, move_thought(holder, self._name, thought))

    def add_tagged(self, part: Json) -> Json:
        """Return a part with the tagged thoughts found since the last call; a legacy choice has no field for them."""
        thought, key = self._buffer.take(), _holder_key(part)
        if not thought or not key:
            return part
        holder = _holder(part)
        others = {} if key == "delta" and holder == {"content": ""} else holder
        return {**part, key: {**others, self._name: as_text(holder.get(self._name)) + thought}}


class FieldsIntoText:
    """Thoughts in fields are written into the text, between tags."""

    calls_end_thoughts = True

    def __init__(self, writer: TagWriter) -> None:
        self._writer = writer

    def apply(self, part: Json, holder: Json, thought: str) -> Json:
        if thought:
            self._writer.add_thought(thought)
        return _replace_holder(part, holder, remove_thoughts(holder))


class ChoiceFilter:
    """Filters one choice, part by part: the deltas of a stream or the message of a document."""

    def __init__(self, text: TextFilter, fields: FieldPolicy | None = None, target: FieldTarget | None = None) -> None:
        """Without `fields`, thoughts in fields are not even read; without `target`, tagged thoughts are dropped."""
        self.text = text
        self._fields = fields
        self._target = target
        self._reader = FieldReader()
        self._logprobs = LogprobsFilter()
        #: Keys that do not make a part worth sending once it has lost its text.
        self._known = {"index", "delta", "text", "logprobs"}
        self._is_chat = True

    @property
    def awaits_logprobs(self) -> bool:
        """Whether logprobs of text that is held back wait for it."""
        return self._logprobs.is_waiting

    def filter_delta(self, text: str) -> Json:
        """Return what is sent of a delta that holds this text and nothing else; {} if it is not to be sent."""
        visible = self.text.feed(text).text
        delta: Json = {"content": visible} if visible or not text else {}
        return self._target.add_tagged({"delta": delta})["delta"] if self._target else delta

    def filter_part(self, part: Json) -> Json:
        """Return a part without thoughts in its text: the same object if it holds none."""
        return self._filter(part, self.text.feed)

    def filter_last_part(self, part: Json) -> Json:
        """Return the part that ends the choice, with what was held back."""
        return self._filter(part, self.text.feed_last)

    def finish(self, index: int) -> Json | None:
        """Return what was held back as a part of its own, None if there is nothing."""
        text = self.text.feed_last("").text
        if not self._is_chat:
            return {"index": index, "text": text, "finish_reason": None} if text else None
        part: Json = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": None}
        part = self._target.add_tagged(part) if self._target else part
        return part if part["delta"] else None

    def is_worth_sending(self, part: Json) -> bool:
        """Return whether a part that lost text still holds anything that was not sent before; remember what is sent."""
        delta = as_dict(part.get("delta")) or {"text": part.get("text")}
        logprobs = part.get("logprobs")
        is_worth = (
            any(delta[key] for key in delta if key != "role" or "role" not in self._known)
            or (isinstance(logprobs, dict) and any(logprobs.values()))
            or any(part[key] for key in part if key not in self._known)
        )
        if is_worth:
            self._known.update(part.keys() - {"finish_reason"}, delta.keys() & {"role"})
        return is_worth

    def _filter(self, part: Json, feed: Feed) -> Json:
        if not self._fields:
            return self._filter_text(part, feed)
        holder = _holder(part)
        thought = self._reader.read(holder)
        if thought:
            self.text.start_outside()
        has_calls = bool(holder.get("tool_calls") or holder.get("function_call"))
        ends_thought = has_calls and self._fields.calls_end_thoughts
        part = self._fields.apply(part, holder, thought)
        new = self._filter_text(part, self.text.feed_last if ends_thought else feed)
        if ends_thought:
            self.text.end_thought()
        return self._target.add_tagged(new) if self._target else new

    def _filter_text(self, part: Json, feed: Feed) -> Json:
        key = _holder_key(part)
        self._is_chat = bool(key)
        holder = _holder(part) if key else part
        content = holder.get("content" if key else "text")
        if isinstance(content, list):
            parts = filter_content_parts(content, self.text.feed, feed)
            return part if parts == content else {**part, key: {**holder, "content": parts}}
        text = as_text(content)
        result = feed(text)
        logprobs = self._logprobs.follow(part.get("logprobs"), result)
        new: Json = {} if logprobs is part.get("logprobs") else {"logprobs": logprobs}
        if result.text != text:
            new |= _with_text(part, result.text)
        return {**part, **new} if new else part


def filter_content_parts(parts: list[Any], feed: Feed, feed_last: Feed) -> list[Any]:
    """Filter the texts of a content that is a list of parts (Mistral); parts of other types stay."""
    new = [
        {**part, "text": feed(part["text"]).text}
        if isinstance(part, dict) and isinstance(part.get("text"), str)
        else part
        for part in parts
    ]
    rest = feed_last("").text
    return [*new, {"type": "text", "text": rest}] if rest else new


def _with_text(part: Json, text: str) -> Json:
    """Return the fields of a part that hold its text, with another one."""
    key = _holder_key(part)
    if not key:
        return {"text": text}
    # Some servers repeat the text of a delta as a legacy choice's `text`.
    repeated = {"text": text} if isinstance(part.get("text"), str) else {}
    return {key: {**_holder(part), "content": text}, **repeated}


def _holder_key(part: Json) -> str:
    """Return the key of the object that holds a chat choice's content, "" for a legacy choice."""
    if isinstance(part.get("message"), dict):
        return "message"
    return "" if "text" in part and "delta" not in part else "delta"


def _holder(part: Json) -> Json:
    """Return the message or delta of a chat choice, {} for a legacy choice."""
    key = _holder_key(part)
    return as_dict(part.get(key)) if key else {}


def _replace_holder(part: Json, old: Json, new: Json) -> Json:
    """Return a part with another message or delta, the same part if both are the same object; a legacy choice stays."""
    key = _holder_key(part)
    return part if new is old or not key else {**part, key: new}
