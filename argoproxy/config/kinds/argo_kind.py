"""Kind `argo`: the Argo gateway, and its OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.kinds.target import Target, refuse_itself
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import parse_plain_url, parse_user
from argoproxy.config.values.section import Section
from argoproxy.protocol.routing.call import Identity
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.argo.adapter import ArgoNativeUpstream, ArgoUpstream, ArgoUrls
from argoproxy.upstreams.base_url import BaseUrl

SAMPLE_MODEL = "argo:gpt-4o"


@dataclass(frozen=True, slots=True)
class ArgoTarget(Target):
    """The Argo gateway, asked in the name of a user."""

    kind: ClassVar[str] = "argo"
    options: ClassVar[Mapping[str, Parser]] = {
        "base_url": parse_plain_url,
        "user": parse_user,
        "argo_url": parse_plain_url,
        "argo_stream_url": parse_plain_url,
        "argo_embedding_url": parse_plain_url,
    }
    inlines_images: ClassVar[bool] = True
    takes_credentials: ClassVar[bool] = False
    sample_model: ClassVar[str] = SAMPLE_MODEL

    argo_urls: ArgoUrls
    identity: Identity

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return the gateway; add a mistake if no user is known."""
        values = section.values
        root = ArgoUrls.below(options["base_url"]) if "base_url" in options else ArgoUrls()
        urls = ArgoUrls(
            chat=options.get("argo_url", root.chat),
            stream=options.get("argo_stream_url", root.stream),
            embed=options.get("argo_embedding_url", root.embed),
        )
        target = cls(urls, Identity(options.get("user") or values["user"] or "", values["username_passthrough"]))
        for url in target.urls:
            refuse_itself(url, values)
        if not target.identity.user and not target.identity.passes_callers:
            section.mistake("needs a `user`: set it to your Argonne user name")
        return target

    def adapter(self, name: str) -> Upstream:
        """Return the gateway's adapter."""
        return ArgoUpstream(self.argo_urls, self.identity, name=name)

    @property
    def url(self) -> str:
        """The URL for chats."""
        return self.argo_urls.chat

    @property
    def urls(self) -> tuple[str, ...]:
        """Its three URLs, each once."""
        return tuple(dict.fromkeys((self.argo_urls.chat, self.argo_urls.stream, self.argo_urls.embed)))

    @property
    def description(self) -> str:
        """How the log of the start names it."""
        return f"Argo at {self.url} for {self.identity.user or 'the user that each client names'}"


@dataclass(frozen=True, slots=True)
class NativeTarget(Target):
    """The gateway's OpenAI-compatible endpoint, and the gateway beside it if a user is known."""

    kind: ClassVar[str] = "native"
    inlines_images: ClassVar[bool] = True
    sample_model: ClassVar[str] = SAMPLE_MODEL

    base: BaseUrl
    identity: Identity
    gateway: ArgoTarget | None
    is_passthrough: bool = True

    def adapter(self, name: str) -> Upstream:
        """Return the endpoint's adapter."""
        return ArgoNativeUpstream(self.base, name=name, identity=self.identity)

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.base.root

    @property
    def description(self) -> str:
        """How the log of the start names it."""
        return f"{self.url}, native"
