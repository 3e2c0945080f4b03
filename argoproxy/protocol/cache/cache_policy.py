"""What a rule says about keeping answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: How long a request waits for the answer to the very same request that its worker has sent, where `wait` is not set.
DEFAULT_WAIT_S = 10.0


class CacheScope(StrEnum):
    """Who gets an answer again: the caller that it was made for, all keys of its team, or everyone."""

    KEY = "key"
    TEAM = "team"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Answers are kept for `ttl_s` seconds; 0 turns the cache off. `with_sampling` says whether those are kept that the
    model may give differently each time, `with_length` those that a limit on tokens has cut. A request waits up to
    `wait_s` seconds for the answer to the same request."""

    ttl_s: float
    scope: CacheScope = CacheScope.KEY
    with_sampling: bool = False
    with_length: bool = False
    wait_s: float = DEFAULT_WAIT_S

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self.ttl_s > 0
