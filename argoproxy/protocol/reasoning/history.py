"""Thoughts that clients send back: some models refuse them (DeepSeek R1), others demand them (DeepSeek V4).

Clients may write attributes into the opening tag (inspect-ai: `<think internal="…" signature="…">`). Here they belong
to it; in answers, which models write, tags match exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.reasoning.choice import stripped_parts
from argoproxy.protocol.reasoning.fields import FIELDS, speaking
from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tag_scanner import Scanner, Tags
from argoproxy.protocol.reasoning.tag_stripper import Stripped

#: A tag that can have attributes.
_ELEMENT = re.compile(r"<[A-Za-z][\w.:-]*>")


def strip_history(messages: list[Any], tags: Sequence[TagPair]) -> list[Any]:
    """Give the messages with nothing in the assistant's that it thought: no tagged blocks, reasoning fields, parts of
    type `thinking`. The very same list when there is nothing of that; nothing else is touched."""
    texts = _Texts(tags)
    cleaned = [_cleaned(message, texts) for message in messages]
    return messages if all(map(is_, cleaned, messages)) else cleaned


class _Texts:
    """Takes thoughts out of texts."""

    def __init__(self, tags: Sequence[TagPair]) -> None:
        self._tags = Tags(tags)
        names = "|".join(re.escape(pair.start[1:-1]) for pair in tags if _ELEMENT.fullmatch(pair.start))
        self._with_attributes = re.compile(rf"<({names})\s[^<>]*>") if names else None

    def scanner(self) -> Callable[[str], Stripped]:
        """Return what takes the thoughts out of a text, or of several that belong together, one after the other."""
        scanner = Scanner(self._tags)
        return lambda text: scanner.feed_last(self._without_attributes(text))

    def _without_attributes(self, text: str) -> str:
        """Leave the attributes of opening tags away. Such a tag and all behind it is a thought, so this changes nothing
        that stays."""
        return self._with_attributes.sub(r"<\1>", text) if self._with_attributes and "<" in text else text


def _cleaned(message: Any, texts: _Texts) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    bare: Json = {key: value for key, value in message.items() if key not in FIELDS}
    content = bare.get("content")
    if isinstance(content, str):
        bare["content"] = texts.scanner()(content).text
    elif isinstance(content, list):
        bare["content"] = _parts(content, texts)
    return message if bare == message else bare


def _parts(content: list[Any], texts: _Texts) -> Any:
    """Clean a content in parts: a block may go on from one to the next, a tag may not. "" where none is left, which an
    API takes for less of a mistake than an empty list."""
    take = texts.scanner()
    new = stripped_parts(speaking(content), take, take)
    return content if new == content else [part for part in new if not _is_empty(part)] or ""


def _is_empty(part: Any) -> bool:
    return isinstance(part, dict) and part.get("text") == ""
