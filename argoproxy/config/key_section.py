"""Managed keys: the folder in which they are kept, and the sections `keys:` and `teams:` of the config file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argoproxy.config.limit_section import read_holder_limits
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import is_placeholder, parse_mapping, suggest
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.keys.key_fields import (
    DECLARED_FIELDS,
    parse_key_name,
    parse_key_text,
    parse_metadata,
    parse_patterns,
)
from argoproxy.protocol.keys.key_record import TeamRecord
from argoproxy.protocol.limits.limit_fields import HOLDER_FIELDS

#: The folder, in that of the state, of the keys of all replicas as the workers of a host find them.
SHARED_KEYS = "shared-keys"
#: Limits for models are parsed one by one: their mistakes are named with their lines.
_LIMIT_PARSERS: Mapping[str, Parser] = {**HOLDER_FIELDS, "model_limits": parse_mapping}
_KEY_PARSERS: Mapping[str, Parser] = {
    "key": parse_key_text,
    **{name: parse for name, (_, parse) in DECLARED_FIELDS.items()},
    **_LIMIT_PARSERS,
}
_TEAM_PARSERS: Mapping[str, Parser] = {"models": parse_patterns, "metadata": parse_metadata, **_LIMIT_PARSERS}


@dataclass(frozen=True, slots=True)
class DeclaredKey:
    """A key of the config file: attributes of its KeyRecord, and its text if the file sets it."""

    name: str
    attributes: Mapping[str, Any]
    text: Secret | None = None


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The folder in which keys are kept, the key of the administrator, and what the config file declares."""

    folder: Path
    admin_key: Secret | None = None
    keys: tuple[DeclaredKey, ...] = ()
    teams: tuple[TeamRecord, ...] = field(default=())
    #: Whether they are in a database of several hosts.
    is_shared: bool = False

    @property
    def published(self) -> Path:
        """The folder in which workers find the keys."""
        return self.folder / SHARED_KEYS if self.is_shared else self.folder

    @property
    def secrets(self) -> Iterator[Secret]:
        """Yield what must not be written down."""
        yield from (self.admin_key,) if self.admin_key else ()
        yield from (key.text for key in self.keys if key.text)

    @property
    def texts(self) -> Iterator[Secret]:
        """Yield the texts of the keys of the file that are not disabled."""
        yield from (key.text for key in self.keys if key.text and not key.attributes.get("is_disabled"))


def read_keys_section(values: ConfigValues, folder: Path) -> KeySettings | None:
    """Return the settings of managed keys, None if no folder is set; mistakes are added to those of the values."""
    teams = tuple(_read_team(section) for section in Section.of(values, "teams").members())
    names = [team.name for team in teams]
    keys = tuple(_read_key(section, names) for section in Section.of(values, "keys").members())
    values.mistakes.extend(_contradictions(values))
    if not values["state_path"]:
        return None
    kept = folder / Path(values["state_path"]).expanduser()
    return KeySettings(kept, values["admin_key"], keys, teams, is_shared=values["database_url"] is not None)


def _read_team(section: Section) -> TeamRecord:
    _check_name(section)
    options = section.parse(_TEAM_PARSERS)
    plain = {name: value for name, value in options.items() if name not in HOLDER_FIELDS}
    return TeamRecord(section.name, **plain, limits=read_holder_limits(section, options), is_declared=True)


def _read_key(section: Section, teams: list[str]) -> DeclaredKey:
    _check_name(section)
    options = section.parse(_KEY_PARSERS)
    team = options.get("team")
    if team and team not in teams:
        section.mistake(f"names {team!r}, which `teams:` does not declare{suggest(team, teams)}", "team")
    text = options.pop("key", None)
    if text is not None and is_placeholder(text):
        section.mistake("is a placeholder, which anyone could guess", "key")
    attributes = {DECLARED_FIELDS[name][0]: value for name, value in options.items() if name in DECLARED_FIELDS}
    if limits := read_holder_limits(section, options):
        attributes["limits"] = limits
    return DeclaredKey(section.name, attributes, Secret(text) if text else None)


def _check_name(section: Section) -> None:
    try:
        parse_key_name(section.name)
    except ValueError as error:
        section.mistake(str(error))


def _contradictions(values: ConfigValues) -> Iterator[str]:
    for key in ("keys", "teams", "admin_key"):
        if values[key] and not values["state_path"]:
            yield f"{values.place(key)}: {key} needs state_path, the folder in which keys are kept"
    if values["keys"] and values["authenticate"]:
        yield f"{values.place('keys')}: keys and authenticate exclude each other; remove one of them"
    if values["admin_key"] and not (values["enable_auth"] or values["authenticate"]):
        # Otherwise the key would be forwarded to the endpoint by a client that sends it to a path of models.
        yield f"{values.place('admin_key')}: admin_key needs enable_auth: true"
