"""The key of an answer: a digest of everything that goes to the upstream.

What changes nothing about an answer is left out by name. Whatever else there is counts, also what is not known here:
two requests that an upstream could answer differently never have the same key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS, credentials_in_query
from argoproxy.protocol.cache.cache_policy import CacheScope
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json

#: Raised when entries of earlier versions must not be used any more.
FORMAT = 1

#: Fields that only say how the answer is sent, who it is for, or what else becomes of the request. `store` is false
#: here, because requests that are stored are not cached.
IGNORED_FIELDS = frozenset(
    "stream stream_options user metadata store safety_identifier prompt_cache_key prompt_cache_retention".split()
)
#: Header fields about the connection, the client's software or one single request.
IGNORED_HEADERS = frozenset(
    "accept cache-control content-type date idempotency-key origin pragma priority user-agent traceparent tracestate"
    " baggage x-request-id x-client-request-id x-correlation-id".split()
)
IGNORED_PREFIXES = ("x-stainless-", "sec-", "x-amzn-trace-", "x-b3-", "x-datadog-", "sentry-")

#: Sorted, so that the order of members does not count. Digits, letters and spaces inside of strings do.
_CANONICAL = json.JSONEncoder(check_circular=False, separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Asker:
    """The sender of a request: the id of the key, the caller's name, the key's team, and the credentials
    for others than this proxy that the request holds; each "" if there is none."""

    key_id: str = ""
    name: str = ""
    team: str = ""
    credentials: str = field(default="", repr=False)

    @property
    def is_known(self) -> bool:
        """Whether it has a key or a name."""
        return bool(self.key_id or self.name)

    def within(self, scope: CacheScope) -> str:
        """Return what must be equal for two requests to get the same answer; a key without a team is alone."""
        if scope is CacheScope.ALL:
            return "all"
        if scope is CacheScope.TEAM and self.team:
            return f"team:{self.team}"
        if self.key_id:
            return f"key:{self.key_id}"
        return f"name:{self.name}" if self.name else f"credentials:{self.credentials}"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an upstream. `upstream` identifies it with all that is set for it; `headers` are those that go
    there."""

    upstream: str
    path: str
    query: str
    headers: Headers
    body: Json


def find_credentials(headers: Headers, query: str) -> str:
    """Return the credentials in the head of a request, as one text; "" without any."""
    fields = [f"{name.lower()}:{value}" for name, value in headers if name.lower() in CREDENTIAL_HEADERS]
    return "\n".join([*fields, *credentials_in_query(query)])


def make_key(question: Question, asker: str, version: str) -> bytes | None:
    """Return the key of the answer for an asker (`Asker.within`); None if the question is nested too deeply."""
    body = {name: value for name, value in question.body.items() if name not in IGNORED_FIELDS}
    try:
        told = _CANONICAL.encode(body)
    except RecursionError:
        return None
    digest = sha256()
    head = (str(FORMAT), version, asker, question.upstream, question.path, question.query)
    for part in (*head, *_counting_headers(question.headers), told):
        text = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest.digest()


def _counting_headers(headers: Headers) -> Iterator[str]:
    """Yield the header fields that count, in the order in which they came."""
    for name, value in headers:
        key = name.lower()
        if key not in IGNORED_HEADERS and not key.startswith(IGNORED_PREFIXES):
            yield f"{key}:{value}"
