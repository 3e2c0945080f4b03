"""What any store of answers offers; the SQLite file of one host is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from argoproxy.protocol.cache.kept_answer import KeptAnswer


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer, and how many seconds ago it was stored."""

    answer: KeptAnswer
    age_s: float


class AnswerStore(Protocol):
    """Answers by their key, shared by all workers. A store in trouble has no answers: nothing here raises for it."""

    def read(self, key: bytes) -> StoredAnswer | None:
        """Return the answer that was stored last under a key, however old; None if there is none now."""

    def write(self, key: bytes, answer: KeptAnswer, ttl_s: float) -> None:
        """Store an answer, which is of no use after `ttl_s` seconds; the oldest answers make room for it."""

    def close(self) -> None:
        """Close what is open; it is opened again when it is used again."""
