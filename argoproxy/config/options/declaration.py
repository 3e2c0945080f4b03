"""How a setting is declared: once, as a typed field of the group that it belongs to. Durations are in seconds.

From the declaration follow its key in the file, its variable, its flags, what `--show` prints, the sample file,
`.env.example` and docs/settings.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from argoproxy.protocol.access.secrets import is_secret_name

Parser = Callable[[Any], Any]

_METADATA = "setting"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag that sets a setting. Without a `metavar` it takes no value and sets `constant`; `unit` is appended to a
    plain number; `about` replaces the text of the setting in `--help`."""

    names: tuple[str, ...]
    metavar: str = ""
    constant: str = "true"
    unit: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a setting where they don't follow from the field: its key at the top of the file, its environment
    variable (None: the key in capitals, "": it has none), its flags, and the setting that took its place."""

    key: str = ""
    environment: str | None = None
    flags: tuple[Flag, ...] = ()
    replaced_by: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: how it is named at the top of the file (`key`), in its section of the file (`section` and `name`) and
    in the environment ("" where it has no variable), how it is parsed, and what it is for. `page` is the part of the
    documentation that tells more."""

    key: str
    section: str
    name: str
    environment: str
    parse: Parser
    default: Any
    about: str
    page: str
    flags: tuple[Flag, ...]
    replaced_by: str

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown."""
        return is_secret_name(self.key)

    @property
    def path(self) -> str:
        """Its name in the file: `port`, or `images.timeout` in a section."""
        return f"{self.section}.{self.name}" if self.section else self.key


def setting(parse: Parser, default: Any, about: str, names: Names | None = None, page: str = "") -> Any:
    """Declare a setting, as the default of a dataclass field of its type."""
    return field(default=default, metadata={_METADATA: (parse, about, names or Names(), page)})


def settings_of(group: type) -> Iterator[Setting]:
    """Yield the settings that a group declares. A group that has a `section` gives its settings two names in the file:
    `section: {name: …}`, and a key at the top of the file."""
    section: str = vars(group).get("section", "")
    for declared in fields(group):
        parse, about, names, page = declared.metadata[_METADATA]
        key = names.key or (f"{section}_{declared.name}" if section else declared.name)
        yield Setting(
            key=key,
            section=section,
            name=declared.name,
            environment=key.upper() if names.environment is None else names.environment,
            parse=parse,
            default=declared.default,
            about=about,
            page=page,
            flags=names.flags,
            replaced_by=names.replaced_by,
        )
