"""Kind `package.module:Class`: a plug-in. Its class is loaded by argoproxy/plugins, in the workers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.kinds.target import SERVER_OPTIONS, Target
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import parse_mapping
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import secrets_in_options
from argoproxy.upstreams.access import PluginSpec


@dataclass(frozen=True, slots=True)
class PluginTarget(Target):
    """An upstream class, and the options that it is called with."""

    kind: ClassVar[str] = "package.module:Class"
    options: ClassVar[Mapping[str, Parser]] = {**SERVER_OPTIONS, "options": parse_mapping}

    spec: PluginSpec

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return the class that `kind` names, with `base_url` and `api_key` among its options."""
        server = {name: options[name] for name in SERVER_OPTIONS if options.get(name)}
        path = str(section.value_of("kind")).strip()
        return cls(PluginSpec(path, {**options.get("options", {}), **server}))

    @property
    def url(self) -> str:
        """Its `base_url`, if it has one."""
        return str(self.spec.options.get("base_url", ""))

    def secrets(self) -> Iterator[str]:
        """Yield what is secret among its options."""
        yield from secrets_in_options(self.spec.options)

    @property
    def description(self) -> str:
        """How the log of the start names it."""
        return self.spec.path
