"""Secrets: which names they have, shown to nobody by accident, starred out of what an upstream sends back.

Whatever decides by a name that a value is secret asks here: `--show`, messages about settings, headers of an upstream,
options of classes, URLs, bodies for the journal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

SHORTEST_STARRED = 6

_KEY_NAME = re.compile(r"key|token|secret|authorization|cookie", re.IGNORECASE)
_SECRET_NAME = re.compile(
    rf"{_KEY_NAME.pattern}|passw|pwd|x-auth|credential|signature|(?<![a-z])sig(?![a-z])", re.IGNORECASE
)
#: Says what becomes of keys, and is none.
_HARMLESS = frozenset(("client_keys",))
#: Under which keys stand in bodies and queries. Whole names only: `max_tokens` is a field like any other there.
CREDENTIAL_FIELDS = frozenset("api_key api-key apikey access_token".split())

#: Headers of a client that carry credentials. Cookies do too: sites and balancers tell callers apart by them.
CREDENTIAL_HEADERS = frozenset("authorization x-api-key api-key x-goog-api-key cookie".split())

_QUOTED = {ord('"'): '\\"', ord("\\"): "\\\\"}
#: How a text stands in headers, and in JSON as most write it, PHP, Go and Rails, and .NET.
_SPELLINGS: tuple[dict[int, str], ...] = (
    {},
    _QUOTED,
    {**_QUOTED, ord("/"): "\\/"},
    {**_QUOTED, **{ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}},
    {**_QUOTED, **{ord(letter): f"\\u{ord(letter):04X}" for letter in "\"&'+<>`"}},
)


def is_secret_name(name: str) -> bool:
    """Tell whether a setting, a header, an option or a parameter of this name holds what nobody may see."""
    return bool(_SECRET_NAME.search(name)) and name not in _HARMLESS


def is_key_name(name: str) -> bool:
    """Tell whether a header of this name is one by which a server knows who asks: then it takes a client's place."""
    return bool(_KEY_NAME.search(name))


@dataclass(frozen=True, slots=True)
class Secret:
    """A string that shows itself only when asked for its `text`."""

    text: str

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Redactor:
    """Replaces secrets by as many stars, in each of its spellings, so that no length changes. A secret of a few
    characters would be found in ordinary text, and is left."""

    def __init__(self, *secrets: bytes) -> None:
        plain = [secret.decode("latin-1") for secret in secrets if len(secret) >= SHORTEST_STARRED]
        spelled = (spelling for text in plain for spelling in spellings(text))
        self._spellings = tuple(text.encode("latin-1") for text in dict.fromkeys(spelled) if text)

    def __bool__(self) -> bool:
        """Whether there is anything to be starred."""
        return bool(self._spellings)

    def text(self, text: str) -> str:
        """Star a header's value."""
        return self._replaced(text.encode("latin-1")).decode("latin-1") if self else text

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Star a body; held back is only what could still become the secret."""
        return self._starred(pieces) if self else iter(pieces)

    def _starred(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        held = b""
        for piece in pieces:
            data = self._replaced(held + piece)
            keep = max(_tail_of(data, spelling) for spelling in self._spellings)
            held = data[len(data) - keep :]
            yield data[: len(data) - keep]
        if held:
            yield held

    def _replaced(self, data: bytes) -> bytes:
        for spelling in self._spellings:
            data = data.replace(spelling, b"*" * len(spelling))
        return data


def spellings(text: str) -> tuple[str, ...]:
    """Give the ways a text may be spelled, each once."""
    return tuple(dict.fromkeys(text.translate(spelling) for spelling in _SPELLINGS))


@lru_cache(maxsize=64)
def redactor_for(secrets: tuple[bytes, ...]) -> Redactor:
    """Give what stars these secrets; the same for the same ones."""
    return Redactor(*secrets)


def _tail_of(data: bytes, spelling: bytes) -> int:
    """Give how many of the last bytes could begin the spelling."""
    longest = min(len(spelling) - 1, len(data))
    return next((size for size in range(longest, 0, -1) if data.endswith(spelling[:size])), 0)


CREDENTIAL_NAMES = CREDENTIAL_FIELDS | {"key"}

#: Between parameters; `;` separates them for some servers.
_SEPARATOR = re.compile("[&;]")


def without_credentials(query: str) -> str:
    """Return a query without the parameters that carry credentials."""
    return _without(query, lambda name, value: name.lower() in CREDENTIAL_NAMES)


def without_secrets(query: str, secrets: Sequence[str]) -> str:
    """Return a query without the parameters in which one of the secrets stands."""
    return _without(query, lambda name, value: any(secret in text for secret in secrets for text in (name, value)))


def credentials_in(query: str) -> Iterator[str]:
    """Yield the credentials that a query carries."""
    for name, value in map(_decoded, _SEPARATOR.split(query)):
        if value and name.lower() in CREDENTIAL_NAMES:
            yield value


def _without(query: str, is_dropped: Callable[[str, str], bool]) -> str:
    if not query:
        return query
    parts = _SEPARATOR.split(query)
    kept = [part for part in parts if not is_dropped(*_decoded(part))]
    return query if len(kept) == len(parts) else "&".join(kept)


def _decoded(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return unquote_plus(name).strip(), unquote_plus(value)
