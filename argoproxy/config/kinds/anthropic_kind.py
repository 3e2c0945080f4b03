"""Kind `anthropic`: Anthropic's Messages API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.kinds.target import SERVER_OPTIONS, Target, refuse_itself
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import choice_parser, parse_names, whole_number_parser
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import Secret
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.anthropic.adapter import AnthropicOptions, AnthropicUpstream
from argoproxy.upstreams.anthropic.messages import LaterSystem
from argoproxy.upstreams.base_url import BaseUrl

DEFAULT_URL = "https://api.anthropic.com"
_ENDPOINT = re.compile(r"/v1/messages/*(?=\?|$)")


@dataclass(frozen=True, slots=True)
class AnthropicTarget(Target):
    """Anthropic, or a server with the same API; `secret` is its API key."""

    kind: ClassVar[str] = "anthropic"
    options: ClassVar[Mapping[str, Parser]] = {
        **SERVER_OPTIONS,
        "max_tokens": whole_number_parser(1, 10_000_000),
        "anthropic_beta": parse_names,
        "later_system": choice_parser(tuple(LaterSystem)),
    }

    base: BaseUrl
    secret: Secret = Secret("")
    request_options: AnthropicOptions = AnthropicOptions()

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return the server at `base_url`, Anthropic's own if none is set."""
        url = options.get("base_url", DEFAULT_URL)
        refuse_itself(url, section.values)
        own = AnthropicOptions(
            options.get("max_tokens"),
            ",".join(options.get("anthropic_beta", ())),
            LaterSystem(options.get("later_system", LaterSystem.HOIST)),
        )
        return cls(BaseUrl.parse(_ENDPOINT.sub("/v1", url)), Secret(options.get("api_key", "")), own)

    def adapter(self, name: str) -> Upstream:
        """Return the adapter of the Messages API."""
        return AnthropicUpstream(self.base, self.secret.text, self.request_options, name)

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.base.root

    @property
    def keys(self) -> tuple[Secret, ...]:
        """Its API key."""
        return (self.secret,) if self.secret.text else ()
