"""Removes the thoughts in messages that clients send back: some models refuse them (DeepSeek R1), others demand them
(DeepSeek V4).

Clients may write attributes into an opening tag (inspect-ai: `<think internal="…" signature="…">`), which are accepted
here. In answers, which models write, tags match exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.reasoning.choice_filter import filter_content_parts
from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tags import ScanResult, TagSet
from argoproxy.protocol.reasoning.text_filters import TagScanner
from argoproxy.protocol.reasoning.thought_fields import FIELDS, drop_thinking_parts

#: A tag that can have attributes.
_ELEMENT = re.compile(r"<[A-Za-z][\w.:-]*>")


def strip_history(messages: list[Any], tags: Sequence[TagPair]) -> list[Any]:
    """Return the messages without thoughts in the assistant's: tagged blocks, reasoning fields, parts of type
    `thinking`. The same list if there are none; nothing else is changed."""
    scanners = _ScannerFactory(tags)
    stripped = [_strip_message(message, scanners) for message in messages]
    return messages if all(map(is_, stripped, messages)) else stripped


class _ScannerFactory:
    """Makes scanners that accept attributes in opening tags."""

    def __init__(self, tags: Sequence[TagPair]) -> None:
        self._tags = TagSet(tags)
        names = "|".join(re.escape(pair.start[1:-1]) for pair in tags if _ELEMENT.fullmatch(pair.start))
        self._with_attributes = re.compile(rf"<({names})\s[^<>]*>") if names else None

    def new_scanner(self) -> Callable[[str], ScanResult]:
        """Return a function that strips one text, or several that belong together, one after the other."""
        scanner = TagScanner(self._tags)
        return lambda text: scanner.feed_last(self._drop_attributes(text))

    def _drop_attributes(self, text: str) -> str:
        """Remove the attributes of opening tags. Such a tag and the text after it are a thought, so no text that stays
        is changed."""
        return self._with_attributes.sub(r"<\1>", text) if self._with_attributes and "<" in text else text


def _strip_message(message: Any, scanners: _ScannerFactory) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    bare: Json = {key: value for key, value in message.items() if key not in FIELDS}
    content = bare.get("content")
    if isinstance(content, str):
        bare["content"] = scanners.new_scanner()(content).text
    elif isinstance(content, list):
        bare["content"] = _strip_parts(content, scanners)
    return message if bare == message else bare


def _strip_parts(content: list[Any], scanners: _ScannerFactory) -> Any:
    """Strip a content in parts: a block may continue in the next part, a tag may not. If no part is left, return "",
    which APIs are more likely to accept than an empty list."""
    scan = scanners.new_scanner()
    new = filter_content_parts(drop_thinking_parts(content), scan, scan)
    return content if new == content else [part for part in new if not _is_empty(part)] or ""


def _is_empty(part: Any) -> bool:
    return isinstance(part, dict) and part.get("text") == ""
