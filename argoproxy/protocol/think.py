"""The think filter: takes `<think>…</think>` out of what the client sees, streamed or whole, in every choice.

Only text is looked at (`content` of chat, `text` of legacy completions), never tool arguments. An event that
can't change is passed on unparsed: it holds no first character of the start tag, nothing is open, held or to be
trimmed. An event that lost its text is sent only if something else is left in it.
"""

from __future__ import annotations

import re
from typing import Any

from argoproxy.protocol.chunks import Json
from argoproxy.protocol.sse import Batch, Document, Event, is_done
from argoproxy.protocol.tagged_text import Stripper, TagPair, Tokens, joined

#: What every chunk says, and what pads it.
_ORDINARY = frozenset("id object created model system_fingerprint service_tier choices obfuscation".split())
_FRAME = ("id", "object", "created", "model", "system_fingerprint")


class ThinkFilter:
    """A Filter that removes what stands between the tags of a pair."""

    def __init__(self, tags: TagPair) -> None:
        self._tags = tags
        self._marks = _marks(tags.start[0])
        self._choices: dict[int, _Choice] = {}
        self._idle = True
        self._familiar = set(_ORDINARY)
        self._frame: Json = {}

    def feed(self, batch: Batch) -> Batch:
        if self._idle and not any(map(self._may_change, batch)):
            return batch
        passed: Batch = []
        for event in batch:
            if self._idle and not self._may_change(event):
                passed.append(event)
            else:
                passed += self._one(event)
                self._idle = all(choice.idle for choice in self._choices.values())
        return passed

    def finish(self) -> Batch:
        parts = [choice.rest(index) for index, choice in self._choices.items()]
        return [Event.of({**self._frame, "choices": [part]}) for part in parts if part]

    def _may_change(self, event: Event) -> bool:
        raw = event.raw
        return any(mark in raw for mark in self._marks)

    def _one(self, event: Event) -> Batch:
        chunk = event.chunk
        if chunk is None:
            return [*self.finish(), event] if is_done(event) else [event]
        parts = chunk.get("choices")
        if not isinstance(parts, list) or not parts:
            return [event]
        self._frame = {key: chunk[key] for key in _FRAME if key in chunk}
        is_whole = isinstance(event, Document)
        changed = [self._part(part, is_whole) if isinstance(part, dict) else part for part in parts]
        if all(new is old for new, old in zip(changed, parts, strict=True)):
            return [event]
        new = {**chunk, "choices": changed}
        if is_whole:
            return [Document.of(new)]
        return [Event.of(new)] if self._tells(new) else []

    def _part(self, part: Json, is_whole: bool) -> Json:
        return self._choice(part).strip(part, is_whole or bool(part.get("finish_reason")))

    def _choice(self, part: Json) -> _Choice:
        index = part.get("index")
        return self._choices.setdefault(index if isinstance(index, int) else 0, _Choice(self._tags))

    def _tells(self, chunk: Json) -> bool:
        """Whether something is left: text, a finish reason, usage, a role or field not told before."""
        tells = bool(chunk.get("usage")) or any(chunk[key] for key in chunk if key not in self._familiar)
        for part in chunk["choices"]:
            tells = (isinstance(part, dict) and self._choice(part).tells(part)) or tells
        if tells:
            self._familiar.update(chunk)
        return tells


class _Choice:
    """One choice on its way: its text, its logprobs, and what its events have told besides."""

    def __init__(self, tags: TagPair) -> None:
        self._stripper = Stripper(tags)
        self._tokens = Tokens()
        self._familiar = {"index", "delta", "text", "logprobs"}
        self._is_chat = True

    @property
    def idle(self) -> bool:
        return self._stripper.idle

    def strip(self, part: Json, is_last: bool) -> Json:
        """Give the part without thoughts: the very same object when it holds none."""
        place = _place_of_text(part)
        self._is_chat = bool(place)
        holder = (part.get(place) or {}) if place else part
        text = holder.get("content" if place else "text")
        if isinstance(text, list):
            return self._with_parts(part, place, text, is_last)
        new_text, logprobs = self._stripped(text, part.get("logprobs"), is_last)
        if new_text == (text or "") and logprobs == part.get("logprobs"):
            return part
        told = {"logprobs": logprobs} if "logprobs" in part or logprobs else {}
        if not place:
            return {**part, "text": new_text, **told}
        repeated = {"text": new_text} if isinstance(part.get("text"), str) else {}
        return {**part, place: {**holder, "content": new_text}, **repeated, **told}

    def rest(self, index: int) -> Json | None:
        """Give what was held back and is no tag, as a part of its own; None when there is nothing."""
        text = self._stripper.finish().text
        if not text:
            return None
        spoken: Json = {"delta": {"content": text}} if self._is_chat else {"text": text}
        return {"index": index, **spoken, "finish_reason": None}

    def tells(self, part: Json) -> bool:
        """Whether a part that lost text still tells something; what it tells is remembered."""
        delta = part.get("delta") or {"text": part.get("text")}
        logprobs = part.get("logprobs")
        tells = (
            any(delta[key] for key in delta if key != "role" or "role" not in self._familiar)
            or (isinstance(logprobs, dict) and any(logprobs.values()))
            or any(part[key] for key in part if key not in self._familiar)
        )
        if tells:
            self._familiar.update(part.keys() - {"finish_reason"}, delta.keys() & {"role"})
        return tells

    def _stripped(self, text: Any, logprobs: Any, is_last: bool) -> tuple[str, Any]:
        stripped = self._stripper.feed(text if isinstance(text, str) else "")
        kept_logprobs = self._tokens.follow(logprobs, stripped)
        if not is_last:
            return stripped.text, kept_logprobs
        rest = self._stripper.finish()
        return stripped.text + rest.text, joined(kept_logprobs, self._tokens.follow(None, rest))

    def _with_parts(self, part: Json, place: str, content: list[Any], is_last: bool) -> Json:
        """Strip content that is a list of parts (Mistral); thoughts in parts of their own kind stay."""
        new = [
            {**piece, "text": self._stripper.feed(piece["text"]).text}
            if isinstance(piece, dict) and isinstance(piece.get("text"), str)
            else piece
            for piece in content
        ]
        rest = self._stripper.finish().text if is_last else ""
        new += [{"type": "text", "text": rest}] if rest else []
        return part if new == content else {**part, place: {**part[place], "content": new}}


def _place_of_text(part: Json) -> str:
    """Give the key of the object that holds a chat choice's content; "" for a legacy choice, itself the holder."""
    if isinstance(part.get("message"), dict):
        return "message"
    return "" if "text" in part and "delta" not in part else "delta"


def _marks(first: str) -> tuple[bytes, ...]:
    """Give the bytes without one of which JSON can't hold this character: itself, or the start of its escape."""
    if first < " ":
        return (b"\\",)
    hexadecimal = format(ord(first), "04x") if ord(first) < 0x10000 else ""
    certain = re.match("[0-9]*", hexadecimal[:3])
    return (first.encode(), b"\\u" + certain.group().encode() if certain else b"\\u")
