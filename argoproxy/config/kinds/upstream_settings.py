"""An upstream as the settings describe it, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from argoproxy.config.kinds.target import Target
from argoproxy.protocol.access.secrets import (
    Secret,
    is_secret_name,
    secrets_in_header,
    secrets_in_options,
    secrets_in_url,
)
from argoproxy.protocol.routing.modes import Mode, Usage
from argoproxy.protocol.routing.router import Credentials
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.upstreams.access import Access


@dataclass(frozen=True, slots=True)
class UpstreamDefaults:
    """What holds for every upstream that sets nothing else; `inline_images` is None if it is not set."""

    timeouts: Timeouts = Timeouts()
    inline_images: bool | None = None
    mode: Mode = Mode.OFF
    usage: Usage = Usage.AS_ASKED
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
