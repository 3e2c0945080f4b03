"""Secrets: which names hold them, and what is secret in a header, a URL, a query or options.

This is the only place that decides by a name whether a value is secret; `masking.py` decides how a secret is starred.
There are four kinds of names:

- Settings, configured headers, options, parameters of configured URLs: `is_secret_name`, which looks for words.
- Headers of an upstream that authenticate the proxy in place of its client: `is_key_name`.
- Headers of clients, which are forwarded or dropped as credentials: `CREDENTIAL_HEADERS`.
- Fields of bodies and parameters of clients' queries: `CREDENTIAL_FIELDS` and `CREDENTIAL_PARAMETERS`. They are
  compared as a whole, because `max_tokens` and `page_token` are no secrets.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

#: A shorter text occurs in ordinary words, and is not starred.
SHORTEST_STARRED = 6

_KEY_NAME = re.compile(r"key|token|secret|authorization|cookie", re.IGNORECASE)
_SECRET_NAME = re.compile(
    rf"{_KEY_NAME.pattern}|passw|pwd|x-auth|credential|signature|(?<![a-z])sig(?![a-z])", re.IGNORECASE
)
#: Names that contain one of these words and hold no secret.
_HARMLESS = frozenset("client_keys idempotency-key sec-websocket-key".split())

#: Cookies are credentials too: sites and balancers tell callers apart by them.
CREDENTIAL_HEADERS = frozenset("authorization x-api-key api-key x-goog-api-key cookie".split())
CREDENTIAL_FIELDS = frozenset("api_key api-key apikey access_token authorization x-api-key".split())
CREDENTIAL_PARAMETERS = CREDENTIAL_FIELDS | {"key"}

_COOKIES = frozenset(("cookie", "set-cookie"))
_AUTHORIZATIONS = frozenset(("authorization", "proxy-authorization"))
_SCHEME = re.compile(r"\A(?:bearer|basic|token)\s+", re.IGNORECASE)
#: Between parameters of a query; some servers separate them by `;`.
_SEPARATOR = re.compile("[&;]")


def is_secret_name(name: str) -> bool:
    """Return whether a setting, a header, an option or a URL's parameter of this name holds a secret."""
    return bool(_SECRET_NAME.search(name)) and name.lower() not in _HARMLESS


def is_key_name(name: str) -> bool:
    """Return whether a header of this name authenticates the proxy: then a client's credentials are not sent beside
    it."""
    return bool(_KEY_NAME.search(name))


@dataclass(frozen=True, slots=True)
class Secret:
    """A string that is not shown in logs and error messages; `text` is its value."""

    text: str

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


def secrets_in_header(name: str, value: str) -> Iterator[str]:
    """Yield what is secret in a header: the values of cookies, or credentials without their scheme; of Basic also the
    password itself."""
    value = value.strip()
    credentials = _SCHEME.sub("", value)
    if name.lower() in _COOKIES:
        pairs = (pair.partition("=") for pair in credentials.split(";"))
        yield from ((text if equals else cookie).strip(' "') for cookie, equals, text in pairs)
        return
    if credentials == value and name.lower() in _AUTHORIZATIONS:
        credentials = value.rpartition(" ")[2]
    yield credentials
    if value[:6].lower() == "basic ":
        yield from _secrets_in_basic(credentials)


def secrets_in_url(url: str) -> Iterator[str]:
    """Yield what is secret in a URL: the password before its host, plain and as Basic sends it (the name where there is
    no password), and parameters with secret names."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if parts.username is not None:
        encoded = encode_basic(url)
        yield encoded
        yield from _secrets_in_basic(encoded)
    yield from secrets_in_query(parts.query)


def encode_basic(url: str) -> str:
    """Return the credentials before the host of a URL as the scheme Basic sends them (RFC 7617)."""
    parts = urlsplit(url)
    return b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()).decode()


def secrets_in_query(query: str) -> Iterator[str]:
    """Yield the values of a configured URL's parameters that have secret names."""
    return (value for name, value in map(_decode, _SEPARATOR.split(query)) if value and is_secret_name(name))


def secrets_in_options(value: Any) -> Iterator[str]:
    """Yield the texts that stand under secret names in options, at any depth, and the secrets in their URLs."""
    if isinstance(value, str):
        yield from secrets_in_url(value) if "://" in value else ()
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts_in(part) if is_secret_name(str(name)) else secrets_in_options(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from secrets_in_options(part)


def credentials_in_body(value: Any) -> Iterator[str]:
    """Yield the texts that stand under names of credentials in a JSON value, at any depth."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts_in(part) if str(name).lower() in CREDENTIAL_FIELDS else credentials_in_body(part)
    elif isinstance(value, list):
        for part in value:
            yield from credentials_in_body(part)


def credentials_in_query(query: str) -> Iterator[str]:
    """Yield the credentials in a client's query."""
    for name, value in map(_decode, _SEPARATOR.split(query)):
        if value and name.lower() in CREDENTIAL_PARAMETERS:
            yield value


def drop_credentials(query: str) -> str:
    """Return a query without the parameters that carry credentials; the others stay as they came."""
    return _drop(query, lambda name, value: name.lower() in CREDENTIAL_PARAMETERS)


def drop_secrets(query: str, secrets: Sequence[str]) -> str:
    """Return a query without the parameters that contain one of the secrets; the others stay as they came."""
    return _drop(query, lambda name, value: any(secret in text for secret in secrets for text in (name, value)))


def _secrets_in_basic(encoded: str) -> Iterator[str]:
    """Yield the password in credentials of the scheme Basic; the name where there is no password, as with Stripe."""
    try:
        name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return
    if colon:
        yield password or name


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts_in(part)


def _drop(query: str, is_dropped: Callable[[str, str], bool]) -> str:
    if not query:
        return query
    parts = _SEPARATOR.split(query)
    kept = [part for part in parts if not is_dropped(*_decode(part))]
    return query if len(kept) == len(parts) else "&".join(kept)


def _decode(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return unquote_plus(name).strip(), unquote_plus(value)
