"""What is known of keys and teams. No secret is here: a key's text is known to its holder only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

from argoproxy.errors import NotFound
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limit_fields import find_changed_limits
from argoproxy.protocol.limits.limits import NO_LIMITS_SET, Limits


@dataclass(frozen=True, slots=True)
class SecretDigest:
    """One secret of a key: its digest, its last characters, when it was made and when it ends (seconds since 1970;
    None: with the key). `request` is the digest of the idempotency key of the request that made it, or ""."""

    digest: str
    tail: str
    created: float
    ends: float | None = None
    request: str = ""

    def is_live(self, now: float) -> bool:
        """Return whether it is still accepted."""
        return self.ends is None or now < self.ends


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key. `id` never changes and is part of its text; `secrets` are up to two live ones, the newest last. `models`
    are patterns of the models that it may use; () means all. `is_declared`: the config file names it."""

    id: str
    name: str
    created: float
    secrets: tuple[SecretDigest, ...] = ()
    expires: float | None = None
    is_disabled: bool = False
    models: tuple[str, ...] = ()
    team: str = ""
    metadata: Json = field(default_factory=dict)
    limits: Limits = NO_LIMITS_SET
    is_declared: bool = False

    def live_secrets(self, now: float) -> tuple[SecretDigest, ...]:
        """Return the secrets that have not ended."""
        return tuple(secret for secret in self.secrets if secret.is_live(now))

    def state(self, now: float) -> str:
        """Return `active`, `disabled`, `expired`, or `no_secret` for a key that was never given one."""
        if self.is_disabled:
            return "disabled"
        if self.expires is not None and now >= self.expires:
            return "expired"
        return "active" if self.live_secrets(now) else "no_secret"


@dataclass(frozen=True, slots=True)
class TeamRecord:
    """A group of keys, and what holds for all of them together."""

    name: str
    models: tuple[str, ...] = ()
    metadata: Json = field(default_factory=dict)
    limits: Limits = NO_LIMITS_SET
    is_declared: bool = False


@dataclass(frozen=True, slots=True)
class KeyBook:
    """All keys and teams, by their names."""

    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    teams: Mapping[str, TeamRecord] = field(default_factory=dict)

    def find(self, name: str) -> KeyRecord:
        """Return a key by its name or its id. Raises NotFound."""
        record = self.keys.get(name) or next((key for key in self.keys.values() if key.id == name), None)
        if record is None:
            raise NotFound("There is no key of this name or id.", code="key_not_found")
        return record

    def with_key(self, record: KeyRecord) -> Self:
        """Return these keys with one more, or with one of them changed."""
        return replace(self, keys={**self.keys, record.name: record})


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What was done to a key or a team, when, and by which `actor`: `cli:ann`, `admin`, `config`; `changed` names
    fields."""

    at: float
    actor: str
    action: str
    key_id: str
    name: str
    changed: tuple[str, ...]


def changes_between(before: KeyBook, after: KeyBook, actor: str, now: float) -> Sequence[AuditEntry]:
    """Return an entry for each key and team that differs."""
    entries = []
    for name, key in after.keys.items():
        old = before.keys.get(name)
        if old is not key and old != key:
            changed = _differing(old, key)
            entries.append(AuditEntry(now, actor, _action_of(old, key, changed), key.id, name, changed))
    for name, team in after.teams.items():
        former = before.teams.get(name)
        if former != team:
            action = "set_team" if former else "create_team"
            entries.append(AuditEntry(now, actor, action, "", name, _differing(former, team)))
    return entries


def _differing(before: KeyRecord | TeamRecord | None, after: KeyRecord | TeamRecord) -> tuple[str, ...]:
    names = [one.name for one in fields(after) if one.name not in ("id", "name", "created", "limits")]
    limits = find_changed_limits(before.limits if before else NO_LIMITS_SET, after.limits)
    if before is None:
        return (*(name for name in names if getattr(after, name)), *limits)
    return (*(name for name in names if getattr(before, name) != getattr(after, name)), *limits)


def _action_of(before: KeyRecord | None, after: KeyRecord, changed: Sequence[str]) -> str:
    if before is None:
        return "create"
    if "is_disabled" in changed:
        return "disable" if after.is_disabled else "enable"
    return "rotate" if "secrets" in changed else "set"
