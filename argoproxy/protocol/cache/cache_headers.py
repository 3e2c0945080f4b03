"""Header fields about the cache in responses: Cache-Status (RFC 9211), Age (RFC 9111 section 5.1), and X-Cache."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from argoproxy.protocol.http_messages import Headers

#: The name of the cache in Cache-Status.
CACHE_NAME = "argoproxy"
#: Header fields of an upstream's reply that a cache of its own has set, and that would speak for this one.
REPLACED = frozenset(("x-cache", "age"))


class CacheResult(StrEnum):
    """What the cache did for a request: it had the answer; it had none; it was not to be used."""

    HIT = "hit"
    MISS = "miss"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The result for a request. `reason` says why it was no hit: a value of `fwd`, with `detail` about a bypass. Of a
    hit, `age_s` is how old the answer is, and `ttl_s` for how long it is still kept."""

    result: CacheResult
    reason: str = ""
    detail: str = ""
    age_s: float = 0.0
    ttl_s: float = 0.0

    def headers(self) -> Headers:
        """Return the fields of the response."""
        status = f"{CACHE_NAME}; {self._describe()}"
        fields = (("Cache-Status", status), ("X-Cache", self.result.upper()))
        return (*fields, ("Age", str(int(self.age_s)))) if self.result is CacheResult.HIT else fields

    def _describe(self) -> str:
        if self.result is CacheResult.HIT:
            return f"hit; ttl={int(self.ttl_s)}"
        return f"fwd={self.reason}" + (f"; detail={self.detail}" if self.detail else "")
