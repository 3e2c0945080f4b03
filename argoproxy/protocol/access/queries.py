"""Credentials in a query, where some providers take them (Gemini: `?key=…`). A query is kept as it came otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote_plus

from argoproxy.protocol.access.secrets import CREDENTIAL_FIELDS

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
