"""Kind `dashscope`: Alibaba's DashScope in its native protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from argoproxy.config.kinds.demo_kind import DemoTarget
from argoproxy.config.kinds.target import SERVER_OPTIONS, Target, required_url
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import parse_renamed_models
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import Secret
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream, DashScopeUrls


@dataclass(frozen=True, slots=True)
class DashScopeTarget(Target):
    """DashScope; `secret` is its API key, `model_map` renames models."""

    kind: ClassVar[str] = "dashscope"
    options: ClassVar[Mapping[str, Parser]] = {**SERVER_OPTIONS, "model_map": parse_renamed_models}

    dashscope_urls: DashScopeUrls
    secret: Secret = Secret("")
    model_map: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return DashScope at `base_url`; add a mistake if this is not one of its URLs."""
        url = required_url(section, options)
        try:
            urls = DashScopeUrls.parse(url)
        except ValueError as error:
            section.mistake(f"is not a URL of DashScope: {error}", "base_url")
            return DemoTarget()
        return cls(urls, Secret(options.get("api_key", "")), options.get("model_map", {}))

    def adapter(self, name: str) -> Upstream:
        """Return DashScope's adapter."""
        key = self.secret.text
        return DashScopeUpstream(
            self.dashscope_urls, f"Bearer {key}" if key else "", key.encode(), self.model_map, name
        )

    @property
    def url(self) -> str:
        """The URL that the settings name, else that for texts."""
        return self.dashscope_urls.fixed or self.dashscope_urls.text

    @property
    def description(self) -> str:
        """How the log of the start names it."""
        return f"DashScope at {self.url}"

    @property
    def keys(self) -> tuple[Secret, ...]:
        """Its API key."""
        return (self.secret,) if self.secret.text else ()
