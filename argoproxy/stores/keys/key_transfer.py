"""Keys as a file: exported for another host or a backup, imported again by their names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from enum import Enum
from functools import partial
from typing import Any

from argoproxy.errors import BadRequest, Conflict
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.keys.expiry import parse_expiry
from argoproxy.protocol.keys.key_changes import Declaration, declare
from argoproxy.protocol.keys.key_fields import (
    parse_fields,
    parse_key_name,
    parse_key_text,
    parse_metadata,
    parse_patterns,
)
from argoproxy.protocol.keys.key_record import KeyBook, KeyRecord, SecretDigest, TeamRecord
from argoproxy.protocol.keys.key_token import derive_bytes
from argoproxy.protocol.limits.limit_fields import HOLDER_FIELDS, change_limit, format_limits
from argoproxy.protocol.limits.limits import NO_LIMITS_SET, Limits
from argoproxy.stores.keys.key_admin import format_moment, make_origin
from argoproxy.stores.keys.key_store import KeyStore

FORMAT = 1
#: What an exported secret holds.
_SECRET_FIELDS = {"digest", "tail", "created", "ends", "request"}
#: What is written in an export as the admin API has it.
_PLAIN_FIELDS = ("models", "team", "disabled", "metadata", *HOLDER_FIELDS)


class AbsentKeys(Enum):
    """What becomes of keys that an imported file does not hold."""

    KEPT = "kept"
    DISABLED = "disabled"


def export_keys(store: KeyStore) -> Json:
    """Return all keys and teams with their digests, which are worth nothing without the pepper. Raises
    StateUnavailable."""
    return store.update("", lambda book, pepper: (book, _make_export(book, pepper)))


def import_keys(
    store: KeyStore, actor: str, document: Any, absent: AbsentKeys, clock: Callable[[], float] = time.time
) -> Json:
    """Create the keys and teams of an exported file, or change those of the same names to what it says; `absent` tells
    what becomes of keys that it does not hold. Return the names of the keys, by what was done. Raises BadRequest,
    StateUnavailable; Conflict for digests of another pepper."""
    now = clock()

    def edit(book: KeyBook, pepper: bytes) -> tuple[KeyBook, Json]:
        after = _import(_Reader(document, book, pepper, now), absent)
        changed = sorted(name for name, key in after.keys.items() if book.keys.get(name) != key)
        created = [name for name in changed if name not in book.keys]
        return after, {"created": created, "changed": [name for name in changed if name in book.keys]}

    return store.update(actor, edit)


def _make_export(book: KeyBook, pepper: bytes) -> Json:
    return {
        "format": FORMAT,
        "pepper_check": _check_of(pepper),
        "teams": [
            {"name": team.name, "models": list(team.models), "metadata": team.metadata, **format_limits(team.limits)}
            for team in book.teams.values()
        ],
        "keys": [_export_key(book.keys[name]) for name in sorted(book.keys)],
    }


def _export_key(key: KeyRecord) -> Json:
    return {
        "name": key.name,
        "id": key.id,
        "created": key.created,
        "expires": format_moment(key.expires),
        "disabled": key.is_disabled,
        "models": list(key.models),
        "team": key.team,
        "metadata": key.metadata,
        **format_limits(key.limits),
        "secrets": [asdict(secret) for secret in key.secrets],
    }


class _Reader:
    """Reads an exported document into a book of keys."""

    def __init__(self, document: Any, book: KeyBook, pepper: bytes, now: float) -> None:
        if not isinstance(document, dict) or document.get("format", FORMAT) != FORMAT:
            raise BadRequest("The file is not an export of keys.")
        self.book = book
        self._keys, self._teams = (_dicts_of(document, name) for name in ("keys", "teams"))
        self._has_same_pepper = document.get("pepper_check") == _check_of(pepper)
        self._pepper, self._now = pepper, now

    def declarations(self) -> list[Declaration]:
        """Return the keys of the document."""
        return [self._read_key(entry) for entry in self._keys]

    def teams(self) -> list[TeamRecord]:
        """Return the teams of the document."""
        return [
            TeamRecord(
                _parse("name", parse_key_name, entry.get("name")),
                _parse("models", parse_patterns, entry.get("models")),
                _parse("metadata", parse_metadata, entry.get("metadata", {})),
                _read_limits(entry),
            )
            for entry in self._teams
        ]

    def _read_key(self, entry: Json) -> Declaration:
        name = _parse("name", parse_key_name, entry.get("name"))
        plain: Json = {name: entry[name] for name in _PLAIN_FIELDS if name in entry}
        attributes = parse_fields(plain, self._now)
        if entry.get("expires"):  # it may be over: the key stays expired
            attributes["expires"] = _parse("expires", lambda text: parse_expiry(text, self._now), entry["expires"])
        if "secrets" in entry:
            attributes["secrets"] = self._read_secrets(entry["secrets"])
        if name not in self.book.keys and "id" in entry:
            attributes["id"] = _parse("id", parse_key_name, entry["id"])
            attributes["created"] = _parse("created", _parse_seconds, entry.get("created"))
        token = _parse("key", parse_key_text, entry["key"]) if entry.get("key") else ""
        return Declaration(name, attributes, make_origin(self._now, self._pepper), token)

    def _read_secrets(self, value: Any) -> tuple[SecretDigest, ...]:
        if value and not self._has_same_pepper:
            raise Conflict(
                "The digests of this file were made with another pepper; copy keys.pepper of its folder first."
            )
        if not isinstance(value, list) or not all(
            isinstance(one, dict) and one.keys() == _SECRET_FIELDS for one in value
        ):
            raise BadRequest("`secrets` must be those of an export.", param="secrets")
        return tuple(SecretDigest(**one) for one in value)


def _import(reader: _Reader, absent: AbsentKeys) -> KeyBook:
    declarations = reader.declarations()
    book = declare(reader.book, reader.teams(), declarations)
    names = {one.name for one in declarations}
    if absent is AbsentKeys.KEPT:
        return book
    others = {name: replace(key, is_disabled=True) for name, key in book.keys.items() if name not in names}
    return replace(book, keys={**book.keys, **others})


def _dicts_of(document: Json, name: str) -> list[Json]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRequest(f"`{name}` must be a list of objects.", param=name)
    return entries


def _parse(name: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise BadRequest(f"`{name}` {error}.", param=name) from None


def _read_limits(entry: Json) -> Limits:
    limits = NO_LIMITS_SET
    for name in HOLDER_FIELDS:
        limits = _parse(name, partial(change_limit, limits, name), entry.get(name))
    return limits


def _parse_seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of seconds")  # noqa: TRY004 as all parsers
    return float(value)


def _check_of(pepper: bytes) -> str:
    return derive_bytes(pepper, "export").hex()
