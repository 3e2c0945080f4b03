"""Authentication of clients by the proxy's own keys. Nothing behind it sees these keys."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from argoproxy.errors import AuthenticationError
from argoproxy.protocol.access.secrets import (
    Secret,
    credentials_in_query,
    drop_secrets,
    is_secret_name,
    secrets_in_header,
)
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.limits.limits import LimitedSubject

_KEY_HEADERS = frozenset(("authorization", "x-api-key"))
_BEARER = b"bearer "
#: One wording, whether there is no key, or one that is unknown, expired, disabled or for something else: a refusal
#: tells nothing of the keys that there are.
_REFUSED = (
    "A valid API key is required: send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`, or ask the operator of"
    " this proxy for one."
)
#: Shorter keys of clients are names and placeholders like `ollama`, which occur in ordinary text.
SHORTEST_SENT = 16


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the name of its holder in logs and metrics."""

    name: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller; `name` appears in logs, metrics and the journal. Of `allow_lists`, which are patterns of
    models, a model must match one in each list. `key_id` is the public part of its key, `team` the key's team, and
    `subjects` are the two, as far as limits are set for them."""

    name: str
    allow_lists: tuple[tuple[str, ...], ...] = ()
    key_id: str = ""
    team: str = ""
    subjects: tuple[LimitedSubject, ...] = ()


class Authenticator(Protocol):
    """Identifies the caller of a request."""

    def authenticate(self, headers: Headers) -> Principal:
        """Return the caller. Raises AuthenticationError if it is not known, or another ProxyError."""


class RequestAuthenticator(Authenticator, Protocol):
    """An Authenticator that also knows what to remove from a request, so that no upstream sees its credentials."""

    def without_credentials(self, headers: Headers) -> Headers:
        """Return the headers without those that authenticate the caller."""

    def query_without_credentials(self, query: str) -> str:
        """Return the query string without parameters that authenticate the caller."""


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """A RequestAuthenticator that accepts a list of API keys."""

    keys: Sequence[Key]

    def authenticate(self, headers: Headers) -> Principal:
        return authenticate(headers, self.keys)

    def without_credentials(self, headers: Headers) -> Headers:
        return drop_keys(headers, self.keys)

    def query_without_credentials(self, query: str) -> str:
        return drop_secrets(query, [key.secret.text for key in self.keys])


def authenticate(headers: Headers, keys: Sequence[Key]) -> Principal:
    """Return the holder of the key in Authorization (Bearer) or X-API-Key. Raises AuthenticationError."""
    found = find_holder(read_keys(headers), keys)
    if found is None:
        raise refusal()
    return found


def find_holder(sent: Sequence[bytes], keys: Sequence[Key]) -> Principal | None:
    """Return the holder of a key that was sent, None if none of them is known.

    Every key is compared with every text, in a time that does not depend on their characters.
    """
    matches = [key for key in keys for text in sent if hmac.compare_digest(text, _encode(key.secret.text))]
    return Principal(matches[0].name) if matches else None


def refusal() -> AuthenticationError:
    """Return the error for a request without a key that is accepted."""
    return AuthenticationError(_REFUSED)


def read_keys(headers: Headers) -> list[bytes]:
    """Return the keys that a client sends for this proxy: in Authorization (Bearer), or in X-API-Key."""
    return [_read_key(value) for name, value in headers if name.lower() in _KEY_HEADERS]


def drop_keys(headers: Headers, keys: Sequence[Key]) -> Headers:
    """Return the headers without those that contain one of the keys."""
    if not keys:
        return headers
    secrets = [key.secret.text for key in keys]
    return tuple((name, value) for name, value in headers if not any(secret in value for secret in secrets))


def find_sent_keys(headers: Headers, query: str) -> tuple[str, ...]:
    """Return the keys in the headers and the query of a request, for whichever server they are."""
    sent = [key for name, value in headers if _is_secret_header(name) for key in secrets_in_header(name, value)]
    if query:
        sent.extend(credentials_in_query(query))
    return tuple([key for key in sent if len(key) >= SHORTEST_SENT])


#: Remembered: a search for a dozen words, and clients send the same few names.
_is_secret_header = lru_cache(maxsize=512)(is_secret_name)


def _read_key(value: str) -> bytes:
    text = _encode(value).strip()
    return text[len(_BEARER) :].strip() if text[: len(_BEARER)].lower() == _BEARER else text


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
