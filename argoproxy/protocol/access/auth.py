"""Who may come in: keys of our own, asked for at the door. Nothing behind it sees them."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from argoproxy.errors import AuthenticationError
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS, Secret, credentials_in, without_secrets
from argoproxy.protocol.http_messages import Headers

_CARRIERS = frozenset(("authorization", "x-api-key"))
_BEARER = b"bearer "
SHORTEST_SENT = 16
#: Headers that carry keys, as WSGI (PEP 3333) names them.
_IN_ENVIRON = tuple(f"HTTP_{name.upper().replace('-', '_')}" for name in sorted(CREDENTIAL_HEADERS))


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the name by which logs and metrics call whoever holds it."""

    name: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller; `name` appears in logs, metrics and the journal."""

    name: str


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
        return without_secrets(query, [key.secret.text for key in self.keys])


def authenticate(headers: Headers, keys: Sequence[Key]) -> Principal:
    """Let in who sends a key in Authorization (Bearer) or X-API-Key. Raises AuthenticationError.

    Every key is compared with every header, in a time that does not depend on their characters.
    """
    sent = [_key_in(value) for name, value in headers if name.lower() in _CARRIERS]
    found = [key for key in keys for text in sent if hmac.compare_digest(text, _bytes(key.secret.text))]
    if not found:
        problem = "This API key is not known." if any(sent) else "An API key is needed."
        raise AuthenticationError(f"{problem} Send it as `Authorization: Bearer …` or `X-API-Key`.")
    return Principal(found[0].name)


def drop_keys(headers: Headers, keys: Sequence[Key]) -> Headers:
    """Leave out every header that carries one of the keys."""
    secrets = [key.secret.text for key in keys]
    return tuple((name, value) for name, value in headers if not any(secret in value for secret in secrets))


def find_sent_keys(environ: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys in the headers and the query of a WSGI environ, whoever they are for; not short ones, which are
    names and stand-ins like `ollama` and would be found in ordinary text."""
    sent = [key for name in _IN_ENVIRON if name in environ for key in _secrets_in(name, environ[name])]
    if query := environ.get("QUERY_STRING"):
        sent.extend(credentials_in(query))
    return tuple(key for key in sent if len(key) >= SHORTEST_SENT)


def _secrets_in(name: str, value: str) -> Sequence[str]:
    """Return what a header holds of credentials: the values of its cookies, or its last word."""
    if name == "HTTP_COOKIE":
        return [pair.partition("=")[2].strip(' "') for pair in value.split(";")]
    return [value.rpartition(" ")[2]]


def _key_in(value: str) -> bytes:
    text = _bytes(value).strip()
    return text[len(_BEARER) :].strip() if text[: len(_BEARER)].lower() == _BEARER else text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
