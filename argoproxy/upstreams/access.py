"""How an upstream's server is reached, as the settings describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS, Secret
from argoproxy.protocol.http_messages import Headers


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """A plug-in class, named as `package.module:Class`, and the options that it is called with."""

    path: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Access:
    """How an upstream's server is reached: additional request headers, the keys among their
    values, the secrets that a reply must not show,
    the CA bundle (None: the default one, "": certificates are not verified), proxies by scheme, and the plug-in that
    signs requests."""

    headers: Headers = field(default=(), repr=False)
    keys: tuple[Secret, ...] = ()
    secrets: tuple[Secret, ...] = ()
    ca_bundle: str | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: PluginSpec | None = None

    @property
    def holds_credentials(self) -> bool:
        """Whether requests carry configured credentials: in a header, or as a signature."""
        return self.auth is not None or any(name.lower() in CREDENTIAL_HEADERS for name, _ in self.headers)
