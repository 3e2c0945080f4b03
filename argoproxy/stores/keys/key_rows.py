"""Keys, teams and their history as rows of tables, whichever database holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from argoproxy.protocol.keys.key_record import AuditEntry, KeyBook, KeyRecord, SecretDigest, TeamRecord
from argoproxy.protocol.limits.limit_fields import format_limits, parse_limits
from argoproxy.protocol.limits.limits import Limits
from argoproxy.stores.sqlite_file import unavailable

#: A key's history that is shown; all of it stays in the database.
MOST_ENTRIES = 100

KEY_COLUMNS = ("id", "name", "created", "expires", "is_disabled", "models", "team", "metadata", "limits", "is_declared")
TEAM_COLUMNS = ("name", "models", "metadata", "limits", "is_declared")
SECRET_COLUMNS = ("key_id", "digest", "tail", "created", "ends", "request")
AUDIT_COLUMNS = ("at", "actor", "action", "key_id", "name", "changed")


def make_book(
    keys: Iterable[Sequence[Any]], teams: Iterable[Sequence[Any]], secrets: Iterable[Sequence[Any]]
) -> KeyBook:
    """Return the keys and teams of rows with these columns; secrets are in the order of their creation."""
    by_key: dict[str, list[SecretDigest]] = {}
    for key_id, *values in secrets:
        by_key.setdefault(key_id, []).append(SecretDigest(*values))
    records = [_read_key(row, by_key.get(row[0], ())) for row in keys]
    named = [
        TeamRecord(name, tuple(json.loads(models)), json.loads(metadata), _read_limits(limits), bool(is_declared))
        for name, models, metadata, limits, is_declared in teams
    ]
    return KeyBook({key.name: key for key in records}, {team.name: team for team in named})


def _read_key(row: Sequence[Any], secrets: Sequence[SecretDigest]) -> KeyRecord:
    return KeyRecord(
        id=row[0],
        name=row[1],
        created=row[2],
        secrets=tuple(secrets),
        expires=row[3],
        is_disabled=bool(row[4]),
        models=tuple(json.loads(row[5])),
        team=row[6],
        metadata=json.loads(row[7]),
        limits=_read_limits(row[8]),
        is_declared=bool(row[9]),
    )


@lru_cache(maxsize=1024)
def _read_limits(text: str) -> Limits:
    """Return limits, parsed once: of ten thousand keys most have the same."""
    try:
        return parse_limits(json.loads(text))
    except ValueError as error:
        raise unavailable(f"their database holds limits that are not valid: {error}") from None


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the records that are new or differ."""
    return (record for name, record in after.items() if before.get(name) != record)


def key_row(key: KeyRecord) -> tuple[Any, ...]:
    """Return the row of a key."""
    models, metadata, limits = map(json.dumps, (key.models, key.metadata, format_limits(key.limits)))
    row = (key.id, key.name, key.created, key.expires, key.is_disabled, models, key.team, metadata, limits)
    return (*row, key.is_declared)


def team_row(team: TeamRecord) -> tuple[Any, ...]:
    """Return the row of a team."""
    models, metadata, limits = map(json.dumps, (team.models, team.metadata, format_limits(team.limits)))
    return (team.name, models, metadata, limits, team.is_declared)


def secret_rows(keys: Iterable[KeyRecord]) -> list[tuple[Any, ...]]:
    """Return the rows of the secrets of keys."""
    return [
        (key.id, secret.digest, secret.tail, secret.created, secret.ends, secret.request)
        for key in keys
        for secret in key.secrets
    ]


def audit_row(entry: AuditEntry) -> tuple[Any, ...]:
    """Return the row of what was done with a key."""
    return (entry.at, entry.actor, entry.action, entry.key_id, entry.name, ",".join(entry.changed))


def read_audit(row: Sequence[Any]) -> AuditEntry:
    """Return what was done with a key, of its row."""
    at, actor, action, key_id, name, changed = row
    return AuditEntry(at, actor, action, key_id, name, tuple(filter(None, changed.split(","))))
