"""What any store of keys offers; the SQLite file of one host is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from argoproxy.protocol.keys.key_record import AuditEntry, KeyBook

ResultT = TypeVar("ResultT")
#: Makes new keys of those that there are, with the pepper; and a result.
Edit = Callable[[KeyBook, bytes], tuple[KeyBook, ResultT]]


class KeyStore(Protocol):
    """Keys and teams that survive a restart."""

    def create(self) -> None:
        """Prepare the store, unless that was done, and publish its keys to the workers. Raises StateUnavailable."""

    def read(self) -> KeyBook:
        """Return all keys and teams. Raises StateUnavailable."""

    def update(self, actor: str, edit: Edit[ResultT]) -> ResultT:
        """Change keys, all or nothing, and publish them to the workers; return the result of `edit`. Each change is
        recorded with its `actor`. Raises StateUnavailable, and what `edit` raises; then nothing is changed."""

    def history(self, key_id: str) -> Sequence[AuditEntry]:
        """Return what was done with a key, newest first. Raises StateUnavailable."""
