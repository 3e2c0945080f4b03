"""What stands behind the proxy: upstreams as the settings describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.modes import Mode, Usage
from argoproxy.protocol.routing.router import Credentials
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.upstreams.access import Access, PluginSpec
from argoproxy.upstreams.argo.adapter import ArgoUrls
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.dashscope.adapter import DashScopeUrls


@dataclass(frozen=True, slots=True)
class DemoTarget:
    """The embedded demo."""

    kind: str = "demo"
    shown: str = "the embedded demo"
    url: str = ""


@dataclass(frozen=True, slots=True)
class OpenAITarget:
    """An OpenAI-compatible server; `secret` is what `authorization` holds."""

    base: BaseUrl
    authorization: Secret = Secret("")
    secret: Secret = Secret("")
    kind: str = "openai"

    @property
    def shown(self) -> str:
        """How the start tells of it."""
        return self.base.root

    @property
    def url(self) -> str:
        return self.base.root


@dataclass(frozen=True, slots=True)
class UntouchedTarget:
    """An OpenAI-compatible server whose replies nobody touches."""

    server: OpenAITarget
    kind: str = "openai"

    @property
    def shown(self) -> str:
        """How the start tells of it."""
        return f"{self.server.shown}, native"

    @property
    def url(self) -> str:
        return self.server.url


@dataclass(frozen=True, slots=True)
class ArgoTarget:
    """The Argo gateway."""

    urls: ArgoUrls
    identity: Identity
    kind: str = "argo"

    @property
    def shown(self) -> str:
        """How the start tells of it."""
        return f"Argo at {self.urls.chat} for {self.identity.user or 'whoever asks'}"

    @property
    def url(self) -> str:
        return self.urls.chat


@dataclass(frozen=True, slots=True)
class NativeTarget:
    """The gateway's own OpenAI-compatible endpoint; `gateway` beside it, where a user is known."""

    base: BaseUrl
    identity: Identity
    gateway: ArgoTarget | None
    kind: str = "native"

    @property
    def shown(self) -> str:
        """How the start tells of it."""
        return f"{self.base.root}, native"

    @property
    def url(self) -> str:
        return self.base.root


@dataclass(frozen=True, slots=True)
class DashScopeTarget:
    """DashScope in its native protocol; `secret` is the key it is asked with, `model_map` renames models."""

    urls: DashScopeUrls
    secret: Secret = Secret("")
    model_map: Mapping[str, str] = field(default_factory=dict)
    kind: str = "dashscope"

    @property
    def shown(self) -> str:
        """How the start tells of it."""
        return f"DashScope at {self.url}"

    @property
    def url(self) -> str:
        return self.urls.fixed or self.urls.text


@dataclass(frozen=True, slots=True)
class PluginTarget:
    """An upstream class of the operator's own."""

    own: PluginSpec
    kind: str = "own"

    @property
    def shown(self) -> str:
        """How the start tells of it."""
        return self.own.path

    @property
    def url(self) -> str:
        return str(self.own.options.get("base_url", ""))


Target = DemoTarget | OpenAITarget | UntouchedTarget | ArgoTarget | NativeTarget | DashScopeTarget | PluginTarget


@dataclass(frozen=True, slots=True)
class Process:
    """What counts for every upstream that does not say otherwise; `inline_images` is None where nothing is said."""

    timeouts: Timeouts = Timeouts()
    inline_images: bool | None = None
    mode: Mode = Mode.OFF
    usage: Usage = Usage.AS_ASKED
    model_map: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)

    def inlines(self, target: Target) -> bool:
        """Tell whether images are put into calls: as wished, else for the Argo gateway."""
        wished = self.inline_images
        return isinstance(target, ArgoTarget | NativeTarget) if wished is None else wished


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """An upstream: what it is, its name, how it is asked and reached, and whether images are put into its calls."""

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
        """What must be shown to nobody."""
        return (*self._keys, *self.access.hidden)

    @property
    def _keys(self) -> tuple[Secret, ...]:
        server = self.target.server if isinstance(self.target, UntouchedTarget) else self.target
        own = (server.secret,) if isinstance(server, OpenAITarget | DashScopeTarget) and server.secret.text else ()
        return (*own, *self.access.keys)

    @property
    def is_keyed(self) -> bool:
        """Whether it is asked with a key of ours."""
        return bool(self._keys) or self.access.holds_credentials

    @property
    def passes_cookies(self) -> bool:
        """Whether cookies travel between clients and its server, as the clients' credentials do."""
        return self.credentials is Credentials.FORWARDED and not isinstance(self.target, ArgoTarget)

    @property
    def speaks_tls(self) -> bool:
        """Whether its server is reached over TLS, as far as can be told."""
        return self.target.url.startswith("https:")

    @property
    def is_native(self) -> bool:
        """Whether its replies go to the client byte for byte."""
        return isinstance(self.target, UntouchedTarget | NativeTarget)
