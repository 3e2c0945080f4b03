"""What operators do with keys, by the command line and over HTTP: operations on a store, and the documents they answer
with. A document holds the text of a key only in the answer that creates it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.keys.key_changes import (
    ChangeSource,
    IssuedKey,
    Rotation,
    change_key,
    create_key,
    rotate_key,
)
from argoproxy.protocol.keys.key_fields import parse_fields, parse_key_name
from argoproxy.protocol.keys.key_record import AuditEntry, KeyBook, KeyRecord
from argoproxy.protocol.keys.key_token import PUBLIC_BYTES, SECRET_BYTES
from argoproxy.protocol.limits.limit_fields import HOLDER_FIELDS, format_limits
from argoproxy.stores.keys.key_ring import AdminAccess
from argoproxy.stores.keys.key_store import KeyStore

#: How the audit names changes over HTTP.
ADMIN_ACTOR = "admin"


@dataclass(frozen=True, slots=True)
class KeyAdmin:
    """Manages keys in the name of `actor`, which is recorded: `cli:ann`, `admin`."""

    store: KeyStore
    actor: str
    clock: Callable[[], float] = time.time

    def create(self, name: Any, fields: Mapping[str, Any], request: str = "") -> Json:
        """Create a key. `fields` are those of JSON; a `request` that is repeated with the same idempotency key gets the
        same answer. Raises BadRequest, Conflict, StateUnavailable."""
        try:
            name = parse_key_name(name)
        except ValueError as error:
            raise BadRequest(f"`name` {error}.", param="name") from None
        now = self.clock()
        attributes = parse_fields(fields, now)
        issued = self.store.update(
            self.actor, lambda book, pepper: create_key(book, name, attributes, make_origin(now, pepper, request))
        )
        return self._describe_issued(issued)

    def change(self, name: str, fields: Mapping[str, Any]) -> Json:
        """Change fields of a key. Raises NotFound, BadRequest, Conflict, StateUnavailable."""
        now = self.clock()

        def edit(book: KeyBook, pepper: bytes) -> tuple[KeyBook, IssuedKey]:
            return change_key(book, name, parse_fields(fields, now, book.find(name).limits))

        return describe_key(self.store.update(self.actor, edit).record, now)

    def rotate(self, name: str, rotation: Rotation, request: str = "") -> Json:
        """Give a key a new secret. Raises NotFound, Conflict, StateUnavailable."""
        now = self.clock()
        issued = self.store.update(
            self.actor, lambda book, pepper: rotate_key(book, name, rotation, make_origin(now, pepper, request))
        )
        return self._describe_issued(issued)

    def show(self, name: str) -> Json:
        """Return a key, and what was done with it. Raises NotFound, StateUnavailable."""
        record = self.store.read().find(name)
        return {
            **describe_key(record, self.clock()),
            "history": [_describe_entry(entry) for entry in self.store.history(record.id)],
        }

    def list_all(self) -> Json:
        """Return all keys, by their names. Raises StateUnavailable."""
        now, book = self.clock(), self.store.read()
        return {"object": "list", "data": [describe_key(book.keys[name], now) for name in sorted(book.keys)]}

    def _describe_issued(self, issued: IssuedKey) -> Json:
        described = describe_key(issued.record, self.clock())
        return {**described, "key": issued.token}


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """Keys as they are managed over HTTP: who may do so, and what is done."""

    access: AdminAccess
    admin: KeyAdmin


def make_origin(now: float, pepper: bytes, request: str = "") -> ChangeSource:
    """Return what a change needs from outside."""
    return ChangeSource(now, pepper, secrets.token_bytes(PUBLIC_BYTES), secrets.token_bytes(SECRET_BYTES), request)


def describe_key(key: KeyRecord, now: float) -> Json:
    """Return what operators see of a key: no secret, and no digest."""
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "state": key.state(now),
        "created": format_moment(key.created),
        "expires": format_moment(key.expires),
        "models": list(key.models),
        "team": key.team or None,
        **dict.fromkeys(HOLDER_FIELDS),
        **format_limits(key.limits),
        "metadata": key.metadata,
        "declared": key.is_declared,
        "secrets": [
            {"ends_with": one.tail, "created": format_moment(one.created), "ends": format_moment(one.ends)}
            for one in key.live_secrets(now)
        ],
    }


def _describe_entry(entry: AuditEntry) -> Json:
    return {
        "at": format_moment(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "changed": list(entry.changed),
    }


def format_moment(moment: float | None) -> str | None:
    """Return a moment in UTC, None for None."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
