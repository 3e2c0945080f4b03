"""How secrets are starred: in replies for clients, in what is written down, in settings that are shown.

- `Redactor` stars the secrets of an upstream in its reply, byte for byte: no length changes.
- `Masker` stars all secrets of the process, and those in a request, in log lines, names and journal entries.
- `mask_setting` and `mask_urls` star what a setting holds under a secret name or in a URL.

The journal also shortens what only machines read. Prose is never shortened. Base64 is recognised by its position: after
`;base64,` in any text, as in data URLs, or as the whole value of a field that providers use for it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from argoproxy.protocol.access.secrets import CREDENTIAL_FIELDS, SHORTEST_STARRED, is_secret_name

#: In place of a secret in a setting.
STARS = "****"
LONGEST_BASE64 = 200
LONGEST_VECTOR = 8
_NUMBERS_KEPT = 3
#: No provider nests bodies more deeply, and deeper ones could not be written.
DEEPEST = 100

#: Of servers whose passwords are often written as they are: one with a slash is none in a URL, and still not shown.
_USERINFO = re.compile(r"(?<=postgres:)//\S*@|(?<=postgresql:)//\S*@|(?<=redis:)//\S*@|(?<=rediss:)//\S*@|//[^/\s]*@")
_PARAMETER = re.compile(r"([?&]([^=&\s]+)=)[^&#\s]+")
#: A part of LLM_PARAMS: `name=value` between `,` and `;`, the value perhaps in quotes.
_ASSIGNMENT = re.compile(r"""((?:^|[,;])\s*([\w-]+)\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^,;]+)""")

#: A data URL's payload, in both alphabets and as they stand in URLs. Broken into lines, each but the first is long.
_PAYLOAD = re.compile(r";base64,([\w+/=%-]++(?:\r?\n[\w+/=%-]{60,}+)*+)", re.ASCII)
#: A value that is nothing but base64. Broken into lines, each but the last is long.
_ALL_BASE64 = re.compile(r"(?:[\w+/-]{60,}+\r?\n)*+(?:[\w+/-]++={0,2}\s*+)?", re.ASCII)
#: Fields with bare base64: OpenAI's audio, files, images, vectors and encrypted reasoning, Anthropic's and Gemini's
#: media and signatures, Bedrock's bytes, Ollama's images.
_BASE64_NAMES = frozenset(
    """data file_data b64_json embedding bytes encrypted_content signature thought_signature thoughtSignature
    image images audio video""".split()
)
_VECTOR_NAMES = frozenset(("embedding", "embeddings"))
_SHORTENED = re.compile(r"… \(\d+ (?:characters|numbers)\)")

_QUOTED = {ord('"'): '\\"', ord("\\"): "\\\\"}
#: How a text stands in headers, and in JSON as most libraries write it, PHP, Go and Rails, and .NET.
_TRANSLATIONS: tuple[dict[int, str], ...] = (
    {},
    _QUOTED,
    {**_QUOTED, ord("/"): "\\/"},
    {**_QUOTED, **{ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}},
    {**_QUOTED, **{ord(letter): f"\\u{ord(letter):04X}" for letter in "\"&'+<>`"}},
)


def spell(text: str) -> tuple[str, ...]:
    """Return the ways in which a text may be written in headers, JSON, URLs and HTML, each once."""
    in_json = (text.translate(table) for table in _TRANSLATIONS)
    in_urls = (quote(text, safe=safe, errors="replace") for safe in ("", "/"))
    return tuple(dict.fromkeys((*in_json, json.dumps(text)[1:-1], *in_urls, html.escape(text))))


class Redactor:
    """Replaces secrets in a reply by as many stars, in each spelling. Secrets of a few characters are left, because
    they would be found in ordinary text."""

    def __init__(self, *secrets: bytes) -> None:
        texts = [secret.decode("latin-1") for secret in secrets if len(secret) >= SHORTEST_STARRED]
        spellings = dict.fromkeys(spelling for text in texts for spelling in spell(text))
        self._spellings = tuple(text.encode("latin-1") for text in sorted(spellings, key=len, reverse=True))

    def __bool__(self) -> bool:
        """Whether there is a secret to star."""
        return bool(self._spellings)

    def redact_text(self, text: str) -> str:
        """Star the value of a header."""
        return self._replace(text.encode("latin-1")).decode("latin-1") if self else text

    def redact_stream(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Star a body. Only bytes that could still become a secret are held back."""
        return self._redact(pieces) if self else iter(pieces)

    def _redact(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        held = b""
        for piece in pieces:
            data = self._replace(held + piece)
            keep = max(_tail_of(data, spelling) for spelling in self._spellings)
            held = data[len(data) - keep :]
            yield data[: len(data) - keep]
        if held:
            yield held

    def _replace(self, data: bytes) -> bytes:
        for spelling in self._spellings:
            data = data.replace(spelling, b"*" * len(spelling))
        return data


@lru_cache(maxsize=64)
def redactor_for(secrets: tuple[bytes, ...]) -> Redactor:
    """Return the Redactor of these secrets: one for all requests that carry the same."""
    return Redactor(*secrets)


def encode_secret(text: str) -> tuple[bytes, ...]:
    """Return the bytes of a secret in headers (latin-1) and in bodies (UTF-8)."""
    latin = (text.encode("latin-1"),) if all(ord(character) < 256 for character in text) else ()
    return tuple(dict.fromkeys((*latin, text.encode("utf-8", "replace"))))


class Masker:
    """Stars the secrets of the process, and those in a request, in all that is written down of the request."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(dict.fromkeys(secret for secret in secrets if len(secret) >= SHORTEST_STARRED))
        self._known = frozenset(self._secrets)
        self._needles = _needles(self._secrets)
        self._shortest = min((len(text) for text, _ in self._needles), default=0)

    def mask_body(self, value: Any, keys: Sequence[str] = ()) -> Any:
        """Return a JSON value as the journal may hold it (see `mask_json`); `keys` are those in the request."""
        others = tuple(key for key in keys if key not in self._known)
        needles = _needles((*self._secrets, *others)) if others else self._needles
        return _Mask(needles).value(value, "", 0)

    def mask_text(self, keys: Sequence[str], text: str) -> str:
        """Return a path, an id, a model's name or a log record with secrets starred. Most names are shorter than any
        key, and are not searched."""
        for key in keys:
            if len(key) <= len(text):
                text = _star(text, ((spelling, "*" * len(spelling)) for spelling in _in_names(key, text)))
        return _star(text, self._needles) if self._shortest and len(text) >= self._shortest else text


def mask_json(value: Any, secrets: Sequence[str]) -> Any:
    """Return a JSON value as the journal may hold it: the very same one where nothing changes, never one edited in
    place.

    Secrets are starred in texts and in names, in each spelling. Base64 of more than 200 characters becomes a count, a
    vector of more than 8 numbers its first ones and a count. What is nested more than 100 levels deep becomes "…".
    """
    return _Mask(_needles(tuple(secrets))).value(value, "", 0)


def is_masked(text: str) -> bool:
    """Return whether a part of a text was shortened."""
    return bool(_SHORTENED.search(text))


def mask_urls(text: str) -> str:
    """Star credentials before the host of each URL in a text, and secret parameters in its query."""
    return _PARAMETER.sub(_mask_parameter, _USERINFO.sub(f"//{STARS}@", text))


def mask_setting(name: str, value: Any, is_reference: Callable[[str], bool]) -> Any:
    """Return a setting as it may be shown: texts under secret names starred at any depth, and credentials in URLs.
    Texts for which `is_reference` is true only name a variable, and are kept."""
    if is_secret_name(name) and not isinstance(value, Mapping):
        return _mask_texts(value, is_reference)
    if isinstance(value, Mapping):
        is_options = name == "options"
        return {
            key: _mask_texts(part, is_reference)
            if is_options and is_secret_name(str(key))
            else mask_setting(str(key), part, is_reference)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [mask_setting("", part, is_reference) for part in value]
    return _ASSIGNMENT.sub(_mask_assignment, mask_urls(value)) if isinstance(value, str) else value


def _mask_texts(value: Any, is_reference: Callable[[str], bool]) -> Any:
    if isinstance(value, Mapping):
        return {key: _mask_texts(part, is_reference) for key, part in value.items()}
    if isinstance(value, list):
        return [_mask_texts(part, is_reference) for part in value]
    return STARS if isinstance(value, str) and not is_reference(value) else value


def _mask_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}{STARS}" if is_secret_name(match[2]) else match[0]


def _mask_assignment(match: re.Match[str]) -> str:
    return f"{match[1]}{STARS}" if match[2].lower() in CREDENTIAL_FIELDS else match[0]


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
            is_renamed = is_renamed or _star(name, self._needles) is not name
        if is_renamed:
            return {_star(name, self._needles): changed.get(name, value) for name, value in fields.items()}
        return {**fields, **changed} if changed else fields

    def _list(self, values: list[Any], name: str, depth: int) -> list[Any]:
        if name in _VECTOR_NAMES and len(values) > LONGEST_VECTOR and _is_vector(values):
            return [*values[:_NUMBERS_KEPT], _count(len(values), "numbers")]
        changed: list[Any] | None = None
        for position, value in enumerate(values):
            new = self.value(value, name, depth + 1)
            if new is not value:
                changed = changed or list(values)
                changed[position] = new
        return changed or values

    def _text(self, text: str, name: str) -> str:
        if text and name.lower() in CREDENTIAL_FIELDS:
            return "***"
        if len(text) > LONGEST_BASE64:
            if name in _BASE64_NAMES and _ALL_BASE64.fullmatch(text):
                return _count(len(text), "characters")
            shortened = _PAYLOAD.sub(_shorten, text)
            text = shortened if len(shortened) < len(text) else text
        return _star(text, self._needles)


@lru_cache(maxsize=64)
def _needles(secrets: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return what to search for and its replacement, longer ones first: one secret may begin with another."""
    texts = {text for secret in secrets if len(secret) >= SHORTEST_STARRED for text in spell(secret)}
    return tuple((text, "*" * len(text)) for text in sorted(texts, key=lambda text: (-len(text), text)))


def _in_names(key: str, text: str) -> tuple[str, ...]:
    """Return the spellings of a request's key that may stand in a name; escapes only where there are any."""
    return (quote(key, safe="", errors="replace"), key) if "%" in text else (key,)


def _star(text: str, needles: Iterable[tuple[str, str]]) -> str:
    for secret, stars in needles:
        if secret in text:
            text = text.replace(secret, stars)
    return text


def _is_vector(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _shorten(match: re.Match[str]) -> str:
    size = len(match[1])
    return f";base64,{_count(size, 'characters')}" if size > LONGEST_BASE64 else match[0]


def _count(size: int, unit: str) -> str:
    return f"… ({size} {unit})"


def _tail_of(data: bytes, spelling: bytes) -> int:
    """Return how many of the last bytes could begin a spelling."""
    longest = min(len(spelling) - 1, len(data))
    return next((size for size in range(longest, 0, -1) if data.endswith(spelling[:size])), 0)
