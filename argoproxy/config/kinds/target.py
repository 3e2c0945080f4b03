"""Upstreams as the settings describe them: a target is the server, `UpstreamSettings` all that is set for it.

A kind of upstream is a subclass of Target in a module of its own, listed in `KINDS` of argoproxy/config/upstreams.py.
Nothing here opens a connection or loads ssl: the process that starts the workers must not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import parse_base_url, parse_header_text
from argoproxy.config.options.upstream_options import DEFAULT_TARGET
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import (
    Secret,
    is_secret_name,
    secrets_in_header,
    secrets_in_options,
    secrets_in_url,
)
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.resilience.resilience_settings import ResilienceSettings
from argoproxy.protocol.routing.modes import Mode, Usage
from argoproxy.protocol.routing.route import Credentials
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.access import Access
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


@dataclass(frozen=True, slots=True)
class UpstreamDefaults:
    """What holds for every upstream that sets nothing else; `inline_images` is None if it is not set."""

    timeouts: Timeouts = Timeouts()
    inline_images: bool | None = None
    mode: Mode = Mode.OFF
    usage: Usage = Usage.AS_ASKED
    resilience: ResilienceSettings = ResilienceSettings()
    ca_bundle: str | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)

    def inlines_images(self, target: Target) -> bool:
        """Return whether images are inlined in requests to a target."""
        return target.inlines_images if self.inline_images is None else self.inline_images


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """An upstream: its name, its server and how this is asked and reached, and whether images are inlined."""

    name: str
    target: Target
    timeouts: Timeouts
    access: Access
    inline_images: bool
    credentials: Credentials = Credentials.FORWARDED
    mode: Mode = Mode.OFF
    usage: Usage = Usage.AS_ASKED
    resilience: ResilienceSettings = ResilienceSettings()
    #: Its own limits on requests, tokens and money, if any are set.
    limited: LimitedSubject | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All its secrets, which must not be shown anywhere."""
        return tuple(Secret(text) for text in dict.fromkeys(self._secret_texts()) if text)

    @property
    def is_keyed(self) -> bool:
        """Whether it is sent configured credentials, in place of the clients'."""
        return bool(self.target.keys or self.access.keys) or self.access.holds_credentials

    @property
    def passes_cookies(self) -> bool:
        """Whether cookies pass between clients and its server, as the clients' credentials do."""
        return self.credentials is Credentials.FORWARDED and self.target.takes_credentials

    @property
    def speaks_tls(self) -> bool:
        """Whether its server is reached over TLS, as far as its URL tells."""
        return self.target.url.startswith("https:")

    @property
    def is_passthrough(self) -> bool:
        """Whether its replies go to the client byte for byte."""
        return self.target.is_passthrough

    def _secret_texts(self) -> Iterator[str]:
        yield from (key.text for key in self.access.keys)
        yield from self.target.secrets()
        for name, value in self.access.headers:
            if is_secret_name(name):
                yield from secrets_in_header(name, value)
        for url in self.access.proxies.values():
            yield from secrets_in_url(url)
        if self.access.auth:
            yield from secrets_in_options(self.access.auth.options)
