"""Models called by the very names that clients use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from argoproxy.upstreams import UpstreamRequest


class AnyName:
    """The part of an Upstream that tells names: one that keeps no table of them, and has no list that is the same for
    everybody."""

    __slots__ = ()

    def spellings(self, model: str) -> Sequence[str]:
        return (model,)

    def knows(self, model: str) -> bool:
        return True

    def acquainted(self, listed: bytes) -> Self:
        return self

    def common_list(self) -> UpstreamRequest | None:
        return None
