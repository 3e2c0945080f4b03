"""Bodies and names for logs and the journal: what is secret is starred, what only machines read is shortened.

Prose is never shortened. Base64 is known by where it stands: behind `;base64,` in any text, as data URLs have it, or
as the whole of a value under one of the names that providers have for such things.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from argoproxy.protocol.access.secrets import CREDENTIAL_FIELDS, SHORTEST_STARRED, spellings

LONGEST_BASE64 = 200
LONGEST_VECTOR = 8
_NUMBERS_KEPT = 3
#: What is nested deeper is no body of a provider, and could not be written.
DEEPEST = 100

#: A data URL's payload, in both alphabets and as they stand in URLs. Broken into lines, each but the first is long.
_PAYLOAD = re.compile(r";base64,([\w+/=%-]++(?:\r?\n[\w+/=%-]{60,}+)*+)", re.ASCII)
#: A value that is nothing but base64. Broken into lines, each but the last is long.
_ALL_BASE64 = re.compile(r"(?:[\w+/-]{60,}+\r?\n)*+(?:[\w+/-]++={0,2}\s*+)?", re.ASCII)
#: Where base64 stands alone: OpenAI's audio, files, images, vectors and encrypted reasoning, Anthropic's and Gemini's
#: media and signatures, Bedrock's bytes, Ollama's images.
_BASE64_NAMES = frozenset(
    """data file_data b64_json embedding bytes encrypted_content signature thought_signature thoughtSignature
    image images audio video""".split()
)
_VECTOR_NAMES = frozenset(("embedding", "embeddings"))
#: Credentials that some providers take in a body.
_CREDENTIALS = CREDENTIAL_FIELDS | {"authorization", "x-api-key"}
_SHORTENED = re.compile(r"… \(\d+ (?:characters|numbers)\)")


def mask_json(value: Any, secrets: Sequence[str]) -> Any:
    """Give a JSON value as a journal may hold it; the very same one where nothing changes, never one edited in place.

    Secrets are starred wherever they stand, in texts and in names, in each of their spellings; those of a few
    characters are left, as they would be found in ordinary text. Base64 of more than 200 characters becomes a count,
    a vector of more than 8 numbers its first ones and a count. What is nested deeper than 100 levels becomes "…".
    """
    return _Mask(_needles(tuple(secrets))).value(value, "", 0)


class Masker:
    """Stars the secrets of a process, and those that a request carries, in whatever is written down of the request."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(dict.fromkeys(secret for secret in secrets if len(secret) >= SHORTEST_STARRED))
        self._known = frozenset(self._secrets)
        self._needles = _needles(self._secrets)
        spelled = {text: None for secret in self._secrets for text in _in_names(secret)}
        self._in_names = tuple(sorted(spelled, key=len, reverse=True))
        self._shortest = min(map(len, self._in_names), default=0)

    def body(self, value: Any, sent: Sequence[str] = ()) -> Any:
        """Return a JSON value as a journal may hold it (see `masked`); `sent` are keys that the request carries."""
        others = tuple(key for key in sent if key not in self._known)
        needles = _needles((*self._secrets, *others)) if others else self._needles
        return _Mask(needles).value(value, "", 0)

    def name(self, sent: Sequence[str], text: str) -> str:
        """Return a path, an id or a model's name with secrets starred, as they are spelled there: plainly or with the
        escapes of a URL. Most names are shorter than any key, and are not looked into."""
        for key in sent:
            if len(key) <= len(text):
                text = _star(text, _in_names(key) if "%" in text else (key,))
        return _star(text, self._in_names) if self._shortest and len(text) >= self._shortest else text


def is_masked(text: str) -> bool:
    """Tell whether something in a text was shortened."""
    return bool(_SHORTENED.search(text))


class _Mask:
    def __init__(self, needles: tuple[tuple[str, str], ...]) -> None:
        self._needles = needles

    def value(self, value: Any, name: str, depth: int) -> Any:
        """Mask a value that stands under a name, directly or in lists."""
        if isinstance(value, str):
            return self._text(value, name)
        if not isinstance(value, dict | list):
            return value
        if depth >= DEEPEST:
            return "…"
        return self._object(value, depth) if isinstance(value, dict) else self._list(value, name, depth)

    def _object(self, fields: dict[str, Any], depth: int) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        is_renamed = False
        for name, value in fields.items():
            new = self.value(value, name, depth + 1)
            if new is not value:
                changed[name] = new
            is_renamed = is_renamed or self._starred(name) is not name
        if is_renamed:
            return {self._starred(name): changed.get(name, value) for name, value in fields.items()}
        return {**fields, **changed} if changed else fields

    def _list(self, values: list[Any], name: str, depth: int) -> list[Any]:
        if name in _VECTOR_NAMES and len(values) > LONGEST_VECTOR and _is_vector(values):
            return [*values[:_NUMBERS_KEPT], _told(len(values), "numbers")]
        changed: list[Any] | None = None
        for place, value in enumerate(values):
            new = self.value(value, name, depth + 1)
            if new is not value:
                changed = changed or list(values)
                changed[place] = new
        return changed or values

    def _text(self, text: str, name: str) -> str:
        if text and name.lower() in _CREDENTIALS:
            return "***"
        if len(text) > LONGEST_BASE64:
            if name in _BASE64_NAMES and _ALL_BASE64.fullmatch(text):
                return _told(len(text), "characters")
            shortened = _PAYLOAD.sub(_shortened, text)
            text = shortened if len(shortened) < len(text) else text
        return self._starred(text)

    def _starred(self, text: str) -> str:
        for secret, stars in self._needles:
            if secret in text:
                text = text.replace(secret, stars)
        return text


@lru_cache(maxsize=64)
def _needles(secrets: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Give what is looked for and what it becomes, longer ones first: a secret may begin another."""
    found = {text for secret in secrets if len(secret) >= SHORTEST_STARRED for text in spellings(secret)}
    return tuple((text, "*" * len(text)) for text in sorted(found, key=lambda text: (-len(text), text)))


def _in_names(secret: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((quote(secret, safe="", errors="replace"), secret)))


def _star(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, "*" * len(secret))
    return text


def _is_vector(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _shortened(found: re.Match[str]) -> str:
    size = len(found[1])
    return f";base64,{_told(size, 'characters')}" if size > LONGEST_BASE64 else found[0]


def _told(size: int, unit: str) -> str:
    return f"… ({size} {unit})"
