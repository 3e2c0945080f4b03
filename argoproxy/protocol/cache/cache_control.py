"""What a client says in Cache-Control (RFC 9111 section 5.2.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from argoproxy.errors import Ending, ProxyError
from argoproxy.protocol.http_messages import Headers, list_members


class NotCached(ProxyError):
    """The client wants a kept answer, and there is none (RFC 9111 section 5.2.1.7)."""

    status = 504
    code = "not_cached"
    ending = Ending.REFUSED

    @property
    def headers(self) -> Headers:
        # Official clients would ask again, twice.
        return (("x-should-retry", "false"),)


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """`no_cache` asks for a new answer, which may be kept; with `no_store` neither is a kept answer given nor a new one
    kept. A kept answer may be up to `max_age_s` old. With `only_if_cached` no upstream is asked."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_s: float = math.inf


NO_DIRECTIVES = RequestDirectives()


def read_directives(headers: Headers) -> RequestDirectives:
    """Return the directives of a request; unknown ones are ignored, as the RFC wants it."""
    members = list_members(headers, "cache-control")
    if not members:
        return NO_DIRECTIVES
    names = {member.partition("=")[0].strip(): member.partition("=")[2].strip(' "') for member in members}
    return RequestDirectives(
        no_cache="no-cache" in names,
        no_store="no-store" in names,
        only_if_cached="only-if-cached" in names,
        max_age_s=_parse_age(names["max-age"]) if "max-age" in names else math.inf,
    )


def _parse_age(text: str) -> float:
    """Return an age in seconds. One that is no number lets no answer pass (section 4.2.1 wants it taken for stale)."""
    return float(text[:12]) if text.isascii() and text.isdigit() else 0.0
