"""Which header fields travel between clients and upstreams.

Sources: RFC 9110 section 7.6.1 (hop-by-hop fields).
"""

from __future__ import annotations

from functools import lru_cache

from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS
from argoproxy.protocol.http_messages import Headers, list_members, without

HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-connection te trailer trailers transfer-encoding upgrade proxy-authenticate"
    " proxy-authorization proxy-authentication-info".split()
)
COOKIES_DOWN = frozenset(("set-cookie",))
#: Fields that `Connection` can't remove: naming them there is a known way around the checks of a proxy.
END_TO_END = CREDENTIAL_HEADERS | frozenset("content-type content-length host".split())

#: Fields by which some servers and frameworks serve another URL or method than the one that was checked here, and
#: `Proxy`, which CGI scripts take for HTTP_PROXY (httpoxy, CVE-2016-5385).
OVERRIDES = frozenset(
    "x-original-url x-original-uri x-rewrite-url x-http-method-override x-http-method x-method-override proxy".split()
)
#: Set anew for the connection to the upstream, handled here, or private to the client's side.
NOT_SENT_UP = (
    HOP_BY_HOP
    | OVERRIDES
    | frozenset(
        "host content-length expect accept-encoding referer forwarded via x-real-ip x-upstream-mode"
        " x-compatible x-no-fallback".split()
    )
)
NOT_SENT_UP_PREFIXES = ("x-forwarded-", "cf-")

#: About the upstream's own connection and site, not about the response.
NOT_SENT_DOWN = HOP_BY_HOP | frozenset(
    "date server set-cookie2 alt-svc strict-transport-security nel report-to x-logging-id".split()
)
#: Describe the very bytes that the upstream sent, and are wrong for any others.
ENTITY_HEADERS = frozenset(
    "content-length content-encoding content-md5 digest content-digest repr-digest etag accept-ranges".split()
)
_NOT_SENT_WITH_NEW_BODY = NOT_SENT_DOWN | ENTITY_HEADERS
#: Names in `Connection` that change nothing: of fields that it can't remove, or that are dropped anyway.
_NEVER_BY_CONNECTION = END_TO_END | HOP_BY_HOP
NO_NAMES: frozenset[str] = frozenset()


def request_headers_for_upstream(headers: Headers) -> Headers:
    """Return the client's headers that go to an upstream."""
    kept = tuple([field for field in headers if _is_sent_up(field[0])])
    named = _named_by_connection(headers)
    return without(kept, named) if named else kept


@lru_cache(maxsize=512)
def _is_sent_up(name: str) -> bool:
    key = name.lower()
    return key not in NOT_SENT_UP and not key.startswith(NOT_SENT_UP_PREFIXES)


def response_headers_for_client(headers: Headers) -> Headers:
    """Return the upstream's headers that go to the client with an unchanged body."""
    named = _named_by_connection(headers)
    return without(headers, NOT_SENT_DOWN | named if named else NOT_SENT_DOWN)


def response_headers_for_new_body(headers: Headers) -> Headers:
    """Return the upstream's headers that go to the client with another body."""
    named = _named_by_connection(headers)
    return without(headers, _NOT_SENT_WITH_NEW_BODY | named if named else _NOT_SENT_WITH_NEW_BODY)


def _named_by_connection(headers: Headers) -> frozenset[str]:
    names = list_members(headers, "connection")
    return frozenset(names) - _NEVER_BY_CONNECTION if names else NO_NAMES
