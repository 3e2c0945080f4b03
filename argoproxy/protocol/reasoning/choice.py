"""What one choice of a completion says on its way: its text without thoughts, its logprobs, streamed or whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.reasoning.tag_stripper import Stripped, Tokens


class Cutter(Protocol):
    """What takes thoughts out of the text of a choice."""

    @property
    def idle(self) -> bool:
        """Whether a piece without the first character of a start would pass unchanged."""

    @property
    def is_lost(self) -> bool:
        """Whether a piece without the first character of an end would go without a trace."""

    @property
    def visible(self) -> bool:
        """Whether the first texts have been looked at closely."""

    @property
    def has_lone_end(self) -> bool:
        """Whether a closing tag was shown before any opening one."""

    def feed(self, piece: str) -> Stripped:
        """Take a piece of the text."""

    def feed_last(self, piece: str) -> Stripped:
        """Take the last piece."""


class Choice:
    """One choice on its way: its text, its logprobs, and what its events have told besides."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._tokens = Tokens()
        self._familiar = {"index", "delta", "text", "logprobs"}
        self._is_chat = True

    @property
    def idle(self) -> bool:
        return self._cutter.idle

    @property
    def visible(self) -> bool:
        return self._cutter.visible

    @property
    def has_lone_end(self) -> bool:
        return self._cutter.has_lone_end

    @property
    def thinks_aloud(self) -> bool:
        """Whether text is a thought to the next first character of an end tag."""
        return self._cutter.is_lost and not self._tokens.waiting

    @property
    def awaits_tokens(self) -> bool:
        """Whether logprobs of text that is held back wait for it."""
        return self._tokens.waiting

    def said_in(self, text: str) -> Json:
        """Give what a delta that told this text and nothing else is to tell; nothing, when it is not to be sent."""
        new_text = self._cutter.feed(text).text
        return {"content": new_text} if new_text or not text else {}

    def strip(self, part: Json) -> Json:
        """Give the part without thoughts: the very same object when it holds none."""
        return self._strip(part, self._cutter.feed)

    def strip_last(self, part: Json) -> Json:
        """Give the part that ends the choice without thoughts, and with what was held back."""
        return self._strip(part, self._cutter.feed_last)

    def rest(self, index: int) -> Json | None:
        """Give what was held back and is no tag, as a part of its own; None when there is nothing."""
        text = self._cutter.feed_last("").text
        if not text:
            return None
        spoken: Json = {"delta": {"content": text}} if self._is_chat else {"text": text}
        return {"index": index, **spoken, "finish_reason": None}

    def tells(self, part: Json) -> bool:
        """Whether a part that lost text still tells something; what it tells is remembered."""
        delta = as_dict(part.get("delta")) or {"text": part.get("text")}
        logprobs = part.get("logprobs")
        tells = (
            any(delta[key] for key in delta if key != "role" or "role" not in self._familiar)
            or (isinstance(logprobs, dict) and any(logprobs.values()))
            or any(part[key] for key in part if key not in self._familiar)
        )
        if tells:
            self._familiar.update(part.keys() - {"finish_reason"}, delta.keys() & {"role"})
        return tells

    def _strip(self, part: Json, take: Callable[[str], Stripped]) -> Json:
        place = place_of_text(part)
        self._is_chat = bool(place)
        holder = as_dict(part.get(place)) if place else part
        text = holder.get("content" if place else "text")
        if isinstance(text, list):
            parts = stripped_parts(text, self._cutter.feed, take)
            return part if parts == text else {**part, place: {**holder, "content": parts}}
        spoken = as_text(text)
        stripped = take(spoken)
        logprobs = self._tokens.follow(part.get("logprobs"), stripped)
        new: Json = {} if logprobs is part.get("logprobs") else {"logprobs": logprobs}
        if stripped.text != spoken:
            new |= _spoken_anew(part, place, stripped.text)
        return {**part, **new} if new else part


def _spoken_anew(part: Json, place: str, text: str) -> Json:
    """Give the fields of a part that tell its text, with another one."""
    if not place:
        return {"text": text}
    repeated = {"text": text} if isinstance(part.get("text"), str) else {}
    return {place: {**as_dict(part.get(place)), "content": text}, **repeated}


def stripped_parts(
    parts: list[Any], take: Callable[[str], Stripped], take_last: Callable[[str], Stripped]
) -> list[Any]:
    """Strip content that is a list of parts (Mistral); parts of another kind than text stay."""
    new = [
        {**part, "text": take(part["text"]).text}
        if isinstance(part, dict) and isinstance(part.get("text"), str)
        else part
        for part in parts
    ]
    rest = take_last("").text
    return [*new, {"type": "text", "text": rest}] if rest else new


def place_of_text(part: Json) -> str:
    """Give the key of the object that holds a chat choice's content; "" for a legacy choice, itself the holder."""
    if isinstance(part.get("message"), dict):
        return "message"
    return "" if "text" in part and "delta" not in part else "delta"
