"""Sections of the config file: mappings by name, whose members are parsed one by one.

Each mistake is reported with its line and its path, `upstreams.vllm.base_url`. `${NAME}` stands for a variable of the
environment or of `.env`, `${NAME:-text}` for the variable or, if it is not set, the text; `$${NAME}` for `${NAME}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import suggest
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import VARIABLE
from argoproxy.protocol.access.masking import mask_urls
from argoproxy.protocol.access.secrets import is_secret_name

#: Keys whose values hold secrets under names of their own.
_WITH_SECRETS = ("headers", "options")


class Section:
    """A mapping in the file, at a path. Mistakes and warnings are added to those of the values."""

    def __init__(self, values: ConfigValues, path: Sequence[str], content: Mapping[str, Any]) -> None:
        self.values = values
        self._layer = values.layer_of(path[0])
        self._path = tuple(path)
        self._content = content
        self.is_faulty = False

    @classmethod
    def of(cls, values: ConfigValues, key: str) -> Section:
        """Return the section of a setting; an empty one if it is not set."""
        return cls(values, (key,), values[key] or {})

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._path[-1]

    def members(self) -> Iterator[Section]:
        """Yield the members; each must be a mapping or empty."""
        for name, value in self._content.items():
            if value is None or isinstance(value, dict):
                yield self.below(name)
            else:
                self.mistake("must be a mapping", name)

    def below(self, key: str) -> Section:
        """Return the section in a member that is a mapping; an empty one if it is something else."""
        value = self._content.get(key)
        content = {str(name): part for name, part in value.items()} if isinstance(value, dict) else {}
        return Section(self.values, (*self._path, key), content)

    def parse(self, parsers: Mapping[str, Parser]) -> dict[str, Any]:
        """Parse the members; those that are empty or wrong are left out."""
        parsed = {}
        for key, value in self._content.items():
            if key not in parsers:
                self.mistake(f"is not a key here{suggest(key, list(parsers))}", key)
            elif value is not None:
                try:
                    parsed[key] = parsers[key](self._expand(value))
                except ValueError as error:
                    self.mistake(f"{_quote(key, value)}{error}", key)
        return parsed

    def value_of(self, key: str) -> Any:
        """Return a member, None if there is none; unexpanded if a variable in it is not set."""
        value = self._content.get(key)
        try:
            return self._expand(value)
        except ValueError:
            return value

    def names_beside(self, key: str) -> frozenset[str]:
        """Return the names in another section."""
        return frozenset(self.values[key] or ())

    def expand_all(self) -> dict[str, Any]:
        """Return all members, with variables expanded."""
        return self.parse(dict.fromkeys(self._content, _keep))

    def mistake(self, text: str, *below: str) -> None:
        """Add a mistake, about the section or what is below it."""
        self.is_faulty = True
        self.values.mistakes.append(f"{self._place(below)} {text}")

    def warning(self, text: str, *below: str) -> None:
        """Add a warning, about the section or what is below it."""
        self.values.warnings.append(f"{self._place(below)} {text}")

    def _place(self, below: Sequence[str]) -> str:
        path = [*self._path, *below]
        return f"{self._layer.place_of('/'.join(path))}: {'.'.join(path)}"

    def _expand(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._expand(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._expand(part) for part in value]
        return VARIABLE.sub(self._variable, value) if isinstance(value, str) else value

    def _variable(self, match: re.Match[str]) -> str:
        escape, name, otherwise = match.groups()
        if escape:
            return match.group()[1:]
        if otherwise is not None:
            return self._layer.variables.get(name) or str(otherwise)
        if name not in self._layer.variables:
            raise ValueError(f"uses ${{{name}}}, which is set neither in the environment nor in .env")
        return self._layer.variables[name]


def _keep(value: Any) -> Any:
    return value


def _quote(key: str, value: Any) -> str:
    """Return a short value that is no secret in quotes, with a blank behind it; else ""."""
    if is_secret_name(key) or key in _WITH_SECRETS or not isinstance(value, str | int | float):
        return ""
    return f"{mask_urls(str(value))[:80]!r} "
