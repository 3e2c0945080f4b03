"""Sections of the config file: mappings by name, whose members are read one by one.

Each mistake is told with the line it stands in and its path, `upstreams.vllm.base_url`. `${NAME}` stands for a
variable of the environment or of `.env`, `${NAME:-text}` for that or a text, `$${NAME}` for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from argoproxy.config.values.layers import Given, without_credentials
from argoproxy.config.values.parsers import suggestion
from argoproxy.protocol.access.secrets import is_secret_name

Reader = Callable[[Any], Any]

_VARIABLE = re.compile(r"(\$?)\$\{(\w+)(?::-([^}]*))?\}")
#: Keys whose values hold secrets under names of their own.
_WITH_SECRETS = ("headers", "options")


class Section:
    """A mapping in the file, at a path; what is wrong with it is added to the mistakes."""

    def __init__(self, given: Given, path: Sequence[str], value: Mapping[str, Any]) -> None:
        self._given = given
        self._layer = given.layer_of(path[0])
        self._path = tuple(path)
        self._value = value
        self.is_faulty = False

    @classmethod
    def of(cls, given: Given, key: str) -> Section:
        """Give a section by its key; one without members where the file says nothing of it."""
        return cls(given, (key,), given[key] or {})

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._path[-1]

    def members(self) -> Iterator[Section]:
        """Give the members that are mappings; an empty one is a mapping too."""
        for name, value in self._value.items():
            if value is None or isinstance(value, dict):
                yield Section(self._given, (*self._path, name), {str(key): part for key, part in (value or {}).items()})
            else:
                self.mistake("is no mapping", name)

    def read(self, readers: Mapping[str, Reader]) -> dict[str, Any]:
        """Read the members by their readers; those that are missing or empty are left out."""
        found = {}
        for key, value in self._value.items():
            if key not in readers:
                self.mistake(f"is no key here{suggestion(key, list(readers))}", key)
            elif value is not None:
                try:
                    found[key] = readers[key](self._expanded(value))
                except ValueError as error:
                    self.mistake(f"{_shown(key, value)}{error}", key)
        return found

    def value_of(self, key: str) -> Any:
        """Give a member, None where there is none; as it stands there where a variable in it is not set."""
        value = self._value.get(key)
        try:
            return self._expanded(value)
        except ValueError:
            return value

    def names_beside(self, key: str) -> frozenset[str]:
        """Give the names in another section."""
        return frozenset(self._given[key] or ())

    def whole(self) -> dict[str, Any]:
        """Give all members as they stand there, with variables in them."""
        return self.read(dict.fromkeys(self._value, _as_it_is))

    def mistake(self, said: str, *below: str) -> None:
        """Add a mistake, about the section or what is below it."""
        self.is_faulty = True
        self._given.mistakes.append(f"{self._place(below)} {said}")

    def warning(self, said: str, *below: str) -> None:
        """Add a warning, about the section or what is below it."""
        self._given.warnings.append(f"{self._place(below)} {said}")

    def _place(self, below: Sequence[str]) -> str:
        path = [*self._path, *below]
        return f"{self._layer.place_of('/'.join(path))}: {'.'.join(path)}"

    def _expanded(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._expanded(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._expanded(part) for part in value]
        return _VARIABLE.sub(self._variable, value) if isinstance(value, str) else value

    def _variable(self, found: re.Match[str]) -> str:
        escaped, name, otherwise = found.groups()
        if escaped:
            return found.group()[1:]
        if otherwise is not None:
            return self._layer.variables.get(name) or str(otherwise)
        if name not in self._layer.variables:
            raise ValueError(f"names ${{{name}}}, which is set neither in the environment nor in .env")
        return self._layer.variables[name]


def _as_it_is(value: Any) -> Any:
    return value


def _shown(key: str, value: Any) -> str:
    """Show a short value that is no secret, with a blank behind it."""
    if is_secret_name(key) or key in _WITH_SECRETS or not isinstance(value, str | int | float):
        return ""
    return f"{without_credentials(str(value))[:80]!r} "
