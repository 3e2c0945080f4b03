"""What every kind of upstream has in common: a target is a server as the settings describe it.

A kind is a subclass in a module of its own, listed in `KINDS` of argoproxy/config/upstreams.py. Nothing here opens a
connection or loads ssl: the process that starts the workers must not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.declaration import Parser
from argoproxy.config.values.parsers import parse_base_url, parse_header_text
from argoproxy.config.values.section import Section
from argoproxy.config.values.upstream_options import DEFAULT_TARGET
from argoproxy.protocol.access.secrets import Secret
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import BaseUrl

#: Options of a kind that has a base URL and an API key.
SERVER_OPTIONS: Mapping[str, Parser] = {"base_url": parse_base_url, "api_key": parse_header_text}

_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0|::")


@dataclass(frozen=True, slots=True)
class Target:
    """A server as the settings describe it. The defaults here hold for most kinds."""

    #: The value of `kind` in the settings.
    kind: ClassVar[str]
    #: Keys that upstreams of this kind have besides those of all upstreams, with their parsers.
    options: ClassVar[Mapping[str, Parser]] = {}
    #: Whether images are inlined if no setting tells.
    inlines_images: ClassVar[bool] = False
    #: Whether requests may carry credentials of clients at all.
    takes_credentials: ClassVar[bool] = True
    #: A model to try it with, "" if none is known.
    sample_model: ClassVar[str] = ""

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return the target of an upstream, from the parsed options of its section. Mistakes are added to the
        section's; what is returned then is not used."""
        raise NotImplementedError

    def adapter(self, name: str) -> Upstream:
        """Return the adapter that speaks to it, under the name of the upstream."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The URL that stands for it in messages."""
        return ""

    @property
    def urls(self) -> tuple[str, ...]:
        """All URLs that are checked at the start."""
        return (self.url,)

    @property
    def description(self) -> str:
        """How the log of the start and `--show` name it."""
        return self.url

    @property
    def keys(self) -> tuple[Secret, ...]:
        """The API keys that are sent to it, in place of the clients'."""
        return ()

    def secrets(self) -> Iterator[str]:
        """Yield its keys, and what else is secret in its settings."""
        yield from (key.text for key in self.keys)

    @property
    def is_passthrough(self) -> bool:
        """Whether its replies go to the client byte for byte."""
        return False


def required_url(section: Section, options: Mapping[str, Any]) -> str:
    """Return `base_url`; add a mistake if there is none, or if it is this very proxy."""
    if "base_url" not in options and not section.is_faulty:
        section.mistake("needs a `base_url`")
    url: str = options.get("base_url", DEFAULT_TARGET)
    refuse_itself(url, section.values)
    return url


def refuse_itself(url: str, values: ConfigValues) -> None:
    """Add a mistake if a URL is that of this very proxy."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port == values["port"] and _LOOPBACK.fullmatch(parts.hostname or ""):
        values.mistakes.append(f"the upstream {BaseUrl.parse(url).root!r} is this proxy itself; set another URL")
